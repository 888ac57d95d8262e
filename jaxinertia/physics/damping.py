"""Friction: a force against the velocity, which takes energy out of the system and never gives it."""

import abc
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_symmetric_psd, is_traced, is_zero, require
from .._types import ArrayLike, Position
from .shapes import leaves_of, match


class AbstractDamping(eqx.Module):
    """Friction with a part linear in the velocity, `gamma`."""

    gamma: eqx.AbstractVar[Position]

    @abc.abstractmethod
    def force(self, velocity: Position) -> Position:
        """The friction force is the negative of this. Shaped like the velocity."""

    @property
    @abc.abstractmethod
    def is_zero(self) -> bool:
        """Whether there is known, now, to be no friction."""


class Linear(AbstractDamping):
    """Linear friction: dp/dt = -Gamma v, so dI/dt = -v^T Gamma v <= 0 (the paper's Eq. 1 and 4).

    Arguments:
        gamma: damping, in units of one over time. A scalar acts on every component; an array or
            pytree shaped like the position acts per component; a (d, d) array is a matrix, symmetric
            and positive semi-definite, where the position is one 1-D array of d components.

    Raises:
        ValueError: if gamma is negative, not finite, or a symmetric matrix with a negative eigenvalue.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.Linear(0.2))
    """

    gamma: Position

    def __init__(self, gamma: ArrayLike):
        gamma = leaves_of("damping gamma", gamma)
        self.gamma = jax.tree.map(partial(_rate, bare=hasattr(gamma, "dtype")), gamma)

    def force(self, velocity: Position) -> Position:
        """Gamma v: the friction force is its negative. Shaped like the velocity."""
        return match("damping gamma", self.gamma, velocity).times(velocity)

    @property
    def is_zero(self) -> bool:
        return is_zero(self.gamma)


class Drag(AbstractDamping):
    r"""Linear and quadratic friction: dp/dt = -(linear + quadratic |p|) p, component by component.

    With the Euclidean kinetic energy dI/dt = -sum_i (linear_i + quadratic_i |v_i|) v_i^2 <= 0. Its O sub-step is exact,
    p -> e^{-a h} p / (1 + b |p| h phi(a h)) with a = linear, b = quadratic and phi(y) = (1 - e^{-y}) / y, so that a
    splitting keeps its order. It has no exact sub-step with noise: there take a diffrax solver.

    Arguments:
        linear: a >= 0, one over time; quadratic: b >= 0, one over length. Scalars, or shaped like the position.

    Raises:
        ValueError: if one is negative or not finite.

    Example:
        >>> ji.System(ji.potentials.Pendulum(2.0), damping=ji.damping.Drag(linear=0.1, quadratic=0.05))

    Source: Bernoulli's equation; the quadratic law is Newton's (Principia, book II).
    """

    linear: Position
    quadratic: Position

    def __init__(self, linear: ArrayLike = 0.0, quadratic: ArrayLike = 0.0):
        for name, value in (("linear", linear), ("quadratic", quadratic)):
            setattr(self, name, jax.tree.map(partial(_coefficient, name), leaves_of(f"drag {name}", value)))

    @property
    def gamma(self) -> Position:
        """The linear part."""
        return self.linear

    def force(self, velocity: Position) -> Position:
        """(linear + quadratic |v|) v: the friction force is its negative. Shaped like the velocity."""
        a, b = (match(f"drag {name}", getattr(self, name), velocity) for name in ("linear", "quadratic"))
        return jax.tree.map(lambda a, b, v: (a + b * jnp.abs(v)) * v, a.value, b.value, velocity)

    @property
    def is_zero(self) -> bool:
        return is_zero((self.linear, self.quadratic))


def _coefficient(name, x):
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(f"drag {name} must be finite, got {x}; replace the NaN or inf")
    shown = "" if is_traced(x) else f", got {x}"
    return require(x, x >= 0, f"drag {name} must not be negative{shown}; pass {name} >= 0")


def _rate(x, bare):
    if is_traced(x):
        return x if x.ndim == 2 else require(x, x >= 0, "damping gamma must not be negative; pass gamma >= 0")
    value = np.asarray(x)
    if not np.all(np.isfinite(value)):
        raise ValueError(f"damping gamma must be finite, got {value}; replace the NaN or inf")
    square = bare and value.ndim == 2 and value.shape[0] == value.shape[1]
    if square and np.array_equal(value, value.T):
        if not is_symmetric_psd(value):
            raise ValueError(
                f"damping gamma, a matrix, must have no negative eigenvalue, got {np.linalg.eigvalsh(value)} for "
                f"{value.tolist()}; build it as R @ R.T, or pass a tuple of arrays to mean per-component damping"
            )
    elif np.any(value < 0):
        raise ValueError(f"damping gamma must not be negative, got {value}; pass gamma >= 0, or a symmetric PSD matrix")
    return x
