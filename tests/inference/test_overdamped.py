"""Records of which friction has left one decay: what is in them is found and said, what is not has no small error."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import least_squares

import jaxinertia as ji

from .records import damped, langevin

P = ji.potentials
TS = np.linspace(0, 40, 200)
GAMMA, STIFFNESS, NOISE = 10.0, 1.0, 0.01


def both(s):
    return s.damping.gamma, s.potential.stiffness


def record(seed):
    """From rest; the fast rate of 9.9 is over within a reading, 0.2 apart."""
    y = damped(TS, STIFFNESS, GAMMA) + NOISE * np.random.default_rng(seed).normal(size=200)
    return ji.Observations(TS, y)


def one_exponential(y):
    """The least sum of squares of A e^{-rt}, which every motion of two rates contains, and its r."""
    found = least_squares(lambda p: p[0] * np.exp(-p[1] * TS) - y, [1.0, 0.1], xtol=1e-14)
    return 2 * found.cost, found.x[1]


def held(ts, y, gamma, start):
    """The least sum of squares with gamma held, by SciPy; from k, q and p."""
    return 2 * least_squares(lambda p: damped(ts, p[0], gamma, *p[1:]) - y, start, xtol=1e-14).cost


@pytest.mark.parametrize("seed", [1, 6, 24])
def test_what_an_overdamped_record_holds_is_found_from_any_start_and_no_error_is_small(seed):
    """Seed 1 fits best with a rate that no reading shows, 6 and 24 with gamma at 0 and a saddle: chance."""
    data = record(seed)
    least, rate = one_exponential(data.position)
    found = []
    for gamma, stiffness in ((0.01, 100.0), (1e3, 1e-3)):
        result = ji.fit(ji.System(P.Quadratic(stiffness), gamma), data, both)
        assert result.diagnostics.converged
        squares = np.sum(result.diagnostics.residuals**2)
        assert squares < least * (1 + 1e-6)
        found.append(squares)
        # Whatever gamma is, the motion may be A e^{-rt} alone: five errors away the cost is no higher than that.
        height = np.sqrt((least - squares) / (squares / 196))
        assert height < 5
        assert np.isinf(result.stderr).all()
        low, high = result.interval(0.95)
        if height < stats.t.ppf(0.975, 196):
            assert low[0] <= GAMMA <= high[0]
            assert low[1] <= STIFFNESS <= high[1]
            assert np.isinf(high).all()
            said = [w for w in result.diagnostics.warnings if w.startswith("overdamped")]
            assert f"{rate:.2g}" in said[0]
    # Along such a valley the cost is known to 1e-3 of the variance.
    assert found[0] == pytest.approx(found[1], abs=2e-3 * NOISE**2)


def test_an_interval_is_the_profiles_where_its_error_is_not_symmetric():
    """gamma = 4 and k = 1 read to 0.02 five times in 1 / gamma: both ends are where chi-square, all else refitted by
    SciPy, has risen by t^2 variance; so they are in `fit_many`, in a file, and at another level."""
    ts = np.linspace(0, 10, 200)
    y = damped(ts, 1.0, 4.0) + 0.02 * np.random.default_rng(0).normal(size=200)
    data, system = ji.Observations(ts, y), ji.System(P.Quadratic())
    result = ji.fit(system, data, both)
    assert any("not symmetric" in w for w in result.diagnostics.warnings)
    best = np.sum(result.diagnostics.residuals**2)
    for level in (0.95, 0.7):
        low, high = result.interval(level)
        for end in (low[0], high[0]):
            rise = (held(ts, y, end, [end / 4, 1.0, 0.0]) - best) / (best / 196)
            # An end is sought to 1e-3 of the distance from the value.
            assert np.sqrt(rise) == pytest.approx(stats.t.ppf((1 + level) / 2, 196), rel=5e-3)
    np.testing.assert_array_equal(result.interval(), result.ends)
    assert result.stderr[0] >= (result.ends[1, 0] - result.ends[0, 0]) / 2 / stats.t.ppf(0.975, 196) * (1 - 1e-12)


def test_the_fast_part_of_a_release_is_no_other_motion():
    """It is where gamma is read: a record that goes one way is free motion throughout."""
    ts = np.linspace(0, 20, 200)
    y = damped(ts, 1.3, 6.0) + 1e-3 * np.random.default_rng(2).normal(size=200)
    data = ji.Observations(ts, y)
    assert data.decays() is data


@pytest.mark.slow
@pytest.mark.optimised
def test_two_hundred_overdamped_records():
    """The interval covers as it says, no symmetric error misses by more than five, and every record is found."""
    fits = ji.fit_many(ji.System(P.Quadratic()), [record(seed) for seed in range(200)], both)
    assert fits.failures == {}
    low, high = (np.stack(side, axis=1) for side in fits.interval(0.95))
    covered = ((low <= [GAMMA, STIFFNESS]) & (high >= [GAMMA, STIFFNESS])).mean(0)
    assert np.all((covered >= 0.9) & (covered <= 0.99))
    assert np.all(np.abs(fits.flat - [GAMMA, STIFFNESS]) <= 5 * np.stack(fits.stderr, axis=1))


def three(s):
    return s.damping.gamma, s.potential.stiffness, s.noise.sigma


def driven_by_noise(seed, n):
    """gamma = 100 and k = 1 at temperature 1, read once in a hundred times 1 / gamma, to 0.05."""
    rng = np.random.default_rng(seed)
    y = langevin(rng, n, 1.0, 1.0, 100.0, np.sqrt(200.0)) + 0.05 * rng.normal(size=n)
    return ji.Observations(np.arange(float(n)), y, position_error=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_of_an_overdamped_record_that_noise_drives_what_is_not_told_is_open(seed):
    """Only sigma / gamma and k / gamma are in it: seed 0 fits best with gamma 16, seed 2 with ever more. The lower end
    is where fits with gamma held cost so much more, and no friction from there on is excluded."""
    data = driven_by_noise(seed, 1000)
    result = ji.fit(ji.System(P.Quadratic(), 1.0, 1.0), data, three)
    assert result.diagnostics.converged
    assert np.isinf(result.stderr).all()
    low, high = result.interval()
    assert low[0] < 100 < high[0] == np.inf
    assert low[2] < np.sqrt(200) < high[2] == np.inf
    assert any("overdamped" in w for w in result.diagnostics.warnings)

    def cost(gamma):
        start = ji.System(P.Quadratic(0.01 * gamma), gamma, 0.14 * gamma)
        return ji.fit(start, data, lambda s: (s.potential.stiffness, s.noise.sigma)).cost

    rise = np.sqrt(2 * (cost(low[0]) - result.cost))
    assert rise == pytest.approx(stats.t.ppf(0.975, result.freedom), rel=1e-2)
    assert abs(cost(1000.0) - result.cost) < 0.5


@pytest.mark.slow
@pytest.mark.optimised
def test_forty_overdamped_records_that_noise_drives():
    """The intervals cover, and no symmetric error misses by more than five."""
    fits = ji.fit_many(ji.System(P.Quadratic(), 1.0, 1.0), [driven_by_noise(seed, 300) for seed in range(40)], three)
    assert fits.failures == {}
    truth = np.array([100.0, 1.0, np.sqrt(200.0)])
    low, high = (np.stack(side, axis=1) for side in fits.interval(0.95))
    covered = np.sum((low <= truth) & (high >= truth), 0)
    assert np.all(covered >= 40 - stats.binom.isf(1e-3, 40, 0.05))
    assert np.all(np.abs(fits.flat - truth) <= 5 * np.stack(fits.stderr, axis=1))
