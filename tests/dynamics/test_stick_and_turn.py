"""Dry friction that sticks, Nesterov's damping, and a charge in a field: closed forms."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import j1

import jaxinertia as ji

from ..oracles import EPS, slope

DRY = 0.12
SPRING = ji.System(ji.potentials.Quadratic(), damping=ji.damping.Drag(dry=DRY))
STEPS = [*range(100, 200, 10), 240, 320]


@pytest.mark.parametrize("word", ["FAF", "AFA"])
def test_a_spring_at_rest_within_the_dry_friction_stays_bit_by_bit(word):
    traj = ji.simulate(SPRING, np.linspace(0, 20, 5), 0.04, dt=0.05, solver=ji.solvers.Splitting(word))
    assert np.all(np.asarray(traj.position) == 0.04)
    assert np.all(np.asarray(traj.momentum) == 0)
    assert np.all(np.asarray(traj.balance.friction) == 0)


@pytest.mark.parametrize("word", ["FAF", "AFA"])
def test_the_stopping_place(word):
    """Each half swing loses 2 * .12: from 1 to -.76, .52, -.28 and .04, where it stays. Within .1 h^2 for a dozen h."""
    solver = ji.solvers.Splitting(word)
    for steps in STEPS:  # one compilation: 320 steps of 20 / steps
        h = 20.0 / steps
        traj = ji.simulate(SPRING, np.array([0.0, STEPS[-1] * h]), 1.0, substeps=STEPS[-1], solver=solver)
        assert abs(traj.position[-1] - 0.04) <= 0.1 * h**2
        assert traj.momentum[-1] == 0


def test_several_laws_stick_too():
    """Dry friction takes the push wherever it stands in the sum."""
    dry, viscous = ji.damping.Drag(dry=DRY), ji.damping.Linear(0.3)
    for laws in ((dry, viscous), (viscous, dry)):
        system = ji.System(ji.potentials.Quadratic(), damping=ji.damping.Sum(*laws))
        traj = ji.simulate(system, np.array([0.0, 5.0]), 0.1, dt=0.05, solver=ji.solvers.Splitting("AFA"))
        assert traj.position[-1] == 0.1


def test_a_heavy_spring_stops_where_its_half_swings_end():
    """With mass m the half swings still lose 2 b / k."""
    system = ji.System(ji.potentials.Quadratic(), damping=ji.damping.Drag(dry=DRY), kinetic=ji.kinetic.Mass(4.0))
    traj = ji.simulate(system, np.array([0.0, 30.0]), 1.0, dt=0.05, solver=ji.solvers.Splitting("AFA"))
    assert traj.position[-1] == pytest.approx(0.04, abs=0.1 * 0.05**2)
    assert traj.momentum[-1] == 0


@pytest.mark.parametrize(("word", "least"), [("BAOAB", 1.9), ("AFA", 1.95)])
def test_nesterovs_damping_is_bessels_function(word, least):
    """gamma = 3 / t on q^2 / 2, from rest at 1: q = 2 J1(t) / t, from t = 0 on."""
    system = ji.System(ji.potentials.Quadratic(), damping=ji.damping.nesterov())
    solver = ji.solvers.Splitting(word)
    gaps, rows = [], [20, 40, 80]
    for n in rows:  # of four steps each: one compilation
        ts = np.arange(81) * (10 / n)
        traj = ji.simulate(system, ts, 1.0, substeps=4, solver=solver)
        gaps.append(abs(traj.position[n] - 2 * j1(10.0) / 10))
    order = slope(1 / np.array(rows), gaps)
    assert order >= least
    assert order <= 2.2
    assert gaps[-1] < 1e-4


def test_a_charge_in_a_field_keeps_its_angular_momentum():
    """q x p + B r^2 / 2 about a centre of force, over 10^4 steps: drifts round 10^4 times."""
    field = 0.7
    law = ji.damping.Linear(0.0, gyroscopic=[[0.0, field], [-field, 0.0]])
    system = ji.System(lambda q: jnp.sum(q**2) / 2 + jnp.sum(q**2) ** 2 / 8, damping=law)
    q0, p0 = np.array([1.0, 0.2]), np.array([0.0, 0.5])
    traj = ji.simulate(system, np.linspace(0, 100, 11), q0, p0, substeps=1000, solver=ji.solvers.Splitting("BDB"))
    q, p = np.asarray(traj.position), np.asarray(traj.momentum)
    kept = q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0] + field * np.sum(q**2, axis=1) / 2
    assert np.ptp(kept) <= 1e-12
    assert np.ptp(q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]) > 0.05  # the field matters
    assert np.abs(traj.balance.friction).max() <= 1e4 * EPS  # and does no work
