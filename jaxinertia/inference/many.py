"""fit_many: thousands of records at once, each with its own parameters, failures kept apart."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from scipy import stats

from ..physics.system import System, check_system
from . import arrow, errors, kalman, solve, spectrum, stochastic
from .batch import collect
from .doubts import at_bound
from .doubts import failures as why_not
from .fit import LEAST_SQUARES, check_method, prepare_system, record_of
from .observations import Observations
from .parameters import Parameters
from .side_by_side import run_all
from .together import settle
from .windows import about_mean


class Fits(eqx.Module):
    """Fits of many records; every array has a leading axis of records.

    values, stderr: in the structure that `free` returned, NaN where a fit failed. covariance: (records, p, p).
    converged: which did, as `ji.fit` says it. failures: for each other record, why. reduced_chi_square: (records,), of
    readings of known error, else the residuals' variance; NaN with noise in the system, and of several components of
    unknown error.
    Standard errors are those of the curvature: residuals that are correlated need `ji.fit`.
    """

    values: Any
    stderr: Any
    covariance: np.ndarray
    flat: np.ndarray
    labels: tuple[str, ...]
    converged: np.ndarray
    iterations: np.ndarray
    reduced_chi_square: np.ndarray
    freedom: np.ndarray
    failures: dict[int, str]
    parameters: Parameters

    def interval(self, level: float = 0.95) -> Any:
        """(low, high) in the structure of `values`, from the standard errors (Student's t)."""
        if not 0 < level < 1:
            raise ValueError(f"level = {level!r} must be between 0 and 1, such as 0.95")
        spread = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        reach = stats.t.ppf((1 + level) / 2, self.freedom)[:, None] * spread
        ends = (self.parameters.within(self.flat + sign * reach) for sign in (-1, 1))
        return tuple(unflatten_all(self.parameters, end) for end in ends)

    @property
    def at_bound(self) -> np.ndarray:
        """(records, p): which values went to a bound, so that their standard error says little."""
        spread = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        each = zip(self.flat.T, spread.T, self.parameters.limits, strict=True)
        return np.stack([at_bound(value, error, *limits) for value, error, limits in each], axis=1)

    def summary(self) -> str:
        """How many converged, the values' middle and spread, and what failed."""
        good = self.converged
        lines = [
            f"{good.sum()} of {len(good)} records converged, in {np.median(self.iterations):.0f} iterations (median)"
        ]
        for i, label in enumerate(self.labels):
            if good.any():
                low, middle, high = np.quantile(self.flat[good, i], [0.16, 0.5, 0.84])
                error = np.median(np.sqrt(self.covariance[good, i, i]))
                lines.append(
                    f"{label}: median {middle:.6g}, 16 to 84 % {low:.6g} to {high:.6g}, median stderr {error:.2g}"
                )
                if self.at_bound[:, i].any():
                    lines.append(
                        f"{label} went to a bound in {self.at_bound[:, i].sum()} records: its error means little"
                    )
        lines += [f"record {i}: {why}" for i, why in list(self.failures.items())[:10]]
        if len(self.failures) > 10:
            lines.append(f"... and {len(self.failures) - 10} more")
        return "\n".join(lines)


def fit_many(
    system: System,
    data: Sequence[Observations],
    free: Callable = lambda s: s.damping.gamma,
    *,
    bounds: Any = None,
    method: str | None = None,
    max_iterations: int = 100,
    progress: bool = False,
) -> Fits:
    """Many records at once, each with its own parameters and initial state: least squares, or with noise in the system
    the likelihood of every reading (a Kalman filter, unscented if the system is not linear). As `ji.fit` of each,
    in blocks of records on a thread for each core.

    Arguments:
        data: records of one kind: the same components, offset known or not, with equal steps, and of one run each
            (with noise, of any number). Their lengths and units may differ: the fit brings each to its own.
        system, free, bounds, max_iterations: as for `ji.fit`.
        method: as for `ji.fit`, without "whittle"; the same for all.
        progress: show a bar with the records that have ended.

    Returns:
        `Fits`. A record that cannot be fitted has NaN, and its reason in `failures`; the others are not disturbed.

    Raises:
        ValueError: for what `ji.fit` refuses of the system; for an input, without noise for momenta or several runs,
            or for records that differ in kind.

    Example:
        >>> fits = ji.fit_many(system, [ji.Observations(ts, y) for y in ringdowns], lambda s: s.damping.gamma)
        >>> fits.values, fits.stderr, fits.failures
    """
    check_system(system)
    if isinstance(data, Observations) or not isinstance(data, Sequence):
        raise ValueError(f"data = {data!r} must be a list of ji.Observations; for one record use ji.fit")
    check_alike(data, system.noise is not None)
    with jax.enable_x64(True):
        method = check_method(system, method, None)
        if method == stochastic.WHITTLE:
            raise ValueError(f"method = {method!r} takes one record at a time; use ji.fit")
        system = system.without_noise() if method == LEAST_SQUARES and system.noise is not None else system
        system, parameters = prepare_system(system, data[0], free, bounds)
        rest = (system, parameters, data, max_iterations, progress)
        if method == LEAST_SQUARES:
            groups, failures = _least_squares(*rest)
        else:
            groups, failures = _filters(*rest, method or stochastic.filter_for(system))
        if not groups:
            raise ValueError(f"data has no record that can be fitted: {failures}")
        return _gather(len(data), parameters, groups, failures)


def check_alike(data: Sequence, noise: bool) -> None:
    """ValueError unless records may be fitted side by side."""
    if not data:
        raise ValueError("data is empty; pass a list of ji.Observations")
    for i, one in enumerate(data):
        if not isinstance(one, Observations) or one.position.shape[1:] != data[0].position.shape[1:]:
            raise ValueError(f"data[{i}] = {one!r} must be ji.Observations with the components of the first")
        if one.input is not None or (not noise and (one.momentum is not None or one.segment.any())):
            raise ValueError(f"data[{i}] has several runs, an input or momenta; use ji.fit for it")
    if len({one.offset is None for one in data}) > 1:
        raise ValueError("data have known offsets and unknown ones; fit each kind by itself")


class Group(NamedTuple):
    """The ended searches of records of one kind; `variance` of a residual of weight one, `chi` in the data's units.

    `lost`: which found no motion.
    """

    rows: np.ndarray  # which of the data they are
    search: solve.Search
    freedom: np.ndarray
    variance: np.ndarray
    chi: np.ndarray
    lost: np.ndarray


def _least_squares(system, parameters, data, most, progress):
    batches, failures = collect(system, parameters, data)
    groups = []
    for batch in batches:
        batch, search = settle(batch, most, partial(run_all, progress=progress))
        freedom = np.maximum(batch.readings - search.u.shape[1] - 2 * batch.d, 1).astype(int)
        spread = 2 * np.asarray(search.normal.cost) / freedom
        # Of one component; of several, each is weighed by its own residuals, and nothing is left to tell.
        chi = np.where(batch.known, spread, spread * batch.units.length**2 if batch.d == 1 else np.nan)
        variance, total = np.where(batch.known, 1.0, spread), about_mean(batch.weight[:, None], batch.y[:, None])
        cost = np.asarray(search.normal.cost)
        lost = ~errors.found(total, cost, variance, batch.readings, search.u.shape[1])
        groups.append(Group(batch.rows, search, freedom, variance, chi, lost))
    return groups, failures


def _filters(system, parameters, data, most, progress, method):
    """The filters of records that have the same shapes, side by side."""
    failures: dict[int, str] = {}
    posed: dict[Any, list] = {}
    for i, one in enumerate(data):
        try:
            record = record_of(system, parameters, one)
            found = [spectrum.resonance(record.runs, k) for k in range(record.d)]
            u, known = stochastic.start(record, found), one.position_error is not None
            problem, u = stochastic.pose(record, found, u, known, method)
        except ValueError as error:
            failures[i] = str(error)
            continue
        alike = replace(problem, transient=None)
        kind = (jax.tree.structure(alike), *map(np.shape, jax.tree.leaves(alike)), problem.transient is None)
        posed.setdefault(kind, []).append((i, problem, u))
    groups = []
    for members in posed.values():
        rows, problems, us = zip(*members, strict=True)
        settled = [problem.transient for problem in problems]
        own = jax.tree.map(lambda *each: np.stack(each), *(problem.own() for problem in problems))
        problem = eqx.tree_at(lambda p: p.own(), problems[0], own)
        problem = replace(problem, transient=None if None in settled else max(settled))
        u, d = np.stack(us), problem.d
        rest = dict(evaluate=kalman.normal, title="likelihoods", progress=progress)
        search = run_all(u, np.zeros((len(u), 0, 1)), problem, most, **rest)
        weight = problem.windows.weight[..., :d]
        freedom = np.maximum(np.sum(weight > 0, (1, 2, 3)) - u.shape[1] - 2 * d * weight.shape[1], 1)
        ended = (np.ones(len(u)), np.full(len(u), np.nan), np.zeros(len(u), bool))
        groups.append(Group(np.array(rows), search, freedom, *ended))
    return groups, failures


def _gather(n: int, parameters: Parameters, groups: list[Group], failures: dict[int, str]) -> Fits:
    p, count = parameters.size, len(parameters.labels)
    flat, covariance = np.full((n, count), np.nan), np.full((n, count, count), np.nan)
    converged, iterations = np.zeros(n, bool), np.zeros(n, int)
    chi, freedom = np.full(n, np.nan), np.ones(n, int)
    for rows, search, degrees, variance, chi_square, lost in groups:
        freedom[rows], chi[rows] = degrees, chi_square
        iterations[rows], failed = np.asarray(search.iterations), np.asarray(search.failed)
        flat[rows], jacobian = (np.asarray(x) for x in _natural(search.u[:, :p], parameters))
        unit = errors.inverse(np.asarray(_information(search)))[:, :p, :p]
        for i, j, c, stopped, nothing in zip(rows, jacobian, variance[:, None, None] * unit, failed, lost, strict=True):
            why = why_not(not stopped, nothing, iterations[i])
            converged[i], covariance[i] = not why, errors.propagated(j, c, parameters.constant)
            if why:
                flat[i], covariance[i], chi[i] = np.nan, np.nan, np.nan
                failures[int(i)] = "; ".join(why)
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    values, stderr = (unflatten_all(parameters, x) for x in (flat, error))
    ended = (converged, iterations, chi, freedom, dict(sorted(failures.items())), parameters)
    return Fits(values, stderr, covariance, flat, tuple(parameters.labels), *ended)


@eqx.filter_jit
def _information(search: solve.Search) -> jax.Array:
    return jax.vmap(lambda n: arrow.reduced_information(n.information))(search.normal)


@eqx.filter_jit
def _natural(u: jax.Array, parameters: Parameters) -> tuple[jax.Array, jax.Array]:
    """Values, and their derivatives by the coordinates."""
    return jax.vmap(parameters.natural)(u), jax.vmap(jax.jacfwd(parameters.natural))(u)


def unflatten_all(parameters: Parameters, flat: np.ndarray) -> Any:
    """Rows of flat values in the structure that `free` returned, with their leading axis."""
    ends = np.cumsum([int(np.prod(s)) for s in parameters.shapes])[:-1]
    parts = np.split(flat, ends, axis=1)
    leaves = [part.reshape(len(flat), *shape) for part, shape in zip(parts, parameters.shapes, strict=True)]
    return jax.tree.unflatten(parameters.structure, leaves)
