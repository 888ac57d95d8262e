"""From a record to its noise-driven modes: bands, how many modes each holds, and one likelihood of all of them."""

import numpy as np

from ..found import Found
from ..record import Record
from . import joint, outcome
from .covariances import mode_rows
from .joint import Ladder, Within
from .lines import weak_lines, without_lines
from .order import ladder
from .runs import Even, even_runs
from .spectral import FEWEST, Peak, Transform, bands_around, groups, near, peaks, transforms, whole

REACHES = (60.0, 30.0, 15.0, 8.0)  # half widths of a mode to both sides in its band: the first in which it fits
COARSE, FINE = 0.15, 0.08  # widths of groups over the distance to the nearest mode, while counting modes and at the end
PARTS = 250  # groups of a band at least
ROUNDS = 3  # times that bands are drawn anew around what was found
MOST = 12  # modes of a band that are tried


def search(record: Record, count: int | None, band: tuple[float, float] | None) -> Found:
    """The modes of a record that noise drives."""
    even = even_runs(record, band)
    parts = transforms(even.runs)
    limits = _limits(parts, band, even)
    runs, lines = without_lines(even.runs, limits)
    if lines:
        even = even._replace(runs=runs)
        parts = transforms(runs)
    for reach in REACHES:
        found = _within(reach, parts, limits, even, count, lines)
        more = weak_lines(found.fit, parts, found.bands, lines)
        if more:
            lines = (*lines, *more)
            grid = _fine(found.fit.modes, parts, found.bands, limits, lines)
            fit = joint.settled(found.fit.layout._replace(coupled=()), _uncoupled(found.fit), grid, even.units)
            found = found._replace(fit=fit, grid=grid, lines=lines)
        if outcome.misfit(found.fit, found.grid)[0] > outcome.DOUBTFUL:
            break
    return outcome.found(found, record, even, count is not None)


def _within(
    reach: float, parts: list[Transform], limits: tuple[float, float], even: Even, count: int | None, lines
) -> Within:
    """Count the modes in bands of so many half widths, and fit them together."""
    bands, ladders = _bands(reach, parts, limits, even.orders, lines)
    if count is not None and count > sum(len(one.fits) - 1 for one in ladders):
        ladders = [Ladder(one.groups, ladder(one.groups, even.orders, MOST, one.best.modes, count)) for one in ladders]
    picks, choices = joint.counts(ladders, count)
    layout, theta = joint.together([one.fits[k] for one, k in zip(ladders, picks, strict=True)])
    grid = _fine(np.exp(mode_rows(theta, layout)[:, :2]), parts, bands, limits, lines)
    return Within(joint.settled(layout, theta, grid, even.units), grid, bands, ladders, picks, choices, lines)


def _fine(modes, parts, bands, limits, lines):
    """The groups in which all modes are fitted together."""
    width = near(modes[:, 0], modes[:, 1], FINE)
    return groups(parts, bands, lambda w: min(width(w), (limits[1] - limits[0]) / PARTS), lines)


def _uncoupled(fit):
    """The parameters without those of couplings."""
    at = fit.layout.modes * fit.layout.each
    return np.delete(fit.theta, np.arange(at, fit.layout.motion))


def _limits(parts: list[Transform], band: tuple[float, float] | None, even: Even) -> tuple[float, float]:
    """The frequencies that may be used, radians per step."""
    low, high = whole(parts)
    if band is not None:
        low, high = max(low, 2 * np.pi * band[0] * even.step), min(high, 2 * np.pi * band[1] * even.step)
    inside = max(int(np.sum((t.omega >= low) & (t.omega <= high))) for t in parts)
    if inside < FEWEST:
        raise ValueError(
            f"band holds {inside} frequencies of the record, and noise-driven modes need {FEWEST}: widen it, or record "
            "longer"
        )
    return float(low), float(high)


def _bands(reach, parts, limits, orders, lines):
    """Bands, and in each the fits with 0, 1, 2, ... modes."""
    known = peaks(parts, limits)
    bands = bands_around(known, limits, reach) or [limits]
    for turn in range(ROUNDS):
        bands = _wide_enough(bands, parts, limits)
        ladders = []
        for one in bands:
            which = [p for p in known if one[0] <= p.omega <= one[1]]
            width = near(np.array([p.omega for p in which]), np.array([p.width for p in which]), COARSE)
            grid = groups(parts, [one], lambda w, width=width, one=one: min(width(w), (one[1] - one[0]) / PARTS), lines)
            own = np.array([(p.omega, p.width) for p in which]).reshape(-1, 2)
            ladders.append(Ladder(grid, ladder(grid, orders, MOST, own)))
        modes = np.concatenate([one.best.modes for one in ladders])
        known = [Peak(omega, gamma, np.inf) for omega, gamma in modes]
        again = _wide_enough(bands_around(known, limits, reach) or [limits], parts, limits)
        if turn == ROUNDS - 1 or _alike(again, bands):
            break
        bands = again
    return bands, ladders


def _alike(some, others):
    """Whether bands are as many, and differ by less than a fifth of their width."""
    if len(some) != len(others):
        return False
    pairs = zip(some, others, strict=True)
    return all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) < 0.2 * (b[1] - b[0]) for a, b in pairs)


def _wide_enough(bands, parts, limits):
    """Bands of enough frequencies, those that come to overlap joined."""
    least = 2 * FEWEST * 2 * np.pi / max(t.n for t in parts)
    return bands_around([Peak((a + b) / 2, max(b - a, least), np.inf) for a, b in bands], limits, 1.0)
