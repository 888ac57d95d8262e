"""Dates and spans of time are seconds from the first reading, however they are written."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import jaxinertia as ji

from .records import damped

pytestmark = pytest.mark.usefixtures("without_type_checks")

N = 40
NANOSECONDS = np.arange(N) * 250_000_001
TS = NANOSECONDS * 1e-9
Y = damped(TS, 1.3, 0.2)
START = np.datetime64("2026-03-29T00:59:55.000000000")  # in Berlin the clock jumps five seconds later
INSTANTS = START + NANOSECONDS.astype("timedelta64[ns]")
DATES = pd.DatetimeIndex(INSTANTS)
WORLD = DATES.tz_localize("UTC")
ZONES = {
    "datetime64": INSTANTS,
    "timedelta64": NANOSECONDS.astype("timedelta64[ns]") + np.timedelta64(7, "s"),
    "list of datetime64": list(INSTANTS),
    "DatetimeIndex": DATES,
    "Series": pd.Series(DATES),
    "Timestamps": list(DATES),
    "TimedeltaIndex": pd.TimedeltaIndex(DATES - DATES[0]),
    "Timedeltas": list(DATES - DATES[0]),
    "with a zone": WORLD,
    "Series with a zone": pd.Series(WORLD.tz_convert("Europe/Berlin")),
    "Timestamps of several zones": [
        t.tz_convert(z) for t, z in zip(WORLD, ["Asia/Tokyo", "UTC"] * (N // 2), strict=True)
    ],
}


@pytest.mark.parametrize("name", ZONES)
def test_dates_are_seconds_to_the_nanosecond(name):
    """Of differences of 10 s at most, taken as integers, only the rounding of one division is left."""
    data = ji.Observations(ZONES[name], Y)
    np.testing.assert_allclose(data.ts, TS, rtol=1e-15, atol=0)


def test_pythons_dates_go_by_one_clock():
    """Python takes two dates of one zone apart by the clock on the wall, which is put forward by an hour meanwhile."""
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 3, 29, 0, 59, 55, tzinfo=UTC)
    instants = [start + timedelta(milliseconds=250 * k) for k in range(N)]
    for dates in (instants, [t.astimezone(berlin) for t in instants], [t.replace(tzinfo=None) for t in instants]):
        np.testing.assert_array_equal(ji.Observations(dates, Y).ts, 0.25 * np.arange(N))
    spans = [timedelta(milliseconds=250 * k + 40) for k in range(N)]
    np.testing.assert_array_equal(ji.Observations(spans, Y).ts, 0.25 * np.arange(N))


@pytest.mark.parametrize(("unit", "seconds"), [("D", 86400.0), ("m", 60.0), ("us", 1e-6), ("ps", 1e-12)])
def test_every_unit_is_seconds(unit, seconds):
    dates = np.datetime64("1970-01-02", unit) + np.arange(N)
    np.testing.assert_allclose(ji.Observations(dates, Y).ts, np.arange(N) * seconds, rtol=1e-15)


def test_numbers_stay_as_they_are():
    np.testing.assert_array_equal(ji.Observations(NANOSECONDS, Y).ts, NANOSECONDS)


def with_one(x, i, value):
    x = list(x)
    x[i] = value
    return x


REFUSED = {
    "NaT": (with_one(INSTANTS, 3, np.datetime64("NaT")), "ts has NaT at entry 3"),
    "NaT of timedelta64": (with_one(ZONES["timedelta64"], 4, np.timedelta64("NaT")), "ts has NaT at entry 4"),
    "pandas' NaT": (pd.Series(with_one(DATES, 5, pd.NaT)), "ts has NaT at entry 5"),
    "NaT among Timestamps": (with_one(WORLD, 0, pd.NaT), "ts has NaT at entry 0"),
    "None among Timestamps": (with_one(WORLD, 2, None), "ts has None at entry 2"),
    "some with a zone": (with_one(DATES, 6, WORLD[6]), "ts has Timestamp.* at entry 6 .*time zone"),
    "dates and numbers": (with_one(DATES, 7, 1.5), "ts has 1.5 at entry 7, beside dates"),
    "months": (np.arange(N).astype("timedelta64[M]"), "ts is in timedelta64.*no fixed length"),
    "text": ([str(t) for t in INSTANTS], "ts = .* is not an array of real numbers"),
    "repeated": (with_one(INSTANTS, 8, INSTANTS[7]), "ts repeats"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_time_is_refused(name):
    ts, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        ji.Observations(ts, Y)


@pytest.mark.parametrize("name", ["position", "momentum", "input", "position_error", "offset"])
def test_dates_are_nothing_but_times(name):
    """They would be counted in nanoseconds."""
    dates = INSTANTS[0] if name == "offset" else INSTANTS
    arguments = {"position": Y} | {name: dates}
    with pytest.raises(ValueError, match=f"{name} = .* is not an array of real numbers") as caught:
        ji.Observations(TS, **arguments)
    assert len(str(caught.value)) < 130


def test_a_simulation_has_no_unit_of_time():
    with pytest.raises(ValueError, match=r"ts has dates .*pass numbers"):
        ji.simulate(ji.System(ji.potentials.Quadratic()), INSTANTS, 1.0, dt=0.1)


def test_dates_in_a_file_are_seconds_to_the_nanosecond(tmp_path):
    path = tmp_path / "record.csv"
    path.write_text("t,y\n" + "".join(f"{t},{y}\n" for t, y in zip(INSTANTS, Y, strict=True)))
    np.testing.assert_allclose(ji.Observations.from_csv(path, time="t", position="y").ts, TS, rtol=1e-15)
    table = pd.read_csv(path, parse_dates=["t"])
    np.testing.assert_allclose(ji.Observations(table["t"], table["y"]).ts, TS, rtol=1e-15)


@pytest.mark.slow
def test_one_record_with_dates_or_seconds_is_one_record():
    """To `fit_many`, whose records on the same times are read side by side, and to `compare`."""

    def both(s):
        return s.damping.gamma, s.potential.stiffness

    y = Y + 1e-3 * np.random.default_rng(0).normal(size=N)
    dates = ji.Observations(WORLD, y)
    numbers = ji.Observations(dates.ts, y)
    system = ji.System(ji.potentials.Quadratic())
    fits = ji.fit_many(system, [dates, numbers], both)
    np.testing.assert_array_equal(fits.flat[0], fits.flat[1])
    one, other = (ji.fit(system, data, both) for data in (dates, numbers))
    assert one.record == other.record
    assert [row[-1] for row in ji.compare([one, other])] == [0.0, 0.0]
