"""A kinetic energy that is a power of the momentum."""

import jax
import jax.numpy as jnp
import numpy as np

from ... import _tree
from ..._checks import as_float, is_traced, known, require
from ..._types import ArrayLike, Position, Scalar
from ..power_flow import power_flow
from .abstract import AbstractKinetic


class PowerLaw(AbstractKinetic):
    r"""K(p) = |p|^a / a with |p| over the whole position: v = |p|^{a-2} p.

    a = 2 is Euclidean. With a < 2 a small momentum is quick (v is singular at p = 0, so that a splitting's order is
    irregular there), with a > 2 slow. Under linear friction of one rate |p| obeys a power law, solved exactly.
    Any other friction is solved step by step, which gives NaN for a < 2 where a component comes to rest.

    Arguments:
        exponent: a > 1, a number.

    Raises:
        ValueError: if it is not above 1.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=0.1, kinetic=ji.kinetic.PowerLaw(1.5))

    Source: C. J. Maddison, D. Paulin, Y. W. Teh, B. O'Donoghue, A. Doucet, Hamiltonian descent methods (2018).
    """

    exponent: Scalar

    def __init__(self, exponent: ArrayLike):
        exponent = as_float("exponent", exponent)
        if exponent.ndim:
            raise ValueError(f"exponent must be one number, got shape {exponent.shape}")
        shown = "" if is_traced(exponent) else f", got {np.asarray(exponent)}"
        holds = (known(exponent) > 1) & (known(exponent) < np.inf)
        self.exponent = require(exponent, holds, f"exponent must be above 1 and finite{shown}; 2 is Euclidean")

    def energy(self, momentum: Position) -> Scalar:
        """|p|^a / a."""
        size, moves = self._size(momentum)
        return jnp.where(moves, size**self.exponent, 0.0) / self.exponent

    def velocity_at(self, position, momentum):
        size, moves = self._size(momentum)
        factor = jnp.where(moves, size ** (self.exponent - 2), 0.0)
        return jax.tree.map(lambda p: factor * p, momentum)

    def slowed(self, friction, momentum):
        size, moves = self._size(momentum)
        zero, friction = jnp.zeros_like(size), jnp.minimum(friction, 1e30)
        factor = jnp.where(moves, power_flow(size, zero, friction, self.exponent - 1) / size, 1.0)
        return jax.tree.map(lambda p: factor * p, momentum)

    def _size(self, momentum):
        """(|p|, whether it is not zero); 1 in its place where it is, for the sake of derivatives."""
        square = _tree.dot(momentum, momentum)
        return jnp.sqrt(jnp.where(square > 0, square, 1.0)), square > 0
