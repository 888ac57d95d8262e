"""Each plot draws the numbers it was given, on the Axes it was given."""

import jax
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxinertia as ji

matplotlib.use("Agg")

TS = np.linspace(0, 10, 51)
PLANE = ji.potentials.Quadratic([1.0, 4.0])


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def one():
    return ji.simulate(ji.System(ji.potentials.Quadratic(), damping=0.2), TS, 1.0, dt=0.1)


@pytest.fixture(scope="module")
def many():
    gammas = np.array([0.1, 0.5, 1.0])
    return gammas, jax.vmap(lambda g: ji.simulate(ji.System(PLANE, damping=g), TS, np.ones(2), dt=0.1))(gammas)


def lines(ax):
    return [np.asarray(line.get_ydata()) for line in ax.get_lines()]


def test_energy_draws_inertia_and_booked_losses(ax, one):
    assert ji.plots.energy(one, ax) is ax
    kinetic, potential, inertia, booked = lines(ax)
    np.testing.assert_array_equal(kinetic + potential, inertia)
    np.testing.assert_allclose(booked, inertia, atol=float(np.max(np.abs(one.balance.discretization))))
    assert ax.get_xlabel() == "time $t$"


def test_energy_of_many_runs_is_their_inertia(ax, many):
    ji.plots.energy(many[1], ax)
    np.testing.assert_array_equal(np.stack(lines(ax)), many[1].inertia)


@pytest.fixture(scope="module")
def swept():
    def run(gamma, q0):
        return ji.simulate(ji.System(PLANE, damping=gamma), TS, q0 * np.ones(2), dt=0.1)

    return ji.sweep(run, {"gamma": np.array([0.1, 0.5, 1.0]), "q0": np.array([1.0, 2.0])})


@pytest.mark.parametrize("name", ["energy", "phase_portrait", "landscape", "discrete"])
def test_a_sweep_of_trajectories_draws_all_its_runs(ax, swept, name):
    getattr(ji.plots, name)(swept, ax=ax)
    assert sum(len(y) > 1 for y in lines(ax)) == 6


def test_decay_rates_takes_gamma_from_a_sweep(ax, swept):
    ji.plots.decay_rates(swept, ax=ax, stiffness=1.0)
    points = ax.get_lines()[-1]
    np.testing.assert_array_equal(points.get_xdata(), [0.1, 0.1, 0.5, 0.5, 1.0, 1.0])
    of_rates = ji.sweep(lambda gamma: 2 * gamma, {"gamma": np.array([0.1, 0.2])})
    ji.plots.decay_rates(of_rates, ax=ax)
    np.testing.assert_array_equal(lines(ax)[-1], [0.2, 0.4])


def test_a_sweep_of_numbers_is_no_trajectory(ax):
    numbers = ji.sweep(lambda q0: 2 * q0, {"q0": np.array([0.1, 0.2])})
    with pytest.raises(ValueError, match="fn returned no trajectory"):
        ji.plots.energy(numbers, ax)
    with pytest.raises(ValueError, match="none of them 'gamma'"):
        ji.plots.decay_rates(numbers, ax=ax)


def test_phase_portrait_draws_each_run_once(ax, many):
    ji.plots.phase_portrait(many[1], ax, component=1)
    drawn = [y for y in lines(ax) if len(y) > 1]
    np.testing.assert_array_equal(np.stack(drawn), many[1].momentum[:, :, 1])
    with pytest.raises(ValueError, match="component = 2"):
        ji.plots.phase_portrait(many[1], ax, component=2)


def test_phase_portrait_says_velocity_only_where_the_momentum_is_one(one, many):
    heavy = ji.System(ji.potentials.Quadratic(), kinetic=ji.kinetic.Relativistic(1.0))
    fast = ji.simulate(heavy, TS, 1.0, dt=0.1)
    for traj, label in ((one, "velocity $v$"), (many[1], "velocity $v$"), (fast, "momentum $p$")):
        assert ji.plots.phase_portrait(traj, Figure().subplots()).get_ylabel() == label


def test_a_landscape_of_a_potential_that_moves_asks_for_a_time(ax, many):
    moving = ji.potentials.TimeDependent(lambda q, t: t * PLANE(q))
    with pytest.raises(ValueError, match="potential depends on time; pass it at one"):
        ji.plots.landscape(many[1], ax, potential=moving)


def test_decay_rates_draws_measured_points_and_the_exact_line(ax):
    gammas = np.array([0.5, 3.0])
    ts = np.linspace(0, 40, 401)
    runs = jax.vmap(lambda g: ji.simulate(ji.System(ji.potentials.Quadratic(), damping=g), ts, 1.0, dt=0.02))(gammas)
    ji.plots.decay_rates(runs, ax, gamma=gammas, stiffness=1.0, window=(20.0, 40.0))
    points = next(y for y in lines(ax) if len(y) == 2 and not np.allclose(y, [0, 1]))
    # The closed form's rates over [20, 40]; BAOAB at h = 0.02 is off by about h^2.
    np.testing.assert_allclose(points, [0.500821, 0.763932], rtol=4e-4)
    with pytest.raises(ValueError, match="gamma has shape"):
        ji.plots.decay_rates(runs, ax, gamma=gammas[:1])


def test_landscape_draws_paths_and_contours(ax, many, one):
    ji.plots.landscape(many[1], ax, potential=PLANE)
    assert sum(len(y) > 1 for y in lines(ax)) == 3
    assert ax.collections
    with pytest.raises(ValueError, match="position has 1 components"):
        ji.plots.landscape(one, ax)


def test_discrete_draws_the_discretization_account(ax, one):
    ji.plots.discrete(one, ax)
    np.testing.assert_array_equal(lines(ax)[0], one.balance.discretization)


def test_without_axes_a_figure_is_made(one):
    import matplotlib.pyplot as plt

    made = ji.plots.phase_portrait(one)
    assert made.figure.get_size_inches()[0] == pytest.approx(3.5)
    plt.close(made.figure)


@pytest.fixture(scope="module")
def fitted():
    """A hold, then a ring-down: least squares take the free motion alone."""
    ts = np.linspace(0, 30, 301)
    q, _ = ji.analytic.quadratic(np.maximum(ts - 4.0, 0.0), 1.0, 0.0, 9.0, 0.2)
    data = ji.Observations(ts, np.asarray(q) + 0.02 * np.random.default_rng(0).standard_normal(301))
    free = lambda s: (s.damping.gamma, s.potential.stiffness)  # noqa: E731
    system = ji.System(ji.potentials.Quadratic())
    return data, ji.fit(system, data, free), system, free


def test_a_fit_draws_its_four_panels(fitted):
    """Of the fit alone: its readings, what it left out, its residuals and their autocorrelation."""
    data, result, _, _ = fitted
    axes = ji.plots.fit(result, Figure().subplots(2, 2))
    readings, left_out = axes[0, 0].get_lines()[0], axes[0, 0].get_lines()[-2]
    np.testing.assert_array_equal(readings.get_ydata(), data.position[result.data.rows])
    assert len(readings.get_ydata()) + len(left_out.get_ydata()) == len(data.ts)
    residuals = result.diagnostics.residuals
    np.testing.assert_array_equal(axes[0, 1].get_lines()[0].get_ydata(), residuals[~np.isnan(residuals)])
    bars = axes[1, 1].collections[-1].get_segments()
    np.testing.assert_array_equal([bar[-1, 1] for bar in bars], result.diagnostics.autocorrelation)


def test_a_fit_from_a_file_is_drawn_with_its_readings(fitted, tmp_path):
    data, result, system, free = fitted
    again = ji.Fit.load(result.save(tmp_path / "fit"), system, free)
    with pytest.raises(ValueError, match=r"result is from a file.*pass data="):
        ji.plots.fit(again, Figure().subplots(2, 2))
    with pytest.raises(ValueError, match="data has readings that were not fitted"):
        ji.plots.fit(again, Figure().subplots(2, 2), data=data)
    axes = ji.plots.fit(again, Figure().subplots(2, 2), data=result.data, whole=data)
    np.testing.assert_array_equal(axes[0, 0].get_lines()[0].get_ydata(), result.data.position)
    with pytest.raises(ValueError, match="axes has the shape"):
        ji.plots.fit(result, Figure().subplots())


def test_a_fit_prints_its_summary(fitted):
    assert repr(fitted[1]) == fitted[1].summary()
    assert "damping.gamma" in fitted[1]._repr_html_()
