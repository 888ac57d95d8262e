"""Least squares of many records side by side, through the stages of `shooting`: each is kept where it ended best."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import linear, shooting, solve
from .batch import Batch, dominant
from .fit import REWEIGHTINGS
from .predict import INTEGRAL, STEPS, How, Problem, residuals
from .side_by_side import at, axes
from .windows import about_mean

ROUGH = 1e-2  # of the cost of a standard error: start values need no more
LINEAR, START, STAGE = 2, 8, 30  # iterations that start values, and windows on their way, are worth


def settle(batch: Batch, most: int, run: Callable) -> tuple[Batch, solve.Search]:
    """Every record's search, with steps that are short enough, and components weighed by their own residuals."""
    search, problem = search_all(batch, most, run)
    for _ in range(shooting.HALVINGS):
        if problem.how.kind != STEPS:
            break
        finer = shooting.with_shorter_steps(problem)
        change = np.sum((_residuals(search, finer) - _residuals(search, problem)) ** 2, (1, 2, 3))
        good = ~np.asarray(search.failed)
        if np.all((change < shooting.fine_enough(np.asarray(search.normal.unit), problem))[good]):
            break
        problem = finer
        search = run(np.asarray(search.u), np.asarray(search.x), problem, most, title="shorter steps")
    if batch.d > 1 and not np.all(batch.known):
        for _ in range(REWEIGHTINGS):
            batch = batch.reweighted(_residuals(search, problem)[:, 0])
            problem = batch.pose(batch.ts.shape[1], problem.how)
            search = run(np.asarray(search.u), np.asarray(search.x), problem, most, title="weighed by residuals")
    return batch, search


def _residuals(search: solve.Search, problem: Problem) -> np.ndarray:
    """Of all records, (r, 1, m, d)."""
    return np.asarray(_all_residuals(search.u, search.x, problem)).reshape(problem.windows.y.shape)


@eqx.filter_jit
def _all_residuals(u: jax.Array, x: jax.Array, problem: Problem) -> jax.Array:
    def one(u, x, problem):
        return jax.vmap(lambda state, window: residuals(u, state, window, problem))(x, problem.windows)

    return eqx.filter_vmap(one, in_axes=(0, 0, axes(problem)))(u, x, problem)


def search_all(batch: Batch, most: int, run: Callable) -> tuple[solve.Search, Problem]:
    """Every record through the stages of `shooting.fit`, side by side; each is kept where it ended best."""
    omegas, longest = dominant(batch), batch.ts.shape[1]
    length = shooting.first_length(longest, float(np.median(omegas)))
    middles = np.sum(batch.weight * batch.y, 1) / np.maximum(np.sum(batch.weight, 1), 1e-300)
    free_offset = batch.offset is None
    parameters = batch.parameters
    loose = batch._replace(offset=middles if free_offset else batch.offset, parameters=parameters.unbounded())
    problem = loose.pose(length, How(INTEGRAL))
    first = shooting.sensible(parameters, batch.system, batch.units, omegas)
    position = problem.windows.y[:, :, 0] - problem.offset[:, None]
    states = np.concatenate([position, np.zeros_like(position)], axis=-1)
    enough = LINEAR if linear.is_linear(batch.system) else START
    search = run(parameters.loosen(first), states, problem, enough, ROUGH, solve.BOLD, title="start values")
    u, x = parameters.tighten(np.asarray(search.u), first), np.asarray(search.x)
    u = np.concatenate([u, middles], axis=1) if free_offset else u
    found = None
    how = _how(batch, omegas)
    problem = batch.pose(longest, how)
    while True:
        trial = run(u, x[:, :1], problem, most, title="whole runs")
        found = trial if found is None else _better(found, trial)
        for plain in shooting.other_starts(parameters, batch.system, batch.units, omegas):
            left = np.flatnonzero(~_explained(found, problem))
            if left.size:
                start = np.concatenate([plain, u[:, plain.shape[1] :]], axis=1)[left]
                again = run(start, x[left, :1], at(problem, left), most, title="from another start")
                trial = jax.tree.map(partial(_put, left), found, again)
                found = _better(found, trial)
        if length >= longest or np.all(_explained(found, problem)):
            return found, problem
        search = run(u, x, batch.pose(length, how), STAGE, title=f"windows of {length}")
        u, x = np.asarray(search.u), np.asarray(search.x)
        length = min(length * shooting.GROWTH, longest)
        x = x[:, :: shooting.GROWTH][:, : -(-longest // length)]


def _how(batch: Batch, omegas: np.ndarray) -> How:
    """Fine enough for the fastest record."""
    fastest = int(np.argmax(omegas))
    return shooting.how_to_step(batch.record(fastest), float(omegas[fastest]))


def _explained(search: solve.Search, problem: Problem) -> np.ndarray:
    """Which searches ended, with little of their record's motion unexplained."""
    total = about_mean(problem.windows.weight, problem.windows.y)
    return ~np.asarray(search.failed) & (np.asarray(search.normal.cost) < shooting.KEPT * total)


def _put(rows: np.ndarray, whole: jax.Array, part: jax.Array) -> jax.Array:
    return whole.at[rows].set(part)


def _better(old: solve.Search, new: solve.Search) -> solve.Search:
    """The better of both, record by record."""
    lower = np.asarray(new.normal.cost) < np.asarray(old.normal.cost)
    better = np.where(np.asarray(new.failed) == np.asarray(old.failed), lower, np.asarray(old.failed))
    return jax.tree.map(lambda a, b: jnp.where(better.reshape(-1, *(1,) * (a.ndim - 1)), b, a), old, new)
