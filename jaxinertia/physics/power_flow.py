"""A number that decays by a power law."""

import jax.numpy as jnp

from .._types import Scalar
from .series import log1p_ratio, phi


def power_flow(r: Scalar, viscous: Scalar, strength: Scalar, exponent: Scalar) -> Scalar:
    r"""r(1) of dr/ds = -viscous r - strength r^exponent, for r > 0 and any exponent n >= 0; 0 from where it stops.

    Bernoulli's equation: with m = 1 - n and X = strength r^{n-1} (e^{m viscous} - 1) / (m viscous),
    r(1) = r e^{-viscous} [1 - m X]_+^{1/m}, written as r exp(-viscous - X log(1 + y) / y) with y = -m X, which is
    smooth through n = 1 and viscous = 0; it stops (n < 1) where y <= -1. A negative strength, as backwards in time,
    blows up there (n > 1): NaN.
    """
    m = 1 - exponent
    most = jnp.log(jnp.finfo(r.dtype).max) / 2  # beyond, e^{-viscous} is nothing, and phi would overflow
    x = strength * r ** (-m) * phi(-jnp.minimum(m * viscous, most))
    y = -m * x
    alive = y > -1
    end = jnp.where(m > 0, 0.0, jnp.nan)
    return jnp.where(alive, r * jnp.exp(-viscous - x * log1p_ratio(jnp.where(alive, y, 0.0))), end)
