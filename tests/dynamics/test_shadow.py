"""The shadow energy from the steps alone: constant without friction, and the one that the word's Lie series gives."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.report.paper import network

from ..oracles import EPS

START = (1.0, 0.3)
DUFFING = ji.System(ji.potentials.Duffing())
LONGER = [("BA", 0.0, 5), ("BAB", 0.0, 6), ("ABA", 0.0, 6), ("OBA", 0.4, 5), ("FA", 0.4, 5), ("DB", 0.4, 5)]


def path(system, word, h, steps, *start):
    ts, solver = np.arange(steps + 1) * h, ji.solvers.Splitting(word)
    return ji.simulate(system, ts, *start, substeps=1, solver=solver)


def test_verlet_on_duffing_wobbles_below_1e_12():
    times, values = ji.shadow_inertia(DUFFING, *START, 0.025, solver="BAB", steps=800, points=7)
    assert times.shape == values.shape == (800 + 1 - 14,)
    assert times[0] == pytest.approx(7 * 0.025)
    assert times[-1] == pytest.approx(20 - 7 * 0.025)
    assert np.ptp(values) < 1e-12
    assert np.ptp(path(DUFFING, "BAB", 0.025, 800, *START).inertia) > 1e-5


@pytest.mark.parametrize(
    ("word", "gamma", "order"),
    [("OBABO", 0.4, 6)]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (("BA", 0.0, 5), ("BAB", 0.0, 6), ("ABA", 0.0, 6), ("OBA", 0.4, 5))
    ]
    + [pytest.param(*case, marks=pytest.mark.slow) for case in (("FA", 0.4, 5), ("DB", 0.4, 5), ("BAOAB", 0.4, 6))],
)
def test_it_is_the_energy_of_the_lie_series(word, gamma, order):
    """Two roads to one energy, that of all orders and its cut behind h^4: with friction too."""
    system = ji.System(ji.potentials.Duffing(), damping=gamma)
    form = functools.partial(ji.modified_inertia, system, solver=word, order=4)
    forms = jax.jit(jax.vmap(form, (0, 0, None)))
    gaps = []
    for h in (0.06, 0.03):
        times, values = ji.shadow_inertia(system, *START, h, solver=word, steps=140)
        traj = path(system, word, h, 140, *START)
        gap = np.abs(values - forms(traj.position, traj.momentum, h)[7:-7])
        gaps.append(gap[times <= 140 * 0.03].max())
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(order, abs=0.35)


def test_on_a_quadratic_it_is_the_known_invariant():
    """BAB: J = I - (h^2/8) |grad L|^2, times (w'/w) / cos(w' h / 2), with sin(w' h / 2) = w h / 2."""
    h, stiffness = 0.3, 2.0
    system = ji.System(ji.potentials.Quadratic(stiffness, center=5.0))
    _, values = ji.shadow_inertia(system, 6.0, 0.2, h, solver="BAB", steps=60, points=12)
    traj = path(system, "BAB", h, 60, 6.0, 0.2)
    invariant = traj.inertia - h**2 / 8 * (stiffness * (traj.position - 5)) ** 2
    omega = 2 / h * np.arcsin(np.sqrt(stiffness) * h / 2)
    scale = omega / np.sqrt(stiffness) / np.sqrt(1 - stiffness * h**2 / 4)
    # (omega h / 2)^24 is what the differences leave; the weights' rounding is a few units over h.
    assert np.abs(values - scale * invariant[0]).max() < 1e-13
    assert np.ptp(values) < 1e-13


@pytest.mark.parametrize(
    "kinetic",
    [ji.kinetic.Riemannian(lambda q: 1 + q @ q)]
    + [pytest.param(k, marks=pytest.mark.slow) for k in (ji.kinetic.Relativistic(1.0), ji.kinetic.PowerLaw(4.0))],
    ids=lambda k: type(k).__name__,
)
def test_any_kinetic_energy_has_one(kinetic):
    """The differences' error falls as h^8; the inertia itself wobbles as h^2."""
    system, q, p = ji.System(ji.potentials.Duffing(), kinetic=kinetic), np.array([1.0, 0.2]), np.array([0.3, -0.4])
    found = []
    for h in (0.05, 0.025):
        _, values = ji.shadow_inertia(system, q, p, h, solver="BAB", steps=160, points=4)
        found.append(np.ptp(values[: round(3 / h)]))
    assert found[1] < 1e-8
    assert np.log2(found[0] / found[1]) == pytest.approx(8, abs=1)


@pytest.mark.slow
def test_it_takes_pytrees_and_is_seen_by_vmap_and_grad():
    system = ji.System(lambda q: q["a"] ** 4 / 4 + jnp.sum(q["b"] ** 2) / 2, damping=0.1)
    q = {"a": np.array(1.0), "b": np.array([0.5, -0.2])}

    def last(gamma, start):
        damped = eqx.tree_at(lambda s: s.damping.gamma, system, gamma)
        return ji.shadow_inertia(damped, start, None, 0.05, solver="BAOAB", steps=20, points=3)[1][-1]

    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(last), (0, None)))(jnp.array([0.099, 0.1, 0.101]), q)
    assert values[0] > values[1] > values[2]
    assert float(slopes[1]) == pytest.approx(float(values[2] - values[0]) / 2e-3, rel=1e-5)


@pytest.mark.slow
def test_on_a_network_it_stands_still_where_the_inertia_wobbles():
    pytest.importorskip("sklearn")
    model, loss = network.network_loss(jnp.tanh, 256)
    system, h, steps = ji.System(loss), 0.2, 60
    _, values = ji.shadow_inertia(system, model, None, h, solver="BAB", steps=steps, points=14)
    raw = np.ptp(path(system, "BAB", h, steps, model).inertia[14:-14])
    assert raw > 1e-3
    assert np.ptp(values) < 1e-9


def test_in_float32_it_is_good_to_rounding():
    start = (np.float32(1.0), np.float32(0.3))
    _, values = ji.shadow_inertia(DUFFING, *start, 0.05, solver="BAB", steps=100, points=3)
    assert values.dtype == jnp.float32
    assert np.ptp(values) < 32 * np.finfo(np.float32).eps / 0.05


@pytest.mark.usefixtures("without_type_checks")
def test_what_has_no_shadow_is_refused_by_name():
    spring = ji.potentials.Quadratic()
    shadow = functools.partial(ji.shadow_inertia, position=1.0, momentum=0.0, dt=0.1, solver="BAOAB", steps=20)
    for system, message in (
        (ji.System(spring, noise=0.1), "noise = White"),
        (ji.System(spring, force=jnp.cos), "force = Function"),
        (ji.System(ji.potentials.TimeDependent(lambda q, t: t * q**2)), "potential = TimeDependent"),
        (ji.System(spring, ji.damping.Drag(0.0, 0.1)), "damping = Drag .* is not dp/dt = -gamma p"),
        (ji.System(spring, 0.1, kinetic=ji.kinetic.Relativistic(1.0)), "kinetic.Relativistic is not dp/dt = -gamma p"),
    ):
        with pytest.raises(ValueError, match=message):
            shadow(system)
    for options, message in (
        (dict(steps=13), "steps = 13 must be at least 2 \\* points = 14"),
        (dict(points=0), "points = 0"),
        (dict(steps=20.0), "steps = 20.0"),
        (dict(dt=-0.1), "dt = -0.1"),
        (dict(solver=3), "solver = 3"),
    ):
        with pytest.raises(ValueError, match=message):
            shadow(ji.System(spring), **options)
    with pytest.raises(ValueError, match="would be dropped"):
        shadow(ji.System(spring, 0.1), solver="BAB")


@pytest.mark.slow
def test_rounding_does_not_grow_with_the_run():
    """Only differences within the stencil count: beta itself grows without bound."""
    _, values = ji.shadow_inertia(DUFFING, *START, 0.025, solver="BAB", steps=40_000, points=7)
    first, last = values[:800], values[-800:]
    assert np.ptp(last) < 2 * np.ptp(first) + 16 * EPS / 0.025
