"""Runs that share some numbers, and have others of their own."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import least_squares

import jaxinertia as ji

from .records import damped, langevin

P = ji.potentials
SYSTEM = ji.System(P.Quadratic())
T = np.linspace(0.0, 25.0, 80)
STIFFNESSES, GAMMA, ERROR = (1.0, 1.4), 0.2, 0.02
TS = np.concatenate([T, T + 40.0])
RUNS = np.repeat([0, 1], len(T))


def record(seed=0, **options):
    rng = np.random.default_rng(seed)
    y = np.concatenate([damped(T, k, GAMMA) for k in STIFFNESSES]) + ERROR * rng.normal(size=len(TS))
    return ji.Observations(TS, y, segment=RUNS, **options)


def gamma(s):
    return s.damping.gamma


def stiffness(s):
    return s.potential.stiffness


def nothing(s):
    return ()


def test_what_runs_share_and_what_each_has_is_scipys_optimum(tmp_path):
    """Values, and the whole covariance; and what is saved comes back."""
    data = record(position_error=ERROR)
    found = ji.fit(SYSTEM, data, gamma, each=stiffness)

    def residual(x):
        runs = [damped(T, x[1 + k], x[0], *x[3 + 2 * k : 5 + 2 * k]) for k in (0, 1)]
        return (np.concatenate(runs) - data.position) / ERROR

    start = [GAMMA, *STIFFNESSES, 1.0, 0.0, 1.0, 0.0]
    peer = least_squares(residual, start, jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    covariance = np.linalg.inv(peer.jac.T @ peer.jac)[:3, :3]
    np.testing.assert_allclose(found.flat, peer.x[:3], rtol=0, atol=1e-4 * np.sqrt(covariance[0, 0]))
    np.testing.assert_allclose(found.covariance_curvature, covariance, rtol=1e-4, atol=1e-4 * covariance.max())
    assert (found.values, found.freedom) == (found.flat[0], len(TS) - 7)
    np.testing.assert_array_equal(found.each, found.flat[1:])
    np.testing.assert_array_equal(found.each_stderr, np.sqrt(np.diag(found.covariance))[1:])
    assert found.labels == ("damping.gamma", "potential.stiffness, run 1", "potential.stiffness, run 2")
    assert found.system.potential.stiffness == found.each[0]
    reach = stats.t.ppf(0.95, found.freedom) * found.each_stderr
    np.testing.assert_allclose(found.interval(0.9, each=True), [found.each - reach, found.each + reach], rtol=1e-12)
    for k in (0, 1):  # of the delta method, by hand
        value, error = found.derived[f"natural_frequency, run {k + 1}"]
        assert value == pytest.approx(np.sqrt(found.each[k]) / (2 * np.pi))
        assert error == pytest.approx(found.each_stderr[k] / (4 * np.pi * np.sqrt(found.each[k])))
    again = ji.Fit.load(found.save(tmp_path / "fit"), SYSTEM, gamma, each=stiffness)
    np.testing.assert_array_equal(again.each, found.each)
    assert again.summary() == found.summary()
    with pytest.raises(ValueError, match="pass what was fitted"):
        ji.Fit.load(tmp_path / "fit.npz", SYSTEM, gamma)


@pytest.mark.slow
def test_runs_that_share_nothing_are_fits_by_themselves():
    def both(s):
        return gamma(s), stiffness(s)

    data = record(position_error=ERROR)
    found = ji.fit(SYSTEM, data, nothing, each=both)
    for k in (0, 1):
        rows = k == RUNS
        one = ji.fit(SYSTEM, ji.Observations(TS[rows], data.position[rows], position_error=ERROR), both)
        for i in (0, 1):
            assert found.each[i][k] == pytest.approx(one.values[i], abs=1e-4 * one.stderr[i])
            assert found.each_stderr[i][k] == pytest.approx(one.stderr[i], rel=1e-3)


@pytest.mark.slow
def test_many_records_have_own_values_too():
    data = [record(seed) for seed in (0, 1)]
    found = ji.fit_many(SYSTEM, data, gamma, each=stiffness)
    one = ji.fit(SYSTEM, data[1], gamma, each=stiffness)
    np.testing.assert_allclose(found.each[1], one.each, atol=1e-4 * one.each_stderr[0])
    np.testing.assert_allclose(found.each_stderr[1], one.each_stderr, rtol=1e-3)
    np.testing.assert_allclose(found[1].each, found.each[1], rtol=1e-12)


@pytest.mark.slow
def test_runs_of_a_noise_driven_motion():
    """Gamma and sigma shared, stiffnesses own: the truth by the errors stated, which are less than those of one run."""
    rng = np.random.default_rng(3)
    y = np.concatenate([langevin(rng, 1500, 0.3, k, 0.5, 1.0) for k in STIFFNESSES])
    y = y + 0.1 * rng.normal(size=len(y))
    ts = 0.3 * np.arange(len(y))
    run = np.repeat([0, 1], 1500)
    system = ji.System(P.Quadratic(), noise=1.0)
    found = ji.fit(system, ji.Observations(ts, y, segment=run), lambda s: (gamma(s), s.noise.sigma), each=stiffness)
    off = (found.flat - [0.5, 1.0, *STIFFNESSES]) / np.sqrt(np.diag(found.covariance))
    assert np.all(np.abs(off) < 4)
    assert np.all(found.each_stderr < 0.1)


def test_what_each_cannot_be_is_refused():
    data = record()
    with pytest.raises(ValueError, match="free returns a leaf twice or each one of its"):
        ji.fit(SYSTEM, data, gamma, each=gamma)
    with pytest.raises(ValueError, match="each returns"):
        ji.fit(SYSTEM, data, gamma, each=nothing)
    with pytest.raises(ValueError, match="with each= pass two"):
        ji.fit(SYSTEM, data, gamma, each=stiffness, bounds=(0.0, 1.0, 2.0))
    with pytest.raises(ValueError, match=r"data\[1\] has 1 runs, data\[0\] 2"):
        ji.fit_many(SYSTEM, [data, ji.Observations(T, damped(T, 1.0, 0.2))], gamma, each=stiffness)
    noisy = ji.System(P.Quadratic(), noise=1.0)
    with pytest.raises(ValueError, match="one spectrum for all runs"):
        ji.fit(noisy, data, lambda s: (gamma(s), s.noise.sigma), each=stiffness, method="whittle")
