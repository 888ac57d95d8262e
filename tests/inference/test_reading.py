"""Files as instruments, phones and spreadsheets write them: one ring-down in each, read to its printed digits."""

import gzip
import io
import sys
import zipfile
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import jaxinertia as ji

from .records import REAL

pytestmark = pytest.mark.usefixtures("without_type_checks")

N = 40
TS = np.round(0.1 * np.arange(N), 3)
Y = np.round(np.exp(-0.1 * TS) * np.cos(3 * TS), 5)
ROWS = [(f"{t:.3f}", f"{y:.5f}") for t, y in zip(TS, Y, strict=True)]


def table(delimiter=",", head=("t,y",), rows=ROWS, tail="\n"):
    return "\n".join([*head, *(delimiter.join(row) for row in rows)]) + tail


def commas(rows, quote=""):
    return [tuple(f"{quote}{cell.replace('.', ',')}{quote}" for cell in row) for row in rows]


def stamped(form):
    return [(form(k), y) for k, (_, y) in enumerate(ROWS)]


def day(k):
    return datetime(2024, 5, 1, 12) + timedelta(milliseconds=100 * k)


LVM = (
    "LabVIEW Measurement\t",
    "Writer_Version\t2",
    "Reader_Version\t2",
    "Separator\tTab",
    "X_Columns\tNo",
    "Date\t2024/05/01",
    "Time\t12:00:00.0",
    "***End_of_Header***\t",
    "\t",
    "Channels\t1\t\t",
    "Samples\t40\t\t",
    "X_Dimension\tTime\t\t",
    "X0\t0.0000000000000000E+0\t\t",
    "Delta_X\t0.100000\t\t",
    "***End_of_Header***\t\t\t",
    "X_Value\tUntitled\tComment",
)

# The text, the options, and what is said of it.
TEXTS = {
    "names": (table(), {}, "time: column 't', in the file's own unit; 40 rows from 0 to 3.9"),
    "no names": (table(head=()), {}, "position: column 1"),
    "no names, by number": (table(head=()), dict(time=0, position="1"), "time: column 0"),
    "other letters": (table(head=(" Time , Y",)), dict(time="time", position="y"), "'Time'"),
    "units in the names": (table(head=("Time (ms),Angle [rad]",)), dict(time="time"), "taken as ms"),
    "a row of units": (table(head=("Time,Channel A", "(ms),(V)", "")), {}, "taken as ms"),
    "a title": (table("\t", ("Voltage, ChA, Run #1", "Time ( s )\tVoltage ( V )")), {}, "1 lines above the table"),
    "metadata": (table(head=("Model,TBS", "Firmware,1.0", "Points,40", "", "TIME,CH1")), {}, "3 lines above"),
    "numbers in the metadata": (
        table(rows=[(a, "0", b) for a, b in ROWS], head=("delta t,1E-1,1E-1", "t,V_S,V_C")),
        dict(position="V_C"),
        "1 lines above",
    ),
    "percent comments": (table(head=("% by X", "%", "t,y")), {}, "2 lines of comment"),
    "names in a comment": (table(" ", ("# made", "# t y")), dict(time="t", position="y"), "names from the comment"),
    "spaces": (table("  ", ("t y",)), {}, "'t'"),
    "trailing delimiters": (table(rows=[(*row, "") for row in ROWS]), {}, "'y'"),
    "empty columns": (table(rows=[(*row, "", "", "") for row in ROWS], head=("t,y,,,",)), {}, "'y'"),
    "Excel's sep": (table(";", ("sep=;", "t;y"), commas(ROWS)), {}, "'y'"),
    "quoted decimal commas": (table(rows=commas(ROWS, '"')), {}, "'y'"),
    "decimal commas between spaces": (table(" ", ("t y",), commas(ROWS)), {}, "'y'"),
    "names that repeat, unused": (
        table(head=("t,y,err,err",), rows=[(*row, "1", "2") for row in ROWS]),
        dict(position="y"),
        "columns passed over: 'err', 'err'",
    ),
    "a column that rests": (table(head=("t,u,y",), rows=[(a, "0", b) for a, b in ROWS]), {}, "passed over: 'u'"),
    "a last row of fewer cells": (
        table(head=("t,y,z",), rows=[(*row, "0") for row in ROWS], tail="\n4.0,0.1"),
        dict(position="y"),
        "the last line, 42, is cut off and left out: '4.0,0.1'",
    ),
    "a last row of fewer digits": (table(tail="\n4.000,0.2"), {}, "line, 42, is cut off"),
    "a last row of half a number": (table(tail="\n4.000,-"), {}, "line, 42, is cut off"),
    "a row counter": (
        table(head=("X,CH1,Start,Increment,", "Sequence,Volt,0.0,1.0e-01"), rows=stamped(str)),
        {},
        "counts rows: from 0 by 0.1",
    ),
    "no time": (table(head=("V",), rows=[row[1:] for row in ROWS]), dict(rate=10), "10 readings per unit"),
    "no time, decimal commas": (
        table(head=("V",), rows=commas([row[1:] for row in ROWS])),
        dict(rate=10),
        "position: column 'V'",
    ),
    "a word for nothing": (table().replace(ROWS[7][1], "OVER"), dict(missing="OVER"), "'y'"),
    "a word for nothing in the first row": (table().replace(ROWS[0][1], "OVER"), dict(missing=["OVER"]), "'y'"),
    "milliseconds": (
        table(rows=[(f"{1e3 * t:.0f}", row[1]) for t, row in zip(TS, ROWS, strict=True)]),
        dict(time_unit="ms"),
        "converted from ms to s",
    ),
    "ISO": (table(rows=stamped(lambda k: day(k).isoformat("T", "milliseconds") + "Z")), {}, "dates as seconds"),
    "ISO with a zone": (table(rows=stamped(lambda k: day(k).isoformat() + "+02:00")), {}, "dates as seconds"),
    "days before months": (table(rows=stamped(lambda k: day(k).strftime("%d.%m.%Y %H:%M:%S.%f"))), {}, "dates"),
    "months before days": (
        table(rows=stamped(lambda k: day(k).strftime("5/31/2024  %I:%M:%S.%f %p"))),
        {},
        "dates",
    ),
    "hours": (table(rows=stamped(lambda k: day(k).strftime("%H:%M:%S.%f"))), {}, "hours, minutes and seconds"),
    "minutes": (table(rows=stamped(lambda k: day(k).strftime("%M:%S.%f"))), {}, "minutes and seconds"),
    "past the hour": (table(rows=stamped(lambda k: f"{day(k) - timedelta(seconds=2):%M:%S.%f}")), {}, "pass the hour"),
    "past midnight": (
        table(rows=stamped(lambda k: (day(k) + timedelta(hours=11, minutes=59, seconds=58)).strftime("%H:%M:%S.%f"))),
        {},
        "which pass midnight",
    ),
    "year to second in one number": (
        table(rows=stamped(lambda k: f"{day(k) - timedelta(seconds=2):%Y%m%d%H%M%S.%f}")),
        {},
        "dates as seconds",
    ),
    "ISO without marks": (table(rows=stamped(lambda k: f"{day(k):%Y%m%dT%H%M%S.%f}")), {}, "dates as seconds"),
    "ISO with UTC": (table(rows=stamped(lambda k: f"{day(k)} UTC")), {}, "dates as seconds"),
    "a month by its name": (table(rows=stamped(lambda k: f"{day(k):%d-%b-%Y %H:%M:%S.%f}")), {}, "dates as seconds"),
    "a.m. and p.m.": (
        table(rows=stamped(lambda k: f"{day(k) - timedelta(seconds=2):%I:%M:%S.%f} {'ap'[k > 19]}.m.")),
        {},
        "hours, minutes and seconds",
    ),
    "a date beside the hours": (
        table(head=("Date,Time,y",), rows=[(*f"{day(k):%d.%m.%Y %H:%M:%S.%f}".split(), ROWS[k][1]) for k in range(N)]),
        {},
        "time: columns 'Date' and 'Time', dates as seconds",
    ),
    "a date beside the hours, decimal commas": (
        table(
            ";",
            ("Datum;Uhrzeit;Weg",),
            [(*f"{day(k):%d.%m.%Y %H:%M:%S,%f}".split(), ROWS[k][1].replace(".", ",")) for k in range(N)],
        ),
        {},
        "time: columns 'Datum' and 'Uhrzeit', dates",
    ),
    "many settings above": (table(head=(*(f"key {k}: value" for k in range(900)), "t,y")), {}, "900 lines above"),
    "room at the end": (table(tail="\n" + 99 * "\0"), {}, "'y'"),
    "seconds since 1970": (table(rows=stamped(lambda k: f"{1714564795 + k / 10:.1f}")), {}, "taken as s since 1970"),
    "a second clock": (
        table(head=("time,seconds_elapsed,y",), rows=[(f"{5 + 1.0001 * TS[k]:.5f}", *ROWS[k]) for k in range(N)]),
        dict(time="seconds_elapsed"),
        "columns passed over: 'time'",
    ),
    "rows with numbers": (table(head=(",t,y",), rows=[(str(k), *ROWS[k]) for k in range(N)]), {}, "time: column 't'"),
    "rows with numbers, no names": (table(head=(), rows=[(str(k), *ROWS[k]) for k in range(N)]), {}, "time: column 1"),
    "frames and a rate": (table(head=("frame,y",), rows=stamped(str)), dict(rate=10), "passed over: 'frame'"),
    "bars": (table("|", ("t|y",)), {}, "'t'"),
    "tabs and spaces": (table(" \t ", ("t\t y",)), {}, "'t'"),
    "single quotes": (table(rows=[tuple(f"'{cell}'" for cell in row) for row in ROWS]), {}, "'t'"),
    "a printed minus": (table().replace("-", "\u2212"), {}, "'y'"),
    "Fortran's exponents": (table(rows=[(t, f"{float(y) * 10:.6f}D-01") for t, y in ROWS]), {}, "'y'"),
    "thousands by spaces": (
        table(
            ";",
            ("t;y",),
            rows=[(f"{1e6 + 1e3 * t:,.0f}".replace(",", "\u2009"), y) for t, (_, y) in zip(TS, ROWS, strict=True)],
        ),
        dict(time_unit="ms"),
        "'t'",
    ),
    "thousands by apostrophes": (
        table(
            ";",
            ("t;y",),
            rows=[(f"{1e6 + 1e3 * t:,.0f}".replace(",", "'"), y) for t, (_, y) in zip(TS, ROWS, strict=True)],
        ),
        dict(time_unit="ms"),
        "'t'",
    ),
    "empty rows": (table(head=("t,y", ",")).replace("\n1.000", "\n,\n\n1.000") + ",\n", {}, "'y'"),
    "names that come again": (
        table(head=("t,y", "s,mm")).replace("\n1.000", "\nt,y\ns,mm\n1.000"),
        {},
        "names come again, passed over: lines 13, 14",
    ),
    "a summary below": (
        table(tail="\n\nMean,0.0123\nEnd of data\n"),
        {},
        "2 lines below the table passed over, from line 43: 'Mean 0.0123'",
    ),
    "rows written twice": (
        table(rows=[row for k, row in enumerate(ROWS) for _ in range(1 + (k % 9 == 5))]),
        {},
        "4 rows that repeat the row before them left out, the first in line 8",
    ),
    "settings beside the first rows": (
        table(head=(), rows=[(*(("Record Length", "40") if k == 0 else ("", "")), *ROWS[k]) for k in range(N)]),
        dict(time=2, position=3),
        "time: column 2",
    ),
    "a number for nothing": (table().replace(ROWS[7][1], "-999.0"), dict(missing="-999"), "'y'"),
    "inf, a word for nothing": (table().replace(ROWS[7][1], "inf"), dict(missing="inf"), "'y'"),
    "C's word for nothing": (table().replace(ROWS[7][1], "-nan(ind)"), {}, "'y'"),
    "LabVIEW": (table("\t", LVM, rows=[("", row[1]) for row in ROWS]), {}, "from 0 by 0.1, as the file says"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts(case, tmp_path):
    text, options, said = TEXTS[case]
    path = tmp_path / "record.csv"
    path.write_text(text)
    data = ji.Observations.from_csv(path, **options)
    rounding = max(1e-14, 2 * np.spacing(data.ts[-1]))
    np.testing.assert_allclose(data.ts - data.ts[0], TS, rtol=1e-14, atol=rounding)
    y = np.array(Y)
    y[{"a word for nothing in the first row": 0}.get(case, 7)] = np.nan if "for nothing" in case else y[7]
    np.testing.assert_allclose(data.position, y, rtol=1e-14)
    assert said in "; ".join(data.reading)
    assert "\n" not in "".join(data.reading)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings(encoding, tmp_path):
    path = tmp_path / "record.csv"
    path.write_text(table(head=("t,angle (°)",)), encoding=encoding)
    data = ji.Observations.from_csv(path, position="angle (°)", angle="deg", position_error=0.5, offset=2.0)
    assert data.labels[1] == "angle (rad)"  # a figure names what it shows
    np.testing.assert_allclose(data.position, np.radians(Y), rtol=1e-15)
    np.testing.assert_allclose([data.position_error, data.offset], np.radians([0.5, 2.0]), rtol=1e-15)
    assert any("degrees to radians" in line for line in data.reading)
    kept = ji.Observations.from_csv(path)
    np.testing.assert_array_equal(kept.position, Y)
    assert any("are in degrees" in line for line in kept.reading)


def test_times_coarser_than_the_readings_are_spread_evenly(tmp_path):
    """Readings every 1/30 on a clock of tenths: the spacing to a part in a hundred, and the error said holds it."""
    path = tmp_path / "record.csv"
    path.write_text(table(rows=stamped(lambda k: f"{k / 30:.1f}")))
    data = ji.Observations.from_csv(path)
    steps = np.diff(data.ts)
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-12)
    (line,) = [line for line in data.reading if "times repeat" in line]
    error = float(line.split("+- ")[1].split(";")[0])
    assert abs(steps.mean() - 1 / 30) < 3 * error < 0.05 / 30


def test_arrays(tmp_path):
    path = tmp_path / "record.npz"
    np.savez(path, t=TS, y=Y, dt=0.1, xy=np.stack([Y, Y**2], 1), stamp=np.datetime64("2024-01-01") + np.arange(N))
    data = ji.Observations.from_csv(path, "t", ["xy[0]", "xy[1]"])
    np.testing.assert_array_equal(data.position, np.stack([Y, Y**2], 1))
    np.testing.assert_array_equal(data.ts, TS)
    assert "arrays of another length passed over: ['dt']" in "; ".join(data.reading)
    days = ji.Observations.from_csv(path, "stamp", "y")
    np.testing.assert_array_equal(days.ts, 86400.0 * np.arange(N))
    plain = tmp_path / "record.npy"
    np.save(plain, np.stack([TS, Y], 1))
    np.testing.assert_array_equal(ji.Observations.from_csv(plain, 0, 1).position, Y)
    np.save(plain, np.rec.fromarrays([TS, np.where(TS == 0.7, -999, Y)], names="t,y"))
    masked = ji.Observations.from_csv(plain, missing=["-999"])
    np.testing.assert_array_equal(masked.position, np.where(TS == 0.7, np.nan, Y))


def test_times_that_start_anew_are_runs(tmp_path):
    """A log that was begun again, and a counter of 16 bits that ran over: two runs, and both are fitted."""
    path = tmp_path / "record.csv"
    anew = [(f"{t - 2 * (t >= 2):.3f}", row[1]) for t, row in zip(TS, ROWS, strict=True)]
    for rows in anew, [(str((64000 + round(1e3 * t)) % 2**16), row[1]) for t, row in zip(TS, ROWS, strict=True)]:
        path.write_text(table(rows=rows))
        data = ji.Observations.from_csv(path)
        assert [len(run) for run in data.runs] == ([20, 20] if rows is anew else [16, 24])
        assert "2 runs, each a segment" in data.reading[-1]
    path.write_text(table(rows=ROWS * 2))
    with pytest.raises(ValueError, match="lines 42 to 81 are the lines before them again; drop them"):
        ji.Observations.from_csv(path)


@pytest.mark.parametrize("pack", [gzip.compress, lambda raw: _zipped({"Raw Data.csv": raw, "meta/device.csv": b"a,b"})])
def test_packed_tables(pack, tmp_path):
    path = tmp_path / "record.zip"
    path.write_bytes(pack(table().encode()))
    np.testing.assert_array_equal(ji.Observations.from_csv(path).position, Y)


def _zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, raw in members.items():
            file.writestr(name, raw)
    return out.getvalue()


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(table().encode())))
    np.testing.assert_array_equal(ji.Observations.from_csv("-").position, Y)


def test_workbooks(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "record.xlsx"
    frame = pd.DataFrame({"Time (s)": TS, "Angle": Y})
    with pd.ExcelWriter(path) as book:
        pd.DataFrame({"device": ["x"]}).to_excel(book, sheet_name="About", index=False)
        frame.to_excel(book, sheet_name="Raw Data", index=False, startrow=2)
        frame.to_excel(book, sheet_name="Device", index=False)
    data = ji.Observations.from_csv(path)
    np.testing.assert_array_equal(data.ts, TS)
    np.testing.assert_array_equal(data.position, Y)
    assert "sheet 'Raw Data', number 2: no table in ['About']" in data.reading


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "record.parquet"
    pd.DataFrame({"t": pd.to_timedelta(TS, "s"), "y": Y, "run": ["a"] * N}).to_parquet(path)
    data = ji.Observations.from_csv(path, segment="run")
    np.testing.assert_allclose(data.ts, TS, rtol=1e-12)
    np.testing.assert_array_equal(data.position, Y)


FOREIGN = {
    "old Excel": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512),
        "old Excel file.*save it as .xlsx or .csv.*phyphox",
    ),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5.*pass its arrays"),
    "gzip": (b"\x1f\x8b" + bytes(64), "cannot be unpacked"),
    "bzip2": (b"BZh9" + bytes(64), "unpack it"),
    "JSON": (b'[{"t": 0.0, "y": 1.0},\n {"t": 0.1, "y": 0.9}]', "is JSON: load it"),
    "HTML": (b"<html><table><tr><td>0.1</td></tr></table></html>", "is HTML or XML: save it as .csv"),
    "several tables": (_zipped({"a.csv": b"", "b.csv": b""}), "zip file of .'a.csv', 'b.csv'.: unpack it"),
    "a broken zip": (b"PK\x03\x04" + bytes(64), "complete"),
    "bytes": (b"abc\0\1\2" * 5 + b"d" * 300, "no text"),
    "words": (b"there is\nnothing here\nto be read\n", "no row of numbers.*begins: there is . nothing here"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_what_holds_no_table_says_what_to_do(case, tmp_path):
    raw, message = FOREIGN[case]
    path = tmp_path / "record.xls"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message):
        ji.Observations.from_csv(path)


@pytest.mark.parametrize("engine", ["openpyxl", "pyarrow"])
def test_what_needs_another_package_names_it(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == engine else "there")
    path = tmp_path / "record"
    path.write_bytes(b"PAR1" + bytes(16))
    if engine == "openpyxl":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("xl/workbook.xml", "")
    with pytest.raises(ValueError, match=f"needs {engine}: install it, or save the table as .csv"):
        ji.Observations.from_csv(path)


THREE = table(head=("t,x,y",), rows=[(*row, row[1][::-1].strip("-")) for row in ROWS])
UNCLEAR = {
    "two positions": (
        THREE,
        {},
        "not clear which of .'t', 'x', 'y'. holds the positions; pass position.*begins: t,x,y",
    ),
    "no times": (table(head=("V",), rows=[row[1:] for row in ROWS]), {}, "holds the times; pass time .* or the rate"),
    "one column for two things": (table(), dict(time="t", position="T"), "time and position are both column 't'"),
    "one column by its number": (table(), dict(time="t", position=0), "time and position are both column 't'"),
    "a component twice": (THREE, dict(position=["x", "x"]), "position and position are both column 'x'"),
    "an input that is the position": (THREE, dict(position="x", input=1), "position and input are both column 'x'"),
    "a number too high": (table(), dict(position=2), "position = 2 is none of its 2 columns.*from 0 to 1"),
    "a name where there are none": (table(head=()), dict(position="y"), "no column 'y'.*2 columns without names"),
    "a rate and a time": (table(), dict(rate=10, time="t"), "rate = 10 is for a file without times"),
    "a rate of zero": (table(), dict(rate=0.0, position="y"), "rate = 0.0 must be a number above 0"),
    "an unknown unit": (table(), dict(time_unit="fortnight"), "time_unit = 'fortnight' must be one of"),
    "an unknown angle": (table(), dict(angle="grad"), "angle = 'grad' must be 'rad' or 'deg'"),
    "a unit for stamps": (
        table(rows=stamped(lambda k: day(k).isoformat() + ".0" * (k == 0))),
        dict(time_unit="ms"),
        "holds stamps, which are seconds",
    ),
    "a word for nothing, unsaid": (
        table().replace(ROWS[7][1], "OVER"),
        {},
        "column 'y', line 9: 'OVER' is not a number; if it stands for no reading, pass missing='OVER'",
    ),
    "days or months": (
        table(rows=stamped(lambda k: f"{k // 20 + 1}/2/2024 12:00:{k % 20}")),
        {},
        "'1/2/2024 12:00:0' is a date by d/m/y or m/d/y; write it as",
    ),
    "a date among dates that is none": (
        table(rows=stamped(lambda k: "2024-02-30" if k == 5 else f"2024-02-{k % 28 + 1:02d}")),
        {},
        "line 7.: '2024-02-30' is no date",
    ),
    "thousands in quotes": (
        table(rows=[(str(k), f'"{1 + k % 7},{100 + k}"') for k in range(N)]),
        {},
        "line 2: '1,100': its commas may be decimal ones or part thousands",
    ),
    "torn at decimal commas": (
        table(head=(), rows=commas(ROWS)),
        dict(time=0, position=1),
        "begin with 0.*decimal commas",
    ),
    "a code for nothing": (
        table().replace(ROWS[7][1], "9.91E37"),
        {},
        "line 9: '9.91E37' is far beyond all other readings.*missing='9.91E37'",
    ),
    "hours, minutes and seconds in one number": (
        table(rows=stamped(lambda k: f"{day(k) - timedelta(seconds=2):%H%M%S.%f}")),
        {},
        "line 22: times leap by 40 where the seconds reach 60.*write them as h:m:s",
    ),
    "points in thousands": (
        table(
            ";", ("t;y",), rows=[(f"{1000 + 100 * k:,}".replace(",", "."), y) for k, (_, y) in enumerate(commas(ROWS))]
        ),
        {},
        "line 2: '1.000': its points may part thousands, as other columns have decimal commas",
    ),
    "an empty line where times are counted": (
        "\n".join([*(y for _, y in ROWS[:9]), "", *(y for _, y in ROWS[9:])]) + "\n",
        dict(rate=10),
        "before line 11 some hold no reading; write nan",
    ),
    "words where numbers should be": (
        table(rows=[(t, f"{y}%") for t, y in ROWS]),
        {},
        "column 'y' holds no numbers but '1.00000%'",
    ),
    "two lines in one": (
        table(head=(), rows=[row if k != 9 else (*row, "0.1") for k, row in enumerate(ROWS)]),
        {},
        "line 10 has 3 cells, others 2",
    ),
    "repeated now and then": (
        table(rows=[(ROWS[k - (k % 9 == 5)][0], ROWS[k][1]) for k in range(N)]),
        {},
        r"ts repeats: ts\[4\] \(line 6\)",
    ),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_is_unclear_says_what_settles_it(case, tmp_path):
    text, options, message = UNCLEAR[case]
    path = tmp_path / "record.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        ji.Observations.from_csv(path, **options)
    assert "record.csv" in str(caught.value) or "=" in str(caught.value)


def test_positions_are_not_the_times():
    with pytest.raises(ValueError, match="position is ts itself"):
        ji.Observations(TS, TS)


# Options, and how far times and positions are from those that were written.
MADE = {
    "single_column": dict(rate=10),
    "tracker": dict(position="x"),
    "last_row_cut": dict(position="y"),
    "duplicate_cols_unused": dict(position="y"),
}


@pytest.mark.skipif(not (REAL / "formats").exists(), reason="the files are not here")
def test_every_kind_of_file_that_instruments_write():
    paths = sorted((REAL / "formats").iterdir())
    assert len(paths) == 22
    for path in paths:
        data = ji.Observations.from_csv(path, **MADE.get(path.stem, {}))
        np.testing.assert_allclose(data.position, Y, atol=5.1e-5, err_msg=path.name)
        ticks = path.stem.startswith("equal_times")
        spacing = (0.1 / 3, 1e-2) if ticks else (0.1, 1e-12)
        np.testing.assert_allclose(np.diff(data.ts), spacing[0], rtol=spacing[1], err_msg=path.name)
        assert (data.ts[0] == 0) or ticks or data.ts[0] == (-2 if path.stem.startswith("rigol") else 0), path.name
