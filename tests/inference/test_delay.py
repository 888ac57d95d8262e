"""An input that acts later, or earlier, than its samples say."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import jaxinertia as ji
from jaxinertia.inference import delay
from jaxinertia.inference import fit as fitting
from jaxinertia.inference.record import on_one_grid
from jaxinertia.inference.search import Options

P = ji.potentials
SYSTEM = ji.System(P.Quadratic())
TRUTH = 0.2, 1.3, 0.7  # gamma, stiffness, gain
TS = np.linspace(0.0, 60.0, 601)
RNG = np.random.default_rng(0)
LINES = np.stack([RNG.uniform(0.3, 3.0, 12), RNG.uniform(0.0, 6.0, 12), RNG.normal(size=12)])


def signal(t):
    omega, phase, size = LINES[:, :, None]
    return np.sum(size * np.sin(omega * np.atleast_1d(t) + phase), axis=0)


def free(s):
    return s.damping.gamma, s.potential.stiffness, s.force.gain


def driven(ts, late, error=0.01, **options):
    """Positions of an oscillator under u(t - late), and the samples u(t)."""
    gamma, stiffness, gain = TRUTH

    def rate(t, z):
        return [z[1], -stiffness * z[0] - gamma * z[1] + gain * signal(t - late)[0]]

    path = solve_ivp(rate, (ts[0], ts[-1]), [0.3, 0.0], t_eval=ts, rtol=1e-8, atol=1e-10).y[0]
    y = path + error * np.random.default_rng(1).normal(size=len(ts))
    return ji.Observations(ts, y, position_error=error, input=signal(ts), **options)


@pytest.mark.slow
def test_a_delay_is_found_with_its_error():
    """The truth; and held one standard error to either side the least deviance is higher by 1."""
    found = ji.fit(SYSTEM, driven(TS, 0.83, input_delay=None), free)
    late, error = found.input_delay
    assert abs(late - 0.83) < 4 * error < 0.02
    assert np.all(np.abs(np.subtract(found.values, TRUTH)) < 4 * np.array(found.stderr))
    beside = [ji.fit(SYSTEM, driven(TS, 0.83, input_delay=late + side * error), free) for side in (-1, 0, 1)]
    # The parabola of a delay is that of the waves it moves: of the third order in error times frequency, 1e-3.
    rise = [fit.deviance - beside[1].deviance for fit in beside]
    assert rise[0] == pytest.approx(1.0, abs=0.1)
    assert rise[2] == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(beside[1].values, found.values, atol=1e-3 * min(found.stderr))
    assert beside[1].freedom == found.freedom + 1
    assert f"{late:.6g}" in found.summary()
    assert found.to_json()["input_delay"] == list(found.input_delay)
    np.testing.assert_allclose(found.system.force.ts, TS + late)


@pytest.mark.slow
def test_a_delay_of_an_early_input_at_uneven_times():
    ts = np.sort(np.random.default_rng(2).uniform(0.0, 60.0, 601))
    found = ji.fit(SYSTEM, driven(ts, -0.47, input_delay=None), free)
    late, error = found.input_delay
    assert abs(late + 0.47) < 4 * error < 0.02
    assert found.readings < len(ts)


@pytest.mark.slow
def test_a_delay_under_noise():
    """By the filter."""
    found = ji.fit(
        ji.System(P.Quadratic(), noise=1.0), driven(TS, 0.83, input_delay=None), lambda s: (*free(s), s.noise.sigma)
    )
    late, error = found.input_delay
    assert found.method == "kalman"
    assert abs(late - 0.83) < 4 * error < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"input_delay": None}])
def test_an_input_that_changes_much_between_samples_is_told(options):
    """Lines lose (omega h)^2 / 12 of a wave, at the motion's own frequency about, and the gain makes up for it: by more
    than its error."""
    system = ji.System(P.Quadratic(), noise=1.0)
    found = ji.fit(system, driven(TS[::3], 0.83 if options else 0.0, **options), lambda s: (*free(s), s.noise.sigma))
    omega_h = np.sqrt(TRUTH[1]) * 0.3
    assert found.values[2] / TRUTH[2] - 1 == pytest.approx(omega_h**2 / 12, rel=1.0)
    assert found.values[2] - TRUTH[2] > 4 * found.stderr[2]
    assert any("straight between its samples" in text for text in found.diagnostics.warnings)


@pytest.mark.parametrize("cycles", [16, 128, 318])
def test_lines_between_samples_lose_part_of_a_wave(cycles):
    """What is left is the wave's Fourier coefficient."""
    n, omega = np.arange(2001.0), 2 * np.pi * cycles / 2000
    fine = np.arange(200_000) / 100
    of_lines, wave = np.interp(fine, n, np.cos(omega * n)), np.exp(1j * omega * fine)
    kept = 2 * np.abs(np.vdot(wave, of_lines)) / len(fine)
    data = ji.Observations(n, np.sin(omega * n), input=np.cos(omega * n))
    assert delay.lost(records_of(data)) == pytest.approx(1 - kept, rel=0.02)


def records_of(data):
    task = fitting.prepare(SYSTEM, data, free, None, None, None, "squares", Options(100))
    return on_one_grid(task.system, task.parameters, [data])


def test_moved_inputs_are_those_of_earlier_times():
    """By whole rows the samples themselves; by parts of one the curve, with its slope; readings for which there is none
    are left out."""
    data = ji.Observations(TS, np.sin(TS), input=signal(TS), input_delay=None)
    records = records_of(data)
    u = records.input[0, 0, :, 0]
    for rows, smooth in ((3.0, True), (3.0, False)):
        moved = delay.moved(records, np.array([rows]), smooth)
        np.testing.assert_allclose(moved.input[0, 0, 3:, 0], u[:-3], atol=1e-12)
        assert np.all(moved.weight[0, 0, :3] == 0)
        assert np.all(moved.weight[0, 0, 3:] > 0)
    early = delay.moved(records, np.array([-2.4]))
    assert np.all(early.weight[0, 0, :-3] > 0)
    assert np.all(early.weight[0, 0, -3:] == 0)
    inside = slice(20, -20)  # a cubic knows no slope at its ends
    # Of an angular frequency 3 in steps of .1, a cubic is off by .3^4 / 384 of each line's size.
    size = np.sum(np.abs(LINES[2]))
    np.testing.assert_allclose(early.input[0, 0, inside, 0], signal(TS + 0.24)[inside], atol=size * 0.3**4 / 300)
    near = delay.moved(records, np.array([-2.4 + 1e-4]))
    change = (near.input - early.input)[0, 0, inside, 0] / -1e-4
    np.testing.assert_allclose(early.slope[0, 0, inside, 0], change, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(input_delay=None), "input_delay = None is of an input"),
        (dict(input_delay=0.5), "input_delay = 0.5 is of an input"),
        (dict(input_delay=np.nan, input=signal(TS)), "input_delay = nan must be a time"),
        (dict(input_delay="late", input=signal(TS)), "input_delay = 'late' must be a time"),
    ],
)
def test_no_delay_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ji.Observations(TS, np.sin(TS), **options)
