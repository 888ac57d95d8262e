"""A kinetic energy with a speed limit."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import _tree
from ..._checks import as_float, is_traced, known, require
from ..._types import ArrayLike, Position, Scalar
from .abstract import AbstractKinetic

_NEWTON_STEPS = 12


class Relativistic(AbstractKinetic):
    r"""K(p) = m c^2 (sqrt(1 + |p|^2 / (m c)^2) - 1): no speed |v| = |p| / sqrt(m^2 + |p|^2 / c^2) exceeds c.

    |p| runs over the whole position. Small momenta move as with `Mass(m)`. Under linear friction of one rate gamma,
    sqrt(1 + r^2) - asinh(1 / r) with r = |p| / (m c) falls by gamma h / m, which the O sub-step solves to rounding.

    Arguments:
        speed_limit: c > 0, a number, in length over time.
        mass: m > 0, a number, in the unit of mass.

    Raises:
        ValueError: if one is not a positive finite number.

    Example:
        >>> ji.System(ji.potentials.Rosenbrock(), damping=0.1, kinetic=ji.kinetic.Relativistic(speed_limit=1.0))

    Source: G. Franca, J. Sulam, D. Robinson, R. Vidal, Conformal symplectic and relativistic optimization,
    J. Stat. Mech. (2020) 124008; X. Lu et al., Relativistic Monte Carlo, AISTATS 2017.
    """

    speed_limit: Scalar
    mass: Scalar

    nonnegative: ClassVar[tuple[str, ...]] = ("speed_limit", "mass")

    def in_units(self, time, length):
        return eqx.tree_at(lambda k: k.speed_limit, self, self.speed_limit * time / length)

    def __init__(self, speed_limit: ArrayLike, mass: ArrayLike = 1.0):
        self.speed_limit, self.mass = _number("speed_limit", speed_limit), _number("mass", mass)

    @property
    def small_mass(self):
        return self.mass

    def energy(self, momentum: Position) -> Scalar:
        """m c^2 (sqrt(1 + r^2) - 1), without cancellation for small r."""
        size = _tree.dot(momentum, momentum)
        r_squared = size / (self.mass * self.speed_limit) ** 2
        return size / self.mass / (jnp.sqrt(1 + r_squared) + 1)

    def velocity_at(self, position, momentum):
        r_squared = _tree.dot(momentum, momentum) / (self.mass * self.speed_limit) ** 2
        factor = 1 / (self.mass * jnp.sqrt(1 + r_squared))
        return jax.tree.map(lambda p: factor * p, momentum)

    def slowed(self, friction, momentum):
        size = _tree.dot(momentum, momentum)
        moves = size > 0
        r = jnp.sqrt(jnp.where(moves, size, 1.0)) / (self.mass * self.speed_limit)
        change = _log_change(r, jnp.minimum(friction / self.mass, 1e4))  # e^{-10000} is 0
        little = change > -1
        excess, factor = jnp.expm1(jnp.where(little, change, 0.0)), jnp.exp(change)
        slowed = lambda p: jnp.where(moves, jnp.where(little, p + excess * p, factor * p), p)  # noqa: E731
        return jax.tree.map(slowed, momentum)


def _log_change(r, fall):
    """u with f(y + u) = f(y) - fall for y = log r: the change of log r, with all its digits where it is little.

    f(y) = sqrt(1 + e^{2y}) - asinh(e^{-y}) has f' = sqrt(1 + e^{2y}) >= 1 and f'' > 0, so that Newton's steps come down
    to the root from any start above it, such as this one, which is near.
    """
    gamma = jnp.sqrt(1 + r * r)
    target = gamma - jnp.arcsinh(1 / r) - fall
    start = jnp.where(target > 0, jnp.log1p(jnp.maximum(target, 0.0)), target) - jnp.log(r)

    def newton(_, u):
        slope = jnp.sqrt(1 + (r * jnp.exp(u)) ** 2)
        rise = r * r * jnp.expm1(2 * u) / (slope + gamma)  # of the square root
        share = rise / (1 + gamma)
        close = jnp.abs(share) < 0.5  # else 1 + share, (1 + slope) / (1 + gamma), loses digits
        turn = jnp.where(close, jnp.log1p(jnp.where(close, share, 0.0)), jnp.log((1 + slope) / (1 + gamma)))
        return u - (u + rise - turn + fall) / slope

    u = jax.lax.stop_gradient(jax.lax.fori_loop(0, _NEWTON_STEPS, newton, start))
    return newton(None, u)  # at the root, and so with the derivatives of the root


def _number(name, x):
    x = as_float(name, x)
    if x.ndim:
        raise ValueError(f"{name} must be one number, got shape {x.shape}")
    shown = "" if is_traced(x) else f", got {np.asarray(x)}"
    return require(x, (known(x) > 0) & (known(x) < np.inf), f"{name} must be positive and finite{shown}")
