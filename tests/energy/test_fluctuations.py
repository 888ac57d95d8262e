"""Fluctuations of the inertia: their size, and an alarm that hears a change and is quiet without one."""

import functools

import jax
import numpy as np
import pytest
from scipy import linalg, signal, stats

import jaxinertia as ji

GAMMA, STIFFNESS, COLD, HOT = 1.0, 1.0, 0.3, 0.6
EVERY, WINDOW, REFERENCE, LATER = 0.5, 800, 40, 10
TS = EVERY * np.arange(WINDOW * (REFERENCE + LATER))
CHANGE = WINDOW * REFERENCE
# A window's variance of I has the relative error sqrt(8 / n): I is exponential, and n = WINDOW / 4.1 values are
# independent, since I is correlated as e^{-t} and coth(1/4) = 4.1.
SPREAD = np.sqrt(8 * 4.1 / WINDOW)


@functools.cache
def quiet():
    """A thermal oscillator at COLD for 20,000 correlation times."""
    system = ji.System(ji.potentials.Quadratic(STIFFNESS), GAMMA, ji.noise.thermal(COLD, GAMMA))
    q, p = np.sqrt(COLD) * np.array([0.3, -1.1])
    return np.asarray(ji.simulate(system, TS, q, p, dt=0.25, key=jax.random.key(5)).inertia)


@functools.cache
def heated():
    """The same, but hotter from CHANGE on."""
    system = ji.System(ji.potentials.Quadratic(STIFFNESS), GAMMA, ji.noise.thermal(COLD, GAMMA))
    first = ji.simulate(system, TS[:CHANGE], 0.3, -0.5, dt=0.25, key=jax.random.key(5))
    warmer = ji.System(ji.potentials.Quadratic(STIFFNESS), GAMMA, ji.noise.thermal(HOT, GAMMA))
    last = first.position[-1], first.momentum[-1]
    second = ji.simulate(warmer, TS[CHANGE - 1 :], *last, dt=0.25, key=jax.random.key(6))
    return np.concatenate([first.inertia, second.inertia[1:]])


def test_rolling_variance_is_numpys():
    values = np.random.default_rng(0).normal(size=(2, 30))
    rolling = ji.fluctuations.rolling_variance(values, 7)
    assert rolling.shape == (2, 24)
    assert np.allclose(rolling[1, 5], values[1, 5:12].var(ddof=1))


def test_the_variance_of_the_inertia_measures_the_temperature():
    """Var[I] = T^2, within its error and BAOAB's h^2 gamma^2 / 8."""
    measured = ji.fluctuations.temperature(quiet(), len(TS), degrees=1)[0]
    chance = SPREAD * np.sqrt(WINDOW / len(TS))
    assert measured == pytest.approx(COLD, rel=4 * chance / 2 + 0.25**2 / 8)


def test_the_temperature_of_several_degrees_of_freedom():
    """T = sqrt(Var[I] / d): energies of 8 oscillators at T are Gamma distributed with the variance 8 T^2, to 4 standard
    errors, sqrt((2 + 6 / 8) / n) of the variance."""
    inertia = np.random.default_rng(2).gamma(8, COLD, 20_000)
    measured = ji.fluctuations.temperature(inertia, len(inertia), degrees=8)[0]
    assert measured == pytest.approx(COLD, rel=4 * np.sqrt(2.75 / 20_000) / 2)


def exponential(runs, times, r, key):
    """I = T |z|^2 / 2 of a plane Ornstein-Uhlenbeck process: Var[I] = T^2, rho_k = r^(2k), g = (1 + r^2)/(1 - r^2)."""
    noise = np.random.default_rng(key).normal(size=(2, runs, times))
    noise[..., 1:] *= np.sqrt(1 - r**2)
    return COLD * np.sum(signal.lfilter([1.0], [1.0, -r], noise) ** 2, axis=0) / 2


def test_the_temperature_is_right_in_the_mean_of_many_windows():
    """2000 windows of 40 g: two orders beyond the first are (1/40)^2. Left as it is, the root is 3.6 % low."""
    g, window = 5.0, 200
    series = exponential(100, 20 * window, np.sqrt((g - 1) / (g + 1)), 4)
    plain = np.sqrt(series.reshape(-1, window).var(1, ddof=1))
    measured = ji.fluctuations.temperature(series, window, degrees=1)[:, ::window]
    error = measured.std() / np.sqrt(measured.size)
    assert measured.size == plain.size == 2000
    assert plain.mean() < COLD - 4 * error
    assert abs(measured.mean() - COLD) < 3 * error + COLD * 40**-1.5


def test_a_window_that_is_short_against_the_correlation_is_refused():
    series = exponential(1, 4000, 0.95, 5)[0]  # g = 19.5
    with pytest.raises(ValueError, match=r"window = 200 is too short.*at least 20 times"):
        ji.fluctuations.temperature(series, 200, degrees=1)


def oscillators(runs, times, key):
    """I of q'' + q' + q = noise at T = 1, by its exact flow over EVERY."""
    flow = linalg.expm(EVERY * np.array([[0.0, 1.0], [-STIFFNESS, -GAMMA]]))
    spread = np.linalg.cholesky(np.eye(2) - flow @ flow.T)
    numbers = np.random.default_rng(key)
    state, inertia = numbers.normal(size=(2, runs)), np.empty((times, runs))
    for i in range(times):
        inertia[i] = np.sum(state**2, axis=0) / 2
        state = flow @ state + spread @ numbers.normal(size=(2, runs))
    return inertia.T


@pytest.mark.parametrize(
    ("ratio", "threshold", "seen"), [(1.5, 4, 0.17), (2, 4, 0.82), (1 / 2, 6, 0.21), (3, 6, 0.94), (3, 4, 1.0)]
)
def test_how_often_one_window_sees_a_change(ratio, threshold, seen):
    """The table in the docstring of `detect`, itself from 400 runs, from other random numbers."""
    seen_here = np.abs(scores_of_a_change(ratio)) > threshold
    error = np.std(seen_here.mean(1)) * np.sqrt(1 / len(seen_here) + 1 / 400)  # the windows of a run share a reference
    assert seen_here.mean() == pytest.approx(seen, abs=4 * error + 0.005)


@functools.cache
def scores_of_a_change(ratio):
    before, after = oscillators(100, 40 * 400, 6), ratio * oscillators(100, 10 * 400, 7)
    runs = np.concatenate([before, after], axis=1)
    return np.array([ji.fluctuations.detect(run, 400, 40).scores for run in runs])


def test_the_alarm_hears_a_planted_change_of_temperature():
    """The log variance rises by 2 log 2, or 6.8 SPREAD: two windows in a row miss a threshold of 4 once in 10^5."""
    alarm = ji.fluctuations.detect(heated(), WINDOW, REFERENCE, threshold=4.0)
    assert alarm.found is not None
    assert CHANGE < alarm.found <= CHANGE + 2 * WINDOW
    assert alarm.scores.mean() == pytest.approx(2 * np.log(2) / SPREAD, rel=0.4)  # SPREAD itself from 40 windows: 11 %


def test_the_alarm_is_quiet_without_a_change():
    """At 39 degrees of freedom one of ten scores passes 6 once in 200,000 runs."""
    alarm = ji.fluctuations.detect(quiet(), WINDOW, REFERENCE)
    assert alarm.found is None
    assert len(alarm.scores) == LATER
    assert abs(alarm.scores.mean()) < 4 * np.sqrt(1 / LATER + 1 / REFERENCE)


def test_scores_without_a_change_follow_students_law():
    """Windows whose log variances are drawn from a normal law, against three of reference: the score passes the 95 %
    point of Student's law of two degrees of freedom in 5 % of 8000 runs, to 4 standard errors. Without the reference
    mean's own scatter, sqrt(1 + 1/3), it would in 6.6 %."""
    logs = np.random.default_rng(3).normal(size=(8000, 4))
    runs = (np.exp(logs / 2)[..., None] * [-1.0, 0.0, 1.0]).reshape(8000, 12)
    scores = np.array([ji.fluctuations.detect(run, 3, 3).scores[0] for run in runs])
    passed = np.mean(np.abs(scores) > stats.t.ppf(0.975, 2))
    assert passed == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 8000))


def test_the_alarm_hears_a_change_of_regime():
    """From the bottom of one well, cold, to crossing between two: the same detector."""
    system = ji.System(ji.potentials.DoubleWell(), 0.5, ji.noise.thermal(0.03, 0.5))
    ts = 0.5 * np.arange(100 * 20)
    calm = ji.simulate(system, ts, 1.0, dt=0.1, key=jax.random.key(1))
    crossing = ji.System(ji.potentials.DoubleWell(), 0.5, ji.noise.thermal(0.4, 0.5))
    wild = ji.simulate(crossing, ts[:400], calm.position[-1], calm.momentum[-1], dt=0.1, key=jax.random.key(2))
    alarm = ji.fluctuations.detect(np.concatenate([calm.inertia, wild.inertia]), 100, 20)
    assert alarm.found == 2100
