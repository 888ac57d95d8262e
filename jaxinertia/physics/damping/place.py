"""Friction that changes from place to place."""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from ..._checks import everywhere, require
from ..._shown import shown
from ..potentials import as_module
from ..series import phi
from ..shapes import leaves_of, match
from .abstract import AbstractDamping


class PositionDependent(AbstractDamping):
    r"""dp/dt = -gamma(q) v, so dI/dt = -v^T gamma(q) v: friction of a valley, a wall, a rough patch.

    The position rests in an O sub-step, so the map is exact: e^{-gamma(q) h}.

    Arguments:
        gamma: a callable from the position to a number >= 0, or to what is shaped like the position, in one over time;
            a negative value makes the run NaN.

    Raises:
        ValueError: if gamma is not callable; when run, if what it returns does not fit the position, or is negative at
            the start.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.PositionDependent(lambda q: 0.1 * q**2))
    """

    gamma: Callable

    def __init__(self, gamma: Callable):
        if not callable(gamma):
            raise ValueError(
                f"gamma = {shown(gamma)} must be a function of the position; a constant one is damping.Linear"
            )
        self.gamma = as_module("gamma", gamma, "position")

    asks_for_time: ClassVar[bool] = False

    def force_at(self, t, position, momentum, velocity):
        """gamma(q) v: the friction force is its negative. Shaped like the velocity."""
        return jax.tree.map(jnp.multiply, self._rates(position).value, velocity)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        rates = self._rates(position)
        if kinetic.is_euclidean:
            relaxed = jax.tree.map(lambda g, p: p + p * jnp.expm1(-g * h), rates.value, momentum)
            if push is None:
                return relaxed
            return jax.tree.map(lambda p, g, f: p + h * phi(g * h) * f, relaxed, rates.value, push)
        if rates.uniform and push is None:
            slowed = kinetic.slowed(jax.tree.leaves(rates.value)[0] * h, momentum)
            if slowed is not None:
                return slowed
        return super().relaxation(kinetic, h, t, position, momentum, push)

    def composes(self, kinetic):
        return kinetic.is_euclidean

    def check(self, position):
        holds = everywhere(lambda g: g >= 0, jax.lax.stop_gradient(self._rates(position).value))
        return require(position, holds, "damping gamma(q) must not be negative, and is at the start; raise it there")

    def _rates(self, position):
        value = leaves_of("damping gamma(q)", self.gamma(position))
        rates = match("damping gamma(q)", value, position)
        if rates.matrix:
            raise ValueError("damping gamma(q) is a matrix; return a number, or what is shaped like the position")
        negative = jax.tree.map(lambda g, q: jnp.where(g < 0, jnp.nan, g).astype(q.dtype), rates.value, position)
        return rates._replace(value=negative)
