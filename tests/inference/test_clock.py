"""Times that are off by a clock's jitter."""

import numpy as np
import pytest
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.inference import whittle
from jaxinertia.inference.record import on_one_grid
from jaxinertia.inference.search import Options
from jaxinertia.inference.task import prepare
from jaxinertia.inference.weights import with_clock

from .records import damped

SYSTEM = ji.System(ji.potentials.Quadratic())
GAMMA, STIFFNESS, JITTER, ERROR = 0.2, 1.3, 0.05, 0.005
TS = np.linspace(0.0, 40.0, 400)


def jittered(rng, **options):
    """Read at times off by the jitter, and written down at even ones."""
    late = JITTER * rng.normal(size=len(TS))
    y = damped(TS + late, STIFFNESS, GAMMA) + ERROR * rng.normal(size=len(TS))
    return ji.Observations(TS, y, **options)


def both(s):
    return s.damping.gamma, s.potential.stiffness


@pytest.mark.parametrize("known", [ERROR, None])
def test_the_error_of_times_is_in_the_weights(known):
    """Of readings of known error by the formula; else of the error under which residuals have the variance 1."""
    data = jittered(np.random.default_rng(0), position_error=known, time_error=JITTER)
    task = prepare(SYSTEM, data, both, None, None, None, "squares", Options(100))
    records = on_one_grid(task.system, task.parameters, [data])
    h = 1e-6
    rate = (damped(TS + h, STIFFNESS, GAMMA) - damped(TS - h, STIFFNESS, GAMMA)) / (2 * h)
    unit, step = records.units.length[0], records.units.time[0]
    left = (data.position - damped(TS, STIFFNESS, GAMMA)) / unit
    z = records.weight * left[None, None, :, None]
    found = with_clock(records, z, (rate * step / unit)[None, None, :, None])
    if known:
        np.testing.assert_allclose(
            found.weight[0, 0, :, 0], unit / np.sqrt(known**2 + (JITTER * rate) ** 2), rtol=1e-12
        )
    else:
        squares = np.sum((found.weight[0, 0, :, 0] * left) ** 2)
        assert squares == pytest.approx(len(TS) - 4, rel=1e-9)
        base = unit / np.max(found.weight)  # about where the reading stands still
        assert base == pytest.approx(ERROR, rel=0.2)


def test_a_clock_that_can_be_seen_is_told_with_its_size():
    """Its error is found to what the squares of 400 residuals say of it: 6 %, over seeds."""
    found = ji.fit(SYSTEM, jittered(np.random.default_rng(1)), both)
    (told,) = [text for text in found.diagnostics.warnings if "time_error=" in text]
    assert float(told.split("time_error=")[1].split()[0]) == pytest.approx(JITTER, rel=0.3)


@pytest.mark.slow
def test_errors_that_know_of_the_clock_cover_and_are_smaller():
    """60 records: values within their errors (chi-square of 60 numbers is 60 +- 11), and closer to the truth."""
    records = [jittered(np.random.default_rng(seed), time_error=JITTER) for seed in range(60)]
    plain = [ji.Observations(TS, one.position) for one in records]
    aware, blind = (ji.fit_many(SYSTEM, data, both) for data in (records, plain))
    pulls = (aware.flat[:, 0] - GAMMA) / aware.stderr[0]
    assert 60 - 3.5 * 11 < np.sum(pulls**2) < 60 + 3.5 * 11
    assert np.std(aware.flat[:, 0]) < np.std(blind.flat[:, 0])
    one = ji.fit(SYSTEM, records[0], both)
    np.testing.assert_allclose(one.flat, aware.flat[0], rtol=1e-6)
    assert one.position_error == pytest.approx(ERROR, rel=0.3)
    assert not [text for text in one.diagnostics.warnings if "time_error" in text]
    even = ji.fit(SYSTEM, ji.Observations(TS, damped(TS, STIFFNESS, GAMMA) + ERROR * np.sin(1e3 * TS**2)), both)
    assert not [text for text in even.diagnostics.warnings if "time_error" in text]


@pytest.mark.parametrize("value", [-0.1, np.nan, 1.0, "1 ms"])
def test_no_error_of_times_is_refused(value):
    with pytest.raises(ValueError, match=r"time_error = .* must be a time from 0 to a step, 0\.1"):
        ji.Observations(TS, damped(TS, STIFFNESS, GAMMA), time_error=value)


def test_what_does_not_know_of_a_clock_says_so():
    data = jittered(np.random.default_rng(2), time_error=JITTER)
    with pytest.raises(ValueError, match="for least squares with loss='squares'"):
        ji.fit(SYSTEM, data, both, loss="student")
    with pytest.raises(ValueError, match="for least squares with loss='squares'"):
        ji.fit(ji.System(ji.potentials.Quadratic(), noise=1.0), data, lambda s: s.noise.sigma)


@pytest.mark.parametrize("n", [200, 201])
def test_a_spectrum_at_uneven_times_is_the_sum_at_these(n):
    """|sum y e^{-iwt}|^2, term by term."""
    rng = np.random.default_rng(n)
    ts = np.cumsum(rng.uniform(0.3, 1.7, n))
    y = rng.normal(size=n)
    omega, power = whittle.periodogram(whittle.Run(ts - ts[0], y, np.ones(n, bool)))
    direct = np.abs(np.exp(-1j * np.outer(omega, ts)) @ (y - y.mean())) ** 2
    np.testing.assert_allclose(power, direct * (ts[-1] - ts[0]) / (n - 1) / n, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_a_band_of_a_record_at_jittered_times_tells_the_truth():
    """Times off by a third of a step, written down as they were; a line beyond the band is stronger than it."""
    rng = np.random.default_rng(4)
    truth, n = np.array([0.2, 1.3, 1.0]), 8000
    ts = 0.25 * (np.arange(n) + rng.uniform(-0.33, 0.33, n))
    rate = np.array([[0.0, 1.0], [-1.3, -0.2]])
    spread = np.diag([1 / (2 * 0.2 * 1.3), 1 / (2 * 0.2)])
    z, q = np.linalg.cholesky(spread) @ rng.normal(size=2), np.empty(n)
    for k in range(n):
        if k:
            move = expm(rate * (ts[k] - ts[k - 1]))
            z = move @ z + np.linalg.cholesky(spread - move @ spread @ move.T) @ rng.normal(size=2)
        q[k] = z[0]
    y = q + 2 * np.sin(2 * np.pi * 1.5 * ts) + 0.1 * rng.normal(size=n)
    system = ji.System(ji.potentials.Quadratic(), noise=1.0)
    found = ji.fit(system, ji.Observations(ts, y), lambda s: (*both(s), s.noise.sigma), band=(0.02, 0.5))
    assert "at the times themselves" in found.why
    assert np.all(np.abs((found.flat - truth) / np.sqrt(np.diag(found.covariance))) < 3.5)
    assert found.stderr[0] < 0.05
