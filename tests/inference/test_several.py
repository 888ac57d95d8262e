"""Several records of one system in one fit: shared numbers, and a zero, an error and runs of each one's own."""

import numpy as np
import pytest
from scipy.optimize import least_squares

import jaxinertia as ji

from .records import damped, langevin

P = ji.potentials
SYSTEM = ji.System(P.Quadratic())
STIFFNESS, GAMMA = 1.3, 0.2
ERRORS, LEVELS = (0.02, 0.002), (0.7, 53.0)
TIMES = np.linspace(0.0, 25.0, 60), 100 + np.sort(np.random.default_rng(5).uniform(0, 40, 150))
STARTS = (1.0, 0.0), (0.5, 0.3)


def free(s):
    return s.damping.gamma, s.potential.stiffness


def swing(k):
    return damped(TIMES[k] - TIMES[k][0], STIFFNESS, GAMMA, *STARTS[k])


def records(seed=0, known=False, slope=(0.0, 0.0), **options):
    """Of other times, levels and errors."""
    rng = np.random.default_rng(seed)
    out = []
    for k in (0, 1):
        drift = slope[k] * (TIMES[k] - TIMES[k][0])
        y = LEVELS[k] + drift + swing(k) + ERRORS[k] * rng.normal(size=len(TIMES[k]))
        error = ERRORS[k] if known else None
        out.append(ji.Observations(TIMES[k], y, offset=None, position_error=error, **options))
    return out


def test_one_law_of_two_records_is_scipys_optimum():
    """The values, both levels, and the whole covariance; residuals lie in the rows of one record after the other."""
    data = records(known=True)
    found = ji.fit(SYSTEM, data, free)

    def residual(x):
        def one(k):
            q = damped(TIMES[k] - TIMES[k][0], x[1], x[0], *x[4 + 2 * k : 6 + 2 * k])
            return (q + x[2 + k] - data[k].position) / ERRORS[k]

        return np.concatenate([one(0), one(1)])

    start = [GAMMA, STIFFNESS, *LEVELS, *STARTS[0], *STARTS[1]]
    peer = least_squares(residual, start, jac="3-point", x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    covariance = np.linalg.inv(peer.jac.T @ peer.jac)
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(found.flat, peer.x[:2], rtol=0, atol=1e-4 * spread[0])
    np.testing.assert_allclose(found.covariance_curvature, covariance[:2, :2], rtol=1e-4, atol=1e-4 * spread[0] ** 2)
    for k in (0, 1):
        assert found.offset[0][k, 0] == pytest.approx(peer.x[2 + k], abs=1e-3 * spread[2 + k])
        assert found.offset[1][k, 0] == pytest.approx(spread[2 + k], rel=1e-3)
    assert (found.readings, found.freedom) == (210, 210 - 8)
    errors = np.repeat(ERRORS, [60, 150])
    np.testing.assert_allclose(found.diagnostics.residuals, -residual(peer.x) * errors, atol=1e-6)
    joined = ji.fit(SYSTEM, ji.Observations.join(data), free)
    np.testing.assert_array_equal(joined.flat, found.flat)


def test_unknown_errors_are_each_records_own_and_levels_may_drift(tmp_path):
    """Values by the errors stated; a file keeps them."""
    found = ji.fit(SYSTEM, records(1, trend=True, slope=(0.03, -0.05)), free)
    off = (found.flat - [GAMMA, STIFFNESS]) / np.sqrt(np.diag(found.covariance))
    assert np.all(np.abs(off) < 4)
    for pair, truth in ((found.offset, LEVELS), (found.trend, (0.03, -0.05))):
        assert np.all(np.abs(pair[0][:, 0] - truth) < 4 * pair[1][:, 0])
    np.testing.assert_allclose(
        found.position_error[:, 0] if found.position_error.ndim > 1 else found.position_error, ERRORS, rtol=0.35
    )
    assert "each run weighed by its own scatter" in found.why
    again = ji.Fit.load(found.save(tmp_path / "fit"), SYSTEM, free)
    assert again.summary() == found.summary()
    np.testing.assert_array_equal(again.trend[0], found.trend[0])


def test_what_is_free_is_found_in_each_and_a_short_record_is_kept():
    """One was held before it was let go; the other has few readings and is taken whole; a chosen one as well."""
    rng = np.random.default_rng(2)
    ts = np.arange(0.0, 40.0, 0.1)
    y = np.where(ts < 10, 1.0, damped(np.maximum(ts - 10, 0), STIFFNESS, GAMMA)) + 0.01 * rng.normal(size=400)
    held, few = ji.Observations(ts, y), ji.Observations(T_FEW, damped(T_FEW, STIFFNESS, GAMMA))
    joined = ji.Observations.join([held, few, held.between(0, 30)])
    part = joined.free_motion()
    counts = np.bincount(part.record)
    assert (counts[1], counts[2]) == (len(T_FEW), 301)
    assert abs(counts[0] - 300) < 10
    assert part.record_of_runs == (0, 1, 2)
    assert "after a hold" in part.reading[-1]


T_FEW = np.linspace(0.0, 6.0, 10)


@pytest.mark.slow
def test_a_driven_record_and_a_free_one():
    """The gain of the input from the one, the rest from both, with the free motion found in the other."""
    rng = np.random.default_rng(4)
    ts = np.arange(0.0, 40.0, 0.1)
    u = np.cos(0.9 * ts)
    steady = 2.0 * np.exp(0.9j * ts) / (STIFFNESS - 0.81 + 0.9j * GAMMA)
    driven = np.real(steady) + 0.01 * rng.normal(size=400) - 1
    held = np.where(ts < 10, 1.0, damped(np.maximum(ts - 10, 0), STIFFNESS, GAMMA)) + 0.01 * rng.normal(size=400) + 3
    data = [ji.Observations(ts, driven, input=u, offset=None), ji.Observations(ts, held, offset=None)]
    system = ji.System(P.Quadratic(), force=ji.force.Sampled(ts, u, 1.0))
    found = ji.fit(system, data, lambda s: (*free(s), s.force.gain))
    off = (found.flat - [GAMMA, STIFFNESS, 2.0]) / np.sqrt(np.diag(found.covariance))
    assert np.all(np.abs(off) < 4)
    np.testing.assert_allclose(found.offset[0][:, 0], [-1, 3], atol=0.01)
    assert "after a hold" in found.why


@pytest.mark.slow
def test_noise_driven_records_of_unlike_error_and_level():
    """Gamma, stiffness and sigma of both, errors and levels of each, by the errors stated."""
    rng = np.random.default_rng(3)
    n, errors, levels = 2000, np.array([0.1, 0.4]), np.array([5.0, -2.0])
    ys = [langevin(rng, n, 0.3, STIFFNESS, 0.5, 1.0) + e * rng.normal(size=n) for e in errors]
    data = [ji.Observations(0.3 * np.arange(n), y + c, offset=None) for y, c in zip(ys, levels, strict=True)]
    system = ji.System(P.Quadratic(), noise=1.0)
    found = ji.fit(system, data, lambda s: (*free(s), s.noise.sigma))
    one = ji.fit(system, data[0], lambda s: (*free(s), s.noise.sigma))
    off = (found.flat - [0.5, STIFFNESS, 1.0]) / np.sqrt(np.diag(found.covariance))
    assert np.all(np.abs(off) < 4)
    assert np.all(np.array(found.stderr) < 0.9 * np.array(one.stderr))
    np.testing.assert_allclose(np.ravel(found.position_error), errors, rtol=0.1)
    assert np.all(np.abs(found.offset[0][:, 0] - levels) < 4 * found.offset[1][:, 0])
    with pytest.raises(ValueError, match="has one floor for all readings, and these are several"):
        ji.fit(system, data, lambda s: (*free(s), s.noise.sigma), method="whittle")


@pytest.mark.slow
def test_coverage_of_two_records():
    """300 pairs of unknown error: the 95 % interval of gamma holds the truth in 92 to 97.5 % (chance alone is 1.3)."""
    fits = ji.fit_many(SYSTEM, [records(seed) for seed in range(300)], free)
    low, high = fits.interval(0.95)
    assert 0.92 <= np.mean((low[0] < GAMMA) & (high[0] > GAMMA)) <= 0.975


@pytest.mark.slow
def test_each_record_has_numbers_of_its_own():
    """Shared gamma, own stiffnesses, of records of unlike sampling."""
    rng = np.random.default_rng(7)
    stiffnesses, sizes = (1.0, 1.4), (80, 1000)
    data = []
    for k, n in zip(stiffnesses, sizes, strict=True):
        ts = np.linspace(0, 25, n)
        data.append(ji.Observations(ts, damped(ts, k, GAMMA) + 0.02 * rng.normal(size=n) + k, offset=None))
    found = ji.fit(SYSTEM, data, lambda s: s.damping.gamma, each=lambda s: s.potential.stiffness)
    assert np.all(np.abs(found.each - stiffnesses) < 4 * found.each_stderr)
    assert abs(found.values - GAMMA) < 4 * found.stderr


def test_what_cannot_be_one_is_refused():
    one, two = records()
    with pytest.raises(ValueError, match=r"must be ji.Observations, or a list of them"):
        ji.fit(SYSTEM, [], free)
    with pytest.raises(ValueError, match=r"records = \[\] must be a list"):
        ji.Observations.join([])
    known = ji.Observations(two.ts, two.position, offset=53.0)
    with pytest.raises(ValueError, match=r"records\[1\] and records\[0\] are unlike: offset is None"):
        ji.fit(SYSTEM, [one, known], free)
    with pytest.raises(ValueError, match=r"are unlike: read: .*pass one function for all"):
        ji.fit(SYSTEM, [one, ji.Observations(two.ts, two.position, read=lambda q, p: p, offset=None)], free)
    with pytest.raises(ValueError, match=r"are unlike: trend: True, False"):
        ji.fit(SYSTEM, [one, records(trend=True)[1]], free)
    with pytest.raises(ValueError, match="are unlike: channels"):
        ji.Observations.join([one, ji.Observations(one.ts, np.stack([one.position] * 2, 1), offset=None)])
    with pytest.raises(ValueError, match=r"a run of data\.segment is of two records"):
        ji.Observations(one.ts, one.position, record=np.arange(60) < 30)


def test_records_that_do_not_share_a_number_are_told_of():
    """Gamma 0.2 and 0.3: the residuals say so, and what to do."""
    rng = np.random.default_rng(0)
    ts = np.linspace(0, 25, 120)
    data = [ji.Observations(ts, damped(ts, STIFFNESS, g) + 0.02 * rng.normal(size=120)) for g in (0.2, 0.3)]
    told = ji.fit(SYSTEM, data, free).diagnostics.warnings
    assert any("each= gives every one its own" in text for text in told)
