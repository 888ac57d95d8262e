"""Whether errors are what the cost says: where they are large, or friction is strong, it is looked up at two of them.

An error by the curvature holds where the cost is a parabola. Of an overdamped record it is not: once its fast part has
died only stiffness / gamma is in it, and the cost is as low for any gamma. So values are held at two errors to both
sides and all else is refitted: where the cost has not risen by 2^2 / 2 variances, or by more, the error is not to be
used, and the profile's interval is.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy import special

from . import evidence as errors
from . import profile
from .coordinates import MATRICES, REAL
from .derived import damping_ratios
from .doubts import AT, at_bound
from .profile import Lanes, Walk
from .search import Options, run
from .standing import Standing

LEVEL = 0.95  # of the intervals that are kept
NEAR, BENT = 2.0, 0.25  # errors to both sides; the part by which the rise may be off
SURE, SHALLOW = 5.0, 0.6  # errors to both sides, where nobody expects the truth; the part to which the cost must rise
LARGE = 0.15  # of a value's distance from its bound: errors above it are looked up
STRONG = 0.5  # damping ratios above it: Q < 1
GUESS = 0.1  # of a value, as the error that the curvature does not tell
AGAIN = 3  # searches from lower costs that profiles meet
LOWER = 1e-3  # of the variance, that a cost must be lower by; and by which nothing lower is an end


class Checked(NamedTuple):
    """Where searches stand, and the profile's `ends` (r, 2, p) and `spread` (r, p), the error that covers them; NaN
    where errors are what the curvature says."""

    stand: Standing
    ends: np.ndarray
    spread: np.ndarray


def checked(stand: Standing, options: Options) -> Checked:
    """Errors looked up where that is due, and searches gone on from what profiles met that costs less."""
    if any(kind in MATRICES for kind in stand.parameters.kinds):
        return unchecked(stand)
    for left in range(AGAIN, -1, -1):
        bent, walks = _bent(stand, np.flatnonzero(doubtful(stand)))
        better = _lower(stand, walks, options) if left else None
        if better is None and not bent.any():
            break
        if better is None:
            *profiled, walk = _profiled(stand, bent)
            walks.append(walk)
            better = _lower(stand, walks, options) if left else None
            if better is None:
                return Checked(_ending(stand, walks), *profiled)
        stand = Standing(stand.ended._replace(search=better))
    return unchecked(stand)


def unchecked(stand: Standing) -> Checked:
    """Errors as the curvature says, or as it is corrected for correlated residuals."""
    r, p = stand.values.shape
    return Checked(stand, np.full((r, 2, p), np.nan), np.full((r, p), np.nan))


def doubtful(stand: Standing) -> np.ndarray:
    """(r,): of which records errors are looked up."""
    parameters, search = stand.parameters, stand.ended.search
    size = np.full(stand.error.shape, np.inf)
    fields = [kind for kind, shape in zip(parameters.kinds, parameters.shapes, strict=True) for _ in np.ndindex(*shape)]
    for k, (kind, (low, high)) in enumerate(zip(fields, parameters.limits, strict=True)):
        if kind != REAL:
            size[:, k] = np.minimum(stand.values[:, k] - low, high - stand.values[:, k])
    large = ~np.isfinite(stand.error) | (stand.error > LARGE * size)
    strong = damping_ratios(stand.ended.records.system, parameters, stand.values) > STRONG
    told = np.isfinite(search.cost) & ~errors.at_rounding(stand.ended.likelihood.level, search.cost)
    return (large.any(1) | strong) & ~stand.lost & told


def _bent(stand: Standing, rows: np.ndarray) -> tuple[np.ndarray, list[Walk]]:
    """(r, p): of which values of these records errors are not what the cost says; and the walk that says so."""
    p = stand.parameters.size
    bent = np.zeros(stand.values.shape, bool)
    if not rows.size:
        return bent, []
    untold = ~np.isfinite(stand.error[rows])
    # Friction at its bound, where nothing moves it, holds no other value: an error is one beside it alone.
    bounded = np.isfinite(stand.parameters.limits).any(1)
    bent[rows] = untold | (untold & bounded).any(1, keepdims=True)
    lanes, sides = _lanes(stand, np.repeat(rows, 4 * p), np.tile(np.repeat(np.arange(p), 4), len(rows)))
    widths = _widths(stand)
    width, distance = widths[lanes.row, lanes.coordinate], np.tile([NEAR, NEAR, SURE, SURE], p * len(rows))
    walk = _walk(stand, lanes)
    # At a bound the cost has a slope, and an error that is too great is no harm.
    bound = np.asarray(at_bound(stand.values, widths, *stand.parameters.limits.T))[lanes.row, lanes.coordinate]
    most = np.where(bound | (distance == SURE), np.inf, 1 + BENT)
    least = np.where(distance == SURE, SHALLOW, 1 - BENT)
    to = profile.towards(lanes, lanes.value + sides * distance * width)
    expected = np.abs(to - lanes.value) / width
    off = expected > AT
    for quickly in True, False:  # few are: only these are searched for as they should be
        part = walk.rise(to, off, quickly) / np.where(off, expected, 1.0)
        off = off & ((part < least) | (part > most))
    np.logical_or.at(bent, (lanes.row, lanes.coordinate), off)
    return bent, [walk]


def _profiled(stand: Standing, bent: np.ndarray) -> tuple[np.ndarray, np.ndarray, Walk]:
    """The ends of the profile's interval (r, 2, p), and the error (r, p) that covers it and what SURE errors promise
    too; NaN of values that are not bent."""
    ends, spread = np.full((len(bent), 2, bent.shape[1]), np.nan), np.full(bent.shape, np.nan)
    row, at = np.nonzero(bent)
    lanes, sides = _lanes(stand, np.repeat(row, 2), np.repeat(at, 2))
    wide = _inflation(stand, np.unique(row))[lanes.row, lanes.coordinate]
    walk, freedom = _walk(stand, lanes), np.asarray(stand.ended.likelihood.freedom)[lanes.row]
    reach = special.stdtrit(freedom, (1 + LEVEL) / 2)
    first = lanes.value + sides * reach * _widths(stand)[lanes.row, lanes.coordinate]
    end = profile.ends(walk, first, reach * wide, np.ones(lanes.size, bool))
    ends[lanes.row, (sides > 0).astype(int), lanes.coordinate] = end
    half = np.abs(end - lanes.value) / reach
    # An interval that is open to one side is open: no error covers it.
    closed = np.repeat(np.isfinite(half[::2]) & np.isfinite(half[1::2]), 2)
    first = lanes.value + np.where(closed, sides * SURE * np.maximum(half, LOWER * np.abs(lanes.value)), 0.0)
    end = profile.ends(walk, first, np.full(lanes.size, SURE) * wide, closed)
    half = np.where(closed, np.maximum(half, np.abs(end - lanes.value) / SURE), np.inf)
    spread[row, at] = np.maximum(half[::2], half[1::2])
    return ends, spread, walk


def _widths(stand: Standing) -> np.ndarray:
    """Errors, or a guess where the curvature tells none: of the value a part, and of friction that may have gone to 0 a
    rate that a record of this length could tell."""
    guess, records = GUESS * np.abs(stand.values) + 1e-300, stand.ended.records
    friction = np.array([label.startswith("damping.") for label in stand.parameters.labels])
    rate = GUESS / (records.longest * np.asarray(records.units.time))
    guess = np.where(friction, np.maximum(guess, rate[:, None]), guess)
    return np.where(np.isfinite(stand.error) & (stand.error > 0), stand.error, guess)


def _lanes(stand: Standing, row: np.ndarray, at: np.ndarray) -> tuple[Lanes, np.ndarray]:
    """Down and up in turn, and -1 and 1."""
    sides = np.tile([-1.0, 1.0], len(row) // 2)
    limits = stand.parameters.limits[at, (sides > 0).astype(int)]
    return Lanes(row, at, stand.values[row, at], limits), sides


def _walk(stand: Standing, lanes: Lanes) -> Walk:
    search = stand.ended.search
    optimum = search.u, search.x, search.cost
    likelihood, fastest = stand.ended.likelihood, profile.fastest(stand.ended.records)
    return Walk(likelihood, stand.parameters, lanes, optimum, stand.variance, _widths(stand), stand.tangent, fastest)


def _inflation(stand: Standing, rows: np.ndarray) -> np.ndarray:
    """(r, p): by how much correlated residuals widen errors; 1 where they are white."""
    out = np.ones(stand.values.shape)
    for i in rows[~(stand.whiteness[rows] > errors.DOUBT)].tolist():
        with np.errstate(invalid="ignore"):
            ratio = np.sqrt(np.diag(stand.corrected(i))) / stand.error[i]
        out[i] = np.where(np.isfinite(ratio), np.maximum(ratio, 1.0), 1.0)
    return out


def _lower(stand: Standing, walks: list[Walk], options: Options) -> Any:
    """The searches, gone on from what walks met that costs less; None where they met nothing."""
    search = stand.ended.search
    u, x, cost = (np.array(part) for part in (search.u, search.x, search.cost))
    least = cost - LOWER * stand.variance
    rows = set()
    for walk in walks:
        for lane, row in enumerate(walk.lanes.row.tolist()):
            if walk.lowest.cost[lane] < min(least[row], cost[row]):
                rows.add(row)
                u[row], x[row], cost[row] = walk.lowest.u[lane], walk.lowest.x[lane], walk.lowest.cost[lane]
    if not rows:
        return None
    some = np.resize(sorted(rows), 2 ** int(np.ceil(np.log2(len(rows)))))
    found = run(
        stand.ended.likelihood.at(some), jnp.asarray(u[some]), jnp.asarray(x[some]), options, "from its profile"
    )
    return search.put(some, search.at(some).better(found))


def _ending(stand: Standing, walks: list[Walk]) -> Standing:
    """Searches that creep along a flat valley have ended where the whole profile has nothing lower."""
    search, rows = stand.ended.search, np.unique(walks[-1].lanes.row)
    least = np.full(len(search.cost), np.inf)
    for walk in walks:
        np.minimum.at(least, walk.lanes.row, walk.lowest.cost)
    level = rows[least[rows] > search.cost[rows] - LOWER * stand.variance[rows]]
    if search.ended[level].all():
        return stand
    failed, done = np.array(search.failed), np.array(search.done)
    failed[level], done[level] = False, True
    return Standing(stand.ended._replace(search=search._replace(failed=failed, done=done)))
