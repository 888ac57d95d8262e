"""Stretches of a record at even steps, in which every channel was read, in the scatter of each channel."""

from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.signal import detrend

from ..record import EVEN, Record

COPIED = 1e-13  # of an eigenvalue of the readings' correlation, below which a channel is a sum of others
SHORTEST = 64  # rows of a stretch that is used
TURN = 0.3  # radians of the highest frequency asked for by which times may be off the even grid, root mean square
SMOOTH = 0.2  # of its period that steps may last, for a spline to follow it between uneven times


class Even(NamedTuple):
    """runs: (n, d) each, at even steps, without mean and trend, each channel over its scale. step: in the record's
    time. scale: (d,). orders: of each channel, which derivative of the displacement it reads. owner: of which run of
    the record each is. warnings: what was left out."""

    runs: list[np.ndarray]
    step: float
    scale: np.ndarray
    orders: tuple[int, ...]
    owner: list[int]
    warnings: tuple[str, ...]

    @property
    def units(self) -> np.ndarray:
        """Of each channel, one of its fit's displacements in the record's unit, time in steps."""
        return self.scale * self.step ** np.array(self.orders)


def even_runs(record: Record, band: tuple[float, float] | None) -> Even:
    """The stretches; ValueError where times are too uneven, or none is long enough."""
    step, found, owner, left = record.typical if record.step is None else record.step, [], [], 0
    for i, run in enumerate(record.runs):
        whole = np.flatnonzero(np.all(run.weight > 0, axis=1))
        gaps = np.flatnonzero(np.diff(run.ts[whole]) > 1.5 * step) + 1
        for rows in np.split(whole, gaps):
            if len(rows) < SHORTEST:
                left += len(rows)
                continue
            found.append((run.ts[rows], run.y[rows]))
            owner.append(i)
    if not found:
        raise ValueError(
            f"data hold no stretch of {SHORTEST} rows at even steps without a gap, which noise-driven modes need: "
            "record longer, or resample uneven times"
        )
    step = float(np.median([(ts[-1] - ts[0]) / (len(ts) - 1) for ts, _ in found]))
    highest = min(0.5 / step, np.inf if band is None else band[1])
    carried = [_evenly(ts, y, step, highest) for ts, y in found]
    runs = [detrend(y, axis=0) for y, _ in carried]
    scale = np.sqrt(np.mean(np.concatenate(runs) ** 2, axis=0))
    if np.any(scale == 0):
        raise ValueError(f"position[:, {int(np.argmin(scale))}] never moves where all channels were read: leave it out")
    _check_own(np.concatenate(runs) / scale)
    total = left + sum(len(y) for y in runs)
    warnings = [f"{left} of {total} rows are in stretches too short for a spectrum, and were left out"] if left else []
    off = max(x for _, x in carried)
    if off:
        warnings.append(
            f"times are off an even grid by {off:.3g} (root mean square): readings were carried to it by a cubic spline"
        )
    orders = tuple(int(x) for x in record.order)
    return Even([y / scale for y in runs], step, scale, orders, owner, tuple(warnings))


def _check_own(y: np.ndarray) -> None:
    """ValueError where a channel is an exact sum of the others: no spectral matrix has a likelihood then."""
    values, vectors = np.linalg.eigh(y.T @ y / len(y))
    if values[0] < COPIED:
        j = int(np.argmax(np.abs(vectors[:, 0])))
        raise ValueError(f"position[:, {j}] is a copy, or a sum, of other channels to the last digits: leave it out")


def _evenly(ts: np.ndarray, y: np.ndarray, step: float, highest: float) -> tuple[np.ndarray, float]:
    """The readings at even steps, and how far they were moved, root mean square; as they are, and 0, if times are even
    but for rounding."""
    grid = ts[0] + step * np.arange(round((ts[-1] - ts[0]) / step) + 1)
    even = np.linspace(ts[0], ts[-1], len(ts))
    off = ts - even
    if np.max(np.abs(off)) <= EVEN * step and len(grid) == len(ts):
        return y, 0.0
    longest = float(np.max(np.diff(ts)))
    rms = float(np.sqrt(np.mean(off**2)))
    turn = 2 * np.pi * highest * rms
    if turn > TURN and highest * longest > SMOOTH:
        raise ValueError(
            f"ts are uneven: off an even grid by {rms:.3g} on average, with steps up to "
            f"{longest:.3g}; for noise-driven modes pass band=(low, high) with a high below {SMOOTH / longest:.4g}"
        )
    return CubicSpline(ts, y)(grid), rms
