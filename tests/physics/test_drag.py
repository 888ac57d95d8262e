"""Quadratic drag and sampled forces: exact sub-steps, the solver's order, and the balance."""

import diffrax
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS, dop853, slope

A, B = np.array([0.2, 0.0, 0.5]), np.array([0.3, 0.7, 0.0])
SYSTEM = ji.System(ji.potentials.Duffing(), ji.damping.Drag(A, B))
START = np.array([1.0, 0.4, -0.8]), np.array([0.5, -2.0, 0.3])


def rhs(t, z):
    q, v = z[:3], z[3:6]
    drag = (A + B * abs(v)) * v
    return np.concatenate([v, -q - q**3 - drag, [-drag @ v]])


def exact(ts):
    return dop853(rhs, ts, np.concatenate([*START, [0.0]]))


@pytest.mark.parametrize("word", ["BAOAB", "OBABO", "ABOBA", "BDB"])
def test_a_splitting_keeps_its_order_and_books_the_drag(word):
    ts = np.linspace(0, 2, 3)
    solver = ji.solvers.Splitting(word)
    reference = exact(ts)[-1]
    gaps, books, steps = [], [], [0.05, 0.025, 0.0125]
    for dt in steps:
        traj = ji.simulate(SYSTEM, ts, *START, dt=dt, solver=solver)
        gaps.append(np.abs(np.concatenate([traj.position[-1], traj.momentum[-1]]) - reference[:6]).max())
        books.append(abs(traj.balance.friction[-1] - reference[6]))
    assert slope(steps, gaps) == pytest.approx(2, abs=0.1)
    assert slope(steps, books) == pytest.approx(2, abs=0.2)


def test_friction_alone_is_exact_at_any_step():
    """A flat potential leaves Bernoulli's equation: 1 / v = (1 / v0 + b / a) e^{a t} - b / a."""
    flat = ji.System(ji.potentials.Quadratic(0.0), ji.damping.Drag(0.4, 0.9))
    traj = ji.simulate(flat, np.array([0.0, 3.0]), 0.0, -1.7, dt=1.0)
    speed = 1 / ((1 / 1.7 + 0.9 / 0.4) * np.exp(0.4 * 3) - 0.9 / 0.4)
    assert traj.momentum[-1] == pytest.approx(-speed, rel=32 * EPS)
    assert traj.balance.friction[-1] == pytest.approx((speed**2 - 1.7**2) / 2, rel=32 * EPS)


@pytest.mark.parametrize("quadratic", [0.0, 1e-9, 0.05, 0.9])
def test_a_flight_with_drag_is_exact_at_any_step(quadratic):
    """q = sign(v0) log(1 + b |v0| (1 - e^{-a t}) / a) / b, its slope in b at 0 by the series of the logarithm."""
    x = -1.7 * -np.expm1(-0.4 * 3) / 0.4

    @jax.jit
    @jax.value_and_grad
    def end(b):
        flat = ji.System(ji.potentials.Quadratic(0.0), ji.damping.Drag(0.4, b))
        return ji.simulate(flat, np.array([0.0, 3.0]), 0.0, -1.7, dt=1.0, solver=ji.solvers.Splitting("BDB")).position[
            -1
        ]

    with mpmath.workdps(40):
        exact = lambda b: mpmath.log(1 - b * x) / -b if b else mpmath.mpf(x)  # noqa: E731  x < 0
        slope_in_b = mpmath.diff(exact, mpmath.mpf(quadratic), h=mpmath.mpf(10) ** -20) if quadratic else x * x / 2
        value, derivative = end(quadratic)
        assert value == pytest.approx(float(exact(mpmath.mpf(quadratic))), rel=32 * EPS)
        assert derivative == pytest.approx(float(slope_in_b), rel=1e-13)


def test_without_its_quadratic_part_it_is_linear_damping():
    drag = ji.simulate(ji.System(ji.potentials.Duffing(), ji.damping.Drag(0.3, 0.0)), np.linspace(0, 3, 4), 1.0, dt=0.1)
    linear = ji.simulate(ji.System(ji.potentials.Duffing(), 0.3), np.linspace(0, 3, 4), 1.0, dt=0.1)
    for name in ("position", "momentum"):
        np.testing.assert_allclose(getattr(drag, name), getattr(linear, name), rtol=0, atol=64 * EPS)
    np.testing.assert_allclose(drag.balance.friction, linear.balance.friction, rtol=0, atol=256 * EPS)


def test_diffrax_agrees_and_gradients_are_exact():
    """Tsit5 to its tolerance; forward mode against central differences."""
    ts = np.linspace(0, 2, 3)
    controller = diffrax.PIDController(rtol=1e-10, atol=1e-12)
    traj = ji.simulate(SYSTEM, ts, *START, solver=diffrax.Tsit5(), stepsize_controller=controller)
    np.testing.assert_allclose(traj.position, exact(ts)[:, :3], atol=1e-8)
    np.testing.assert_allclose(traj.balance.friction, exact(ts)[:, 6], atol=1e-8)

    @jax.jit
    def end(b):
        system = ji.System(ji.potentials.Duffing(), ji.damping.Drag(0.0, b))
        return ji.simulate(system, ts, 1.0, dt=0.05).inertia[-1]

    # Central differences at 1e-4: 1e-8 of truncation.
    assert jax.grad(end)(0.3) == pytest.approx(float(end(0.3001) - end(0.2999)) / 2e-4, rel=1e-7)
    assert np.isfinite(jax.grad(end)(0.0))


@pytest.mark.parametrize("ts", [np.linspace(0, 3, 31), np.sort(np.random.default_rng(0).uniform(0, 3, 31))])
def test_a_sampled_force_is_the_line_through_its_samples(ts):
    u = np.sin(3 * ts)
    force = ji.force.Sampled(ts, u, gain=2.5)
    at = np.linspace(-1, 4, 201)
    # A time within rounding of a sample may fall to either side of it.
    np.testing.assert_allclose(jax.vmap(force)(jnp.asarray(at)), 2.5 * np.interp(at, ts, u), atol=1e-13)
    assert force.even == bool(np.ptp(np.diff(ts)) < 1e-9)
