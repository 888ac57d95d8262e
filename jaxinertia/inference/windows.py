"""A record cut into windows: rows of equal length, each the start of a motion of its own.

Windows serve runs of a record, multiple shooting (short windows of a long run), and many records alike.
"""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from .observations import Observations
from .units import Units

_ROUNDED = 1e-3  # of a step: times as close to even, and to the decimals they are written in, were rounded


class Windows(eqx.Module):
    """Rows in the fit's units; channels are the position's components, then the momentum's if recorded.

    A row without a reading has weight 0. `even`: times are 0, 1, 2, ... in every window.
    """

    start: Float[Array | np.ndarray, " *many w"]
    ts: Float[Array | np.ndarray, " *many w m"]  # since the window's start
    y: Float[Array | np.ndarray, " *many w m c"]
    weight: Float[Array | np.ndarray, " *many w m c"]
    input: Float[Array | np.ndarray, " *many w m d"] | None
    even: bool = eqx.field(static=True)

    @property
    def readings(self) -> int:
        """How many readings there are."""
        return int(np.sum(np.asarray(self.weight) > 0))


class Run(eqx.Module):
    """One run on the fit's grid: the recorded times, and times put into long gaps."""

    start: float
    ts: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    input: np.ndarray | None
    row: np.ndarray  # of the record; -1 where a time was put in


def units_of(data: Observations) -> Units:
    """The sampling step, the median one where it varies, and the readings' scatter."""
    steps = np.concatenate([np.diff(data.ts[rows]) for rows in data.runs])
    step = float(np.median(steps))
    whole = np.round(steps / step)
    if np.all(whole >= 1) and np.all(np.abs(steps / step - whole) < 0.01):  # even, but for rows left out
        step = float(steps.sum() / whole.sum())
    return Units(float(data.ts.min()), step, float(np.nanstd(data.position)))


def runs_of(data: Observations, units: Units, evenly: bool = True) -> list[Run]:
    """Each run in the fit's units. If `evenly`, no interval is left that is much longer than the median one."""
    return [_run(data, rows, units, evenly) for rows in data.runs]


def _run(data: Observations, rows: np.ndarray, units: Units, evenly: bool) -> Run:
    start = float((data.ts[rows[0]] - units.origin) / units.time)
    ts = (data.ts[rows] - data.ts[rows[0]]) / units.time
    y, weight = _channels(data, rows, units)
    force = None if data.input is None else data.input[rows].reshape(len(rows), -1)
    row = rows
    if evenly and len(ts) > 1:
        parts = np.maximum(1, np.round(np.diff(ts))).astype(int)
        at = np.concatenate([[0], np.cumsum(parts)])
        grid = np.interp(np.arange(at[-1] + 1), at, ts)
        force = None if force is None else np.stack([np.interp(grid, ts, x) for x in force.T], axis=-1)
        y, weight = (
            filled(grid, _spread(y, at, len(grid)), _spread(np.ones_like(y), at, len(grid)) > 0),
            _spread(weight, at, len(grid)),
        )
        row = np.full(len(grid), -1)
        row[at] = rows
        ts = grid
    off = float(np.max(np.abs(ts - np.arange(len(ts)))))
    if off < _ROUNDED and off * units.time <= 1.01 * _decimals(data.ts):
        ts = np.arange(len(ts), dtype=float)
    return Run(start, ts, y, weight, force, row)


def _decimals(ts: np.ndarray) -> float:
    """10^-k for the k decimals in which all times can be written; at least what floats, summed up, are off by."""
    kind = np.float32 if np.array_equal(ts, ts.astype(np.float32)) else np.float64
    rounding = len(ts) * float(np.finfo(kind).eps) * float(np.max(np.abs(ts)))
    for k in range(-3, 13):
        if np.all(np.abs(ts - np.round(ts, k)) <= rounding):
            return max(10.0**-k, rounding)
    return rounding


def _spread(x, at, n):
    out = np.zeros((n, x.shape[1]))
    out[at] = x
    return out


def _channels(data: Observations, rows: np.ndarray, units: Units):
    """Readings and one over their errors; the weight 1 where the error is unknown, 0 where the reading is."""
    ys, weights = [], []
    for values, error, unit in (
        (data.position, data.position_error, units.length),
        (data.momentum, data.momentum_error, units.length / units.time),
    ):
        if values is None:
            continue
        y = values.reshape(len(values), -1)
        sd = np.full(y.shape, unit) if error is None else np.broadcast_to(error, values.shape).reshape(y.shape)
        if error is None and values is data.momentum:
            sd = np.broadcast_to(np.nanstd(values), y.shape)  # channels of like weight, until residuals say more
        known = np.isfinite(y[rows])
        ys.append(filled(data.ts[rows], y[rows], known) / unit)
        weights.append(np.where(known, unit / sd[rows], 0.0))
    return np.concatenate(ys, axis=1), np.concatenate(weights, axis=1)


def filled(grid: np.ndarray, y: np.ndarray, known: np.ndarray, ts: np.ndarray | None = None) -> np.ndarray:
    """Missing readings on a line between their neighbours: not data, but where the search may look for a start."""
    ts = grid if ts is None else ts
    pairs = zip(y.T, known.T, strict=True)
    return np.stack([np.interp(grid, ts[k], v[k]) if k.any() else np.zeros(len(grid)) for v, k in pairs], axis=-1)


def cut(runs: list[Run], length: int) -> tuple[Windows, list[int]]:
    """Windows of this many rows, and how many each run has. The last of a run is filled up with rows of weight 0."""
    counts = [max(1, -(-len(run.ts) // length)) for run in runs]
    even = all(np.array_equal(run.ts, np.arange(len(run.ts))) for run in runs)
    parts: dict[str, list[Any]] = {name: [] for name in ("start", "ts", "y", "weight", "input")}
    for run, count in zip(runs, counts, strict=True):
        for k in range(count):
            piece = slice(k * length, (k + 1) * length)
            ts = run.ts[piece]
            spare = length - len(ts)
            parts["start"].append(run.start + ts[0])
            parts["ts"].append(np.concatenate([ts - ts[0], ts[-1] - ts[0] + 1.0 + np.arange(spare)]))
            for name in ("y", "weight"):
                parts[name].append(np.pad(getattr(run, name)[piece], ((0, spare), (0, 0))))
            if run.input is not None:
                parts["input"].append(np.pad(run.input[piece], ((0, spare), (0, 0)), mode="edge"))
    arrays = {name: np.stack(x) if x else None for name, x in parts.items()}
    return Windows(**arrays, even=even), counts  # type: ignore[arg-type]


def about_mean(weight: Any, y: Any) -> Any:
    """Half the weighted sum of squares about the mean of each channel; (..., w, m, c) gives (...)."""
    mean = np.sum(weight**2 * y, (-3, -2), keepdims=True)
    mean = mean / np.maximum(np.sum(weight**2, (-3, -2), keepdims=True), 1e-300)
    return np.sum((weight * (y - mean)) ** 2, (-3, -2, -1)) / 2
