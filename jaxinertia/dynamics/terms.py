"""The same system as diffrax terms, for diffrax's own solvers: friction and work ride along as states."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax as lx

from .. import _tree
from .._types import Position
from ..physics.shapes import match
from ..physics.system import System
from .phase import Phase


def terms(system: System, path: Any = None) -> diffrax.AbstractTerm:
    """Terms for `diffrax.diffeqsolve(terms, solver, ..., y0=phase, args=system)`.

    d(friction)/dt = -v^T Gamma v and d(work)/dt = F.v are integrated beside the state.

    Arguments:
        system: the prepared system of `solvers.initial`; the terms read it from `args`, so that one compiled solve
            serves all parameters.
        path: a Brownian path with the structure of the position, required if the system has noise.

    Raises:
        ValueError: if the system has noise and no path is given.

    Example:
        >>> args, y0 = ji.solvers.initial(system, 1.0)
        >>> diffrax.diffeqsolve(ji.solvers.terms(system), diffrax.Tsit5(), 0.0, 1.0, 0.01, y0, args=args)
    """
    if system.noise is None:
        return diffrax.ODETerm(_drift)
    if path is None:
        raise ValueError("path is None, but the system has noise; pass a diffrax.VirtualBrownianTree or similar")
    return diffrax.MultiTerm(diffrax.ODETerm(_drift), diffrax.ControlTerm(_diffusion, path))


def _drift(t: Any, y: Phase, system: System) -> Phase:
    velocity = system.kinetic.velocity(y.momentum)
    drag = system.damping.force(velocity)
    gradient = system.gradient(y.position)
    momentum = jax.tree.map(lambda g, d: -g - d, gradient, drag)
    work = None
    if system.force is not None:
        force = system.drive(t, y.position)
        momentum = jax.tree.map(jnp.add, momentum, force)
        work = _tree.dot(force, velocity)
    noise = None if y.noise is None else jnp.zeros_like(y.noise)
    return Phase(velocity, momentum, -_tree.dot(velocity, drag), noise, work)


def _diffusion(t: Any, y: Phase, system: System) -> lx.AbstractLinearOperator:
    """dW -> (0, sigma dW, 0): additive noise on the momentum."""
    assert system.noise is not None  # `terms` gives this term to noisy systems only
    sigma = match("noise sigma", system.noise.sigma, y.momentum)
    still = jax.tree.map(jnp.zeros_like, y)

    def kick(increment: Position) -> Phase:
        return Phase(still.position, sigma.times(increment), still.friction, still.noise, still.work)

    return lx.FunctionLinearOperator(kick, jax.eval_shape(lambda: y.momentum))
