"""Fits that others have certified or published, to four digits, values and errors."""

import numpy as np
import pytest

import jaxinertia as ji

S = ji.System(ji.potentials.Quadratic())


def both(s):
    return s.damping.gamma, s.potential.stiffness


def test_nist_mgh17():
    """y = b1 + b2 exp(-b4 t) + b3 exp(-b5 t), two exponentials over an offset: an overdamped oscillator with
    gamma = b4 + b5 and stiffness b4 b5. Data, values and standard deviations: NIST's Statistical Reference Datasets,
    nonlinear regression, MGH17, "average" difficulty (M. R. Osborne, 1972)."""
    thousandths = [844, 908, 932, 936, 925, 908, 881, 850, 818, 784, 751, 718, 685, 658, 628, 603, 580, 558, 538, 522,
                   506, 490, 478, 467, 457, 448, 438, 431, 424, 420, 414, 411, 406]  # fmt: skip
    data = ji.Observations(10.0 * np.arange(33), np.array(thousandths) / 1000, offset=None)
    result = ji.fit(S, data, both)
    gamma, stiffness = result.values
    root = np.sqrt(gamma**2 - 4 * stiffness)
    rates = np.array([gamma - root, gamma + root]) / 2  # b4, b5
    b4, b5 = 1.2867534640e-02, 2.2122699662e-02
    np.testing.assert_allclose(rates, [b4, b5], rtol=5e-5)
    np.testing.assert_allclose([gamma, stiffness], [b4 + b5, b4 * b5], rtol=5e-5)
    slope = np.array([[1 - gamma / root, 2 / root], [1 + gamma / root, -2 / root]]) / 2  # of the rates
    error = np.sqrt(np.diag(slope @ result.covariance_curvature @ slope.T))
    np.testing.assert_allclose(error, [4.4861358114e-04, 8.9471996575e-04], rtol=5e-5)
    assert result.offset[0] == pytest.approx(3.7541005211e-01, rel=5e-5)
    assert np.nansum(result.diagnostics.residuals**2) == pytest.approx(5.4648946975e-05, rel=5e-5)
    assert result.position_error == pytest.approx(1.3970497866e-03, rel=5e-5)


def test_lmfits_damped_sine():
    """The record of lmfit's example "Fit Using differential_evolution Algorithm", offset + amp sin(omega t + shift)
    exp(-t / decay), to which lmfit 1.3.4's leastsq gives decay 5.844484947564657, omega 3.9676198659697954, offset
    0.9632912789288414 +- 0.04746547270806561, chi-square 21.65644791875483; gamma = 2 / decay and stiffness = omega^2 +
    1 / decay^2, their errors by its covariance."""
    rng = np.random.RandomState(2)
    ts = np.linspace(0, 10, 101)
    y = 1.0 + 2.0 * np.sin(4.0 * ts) * np.exp(-ts / 5.0) + rng.normal(size=101, scale=0.450)
    result = ji.fit(S, ji.Observations(ts, y, offset=None), both)
    np.testing.assert_allclose(result.values, [0.3422029516618708, 15.771283115869702], rtol=5e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(result.covariance_curvature)), [0.06243867, 0.24691936], rtol=5e-4)
    np.testing.assert_allclose(np.ravel(result.offset), [0.9632912789288414, 0.04746547270806561], rtol=5e-4)
    assert np.sum(result.diagnostics.residuals**2) == pytest.approx(21.65644791875483, rel=1e-8)
