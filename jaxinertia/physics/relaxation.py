r"""The exact Ornstein-Uhlenbeck map: friction and noise on the momentum over a time h.

dp = -Gamma p dt + sigma dW  has the exact solution  p(h) = e^{-Gamma h} p(0) + xi,  xi ~ N(0, C),
C = int_0^h e^{-Gamma s} sigma sigma^T e^{-Gamma^T s} ds. Each map books its friction: the expected
dissipation given the start,

    friction = -[ loss(p0) + heat ],   E[change of K] = friction + tr(sigma sigma^T) h / 2,

with loss(p) = K(p) - K(e^{-Gamma h} p) and heat = tr(sigma sigma^T) h / 2 - tr(C) / 2, both >= 0.
(Decaying first and adding the noise afterwards would book too little noise.)
"""

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._tree import dot, sum_leaves
from .._types import Position, Scalar
from .damping import AbstractDamping, Drag
from .linear_flow import cholesky, linear_flow
from .noise import White
from .shapes import Coefficient, match


class AbstractRelaxation(eqx.Module):
    """The O sub-flow over one fixed time, with what it takes from the kinetic energy.

    It acts on the momentum, and on a random force that has a memory (see `colored.Pushed`).
    """

    @abc.abstractmethod
    def __call__(self, momentum: Any, increment: Any) -> Any:
        """The momentum after the relaxation, driven by the Brownian increment W(t+h) - W(t)."""

    @abc.abstractmethod
    def loss(self, momentum: Any) -> Scalar:
        """Proportional to the expected dissipation without noise; `friction` knows the factor."""

    @abc.abstractmethod
    def friction(self, losses: Scalar, count: int) -> Scalar:
        """The booked friction of `count` relaxations whose `loss` values sum to `losses`."""


class AbstractMemoryless(AbstractRelaxation):
    """A relaxation of the momentum alone, which without noise joins with the drifts and kicks beside it."""

    @abc.abstractmethod
    def travel(self, momentum: Position, h: Scalar) -> Position:
        """How far the relaxed momentum, without noise, goes in the time h."""

    @abc.abstractmethod
    def flight(self, momentum: Position, h: Scalar) -> Position:
        """How far the momentum goes while it relaxes, without noise, over the map's own time h: int_0^h p(s) ds."""

    @abc.abstractmethod
    def between_kicks(self) -> "AbstractMemoryless":
        """The same map, whose `loss` takes p0 + p1 around two equal kicks instead of the momentum between them.

        Whatever the kick, p0 + p1 = (1 + e^{-Gamma h}) p between them.
        """


def relaxation(damping: AbstractDamping, noise: White | None, h: Scalar, momentum: Position) -> AbstractMemoryless:
    """The exact map for this damping and noise over the time h, laid out for this momentum."""
    if isinstance(damping, Drag):
        return _dragged(damping, noise, h, momentum)
    gamma = match("damping gamma", damping.gamma, momentum)
    sigma = None if noise is None else match("noise sigma", noise.sigma, momentum)
    if gamma.uniform and sigma is not None and sigma.matrix:
        return _one_rate(as_matrix(gamma, momentum), sigma.value, h)
    if gamma.matrix or (sigma is not None and sigma.matrix):
        return _matrix(as_matrix(gamma, momentum), sigma and as_matrix(sigma, momentum), h)
    return _componentwise(gamma, sigma, h, momentum)


class Componentwise(AbstractMemoryless):
    """Every component decays on its own: p_i -> e^{-gamma_i h} p_i + sigma_i sqrt(phi(2 gamma_i h)) dW_i."""

    decay: Position
    average: Position  # (1 - e^{-gamma h}) / (gamma h), the decay's mean over the time
    amplitude: Position | None
    lost_fraction: Position  # 1 - e^{-2 gamma h}
    heat: Scalar
    uniform: bool = eqx.field(static=True)

    def __call__(self, momentum, increment):
        decayed = jax.tree.map(jnp.multiply, self.decay, momentum)
        if self.amplitude is None:
            return decayed
        return jax.tree.map(lambda p, a, dw: p + a * dw, decayed, self.amplitude, increment)

    def travel(self, momentum, h):
        return jax.tree.map(lambda d, p: (h * d) * p, self.decay, momentum)

    def flight(self, momentum, h):
        return jax.tree.map(lambda a, p: (h * a) * p, self.average, momentum)

    def between_kicks(self):
        lost = jax.tree.map(lambda x, d: x / (1 + d) ** 2, self.lost_fraction, self.decay)  # tanh(gamma h / 2)
        return Componentwise(self.decay, self.average, self.amplitude, lost, self.heat, self.uniform)

    def loss(self, momentum):
        if self.uniform:  # one factor for all: left out of the sum, and of the inner loop
            return dot(momentum, momentum) / 2
        weighted = jax.tree.map(jnp.multiply, self.lost_fraction, momentum)
        return dot(weighted, momentum) / 2

    def friction(self, losses, count):
        factor = jax.tree.leaves(self.lost_fraction)[0] if self.uniform else 1
        return -(factor * losses + count * self.heat)


def _componentwise(gamma: Coefficient, sigma: Coefficient | None, h, momentum):
    rates = jax.tree.map(lambda g: g * h, gamma.value)
    decay = jax.tree.map(lambda x: jnp.exp(-x), rates)
    lost = jax.tree.map(lambda x: -jnp.expm1(-2 * x), rates)
    amplitude, heat = None, jnp.zeros((), jnp.result_type(h))
    if sigma is not None:
        amplitude = jax.tree.map(lambda s, x: s * jnp.sqrt(phi(2 * x)), sigma.value, rates)
        heat = sum_leaves(
            jax.tree.map(
                lambda s, x, p: jnp.sum(jnp.broadcast_to(s**2 * phi_deficit(2 * x), p.shape)) * h / 2,
                sigma.value,
                rates,
                momentum,
            )
        )
    return Componentwise(decay, jax.tree.map(phi, rates), amplitude, lost, heat, gamma.uniform)


class Matrix(AbstractMemoryless):
    """A matrix Gamma or sigma couples the components: p -> E p + S dW, with E = e^{-Gamma h}, S S^T h = C."""

    decay: jax.Array
    passage: jax.Array  # int_0^h e^{-Gamma s} ds
    amplitude: jax.Array | None
    lost_fraction: jax.Array  # I - E^T E
    heat: Scalar

    def __call__(self, momentum, increment):
        moved = jax.tree.map(lambda p: self.decay @ p, momentum)
        if self.amplitude is None:
            return moved
        return jax.tree.map(lambda p, dw: p + self.amplitude @ dw, moved, increment)

    def travel(self, momentum, h):
        return jax.tree.map(lambda p: h * (self.decay @ p), momentum)

    def flight(self, momentum, h):
        return jax.tree.map(lambda p: self.passage @ p, momentum)

    def between_kicks(self):
        inverse = jnp.linalg.inv(jnp.eye(len(self.decay), dtype=self.decay.dtype) + self.decay)
        return Matrix(self.decay, self.passage, self.amplitude, inverse.T @ self.lost_fraction @ inverse, self.heat)

    def loss(self, momentum):
        return dot(momentum, jax.tree.map(lambda p: self.lost_fraction @ p, momentum)) / 2

    def friction(self, losses, count):
        return -(losses + count * self.heat)


def _matrix(gamma, sigma, h):
    decay, passage, lost, _ = linear_flow(-gamma, 2 * gamma, h)  # int e^{-Gamma s} 2 Gamma e^{-Gamma s} ds = I - E^T E
    if sigma is None:
        return Matrix(decay, passage, None, lost, jnp.zeros((), gamma.dtype))
    _, _, covariance, integral = linear_flow(-gamma, sigma @ sigma.T, h)
    heat = jnp.sum(gamma * integral)  # int tr(Gamma C(s)) ds
    return Matrix(decay, passage, _root_along(covariance / h, sigma), lost, heat)


def _one_rate(gamma, sigma, h):
    """All components decay alike, so that the noise keeps its directions: S = sigma sqrt(phi(2 gamma h))."""
    rate, one = gamma[0, 0], jnp.eye(len(sigma), dtype=sigma.dtype)
    y = 2 * rate * h
    heat = jnp.sum(sigma**2) * phi_deficit(y) * h / 2
    passage = h * phi(rate * h) * one
    return Matrix(jnp.exp(-rate * h) * one, passage, sigma * jnp.sqrt(phi(y)), -jnp.expm1(-y) * one, heat)


class Dragged(AbstractMemoryless):
    """Quadratic drag, Bernoulli's equation: p -> E p / (1 + c |p|) with E = e^{-a h} and c = b h phi(a h).

    Meanwhile it goes h phi(a h) p log(1 + c |p|) / (c |p|).
    """

    decay: Position
    average: Position  # phi(a h)
    curve: Position
    from_sum: bool = eqx.field(static=True, default=False)

    def __call__(self, momentum, increment):
        return jax.tree.map(lambda e, c, p: e * p / (1 + c * jnp.abs(p)), self.decay, self.curve, momentum)

    def travel(self, momentum, h):
        return jax.tree.map(lambda p: h * p, self(momentum, None))

    def flight(self, momentum, h):
        return jax.tree.map(
            lambda a, c, p: (h * a) * p * _log1p_ratio(c * jnp.abs(p)), self.average, self.curve, momentum
        )

    def between_kicks(self):
        return Dragged(self.decay, self.average, self.curve, from_sum=True)

    def loss(self, momentum):
        before = jax.tree.map(_between, self.decay, self.curve, momentum) if self.from_sum else momentum
        after = self(before, None)
        return (dot(before, before) - dot(after, after)) / 2

    def friction(self, losses, count):
        return -losses


def _between(decay, curve, total):
    """The p that solves p + E p / (1 + c |p|) = total, without cancellation."""
    size = jnp.abs(total)
    linear = 1 + decay - curve * size
    return 2 * total / (linear + jnp.sqrt(linear * linear + 4 * curve * size))


def _dragged(damping, noise, h, momentum):
    if noise is not None:
        raise ValueError(
            "damping.Drag with noise has no exact sub-step: pass a diffrax solver, such as solver=diffrax.ShARK()"
        )
    a, b = (match(f"drag {name}", getattr(damping, name), momentum).value for name in ("linear", "quadratic"))
    decay = jax.tree.map(lambda a: jnp.exp(-a * h), a)
    average = jax.tree.map(lambda a: phi(a * h), a)
    return Dragged(decay, average, jax.tree.map(lambda b, m: b * h * m, b, average))


def _root_along(covariance, sigma):
    """S with S S^T = covariance that tends to sigma as h -> 0, so that paths at several steps agree.

    Cholesky's factor times the rotation that brings it nearest to sigma. That of a regular sigma follows from its own
    triangular decomposition, which has derivatives; that of a singular one (from singular values, which may repeat) is
    held fixed under differentiation: any fixed rotation gives the same law.
    """
    fixed, factor = jax.lax.stop_gradient((sigma, cholesky(covariance)))
    _, r = jnp.linalg.qr(fixed.T)  # sigma = r^T q^T with r^T lower triangular
    size = jnp.abs(jnp.diag(r))
    singular = jnp.min(size) <= len(sigma) * jnp.finfo(sigma.dtype).eps * jnp.max(size)
    left, _, right = jnp.linalg.svd(factor.T @ fixed)
    smooth, _ = jnp.linalg.qr(jnp.where(singular, jnp.eye(len(sigma), dtype=sigma.dtype), sigma.T))
    signs = jnp.where(jnp.diag(r) < 0, -1.0, 1.0).astype(sigma.dtype)
    return cholesky(covariance) @ jnp.where(singular, left @ right, (smooth * signs).T)


def as_matrix(coefficient: Coefficient, momentum: Position) -> Float[Array, "d d"]:
    """gamma or sigma of a one-dimensional momentum as a (d, d) array."""
    if coefficient.matrix:
        return coefficient.value
    ones = jax.tree.map(jnp.ones_like, momentum)
    (diagonal,) = jax.tree.leaves(coefficient.times(ones))
    return jnp.diag(diagonal)


# phi(y) = (1 - e^{-y}) / y, 1 - phi(y) and log(1 + x) / x: smooth at 0, so small arguments go by the series, value and
# derivatives alike. The `where` inside keeps the unused branch finite: a NaN there would reach the gradient.
_SMALL = 0.5
_TERMS = 16
_PHI = np.array([(-1.0) ** k / math.factorial(k + 1) for k in reversed(range(_TERMS))])
_DEFICIT = np.array([(-1.0) ** k / math.factorial(k + 2) for k in reversed(range(_TERMS))])
_LOG1P = np.array([(-1.0) ** k / (k + 1) for k in reversed(range(_TERMS))])


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


def _log1p_ratio(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 + x) / x, and 1 at x = 0."""
    small = jnp.abs(x) < 0.1
    near = jnp.where(small, x, 0.0)
    safe = jnp.where(small, 1.0, x)
    return jnp.where(small, jnp.polyval(jnp.asarray(_LOG1P, x.dtype), near), jnp.log1p(safe) / safe)
