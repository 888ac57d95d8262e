"""fit_many: thousands of records at once, each with its own parameters, failures kept apart."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ..physics.system import System
from . import errors, shooting, solve
from .fit import LEAST_SQUARES, check_method, prepare, record_of
from .observations import Observations
from .parameters import Parameters
from .predict import INTEGRAL, How, Problem, normal
from .windows import Windows


class Fits(eqx.Module):
    """Fits of many records; every array has a leading axis of records.

    values, stderr: in the structure that `free` returned, NaN where a fit failed. covariance: (records, p, p).
    converged: which did. failures: for each other record, why. reduced_chi_square: (records,), of readings of known
    error, else the residuals' variance. initial: position and momentum at the start.
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
        return tuple(unflatten_all(self.parameters, self.flat + sign * reach) for sign in (-1, 1))

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
    max_iterations: int = 100,
) -> Fits:
    """Least squares of many records in one compiled program, each with its own parameters and initial state.

    Arguments:
        data: records of one run and one kind each: the same components, offset known or not, with equal steps. Their
            lengths and units may differ: the fit brings each to its own.
        system, free, bounds, max_iterations: as for `ji.fit`.

    Returns:
        `Fits`. A record that cannot be fitted has NaN, and its reason in `failures`; the others are not disturbed.

    Raises:
        ValueError: for what `ji.fit` refuses of the system; for noise in the system, inputs or momenta, or records that
            differ in kind.

    Example:
        >>> fits = ji.fit_many(system, [ji.Observations(ts, y) for y in ringdowns], lambda s: s.damping.gamma)
        >>> fits.values, fits.stderr, fits.failures
    """
    with jax.enable_x64(True):
        if check_method(system, None, None) != LEAST_SQUARES:
            raise ValueError("system has noise; fit_many does least squares: pass noise=None, or ji.fit one by one")
        return _fit_many(system, list(data), free, bounds, max_iterations)


def _fit_many(system, data, free, bounds, most):
    records, failures = _prepare_all(system, data, free, bounds)
    if not records:
        raise ValueError(f"data has no record that can be fitted: {failures or 'it is empty'}")
    first = next(iter(records.values()))
    p, d = first.parameters.size, first.d
    n = len(data)
    flat, covariance = np.full((n, len(first.parameters.labels)), np.nan), None
    covariance = np.full((n, flat.shape[1], flat.shape[1]), np.nan)
    converged, iterations, chi, freedom = np.zeros(n, bool), np.zeros(n, int), np.full(n, np.nan), np.ones(n, int)
    for group in _alike(records):
        rows = np.array(group)
        chosen = [records[i] for i in group]
        search, problem = _search_all(chosen, most)
        u, a, failed = np.asarray(search.u), np.asarray(_information(search)), np.asarray(search.failed)
        free_count = np.maximum(np.asarray(problem.readings) - u.shape[1] - 2 * d, 1).astype(int)
        spread = 2 * np.asarray(search.normal.cost) / free_count
        natural, jacobian = (np.asarray(x) for x in _natural(jnp.asarray(u[:, :p]), first.parameters))
        for k, i in enumerate(rows):
            iterations[i], converged[i], freedom[i] = int(search.iterations[k]), not failed[k], free_count[k]
            if failed[k] or not np.all(np.isfinite(u[k])):
                failures[int(i)] = f"the search did not converge in {iterations[i]} iterations"
                converged[i] = False
                continue
            variance = 1.0 if data[i].position_error is not None else spread[k]
            chi[i] = spread[k] * (1.0 if data[i].position_error is not None else chosen[k].units.length ** 2)
            flat[i] = natural[k]
            with np.errstate(invalid="ignore"):  # infinite where the data say nothing
                covariance[i] = variance * jacobian[k] @ errors.inverse(a[k])[:p, :p] @ jacobian[k].T
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    values, stderr = (unflatten_all(first.parameters, x) for x in (flat, error))
    return Fits(
        values, stderr, covariance, flat, tuple(first.parameters.labels), converged, iterations, chi, freedom,
        dict(sorted(failures.items())), first.parameters,
    )  # fmt: skip


def _prepare_all(system, data, free, bounds):
    records, failures = {}, {}
    for i, one in enumerate(data):
        if isinstance(one, Observations) and (one.segment.any() or one.input is not None or one.momentum is not None):
            raise ValueError(f"data[{i}] has several runs, an input or momenta; use ji.fit for it")
        if not records:
            system, first = prepare(system, one, free, bounds)
            records[i] = first
            continue
        if not isinstance(one, Observations) or one.position.shape[1:] != data[0].position.shape[1:]:
            raise ValueError(f"data[{i}] = {one!r} must be ji.Observations with the components of the first")
        try:
            records[i] = record_of(system, first.parameters, one)
        except ValueError as error:
            failures[i] = str(error)
    return records, failures


def _alike(records) -> list[list[int]]:
    """Records that one program fits: equal components, and offset known or not."""
    kinds: dict[Any, list[int]] = {}
    for i, record in records.items():
        even = np.array_equal(record.runs[0].ts, np.arange(record.longest))
        kinds.setdefault((record.d, record.scalar, record.offset is None, even), []).append(i)
    return list(kinds.values())


def _search_all(records, most):
    """Every record through the stages of `shooting.fit`, side by side; each stage is kept where it is better."""
    omegas = np.array([shooting.dominant(record.runs) for record in records])
    longest = max(record.longest for record in records)
    # One first window for all: two cycles of the slowest, or the whole record.
    first = [shooting.first_length(record.longest, omega) for record, omega in zip(records, omegas, strict=True)]
    length = int(np.median(first))
    length = longest if 2 * length > longest else length
    u = np.stack([shooting.sensible(r.parameters, r.system, r.units, w) for r, w in zip(records, omegas, strict=True)])
    free_offset = records[0].offset is None
    middles = np.stack([np.mean(r.runs[0].y[:, : r.d], 0) for r in records])
    levelled = [r._replace(offset=m) if free_offset else r for r, m in zip(records, middles, strict=True)]
    problem = _pose_all(levelled, length, How(INTEGRAL), longest)
    search = _run_all(u, _states(problem), problem, 50)
    u, x = np.asarray(search.u), np.asarray(search.x)
    u = np.concatenate([u, middles], 1) if free_offset else u
    found = None
    while True:
        how = _how(records, u, omegas)
        problem = _pose_all(records, longest, how, longest)
        trial = _run_all(u, x[:, :1], problem, most)
        found = trial if found is None else jax.tree.map(_keep_better(found, trial), found, trial)
        if length >= longest or _all_explained(found, problem):
            return found, problem
        problem = _pose_all(records, length, how, longest)
        search = _run_all(u, x, problem, 30)
        u, x = np.asarray(search.u), np.asarray(search.x)
        grown = min(length * shooting.GROWTH, longest)
        x = x[:, :: shooting.GROWTH][:, : -(-longest // grown)]
        length = grown


def _how(records, u, omegas):
    most = int(np.argmax(omegas))
    hows = [shooting.how_to_step(records[i], u[i, : records[i].parameters.size], omegas[i]) for i in {0, most}]
    return max(hows, key=lambda how: (how.substeps, how.doublings))


def _all_explained(search, problem) -> bool:
    """Whether no search ended with most of its record's motion unexplained."""
    weight, y = np.asarray(problem.windows.weight), np.asarray(problem.windows.y)
    total = np.sum((weight * y) ** 2, (1, 2, 3)) / 2
    return bool(np.all(np.asarray(search.normal.cost) < shooting.KEPT * total))


def _keep_better(old, new):
    better = np.asarray(new.normal.cost) < np.asarray(old.normal.cost)

    def pick(a, b):
        return jnp.where(better.reshape(-1, *(1,) * (a.ndim - 1)), b, a)

    return pick


def _pose_all(records, length, how, longest) -> Problem:
    """One problem whose windows, units and offset have a leading axis of records; short records end in empty rows."""
    posed = [shooting.pose(record, length, how)[0] for record in records]
    count = -(-longest // length)

    def pad(x, fill=0.0):
        return np.concatenate([x, np.full((count - len(x), *x.shape[1:]), fill)]) if len(x) < count else x

    windows = [p.windows for p in posed]
    ts = [np.concatenate([w.ts, np.tile(np.arange(length, dtype=float), (count - len(w.ts), 1))]) for w in windows]
    parts = (np.stack([pad(w.start) for w in windows]), np.stack(ts), np.stack([pad(w.y) for w in windows]))
    stacked = Windows(*parts, np.stack([pad(w.weight) for w in windows]), None, windows[0].even)
    first = posed[0]
    units = type(first.units)(*(np.array([getattr(p.units, n) for p in posed]) for n in ("origin", "time", "length")))
    offset, readings = np.stack([p.offset for p in posed]), np.stack([p.readings for p in posed])
    rest = (how, first.free_offset, first.scalar)
    return Problem(first.system, first.parameters, units, stacked, offset, readings, *rest)


def _states(problem):
    position = problem.windows.y[:, :, 0, : problem.d] - problem.offset[:, None, :]
    return np.concatenate([position, np.zeros_like(position)], axis=-1)


def _axes(problem: Problem) -> Problem:
    """Which arrays of a problem have the axis of records."""
    axes = jax.tree.map(lambda _: None, problem)
    where = lambda p: (p.windows, p.units, p.offset, p.readings)  # noqa: E731
    return eqx.tree_at(where, axes, jax.tree.map(lambda _: 0, where(problem)), is_leaf=lambda x: x is None)


def _run_all(u, x, problem, most) -> solve.Search:
    search = jax.vmap(solve.start)(jnp.asarray(u), jnp.asarray(x))
    for _ in range(most):
        if bool(np.all(search.done)):
            break
        search = _iterate_all(search, problem)
    return search._replace(failed=search.failed | ~search.done)


@eqx.filter_jit
def _iterate_all(search, problem):
    return eqx.filter_vmap(lambda s, p: solve.iterate(normal, s, p), in_axes=(0, _axes(problem)))(search, problem)


@eqx.filter_jit
def _information(search):
    return jax.vmap(solve.reduced_information)(search.normal)


@eqx.filter_jit
def _natural(u, parameters):
    return jax.vmap(parameters.natural)(u), jax.vmap(jax.jacfwd(parameters.natural))(u)


def unflatten_all(parameters: Parameters, flat: np.ndarray) -> Any:
    """Rows of flat values in the structure that `free` returned, with their leading axis."""
    ends = np.cumsum([int(np.prod(s)) for s in parameters.shapes])[:-1]
    parts = np.split(flat, ends, axis=1)
    leaves = [part.reshape(len(flat), *shape) for part, shape in zip(parts, parameters.shapes, strict=True)]
    return jax.tree.unflatten(parameters.structure, leaves)
