"""Covariances and tests of residuals, each by its formula written out."""

import numpy as np
import pytest
from scipy import stats

from jaxinertia.inference import evidence as errors

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
