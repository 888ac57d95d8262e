r"""Where dry friction stops a motion: on which of its turns it does, other searches told.

Friction a little greater stops a motion one half-swing sooner, on the other side. As friction grows, the place of rest
moves to the edge of where friction can hold, back to the other edge, and so on: a zigzag, and the sum of squares has a
valley in each of its straight lines. A search ends in one of them.

All before the last turns is smooth. With H the information of these readings, and g the derivative of the place of
rest, the line along

    v = H^-1 g / sqrt(g^T H^-1 g)

moves that place at the least cost: by one standard error of what the readings before the last turns say of it, each
step of 1. The cost is looked at all along this line, and searches begin at the bottom of other valleys.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .least_squares import LeastSquares
from .loss import SQUARES
from .normal import Normal
from .parameters import Parameters
from .search import LEAST, SAME, Options, Search, padded, run

TURNS = 3  # the last ones, that friction a little greater or less does not have, or has more of
STILL = 1e-9  # of a channel's scatter: a reading that moves by less does not move
REACH, STEP = 4.0, 0.25  # how far along the line valleys are looked for, and how finely, in standard errors
MOST = 100  # steps
OTHERS = 2  # valleys that a search begins in
ROUNDS = 4  # as long as one finds a lower one: its line is another
TINY = 1e-6  # of a step, by which the line of values is told
RIDGE = 1e-12  # on a unit diagonal: what the readings do not tell, goes nowhere


class Last(NamedTuple):
    """Of one channel of a run of each record (r,): whether its motion stops, or is about to; the row from which on are
    its last turns; and the row of the last one."""

    stops: np.ndarray
    turns: np.ndarray
    row: np.ndarray


def on_their_turns(likelihood: LeastSquares, found: Search, options: Options) -> Search:
    """The searches, those of motions that friction stops in the lowest of the valleys near them."""
    if not likelihood.system.damping.sticks:
        return found
    left = np.flatnonzero(np.isfinite(found.cost))
    for _ in range(ROUNDS):
        if not left.size:
            break
        # Of as many as before, or of a few: few programs serve all counts.
        some = np.resize(left, min(len(found.u), max(LEAST, len(padded(left)))))
        here = found.at(some)
        better = _lower(likelihood.at(some), here, options)
        lower = (better.cost < here.cost - SAME * np.asarray(here.normal.unit))[: len(left)]
        left = left[lower]
        found = found.put(left, better.at(np.flatnonzero(lower)))
    return found


def _lower(likelihood: LeastSquares, found: Search, options: Options) -> Search:
    """The same, or from there the lowest of neighbouring valleys, of one run after another."""
    y, weight = np.asarray(likelihood.windows.y), np.asarray(likelihood.windows.weight)
    off = replace(likelihood, loss=SQUARES).all_innovations(found.u, found.x)
    predicted = np.where(weight > 0, y + off / np.where(weight > 0, weight, 1.0), np.nan)
    for w, channel in np.ndindex(*y.shape[1::2]):
        last = _last(predicted[:, w, :, channel])
        if last.stops.any():
            for u, x in _valleys(likelihood, found, last, w, channel):
                other = run(likelihood, u, x, options, "on another turn")
                found = found.better(other._replace(iterations=found.iterations + other.iterations))
    return found


def _last(predicted: np.ndarray) -> Last:
    """Of readings (r, m) as they are predicted; NaN where there is none."""
    n = len(predicted)
    stops, turns, row = np.zeros(n, bool), np.zeros(n, int), np.zeros(n, int)
    for r, path in enumerate(predicted):
        rows = np.flatnonzero(np.isfinite(path))
        if rows.size < 2:
            continue
        move = np.diff(path[rows])
        move = np.where(np.abs(move) < STILL * np.std(path[rows]), 0.0, np.sign(move))
        at = np.flatnonzero(np.diff(move)) + 1  # where it turns, or stops
        if len(at) < 2:
            continue
        travel = np.abs(np.diff(path[rows[np.append(0, at)]]))[-3:]
        lost = (travel[0] - travel[-1]) / (len(travel) - 1)  # in a half-swing
        stops[r] = move[-1] == 0 or travel[-1] < 2 * lost
        turns[r], row[r] = rows[at[-min(TURNS, len(at) - 1)]], rows[at[-1]]
    return Last(stops, turns, row)


def _valleys(
    likelihood: LeastSquares, found: Search, last: Last, w: int, channel: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Coordinates and states of the lowest bottoms of valleys along the line of this run, but for the one where the
    search is: it is put in the place of valleys that a record has too few of."""
    along, away = _line(likelihood, found, last, w, channel)
    u, x, n = np.asarray(found.u), np.asarray(found.x), len(away)
    reach = np.maximum(REACH * np.sqrt(np.asarray(found.normal.unit)), 1e-150)
    away = np.where(np.isfinite(away), away, 0.0)
    low, high = np.minimum(away, 0.0) - reach, np.maximum(away, 0.0) + reach
    count = np.max((high - low) / reach * REACH / STEP, where=last.stops, initial=0.0)
    steps = np.linspace(low, high, int(np.ceil(min(count, MOST))), axis=1)
    steps = np.sort(np.concatenate([np.where(last.stops[:, None], steps, 0.0), np.zeros((n, 1))], axis=1))
    go = _along(likelihood.parameters, u, along[:, : u.shape[1]])

    def at(k):
        step = steps[np.arange(n), k][:, None]
        return go(step), x + (step * along[:, u.shape[1] :]).reshape(x.shape)

    cost = np.stack([_evaluated(likelihood, *at(np.full(n, k))).cost for k in range(steps.shape[1])], axis=1)
    cost = np.where(np.isfinite(cost), cost, np.inf)
    edge = np.full((n, 1), np.inf)
    bottom = (cost < np.append(edge, cost[:, :-1], 1)) & (cost <= np.append(cost[:, 1:], edge, 1)) & (steps != 0)
    here = np.argmin(np.abs(steps), axis=1)
    ranks = np.argsort(np.where(bottom, cost, np.inf), axis=1)[:, :OTHERS]
    taken = np.where(np.take_along_axis(bottom, ranks, 1), ranks, here[:, None])
    return [at(k) for k in taken.T if np.any(k != here)]


def _along(parameters: Parameters, u: np.ndarray, along: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Coordinates after steps (r, 1) on a straight line of values, of which the motion is more nearly a linear function
    than of their logs."""
    p = parameters.size
    values = parameters.loosen(u[:, :p])
    each = (parameters.loosen(u[:, :p] + TINY * along[:, :p]) - values) / TINY

    def go(step):
        return np.concatenate([parameters.tighten(values + step * each, u[:, :p]), (u + step * along)[:, p:]], axis=1)

    return go


def _line(likelihood: LeastSquares, found: Search, last: Last, w: int, channel: int) -> tuple[np.ndarray, np.ndarray]:
    """v (r, coordinates and states), and how far along it (r,) readings before the last turns have their optimum."""
    weight = np.asarray(likelihood.windows.weight)
    early, rest = weight.copy(), np.zeros_like(weight)
    for r, (begin, row) in enumerate(zip(last.turns, last.row, strict=True)):
        early[r, w, begin:] = 0.0
        rest[r, w, row, channel] = weight[r, w, row, channel]
    p, size = np.shape(found.u)[1], likelihood.parameters.size
    gradient, h = _equations(_weighed(likelihood, early, found))
    _, place = _equations(_weighed(likelihood, rest, found))  # of one reading: g g^T
    size_of = np.diagonal(place, axis1=1, axis2=2).copy()
    size_of[:, size:p] = -1.0  # what is fitted of the zero moves no place of rest
    column = np.argmax(size_of, axis=1)
    g = place[np.arange(len(h)), :, column]
    g[:, size:p] = 0.0
    root = np.sqrt(np.diagonal(h, axis1=1, axis2=2))
    root = np.where(root > 0, root, 1.0)
    scaled = h / root[:, :, None] / root[:, None, :] + RIDGE * np.eye(h.shape[1])
    v = np.linalg.solve(scaled, (g / root)[..., None])[..., 0] / root
    v = v / np.sqrt(np.maximum(np.sum(g * v, axis=1), 1e-300))[:, None]
    return v, -np.sum(gradient * v, axis=1)


def _weighed(likelihood: LeastSquares, weight: np.ndarray, found: Search) -> Normal:
    """The equations where searches ended, of these weights."""
    windows = replace(likelihood.windows, weight=weight)
    return _evaluated(replace(likelihood, windows=windows), found.u, found.x).normal


def _evaluated(likelihood: LeastSquares, u: Any, x: Any) -> Search:
    """The cost there, by the search's own program: another takes longer to compile than this one to run."""
    return run(likelihood, u, x, Options(1))


def _equations(normal: Normal) -> tuple[np.ndarray, np.ndarray]:
    """The gradient (r, n) and the information (r, n, n) of coordinates and states."""
    g, a, gx, b, c = (np.asarray(part) for part in (normal.g, normal.a, normal.gx, normal.b, normal.c))
    r, p = g.shape
    w, k = gx.shape[1:]
    h = np.zeros((r, p + w * k, p + w * k))
    h[:, :p, :p] = a
    for i in range(w):
        own = slice(p + i * k, p + (i + 1) * k)
        h[:, :p, own], h[:, own, :p], h[:, own, own] = b[:, i], np.swapaxes(b[:, i], 1, 2), c[:, i]
    return np.concatenate([g, gx.reshape(r, w * k)], axis=1), h
