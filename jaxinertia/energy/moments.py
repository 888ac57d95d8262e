r"""Exact means and covariances of linear stochastic equations: what noise does to a quadratic potential.

The oscillator q'' + Gamma q' + K q = noise is linear in z = (q, p), or in (q, p, xi) where the noise has a memory, so
its law stays Gaussian with the mean e^{At} z0 and the covariance int_0^t e^{As} B B^T e^{A^T s} ds.

Source: C. W. Gardiner, Stochastic Methods, 2009, section 4.5.6.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import as_float, is_traced
from .._types import ArrayLike
from ..physics.linear_flow import linear_flow
from .numbers import finite, numbers


class Gaussian(NamedTuple):
    """A normal law, z ~ N(mean, covariance), a named tuple.

    Attributes:
        mean: shape (..., d).
        covariance: shape (..., d, d).
    """

    mean: Float[Array, "..."]
    covariance: Float[Array, "..."]


def linear_sde(
    t: ArrayLike, mean: ArrayLike, drift: ArrayLike, diffusion: ArrayLike, covariance: ArrayLike | None = None
) -> Gaussian:
    r"""The law of dz = A z dt + B dW at t, from a Gaussian start of mean m and covariance C.

    mean = e^{At} m,   covariance = e^{At} C e^{A^T t} + int_0^t e^{As} B B^T e^{A^T s} ds.

    Arguments:
        t: times since the start, any shape, not negative.
        mean: m at the start, shape (d,).
        drift: A, shape (d, d), in one over time.
        diffusion: B, shape (d, noises), in the unit of z over the root of time.
        covariance: C at the start, shape (d, d); None means a sharp start.

    Returns:
        (mean, covariance), of shapes t.shape + (d,) and t.shape + (d, d).

    Raises:
        ValueError: if shapes do not fit, t is negative, or an argument is not finite.

    Example:
        >>> ji.analytic.linear_sde(2.0, [1.0], [[-0.5]], [[0.3]])    # Ornstein and Uhlenbeck's process

    Source: C. W. Gardiner, Stochastic Methods, 2009, section 4.5.6.
    """
    t, mean, drift, diffusion = finite(t=t, mean=mean, drift=drift, diffusion=diffusion)
    if not is_traced(t) and np.any(np.asarray(t) < 0):
        raise ValueError(f"t = {t} must not be negative: noise has no past before its start")
    d = mean.size
    start = jnp.zeros((d, d), mean.dtype) if covariance is None else finite(covariance=covariance)[0]
    found = dict(mean=mean.shape, drift=drift.shape, diffusion=diffusion.shape, covariance=start.shape)
    if mean.shape != (d,) or drift.shape != (d, d) or start.shape != (d, d) or diffusion.shape[:-1] != (d,):
        raise ValueError(f"shapes {found} do not fit: mean (d,), drift and covariance (d, d), diffusion (d, noises)")

    def at(time):
        flow, _, _, grown, _ = linear_flow(drift, diffusion @ diffusion.T, time, driven=False)
        return Gaussian(flow @ mean, flow @ start @ flow.T + grown)

    law = jax.vmap(at)(jnp.ravel(t))
    return Gaussian(*(x.reshape(*t.shape, *x.shape[1:]) for x in law))


def oscillator_law(
    t: ArrayLike,
    position: ArrayLike,
    momentum: ArrayLike,
    stiffness: ArrayLike,
    gamma: ArrayLike,
    sigma: ArrayLike,
    tau: ArrayLike | None = None,
) -> Gaussian:
    r"""The law of z = (q, p) for q'' + Gamma q' + K q = noise, from a sharp start.

    Arguments:
        t: times since the start, any shape.
        position, momentum: d numbers, or scalars, in the position's unit and that over time.
        stiffness, gamma, sigma: scalars, d numbers, or (d, d) matrices, in one over time squared; one over time; and
            the momentum's unit over the root of time, with tau the momentum's unit over time.
        tau: None for white noise sigma dW; else the correlation time of a force of standard deviation sigma
            (`ji.noise.Colored`), a number, stationary at the start; z is then (q, p, xi).

    Returns:
        (mean, covariance), of shapes t.shape + (2 d,) and t.shape + (2 d, 2 d); 3 d with tau.

    Raises:
        ValueError: if gamma is negative, tau not positive, shapes do not fit, or an argument is not finite.

    Example:
        >>> mean, covariance = ji.analytic.oscillator_law(2.0, 1.0, 0.0, 1.5, 0.4, 0.7)
    """
    given = dict(position=position, momentum=momentum, stiffness=stiffness, gamma=gamma, sigma=sigma)
    equation = _oscillator(tau, **given)
    return linear_sde(t, equation.start, equation.drift, equation.diffusion, equation.covariance)


def mean_inertia(
    t: ArrayLike,
    position: ArrayLike,
    momentum: ArrayLike,
    stiffness: ArrayLike,
    gamma: ArrayLike,
    sigma: ArrayLike,
    tau: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""E[I](t) under noise, summed over components: the paper's Eq. 7 with the Ito term that it drops.

    dE[I]/dt = -E[p^T Gamma p] + tr(sigma sigma^T) / 2, or + E[p . xi] where the noise has a memory. It holds for every
    gamma >= 0 and sigma, gamma = 0 and critical damping included.

    Arguments:
        t: times since the start, any shape.
        position, momentum: the sharp initial state, numbers or arrays, in the position's unit and that over time.
        stiffness, gamma, sigma: all broadcasting, one entry a component; or (d, d) matrices where position and
            momentum are scalars or 1-D. Units as for `oscillator_law`.
        tau: None for white noise; else as for `oscillator_law`.

    Returns:
        The mean inertia, of shape t.shape, in units of energy.

    Raises:
        ValueError: if gamma is negative, tau is not positive, or an argument is not finite.

    Example:
        >>> ji.analytic.mean_inertia(2.0, 1.0, 0.0, 1.5, 0.4, 0.7)    # 0.6203979802
    """
    given = dict(position=position, momentum=momentum, stiffness=stiffness, gamma=gamma, sigma=sigma)
    (t,) = finite(t=t)

    def mean_of(one):
        equation = _oscillator(tau, **one)
        law = linear_sde(t, equation.start, equation.drift, equation.diffusion, equation.covariance)
        return inertia_moments(law, equation.stiffness)[0]

    if _any_matrix(given):
        return mean_of(given)
    components = [jnp.ravel(x) for x in jnp.broadcast_arrays(*numbers(**given))]
    each = jax.vmap(lambda *component: mean_of(dict(zip(given, component, strict=True))))
    return jnp.sum(each(*components), axis=0)


def inertia_moments(law: Gaussian, stiffness: ArrayLike) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    r"""(E[I], Var[I]) of I = z^T S z / 2 in a Gaussian law, S the stiffness on q and 1 on p.

    E[I] = tr(S C)/2 + m^T S m / 2,   Var[I] = tr(S C S C)/2 + m^T S C S m.

    Arguments:
        law: what `oscillator_law` or `stationary` returns.
        stiffness: a scalar, d numbers, or a (d, d) matrix, in one over time squared.

    Returns:
        Two arrays of the law's leading shape, in units of energy and of energy squared.

    Raises:
        ValueError: if the stiffness does not fit the law's d components, or is not finite.

    Example:
        >>> ji.analytic.inertia_moments(ji.analytic.stationary(1.5, 0.4, 0.7), 1.5)    # (T, T^2) with T = 0.6125
    """
    mean, covariance = law
    (stiffness,) = finite(stiffness=stiffness)
    size = mean.shape[-1]
    d = stiffness.shape[0] if stiffness.ndim else (1 if size in (2, 3) else size // 2)
    spring = _square(stiffness, d)
    if size not in (2 * d, 3 * d):
        raise ValueError(f"stiffness of shape {stiffness.shape} does not fit a law of {size} numbers; pass its own")
    mean, covariance = mean[..., : 2 * d], covariance[..., : 2 * d, : 2 * d]
    zero = jnp.zeros_like(spring)
    form = jnp.block([[spring, zero], [zero, jnp.eye(d, dtype=spring.dtype)]])
    weighted = form @ covariance
    expected = jnp.trace(weighted, axis1=-2, axis2=-1) + jnp.einsum("...i,ij,...j", mean, form, mean)
    spread = jnp.trace(weighted @ weighted, axis1=-2, axis2=-1)
    around = jnp.einsum("...i,...ij,jk,...k", mean, weighted, form, mean)
    return expected / 2, spread / 2 + around


def stationary(stiffness: ArrayLike, gamma: ArrayLike, sigma: ArrayLike, tau: ArrayLike | None = None) -> Gaussian:
    r"""The stationary law of the oscillator: mean zero, and the C with A C + C A^T + B B^T = 0 (Lyapunov).

    For numbers and white noise: Var p = sigma^2 / (2 gamma) = T, Var q = T / stiffness, whatever the stiffness; so
    E[I] = d T and Var[I] = d T^2.

    Arguments:
        stiffness, gamma, sigma, tau: as for `oscillator_law`.

    Returns:
        (mean, covariance) of (q, p), or of (q, p, xi) with tau.

    Raises:
        ValueError: if there is no stationary law (gamma or stiffness zero), or as `oscillator_law`.

    Example:
        >>> ji.analytic.stationary(1.5, 0.4, 0.7).covariance    # diag(T / 1.5, T), T = 0.6125
    """
    given = dict(position=0.0, momentum=0.0, stiffness=stiffness, gamma=gamma, sigma=sigma)
    equation = _oscillator(tau, **given)
    drift, n = equation.drift, len(equation.start)
    if not is_traced(drift) and np.linalg.eigvals(np.asarray(drift)).real.max() >= 0:
        raise ValueError(f"gamma = {gamma} and stiffness = {stiffness} have no stationary law; both must be positive")
    one = jnp.eye(n, dtype=drift.dtype)
    rate = equation.diffusion @ equation.diffusion.T
    covariance = jnp.linalg.solve(jnp.kron(drift, one) + jnp.kron(one, drift), -rate.reshape(-1)).reshape(n, n)
    return Gaussian(jnp.zeros(n, drift.dtype), (covariance + covariance.T) / 2)


def colored_power(stiffness: ArrayLike, gamma: ArrayLike, sigma: ArrayLike, tau: ArrayLike) -> Float[Array, "..."]:
    r"""The power that coloured noise gives a component in the long run.

    E[p xi] = sigma^2 tau / (1 + gamma tau + stiffness tau^2).

    The force has a memory, so it is correlated with the velocity that it makes. With sigma^2 = s^2/(2 tau) it tends to
    white noise's s^2/2 as tau -> 0.

    Arguments:
        stiffness, gamma, tau: numbers or arrays, in one over time squared, one over time, and time.
        sigma: the force's standard deviation (`ji.noise.Colored`), a number or array, in the momentum's unit over
            time. All four broadcast.

    Returns:
        The power, of their broadcast shape, in units of energy over time.

    Raises:
        ValueError: if gamma is negative, tau not positive, or an argument is not finite.

    Example:
        >>> ji.analytic.colored_power(1.5, 0.4, 0.8, 0.5)    # 0.2031746
    """
    stiffness, gamma, sigma, tau = numbers(stiffness=stiffness, gamma=gamma, sigma=sigma, tau=tau)
    return sigma**2 * tau / (1 + gamma * tau + stiffness * tau**2)


class _Equation(NamedTuple):
    """dz = A z dt + B dW from a Gaussian start."""

    start: Array
    covariance: Array
    drift: Array
    diffusion: Array
    stiffness: Array


def _oscillator(tau, **given) -> _Equation:
    q, p, stiffness, gamma, sigma = numbers(**given)
    d = max([1, *(x.shape[0] for x in (q, p, stiffness, gamma, sigma) if x.ndim)])
    spring, friction, amplitude = (_square(x, d) for x in (stiffness, gamma, sigma))
    zero, one = jnp.zeros_like(spring), jnp.eye(d, dtype=spring.dtype)
    start = jnp.concatenate([jnp.broadcast_to(q, (d,)), jnp.broadcast_to(p, (d,))])
    drift = jnp.block([[zero, one], [-spring, -friction]])
    if tau is None:
        diffusion = jnp.concatenate([zero, amplitude])
        return _Equation(start, jnp.zeros((2 * d, 2 * d), start.dtype), drift, diffusion, spring)
    tau = numbers(tau=tau)[0].astype(start.dtype)
    if tau.ndim:
        raise ValueError(f"tau must be one number, got shape {tau.shape}; all components share it")
    wide = jnp.zeros((2 * d, d), start.dtype)
    drift = jnp.block([[drift, jnp.concatenate([zero, one])], [wide.T, -one / tau]])
    covariance = jnp.block([[jnp.zeros((2 * d, 2 * d), start.dtype), wide], [wide.T, amplitude @ amplitude.T]])
    diffusion = jnp.concatenate([wide, amplitude * jnp.sqrt(2 / tau)])
    return _Equation(jnp.concatenate([start, jnp.zeros(d, start.dtype)]), covariance, drift, diffusion, spring)


def _square(x, d):
    return x if x.ndim == 2 else jnp.diag(jnp.broadcast_to(x, (d,)))


def _any_matrix(given) -> bool:
    shapes = {name: jnp.shape(as_float(name, x)) for name, x in given.items()}
    if max(len(shapes["position"]), len(shapes["momentum"])) > 1:
        return False
    return any(len(shape) == 2 and shape[0] == shape[1] for shape in shapes.values())
