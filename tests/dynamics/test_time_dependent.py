"""Potentials that depend on time: a moving trap in closed form, work as the explicit change of the energy."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxinertia as ji

from ..oracles import EPS, dop853, slope

SPEED, GAMMA, STIFFNESS, START = 0.6, 0.4, 1.7, (1.0, -0.3)
TRAP = ji.System(ji.potentials.TimeDependent(lambda q, t: STIFFNESS * (q - SPEED * t) ** 2 / 2), damping=GAMMA)
ROWS, END = (4, 6, 8), 2.0


def closed_form(t):
    """(q, p): x = q - c t + c gamma / k swings as a damped oscillator."""
    lag = SPEED * GAMMA / STIFFNESS
    x = np.array([START[0] + lag, START[1] - SPEED])
    x = scipy.linalg.expm(np.array([[0.0, 1.0], [-STIFFNESS, -GAMMA]]) * t) @ x
    return x[0] + SPEED * t - lag, x[1] + SPEED


def accounts():
    """(friction, work) at END: int -gamma v^2 and int dL/dt along the closed form, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) * END / 2
    q, p = np.array([closed_form(x) for x in t]).T
    friction, work = -GAMMA * p**2, -STIFFNESS * SPEED * (q - SPEED * t)
    return np.array([friction @ weights, work @ weights]) * END / 2


@pytest.mark.parametrize(("word", "order"), [("BAOAB", 2), ("suzuki4", 4)])
def test_a_moving_trap_is_its_closed_form(word, order):
    """State, friction and work, at the order of the word; discretization is what is left, at that order too."""
    solver = ji.solvers.suzuki4() if word == "suzuki4" else ji.solvers.Splitting(word)
    exact, gaps, left = np.array([*closed_form(END), *accounts()]), [], []
    for rows in ROWS:
        ts = np.arange(9) * (END / rows)
        traj = ji.simulate(TRAP, ts, *START, substeps=4, solver=solver)
        found = [traj.position[rows], traj.momentum[rows], traj.balance.friction[rows], traj.balance.work[rows]]
        gaps.append(np.abs(np.array(found) - exact))
        left.append(abs(traj.balance.discretization[rows]))
        level = STIFFNESS * (traj.position - SPEED * ts) ** 2 / 2
        np.testing.assert_allclose(traj.inertia, traj.momentum**2 / 2 + level, rtol=1e-13)
        total = traj.balance.friction + traj.balance.work + traj.balance.discretization
        np.testing.assert_allclose(total, traj.inertia - traj.inertia[0], rtol=0, atol=64 * EPS)
    for errors in np.transpose(gaps):
        assert slope(1 / np.array(ROWS), errors) == pytest.approx(order, abs=0.25)
    assert slope(1 / np.array(ROWS), left) >= order - 0.25


def test_diffrax_takes_a_moving_trap():
    controller = diffrax.PIDController(rtol=1e-11, atol=1e-12)
    traj = ji.simulate(TRAP, np.array([0.0, END]), *START, solver=diffrax.Dopri8(), stepsize_controller=controller)
    found = [traj.position[-1], traj.momentum[-1], traj.balance.friction[-1], traj.balance.work[-1]]
    np.testing.assert_allclose(found, [*closed_form(END), *accounts()], rtol=0, atol=1e-9)
    assert abs(traj.balance.discretization[-1]) <= 1e-9


def test_a_parametric_drive_with_a_force_books_both_works():
    """L = (1 + .5 cos 2t) q^2 / 2 and F = .2 sin t, beside friction that a place makes, against DOP853."""
    potential = ji.potentials.TimeDependent(lambda q, t: (1 + 0.5 * jnp.cos(2 * t)) * q**2 / 2)
    law = ji.damping.PositionDependent(lambda q: 0.2 * q**2)
    system = ji.System(potential, damping=law, force=lambda t: 0.2 * jnp.sin(t))

    def rhs(t, y):
        q, p = y[:2]
        rub, force = 0.2 * q * q * p, 0.2 * np.sin(t)
        return [p, -(1 + 0.5 * np.cos(2 * t)) * q - rub + force, -rub * p, force * p - np.sin(2 * t) * q * q / 2]

    exact = dop853(rhs, np.array([0.0, END]), np.array([1.0, 0.0, 0.0, 0.0]))[-1]
    gaps = []
    for rows in ROWS:
        traj = ji.simulate(system, np.arange(9) * (END / rows), 1.0, substeps=4)
        found = [traj.position[rows], traj.momentum[rows], traj.balance.friction[rows], traj.balance.work[rows]]
        gaps.append(np.abs(np.array(found) - exact).max())
    assert slope(1 / np.array(ROWS), gaps) == pytest.approx(2, abs=0.2)
