"""fit: from a system and a record to values with errors, by the method that the record asks for."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .. import _tree
from ..physics import system as systems
from ..physics.force import Sampled
from ..physics.system import System, check_system
from . import linear, parameters, shooting, stochastic, units, windows
from .between import INPUTS, most_likely, refine
from .observations import Observations
from .outcome import Outcome, of_least_squares
from .result import Fit, conclude
from .shooting import Record

LEAST_SQUARES = "least squares"
REWEIGHTINGS = 4  # of channels by their residuals
METHODS = (LEAST_SQUARES, stochastic.KALMAN, stochastic.UNSCENTED, stochastic.EXTENDED, stochastic.WHITTLE)


def fit(
    system: System,
    data: Observations,
    free: Callable = lambda s: s.damping.gamma,
    *,
    bounds: Any = None,
    method: str | None = None,
    band: tuple[float, float] | None = None,
    max_iterations: int = 100,
    progress: bool = False,
) -> Fit:
    r"""The parameters under which x'' + gamma x' + grad L(x) = F + sigma dW/dt explains a record, and their errors.

    Without noise in the system, least squares: min sum_k |(q(t_k) + offset - y_k) / error_k|^2 over the parameters and
    the initial state of every run. With noise, the greatest likelihood of the readings (a Kalman filter; of a band of
    the spectrum where that has more in it than this motion). Start values come from the data: those of the system only
    matter for parameters of which the start knows nothing. All of it in double precision and in units of the record.

    Arguments:
        system: its numbers are the start; free ones may be anything: of any friction, kinetic energy, potential or
            noise without a memory, your own too. The state is (q, p): `data.momentum` are readings of p, M v with a
            mass; positions alone do not tell a mass from a stiffness. With `data.input` its force is gain times the
            input: give a `force.Sampled` with a gain to start from, or None for the gain 1.
        data: `Observations`. Without noise, a force or an input only their free motion is fitted, as `decays` finds it,
            and `why` says so; `between` chooses a part, or by `between()` all, by hand.
        free: which leaves may change, as for `eqx.tree_at`: `lambda s: (s.damping.gamma, s.potential.stiffness)`, with
            `s.force.gain` for the input's gain. What a law names as `nonnegative` (dampings, sigma, masses) stays
            positive, matrices of them PSD; what it names as `skew` stays skew.
        bounds: shaped like what `free` returns, with (low, high) or None for each leaf; either may be None.
        method: "least squares", "kalman", "unscented kalman", "extended kalman" or "whittle"; None chooses, and the
            result says why. The unscented filter is for systems that are not linear; it needs readings that tell where
            the particle is: a few each cycle, and which well. The extended one takes half its time and is more biased.
        band: (low, high) in cycles per time: the frequencies that count, for "whittle".
        max_iterations: of the last search.
        progress: show the search's cost as it goes.

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
    with jax.enable_x64(True):
        check_system(system)
        method = check_method(system, method, band)
        system = system.without_noise() if method == LEAST_SQUARES and system.noise is not None else system
        whole, data = data, free_part(system, data) if method == LEAST_SQUARES else data
        system, record = prepare(system, data, free, bounds)
        watch = _watch(progress)
        inputs = None
        if method == LEAST_SQUARES:
            outcome, inputs = least_squares(record, data, max_iterations, watch)
            why = (
                "the system has no noise"
                if inputs is None
                else f"the system has no noise; input {inputs} between samples"
            )
            why = why if data is whole else f"{why}; {data.reading[-1]}"
        else:
            wanted = None if band is None else tuple(2 * np.pi * f * record.units.time for f in band)
            known = data.position_error is not None
            outcome, (method, why) = stochastic.fit(record, method, wanted, known, max_iterations, watch)
        result = conclude(record, data, outcome, method, why)
        return result if data is whole else on_whole(result, data, whole)


def prepare(system: System, data: Observations, free: Callable, bounds: Any) -> tuple[System, Record]:
    """The system in double precision with the data's input as its force, and the record in the fit's units."""
    if not isinstance(data, Observations):
        raise ValueError(f"data = {data!r} must be ji.Observations; wrap your arrays: ji.Observations(ts, position)")
    system, chosen = prepare_system(system, data, free, bounds)
    return system, record_of(system, chosen, data)


def prepare_system(
    system: System, data: Observations, free: Callable, bounds: Any
) -> tuple[System, parameters.Parameters]:
    """The system in double precision with the data's input as its force, and its free parameters."""
    units.check(system)
    system = _with_input(_tree.cast(system, np.dtype(np.float64)), data)
    chosen = parameters.choose(system, free, bounds)
    if any(name.startswith("noise") for name in chosen.names) and system.noise is None:
        raise ValueError("free returns noise, but the system has none; pass noise=1.0")
    check_position(system, data)
    return system, chosen


def free_part(system: System, data: Any) -> Any:
    """The data's free motion, unless someone chose a part, or more than friction acts on it."""
    if not isinstance(data, Observations) or data.chosen or data.input is not None or system.takes_work:
        return data
    return data.decays()


def on_whole(result: Fit, part: Observations, whole: Observations) -> Fit:
    """A fit of a part, with residuals and prediction like the whole record: NaN where it was left out."""

    def spread(x: np.ndarray) -> np.ndarray:
        out = np.full(whole.position.shape, np.nan)
        out[part.rows] = x
        return out

    def both(fit: Fit) -> tuple:
        return fit.diagnostics.residuals, fit.diagnostics.prediction

    return eqx.tree_at(both, result, tuple(spread(x) for x in both(result)))


def check_position(system: System, data: Observations) -> None:
    """ValueError unless the system takes positions of as many components as the data have."""
    position = np.zeros(data.position.shape[1:])
    try:
        jax.eval_shape(lambda q: systems.prepare(system, q), position)
    except (TypeError, ValueError) as error:
        raise ValueError(f"position of {data.components} components does not fit the system: {error}") from error


def check_enough(chosen: parameters.Parameters, data: Observations) -> None:
    """ValueError for fewer readings than unknowns."""
    d = data.components
    unknowns = chosen.size + (data.offset is None) * d + 2 * d * len(data.runs)
    readings = sum(int(np.sum(np.isfinite(x))) for x in (data.position, data.momentum) if x is not None)
    if readings <= unknowns:
        raise ValueError(f"data have too few readings for {unknowns} unknowns, {2 * d} of them for each run's start")


def record_of(system: System, chosen: parameters.Parameters, data: Observations) -> Record:
    """The record in its own units; ValueError if it has fewer readings than unknowns."""
    own = windows.units_of(data)
    runs = windows.runs_of(data, own)
    d = data.components
    offset = None if data.offset is None else np.broadcast_to(data.offset / own.length, (d,))
    check_enough(chosen, data)
    return Record(system, chosen, own, runs, offset, d, data.position.ndim == 1)


def check_method(system: System, method: str | None, band: Any) -> str | None:
    """The method asked for, or least squares without noise; None where the data are to choose."""
    if method is not None and method not in METHODS:
        raise ValueError(f"method = {method!r} must be one of {METHODS}, or None")
    if method == LEAST_SQUARES or (method is None and system.noise is None):
        if band is not None:
            raise ValueError(f"band = {band!r} is for noise-driven data; give the system noise, as noise=1.0")
        return LEAST_SQUARES
    if system.noise is None:
        raise ValueError(f"method = {method!r} needs noise in the system; pass noise=1.0 and free its sigma")
    if method == stochastic.KALMAN and not linear.is_linear(system):
        other = f"{stochastic.UNSCENTED!r} or {stochastic.EXTENDED!r}"
        raise ValueError(
            f"method = {method!r} needs a quadratic potential, linear damping and kinetic.Euclidean(); use {other}"
        )
    if band is not None and not 0 <= band[0] < band[1]:
        raise ValueError(f"band = {band!r} must be (low, high) in cycles per time, with 0 <= low < high")
    return method


def least_squares(record: Record, data: Observations, most: int, watch: Any) -> tuple[Outcome, str | None]:
    """Least squares; with an input, under each way of reading it between its samples, of which the best is kept."""
    ways = refine(record) if data.input is not None else {}
    fitted, best = shooting.fit(next(iter(ways.values()), record), most, watch), next(iter(ways), None)
    fits = {best: fitted} | {way: shooting.again(fitted, ways[way], most, watch) for way in list(ways)[1:]}
    if len(fits) > 1:
        n = int(np.sum(np.isfinite(data.position)))
        best = most_likely({way: n * np.log(max(float(each.search.normal.cost), 1e-300)) for way, each in fits.items()})
        fitted = fits[best]
    record = record if best is None else ways[best]
    unknown = data.unknown_errors
    if len(unknown) > 1 and unknown.any():
        for _ in range(REWEIGHTINGS):  # each channel's residuals say what its readings weigh
            record = shooting.reweighted(fitted, record, unknown)
            fitted = shooting.again(fitted, record, most, watch)
    return of_least_squares(fitted, record, unknown), None if best is None else INPUTS[best]


def _with_input(system: System, data: Observations) -> System:
    if data.input is None:
        if isinstance(system.force, Sampled):
            raise ValueError(f"force = {system.force!r}, but data have no input; pass the samples to ji.Observations")
        return system
    if system.force is not None and not isinstance(system.force, Sampled):
        raise ValueError(
            f"force = {system.force!r}: with data.input pass force=None, or a ji.force.Sampled with a gain"
        )
    gain = 1.0 if system.force is None else system.force.gain
    first = data.runs[0]
    force = Sampled(data.ts[first], data.input[first], gain)
    return System(system.potential, system.damping, system.noise, system.kinetic, force)


def _watch(progress: bool) -> Callable | None:
    if not progress:
        return None
    from tqdm import tqdm  # noqa: PLC0415  only where progress is shown

    bar = tqdm(desc="fit", unit="step")

    def show(search):
        bar.set_postfix_str(f"cost {float(search.normal.cost):.6g}")
        bar.update()

    return show
