r"""What engineers call a fit's numbers: for x'' + gamma x' + k x = sigma dW/dt,

f0 = sqrt(k) / 2 pi, zeta = gamma / (2 sqrt k), Q = sqrt(k) / gamma, tau = 2 / gamma, T = sigma^2 / (2 gamma).

With a mass, of small motions, k and gamma are those over it; T is that of the force.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..physics.potentials import Duffing, Pendulum
from ..physics.system import System
from . import evidence
from .compiled import Compiled
from .parameters import Parameters

FEW = 4  # rows: as many as anyone asks for of one fit, so that one program serves all


def of(system: System, parameters: Parameters, flat: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    """(value, standard error) of all that can be said, by name; the errors by the delta method."""
    found = of_all(system, parameters, np.asarray(flat)[None], np.asarray(covariance)[None])
    return {name: (float(x[0]), float(e[0])) for name, (x, e) in found.items() if math.isfinite(x[0])}


def of_all(system: System, parameters: Parameters, flat: np.ndarray, covariance: np.ndarray) -> dict[str, Any]:
    """The same of rows of values; NaN where a number makes no sense. With own values of runs, of every run."""
    out: dict[str, Any] = {}
    if parameters.runs > 1:
        for k, at in enumerate(parameters.flat_index):
            one = of_all(system, parameters.local, flat[:, at], covariance[:, at][:, :, at])
            out |= {f"{name}, run {k + 1}": found for name, found in one.items()}
        return out
    with jax.enable_x64(True):
        if not _formulas(system, *_told(system)):
            return out
        rows = np.asarray(flat, float)
        rows = np.resize(rows, (max(len(rows), FEW), rows.shape[1]))
        values, slopes = jax.tree.map(lambda x: np.asarray(x)[: len(flat)], _slopes(system, parameters, rows))
    for name in values:
        spread = np.array([_error(*each) for each in zip(slopes[name], covariance, strict=True)])
        out[name] = values[name], np.where(np.isfinite(values[name]), spread, np.nan)
    return out


@Compiled
def _slopes(system: System, parameters: Parameters, flat: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """The numbers of rows of values, and their derivatives by them."""

    def numbers(x):
        one = parameters.put(system, x)
        found = {name: formula(one) for name, formula in _formulas(one, curvature(one), decay(one)).items()}
        return found, found

    slopes, values = jax.vmap(jax.jacrev(numbers, has_aux=True))(flat)
    return values, slopes


def damping_ratios(system: System, parameters: Parameters, flat: np.ndarray) -> np.ndarray:
    """gamma / (2 sqrt |k|) of rows of values, of small motions; NaN where the system has no such numbers."""
    if not _is_single(system):
        return np.full(len(flat), np.nan)
    if parameters.runs > 1:  # the greatest of any run
        local = parameters.local
        return np.max([damping_ratios(system, local, flat[:, at]) for at in parameters.flat_index], axis=0)

    gamma, k = _of_small_motions(system, parameters, flat)
    with np.errstate(divide="ignore", invalid="ignore"):
        return gamma / (2 * np.sqrt(np.abs(k)))


def swinging(system: System, parameters: Parameters, flat: np.ndarray) -> np.ndarray:
    """The angular frequency sqrt(k - gamma^2 / 4) of rows of values, of small motions; 0 of what does not swing, and
    where the system has no such numbers."""
    if not _is_single(system):
        return np.zeros(len(flat))
    if parameters.runs > 1:  # the fastest of any run
        local = parameters.local
        return np.max([swinging(system, local, flat[:, at]) for at in parameters.flat_index], axis=0)
    gamma, k = _of_small_motions(system, parameters, flat)
    return np.sqrt(np.maximum(k - gamma**2 / 4, 0.0))


def _of_small_motions(system: System, parameters: Parameters, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """gamma and k of rows of values, of a system that has them."""
    with jax.enable_x64(True):
        gamma, k = _small_motions(system, parameters, np.asarray(flat, float))
        return np.asarray(gamma), np.asarray(k)


@Compiled
def _small_motions(system: System, parameters: Parameters, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    def one(x):
        written = parameters.put(system, x)
        return decay(written), curvature(written)

    return jax.vmap(one)(flat)


def rates(
    system: System, parameters: Parameters, flat: np.ndarray, covariance: np.ndarray
) -> list[tuple[float, float]] | None:
    """gamma / 2 +- sqrt(gamma^2 / 4 - k), each with its standard error, of small motions; None where they swing or the
    system has no such numbers, or runs have their own."""
    if parameters.runs > 1 or not _is_single(system):
        return None
    gamma, k = _of_small_motions(system, parameters, flat[None])
    if not gamma[0] ** 2 > 4 * k[0]:
        return None
    values, slopes = (np.asarray(x) for x in _two_rates(system, parameters, np.asarray(flat, float)))
    return [(float(value), _error(slope, covariance)) for value, slope in zip(values, slopes, strict=True)]


@Compiled
def _two_rates(system: System, parameters: Parameters, flat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slow one and the fast one, and their derivatives by the values."""

    def both(x):
        one = parameters.put(system, x)
        gamma, k = decay(one), curvature(one)
        fast = gamma / 2 + jnp.sqrt(gamma**2 / 4 - k)
        return jnp.stack([k / fast, fast])

    return both(flat), jax.jacrev(both)(flat)


def _is_single(system: System) -> bool:
    """Whether small motions have one gamma and one k."""
    mass = system.kinetic.small_mass
    if mass is None or np.shape(mass) != ():
        return False
    k, gamma = _told(system)
    return k is not None and gamma is not None and getattr(gamma, "shape", ()) == ()


def _told(system: System) -> tuple[Any, Any]:
    """Which of k and gamma of small motions there are, looked at and not computed."""
    return _looked_at.eval_shape(*eqx.partition(system, lambda x: isinstance(x, jax.Array | np.ndarray)))


@partial(jax.jit, static_argnums=1)
def _looked_at(arrays: System, rest: System) -> tuple[Any, Any]:
    """k and gamma: of systems that are alike they are looked at once."""
    system = eqx.combine(arrays, rest)
    return curvature(system), decay(system)


def _formulas(system: System, k: Any, gamma: Any) -> dict[str, Callable[[Any], Any]]:
    """Those that systems like this may have, whose small motions have these k and gamma or None: functions of one, NaN
    where it has not."""
    mass = system.kinetic.small_mass
    if mass is None or np.shape(mass) != ():
        return {}
    out: dict[str, Callable[[Any], Any]] = {}
    if k is not None:
        out["natural_frequency"] = lambda s: _where(curvature(s) > 0, jnp.sqrt(curvature(s)) / (2 * math.pi))
    damped = gamma is not None and getattr(gamma, "shape", ()) == ()
    if k is not None and damped:
        out["damping_ratio"] = lambda s: _where(curvature(s) > 0, decay(s) / (2 * jnp.sqrt(curvature(s))))
        out["quality_factor"] = lambda s: _where(_swings(s, math.inf), jnp.sqrt(curvature(s)) / decay(s))
        out["decay_time"] = lambda s: _where(_swings(s, 4.0), 2 / decay(s))
    if damped and system.damping.is_linear and np.shape(getattr(system.noise, "sigma", [])) == ():
        out["temperature"] = lambda s: _where(decay(s) > 0, s.noise.sigma**2 / (2 * s.damping.linear_part))
    return out


def _where(holds: Any, value: Any) -> Any:
    return jnp.where(holds, value, jnp.nan)


def _swings(system: System, most: float) -> Any:
    """Whether gamma > 0 and k > 0, with gamma^2 below `most` k."""
    gamma, k = decay(system), curvature(system)
    return (gamma > 0) & (k > 0) & (gamma**2 < most * k)


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


def _error(slope: np.ndarray, covariance: np.ndarray) -> float:
    """sqrt(g^T C g); 0 where the value does not depend on what was fitted, inf where the data do not say."""
    if not np.any(slope):
        return 0.0
    return float(np.sqrt(evidence.propagated(slope[None], covariance)[0, 0]))
