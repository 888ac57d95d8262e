"""Output times and the steps between them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxinertia as ji
from jaxinertia.dynamics.grid import count_steps, plan

from ..oracles import EPS

SYSTEM = ji.System(ji.potentials.Duffing(), damping=0.2)


def steps_in(intervals, dt):
    """n = max(1, ceil(interval / dt (1 - 1e-6)))."""
    return np.maximum(1, np.ceil(np.asarray(intervals) / dt * (1 - 1e-6))).astype(int)


@pytest.mark.parametrize(
    ("interval", "dt", "steps"),
    [
        (1.0, 0.1, 10),
        (0.1, 0.1, 1),
        (0.1, 0.03, 4),
        (0.01, 5.0, 1),
        (0.3, 0.1, 3),
        (1.0, 0.1 - 1e-12, 10),
        (1.0, 0.0999, 11),
    ],
)
def test_the_number_of_steps_on_equal_spacing(interval, dt, steps):
    """The largest step is dt, within one part in 10^6: 0.3 / 0.1 takes 3 steps, not 4."""
    grid = plan(interval * np.arange(6), dt, None)
    assert (grid.steps, grid.rows, grid.ends) == (steps, 5, None)
    assert steps == steps_in(interval, dt)
    assert grid.h == pytest.approx(interval / steps, rel=2 * EPS)


@settings(max_examples=60, deadline=None)
@given(
    intervals=st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=12),
    dt=st.floats(5e-3, 3.0),
    start=st.floats(-5, 5),
)
def test_any_grid_covers_every_interval_with_steps_of_at_most_dt(intervals, dt, start):
    ts = start + np.concatenate([[0.0], np.cumsum(intervals)])
    grid = plan(ts, dt, None)
    h = np.broadcast_to(grid.h, (grid.rows,))
    ends = np.arange(grid.rows) if grid.ends is None else np.array(grid.ends)
    reached = np.asarray(grid.starts) + grid.steps * h  # since ts[0]
    assert len(ends) == len(intervals)
    assert np.all(h <= dt * (1 + 2e-6))
    assert np.allclose(reached[ends], ts[1:] - ts[0], rtol=0, atol=64 * EPS * (1 + np.abs(ts).max()))
    assert np.allclose(np.asarray(grid.starts)[1:], reached[:-1], rtol=0, atol=64 * EPS * (1 + np.abs(ts).max()))
    per_interval = np.diff(np.concatenate([[-1], ends])) * grid.steps
    assert np.all(per_interval >= steps_in(np.diff(ts), dt))  # more are allowed on uneven spacing


def test_uneven_times_agree_with_even_ones():
    """Every interval a whole number of steps of 1/64: all grids take the same steps."""
    fine = np.arange(129) / 64
    picked = np.array([0, 1, 5, 6, 20, 64, 100, 128])
    even = ji.simulate(SYSTEM, fine, 1.0, 0.3, dt=1 / 64)
    uneven = ji.simulate(SYSTEM, fine[picked], 1.0, 0.3, substeps=1)
    assert uneven.position.shape == (8,)
    by_dt = ji.simulate(SYSTEM, fine[picked], 1.0, 0.3, dt=1 / 64)
    exact = ji.simulate(SYSTEM, fine, 1.0, 0.3, substeps=40, solver=ji.solvers.kahan_li6()).position[picked]
    # BAOAB at h = 1/64 or less: its error is below h^2 on this path, and shrinks with the steps.
    assert np.abs(by_dt.position - exact).max() < 1 / 64**2
    assert np.abs(by_dt.position - even.position[picked]).max() < 1 / 64**2
    assert np.array_equal(by_dt.ts, fine[picked])


def test_uneven_times_with_one_common_step_are_the_even_run():
    """64, 128 and 192 steps of one size: the rows are blocks of 64, and not one step differs from the even run."""
    ts = np.array([0.0, 0.25, 0.75, 1.5])
    even = ji.simulate(SYSTEM, np.linspace(0, 1.5, 7), 1.0, 0.3, dt=1 / 256)
    uneven = ji.simulate(SYSTEM, ts, 1.0, 0.3, dt=1 / 256)
    picked = np.array([0, 1, 3, 6])
    rounding = 384 * 8 * EPS * 2  # 384 steps, some 8 roundings each of values up to 2
    assert np.abs(uneven.position - even.position[picked]).max() <= rounding
    assert np.abs(uneven.balance.friction - even.balance.friction[picked]).max() <= rounding


def test_times_that_start_anywhere_shift_the_run():
    """An autonomous system does not know the time."""
    ts = np.linspace(0, 2, 9)
    here, there = (ji.simulate(SYSTEM, ts + shift, 1.0, dt=1 / 16) for shift in (0.0, 1024.0))
    assert np.allclose(here.position, there.position, atol=1024 * EPS * 8)
    assert there.ts[0] == 1024.0


def test_saving_more_often_does_not_change_the_run():
    coarse = ji.simulate(SYSTEM, np.linspace(0, 2, 3), 1.0, 0.3, dt=0.01)
    fine = ji.simulate(SYSTEM, np.linspace(0, 2, 201), 1.0, 0.3, dt=0.01)
    rounding = 200 * 8 * EPS * 4
    assert np.abs(coarse.position - fine.position[::100]).max() <= rounding
    assert np.abs(coarse.balance.friction - fine.balance.friction[::100]).max() <= rounding


def test_substeps_take_traced_times():
    ts = np.array([0.0, 0.3, 0.5, 1.1])

    @jax.jit
    def run(end):
        return ji.simulate(SYSTEM, end * jnp.asarray(ts), 1.0, substeps=16).position

    for end in (1.0, 2.0):
        known = ji.simulate(SYSTEM, end * ts, 1.0, substeps=16).position
        assert np.allclose(run(end), known, atol=64 * EPS)
    # d q / d end through the steps is the momentum times d t / d end, at the order of the scheme.
    slope = jax.jacfwd(run)(1.0)
    momentum = ji.simulate(SYSTEM, ts, 1.0, substeps=16).momentum
    assert np.allclose(slope, momentum * ts, atol=(0.6 / 16) ** 2)


def test_traced_times_or_steps_say_what_to_do(without_type_checks):
    with pytest.raises(ValueError, match=r"ts is traced .*use a NumPy array.*substeps="):
        jax.jit(lambda t: ji.simulate(SYSTEM, t, 1.0, dt=0.1))(jnp.linspace(0, 1, 3))
    with pytest.raises(ValueError, match=r"ts is traced .*use a NumPy array.*substeps="):
        jax.jit(lambda q: ji.simulate(SYSTEM, q * jnp.linspace(0, 1, 3), q, dt=0.1))(1.0)
    with pytest.raises(ValueError, match=r"dt is traced.*substeps="):
        jax.jit(lambda h: ji.simulate(SYSTEM, np.linspace(0, 1, 3), 1.0, dt=h))(0.1)


@pytest.mark.parametrize("times", ["even", "uneven"])
def test_parameters_do_not_compile_again(times):
    """One trace serves other values of every leaf, of the state, and of equally many times."""
    traces = itertools.count()  # not a list: what a function reads of it would be another number each time

    def potential(x):
        next(traces)
        return x**4 / 4

    ts = np.linspace(0, 1, 5) if times == "even" else np.array([0, 0.1, 0.35, 0.5, 1.0])
    for scale in (1.0, 1.5):
        system = ji.System(potential, damping=0.1 * scale)
        ji.simulate(system, ts * scale, 1.0 * scale, dt=0.05 * scale)
        if scale == 1.0:
            begun = next(traces)
    assert next(traces) == begun + 2  # only the check that the potential is a scalar


def test_one_interval_of_one_step():
    """The smallest run there is: BA, one step by hand."""
    solver = ji.solvers.Splitting("BA")
    traj = ji.simulate(ji.System(ji.potentials.Quadratic(2.0)), [0.0, 0.1], 1.0, 0.5, dt=1.0, solver=solver)
    momentum = 0.5 - 0.1 * 2.0
    assert traj.momentum[-1] == pytest.approx(momentum, rel=2 * EPS)
    assert traj.position[-1] == pytest.approx(1.0 + 0.1 * momentum, rel=2 * EPS)


@pytest.mark.optimised
@pytest.mark.parametrize("dt", [1, np.float32(1), np.array(1.0), jnp.array(1.0)])
def test_steps_of_any_kind(dt):
    traj = ji.simulate(SYSTEM, [0.0, 1.0, 2.0], 1.0, dt=dt)
    assert np.array_equal(traj.position, ji.simulate(SYSTEM, [0.0, 1.0, 2.0], 1.0, dt=1.0).position)


@pytest.mark.optimised
@pytest.mark.parametrize(
    "ts", [[0, 1, 2], (0.0, 1.0, 2.0), range(3), np.arange(3), jnp.arange(3.0), np.arange(3, dtype=np.float32)]
)
def test_times_of_any_kind(ts):
    traj = ji.simulate(SYSTEM, ts, 1.0, dt=0.5)
    assert np.array_equal(traj.ts, [0, 1, 2])
    assert np.array_equal(traj.position, ji.simulate(SYSTEM, np.linspace(0, 2, 3), 1.0, dt=0.5).position)


@pytest.mark.parametrize("dt", [0.01, 0.05, 0.1])
def test_even_times_in_float32_take_the_steps_of_even_times(dt):
    """linspace rounds each time; the steps must not see it."""
    found = plan(jnp.linspace(0, 20, 201, dtype=jnp.float32), dt, None)
    assert found.steps == round(0.1 / dt)
    assert found.h.shape == ()
    assert found.rows == 200


def test_uneven_times_in_float32_take_no_step_too_many():
    ts = np.array([0.0, 0.1, 0.3, 0.6, 1.0], np.float32)
    assert count_steps(ts, 0.1)[0].tolist() == [1, 2, 3, 4]
