"""Deterministic records: start values from the data alone, then least squares over windows that grow to whole runs.

A phase error of half a turn is a wrong minimum, so a long record finds its parameters only from a start that is right
to one part in its number of cycles. Windows of two cycles forgive tens of percent; what all of them say together is
good for windows many times as long, and so on, with all of the data used at every stage. Whole runs are tried first:
where the start keeps their phase, nothing else is needed.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..physics.system import System
from . import linear, solve
from .parameters import ABOVE, REAL, Parameters
from .predict import EXACT, INTEGRAL, STEPS, How, Problem, linearise, normal
from .units import Units
from .windows import Run, about_mean, cut

FIRST, GROWTH = 2.0, 6  # cycles of the first windows; how much longer the next ones are
KEPT = 0.2  # of the motion may be left unexplained where a search over whole runs begins
HALVINGS = 6  # of the step, till it no longer matters
PHASE = 0.7  # radians a step of the sixth-order solver may take
MODEST_PHASE = 0.1  # of a step of order 2, which a friction that does not compose starts with
COARSE_PHASE = 0.02  # below it, and over few enough radians, order 2 does


_residuals = eqx.filter_jit(lambda u, x, problem: linearise(u, x, problem)[0])


class Record(NamedTuple):
    """What is fitted to what: a system, its free parameters, and runs in the fit's units."""

    system: System
    parameters: Parameters
    units: Units
    runs: list[Run]
    offset: Any  # (d,) in the fit's units, or None if it is to be fitted
    d: int
    scalar: bool

    @property
    def longest(self) -> int:
        """Rows of the longest run."""
        return max(len(run.ts) for run in self.runs)


class Fitted(NamedTuple):
    """Where a search ended: coordinates, initial states, the problem solved, and the search itself."""

    u: np.ndarray
    x: np.ndarray
    problem: Problem
    search: solve.Search
    fine: bool = True  # whether its steps are known to be short enough


class Stage(NamedTuple):
    """What windows of one length have found."""

    u: np.ndarray
    x: np.ndarray
    counts: list[int]
    length: int


def fit(record: Record, most: int, report: Callable | None = None) -> Fitted:
    """Least squares over whole runs, from a start that needs nothing but the data."""
    omega = dominant(record.runs)
    stage, whole = integrate(record, omega)
    length, floor = stage.length, 0.0
    while True:
        problem, search, counts = prepare(record, stage, whole, omega)
        search = solve.run(normal, search, problem, 1, None)
        if length > whole or in_phase(float(search.normal.cost), problem, floor):
            break
        problem, search, counts = prepare(record, stage, length, omega)
        search = solve.run(normal, search, problem, 30, report)
        stage = Stage(np.asarray(search.u), np.asarray(search.x), counts, length)
        floor, length = float(search.normal.cost), length * GROWTH
    search = solve.run(normal, search._replace(failed=search.failed & False), problem, most, report)
    for plain in other_starts(record.parameters, record.system, record.units, omega):
        if not bool(search.failed) and in_phase(float(search.normal.cost), problem, 0.0):
            break
        other = solve.start(np.concatenate([plain, stage.u[len(plain) :]]), thin(stage, counts, length))
        other = solve.run(normal, other, problem, most, report)
        search = search if rank(search) <= rank(other) else other
    return refined(Fitted(np.asarray(search.u), np.asarray(search.x), problem, search), most, report)


def rank(search: solve.Search) -> tuple[bool, float]:
    """What ended is better than what did not, then what costs less."""
    return bool(search.failed), float(search.normal.cost)


def other_starts(parameters: Parameters, system: System, units: Units, omega: Any) -> tuple[np.ndarray, ...]:
    """For what the integrated equation starts badly, such as readings with spikes or much noise: the spectrum's
    frequency, with little damping or more, and the system as given."""
    plain = sensible(parameters, system, units, omega)
    likely = sensible(parameters, system, units, omega, 1.0)
    little = likely.copy()
    rates = {f"damping.{field}" for field in system.damping.likely(1.0, 1.0)}
    for name, kind, part in zip(parameters.names, parameters.kinds, parameters.slices, strict=True):
        if kind == ABOVE and name in rates:
            little[..., part] -= math.log(30)  # a decay over fifty cycles, not two
    return little, likely, plain


def integrate(record: Record, omega: float) -> tuple[Stage, int]:
    """Start values: the equation of motion, integrated twice, with the readings put in, over windows of two cycles.

    It is linear in damping, stiffness and the like, needs no derivative of the data, and no guess.
    """
    length = first_length(record.longest, omega)
    whole = -(-record.longest // length) * length
    middle = np.mean(np.concatenate([run.y[:, : record.d] for run in record.runs]), axis=0)
    level = middle if record.offset is None else record.offset
    parameters = record.parameters
    loose = record._replace(offset=level, parameters=parameters.unbounded())
    problem, counts = pose(loose, length, How(INTEGRAL))
    first = sensible(parameters, record.system, record.units, omega)
    search = solve.run(normal, solve.start(parameters.loosen(first), first_states(problem), solve.BOLD), problem, 50)
    u = parameters.tighten(np.asarray(search.u), first)
    return Stage(
        u if record.offset is not None else np.concatenate([u, middle]), np.asarray(search.x), counts, length
    ), whole


def first_length(longest: int, omega: float) -> int:
    """Rows of two cycles, or the whole of a record that has few."""
    first = max(12, math.ceil(FIRST * 2 * math.pi / omega))
    return longest if 2 * first > longest else first


def pose(record: Record, length: int, how: How) -> tuple[Problem, list[int]]:
    """The problem of windows of this length, and how many windows each run has."""
    windows, counts = cut(record.runs, length)
    free = record.offset is None
    level = np.zeros(record.d) if free else np.asarray(record.offset)
    rest = (windows, level, np.asarray(float(windows.readings)), how, free, record.scalar)
    return Problem(record.system, record.parameters, record.units, *rest), counts


def prepare(record: Record, stage: Stage, length: int, omega: float) -> tuple[Problem, solve.Search, list[int]]:
    """The problem of longer windows, and a search from where the shorter ones ended."""
    d = record.d
    swing = float(np.linalg.norm(stage.x[:, d:])) / max(float(np.linalg.norm(stage.x[:, :d])), 1e-300)
    how = how_to_step(record, max(omega, min(swing, 2 * omega)))
    problem, counts = pose(record, length, how)
    return problem, solve.start(stage.u, thin(stage, counts, length)), counts


def how_to_step(record: Record, omega: float) -> How:
    """The exact step where the system is linear; else a solver and steps short enough for this frequency."""
    if linear.is_linear(record.system):
        return How(EXACT)
    longest = max(float(np.max(np.diff(run.ts), initial=1.0)) for run in record.runs)
    phase = omega * longest
    if not composes(record.system):
        return How(STEPS, solver="BAOAB", substeps=max(1, math.ceil(phase / MODEST_PHASE)))
    whole = omega * max(float(run.ts[-1]) for run in record.runs)
    if phase < COARSE_PHASE and phase**2 / 24 * whole < 1e-4:
        return How(STEPS, solver="BAOAB")
    return How(STEPS, substeps=max(1, math.ceil(phase / PHASE)))


def dominant(runs: list[Run]) -> float:
    """The angular frequency, per step, that holds most of the motion: the greatest of the averaged spectrum."""
    length = 2 ** math.ceil(math.log2(max(len(run.ts) for run in runs))) * 4
    power = np.zeros(length // 2 + 1)
    for run in runs:
        even = np.arange(max(len(run.ts), 2)) * (run.ts[-1] / max(len(run.ts) - 1, 1))
        for y in run.y.T:
            level = np.interp(even, run.ts, y)
            power += np.abs(np.fft.rfft(level - level.mean(), length)) ** 2 / max(np.var(level), 1e-300)
    return 2 * np.pi * float(np.argmax(power[1:]) + 1) / length


def in_phase(cost: float, problem: Problem, floor: float) -> bool:
    """Whether a prediction explains most of what windows, each with a state of its own, could explain."""
    total = float(about_mean(problem.windows.weight, problem.windows.y))
    floor = min(floor, total)
    return cost - floor < KEPT * (total - floor)


def thin(stage: Stage, counts: list[int], length: int) -> np.ndarray:
    """The states of those windows that begin where the longer windows do."""
    factor = length // stage.length
    starts = np.concatenate([[0], np.cumsum(stage.counts)[:-1]])
    return np.concatenate([stage.x[s + factor * np.arange(n)] for s, n in zip(starts, counts, strict=True)])


def sensible(
    parameters: Parameters, system: System, units: Units, omega: np.ndarray | float, within: float = 100.0
) -> np.ndarray:
    """The coordinates of the system as given; numbers that no such record could show are put where one could.

    Dampings and stiffnesses within a factor (of a hundred) of what the record's frequency suggests are kept, and so are
    anharmonic coefficients that are no greater; else the search would begin far off in a unit that nobody meant.
    Frequencies and units of many records give a row of coordinates for each.
    """
    omega, time, length = (np.asarray(x, float)[..., None] for x in (omega, units.time, units.length))
    u = parameters.read(system)
    u = np.broadcast_to(u, (*omega.shape[:-1], len(u))).copy()
    rate = omega / time
    mass = mass_of(system)
    friction = system.damping.likely(0.1 * rate, length / time, mass)
    likely = {f"damping.{field}": value for field, value in friction.items()} | {
        "potential.stiffness": mass * rate**2,
        "potential.linear": mass * rate**2,
        "potential.frequency": math.sqrt(mass) * rate,
    }
    largest = {"potential.cubic": mass * (rate / length) ** 2, "potential.quadratic": mass * rate**2 / length}
    for name, kind, low, part in zip(
        parameters.names, parameters.kinds, parameters.low, parameters.slices, strict=True
    ):
        here = u[..., part]
        if kind == ABOVE and name in likely and np.all(low == 0):
            off = np.abs(here - np.log(likely[name])) > math.log(within)
            u[..., part] = np.where(off, np.log(likely[name]), here)
        elif kind == REAL and name in likely:
            size = np.abs(here) / likely[name]
            u[..., part] = np.where((size > within) | (size < 1 / within), likely[name], here)
        elif kind == REAL and name in largest:
            u[..., part] = np.where(np.abs(here) > within * largest[name], 0.0, here)
    return u


def mass_of(system: System) -> float:
    """The mean mass of small motions, about: for start values. 1 where the kinetic energy tells none."""
    mass = system.kinetic.small_mass
    if mass is None:
        return 1.0
    leaves = [np.diag(x) if np.ndim(x) == 2 else np.ravel(x) for x in jax.tree.leaves(mass)]
    return float(np.mean(np.concatenate(leaves)))


def first_states(problem: Problem) -> np.ndarray:
    """Each window's first reading, at rest: the integrated equation is linear in the states, so any start will do."""
    position = problem.windows.y[..., 0, : problem.d] - problem.offset[..., None, :]
    return np.concatenate([position, np.zeros_like(position)], axis=-1)


def again(fitted: Fitted, record: Record, most: int, report: Callable | None = None) -> Fitted:
    """The same search over other readings or inputs of the same shape, from where the last one ended."""
    problem, _ = pose(record, fitted.problem.windows.ts.shape[-1], fitted.problem.how)
    return _go_on(fitted, problem, most, report)


def _go_on(fitted: Fitted, problem: Problem, most: int, report: Callable | None) -> Fitted:
    """Another problem, from where the last one ended; iterations are counted together."""
    search = solve.run(normal, solve.start(fitted.u, fitted.x), problem, most, report)
    search = search._replace(iterations=search.iterations + fitted.search.iterations)
    return Fitted(np.asarray(search.u), np.asarray(search.x), problem, search, fitted.fine)


def reweighted(fitted: Fitted, record: Record, unknown: np.ndarray) -> Record:
    """The record with each channel whose error is unknown weighed by its own residuals."""
    windows = fitted.problem.windows
    r = np.asarray(_residuals(jnp.asarray(fitted.u), jnp.asarray(fitted.x), fitted.problem))
    squares = np.sum(r.reshape(windows.y.shape) ** 2, (0, 1)) / np.maximum(np.sum(windows.weight > 0, (0, 1)), 1)
    sizes = np.where(unknown, np.maximum(np.sqrt(squares), 1e-12), 1.0)
    return record._replace(runs=[replace(run, weight=run.weight / sizes) for run in record.runs])


def refined(fitted: Fitted, most: int, report: Callable | None = None) -> Fitted:
    """The same fit with steps so short that half of them would move no value by a tenth of its standard error.

    A change s of the residuals, in units of their error, moves the values by (J^T J)^-1 J^T s: in units of their own
    errors by |s| at most.
    """
    for _ in range(HALVINGS):
        problem = fitted.problem
        if problem.how.kind != STEPS:
            return fitted
        finer = with_shorter_steps(problem)
        at = jnp.asarray(fitted.u), jnp.asarray(fitted.x)
        change = float(jnp.sum((_residuals(*at, finer) - _residuals(*at, problem)) ** 2))
        if change < fine_enough(float(fitted.search.normal.unit), problem):
            return fitted
        fitted = _go_on(fitted, finer, most, report)
    return fitted._replace(fine=False)


def with_shorter_steps(problem: Problem) -> Problem:
    """The problem with half the step; the sixth order in place of the second, where friction composes."""
    how, composed = problem.how, composes(problem.system)
    same = how.solver == "kahan_li6" or not composed
    finer = How(STEPS, "kahan_li6" if composed else how.solver, 2 * how.substeps if same else how.substeps)
    return eqx.tree_at(lambda p: p.how, problem, finer)


def composes(system: System) -> bool:
    """Whether the sixth order, some of whose steps go backwards, is for this friction."""
    return system.damping.composes(system.kinetic)


def fine_enough(unit: Any, problem: Problem) -> Any:
    """The sum of squares by which residuals may change; at 1e-10 of the motion rounding is near."""
    motion = np.sum((problem.windows.weight * problem.windows.y) ** 2, (-3, -2, -1))
    return np.maximum(0.01 * unit, 1e-20 * motion)
