"""Friction that grows as a power of the speed."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import _tree
from ..._checks import as_float, is_traced, known, require
from ..._types import ArrayLike, Position, Scalar
from ..power_flow import power_flow
from .abstract import AbstractDamping


class PowerLaw(AbstractDamping):
    r"""dp/dt = -(linear + coefficient |v|^{n-1}) v, with |v| over the whole position: it only shortens the momentum.

    n = 0 is dry friction, 1 linear, 2 quadratic drag. Below 1 the motion stops after a finite time. dI/dt =
    -(linear |v|^2 + coefficient |v|^{n+1}). The O sub-step is exact for the Euclidean kinetic energy and for one mass.
    Where it is not, nor in the letter F, an exponent below 1 is refused.

    Arguments:
        coefficient: >= 0, a number, in units of speed^{1 - n} over time.
        exponent: n >= 0, a number.
        linear: >= 0, a number, in one over time.

    Raises:
        ValueError: if one is negative, not finite, or not a number.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.PowerLaw(0.3, exponent=1.5))

    Source: Bernoulli's equation.
    """

    coefficient: Scalar
    exponent: Scalar
    linear: Scalar

    def __init__(self, coefficient: ArrayLike, exponent: ArrayLike, linear: ArrayLike = 0.0):
        self.coefficient = _number("coefficient", coefficient)
        self.exponent = _number("exponent", exponent)
        self.linear = _number("linear", linear)

    def force(self, velocity: Position) -> Position:
        """(linear + coefficient |v|^{n-1}) v: the friction force is its negative. Shaped like the velocity."""
        size, moves = _size(velocity)
        factor = jnp.where(moves, self.linear + self.coefficient * size ** (self.exponent - 1), 0.0)
        return jax.tree.map(lambda v: factor * v, velocity)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        if not _shortens(kinetic, momentum) or push is not None:
            return super().relaxation(kinetic, h, t, position, momentum, push)
        inverse = kinetic.inverse_mass(momentum)
        w = jnp.ones_like(self.linear) if inverse is None else jax.tree.leaves(inverse.value)[0]
        size, moves = _size(momentum)
        slowed = power_flow(size, self.linear * w * h, self.coefficient * w**self.exponent * h, self.exponent)
        factor = jnp.where(moves, slowed / size, 1.0)
        return jax.tree.map(lambda p: factor * p, momentum)

    def refuses(self, kinetic, momentum, pushed):
        if is_traced(self.exponent) or self.exponent >= 1 or (_shortens(kinetic, momentum) and not pushed):
            return None
        return (
            f"damping exponent = {np.asarray(self.exponent)} below 1 stops the motion, which is known for the "
            "Euclidean kinetic energy and one mass only, and not in the letter F; take damping.Drag(dry=...), an "
            "exponent of 1 or more, or a diffrax solver"
        )

    @property
    def linear_part(self) -> Scalar:
        return self.linear

    nonnegative: ClassVar[tuple[str, ...]] = ("coefficient", "exponent", "linear")

    def composes(self, kinetic):
        return kinetic.is_euclidean and not is_traced(self.exponent) and bool(self.exponent >= 1)

    def likely(self, gamma, speed=None, mass=1.0):
        gamma = gamma * mass
        if speed is None:
            return {"linear": gamma}
        return {"coefficient": gamma * speed ** (1 - np.asarray(self.exponent)), "linear": gamma}

    def in_units(self, origin, time, length):
        by = time * (length / time) ** (self.exponent - 1)
        scaled = self.coefficient * by, self.linear * time
        return eqx.tree_at(lambda law: (law.coefficient, law.linear), self, scaled)

    def check_backwards(self, position):
        message = "damping exponent below 1 stops a motion, which cannot run backwards in time: take 'BAOAB' or 'OBABO'"
        return require(position, known(self.exponent) >= 1, message)

    @property
    def strength(self) -> Any:
        return self.coefficient, self.linear


def _shortens(kinetic, momentum):
    """Whether the velocity is the momentum times one number."""
    inverse = kinetic.inverse_mass(momentum)
    return kinetic.is_euclidean or (inverse is not None and inverse.uniform)


def _size(vector):
    """(|v|, whether it is not zero); 1 in its place where it is, for the sake of derivatives."""
    square = _tree.dot(vector, vector)
    return jnp.sqrt(jnp.where(square > 0, square, 1.0)), square > 0


def _number(name, x):
    x = as_float(f"damping {name}", x)
    if x.ndim:
        raise ValueError(f"damping {name} must be one number, got shape {x.shape}; damping.Drag takes one a component")
    shown = "" if is_traced(x) else f", got {np.asarray(x)}"
    holds = (known(x) >= 0) & (known(x) < np.inf)
    return require(x, holds, f"damping {name} must be finite and not negative{shown}; pass {name} >= 0")
