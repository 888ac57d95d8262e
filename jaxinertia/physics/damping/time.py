"""Friction that changes with time."""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import as_float, is_traced, known, require
from ..._shown import shown
from ..._types import ArrayLike, Position, Scalar
from ..potentials import as_module
from .abstract import AbstractDamping

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
_NODES, _WEIGHTS = ((_NODES + 1) / 2).tolist(), (_WEIGHTS / 2).tolist()  # Python's floats promote no float32


class AbstractTimeVarying(AbstractDamping):
    """dp/dt = -gamma(t) v with one rate for all components."""

    def rate(self, t: Scalar) -> Scalar:
        """gamma(t)."""
        raise ValueError(f"damping = {type(self).__name__} has no rate(t)")

    def integral(self, t: Scalar, h: Scalar) -> Scalar:
        """int gamma over h from t."""
        raise ValueError(f"damping = {type(self).__name__} has no integral(t, h)")

    def passage(self, t: Scalar, h: Scalar) -> Scalar:
        """int over s in (t, t + h) of exp(-int_s^{t+h} gamma): how far a constant push comes."""
        raise ValueError(f"damping = {type(self).__name__} has no passage(t, h)")

    def force_at(self, t: Scalar, position: Position, momentum: Position, velocity: Position) -> Position:
        """gamma(t) v: the friction force is its negative. Shaped like the velocity."""
        rate = self.rate(t)
        return jax.tree.map(lambda v: jnp.asarray(rate, v.dtype) * v, velocity)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        if push is not None and not kinetic.is_euclidean:
            return super().relaxation(kinetic, h, t, position, momentum, push)
        slowed = kinetic.slowed(self.integral(t, h), momentum)
        if slowed is None:
            return super().relaxation(kinetic, h, t, position, momentum, push)
        if push is None:
            return slowed
        passage = self.passage(t, h)
        return jax.tree.map(lambda p, f: p + passage * f, slowed, push)


class TimeVarying(AbstractTimeVarying):
    r"""dp/dt = -gamma(t) v, so dI/dt = -gamma(t) |v|^2: damping that is switched, ramped or scheduled.

    The O sub-step over h is e^{-int gamma}, with the integral by Gauss and Legendre's six points: exact for polynomials
    of degree 11. Where gamma jumps, let a row of `ts` end there.

    Arguments:
        gamma: a callable from the time to a number >= 0; NaN there makes the run NaN.

    Raises:
        ValueError: if gamma is not callable.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.TimeVarying(lambda t: 0.1 * t))
    """

    gamma: Callable

    def __init__(self, gamma: Callable):
        if not callable(gamma):
            raise ValueError(
                f"gamma = {shown(gamma)} must be a function of time; a constant one is damping.Linear(gamma)"
            )
        self.gamma = as_module("gamma", gamma, "t")

    def rate(self, t):
        value = as_float("gamma(t)", self.gamma(t))
        if value.shape != ():
            raise ValueError(f"gamma(t) must be one number, got shape {value.shape}; pass one rate for all")
        return jnp.where(value < 0, jnp.nan, value).astype(jnp.result_type(t))

    def integral(self, t, h):
        return sum(w * h * self.rate(t + x * h) for x, w in zip(_NODES, _WEIGHTS, strict=True))

    def passage(self, t, h):
        later = [jnp.exp(-self.integral(t + x * h, (1 - x) * h)) for x in _NODES]
        return sum(w * h * factor for w, factor in zip(_WEIGHTS, later, strict=True))


class Nesterov(AbstractTimeVarying):
    """gamma(t) = r / t: what `nesterov` makes, and says more of.

    Arguments:
        r: > 0, a number.

    Raises:
        ValueError: if r is not a positive finite number.

    Example:
        >>> isinstance(ji.damping.nesterov(), ji.damping.Nesterov)
    """

    r: Scalar

    def __init__(self, r: ArrayLike):
        r = as_float("r", r)
        shown = "" if is_traced(r) else f" = {np.asarray(r)}"
        if r.ndim:
            raise ValueError(f"r{shown} must be one number")
        holds = (known(r) > 0) & (known(r) < np.inf)
        self.r = require(r, holds, f"r{shown} must be positive and finite; Nesterov's is 3")

    nonnegative: ClassVar[tuple[str, ...]] = ("r",)

    def rate(self, t):
        """r / t; 0 at t = 0, where the momentum is zero; NaN before, where it would give energy."""
        later = t > 0
        return jnp.where(later, self.r / jnp.where(later, t, 1.0), jnp.where(t < 0, jnp.nan, 0.0))

    def integral(self, t, h):
        # log((t + h) / t)^r: infinite at t = 0, where e^{-infinity} = 0 is what friction leaves of any momentum.
        later = t > 0
        grown = self.r * jnp.log1p(h / jnp.where(later, t, 1.0))
        return jnp.where(later, grown, jnp.where(t < 0, jnp.nan, jnp.inf))

    def passage(self, t, h):
        end, ratio = t + h, t / (t + h)
        return end * (1 - ratio ** (self.r + 1)) / (self.r + 1)


def nesterov(r: ArrayLike = 3.0) -> Nesterov:
    r"""gamma(t) = r / t: the damping that Nesterov's accelerated gradient has in continuous time, with r = 3.

    dI/dt = -(r/t) |v|^2. Over an O sub-step from t to t + h the momentum falls by (t / (t + h))^r, exactly, so that it
    starts at t = 0 without harm, from rest; before t = 0 it is NaN. On L = q^2/2 from rest at 1, q(t) = 2 J_1(t) / t
    for r = 3.

    Arguments:
        r: > 0, a number; with r >= 3 the loss falls as 1/t^2 on every convex L.

    Returns:
        A `Nesterov`.

    Raises:
        ValueError: if r is not a positive finite number.

    Example:
        >>> system = ji.System(ji.potentials.Quadratic(), damping=ji.damping.nesterov())
        >>> ji.simulate(system, np.linspace(0, 20, 201), 1.0, dt=0.01)

    Source: W. Su, S. Boyd, E. J. Candes, J. Mach. Learn. Res. 17, 1 (2016).
    """
    return Nesterov(r)
