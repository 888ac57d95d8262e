"""Noise beside laws without an exact map: half the friction, the noise, half the friction."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS, slope
from .test_laws import Cubic

D, K = ji.damping, ji.kinetic
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
SIGMA, P0, ZERO = 0.5, jnp.asarray(0.7), jnp.zeros(())

LAWS = {
    "drag": (D.Drag(0.2, 0.6), K.Euclidean()),
    "place": (D.PositionDependent(lambda q: 0.3 + q**2), K.Euclidean()),
    "user's law": (Cubic(jnp.asarray(0.3), jnp.asarray(0.4)), K.Euclidean()),
    "relativistic": (D.Linear(0.6), K.Relativistic(0.9)),
    "power-law K": (D.Linear(0.6), K.PowerLaw(4.0)),
}


def relax(law, kinetic, h, p, normal):
    """(p, friction, change of K) after one O of length h."""
    flow = law.prepared(kinetic, ji.noise.White(SIGMA), h, ZERO)
    after, friction = flow(p, jnp.sqrt(h) * normal, ZERO, ZERO)
    return after, friction, kinetic.energy(after) - kinetic.energy(p)


def moments(law, kinetic, h):
    """(E p, E p^2, E friction, E noise) after one O, and after two of half the length, by Gauss and Hermite."""
    one = jax.vmap(lambda p, h, x: relax(law, kinetic, h, p, x), (None, None, 0))
    p, friction, change = one(P0, h, NODES)
    whole = np.array([WEIGHTS @ x for x in (p, p**2, friction, change - friction)])
    p, friction, change = one(P0, h / 2, NODES)
    q, rest, more = jax.vmap(one, (0, None, None))(p, h / 2, NODES)
    pairs = (q, q**2, friction[:, None] + rest, change[:, None] - friction[:, None] + more - rest)
    return whole, np.array([WEIGHTS @ x @ WEIGHTS for x in pairs])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "drag" else ()) for n in LAWS])
def test_weak_order_two_of_one_relaxation(name):
    """One step and two of half its length part by h^3, in the first two moments and in both accounts."""
    law, kinetic = LAWS[name]
    hs, gaps = [0.1, 0.05, 0.025], []
    for h in hs:
        whole, halves = moments(law, kinetic, jnp.asarray(h))
        gaps.append(np.abs(whole - halves))
    assert slope(hs, np.max(gaps, axis=1)) >= 2.8


def test_linear_friction_without_its_own_map_has_the_moments_of_ornstein_and_uhlenbeck():
    """E p to the fourth-order map's error, Var p to h^3: e^{-gamma h} h against (1 - e^{-2 gamma h}) / (2 gamma)."""

    class Plain(D.AbstractDamping):
        gamma: jax.Array

        def force(self, velocity):
            return self.gamma * velocity

    hs, gaps = np.array([0.2, 0.1, 0.05]), []
    for h in hs:
        (mean, square, _, _), _ = moments(Plain(jnp.asarray(0.8)), K.Euclidean(), jnp.asarray(h))
        assert mean == pytest.approx(P0 * np.exp(-0.8 * h), rel=1e-2 * h**5)
        gaps.append(abs(square - mean**2 - SIGMA**2 * -np.expm1(-1.6 * h) / 1.6))
    assert slope(hs, gaps) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("name", LAWS)
def test_the_mean_of_the_noise_account(name):
    """tr(sigma sigma^T K'') h / 2, at every h where K is Euclidean, and up to h^2 for any other."""
    law, kinetic = LAWS[name]
    curvature = jax.grad(jax.grad(kinetic.energy))(P0)
    rests = []
    for h in (0.02, 0.01):
        (_, _, friction, noise), _ = moments(law, kinetic, jnp.asarray(h))
        assert friction < 0
        rests.append(noise - SIGMA**2 * curvature * h / 2)
    if kinetic.is_euclidean:
        assert np.abs(rests).max() <= 64 * EPS
    else:
        assert np.abs(rests[0]) <= 0.1 * SIGMA**2 * curvature * 0.01
        assert rests[0] / rests[1] == pytest.approx(4, abs=0.4)


WARM = {
    "relativistic": K.Relativistic(0.8),
    "mass matrix": K.Mass(np.array([[1.0, 0.4], [0.4, 3.0]])),
    "power": K.PowerLaw(3.0),
    "Euclidean": K.Euclidean(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WARM)
def test_thermal_noise_holds_its_temperature_with_every_kinetic_energy(name):
    """<p.v> = d T in each component: within four of the means' errors over 1000 walkers, and 1 % of the step."""
    temperature, gamma = 0.4, 0.9
    noise = ji.noise.thermal(temperature, gamma)
    system = ji.System(ji.potentials.Quadratic([1.0, 2.0]), damping=gamma, noise=noise, kinetic=WARM[name])

    def walk(key):
        traj = ji.simulate(system, np.linspace(0, 60, 61), np.array([0.5, -0.3]), dt=0.05, key=key)
        v = jax.vmap(system.kinetic.velocity_at)(traj.position, traj.momentum)
        return jnp.mean((traj.momentum * v)[15:], axis=0)

    seen = np.asarray(jax.jit(jax.vmap(walk))(jax.random.split(jax.random.key(7), 1000)))
    error = seen.std(axis=0, ddof=1) / np.sqrt(len(seen))
    assert np.all(error < 0.02 * temperature)
    assert np.all(np.abs(seen.mean(axis=0) - temperature) <= 4 * error + 0.01 * temperature)
