"""Deterministic records: start values from the data alone, then least squares over windows that grow to whole runs.

A phase error of half a turn is a wrong minimum, so a long record finds its parameters only from a start that is right
to one part in its number of cycles. Windows of two cycles forgive tens of percent; what all of them say together is
good for windows many times as long, and so on, with all of the data used at every stage. Whole runs are tried first:
where the start keeps their phase, nothing else is needed. All records go through this side by side; each is kept where
it ended best.
"""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from . import linear, search, starts
from .between import INPUTS, Ways, most_likely
from .least_squares import LeastSquares, pose
from .likelihood import Likelihood, innovations_of_all
from .loss import SQUARES, Loss, Squares, named
from .motion import Integral, motion_for
from .record import Records
from .search import Options, Search, go_on, run
from .weights import change, told, weighed, without_spikes

GROWTH = 6  # how much longer the next windows are
KEPT = 0.2  # of the motion may be left unexplained where a search over whole runs begins
HALVINGS = 6  # of the step, till it no longer matters
REWEIGHTINGS, ROBUST = 4, 20  # by residuals: of squares, and of another loss
SETTLED = 1e-6  # changes of weights that matter no more
ROUGH = 1e-2  # of the cost of a standard error: start values need no more
LINEAR, START, TRIAL, STAGE = 2, 8, 5, 30  # iterations that start values, a first look, and windows are worth


class Ended(NamedTuple):
    """Where the searches of some records ended, and of which likelihood."""

    rows: np.ndarray  # which of the data they are
    records: Records
    likelihood: Likelihood
    search: Search
    fine: np.ndarray  # whether steps are known to be short enough
    method: str
    why: list[str]


LEAST_SQUARES = "least squares"


def fit(rows: np.ndarray, ways: Ways, options: Options, loss: str = SQUARES.name) -> Ended:
    """Every record's search, under the way of reading its input that fits best, its channels, and runs that scatter
    differently, weighed by their own residuals where their errors are unknown."""
    first, *others = ways
    whole, robust = ways[first], loss != SQUARES.name
    ways = {way: without_spikes(records) for way, records in ways.items()} if robust else ways
    records = ways[first]
    likelihood, found = settle(records, options)
    likelihood, found, fine = shorten(records, likelihood, found, options)
    best = np.full(len(records), first)
    if others:
        records, likelihood, found, best = _choose(ways, likelihood, found, options)
    if robust:
        records = eqx.tree_at(lambda r: (r.y, r.weight), records, (whole.y, whole.weight))
    likelihood, found, records, told = _weigh(records, likelihood, found, named(loss, len(records)), options)
    read = [f"; input {INPUTS[way]} between samples" if records.input is not None else "" for way in best]
    why = [f"the system has no noise{one}{other}" for one, other in zip(read, told, strict=True)]
    return Ended(rows, records, likelihood, found, fine, LEAST_SQUARES, why)


def _weigh(
    records: Records, likelihood: LeastSquares, found: Search, loss: Loss, options: Options
) -> tuple[LeastSquares, Search, Records, list[str]]:
    """The search again under the weights and the loss that its residuals tell, scale and place in turn till they stay;
    and what was done, in words.

    Residuals are those of the records as they came, whatever was made of their weights before.
    """
    plain, now, posed = pose(records, records.longest, likelihood.motion), records, isinstance(loss, Squares)
    for _ in range(REWEIGHTINGS if isinstance(loss, Squares) else ROBUST):
        new, law = weighed(records, loss, innovations_of_all(plain, found.u, found.x))
        moved = np.flatnonzero((not posed) | (change(now, new, loss, law) > SETTLED))
        if not moved.size:
            break
        now, loss, posed = new, law, True
        likelihood = pose(now, now.longest, likelihood.motion, loss=loss)
        found = found.put(moved, _again(likelihood, found, options, "weighed by residuals").at(moved))
    return likelihood, found, now, told(now, records, loss, innovations_of_all(plain, found.u, found.x))


def settle(records: Records, options: Options) -> tuple[LeastSquares, Search]:
    """Every record's search over whole runs."""
    omega, longest = starts.dominant(records), records.longest
    length = starts.first_length(longest, float(np.median(omega)))
    u, x = integrate(records, omega, length, options)
    motion = motion_for(records.system, *_pace(records, omega, x))
    whole = pose(records, longest, motion)
    states = x[:, :, 0].copy()
    quick = options if length >= longest else options._replace(most=TRIAL)
    found, floor = run(whole, u, states, quick, "whole runs"), np.zeros(len(records))
    left = np.arange(len(records))
    while length < longest:
        left = left[~in_phase(found.cost[left], whole.level[left], floor[left])]
        if not left.size:
            break
        some = padded(left)
        windows = pose(records.at(some), length, motion)
        part = run(
            windows,
            u[some],
            x[some].reshape(len(some), -1, x.shape[-1]),
            options._replace(most=STAGE),
            f"windows of {length}",
        )
        u[some], floor[some] = part.u, part.cost
        x[some] = np.asarray(part.x).reshape(x[some].shape)
        length = min(length * GROWTH, longest)
        x = x[:, :, ::GROWTH][:, :, : -(-longest // length)]
        states[some] = x[some, :, 0]
        found = found.put(some, run(whole.at(some), u[some], states[some], quick, "whole runs"))
    found = go_on(whole, found, options, "whole runs")
    for plain in starts.other_starts(records, omega):
        left = np.flatnonzero(~(found.ended & in_phase(found.cost, whole.level, 0.0)))
        if left.size:
            some = padded(left)
            start = np.concatenate([plain, u[:, plain.shape[1] :]], axis=1)[some]
            other = run(whole.at(some), start, states[some], options, "from another start")
            found = found.put(some, found.at(some).better(other))
    return whole, _of_relaxing(records, whole, found, options)


def _of_relaxing(records: Records, whole: LeastSquares, found: Search, options: Options) -> Search:
    """The better of what was found and of searches for a motion of two rates, where one explains the record."""
    begin = starts.relaxing(records, KEPT)
    if not begin.rows.size:
        return found
    some = padded(np.arange(len(begin.rows)))
    rows = begin.rows[some]
    for u in begin.u:
        u = np.concatenate([u, begin.offset], axis=1) if whole.free_offset else u
        other = run(whole.at(rows), u[some], begin.states[some], options, "of two rates")
        found = found.put(rows, found.at(rows).better(other))
    return found


def padded(rows: np.ndarray) -> np.ndarray:
    """Rows, some of them twice: as many as a power of two, so that few programs serve all counts."""
    return np.resize(rows, 2 ** int(np.ceil(np.log2(len(rows)))))


def in_phase(cost: np.ndarray, level: np.ndarray, floor: Any) -> np.ndarray:
    """Whether a prediction explains most of what windows, each with a state of its own, could explain."""
    floor = np.minimum(floor, level)
    return cost - floor < KEPT * (level - floor)


def integrate(records: Records, omega: np.ndarray, length: int, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """Start values u and the states of windows (r, runs, windows, 2 d): the equation of motion, integrated twice, with
    the readings put in, over windows of two cycles.

    It is linear in damping, stiffness and the like, needs no derivative of the data, and no guess.
    """
    r, w, d = len(records), records.y.shape[1], records.d
    parameters = records.parameters
    rows = records.within[..., None]
    middle = np.sum(records.y[..., :d] * rows, (1, 2)) / np.sum(rows, (1, 2))
    level = middle if records.offset is None else records.offset
    loose = eqx.tree_at(lambda r: r.parameters, records, parameters.unbounded())
    problem = pose(loose, length, Integral(), level)
    first = starts.sensible(records, omega)
    position = problem.windows.y[:, :, 0, :d] - level[:, None]
    states = np.concatenate([position, np.zeros_like(position)], axis=-1)
    enough = LINEAR if linear.is_linear(records.system) else START
    options = options._replace(most=enough, tolerance=ROUGH, damping=search.BOLD)
    found = run(problem, parameters.loosen(first), states, options, "start values")
    u = parameters.tighten(np.asarray(found.u), first)
    u = np.concatenate([u, middle], axis=1) if records.offset is None else u
    return u, np.array(found.x).reshape(r, w, -1, 2 * d)


def _pace(records: Records, omega: np.ndarray, x: np.ndarray) -> tuple[float, float, float]:
    """The fastest record's angular frequency, the longest interval and the longest run."""
    d = records.d
    size, speed = (np.sqrt(np.sum(part**2, (1, 2, 3))) for part in (x[..., :d], x[..., d:]))
    swing = speed / np.maximum(size, 1e-300)
    fastest = np.max(np.maximum(omega, np.minimum(np.where(np.isfinite(swing), swing, 0.0), 2 * omega)))
    inner = np.diff(records.ts, axis=2)[records.within[:, :, 1:]]
    return float(fastest), float(np.max(inner, initial=1.0)), float(np.max(records.ts * records.within))


def shorten(
    records: Records, likelihood: LeastSquares, found: Search, options: Options
) -> tuple[LeastSquares, Search, np.ndarray]:
    """The same fits with steps so short that half of them would move no value by a tenth of its standard error; and of
    which this is known."""
    fine = np.ones(len(records), bool)
    for _ in range(HALVINGS):
        motion = likelihood.motion.finer(records.system)
        if motion is None:
            break
        finer = eqx.tree_at(lambda p: p.motion, likelihood, motion)
        change = innovations_of_all(finer, found.u, found.x) - innovations_of_all(likelihood, found.u, found.x)
        fine = np.sum(change**2, (1, 2, 3)) < likelihood.fine_enough(np.asarray(found.normal.unit))
        if np.all(fine | ~found.ended):
            break
        likelihood, found = finer, _again(finer, found, options, "shorter steps")
    return likelihood, found, fine


def _again(likelihood: LeastSquares, found: Search, options: Options, title: str) -> Search:
    """Another problem, from where the last one ended; iterations are counted together."""
    again = run(likelihood, found.u, found.x, options, title)
    return again._replace(iterations=np.asarray(again.iterations) + np.asarray(found.iterations))


def _choose(ways: Ways, likelihood: LeastSquares, found: Search, options: Options) -> tuple:
    """Each record under the way of its input under which it is most likely."""
    tried = {next(iter(ways)): found}
    for way in list(ways)[1:]:
        posed = pose(ways[way], ways[way].longest, likelihood.motion)
        tried[way] = _again(posed, found, options, f"input {INPUTS[way]}")
    readings = likelihood.freedom
    best = most_likely({way: readings * np.log(np.maximum(one.cost, 1e-300)) for way, one in tried.items()})
    force = np.array(next(iter(ways.values())).input)
    for way, one in tried.items():
        rows = np.flatnonzero(best == way)
        found = found.put(rows, one.at(rows))
        force[rows] = np.asarray(ways[way].input)[rows]
    records = eqx.tree_at(lambda r: r.input, next(iter(ways.values())), force)
    return records, pose(records, records.longest, likelihood.motion), found, best
