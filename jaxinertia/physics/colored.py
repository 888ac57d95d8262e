r"""The exact map of friction and an Ornstein-Uhlenbeck force together: the O of coloured noise.

    dp = (-Gamma p + xi) dt,   dxi = -xi/tau dt + sigma sqrt(2/tau) dW

is linear in z = (p, xi), so its flow, its covariance C(s) and what friction takes are those of `linear_flow`:

    friction = -[ z0^T M z0 + heat ],   M = int_0^h e^{A^T s} G e^{A s} ds,   heat = int_0^h tr(G C(s)) ds,

with G = Gamma on the momentum and zero on the force: again the expected dissipation given the start. With a unit
sigma the force gets e^{-h/tau} xi + c dW/sqrt(h), the momentum the part K/c of the same increment that is correlated
with it, and a part of its own with the rest of its variance, of order h^3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from .damping import AbstractDamping, Linear
from .linear_flow import cholesky, linear_flow
from .noise import Colored
from .relaxation import AbstractRelaxation, as_matrix, phi
from .shapes import match


class Pushed(NamedTuple):
    """A momentum and the random force on it; also their two standard normals times sqrt(h)."""

    momentum: Position
    force: Position


def stationary_force(noise: Colored, normals: Position) -> Position:
    """A draw of the force from its stationary law, from standard normals like the momentum."""
    return match("noise sigma", noise.sigma, normals).times(normals)


def colored_relaxation(damping: AbstractDamping, noise: Colored, h: Scalar, momentum: Position) -> AbstractRelaxation:
    """The exact map for this damping and noise over the time h, laid out for this momentum."""
    if not isinstance(damping, Linear):
        raise ValueError(
            f"damping = {damping!r} with noise has no exact sub-step; use damping.Linear, or a diffrax solver"
        )
    gamma = match("damping gamma", damping.gamma, momentum)
    sigma = match("noise sigma", noise.sigma, momentum)
    if gamma.matrix or sigma.matrix:
        return _coupled(as_matrix(gamma, momentum), as_matrix(sigma, momentum), noise.tau, h)
    parts = [_component(g, noise.tau, h) for g in jax.tree.leaves(gamma.value)]
    flow, push, taken, heat = (
        jax.tree.unflatten(jax.tree.structure(gamma.value), list(column)) for column in zip(*parts, strict=True)
    )
    return _Components(flow, push, taken, heat, sigma.value)


class _Components(AbstractRelaxation):
    """Every component on its own; each field is a pytree like the momentum."""

    flow: Position  # (..., 2, 2)
    noise: Position  # (..., 3): dW -> xi, dW -> p, dZ -> p, for a unit sigma
    dissipation: Position  # M, (..., 2, 2)
    heat: Position  # for a unit sigma
    sigma: Position

    def __call__(self, momentum, increment):
        p, xi = momentum

        def push(e, n, s, p, xi, dz, dw):
            return e[..., 0, 0] * p + e[..., 0, 1] * xi + s * (n[..., 1] * dw + n[..., 2] * dz)

        def remember(e, n, s, xi, dw):
            return e[..., 1, 1] * xi + s * n[..., 0] * dw

        pushed = jax.tree.map(push, self.flow, self.noise, self.sigma, p, xi, increment.momentum, increment.force)
        return Pushed(pushed, jax.tree.map(remember, self.flow, self.noise, self.sigma, xi, increment.force))

    def loss(self, momentum):
        def form(m, p, xi):
            return jnp.sum(p * (m[..., 0, 0] * p + 2 * m[..., 0, 1] * xi) + m[..., 1, 1] * xi * xi)

        return _tree.sum_leaves(jax.tree.map(form, self.dissipation, *momentum)) + self._heat(momentum.momentum)

    def _heat(self, like):
        heats = jax.tree.map(lambda q, s, p: jnp.sum(jnp.broadcast_to(q * s**2, p.shape)), self.heat, self.sigma, like)
        return _tree.sum_leaves(heats)

    def friction(self, losses, count):
        return -losses


def _component(gamma, tau, h):
    """(flow, noise, dissipation, heat) of one component with unit sigma; gamma may be an array of components."""
    zero, one = jnp.zeros_like(gamma), jnp.ones_like(gamma)
    drift = _two_by_two(-gamma, one, zero, -one / tau)
    moved = linear_flow(drift, _two_by_two(zero, zero, zero, 2 * one / tau), h)
    taken = linear_flow(jnp.swapaxes(drift, -1, -2), _two_by_two(gamma, zero, zero, zero), h)
    c = moved.covariance
    force = jnp.sqrt(2 / tau * phi(2 * h / tau))  # its standard deviation over sqrt(h)
    shared = c[..., 0, 1] / (force * h)
    own = jnp.sqrt(c[..., 0, 0] / h - shared**2)
    noise = jnp.stack(jnp.broadcast_arrays(force, shared, own), axis=-1)
    return moved.flow, noise, taken.covariance, gamma * moved.integral[..., 0, 0]


def _two_by_two(a, b, c, d):
    return jnp.stack([jnp.stack([a, b], axis=-1), jnp.stack([c, d], axis=-1)], axis=-2)


class _Coupled(AbstractRelaxation):
    """A matrix Gamma or sigma couples the components of a one-dimensional momentum."""

    flow: jax.Array  # (2 d, 2 d)
    noise: jax.Array  # (2 d, 2 d), on (dW, dZ)
    dissipation: jax.Array
    heat: Scalar

    def __call__(self, momentum, increment):
        z = self.flow @ _joined(momentum) + self.noise @ _joined(Pushed(increment.force, increment.momentum))
        d = len(z) // 2
        return jax.tree.unflatten(jax.tree.structure(momentum), [z[:d], z[d:]])

    def loss(self, momentum):
        z = _joined(momentum)
        return z @ self.dissipation @ z + self.heat

    def friction(self, losses, count):
        return -losses


def _joined(momentum):
    return jnp.concatenate(jax.tree.leaves(momentum))


def _coupled(gamma, sigma, tau, h):
    zero, one = jnp.zeros_like(gamma), jnp.eye(len(gamma), dtype=gamma.dtype)
    drift = jnp.block([[-gamma, one], [zero, -one / tau]])
    rate = 2 / tau * sigma @ sigma.T
    unit = linear_flow(drift, jnp.block([[zero, zero], [zero, 2 / tau * one]]), h)
    moved = linear_flow(drift, jnp.block([[zero, zero], [zero, rate]]), h)
    friction = jnp.block([[gamma, zero], [zero, zero]])
    taken = linear_flow(drift.T, friction, h)
    d = len(gamma)
    force = jnp.sqrt(2 / tau * phi(2 * h / tau))
    shared = unit.covariance[:d, d:] @ sigma / (force * h)
    own = cholesky(moved.covariance[:d, :d] / h - shared @ shared.T)
    noise = jnp.block([[shared, own], [force * sigma, zero]])
    return _Coupled(moved.flow, noise, taken.covariance, jnp.sum(friction * moved.integral))
