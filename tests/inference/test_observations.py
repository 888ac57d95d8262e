"""A bad record, or a bad file, is a ValueError that says what is wrong and where."""

import numpy as np
import pytest

import jaxinertia as ji

pytestmark = pytest.mark.usefixtures("without_type_checks")

TS = np.linspace(0, 1, 20)
Y = np.cos(9 * TS)
NAN, INF = float("nan"), float("inf")
TWICE = np.concatenate([TS[:10], TS[9:19]])
QUIET = ji.System(ji.potentials.Quadratic(), 0.1)
NOISY = ji.System(ji.potentials.Quadratic(), 0.1, 1.0)


def but(x, i, value):
    x = np.array(x, float)
    x[i] = value
    return x


def fit(system=QUIET, data=None, free=lambda s: s.damping.gamma, **options):
    return ji.fit(system, ji.Observations(TS, Y) if data is None else data, free, **options)


CASES = {
    "ts falls": (lambda: ji.Observations(TS[::-1], Y), "ts", "0.94"),
    "ts repeats": (lambda: ji.Observations(TWICE, Y), "ts repeats", r"ts\[10\]"),
    "ts falls in one run": (lambda: ji.Observations(np.tile(TS[:10], 2), Y), "segment", r"ts\[10\]"),
    "ts NaN": (lambda: ji.Observations(but(TS, 3, NAN), Y), "ts", "entry 3"),
    "ts masked": (lambda: ji.Observations(np.ma.masked_equal(TS, TS[3]), Y), "ts", "nan at entry 3"),
    "dates masked": (
        lambda: ji.Observations(np.ma.array(np.arange(20).astype("datetime64[s]"), mask=np.arange(20) == 5), Y),
        "ts",
        "NaT at entry 5",
    ),
    "ts a word": (lambda: ji.Observations("now", Y), "ts", "now"),
    "position inf": (lambda: ji.Observations(TS, but(Y, 4, INF)), "position", "inf at entry 4"),
    "position too short": (lambda: ji.Observations(TS, Y[:5]), "position", r"\(5,\)"),
    "position complex": (lambda: ji.Observations(TS, Y * 1j), "position", "real"),
    "position flat": (lambda: ji.Observations(TS, np.full(20, 2.5)), "never moves", "2.5"),
    "too few": (lambda: ji.Observations(TS[:5], Y[:5]), "position", "5 readings"),
    "too few that are not NaN": (lambda: ji.Observations(TS, np.where(TS < 0.3, Y, NAN)), "position", "6 readings"),
    "momentum of another shape": (lambda: ji.Observations(TS, Y, Y[:4]), "momentum", r"\(4,\)"),
    "error zero": (lambda: ji.Observations(TS, Y, position_error=0.0), "position_error", "0.0"),
    "error of another shape": (lambda: ji.Observations(TS, Y, position_error=[1.0, 2.0]), "position_error", r"\(2,\)"),
    "segment too short": (lambda: ji.Observations(TS, Y, segment=[1, 2]), "segment", r"\(2,\)"),
    "input NaN": (lambda: ji.Observations(TS, Y, input=but(Y, 0, NAN)), "input", "nan at entry 0"),
    "offset of another shape": (lambda: ji.Observations(TS, Y, offset=[1.0, 2.0]), "offset", r"\(2,\)"),
    # fit
    "data are arrays": (lambda: fit(data=Y), "data", "Observations"),
    "free returns a number": (lambda: fit(free=lambda s: 2.0), "free", "2.0"),
    "free has a wrong name": (lambda: fit(free=lambda s: s.damping.gama), "free", "gama"),
    "free returns one twice": (lambda: fit(free=lambda s: (s.damping.gamma, s.damping.gamma)), "free", "twice"),
    "free sigma without noise": (lambda: fit(free=lambda s: s.noise.sigma), "free", "NoneType|noise"),
    "bounds reversed": (lambda: fit(bounds=(2.0, 1.0)), "bounds", r"\(2.0, 1.0\)"),
    "bounds of another structure": (lambda: fit(bounds={"a": 1}), "bounds", "damping.gamma|'a'"),
    "method unknown": (lambda: fit(method="magic"), "method", "magic"),
    "method without noise": (lambda: fit(method="kalman"), "method", "noise"),
    "kalman of what is not linear": (
        lambda: fit(ji.System(ji.potentials.Duffing(), noise=1.0), method="kalman"),
        "method",
        "unscented",
    ),
    "band without noise": (lambda: fit(band=(1.0, 2.0)), "band", r"\(1.0, 2.0\)"),
    "band reversed": (lambda: fit(NOISY, band=(2.0, 1.0)), "band", r"\(2.0, 1.0\)"),
    "a potential of two components": (
        lambda: fit(ji.System(ji.potentials.Rosenbrock(), 0.1)),
        "position",
        "Rosenbrock",
    ),
    "input and a force of one's own": (
        lambda: fit(ji.System(ji.potentials.Quadratic(), force=np.cos), ji.Observations(TS, Y, input=Y)),
        "force",
        "Sampled",
    ),
    "many, some with an input": (
        lambda: ji.fit_many(QUIET, [ji.Observations(TS, Y), ji.Observations(TS, Y, input=Y)]),
        r"data\[1\]",
        "input",
    ),
    "many of none": (lambda: ji.fit_many(QUIET, []), "data", "empty"),
    "many of one": (lambda: ji.fit_many(QUIET, ji.Observations(TS, Y)), "data", "list"),
    "many without a system": (lambda: ji.fit_many(None, [ji.Observations(TS, Y)]), "system", "None"),
    "compare one": (lambda: ji.compare([1]), "fits", "1"),
    # forces and drag
    "force ts falls": (lambda: ji.force.Sampled(TS[::-1], Y), "force ts", "increase"),
    "force u NaN": (lambda: ji.force.Sampled(TS, but(Y, 2, NAN)), "force u", "NaN"),
    "force lengths": (lambda: ji.force.Sampled(TS, Y[:3]), "force", r"\(3,\)"),
    "drag negative": (lambda: ji.damping.Drag(0.1, -0.2), "quadratic", "-0.2"),
    "drag NaN": (lambda: ji.damping.Drag(NAN), "linear", "nan"),
    "drag without O": (
        lambda: ji.simulate(
            ji.System(ji.potentials.Quadratic(), ji.damping.Drag(0.0, 0.2)),
            TS,
            1.0,
            dt=0.1,
            solver=ji.solvers.Splitting("BAB"),
        ),
        "damping",
        "dropped",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_a_value_error_that_names_it(case):
    call, name, value = CASES[case]
    with pytest.raises(ValueError, match=name) as caught:
        call()
    caught.match(value)


GOOD = "t,y,run\n" + "".join(f"{t},{y},1\n" for t, y in zip(TS, Y, strict=True))
FILES = {
    "no such column": (GOOD, "volts", "no column 'volts'.*'t', 'y', 'run'"),
    "text in numbers": (GOOD.replace(f"{Y[3]}", "high"), "y", "column 'y', line 5: 'high'"),
    "a row too short": (GOOD + "1.5,2.0\n", "y", "line 22 has 2 cells"),
    "decimal commas between commas": (GOOD + "1,5,2,0,1\n", "y", "line 22 has 5 cells.*decimal commas"),
    "a decimal comma in quotes": (GOOD + '1.5,"2,0",1\n', "y", "line 22: '2,0' is not a number; decimal commas"),
    "commas and points": ("t;y\n" + "".join(f"{t};{1 + i % 9},234.5\n" for i, t in enumerate(TS)), "y", "'1,234.5'"),
    "a thousands comma": ("t;y\n0;999.5\n" + "".join(f"{t};1,234\n" for t in range(1, 20)), "y", "commas and points"),
    "after comments": (
        "# a\n\nt,y\n# b\n" + GOOD.split("\n", 1)[1].replace(",1\n", "\n") + "x,1\n2.0,1\n",
        "y",
        "line 25: 'x'",
    ),
    "no time": (GOOD + ",2.0,1\n", "y", "column 't', line 22: '' is no finite number"),
    "inf": (GOOD + "2.0,inf,1\n", "y", "column 'y', line 22: 'inf'"),
    "a column twice": (GOOD.replace("run", "y", 1), "y", "'y' appears more than once, as numbers .1, 2."),
    "nothing in it": ("", "y", "no row of numbers.*begins: .nothing"),
    "only names": ("t,y\n", "y", "no row of numbers.*begins: t,y"),
    "flat": ("t,y\n" + "".join(f"{t},1.0\n" for t in TS), "y", "never moves"),
    "unsorted": ("t,y\n" + "".join(f"{t},{y}\n" for t, y in zip(TS[::-1], Y, strict=True)), "y", r"ts\[1\] \(line 3\)"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_a_value_error_that_names_it(case, tmp_path):
    text, column, message = FILES[case]
    path = tmp_path / "record.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        ji.Observations.from_csv(path, time="t", position=column)
    assert str(caught.value).count("record.csv") == 1


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv"):
        ji.Observations.from_csv(tmp_path / "none.csv", time="t", position="y")


def test_a_good_file(tmp_path):
    """Comments, semicolons, empty cells and a byte order mark are what instruments write."""
    path = tmp_path / "record.csv"
    rows = [f"{t};{'' if i == 2 else y};{i // 10}" for i, (t, y) in enumerate(zip(TS, Y, strict=True))]
    path.write_text("\ufeff# a scope\nt;y;run\n" + "\n".join(rows), encoding="utf-8")
    data = ji.Observations.from_csv(path, time="t", position="y", segment="run")
    np.testing.assert_array_equal(data.ts, TS)
    np.testing.assert_array_equal(data.position, but(Y, 2, NAN))
    assert [len(rows) for rows in data.runs] == [10, 10]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas(delimiter, tmp_path):
    path = tmp_path / "record.csv"
    rows = [f"{t:.6f}{delimiter}{y:.6e}".replace(".", ",") for t, y in zip(TS, Y, strict=True)]
    path.write_text(f"t{delimiter}y\n" + "\n".join(rows))
    data = ji.Observations.from_csv(path, time="t", position="y")
    np.testing.assert_allclose(data.ts, TS, atol=5e-7)
    np.testing.assert_allclose(data.position, Y, rtol=5e-7)


def test_segments_by_name(tmp_path):
    """Runs may have any names, in any order; an empty one is an error with its line."""
    path = tmp_path / "record.csv"
    lines = [f"{t},{y},{'BA'[i // 10]}" for i, (t, y) in enumerate(zip(TS, Y, strict=True))]
    path.write_text("t,y,run\n" + "\n".join(lines))
    data = ji.Observations.from_csv(path, time="t", position="y", segment="run")
    assert [rows.tolist() for rows in data.runs] == [list(range(10)), list(range(10, 20))]
    path.write_text("t,y,run\n" + "\n".join(lines).replace("B", "", 1))
    with pytest.raises(ValueError, match="column 'run', line 2: '' is no label"):
        ji.Observations.from_csv(path, time="t", position="y", segment="run")


def test_a_segment_of_mixed_kinds_is_refused():
    with pytest.raises(ValueError, match=r"segment mixes \['NoneType', 'str'\]"):
        ji.Observations(TS, Y, segment=[None, *"ABAAAAAAAAAAAAAAAAA"])


def test_masked_readings_are_none():
    """A masked array's value under the mask is a filling, and no reading: of whole numbers too."""
    for kind in float, np.int16:
        y = np.ma.array((1000 * Y).astype(kind), mask=TS > 0.9)
        data = ji.Observations(TS, y)
        np.testing.assert_array_equal(data.position, np.where(TS > 0.9, np.nan, (1000 * Y).astype(kind)))
