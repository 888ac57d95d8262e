"""Modes that noise drives: the spectrum against sums of covariances, and what a record gives back."""

import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.inference.modes.entry import modes
from jaxinertia.inference.modes.noise.covariances import Layout
from jaxinertia.inference.modes.noise.likelihood import Groups, cost, spectrum
from jaxinertia.inference.modes.noise.spectral import transforms
from jaxinertia.inference.modes.noise.taper import taper

from .driven import Driven, pair, three


def observed(y, step=1.0):
    return ji.Observations(step * np.arange(len(y)), y)


def at(omega, n, d, band=0):
    """Groups of single frequencies, with some readings or other."""
    g = len(omega)
    a = np.random.default_rng(g).standard_normal((g, d, 2 * d)) + 0j
    place = np.linspace(-1, 1, g)
    power, one = a @ a.transpose(0, 2, 1), np.ones((1, d))
    return Groups(omega, np.full(g, 2.0), np.full(g, n), power, np.full(g, band), place, one)


@pytest.mark.parametrize("moving", [0, 1], ids=["displacement", "velocity"])
def test_the_spectrum_is_the_expected_periodogram(moving):
    """Leakage, aliasing, correlated forces and an overdamped mode included: the sum of all covariances, to rounding."""
    omega, gamma = np.array([0.4, 0.9, 2.6]), np.array([0.05, 2.5, 0.3])
    force = np.array([[1.0, 0.4, 0], [0.4, 2.0, 0], [0, 0, 5.0]])
    made = Driven(omega, gamma, force, np.array([[1, 1, 1.0], [0.5, -0.7, 0.2]]), np.array([0.1]))
    layout = Layout((0, 0, 0), (moving, moving), ((1, 0),), (1,))
    logs = np.log(omega), np.log(gamma), np.log(np.diag(force)) / 2
    theta = list(np.stack([*logs, made.shape[1], np.zeros(3)], axis=1))
    theta = np.concatenate([*theta, [np.arctanh(0.4 / np.sqrt(2))], np.full(2, np.log(0.01))])
    n = 260  # the taper's ends have four readings
    frequencies, h = 2 * np.pi * np.array([2, 5, 17, 29, 122]) / n, taper(n)
    found, _ = spectrum(theta, layout, at(frequencies, n, 2))
    none = np.zeros_like(made.shape)
    rows = np.concatenate([none, made.shape] if moving else [made.shape, none], axis=1)
    for w, s in zip(frequencies, found, strict=True):
        expected = made.periodogram(rows, w, h)
        assert np.allclose(s, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_the_ends_of_a_record_do_not_speak_at_all_frequencies():
    """What leaks of a motion falls off by 1 / (m gap^2), m the readings of an end, not by 1 / gap: by the taper's
    transform sin(l x / 2) sin(m x / 2) / (m sin(x / 2)^2)."""
    n, m, w = 4000, 62, 0.5
    one = transforms([np.cos(w * np.arange(n))[:, None]])[0]
    far = np.abs(one.omega - w) > 0.05
    limit = sum(np.sin((one.omega[far] + sign * w) / 2) ** -2.0 for sign in (-1, 1)) / (2 * m)
    assert np.all(np.abs(one.j[far, 0]) ** 2 < 1.1 * limit**2 / n)  # the mean square of the taper is a little below 1
    assert 0.9 < np.sum(np.abs(one.j) ** 2) / (n / 4) < 1.1  # of the readings' mean square, at positive frequencies


def test_an_acceleration_has_the_force_in_it():
    """Far below the sampling rate its spectrum is w^4 that of the displacement, but for (w dt)^2 that folds back."""
    theta = np.array([np.log(0.02), np.log(0.002), 0.0, 0.3, 0.4, -60.0, -60.0])
    groups = at(np.linspace(0.012, 0.03, 7), 10**6, 2)
    place, _ = spectrum(theta, Layout((0,), (0, 0)), groups)
    felt, _ = spectrum(theta, Layout((0,), (2, 2)), groups)
    ratio = felt[:, 0, 0].real / (groups.omega**4 * place[:, 0, 0].real)
    assert np.allclose(ratio, 1, atol=5e-3)
    assert np.all(np.linalg.eigvalsh(felt) >= 0)


@pytest.mark.parametrize("orders", [(0,), (0, 1, 2)], ids=str)
def test_gradients_are_those_of_the_cost(orders):
    """Against central differences, error h^2."""
    d = len(orders)
    layout = Layout((0, d - 1, d // 2), orders, ((1, 0),), (2,))
    theta = 0.3 * np.random.default_rng(0).standard_normal(layout.size)
    for k, (omega, gamma) in enumerate([(0.2, 0.02), (0.25, 0.9), (0.6, 0.04)]):
        theta[k * layout.each : k * layout.each + 2] = np.log([omega, gamma])
    groups, h = at(np.linspace(0.1, 2.9, 15), 200, d), 1e-6
    slopes = [(cost(theta + h * e, layout, groups).value - cost(theta - h * e, layout, groups).value) / (2 * h)
              for e in np.eye(layout.size)]  # fmt: skip
    assert np.allclose(cost(theta, layout, groups).gradient, slopes, rtol=0, atol=1e-6 * np.abs(slopes).max())


def test_three_modes_two_of_them_close():
    """Number, frequency and gamma within four standard errors, and errors of the size that theory has."""
    made, n = three(), 30_000
    found = modes(observed(made.readings(n, 0), 0.01), driven="noise")
    assert found.count == 3
    assert np.all(np.abs(found.gamma - made.gamma / 0.01) < 4 * found.stderr.gamma)
    assert np.all(np.abs(found.frequency - made.omega / (2 * np.pi * 0.01)) < 4 * found.stderr.frequency)
    least = np.sqrt(2 / (made.gamma * n))  # of a mode alone, without a floor
    assert np.all((found.stderr.gamma / found.gamma > 0.9 * least) & (found.stderr.gamma / found.gamma < 3 * least))
    assert abs(found.position_error[0] / 0.3 - 1) < 4 / (2 * 3500**0.5)  # 3,500 frequencies where the floor rules
    assert np.allclose(found.amplitude[:, 0], 1, atol=0.4)
    assert found.checks.whiteness > 1e-4
    assert found.chosen == 3
    assert found.orders[2].criterion > found.orders[3].criterion < found.orders[4].criterion


@pytest.mark.slow
def test_correlated_forces_and_shapes():
    """The force's intensity, its correlation, and both shapes, each in the unit of the record."""
    made, n = pair(0.6), 30_000
    found = modes(observed(made.readings(n, 1) * [1.0, 1e3]), driven="noise")
    assert found.count == 2
    assert list(found.reference) == [1, 1]
    shape = made.shape * [[1.0], [1e3]] / (made.shape[1] * 1e3)
    assert np.all(np.abs(found.shape.T - shape)[0] < 5 * np.abs(found.stderr.shape[:, 0]))
    force = found.force / np.sqrt(np.outer(np.diag(found.force), np.diag(found.force)))
    assert abs(abs(force[0, 1]) - 0.6) < 0.2
    assert np.all(np.abs(found.gamma - made.gamma) < 4 * found.stderr.gamma)


@pytest.mark.parametrize("seed", range(3))
def test_white_noise_has_no_mode(seed):
    found = modes(observed(np.random.default_rng(seed).standard_normal((20_000, 2))), driven="noise")
    assert found.count == 0


def test_a_line_is_taken_out_and_said():
    """Mains on a record: no mode without damping, and the mode beside it unharmed."""
    made = three()._replace(omega=np.array([0.5]), gamma=np.array([0.01]), force=np.eye(1) * 0.005, shape=np.eye(1))
    y = made.readings(20_000, 2) + 3 * np.cos(0.61234 * np.arange(20_000))[:, None]
    found = modes(observed(y), driven="noise")
    assert found.count == 1
    assert abs(found.gamma[0] - 0.01) < 4 * found.stderr.gamma[0]
    assert any(f"{0.61234 / (2 * np.pi):.4g}"[:5] in text and "line" in text for text in found.warnings)


def test_several_runs_and_gaps_count_as_one_record():
    """A row missing splits a run; what is left over is said."""
    made = three()._replace(omega=np.array([0.5]), gamma=np.array([0.02]), force=np.eye(1) * 0.01, shape=np.eye(1))
    y = np.concatenate([made.readings(6000, 3), made.readings(4000, 4)])
    y[2500], y[20] = np.nan, np.nan
    ts, segment = np.concatenate([np.arange(6000.0), np.arange(4000.0)]), np.repeat([0, 1], [6000, 4000])
    found = modes(ji.Observations(ts, y, segment=segment), driven="noise")
    assert found.count == 1
    assert abs(found.gamma[0] - 0.02) < 4 * found.stderr.gamma[0]
    assert any("20 of" in text for text in found.warnings)


def test_a_clock_that_wanders_is_said_and_undone():
    """Off an even grid by eight steps, at 63 steps a period: read as even, the mode's phase would swing by .8."""
    n, wander, noise = 6000, 8 * np.sin(2 * np.pi * np.arange(6000) / 500), np.random.default_rng(7)
    made = three()._replace(omega=np.array([0.1]), gamma=np.array([0.01]), force=np.eye(1) * 2e-4, shape=np.eye(1))
    fine = made._replace(omega=made.omega / 20, gamma=made.gamma / 20, force=made.force / 8000, floor=np.zeros(1))
    place = fine.readings(20 * n + 320, 7)  # at steps of 1/20
    at = np.round(20 * (np.arange(n) + wander)).astype(int) + 160
    error = 0.1 * noise.standard_normal((n, 1))
    found = modes(ji.Observations(at / 20, place[at] + error), driven="noise", band=(0.004, 0.05))
    even = modes(observed(place[160 : 20 * n + 160 : 20] + error), driven="noise", band=(0.004, 0.05))
    assert found.count == even.count == 1
    assert abs(found.gamma[0] - even.gamma[0]) < 0.2 * even.stderr.gamma[0]
    assert any("cubic spline" in text and "5.6" in text for text in found.warnings)
    assert not any("cubic spline" in text for text in even.warnings)


def test_a_short_record_has_a_profile():
    """gamma T of 20: the interval is wider above than below, and holds the truth."""
    made = three()._replace(omega=np.array([0.4]), gamma=np.array([0.01]), force=np.eye(1) * 0.0032, shape=np.eye(1))
    found = modes(observed(made.readings(2000, 5)), driven="noise")
    low, high = (x[0] for x in found.interval(0.95)["gamma"])
    assert low < 0.01 < high
    assert high - found.gamma[0] > found.gamma[0] - low > 0
    assert any("so short" in text for text in found.warnings)


def test_what_cannot_be_done_is_refused():
    y = np.random.default_rng(0).standard_normal(2000)
    with pytest.raises(ValueError, match="count = 5: no 5 modes"):
        modes(observed(y[:400]), 5, driven="noise", band=(0.1, 0.2))
    with pytest.raises(ValueError, match="band holds"):
        modes(observed(y[:200]), driven="noise", band=(0.1, 0.15))
    with pytest.raises(ValueError, match="uneven"):
        modes(ji.Observations(np.arange(2000) + np.random.default_rng(1).uniform(-0.2, 0.2, 2000), y), driven="noise")
    gaps = np.where(np.arange(2000) % 50 == 0, np.nan, y)
    with pytest.raises(ValueError, match="no stretch of 64 rows at even steps"):
        modes(observed(gaps), driven="noise")


@pytest.mark.slow
def test_six_modes_on_four_channels_whose_tails_rise_over_the_floor_everywhere():
    """Two close pairs at 20 to 40 dB: neither a mode too many, nor a line, nor a pair taken for one."""
    omega = np.array([0.1, 0.25, 0.255, 0.6, 1.1, 1.13])
    shape = np.random.default_rng(3).standard_normal((4, 6))
    made = Driven(omega, 0.02 * omega, np.diag(0.04 * omega**3), shape, np.array([0.1]))
    found = modes(observed(made.readings(100_000, 0)), driven="noise")
    assert found.count == 6
    assert np.all(np.abs(found.gamma - made.gamma) < 4 * found.stderr.gamma)
    assert np.all(np.abs(found.position_error / 0.1 - 1) < 0.02)
    assert not found.warnings


@pytest.mark.slow
def test_intervals_hold_the_truth():
    """Sixty records of gamma T = 200 to 400: coverage within chance of 95 %, errors at Cramer and Rao's bound."""
    made, n, z, counts = three(), 20_000, [], []
    for seed in range(60):
        found = modes(observed(made.readings(n, 100 + seed)), 3, driven="noise")
        z.append((found.gamma - made.gamma) / found.stderr.gamma)
        counts.append(found.count)
    z = np.array(z)
    assert np.all(np.array(counts) == 3)
    assert 0.90 < np.mean(np.abs(z) < 1.96) < 0.985
    assert np.sqrt(np.mean(z**2)) < 1.2
