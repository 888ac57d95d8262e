"""Noise-driven records: the filter against the joint normal density, and the truth from simulated records."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.inference import fit as fitting
from jaxinertia.inference import kalman, linear, moves, stochastic
from jaxinertia.inference.units import Units
from jaxinertia.inference.windows import Windows, cut

from ..oracles import EPS
from .records import langevin

P = ji.potentials
TRUTH = np.array([1.0, 1.0, np.sqrt(2.0)])


def three(s):
    return s.damping.gamma, s.potential.stiffness, s.noise.sigma


def pose(ts, y, system, error, transient):
    """The filter's problem in the units of the record, the error of a reading free."""
    data = ji.Observations(ts, y)
    system, record = fitting.prepare(system, data, three, None)
    windows, _ = cut(record.runs, record.longest)
    rest = (np.asarray(1.0), False, True, True, transient, 1)
    problem = kalman.Filter(record.system, record.parameters, record.units, windows, np.zeros(1), *rest)
    u = np.append(record.parameters.read(system), 2 * np.log(error / record.units.length))
    return problem, u, record.units


def density(ts, y, gamma, stiffness, sigma, error, units):
    """-log p(y) of the joint normal law whose start is as vague as the filter's, without the constant; and how far
    rounding may move it: the covariance's condition number in units of rounding, times the quadratic form."""
    rate = np.array([[0.0, 1.0], [-stiffness, -gamma]])
    spread = np.diag([sigma**2 / (2 * gamma * stiffness), sigma**2 / (2 * gamma)])
    vague = kalman.VAGUE * np.diag([units.length**2, (units.length / units.time) ** 2])
    n = len(ts)
    moves = [expm(rate * (t - ts[0])) for t in ts]
    covariance = np.empty((n, n))
    for i in range(n):
        variance = moves[i] @ (vague - spread) @ moves[i].T + spread
        for j in range(i, n):
            covariance[i, j] = covariance[j, i] = (expm(rate * (ts[j] - ts[i])) @ variance)[0, 0]
    covariance = (covariance + error**2 * np.eye(n)) / units.length**2
    read = np.isfinite(y)
    covariance, y = covariance[np.ix_(read, read)], y[read] / units.length
    square = y @ np.linalg.solve(covariance, y)
    return (np.linalg.slogdet(covariance)[1] + square) / 2, EPS * np.linalg.cond(covariance) * square


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["even", "even, settled", "gaps", "uneven"])
def test_the_filter_is_the_joint_normal_density(kind):
    """At any parameters."""
    rng = np.random.default_rng(0)
    n = 40 if kind != "even, settled" else 160
    ts = np.arange(n) * 0.3 if kind != "uneven" else np.sort(rng.uniform(0, 12, n))
    y = rng.normal(size=n)
    if kind == "gaps":
        y[5:9] = y[17] = np.nan
    gamma, stiffness, sigma, error = 0.7, 1.6, 0.9, 0.2
    system = ji.System(P.Quadratic(stiffness), gamma, sigma)
    problem, u, units = pose(ts, y, system, error, 80 if kind == "even, settled" else None)
    cost = float(kalman.normal(jnp.asarray(u), jnp.zeros((0, 1)), problem).cost)
    expected, rounding = density(ts, y, gamma, stiffness, sigma, error, units)
    assert rounding < 1e-3
    assert cost == pytest.approx(expected, abs=rounding)


def test_score_and_information_are_the_costs_derivatives():
    """The score exactly; the information is the Hessian's mean, so the average over records comes close to it."""
    system = ji.System(P.Quadratic(1.0), 1.0, np.sqrt(2.0))
    ts = np.arange(400) * 0.2
    problem, u, _ = pose(ts, langevin(np.random.default_rng(1), 400, 0.2), system, 0.05, None)
    x = jnp.zeros((0, 1))
    normal = jax.jit(kalman.normal)
    exact = jax.jit(jax.jacfwd(lambda u: kalman.normal(u, x, problem).cost))(jnp.asarray(u))
    found = normal(jnp.asarray(u), x, problem)
    np.testing.assert_allclose(found.g, exact, rtol=1e-8, atol=1e-8)
    assert np.all(np.linalg.eigvalsh(found.a) > 0)


@pytest.mark.slow
@pytest.mark.parametrize(("dt", "error"), [(0.05, 0.0), (0.05, 0.05), (0.2, 0.0), (0.2, 0.05)])
def test_langevin_parameters_come_back(dt, error):
    """20,000 positions: within 4 standard errors, which are those of the Cramer-Rao bound: gamma's is
    sqrt(2 gamma / T) for a record of length T, if nothing blurs it, and stays below three times that here."""
    y = langevin(np.random.default_rng(2), 20000, dt)
    y = y + error * np.random.default_rng(3).normal(size=len(y))
    result = ji.fit(ji.System(P.Quadratic(), 0.2, 0.5), ji.Observations(np.arange(len(y)) * dt, y), three)
    assert result.method == "kalman"
    assert result.diagnostics.converged
    assert np.abs((result.flat - TRUTH) / np.sqrt(np.diag(result.covariance))).max() < 4
    bound = np.sqrt(2 / (20000 * dt))
    assert bound < 1.02 * result.stderr[0] < 3 * bound
    assert result.diagnostics.whiteness > 1e-4


def test_many_noise_driven_records_are_each_fitted_as_alone():
    """To a thousandth of a standard error, in which searches end; one without a motion disturbs nobody."""
    rng = np.random.default_rng(6)
    system = ji.System(P.Quadratic(), 0.2, 0.5)
    data = [ji.Observations(np.arange(n) * 0.2, langevin(rng, n, 0.2)) for n in (1500, 1500, 1200)]
    data.insert(1, ji.Observations(np.arange(9) * 0.2, rng.normal(size=9)))
    fits = ji.fit_many(system, data, three)
    for i in (0, 2, 3):
        alone = ji.fit(system, data[i], three, method="kalman")
        error = np.sqrt(np.diag(alone.covariance_curvature))
        np.testing.assert_allclose(fits.flat[i], alone.flat, rtol=0, atol=1e-3 * error.min())
        np.testing.assert_allclose(np.sqrt(np.diag(fits.covariance[i])), error, rtol=1e-3)


def test_a_band_of_the_spectrum_leaves_another_mode_out():
    """Two motions and a sloping floor: only the band of one is used, unasked, and gives it back."""
    rng = np.random.default_rng(4)
    ts = np.arange(40000) * 0.05
    slow = langevin(rng, 40000, 0.05, 9.0, 0.3, 1.0)
    fast = langevin(rng, 40000, 0.05, 400.0, 0.6, 12.0)
    y = slow + fast + 0.002 * np.cumsum(rng.normal(size=40000)) + 0.01 * rng.normal(size=40000)
    result = ji.fit(ji.System(P.Quadratic(), 1.0, 1.0), ji.Observations(ts, y), three, band=(0.3, 0.7))
    assert result.method == stochastic.WHITTLE
    assert np.abs((result.flat - [0.3, 9.0, 1.0]) / np.sqrt(np.diag(result.covariance))).max() < 4
    with pytest.raises(ValueError, match="band holds"):
        ji.fit(ji.System(P.Quadratic(), 1.0, 1.0), ji.Observations(ts, y), three, band=(0.3, 0.3001))


def four(s):
    return s.damping.gamma, s.potential.linear, s.potential.cubic, s.noise.sigma


@pytest.mark.slow
@pytest.mark.parametrize(("method", "chosen"), [(None, "unscented kalman"), ("extended kalman", "extended kalman")])
def test_an_anharmonic_particle_by_a_filter(method, chosen):
    """A Duffing particle in a bath, positions every 0.1: both filters see a force that hardly bends between readings,
    and neither is off by more than chance; finite differences would give 2/3 of gamma."""
    system = ji.System(P.Duffing(1.0, 0.3), 0.8, np.sqrt(1.6))
    ts = np.arange(3000) * 0.1
    traj = ji.simulate(system, ts, 0.0, dt=0.01, key=jax.random.key(5))
    data = ji.Observations(ts, np.asarray(traj.position), position_error=1e-3)
    result = ji.fit(ji.System(P.Duffing(0.7, 0.1), 0.3, 1.0), data, four, method=method)
    assert result.method == chosen
    z = (result.flat - [0.8, 1.0, 0.3, np.sqrt(1.6)]) / np.sqrt(np.diag(result.covariance))
    assert np.abs(z).max() < 4


@pytest.mark.slow
def test_with_a_reading_a_period_the_unscented_filter_is_less_biased():
    """A particle in a double well, read every 1.0 of a period of 4.4: over 24 records the mean of z, 0 +- 0.2 by
    chance, of the well's stiffness."""
    system = ji.System(P.Duffing(-1.0, 0.5), 0.8, np.sqrt(1.6))
    ts = np.arange(1000) * 1.0
    runs = jax.vmap(lambda key: ji.simulate(system, ts, 1.0, dt=0.02, key=key).position)
    ys = np.asarray(jax.jit(runs)(jax.random.split(jax.random.key(6), 24)))
    ys = ys + 0.05 * np.random.default_rng(6).normal(size=ys.shape)
    data = [ji.Observations(ts, y, position_error=0.05) for y in ys]
    means = {}
    for method in ("unscented kalman", "extended kalman"):
        fits = ji.fit_many(ji.System(P.Duffing(-0.7, 0.3), 0.3, 1.0), data, four, method=method)
        assert fits.converged.all()
        means[method] = np.mean((fits.flat[:, 1] + 1.0) / fits.stderr[1])
    assert abs(means["unscented kalman"]) < 1.0
    assert abs(means["extended kalman"]) > 2.0


def two_readings(h):
    ts = np.array([[0.0, h]])
    windows = Windows(np.zeros(1), ts, np.zeros((1, 2, 1)), np.ones((1, 2, 1)), None, even=False)
    return jax.tree.map(lambda x: x[0], windows)


@pytest.mark.parametrize("unscented", [True, False])
def test_a_straight_force_is_moved_as_by_the_exact_step(unscented):
    """Points carry mean and covariance of a linear flow exactly, but for the jitter of 1e-10 that keeps their root
    real; so does the linearised flow. Drag without its quadratic part is a linear system that is not known as one."""
    units = Units(0.0, 1.0, 1.0)
    unknown = ji.System(P.Quadratic(1.3, 0.2), ji.damping.Drag(0.5, 0.0), 0.7)
    known = ji.System(P.Quadratic(1.3, 0.2), 0.5, 0.7)
    window = two_readings(0.9)
    problem = SimpleNamespace(d=1, scalar=True, units=units, substeps=3, unscented=unscented)
    z, covariance = jnp.array([0.4, -0.3]), jnp.array([[0.5, 0.1], [0.1, 0.2]])
    rows = [x[0] for x in moves.rows(unknown, window, problem)]
    moved, spread = moves.mover(unknown, window, problem)(z, covariance, rows)
    step = linear.step(linear.rate(known, 1, units), linear.noise_rate(known, 1, units), 0.9)
    rest = jnp.array([0.2, 0.0])
    np.testing.assert_allclose(moved, rest + step.move @ (z - rest), atol=20 * EPS)
    exact = step.move @ covariance @ step.move.T + step.noise
    np.testing.assert_allclose(spread, exact, atol=(1e-9 if unscented else 0.0) + 20 * EPS)


def test_points_see_that_the_force_bends():
    """With V = x^4 / 4 at z = 0, Cov(x, p) = h E[x a] = -h E[x^4] after a short step: -2 P^2 h with points at
    +- sqrt(2 P) and 0 twice (-3 P^2 h of a normal); the force linearised at the mean is 0."""
    units = Units(0.0, 1.0, 1.0)
    system = ji.System(P.Duffing(0.0, 1.0), 0.0, 1e-9)
    h, spread = 1e-3, 0.6
    window = two_readings(h)
    cross = {}
    for unscented in (True, False):
        problem = SimpleNamespace(d=1, scalar=True, units=units, substeps=1, unscented=unscented)
        rows = [x[0] for x in moves.rows(system, window, problem)]
        moved, after = moves.mover(system, window, problem)(jnp.zeros(2), jnp.diag(jnp.array([spread, 0.0])), rows)
        np.testing.assert_allclose(moved, 0.0, atol=EPS)
        cross[unscented] = float(after[0, 1]) / h
    assert abs(cross[False]) < EPS
    np.testing.assert_allclose(cross[True], -2 * spread**2, rtol=10 * h)
