"""Random forces on the momentum: white noise sigma dW, and noise with a memory."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import as_float, is_symmetric_psd, is_traced, is_zero, require
from .._types import ArrayLike, Position, Scalar
from .damping import AbstractDamping, Linear
from .linear_flow import cholesky
from .shapes import leaves_of

LAWS = ("gaussian", "three-point")


class AbstractNoise(eqx.Module):
    """A random force. `sigma` is laid out like the position: a scalar, per component, or a matrix."""

    sigma: eqx.AbstractVar[Position]

    @property
    def is_zero(self) -> bool:
        """Whether the force is known, now, to vanish."""
        return is_zero(self.sigma)


class White(AbstractNoise):
    """White noise: dp = ... + sigma dW, with covariance rate sigma sigma^T (the paper's Eq. 5).

    Arguments:
        sigma: amplitude, in units of momentum per square root of time. A scalar acts on every
            component; an array or pytree shaped like the position acts per component; a (d, d)
            array is a matrix where the position is one 1-D array of d components.
        law: of a step's increments over sqrt(h). "gaussian", or "three-point": 0 with probability 2/3 and +-sqrt(3)
            with 1/6 each. Its moments are the Gaussian's up to the fifth, so that expectations keep the order 2 of
            BAOAB and OBABO, and it is cheaper. Paths, tails and quantiles are wrong with it: take it for means only.

    Raises:
        ValueError: if a scalar or per-component sigma is negative or not finite, or the law is unknown.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=0.4, noise=ji.noise.White(0.7))

    Source: P. E. Kloeden and E. Platen, Numerical Solution of Stochastic Differential Equations, 1992, section 14.2
    (the three-point law).
    """

    sigma: Position
    law: str = eqx.field(static=True)

    def __init__(self, sigma: ArrayLike, law: str = "gaussian"):
        if law not in LAWS:
            raise ValueError(f"noise law = {law!r} is unknown; use one of {LAWS}")
        self.sigma = jax.tree.map(_amplitude, leaves_of("noise sigma", sigma))
        self.law = law


class Colored(AbstractNoise):
    r"""Coloured noise: dp = ... + xi dt with the Ornstein-Uhlenbeck force dxi = -xi/tau dt + sigma sqrt(2/tau) dW.

    Stationary with covariance sigma sigma^T, E[xi(t) xi(s)^T] = sigma sigma^T e^{-|t - s|/tau}. For small tau it acts
    as White(sigma sqrt(2 tau)). On an oscillator it gives the power sigma^2 tau / (1 + gamma tau + stiffness tau^2) a
    component in the long run: `ji.analytic.colored_power`.

    Arguments:
        sigma: standard deviation of the force, in units of force; shaped as in `White`.
        tau: correlation time, a positive number.
        initial: the force at the start, like the position; None draws it from its stationary law, which takes a key.

    Raises:
        ValueError: if a scalar or per-component sigma is negative or not finite, or tau is not positive.

    Example:
        >>> ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=ji.noise.Colored(0.8, tau=0.5))

    Source: G. E. Uhlenbeck and L. S. Ornstein, Phys. Rev. 36, 823 (1930).
    """

    sigma: Position
    tau: Scalar
    initial: Position | None

    def __init__(self, sigma: ArrayLike, tau: ArrayLike, initial: Any = None):
        self.sigma = jax.tree.map(_amplitude, leaves_of("noise sigma", sigma))
        tau = as_float("noise tau", tau)
        if tau.ndim:
            raise ValueError(f"noise tau must be one number, got shape {tau.shape}; all components share it")
        shown = "" if is_traced(tau) else f", got {tau}"
        holds = (tau > 0) & jnp.isfinite(tau)
        self.tau = require(tau, holds, f"noise tau must be positive and finite{shown}; it is the correlation time")
        self.initial = None if initial is None else leaves_of("noise initial", initial)

    @property
    def is_zero(self) -> bool:
        return is_zero(self.sigma) and (self.initial is None or is_zero(self.initial))


def thermal(temperature: ArrayLike, damping: ArrayLike, law: str = "gaussian") -> White:
    r"""The white noise that holds a temperature against a damping: sigma sigma^T = 2 T Gamma.

    With it and the Euclidean kinetic energy the stationary law is e^{-I/T}, whatever the potential
    (fluctuation-dissipation). Its derivative with respect to gamma is infinite at gamma = 0, as that of sqrt(gamma) is.

    Arguments:
        temperature: T >= 0, in units of energy.
        damping: gamma, or a `ji.damping.Linear`: the same that the system has.
        law: as in `White`.

    Returns:
        A `White` of the shape of gamma.

    Raises:
        ValueError: if the temperature is negative or not one finite number, or the damping is invalid or not linear.

    Example:
        >>> ji.System(ji.potentials.DoubleWell(), damping=0.5, noise=ji.noise.thermal(0.3, damping=0.5))

    Source: R. Kubo, Rep. Prog. Phys. 29, 255 (1966).
    """
    temperature = as_float("temperature", temperature)
    if temperature.ndim:
        raise ValueError(f"temperature must be one number, got shape {temperature.shape}")
    shown = "" if is_traced(temperature) else f", got {temperature}"
    holds = (temperature >= 0) & jnp.isfinite(temperature)
    temperature = require(temperature, holds, f"temperature must be finite and not negative{shown}")
    if isinstance(damping, AbstractDamping) and not isinstance(damping, Linear):
        raise ValueError(f"damping = {damping!r} has no white noise that balances it; pass gamma, or a damping.Linear")
    damping = damping if isinstance(damping, Linear) else Linear(damping)
    bare = hasattr(damping.gamma, "dtype")
    return White(jax.tree.map(lambda gamma: _thermal_amplitude(temperature, gamma, bare), damping.gamma), law)


def _thermal_amplitude(temperature, gamma, bare):
    square = bare and gamma.ndim == 2 and gamma.shape[0] == gamma.shape[1]
    if square and (is_traced(gamma) or is_symmetric_psd(np.asarray(gamma))):
        return jnp.sqrt(2 * temperature) * cholesky(gamma)
    return jnp.sqrt(2 * temperature * gamma)


def _amplitude(x):
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(f"noise sigma must be finite, got {x}; replace the NaN or inf")
    if x.ndim == 2 and x.shape[0] == x.shape[1]:
        return x  # may be a matrix, whose signs carry meaning
    shown = "" if is_traced(x) else f", got {x}"
    return require(x, x >= 0, f"noise sigma must not be negative{shown}; pass its absolute value")
