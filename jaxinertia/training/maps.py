r"""Between an optimizer's two numbers and the oscillator's: (learning rate, momentum) and (dt, gamma).

optax and PyTorch's m+ = g + beta m, theta+ = theta - eta m+ is the splitting O-B-A with h = sqrt(eta) and v = -h m:
friction v -> beta v, kick v -> v - h g, drift theta -> theta + h v.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import as_float, require
from .._types import ArrayLike

Number = Float[Array | np.ndarray, "..."] | np.floating | float
Reading = Literal["exact", "drag"]


class Physical(NamedTuple):
    """The step h and the damping gamma of the oscillator that an optimizer is."""

    dt: Number
    gamma: Number


class Heavy(NamedTuple):
    """The hyper-parameters of SGD with momentum."""

    learning_rate: Number
    momentum: Number


def to_physical(learning_rate: ArrayLike, momentum: ArrayLike, reading: Reading = "exact") -> Physical:
    r"""dt = sqrt(learning_rate), and gamma = -ln(momentum)/dt ("exact") or (1 - momentum)/dt ("drag").

    "exact" reads momentum as the friction e^{-gamma dt} of a splitting: it is the gamma of `as_optimizer("OBA")`.
    "drag" reads it as an explicit step of dv = -gamma v dt. The two agree to first order in gamma dt. At a fixed
    momentum, learning_rate -> 0 sends gamma to infinity: the flow becomes a rescaled gradient flow without inertia.
    Inertia survives at a fixed gamma, that is momentum -> 1.

    Arguments:
        learning_rate: positive, a number or array, in units of time squared.
        momentum: in (0, 1], or [0, 1] for "drag": a number or array that broadcasts, dimensionless.
        reading: the word "exact" or "drag".

    Returns:
        (dt, gamma), a named tuple.

    Raises:
        ValueError: for a learning rate or momentum outside of these ranges, or another reading.

    Example:
        >>> dt, gamma = ji.training.to_physical(0.01, 0.9)    # 0.1, 1.0536

    Source: N. Kovachki and A. Stuart, JMLR 22 (2021), on the limit at fixed momentum.
    """
    _check_reading(reading)
    xp, eta, beta = _numbers(learning_rate=learning_rate, momentum=momentum)
    eta = require(eta, eta > 0, f"learning_rate{_shown(eta)} must be positive; pass e.g. 0.01")
    least = beta > 0 if reading == "exact" else beta >= 0
    remedy = "pass momentum in (0, 1], or reading='drag', for which momentum 0 is gamma = 1/dt"
    beta = require(beta, least & (beta <= 1), f"momentum{_shown(beta)} has no such damping: {remedy}")
    dt = xp.sqrt(eta)
    return Physical(dt, (-xp.log(beta) if reading == "exact" else 1 - beta) / dt)


def to_optax(dt: ArrayLike, gamma: ArrayLike, reading: Reading = "exact") -> Heavy:
    r"""learning_rate = dt^2, and momentum = e^{-gamma dt} ("exact") or 1 - gamma dt ("drag"): undoes `to_physical`.

    Arguments:
        dt: positive, a number or array, in the unit of time.
        gamma: not negative (at most 1/dt for "drag"), a number or array that broadcasts, in one over time.
        reading: "exact" or "drag", as for `to_physical`.

    Returns:
        (learning_rate, momentum), a named tuple.

    Raises:
        ValueError: for a dt or gamma outside of these ranges, or another reading.

    Example:
        >>> learning_rate, momentum = ji.training.to_optax(dt=0.1, gamma=0.5)
        >>> optimizer = optax.sgd(learning_rate, momentum)
    """
    _check_reading(reading)
    xp, h, gamma = _numbers(dt=dt, gamma=gamma)
    h = require(h, h > 0, f"dt{_shown(h)} must be positive; it is the square root of the learning rate")
    gamma = require(gamma, gamma >= 0, f"gamma{_shown(gamma)} must not be negative; pass gamma >= 0")
    if reading == "drag":
        gamma = require(gamma, gamma * h <= 1, f"gamma{_shown(gamma)} exceeds 1/dt: drag would turn the velocity round")
        return Heavy(h * h, 1 - gamma * h)
    return Heavy(h * h, xp.exp(-gamma * h))


def _numbers(**given: ArrayLike) -> tuple[Any, Any, Any]:
    """The two arguments, and NumPy for plain numbers (in double precision) or jax.numpy for JAX's arrays."""
    if any(isinstance(x, jax.Array) for x in given.values()):
        xp: Any = jnp
        arrays = [as_float(name, x) for name, x in given.items()]
    else:
        for name, x in given.items():
            as_float(name, x)
        xp, arrays = np, [np.asarray(x, float)[()] for x in given.values()]
    for name, x in zip(given, arrays, strict=True):
        require(x, xp.isfinite(x), f"{name}{_shown(x)} must be finite")
    return xp, *arrays


def _shown(x: Any) -> str:
    return "" if isinstance(x, jax.core.Tracer) else f" = {x}"


def _check_reading(reading: Any) -> None:
    if reading not in ("exact", "drag"):
        raise ValueError(f"reading = {reading!r} must be 'exact' (friction e^(-gamma dt)) or 'drag' (1 - gamma dt)")
