"""Ratios of elementary functions, smooth at 0, value and derivatives alike: by their series for small arguments.

The `where` inside keeps the unused branch finite: a NaN there would reach the gradient.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_SMALL = 0.5
_TERMS = 16
_PHI = np.array([(-1.0) ** k / math.factorial(k + 1) for k in reversed(range(_TERMS))])
_DEFICIT = np.array([(-1.0) ** k / math.factorial(k + 2) for k in reversed(range(_TERMS))])
_LOG1P = np.array([(-1.0) ** k / (k + 1) for k in reversed(range(_TERMS))])
_COSH = np.array([1 / math.factorial(2 * k) for k in reversed(range(_TERMS))])
_SINH = np.array([1 / math.factorial(2 * k + 1) for k in reversed(range(_TERMS))])


def phi(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """(1 - e^{-y}) / y, and 1 at y = 0."""
    small = jnp.abs(y) < _SMALL
    safe = jnp.where(small, 1.0, y)
    near = jnp.where(small, y, 0.0)
    # 1 - e^{-y} loses no digits for y beyond the series, and shares its exponential with the decay.
    return jnp.where(small, jnp.polyval(jnp.asarray(_PHI, y.dtype), near), (1 - jnp.exp(-y)) / safe)


def phi_deficit(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 - phi(y), without cancellation near y = 0."""
    small = jnp.abs(y) < _SMALL
    near = jnp.where(small, y, 0.0)
    safe = jnp.where(small, 1.0, y)
    return jnp.where(small, near * jnp.polyval(jnp.asarray(_DEFICIT, y.dtype), near), 1 - phi(safe))


def log1p_ratio(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 + x) / x, and 1 at x = 0; x > -1."""
    small = jnp.abs(x) < 0.1
    near = jnp.where(small, x, 0.0)
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, jnp.polyval(jnp.asarray(_LOG1P, x.dtype), near), jnp.log1p(safe) / safe)


def cosh_sinh(square: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """cosh(k) and sinh(k) / k as functions of k^2, cos and sin where it is negative: up to a common positive factor.

    The factor, e^{-k} for k > 1, keeps ratios of the two from overflowing.
    """
    small = jnp.abs(square) < 1.0
    near = jnp.where(small, square, 0.0)
    k = jnp.sqrt(jnp.where(small, 1.0, jnp.abs(square)))
    real = square > 0
    turn, fall = jnp.where(real, 0.0, k), jnp.exp(-2 * k)
    cosine = jnp.where(real, (1 + fall) / 2, jnp.cos(turn))
    sine = jnp.where(real, (1 - fall) / 2, jnp.sin(turn)) / k
    series = [jnp.polyval(jnp.asarray(c, square.dtype), near) for c in (_COSH, _SINH)]
    return jnp.where(small, series[0], cosine), jnp.where(small, series[1], sine)
