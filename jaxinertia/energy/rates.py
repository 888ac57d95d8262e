"""How fast the inertia of a run falls: the slope of its logarithm."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import ArrayLike


def measured_decay_rate(ts: ArrayLike, inertia: ArrayLike) -> Float[Array, "..."]:
    """Minus the least-squares slope of log I(t): what a straight line on a log axis shows.

    Arguments:
        ts: times, shape (times,); cut them to the window that should count.
        inertia: I above its minimum, shape (..., times); where it is not positive the rate is NaN.

    Returns:
        The rate, one over time, shape (...).

    Raises:
        ValueError: if there are fewer than two times, or the shapes do not match.

    Example:
        >>> late = traj.ts >= 20
        >>> measured_decay_rate(traj.ts[late], traj.inertia[late])
    """
    ts, inertia = jnp.asarray(ts), jnp.asarray(inertia)
    if ts.ndim != 1 or ts.size < 2 or inertia.shape[-1:] != ts.shape:
        raise ValueError(f"ts has shape {ts.shape}, inertia {inertia.shape}; pass (times,) and (..., times), 2 or more")
    x = ts - jnp.mean(ts)
    return -jnp.sum(x * jnp.log(inertia), axis=-1) / jnp.sum(x * x)
