"""Deterministic records: start values from the data alone, then least squares over windows that grow to whole runs.

A phase error of half a turn is a wrong minimum, so a long record finds its parameters only from a start that is right
to one part in its number of cycles. Windows of two cycles forgive tens of percent; what all of them say together is
good for windows many times as long, and so on, with all of the data used at every stage. Whole runs are tried first:
where the start keeps their phase, nothing else is needed. All records go through this side by side; each is kept where
it ended best.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from . import delay, linear, starts, stops
from .between import BAND, INPUTS, Ways, most_likely
from .least_squares import LeastSquares, pose, rates_of_all
from .likelihood import Likelihood, innovations_of_all
from .loss import SQUARES, Loss, Squares, named
from .record import Records, joined
from .search import Options, Search, go_on, padded, run
from .short_windows import ROUGH, integrate, pace, start_cost
from .weights import change, told, weighed, with_clock, without_spikes
from .which_motion import motion_for

GROWTH = 6  # how much longer the next windows are
KEPT = 0.2  # of the motion may be left unexplained where a search over whole runs begins
HALVINGS = 6  # of the step, till it no longer matters
REWEIGHTINGS, ROBUST = 4, 20  # by residuals: of squares, and of another loss
SETTLED = 1e-6  # changes of weights that matter no more
STAGE = 30  # iterations that windows are worth
TRIAL, BENT = 5, 15  # and whole runs that may have lost phase: if not linear, windows take longer to compile than these


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


class Near(NamedTuple):
    """Where a search begins that need not look for its start: flat values of parameters, the coordinates beside them,
    and the states of runs (w, k), in the fit's units; of one record."""

    values: np.ndarray
    beside: np.ndarray
    states: np.ndarray


def fit(rows: np.ndarray, ways: Ways, options: Options, loss: str = SQUARES.name, near: Near | None = None) -> Ended:
    """Every record's search, under the way of reading its input that fits best, its channels, and runs that scatter
    differently, weighed by their own residuals where their errors are unknown."""
    first, *others = ways
    whole, robust = ways[first], loss != SQUARES.name
    ways = {way: without_spikes(records) for way, records in ways.items()} if robust else ways
    records, likelihood, found = _begun(ways[first], options, _smooth(first, whole), near)
    looked = records.looked
    likelihood, found, fine = shorten(records, likelihood, found, options)
    found = stops.on_their_turns(likelihood, found, options)
    best = np.full(len(records), first)
    if others:
        records, likelihood, found, best, apart = _choose(ways, records.delay, likelihood, found, options)
        if looked is not None:
            looked[:, 2] = np.maximum(looked[:, 2], apart * (delay.lost(whole) > delay.ROUGH))
    if robust:
        heard = delay.moved(whole, records.delay).weight
        records = replace(records, y=whole.y, weight=heard)
    records, likelihood, found = _clocked(records, likelihood, found, options)
    likelihood, found, records, told = _weigh(records, likelihood, found, named(loss, len(records)), options)
    read = [f"; input {INPUTS[way]} between samples" if records.input is not None else "" for way in best]
    why = [f"the system has no noise{one}{other}" for one, other in zip(read, told, strict=True)]
    return Ended(rows, replace(records, looked=looked), likelihood, found, fine, LEAST_SQUARES, why)


def _clocked(
    records: Records, likelihood: LeastSquares, found: Search, options: Options
) -> tuple[Records, LeastSquares, Search]:
    """The search again with the errors of times in those of readings, till these stay."""
    if not np.any(records.time_error):
        return records, likelihood, found
    now = records
    for _ in range(REWEIGHTINGS):
        plain = pose(records, records.longest, likelihood.motion)
        rates = np.asarray(rates_of_all(plain, jnp.asarray(found.u), jnp.asarray(found.x)))
        new = with_clock(records, plain.all_innovations(found.u, found.x), rates)
        settled = np.all(change(now, new, SQUARES, SQUARES) < SETTLED)
        now, likelihood = new, pose(new, new.longest, likelihood.motion)
        found = _again(likelihood, found, options, "weighed by the clock")
        if settled:
            break
    return now, likelihood, found


def _weigh(
    records: Records, likelihood: LeastSquares, found: Search, loss: Loss, options: Options
) -> tuple[LeastSquares, Search, Records, list[str]]:
    """The search again under the weights and the loss that its residuals tell, scale and place in turn till they stay;
    and what was done, in words.

    Residuals are those of the records as they came, whatever was made of their weights before.
    """
    plain, now, posed = pose(records, records.longest, likelihood.motion), records, isinstance(loss, Squares)
    for _ in range(REWEIGHTINGS if isinstance(loss, Squares) else ROBUST):
        new, law = weighed(records, loss, plain.all_innovations(found.u, found.x))
        moved = np.flatnonzero((not posed) | (change(now, new, loss, law) > SETTLED))
        if not moved.size:
            break
        now, loss, posed = new, law, True
        likelihood = pose(now, now.longest, likelihood.motion, loss=loss)
        found = found.put(moved, _again(likelihood, found, options, "weighed by residuals").at(moved))
    return likelihood, found, now, told(now, records, loss, plain.all_innovations(found.u, found.x))


def _smooth(way: str, records: Records) -> bool:
    """Whether a curve through the samples of the input is what this way of reading it means."""
    return way == BAND or records.finer == 1


def _begun(records: Records, options: Options, smooth: bool, near: Near | None) -> tuple[Records, LeastSquares, Search]:
    """Every record's search over whole runs, with the input moved by the delay as given; or by the best of those at the
    bottom of valleys, which begin where the equation of motion, integrated over short windows, holds best."""
    if not records.free_delay:
        now = delay.moved(records, records.delay, smooth)
        return now, *(settle(now, options) if near is None else _from_near(now, near, options))
    omega = delay.common(records)
    tried = delay.trials(omega)
    part, heard, counts = delay.lanes(records, tried, smooth)
    length = starts.first_length(records.longest, float(np.median(omega)))
    cost = start_cost(part, np.tile(omega, len(tried)), length, options).reshape(tried.shape)
    first = delay.valleys(tried, np.where(counts, cost, np.inf))
    many = joined([replace(records, weight=heard)] * len(first))
    part = delay.moved(many, first.ravel(), smooth)
    rough = options._replace(most=min(STAGE, options.most), tolerance=ROUGH)
    part, likelihood, found = _follow(many, part, *settle(part, rough), rough, smooth)
    best, others = chosen(part, found, heard, delay.spacing(omega) / 2)
    now = delay.moved(records, part.delay[best], smooth)
    likelihood = pose(now, now.longest, likelihood.motion)
    found = _again(likelihood, at_once(found.at(best), likelihood), options, "input moved")
    now, likelihood, found = _follow(records, now, likelihood, found, options, smooth)
    return replace(now, looked=delay.looked_for(records, tried, counts, others)), likelihood, found


def chosen(lanes: Records, found: Search, heard: np.ndarray, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each record (r,) the lane whose search ended lowest, and the other delays that did as well; a lane that has
    left readings behind cannot be compared."""
    r = len(heard)
    whole = lanes.readings.reshape(-1, r) == np.sum(heard > 0, axis=(1, 2, 3))
    cost = np.where(whole, found.cost.reshape(-1, r), np.inf)
    unit = np.asarray(found.normal.unit).reshape(-1, r)
    best, others = delay.lowest(lanes.delay.reshape(-1, r), cost, unit, apart)
    return best * r + np.arange(r), others


def at_once(found: Search, likelihood: Likelihood) -> Search:
    """Where searches ended, with the input moved there."""
    u = np.array(found.u)
    u[:, likelihood.beside_at[2]] = 0.0
    return found._replace(u=jnp.asarray(u))


def _follow(
    records: Records, now: Records, likelihood: LeastSquares, found: Search, options: Options, smooth: bool
) -> tuple[Records, LeastSquares, Search]:
    """The search again with the input moved to where it ended, till it ends where it began; `records`: not moved."""
    if not records.free_delay:
        return now, likelihood, found
    at, omega = likelihood.beside_at[2], delay.common(records)
    for _ in range(delay.ROUNDS):
        step = delay.steps(np.asarray(found.u)[:, at][:, 0], omega)
        if step is None:
            break
        now = delay.moved(records, now.delay + step, smooth)
        likelihood = pose(now, now.longest, likelihood.motion)
        found = _again(likelihood, at_once(found, likelihood), options, "input moved")
    return now, likelihood, found


def settle(records: Records, options: Options) -> tuple[LeastSquares, Search]:
    """Every record's search over whole runs.

    What is no linear function of the state may decay beside its swing, and have twice the frequency of the motion, as
    q^2 does.
    """
    whole, found = _settle(records, starts.dominant(records), options)
    if records.readout is not None and not records.readout.is_affine:
        fastest = starts.dominant(records, rising=True)
        for omega in (fastest / 2, fastest):
            found = found.better(_settle(records, omega, options)[1])
    return whole, found


def _from_near(records: Records, near: Near, options: Options) -> tuple[LeastSquares, Search]:
    """The search over whole runs from there."""
    p = records.parameters
    u = np.maximum(p.coordinate(np.arange(p.size), near.values), starts.NOTHING)
    motion = motion_for(records.system, records.d, *pace(records, starts.dominant(records), near.states[None, :, None]))
    whole = pose(records, records.longest, motion)
    return whole, run(whole, np.concatenate([u, near.beside])[None], near.states[None], options, "whole runs")


def _settle(records: Records, omega: np.ndarray, options: Options) -> tuple[LeastSquares, Search]:
    """From a motion of this angular frequency."""
    longest = records.longest
    length = starts.first_length(longest, float(np.median(omega)))
    u, x, _ = integrate(records, omega, length, options)
    motion = motion_for(records.system, records.d, *pace(records, omega, x))
    whole = pose(records, longest, motion)
    states = x[:, :, 0].copy()
    trial = TRIAL if linear.is_linear(records.system) else BENT
    quick = options if length >= longest else options._replace(most=trial)
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
    for which in range(starts.OTHERS):
        left = np.flatnonzero(~(found.ended & in_phase(found.cost, whole.level, 0.0)))
        if not left.size:
            break
        some, plain = padded(left), starts.other_starts(records, omega)[which]
        start = np.concatenate([plain, u[:, plain.shape[1] :]], axis=1)[some]
        other = run(whole.at(some), start, states[some], options, "from another start")
        found = found.put(some, found.at(some).better(other))
    return whole, _of_relaxing(records, whole, found, options)


def _of_relaxing(records: Records, whole: LeastSquares, found: Search, options: Options) -> Search:
    """The better of what was found and of searches for a motion of two rates, where one explains the record."""
    if records.readout is not None:  # positions alone relax as the motion does
        return found
    flat, line = starts.without_trend(records)
    begin = starts.relaxing(flat, KEPT)
    if begin is None:
        return found
    offset = begin.offset if records.offset is None else begin.offset[:, :0]
    beside = np.concatenate([offset, line[begin.rows], np.zeros((len(begin.rows), int(records.free_delay)))], axis=1)
    some = padded(np.arange(len(begin.rows)))
    rows = begin.rows[some]
    for u in begin.u:
        u = np.concatenate([u, beside], axis=1)
        other = run(whole.at(rows), u[some], begin.states[some], options, "of two rates")
        found = found.put(rows, found.at(rows).better(other))
    return found


def in_phase(cost: np.ndarray, level: np.ndarray, floor: Any) -> np.ndarray:
    """Whether a prediction explains most of what windows, each with a state of its own, could explain."""
    floor = np.minimum(floor, level)
    return cost - floor < KEPT * (level - floor)


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
        finer = replace(likelihood, motion=motion)
        change = innovations_of_all(finer, found.u, found.x) - likelihood.all_innovations(found.u, found.x)
        fine = np.sum(change**2, (1, 2, 3)) < likelihood.fine_enough(np.asarray(found.normal.unit))
        if np.all(fine | ~found.ended):
            break
        likelihood, found = finer, _again(finer, found, options, "shorter steps")
    return likelihood, found, fine


def _again(likelihood: LeastSquares, found: Search, options: Options, title: str) -> Search:
    """Another problem, from where the last one ended; iterations are counted together."""
    again = run(likelihood, found.u, found.x, options, title)
    return again._replace(iterations=np.asarray(again.iterations) + np.asarray(found.iterations))


OF_INPUT = ("input", "slope", "weight", "delay")  # of records, that depend on how the input is read


def _choose(ways: Ways, late: np.ndarray, likelihood: LeastSquares, found: Search, options: Options) -> tuple:
    """Each record under the way of its input under which it is most likely, and how far from its delay (r,) that of
    another is which fits as well; `late`: by how much."""
    first = next(iter(ways))
    now = {way: delay.moved(records, late, _smooth(way, records)) for way, records in ways.items()}
    tried = {first: found}
    for way in list(ways)[1:]:
        posed = pose(now[way], now[way].longest, likelihood.motion)
        again = _again(posed, found, options, f"input {INPUTS[way]}")
        now[way], _, tried[way] = _follow(ways[way], now[way], posed, again, options, _smooth(way, ways[way]))
    readings = likelihood.freedom
    deviances = {way: readings * np.log(np.maximum(one.cost, 1e-300)) for way, one in tried.items()}
    best = most_likely(deviances)
    chosen: dict[str, Any] = {name: np.array(x) for name in OF_INPUT if (x := getattr(now[first], name)) is not None}
    for way, one in tried.items():
        rows = np.flatnonzero(best == way)
        found = found.put(rows, one.at(rows))
        for name, whole in chosen.items():
            whole[rows] = getattr(now[way], name)[rows]
    records = replace(now[first], **chosen)
    as_well = [one < np.min(list(deviances.values()), axis=0) + delay.ALIKE for one in deviances.values()]
    apart = np.abs(np.stack([one.delay for one in now.values()]) - records.delay)
    apart = np.max(np.where(as_well, apart, 0.0), axis=0)
    return records, pose(records, records.longest, likelihood.motion), found, best, apart
