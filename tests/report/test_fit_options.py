"""The options of `jaxinertia fit` that say how a file is read, and which part of it."""

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxinertia.report import cli, fit_file

RUNNER = CliRunner()
TS = np.round(0.1 * np.arange(100), 3)
Y = np.round(np.exp(-0.1 * TS) * np.cos(3 * TS), 5)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """What the command read of a text, and what it said, without a fit."""

    def run(text, *options, name="record.csv"):
        seen = []

        def fit(system, data, *_args, **_options):
            seen.append(data)
            raise ValueError("as far as this")

        monkeypatch.setattr(fit_file, "fit", fit)
        (tmp_path / name).write_text(text)
        result = RUNNER.invoke(cli.app, ["fit", str(tmp_path / name), *options])
        assert result.exit_code == 2
        return (seen[0] if seen else None), result.output

    return run


def test_numbers_a_unit_degrees_and_a_window(read):
    text = "".join(f"{1e3 * t:.0f} {180 / np.pi * y:.6f} x\n" for t, y in zip(TS, Y, strict=True))
    text = text.replace(" x\n", " OVER\n", 1).replace(text.splitlines()[30].split()[1], "OVER")
    options = [
        "--time",
        "0",
        "--position",
        "1",
        "--time-unit",
        "ms",
        "--angle",
        "deg",
        "--missing",
        "OVER",
        "--from",
        "2",
        "--to",
        "7.5",
    ]
    data, said = read(text, *options)
    np.testing.assert_allclose(data.ts, TS[20:76], rtol=1e-12)
    np.testing.assert_allclose(np.delete(data.position, 10), np.delete(Y[20:76], 10), atol=1e-8)
    assert np.isnan(data.position[10])
    for line in ("converted from ms to s", "from degrees to radians", "readings from 2 to 7.5: 56 of 100"):
        assert line in said


def test_a_band_and_a_method_come_to_the_fit(read, monkeypatch):
    text = "t,y\n" + "".join(f"{t},{y}\n" for t, y in zip(TS, Y, strict=True))
    asked = []
    real = fit_file.fit_options
    monkeypatch.setattr(fit_file, "fit_options", lambda choices: asked.append(real(choices)) or asked[-1])
    read(text, "--noise", "--band", "0.3,4", "--method", "whittle")
    read(text)
    assert asked == [
        {"method": "whittle", "band": (0.3, 4.0), "loss": "squares"},
        {"method": None, "band": None, "loss": "squares"},
    ]


def test_a_rate(read):
    data, said = read("V\n" + "".join(f"{y}\n" for y in Y), "--rate", "10")
    np.testing.assert_allclose(data.ts, TS, rtol=1e-12)
    assert "position: column 'V'" in said


def test_what_a_file_is_of_and_what_its_columns_are(read):
    """A velocity, an acceleration, a drift, a column of errors, momenta."""
    text = "t,y,e,v\n" + "".join(f"{t},{y},{0.1 + 0.01 * t},{2 * y}\n" for t, y in zip(TS, Y, strict=True))
    q, p, force = np.array([[1.0], [2.0], [3.0]])
    for name, value in (("velocity", p), ("acceleration", force)):
        data, _ = read(text, "--position", "y", "--read", name, "--trend")
        made = data.read(q, p, force) if name == "acceleration" else data.read(q, p)
        np.testing.assert_array_equal(made, value)
        assert (data.trend, data.scalar) == (True, True)
    assert "is taken for a" not in read(text, "--position", "y")[1]
    named = text.replace("t,y,", "t,Linear Acceleration (m/s^2),")
    hint = "is taken for a position; if it is the acceleration, add --read acceleration"
    assert hint in read(named, "--position", "1")[1]
    assert hint not in read(named, "--position", "1", "--read", "acceleration")[1]
    data, _ = read(text, "--position", "y", "--error", "e", "--momentum", "v")
    np.testing.assert_allclose(data.position_error, 0.1 + 0.01 * TS, rtol=1e-12)
    np.testing.assert_allclose(data.momentum, 2 * Y, rtol=1e-12)
    data, _ = read(text, "--position", "y", "--error", "0.25")
    assert (float(data.position_error), data.read) == (0.25, None)


def test_files_together_are_one_record_and_by_themselves_are_each_fitted(tmp_path, monkeypatch):
    paths = []
    for name, rows, level in (("a.csv", 100, 0.0), ("b.csv", 60, 5.0)):
        table = zip(TS[:rows], Y[:rows] + level, strict=True)
        paths.append(tmp_path / name)
        paths[-1].write_text("t,y\n" + "".join(f"{t},{y}\n" for t, y in table))
    seen = []

    def fit(system, data, free, each=None, **_options):
        seen.append((np.bincount(data.record).tolist(), sorted(free(system)), each and sorted(each(system))))
        raise ValueError("as far as this")

    monkeypatch.setattr(fit_file, "fit", fit)

    def run(*options):
        result = RUNNER.invoke(cli.app, ["fit", *map(str, paths), *options])
        assert result.exit_code == 2
        return result.output

    assert f"record 2: {paths[1]}" in run("--together")
    run("--together", "--each", "stiffness", "--to", "5.5")
    said = run()
    both = ["damping.gamma", "potential.stiffness"]
    assert seen[:2] == [([100, 60], both, None), ([56, 56], both[:1], both[1:])]
    assert seen[2:] == [([100], both, None), ([60], both, None)]
    assert all(f"error: {path}: as far as this" in said for path in paths)  # of the second too
    monkeypatch.setattr(fit_file, "fit", lambda *_args, **_options: pytest.fail("it fitted"))
    for options, message in (
        (["--out", "x"], "out = 'x' names one result, and there are 2 files"),
        (["--together", "--each", "mass"], "each = 'mass' must be one of ['damping.gamma', 'potential.stiffness']"),
        (["--together", "--from", "7"], f"{paths[1]} has no readings from 7 to 9.9"),
        (["--together", str(paths[0])], "two files would have their results in a.fit.json"),
    ):
        assert message in run(*options)


@pytest.mark.parametrize("folder", [".", "/"])
@pytest.mark.parametrize("command", ["fit", "modes"])
def test_a_folder_is_no_file(command, folder):
    """Also one without a name of its own."""
    result = RUNNER.invoke(cli.app, [command, folder])
    assert result.exit_code == 2
    assert f"path = '{folder}' cannot be read" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--together", "--together is for several files, and there is 1"),
        ("--each gamma", "each = 'gamma': there is one run; add --together files, or --segment"),
        ("--read angle", "read = 'angle' must be one of ['acceleration', 'position', 'velocity']"),
        ("--error z", "no column 'z'"),
        ("--time t --position t", "time and position are both column 't'"),
        ("--time t --rate 5", "rate = 5.0 is for a file without times"),
        ("--from 20", "start = 20 must be below stop = 9.9"),
        ("--from 3 --to 3.2", "position has 3 readings; a fit needs 8 or more"),
        ("--angle grad", "angle = 'grad'"),
        ("--time-unit parsec", "time_unit = 'parsec'"),
        ("--loss huber", "loss = 'huber' must be one of"),
        ("--noise --loss student", "loss = 'student' is for least squares"),
        ("--band 10,40", "band = '10,40' is for records that noise drives: add --noise"),
        ("--method whittle", "method = 'whittle' is for records that noise drives: add --noise"),
        ("--noise --band 10", "band = '10' must be two numbers with a comma, such as 10,40"),
        ("--noise --band 40,10", "band = (40.0, 10.0) must be (low, high) in cycles per time"),
        ("--noise --method guess", "method = 'guess' must be one of"),
    ],
)
def test_options_that_make_no_sense_are_one_line(read, options, message):
    text = "t,y\n" + "".join(f"{t},{y}\n" for t, y in zip(TS, Y, strict=True))
    data, said = read(text, *options.split())
    assert data is None
    assert message in said
    assert said.count("\n") == 1
