"""A law, a kinetic energy, a noise and a letter as users write them: each in ten lines, in all that takes them."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia._words import LETTERS

from ..oracles import EPS, dop853
from .test_laws import Cubic, Quartic

Q0, P0 = np.array([1.0, 0.7]), np.array([0.5, -0.4])
DIRECTION = np.array([0.6, 0.8])


class Along(ji.noise.AbstractNoise):
    """A user's noise: the push alone."""

    direction: jax.Array

    def push(self, increment):
        return self.direction * (self.direction @ increment)


def system(gamma=0.1, noise=None):
    law, kinetic = Cubic(jnp.asarray(gamma), jnp.asarray(0.5)), Quartic(jnp.asarray(0.3))
    return ji.System(ji.potentials.Duffing(), damping=law, kinetic=kinetic, noise=noise)


def exact(end):
    def rhs(t, y):
        q, p = y[:2], y[2:4]
        v = p + 0.3 * p**3
        rub = (0.1 + 0.5 * v * v) * v
        return np.concatenate([v, -q - q**3 - rub, [-rub @ v]])

    return dop853(rhs, np.array([0.0, end]), np.concatenate([Q0, P0, [0.0]]))[-1]


FAST, SLOW = ("OBA", "AFA"), ("BAOAB", "OBABO", "ABOBA", "FAF", "BOA", "BAOABAOAB")


@pytest.mark.parametrize("word", [*FAST, *(pytest.param(w, marks=pytest.mark.slow) for w in SLOW)])
def test_a_law_and_a_kinetic_energy_in_every_word(word):
    """64 steps of 1 / 64: an error of h at most where the word is no palindrome, of h^2 where it is."""
    traj = ji.simulate(system(), np.array([0.0, 0.5, 1.0]), Q0, P0, substeps=32, solver=ji.solvers.Splitting(word))
    found = np.concatenate([traj.position[-1], traj.momentum[-1], traj.balance.friction[-1:]])
    bound = 2 / 64**2 if word == word[::-1] else 2 / 64
    assert np.abs(found - exact(1.0)).max() <= bound
    assert np.all(np.diff(traj.balance.friction) < 0)


def last(gamma):
    return ji.simulate(system(gamma), np.array([0.0, 1.0]), Q0, P0, substeps=8).inertia[-1]


def test_a_law_in_a_sweep_and_under_grad():
    gammas = np.array([0.05, 0.1, 0.2])
    swept = ji.sweep(last, {"gamma": gammas}).values
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(last)))(gammas)
    np.testing.assert_allclose(swept, values, rtol=1e-13)
    ends = ji.sweep(last, {"gamma": np.array([0.1 - 1e-5, 0.1 + 1e-5])}).values
    assert slopes[1] == pytest.approx((ends[1] - ends[0]) / 2e-5, rel=1e-7)
    assert np.all(slopes < 0)


@pytest.mark.parametrize(
    "word", ["BAOAB", *(pytest.param(w, marks=pytest.mark.slow) for w in ("OBABO", "OBA", "ABOBA"))]
)
def test_a_noise_that_is_a_push_is_the_matrix_that_it_is(word):
    """Beside an own law and K, under one key: the package's matrix noise, and so the same numbers."""
    runs = []
    for noise in (Along(jnp.asarray(DIRECTION)), ji.noise.White(np.outer(DIRECTION, DIRECTION))):
        traj = ji.simulate(
            system(noise=noise),
            np.linspace(0, 1, 3),
            Q0,
            P0,
            substeps=8,
            key=jax.random.key(2),
            solver=ji.solvers.Splitting(word),
        )
        runs.append(traj)
    own, given = runs
    np.testing.assert_allclose(own.position, given.position, rtol=0, atol=64 * EPS)
    np.testing.assert_allclose(own.balance.noise, given.balance.noise, rtol=0, atol=64 * EPS)
    assert np.abs(own.balance.noise).min() == 0  # at the start
    assert np.abs(own.balance.noise[1:]).min() > 1e-3


def test_a_float_in_place_of_a_laws_array_is_that_number():
    """As by `eqx.tree_at` or `dataclasses.replace`."""
    made, other = (ji.System(ji.potentials.Quadratic(2.0), damping=gamma) for gamma in (0.3, 0.1))
    replaced = eqx.tree_at(lambda s: s.damping.gamma, other, 0.3)
    again = dataclasses.replace(other, damping=0.3)
    expected, *found = (ji.simulate(s, [0.0, 1.0], Q0, dt=0.1).position for s in (made, replaced, again))
    for position in found:
        np.testing.assert_allclose(position, expected, rtol=1e-14)


def test_all_three_in_an_ensemble():
    """The ensemble's means are those of the same noise as a matrix."""
    options = dict(n=6, key=jax.random.key(0), substeps=4)
    own, given = (
        ji.ensemble(system(noise=noise), np.linspace(0, 1, 3), Q0, P0, **options)
        for noise in (Along(jnp.asarray(DIRECTION)), ji.noise.White(np.outer(DIRECTION, DIRECTION)))
    )
    np.testing.assert_allclose(own.mean.inertia, given.mean.inertia, rtol=1e-13)
    np.testing.assert_allclose(own.mean.balance.noise, given.mean.balance.noise, rtol=1e-12, atol=1e-15)


def verlet(scene, stage, phase, gradient):
    """A letter of a test: half a kick, the drift, half a kick."""
    h, system = stage.weight * scene.h, scene.system
    p = phase.momentum - h / 2 * system.gradient(phase.position, scene.t)
    q, p = system.kinetic.drift(phase.position, p, h)
    return phase.but(position=q, momentum=p - h / 2 * system.gradient(q, scene.t + h))


@pytest.fixture
def letter():
    ji.solvers.add_letter("V", ji.solvers.SubFlow(verlet, drifts=True, kicks=True))
    yield "V"
    del LETTERS["V"]


@pytest.mark.parametrize(("word", "same"), [("OVO", "OBABO"), ("V", "BAB")])
def test_a_letter_added_in_one_place(letter, word, same):
    """In both loops, and alone in its word: the letters that it is made of."""
    damping = 0.3 if "O" in word else 0.0
    system = ji.System(ji.potentials.Duffing(), damping=damping)
    ts = np.linspace(0, 1, 3)
    theirs = ji.simulate(system, ts, Q0, P0, substeps=8, solver=ji.solvers.Splitting(same))
    ours = ji.simulate(system, ts, Q0, P0, substeps=8, solver=ji.solvers.Splitting(word))
    args, y0 = ji.solvers.initial(system, Q0, P0)
    phase = diffrax.diffeqsolve(ji.solvers.terms(args), ji.solvers.Splitting(word), 0.0, 1.0, 1 / 16, y0, args=args).ys
    for run in (
        (ours.position[-1], ours.momentum[-1], ours.balance.friction[-1]),
        (phase.position[-1], phase.momentum[-1], phase.friction[-1]),
    ):
        for found, known in zip(run, (theirs.position, theirs.momentum, theirs.balance.friction), strict=True):
            np.testing.assert_allclose(found, known[-1], rtol=0, atol=64 * EPS)


@pytest.mark.parametrize(
    ("kind", "flow", "said"),
    [
        ("A", ji.solvers.SubFlow(verlet), "kind = 'A'"),
        ("K", ji.solvers.SubFlow(verlet), "kind = 'K'"),
        ("XY", ji.solvers.SubFlow(verlet), "kind = 'XY'"),
        (3, ji.solvers.SubFlow(verlet), "kind = 3"),
        ("X", verlet, "flow = .*verlet"),
        ("X", ji.solvers.SubFlow(None), "flow"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_letters_that_are_none(kind, flow, said):
    with pytest.raises(ValueError, match=said):
        ji.solvers.add_letter(kind, flow)
    assert "X" not in LETTERS
