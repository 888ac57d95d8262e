r"""Optimizers designed with the energy: each obeys a law of its own, which its tests check.

All step as O-B-A does: something acts on the velocity v, the loss kicks it by -h g, and theta drifts by h v. Complex
parameters are refused by `init`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _tree
from .._checks import as_number, check_step
from .._types import ArrayLike, Index, Position, Scalar
from ..physics.damping import Momentum
from ..physics.kinetic import Relativistic
from .real import refuse_complex


class MomentumState(NamedTuple):
    """The momentum after the latest kick."""

    momentum: Position


class ConservingState(NamedTuple):
    """The momentum after the latest kick, the conserved energy, and the number of calls."""

    momentum: Position
    energy: Scalar
    calls: Index


def energy_conserving_descent(
    dt: ArrayLike, *, floor: float = 0.0, extra_energy: float = 0.0, conserve: bool = True
) -> optax.GradientTransformationExtraArgs:
    r"""Born-Infeld descent: no friction, and yet it stops where the loss ends, for its speed limit is sqrt(V).

    H = sqrt(V (V + |p|^2)) = E with V = L - floor > 0. The speed is |theta'| = sqrt(V (1 - V^2/E^2)) <= sqrt(V):

        theta' = V p / E,    p' = -grad L (V/E + E/V) / 2.

    Law: E is constant. A symplectic Euler step keeps it to first order in h; `conserve` then rescales |p| before each
    kick, so that it is exact. Where V exceeds E, no |p| can do so, and it restarts from rest. Without the published
    method's random bounces, which help it out of orbits.

    Arguments:
        dt: the step h, a positive number, in the unit of time.
        floor: a bound below the loss, a number.
        extra_energy: E - V at the start, which starts at rest: a number >= 0, in units of the loss.
        conserve: whether to rescale.

    Returns:
        An `optax.GradientTransformationExtraArgs`; `update` needs `value=loss`.

    Raises:
        ValueError: for an invalid dt, a negative extra energy, or an update without `value`.

    Example:
        >>> optimizer = ji.training.energy_conserving_descent(dt=0.1)
        >>> updates, state = optimizer.update(grads, state, params, value=loss)

    Source: G. B. De Luca and E. Silverstein, ICML 2022, arXiv 2201.11137.
    """
    h = check_step(dt)
    least = as_number("floor", floor)
    extra = as_number("extra_energy", extra_energy, least=0.0)

    def init(params):
        refuse_complex("params", params)
        zero = jnp.zeros((), _tree.dtype(params))
        return ConservingState(jax.tree.map(jnp.zeros_like, params), zero, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, value=None, **_):
        del params
        height = _height(value, least, state.energy)
        first = state.calls == 0
        energy = jnp.where(first, height + extra, state.energy)
        momentum = state.momentum
        wanted = jnp.maximum(energy**2 / height - height, 0.0)  # |p|^2 at this height
        rescaled = _with_norm(momentum, jnp.sqrt(wanted), updates)
        if conserve:
            momentum = rescaled
        else:
            momentum = jax.tree.map(lambda new, old: jnp.where(first, new, old), rescaled, momentum)
        momentum = _tree.add_scaled(momentum, -h / 2 * (height / energy + energy / height), updates)
        moved = jax.tree.map(lambda p: (h * height / energy).astype(p.dtype) * p, momentum)
        return moved, ConservingState(momentum, energy, state.calls + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def energy_restart(dt: ArrayLike, *, gamma: float = 0.0, uphill: float = math.inf) -> optax.GradientTransformation:
    r"""Heavy ball that brakes only where it climbs: friction `uphill` where the power v.grad L is positive.

    v -> e^{-gamma h} v, or e^{-(gamma + uphill) h} v where v.g > 0; v -> v - h g; theta -> theta + h v. With uphill =
    inf, the default, it stops and falls anew.

    Law: with gamma = 0 friction is zero while the loss falls, and takes the whole kinetic energy at each turn uphill.

    Arguments:
        dt: the step h, a positive number, in the unit of time.
        gamma: friction throughout, a number >= 0, in one over time.
        uphill: further friction while climbing, a number >= 0, in one over time.

    Returns:
        An `optax.GradientTransformation`.

    Raises:
        ValueError: for an invalid dt, or a negative gamma or uphill.

    Example:
        >>> optimizer = ji.training.energy_restart(dt=0.1)

    Source: E. Bitzek et al., Physical Review Letters 97, 170201 (2006), FIRE; B. O'Donoghue and E. Candes, 2015.
    """
    h = check_step(dt)
    gentle = math.exp(-as_number("gamma", gamma, least=0.0) * h)
    rough = gentle * math.exp(-as_number("uphill", uphill, least=0.0, finite=False) * h)

    def relax(velocity, gradient, value):
        del value
        return jnp.where(_tree.dot(velocity, gradient) > 0, rough, gentle)

    return _heavy_ball(h, relax)


def inertia_controlled(
    dt: ArrayLike, rate: float, *, floor: float = 0.0, gamma_max: float | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Heavy ball whose friction takes energy at a set rate: d(I - floor)/dt = -rate (I - floor).

    Before each kick v -> s v with s^2 = 1 - (1 - e^{-rate h}) (I - floor) / K: gamma adapts to
    rate (I - floor) / (2 K), but not beyond gamma_max, without which a start from rest would never gain speed.

    Law: friction is -(1 - e^{-rate h}) (I - floor) a step, whatever the loss, while K is at least that over
    1 - e^{-2 gamma_max h}; else it is that of gamma_max.

    Arguments:
        dt: the step h, a positive number, in the unit of time.
        rate: of the fall of I, a positive number, in one over time.
        floor: the loss to fall to, a number.
        gamma_max: the highest gamma, a number; None takes ten times the rate: the law then holds from K = (I - floor) /
            20 on.

    Returns:
        An `optax.GradientTransformationExtraArgs`; `update` needs `value=loss`.

    Raises:
        ValueError: for an invalid dt, rate or gamma_max, or an update without `value`.

    Example:
        >>> optimizer = ji.training.inertia_controlled(dt=0.1, rate=0.3)
    """
    h = check_step(dt)
    least, pace = as_number("floor", floor), as_number("rate", rate, least=0.0)
    highest = 10 * pace if gamma_max is None else as_number("gamma_max", gamma_max, least=0.0)
    share, kept = -math.expm1(-pace * h), math.exp(-2 * highest * h)

    def relax(velocity, gradient, value):
        kinetic = _tree.dot(velocity, velocity) / 2
        inertia = kinetic + _height(value, least, kinetic)
        moving = kinetic > 0
        left = 1 - share * inertia / jnp.where(moving, kinetic, 1.0)
        return jnp.where(moving, jnp.sqrt(jnp.clip(left, kept, 1.0)), 1.0)

    return _heavy_ball(h, relax)


def relativistic_heavy_ball(
    dt: ArrayLike, gamma: float, speed: float, *, per_parameter: bool = False
) -> optax.GradientTransformation:
    r"""Heavy ball with a speed limit c: K = c^2 (sqrt(1 + |p|^2/c^2) - 1), v = p / sqrt(1 + |p|^2/c^2).

    p -> e^{-gamma h} p, p -> p - h g, theta -> theta + h v. Slow, it is heavy ball; fast, it moves by normalised
    momentum. Per parameter, every component has the limit of its own, and the fast end is signed momentum.

    Law: |v| < c always; without friction K + L is kept to first order in h; with it the volume of phase space shrinks
    by e^{-gamma h} per parameter and step.

    Arguments:
        dt: the step h, a positive number, in the unit of time.
        gamma: friction on p, a number >= 0, in one over time.
        speed: c, a positive number, in units of parameters over time.
        per_parameter: whether the limit is for each parameter, or for all together.

    Returns:
        An `optax.GradientTransformation`.

    Raises:
        ValueError: for an invalid dt, gamma or speed.

    Example:
        >>> optimizer = ji.training.relativistic_heavy_ball(dt=0.1, gamma=0.5, speed=1.0)

    Source: G. Franca, J. Sulam, D. Robinson, R. Vidal, Journal of Statistical Mechanics, 2020, 124008.
    """
    h = check_step(dt)
    friction = Momentum(as_number("gamma", gamma, least=0.0))
    c = as_number("speed", speed, least=0.0)
    if c == 0:
        raise ValueError(f"speed = {speed!r} must be positive: nothing would move")
    kinetic = Relativistic(c)

    def relaxed(momentum):
        return friction.relaxation(kinetic, h, 0.0, momentum, momentum)

    def velocity(momentum):
        if per_parameter:
            alone = jax.vmap(lambda p: kinetic.velocity_at(p, p))
            return jax.tree.map(lambda p: alone(jnp.ravel(p)).reshape(p.shape), momentum)
        return kinetic.velocity_at(momentum, momentum)

    def init(params):
        refuse_complex("params", params)
        return MomentumState(jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, **_):
        del params
        kicked = jax.tree.map(lambda p, g: p - h * g, relaxed(state.momentum), updates)
        momentum = _like(state.momentum, kicked)
        return _like(momentum, jax.tree.map(lambda v: h * v, velocity(momentum))), MomentumState(momentum)

    return optax.GradientTransformationExtraArgs(init, update)


def _like(tree: Position, other: Position) -> Position:
    """The other, each leaf in the precision of the tree's."""
    return jax.tree.map(lambda x, y: y.astype(x.dtype), tree, other)


def _heavy_ball(h: float, relax: Any) -> optax.GradientTransformationExtraArgs:
    """O by the factor `relax`, then B, then A."""

    def init(params):
        refuse_complex("params", params)
        return MomentumState(jax.tree.map(jnp.zeros_like, params))

    def update(updates, state, params=None, *, value=None, **_):
        del params
        factor = relax(state.momentum, updates, value)
        momentum = jax.tree.map(lambda p, g: jnp.asarray(factor, p.dtype) * p - h * g, state.momentum, updates)
        return jax.tree.map(lambda v: h * v, momentum), MomentumState(momentum)

    return optax.GradientTransformationExtraArgs(init, update)


def _with_norm(momentum: Position, norm: Scalar, gradient: Position) -> Position:
    """The momentum with this norm; from rest, down the gradient."""
    size, slope = (jnp.sqrt(_tree.dot(x, x)) for x in (momentum, gradient))
    moving = size > 0
    along = norm / jnp.where(moving, size, 1.0)
    down = norm / jnp.where(slope > 0, slope, 1.0)
    return jax.tree.map(
        lambda p, g: jnp.where(moving, along.astype(p.dtype) * p, -down.astype(p.dtype) * g), momentum, gradient
    )


def _height(value: Any, floor: float, like: Scalar) -> Scalar:
    """L - floor, kept positive."""
    if value is None:
        raise ValueError("value is None: this optimizer reads the loss; call update(grads, state, params, value=loss)")
    height = jnp.asarray(value, like.dtype) - floor
    return jnp.maximum(height, jnp.finfo(like.dtype).tiny ** 0.25)
