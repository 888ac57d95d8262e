r"""The exact step of a linear system: x'' + Gamma x' + S (x - c) = f, f on a straight line over the step, plus noise.

With z = (x, x') and z' = F z + b f:
    z(h) = E z + I1 b f(0) + I2 b (f(h) - f(0)) / h + noise of covariance Q,
    E = e^{F h},  I1 = int_0^h e^{F s} ds,  I2 = int_0^h I1(s) ds,  Q = int_0^h e^{F s} R e^{F^T s} ds.
All by their series over h / 2^n, then n doublings: exact to rounding, and smooth through critical damping.

Source: C. F. Van Loan, IEEE Trans. Autom. Control 23, 395 (1978), for the integrals.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..physics.force import Sampled
from ..physics.potentials import Quadratic
from ..physics.shapes import Coefficient, match
from ..physics.system import System
from .units import Units

_SERIES = 18  # with |F| s <= 1/2, the terms fall below 1e-17


class Step(NamedTuple):
    """E, I1, I2 and Q."""

    move: Float[Array, "n n"]
    constant: Float[Array, "n n"]
    ramp: Float[Array, "n n"]
    noise: Float[Array, "n n"]


def is_linear(system: System) -> bool:
    """Whether the motion obeys a linear equation that is known as such."""
    force = system.force is None or isinstance(system.force, Sampled)
    return (
        isinstance(system.potential, Quadratic) and system.damping.is_linear and system.kinetic.is_euclidean and force
    )


def rate(system: System, d: int, units: Units) -> Float[Array, "n n"]:
    """F, in the fit's units."""
    like = jnp.zeros(d)
    potential: Any = system.potential
    gamma = _full(match("damping gamma", _as_vector(system.damping.linear_part), like), d) * units.time
    stiffness = _full(match("stiffness", _as_vector(potential.stiffness), like), d) * units.time**2
    return jnp.block([[jnp.zeros((d, d)), jnp.eye(d)], [-stiffness, -gamma]])


def rest(system: System, d: int, units: Units) -> Float[Array, " d"]:
    """c, where no force acts, in the fit's units: motions are measured from there."""
    potential: Any = system.potential
    like = jnp.zeros(d)
    return (match("center", _as_vector(potential.center), like).value + like) / units.length


def noise_rate(system: System, d: int, units: Units, scalar: bool) -> Float[Array, "n n"]:
    """R, the covariance that white noise adds to (x, p) per time, in the fit's units; `scalar`: x is a number."""
    sigma = _columns(system.noise, jnp.zeros(()) if scalar else jnp.zeros(d), d)
    sigma = sigma * (units.time**1.5 / units.length)
    return jnp.zeros((2 * d, 2 * d)).at[d:, d:].set(sigma @ sigma.T)


def _columns(noise: Any, like: Any, d: int) -> Float[Array, "d d"]:
    """sigma as a matrix: what each unit increment adds."""
    return jax.vmap(lambda unit: jnp.reshape(noise.push(jnp.reshape(unit, like.shape)), (d,)))(jnp.eye(d)).T


def step(
    rate: Float[Array, "n n"],
    noise: Float[Array, "n n"] | None,
    h: Float[Array, ""] | float,
    terms: int | None = None,
) -> Step:
    """The exact step of length h. With `terms` the series is cut after so many: the step is off by a part of at most
    2^-terms / (terms + 1)!."""
    doublings = _doublings(rate, h)
    s = h / 2**doublings
    one = jnp.eye(len(rate))
    nothing = jnp.zeros_like(one)
    noise = nothing if noise is None else noise

    def add(k, sums):
        term, piece, total = sums
        term = (rate @ term) * (s / k)
        piece = (rate @ piece + piece @ rate.T) * (s / (k + 1))
        more = Step(term, term * (s / (k + 1)), term * (s * s / ((k + 1) * (k + 2))), piece)
        return term, piece, jax.tree.map(jnp.add, total, more)

    def double(_, both):
        s, (move, constant, ramp, covariance) = both
        ramp = ramp + s * constant + move @ ramp
        covariance = move @ covariance @ move.T + covariance
        return 2 * s, Step(move @ move, constant + move @ constant, ramp, covariance)

    first = Step(one, s * one, s * s / 2 * one, noise * s)
    _, _, total = jax.lax.fori_loop(1, terms or _SERIES, add, (one, noise * s, first))
    return jax.lax.fori_loop(0, doublings, double, (jnp.asarray(s, rate.dtype), total))[1]


def kicks(step: Step, force: Float[Array, "m d"], h: Float[Array, " steps"], d: int) -> Float[Array, "steps n"]:
    """What the force adds in each step: f is constant, and ramps to its next value."""
    constant, ramp = step.constant[..., :, d:], step.ramp[..., :, d:]
    slope = jnp.diff(force, axis=0) / h[:, None]
    return jnp.sum(constant * force[:-1, None, :], -1) + jnp.sum(ramp * slope[:, None, :], -1)


def _doublings(rate, h):
    """So many that |rate| h / 2^n <= 1/2: a number of the run, so that no record compiles a program of its own."""
    size = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(rate), axis=1)) * h)
    return jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(2 * size, 1.0))), 0, 60).astype(int)


def apply(matrix: Float[Array, "n m"], vector: Float[Array, " m"]) -> Float[Array, " n"]:
    """A small matrix times a vector, as a sum that the compiler fuses."""
    return jnp.sum(matrix * vector, axis=-1)


def _as_vector(x):
    """A number or array, as for a position of d components; one of shape () acts on all."""
    leaves = jax.tree.leaves(x)
    return leaves[0] if len(leaves) == 1 else x


def _full(coefficient: Coefficient, d: int) -> Float[Array, "d d"]:
    if coefficient.matrix:
        return coefficient.value
    return jnp.diag(coefficient.value + jnp.zeros(d))
