"""What splittings conserve without friction: exactly on quadratics, else to the order of the form, and for ever."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.energy.modified import brackets

from ..oracles import EPS, slope

STIFFNESS = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
SKEWED = (("B", 0.3), ("A", 0.6), ("B", 0.7), ("A", 0.4))  # no symmetry: every bracket is present
WORDS = {"BA": "BA", "AB": "AB", "BAB": "BAB", "ABA": "ABA", "skewed": SKEWED}
# The order of the wobble when powers of h up to h^0, h^1, h^2 are kept.
WOBBLES = {"BA": (1, 2, 3), "AB": (1, 2, 3), "BAB": (2, 2, 4), "ABA": (2, 2, 4), "skewed": (1, 2, 3)}
POTENTIALS = {"duffing": ji.potentials.Duffing(), "pendulum": ji.potentials.Pendulum(1.5)}


def path(potential, word, dt, steps, position, momentum):
    """Every step of a frictionless run: one compilation for all step sizes."""
    ts, solver = np.arange(steps + 1) * dt, ji.solvers.Splitting(word)
    return ji.simulate(ji.System(potential), ts, position, momentum, substeps=1, solver=solver)


@functools.cache
def forms(word):
    """The modified inertia of order 0, 1 and 2, along a trajectory."""

    def modified(potential, h, q, p):
        of = functools.partial(ji.modified_inertia, ji.System(potential), q, p, h, solver=ji.solvers.Splitting(word))
        return jnp.stack([of(order=order) for order in (0, 1, 2)])

    return jax.jit(jax.vmap(modified, (None, None, 0, 0)))


def wobble(values):
    return np.max(values, axis=0) - np.min(values, axis=0)


QUADRATIC_INVARIANTS = {  # of I, v.g, |g|^2, v^T H v
    "BA": lambda h, inertia, vg, gg, vhv: inertia - h / 2 * vg,
    "AB": lambda h, inertia, vg, gg, vhv: inertia + h / 2 * vg,
    "BAB": lambda h, inertia, vg, gg, vhv: inertia - h**2 / 8 * gg,
    "ABA": lambda h, inertia, vg, gg, vhv: inertia - h**2 / 8 * vhv,
}


@pytest.mark.parametrize("dt", [0.01, 0.5, 1.1])  # stable below 2 / sqrt(2.1) = 1.4
@pytest.mark.parametrize("word", QUADRATIC_INVARIANTS)
def test_on_quadratics_the_invariant_is_exact(word, dt):
    steps = 1000
    start = np.array([1.0, -0.4, 0.3]), np.array([0.2, 0.5, -0.7])
    traj = path(ji.potentials.Quadratic(STIFFNESS), word, dt, steps, *start)
    q, v = np.asarray(traj.position), np.asarray(traj.momentum)
    g = q @ STIFFNESS
    invariant = QUADRATIC_INVARIANTS[word](dt, traj.inertia, (v * g).sum(1), (g * g).sum(1), (v @ STIFFNESS * v).sum(1))
    # A step rounds each component about ten times, and rounding only adds up: no term here amplifies it.
    assert wobble(np.asarray(invariant)) <= 10 * EPS * steps * np.max(traj.inertia)


@pytest.mark.parametrize("word", ["BA", "AB"])
def test_on_quadratics_the_first_order_form_is_the_exact_one(word):
    """And the second-order form is not."""
    steps, dt, potential = 1000, 0.3, ji.potentials.Quadratic(STIFFNESS)
    traj = path(potential, word, dt, steps, np.array([1.0, -0.4, 0.3]), np.array([0.2, 0.5, -0.7]))
    _, first, second = wobble(forms(word)(potential, dt, traj.position, traj.momentum))
    assert first <= 10 * EPS * steps * np.max(traj.inertia)
    assert second > 1e-4


def wobbles(potential, word, dt):
    """Peak to peak of the three forms over t in [0, 20]."""
    traj = path(potential, word, dt, 1600, 1.0, 0.3)
    inside = traj.ts <= 20 + dt / 2
    return wobble(np.asarray(forms(word)(potential, dt, traj.position, traj.momentum))[inside])


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("name", POTENTIALS)
def test_wobbles_fall_at_the_order_of_the_form(name, word):
    steps = (0.05, 0.025, 0.0125)
    measured = np.array([wobbles(POTENTIALS[name], WORDS[word], dt) for dt in steps])
    assert [slope(steps, column) for column in measured.T] == pytest.approx(WOBBLES[word], abs=0.1)


def test_wobbles_on_duffing_are_those_of_science_md():
    """Two digits are given."""
    first, second = (wobbles(POTENTIALS["duffing"], word, 0.0125) for word in ("BA", "BAB"))
    assert first == pytest.approx(np.array([1.4e-2, 3.6e-5, 1.2e-6]), rel=0.05)
    assert second[[0, 2]] == pytest.approx(np.array([5.6e-5, 4.8e-9]), rel=0.05)


def test_the_forms_of_science_md_are_those_of_the_brackets():
    """BA: I - (h/2) v.g + (h^2/12)(v^T H v + |g|^2). BAB: I + (h^2/12) v^T H v - (h^2/24) |g|^2."""
    q, v, h = np.array([0.7, -0.3, 1.1]), np.array([0.4, 0.9, -0.2]), 0.3
    g, hv = STIFFNESS @ q, STIFFNESS @ v
    system = ji.System(ji.potentials.Quadratic(STIFFNESS))
    inertia = float(ji.inertia(system, q, v))
    kick_drift = inertia - h / 2 * v @ g + h**2 / 12 * (v @ hv + g @ g)
    verlet = inertia + h**2 / 12 * v @ hv - h**2 / 24 * g @ g
    assert ji.modified_inertia(system, q, v, h, solver="BA") == pytest.approx(kick_drift, rel=16 * EPS)
    assert ji.modified_inertia(system, q, v, h, solver="BAB", order=2) == pytest.approx(verlet, rel=16 * EPS)
    assert ji.modified_inertia(system, q, v, h, solver="BAB", order=1) == inertia
    assert ji.modified_inertia(system, q, v, h, solver="BA", order=0) == inertia


@pytest.mark.parametrize("solver", [ji.solvers.yoshida4("BAB"), ji.solvers.suzuki4("BAB"), ji.solvers.kahan_li6("ABA")])
def test_compositions_have_no_low_brackets(solver):
    """Order 4 and more means that nothing is left at h and h^2. Weights up to 2 in size, 30 letters: rounding."""
    assert np.abs(brackets(solver.letters)).max() < 30 * 8 * EPS


def test_relaxations_do_not_count():
    system, state = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.1), (0.8, -0.5, 0.1)
    verlet = float(ji.modified_inertia(system, *state, solver="BAB"))
    assert ji.modified_inertia(system, *state, solver="OBABO") == verlet
    assert ji.modified_inertia(system, *state, solver=ji.solvers.Splitting("BAOAB")) == pytest.approx(
        verlet, rel=4 * EPS
    )


def test_the_modified_inertia_is_differentiable_in_the_step():
    system = ji.System(ji.potentials.Duffing())
    slope_in_h = jax.jit(jax.grad(lambda h: ji.modified_inertia(system, 0.8, -0.5, h, solver="BA", order=1)))(0.1)
    assert slope_in_h == pytest.approx(0.5 * 0.5 * (0.8 + 0.8**3), rel=8 * EPS)


def test_yoshida_keeps_the_inertia_of_the_pendulum_for_a_million_steps():
    """max |I - I(0)| of the last tenth is at most 1.1 times that of the first: no drift."""
    steps, saved, dt = 10**6, 20_000, 0.1
    system = ji.System(ji.potentials.Pendulum(1.0))
    ts = np.linspace(0, steps * dt, saved + 1)
    traj = ji.simulate(system, ts, 1.2, 0.3, dt=dt, solver=ji.solvers.yoshida4())
    error = np.abs(traj.inertia - traj.inertia[0])
    tenth = saved // 10
    assert error[-tenth:].max() <= 1.1 * error[1 : tenth + 1].max()
    assert error.max() < 1e-3  # a bound, not a drift: order 4 at h = 0.1


def test_what_it_does_not_know_it_refuses_by_name():
    spring = ji.potentials.Quadratic()
    moving = ji.System(ji.potentials.TimeDependent(lambda q, t: t * q**2 / 2))
    turned = ji.System(spring, ji.damping.Linear(0.0, [[0.0, 1.0], [-1.0, 0.0]]))
    relativistic = ji.System(spring, kinetic=ji.kinetic.Relativistic(1.0))
    for system, q, message in (
        (relativistic, 1.0, "kinetic = Relativistic"),
        (moving, 1.0, "t is None, but the potential depends on time"),
        (turned, np.ones(2), "damping has a gyroscopic force"),
        (ji.System(spring, ji.damping.Sum(ji.damping.Drag(0.1), turned.damping)), np.ones(2), "gyroscopic"),
    ):
        with pytest.raises(ValueError, match=message):
            ji.modified_inertia(system, q, q, 0.1, solver="BAB")


def test_of_a_potential_of_time_it_is_that_of_the_moment():
    moving = ji.System(ji.potentials.TimeDependent(lambda q, t: t * q**2 / 2))
    still = ji.System(ji.potentials.Quadratic(3.0))
    found = ji.modified_inertia(moving, 1.0, 0.5, 0.1, solver="BAB", t=3.0)
    np.testing.assert_allclose(found, ji.modified_inertia(still, 1.0, 0.5, 0.1, solver="BAB"), rtol=1e-14)
