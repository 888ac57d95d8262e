"""The computational inertia I = K(p) + L(q), the paper's Eq. 2."""

from typing import Any

import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from ..physics.system import System, prepare


def kinetic_and_potential(
    system: System, position: Position, momentum: Position, t: Scalar | None = None
) -> tuple[Scalar, Scalar]:
    """(K, L) of a prepared state, in the dtype of the position."""
    dtype = _tree.dtype(position)
    kinetic = system.kinetic.energy_at(position, momentum)
    return jnp.asarray(kinetic, dtype), jnp.asarray(system.level(position, t), dtype)


def inertia(system: System, position: Any, momentum: Any = None, *, t: Any = None) -> Scalar:
    """I = K(p) + L(q): with the Euclidean kinetic energy, |v|^2 / 2 + L (the paper's Eq. 2).

    Arguments:
        system: a `ji.System`, which gives K and L.
        position: a pytree of float arrays, one state (use `jax.vmap` for many).
        momentum: like the position, in its unit over time times the mass; None means at rest.
        t: the time, a number, where the potential depends on it.

    Returns:
        A scalar, in units of energy (of the loss).

    Raises:
        ValueError: if the momentum does not match the position, the potential is not a scalar, or depends on
            time and t is None.

    Example:
        >>> ji.inertia(ji.System(ji.potentials.Quadratic()), 1.0, 0.5)   # 0.5 + 0.125
    """
    system, position, momentum, _ = prepare(system, position, momentum)
    t = None if t is None else jnp.asarray(t, jnp.result_type(float))
    kinetic, potential = kinetic_and_potential(system, position, momentum, t)
    return kinetic + potential
