"""O is the exact Ornstein-Uhlenbeck map, whatever the shapes of gamma and sigma, at any step size."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad_vec
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.physics.series import phi, phi_deficit

from ..oracles import EPS

SHEAR = np.array([[0.7, 0.2, 0.0], [-0.3, 0.5, 0.1], [0.0, 0.4, 0.6]])  # a noise matrix, not symmetric
SPREAD = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.4]])  # a friction matrix
GAMMAS = {
    "zero": 0.0,
    "scalar": 0.8,
    "components": np.array([0.0, 0.5, 3.0]),
    "matrix": SPREAD,
    "identity": np.eye(3),
    "singular": np.outer([1.0, 2.0, -1.0], [1.0, 2.0, -1.0]),
}
SIGMAS = {"scalar": 0.6, "components": np.array([0.0, 0.3, 1.2]), "matrix": SHEAR}


def as_matrix(value, d=3):
    value = np.asarray(value, float)
    return value if value.ndim == 2 else np.diag(np.broadcast_to(value, (d,)))


def prepared(damping, noise, h, momentum):
    return damping.prepared(ji.kinetic.Euclidean(), noise, h, momentum)


def build(gamma, sigma, h, momentum=None):
    noise = None if sigma is None else ji.noise.White(sigma)
    momentum = jnp.zeros(np.shape(gamma)[-1] if np.ndim(gamma) == 2 else 3) if momentum is None else momentum
    return jax.jit(prepared)(ji.damping.Linear(gamma), noise, jnp.asarray(h), momentum)


def mean_map(flow, d=3):
    """E, by what the map does to each unit momentum without noise."""
    return np.array([flow.move(jnp.asarray(e), jnp.zeros(d)) for e in np.eye(d)]).T


def noise_map(flow, d=3):
    """S, by what the map does to each unit increment."""
    return np.array([flow.move(jnp.zeros(d), jnp.asarray(e)) for e in np.eye(d)]).T


def exact_covariance(gamma, sigma, h):
    """C = int_0^h e^{-Gamma s} sigma sigma^T e^{-Gamma s} ds, in the eigenvectors of Gamma."""
    rates, axes = np.linalg.eigh(as_matrix(gamma))
    sums = rates[:, None] + rates[None, :]
    weights = np.where(np.abs(sums) > 1e-12, -np.expm1(-sums * h) / np.where(np.abs(sums) > 1e-12, sums, 1), h)
    sigma = as_matrix(sigma)
    return axes @ ((axes.T @ sigma @ sigma.T @ axes) * weights) @ axes.T


def test_the_covariance_oracle_is_the_quadrature():
    def integrand(s):
        flow = expm(-SPREAD * s)
        return flow @ SHEAR @ SHEAR.T @ flow.T

    by_quadrature, _ = quad_vec(integrand, 0, 1.3, epsabs=1e-14, epsrel=1e-13)
    assert np.allclose(exact_covariance(SPREAD, SHEAR, 1.3), by_quadrature, rtol=1e-12)


@pytest.mark.parametrize("h", [1e-6, 0.05, 0.5, 4.0])
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_map_has_the_mean_and_covariance_of_ornstein_and_uhlenbeck(gamma, sigma, h):
    gamma, sigma = GAMMAS[gamma], SIGMAS[sigma]
    flow = build(gamma, sigma, h)
    covariance = noise_map(flow) @ noise_map(flow).T * h
    exact = exact_covariance(gamma, sigma, h)
    # expm and Cholesky: some tens of roundings of the largest entry, and of the exponent Gamma h.
    rounding = 100 * EPS * (1 + np.abs(as_matrix(gamma)).max() * h)
    assert np.allclose(mean_map(flow), expm(-as_matrix(gamma) * h), atol=rounding, rtol=0)
    assert np.allclose(covariance, exact, atol=rounding * np.abs(exact).max(), rtol=0)


@pytest.mark.parametrize("stiff", [20.0, 50.0, 200.0, 1e3, 1e4])
def test_a_stiff_friction_matrix_relaxes_to_equipartition(stiff):
    """Gamma h >> 1 in one direction: the covariance there is sigma^2 / (2 stiff), and finite elsewhere."""
    c, s = np.cos(0.6), np.sin(0.6)
    turn = np.array([[c, -s], [s, c]])
    gamma = turn @ np.diag([1.0, stiff]) @ turn.T
    gamma = (gamma + gamma.T) / 2
    flow = build(gamma, 0.7, 1.0)
    covariance = noise_map(flow, 2) @ noise_map(flow, 2).T
    exact = turn @ np.diag(0.49 * -np.expm1([-2.0, -2 * stiff]) / [2.0, 2 * stiff]) @ turn.T
    assert np.allclose(covariance, exact, atol=100 * EPS * (1 + stiff), rtol=0)


def test_matrix_component_and_scalar_agree():
    """Three ways to write one friction and noise: the same map, and the same account."""
    momentum, increment = jnp.array([0.4, -1.0, 2.0]), jnp.array([0.3, 0.1, -0.5])
    written = [(0.8, 0.6), (np.full(3, 0.8), np.full(3, 0.6)), (0.8 * np.eye(3), 0.6 * np.eye(3))]
    moved, friction = [], []
    for gamma, sigma in written:
        flow = build(gamma, sigma, 0.5, momentum)
        moved.append(flow.move(momentum, increment))
        friction.append(flow.friction(flow.loss(momentum), 1))
    assert np.allclose(moved[1:], moved[0], rtol=64 * EPS)
    assert np.allclose(friction[1:], friction[0], rtol=64 * EPS)


@pytest.mark.parametrize("sigma", [None, *SIGMAS])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_friction_is_the_expected_dissipation(gamma, sigma):
    """E[K(h)] - K(0) = friction + tr(sigma sigma^T) h / 2, with both moments exact."""
    h, momentum = 0.7, jnp.array([0.4, -1.0, 2.0])
    flow = build(GAMMAS[gamma], SIGMAS.get(sigma), h, momentum)
    friction = flow.friction(flow.loss(momentum), 1)
    moved = expm(-as_matrix(GAMMAS[gamma]) * h) @ np.asarray(momentum)
    noise = as_matrix(SIGMAS.get(sigma, 0.0))
    change = (moved @ moved - momentum @ momentum + np.trace(exact_covariance(GAMMAS[gamma], noise, h))) / 2
    assert friction == pytest.approx(float(change - np.trace(noise @ noise.T) * h / 2), rel=1e-12, abs=1e-14)
    assert friction <= 8 * EPS * np.trace(noise @ noise.T) * h  # a matrix at gamma = 0 leaves the rounding of a trace


@pytest.mark.parametrize("h", [1e-6, 0.5, -0.5, 4.0])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_a_flight_is_the_integral_of_the_relaxing_momentum(gamma, h):
    """q(h) = int_0^h e^{-Gamma s} p ds: the upper right block of exp [[0, 1], [0, -Gamma]] h."""
    matrix, momentum = as_matrix(GAMMAS[gamma]), np.array([0.4, -1.0, 2.0])
    block = np.block([[np.zeros((3, 3)), np.eye(3)], [np.zeros((3, 3)), -matrix]])
    exact = expm(block * h)[:3, 3:] @ momentum
    flown = build(GAMMAS[gamma], None, h, jnp.asarray(momentum)).flight(jnp.asarray(momentum), h)
    # As many roundings as the flow itself has, which grows backwards in time.
    rounding = 100 * EPS * (1 + np.abs(matrix).max() * abs(h)) * np.abs(expm(-matrix * min(h, 0))).max()
    assert np.allclose(flown, exact, rtol=0, atol=rounding * abs(h) * np.abs(momentum).max())


@pytest.mark.parametrize("gamma", ["components", "matrix"])
def test_two_half_maps_make_one(gamma):
    """The flow property: E_h = E_{h/2}^2 and C_h = C_{h/2} + E_{h/2} C_{h/2} E_{h/2}^T."""
    whole, half = build(GAMMAS[gamma], SHEAR, 0.8), build(GAMMAS[gamma], SHEAR, 0.4)
    e, c = mean_map(half), noise_map(half) @ noise_map(half).T * 0.4
    assert np.allclose(mean_map(whole), e @ e, atol=64 * EPS)
    assert np.allclose(noise_map(whole) @ noise_map(whole).T * 0.8, c + e @ c @ e.T, atol=64 * EPS)


ONE_SOURCE = np.outer([1.0, 1.0, -2.0], [0.0, 1.0, 0.0])  # the second Brownian motion alone drives all components
TWO_SOURCES = np.array([[0.0, 0.3, 0.0], [0.0, 0.0, 0.5], [0.0, 0.2, 0.1]])


@pytest.mark.parametrize("gamma", ["scalar", "components", "matrix"])
@pytest.mark.parametrize("sigma", [SHEAR, -SHEAR, SHEAR.T, ONE_SOURCE, TWO_SOURCES])
def test_small_steps_are_driven_by_sigma_itself(gamma, sigma):
    """S -> sigma as h -> 0, so that runs at several step sizes follow one Brownian path; without an inverse too."""
    for h in (1e-3, 1e-5):
        assert np.allclose(
            noise_map(build(GAMMAS[gamma], sigma, h)), sigma, atol=3 * h
        )  # |Gamma| |sigma| h, and change


@pytest.mark.parametrize("sigma", [SHEAR, ONE_SOURCE])
def test_one_rate_keeps_the_directions_of_the_noise(sigma):
    """S = sigma sqrt(phi(2 gamma h)), and so is its derivative, at any h and for a singular sigma."""
    scale = np.sqrt(-np.expm1(-2 * 0.8 * 0.5) / (2 * 0.8 * 0.5))

    def pushed(sigma):
        return build(0.8, sigma, 0.5).move(jnp.zeros(3), jnp.array([0.3, -0.2, 0.5]))

    assert np.allclose(pushed(sigma), scale * sigma @ [0.3, -0.2, 0.5], rtol=8 * EPS)
    slopes = jax.jacfwd(pushed)(jnp.asarray(sigma))
    assert np.allclose(slopes, scale * np.einsum("ij,k->ijk", np.eye(3), [0.3, -0.2, 0.5]), atol=8 * EPS)


@pytest.mark.parametrize("size", [1e-8, 1e6])
def test_noise_scales_with_sigma(size):
    """S(c sigma) = c S(sigma), however large or small c."""
    scaled, plain = noise_map(build(SPREAD, size * SHEAR, 0.5)), noise_map(build(SPREAD, SHEAR, 0.5))
    assert np.allclose(scaled / size, plain, atol=64 * EPS)


def test_friction_on_a_pytree_of_components():
    momentum = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([[0.5]])}
    increment = {"a": jnp.array([0.3, -0.2]), "b": jnp.array([[0.1]])}
    gamma, sigma = {"a": np.array([0.1, 2.0]), "b": 0.7}, {"a": 0.3, "b": np.array([[0.9]])}
    flow = prepared(ji.damping.Linear(gamma), ji.noise.White(sigma), jnp.asarray(0.5), momentum)
    moved = flow.move(momentum, increment)
    for name, rates in gamma.items():
        scale = np.sqrt(-np.expm1(-2 * rates * 0.5) / (2 * rates * 0.5))
        exact = np.exp(-rates * 0.5) * np.asarray(momentum[name]) + sigma[name] * scale * np.asarray(increment[name])
        assert np.allclose(moved[name], exact, rtol=8 * EPS)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("fn", [phi, phi_deficit])
def test_phi_and_its_derivatives_are_mpmath(fn, order):
    """phi = (1 - e^{-y}) / y is entire: no digits lost at 0, at the switch of its series at 0.5, or beyond."""
    points = [0.0, 1e-300, 1e-16, 1e-8, 1e-3, 0.1, 0.49999, 0.5, 0.50001, 2.0, 40.0, -1e-9, -0.3, -0.6, -5.0]
    derivative = fn
    for _ in range(order):
        derivative = jax.grad(derivative)
    derivative = jax.jit(derivative)

    def exact(y):
        value = mpmath.hyp1f1(1, 2, -y)
        return value if fn is phi else 1 - value

    for y in points:
        with mpmath.workdps(60):
            reference = mpmath.diff(exact, mpmath.mpf(y), order) if order else exact(mpmath.mpf(y))
            error = abs(mpmath.mpf(float(derivative(y))) - reference)
            # Beyond the series each derivative divides by y >= 0.5: it loses the digits of a few differences.
            assert error <= 8 * EPS * 4**order * max(abs(reference), EPS if order == 0 else 0), y


@settings(max_examples=40, deadline=None)
@given(
    eigenvalues=st.lists(st.floats(0, 30), min_size=3, max_size=3),
    angle=st.floats(0, 3.2),
    h=st.floats(1e-3, 3.0),
    momentum=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
)
def test_no_friction_matrix_gives_energy(eigenvalues, angle, h, momentum):
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    gamma = turn @ np.diag(eigenvalues) @ turn.T
    momentum = jnp.array(momentum)
    flow = build((gamma + gamma.T) / 2, 0.5, h, momentum)
    friction = flow.friction(flow.loss(momentum), 1)
    assert friction <= 100 * EPS * (1 + float(momentum @ momentum))  # rounding of I - E^T E, and of the trace
