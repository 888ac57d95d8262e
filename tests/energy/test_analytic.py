"""Closed forms against mpmath, in value and in derivatives, through every damping regime."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.energy.rates import measured_decay_rate

from ..oracles import EPS, oscillator

STIFFNESSES = (1.0, 1.7, 4.0)
STATES = ((1.0, 0.3), (1.0, 0.0), (0.0, 1.0))
AROUND = [0.0] + [sign * e for sign in (-1, 1) for e in (1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 1e-1)]
DAMPINGS = {
    "frictionless": lambda critical: [0.0, 1e-300, 1e-12],
    "underdamped": lambda critical: [0.3, 0.5 * critical],
    "around critical": lambda critical: [critical * (1 + e) for e in AROUND],
    "overdamped": lambda critical: [3 * critical, 10.0, 30.0],
    "far beyond": lambda critical: [100.0, 1e3],
}


def both(gamma, t, q, p, stiffness):
    return jnp.stack(ji.analytic.quadratic(t, q, p, stiffness, gamma))


DERIVATIVES = [jax.jit(jax.vmap(f)) for f in (both, jax.jacfwd(both), jax.jacfwd(jax.jacfwd(both)))]
REVERSE = jax.jit(jax.vmap(jax.jacrev(both)))


def points(regime, times):
    rows = []
    for stiffness, t, (q, p) in itertools.product(STIFFNESSES, times, STATES):
        rows += [(gamma, t, q, p, stiffness) for gamma in DAMPINGS[regime](2 * np.sqrt(stiffness))]
    return np.array(rows)


def exact(row, order):
    gamma, *rest = row
    # Numerical differentiation in mpmath loses digits, not ten of eighty. No gamma here is near a pole.
    with mpmath.workdps(80):
        of = [lambda g, i=i: oscillator(rest[0], *rest[1:], g)[i] for i in (0, 1)]
        return [mpmath.diff(f, mpmath.mpf(gamma), order) if order else f(gamma) for f in of]


def worst(values, rows, order):
    """The largest relative error of any single component, and where."""
    errors = []
    for value, row in zip(np.asarray(values), rows, strict=True):
        for component, reference in zip(value, exact(row, order), strict=True):
            gap = abs(mpmath.mpf(float(component)) - reference)
            errors.append(float(gap / abs(reference)) if reference else float(gap))
    errors = np.array(errors)
    assert np.all(np.isfinite(values))
    return errors.max(), rows[int(np.argmax(errors)) // 2]


@pytest.mark.parametrize("regime", DAMPINGS)
def test_quadratic_is_mpmath_to_1e_13(regime):
    rows = points(regime, (0.0, 0.1, 0.7, 3.1, 10.0))
    error, where = worst(DERIVATIVES[0](*rows.T), rows, 0)
    assert error < 1e-13, where


@pytest.mark.parametrize("regime", DAMPINGS)
def test_quadratic_late_is_as_good_as_its_arguments(regime):
    """Late, a rounding of gamma, stiffness or t alone moves the result by eps times its condition: no more is lost."""
    rows = points(regime, (20.0, 50.0))
    values = np.asarray(DERIVATIVES[0](*rows.T))
    for value, row in zip(values, rows, strict=True):
        gamma, t, q, p, stiffness = map(float, row)
        with mpmath.workdps(40):
            for i in (0, 1):
                arguments = [t, q, p, stiffness, gamma]
                reference = oscillator(*arguments)[i]
                moves = [
                    abs(x * mpmath.diff(lambda y, j=j: oscillator(*arguments[:j], y, *arguments[j + 1 :])[i], x))
                    for j, x in ((0, t), (3, stiffness), (4, gamma))
                ]
                tolerance = max(1e-13 * abs(reference), 2 * EPS * sum(moves))
                assert abs(mpmath.mpf(float(value[i])) - reference) <= tolerance, row


# Away from t = 3 and t = 50, where a derivative passes through zero: d q / d gamma of (1, 0) at gamma = 2, stiffness 1,
# and d p / d gamma of (0, 1) at gamma = 100, stiffness 4.
TIMES = (0.7, 3.1, 10.0, 47.0)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("regime", DAMPINGS)
def test_gamma_derivatives_of_quadratic_are_mpmath_to_1e_10(regime, order):
    rows = points(regime, TIMES)
    error, where = worst(DERIVATIVES[order](*rows.T), rows, order)
    assert error < 1e-10, where


@pytest.mark.parametrize("regime", DAMPINGS)
def test_reverse_mode_is_mpmath_too(regime):
    rows = points(regime, TIMES)
    error, where = worst(REVERSE(*rows.T), rows, 1)
    assert error < 1e-10, where


def test_derivatives_at_the_start_are_finite():
    """At t = 0 nothing depends on gamma yet."""
    rows = np.concatenate([points(regime, (0.0,)) for regime in DAMPINGS])
    for derivative in (*DERIVATIVES[1:], REVERSE):
        assert not np.any(derivative(*rows.T))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0, 7.0])
def test_quadratic_solves_the_differential_equation(gamma):
    """dq/dt = p and dp/dt = -gamma p - stiffness q, by automatic differentiation in t."""
    t, stiffness = 1.3, 1.0
    q, p = ji.analytic.quadratic(t, 0.8, -0.4, stiffness, gamma)
    dq, dp = jax.jacfwd(lambda s: jnp.stack(ji.analytic.quadratic(s, 0.8, -0.4, stiffness, gamma)))(t)
    assert dq == pytest.approx(float(p), rel=1e-13, abs=1e-13)
    assert dp == pytest.approx(float(-gamma * p - stiffness * q), rel=1e-13, abs=1e-13)


def test_quadratic_broadcasts_times_before_components():
    t = np.linspace(0, 3, 7)
    stiffness = np.array([1.0, 2.0, 5.0])
    q, p = ji.analytic.quadratic(t, np.ones((4, 3)), np.zeros(3), stiffness, 0.2)
    assert q.shape == p.shape == (7, 4, 3)
    one, _ = ji.analytic.quadratic(t[5], 1.0, 0.0, stiffness[2], 0.2)
    assert q[5, 1, 2] == pytest.approx(float(one), rel=4 * EPS)


@pytest.mark.parametrize("stiffness", [0.0, -1.0])
def test_free_particle_and_saddle(stiffness):
    """Stiffness 0: q = q0 + p0 (1 - e^{-gamma t}) / gamma. Stiffness -1: cosh and sinh."""
    with mpmath.workdps(40):
        reference = [float(x) for x in oscillator(3.0, 0.7, 0.2, stiffness, 0.4)]
    value = [float(x) for x in ji.analytic.quadratic(3.0, 0.7, 0.2, stiffness, 0.4)]
    assert value == pytest.approx(reference, rel=1e-13)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0, 5.0])
def test_damped_invariant_decays_exactly(gamma):
    t = np.linspace(0, 8, 33)
    q, p = ji.analytic.quadratic(t, 1.0, 0.4, 1.0, gamma)
    invariant = ji.analytic.damped_invariant(q + 3.0, p, 1.0, gamma, center=3.0)
    # Rounding of three terms, each no larger than (1 + gamma) |state|^2; moving the centre costs three roundings more.
    size = (1 + gamma) * np.asarray((np.abs(q) + 3) * (np.abs(q) + np.abs(p)) + p * p)
    assert np.all(np.abs(invariant - invariant[0] * np.exp(-gamma * t)) <= 32 * EPS * size)


MEAN = dict(position=1.0, momentum=0.0, stiffness=1.5, gamma=0.4, sigma=0.7)


def test_mean_inertia_has_the_ito_term():
    rate = jax.grad(lambda t: ji.analytic.mean_inertia(t, **MEAN))(2.0)
    assert rate == pytest.approx(0.009028134, abs=5e-10)  # by the moment equations; the paper's Eq. 7 gives -0.23597
    assert ji.analytic.mean_inertia(2.0, **MEAN) == pytest.approx(0.6203979802, abs=5e-11)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 2 * np.sqrt(1.5), 20.0])
def test_mean_inertia_is_the_quadrature_of_the_moment_equations(gamma):
    """E[x x^T] = e^{At} x0 x0^T e^{A^T t} + int_0^t e^{As} Q e^{A^T s} ds, by SciPy."""
    t, stiffness, sigma, start = 1.7, 1.5, 0.7, np.array([1.0, -0.2])
    flow = lambda s: expm(np.array([[0.0, 1.0], [-stiffness, -gamma]]) * s)  # noqa: E731
    spread, _ = quad_vec(lambda s: sigma**2 * np.outer(flow(s)[:, 1], flow(s)[:, 1]), 0, t, epsabs=1e-14, epsrel=1e-13)
    moments = np.outer(flow(t) @ start, flow(t) @ start) + spread
    expected = (moments[1, 1] + stiffness * moments[0, 0]) / 2
    assert ji.analytic.mean_inertia(t, *start, stiffness, gamma, sigma) == pytest.approx(expected, rel=1e-12)


def test_mean_inertia_settles_at_equipartition():
    stiffness, gamma, sigma = np.array([0.5, 1.5, 9.0]), 0.4, 0.7
    late = ji.analytic.mean_inertia(200.0, np.ones(3), 0.0, stiffness, gamma, sigma)  # e^{-80} is below rounding
    assert late == pytest.approx(3 * sigma**2 / (2 * gamma), rel=1e-12)  # whatever the stiffness


@pytest.mark.parametrize(("gamma", "t"), [(50.0, 1e4), (1e3, 1e3)])
def test_mean_inertia_at_late_times_of_strong_damping_is_finite(gamma, t):
    late = ji.analytic.mean_inertia(t, 1.0, 0.0, 1.5, gamma, 0.7)
    exact_to = np.exp(-2 * 1.5 / gamma * t)
    assert late == pytest.approx(0.7**2 / (2 * gamma), rel=1e-9 + 10 * gamma * exact_to)


def test_mean_inertia_without_friction_grows_linearly():
    t = np.linspace(0, 5, 6)
    means = ji.analytic.mean_inertia(t, [1.0, 2.0], [0.0, 0.5], [1.5, 1.0], 0.0, 0.7)
    assert np.allclose(means, (1.5 + 4.0 + 0.25) / 2 + 2 * 0.7**2 * t / 2, rtol=1e-13)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_mean_inertia_is_differentiable_at_zero_damping(mode):
    """d/d gamma at gamma = 0 against the smooth continuation, by a central difference of SciPy-checked values."""
    of = lambda gamma, sigma: ji.analytic.mean_inertia(2.0, 1.0, 0.3, 1.5, gamma, sigma)  # noqa: E731
    slopes = mode(of, argnums=(0, 1))(0.0, 0.7)
    h = 1e-4  # Richardson from one side, since gamma >= 0: error h^3, and 1e-16 / h of rounding
    f = [float(of(k * h, 0.7)) for k in range(4)]
    one_sided = (-11 * f[0] + 18 * f[1] - 9 * f[2] + 2 * f[3]) / (6 * h)
    assert slopes[0] == pytest.approx(one_sided, abs=1e-10)
    assert slopes[1] == pytest.approx(0.7 * 2.0, rel=1e-13)  # I(0) + sigma^2 t / 2


def test_decay_rate_is_the_exact_formula():
    gammas = jnp.array([0.1, 0.5, 1.9, 2.0, 3.0, 6.0])
    assert np.allclose(ji.analytic.decay_rate(1.0, gammas), [0.1, 0.5, 1.9, 2.0, 0.763932, 0.343146], atol=5e-7)
    assert ji.analytic.decay_rate(1.0, 1e9) == pytest.approx(2e-9, rel=1e-12)  # 2 stiffness / gamma, no cancellation
    assert ji.analytic.decay_rate(2.25, 3.0) == 3.0  # the fastest, at gamma = 2 sqrt(stiffness)


RATES = [(0.1, 0.10446), (0.5, 0.49721), (1.9, 1.91046), (3.0, 0.763932), (6.0, 0.343146)]


@pytest.mark.parametrize(("gamma", "rate"), RATES)
def test_rates_over_a_late_window_are_those_of_science_md(gamma, rate):
    """From I(20) and I(40) alone: near gamma, but not at it, since I oscillates around its mean decay."""
    t = np.array([20.0, 40.0])
    q, p = ji.analytic.quadratic(t, 1.0, 0.0, 1.0, gamma)
    assert measured_decay_rate(t, (p * p + q * q) / 2) == pytest.approx(rate, abs=5e-6)


def test_measured_rate_of_an_exponential_is_exact():
    t = np.linspace(3, 9, 50)
    assert measured_decay_rate(t, np.exp([-0.3 * t, -2 * t])) == pytest.approx([0.3, 2.0], rel=1e-13)


def test_float32_stays_float32_and_smooth_through_critical_damping():
    arguments = [jnp.asarray(x, jnp.float32) for x in (3.0, 1.0, 0.2, 1.0)]
    for gamma in (0.0, 1.9999, 2.0, 2.0001, 50.0):
        q, p = ji.analytic.quadratic(*arguments, jnp.asarray(gamma, jnp.float32))
        exactly = [float(x) for x in oscillator(3.0, 1.0, float(np.float32(0.2)), 1.0, float(np.float32(gamma)))]
        assert q.dtype == p.dtype == jnp.float32
        assert [float(q), float(p)] == pytest.approx(exactly, abs=32 * float(jnp.finfo(jnp.float32).eps))
