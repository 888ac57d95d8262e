"""Where a search ends: never above a model that this one contains, and in the best of two wells."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxinertia as ji
from jaxinertia.inference import short_windows, starts
from jaxinertia.inference.record import on_one_grid
from jaxinertia.inference.search import Options
from jaxinertia.inference.task import prepare

from .records import damped

P = ji.potentials
TS = np.linspace(0, 20, 200)


def rubbed(friction, q=1.0, stiffness=2.0):
    """A spring with this friction of the velocity, by SciPy."""

    def move(t, z):
        return [z[1], -stiffness * z[0] - friction(z[1])]

    return solve_ivp(move, (0, TS[-1]), [q, 0.0], t_eval=TS, rtol=1e-9, atol=1e-11, max_step=0.05).y[0]


def squares(result):
    return float(np.sum(result.diagnostics.residuals**2))


def test_a_constant_input_and_a_free_offset_are_called_collinear():
    """Both shift the place of rest; with the gain held, or the offset, a record tells the other. In `fit_many` such a
    record is refused, and the others are not."""
    rng = np.random.default_rng(0)
    y = 0.4 + damped(TS, 2.0, 0.3) + 0.01 * rng.normal(size=200)

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.force.gain

    constant = ji.Observations(TS, y, offset=None, input=np.ones(200))
    with pytest.raises(ValueError, match=r"collinear\); give the offset, or hold the gain"):
        ji.fit(ji.System(P.Quadratic(2.0), 0.3), constant, free)
    varied = ji.Observations(TS, y, offset=None, input=0.3 * np.sin(0.5 * TS))
    fits = ji.fit_many(ji.System(P.Quadratic(2.0), 0.3), [varied, constant], free)
    assert set(fits.failures) == {1}
    assert "collinear" in fits.failures[1]


def test_a_pendulum_begins_at_the_frequency_of_its_record():
    """The frequency enters squared: of 6 the first step from 1 lands at 18.5, where the cost is greater, and that is
    all of it. Simpson's rule over 26 readings a swing is right to (2 pi / 26)^4 / 180 of a force, and sharper peaks to
    a few times that."""

    def move(_, z):
        return [z[1], -0.1 * z[1] - 36 * np.sin(z[0])]

    ts = np.linspace(0, 8, 200)
    y = solve_ivp(move, (0, 8), [1.5, 0.0], t_eval=ts, rtol=1e-10, atol=1e-12).y[0]
    system, options = ji.System(P.Pendulum(1.0), 0.1), Options(100)
    with jax.enable_x64(True):
        data = ji.Observations(ts, y)
        task = prepare(
            system, data, lambda s: (s.damping.gamma, s.potential.frequency), None, None, None, "squares", options
        )
        records = on_one_grid(task.system, task.parameters, [data])
        omega = starts.dominant(records)
        length = starts.first_length(records.longest, float(omega[0]))
        u, _, cost = short_windows.integrate(records, omega, length, options)
    assert cost < 1e-3 * len(ts) / 2
    assert u[0, 1] == pytest.approx(6.0, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("law", ["dry", "cubic drag", "linear"])
def test_a_fit_of_two_frictions_is_no_worse_than_of_one(law):
    """Whatever is in the record, and wherever the search begins: of these only the last is a model's."""
    friction = {"dry": lambda v: 0.1 * np.sign(v), "cubic drag": lambda v: 0.2 * v**3, "linear": lambda v: 0.2 * v}
    y = rubbed(friction[law]) + 0.003 * np.random.default_rng(1).normal(size=200)
    data = ji.Observations(TS, y)

    def one(s):
        return s.damping.linear, s.potential.stiffness

    def two(s):
        return s.damping.linear, s.damping.quadratic, s.potential.stiffness

    alone = squares(ji.fit(ji.System(P.Quadratic(2.0), ji.damping.Drag(0.1)), data, one))
    for linear, quadratic in ((0.1, 0.1), (1e-3, 30.0)):
        both = ji.fit(ji.System(P.Quadratic(2.0), ji.damping.Drag(linear, quadratic)), data, two)
        assert squares(both) <= alone * (1 + 1e-9)


@pytest.mark.slow
def test_a_driven_fit_is_no_worse_than_the_undriven_one():
    """The input of another instrument explains nothing: the gain comes out at 0 within its error."""
    rng = np.random.default_rng(2)
    y = damped(TS, 2.0, 0.2) + 0.2 * damped(TS, 9.0, 0.1) + 0.01 * rng.normal(size=200)
    driven = ji.Observations(TS, y, input=rng.normal(size=200))

    def undriven(s):
        return s.damping.gamma, s.potential.stiffness

    alone = ji.fit(ji.System(P.Quadratic(), 0.2), ji.Observations(TS, y), undriven)
    both = ji.fit(
        ji.System(P.Quadratic(), 0.2), driven, lambda s: (s.damping.gamma, s.potential.stiffness, s.force.gain)
    )
    assert squares(both) <= squares(alone) * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("q", [2.2, 1.6])
def test_two_wells_are_found_from_any_start(q):
    """A particle that crosses the barrier and one that stays in its well; starts are off by up to ten times."""

    def move(t, z):
        return [z[1], -0.15 * z[1] - 4 * z[0] / 2.25 * (z[0] ** 2 / 2.25 - 1)]

    y = solve_ivp(move, (0, TS[-1]), [q, 0.0], t_eval=TS, rtol=1e-9, atol=1e-9).y[0]
    data = ji.Observations(TS, y + 0.01 * np.random.default_rng(0).normal(size=200))

    def free(s):
        return s.damping.gamma, s.potential.height, s.potential.width

    for height, width, gamma in (
        (1.0, 1.0, 0.1),
        (5.0, 0.5, 0.1),
        (0.2, 3.0, 0.1),
        (10.0, 5.0, 1.0),
        (0.05, 0.7, 0.01),
    ):
        result = ji.fit(ji.System(P.DoubleWell(height, width), gamma), data, free)
        assert result.diagnostics.converged
        error = np.concatenate([np.ravel(x) for x in jax.tree.leaves(result.stderr)])
        assert np.abs((result.flat - [0.15, 1.0, 1.5]) / error).max() < 4
