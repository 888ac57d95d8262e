"""How the least cost rises as one value is held farther and farther off its best, all else refitted: many at a time.

A lane is one record, one of its values and a side, up or down. Every lane walks outwards, each search from where the
last one ended and from the line through the last two, until the cost has risen enough; what it meets is bracketed and
found by the Illinois rule. sqrt(2 (cost - least) / variance) is the number of standard errors, were it a parabola.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from . import search
from .derived import swinging
from .likelihood import Likelihood
from .normal import Held
from .parameters import Parameters
from .record import Records
from .search import Options
from .standing import natural

FAR = 1e3  # standard errors: all that is farther counts as this
GROWTH, FASTER = 3.0, 10.0  # of a walk's distance, for NEARBY steps and then
NEARBY, OUTWARDS, INWARDS = 3, 9, 25  # the first steps; until nothing is met; and between two ends
FINE = 1e-3  # of the errors reached, of the way there, or of what is left to the bound: then an end is found
BEYOND = 4.0, 30.0  # times as far as an end, where another valley is looked for
SMALLEST = 12  # searches side by side; else four times as many, and so on: few programs serve all
AT = 7.0  # below the log of an error: a value there is at its bound
TINY = 1e-6  # of a coordinate's change, by which a tangent is told
BELOW, NOTHING = 30.0, -250.0  # the log of an optimum's distance from a bound, and any: nothing tells it from none
ITERATIONS, TOLERANCE = 60, 1e-5  # of a search with one value held; of the cost of an error, which ends it
QUICK = 1e-2  # the same of a first look


class Lanes(NamedTuple):
    """Of which record, which value, its number as a coordinate too, from where, and towards which limit."""

    row: np.ndarray
    coordinate: np.ndarray
    value: np.ndarray
    limit: np.ndarray

    @property
    def size(self) -> int:
        return len(self.row)


class Point(NamedTuple):
    """Where the lanes are: the value that is held, the coordinates and the states, and the cost."""

    value: np.ndarray
    u: np.ndarray
    x: np.ndarray
    cost: np.ndarray

    def at(self, lanes: np.ndarray) -> "Point":
        """Of some lanes."""
        return Point(*(part[lanes] for part in self))

    def put(self, lanes: np.ndarray, some: "Point") -> "Point":
        """With those of some lanes."""
        out = Point(*map(np.array, self))
        for whole, part in zip(out, some, strict=True):
            whole[lanes] = part
        return out


class Walk:
    """Where lanes have come to, and the lowest that they have met.

    The optima are u (r, q), x (r, w, k), cost (r,), with the variance (r,) of a residual; error: (r, p), about;
    `tangent` (r, p, q): how the coordinates go along, all else refitted, as one of the first p does; `fastest` (r,):
    the angular frequency beyond which a swing looks like a slower one: a walk goes there only from an optimum there.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        parameters: Parameters,
        lanes: Lanes,
        optimum: tuple,
        variance: Any,
        error: Any,
        tangent: Any,
        fastest: Any,
    ):
        u, x, cost = (np.asarray(part)[lanes.row] for part in optimum)
        self.parameters, self.lanes = parameters, lanes
        self.least, self.variance = cost, np.asarray(variance)[lanes.row]
        self.inner = self.before = self.tried = self.lowest = Point(lanes.value, u, x, cost)
        self.likelihood = likelihood
        swing = swinging(likelihood.system, parameters, natural(u, parameters)[0])
        fastest = np.asarray(fastest)[lanes.row]
        self.fastest = np.where(swing > fastest, np.inf, fastest)
        back = u - TINY * np.asarray(tangent)[lanes.row, lanes.coordinate]
        value = natural(back, parameters)[0][np.arange(lanes.size), lanes.coordinate]
        self.before = Point(value, back, x, cost)
        # No search leaves a bound, where the cost is level in log (value - bound): they begin an error inside of it.
        away = np.log(np.asarray(error)[lanes.row])
        one_sided = np.sum(np.isfinite(parameters.limits), axis=1) == 1
        held = u[np.arange(lanes.size), lanes.coordinate]
        self.nearest = np.where(one_sided[lanes.coordinate], np.maximum(held - BELOW, NOTHING), -np.inf)
        self.lift = np.full(u.shape, -np.inf)
        self.lift[:, : parameters.size] = np.where(one_sided & np.isfinite(away), away, -np.inf)

    def rise(self, values: np.ndarray, going: np.ndarray, quickly: bool = False) -> np.ndarray:
        """In standard errors, of each lane that is going at its value; 0 of others.

        `quickly`: to a hundredth of one, and along the lane's line alone where nothing is at its bound: never too low.
        """
        out, lanes = np.zeros(self.lanes.size), np.flatnonzero(going)
        if not lanes.size:
            return out
        n, at, held = len(lanes), self.lanes.coordinate[lanes], values[lanes]
        u, x, lifted = self._starts(lanes, held)
        tried = np.flatnonzero(np.append(lifted | (not quickly), np.ones(n, bool)))
        size = SMALLEST * 4 ** max(0, math.ceil(math.log(len(tried) / SMALLEST, 4)))
        batch = np.resize(tried, size)
        free = np.arange(u.shape[1]) != at[batch % n, None]
        problem = Held(self.likelihood.at(self.lanes.row[lanes][batch % n]), free)
        options = Options(ITERATIONS, tolerance=QUICK if quickly else TOLERANCE)
        found = search.run(problem, u[batch], x[batch], options).at(np.arange(len(tried)))
        swing = swinging(self.likelihood.system, self.parameters, natural(found.u, self.parameters)[0])
        told = np.isfinite(found.cost) & ~(swing > self.fastest[lanes][tried % n])
        cost, where = np.full(2 * n, np.inf), np.zeros(2 * n, int)
        cost[tried], where[tried] = np.where(told, found.cost, np.inf), np.arange(len(tried))
        best = np.arange(n) + n * ((cost[n:] < cost[:n]) | ~np.isin(np.arange(n), tried))
        point = Point(held, np.asarray(found.u)[where[best]], np.asarray(found.x)[where[best]], cost[best])
        self.tried = self.tried.put(lanes, point)
        lower = self.tried.cost < self.lowest.cost
        self.lowest = self.lowest.put(lower, self.tried.at(lower))
        more = 2 * (cost[best] - self.least[lanes]) / self.variance[lanes]
        out[lanes] = np.sqrt(np.clip(np.where(np.isfinite(more), more, np.inf), 0.0, FAR**2))
        return out

    def _starts(self, lanes: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two for each lane: where it stands but off bounds, or what is far off in proportion; and along its line. And
        which were taken off bounds."""
        n, at = len(lanes), self.lanes.coordinate[lanes]
        inner, before = self.inner.at(lanes), self.before.at(lanes)
        # At a bound itself nothing has a derivative.
        pins = np.maximum(self.parameters.coordinate(at, held), self.nearest[lanes])
        gone = inner.value - before.value
        part = np.where(gone == 0, 0.0, (held - inner.value) / np.where(gone == 0, 1.0, gone))[:, None]
        stands = self._in_proportion(inner, before, at, held, pins)
        low = stands < self.lift[lanes] - AT
        u = np.concatenate([np.where(low, self.lift[lanes], stands), self._along(inner.u, before.u, part)])
        u[np.arange(2 * n), np.tile(at, 2)] = np.tile(pins, 2)
        return u, np.concatenate([inner.x, inner.x + part[..., None] * (inner.x - before.x)]), low.any(1)

    def _along(self, inner: np.ndarray, before: np.ndarray, part: np.ndarray) -> np.ndarray:
        """Coordinates on a straight line of values: along a valley they are in proportion, not their logs."""
        parameters, p = self.parameters, self.parameters.size
        with np.errstate(all="ignore"):
            out = inner + part * (_finite(inner) - _finite(before))
            here, there = natural(inner, parameters)[0], natural(before, parameters)[0]
            values = here + part * (here - there)
            u = parameters.coordinate(np.arange(p), values)
            out[:, :p] = np.where(np.isfinite(u), u, inner[:, :p])
        return out

    def _in_proportion(
        self, inner: Point, before: Point, at: np.ndarray, held: np.ndarray, pins: np.ndarray
    ) -> np.ndarray:
        """Coordinates on a straight line of the values' logs, where the value that is held changes by a factor."""
        p = self.parameters.size
        real = ~np.any(np.isfinite(self.parameters.limits), axis=1)
        here, there = (_logs(point.u[:, :p], real) for point in (inner, before))
        out, lanes = np.array(inner.u), np.arange(len(at))
        with np.errstate(all="ignore"):
            slope = (here - there) / (here - there)[lanes, at][:, None]
            gone = (_logs(pins, real[at]) - here[lanes, at])[:, None]
            moved = np.where(real, out[:, :p] * np.exp(slope * gone), out[:, :p] + slope * gone)
            far = (np.abs(gone) > np.log(GROWTH)) & (held * inner.value > 0)[:, None]
        out[:, :p] = np.where(far & np.isfinite(moved), moved, out[:, :p])
        return out

    def advance(self, where: np.ndarray) -> None:
        """What was tried last is where these lanes stand."""
        self.before = self.before.put(where, self.inner.at(where))
        self.inner = self.inner.put(where, self.tried.at(where))


def fastest(records: Records) -> np.ndarray:
    """(r,): half a turn between readings, where times are even."""
    return np.pi / records.step if records.even else np.full(len(records), np.inf)


def ends(walk: Walk, first: np.ndarray, reach: np.ndarray, going: np.ndarray) -> np.ndarray:
    """Where the cost of each lane that is going has risen by `reach` errors, looked for from `first` on; the limit if
    it never has.

    An end beyond which the cost falls again is not the last: a second valley belongs to the interval.
    """
    lanes = walk.lanes
    end = _one_end(walk, first, reach, going, lanes.limit.copy())
    for times in BEYOND:
        away = towards(lanes, lanes.value + times * (end - lanes.value))
        looked = going & np.isfinite(end) & (end != lanes.limit)
        again = looked & (walk.rise(away, looked) < reach)
        if again.any():
            walk.advance(again)
            farther = towards(lanes, lanes.value + GROWTH * (away - lanes.value))
            end = np.where(again, _one_end(walk, farther, reach, again, lanes.limit.copy()), end)
    return end


def _one_end(walk: Walk, outer: np.ndarray, reach: np.ndarray, going: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Outwards until the cost has risen by enough, then between."""
    lanes, going = walk.lanes, going.copy()
    inside = np.zeros(lanes.size)  # of walk.inner
    outside, met = np.zeros(lanes.size), np.zeros(lanes.size, bool)
    for step in range(OUTWARDS):
        outer = towards(lanes, outer)
        rise = walk.rise(outer, going)
        over = going & (rise >= reach)
        met, outside = met | over, np.where(over, rise, outside)
        inside = np.where(going & ~over, rise, inside)
        walk.advance(going & ~over)
        going = going & ~over & (outer != lanes.limit)
        if not going.any():
            break
        farther = GROWTH if step < NEARBY else FASTER
        outer = np.where(going, lanes.value + farther * (outer - lanes.value), outer)
    return np.where(met, _between(walk, outer, inside - reach, outside - reach, met, reach), end)


def _between(walk: Walk, outer: np.ndarray, low: np.ndarray, high: np.ndarray, going: np.ndarray, reach: np.ndarray):
    """The root between where the lanes stand, where the excess is `low` < 0, and `outer`, where it is `high` > 0."""
    going, side = going.copy(), np.zeros(len(outer))
    for _ in range(INWARDS):
        gap = np.where(going, high - low, 1.0)
        part = np.clip(-low / gap, 0.01, 0.99)
        middle = walk.inner.value + part * (outer - walk.inner.value)
        excess = walk.rise(middle, going) - reach
        under = going & (excess < 0)
        over = going & ~under
        # Illinois: an end that stays twice counts half.
        high = np.where(over, excess, np.where(under & (side < 0), high / 2, high))
        low = np.where(under, excess, np.where(over & (side > 0), low / 2, low))
        outer = np.where(over, middle, outer)
        side = np.where(under, -1.0, np.where(over, 1.0, side))
        walk.advance(under)
        away = [np.abs(x - walk.inner.value) for x in (walk.lanes.limit, outer, walk.lanes.value)]
        close = away[1] <= FINE * np.minimum(np.maximum(away[1], away[2]), away[0])
        going = going & (np.abs(excess) > FINE * reach) & ~close
        outer = np.where(under & ~going, middle, outer)
        if not going.any():
            break
    return outer


def _logs(u: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Of the sizes of values without a bound; the coordinates of others are logs already."""
    return np.where(real, np.log(np.abs(u) + 1e-300), u)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 0.0)


def towards(lanes: Lanes, values: np.ndarray) -> np.ndarray:
    """No farther than the limits."""
    return np.where(lanes.limit > lanes.value, np.minimum(values, lanes.limit), np.maximum(values, lanes.limit))
