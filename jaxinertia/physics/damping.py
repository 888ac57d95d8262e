"""Friction: the force -Gamma v, which takes the power v^T Gamma v out of the system."""

from functools import partial

import equinox as eqx
import jax
import numpy as np

from .._checks import is_symmetric_psd, is_traced, require
from .._types import ArrayLike, Position
from .shapes import leaves_of, match


class Linear(eqx.Module):
    """Linear friction: dp/dt = -Gamma v, so dI/dt = -v^T Gamma v <= 0 (the paper's Eq. 1 and 4).

    Arguments:
        gamma: damping, in units of one over time. A scalar acts on every component; an array or
            pytree shaped like the position acts per component; a (d, d) array is a matrix, symmetric
            and positive semi-definite, where the position is one 1-D array of d components.

    Raises:
        ValueError: if gamma is negative, not finite, or a symmetric matrix with a negative eigenvalue.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.Linear(0.2))
    """

    gamma: Position

    def __init__(self, gamma: ArrayLike):
        gamma = leaves_of("damping gamma", gamma)
        self.gamma = jax.tree.map(partial(_rate, bare=hasattr(gamma, "dtype")), gamma)

    def force(self, velocity: Position) -> Position:
        """Gamma v: the friction force is its negative. Shaped like the velocity."""
        return match("damping gamma", self.gamma, velocity).times(velocity)


def _rate(x, bare):
    if is_traced(x):
        return x if x.ndim == 2 else require(x, x >= 0, "damping gamma must not be negative; pass gamma >= 0")
    value = np.asarray(x)
    if not np.all(np.isfinite(value)):
        raise ValueError(f"damping gamma must be finite, got {value}; replace the NaN or inf")
    square = bare and value.ndim == 2 and value.shape[0] == value.shape[1]
    if square and np.array_equal(value, value.T):
        if not is_symmetric_psd(value):
            raise ValueError(
                f"damping gamma, a matrix, must have no negative eigenvalue, got {np.linalg.eigvalsh(value)} for "
                f"{value.tolist()}; build it as R @ R.T, or pass a tuple of arrays to mean per-component damping"
            )
    elif np.any(value < 0):
        raise ValueError(f"damping gamma must not be negative, got {value}; pass gamma >= 0, or a symmetric PSD matrix")
    return x
