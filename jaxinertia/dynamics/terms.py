"""The same system as diffrax terms, for diffrax's own solvers: friction and work ride along as states."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position
from ..physics.shapes import Coefficient
from ..physics.system import System, check_system
from .brownian import check_path, increments
from .phase import Phase, check_state


def terms(system: System, path: Any = None) -> diffrax.AbstractTerm:
    """Terms for `diffrax.diffeqsolve(terms, solver, ..., y0=phase, args=system)`.

    d(friction)/dt = -v^T Gamma v and d(work)/dt = F.v are integrated beside the state.

    Arguments:
        system: the prepared system of `solvers.initial`; the terms read it from `args`, so that one compiled solve
            serves all parameters.
        path: a Brownian path with the structure of the position, required if the system has noise.

    Returns:
        A `diffrax.AbstractTerm`.

    Raises:
        ValueError: if the system has noise and no path is given. When run: for args or y0 that
            `solvers.initial` did not make, or a path that is not shaped like the position.

    Example:
        >>> args, y0 = ji.solvers.initial(system, 1.0)
        >>> diffrax.diffeqsolve(ji.solvers.terms(system), diffrax.Tsit5(), 0.0, 1.0, 0.01, y0, args=args)
    """
    check_system(system)
    if system.noise is None:
        return diffrax.ODETerm(Drift(noisy=False))
    if path is None:
        raise ValueError("path is None, but the system has noise; pass a diffrax.VirtualBrownianTree or similar")
    return diffrax.MultiTerm(diffrax.ODETerm(Drift(noisy=True)), Kick(path))


class Drift(eqx.Module):
    """All of the equation but white noise's increments, which a `noisy` system gets from a term of its own."""

    noisy: bool = eqx.field(static=True)

    def __call__(self, t: Any, y: Phase, args: System) -> Phase:
        check_state(y, args)
        if self.noisy != (args.noise is not None):
            has, lacks = ("no noise", "a Brownian path") if self.noisy else ("noise", "no Brownian path")
            raise ValueError(
                f"terms have {lacks}, but the system in args has {has}; build both from one system: "
                "args, y0 = ji.solvers.initial(system, position), ji.solvers.terms(args, path)"
            )
        return _drift(t, y, args)


def _drift(t: Any, y: Phase, system: System) -> Phase:
    return rates(t, y, system, system.gradient(y.position, jnp.asarray(t, y.friction.dtype)))


def rates(t: Any, y: Phase, system: System, gradient: Position) -> Phase:
    """dy/dt without white noise, from grad L at the position."""
    t, kinetic = jnp.asarray(t, y.friction.dtype), system.kinetic
    velocity = kinetic.velocity_at(y.position, y.momentum)
    drag = system.damping.force_at(t, y.position, y.momentum, velocity)
    if not kinetic.is_separable:
        gradient = jax.tree.map(jnp.add, gradient, jax.grad(kinetic.energy_at)(y.position, y.momentum))
    momentum = jax.tree.map(lambda g, d: -g - d, gradient, drag)
    work = jnp.zeros_like(y.friction) if system.takes_work else None
    if system.force is not None:
        force = system.drive(t, y.position)
        momentum = jax.tree.map(jnp.add, momentum, force)
        work = _tree.dot(force, velocity)
    if system.moves_with_time:
        work = work + jax.grad(system.level, argnums=1)(y.position, t)
    noise, push = None if y.noise is None else jnp.zeros_like(y.noise), None
    if system.noise is not None and system.noise.remembers:  # a force like any other: its power can be integrated
        momentum = jax.tree.map(jnp.add, momentum, y.push)
        noise = _tree.dot(y.push, velocity)
        push = system.noise.forgotten(y.push)
    return Phase(velocity, momentum, -_tree.dot(velocity, drag), noise, work, push)


class Kick(diffrax.AbstractTerm):
    """dW -> (0, sigma dW, 0): additive noise on the momentum, or on a coloured noise's force.

    diffrax's own `ControlTerm` would take sigma as a linear operator. Its stochastic Runge-Kutta methods map over
    what `vf` returns and scale it, so that it has to be arrays alone.
    """

    path: Any

    def vf(self, t: Any, y: Phase, args: System) -> "Amplitude":
        check_state(y, args)
        if args.noise is None:
            raise ValueError("terms have a Brownian path, but the system in args has no noise: leave the path out")
        check_path(self.path, y.position)
        sigma = args.noise.amplitude(y.momentum)
        if sigma is None:
            raise ValueError(
                f"noise = {type(args.noise).__name__} has no amplitude(like), which diffrax's solvers need: define it, "
                "or use a Splitting such as 'BAOAB'"
            )
        driven = "push" if args.noise.remembers else "momentum"
        still = eqx.tree_at(lambda y: getattr(y, driven), jax.tree.map(jnp.zeros_like, y), None)
        return Amplitude(sigma.value, sigma.matrix, driven, still)

    def contr(self, t0: Any, t1: Any, remembered: bool = False, **kwargs: Any) -> Any:
        if remembered:  # asked for by a Splitting, for its exact map of coloured noise
            return increments(self.path, t0, t1, remembered)
        return self.path.evaluate(t0, t1, **kwargs)

    def prod(self, vf: "Amplitude", control: Position) -> Phase:
        push = Coefficient(vf.sigma, vf.matrix, uniform=False).times(control)
        return eqx.tree_at(lambda y: getattr(y, vf.driven), vf.still, push, is_leaf=lambda x: x is None)


class Amplitude(eqx.Module):
    """sigma, laid out for the field of Phase that it drives, and the zeros for all that noise does not touch."""

    sigma: Position
    matrix: bool = eqx.field(static=True)
    driven: str = eqx.field(static=True)
    still: Phase
