"""Noise-driven records: the filter against the joint normal density, and the truth from simulated records."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.inference import kalman, linear, moves, stochastic, whittle
from jaxinertia.inference.record import Windows, on_one_grid
from jaxinertia.inference.search import Options
from jaxinertia.inference.task import prepare
from jaxinertia.inference.units import Units
from jaxinertia.physics.linear_flow import linear_flow

from ..oracles import EPS
from .records import langevin

P = ji.potentials
TRUTH = np.array([1.0, 1.0, np.sqrt(2.0)])


def three(s):
    return s.damping.gamma, s.potential.stiffness, s.noise.sigma


def record_of(system, data, free):
    """As a fit takes it."""
    task = prepare(system, data, free, None, None, None, "squares", Options(100))
    return on_one_grid(task.system, task.parameters, [data])


def resonances(record):
    return [whittle.resonance(whittle.runs_of(record, 0))]


def pose(ts, y, system, error, transient):
    """The filter's problem in the units of the record, the error of a reading free."""
    record = record_of(system, ji.Observations(ts, y), three)
    u = record.parameters.read(record.system)
    problem = stochastic.pose_filter(record, resonances(record), u, "kalman")[0].at(0)
    problem = replace(problem, transient=transient, speed=np.asarray(1.0))
    return problem, np.append(u, 2 * np.log(error / problem.units.length)), problem.units


def density(ts, y, gamma, stiffness, sigma, error, units):
    """-log p(y) of the joint normal law whose start is as vague as the filter's, without the constant; and how far
    rounding may move it: the covariance's condition number in units of rounding, times the quadratic form."""
    rate = np.array([[0.0, 1.0], [-stiffness, -gamma]])
    spread = np.diag([sigma**2 / (2 * gamma * stiffness), sigma**2 / (2 * gamma)])
    # What is free is where the momentum takes the particle in one step, of which friction leaves this part.
    part = -np.expm1(-gamma * units.time) / (gamma * units.time)
    vague = kalman.VAGUE * np.diag([units.length**2, (units.length / units.time / part) ** 2])
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


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("even", "even, settled", "uneven")]


@pytest.mark.parametrize("kind", ["gaps", *SLOW])
def test_the_filter_is_the_joint_normal_density(kind):
    """At any parameters."""
    rng = np.random.default_rng(0)
    n = {"even, settled": 160, "gaps": 60}.get(kind, 40)
    ts = np.arange(n) * 0.3 if kind != "uneven" else np.sort(rng.uniform(0, 12, n))
    y = rng.normal(size=n)
    if kind == "gaps":
        y[5:9] = y[17] = np.nan
    gamma, stiffness, sigma, error = 0.7, 1.6, 0.9, 0.2
    system = ji.System(P.Quadratic(stiffness), gamma, sigma)
    problem, u, units = pose(ts, y, system, error, 80 if kind == "even, settled" else None)
    cost = float(problem.normal(jnp.asarray(u), jnp.zeros((0, 1))).cost)
    expected, rounding = density(ts, y, gamma, stiffness, sigma, error, units)
    assert rounding < 1e-3
    assert cost == pytest.approx(expected, abs=rounding)


def test_score_and_information_are_the_costs_derivatives():
    """The score exactly; the information is the Hessian's mean, so the average over records comes close to it."""
    system = ji.System(P.Quadratic(1.0), 1.0, np.sqrt(2.0))
    ts = np.arange(400) * 0.2
    problem, u, _ = pose(ts, langevin(np.random.default_rng(1), 400, 0.2), system, 0.05, None)
    x = jnp.zeros((0, 1))
    exact = jax.jit(jax.jacfwd(lambda u: problem.normal(u, x).cost))(jnp.asarray(u))
    found = jax.jit(lambda u: problem.normal(u, x))(jnp.asarray(u))
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


@pytest.mark.slow
def test_many_noise_driven_records_are_each_fitted_as_alone():
    """To a thousandth of a standard error, in which searches end; one without a motion disturbs nobody."""
    rng = np.random.default_rng(6)
    system = ji.System(P.Quadratic(), 0.2, 0.5)
    data = [ji.Observations(np.arange(n) * 0.2, langevin(rng, n, 0.2)) for n in (1500, 1500, 1200)]
    data.insert(1, ji.Observations(np.arange(9) * 0.2, rng.normal(size=9)))
    fits = ji.fit_many(system, data, three)
    for i in (0, 2, 3):
        alone = ji.fit(system, data[i], three, method="kalman")
        error = np.sqrt(np.diag(alone.covariance))
        np.testing.assert_allclose(fits.flat[i], alone.flat, rtol=0, atol=1e-3 * error.min())
        np.testing.assert_allclose(np.sqrt(np.diag(fits.covariance[i])), error, rtol=1e-3)


@pytest.mark.slow
def test_every_component_has_a_reading_error_of_its_own():
    """Errors of 0.2 and 0.02 come back, and over 60 records the mean standard errors are the numbers' scatter, to
    25 % (by chance 1 / sqrt(120) = 9 % each)."""
    truth = np.array([0.5, 1.0]), np.ones(2), np.array([1.0, 1.2])
    start = ji.System(P.Quadratic(np.ones(2)), np.array([0.3, 0.3]), np.ones(2))
    fits = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        clean = [langevin(rng, 1000, 0.3, *each) for each in zip(truth[1], truth[0], truth[2], strict=True)]
        y = np.stack(clean, axis=1) + rng.normal(size=(1000, 2)) * [0.2, 0.02]
        fits.append(ji.fit(start, ji.Observations(np.arange(1000) * 0.3, y), three))
    assert all(fit.diagnostics.converged for fit in fits)
    np.testing.assert_allclose(np.median([fit.position_error for fit in fits], axis=0), [0.2, 0.02], rtol=0.1)
    flat = np.array([fit.flat for fit in fits])
    stderr = np.mean([np.sqrt(np.diag(fit.covariance)) for fit in fits], axis=0)
    np.testing.assert_allclose(stderr / flat.std(0, ddof=1), 1.0, atol=0.25)
    z = (flat.mean(0) - np.concatenate(truth)) / (stderr / np.sqrt(60))
    assert np.abs(z).max() < 4


@pytest.mark.slow
def test_errors_of_components_are_shown_and_saved(tmp_path):
    rng = np.random.default_rng(7)
    y = np.stack([langevin(rng, 400, 0.3), langevin(rng, 400, 0.3)], axis=1) + rng.normal(size=(400, 2)) * [0.2, 0.05]
    system = ji.System(P.Quadratic(), 0.3, 1.0)
    result = ji.fit(system, ji.Observations(np.arange(400) * 0.3, y), three)
    assert result.position_error.shape == (2,)
    assert ", ".join(f"{x:.4g}" for x in result.position_error) in result.summary()
    result.save(tmp_path / "fit.npz")
    back = ji.inference.result.Fit.load(tmp_path / "fit.npz", system, three)
    np.testing.assert_array_equal(back.position_error, result.position_error)


def test_a_run_too_short_for_a_spectrum_is_still_read():
    """A run of one row and one of five: the start comes from the other two, the likelihood from all, and the six
    readings of 1206 move it by less than a standard error."""
    rng = np.random.default_rng(8)
    y, ts = langevin(rng, 1206, 0.2), np.arange(1206) * 0.2
    segment = np.repeat([0, 1, 2, 3], [600, 1, 600, 5])
    system = ji.System(P.Quadratic(), 0.2, 0.5)
    with_short = ji.fit(system, ji.Observations(ts, y, segment=segment), three)
    long = segment % 2 == 0
    without = ji.fit(system, ji.Observations(ts[long], y[long], segment=segment[long]), three)
    assert with_short.diagnostics.converged
    assert with_short.readings == 1206
    assert np.abs((with_short.flat - without.flat) / np.sqrt(np.diag(without.covariance))).max() < 1
    with pytest.raises(ValueError, match=r"no run of 8 readings .*the longest has 7\)"):
        ji.fit(system, ji.Observations(ts[:70], y[:70], segment=np.arange(70) // 7), three)


@pytest.mark.parametrize("asked", [{"method": "whittle"}, {"band": (0.05, 0.5)}])
def test_a_spectrum_of_missing_readings_is_refused(asked):
    """Lines drawn across gaps have less power than the motion: its sigma would come out too low."""
    rng = np.random.default_rng(9)
    ts, y = np.arange(5000) * 0.2, langevin(rng, 5000, 0.2)
    system = ji.System(P.Quadratic(), 0.2, 0.5)
    gone = rng.random(5000) < 0.5
    with pytest.raises(ValueError, match=rf"{gone.sum()} of 5000 are missing: use method='kalman'"):
        ji.fit(system, ji.Observations(ts, np.where(gone, np.nan, y)), three, **asked)
    with pytest.raises(ValueError, match=r"200 of 5000 are missing: use method='kalman'"):  # rows that are not there
        ji.fit(system, ji.Observations(np.delete(ts, slice(300, 500)), np.delete(y, slice(300, 500))), three, **asked)
    uneven = ts + 0.2 * rng.uniform(-0.3, 0.3, 5000)
    holed = ji.Observations(np.delete(uneven, slice(300, 320)), np.delete(y, slice(300, 320)))
    with pytest.raises(ValueError, match=r"an interval is 2\d(\.\d)? times the mean one: use method='kalman'"):
        ji.fit(system, holed, three, **asked)


def test_an_uneven_record_is_not_judged_by_its_spectrum():
    """On lines drawn between readings a spectrum would not be flat where the motion's is."""
    rng = np.random.default_rng(10)
    ts = np.arange(stochastic.LONG) * 0.2 + 0.2 * rng.uniform(-0.4, 0.4, stochastic.LONG)
    record = record_of(ji.System(P.Quadratic(), 1.0, 1.0), ji.Observations(ts, rng.normal(size=len(ts))), three)
    assert stochastic.choose(record, resonances(record)).method == stochastic.KALMAN


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
def test_with_four_readings_a_period_the_unscented_filter_is_less_biased():
    """A particle in a double well of period 4.4, read every 1.0: over 24 records the mean of z, 0 +- 0.2 by chance, of
    the well's stiffness. The extended filter is off by its neglected bend of the force, the unscented one by less than
    a standard error."""
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


@pytest.mark.slow
def test_a_nonlinear_record_may_begin_with_a_gap():
    """Taking g of n readings away moves what is fitted by sqrt(g / n) standard errors; three times that is allowed."""
    system = ji.System(P.Duffing(1.0, 0.3), 0.8, np.sqrt(1.6))
    ts = np.arange(600) * 0.3
    y = np.array(ji.simulate(system, ts, 0.0, dt=0.02, key=jax.random.key(5)).position)
    y += 0.02 * np.random.default_rng(5).normal(size=600)
    start = ji.System(P.Duffing(0.7, 0.1), 0.3, 1.0)
    whole = ji.fit(start, ji.Observations(ts, y, position_error=0.02), four)
    for gap in (1, 40):
        y[:gap] = np.nan
        found = ji.fit(start, ji.Observations(ts, y, position_error=0.02), four)
        assert found.diagnostics.converged
        moved = np.abs((found.flat - whole.flat) / np.sqrt(np.diag(whole.covariance))).max()
        assert moved < 3 * np.sqrt(gap / 600)


def overdamped(gamma, dt):
    y = langevin(np.random.default_rng(0), 800, dt, 1.0, gamma, 3.0) + 0.05 * np.random.default_rng(1).normal(size=800)
    return ji.Observations(dt * np.arange(800), y, position_error=0.05)


@pytest.mark.parametrize(("gamma", "dt"), [(10.0, 0.5), (30.0, 1.0)])
@pytest.mark.parametrize("method", ["unscented kalman", "extended kalman"])
def test_an_overdamped_straight_force_is_filtered_as_by_the_exact_filter(gamma, dt, method):
    """A Duffing force without its cubic part: errors of prediction and their variances are those of the exact filter,
    once the state before the first reading is forgotten, but for the 1e-8 to which the linearised step's series goes
    and the jitter of 1e-10 that keeps a root real, both of covariances up to 1e3 times the errors' variance."""
    rows = {}
    for potential, name in ((P.Quadratic(1.0), "kalman"), (P.Duffing(1.0, 0.0), method)):
        system = ji.System(potential, gamma, 3.0)
        record = record_of(system, overdamped(gamma, dt), lambda s: (s.damping.gamma, s.noise.sigma))
        u = record.parameters.read(record.system)
        problem, _ = stochastic.pose_filter(record, resonances(record), u, name)
        rows[name] = [np.asarray(x)[0, 100:] for x in kalman.innovations(jnp.asarray(u), problem.at(0))]
    (e, log_s), (exact, exact_log) = rows[method], rows["kalman"]
    np.testing.assert_allclose(e, exact, atol=1e-6 * np.exp(exact_log / 2).max())
    np.testing.assert_allclose(log_s, exact_log, atol=1e-6)
    costs = [np.sum(logs + x**2 * np.exp(-logs)) / 2 for x, logs in rows.values()]
    assert costs[0] == pytest.approx(costs[1], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["unscented kalman", "extended kalman"])
def test_an_overdamped_fit_finds_its_way(method):
    """Where the exact filter's does: the free momentum before its first reading, of variance S ~ 1 / gamma^2 at the
    second, adds -log gamma to its cost, which moves gamma by stderr^2 / gamma = 0.2 standard errors."""
    data = overdamped(10.0, 0.5)
    exact = ji.fit(ji.System(P.Quadratic(), 0.3, 1.0), data, three)
    result = ji.fit(ji.System(P.Duffing(1.0, 0.0), 0.3, 1.0), data, lambda s: (*four(s)[:2], four(s)[3]), method=method)
    assert result.diagnostics.converged
    error = np.sqrt(np.diag(exact.covariance))
    assert np.abs((result.flat - exact.flat) / error).max() < 0.25
    np.testing.assert_allclose(np.sqrt(np.diag(result.covariance)), error, rtol=0.1)


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
    step = linear_flow(linear.rate(known, 1, units), linear.noise_rate(known, 1, units, scalar=True), 0.9)
    rest = jnp.array([0.2, 0.0])
    np.testing.assert_allclose(moved, rest + step.flow @ (z - rest), atol=20 * EPS)
    exact = step.flow @ covariance @ step.flow.T + step.covariance
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
