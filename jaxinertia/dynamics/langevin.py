r"""diffrax's underdamped Langevin solvers: ALIGN, ShOULD and QUICSORT.

They take one equation, dq = p dt, dp = (-gamma p - u f(q)) dt + sqrt(2 gamma u) dW with numbers gamma and u, and carry
(q, p) alone. A system with u = sigma^2 / (2 gamma) and f = grad L / u is of that form; its balance they cannot keep.
"""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from .._shown import shown
from .._types import Position
from ..physics.system import System

SOLVERS = (diffrax.ALIGN, diffrax.ShOULD, diffrax.QUICSORT)


def check(system: System, position: Position, event: Any) -> None:
    """ValueError where these solvers cannot represent the system; call it before anything is traced."""
    name, remedy = "ALIGN, ShOULD and QUICSORT", "use a ji.solvers.Splitting, or diffrax.ShARK or SEA"
    sigma = None if system.noise is None or system.noise.remembers else system.noise.amplitude(position)
    if sigma is None:
        raise ValueError(f"solver: {name} need white noise, got noise = {shown(system.noise)}; {remedy}")
    if system.takes_work or not system.kinetic.is_euclidean:
        raise ValueError(f"solver: {name} know no force and no kinetic energy but the Euclidean; {remedy}")
    gamma = system.damping.constant_gamma(position)
    if gamma is None:
        raise ValueError(f"solver: {name} know linear damping only, got damping = {shown(system.damping)}; {remedy}")
    if event is not None:
        raise ValueError(f"event: {name} carry no balance that it could read; {remedy}")
    if gamma.matrix or sigma.matrix:
        raise ValueError(f"solver: {name} know no matrix for gamma or sigma; {remedy}")
    for what, value in (("damping gamma", gamma.value), ("noise sigma", sigma.value)):
        if any(not is_traced(x) and np.any(np.asarray(x) == 0) for x in jax.tree.leaves(value)):
            raise ValueError(f"{what} = {value} has a zero, by which {name} would divide; {remedy}")


def langevin_terms(system: System, position: Position, path: Any) -> diffrax.MultiTerm:
    """diffrax's Langevin terms of a checked system."""
    # `check` has seen to it that there are both.
    both: Any = system.damping.constant_gamma(position), system.noise.amplitude(position)  # type: ignore[union-attr]
    gamma, sigma = (coefficient.value for coefficient in both)
    friction = jax.tree.map(lambda g, q: jnp.broadcast_to(g, q.shape), gamma, position)
    u = jax.tree.map(lambda s, g: s**2 / (2 * g), sigma, friction)

    def force(q, args=None):
        del args
        return jax.tree.map(jnp.divide, system.gradient(q), u)

    drift = diffrax.UnderdampedLangevinDriftTerm(friction, u, force)
    return diffrax.MultiTerm(drift, diffrax.UnderdampedLangevinDiffusionTerm(friction, u, path))
