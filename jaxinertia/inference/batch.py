"""Records laid side by side: arrays with a leading axis of records, and what each says of its frequency."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import fft

from .._machine import cores
from ..physics.system import System
from . import shooting
from .fit import check_enough, record_of
from .observations import Observations
from .parameters import Parameters
from .predict import How, Problem
from .units import Units
from .windows import Run, Windows, filled


class Batch(NamedTuple):
    """Records of one run each, as arrays with a leading axis of records; short ones end in rows of weight 0."""

    rows: np.ndarray  # which of the data they are
    system: System
    parameters: Parameters
    units: Units
    ts: np.ndarray  # (r, m), since the record's start
    y: np.ndarray  # (r, m, d)
    weight: np.ndarray
    offset: np.ndarray | None  # (r, d) in the record's units; None if it is fitted
    known: np.ndarray  # (r,): whether the error of a reading is
    even: bool
    scalar: bool

    @property
    def d(self) -> int:
        return self.y.shape[-1]

    @property
    def readings(self) -> np.ndarray:
        """Of each record."""
        return np.sum(self.weight > 0, axis=(1, 2))

    def pose(self, length: int, how: How) -> Problem:
        """The problem of windows of this many rows."""
        r, m = self.ts.shape
        count = -(-m // length)
        spare = count * length - m
        more = self.ts[:, -1:] + 1.0 + np.arange(spare)
        ts = np.concatenate([self.ts, more], axis=1).reshape(r, count, length)
        y, weight = (
            np.pad(x, ((0, 0), (0, spare), (0, 0))).reshape(r, count, length, self.d) for x in (self.y, self.weight)
        )
        windows = Windows(ts[..., 0], ts - ts[..., :1], y, weight, None, self.even)
        free = self.offset is None
        level = np.zeros((r, self.d)) if self.offset is None else self.offset
        rest = (windows, level, self.readings.astype(float), how, free, self.scalar)
        return Problem(self.system, self.parameters, self.units, *rest)

    def reweighted(self, residuals: np.ndarray) -> "Batch":
        """Each component of each record weighed by its own residuals, (r, m, d), where its error is unknown."""
        squares = np.sum(residuals**2, 1, keepdims=True) / np.maximum(np.sum(self.weight > 0, 1, keepdims=True), 1)
        sizes = np.where(self.known[:, None, None], 1.0, np.maximum(np.sqrt(squares), 1e-12))
        return self._replace(weight=self.weight / sizes)

    def units_of(self, i: int) -> Units:
        """Of one of them."""
        return Units(self.units.origin[i], self.units.time[i], self.units.length[i])

    def record(self, i: int) -> shooting.Record:
        """One of them, as `shooting` takes it."""
        units = self.units_of(i)
        run = Run(0.0, self.ts[i], self.y[i], self.weight[i], None, np.arange(len(self.ts[i])))
        offset = None if self.offset is None else self.offset[i]
        return shooting.Record(self.system, self.parameters, units, [run], offset, self.d, self.scalar)


def collect(system: System, parameters: Parameters, data: list) -> tuple[list[Batch], dict[int, str]]:
    """Batches of alike records, and why others cannot be fitted."""
    failures: dict[int, str] = {}
    kinds: dict[Any, list[int]] = {}
    for i, one in enumerate(data):  # records on the same times are read side by side
        kinds.setdefault((one.ts.tobytes(), one.position_error is None), []).append(i)
    parts: dict[bool, list[Batch]] = {}
    for rows in kinds.values():
        refusals = {i: _refusal(parameters, data[i]) for i in rows}
        failures |= {i: why for i, why in refusals.items() if why is not None}
        able = [i for i in rows if refusals[i] is None]
        if able:
            first = record_of(system, parameters, data[able[0]])
            batch = _side_by_side(first, [data[i] for i in able], np.array(able))
            parts.setdefault(batch.even, []).append(batch)
    return [_joined(group) for group in parts.values()], failures


def _refusal(parameters: Parameters, one: Observations) -> str | None:
    """Why a record cannot be fitted, if it cannot."""
    try:
        check_enough(parameters, one)
    except ValueError as error:
        return str(error)
    return None


def _side_by_side(first: shooting.Record, data: list[Observations], rows: np.ndarray) -> Batch:
    """Records on the same times: the grid of the first serves all."""
    run = first.runs[0]
    n, d = len(data), first.d
    positions = np.stack([one.position for one in data]).reshape(n, -1, d)
    lengths = np.nanstd(positions, axis=(1, 2))
    read = run.row >= 0
    y, weight = np.zeros((n, len(run.ts), d)), np.zeros((n, len(run.ts), d))
    y[:, read] = positions[:, run.row[read]] / lengths[:, None, None]
    known = data[0].position_error is not None
    sd = [np.broadcast_to(np.asarray(one.position_error), one.position.shape) for one in data] if known else None
    scale = 1.0 if sd is None else lengths[:, None, None] / np.stack(sd).reshape(n, -1, d)[:, run.row[read]]
    weight[:, read] = np.isfinite(y[:, read]) * scale
    for k in np.flatnonzero((weight == 0).any((1, 2))):
        y[k] = filled(run.ts, y[k], weight[k] > 0)
    offsets = None
    if data[0].offset is not None:
        offsets = np.stack([np.broadcast_to(np.asarray(one.offset), (d,)) for one in data]) / lengths[:, None]
    units = Units(np.full(n, first.units.origin), np.full(n, first.units.time), lengths)
    even = bool(np.array_equal(run.ts, np.arange(len(run.ts))))
    rest = (np.tile(run.ts, (n, 1)), y, weight, offsets, np.full(n, known), even, first.scalar)
    return Batch(rows, first.system, first.parameters, units, *rest)


def _joined(parts: list[Batch]) -> Batch:
    """Batches as one, the shorter records filled up."""
    if len(parts) == 1:
        return parts[0]
    m = max(part.ts.shape[1] for part in parts)

    def longer(part: Batch) -> Batch:
        spare = m - part.ts.shape[1]
        ts = np.concatenate([part.ts, part.ts[:, -1:] + 1.0 + np.arange(spare)], axis=1)
        y, weight = (np.pad(x, ((0, 0), (0, spare), (0, 0))) for x in (part.y, part.weight))
        return part._replace(ts=ts, y=y, weight=weight)

    parts = [longer(part) for part in parts]
    names = ("rows", "ts", "y", "weight", "known")
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    first = parts[0]
    offset = None if first.offset is None else np.concatenate([np.asarray(part.offset) for part in parts])
    origin, time, length = (
        np.concatenate([getattr(part.units, name) for part in parts]) for name in ("origin", "time", "length")
    )
    return first._replace(**joined, offset=offset, units=Units(origin, time, length))


def dominant(batch: Batch) -> np.ndarray:
    """As `shooting.dominant`, for each record."""
    m = batch.ts.shape[1]
    padded = 4 * 2 ** math.ceil(math.log2(m))
    y = batch.y
    if not batch.even:
        grid = [np.linspace(0, t[-1], m) for t in batch.ts]
        y = np.stack([filled(g, v, np.ones_like(v, bool), t) for g, t, v in zip(grid, batch.ts, y, strict=True)])
    inside = (np.cumsum(batch.weight[:, ::-1].sum(-1), axis=1)[:, ::-1] > 0)[..., None]  # up to the last reading
    y = np.where(inside, y - np.sum(y * inside, 1, keepdims=True) / np.sum(inside, 1, keepdims=True), 0.0)
    power = np.sum(np.abs(fft.rfft(y, padded, axis=1, workers=cores())) ** 2, axis=-1)
    return 2 * np.pi * (np.argmax(power[:, 1:], axis=1) + 1) / padded * (m - 1) / batch.ts[:, -1]
