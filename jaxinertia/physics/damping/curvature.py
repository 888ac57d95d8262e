"""Friction that follows the curvature of the loss along the motion."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ... import _tree
from ..._checks import as_float, is_traced, known, require
from ..._types import ArrayLike, Scalar
from .abstract import AbstractDamping


class CurvatureAware(AbstractDamping):
    r"""dp/dt = -gamma v with gamma = 2 ratio sqrt(max(v^T H v, 0) / |v|^2), H the Hessian of L: critical along v.

    One Hessian-vector product for each relaxation. Friction keeps the direction, on which alone gamma depends, so the O
    sub-step is exact for the Euclidean kinetic energy. At rest the direction is that of -grad L; along a crest
    (negative curvature) there is no friction.

    On ill-conditioned quadratics it reaches a small inertia no sooner than the best single gamma does; what it spares
    is knowing that gamma.

    Arguments:
        ratio: of the damping to the critical one, a number >= 0.

    Raises:
        ValueError: if the ratio is negative, not finite, or not a number.

    Example:
        >>> ji.System(ji.potentials.Rosenbrock(), damping=ji.damping.CurvatureAware())
    """

    ratio: Scalar

    def __init__(self, ratio: ArrayLike = 1.0):
        ratio = as_float("damping ratio", ratio)
        shown = "" if is_traced(ratio) else f", got {np.asarray(ratio)}"
        if ratio.ndim:
            raise ValueError(f"damping ratio must be one number{shown}")
        holds = (known(ratio) >= 0) & (known(ratio) < np.inf)
        self.ratio = require(ratio, holds, f"damping ratio must be finite and not negative{shown}; 1 is critical")

    nonnegative: ClassVar[tuple[str, ...]] = ("ratio",)

    def in_units(self, origin, time, length):
        return self

    @property
    def strength(self) -> Any:
        return self.ratio

    def check(self, position):
        return position  # the force is known with its system only

    def bound(self, system):
        return BoundCurvatureAware(self.ratio, system)


class BoundCurvatureAware(AbstractDamping):
    """The law with the system whose loss it follows."""

    ratio: Scalar
    system: Any
    asks_for_time: ClassVar[bool] = False  # the potential does where it does

    def force_at(self, t, position, momentum, velocity):
        """gamma v: the friction force is its negative. Shaped like the velocity."""
        gamma = self._rate(t, position, velocity)
        return jax.tree.map(lambda v: gamma * v, velocity)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        if not kinetic.is_euclidean or push is not None:
            return super().relaxation(kinetic, h, t, position, momentum, push)
        lost = jnp.expm1(-h * self._rate(t, position, momentum))
        return jax.tree.map(lambda p: p + lost * p, momentum)

    @property
    def strength(self) -> Any:
        return self.ratio

    def _rate(self, t, position, velocity):
        slope = lambda q: self.system.gradient(q, t)  # noqa: E731
        moves = _tree.dot(velocity, velocity) > 0
        downhill = jax.tree.map(jnp.negative, slope(position))
        direction = jax.tree.map(lambda v, g: jnp.where(moves, v, g), velocity, downhill)
        _, turned = jax.jvp(slope, (position,), (direction,))
        size, bend = _tree.dot(direction, direction), _tree.dot(direction, turned)
        curved = (size > 0) & (bend > 0)
        curvature = jnp.where(curved, bend, 1.0) / jnp.where(curved, size, 1.0)
        return 2 * self.ratio * jnp.where(curved, jnp.sqrt(curvature), 0.0)
