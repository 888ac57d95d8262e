r"""An input that acts later than its samples say: u(t - delay).

A fitted delay is one more coordinate: about the delay to which the records were moved last,

    u(t - delay - s) = u(t - delay) - s u'(t - delay),

and records are moved again to where the search ended, until s is nothing. There the slope is exact, and so are the
optimum and its errors.

A cost has a valley for each delay that brings waves of the input near those of the motion, and a search ends in the one
where it begins. So delays are tried on a grid, all on the readings that every trial has; the lowest valleys are
searched to their ends, and the lowest of these is kept, with another that is as low in mind.
"""

from dataclasses import replace

import numpy as np
import scipy  # what fft is not in loads where it is asked for: a first fit needs little of it
from scipy import fft

from .record import Records, joined

EACH, EARLY, LATE = 12, 1, 2  # trials in a period, and periods
ROUNDS, NOTHING = 8, 1e-3  # of moves, and rows by which one is worth no other
VALLEYS = 4  # that are searched to their ends, at most
ALIKE, ONE = 9.0, 1.0  # above the lowest valley, in twice what a standard error costs: as low; and within one error
MOSTLY = 0.5  # of its change: an input that jumps
ROUGH = 0.01  # is lost on straight lines: of a smoother input the curve through its samples is meant
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
            curve = scipy.interpolate.CubicSpline(ts, u, axis=0)
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


def lost(records: Records) -> np.ndarray:
    """(r,): of what drives the motion, the part that straight lines between the samples of the input take away:
    1 - (sin(x) / x)^2, x = omega h / 2."""
    return 1 - np.sinc(common(records) * records.finer / (2 * np.pi)) ** 2


def jumps(records: Records) -> np.ndarray:
    """(r,): of all that an input, not moved, changes by, the part in jumps: within one step, and level on both sides.
    Its samples do not say when in the step."""
    change = np.abs(np.diff(np.asarray(records.input)[:, :, :: records.finer], axis=2))
    change = np.where(records.within[:, :, records.finer :: records.finer, None], change, 0.0)
    level = np.pad(change == 0, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=True)
    alone = change * level[:, :, :-2] * level[:, :, 2:]
    return np.sum(alone, (1, 2, 3)) / np.maximum(np.sum(change, (1, 2, 3)), 1e-300)


def trials(omega: np.ndarray) -> np.ndarray:
    """(trials, r): delays to begin with, up to one period early and two late, the least first."""
    periods = np.concatenate([np.arange(EACH * LATE + 1), -np.arange(1, EACH * EARLY + 1)]) / EACH
    periods = periods[np.argsort(np.abs(periods), kind="stable")]
    return periods[:, None] * (2 * np.pi / np.asarray(omega))


def lanes(records: Records, tried: np.ndarray, smooth: bool = True) -> tuple[Records, np.ndarray, np.ndarray]:
    """The records moved by each of these delays (trials, r), one trial after another; the weights that readings have
    which all of them leave; and which trials count: not those that leave too few, from the first on, half of all."""
    parts, heard, counts = [moved(records, late, smooth) for late in tried], records.weight, []
    for part in parts:
        weight = np.where(part.weight > 0, heard, 0.0)
        counts.append(np.sum(weight > 0, axis=(1, 2, 3)) >= records.readings / 2)
        heard = np.where(counts[-1][:, None, None, None], weight, heard)
    parts = [replace(part, weight=np.where(part.weight > 0, heard, 0.0)) for part in parts]
    return joined(parts), heard, np.array(counts)


def valleys(tried: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(n, r): the delays whose cost (trials, r) is below that of their neighbours, and below half of the way up from
    the lowest to the median; the lowest first, and again from it on where there are fewer; n is 1, 2 or VALLEYS."""
    found = []
    for late, c in zip(tried.T, cost.T, strict=True):
        order = np.argsort(late)
        late, c = late[order], np.where(np.isfinite(c), c, np.inf)[order]
        beside = np.concatenate([[np.inf], c, [np.inf]])
        told = c[np.isfinite(c)]
        high = (told.min() + np.median(told)) / 2 if told.size else -np.inf
        low = np.flatnonzero((c <= beside[:-2]) & (c <= beside[2:]) & (c <= high))
        found.append(late[low[np.argsort(c[low], kind="stable")]] if low.size else np.zeros(1))
    most = min(2 ** int(np.ceil(np.log2(max(map(len, found))))), VALLEYS)
    return np.stack([np.resize(each, most) for each in found], axis=1)


def lowest(found: np.ndarray, cost: np.ndarray, unit: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of delays at the bottom of valleys (valleys, r) which (r,) is the lowest, of those within a standard error of it
    the least delay; and the others (r, valleys - 1) that are as low and so far `apart`, the least first, then NaN."""
    cost = np.where(np.isfinite(cost), cost, np.inf)
    above = 2 * (cost - cost.min(0)) / np.maximum(unit, 1e-300)
    best = np.argmin(np.where(above <= ONE, np.abs(found), np.inf), axis=0)
    others = np.full((found.shape[1], len(found) - 1), np.nan)
    for k, (late, high) in enumerate(zip(found.T, above.T, strict=True)):
        kept = [late[best[k]]]
        for one in sorted(late[high < ALIKE], key=abs):
            if all(abs(one - other) > apart[k] for other in kept):
                kept.append(one)
        others[k, : len(kept) - 1] = kept[1:]
    return best, others


def spacing(omega: np.ndarray) -> np.ndarray:
    """(r,): of trials."""
    return 2 * np.pi / np.asarray(omega) / EACH


def looked_for(whole: Records, tried: np.ndarray, counts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What `Records.looked` holds; `whole`: not moved."""
    first, last = np.min(np.where(counts, tried, np.inf), 0), np.max(np.where(counts, tried, -np.inf), 0)
    return np.column_stack([first, last, whole.finer / 2 * (jumps(whole) > MOSTLY), others])
