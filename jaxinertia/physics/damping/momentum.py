"""Friction on the momentum itself."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ..._checks import everywhere, require
from ..._types import ArrayLike, Position
from ..series import phi
from ..shapes import match
from .abstract import AbstractDamping
from .linear import Linear


class Momentum(AbstractDamping):
    r"""dp/dt = -gamma p: drag on the momentum, not the velocity. dI/dt = -gamma p.v <= 0 for every convex K.

    Its O sub-step, p -> e^{-gamma h} p, is exact for every kinetic energy, and the step stays conformally symplectic.
    With the Euclidean kinetic energy it is `Linear(gamma)`.

    Arguments:
        gamma: >= 0, one over time; a number, or an array or pytree shaped like the position.

    Raises:
        ValueError: if gamma is negative, not finite, or a matrix.

    Example:
        >>> kinetic = ji.kinetic.Relativistic(1.0)
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.Momentum(0.2), kinetic=kinetic)

    Source: G. Franca, J. Sulam, D. Robinson, R. Vidal, J. Stat. Mech. (2020) 124008.
    """

    gamma: Position

    def __init__(self, gamma: ArrayLike):
        self.gamma = Linear(gamma).gamma

    asks_for_time: ClassVar[bool] = False

    def force_at(self, t, position, momentum, velocity):
        """gamma p: the friction force is its negative. Shaped like the momentum."""
        return jax.tree.map(jnp.multiply, self._rates(momentum), momentum)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        rates = self._rates(momentum)
        relaxed = jax.tree.map(lambda g, p: p + p * jnp.expm1(-g * h), rates, momentum)
        if push is None:
            return relaxed
        return jax.tree.map(lambda p, g, f: p + h * phi(g * h) * f, relaxed, rates, push)

    def prepared(self, kinetic, noise, h, momentum):
        if kinetic.is_euclidean:
            return Linear(self.gamma).prepared(kinetic, noise, h, momentum)
        return super().prepared(kinetic, noise, h, momentum)

    def shrinks(self, kinetic, like):
        gamma = match("damping gamma", self.gamma, like)
        return jax.tree.leaves(gamma.value)[0] if gamma.uniform else None

    @property
    def linear_part(self) -> Position:
        return self.gamma

    invertible: ClassVar[bool] = True
    nonnegative: ClassVar[tuple[str, ...]] = ("gamma",)

    def composes(self, kinetic):
        return True

    def likely(self, gamma, speed=None, mass=1.0):
        return {"gamma": gamma}

    def decay(self, mass):
        return self.gamma

    def in_units(self, origin, time, length):
        return jax.tree.map(lambda x: x * time, self)

    @property
    def strength(self) -> Any:
        return self.gamma

    def check(self, position):
        holds = everywhere(lambda g: g >= 0, self._rates(position))
        return require(position, holds, "damping gamma must not be negative in any component; pass gamma >= 0")

    def _rates(self, like):
        gamma = match("damping gamma", self.gamma, like)
        if gamma.matrix:
            raise ValueError("damping gamma of damping.Momentum is a matrix; pass a number, or one a component")
        return gamma.value
