"""White noise sigma dW, also the one that holds a temperature."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import as_float, is_symmetric_psd, is_traced, known, require
from ..._shown import shown
from ..._types import ArrayLike, Position
from ..damping import AbstractDamping, Linear
from ..linear_flow import cholesky
from ..shapes import Coefficient, leaves_of, match
from .abstract import AbstractNoise

LAWS = ("gaussian", "three-point")


class White(AbstractNoise):
    """White noise: dp = ... + sigma dW, with covariance rate sigma sigma^T (the paper's Eq. 5).

    Arguments:
        sigma: amplitude, in units of momentum per square root of time. A scalar acts on every
            component; an array or pytree shaped like the position acts per component; a (d, d)
            array is a matrix where the position is one 1-D array of d components.
        law: which, of a step's increments over sqrt(h): "gaussian", or "three-point": 0 with probability 2/3 and
            +-sqrt(3) with 1/6 each. Its moments are the Gaussian's up to the fifth, so that expectations keep the order
            2 of BAOAB and OBABO, and it is cheaper. Paths, tails and quantiles are wrong with it: take it for means
            only.

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
            raise ValueError(f"noise law = {shown(law)} is unknown; use one of {LAWS}")
        self.sigma = jax.tree.map(amplitude_of, leaves_of("noise sigma", sigma))
        self.law = law

    nonnegative: ClassVar[tuple[str, ...]] = ("sigma",)

    def likely(self, sigma):
        return {"sigma": sigma}

    def in_units(self, time, length):
        return jax.tree.map(lambda x: x * time**1.5 / length, self)

    def push(self, increment: Position) -> Position:
        """sigma dW."""
        return self.amplitude(increment).times(increment)

    def amplitude(self, like: Position) -> Coefficient:
        """sigma laid out for a momentum."""
        return match("noise sigma", self.sigma, like)

    @property
    def strength(self) -> Any:
        return self.sigma


def thermal(temperature: ArrayLike, damping: ArrayLike, law: str = "gaussian") -> White:
    r"""The white noise that holds a temperature against a damping: sigma sigma^T = 2 T Gamma.

    With it the stationary law is e^{-I/T}, whatever the potential and the kinetic energy (fluctuation-dissipation).
    Its derivative with respect to gamma is infinite at gamma = 0, as that of sqrt(gamma) is.

    Arguments:
        temperature: T >= 0, a number, in units of energy.
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
    said = "" if is_traced(temperature) else f", got {temperature}"
    holds = (known(temperature) >= 0) & (known(temperature) < np.inf)
    temperature = require(temperature, holds, f"temperature must be finite and not negative{said}")
    if isinstance(damping, AbstractDamping) and not isinstance(damping, Linear):
        raise ValueError(
            f"damping = {shown(damping)} has no white noise that balances it; pass gamma, or a damping.Linear"
        )
    gamma = damping.gamma if isinstance(damping, Linear) else Linear(damping).gamma
    bare = hasattr(gamma, "dtype")
    return White(jax.tree.map(lambda gamma: _thermal_amplitude(temperature, gamma, bare), gamma), law)


def _thermal_amplitude(temperature, gamma, bare):
    square = bare and gamma.ndim == 2 and gamma.shape[0] == gamma.shape[1]
    if square and (is_traced(gamma) or is_symmetric_psd(np.asarray(gamma))):
        return jnp.sqrt(2 * temperature) * cholesky(gamma)
    return jnp.sqrt(2 * temperature * gamma)


def amplitude_of(x):
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(f"noise sigma must be finite, got {x}; replace the NaN or inf")
    if x.ndim == 2 and x.shape[0] == x.shape[1]:
        return x  # may be a matrix, whose signs carry meaning
    shown = "" if is_traced(x) else f", got {x}"
    return require(x, known(x) >= 0, f"noise sigma must not be negative{shown}; pass its absolute value")
