r"""Closed forms: oracles, the paper's Eq. 7 and 12-16, and what momentum leaves behind (`energy/bias.py`).

For the quadratic potential L = stiffness q^2 / 2, with a = gamma / 2 and D = a^2 - stiffness, C = cosh(sqrt(D) t) and
S = sinh(sqrt(D) t) / sqrt(D) are entire functions of D t^2 (cosine and sine where D < 0, 1 and t where D = 0), so that
values and derivatives are smooth through critical damping, gamma = 2 sqrt(stiffness).
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import is_traced
from .._names import offered
from .._types import ArrayLike
from .bias import diagonal_laws as diagonal_laws
from .bias import heavy_ball_edge as heavy_ball_edge
from .bias import heavy_ball_variance as heavy_ball_variance
from .bias import modified_loss as modified_loss
from .bias import nesterov_edge as nesterov_edge
from .bias import nesterov_lyapunov as nesterov_lyapunov
from .moments import Gaussian as Gaussian
from .moments import colored_power as colored_power
from .moments import inertia_moments as inertia_moments
from .moments import linear_sde as linear_sde
from .moments import mean_inertia as mean_inertia
from .moments import oscillator_law as oscillator_law
from .moments import stationary as stationary
from .numbers import numbers

__all__ = [
    "Gaussian",
    "colored_power",
    "damped_invariant",
    "decay_rate",
    "diagonal_laws",
    "heavy_ball_edge",
    "heavy_ball_variance",
    "inertia_moments",
    "linear_sde",
    "mean_inertia",
    "modified_loss",
    "nesterov_edge",
    "nesterov_lyapunov",
    "oscillator_law",
    "quadratic",
    "stationary",
]


def __dir__() -> list[str]:
    return offered(globals())


def quadratic(
    t: ArrayLike, position: ArrayLike, momentum: ArrayLike, stiffness: ArrayLike, gamma: ArrayLike
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""The exact motion of q'' + gamma q' + stiffness q = 0 in all three damping regimes (the paper's Eq. 12-15).

    q = e^{-at} (q0 C + (p0 + a q0) S),   p = e^{-at} (p0 C - (stiffness q0 + a p0) S).

    Arguments:
        t: times since the start, any shape.
        position, momentum: the state at t = 0, numbers or arrays, in the position's unit and that over time.
        stiffness, gamma: numbers or arrays, in one over time squared, and one over time. All four broadcast, and each
            component moves on its own.

    Returns:
        (position, momentum), each of shape t.shape + the broadcast shape of the rest.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> q, p = ji.analytic.quadratic(jnp.linspace(0, 20, 201), 1.0, 0.0, 1.0, gamma=0.2)

    Source: the paper's Eq. 12-15, completed for all regimes.
    """
    t, q0, p0, stiffness, gamma = numbers(t=t, position=position, momentum=momentum, stiffness=stiffness, gamma=gamma)
    shape = jnp.broadcast_shapes(q0.shape, p0.shape, stiffness.shape, gamma.shape)
    t = t.reshape(t.shape + (1,) * len(shape))
    a = gamma / 2
    c_plus, c_minus, s = _propagator(t, a, stiffness)
    return q0 * c_plus + p0 * s, p0 * c_minus - stiffness * q0 * s


def damped_invariant(
    position: ArrayLike, momentum: ArrayLike, stiffness: ArrayLike, gamma: ArrayLike, center: ArrayLike = 0.0
) -> Float[Array, "..."]:
    """J = p^2/2 + stiffness (q - center)^2/2 + (gamma/2)(q - center) p, which decays exactly as e^{-gamma t}.

    The inertia itself only does so on average (the paper's Eq. 16). J is positive definite where underdamped.

    Arguments:
        position, momentum, center: numbers or arrays, in the position's unit and that over time.
        stiffness, gamma: numbers or arrays, in one over time squared, and one over time. All five broadcast.

    Returns:
        J per component, of their broadcast shape, in units of energy.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> ji.analytic.damped_invariant(q, p, 1.0, 0.2)    # a straight line on a log axis
    """
    given = dict(position=position, momentum=momentum, stiffness=stiffness, gamma=gamma, center=center)
    q, p, stiffness, gamma, center = numbers(**given)
    x = q - center
    return (p * p + stiffness * x * x + gamma * x * p) / 2


def decay_rate(stiffness: ArrayLike, gamma: ArrayLike) -> Float[Array, "..."]:
    """The long-time decay rate of the inertia: gamma if underdamped, else gamma - sqrt(gamma^2 - 4 stiffness).

    The paper's appendix B draws "rate = gamma" throughout; beyond gamma = 2 sqrt(stiffness), where the rate is
    greatest, it falls as 2 stiffness / gamma.

    Arguments:
        stiffness: a number or array, positive (of a unit mass: one over time squared).
        gamma: a number or array, not negative, in one over time; the two broadcast.

    Returns:
        The rate, one over time, of their broadcast shape.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> ji.analytic.decay_rate(1.0, jnp.array([0.5, 2.0, 6.0]))    # 0.5, 2.0, 0.3431
    """
    stiffness, gamma = numbers(stiffness=stiffness, gamma=gamma)
    if not is_traced(stiffness) and np.any(np.asarray(stiffness) < 0):
        raise ValueError(f"stiffness must not be negative, got {stiffness}: at a saddle the inertia does not decay")
    excess = gamma**2 - 4 * stiffness
    root = jnp.sqrt(jnp.where(excess > 0, excess, 0.0))
    # gamma - root = 4 stiffness / (gamma + root), without the cancellation.
    return jnp.where(excess > 0, 4 * stiffness / jnp.where(excess > 0, gamma + root, 1.0), gamma)


_NEAR = 1.0  # |D t^2| below which the series is used
_TERMS = 12
_COSH = np.array([1 / math.factorial(2 * k) for k in reversed(range(_TERMS))])
_SINH = np.array([1 / math.factorial(2 * k + 1) for k in reversed(range(_TERMS))])


def _propagator(t, a, stiffness):
    """e^{-at} (C + a S), e^{-at} (C - a S) and e^{-at} S.

    By series near D t^2 = 0; where overdamped, from the two real rates, so that nothing overflows or cancels. Each
    branch sees only arguments where it is finite (a NaN in an unused branch would reach the gradient).
    """
    d = a * a - stiffness
    z = d * t * t
    near, over = jnp.abs(z) < _NEAR, z >= _NEAR
    under = ~near & ~over

    z0 = jnp.where(near, z, 0.0)
    decay = jnp.exp(-a * jnp.where(over, 0.0, t))
    c_near = decay * jnp.polyval(jnp.asarray(_COSH, z.dtype), z0)
    s_near = decay * t * jnp.polyval(jnp.asarray(_SINH, z.dtype), z0)

    omega = jnp.sqrt(jnp.where(under, -d, 1.0))
    c_under = decay * jnp.cos(omega * jnp.where(under, t, 0.0))
    s_under = decay * jnp.sin(omega * jnp.where(under, t, 0.0)) / omega

    root = jnp.sqrt(jnp.where(over, d, 1.0))
    fast = jnp.where(over, a, 0.0) + root
    slow = jnp.where(over, stiffness, 0.0) / fast  # a - root, without the cancellation
    e_slow, e_fast = jnp.exp(-slow * t), jnp.exp(-fast * t)
    over_all = (fast * e_slow - slow * e_fast, fast * e_fast - slow * e_slow, e_slow - e_fast)

    c = jnp.where(near, c_near, c_under)
    s = jnp.where(near, s_near, s_under)
    return tuple(jnp.where(over, x / (2 * root), y) for x, y in zip(over_all, (c + a * s, c - a * s, s), strict=True))
