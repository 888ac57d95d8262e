"""Whether errors are what the cost says: where they are large, or friction is strong, it is looked up at two of them.

An error by the curvature holds where the cost is a parabola. Of an overdamped record it is not: once its fast part has
died only stiffness / gamma is in it, and the cost is as low for any gamma. So values are held at two errors to both
sides and all else is refitted: where the cost has not risen by 2^2 / 2 variances, or by more, the error is not to be
used, and the profile's interval is.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy import stats

from . import evidence as errors
from . import profile
from .derived import damping_ratios
from .parameters import MATRICES, REAL, Parameters
from .profile import Lanes, Walk
from .search import Options, run
from .shooting import Ended
from .standing import Standing, corrected, standing, whiteness

LEVEL = 0.95  # of the intervals that are kept
NEAR, BENT = 2.0, 0.25  # errors to both sides; the part by which the rise may be off
SURE, SHALLOW = 5.0, 0.6  # errors to both sides, where nobody expects the truth; the part to which the cost must rise
LARGE = 0.15  # of a value's distance from its bound: errors above it are looked up
STRONG = 0.5  # damping ratios above it: Q < 1
GUESS = 0.1  # of a value, as the error that the curvature does not tell
AGAIN = 3  # searches from lower costs that profiles meet
LOWER = 1e-3  # of the variance, that a cost must be lower by; and by which nothing lower is an end


def checked(ended: Ended, options: Options) -> Ended:
    """The same with `profiled` where errors are not what the cost says, and with what profiles met that costs less."""
    parameters = ended.records.parameters
    if any(kind in MATRICES for kind in parameters.kinds):
        return ended
    for _ in range(AGAIN):
        stand = standing(ended)
        bent, looked = _bent(ended, stand, np.flatnonzero(doubtful(stand, ended)))
        if not looked:
            return ended
        better = _lower(ended, stand, looked, options)
        if better is None:
            if not bent.any():
                return ended
            profiled, walk = _profiled(ended, stand, bent)
            looked.append(walk)
            better = _lower(ended, stand, looked, options)
        if better is None:
            return _ending(ended._replace(profiled=profiled), stand, looked)
        ended = ended._replace(search=better)
    stand = standing(ended)
    bent, _ = _bent(ended, stand, np.flatnonzero(doubtful(stand, ended)))
    return ended._replace(profiled=_profiled(ended, stand, bent)[0]) if bent.any() else ended


def scaled(covariance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """A covariance with these errors in place of its own, where they are not NaN."""
    old = np.sqrt(np.diag(covariance))
    new = np.where(np.isnan(spread), old, spread)
    known = np.isfinite(new) & np.isfinite(old) & (old > 0)
    factor = np.where(known, new / np.where(known, old, 1.0), 0.0)
    out = np.where(np.isfinite(covariance), covariance, 0.0) * np.outer(factor, factor)
    return out + np.diag(np.where(known, 0.0, new**2))


def doubtful(stand: Standing, ended: Ended) -> np.ndarray:
    """(r,): of which records errors are looked up."""
    parameters = ended.records.parameters
    error = _errors(stand, parameters)
    size = np.full(error.shape, np.inf)
    fields = [kind for kind, shape in zip(parameters.kinds, parameters.shapes, strict=True) for _ in np.ndindex(*shape)]
    for k, (kind, (low, high)) in enumerate(zip(fields, parameters.limits, strict=True)):
        if kind != REAL:
            size[:, k] = np.minimum(stand.values[:, k] - low, high - stand.values[:, k])
    large = ~np.isfinite(error) | (error > LARGE * size)
    strong = damping_ratios(ended.records.system, parameters, stand.values) > STRONG
    told = np.isfinite(ended.search.cost) & ~errors.at_rounding(ended.likelihood.level, ended.search.cost)
    return (large.any(1) | strong) & ~stand.lost & told


def _errors(stand: Standing, parameters: Parameters) -> np.ndarray:
    """(r, p), by the curvature."""
    each = [stand.covariance(i, parameters.constant) for i in range(len(stand.values))]
    return np.sqrt(np.array([np.diag(one) for one in each]))


def _bent(ended: Ended, stand: Standing, rows: np.ndarray) -> tuple[np.ndarray, list[Walk]]:
    """(r, p): of which values of these records errors are not what the cost says; and the walk that says so."""
    parameters, p = ended.records.parameters, ended.records.parameters.size
    bent = np.zeros(stand.values.shape, bool)
    if not rows.size:
        return bent, []
    error = _errors(stand, parameters)
    bent[rows] = ~np.isfinite(error[rows])
    lanes, sides = _lanes(stand, parameters, np.repeat(rows, 2 * p), np.tile(np.repeat(np.arange(p), 2), len(rows)))
    width = _widths(error, stand)[lanes.row, lanes.coordinate]
    walk = _walk(ended, stand, lanes)
    low, high = np.array(parameters.limits).T
    bound = np.minimum(stand.values - low, high - stand.values) < LOWER * _widths(error, stand)
    for at in NEAR, SURE:
        to = profile.towards(lanes, lanes.value + sides * at * width)
        expected = np.abs(to - lanes.value) / width
        looked = expected > LOWER
        part = walk.rise(to, looked) / np.where(looked, expected, 1.0)
        # At a bound the cost has a slope, and an error that is too great is no harm.
        steep = (part > 1 + BENT) & ~bound[lanes.row, lanes.coordinate]
        off = (part < 1 - BENT) | steep if at == NEAR else part < SHALLOW
        np.logical_or.at(bent, (lanes.row, lanes.coordinate), off & looked)
    return bent, [walk]


def _profiled(ended: Ended, stand: Standing, bent: np.ndarray) -> tuple[np.ndarray, Walk]:
    """(r, 3, p): the ends of the profile's interval and the error that covers it, and covers what SURE errors promise
    too; NaN of values that are not bent."""
    parameters, out = ended.records.parameters, np.full((len(bent), 3, bent.shape[1]), np.nan)
    row, at = np.nonzero(bent)
    lanes, sides = _lanes(stand, parameters, np.repeat(row, 2), np.repeat(at, 2))
    wide = _inflation(ended, stand, np.unique(row))[lanes.row, lanes.coordinate]
    width = _widths(_errors(stand, parameters), stand)[lanes.row, lanes.coordinate]
    half = np.zeros(lanes.size)
    walk, freedom = _walk(ended, stand, lanes), np.asarray(ended.likelihood.freedom)[lanes.row]
    reaches = stats.t.ppf((1 + LEVEL) / 2, freedom), np.full(lanes.size, SURE)
    for k, reach in enumerate(reaches):
        first = width if not k else np.where(np.isfinite(half) & (half > 0), half, width)
        end = profile.ends(walk, lanes.value + sides * reach * first, reach * wide)
        half = np.maximum(half, np.abs(end - lanes.value) / reach)
        if not k:
            out[lanes.row, (sides > 0).astype(int), lanes.coordinate] = end
    out[row, 2, at] = np.maximum(half[::2], half[1::2])
    return out, walk


def _widths(error: np.ndarray, stand: Standing) -> np.ndarray:
    """Errors, or a guess where the curvature tells none."""
    return np.where(np.isfinite(error) & (error > 0), error, GUESS * np.abs(stand.values) + 1e-300)


def _lanes(stand: Standing, parameters: Parameters, row: np.ndarray, at: np.ndarray) -> tuple[Lanes, np.ndarray]:
    """Down and up in turn, and -1 and 1."""
    sides = np.tile([-1.0, 1.0], len(row) // 2)
    limits = np.array(parameters.limits)[at, (sides > 0).astype(int)]
    return Lanes(row, at, stand.values[row, at], limits), sides


def _walk(ended: Ended, stand: Standing, lanes: Lanes) -> Walk:
    search = ended.search
    optimum = search.u, search.x, search.cost
    parameters = ended.records.parameters
    error = _widths(_errors(stand, parameters), stand)
    return Walk(ended.likelihood, parameters, lanes, optimum, stand.variance, error)


def _inflation(ended: Ended, stand: Standing, rows: np.ndarray) -> np.ndarray:
    """(r, p): by how much correlated residuals widen errors; 1 where they are white."""
    parameters, p = ended.records.parameters, ended.records.parameters.size
    out, chance = np.ones(stand.values.shape), whiteness(ended)
    for i in rows:
        if chance[i] > errors.DOUBT:
            continue
        wide = errors.propagated(stand.jacobian[i], corrected(ended, i)[:p, :p], parameters.constant)
        ratio = np.sqrt(np.diag(wide) / np.diag(stand.covariance(i, parameters.constant)))
        out[i] = np.where(np.isfinite(ratio), np.maximum(ratio, 1.0), 1.0)
    return out


def _lower(ended: Ended, stand: Standing, walks: list[Walk], options: Options) -> Any:
    """The searches, gone on from what walks met that costs less; None where they met nothing."""
    u, x, cost = (np.array(part) for part in (ended.search.u, ended.search.x, ended.search.cost))
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
    found = run(ended.likelihood.at(some), jnp.asarray(u[some]), jnp.asarray(x[some]), options, "from its profile")
    return ended.search.put(some, ended.search.at(some).better(found))


def _ending(ended: Ended, stand: Standing, walks: list[Walk]) -> Ended:
    """Searches that creep along a flat valley have ended where the whole profile has nothing lower."""
    search, rows = ended.search, np.unique(walks[-1].lanes.row)
    least = np.full(len(search.cost), np.inf)
    for walk in walks:
        np.minimum.at(least, walk.lanes.row, walk.lowest.cost)
    level = rows[least[rows] > search.cost[rows] - LOWER * stand.variance[rows]]
    failed, done = np.array(search.failed), np.array(search.done)
    failed[level], done[level] = False, True
    return ended._replace(search=search._replace(failed=failed, done=done))
