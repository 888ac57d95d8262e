r"""What engineers call a fit's numbers: for x'' + gamma x' + k x = sigma dW/dt,

f0 = sqrt(k) / 2 pi, zeta = gamma / (2 sqrt k), Q = sqrt(k) / gamma, tau = 2 / gamma, T = sigma^2 / (2 gamma).

With a mass, of small motions, k and gamma are those over it; T is that of the force.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..physics.potentials import Duffing, Pendulum
from ..physics.system import System
from . import errors
from .parameters import Parameters


def of(system: System, parameters: Parameters, flat: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    """(value, standard error) of all that can be said, by name; the errors by the delta method."""
    out = {}
    with jax.enable_x64(True):
        for name, formula in _formulas(system).items():
            value, slope = jax.value_and_grad(lambda x, formula=formula: formula(put(system, parameters, x)))(
                jnp.asarray(flat, float)
            )
            if math.isfinite(value):
                out[name] = float(value), _error(np.asarray(slope), covariance)
    return out


def put(system: System, parameters: Parameters, flat: Any) -> System:
    """The system with these flat values in place of its free ones."""
    leaves, structure = jax.tree.flatten(system)
    ends = np.cumsum([int(np.prod(s)) for s in parameters.shapes])[:-1]
    for i, part, shape in zip(parameters.where, jnp.split(flat, ends), parameters.shapes, strict=True):
        leaves[i] = part.reshape(shape)
    return jax.tree.unflatten(structure, leaves)


def _formulas(system: System) -> dict[str, Callable[[Any], Any]]:
    """Those that make sense for this system: functions of a system like it."""
    mass = system.kinetic.small_mass
    if mass is None or np.shape(mass) != ():
        return {}
    k, gamma = curvature(system), decay(system)
    damped, bound = _positive(gamma), _positive(k)
    out: dict[str, Callable[[Any], Any]] = {}
    if bound:
        out["natural_frequency"] = lambda s: jnp.sqrt(curvature(s)) / (2 * math.pi)
    if bound and gamma is not None and np.shape(gamma) == ():
        out["damping_ratio"] = lambda s: decay(s) / (2 * jnp.sqrt(curvature(s)))
    if bound and damped:
        out["quality_factor"] = lambda s: jnp.sqrt(curvature(s)) / decay(s)
    if bound and damped and np.asarray(gamma) ** 2 < 4 * np.asarray(k):
        out["decay_time"] = lambda s: 2 / decay(s)
    if damped and system.damping.is_linear and np.shape(getattr(system.noise, "sigma", [])) == ():
        out["temperature"] = lambda s: s.noise.sigma**2 / (2 * s.damping.linear_part)
    return out


def curvature(system: System) -> Any:
    """omega^2 of small motions: k over the mass, or None."""
    k = stiffness(system)
    return None if k is None or np.shape(k) != () else k / system.kinetic.small_mass


def decay(system: System) -> Any:
    """gamma of x'' + gamma x' of small motions, or None."""
    return system.damping.decay(system.kinetic.small_mass)


def stiffness(system: System) -> Any:
    """k, the curvature of the potential where it is at rest, or None where it is not one of the system's numbers."""
    potential = system.potential
    if isinstance(potential, Pendulum):
        return potential.frequency**2
    return potential.linear if isinstance(potential, Duffing) else getattr(potential, "stiffness", None)


def _positive(x: Any) -> bool:
    return x is not None and np.shape(x) == () and float(x) > 0


def _error(slope: np.ndarray, covariance: np.ndarray) -> float:
    """sqrt(g^T C g); 0 where the value does not depend on what was fitted, inf where the data do not say."""
    if not np.any(slope):
        return 0.0
    return float(np.sqrt(errors.propagated(slope[None], covariance)[0, 0]))
