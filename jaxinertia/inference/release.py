"""Where a record moves freely: after a rest, a hold, a push or a steady drive, and between one hit and the next.

Free motion of one window, continued backwards, tells the readings before it. Where it does not, something happened: a
free motion began if energy came in, a steady swing was let go, or what was before is no swing at all. A glitch, or a
stop, begins none.
"""

from typing import NamedTuple

import numpy as np
import scipy  # its parts load where they are asked for

from . import local, swings
from .local import Local, Series

BLOCKS, ONE_WAY = 32, 1.1  # means of readings; their path over their range, of a motion that does not swing
FIRST, SUDDEN = 10, 3.0  # windows that share readings with the first, and how much less the next one misfits
MANY = 18  # readings of a window whose misfit says as much
BAD, MORE = 16.0, 5.0  # squares, in standard errors, that are not chance, and times what is usual later
LATER = slice(20, 33)  # windows after one that are continued to none of the readings that it is continued to
RISE = 1.15  # of the amplitude: less may be chance
MISFIT = 0.03  # of the amplitude: what a window may miss of a swing that is not harmonic
STEADY = 0.25  # of the rate after it: a slower decay is a drive's
SURE = 6.0  # standard errors
SMALL = 0.2  # of the greatest amplitude: swings below it are not what was recorded
OTHER = 0.2  # of a period: another one
FEWEST = 16  # readings of a record that is looked at
LEAST = 1.5  # periods of a stretch
SEEN, SAME, ENOUGH = 0.4, 0.5, 3  # periods back to a beginning, apart from each other's, and windows that tell of it
ALIKE = 0.2  # of the frequency: a swing that is as near is the same, larger or smaller
DRIVE = "a steady drive"
AT_ONCE = ("rest", "a hold")  # these end at once; others may end so gently that the last of them cannot be seen
LATE, LOST = 0.5, 0.15  # periods, or of the amplitude, left out behind such an end, whichever is less
BEFORE, AFTER = 8, 16  # periods before and after a beginning, that may be of the same swings
TOLD, AS_GOOD, DIED = 2.0, 1.7, 2  # times the noise, times what is left after it, and swings that may have died before
GAP = 3.5  # steps: a few readings that were left out are no gap
ASIDE = 5  # windows before the last that may be a drive's: it may hold some of what comes after
NEAR = 4  # readings between where a free motion ought to begin, by both, and where it surely has
MARGIN = 1 / 32  # of a period, left out behind what was not free


class Stretch(NamedTuple):
    """Free motion from one time to another, and what came before it: "" at a record's beginning."""

    start: float
    stop: float
    before: str


def stretches(ts: np.ndarray, y: np.ndarray) -> list[Stretch]:
    """Where one run moves freely, first to last; the whole of it where nothing is found.

    Arguments:
        ts: times, increasing. y: readings, (n, c), NaN where there are none.
    """
    whole = Stretch(float(ts[0]), float(ts[-1]), "")
    if _relaxes(y):
        return [whole]
    series = local.cleaned(ts, y / max(float(np.nanmax(np.abs(y), initial=0.0)), 1e-300))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # windows that hold no swing
        for time in _periods(series):
            few = local.averaged(series, time)
            seen = local.fits(few, time)
            events = _events(few, seen, time) or _let_go(few, seen, time)
            events = [event for event in events if not _is_one_motion(few, seen, event.start, time)]
            found = _between(seen, events, time, whole)
            if found:
                return found
    return [whole]


def _periods(series: Series) -> list[float]:
    """The period of the record, and that of what follows its greatest reading, where a push was slower."""
    ts, y = series
    if len(ts) < FEWEST:
        return []
    peak = int(np.argmax(np.max(np.abs(y - np.median(y, axis=0)), axis=1)))
    after = Series(ts[peak:], y[peak:])
    periods = [local.period(part) for part in (series, after) if len(part.ts) >= FEWEST]
    long = [time for time in periods if time is not None and 3 <= (ts[-1] - ts[0]) / time < len(ts) / 2]
    return long[:1] + [time for time in long[1:] if abs(time / long[0] - 1) > OTHER]


class Part(NamedTuple):
    """Rows of a record that moved freely, the stretch to which each belongs, and that in words."""

    rows: np.ndarray
    segment: np.ndarray
    told: str


def _relaxes(y: np.ndarray) -> bool:
    """Whether readings go one way throughout: an overdamped motion, whose fast part is no other one."""
    blocks = np.array_split(y[np.all(np.isfinite(y), axis=1)], BLOCKS)
    if min(map(len, blocks)) == 0:
        return False
    means = np.array([np.mean(block, axis=0) for block in blocks])
    return bool(np.all(np.sum(np.abs(np.diff(means, axis=0)), axis=0) < ONE_WAY * np.ptp(means, axis=0)))


def find(ts: np.ndarray, position: np.ndarray, runs: list[np.ndarray], whole: np.ndarray) -> Part | None:
    """The free motion of a record's runs; None where that is all of it.

    Arguments:
        ts, position: of the record. runs: the rows of each run. whole: (n,), rows of runs that are taken as they are.
    """
    y = position.reshape(len(ts), -1)
    rows: list[np.ndarray] = []
    segment: list[np.ndarray] = []
    told: list[str] = []
    for k, run in enumerate(runs):
        where = f"run {k + 1}: " if len(runs) > 1 else ""
        as_it_is = [Stretch(float(ts[run[0]]), float(ts[run[-1]]), "")]
        found = as_it_is if whole[run].any() else stretches(ts[run], y[run])
        inner = {each: run[(ts[run] >= each.start) & (ts[run] <= each.stop)] for each in found}
        enough = {each: np.sum(np.isfinite(y[i]), axis=0).min(initial=len(i)) >= FEWEST for each, i in inner.items()}
        if not any(enough.values()):  # of so few readings none is left out
            found, inner, enough = as_it_is, {as_it_is[0]: run}, {as_it_is[0]: True}
        for each in found:
            inside = inner[each]
            if not enough[each]:
                continue
            segment.append(np.full(len(inside), len(rows)))
            rows.append(inside)
            if each.before:
                told.append(f"{where}from {each.start:.6g}, after {each.before}")
            elif len(found) > 1:
                told.append(f"{where}from {each.start:.6g}")
    if not told or not rows:
        return None
    kept = np.concatenate(rows)
    count = "free motion" if len(rows) == 1 else f"free motion in {len(rows)} stretches"
    sentence = f"{count}, {'; '.join(told)}: {len(kept):,} of {len(ts):,} readings"
    return Part(kept, np.concatenate(segment), sentence)


class Event(NamedTuple):
    """A free motion begins at `start`; windows after it are from `after` on, those before it up to `last`."""

    start: float
    after: int
    last: int
    before: str


def _events(series: Series, seen: Local, time: float) -> list[Event]:
    """Where free motions begin: several windows, the last of them well behind it, are continued to the same time."""
    reach = seen.left - seen.onset
    telling = np.flatnonzero(_unlike(seen) & np.isfinite(reach) & (reach > SEEN * time))
    many = local.WIDE * time / np.median(np.diff(series.ts)) > MANY
    out = _at_the_beginning(seen) if many else []
    for some in np.split(telling, np.flatnonzero(np.abs(np.diff(seen.onset[telling])) > SAME * time) + 1):
        if len(some) < ENOUGH:
            continue
        middle = np.median(seen.onset[some])
        start = float(np.max(seen.onset[np.abs(seen.onset - middle) <= SAME / 2 * time]))
        after = int(np.searchsorted(seen.left, start))
        last = int(np.searchsorted(seen.right, start - time / 16)) - 1
        before = _before(seen, after, last)
        swings = (
            _share(seen.rate[after : after + 6]) * time < np.pi
        )  # Q above 1; else a law that is not linear looks like a push
        if before in AT_ONCE or (before is not None and swings):
            change = _change(series, seen, time, last, after) if before in AT_ONCE else -np.inf
            if start - change < NEAR * np.median(np.diff(series.ts)):
                start = change + MARGIN * time
            else:
                start += min(LATE * time, LOST / max(seen.rate[after], 1e-300))
            out = [*(event for event in out if event.start < start - time), Event(start, after, last, before)]
    return out


def _let_go(series: Series, seen: Local, time: float) -> list[Event]:
    """A swing that is as large in all first windows, and falls ever after: a drive's end that joins on smoothly, or
    that comes so soon that few windows lie before it. One window tells its rate to about 3 of the amplitude's errors.
    """
    size, error = seen.amplitude, 3 * seen.spread / seen.amplitude / (seen.right - seen.left)
    for last in range(int(np.searchsorted(seen.left, seen.left[0] + BEFORE * time)) - 1, -1, -1):
        after = int(np.searchsorted(seen.left, seen.right[last]))
        new, old = np.arange(after, after + 6), np.arange(last + 1)
        if new[-1] >= len(size) or not np.all(size[old] > SURE * seen.spread[old]):
            continue
        rate, was = _share(seen.rate[new], 0.2), _share(seen.rate[old], 0.75)
        unsteady = np.abs(np.log(size[old] / size[0])) - SURE * seen.spread[old] / size[old]
        falls = size[after] > SURE * seen.spread[after] and rate > was + SURE * float(error[last])
        swings = _share(seen.rate[new]) * time < np.pi  # as in `_events`
        if falls and swings and was < STEADY * rate and np.all(unsteady < STEADY * rate * time):
            start = _change(series, seen, time, last - ASIDE, after) + min(LATE * time, LOST / rate)
            return [Event(start, int(np.searchsorted(seen.left, start)), last, DRIVE)]
    return []


def _is_one_motion(series: Series, seen: Local, start: float, time: float) -> bool:
    """Whether what was before is of the same swings, several at once, as what comes after: such swings tell what comes
    after, and both together as well, with few more of them, which have died by then."""
    ts, y = series
    step = float(np.median(np.diff(ts)))
    first, stop = max(ts[0], start - BEFORE * time), min(ts[-1], start + AFTER * time)
    gaps = np.diff(ts[(ts >= first) & (ts <= stop)])
    even = np.arange(first, stop, step)
    here = int(np.searchsorted(even, start))
    if len(even) - here < FEWEST or np.max(gaps) > max(time / 8, GAP * step):
        return False
    grid = scipy.interpolate.CubicSpline(ts, y)(even)
    both, after = swings.of(grid), swings.of(grid[here:])
    told = after.rms < TOLD * _share(seen.rms, 0.2) and both.rms < AS_GOOD * after.rms
    return told and both.number <= after.number + min(DIED, here // (2 * swings.NUMBERS))


def _at_the_beginning(seen: Local) -> list[Event]:
    """A disturbance in the first window, where the next ones misfit by far less: no law changes as quickly."""
    rms, following = seen.rms[:FIRST], seen.rms[1 : FIRST + 1]
    noise = _share(seen.rms, 0.2)
    falls = np.flatnonzero((rms[: len(following)] > SUDDEN * following) & (rms[: len(following)] > 2 * SUDDEN * noise))
    after = int(falls[-1]) + 1 if len(falls) else 0
    if not len(falls) or seen.amplitude[after] < SURE * seen.spread[after] or seen.rate[after] > seen.omega[after] / 2:
        return []
    return [Event(float(seen.left[after]), after, -1, "another motion")]


def _change(series: Series, seen: Local, time: float, last: int, after: int) -> float:
    """When the swing before became the swing after: where both together leave the least."""
    first, stop = np.searchsorted(series.ts, [seen.left[max(last, 0)], seen.right[after]])
    ts, y = series.ts[first:stop], series.y[first:stop]
    old, new = (np.sum((y - local.swing(seen, time, i, ts)) ** 2, axis=1) for i in (max(last, 0), after))
    left = np.concatenate([[0.0], np.cumsum(old)]) + np.concatenate([np.cumsum(new[::-1])[::-1], [0.0]])
    return float(ts[min(int(np.argmin(left)), len(ts) - 1)])


def _unlike(seen: Local) -> np.ndarray:
    """Windows whose swing does not tell what was before it, by much more than the windows after them."""
    n = len(seen.back)
    later = np.arange(n)[:, None] + np.arange(LATER.start, LATER.stop)
    back = np.where(later < n, seen.back[np.minimum(later, n - 1)], np.nan)
    told = np.isfinite(back).any(1)
    usual = np.zeros(n)
    usual[told] = np.nanmedian(back[told], axis=1)  # none of these is empty
    return (seen.back > np.maximum(BAD, MORE * usual)) & (seen.amplitude > SURE * seen.spread)


def _before(seen: Local, after: int, last: int) -> str | None:
    """What ended where a free motion began; None if none began: what was before is the same swing, larger."""
    usual = np.hypot(_share(seen.rms, 0.2), MISFIT * seen.amplitude)
    swings = seen.rms < 2 * usual
    if last < 0 and not swings[0]:
        return "another motion"
    last = max(last, 0)
    here, was = seen.amplitude[after], seen.amplitude[last]
    rises = here > RISE * was + SURE * float(np.hypot(seen.spread[last], seen.spread[after]))
    if rises and was < max(SURE * seen.spread[last], 0.1 * here):
        level = np.linalg.norm(seen.level[last] - seen.level[after])
        return "a hold" if level > 0.2 * here else "rest"
    new, old = np.arange(after, min(after + 6, len(swings))), np.arange(max(last - 16, 0), last + 1)
    old = old[swings[old] & (seen.amplitude[old] > SURE * seen.spread[old])]
    if 2 * len(old) < min(last + 1, 9):
        return "a push"
    rate, spread = _share(seen.rate[new]), float(np.std(seen.rate[new]))
    if swings[last] and _share(seen.rate[old[-9:]], 0.75) < min(STEADY * rate, rate - 2 * spread):
        fallen = np.log(seen.amplitude[old[0]] / was)
        ought = rate * (seen.left[last] - seen.left[old[0]])
        sure = SURE * float(np.hypot(seen.spread[old[0]], seen.spread[last])) / was
        if ought - fallen > sure and fallen < STEADY * ought:
            return DRIVE
    if rises:
        return "another swing"
    alike = abs(_share(seen.omega[old[-4:]]) / _share(seen.omega[new]) - 1) < ALIKE
    return None if alike and _share(seen.rate[old]) > 0 else "a push"


def _between(seen: Local, events: list[Event], time: float, whole: Stretch) -> list[Stretch]:
    """The stretches from one event to the next that hold a swing."""
    if not events:
        return []
    top = max(seen.amplitude[event.after] for event in events)
    out = []
    if events[0].before != DRIVE and _decays(seen, 0, events[0].last, top):
        out.append(Stretch(whole.start, float(seen.right[events[0].last]), ""))
    for event, following in zip(events, [*events[1:], None], strict=True):
        if seen.amplitude[event.after] < SMALL * top:
            continue
        if following is None and whole.stop - event.start > LEAST * time:
            out.append(Stretch(event.start, whole.stop, event.before))
        elif following is not None and _decays(seen, event.after, following.last, top):
            out.append(Stretch(event.start, float(seen.right[following.last]), event.before))
    return out


def _decays(seen: Local, first: int, last: int, top: float) -> bool:
    """Whether windows hold a swing that is large enough, falls, and is nothing else."""
    size, spread, rate, rms = (x[first : last + 1] for x in (seen.amplitude, seen.spread, seen.rate, seen.rms))
    large = (size > SMALL * top) & (size > SURE * spread)
    if large.sum() < 8 or not large[0] or _share(rms) > 3 * _share(seen.rms, 0.2):
        return False
    return bool(_share(rate[large]) > 0 and size[0] > RISE * size[large][-1])


def _share(x: np.ndarray, share: float = 0.5) -> float:
    """The value that this share of the entries lies below, NaN left out; NaN where there is no other."""
    known = x[np.isfinite(x)]
    return float(np.quantile(known, share)) if len(known) else float("nan")
