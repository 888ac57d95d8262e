"""Kinetic energies K(p), and the velocity grad K(p) that they give to a momentum."""

import abc

import equinox as eqx
import jax

from .._tree import dot
from .._types import Position, Scalar


class AbstractKinetic(eqx.Module):
    """K(p). Subclasses define `energy`; the velocity is its gradient."""

    @abc.abstractmethod
    def energy(self, momentum: Position) -> Scalar:
        """K(p), a scalar."""

    def velocity(self, momentum: Position) -> Position:
        """v = grad K(p), like the momentum."""
        return jax.grad(self.energy)(momentum)


class Euclidean(AbstractKinetic):
    """K(p) = |p|^2 / 2: unit mass, so the momentum is the velocity (the paper's Eq. 2).

    Example:
        >>> ji.System(lambda x: x**2 / 2, kinetic=ji.kinetic.Euclidean())
    """

    def energy(self, momentum: Position) -> Scalar:
        return dot(momentum, momentum) / 2

    def velocity(self, momentum: Position) -> Position:
        return momentum
