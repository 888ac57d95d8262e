"""simulate: from a system and an initial state to a trajectory with its energy balance."""

import dataclasses
import warnings
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import numpy as np

from .._checks import is_key, is_traced
from .._shown import shown
from .._types import Key
from .._words import Word
from ..physics.system import System, check_system, prepare, vary_alike
from . import adaptive, clock, fixed, foreign, grid, reversible, stored
from . import progress as watch
from .brownian import check_path
from .cards import lost_rows
from .splitting import Splitting, as_solver
from .trajectory import Trajectory


def simulate(
    system: System,
    ts: Any,
    position: Any,
    momentum: Any = None,
    *,
    dt: Any = None,
    substeps: int | None = None,
    solver: diffrax.AbstractSolver | Word | None = None,
    key: Key | None = None,
    path: Any = None,
    stepsize_controller: diffrax.AbstractStepSizeController | None = None,
    event: diffrax.Event | None = None,
    adjoint: diffrax.AbstractAdjoint | str | None = None,
    max_steps: int | None = None,
    store: Any = None,
    warn: bool = True,
    progress: bool = False,
) -> Trajectory:
    r"""Integrate dq/dt = grad K(p), dp = (-grad L(q) - Gamma v + F(t)) dt + sigma dW, and book its energy.

    A `Splitting` runs at fixed steps in a nested scan, which is fast; any other diffrax solver, and any run with a
    step-size controller or an event, goes through `diffrax.diffeqsolve`. Differentiable with respect to every float
    leaf of the system and the state: the scan in forward and reverse mode.

    Arguments:
        system: a `ji.System`.
        ts: increasing output times, shape (times,), any spacing and unit; ts[0] is the start.
        position: initial position, a pytree of float arrays; of an Equinox model its inexact arrays move.
        momentum: like the position, in its unit over time times the mass; None starts at rest.
        dt: the largest inner step, a number, in the unit of ts. Every interval takes n = ceil(interval / dt) equal
            steps and lands on its end (on uneven spacing n may be larger). With an adaptive controller, the first step
            (None: chosen by it).
        substeps: instead of dt, the number of steps in every interval; for ts traced inside jit, such as those that go
            on from an event.
        solver: a word such as "BAB", a `ji.solvers.Splitting`, or any diffrax solver; None means "BAOAB".
        key: a JAX random key; required if the system has noise and no path is given.
        path: a Brownian path (e.g. `diffrax.VirtualBrownianTree`) shaped like the position, instead of a key. For
            coloured noise make it with levy_area=diffrax.SpaceTimeLevyArea: else each step leaves out a part of the
            momentum's variance, of order h^3. A `diffrax.UnsafeBrownianPath` takes adjoint=diffrax.DirectAdjoint().
        stepsize_controller, adjoint, max_steps: passed on to `diffrax.diffeqsolve`; the friction account is left
            out of a PIDController's error norm, and steps land on ts (StepTo and ConstantStepSize keep their own
            steps; between those a splitting is a cubic, see `Splitting`). max_steps defaults to 65,536. diffrax's
            default adjoint is for reverse mode; for forward mode through its solvers, and for events, pass
            adjoint=diffrax.ForwardMode(). adjoint="reversible" is for reverse mode through a Splitting without noise,
            event, controller and laws that stop: the run is not remembered but run backwards, so that memory does not
            grow with the number of steps, in about the time of the default. Each of ts is a state to start from, and
            where friction is strong states between are stored: as many as gamma times the run over 5, or 128 where
            gamma is not known yet (traced). A run that loses its way back raises an error when it runs.
        event: a `diffrax.Event` whose conditions take (t, y, args, **kwargs), with y.position and y.momentum. With a
            root_finder the run stops where a condition crosses zero (in its `direction`), the first one of several.
            A splitting gets there by a shorter step of its word, so that the time and the state are of the word's order
            and their derivatives those of the numerical flow; diffrax's solvers by their dense output. Without a
            root_finder, and for a condition that is true or false, it stops at the end of the step. Two crossings
            within one step are not seen. A run that starts on the zero and leaves it has crossed, at ts[0], unless
            `direction` says otherwise: a ball that starts from the floor takes direction=False.
        store: for runs that do not fit into memory: an empty or new path, URL or Zarr store, to which a run of a
            Splitting at fixed steps goes as it runs, the same to rounding. The positions and momenta of the trajectory
            are Zarr's arrays there, read by slices (`traj.position[-1]`); energies are in memory. It opens with
            `xarray.open_zarr(store)`; rows that a killed run has not reached are NaN there, and it cannot go on.
        warn: whether a run whose energy is not finite says so, in a `RuntimeWarning` with the first such output time.
            Inside jit, vmap or a sweep there is nothing to see yet, and no warning. False does not wait for the run.
        progress: whether to show a bar: of a Splitting at fixed steps its steps, as the numbers at output times are
            there (the run goes in about a hundred parts, the same to rounding); else diffrax's own, of the time. Not
            inside jit, vmap, grad or a sweep.

    Returns:
        A `Trajectory` with leading axis len(ts). After an event its rows are NaN, and `event_state` is (time, position,
        momentum) there, from which to go on; (inf, NaN, NaN) if the event did not happen.

    Raises:
        ValueError: for times that do not increase, a dt that is not positive, traced ts or dt, shapes that do not
            match, noise without key or path, a word that would drop damping or noise, an event with a root_finder in a
            system with noise, whose path between steps is not known, a store that is not empty or cannot be written or
            for a run that is no Splitting's at fixed steps, progress where nothing runs yet, or a diffrax solver or
            adjoint that cannot run this system (it says which one can). Values that are traced are checked when the
            program runs; one for several devices, or for another platform than this process runs on, gives NaN instead.
            diffrax's own checks (its solvers, its Brownian trees) bind a program to its platform.

    Example:
        >>> system = ji.System(ji.potentials.Quadratic(), damping=0.2)
        >>> traj = ji.simulate(system, np.linspace(0, 20, 201), 1.0, dt=0.01)
        >>> traj.inertia, traj.balance.friction

    Source: the paper's Eq. 1-5; B. Leimkuhler and C. Matthews, Molecular Dynamics, 2015.
    """
    check_system(system)
    watch.check(progress, (system, ts, position, momentum, key, path))
    solver = as_solver("solver", solver)
    if dt is None and substeps is None and stepsize_controller is None:
        raise ValueError(
            "dt is None: pass the largest inner step, e.g. dt=0.01, or substeps=; "
            "for adaptive steps stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6)"
        )
    system, position, momentum, rest = prepare(system, position, momentum)
    system, position, momentum = vary_alike(system, position, momentum, ts, key, path)
    inner = foreign.innermost(solver)
    if isinstance(inner, Splitting):
        position = inner.check(system, position)
    _check_noise(system, position, key, path, solver)
    if isinstance(adjoint, str):
        others = {"stepsize_controller": stepsize_controller, "event": event, "max_steps": max_steps}
        others |= {"store": store, "progress": True if progress else None}
        letters, position = reversible.check(adjoint, system, solver, position, others)
        trajectory = reversible.run(system, grid.plan(ts, dt, substeps), position, momentum, letters)
    else:
        options = adaptive.Options(stepsize_controller, event, adjoint, max_steps, progress)
        trajectory = _run(system, ts, position, momentum, dt, substeps, solver, key, path, options, store)
    where = (lambda x: x.position) if trajectory.event_time is None else (lambda x: (x.position, x.event_position))
    trajectory = eqx.tree_at(where, trajectory, replace_fn=lambda moved: eqx.combine(moved, rest))
    trajectory = dataclasses.replace(trajectory, momentum_is_velocity=system.kinetic.is_euclidean)
    if warn:
        _warn_if_not_finite(trajectory)
    return trajectory if store is not None else trajectory.note_origin(ts)


def _warn_if_not_finite(trajectory: Trajectory) -> None:
    """One warning, with the first output time whose energy is not finite; nothing where there are no numbers yet."""
    bad = lost_rows(trajectory)
    if not len(bad):
        return
    t = float(np.asarray(trajectory.ts)[bad[0]])
    if bad[0] == 0:
        why = f"the energy is not finite at the start, t = {t:g}: look at the potential there"
    else:
        why = (
            f"the run is not finite from t = {t:g} on: its step is too long for the stiffest motion (take a smaller "
            "dt), or the potential or a law has no lower bound or no number there"
        )
    warnings.warn(f"{why}; warn=False leaves this out", RuntimeWarning, stacklevel=3)


def _run(system, ts, position, momentum, dt, substeps, solver, key, path, options, store) -> Trajectory:
    """By the scan where it can be, else by diffrax."""
    adaptive.check(options, solver, system)
    if foreign.innermost(solver) is solver and isinstance(solver, Splitting) and not options.any_given:
        run = watch.run if options.progress else fixed.run
        if store is not None:
            run = partial(stored.run, store=store, progress=options.progress)
        return run(system, grid.plan(ts, dt, substeps), position, momentum, solver, key, path)
    if store is not None:
        raise ValueError(
            f"store = {shown(store)} takes a run of a Splitting at fixed steps: leave out store=, or the "
            "controller, event, "
            "adjoint and max_steps, and diffrax's solvers"
        )
    settings = dict(dt=dt, substeps=substeps, solver=solver, key=key, path=path, options=options)
    trajectory = adaptive.run(system, ts, position, momentum, **settings)
    if is_traced(ts):
        return trajectory
    return eqx.tree_at(lambda x: x.ts, trajectory, clock.as_given(ts, np.asarray(ts, np.float64)))


def _check_noise(system, position, key, path, solver):
    if getattr(system.noise, "law", "gaussian") != "gaussian" and (
        path is not None or not isinstance(solver, Splitting)
    ):
        raise ValueError(
            f"noise law = {system.noise.law!r} has no paths: run it with a Splitting and a key, or use law='gaussian'"
        )
    if not system.is_quiet and key is None and path is None:
        raise ValueError("key is None, but the system has noise: pass key=jax.random.key(0), or path=")
    if key is not None and path is not None:
        raise ValueError("key and path are both given: pass the one that should drive the noise")
    if key is not None and not is_key(key):
        raise ValueError(f"key = {shown(key)} must be one JAX random key: jax.random.key(0)")
    if path is not None:
        check_path(path, position)
