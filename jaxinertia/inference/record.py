"""Records in the fit's own units, on a grid: arrays with a leading axis of records. One record is a batch of one.

The grid of a run has its recorded times, and times put into long gaps. Records on the same times share one; those of
other lengths end in rows of weight 0. Windows cut every run into rows of equal length, each the start of a motion.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from .. import _tree
from .._checks import unevenness
from .._shown import shown
from ..physics.force import Sampled
from ..physics.system import System
from . import readout
from .beside import Beside
from .loss import SQUARES, Loss, Squares
from .observations import Observations
from .parameters import Parameters
from .readout import Readout
from .units import Units

MOST_ROWS = 16  # of a grid for each reading, where records of unlike sampling share one
_ROUNDED = 1e-3  # of a step: times as close to even, and to the decimals they are written in, were rounded


@_tree.plain
class Windows:
    """Rows in the fit's units; channels are the position's components, or what is read in place of them, then the
    momentum's if recorded.

    A row without a reading has weight 0. `even`: times are 0, 1, 2, ... in every window.
    """

    start: Float[Array | np.ndarray, " *many w"]
    ts: Float[Array | np.ndarray, " *many w m"]  # since the window's start
    y: Float[Array | np.ndarray, " *many w m c"]
    weight: Float[Array | np.ndarray, " *many w m c"]
    input: Float[Array | np.ndarray, " *many w m d"] | None
    even: bool = _tree.static()
    slope: Float[Array | np.ndarray, " *many w m d"] | None = None  # of the input, where its delay is fitted
    since: Float[Array | np.ndarray, " *many w"] | None = None  # the window's start, since that of its record


@_tree.plain
class Records:
    """Records of one kind, in arrays of r records, w runs and m rows."""

    system: System
    parameters: Parameters
    units: Units  # (r,) each
    start: np.ndarray  # (r, w), of each run
    ts: np.ndarray  # (r, w, m), since the run's start
    y: np.ndarray  # (r, w, m, c)
    weight: np.ndarray
    input: np.ndarray | None  # (r, w, m, d)
    row: np.ndarray  # (r, w, m): of the record; -1 where a time was put in
    count: np.ndarray  # (r, w): rows of each run
    offset: np.ndarray | None  # (r, d); None if it is fitted
    unknown: np.ndarray  # (r, c): of which channels the readings' error is
    delay: np.ndarray  # (r,), of the input, in rows
    time_error: np.ndarray  # (r,), in rows
    readout: Readout | None  # what is read in place of the position
    d: int = _tree.static()
    levels: int = _tree.static()  # channels that have an offset: the position's, or what is read instead
    trend: bool = _tree.static()  # whether these drift
    free_delay: bool = _tree.static()  # whether the delay of the input is fitted
    scalar: bool = _tree.static()  # whether a position is a number
    even: bool = _tree.static()
    finer: int = _tree.static(default=1)  # rows for each sampling step
    slope: np.ndarray | None = None  # (r, w, m, d), of the input, where its delay is fitted
    # (r, n): from and to where a delay was looked for, how far samples leave it open, others that do as well, or NaN
    looked: np.ndarray | None = None
    shift: np.ndarray | None = None  # (r, w, levels): taken off the readings of each run, where records are several
    of: tuple[int, ...] = _tree.static(default=())  # the record that each run is of; (): all of one

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def longest(self) -> int:
        """Rows of the longest run."""
        return self.ts.shape[2]

    @property
    def readings(self) -> np.ndarray:
        """Of each record."""
        return np.sum(self.weight > 0, axis=(1, 2, 3))

    @property
    def unknowns(self) -> int:
        """Of each record: parameters, offset, and each run's start."""
        return self.parameters.size + self.beside.size + 2 * self.d * self.y.shape[1]

    @property
    def beside(self) -> Beside:
        """What is fitted beside the parameters."""
        return Beside(self.levels, self.offset is None, self.trend, self.free_delay, of=self.of)

    @property
    def runs(self) -> list[np.ndarray]:
        """Those of each of the records that are fitted as one."""
        of = np.array(self.of or (0,) * self.y.shape[1])
        return [np.flatnonzero(of == k) for k in range(self.beside.records)]

    def of_each(self, values: np.ndarray) -> np.ndarray:
        """(r, w, c) from numbers of each record, (r, records times c), as they are beside the parameters."""
        of = self.beside.records
        each = np.reshape(values, (len(values), of, values.shape[1] // of))
        return each[:, list(self.of or (0,) * self.y.shape[1])]

    @property
    def middle(self) -> np.ndarray:
        """(r, records times levels): the mean reading of each record, of each channel whose offset is fitted."""
        rows, y = self.within[..., None], self.y[..., : self.levels]
        parts = [np.sum((y * rows)[:, run], (1, 2)) / np.sum(rows[:, run], (1, 2)) for run in self.runs]
        middle = np.concatenate(parts, axis=1)
        return middle if self.offset is None else middle[:, :0]

    @property
    def since(self) -> np.ndarray:
        """(r, w): each run's start, since that of its record."""
        first = np.stack([self.start[:, run].min(1) for run in self.runs], axis=1)
        return self.start - self.of_each(first)[..., 0]

    @property
    def reading_unit(self) -> np.ndarray:
        """(r, levels)."""
        unit = self.units.reading
        return np.repeat(np.asarray(self.units.length)[:, None], self.levels, 1) if unit is None else np.asarray(unit)

    @property
    def step(self) -> np.ndarray:
        """The sampling step of each record, in its own time."""
        return np.asarray(self.units.time) * self.finer

    @property
    def within(self) -> np.ndarray:
        """(r, w, m): which rows lie within their run."""
        return np.arange(self.longest) < self.count[..., None]

    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _OWN}

    def at(self, rows: np.ndarray) -> "Records":
        """Some of them."""
        return replace(self, **jax.tree.map(lambda x: np.asarray(x)[rows], self._own()))

    def kind(self) -> tuple:
        """What records that are fitted side by side have in common."""
        alike = self.even, self.finer, self.y.shape[1], self.y.shape[3], self.input is None, self.offset is None
        return *alike, None if self.readout is None else self.readout.read, self.trend, self.free_delay, self.of

    def without_level(self) -> "Records":
        """Less what is known of the level, or the mean reading; with no delay to fit."""
        level = self.of_each(self.middle) if self.offset is None else self.offset[:, None]
        y = self.y.copy()
        y[..., : self.levels] -= level[:, :, None]
        return replace(self, y=y, offset=np.zeros((len(self), self.levels)), free_delay=False)

    def windows(self, length: int) -> Windows:
        """Windows of this many rows, (r, windows of one run after another, length)."""
        r, w, m = self.ts.shape
        count = -(-m // length)
        longer = self.padded(count * length)

        def cut(x):
            return None if x is None else x.reshape(r, w * count, length, *x.shape[3:])

        ts = longer.ts.reshape(r, w, count, length)
        start, since = ((x[..., None] + ts[..., 0]).reshape(r, -1) for x in (self.start, self.since))
        own = (ts - ts[..., :1]).reshape(r, w * count, length)
        y, weight, force, slope = map(cut, (longer.y, longer.weight, longer.input, longer.slope))
        return Windows(start, own, y, weight, force, self.even, slope, since)

    def padded(self, m: int) -> "Records":
        """With this many rows: times go on by steps of one, and nothing is read there."""
        spare = m - self.longest
        if not spare:
            return self
        ts = np.concatenate([self.ts, self.ts[..., -1:] + 1.0 + np.arange(spare)], axis=2)
        rest: dict[str, Any] = {
            name: _pad(x, spare, _ROWS[name]) for name in _ROWS if (x := getattr(self, name)) is not None
        }
        return replace(self, ts=ts, **rest)


_ROWS: dict[str, Any] = {"y": "edge", "weight": 0, "input": "edge", "slope": 0, "row": -1}  # and with what rows go on
_OWN = ("ts", *_ROWS, "units", "start", "count", "offset", "unknown", "delay", "looked", "time_error", "shift")


def _pad(x: np.ndarray, spare: int, mode: Any) -> np.ndarray:
    width = ((0, 0), (0, 0), (0, spare), *((0, 0) for _ in x.shape[3:]))
    return np.pad(x, width, mode="edge") if mode == "edge" else np.pad(x, width, constant_values=mode)


def with_input(system: System, data: Observations, delay: float = 0.0) -> System:
    """The system with the data's input as its force, as much later as the delay."""
    if data.input is None:
        if isinstance(system.force, Sampled):
            raise ValueError(
                f"force = {shown(system.force)}, but data have no input; pass the samples to ji.Observations"
            )
        return system
    if system.force is not None and not isinstance(system.force, Sampled):
        raise ValueError(
            f"force = {shown(system.force)}: with data.input pass force=None, or a ji.force.Sampled with a gain"
        )
    gain = 1.0 if system.force is None else system.force.gain
    first = data.runs[0]
    force = Sampled(data.ts[first] + delay, data.input[first], gain)
    return System(system.potential, system.damping, system.noise, system.kinetic, force)


class Grid(NamedTuple):
    """The rows of a record's runs, as `Records` has them, for all records on the same times."""

    start: np.ndarray
    ts: np.ndarray
    row: np.ndarray
    counts: np.ndarray
    even: bool
    origin: float
    step: float


def grid_of(data: Observations) -> Grid:
    """Rows in units of the sampling step, the median one where it varies; no interval is much longer than it."""
    runs = data.runs
    each = [np.diff(data.ts[rows]) for rows in runs]
    steps = np.concatenate(each)
    of = np.array(data.record_of_runs or (0,) * len(runs))
    step = min(float(np.median(steps[np.repeat(of, [len(x) for x in each]) == k])) for k in set(of.tolist()))
    step = max(step, float(steps.sum()) / (MOST_ROWS * len(data.ts)))
    whole = np.round(steps / step)
    if np.all(whole >= 1) and np.all(np.abs(steps / step - whole) < 0.01):  # even, but for rows left out
        step = float(steps.sum() / whole.sum())
    origin, decimals = float(data.ts.min()), _decimals(data.ts)
    times, places = [], []
    for rows in runs:
        ts = (data.ts[rows] - data.ts[rows[0]]) / step
        at = np.concatenate([[0], np.cumsum(np.maximum(1, np.round(np.diff(ts))).astype(int))])
        grid, row = np.interp(np.arange(at[-1] + 1), at, ts), np.full(at[-1] + 1, -1)
        row[at] = rows
        off = float(np.max(np.abs(grid - np.arange(len(grid)))))
        rounded = off < _ROUNDED and off * step <= 1.01 * decimals
        times.append(np.arange(len(grid), dtype=float) if rounded else grid)
        places.append(row)
    m = max(map(len, times))
    ts = np.stack([np.concatenate([t, t[-1] + 1.0 + np.arange(m - len(t))]) for t in times])
    row = np.stack([np.pad(x, (0, m - len(x)), constant_values=-1) for x in places])
    start = np.array([(data.ts[rows[0]] - origin) / step for rows in runs])
    even = all(np.array_equal(t, np.arange(len(t))) for t in times)
    return Grid(start, ts, row, np.array([len(t) for t in times]), even, origin, step)


def _decimals(ts: np.ndarray) -> float:
    """10^-k for the k decimals in which all times can be written; at least what floats, summed up, are off by."""
    kind = np.float32 if np.array_equal(ts, ts.astype(np.float32)) else np.float64
    rounding = len(ts) * float(np.finfo(kind).eps) * float(np.max(np.abs(ts)))
    for k in range(-3, 13):
        if np.all(np.abs(ts - np.round(ts, k)) <= rounding):
            return max(10.0**-k, rounding)
    return rounding


def on_one_grid(system: System, parameters: Parameters, data: list[Observations]) -> Records:
    """Records on the same times."""
    first, n = data[0], len(data)
    grid = grid_of(first)
    w, m = grid.ts.shape
    within, inner = np.arange(m) < grid.counts[:, None], grid.row >= 0
    of, positions, shift = first.record_of_runs, [one.position for one in data], None
    if of:
        shift = np.stack([_zeros(one) for one in data])
        positions = [y - x[one.record].reshape(y.shape) for y, x, one in zip(positions, shift, data, strict=True)]
    length = _scatter(np.stack(positions))
    read = readout.of(first)
    unit = length[:, None] if read is None else scatters(np.stack(positions))
    channels = [_channel(positions, [one.position_error for one in data], unit, read is not None)]
    if first.momentum is not None:
        momenta, errors = [one.momentum for one in data], [one.momentum_error for one in data]
        channels.append(_channel(momenta, errors, length[:, None] / grid.step))
    values, weights = (np.concatenate(x, axis=-1) for x in zip(*channels, strict=True))
    y, weight = np.full((n, w, m, values.shape[-1]), np.nan), np.zeros((n, w, m, values.shape[-1]))
    y[:, inner], weight[:, inner] = values[:, grid.row[inner]], weights[:, grid.row[inner]]
    for r, k in zip(*np.nonzero(np.isnan(y).any((2, 3))), strict=True):
        inside = within[k]
        y[r, k] = filled(grid.ts[k], np.where(inside[:, None], y[r, k], np.nan))
    force = None
    if first.input is not None:
        samples = np.stack([np.asarray(one.input) for one in data]).reshape(n, len(first.ts), -1)
        force = np.full((n, w, m, samples.shape[-1]), np.nan)
        force[:, inner] = samples[:, grid.row[inner]]
        for r, k in np.ndindex(n, w):
            force[r, k] = filled(grid.ts[k], force[r, k])
    offset = None
    if first.offset is not None:
        offset = np.empty((n, first.channels))
        for k, one in enumerate(data):
            offset[k] = one.offset
        offset /= unit
    many = [np.broadcast_to(x, (n, *x.shape)).copy() for x in (grid.start, grid.ts, grid.row, grid.counts)]
    units = Units(np.full(n, grid.origin), np.full(n, grid.step), length, None if read is None else unit)
    unknown = np.stack([one.unknown_errors for one in data])
    start, ts, row, count = many
    return Records(
        system=system,
        parameters=parameters,
        units=units,
        start=start,
        ts=ts,
        y=y,
        weight=weight,
        input=force,
        row=row,
        count=count,
        offset=offset,
        unknown=unknown,
        time_error=np.array([one.time_error / grid.step for one in data]),
        delay=np.array([(one.input_delay or 0.0) / grid.step for one in data]),
        readout=read,
        d=first.components,
        levels=first.channels,
        trend=first.trend,
        free_delay=first.input_delay is None,
        scalar=first.scalar,
        even=grid.even,
        shift=None if shift is None else shift[:, list(of)],
        of=of,
    )


def _channel(values: list, errors: list, unit: np.ndarray, apart: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(r, rows, c) readings in their unit (r, c), and one over their errors: of like weight where the error is unknown,
    till residuals say more (each channel's, where they are of different things); 0 where nothing was read."""
    n, unit = len(values), unit[:, None]
    whole = np.stack(values)
    y = whole.reshape(n, len(values[0]), -1)
    sd = np.broadcast_to(scatters(whole)[:, None] if apart else _scatter(whole)[:, None, None], y.shape)
    if any(e is not None for e in errors):
        given = zip(whole, errors, sd, strict=True)
        sd = np.stack([s if e is None else np.broadcast_to(e, v.shape).reshape(s.shape) for v, e, s in given])
    return y / unit, np.where(np.isfinite(y), unit / sd, 0.0)


def _zeros(data: Observations) -> np.ndarray:
    """(records, levels): about the reading at rest of each of several records; 0 where it is known."""
    y, count = data.position.reshape(len(data.ts), -1), int(data.record.max()) + 1
    if data.offset is not None:
        return np.zeros((count, y.shape[1]))
    return np.stack([np.nanmean(y[data.record == k], axis=0) for k in range(count)])


def _scatter(values: np.ndarray) -> np.ndarray:
    """The standard deviation of each record's readings."""
    return np.nanstd(values.reshape(len(values), -1), axis=1)


def scatters(values: np.ndarray) -> np.ndarray:
    """(r, c): the same of each channel."""
    return np.nanstd(values.reshape(*values.shape[:2], -1), axis=1)


def filled(ts: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Missing readings on a line between their neighbours: not data, but where the search may look for a start."""
    known = np.isfinite(y)
    pairs = zip(y.T, known.T, strict=True)
    return np.stack([np.interp(ts, ts[k], v[k]) if k.any() else np.zeros(len(ts)) for v, k in pairs], axis=-1)


def joined(parts: list[Records]) -> Records:
    """Records of one kind in one batch, the shorter ones filled up."""
    if len(parts) == 1:
        return parts[0]
    m = max(part.longest for part in parts)
    owns = [part.padded(m)._own() for part in parts]
    return replace(parts[0], **jax.tree.map(lambda *each: np.concatenate(each), *owns))


def jitter(ts: np.ndarray) -> float:
    """How far times are off an even grid, at most, in steps."""
    return unevenness(ts) / max(float(ts[-1] - ts[0]) / max(len(ts) - 1, 1), 1e-300)


def about_mean(weight: Any, y: Any, loss: Loss = SQUARES) -> Any:
    """What a constant in each channel costs; its mean, or their median by a robust loss. (..., w, m, c) gives (...)."""
    if isinstance(loss, Squares):
        middle = np.sum(weight**2 * y, (-3, -2), keepdims=True)
        middle = middle / np.maximum(np.sum(weight**2, (-3, -2), keepdims=True), 1e-300)
    else:
        middle = np.nanmedian(np.where(weight > 0, y, np.nan), (-3, -2), keepdims=True)
    return np.sum(loss.cost(weight * (y - middle), np), (-3, -2, -1))
