"""fit and fit_many: from a system and records to values with errors, by the method that the records ask for."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..physics.system import System, check_system
from . import linear, shooting, starts, stochastic
from .between import LINE, Ways, refine
from .conclude import many_fits, one_fit
from .crosscheck import Checked, checked, unchecked
from .free_motion import free_part, on_whole
from .loss import SQUARES
from .observations import Observations
from .record import Records, joined, on_one_grid, with_input
from .restarts import restarted
from .result import Fit, Fits
from .search import Options
from .shooting import LEAST_SQUARES, Ended
from .standing import Standing
from .task import Task, as_one, check_alike, check_clock, check_list, check_runs, prepare

ROUNDING = 1e-12  # of an input: it is constant
COLLINEAR = (
    "data.input is constant and data.offset = None: a constant force and an offset shift the motion alike, so that "
    "neither gain nor offset can be told (they are collinear); give the offset, or hold the gain"
)


def fit(
    system: System,
    data: Observations | Sequence[Observations],
    free: Callable = lambda s: s.damping.gamma,
    *,
    each: Callable | None = None,
    bounds: Any = None,
    method: str | None = None,
    band: tuple[float, float] | None = None,
    loss: str = SQUARES.name,
    max_iterations: int = 100,
    progress: bool = False,
) -> Fit:
    r"""The parameters under which x'' + gamma x' + grad L(x) = F + sigma dW/dt explains a record, and their errors.

    Without noise in the system, least squares: min sum_k |(q(t_k) + offset - y_k) / error_k|^2 over the parameters and
    the initial state of every run; where errors are unknown and runs scatter differently, each is weighed by its own
    scatter. With another loss rho, min sum_k rho(residual_k / scale). With noise, the greatest likelihood of the
    readings (a Kalman filter; of a band of the spectrum where that has more in it than this motion). Start values come
    from the data: those of the system only matter for parameters of which the start knows nothing. All of it in double
    precision and in units of the record.

    Arguments:
        system: its numbers are the start; free ones may be anything: of any friction, kinetic energy, potential or
            noise without a memory, your own too. The state is (q, p): `data.momentum` are readings of p, M v with a
            mass; positions alone do not tell a mass from a stiffness. With `data.input` its force is gain times the
            input: give a `force.Sampled` with a gain to start from, or None for the gain 1.
        data: `Observations`. Without noise, a force or an input only their free motion is fitted, as `decays` finds it,
            and `why` says so; `between` chooses a part, or by `between()` all, by hand. A list of them: records that
            share what is free, and have an offset, an error and runs each of its own, as `Observations.join` has it.
        free: which leaves may change, as for `eqx.tree_at`: `lambda s: (s.damping.gamma, s.potential.stiffness)`, with
            `s.force.gain` for the input's gain. What a law names as `nonnegative` (dampings, sigma, masses) stays
            positive, matrices of them PSD; what it names as `skew` stays skew.
        each: which leaves every run (`data.segment`) has for itself, while `free` are the same in all: returned as
            `result.each`, with a leading axis of runs. Runs that `decays` finds count.
        bounds: shaped like what `free` returns, with (low, high) or None for each leaf; either may be None. With `each`
            a pair, of free's and of each's.
        method: "least squares", "kalman", "unscented kalman", "extended kalman" or "whittle"; None chooses, and the
            result says why. The unscented filter is for systems that are not linear; it needs readings that tell where
            the particle is: a few each cycle, and which well. The extended one takes half its time and is more biased.
        band: (low, high) in cycles per time: the frequencies that count, for "whittle".
        loss: the name of the law that readings scatter by: "squares", the normal one; for records with spikes
            "soft_l1", the hyperbolic one, or "student", Student's t with its degrees of freedom fitted: far readings
            count less, or next to nothing. Their scale is fitted, with `position_error` as weights alone, and stderr
            holds whatever law the readings have. For least squares.
        max_iterations: of the last search, an integer.
        progress: whether to show the searches as they go.

    Returns:
        A `Fit`: system, values, stderr, covariance, interval, summary, diagnostics.

    Raises:
        ValueError: if `free` or `bounds` make no sense, the data do not fit the system, there are fewer readings than
            unknowns, or the method cannot do this.

    Example:
        >>> system = ji.System(ji.potentials.Quadratic())
        >>> result = ji.fit(system, data, lambda s: (s.damping.gamma, s.potential.stiffness))
        >>> print(result.summary())

    Source: O. Nelles, Nonlinear System Identification, 2001 (multiple shooting); see the modules of `inference`.
    """
    data = as_one(data)
    with jax.enable_x64(True):
        task = prepare(system, data, free, bounds, method, band, loss, Options(max_iterations, progress), each)
        return fitted(task, free_part(task.system, data, task.method), data)


def fitted(task: Task, part: Observations, data: Observations) -> Fit:
    """The fit to this part of the data."""
    groups, refused = search([part], task)
    if refused:
        raise refused[0]
    return on_whole(one_fit(finished(Standing(groups[0]), task), 0, part), part, data)


def fit_many(
    system: System,
    data: Sequence[Observations | Sequence[Observations]],
    free: Callable = lambda s: s.damping.gamma,
    *,
    each: Callable | None = None,
    bounds: Any = None,
    method: str | None = None,
    band: tuple[float, float] | None = None,
    loss: str = SQUARES.name,
    max_iterations: int = 100,
    progress: bool = False,
) -> Fits:
    """Many records at once, each with its own parameters and initial states: as `ji.fit` of each, side by side in
    blocks of records on a thread for each core.

    Arguments:
        data: a list of records, each an `Observations`, or a list of them as for `ji.fit`, of positions of as many
            components; all else may differ: times, lengths, units, runs, momenta, inputs, what is known of errors and
            offsets. Those that are alike go side by side.
        system, free, each, bounds, method, band, loss, max_iterations: as for `ji.fit`; with `each`, all records have
            as many runs.
        progress: whether to show a bar with the records that have ended.

    Returns:
        `Fits`: the table of all, and `fits[i]`, the `Fit` of one. A record that cannot be fitted has NaN, and its
        reason in `failures`; the others are not disturbed.

    Raises:
        ValueError: for what `ji.fit` refuses of the system, for records whose components differ in number, or if no
            record can be fitted.

    Example:
        >>> fits = ji.fit_many(system, [ji.Observations(ts, y) for y in ringdowns], lambda s: s.damping.gamma)
        >>> fits.values, fits.stderr, fits.failures
        >>> print(fits[3].summary())
    """
    check_system(system)
    check_list(data)
    records = [as_one(one) for one in data]
    check_alike(records)
    with jax.enable_x64(True):
        task = prepare(system, records[0], free, bounds, method, band, loss, Options(max_iterations, progress), each)
        parts = list(records)
        check_runs(task, parts)
        ended, refused = search(parts, task)
        groups = [Standing(each) for each in ended]
        if task.method == LEAST_SQUARES:
            groups += _on_free_motion(parts, groups, task)
        why = {i: str(error) for i, error in refused.items()}
        if not groups:
            raise ValueError(f"data has no record that can be fitted: {why}")
        done, chosen = [finished(stand, task) for stand in groups], task.parameters.for_runs(len(records[0].runs))
        return many_fits(parts, chosen, done, why, lambda fit, i: on_whole(fit, parts[i], records[i]))


def finished(stand: Standing, task: Task) -> Checked:
    """Searches begun anew where residuals ask for it, and errors looked up where the cost may not be a parabola."""
    if not task.thorough:
        return unchecked(stand)
    if task.near is not None:  # other starts were tried; and of a law that does not do, no profile tells the errors
        return unchecked(stand) if stand.misfits.any() else checked(stand, task.options)
    again = restarted(stand, task.options, task.loss) if task.method == LEAST_SQUARES else stand
    return checked(again, task.options)


def _on_free_motion(parts: list[Observations], groups: list[Standing], task: Task) -> list[Standing]:
    """Searches of records that misfit, and that friction alone does not act on throughout: on the part where it does.

    Finding that part takes longer than fitting a short record, so those that fit are taken as they are.
    """
    doubtful = [int(row) for stand in groups for row in stand.ended.rows[stand.misfits]]
    free = {i: part for i in doubtful if (part := free_part(task.system, parts[i], task.method)) is not parts[i]}
    if task.parameters.own:  # of as many runs: each is in one table with all others
        free = {i: part for i, part in free.items() if len(part.runs) == len(parts[i].runs)}
    if not free:
        return []
    again, refused = search(list(free.values()), task)
    order = np.array(list(free))
    for i in set(free) - {int(order[i]) for i in refused}:
        parts[i] = free[i]
    return [Standing(ended._replace(rows=order[ended.rows])) for ended in again]


def search(data: list[Observations], task: Task) -> tuple[list[Ended], dict[int, ValueError]]:
    """The ended searches of records that are alike, group by group, and why others were not begun."""
    kinds: dict[Any, list[int]] = {}
    refused: dict[int, ValueError] = {}
    for i, one in enumerate(data):  # records on the same times are read side by side
        check_clock(task, one)
        present = (
            *(x is None for x in (one.momentum, one.input, one.offset)),
            one.read,
            one.trend,
            one.input_delay is None,
        )
        times = (x.tobytes() for x in (one.ts, one.segment, one.record))
        kinds.setdefault((*times, *present), []).append(i)
    groups: list[tuple[np.ndarray, Records]] = []
    for rows in kinds.values():
        first = data[rows[0]]
        system = task.system if first.input is None else with_input(task.system, first)
        chosen = task.parameters.for_runs(len(first.runs))
        records = starts.sized(on_one_grid(system, chosen, [data[i] for i in rows]))
        unknowns, enough = records.unknowns, records.readings > records.unknowns
        alike = collinear(records)
        refused |= {rows[i]: ValueError(COLLINEAR) for i in np.flatnonzero(alike).tolist()}
        for i in np.flatnonzero(~enough & ~alike).tolist():
            states = f"{2 * records.d} of them for each run's start"
            refused[rows[i]] = ValueError(f"data have too few readings for {unknowns} unknowns, {states}")
        taken = enough & ~alike
        if taken.any():
            groups.append((np.array(rows)[taken], records if taken.all() else records.at(np.flatnonzero(taken))))
    if task.method == LEAST_SQUARES:
        return _deterministic(groups, task), refused
    return _noise_driven(data, groups, task, refused), refused


def collinear(records: Records) -> np.ndarray:
    """(r,): where a constant input of free gain and a free offset shift a linear motion alike."""
    free = records.input is not None and records.offset is None and "force.gain" in records.parameters.names
    if not free or not linear.is_linear(records.system):
        return np.zeros(len(records), bool)
    inside, force = records.within[..., None], np.asarray(records.input)
    low, high = np.where(inside, force, np.inf).min((1, 2)), np.where(inside, force, -np.inf).max((1, 2))
    return np.all(high - low <= ROUNDING * np.maximum(np.abs(low), np.abs(high)), axis=1)


def _deterministic(groups: list[tuple[np.ndarray, Records]], task: Task) -> list[Ended]:
    """Least squares of records of one kind, each way of reading an input by itself."""
    kinds: dict[Any, list[tuple[np.ndarray, Ways]]] = {}
    for rows, records in groups:
        parts = [(np.arange(len(rows)), {LINE: records})] if records.input is None else refine(records)
        for which, ways in parts:
            kinds.setdefault((*next(iter(ways.values())).kind(), *ways), []).append((rows[which], ways))
    ended = []
    for members in kinds.values():
        together = {way: joined([ways[way] for _, ways in members]) for way in members[0][1]}
        ended.append(
            shooting.fit(np.concatenate([rows for rows, _ in members]), together, task.options, task.loss, task.near)
        )
    return ended


def _noise_driven(data: list, groups: list[tuple[np.ndarray, Records]], task: Task, refused: dict) -> list[Ended]:
    """The likelihoods of records whose arrays have the same shapes, side by side."""
    kinds: dict[Any, list] = {}
    for rows, records in groups:
        for k, row in enumerate(rows.tolist()):
            if records.readout is not None and records.readout.asks_for_force:
                refused[row] = ValueError(
                    "read asks for the force, which noise makes infinite in every reading of a noise-driven motion: "
                    "integrate an accelerometer's readings to velocities, with read=lambda q, p: p / mass"
                )
                continue
            if task.method == stochastic.KALMAN and records.readout is not None and not records.readout.is_affine:
                refused[row] = ValueError(
                    f"method = {task.method!r} needs a read= that is linear in q and p; use "
                    f"{stochastic.UNSCENTED!r} or {stochastic.EXTENDED!r}"
                )
                continue
            if data[row].momentum is not None:
                refused[row] = ValueError(
                    "data.momentum: a noise-driven fit reads positions alone; leave momentum= out of ji.Observations"
                )
                continue
            try:
                posed = stochastic.pose(row, records.at(np.array([k])), task.method, task.band)
            except ValueError as error:
                refused[row] = error
                continue
            kinds.setdefault(posed.kind(), []).append(posed)
    return [stochastic.fit(posed, task.options) for posed in kinds.values()]
