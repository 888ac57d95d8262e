r"""Closed forms for the quadratic potential L = stiffness q^2 / 2: oracles, and the paper's Eq. 12-16.

With a = gamma / 2 and D = a^2 - stiffness, C = cosh(sqrt(D) t) and S = sinh(sqrt(D) t) / sqrt(D) are entire functions
of D t^2 (cosine and sine where D < 0, 1 and t where D = 0), so values and derivatives are smooth through critical
damping, gamma = 2 sqrt(stiffness).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import as_float, is_traced
from .._types import ArrayLike


def quadratic(
    t: ArrayLike, position: ArrayLike, momentum: ArrayLike, stiffness: ArrayLike, gamma: ArrayLike
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""The exact motion of q'' + gamma q' + stiffness q = 0 in all three damping regimes (the paper's Eq. 12-15).

    q = e^{-at} (q0 C + (p0 + a q0) S),   p = e^{-at} (p0 C - (stiffness q0 + a p0) S).

    Arguments:
        t: times since the start, any shape.
        position, momentum, stiffness, gamma: the state and the parameters at t = 0, broadcasting against each other
            (each component moves on its own).

    Returns:
        (position, momentum), each of shape t.shape + the broadcast shape of the rest.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> q, p = ji.analytic.quadratic(jnp.linspace(0, 20, 201), 1.0, 0.0, 1.0, gamma=0.2)

    Source: the paper's Eq. 12-15, completed for all regimes.
    """
    t, q0, p0, stiffness, gamma = _numbers(t=t, position=position, momentum=momentum, stiffness=stiffness, gamma=gamma)
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
        position, momentum, stiffness, gamma, center: broadcasting against each other.

    Returns:
        J per component, of their broadcast shape.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> ji.analytic.damped_invariant(q, p, 1.0, 0.2)    # a straight line on a log axis
    """
    given = dict(position=position, momentum=momentum, stiffness=stiffness, gamma=gamma, center=center)
    q, p, stiffness, gamma, center = _numbers(**given)
    x = q - center
    return (p * p + stiffness * x * x + gamma * x * p) / 2


def mean_inertia(
    t: ArrayLike,
    position: ArrayLike,
    momentum: ArrayLike,
    stiffness: ArrayLike,
    gamma: ArrayLike,
    sigma: ArrayLike,
) -> Float[Array, "..."]:
    r"""E[I](t) under white noise, summed over components: the paper's Eq. 7 with the Ito term that it drops.

    dE[I]/dt = -gamma E|p|^2 + sigma^2 d / 2. The second moments (E q^2, E qp, E p^2) obey a linear equation, solved by
    the matrix exponential; it holds for every gamma >= 0 and sigma, gamma = 0 and critical damping included.

    Arguments:
        t: times since the start, any shape.
        position, momentum: the sharp initial state; stiffness, gamma, sigma: all broadcasting, one entry a component.

    Returns:
        The mean inertia, of shape t.shape.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> ji.analytic.mean_inertia(2.0, 1.0, 0.0, 1.5, 0.4, 0.7)    # 0.6203979802
    """
    given = dict(t=t, position=position, momentum=momentum, stiffness=stiffness, gamma=gamma, sigma=sigma)
    t, *parameters = _numbers(**given)
    flat = [jnp.ravel(x) for x in jnp.broadcast_arrays(*parameters)]
    per_component = jax.vmap(_mean_of_one, in_axes=(None, 0, 0, 0, 0, 0))
    values = jax.vmap(lambda time: jnp.sum(per_component(time, *flat)))(jnp.ravel(t))
    return values.reshape(t.shape)


def _mean_of_one(t, q, p, stiffness, gamma, sigma):
    zero = jnp.zeros_like(t)
    one = jnp.ones_like(t)
    rates = [
        [zero, 2 * one, zero, zero],  # d E[q^2]
        [-stiffness, -gamma, one, zero],  # d E[q p]
        [zero, -2 * stiffness, -2 * gamma, sigma**2],  # d E[p^2]
        [zero, zero, zero, zero],
    ]
    matrix = jnp.stack([jnp.stack([jnp.asarray(x, t.dtype) for x in row]) for row in rates])
    moments = jax.scipy.linalg.expm(matrix * t, max_squarings=48) @ jnp.stack([q * q, q * p, p * p, one])
    return (moments[2] + stiffness * moments[0]) / 2


def decay_rate(stiffness: ArrayLike, gamma: ArrayLike) -> Float[Array, "..."]:
    """The long-time decay rate of the inertia: gamma if underdamped, else gamma - sqrt(gamma^2 - 4 stiffness).

    The paper's appendix B draws "rate = gamma" throughout; beyond gamma = 2 sqrt(stiffness), where the rate is
    greatest, it falls as 2 stiffness / gamma.

    Arguments:
        stiffness: positive; gamma: not negative; broadcasting.

    Returns:
        The rate, one over time.

    Raises:
        ValueError: if gamma is negative or an argument is not finite.

    Example:
        >>> ji.analytic.decay_rate(1.0, jnp.array([0.5, 2.0, 6.0]))    # 0.5, 2.0, 0.3431
    """
    stiffness, gamma = _numbers(stiffness=stiffness, gamma=gamma)
    if not is_traced(stiffness) and np.any(np.asarray(stiffness) < 0):
        raise ValueError(f"stiffness must not be negative, got {stiffness}: at a saddle the inertia does not decay")
    excess = gamma**2 - 4 * stiffness
    root = jnp.sqrt(jnp.where(excess > 0, excess, 0.0))
    # gamma - root = 4 stiffness / (gamma + root), without the cancellation.
    return jnp.where(excess > 0, 4 * stiffness / jnp.where(excess > 0, gamma + root, 1.0), gamma)


def _numbers(**given: ArrayLike) -> list[Array]:
    """Arrays of one float dtype, checked where known."""
    arrays = {name: as_float(name, x) for name, x in given.items()}
    shapes = {name: x.shape for name, x in arrays.items() if name != "t"}
    try:
        jnp.broadcast_shapes(*shapes.values())
    except ValueError as error:
        raise ValueError(f"shapes {shapes} do not broadcast; give one entry a component") from error
    dtype = jnp.result_type(float, *arrays.values())
    for name, x in arrays.items():
        if is_traced(x):
            continue
        if not np.all(np.isfinite(np.asarray(x))):
            raise ValueError(f"{name} must be finite, got {x}; remove the NaN or inf")
        if name == "gamma" and np.any(np.asarray(x) < 0):
            raise ValueError(f"gamma must not be negative, got {x}; pass gamma >= 0")
    return [x.astype(dtype) for x in arrays.values()]


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
