"""Kinetic energies that are quadratic in the momentum: a unit mass, and a mass matrix."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import _tree
from ..._checks import everywhere, is_symmetric_psd, is_traced, known, require
from ..._types import ArrayLike, Position, Scalar
from ..linear_flow import linear_flow
from ..shapes import Coefficient, leaves_of, match
from .abstract import AbstractKinetic


class Euclidean(AbstractKinetic):
    """K(p) = |p|^2 / 2: unit mass, so the momentum is the velocity (the paper's Eq. 2).

    Example:
        >>> ji.System(lambda x: x**2 / 2, kinetic=ji.kinetic.Euclidean())
    """

    def in_units(self, time, length):
        return self

    def energy(self, momentum: Position) -> Scalar:
        """|p|^2 / 2."""
        return _tree.dot(momentum, momentum) / 2

    def velocity_at(self, position, momentum):
        return momentum

    def mean_velocity(self, position, before, after):
        return jax.tree.map(lambda a, b: (a + b) / 2, before, after)

    def slowed(self, friction, momentum):
        return jax.tree.map(lambda p: p + p * jnp.expm1(-friction), momentum)

    @property
    def is_euclidean(self) -> bool:
        return True

    @property
    def small_mass(self):
        return 1.0

    @property
    def is_quadratic(self) -> bool:
        return True


class AbstractQuadratic(AbstractKinetic):
    """K(p) = p^T M^-1 p / 2, by its `inverse_mass`."""

    def in_units(self, time, length):
        return self

    def energy(self, momentum: Position) -> Scalar:
        """p^T M^-1 p / 2."""
        return _tree.dot(momentum, self._velocity(momentum)) / 2

    def velocity_at(self, position, momentum):
        return self._velocity(momentum)

    def mean_velocity(self, position, before, after):
        return self._velocity(jax.tree.map(lambda a, b: (a + b) / 2, before, after))

    def slowed(self, friction, momentum):
        inverse = self.inverse_mass(momentum)
        if inverse.matrix:
            flow = linear_flow(-friction * inverse.value, None, jnp.ones_like(friction), driven=False).flow
            return jax.tree.map(lambda p: flow @ p, momentum)
        return jax.tree.map(lambda p, w: p + p * jnp.expm1(-friction * w), momentum, inverse.value)

    @property
    def is_quadratic(self) -> bool:
        return True

    def _velocity(self, momentum):
        return self.inverse_mass(momentum).times(momentum)


class Mass(AbstractQuadratic):
    r"""K(p) = p^T M^{-1} p / 2, so v = M^{-1} p: what moves is heavy, or heavier in some directions than in others.

    Linear friction -Gamma v then relaxes by e^{-Gamma M^{-1} h}, exactly, with white noise too.

    Arguments:
        mass: M > 0, a number, an array or pytree shaped like the position (one mass a component), or a symmetric
            positive definite (d, d) matrix where the position is one 1-D array.

    Raises:
        ValueError: if a mass is not positive and finite, or a matrix not symmetric and positive definite.

    Example:
        >>> ji.System(ji.potentials.Rosenbrock(), damping=0.1, kinetic=ji.kinetic.Mass([1.0, 4.0]))
    """

    mass: Position

    nonnegative: ClassVar[tuple[str, ...]] = ("mass",)

    def __init__(self, mass: ArrayLike):
        mass = leaves_of("mass", mass)
        self.mass = jax.tree.map(lambda x: _positive(x, bare=hasattr(mass, "dtype")), mass)

    @property
    def small_mass(self):
        return self.mass

    def inverse_mass(self, momentum: Position) -> Coefficient:
        """M^-1 laid out for the momentum."""
        mass = match("mass", self.mass, momentum)
        value = jnp.linalg.inv(mass.value) if mass.matrix else jax.tree.map(lambda m: 1 / m, mass.value)
        return mass._replace(value=value)

    def check(self, position):
        mass = match("mass", self.mass, position)
        if not mass.matrix:
            holds = everywhere(lambda m: m > 0, mass.value)
            return require(position, holds, "mass must be positive in every component")
        message = "mass, used as a matrix, must be symmetric and positive definite: R @ R.T + m"
        if not is_traced(mass.value):
            return require(position, _definite(np.asarray(mass.value)), message)
        value = jax.lax.stop_gradient(mass.value)
        slack = 64 * len(value) * jnp.finfo(value.dtype).eps * jnp.max(jnp.abs(value))
        holds = jnp.all(jnp.abs(value - value.T) <= slack) & jnp.all(jnp.linalg.eigvalsh(value) > 0)
        return require(position, holds, message)

    def bound(self, position):
        return BoundMass(self.inverse_mass(position))


class BoundMass(AbstractQuadratic):
    """K by an inverse mass that is computed once, not in every step."""

    value: Position
    matrix: bool = eqx.field(static=True)
    uniform: bool = eqx.field(static=True)

    def __init__(self, inverse: Coefficient):
        self.value, self.matrix, self.uniform = inverse

    def inverse_mass(self, momentum):
        return Coefficient(self.value, self.matrix, self.uniform)


def _positive(x, bare):
    value = None if is_traced(x) else np.asarray(x)
    matrix = bare and x.ndim == 2 and x.shape[0] == x.shape[1]
    if value is not None and not np.all(np.isfinite(value)):
        raise ValueError(f"mass must be finite, got {value}; replace the NaN or inf")
    if matrix:
        if value is not None and np.array_equal(value, value.T) and not _definite(value):
            raise ValueError(f"mass, a matrix, must be positive definite, got eigenvalues {np.linalg.eigvalsh(value)}")
        return x
    shown = "" if value is None else f", got {value}"
    return require(x, known(x) > 0, f"mass must be positive{shown}; a component that should not move is no coordinate")


def _definite(matrix):
    return is_symmetric_psd(matrix) and bool(np.linalg.eigvalsh(matrix).min() > 0)
