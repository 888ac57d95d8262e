"""Exact laws of linear stochastic equations, against quadrature, closed forms and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm, solve_continuous_lyapunov

import jaxinertia as ji

from ..oracles import EPS

STIFFNESS = np.array([[1.5, 0.3], [0.3, 0.8]])
GAMMA = np.array([[0.5, -0.2], [-0.2, 0.9]])
SIGMA = np.array([[0.7, 0.0], [0.4, 0.3]])
START = np.array([1.0, -0.5]), np.array([0.2, 0.6])


def equation(stiffness=STIFFNESS, gamma=GAMMA, sigma=SIGMA, tau=None):
    """A and B written out here."""
    d = len(stiffness)
    zero, one = np.zeros((d, d)), np.eye(d)
    if tau is None:
        return np.block([[zero, one], [-stiffness, -gamma]]), np.concatenate([zero, sigma])
    a = np.block([[zero, one, zero], [-stiffness, -gamma, one], [zero, zero, -one / tau]])
    return a, np.concatenate([zero, zero, sigma * np.sqrt(2 / tau)])


@pytest.mark.parametrize("t", [1e-3, 0.7, 12.0])
@pytest.mark.parametrize("tau", [None, 0.5])
def test_the_law_is_the_quadrature_of_the_matrix_exponential(t, tau):
    a, b = equation(tau=tau)

    def grown(s):
        flow = expm(a * s)
        return flow @ b @ b.T @ flow.T

    integral, _ = quad_vec(grown, 0, t, epsabs=1e-15, epsrel=1e-13)
    flow = expm(a * t)
    start, spread = np.concatenate([*START, [0.0, 0.0]]), np.zeros_like(a)
    if tau is not None:
        spread[4:, 4:] = SIGMA @ SIGMA.T  # the force is stationary at the start
    law = ji.analytic.oscillator_law(t, *START, STIFFNESS, GAMMA, SIGMA, tau)
    rounding = 100 * EPS * (1 + np.abs(a).sum(0).max() * t)  # the doublings' matrix products
    assert np.allclose(law.mean, flow @ start[: len(a)], rtol=0, atol=rounding)
    assert np.allclose(law.covariance, flow @ spread @ flow.T + integral, rtol=1e-11, atol=rounding)


@pytest.mark.parametrize("tau", [None, 0.5])
def test_the_stationary_law_solves_lyapunovs_equation_and_is_where_laws_go(tau):
    a, b = equation(tau=tau)
    exact = solve_continuous_lyapunov(a, -b @ b.T)
    law = ji.analytic.stationary(STIFFNESS, GAMMA, SIGMA, tau)
    assert np.allclose(law.covariance, exact, rtol=0, atol=1e-13)
    late = ji.analytic.oscillator_law(200.0, *START, STIFFNESS, GAMMA, SIGMA, tau)
    assert np.allclose(late.covariance, exact, rtol=0, atol=1e-12)  # e^{-0.4 * 200} of the start, and rounding


@pytest.mark.parametrize("gamma", [0.1, 2 * np.sqrt(1.5), 8.0])
def test_the_stationary_inertia_has_mean_d_T_and_variance_d_T_squared(gamma):
    """Three components of unlike stiffness at one temperature."""
    temperature, stiffness = 0.6, np.array([1.5, 0.2, 7.0])
    law = ji.analytic.stationary(stiffness, gamma, ji.noise.thermal(temperature, gamma).sigma)
    mean, variance = ji.analytic.inertia_moments(law, stiffness)
    assert mean == pytest.approx(3 * temperature, rel=1e-12)
    assert variance == pytest.approx(3 * temperature**2, rel=1e-12)


def test_inertia_moments_are_those_of_gaussian_samples():
    law = ji.analytic.oscillator_law(1.3, *START, STIFFNESS, GAMMA, SIGMA)
    z = np.random.default_rng(0).multivariate_normal(law.mean, law.covariance, 200_000)
    inertia = (np.einsum("ni,ij,nj->n", z[:, :2], STIFFNESS, z[:, :2]) + (z[:, 2:] ** 2).sum(1)) / 2
    mean, variance = ji.analytic.inertia_moments(law, STIFFNESS)
    n, spread = len(z), inertia - inertia.mean()
    assert abs(inertia.mean() - mean) < 4 * np.sqrt(variance / n)
    assert abs(inertia.var() - variance) < 4 * np.sqrt((np.mean(spread**4) - variance**2) / n)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 2 * np.sqrt(1.5), 5.0])
def test_mean_inertia_obeys_its_balance(gamma):
    """dE[I]/dt = -gamma E[p^2] + sigma^2/2, by differentiating; at gamma = 0 it grows by a straight line."""
    args = (1.0, 0.0, 1.5, gamma, 0.7)
    for t in (0.1, 2.0, 9.0):
        rate = jax.grad(lambda t: ji.analytic.mean_inertia(t, *args))(t)
        law = ji.analytic.oscillator_law(t, *args)
        square = law.covariance[1, 1] + law.mean[1] ** 2
        assert rate == pytest.approx(float(-gamma * square + 0.49 / 2), abs=1e-12)
    if gamma == 0:
        ts = np.linspace(0, 50, 11)
        assert np.allclose(ji.analytic.mean_inertia(ts, *args), 0.75 + 0.49 / 2 * ts, rtol=1e-12)


@pytest.mark.slow
def test_mean_inertia_of_components_matrices_and_repeats_agree():
    ts = np.array([0.0, 0.5, 3.0])
    vectors = ji.analytic.mean_inertia(ts, *START, [1.5, 0.8], [0.4, 0.9], [0.7, 0.3])
    matrices = ji.analytic.mean_inertia(ts, *START, *(np.diag(x) for x in ([1.5, 0.8], [0.4, 0.9], [0.7, 0.3])))
    assert np.allclose(vectors, matrices, rtol=1e-13)
    one = ji.analytic.mean_inertia(ts, 1.0, 0.0, 1.5, 0.4, 0.7)
    assert np.allclose(ji.analytic.mean_inertia(ts, np.ones(3), 0.0, 1.5, 0.4, 0.7), 3 * one, rtol=1e-13)


def test_colored_power_is_the_lyapunov_solution_and_the_number_checked():
    assert ji.analytic.colored_power(1.5, 0.4, 0.8, 0.5) == pytest.approx(0.203174603, abs=5e-10)
    for gamma, tau in ((0.4, 0.5), (0.05, 2.0), (6.0, 0.01)):
        law = ji.analytic.stationary(1.5, gamma, 0.8, tau)
        assert law.covariance[1, 2] == pytest.approx(float(ji.analytic.colored_power(1.5, gamma, 0.8, tau)), rel=1e-11)


def test_colored_noise_tends_to_white_noise():
    """sigma -> s / sqrt(2 tau) as tau -> 0: E[I] differs by O(tau), so halves with it."""
    args, ts = (1.0, 0.0, 1.5, 0.4), np.linspace(0, 8, 9)
    white = ji.analytic.mean_inertia(ts, *args, 0.7)
    gaps = [
        np.abs(ji.analytic.mean_inertia(ts, *args, 0.7 / np.sqrt(2 * tau), tau) - white).max() for tau in (0.02, 0.01)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.1)


@pytest.mark.slow
def test_moments_differentiate_at_critical_damping_and_without_damping():
    """Against central differences with h^4 error; nothing is NaN where eigenvalues meet."""
    for gamma in (0.01, 2.0):

        def mean(gamma):
            return ji.analytic.mean_inertia(3.0, 1.0, 0.0, 1.0, gamma, 0.5)

        h = 1e-3
        central = (8 * (mean(gamma + h) - mean(gamma - h)) - (mean(gamma + 2 * h) - mean(gamma - 2 * h))) / (12 * h)
        assert jax.grad(mean)(gamma) == pytest.approx(float(central), abs=1e-9)
    slopes = jax.grad(lambda gamma, sigma: ji.analytic.mean_inertia(3.0, 1.0, 0.0, 1.0, gamma, sigma), (0, 1))(0.0, 0.0)
    assert np.all(np.isfinite(slopes))


def test_linear_sde_takes_a_spread_start():
    """Ornstein and Uhlenbeck's process from its stationary law stays there."""
    law = ji.analytic.linear_sde([0.5, 5.0], [0.0], [[-0.5]], [[0.3]], [[0.09]])
    assert np.allclose(law.covariance, 0.09, rtol=1e-13)
    assert law.mean.shape == (2, 1)
    assert jnp.all(law.mean == 0)
