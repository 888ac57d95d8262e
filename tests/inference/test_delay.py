"""An input that acts later, or earlier, than its samples say."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.inference import between, delay
from jaxinertia.inference.record import on_one_grid
from jaxinertia.inference.search import Options
from jaxinertia.inference.task import prepare

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


def under_noise(wave, late, n=1500, h=0.2, finer=10):
    """Positions every h under noise and a force .7 u(t - late), straight between rows `finer` times as fine: each row's
    flow is exact, and so is the noise but for its spread within a row."""
    at = np.arange((n - 1) * finer + 1) * h / finer
    u, rng = wave(at - late), np.random.default_rng(1)
    rates = np.zeros((4, 4))
    rates[0, 1], rates[1], rates[2, 3] = 1.0, [-2.0, -0.3, 0.7, 0.0], 1.0
    flow = expm(rates * h / finer)[:2]
    kicks = 0.3 * np.sqrt(h / finer) * rng.normal(size=len(at))
    slope = np.diff(u, append=u[-1]) / (h / finer)
    z, y = np.zeros(2), np.empty(n)
    for i in range(len(at)):
        if i % finer == 0:
            y[i // finer] = z[0]
        z = flow @ [*z, u[i], slope[i]] + [0.0, kicks[i]]
    ts = np.arange(n) * h
    return ji.Observations(ts, y + 0.02 * rng.normal(size=n), input=wave(ts), input_delay=None)


def fit_under_noise(data):
    system = ji.System(P.Quadratic(2.0), 0.3, 0.3)
    return ji.fit(system, data, lambda s: (*free(s), s.noise.sigma))


@pytest.mark.slow
def test_the_delay_of_two_sines_under_noise_is_that_of_the_lowest_valley():
    """Their likelihood has a valley every few seconds, some of them with a gain below 0."""
    found = fit_under_noise(under_noise(lambda t: np.sin(0.9 * t) + np.sin(0.37 * t + 1), 0.7))
    late, error = found.input_delay
    assert abs(late - 0.7) < 4 * error < 0.4
    truth = np.array([0.3, 2.0, 0.7, 0.3])
    assert np.all(np.abs(found.flat - truth) < 4 * np.sqrt(np.diag(found.covariance)))
    assert found.diagnostics.warnings == ()


@pytest.mark.slow
def test_delays_that_one_sine_does_not_tell_apart_are_told():
    """Half a period later with a gain below 0 it is the same force."""
    omega = 0.9
    found = fit_under_noise(under_noise(lambda t: np.sin(omega * t), 0.7))
    told = next(text for text in found.diagnostics.warnings if "does as well as" in text)
    others = [float(x) for x in told.split("does as well")[0].removeprefix("input_delay = ").split(",")]
    late, error = found.input_delay
    apart = (np.array(others) - late) / (np.pi / omega)
    np.testing.assert_allclose(apart, np.round(apart), atol=6 * error / (np.pi / omega))
    assert np.any(np.abs(np.array([late, *others]) - 0.7) < 4 * error)


@pytest.mark.slow
def test_a_delay_that_jumps_leave_open_is_told():
    """Of an input that is held, straight lines between samples jump half a step early, and a later delay makes up."""
    h = 0.2

    def steps(t):
        which = np.floor(np.round(t / h, 9)).astype(int) // 25
        return np.where(np.random.default_rng(0).random(400)[which + 100] < 0.5, -1.0, 1.0)

    found = fit_under_noise(under_noise(steps, 0.6))
    late, _ = found.input_delay
    assert late - 0.6 == pytest.approx(h / 2, abs=4 * found.input_delay[1])
    told = next(text for text in found.diagnostics.warnings if "input_delay may be off by" in text)
    assert f"off by {h / 2:.4g}," in told


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
    assert delay.lost(records_of(data))[0] == pytest.approx(1 - kept, rel=0.02)


def records_of(data):
    task = prepare(SYSTEM, data, free, None, None, None, "squares", Options(100))
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


def test_trials_are_compared_on_the_readings_that_all_have():
    """Of 601, those that no trial moves an end of the input beyond; a trial that would leave fewer than half is not
    counted, and takes none away."""
    records = records_of(driven_by_nothing())
    tried = np.array([[0.0], [20.0], [-30.0], [400.0]])
    part, heard, counts = delay.lanes(records, tried)
    assert counts[:, 0].tolist() == [True, True, True, False]
    assert np.sum(heard > 0) == 601 - 50
    assert part.readings.tolist() == [551, 551, 551, 601 - 400 - 30]


def driven_by_nothing():
    return ji.Observations(TS, np.sin(TS), input=signal(TS), input_delay=None)


def test_valleys_are_low_and_lower_than_their_neighbours():
    """Of three, one is too high: halfway from the lowest, 0, to the median, 4, is 2."""
    late = np.array([0.0, 1.0, -1.0, 2.0, -2.0, 3.0, 4.0])[:, None]
    cost = np.array([5.0, 1.0, 6.0, 4.0, 0.0, 3.0, 7.0])[:, None]  # from -2 to 4: 0, 6, 5, 1, 4, 3, 7
    assert delay.valleys(late, cost)[:, 0].tolist() == [-2.0, 1.0]
    cost[4] = np.inf
    assert delay.valleys(late, cost)[:, 0].tolist() == [1.0]


def test_of_valleys_as_low_the_least_delay_is_kept_and_the_others_are_told():
    """Twice the cost, in what a standard error is worth: those within 1 are one's choice, those within 9 are told, and
    one that is near is the same."""
    found = np.array([[5.0], [-2.0], [-2.01], [9.0], [1.0]])
    cost = np.array([[10.0], [10.4], [10.4], [14.0], [15.0]])
    best, others = delay.lowest(found, cost, np.ones((5, 1)), np.array([0.5]))
    assert found[best[0], 0] == -2.0
    np.testing.assert_array_equal(others[0], [5.0, 9.0, np.nan, np.nan])


def test_jumps_are_changes_between_level_stretches():
    steps = np.where(np.arange(601) // 30 % 2, 1.0, -1.0)
    ramp = np.interp(np.arange(601), [0, 300, 304, 600], [0, 0, 3, 3])
    for u, part in ((steps, 1.0), (np.sin(TS), 0.0), (ramp, 0.0)):
        data = ji.Observations(TS, np.sin(TS), input=u, input_delay=None)
        assert delay.jumps(records_of(data))[0] == pytest.approx(part)


def test_a_held_input_acts_from_its_samples_on():
    """Lines between finer rows jump about its time, and not before it."""
    steps = np.where(np.arange(61) // 10 % 2, 1.0, -1.0)
    data = ji.Observations(TS[:61], np.sin(TS[:61]), input=steps)
    held = between.refine(records_of(data))[0][1][between.HELD].input[0, 0, :, 0]
    at = 10 * between.FINER
    np.testing.assert_array_equal(held[[at - 3, at, at + 3]], [-1, 0, 1])
    np.testing.assert_allclose(held[at - 2 : at], -held[at + 1 : at + 3][::-1], rtol=1e-15)


def of_lines(v, omega):
    """The integral of e^{-i omega t} over lines between rows at 0, 1, 2, ..., which are 0 at both ends and beyond."""
    return np.sinc(omega / (2 * np.pi)) ** 2 * np.sum(v * np.exp(-1j * omega * np.arange(len(v))))


@pytest.mark.parametrize(("per_cycle", "error"), [(4, 1e-3), (8, 1e-4), (20, 1e-5)])
def test_lines_between_finer_rows_have_all_of_a_held_input(per_cycle, error):
    """Steps that a motion feels at so many samples a cycle: 1 - (omega h)^2 / 6 of it is there by ramps alone."""
    u = np.concatenate([np.zeros(4), np.random.default_rng(3).choice([-1.0, 1.0], 60), np.zeros(4)])
    data = ji.Observations(TS[: len(u)], np.sin(TS[: len(u)]), input=u)
    held = between.refine(records_of(data))[0][1][between.HELD].input[0, 0, :, 0]
    held = held / held[6 * between.FINER + 2] * u[6]  # in the record's unit
    omega = 2 * np.pi / (per_cycle * between.FINER)
    stairs = np.sinc(omega * between.FINER / (2 * np.pi)) * between.FINER
    stairs = stairs * np.sum(u * np.exp(-1j * omega * between.FINER * (np.arange(len(u)) + 0.5)))
    assert abs(of_lines(held, omega) / stairs - 1) <= error


@pytest.mark.parametrize("per_cycle", [2.5, 4, 9, 30])
def test_lines_between_finer_rows_have_all_of_a_sine_in_the_band(per_cycle):
    """Of whole periods, for which the curve is exact: the integral of sin^2 over them."""
    rows = round(per_cycle * 40)
    t = np.arange(rows + 1)
    fine = between._band_limited(np.sin(2 * np.pi * t / per_cycle)[None, :, None])[0, :, 0]
    omega = 2 * np.pi / (per_cycle * between.FINER)
    amplitude = -2 * of_lines(fine[:-1], omega).imag / (rows * between.FINER)
    assert amplitude == pytest.approx(1.0, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["held", "band-limited"])
def test_a_gain_at_six_samples_a_cycle_is_within_its_error(way):
    """Lines between rows took 1.2 %, twelve of its standard errors."""
    gamma, stiffness, gain = TRUTH
    h, rng = 2 * np.pi / np.sqrt(stiffness) / 6, np.random.default_rng(0)
    ts, pulls = h * np.arange(160), []
    for _ in range(4):
        if way == "held":
            u, z, y = rng.choice([-1.0, 1.0], len(ts)), np.zeros(2), []
            step = expm(h * np.array([[0, 1, 0], [-stiffness, -gamma, gain], [0, 0, 0]]))
            for force in u:
                y.append(z[0])
                z = (step @ np.append(z, force))[:2]
        else:
            omega, phase = rng.uniform(0.2, 2.0, 6), rng.uniform(0, 6, 6)
            u = np.sum(np.sin(np.outer(ts, omega) + phase), 1)
            answer = np.exp(1j * (np.outer(ts, omega) + phase)) / (stiffness - omega**2 + 1j * gamma * omega)
            y = gain * np.sum(answer.imag, 1)
        y = np.asarray(y) + 0.003 * rng.normal(size=len(ts))
        found = ji.fit(SYSTEM, ji.Observations(ts, y, input=u), free)
        assert f"input {way}" in found.why
        pulls.append((np.array(found.values) - TRUTH) / found.stderr)
    assert np.all(np.sum(np.square(pulls), 0) < 18.5)  # of four, at one in a thousand


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
