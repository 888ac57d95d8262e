"""Covariances and tests of residuals, each by its formula written out."""

import numpy as np
import pytest
from scipy import stats

import jaxinertia as ji
from jaxinertia.inference import evidence as errors
from jaxinertia.inference.crosscheck import LARGE

N, P = 60, 2


def evidence(runs=1, channels=1, states=False):
    """Residuals, scores and roots of a linear fit, at random."""
    rng = np.random.default_rng(0)
    rows = N * runs * channels
    residuals, j = rng.normal(size=rows), rng.normal(size=(rows, P))
    run, time, channel = (x.ravel() for x in np.meshgrid(range(runs), range(N), range(channels), indexing="ij"))
    jx = rng.normal(size=(rows, 1)) if states else None
    return errors.Evidence(
        residuals, j * residuals[:, None], j[:, None], run, channel, time.astype(float), 1.0, rows - P, jx
    )


def test_the_sandwich_is_newey_and_wests():
    """Sum over all pairs of times of one run, weighed by 1 - |l| / (L + 1), with n / (n - p)."""
    lags, one = 5, evidence(runs=2)
    weight = np.maximum(1 - np.abs(np.subtract.outer(one.time, one.time)) / (lags + 1), 0)
    weight = weight * (one.run[:, None] == one.run)
    bread = np.linalg.inv(one.roots[:, 0].T @ one.roots[:, 0])
    expected = bread @ (one.scores.T @ weight @ one.scores) @ bread * (2 * N / (2 * N - P))
    np.testing.assert_allclose(errors.sandwich(one, lags), expected, rtol=1e-12)
    np.testing.assert_allclose(errors.curvature(one._replace(variance=2.5)), 2.5 * bread, rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_whiteness_is_ljung_and_boxs_test(channels):
    """n (n + 2) sum r_l^2 / (n - l) against chi-square, of every channel; the least counts, times their number."""
    one = evidence(channels=channels)
    lags, chances = N // 5, []
    for channel in range(channels):
        e = one.residuals[one.channel == channel]
        r = np.array([np.sum(e[lag:] * e[:-lag]) for lag in range(1, lags + 1)]) / np.sum(e**2)
        chances.append(stats.chi2.sf(N * (N + 2) * np.sum(r**2 / (N - np.arange(1, lags + 1))), lags))
    assert errors.whiteness(one) == pytest.approx(min(1.0, channels * min(chances)), rel=1e-10)
    assert errors.whiteness(one) < 1
    assert np.isnan(errors.ljung_box(np.array([1.0, 0.5]), np.array([4, 3])))  # no lag of so few


def test_steadiness_is_brown_and_forsythes_test():
    """One-way analysis of variance of the sizes in the quarters of every run, of one record or of one of many of other
    lengths; errors that fall from 1.3 to 0.3 are told, and equal ones of any scale are not."""
    rng = np.random.default_rng(3)
    taken = np.zeros((2, 2, 80, 1), bool)
    taken[0, :, :60], taken[1, 0, :80], taken[1, 1, :77] = True, True, True
    residuals = np.where(taken, rng.normal(size=taken.shape) * [[[[1.0]]], [[[30.0]]]], 0.0)
    found = errors.steadiness_of_all(residuals, taken)
    for r, lengths in enumerate(((60, 60), (80, 77))):
        parts = [[], [], [], []]
        for run, n in enumerate(lengths):
            for j in range(n):
                parts[4 * j // n].append(abs(residuals[r, run, j, 0]))
        assert found[r] == pytest.approx(stats.f_oneway(*parts).pvalue, rel=1e-10)
    one = evidence(runs=2)._replace(residuals=residuals[0, :, :60].ravel())
    assert errors.steadiness(one) == pytest.approx(found[0], rel=1e-12)
    assert errors.steadiness(one._replace(residuals=np.ones(120))) == 1.0
    falls = np.linspace(1.3, 0.3, 60)[:, None]
    assert errors.steadiness_of_all(residuals[:1, :, :60] * falls, taken[:1, :, :60])[0] < errors.DOUBT < found.min()


def test_the_covariance_of_unlike_readings_is_that_of_residuals_left_out():
    """HC3 of the whole design, the states among it: residuals over 1 - h, by the hat matrix written out."""
    one = evidence(states=True)
    j, jx, r = one.roots[:, 0], one.states, one.residuals
    design = np.column_stack([j, jx])
    bread = np.linalg.inv(design.T @ design)
    hat = np.einsum("ni,ij,nj->n", design, bread, design)
    expected = bread @ (design.T * (r / (1 - hat)) ** 2) @ design @ bread
    apart = j - jx @ np.linalg.lstsq(jx, j, rcond=None)[0]  # what a fit hands over: the states eliminated
    eliminated = one._replace(roots=apart[:, None], scores=apart * r[:, None])
    np.testing.assert_allclose(errors.of_unlike(eliminated), expected[:P, :P], rtol=1e-10)


def test_halves_of_a_line_are_those_of_two_fits():
    """Of a linear model one Gauss-Newton step is the fit: each half's own, with a state of its own."""
    one = evidence(states=True)
    j, jx = one.roots[:, 0], one.states
    y = one.residuals  # prediction - reading at 0: the fit to a half moves to its least squares
    early = one.time <= one.time[_middle(j[:, 1])]
    found = []
    for part in (early, ~early):
        design = np.column_stack([j[part], jx[part]])
        solution = np.linalg.lstsq(design, -y[part], rcond=None)[0]
        found.append((solution[1], np.linalg.inv(design.T @ design)[1, 1]))
    (a, va), (b, vb) = found
    np.testing.assert_allclose(errors.halves(one, 1), (a, b, np.sqrt(va + vb)), rtol=1e-10)


def _middle(column):
    """The row up to which half of the information on this coordinate lies."""
    return np.searchsorted(np.cumsum(column**2), np.sum(column**2) / 2)


def test_noise_is_taken_for_a_motion_once_in_a_thousand_times():
    """The greatest of n / 2 powers of white noise, each exponential about the variance, passes the threshold with the
    probability 1 - (1 - 1 / (1000 n))^(n / 2), and with p numbers more to fit no oftener."""
    n = 100
    power = stats.expon.isf(1 / (1000 * n))  # of one frequency: half of the sum of squares that it takes away, over s^2
    for variance in (1.0, 0.04):
        assert not errors.found(variance * power * 0.999, 0.0, variance, n, 0)
        assert errors.found(variance * power * 1.001, 0.0, variance, n, 0)
        assert not errors.found(variance * (power + 3) * 0.999, 0.0, variance, n, 3)
        assert errors.found(variance * (power + 3) * 1.001, 0.0, variance, n, 3)


def test_errors_are_looked_up_beside_a_fitted_offset():
    """Of a cycle with much noise, whose level is unknown too: values on straight lines are the parameters' alone."""
    ts = np.linspace(0, 5, 25)
    y = 0.3 + np.exp(-0.1 * ts) * np.cos(1.3 * ts) + 0.1 * np.random.default_rng(4).normal(size=25)
    system = ji.System(ji.potentials.Quadratic(), 0.1)
    result = ji.fit(system, ji.Observations(ts, y, offset=None), lambda s: (s.damping.gamma, s.potential.stiffness))
    gamma, error = result.flat[0], np.sqrt(result.covariance[0, 0])
    assert error > LARGE * gamma
    assert abs(gamma - 0.2) < 4 * error
