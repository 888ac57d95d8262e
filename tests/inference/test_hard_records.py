"""Records that a search, or its error bar, may get wrong: much noise, spikes, unlike channels, coarse steps."""

import jax
import numpy as np
import pytest
from scipy.optimize import least_squares

import jaxinertia as ji
from jaxinertia.inference.record import grid_of

from ..oracles import dop853
from .records import damped

P = ji.potentials
S = ji.System(P.Quadratic())


def both(s):
    return s.damping.gamma, s.potential.stiffness


def by_scipy(ts, y, gamma, stiffness):
    """(gamma, stiffness) of SciPy's optimum from the truth, with a free start and offset."""

    def residual(p):
        return damped(ts, p[1], p[0], p[2], p[3]) + p[4] - y

    start = [gamma, stiffness, 1.0, 0.0, y.mean()]
    return least_squares(residual, start, x_scale=[0.01, 0.01, 1, 1, 1], xtol=1e-12, ftol=1e-12).x[:2]


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.0, 100.0])
def test_a_hundred_and_fifty_noisy_cycles_about_any_level(level):
    """Noise as large as the motion's own scatter drowns windows of two cycles; the record's spectrum does not drown."""
    rng = np.random.default_rng(3)
    ts = np.linspace(0, 150 * 2 * np.pi, 2000)
    omegas = rng.uniform(0.7, 1.4, 20)
    ys = [damped(ts, w * w, 0.01) * rng.uniform(0.7, 2) + 0.3 * rng.normal(size=2000) + level for w in omegas]
    fits = ji.fit_many(S, [ji.Observations(ts, y, offset=None) for y in ys], both)
    assert fits.failures == {}
    peer = np.array([by_scipy(ts, y, 0.01, w * w) for y, w in zip(ys, omegas, strict=True)])
    errors = np.stack(fits.stderr, axis=1)
    assert np.abs((fits.flat - peer) / errors).max() < 0.01
    one = ji.fit(S, ji.Observations(ts, ys[1], offset=None), both)
    assert np.abs((one.flat - peer[1]) / errors[1]).max() < 0.01


def test_spikes_do_not_lose_the_motion():
    ts = np.linspace(0, 20, 300)
    y = damped(ts, 1.3, 0.2) + 0.02 * np.random.default_rng(0).normal(size=300)
    y[[50, 120, 200]] += 1.5
    result = ji.fit(S, ji.Observations(ts, y, offset=None), both)
    assert np.abs((result.flat - by_scipy(ts, y, 0.2, 1.3)) / result.stderr).max() < 0.01


@pytest.mark.parametrize("records", [(0,), pytest.param((3, 5, 6), marks=pytest.mark.slow)])
def test_noise_without_a_motion_is_not_a_fit(records):
    """One record says so as many do, and of a motion in as much noise both say that they have found it."""
    ts = np.linspace(0, 20, 300)
    rng = np.random.default_rng(4)
    ys = [rng.normal(size=300) for _ in range(6)] + [3 * damped(ts, 1.3, 0.2) + rng.normal(size=300)]
    data = [ji.Observations(ts, y, offset=None) for y in ys]
    fits = ji.fit_many(S, data, both)
    assert list(fits.failures) == [*range(6)]
    assert np.isnan(fits.flat[:6]).all()
    assert all("no such motion" in why for why in fits.failures.values())
    for i in records:
        alone = ji.fit(S, data[i], both).diagnostics
        assert alone.converged == fits.converged[i] == (i == 6)
        said = [f"{why}; do not use the values" for why in fits.failures.get(i, "").split("; ") if why]
        assert [warning for warning in alone.warnings if "do not use" in warning] == said


@pytest.mark.slow
def test_momenta_weigh_what_their_own_residuals_say():
    """Position to 1e-3, momentum to 0.3, both unknown: the momenta add nothing, and take nothing away."""
    ts = np.linspace(0, 20, 200)
    rng = np.random.default_rng(5)
    q = damped(ts, 1.0, 0.1) + 1e-3 * rng.normal(size=200)
    p = np.gradient(damped(ts, 1.0, 0.1), ts) + 0.3 * rng.normal(size=200)
    with_both, alone = (ji.fit(S, ji.Observations(ts, q, more), both) for more in (p, None))
    np.testing.assert_allclose(with_both.stderr, alone.stderr, rtol=0.05)
    assert np.abs((with_both.flat - alone.flat) / alone.stderr).max() < 0.2
    assert with_both.position_error == pytest.approx(alone.position_error, rel=0.05)
    assert with_both.diagnostics.reduced_chi_square is None


@pytest.mark.slow
def test_components_have_errors_of_their_own():
    """Two oscillators read to 0.05 and to 0.001: over 40 records each standard error is its value's scatter."""
    ts = np.linspace(0, 20, 200)
    rng = np.random.default_rng(6)
    clean = np.stack([damped(ts, 1.0, 0.2), damped(ts, 1.7, 0.1)], 1)
    data = [ji.Observations(ts, clean + rng.normal(size=(200, 2)) * [0.05, 0.001]) for _ in range(40)]
    system = ji.System(P.Quadratic(np.ones(2)), np.full(2, 0.1))
    fits = ji.fit_many(system, data, both)
    ratio = np.sqrt(np.diagonal(fits.covariance, axis1=1, axis2=2)).mean(0) / fits.flat.std(0, ddof=1)
    # The scatter of 40 is known to 11 %.
    np.testing.assert_allclose(ratio, 1.0, atol=0.35)
    one = ji.fit(system, data[0], both)
    np.testing.assert_allclose(one.flat, fits.flat[0], atol=0.02 * np.max(one.stderr[0]))
    np.testing.assert_allclose(one.position_error, [0.05, 0.001], rtol=0.2)


def test_an_error_that_components_share_is_not_correlated_in_time():
    ts = np.linspace(0, 20, 200)
    shared = 0.02 * np.random.default_rng(7).normal(size=(200, 1))
    y = np.stack([damped(ts, 1.0, 0.2), damped(ts, 1.7, 0.1)], 1) + shared
    result = ji.fit(ji.System(P.Quadratic(np.ones(2)), np.full(2, 0.1)), ji.Observations(ts, y), both)
    assert result.diagnostics.whiteness > 1e-3
    assert not [w for w in result.diagnostics.warnings if "correlated" in w]


def test_a_bootstrap_draws_residuals_in_units_of_their_errors():
    """The first half read to 0.001, the second to 0.2: the interval is that of the normal law."""
    ts = np.linspace(0, 20, 200)
    error = np.where(ts < 10, 0.001, 0.2)
    y = damped(ts, 1.0, 0.1) + error * np.random.default_rng(8).normal(size=200)
    result = ji.fit(S, ji.Observations(ts, y, position_error=error), both)
    low, high = result.interval(0.95, method="bootstrap", key=jax.random.key(1), samples=200)
    normal = result.interval(0.95)
    assert high[0] - low[0] == pytest.approx(normal[1][0] - normal[0][0], rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("error", [1e-3, 1e-5])
def test_steps_are_as_short_as_the_data_need(error):
    """A stiff Duffing oscillator, six readings a cycle: steps of 0.7 radians would be off by 40 standard errors."""
    ts = np.linspace(0, 90, 300)
    rhs = lambda t, z: [z[1], -z[0] - 10 * z[0] ** 3 - 0.02 * z[1]]  # noqa: E731
    y = dop853(rhs, ts, [1.0, 0.0])[:, 0] + error * np.random.default_rng(9).normal(size=300)
    free = lambda s: (s.damping.gamma, s.potential.linear, s.potential.cubic)  # noqa: E731
    data = ji.Observations(ts, y, position_error=error)
    result = ji.fit(ji.System(P.Duffing(1.5, 7.0)), data, free)
    assert np.abs((result.flat - [0.02, 1.0, 10.0]) / result.stderr).max() < 4
    many = ji.fit_many(ji.System(P.Duffing(1.5, 7.0)), [data, data], free)
    assert np.abs((many.flat - result.flat) / result.stderr).max() < 0.1


@pytest.mark.slow
def test_a_short_record_fails_by_itself():
    """First of those on its times, with fewer readings than numbers to fit."""
    ts = np.linspace(0, 20, 200)
    y = damped(ts, 1.0, 0.2) + 0.01 * np.random.default_rng(10).normal(size=200)
    few = np.where(np.arange(200) % 25 == 0, y, np.nan)
    free = lambda s: (s.damping.linear, s.damping.quadratic, s.potential)  # noqa: E731
    system = ji.System(P.Duffing(1.0, 0.0), ji.damping.Drag(0.1, 0.0))
    fits = ji.fit_many(system, [ji.Observations(ts, x, offset=None) for x in (few, y, y)], free)
    assert list(fits.failures) == [0]
    assert "too few readings" in fits.failures[0]


def test_least_squares_of_a_system_with_noise_leaves_the_noise_away():
    ts = np.linspace(0, 20, 200)
    u = np.sin(1.3 * ts)
    y = dop853(lambda t, z: [z[1], -z[0] - 0.2 * z[1] + 0.5 * np.sin(1.3 * t)], ts, [1.0, 0.0])[:, 0]
    data = ji.Observations(ts, y + 1e-3 * np.random.default_rng(11).normal(size=200), input=u)
    free = lambda s: (s.damping.gamma, s.force.gain)  # noqa: E731
    system = ji.System(P.Quadratic(), 0.1, 1.0, force=ji.force.Sampled(ts, u))
    result = ji.fit(system, data, free, method="least squares")
    assert np.abs((result.flat - [0.2, 0.5]) / result.stderr).max() < 4
    with pytest.raises(ValueError, match=r"noise|NoneType"):
        ji.fit(system, data, lambda s: s.noise.sigma, method="least squares")


def test_times_are_even_only_where_they_were_rounded():
    """Jitter of 4e-4 of a step is kept; five decimals, float32 and sums of steps are not taken for jitter."""
    jitter = np.random.default_rng(12).uniform(-1, 1, 300)
    k = np.arange(300)
    times = {
        "jitter": 0.1 * k + 4e-5 * jitter,
        "decimals": np.round(np.linspace(0, 20, 300), 5),
        "float32": (0.1 * k).astype(np.float32),
        "sums": np.cumsum(np.full(300, 0.1)),
        "epoch": 1.7e9 + 0.01 * k,
    }
    even = {}
    for name, ts in times.items():
        data = ji.Observations(ts, np.sin(0.1 * k))
        grid = grid_of(data)
        assert grid.even == np.array_equal(grid.ts[0], k)
        even[name] = grid.even
    assert even == {name: name != "jitter" for name in times}
