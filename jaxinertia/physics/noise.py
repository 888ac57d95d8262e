"""Random forces: white noise sigma dW on the momentum."""

import equinox as eqx
import jax
import numpy as np

from .._checks import is_traced, require
from .._types import ArrayLike, Position
from .shapes import leaves_of


class White(eqx.Module):
    """White noise: dp = ... + sigma dW, with covariance rate sigma sigma^T (the paper's Eq. 5).

    Arguments:
        sigma: amplitude, in units of momentum per square root of time. A scalar acts on every
            component; an array or pytree shaped like the position acts per component; a (d, d)
            array is a matrix where the position is one 1-D array of d components.

    Raises:
        ValueError: if a scalar or per-component sigma is negative or not finite.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=0.4, noise=ji.noise.White(0.7))
    """

    sigma: Position

    def __init__(self, sigma: ArrayLike):
        self.sigma = jax.tree.map(_amplitude, leaves_of("noise sigma", sigma))


def _amplitude(x):
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(f"noise sigma must be finite, got {x}; replace the NaN or inf")
    if x.ndim == 2 and x.shape[0] == x.shape[1]:
        return x  # may be a matrix, whose signs carry meaning
    shown = "" if is_traced(x) else f", got {x}"
    return require(x, x >= 0, f"noise sigma must not be negative{shown}; pass its absolute value")
