"""Start values from short windows: the equation of motion integrated twice, with the readings put into it; or of other
readings the frequency of their spectrum.

Windows of two cycles forgive what is off by tens of percent, and need no guess.
"""

from dataclasses import replace

import numpy as np

from . import linear, search, starts
from .least_squares import pose
from .likelihood import innovations_of_all
from .motion import Integral
from .record import Records
from .search import Options, padded, run
from .which_motion import motion_for

STARTS = 16  # phases of a swing
ROUGH = 1e-2  # of the cost of a standard error: start values need no more
LINEAR, START = 2, 8  # iterations that they are worth, of a linear system or another


def start_cost(records: Records, omega: np.ndarray, length: int, options: Options) -> np.ndarray:
    """Of each record, how well short windows can be explained."""
    u, x, cost = integrate(records, omega, length, options)
    if cost is not None:
        return cost
    motion = motion_for(records.system, records.d, *pace(records, omega, x))
    few = options._replace(most=START, tolerance=ROUGH)
    return run(pose(records, length, motion), u, x.reshape(len(records), -1, x.shape[-1]), few, "start values").cost


def integrate(
    records: Records, omega: np.ndarray, length: int, options: Options
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Start values u, the states of windows (r, runs, windows, 2 d), and what was left: the equation of motion,
    integrated twice, with the readings put in, over windows of two cycles.

    It is linear in damping, stiffness and the like, needs no derivative of the data, and no guess.
    """
    r, w, d = len(records), records.y.shape[1], records.d
    parameters = records.parameters
    flat, line = starts.without_trend(records)
    beside = np.concatenate([flat.middle, line, np.zeros((r, int(records.free_delay)))], axis=1)
    if records.readout is not None:
        return *_by_spectrum(records, omega, beside, length), None
    first = starts.sensible(records, omega)
    problem = pose(replace(flat.without_level(), parameters=parameters.unbounded()), length, Integral())
    position = problem.windows.y[:, :, 0, :d]
    states = np.concatenate([position, np.zeros_like(position)], axis=-1)
    once = linear.is_linear(records.system)
    options = options._replace(most=LINEAR if once else START, tolerance=ROUGH, damping=search.BOLD)
    found = run(problem, parameters.loosen(first), states, options, "start values")
    left = np.flatnonzero(~found.ended & (not once))
    if left.size:  # what is not linear in a number that is far off, as a pendulum in its frequency, does not get there
        some, likely = padded(left), parameters.loosen(starts.sensible(records, omega, 1.0))
        other = run(problem.at(some), likely[some], states[some], options, "start values")
        found = found.put(some, found.at(some).better(other))
    u = parameters.tighten(np.asarray(found.u), first)
    u = np.concatenate([u, beside], axis=1)
    return u, np.array(found.x).reshape(r, w, -1, 2 * d), found.cost


def _by_spectrum(records: Records, omega: np.ndarray, beside: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Start values where readings are not of the position: the frequency is theirs too; states at rest, from where one
    step finds all of them if the reading is a linear function of these, else the likeliest phase of a swing."""
    r, w, d = len(records), records.y.shape[1], records.d
    u = starts.sensible(records, omega, 1.0 if d == 1 else 100.0)
    u = np.concatenate([u, beside], axis=1)
    count = -(-records.longest // length)
    states = np.zeros((r, w * count, 2 * d))
    if not records.readout.is_affine:  # type: ignore[union-attr]
        motion = motion_for(records.system, records.d, *pace(records, omega, states[:, None]))
        problem, best = pose(records, length, motion), np.full(states.shape[:2], np.inf)
        for phase in 2 * np.pi * np.arange(STARTS) / STARTS:
            at = phase + np.pi * np.arange(d) / (2 * d)
            swing = np.sqrt(2) * np.concatenate([np.cos(at) + 0 * omega[:, None], -np.sin(at) * omega[:, None]], axis=1)
            trial = np.broadcast_to(swing[:, None], states.shape)
            cost = np.sum(innovations_of_all(problem, u, trial) ** 2, (2, 3))
            better = cost < best
            states, best = np.where(better[..., None], trial, states), np.where(better, cost, best)
    return u, states.reshape(r, w, count, 2 * d)


def pace(records: Records, omega: np.ndarray, x: np.ndarray) -> tuple[float, float, float]:
    """The fastest record's angular frequency, the longest interval and the longest run."""
    d = records.d
    size, speed = (np.sqrt(np.sum(part**2, (1, 2, 3))) for part in (x[..., :d], x[..., d:]))
    swing = speed / np.maximum(size, 1e-300)
    fastest = np.max(np.maximum(omega, np.minimum(np.where(np.isfinite(swing), swing, 0.0), 2 * omega)))
    inner = np.diff(records.ts, axis=2)[records.within[:, :, 1:]]
    return float(fastest), float(np.max(inner, initial=1.0)), float(np.max(records.ts * records.within))
