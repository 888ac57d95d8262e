r"""Linear friction, and the exact Ornstein-Uhlenbeck map that is its O sub-step, with white noise too.

dp = -Gamma v dt + sigma dW  with  v = M^{-1} p  has the exact solution  p(h) = E p(0) + xi,  E = e^{-Gamma M^{-1} h},
xi ~ N(0, C),  C = int_0^h e^{-Gamma M^{-1} s} sigma sigma^T e^{-M^{-1} Gamma^T s} ds. It books the expected dissipation
given the start,

    friction = -[ loss(p0) + heat ],   E[change of K] = friction + tr(M^{-1} sigma sigma^T) h / 2,

with loss(p) = K(p) - K(E p) and heat = tr(M^{-1} sigma sigma^T) h / 2 - tr(M^{-1} C) / 2, both >= 0.
(Decaying first and adding the noise afterwards would book too little noise.)
"""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..._checks import as_float, is_symmetric_psd, is_traced, known, require
from ..._tree import dot, sum_leaves
from ..._types import ArrayLike, Position, Scalar
from ..linear_flow import cholesky, linear_flow
from ..relaxation import AbstractMemoryless
from ..series import phi, phi_deficit
from ..shapes import Coefficient, check_damping, leaves_of, match
from .abstract import AbstractDamping


class Linear(AbstractDamping):
    r"""Linear friction: dp/dt = (-Gamma + Omega) v, so dI/dt = -v^T Gamma v <= 0 (the paper's Eq. 1 and 4).

    Omega, skew, is a gyroscopic force: a magnetic field, or Coriolis's force. It turns the velocity and does no work.
    The O sub-step is exact for every quadratic kinetic energy, and with one rate for the others that `ji.kinetic` has.

    Arguments:
        gamma: damping, in units of one over time (times a mass, if there is one). A scalar acts on every component; an
            array or pytree shaped like the position acts per component; a (d, d) array is a matrix, symmetric
            and positive semi-definite, where the position is one 1-D array of d components.
        gyroscopic: Omega, a skew (d, d) array where the position is one 1-D array of d components, or None.

    Raises:
        ValueError: if gamma is negative, not finite, or a symmetric matrix with a negative eigenvalue, or gyroscopic
            not skew.

    Example:
        >>> ji.System(ji.potentials.Quadratic(), damping=ji.damping.Linear(0.2))
    """

    gamma: Position
    gyroscopic: Float[Array | np.ndarray, "d d"] | None

    def __init__(self, gamma: ArrayLike, gyroscopic: ArrayLike | None = None):
        gamma = leaves_of("damping gamma", gamma)
        self.gamma = jax.tree.map(partial(_rate, bare=hasattr(gamma, "dtype")), gamma)
        self.gyroscopic = None if gyroscopic is None else _skew(gyroscopic)

    def force(self, velocity: Position) -> Position:
        """(Gamma - Omega) v: the friction force is its negative. Shaped like the velocity."""
        friction = match("damping gamma", self.gamma, velocity).times(velocity)
        if self.gyroscopic is None:
            return friction
        return jax.tree.map(lambda f, v: f - self.gyroscopic @ v, friction, velocity)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        if kinetic.is_quadratic:
            map_ = self.prepared(kinetic, None, h, momentum)
            relaxed = map_.move(momentum, None)
            return relaxed if push is None else jax.tree.map(jnp.add, relaxed, map_.flight(push, h))
        gamma = match("damping gamma", self.gamma, momentum)
        if push is None and gamma.uniform and self.gyroscopic is None:
            slowed = kinetic.slowed(jax.tree.leaves(gamma.value)[0] * h, momentum)
            if slowed is not None:
                return slowed
        return super().relaxation(kinetic, h, t, position, momentum, push)

    def prepared(self, kinetic, noise, h, momentum):
        if not kinetic.is_quadratic:
            return super().prepared(kinetic, noise, h, momentum)
        gamma = match("damping gamma", self.gamma, momentum)
        if noise is not None and noise.remembers and kinetic.is_euclidean and self.gyroscopic is None:
            return noise.joint(gamma, h, momentum)
        sigma = None if noise is None else noise.amplitude(momentum)
        if noise is not None and (noise.remembers or sigma is None):
            return super().prepared(kinetic, noise, h, momentum)
        inverse = kinetic.inverse_mass(momentum)
        coupled = self.gyroscopic is not None or (inverse is not None and inverse.matrix)
        if not coupled and gamma.uniform and sigma is not None and sigma.matrix and inverse is None:
            return _one_rate(as_matrix(gamma, momentum), sigma.value, h)
        if coupled or gamma.matrix or (sigma is not None and sigma.matrix):
            return self._matrix(gamma, sigma, inverse, h, momentum)
        return _componentwise(gamma, sigma, inverse, h, momentum)

    def _matrix(self, gamma, sigma, inverse, h, momentum):
        gamma = as_matrix(gamma, momentum)
        sigma = None if sigma is None else as_matrix(sigma, momentum)
        inverse = None if inverse is None else as_matrix(inverse, momentum)
        return _matrix(gamma, self.gyroscopic, sigma, inverse, h)

    def constant_gamma(self, like: Position) -> Coefficient | None:
        return match("damping gamma", self.gamma, like) if self.gyroscopic is None else None

    def shrinks(self, kinetic, like):
        gamma, inverse = self.constant_gamma(like), kinetic.inverse_mass(like)
        if gamma is None or not gamma.uniform or not kinetic.is_quadratic:
            return None
        if inverse is not None and not inverse.uniform:
            return None
        rate = jax.tree.leaves(gamma.value)[0]
        return rate if inverse is None else rate * jax.tree.leaves(inverse.value)[0]

    @property
    def is_linear(self) -> bool:
        return self.gyroscopic is None

    @property
    def turns(self) -> bool:
        return self.gyroscopic is not None

    @property
    def linear_part(self) -> Position | None:
        return self.gamma if self.gyroscopic is None else None

    invertible: ClassVar[bool] = True
    nonnegative: ClassVar[tuple[str, ...]] = ("gamma",)
    skew: ClassVar[tuple[str, ...]] = ("gyroscopic",)

    def composes(self, kinetic):
        return kinetic.is_quadratic and self.gyroscopic is None

    def likely(self, gamma, speed=None, mass=1.0):
        return {"gamma": gamma * mass}

    def in_units(self, origin, time, length):
        return jax.tree.map(lambda x: x * time, self)

    @property
    def strength(self) -> Any:
        return self.gamma, self.gyroscopic

    def check(self, position):
        position = check_damping(match("damping gamma", self.gamma, position), position)
        if self.gyroscopic is None:
            return position
        leaves = jax.tree.leaves(position)
        d = len(self.gyroscopic)
        if len(leaves) != 1 or leaves[0].shape != (d,):
            raise ValueError(
                f"damping gyroscopic is ({d}, {d}), which fits a position of one array of shape ({d},) only, got "
                f"{jax.tree.map(jnp.shape, position)}"
            )
        if self.gyroscopic.dtype != leaves[0].dtype or is_traced(self.gyroscopic):
            slack = 64 * d * jnp.finfo(leaves[0].dtype).eps * jnp.max(jnp.abs(self.gyroscopic))
            skew = jnp.max(jnp.abs(self.gyroscopic + self.gyroscopic.T)) <= slack
            position = require(position, skew, "damping gyroscopic must be skew: gyroscopic = A - A.T")
        return position


def _skew(x):
    x = as_float("damping gyroscopic", x)
    if x.ndim != 2 or x.shape[0] != x.shape[1]:
        raise ValueError(f"damping gyroscopic must be a (d, d) array, got shape {x.shape}")
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(f"damping gyroscopic must be finite, got {np.asarray(x).tolist()}")
    shown = "" if is_traced(x) else f", got {np.asarray(x).tolist()}"
    turn = known(jax.lax.stop_gradient(x))
    slack = 64 * len(x) * jnp.finfo(x.dtype).eps * abs(turn).max()
    return require(x, abs(turn + turn.T).max() <= slack, f"damping gyroscopic must be skew{shown}; pass A - A.T")


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


class Componentwise(AbstractMemoryless):
    """Every component decays on its own: p_i -> e^{-rate_i h} p_i + sigma_i sqrt(phi(2 rate_i h)) dW_i."""

    decay: Position
    excess: Position  # e^{-rate h} - 1
    average: Position  # (1 - e^{-rate h}) / (rate h), the decay's mean over the time
    amplitude: Position | None
    lost_fraction: Position  # (1 - e^{-2 rate h}) / mass
    heat: Scalar
    uniform: bool = eqx.field(static=True)

    def move(self, momentum, increment):
        decayed = jax.tree.map(jnp.multiply, self.decay, momentum)
        if self.amplitude is None:
            return decayed
        return jax.tree.map(lambda p, a, dw: p + a * dw, decayed, self.amplitude, increment)

    def change(self, momentum, increment):
        change = jax.tree.map(jnp.multiply, self.excess, momentum)
        if self.amplitude is None:
            return change
        return jax.tree.map(lambda x, a, dw: x + a * dw, change, self.amplitude, increment)

    def travel(self, momentum, h):
        return jax.tree.map(lambda d, p: (h * d) * p, self.decay, momentum)

    def flight(self, momentum, h):
        return jax.tree.map(lambda a, p: (h * a) * p, self.average, momentum)

    def between_kicks(self):
        lost = jax.tree.map(lambda x, d: x / (1 + d) ** 2, self.lost_fraction, self.decay)  # tanh(gamma h / 2)
        return Componentwise(self.decay, self.excess, self.average, self.amplitude, lost, self.heat, self.uniform)

    def loss(self, momentum):
        if self.uniform:  # one factor for all: left out of the sum, and of the inner loop
            return dot(momentum, momentum) / 2
        weighted = jax.tree.map(jnp.multiply, self.lost_fraction, momentum)
        return dot(weighted, momentum) / 2

    def friction(self, losses, count):
        factor = jax.tree.leaves(self.lost_fraction)[0] if self.uniform else 1
        return -(factor * losses + count * self.heat)


def _componentwise(gamma: Coefficient, sigma: Coefficient | None, inverse: Coefficient | None, h, momentum):
    per_mass = jax.tree.map(lambda _: 1.0, gamma.value) if inverse is None else inverse.value
    rates = jax.tree.map(lambda g, w: g * w * h, gamma.value, per_mass)
    decay = jax.tree.map(lambda x: jnp.exp(-x), rates)
    lost = jax.tree.map(lambda x, w: -jnp.expm1(-2 * x) * w, rates, per_mass)
    amplitude, heat = None, jnp.zeros((), jnp.result_type(h))
    if sigma is not None:
        amplitude = jax.tree.map(lambda s, x: s * jnp.sqrt(phi(2 * x)), sigma.value, rates)
        heat = sum_leaves(
            jax.tree.map(
                lambda s, x, w, p: jnp.sum(jnp.broadcast_to(s**2 * w * phi_deficit(2 * x), p.shape)) * h / 2,
                sigma.value,
                rates,
                per_mass,
                momentum,
            )
        )
    uniform = gamma.uniform and (inverse is None or inverse.uniform)
    excess = jax.tree.map(lambda x: jnp.expm1(-x), rates)
    return Componentwise(decay, excess, jax.tree.map(phi, rates), amplitude, lost, heat, uniform)


class Matrix(AbstractMemoryless):
    """A matrix Gamma, Omega, M or sigma couples the components: p -> E p + S dW, with S S^T h = C."""

    decay: jax.Array
    excess: jax.Array  # E - 1
    passage: jax.Array  # int_0^h e^{-Gamma M^-1 s} ds
    amplitude: jax.Array | None
    lost_fraction: jax.Array  # M^-1 - E^T M^-1 E
    heat: Scalar
    turns: bool = eqx.field(static=True, default=False)

    def move(self, momentum, increment):
        moved = jax.tree.map(lambda p: self.decay @ p, momentum)
        if self.amplitude is None:
            return moved
        return jax.tree.map(lambda p, dw: p + self.amplitude @ dw, moved, increment)

    def change(self, momentum, increment):
        change = jax.tree.map(lambda p: self.excess @ p, momentum)
        if self.amplitude is None:
            return change
        return jax.tree.map(lambda x, dw: x + self.amplitude @ dw, change, increment)

    def travel(self, momentum, h):
        return jax.tree.map(lambda p: h * (self.decay @ p), momentum)

    def flight(self, momentum, h):
        return jax.tree.map(lambda p: self.passage @ p, momentum)

    def between_kicks(self):
        if self.turns:  # half a turn makes 1 + E singular
            return None
        inverse = jnp.linalg.inv(jnp.eye(len(self.decay), dtype=self.decay.dtype) + self.decay)
        lost = inverse.T @ self.lost_fraction @ inverse
        return eqx.tree_at(lambda m: m.lost_fraction, self, lost)

    def loss(self, momentum):
        return dot(momentum, jax.tree.map(lambda p: self.lost_fraction @ p, momentum)) / 2

    def friction(self, losses, count):
        return -(losses + count * self.heat)


def _matrix(gamma, gyroscopic, sigma, inverse, h):
    turns = gyroscopic is not None
    drift = -gamma if gyroscopic is None else gyroscopic - gamma
    rate = gamma  # of loss: v^T Gamma v = p^T rate p
    if inverse is not None:
        drift, rate = drift @ inverse, inverse @ gamma @ inverse
    decay, passage, *_ = linear_flow(drift, None, h)
    # int e^{D^T s} 2 rate e^{D s} ds = M^-1 - E^T M^-1 E: as its own integral it loses no digits.
    lost = linear_flow(drift.T, 2 * rate, h, driven=False).covariance
    if sigma is None:
        return Matrix(decay, drift @ passage, passage, None, lost, jnp.zeros((), gamma.dtype), turns)
    *_, covariance, integral = linear_flow(drift, sigma @ sigma.T, h, driven=False)
    heat = jnp.sum(rate * integral)  # int tr(rate C(s)) ds
    return Matrix(decay, drift @ passage, passage, _root_along(covariance / h, sigma), lost, heat, turns)


def _one_rate(gamma, sigma, h):
    """All components decay alike, so that the noise keeps its directions: S = sigma sqrt(phi(2 gamma h))."""
    rate, one = gamma[0, 0], jnp.eye(len(sigma), dtype=sigma.dtype)
    y = 2 * rate * h
    heat = jnp.sum(sigma**2) * phi_deficit(y) * h / 2
    passage = h * phi(rate * h) * one
    decay, excess = (by(-rate * h) * one for by in (jnp.exp, jnp.expm1))
    return Matrix(decay, excess, passage, sigma * jnp.sqrt(phi(y)), -jnp.expm1(-y) * one, heat)


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
    """gamma, sigma or M^-1 of a one-dimensional momentum as a (d, d) array."""
    if coefficient.matrix:
        return coefficient.value
    ones = jax.tree.map(jnp.ones_like, momentum)
    (diagonal,) = jax.tree.leaves(coefficient.times(ones))
    return jnp.diag(diagonal)
