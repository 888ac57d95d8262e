r"""Coloured noise: a random force with a memory, and the exact map of it together with friction, its O.

    dp = (-Gamma p + xi) dt,   dxi = -xi/tau dt + sigma sqrt(2/tau) dW

is linear in z = (p, xi), so its flow, its covariance C(s) and what friction takes are those of `linear_flow`:

    friction = -[ z0^T M z0 + heat ],   M = int_0^h e^{A^T s} G e^{A s} ds,   heat = int_0^h tr(G C(s)) ds,

with G = Gamma on the momentum and zero on the force: again the expected dissipation given the start. With a unit
sigma the force gets e^{-h/tau} xi + c dW/sqrt(h), the momentum the part K/c of the same increment that is correlated
with it, and a part of its own with the rest of its variance, of order h^3.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ... import _tree
from ..._checks import as_float, is_traced, known, require
from ..._types import ArrayLike, Key, Position, Scalar
from ..damping.linear import as_matrix
from ..linear_flow import cholesky, linear_flow
from ..relaxation import AbstractConstantRelaxation, Pushed
from ..series import phi
from ..shapes import Coefficient, leaves_of, match
from .abstract import AbstractNoise
from .white import amplitude_of


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
        self.sigma = jax.tree.map(amplitude_of, leaves_of("noise sigma", sigma))
        tau = as_float("noise tau", tau)
        if tau.ndim:
            raise ValueError(f"noise tau must be one number, got shape {tau.shape}; all components share it")
        shown = "" if is_traced(tau) else f", got {tau}"
        holds = (known(tau) > 0) & (known(tau) < jnp.inf)
        self.tau = require(tau, holds, f"noise tau must be positive and finite{shown}; it is the correlation time")
        self.initial = None if initial is None else leaves_of("noise initial", initial)

    remembers: ClassVar[bool] = True
    nonnegative: ClassVar[tuple[str, ...]] = ("sigma", "tau")

    def amplitude(self, like: Position) -> Coefficient:
        """sigma sqrt(2 / tau), what drives the force."""
        sigma = match("noise sigma", self.sigma, like)
        scale = jnp.sqrt(2 / self.tau)
        return sigma._replace(value=jax.tree.map(lambda s: s * scale, sigma.value))

    def push(self, increment: Position) -> Position:
        """What an increment adds to the force: sigma sqrt(2 / tau) dW."""
        return self.amplitude(increment).times(increment)

    def joint(self, gamma: Coefficient, h: Scalar, momentum: Position) -> AbstractConstantRelaxation:
        """The exact map of linear friction and this force."""
        return colored_relaxation(gamma, self, h, momentum)

    def alone(self, h: Scalar, momentum: Position) -> Callable[[Any, Any], Any]:
        return self.joint(match("damping gamma", jnp.zeros_like(self.tau), momentum), h, momentum).move

    def begin(self, momentum: Position, key: Key | None) -> Position:
        """`initial`, or a draw of the stationary law."""
        if self.initial is not None:
            value = match("noise initial", self.initial, momentum)
            if value.matrix:
                raise ValueError("noise initial is a matrix; pass a scalar, or a force shaped like the position")
            return jax.tree.map(lambda x, p: jnp.broadcast_to(x, p.shape), value.value, momentum)
        if key is None:
            raise ValueError(
                "noise initial is None, and there is no key to draw it: pass Colored(sigma, tau, initial=0.0), "
                "or key= and no path"
            )
        leaves, structure = jax.tree.flatten(momentum)
        keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
        normals = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        return match("noise sigma", self.sigma, momentum).times(jax.tree.unflatten(structure, normals))

    def forgotten(self, force: Position) -> Position:
        """dxi/dt without the noise: -xi / tau."""
        return jax.tree.map(lambda x: -x / self.tau, force)

    @property
    def strength(self) -> Any:
        return self.sigma, self.initial


def colored_relaxation(gamma: Coefficient, noise: Colored, h: Scalar, momentum: Position) -> AbstractConstantRelaxation:
    """The exact map for this damping and noise over the time h, laid out for this momentum."""
    sigma = match("noise sigma", noise.sigma, momentum)
    if gamma.matrix or sigma.matrix:
        return _coupled(as_matrix(gamma, momentum), as_matrix(sigma, momentum), noise.tau, h)
    parts = [_component(g, noise.tau, h) for g in jax.tree.leaves(gamma.value)]
    flow, excess, push, taken, heat = (
        jax.tree.unflatten(jax.tree.structure(gamma.value), list(column)) for column in zip(*parts, strict=True)
    )
    return _Components(flow, excess, push, taken, heat, sigma.value)


class _Components(AbstractConstantRelaxation):
    """Every component on its own; each field is a pytree like the momentum."""

    flow: Position  # (..., 2, 2)
    excess: Position  # flow - 1
    noise: Position  # (..., 3): dW -> xi, dW -> p, dZ -> p, for a unit sigma
    dissipation: Position  # M, (..., 2, 2)
    heat: Position  # for a unit sigma
    sigma: Position

    def move(self, momentum, increment):
        return self._moved(self.flow, momentum, increment)

    def change(self, momentum, increment):
        return self._moved(self.excess, momentum, increment)

    def _moved(self, flow, momentum, increment):
        p, xi = momentum

        def push(e, n, s, p, xi, dz, dw):
            return e[..., 0, 0] * p + e[..., 0, 1] * xi + s * (n[..., 1] * dw + n[..., 2] * dz)

        def remember(e, n, s, xi, dw):
            return e[..., 1, 1] * xi + s * n[..., 0] * dw

        pushed = jax.tree.map(push, flow, self.noise, self.sigma, p, xi, increment.momentum, increment.force)
        return Pushed(pushed, jax.tree.map(remember, flow, self.noise, self.sigma, xi, increment.force))

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
    """(flow, excess, noise, dissipation, heat) of one component with unit sigma; gamma may be an array of them."""
    zero, one = jnp.zeros_like(gamma), jnp.ones_like(gamma)
    drift = _two_by_two(-gamma, one, zero, -one / tau)
    moved = linear_flow(drift, _two_by_two(zero, zero, zero, 2 * one / tau), h)
    taken = linear_flow(jnp.swapaxes(drift, -1, -2), _two_by_two(gamma, zero, zero, zero), h, driven=False)
    c = moved.covariance
    force = jnp.sqrt(2 / tau * phi(2 * h / tau))  # its standard deviation over sqrt(h)
    shared = c[..., 0, 1] / (force * h)
    own = jnp.sqrt(c[..., 0, 0] / h - shared**2)
    noise = jnp.stack(jnp.broadcast_arrays(force, shared, own), axis=-1)
    return moved.flow, drift @ moved.passage, noise, taken.covariance, gamma * moved.integral[..., 0, 0]


def _two_by_two(a, b, c, d):
    return jnp.stack([jnp.stack([a, b], axis=-1), jnp.stack([c, d], axis=-1)], axis=-2)


class _Coupled(AbstractConstantRelaxation):
    """A matrix Gamma or sigma couples the components of a one-dimensional momentum."""

    flow: jax.Array  # (2 d, 2 d)
    excess: jax.Array  # flow - 1
    noise: jax.Array  # (2 d, 2 d), on (dW, dZ)
    dissipation: jax.Array
    heat: Scalar

    def move(self, momentum, increment):
        return self._moved(self.flow, momentum, increment)

    def change(self, momentum, increment):
        return self._moved(self.excess, momentum, increment)

    def _moved(self, flow, momentum, increment):
        z = flow @ _joined(momentum) + self.noise @ _joined(Pushed(increment.force, increment.momentum))
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
    unit = linear_flow(drift, jnp.block([[zero, zero], [zero, 2 / tau * one]]), h, driven=False)
    moved = linear_flow(drift, jnp.block([[zero, zero], [zero, rate]]), h)
    friction = jnp.block([[gamma, zero], [zero, zero]])
    taken = linear_flow(drift.T, friction, h, driven=False)
    d = len(gamma)
    force = jnp.sqrt(2 / tau * phi(2 * h / tau))
    shared = unit.covariance[:d, d:] @ sigma / (force * h)
    own = cholesky(moved.covariance[:d, :d] / h - shared @ shared.T)
    noise = jnp.block([[shared, own], [force * sigma, zero]])
    return _Coupled(moved.flow, drift @ moved.passage, noise, taken.covariance, jnp.sum(friction * moved.integral))
