"""fit_many: thousands of records at once, each with its own parameters, failures kept apart."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from ..physics.system import System
from . import arrow, kalman, linear, shooting, solve, spectrum, stochastic
from .fit import LEAST_SQUARES, check_method, prepare_system, record_of
from .observations import Observations
from .parameters import Parameters
from .predict import INTEGRAL, How, Problem, normal
from .units import Units
from .windows import Run, Windows, filled


class Fits(eqx.Module):
    """Fits of many records; every array has a leading axis of records.

    values, stderr: in the structure that `free` returned, NaN where a fit failed. covariance: (records, p, p).
    converged: which did. failures: for each other record, why. reduced_chi_square: (records,), of readings of known
    error, else the residuals' variance; NaN with noise in the system. initial: position and momentum at the start.
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
    """Many records in one compiled program, each with its own parameters and initial state: least squares, or with
    noise in the system the likelihood of every reading (a Kalman filter, extended if the potential is not quadratic).

    Arguments:
        data: records of one run and one kind each: the same components, offset known or not, with equal steps. Their
            lengths and units may differ: the fit brings each to its own.
        system, free, bounds, max_iterations: as for `ji.fit`.

    Returns:
        `Fits`. A record that cannot be fitted has NaN, and its reason in `failures`; the others are not disturbed.

    Raises:
        ValueError: for what `ji.fit` refuses of the system; for inputs or momenta, or records that differ in kind.

    Example:
        >>> fits = ji.fit_many(system, [ji.Observations(ts, y) for y in ringdowns], lambda s: s.damping.gamma)
        >>> fits.values, fits.stderr, fits.failures
    """
    data = list(data)
    check_alike(data, system.noise is not None)
    with jax.enable_x64(True):
        noise = check_method(system, None, None) != LEAST_SQUARES
        system, parameters = prepare_system(system, data[0], free, bounds)
        groups, failures = (_filters if noise else _least_squares)(system, parameters, data, max_iterations)
        if not groups:
            raise ValueError(f"data has no record that can be fitted: {failures}")
        return _gather(len(data), parameters, groups, failures)


def check_alike(data: list, noise: bool) -> None:
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
    """The ended searches of records of one kind; `variance` of a residual of weight one, `chi` in the data's units."""

    rows: np.ndarray  # which of the data they are
    search: solve.Search
    freedom: np.ndarray
    variance: np.ndarray
    chi: np.ndarray


def _least_squares(system, parameters, data, most):
    batches, failures = collect(system, parameters, data)
    groups = []
    for batch in batches:
        search = search_all(batch, most)
        freedom = np.maximum(batch.readings - search.u.shape[1] - 2 * batch.d, 1).astype(int)
        spread = 2 * np.asarray(search.normal.cost) / freedom
        chi = np.where(batch.known, spread, spread * batch.units.length**2)
        groups.append(Group(batch.rows, search, freedom, np.where(batch.known, 1.0, spread), chi))
    return groups, failures


def _filters(system, parameters, data, most):
    """The filters of records that have the same shapes, side by side."""
    failures: dict[int, str] = {}
    posed: dict[Any, list] = {}
    for i, one in enumerate(data):
        try:
            record = record_of(system, parameters, one)
            found = [spectrum.resonance(record.runs, k) for k in range(record.d)]
        except ValueError as error:
            failures[i] = str(error)
            continue
        problem, u = stochastic.pose(record, found, stochastic.start(record, found), one.position_error is not None)
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
        search = run_all(u, np.zeros((len(u), 0, 1)), problem, most, evaluate=kalman.normal)
        weight = problem.windows.weight[..., :d]
        freedom = np.maximum(np.sum(weight > 0, (1, 2, 3)) - u.shape[1] - 2 * d * weight.shape[1], 1)
        groups.append(Group(np.array(rows), search, freedom, np.ones(len(u)), np.full(len(u), np.nan)))
    return groups, failures


def _gather(n: int, parameters: Parameters, groups: list[Group], failures: dict[int, str]) -> Fits:
    p, count = parameters.size, len(parameters.labels)
    flat, covariance = np.full((n, count), np.nan), np.full((n, count, count), np.nan)
    converged, iterations = np.zeros(n, bool), np.zeros(n, int)
    chi, freedom = np.full(n, np.nan), np.ones(n, int)
    for rows, search, *numbers in groups:
        freedom[rows], variance, chi[rows] = numbers
        iterations[rows], converged[rows] = np.asarray(search.iterations), ~np.asarray(search.failed)
        values, unit = _natural(search.u[:, :p], _information(search), parameters)
        flat[rows], covariance[rows] = values, variance[:, None, None] * np.asarray(unit)
    for i in np.flatnonzero(~converged):
        flat[i], covariance[i], chi[i] = np.nan, np.nan, np.nan
        failures.setdefault(int(i), f"the search did not converge in {iterations[i]} iterations")
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    values, stderr = (unflatten_all(parameters, x) for x in (flat, error))
    ended = (converged, iterations, chi, freedom, dict(sorted(failures.items())), parameters)
    return Fits(values, stderr, covariance, flat, tuple(parameters.labels), *ended)


class Batch(NamedTuple):
    """Records of one run each, as arrays with a leading axis of records; short ones end in rows of weight 0."""

    rows: np.ndarray  # which of the data they are
    system: System
    parameters: Parameters
    units: Units
    ts: np.ndarray  # (r, m), since the record's start
    y: np.ndarray  # (r, m, d)
    weight: np.ndarray
    offset: np.ndarray | None  # (r, d) in the record's units; None if it is fitted
    known: np.ndarray  # (r,): whether the error of a reading is
    even: bool
    scalar: bool

    @property
    def d(self) -> int:
        return self.y.shape[-1]

    @property
    def readings(self) -> np.ndarray:
        """Of each record."""
        return np.sum(self.weight > 0, axis=(1, 2))

    def pose(self, length: int, how: How) -> Problem:
        """The problem of windows of this many rows."""
        r, m = self.ts.shape
        count = -(-m // length)
        spare = count * length - m
        more = self.ts[:, -1:] + 1.0 + np.arange(spare)
        ts = np.concatenate([self.ts, more], axis=1).reshape(r, count, length)
        y, weight = (
            np.pad(x, ((0, 0), (0, spare), (0, 0))).reshape(r, count, length, self.d) for x in (self.y, self.weight)
        )
        windows = Windows(ts[..., 0], ts - ts[..., :1], y, weight, None, self.even)
        free = self.offset is None
        level = np.zeros((r, self.d)) if self.offset is None else self.offset
        rest = (windows, level, self.readings.astype(float), how, free, self.scalar)
        return Problem(self.system, self.parameters, self.units, *rest)

    def units_of(self, i: int) -> Units:
        """Of one of them."""
        return Units(self.units.origin[i], self.units.time[i], self.units.length[i])

    def record(self, i: int) -> shooting.Record:
        """One of them, as `shooting` takes it."""
        units = self.units_of(i)
        run = Run(0.0, self.ts[i], self.y[i], self.weight[i], None, np.arange(len(self.ts[i])))
        offset = None if self.offset is None else self.offset[i]
        return shooting.Record(self.system, self.parameters, units, [run], offset, self.d, self.scalar)


def collect(system: System, parameters: Parameters, data: list) -> tuple[list[Batch], dict[int, str]]:
    """Batches of alike records, and why others cannot be fitted."""
    failures: dict[int, str] = {}
    kinds: dict[Any, list[int]] = {}
    for i, one in enumerate(data):  # records on the same times are read side by side
        kinds.setdefault((one.ts.tobytes(), one.position_error is None), []).append(i)
    parts: dict[bool, list[Batch]] = {}
    for rows in kinds.values():
        try:
            first = record_of(system, parameters, data[rows[0]])
        except ValueError as error:
            failures |= dict.fromkeys(rows, str(error))
            continue
        batch = _side_by_side(first, [data[i] for i in rows], np.array(rows))
        parts.setdefault(batch.even, []).append(batch)
    return [_joined(group) for group in parts.values()], failures


def _side_by_side(first: shooting.Record, data: list[Observations], rows: np.ndarray) -> Batch:
    """Records on the same times: the grid of the first serves all."""
    run = first.runs[0]
    n, d = len(data), first.d
    positions = np.stack([one.position for one in data]).reshape(n, -1, d)
    lengths = np.nanstd(positions, axis=(1, 2))
    read = run.row >= 0
    y, weight = np.zeros((n, len(run.ts), d)), np.zeros((n, len(run.ts), d))
    y[:, read] = positions[:, run.row[read]] / lengths[:, None, None]
    known = data[0].position_error is not None
    sd = [np.broadcast_to(np.asarray(one.position_error), one.position.shape) for one in data] if known else None
    scale = 1.0 if sd is None else lengths[:, None, None] / np.stack(sd).reshape(n, -1, d)[:, run.row[read]]
    weight[:, read] = np.isfinite(y[:, read]) * scale
    for k in np.flatnonzero((weight == 0).any((1, 2))):
        y[k] = filled(run.ts, y[k], weight[k] > 0)
    offsets = None
    if data[0].offset is not None:
        offsets = np.stack([np.broadcast_to(np.asarray(one.offset), (d,)) for one in data]) / lengths[:, None]
    units = Units(np.full(n, first.units.origin), np.full(n, first.units.time), lengths)
    even = bool(np.array_equal(run.ts, np.arange(len(run.ts))))
    rest = (np.tile(run.ts, (n, 1)), y, weight, offsets, np.full(n, known), even, first.scalar)
    return Batch(rows, first.system, first.parameters, units, *rest)


def _joined(parts: list[Batch]) -> Batch:
    """Batches as one, the shorter records filled up."""
    if len(parts) == 1:
        return parts[0]
    m = max(part.ts.shape[1] for part in parts)

    def longer(part: Batch) -> Batch:
        spare = m - part.ts.shape[1]
        ts = np.concatenate([part.ts, part.ts[:, -1:] + 1.0 + np.arange(spare)], axis=1)
        y, weight = (np.pad(x, ((0, 0), (0, spare), (0, 0))) for x in (part.y, part.weight))
        return part._replace(ts=ts, y=y, weight=weight)

    parts = [longer(part) for part in parts]
    names = ("rows", "ts", "y", "weight", "known")
    joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    first = parts[0]
    offset = None if first.offset is None else np.concatenate([np.asarray(part.offset) for part in parts])
    origin, time, length = (
        np.concatenate([getattr(part.units, name) for part in parts]) for name in ("origin", "time", "length")
    )
    return first._replace(**joined, offset=offset, units=Units(origin, time, length))


def search_all(batch: Batch, most: int) -> solve.Search:
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
    search = run_all(parameters.loosen(first), states, problem, enough, ROUGH, solve.BOLD)
    u, x = parameters.tighten(np.asarray(search.u), first), np.asarray(search.x)
    u = np.concatenate([u, middles], axis=1) if free_offset else u
    found = None
    while True:
        how = _how(batch, omegas)
        problem = batch.pose(longest, how)
        trial = run_all(u, x[:, :1], problem, most)
        found = trial if found is None else jax.tree.map(_better(found, trial), found, trial)
        left = np.flatnonzero(found.failed)
        if left.size:  # the start was worse than none
            plain = np.concatenate([first, u[:, first.shape[1] :]], axis=1)[left]
            again = run_all(plain, x[left, :1], _at(problem, left), most)
            trial = jax.tree.map(partial(_put, left), found, again)
            found = jax.tree.map(_better(found, trial), found, trial)
        if length >= longest or _all_explained(found, problem):
            return found
        search = run_all(u, x, batch.pose(length, how), STAGE)
        u, x = np.asarray(search.u), np.asarray(search.x)
        length = min(length * shooting.GROWTH, longest)
        x = x[:, :: shooting.GROWTH][:, : -(-longest // length)]


def dominant(batch: Batch) -> np.ndarray:
    """As `shooting.dominant`, for each record."""
    m = batch.ts.shape[1]
    padded = 4 * 2 ** math.ceil(math.log2(m))
    y = batch.y
    if not batch.even:
        grid = [np.linspace(0, t[-1], m) for t in batch.ts]
        y = np.stack([filled(g, v, np.ones_like(v, bool), t) for g, t, v in zip(grid, batch.ts, y, strict=True)])
    inside = (np.cumsum(batch.weight[:, ::-1].sum(-1), axis=1)[:, ::-1] > 0)[..., None]  # up to the last reading
    y = np.where(inside, y - np.sum(y * inside, 1, keepdims=True) / np.sum(inside, 1, keepdims=True), 0.0)
    power = np.sum(np.abs(np.fft.rfft(y, padded, axis=1)) ** 2, axis=-1)
    return 2 * np.pi * (np.argmax(power[:, 1:], axis=1) + 1) / padded * (m - 1) / batch.ts[:, -1]


def _how(batch: Batch, omegas: np.ndarray) -> How:
    """Fine enough for the fastest record."""
    fastest = int(np.argmax(omegas))
    return shooting.how_to_step(batch.record(fastest), float(omegas[fastest]))


def _all_explained(search: solve.Search, problem: Problem) -> bool:
    """Whether no search ended with much of its record's motion unexplained."""
    total = np.sum((problem.windows.weight * problem.windows.y) ** 2, (1, 2, 3)) / 2
    return bool(np.all(np.asarray(search.normal.cost) < shooting.KEPT * total))


def _put(rows: np.ndarray, whole: jax.Array, part: jax.Array) -> jax.Array:
    return whole.at[rows].set(part)


def _better(old: solve.Search, new: solve.Search) -> Callable:
    lower = np.asarray(new.normal.cost) < np.asarray(old.normal.cost)
    better = np.where(np.asarray(new.failed) == np.asarray(old.failed), lower, np.asarray(old.failed))
    return lambda a, b: jnp.where(better.reshape(-1, *(1,) * (a.ndim - 1)), b, a)


ROUGH = 1e-2  # of the cost of a standard error: start values need no more
LINEAR, START, STAGE = 3, 8, 30  # iterations that start values, and windows on their way, are worth
BLOCK = (
    250  # records whose readings and derivatives stay in a core's cache: a thousand at once take three times as long
)
FEW = 32  # a block's slowest records: one in ten may need twice the iterations of the others


def run_all(
    u: np.ndarray,
    x: np.ndarray,
    problem: Any,
    most: int,
    tolerance: float = solve.TOLERANCE,
    damping: float = solve.CAREFUL,
    evaluate: Callable = normal,
) -> solve.Search:
    """Levenberg-Marquardt of all records, in equal blocks on all cores. The last few of a block go on by themselves."""
    n = len(u)
    count = -(-n // BLOCK)
    size = -(-n // count)
    blocks = [np.minimum(np.arange(k * size, (k + 1) * size), n - 1) for k in range(count)]

    def on(search, part, most, few):
        """Until no more than `few` are left, and the iterations left then."""
        for i in range(most):
            if np.sum(~np.asarray(search.done)) <= few:
                return search, most - i
            search = _iterate(evaluate, search, part, tolerance)
        return search, 0

    def one(rows):
        with jax.enable_x64(True):  # a setting of each thread's own
            part, few = _at(problem, rows), FEW if len(rows) > 2 * FEW else 0
            search, left = on(_begin(jnp.asarray(u[rows]), jnp.asarray(x[rows]), damping), part, most, few)
            whole = jax.tree.map(np.array, search)
            slow = np.flatnonzero(~whole.done)
            if left and slow.size:
                slow = np.resize(slow, few)
                search, _ = on(jax.tree.map(lambda a: a[slow], whole), _at(part, slow), left, 0)
                jax.tree.map(lambda a, b: a.__setitem__(slow, b), whole, search)
            return whole

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(one, blocks))
    search = jax.tree.map(lambda *each: jnp.asarray(np.concatenate(each)[:n]), *parts)
    return search._replace(failed=search.failed | ~search.done)


def _axes(problem: Any) -> Any:
    """Which arrays of a problem have the axis of records."""
    axes = jax.tree.map(lambda _: None, problem)
    own = jax.tree.map(lambda _: 0, problem.own())
    return eqx.tree_at(lambda p: p.own(), axes, own, is_leaf=lambda x: x is None)


def _at(problem: Any, rows: np.ndarray) -> Any:
    return eqx.tree_at(lambda p: p.own(), problem, jax.tree.map(lambda x: x[rows], problem.own()))


_begin = jax.jit(jax.vmap(solve.start, in_axes=(0, 0, None)))


@eqx.filter_jit
def _iterate(evaluate: Callable, search: solve.Search, problem: Any, tolerance: Any) -> solve.Search:
    step = eqx.filter_vmap(lambda s, p: solve.iterate(evaluate, s, p, tolerance), in_axes=(0, _axes(problem)))
    return step(search, problem)


@eqx.filter_jit
def _information(search: solve.Search) -> jax.Array:
    return jax.vmap(lambda n: arrow.reduced_information(n.information))(search.normal)


@eqx.filter_jit
def _natural(u: jax.Array, information: jax.Array, parameters: Parameters) -> tuple[jax.Array, jax.Array]:
    """Values, and their covariances for residuals of variance one."""
    jacobian = jax.vmap(jax.jacfwd(parameters.natural))(u)
    p = u.shape[1]
    inverse = jax.vmap(arrow.inverse)(information)[:, :p, :p]
    return jax.vmap(parameters.natural)(u), jacobian @ inverse @ jnp.swapaxes(jacobian, 1, 2)


def unflatten_all(parameters: Parameters, flat: np.ndarray) -> Any:
    """Rows of flat values in the structure that `free` returned, with their leading axis."""
    ends = np.cumsum([int(np.prod(s)) for s in parameters.shapes])[:-1]
    parts = np.split(flat, ends, axis=1)
    leaves = [part.reshape(len(flat), *shape) for part, shape in zip(parts, parameters.shapes, strict=True)]
    return jax.tree.unflatten(parameters.structure, leaves)
