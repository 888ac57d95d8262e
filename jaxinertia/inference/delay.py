r"""An input that acts later than its samples say: u(t - delay).

A fitted delay is one more coordinate: about the delay to which the records were moved last,

    u(t - delay - s) = u(t - delay) - s u'(t - delay),

and records are moved again to where the search ended, until s is nothing. There the slope is exact, and so are the
optimum and its errors.
"""

from dataclasses import replace

import numpy as np
from scipy import fft
from scipy.interpolate import CubicSpline

from .record import Records

EACH, EARLY, LATE = 12, 1, 2  # trials in a period, and periods
ROUNDS, NOTHING = 8, 1e-3  # of moves, and rows by which one is worth no other
EDGE = 1e-9  # of a row: as exactly as times are known


def moved(records: Records, delay: np.ndarray, smooth: bool = True) -> Records:
    """Records whose input is that of these at times earlier by the delay (r,), in rows; by a cubic through all samples,
    or on straight lines. Readings for which there is no sample then, at a run's beginning or end, have weight 0."""
    if not records.free_delay and not np.any(delay):
        return records
    given = np.asarray(records.input)
    force, slope = given.copy(), np.zeros(given.shape)
    weight = records.weight.copy()
    for r, k in np.ndindex(*records.count.shape):
        n = int(records.count[r, k])
        ts, u = records.ts[r, k, :n], given[r, k, :n]
        at = ts - delay[r]
        known = (at >= ts[0] - EDGE) & (at <= ts[-1] + EDGE)
        inside = np.clip(at, ts[0], ts[-1])
        if smooth:
            curve = CubicSpline(ts, u, axis=0)
            force[r, k, :n], slope[r, k, :n] = curve(inside), curve(inside, 1) * known[:, None]
        else:
            force[r, k, :n] = np.stack([np.interp(inside, ts, x) for x in u.T], axis=-1)
            slope[r, k, :n] = np.gradient(force[r, k, :n], ts, axis=0)
        weight[r, k, :n] *= known[:, None]
    kept = slope if records.free_delay else None
    return replace(records, input=force, slope=kept, weight=weight, delay=np.array(delay, float))


def steps(found: np.ndarray, omega: np.ndarray) -> np.ndarray | None:
    """By how much (r,) records are to be moved on, no further than a radian of their motion; None if by nothing."""
    far = 1 / np.asarray(omega)
    step = np.clip(np.where(np.isfinite(found), found, 0.0), -far, far)
    return step if np.any(np.abs(step) > NOTHING) else None


def common(records: Records) -> np.ndarray:
    """(r,): the root of the mean square of the angular frequencies, per row, that input and readings have in common."""
    inside = records.within[..., None]
    parts = []
    for x in (np.asarray(records.input), records.y[..., : records.levels]):
        middle = np.sum(x * inside, 2, keepdims=True) / np.sum(inside, 2, keepdims=True)
        parts.append(np.sum(np.abs(fft.rfft(np.where(inside, x - middle, 0.0), axis=2)), axis=(1, 3)))
    power = parts[0] * parts[1]
    omega = 2 * np.pi * fft.rfftfreq(records.longest)
    return np.sqrt(np.sum(power * omega**2, 1) / np.maximum(np.sum(power, 1), 1e-300)) + 1e-9


def lost(records: Records) -> float:
    """Of what drives the motion of the only record, the part that straight lines between the samples of its input take
    away: 1 - (sin(x) / x)^2, x = omega h / 2."""
    return float(1 - np.sinc(common(records)[0] / (2 * np.pi)) ** 2)


def trials(omega: np.ndarray) -> np.ndarray:
    """(trials, r): delays to begin with, up to one period early and two late, the least first."""
    periods = np.concatenate([np.arange(EACH * LATE + 1), -np.arange(1, EACH * EARLY + 1)]) / EACH
    periods = periods[np.argsort(np.abs(periods), kind="stable")]
    return periods[:, None] * (2 * np.pi / np.asarray(omega))
