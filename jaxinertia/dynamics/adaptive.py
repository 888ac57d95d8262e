"""diffrax's own run: adaptive steps, events, and its Runge-Kutta and stochastic solvers, with the same balance."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _tree
from .._checks import bad_values_are_nan, check_step, require
from .._shown import shown
from .._types import Key
from ..energy.balance import close
from ..energy.inertia import kinetic_and_potential
from ..physics.system import System
from . import clock, events, foreign, langevin
from .grid import Grid, check_times, count_steps, plan
from .phase import Phase, start
from .splitting import Splitting
from .terms import terms
from .trajectory import Trajectory


class Options(eqx.Module):
    """What only diffrax's run takes."""

    stepsize_controller: Any = None
    event: Any = None
    adjoint: diffrax.AbstractAdjoint | None = None
    max_steps: int | None = eqx.field(static=True, default=None)
    progress: bool = eqx.field(static=True, default=False)

    @property
    def any_given(self) -> bool:
        return any(x is not None for x in (self.stepsize_controller, self.event, self.adjoint, self.max_steps))


DEFAULT_MAX_STEPS = 2**16


def check(options: Options, solver: Any, system: System) -> None:
    """ValueError for options that diffrax would refuse less clearly."""
    controller, event, max_steps = options.stepsize_controller, options.event, options.max_steps
    if controller is not None and not isinstance(controller, diffrax.AbstractStepSizeController):
        raise ValueError(f"stepsize_controller = {shown(controller)} must be diffrax's, e.g. PIDController(1e-6, 1e-6)")
    if foreign.innermost(solver) is solver and isinstance(solver, Splitting) and foreign.adapts(controller):
        raise ValueError(
            "stepsize_controller adapts steps, but a Splitting has no error estimate; use diffrax.Tsit5(), or "
            "diffrax.HalfSolver(solver)"
        )
    if event is not None and not isinstance(event, diffrax.Event):
        raise ValueError(f"event = {shown(event)} must be a diffrax.Event")
    if options.adjoint is not None and not isinstance(options.adjoint, diffrax.AbstractAdjoint):
        raise ValueError(f"adjoint = {shown(options.adjoint)} must be diffrax's, e.g. diffrax.ForwardMode()")
    if max_steps is not None and (isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1):
        raise ValueError(f"max_steps = {shown(max_steps)} must be a whole number of at least 1")
    foreign.check_solver(solver, system, controller)
    foreign.check_adjoint(options.adjoint, solver, system, controller, event)


def run(
    system: System, ts, position, momentum, *, dt, substeps, solver, key: Key | None, path: Any, options: Options
) -> Trajectory:
    """Integrate a prepared system and state."""
    events.check(options.event, system)
    system = system.reading(options.event)
    if system.is_quiet:
        system = system.without_noise()
    given = options.stepsize_controller
    finest: Any  # step: a path's nodes must be finer
    if substeps is not None:
        if given is not None:
            raise ValueError(
                f"substeps = {shown(substeps)} fixes the steps, and stepsize_controller chooses them; pass one"
            )
        even = plan(ts, dt, substeps)
        ts, finest = even.ts, jnp.min(even.h)
        controller, dt0, most = diffrax.StepTo(_even_times(even)), None, even.rows * even.steps
    elif given is None:
        counts, ts = count_steps(ts, dt)
        _check_count(int(counts.sum()), options.max_steps)
        finest = check_step(dt)
        ts = _since_start(system, ts, float(np.min(np.diff(ts) / counts)), path, options)
        controller, dt0, most = diffrax.StepTo(jnp.asarray(_all_times(ts, counts))), None, int(counts.sum())
    else:
        ts = check_times(ts)
        dt0 = None if dt is None else check_step(dt)
        ts = _since_start(system, ts, min(dt0 or np.inf, float(np.diff(ts).min())), path, options)
        finest = (ts[-1] - ts[0]) / 1024 if dt0 is None else dt0
        controller, most = _land_on(given, ts), DEFAULT_MAX_STEPS
    if system.noise is not None and path is not None:
        _check_area(solver, system.noise, path)
    elif system.noise is not None:
        path = _tree_path(_area(solver, system.noise), ts, finest, momentum, key)
    if isinstance(solver, langevin.SOLVERS):
        langevin.check(system, position, options.event)
    first = start(system, position, momentum, key)
    throw = not bad_values_are_nan()  # in a sweep, a point that diffrax gives up on is NaN
    most = options.max_steps or most
    try:
        return _solve(system, jnp.asarray(ts), first, solver, path, controller, dt0, most, options, throw)
    except RuntimeError as error:
        if "error estimates" in str(error):  # found while tracing
            raise foreign.no_estimate(solver) from None
        raise


def _since_start(system, host: np.ndarray, step: float, path, options: Options) -> np.ndarray:
    """The output times from the start on: as they came where somebody is told the time of day, else from 0."""
    controller = options.stepsize_controller
    listeners = {
        system.asks_for_time: bool(system.asks_for_time),
        "path": system.noise is not None and path is not None,
        "event": options.event is not None,
        "stepsize_controller": controller is not None and not isinstance(controller, _WITHOUT_TIMES),
    }
    told = " and ".join(name for name, listens in listeners.items() if listens)
    host = host if told else host - host[0]
    return clock.check_resolved(host, told or "diffrax", float(np.abs(host).max()), step, clock.finest())


_WITHOUT_TIMES = (diffrax.PIDController, diffrax.ConstantStepSize)


MOST_TIMES = 2**27  # steps whose times fit in memory


def _check_count(needed: int, max_steps: int | None) -> None:
    if max_steps is not None and needed > max_steps:
        raise ValueError(f"max_steps = {max_steps}, but ts and dt ask for {needed} steps; pass more, or a larger dt")
    if needed > MOST_TIMES:
        raise ValueError(
            f"ts and dt ask for {needed} steps, more than the {MOST_TIMES} whose times it keeps; pass a larger dt, "
            "or a Splitting without controller, event, adjoint and max_steps"
        )


@eqx.filter_jit
def _solve(system, ts, first: Phase, solver, path, controller, dt0, max_steps, options: Options, throw: bool):
    adjoint = {} if options.adjoint is None else {"adjoint": options.adjoint}
    bare = isinstance(solver, langevin.SOLVERS)  # carries the position and the momentum alone
    event = options.event
    located = event is not None and event.root_finder is not None
    saveat = diffrax.SaveAt(ts=ts)  # as BacksolveAdjoint wants it
    if event is not None:
        saveat = diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=ts), diffrax.SubSaveAt(t1=True)], solver_state=located)
    run = dict(
        terms=langevin.langevin_terms(system, first.position, path) if bare else terms(system, path),
        solver=events.Remembering(solver) if located else solver,
        t0=ts[0],
        t1=ts[-1],
        dt0=dt0,
        args=system,
        saveat=saveat,
        stepsize_controller=controller,
        max_steps=max_steps,
    )
    y0 = (first.position, first.momentum) if bare else first
    meter = diffrax.TqdmProgressMeter() if options.progress else diffrax.NoProgressMeter()
    solution = diffrax.diffeqsolve(
        **run, y0=y0, event=events.by_steps(event), throw=False, progress_meter=meter, **adjoint
    )
    rows = solution.ys if event is None else solution.ys[0]
    if throw:
        rows = _reached(rows, solution.result, max_steps)
    # Times in float64 may have promoted a float32 state.
    dtype = _tree.dtype(first.position)
    phase = _tree.cast(rows, dtype)
    if bare:
        unknown = jnp.full((), jnp.nan, dtype)
        phase = jax.vmap(lambda q, p: Phase(q, p, unknown, unknown, None))(*phase)
    event_state: tuple = ()
    if event is not None:
        time, *state = events.stop(event, run, solution, throw)
        event_state = (time, *_tree.cast(state, dtype))
        phase = jax.vmap(lambda t, y: events.unless(t > time, y))(ts, phase)
        phase = jax.tree.map(lambda y, y0: y.at[0].set(y0), phase, first)  # diffrax leaves it out of a run of no step
    if event is not None or not throw:  # diffrax marks rows that it did not reach with inf
        phase = jax.tree.map(lambda y: jnp.where(jnp.isinf(y), jnp.nan, y), phase)
    kinetic, potential = jax.lax.map(
        lambda x: kinetic_and_potential(system, x[0].position, x[0].momentum, x[1]), (phase, jnp.asarray(ts))
    )
    by_remainder = system.noise is not None and not system.noise.remembers and not isinstance(solver, Splitting)
    noise = None if by_remainder else phase.noise
    balance = close(kinetic + potential, phase.friction, noise, phase.work, noise_is_remainder=by_remainder)
    return Trajectory(ts, phase.position, phase.momentum, kinetic, potential, balance, *event_state)


def _even_times(even: Grid) -> Any:
    """Every step's time where each row has as many."""
    steps = jnp.arange(even.steps) * jnp.broadcast_to(even.h, even.starts.shape)[:, None]
    return jnp.append((even.origin + even.starts[:, None] + steps).reshape(-1), even.ts[-1])


def _reached(rows: Any, result: diffrax.RESULTS, max_steps: int) -> Any:
    """The rows, if the run came to its end; else a run-time error."""
    short = result == diffrax.RESULTS.max_steps_reached
    message = (
        f"max_steps = {max_steps} steps did not reach the last of ts: pass more, looser tolerances, or if it is stiff "
        "an implicit solver such as diffrax.Kvaerno5()"
    )
    rows = require(rows, ~short, message)
    return result.error_if(rows, ~(diffrax.is_okay(result) | short))


def _all_times(host: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Every step's time; output times themselves stay exact."""
    pieces = [np.linspace(a, b, n + 1)[:-1] for a, b, n in zip(host[:-1], host[1:], counts, strict=True)]
    return np.concatenate([*pieces, host[-1:]])


def _land_on(controller, host: np.ndarray):
    """Steps end on the output times, where nothing is interpolated; the accounts stay out of the error norm."""
    if hasattr(controller, "norm"):
        norm = controller.norm
        controller = eqx.tree_at(lambda c: c.norm, controller, lambda y: norm(_state_only(y)))
    if isinstance(controller, (diffrax.ClipStepSizeController, diffrax.StepTo, diffrax.ConstantStepSize)):
        return controller
    return diffrax.ClipStepSizeController(controller, step_ts=jnp.asarray(host))


def _state_only(y):
    return (y.position, y.momentum) if isinstance(y, Phase) else y


_LEVY_AREAS = (diffrax.BrownianIncrement, diffrax.SpaceTimeLevyArea, diffrax.SpaceTimeTimeLevyArea)  # cheapest first


def _area(solver, noise):
    """What a path has to know for this solver."""
    if isinstance(solver, Splitting):
        return diffrax.SpaceTimeLevyArea if noise.remembers else diffrax.BrownianIncrement
    return next(kind for kind in _LEVY_AREAS if issubclass(kind, _needed(solver)))


def _needed(solver):
    """What its own path has to know at the least, an abstract class of diffrax; a splitting can do without."""
    return getattr(foreign.innermost(solver), "minimal_levy_area", diffrax.AbstractBrownianIncrement)


def _check_area(solver, noise, path):
    given = getattr(path, "levy_area", None)
    if isinstance(given, type) and not issubclass(given, _needed(solver)):
        raise ValueError(
            f"path has levy_area = {given.__name__}, but {type(foreign.innermost(solver)).__name__} needs more; "
            f"pass a diffrax.VirtualBrownianTree(..., levy_area=diffrax.{_area(solver, noise).__name__})"
        )


def _tree_path(area, ts, finest, momentum, key):
    shape = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), momentum)
    # The tree's law is exact between its nodes; they only need to be finer than the steps.
    return diffrax.VirtualBrownianTree(ts[0], ts[-1], finest / 4, shape, key, levy_area=area)
