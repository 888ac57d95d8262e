r"""Linear systems in the fit's units: x'' + Gamma x' + S (x - c) = f, f on a straight line over a step, plus noise.

With z = (x, x') and z' = F z + b f a step of `linear_flow` takes z(0) to

    z(h) = flow z + passage b f(0) + ramp b (f(h) - f(0)) / h + noise of its covariance.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..physics.force import Sampled
from ..physics.linear_flow import LinearFlow
from ..physics.potentials import Quadratic
from ..physics.shapes import Coefficient, match
from ..physics.system import System
from .units import Units


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
    below = jnp.concatenate([-stiffness, -gamma], axis=1)
    return jnp.concatenate([np.eye(d, 2 * d, d), below])


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


def kicks(step: LinearFlow, force: Float[Array, "m d"], h: Float[Array, " steps"], d: int) -> Float[Array, "steps n"]:
    """What the force adds in each step: f is constant, and ramps to its next value."""
    constant, ramp = step.passage[..., :, d:], step.ramp[..., :, d:]  # type: ignore[index]  # asked for
    slope = jnp.diff(force, axis=0) / h[:, None]
    return jnp.sum(constant * force[:-1, None, :], -1) + jnp.sum(ramp * slope[:, None, :], -1)


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
    return jnp.where(np.eye(d, dtype=bool), coefficient.value, 0.0)
