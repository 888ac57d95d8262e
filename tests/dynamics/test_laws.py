"""Every law of friction and every kinetic energy, each in a word: one table, and a few properties that all of it has.

The oracle is SciPy's DOP853 on the equations written in NumPy beside each case, not the package's own forces.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import dop853, slope

START = np.array([1.0, 0.7]), np.array([0.5, -0.4])
END, REFINED, SUBSTEPS = 1.5, (2, 3, 4), 8  # rows in a quarter of END; all step sizes share one compilation


class Cubic(ji.damping.AbstractDamping):
    """A user's law: the force alone."""

    gamma: jax.Array
    c: jax.Array

    def force(self, velocity):
        return (self.gamma + self.c * velocity**2) * velocity


class Quartic(ji.kinetic.AbstractKinetic):
    """A user's kinetic energy: K alone."""

    a: jax.Array

    def energy(self, momentum):
        return jnp.sum(momentum**2) / 2 + self.a * jnp.sum(momentum**4) / 4


class Case(NamedTuple):
    """A law and a kinetic energy, a word with its order, and the same in NumPy: friction(t, q, p, v) and v(q, p)."""

    damping: object
    friction: object
    kinetic: object = ji.kinetic.Euclidean()
    velocity: object = lambda q, p: p
    word: object = "BAOAB"
    order: int = 2
    push: object = lambda q, p: 0.0  # -dK/dq


def relativistic(q, p):
    return p / np.sqrt(1.2**2 + p @ p / 1.5**2)


def quartic(q, p):
    return p + 0.3 * p**3


def duffing_gradient(q):
    return q + q**3


def along(q, v):
    """2 ratio sqrt(max(v'Hv, 0) / |v|^2) for Duffing's Hessian."""
    return 2 * 0.3 * np.sqrt(max(v @ ((1 + 3 * q * q) * v), 0) / (v @ v))


ROTOR, MASS = np.array([[0.0, 0.8], [-0.8, 0.0]]), np.array([[1.0, 0.3], [0.3, 2.0]])
D, K = ji.damping, ji.kinetic
CUBIC = Cubic(jnp.asarray(0.1), jnp.asarray(0.5))
CASES = {
    "user's law": Case(CUBIC, lambda t, q, p, v: (0.1 + 0.5 * v * v) * v),
    "user's law, OBABO": Case(CUBIC, lambda t, q, p, v: (0.1 + 0.5 * v * v) * v, word="OBABO"),
    "user's law, fourth order": Case(
        CUBIC, lambda t, q, p, v: (0.1 + 0.5 * v * v) * v, word=ji.solvers.suzuki4(), order=4
    ),
    "user's K": Case(D.Linear(0.2), lambda t, q, p, v: 0.2 * v, Quartic(jnp.asarray(0.3)), quartic),
    "drag": Case(D.Drag(0.1, 0.5), lambda t, q, p, v: (0.1 + 0.5 * abs(v)) * v),
    "drag, flying": Case(D.Drag(0.1, 0.5), lambda t, q, p, v: (0.1 + 0.5 * abs(v)) * v, word="BDB"),
    "drag, pushed": Case(D.Drag(0.1, 0.5), lambda t, q, p, v: (0.1 + 0.5 * abs(v)) * v, word="AFA"),
    "power law": Case(D.PowerLaw(0.3, 1.5, 0.1), lambda t, q, p, v: (0.1 + 0.3 * np.sqrt(np.sqrt(v @ v))) * v),
    "power law, n = 1": Case(D.PowerLaw(0.3, 1.0, 0.1), lambda t, q, p, v: 0.4 * v),
    "time": Case(D.TimeVarying(lambda t: 0.3 + 0.2 * jnp.sin(t)), lambda t, q, p, v: (0.3 + 0.2 * np.sin(t)) * v),
    "time, pushed": Case(
        D.TimeVarying(lambda t: 0.3 + 0.2 * jnp.sin(t)), lambda t, q, p, v: (0.3 + 0.2 * np.sin(t)) * v, word="FAF"
    ),
    "place": Case(D.PositionDependent(lambda q: 0.2 * q**2), lambda t, q, p, v: 0.2 * q * q * v, word="OBABO"),
    "curvature": Case(D.CurvatureAware(0.3), lambda t, q, p, v: along(q, v) * v),
    "sum": Case(D.Sum(D.Linear(0.2), D.Drag(0.1, 0.5)), lambda t, q, p, v: (0.3 + 0.5 * abs(v)) * v),
    "linear, pushed": Case(D.Linear(np.array([0.3, 0.1])), lambda t, q, p, v: np.array([0.3, 0.1]) * v, word="AFA"),
    "gyroscopic, masses": Case(
        D.Linear(0.1, gyroscopic=ROTOR),
        lambda t, q, p, v: 0.1 * v - ROTOR @ v,
        K.Mass(np.array([1.0, 2.0])),
        lambda q, p: p / np.array([1.0, 2.0]),
    ),
    "masses": Case(
        D.Linear(0.3),
        lambda t, q, p, v: 0.3 * v,
        K.Mass(np.array([1.0, 2.0])),
        lambda q, p: p / np.array([1.0, 2.0]),
    ),
    "gyroscopic, flying": Case(D.Linear(0.1, gyroscopic=ROTOR), lambda t, q, p, v: 0.1 * v - ROTOR @ v, word="BDB"),
    "mass matrix": Case(D.Linear(0.3), lambda t, q, p, v: 0.3 * v, K.Mass(MASS), lambda q, p: np.linalg.solve(MASS, p)),
    "mass matrix, Nystrom": Case(
        D.Linear(0.3),
        lambda t, q, p, v: 0.3 * v,
        K.Mass(MASS),
        lambda q, p: np.linalg.solve(MASS, p),
        ji.solvers.blanes_moan4(),
        4,
    ),
    "momentum, relativistic": Case(D.Momentum(0.2), lambda t, q, p, v: 0.2 * p, K.Relativistic(1.5, 1.2), relativistic),
    "relativistic": Case(D.Linear(0.3), lambda t, q, p, v: 0.3 * v, K.Relativistic(1.5, 1.2), relativistic),
    "relativistic, drag": Case(
        D.Drag(0.1, 0.5), lambda t, q, p, v: (0.1 + 0.5 * abs(v)) * v, K.Relativistic(1.5, 1.2), relativistic
    ),
    "power-law K": Case(D.Linear(0.3), lambda t, q, p, v: 0.3 * v, K.PowerLaw(3.0), lambda q, p: np.sqrt(p @ p) * p),
    "Riemannian": Case(
        D.Linear(0.3),
        lambda t, q, p, v: 0.3 * v,
        K.Riemannian(lambda q: 1 + 0.5 * jnp.sum(q**2)),
        lambda q, p: p / (1 + 0.5 * q @ q),
        push=lambda q, p: q * (p @ p) / (2 * (1 + 0.5 * q @ q) ** 2),
    ),
}


def system_of(case):
    return ji.System(ji.potentials.Duffing(), damping=case.damping, kinetic=case.kinetic)


def word_of(case):
    return ji.solvers.Splitting(case.word) if isinstance(case.word, str) else case.word


def reference(case):
    """(q, p, friction) at END."""

    def rhs(t, y):
        q, p = y[:2], y[2:4]
        v = case.velocity(q, p)
        rub = case.friction(t, q, p, v)
        return np.concatenate([v, case.push(q, p) - duffing_gradient(q) - rub, [-rub @ v]])

    return dop853(rhs, np.array([0.0, END]), np.concatenate([*START, [0.0]]))[-1]


@pytest.mark.parametrize("name", CASES)
def test_each_law_has_its_order_and_only_takes(name):
    """Against DOP853: position, momentum and the friction booked. Friction never gives, not in one row."""
    case, substeps = CASES[name], SUBSTEPS if CASES[name].order == 2 else 2
    exact = reference(case)
    gaps = []
    for rows in REFINED:
        ts = np.arange(17) * (END / (4 * rows))
        traj = ji.simulate(system_of(case), ts, *START, substeps=substeps, solver=word_of(case))
        end = 4 * rows
        found = np.concatenate([traj.position[end], traj.momentum[end], traj.balance.friction[end][None]])
        gaps.append(np.abs(found - exact))
        assert np.all(np.diff(traj.balance.friction[: end + 1]) <= 1e-15)
        assert np.abs(traj.balance.discretization[end]) < 40 * np.abs(gaps[-1]).max()
    assert slope(1 / np.array(REFINED), np.max(gaps, axis=1)) == pytest.approx(case.order, abs=0.15)


def end_point(system, q, p, word):
    traj = ji.simulate(system, np.array([0.0, 0.4]), q, p, substeps=4, solver=word)
    return jnp.concatenate([traj.position[-1], traj.momentum[-1], traj.balance.friction[-1:]])


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_numbers(name):
    """Along a direction in all numbers of the law, K and the state: jvp against central differences, h^2 = 1e-10."""
    case = CASES[name]
    word = word_of(case)
    arrays, rest = eqx.partition(system_of(case), eqx.is_inexact_array)
    run = jax.jit(lambda arrays, q, p: end_point(eqx.combine(arrays, rest), q, p, word))
    point = arrays, *map(jnp.asarray, START)
    step = varied(jax.random.key(3), point)
    _, tangent = jax.jvp(run, point, step)
    ahead, behind = (run(*jax.tree.map(lambda x, d, s=s: x + s * d, point, step)) for s in (1e-5, -1e-5))
    assert np.allclose(tangent, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-7)


def varied(key, point):
    """A direction in all numbers; matrices, which must stay skew or symmetric, are left as they are."""
    leaves, structure = jax.tree.flatten(point)
    keys = jax.random.split(key, len(leaves))
    step = [jax.random.normal(k, x.shape) * (x.ndim < 2) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, step)
