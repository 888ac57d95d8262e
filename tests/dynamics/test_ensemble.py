"""Means over many runs: E[I](t) on the exact curve, the paper's Eq. 7 rejected, the same runs however they are cut."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

STIFFNESS, SIGMA, START = 1.5, 0.7, 1.0
TS = np.linspace(0, 2, 5)
DT = 0.02  # BAOAB's own error, of order h^2, is here at most some 1.5 of the standard errors below
RUNS = 1_000_000
ERRORS = 4.0  # standard errors: 4 times x 5 systems, strongly correlated in time: one false alarm in some 1,000 keys


def deviations(mean, error, expected):
    """|mean - expected| in standard errors, the start left out."""
    return np.abs(mean - expected)[1:] / error[1:]


@pytest.mark.optimised  # four million runs: running them costs more than compiling
def test_mean_inertia_is_the_exact_curve_in_all_regimes_and_the_papers_is_not():
    """Under-, critically, overdamped and undamped, in one sweep; the paper's line is rejected by 50 errors."""
    gammas = np.array([0.4, 2 * np.sqrt(STIFFNESS), 4.0, 0.0])

    def run(gamma, seed, key):
        del seed
        system = ji.System(ji.potentials.Quadratic(STIFFNESS), gamma, SIGMA)
        return ji.simulate(system, TS, START, dt=DT, key=key).inertia

    axes = {"gamma": gammas, "seed": np.arange(RUNS)}
    runs = ji.sweep(run, axes, key=jax.random.key(0), reduce={"seed": ("mean", "variance")}).values
    for gamma, mean, variance in zip(gammas, runs["mean"], runs["variance"], strict=True):
        error = np.sqrt(variance / RUNS)
        exact = np.asarray(ji.analytic.mean_inertia(TS, START, 0.0, STIFFNESS, gamma, SIGMA))
        paper = exact - SIGMA**2 * TS / 2
        assert deviations(mean, error, exact).max() <= ERRORS, gamma
        assert deviations(mean, error, paper).max() >= 50, gamma


@pytest.mark.slow
def test_mean_inertia_with_full_matrices():
    stiffness, gamma = np.array([[1.5, 0.3], [0.3, 0.8]]), np.array([[0.5, -0.2], [-0.2, 0.9]])
    sigma, start = np.array([[0.7, 0.0], [0.4, 0.3]]), np.array([1.0, -0.5])
    system = ji.System(lambda q: q @ stiffness @ q / 2, gamma, sigma)
    runs = ji.ensemble(system, TS, start, n=RUNS, key=jax.random.key(1), dt=DT, quantiles=())
    exact = np.asarray(ji.analytic.mean_inertia(TS, start, 0.0, stiffness, gamma, sigma))
    rate = np.sum(sigma**2) / 2
    assert deviations(runs.mean.inertia, runs.standard_error.inertia, exact).max() <= ERRORS
    assert deviations(runs.mean.inertia, runs.standard_error.inertia, exact - rate * TS).max() >= 50
    booked, error = runs.mean.balance.noise, runs.standard_error.balance.noise
    assert np.max(np.abs(booked - rate * TS)[1:] / error[1:]) <= ERRORS  # at every step size: no bias to allow
    assert runs.failed == 0


SMALL = ji.System(ji.potentials.Duffing(), 0.4, 0.6)


def small(**options):
    options = dict(n=1000, key=jax.random.key(2), dt=0.1, chunk_size=256) | options
    return ji.ensemble(SMALL, np.linspace(0, 2, 5), 0.5, **options)


def test_statistics_are_those_of_the_single_runs():
    """Mean, variance, count, standard error to rounding; quantiles to their 1 %."""
    found = small(quantiles=(0.1, 0.5, 0.9))
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(2), i))(np.arange(1000))
    runs = jax.jit(jax.vmap(lambda key: ji.simulate(SMALL, np.linspace(0, 2, 5), 0.5, dt=0.1, key=key)))(keys)
    pairs = [
        (lambda x: x.kinetic, runs.kinetic),
        (lambda x: x.potential, runs.potential),
        (lambda x: x.inertia, runs.inertia),
        (lambda x: x.balance.friction, runs.balance.friction),
        (lambda x: x.balance.noise, runs.balance.noise),
        (lambda x: x.balance.discretization, runs.balance.discretization),
    ]
    for of, values in pairs:
        values = np.asarray(values)
        assert np.allclose(of(found.mean), values.mean(0), rtol=0, atol=1e-12)
        assert np.allclose(of(found.variance), values.var(0, ddof=1), rtol=1e-9, atol=1e-13)
        assert np.allclose(of(found.standard_error), values.std(0, ddof=1) / np.sqrt(1000), rtol=1e-9, atol=1e-13)
        assert np.all(of(found.count) == 1000)
    exact = np.quantile(np.asarray(runs.inertia), [0.1, 0.5, 0.9], axis=0, method="lower").T
    assert np.allclose(found.quantiles.inertia, exact, rtol=0.0101)
    assert found.probabilities == (0.1, 0.5, 0.9)


def test_the_runs_are_the_same_however_they_are_cut():
    whole, cut = small(chunk_size=1000, quantiles=()), small(chunk_size=96, quantiles=())
    assert np.allclose(whole.mean.inertia, cut.mean.inertia, rtol=0, atol=1e-13)
    assert whole.quantiles is None


@pytest.mark.optimised
def test_a_stored_ensemble_goes_on_where_it_was(tmp_path):
    first = small(store=tmp_path / "runs", quantiles=())
    again = small(store=tmp_path / "runs", quantiles=())
    assert np.array_equal(first.mean.inertia, again.mean.inertia)
    assert list((tmp_path / "runs").iterdir())


def test_runs_that_diverge_are_counted_and_left_out():
    """Beyond the wall there is no potential; the mean is of those that stay."""
    system = ji.System(lambda q: q**2 / 2 - 0.01 * jnp.log(1.5 - q), 0.1, 0.6)
    runs = ji.ensemble(system, np.array([0.0, 10.0]), 0.5, n=500, key=jax.random.key(3), dt=0.1, quantiles=())
    assert 0 < runs.failed < 500
    assert runs.count.inertia[-1] == 500 - runs.failed
    assert np.isfinite(runs.mean.inertia[-1])


@pytest.mark.slow
@pytest.mark.parametrize(("word", "dt", "weight"), [("BAOAB", 0.5, 1 / 3), ("OBA", 0.1, 1.0)])
def test_the_steps_error_stands_beside_that_of_monte_carlo(word, dt, weight):
    """Mean - exact, within the scatter of (1 + weight) mean - weight (mean at twice dt), where weight = 1/(2^p - 1),
    and the next order: 4 h^2 stiffness/12 or 2 h times the error. No standard error shows it."""
    ts = np.array([0.0, 2.0, 4.0])
    system = ji.System(ji.potentials.Quadratic(STIFFNESS), 0.4, SIGMA)
    options = dict(n=200_000, key=jax.random.key(4), dt=dt, solver=ji.solvers.Splitting(word), quantiles=())
    runs = ji.ensemble(system, ts, START, step_error=True, **options)
    off = (runs.mean.inertia - np.asarray(ji.analytic.mean_inertia(ts, START, 0.0, STIFFNESS, 0.4, SIGMA)))[1:]
    error = runs.standard_error.inertia[1:]
    assert np.max(np.abs(off) / error) > 10
    scatter = np.hypot(1 + weight, weight) * error
    next_order = STIFFNESS / 12 * 4 * dt**2 if word == "BAOAB" else 2 * dt
    assert np.all(np.abs(runs.step_error.inertia[1:] - off) <= 4 * scatter + next_order * np.abs(off).max())


def test_the_steps_error_leaves_the_runs_as_they_are():
    plain, beside = small(quantiles=(), n=64, chunk_size=64), small(quantiles=(), n=64, chunk_size=64, step_error=True)
    assert plain.step_error is None
    assert np.allclose(plain.mean.inertia, beside.mean.inertia, rtol=1e-13)
    assert beside.step_error.balance.friction.shape == (5,)


@pytest.mark.parametrize(
    "change", [dict(dt=0.5), dict(dt=None, substeps=1), dict(solver=diffrax.ShARK())], ids=["dt", "substeps", "solver"]
)
def test_no_steps_error_where_none_follows(change):
    with pytest.raises(ValueError, match="step_error = True needs"):
        small(**dict(step_error=True, n=8) | change)


def test_a_word_that_would_drop_friction_or_noise_is_refused():
    """Where the numbers are known there is nothing to wait for, inside a sweep neither."""
    system = ji.System(ji.potentials.Quadratic(), damping=0.3, noise=0.2)
    word = ji.solvers.Splitting("BAB")
    with pytest.raises(ValueError, match="would be dropped"):
        ji.ensemble(system, np.linspace(0, 1, 3), 1.0, n=4, key=jax.random.key(0), dt=0.1, solver=word)
