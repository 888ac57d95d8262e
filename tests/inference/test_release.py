"""Where the free motion of a record begins, and what that does to a fit; the whole record where all of it is free."""

import numpy as np
import pytest
from scipy.signal import lsim

import jaxinertia as ji
from jaxinertia.inference import release, swings

from ..oracles import dop853
from .records import REAL, damped

S = ji.System(ji.potentials.Quadratic())
KINDS = ("rest", "hold", "push", "drive")


def both(s):
    return s.damping.gamma, s.potential.stiffness


def kicked(kind, ts, lead, stiffness, gamma, rng):
    """A record whose free motion begins at `lead`; a push is a half sine of force that ends there."""
    after, omega = ts >= lead, np.sqrt(stiffness)
    if kind == "push":
        last = rng.uniform(0.5, 1.5) * 2 * np.pi / omega
        s = ts - (lead - last)
        force = np.where((s > 0) & (s < last), stiffness * np.sin(np.pi * s / last), 0.0)
        return lsim(([[0, 1], [-stiffness, -gamma]], [[0], [1]], [[1, 0]], 0), force, ts)[1]
    phase, swing = rng.uniform(0, 2 * np.pi), omega * rng.uniform(0.8, 1.2)
    start = {"rest": (0, omega), "hold": (1, 0), "drive": (np.sin(phase), swing * np.cos(phase))}[kind]
    before = {"rest": 0 * ts, "hold": 0 * ts + 1, "drive": np.sin(swing * (ts - lead) + phase)}[kind]
    return np.where(after, damped(np.where(after, ts - lead, 0), stiffness, gamma, *start), before)


def random_record(seed, kind):
    """(ts, y, lead, gamma, stiffness): Q from 2 to 60, 15 to 60 readings a period, noise of .3 to 3 %."""
    rng = np.random.default_rng(seed)
    period = rng.uniform(0.5, 2)
    stiffness = (2 * np.pi / period) ** 2
    gamma = np.sqrt(stiffness) / np.exp(rng.uniform(np.log(2), np.log(60)))
    lead = rng.uniform(1, 12) * period
    stop = lead + np.clip(rng.uniform(4, 10) / gamma, 6 * period, 80 * period)
    ts = np.arange(0, stop, period / rng.uniform(15, 60))
    y = kicked(kind, ts, lead, stiffness, gamma, rng)
    noise = np.exp(rng.uniform(np.log(0.003), np.log(0.03)))
    return ts, y + rng.normal() + noise * rng.normal(size=len(ts)), lead, gamma, stiffness


WORDS = {"rest": "rest", "hold": "a hold", "push": "a push", "drive": "a steady drive"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_free_motion_begins_at_its_release(kind):
    """Gamma 0.4, stiffness 25.04, noise 0.01, 30 of free motion after 5: nothing before it, half a period lost."""
    rng = np.random.default_rng(0)
    ts = np.arange(0, 35, 0.04)
    y = kicked(kind, ts, 5.0, 25.04, 0.4, rng) + 0.01 * rng.normal(size=len(ts)) + 0.3
    ((start, stop, before),) = release.stretches(ts, y[:, None])
    assert 5.0 - 0.04 <= start < 5.0 + 0.5 * 2 * np.pi / np.sqrt(25.04)
    assert stop == ts[-1]
    assert before == WORDS[kind]
    part = ji.Observations(ts, y).decays()
    np.testing.assert_array_equal(part.ts, ts[part.rows])
    assert part.ts[0] == ts[ts >= start][0]
    assert part.reading[-1].startswith(f"free motion, from {start:.6g}, after {before}: {len(part.ts)} of 875")


@pytest.mark.parametrize("seed", [5007, 5019, 5023])
def test_a_short_drive_or_one_that_ends_smoothly_is_not_free_motion(seed):
    """Q of 2, 4 and 5, driven for 2.3, 3.9 and 1.4 periods near the resonance: fitted whole, gamma was off by 4 to 9
    errors. Nothing of the drive is kept, and less than a period is lost."""
    ts, y, lead, _, stiffness = random_record(seed, "drive")
    ((start, stop, before),) = release.stretches(ts, y[:, None])
    assert before == WORDS["drive"]
    assert lead <= start < lead + 2 * np.pi / np.sqrt(stiffness)
    assert stop == ts[-1]


@pytest.mark.parametrize("times", [1, 3])
def test_every_hit_is_a_segment(times):
    """Hits of growing strength on one resonator, a rest before the first."""
    ts = np.arange(0, 20 + 20 * times, 0.05)
    y = sum((k + 1) * np.where(ts >= 20 * k + 10, damped(np.maximum(ts - 20 * k - 10, 0), 9.0, 0.4, 0.0, 3.0), 0.0)
            for k in range(times))  # fmt: skip
    data = ji.Observations(ts, y + 0.01 * np.random.default_rng(1).normal(size=len(ts)))
    hits = data.decays()
    assert len(hits.runs) == times
    for k, rows in enumerate(hits.runs):
        assert 20 * k + 10 <= hits.ts[rows[0]] < 20 * k + 11
    assert ("stretches" in hits.reading[-1]) == (times > 1)
    assert hits.decays() is not data


def clean(name):
    """Free from the first reading, with what may look like a disturbance."""
    rng = np.random.default_rng(2)
    ts = np.arange(0, 30, 0.05)
    y = damped(ts, 9.0, 0.3)
    if name == "pendulum":
        y = dop853(lambda t, z: [z[1], -9 * np.sin(z[0]) - 0.3 * z[1]], ts, [1.7, 0.0])[:, 0]
    if name == "quadratic drag":
        y = dop853(lambda t, z: [z[1], -9 * z[0] - 0.02 * z[1] - 0.1 * abs(z[1]) * z[1]], ts, [1.0, 0.0])[:, 0]
    if name == "noise-free":
        return ts, y
    if name == "overdamped":
        y = damped(ts, 1.0, 3.0)
    if name == "spikes":
        y = y + 2 * (rng.random(len(ts)) < 0.01)
    return ts, y + 0.01 * rng.normal(size=len(ts))


@pytest.mark.parametrize("name", ["linear", "pendulum", "quadratic drag", "noise-free", "overdamped", "spikes"])
def test_what_is_free_from_the_first_reading_is_taken_whole(name):
    data = ji.Observations(*clean(name))
    assert data.decays() is data


def several(seed):
    """(ts, y): two to five modes, spread over a decade or near each other, let go at once; noise of .2 to 5 %."""
    rng = np.random.default_rng(seed)
    n = rng.integers(2, 6)
    f = np.exp(rng.uniform(0, np.log(10), n)) if rng.random() < 0.7 else 3 * (1 + rng.uniform(-0.15, 0.15, n))
    zeta = np.exp(rng.uniform(np.log(0.002), np.log(0.05), n))
    size, phase, omega = np.exp(rng.uniform(np.log(0.15), 0, n)), rng.uniform(0, 2 * np.pi, n), 2 * np.pi * f
    stop = min(6 / np.min(zeta * omega) * rng.uniform(0.3, 1), 200 / f.min())
    ts = np.arange(0, stop, 1 / f.max() / rng.uniform(4, 20))[:6000]
    y = np.exp(-np.outer(ts, zeta * omega)) * np.cos(np.outer(ts, omega * np.sqrt(1 - zeta**2)) + phase) @ size
    return ts, y + rng.normal() + np.exp(rng.uniform(np.log(0.002), np.log(0.05))) * rng.normal(size=len(ts))


def test_several_modes_that_beat_and_die_are_one_motion():
    """One window's swing does not tell the readings before it, but a few swings tell all of them. Of 100 other records
    3 were taken in part; a quarter was while one swing had to tell."""
    whole = sum(
        len(found) == 1 and found[0] == (ts[0], ts[-1], "")
        for ts, y in map(several, range(1000, 1030))
        for found in [release.stretches(ts, y[:, None])]
    )
    assert whole >= 27


def test_the_swings_of_a_sum_are_counted_and_leave_its_noise():
    """Three of two channels over their levels, one of them dead in a tenth of the record."""
    rng = np.random.default_rng(4)
    z = np.exp(np.array([-0.002 + 0.11j, -0.004 + 0.4j, -0.1 + 0.7j]))
    size = np.array([[1.0, 0.5], [0.4, -0.8], [0.6, 0.9]])
    clean = np.real(z ** np.arange(400)[:, None]) @ size + [3.0, -1.0]
    found = swings.of(clean + 0.01 * rng.normal(size=clean.shape))
    assert found.number == 3
    assert found.rms == pytest.approx(0.01, rel=0.06)  # of 800 readings: to 2.5 %
    assert swings.of(rng.normal(size=(300, 1))).number == 0
    assert swings.of(clean).rms < 1e-9


def test_a_part_by_hand():
    ts = np.arange(0, 10, 0.1)
    y = np.cos(3 * ts)
    errors = 0.1 + 0.01 * np.arange(100)
    data = ji.Observations(ts, y, y, errors, input=2 * y, offset=0.5, labels=("t", "x"))
    part = data.between(2.0, 5.05)
    np.testing.assert_array_equal(part.ts, ts[20:51])
    for name in ("position", "momentum", "position_error", "input"):
        np.testing.assert_array_equal(getattr(part, name), getattr(data, name)[20:51])
    assert (part.offset, part.labels, part.chosen) == (0.5, ("t", "x"), True)
    assert part.reading == ("readings from 2 to 5.05: 31 of 100",)
    np.testing.assert_array_equal(data.between(stop=3).ts, ts[:31])
    np.testing.assert_array_equal(data.between().ts, ts)
    for bounds, message in (
        ((5, 2), "start = 5 must be below stop = 2; times go from 0 to 9.9"),
        ((2, 2.2), "2.2: 3 of 100.*times go from 0 to 9.9.*3 readings"),
        ((float("nan"), 2), "start has nan"),
        (([1, 2], 3), r"start has shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            data.between(*bounds)


def test_a_fit_takes_the_free_motion_and_says_so():
    """As the part cut by hand, to the last digits; residuals are of the whole record. A part chosen by hand is kept."""
    rng = np.random.default_rng(3)
    ts = np.arange(0, 20, 0.08)
    y = kicked("rest", ts, 4.0, 9.0, 0.4, rng) + 0.01 * rng.normal(size=len(ts))
    data = ji.Observations(ts, y)
    result = ji.fit(S, data, both)
    part = data.decays()
    np.testing.assert_array_equal(result.flat, ji.fit(S, part, both).flat)
    assert np.abs((result.flat - [0.4, 9.0]) / result.stderr).max() < 4
    assert part.reading[-1] in result.summary()
    left_out = np.setdiff1d(np.arange(len(ts)), part.rows)
    assert 45 < len(left_out) < 75
    assert np.isnan(result.diagnostics.residuals[left_out]).all()
    np.testing.assert_allclose(
        (result.diagnostics.prediction + result.diagnostics.residuals)[part.rows], y[part.rows], atol=1e-12
    )
    assert ji.fit(S, data.between(), both).flat[0] != result.flat[0]


def agreement(kind, seeds):
    """(gamma - that of the record cut at its release) / error, and the errors' ratio, of random records."""
    parts, cuts = [], []
    for seed in seeds:
        ts, y, lead, _, _ = random_record(seed, kind)
        data = ji.Observations(ts, y, offset=None)
        parts.append(data.decays())
        cuts.append(data.between(lead))
    found, known = ji.fit_many(S, parts, both), ji.fit_many(S, cuts, both)
    error, ideal = (np.sqrt(fits.covariance[:, 0, 0]) for fits in (found, known))
    return (found.flat[:, 0] - known.flat[:, 0]) / error, error / ideal


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_random_records_give_what_those_cut_at_their_release_give(kind):
    """Within 2 errors, errors within 1.5 of theirs: 95 of 100 rests, holds and pushes. The end of a drive may not show
    in the noise, and less is promised there: 88, which is 2.5 standard deviations below the 94 % of trials."""
    off, ratio = agreement(kind, range(100))
    assert np.sum((np.abs(off) < 2) & (ratio < 1.5)) >= (88 if kind == "drive" else 95)


# From where, and until when at the latest, free motion may be said to begin in real records.
BEGINS = {
    "pend_mag_2150g_10582_2": (15.5, 17.0),
    "pend_mag_2150g_21164_2": (4.8, 10.5),
    "seis_Q3_10": (7.0, 9.5),
    "seis_11mm_damping": (0.6, 3.0),
    "furuta_03": (0.05, 0.36),
    "embed1": None,
    "pend_big_data31": None,
}


@pytest.mark.skipif(not (REAL / "records").exists(), reason="the records are not here")
def test_real_records_begin_where_they_were_let_go():
    for name, times in BEGINS.items():
        data = ji.Observations.from_csv(REAL / "records" / f"{name}.csv")
        part = data.decays()
        assert (part is data) == (times is None), name
        assert times is None or times[0] <= part.ts[0] <= times[1], (name, part.ts[0])
