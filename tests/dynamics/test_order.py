"""Every named solver converges at its order, on every system of the table, against SciPy's DOP853."""

import jax
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import dop853
from ..worlds import (
    ANISOTROPIC,
    DAMPED,
    PARTS,
    QUARTERS,
    SOLVERS,
    START,
    SUBSTEPS_OF_BLANES_MOAN_6,
    TURNED,
    order_of,
    reference,
    refined,
    world,
)

# In ABOBA the kicks around O are one stage, as they are in OBABO from one step to the next.
BY_NAME = SOLVERS | {"ABOBA": (ji.solvers.Splitting("ABOBA"), 2)}


def order_seen(system, start, solver, order, exact, parts, substeps=None):
    """The order in h of each part: the largest error over four common times, for three step sizes."""
    gaps = []
    for traj in refined(system, start, solver, order, substeps):
        gaps.append(np.abs(np.hstack([traj.position, traj.momentum]) - exact).max(axis=0))
    return {part: order_of([gap[own].max() for gap in gaps]) for part, own in parts.items()}


def world_order_seen(name, damped=False, driven=False):
    parts = {part: [*own, *(c + 4 for c in own)] for part, own in PARTS.items()}
    arguments = (world(damped, driven), START, *BY_NAME[name], reference(damped, driven)[:, :8])
    if name != "blanes_moan6":
        return order_seen(*arguments, parts)
    counts = SUBSTEPS_OF_BLANES_MOAN_6
    return {part: order_seen(*arguments, {part: parts[part]}, count)[part] for part, count in counts.items()}


@pytest.mark.parametrize("name", SOLVERS)
def test_order_without_friction(name):
    seen = world_order_seen(name)
    assert seen == pytest.approx(dict.fromkeys(seen, SOLVERS[name][1]), abs=0.1)


@pytest.mark.parametrize("name", DAMPED)
def test_order_with_anisotropic_damping(name):
    seen = world_order_seen(name, damped=True)
    assert seen == pytest.approx(dict.fromkeys(seen, SOLVERS[name][1]), abs=0.1)


@pytest.mark.parametrize("name", ["OBA", "OBABO", "BAOAB", "ABOBA", "kahan_li6", "blanes_moan6"])
def test_order_with_a_time_dependent_force(name):
    """The force acts at the time that the drifts have reached, so compositions keep their order."""
    seen = world_order_seen(name, damped=True, driven=True)
    assert seen == pytest.approx(dict.fromkeys(seen, BY_NAME[name][1]), abs=0.1)


@pytest.mark.parametrize("name", ["OBA", "BAOAB", "BDB", "suzuki4", "kahan_li6", "blanes_moan4", "blanes_moan6"])
def test_order_with_a_friction_matrix(name):
    solver, order = SOLVERS[name]
    start = np.array([1.0, -0.5, 0.7]), np.array([0.0, 0.8, -0.3])

    def rhs(t, y):
        return np.concatenate([y[3:], -ANISOTROPIC @ y[:3] - TURNED @ y[3:]])

    exact = dop853(rhs, QUARTERS, np.concatenate(start))[1:]
    system = ji.System(ji.potentials.Quadratic(ANISOTROPIC), damping=TURNED)
    seen = order_seen(system, start, solver, order, exact, {"all": slice(None)}, 1 if name == "blanes_moan6" else None)
    assert seen["all"] == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("name", DAMPED)
def test_a_free_particle_with_friction_is_exact(name):
    """Without a potential, O is the exact flow of the momentum: p = p0 e^{-gamma t} at any step."""
    system = ji.System(ji.potentials.Quadratic(0.0), damping=0.7)
    traj = ji.simulate(system, np.linspace(0, 4, 9), 0.0, 1.5, dt=0.5, solver=SOLVERS[name][0])
    # Each O rounds once; the weights of a composition (some negative) sum to 1 within a few roundings.
    assert np.allclose(traj.momentum, 1.5 * np.exp(-0.7 * np.asarray(traj.ts)), rtol=1e-14 * 8 * 5)


def test_the_solver_reports_the_order_it_has():
    for solver, order in SOLVERS.values():
        assert solver.order() == order
    assert ji.solvers.Splitting("BAOAB").order() == 2
    assert ji.solvers.Splitting("OBA").order() == 1
    assert jax.tree.leaves(ji.solvers.kahan_li6()) == []
