"""Motion under dry friction, by steps that end where the velocity vanishes: against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxinertia as ji
from jaxinertia.inference import motion
from jaxinertia.inference.gliding import Gliding
from jaxinertia.inference.record import Windows
from jaxinertia.inference.units import Units
from jaxinertia.inference.which_motion import motion_for

from .test_compare import with_dry_friction

TS = np.linspace(0, 30, 151)
FRAME = motion.Frame(Units(0.0, 1.0, 1.0), 0.0, 1, True, 2)
NOTHING = np.zeros((1, len(TS), 1))
BATCH = Windows(start=np.zeros(1), ts=TS[None], y=NOTHING, weight=NOTHING, input=None, even=False)
WINDOW = jax.tree.map(lambda x: x[0], BATCH)


@jax.jit
def motion_of(substeps, numbers):
    """Positions and velocities from rest at the last of (dry, linear, quadratic, stiffness, start), and the derivatives
    of positions by all of them."""

    def path(numbers):
        dry, linear, quadratic, stiffness, start = numbers
        system = ji.System(ji.potentials.Quadratic(stiffness), ji.damping.Drag(linear, quadratic, dry))
        moving = jax.tree.map(lambda _: substeps, Gliding(1))
        return moving.path(system, jnp.stack([start, 0.0 * start]), WINDOW, FRAME)

    return path(numbers), jax.jacfwd(path)(numbers)[:, 0]


def moved(substeps, *numbers):
    with jax.enable_x64(True):
        return [np.asarray(x) for x in motion_of(np.asarray(substeps, int), np.array(numbers, float))]


def test_dry_friction_turns_and_sticks_as_its_closed_form_does():
    """Order 4 by regression over turns and all, with the Runge-Kutta method's error in a swing's phase, (h omega)^4 /
    120 omega t; what is stuck stays, bit by bit."""
    exact, counts = with_dry_friction(TS, 1.7, 0.12, 1.4), np.array([1, 2, 4, 8])
    found = [moved(n, 0.12, 0.0, 0.0, 1.7, 1.4)[0] for n in counts]
    off = np.array([np.max(np.abs(x[:, 0] - exact)) for x in found])
    order = -np.polyfit(np.log2(counts), np.log2(off), 1)[0]
    assert 3.7 < order < 4.6, off
    omega = np.sqrt(1.7)
    assert np.all(off < 1.4 * (omega * TS[1] / counts) ** 4 / 120 * omega * TS[-1])
    last = found[0]
    stuck = last[:, 1] == 0
    assert stuck[-20:].all()
    assert np.ptp(last[-20:, 0]) == 0
    assert not stuck[5:60].all()


def test_its_derivatives_are_those_of_the_closed_form():
    """By the friction, the stiffness and the start, on both sides of turns, by central differences of it."""
    at = np.array([0.08, 1.7, 1.4])
    slopes = moved(8, 0.08, 0.0, 0.0, 1.7, 1.4)[1][:, [0, 3, 4]]
    exact, h = np.empty((len(TS), 3)), 1e-6
    for k in range(3):
        up, down = (with_dry_friction(TS, v[1], v[0], v[2]) for v in (at + h * np.eye(3)[k], at - h * np.eye(3)[k]))
        exact[:, k] = (up - down) / (2 * h)
    np.testing.assert_allclose(slopes, exact, atol=1e-5 * np.max(np.abs(exact)))


def test_a_particle_that_is_held_starts_to_move_only_if_it_is_pushed():
    held, pushed = (moved(2, 0.08, 0.0, 0.0, 1.7, start)[0] for start in (0.046, -0.048))
    assert np.all(held == [0.046, 0.0])
    assert pushed[1, 1] > 0


def test_linear_and_quadratic_drag_beside_it_against_a_library():
    """SciPy's, begun anew where the velocity vanishes."""

    def rate(_, z):
        return [z[1], -1.7 * z[0] - side * (0.03 + 0.05 * abs(z[1]) + 0.1 * z[1] ** 2)]

    def turn(_, z):
        return z[1] * side

    turn.terminal, turn.direction = True, -1
    z, begin, side, exact = np.array([1.4, 0.0]), 0.0, -1.0, np.empty(len(TS))
    for _ in range(5):
        there = solve_ivp(
            rate,
            (begin, TS[-1]),
            z + np.array([0.0, 1e-14 * side]),
            events=turn,
            dense_output=True,
            rtol=1e-11,
            atol=1e-12,
        )
        inside = (begin <= TS) & (there.t[-1] >= TS)
        exact[inside] = there.sol(TS[inside])[0]
        z, begin, side = np.array([there.y[0, -1], 0.0]), there.t[-1], -side
    off = np.abs(moved(8, 0.03, 0.05, 0.1, 1.7, 1.4)[0][:, 0] - exact)[begin > TS]
    assert np.max(off) < 1.4 * (np.sqrt(1.7) * TS[1] / 8) ** 4 / 120 * np.sqrt(1.7) * begin


@pytest.mark.parametrize(
    ("system", "d", "kind"),
    [
        (ji.System(ji.potentials.Quadratic(), 0.1), 1, motion.Exact),
        (ji.System(ji.potentials.Quadratic(), ji.damping.Drag(0.1, dry=0.1)), 1, Gliding),
        (ji.System(ji.potentials.Quadratic(), ji.damping.Drag(0.1, dry=0.1)), 2, motion.Steps),
        (ji.System(ji.potentials.Duffing(), 0.1), 1, motion.Steps),
    ],
)
def test_which_motion_a_system_takes(system, d, kind):
    assert type(motion_for(system, d, 0.3, 1.0, 100.0)) is kind


def test_shorter_steps_are_no_other_program():
    one = Gliding(2)
    finer = one.finer(None)
    assert int(finer.substeps) == 4
    assert jax.tree.structure(one) == jax.tree.structure(finer)
