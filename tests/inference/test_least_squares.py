"""Deterministic records: the truth to rounding without noise, SciPy's optimum and covariance with it."""

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import least_squares

import jaxinertia as ji

from ..oracles import dop853
from .records import damped

P = ji.potentials
STIFFNESS, GAMMA = 1.3, 0.2


def both(s):
    return s.damping.gamma, s.potential.stiffness


def ringdown(rng=None, n=120, error=0.02, stop=20.0, unit=1.0, **options):
    """A ring-down on uneven times, in any unit of time."""
    ts = np.sort(np.random.default_rng(5).uniform(0, stop, n))
    y = damped(ts, STIFFNESS, GAMMA)
    y = y if rng is None else y + error * rng.normal(size=n)
    return ji.Observations(ts * unit, y, **options)


def test_scipy_finds_the_same_optimum_and_covariance():
    """On uneven times with missing readings, an offset and a known error."""
    data = ringdown(np.random.default_rng(1), position_error=0.02, offset=None)
    data = ji.Observations(data.ts, np.where(np.arange(120) % 7 == 3, np.nan, data.position), None, 0.02, offset=None)
    result = ji.fit(ji.System(P.Quadratic()), data, both)
    read = np.isfinite(data.position)
    ts, y = data.ts[read] - data.ts[0], data.position[read]

    def residual(p):
        gamma, stiffness, q, v, offset = p
        return (damped(ts, stiffness, gamma, q, v) + offset - y) / 0.02

    start = [GAMMA, STIFFNESS, 1.0, 0.0, 0.0]
    peer = least_squares(residual, start, jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15, x_scale=0.1)
    covariance = np.linalg.inv(peer.jac.T @ peer.jac)
    # Least squares leave the optimum's place open to the root of rounding; 1e-5 standard errors is what the fit asks.
    np.testing.assert_allclose(result.values, peer.x[:2], rtol=0, atol=1e-4 * np.sqrt(covariance[1, 1]))
    # Differences of third order in SciPy's Jacobian.
    np.testing.assert_allclose(result.covariance_curvature, covariance[:2, :2], rtol=1e-5)
    assert (result.readings, result.missing) == (read.sum(), 17)
    assert "17 more are missing" in result.summary()
    assert result.offset[0][0] == pytest.approx(peer.x[4], abs=1e-4 * np.sqrt(covariance[4, 4]))
    chi = 2 * peer.cost / (read.sum() - 5)
    assert result.diagnostics.reduced_chi_square == pytest.approx(chi, rel=1e-8)
    low, high = result.interval(0.95, method="profile")
    # The cost is a parabola but for terms of the third order: the profile's interval is the normal one within 2 %.
    normal = result.interval(0.95)
    width = normal[1][0] - normal[0][0]
    np.testing.assert_allclose([low[0], high[0]], [normal[0][0], normal[1][0]], atol=0.02 * width)
    drawn = result.interval(0.95, method="bootstrap", key=jax.random.key(0), samples=200)
    # A 2.5 % quantile of 200 draws has a standard error of 13 % of the interval's half.
    np.testing.assert_allclose([drawn[0][0], drawn[1][0]], [normal[0][0], normal[1][0]], atol=0.2 * width)


def test_a_profile_at_a_bound_ends_there_and_where_the_cost_has_risen():
    """Without friction some records want gamma < 0. The interval's upper end is where chi-square, all else refitted by
    SciPy, has risen by t^2 variance over the best of gamma = 0."""
    ts = np.linspace(0, 20, 200)
    y = np.cos(ts) + 0.05 * np.random.default_rng(0).normal(size=200)
    result = ji.fit(ji.System(P.Quadratic()), ji.Observations(ts, y), both)
    assert "went to its bound" in result.summary()
    low, high = result.interval(0.95, method="profile")

    def cost(gamma):
        return 2 * least_squares(lambda p: damped(ts, p[0], gamma, *p[1:]) - y, [1.0, 1.0, 0.0], xtol=1e-15).cost

    rise = (cost(high[0]) - cost(0.0)) / (cost(0.0) / 196)
    # The end is sought to 1e-3 of the distance from the value.
    assert np.sqrt(rise) == pytest.approx(stats.t.ppf(0.975, 196), rel=3e-3)
    assert low[0] == 0.0


def test_units_of_any_size_give_the_same_fit():
    """Microseconds, days: the same numbers, scaled, to the search's tolerance; one program serves them all."""
    fits = []
    for unit in (1e-6, 1.0, 86400.0):
        data = ringdown(np.random.default_rng(2), unit=unit)
        result = ji.fit(ji.System(P.Quadratic(), 0.3 / unit), data, both)
        fits.append([result.values[0] * unit, result.values[1] * unit**2, result.stderr[0] * unit])
        assert result.diagnostics.converged
    np.testing.assert_allclose(fits, [fits[1]] * 3, rtol=1e-9)
    assert abs(fits[1][0] - GAMMA) < 4 * fits[1][2]


@pytest.mark.slow
def test_a_hundred_of_a_hundred_long_records_converge_from_any_frequency():
    """150 cycles, the start's frequency 30 % off to either side or a factor of three: the start comes from the data.

    Each estimate is within five standard errors of the truth (by chance once in 8,000 records of two numbers).
    """
    rng = np.random.default_rng(3)
    ts = np.linspace(0, 150 * 2 * np.pi, 3000)
    omegas = rng.uniform(0.7, 1.4, 100)
    data = [
        ji.Observations(ts, damped(ts, w * w, 0.01) * rng.uniform(0.5, 2) + 0.02 * rng.normal(size=3000))
        for w in omegas
    ]
    for start in (1.0, 9.0):
        fits = ji.fit_many(ji.System(P.Quadratic(start), 0.3), data, both)
        assert fits.failures == {}
        off = (fits.flat - np.stack([np.full(100, 0.01), omegas**2], 1)) / np.stack(fits.stderr, 1)
        assert np.abs(off).max() < 5


@pytest.mark.parametrize(
    ("gamma", "error"),
    [(0.2, 0.02), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1.99, 0.005), (4.0, 0.002)))],
)
def test_intervals_hold_the_truth_as_often_as_they_say(gamma, error):
    """Under-, near-critically and overdamped; 300 records: 95 % +- 4 standard errors of 1.26 %."""
    rng = np.random.default_rng(4)
    ts = np.linspace(0, 20, 200)
    q = damped(ts, 1.0, gamma)
    data = [ji.Observations(ts, q + error * rng.normal(size=200)) for _ in range(300)]
    fits = ji.fit_many(ji.System(P.Quadratic()), data, both)
    assert fits.converged.all()
    for low, high, truth in zip(*fits.interval(0.95), (gamma, 1.0), strict=True):
        assert abs(np.mean((low <= truth) & (truth <= high)) - 0.95) < 0.05


@pytest.mark.slow
def test_damping_that_the_noise_all_but_hides_is_found_all_the_same():
    """Overdamped, gamma known to a quarter: the cost is a bent valley along stiffness / gamma, from any start."""
    rng = np.random.default_rng(3)
    ts = np.linspace(0, 20, 200)
    ys = damped(ts, 1.0, 4.0) + 0.01 * rng.normal(size=(100, 200))
    fits = ji.fit_many(ji.System(P.Quadratic()), [ji.Observations(ts, y) for y in ys], both)
    assert fits.failures == {}
    alone = ji.fit(ji.System(P.Quadratic()), ji.Observations(ts, ys[0]), both)
    np.testing.assert_allclose(fits.flat[0], alone.flat, rtol=0, atol=1e-3 * fits.stderr[1][0])


def test_one_bad_record_of_many_is_reported_and_leaves_the_others_alone():
    """Noise without a motion cannot be fitted well, a record of a few readings not at all."""
    rng = np.random.default_rng(6)
    ts = np.linspace(0, 20, 200)
    good = [ji.Observations(ts, damped(ts, 1.0, 0.2) + 0.02 * rng.normal(size=200)) for _ in range(3)]
    short = ji.Observations(ts, np.where(ts > ts[-9], np.cos(ts), np.nan))
    fits = ji.fit_many(
        ji.System(P.Quadratic()),
        [*good, ji.Observations(short.ts[-9:], np.append(short.position[-8:], 0.3)[:9]), good[0]],
        both,
    )
    alone = ji.fit_many(ji.System(P.Quadratic()), good, both)
    np.testing.assert_allclose(fits.flat[:3], alone.flat, rtol=1e-6)
    np.testing.assert_allclose(fits.flat[4], fits.flat[0], rtol=1e-9)
    assert "records converged" in fits.summary()


def record_by_dop853(rhs, start, ts):
    return dop853(rhs, ts, start)[:, 0]


@pytest.mark.slow
def test_quadratic_drag_and_a_pendulum():
    """Every number of a record without noise, from DOP853; then what the fit says of the wrong model."""
    ts = np.linspace(0, 40, 500)
    y = record_by_dop853(
        lambda t, z: [z[1], -1.7 * np.sin(z[0]) - 0.05 * z[1] - 0.08 * abs(z[1]) * z[1]], [1.4, 0.0], ts
    )
    drag = ji.System(P.Pendulum(1.1), ji.damping.Drag(0.01, 0.01))
    rng = np.random.default_rng(7)
    data = ji.Observations(ts, y + 1e-3 * rng.normal(size=500))
    right = ji.fit(drag, data, lambda s: (s.damping.linear, s.damping.quadratic, s.potential.frequency))
    off = (right.flat - [0.05, 0.08, np.sqrt(1.7)]) / np.sqrt(np.diag(right.covariance_curvature))
    assert np.abs(off).max() < 4
    assert right.diagnostics.warnings == ()
    wrong = ji.fit(ji.System(P.Pendulum(1.1), 0.1), data, lambda s: (s.damping.gamma, s.potential.frequency))
    (warning,) = (w for w in wrong.diagnostics.warnings if "viscous" in w)
    assert "falls from" in warning
    assert warning.endswith("; ji.compare(data) fits the usual laws beside it")
    early, late, _ = wrong.diagnostics.halves["damping.gamma"]
    assert early > wrong.values[0] > late
    table = ji.compare({"linear": wrong, "quadratic": right})
    assert table[0][0] == "quadratic"
    assert table[1][-1] > 100
    assert "delta AIC" in str(table)


@pytest.mark.slow
def test_a_friction_matrix_a_force_and_momenta(tmp_path):
    """Two coupled components driven by a sampled input, positions and momenta recorded in two runs, from DOP853."""
    gamma = np.array([[0.3, 0.1], [0.1, 0.2]])
    stiffness = np.array([1.0, 2.3])
    ts = np.linspace(0, 12, 400)
    u = np.sin(1.3 * ts) + 0.5 * np.sin(0.7 * ts)

    def rhs(t, z):
        force = 0.8 * (np.sin(1.3 * t) + 0.5 * np.sin(0.7 * t))
        return np.concatenate([z[2:], force - stiffness * z[:2] - gamma @ z[2:]])

    runs = [dop853(rhs, ts, start) for start in ([1.0, 0.0, 0.0, 0.5], [0.0, -1.0, 0.3, 0.0])]
    z = np.concatenate(runs) + 1e-4 * np.random.default_rng(8).normal(size=(800, 4))
    data = ji.Observations(
        np.tile(ts, 2),
        z[:, :2],
        z[:, 2:],
        segment=np.repeat([0, 1], 400),
        input=np.repeat(np.tile(u, 2)[:, None], 2, 1),
    )
    system = ji.System(P.Quadratic([1.5, 1.5]), np.eye(2) * 0.5, force=ji.force.Sampled(ts, np.stack([u, u], 1), 0.3))

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.force.gain

    result = ji.fit(system, data, free)
    truth = np.concatenate([gamma.ravel(), stiffness, [0.8]])
    error = np.sqrt(np.diag(result.covariance_curvature))
    # The input is a line between samples: 1 - (omega h)^2 / 12 of each sine, 1.3e-4 at most.
    assert np.all(np.abs(result.flat - truth) < 4 * error + 1.3e-4 * np.abs(truth))
    path = result.save(tmp_path / "result")
    again = ji.Fit.load(path, system, free)
    np.testing.assert_array_equal(again.flat, result.flat)
    np.testing.assert_array_equal(again.system.damping.gamma, result.values[0])
    assert again.summary() == result.summary()
    with pytest.raises(ValueError, match=r"free returns \['damping"):
        ji.Fit.load(path, system, lambda s: s.damping.gamma)


def test_bounds_are_kept():
    data = ringdown(np.random.default_rng(9))
    held = ji.fit(ji.System(P.Quadratic()), data, both, bounds=((0.25, 0.5), None))
    assert 0.25 <= held.values[0] < 0.2501
    assert any("damping.gamma went to its bound 0.25" in w for w in held.diagnostics.warnings)
    alone = ji.fit(ji.System(P.Quadratic(), held.values[0]), data, lambda s: s.potential.stiffness)
    # What is at its bound is as good as fixed there.
    assert held.values[1] == pytest.approx(alone.values, abs=1e-3 * alone.stderr)


def test_a_record_that_grows_has_no_damping_and_the_fit_says_so():
    ts = np.linspace(0, 20, 200)
    y = damped(ts, 1.0, -0.1) + 0.02 * np.random.default_rng(10).normal(size=200)
    result = ji.fit(ji.System(P.Quadratic()), ji.Observations(ts, y), both)
    assert any("damping.gamma went to its bound 0" in w for w in result.diagnostics.warnings)
    assert np.isfinite(result.stderr[1])
    assert result.interval(0.95)[0][0] == 0  # no interval reaches beyond a bound
    many = ji.fit_many(ji.System(P.Quadratic()), [ji.Observations(ts, y), ringdown(np.random.default_rng(9))], both)
    assert many.at_bound[:, 0].tolist() == [True, False]
    assert "damping.gamma went to a bound in 1 records" in many.summary()
    assert np.all(many.interval(0.95)[0][0] >= 0)
