"""`jaxinertia sweep FILE`: the numbers of the same call in Python, and one line for each mistake."""

import inspect
import subprocess
import sys

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxinertia as ji
from jaxinertia.report import cli, laws, sweep_file

RUNNER = CliRunner()

FILE = """
[potential]
name = "Duffing"
cubic = "stiffening"

[system]
damping = "gamma"

[run]
stop = 2.0
dt = 0.1
position = "q0"
momentum = 0.5

[axes]
gamma = { start = 0.1, stop = 1.0, count = 3, scale = "log" }
q0 = [0.5, -1.0]
stiffening = [1.0, 2.0]

[keep]
outputs = ["inertia", "friction"]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(FILE)
    return path


def test_a_file_is_the_call_in_python(file):
    def point(gamma, q0, stiffening):
        system = ji.System(ji.potentials.Duffing(cubic=stiffening), damping=gamma)
        traj = ji.simulate(system, np.array([0.0, 2.0]), q0, 0.5, dt=0.1)
        return {"inertia": traj.inertia[-1], "friction": traj.balance.friction[-1]}

    axes = {"gamma": np.geomspace(0.1, 1, 3), "q0": np.array([0.5, -1.0]), "stiffening": np.array([1.0, 2.0])}
    expected, found = ji.sweep(point, axes), sweep_file.read(file).run()
    assert found.dimensions == ("gamma", "q0", "stiffening")
    for name in ("inertia", "friction"):
        np.testing.assert_allclose(found.values[name], expected.values[name], rtol=1e-14)


def test_all_times_several_components_and_compositions(tmp_path):
    path = tmp_path / "plane.toml"
    path.write_text(
        '[potential]\nname = "Himmelblau"\n[run]\nstop = 1.0\ndt = 0.1\nsaves = 5\nposition = ["x", 1.0]\n'
        'solver = "blanes_moan6"\nfloat64 = false\n[axes]\nx = [0.0, 1.0]\n'
        '[keep]\noutputs = ["position"]\nwhen = "always"\n'
    )
    position = sweep_file.read(path).run().values["position"]
    assert position.shape == (2, 5, 2)
    assert position.dtype == np.float32


KINETIC = '[system.kinetic]\nlaw = "relativistic"\nspeed_limit = 2.0'
LAWS = f"""
[potential]
name = "Quadratic"
[system]
damping = {{ law = "drag", linear = "a", dry = 0.1 }}
{KINETIC}
[run]
stop = 2.0
dt = 0.1
solver = "AFA"
[axes]
a = [0.1, 0.3]
"damping.quadratic" = [0.0, 0.2]
"kinetic.mass" = [1.0, 2.0]
"""


def test_laws_are_those_of_python_and_an_axis_may_be_called_after_one_of_their_numbers(tmp_path):
    path = tmp_path / "laws.toml"
    path.write_text(LAWS.replace(", dry = 0.1", ""))

    def point(a, b, m):
        kinetic = ji.kinetic.Relativistic(2.0, mass=m)
        system = ji.System(ji.potentials.Quadratic(), ji.damping.Drag(a, b), kinetic=kinetic)
        return ji.simulate(system, np.array([0.0, 2.0]), 1.0, dt=0.1, solver=ji.solvers.Splitting("AFA")).inertia[-1]

    expected = ji.sweep(point, {"a": np.array([0.1, 0.3]), "b": np.array([0.0, 0.2]), "m": np.array([1.0, 2.0])})
    found = sweep_file.read(path).run()
    assert found.dimensions == ("a", "damping.quadratic", "kinetic.mass")
    np.testing.assert_allclose(found.values["inertia"], expected.values, rtol=1e-14)


@pytest.mark.parametrize("part", ["damping", "kinetic", "noise"])
def test_every_law_of_the_table_takes_numbers(part):
    """Each can be built from its arguments alone, a number for each that it needs."""
    for name, make in laws.LAWS[part].items():
        needed = [x.name for x in inspect.signature(make).parameters.values() if x.default is x.empty]
        law = laws.read(part, {"law": name} | dict.fromkeys(needed, 2.0), {})
        assert ji.System(ji.potentials.Quadratic(), **{part: law.build(lambda x: x)})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"drag"', '"drug"', "system.damping.law = 'drug' must be one of ['curvature_aware', 'drag'"),
        ("linear =", "linaer =", "[system.damping] has unknown entries ['linaer']; it may have ['dry', 'linear'"),
        ('"a"', '"b"', "system.damping.linear = 'b' names no axis"),
        ("dry = 0.1", "dry = -0.1", "drag dry must not be negative, got -0.1"),
        ('"damping.quadratic"', '"damping.cubic"', "'damping.cubic', but the numbers of system.damping are ['dry'"),
        ('"damping.quadratic"', '"damping.dry"', "'damping.dry', and system.damping gives dry too"),
        ('law = "drag", ', "", "[system.damping] lacks law; it must be one of ['curvature_aware'"),
        ("speed_limit = 2.0", "", "[system.kinetic] lacks speed_limit"),
        (KINETIC, "kinetic = 2.0", "system.kinetic = 2.0 must be a table that names its law"),
    ],
)
def test_a_mistake_in_a_law_is_told_with_what_there_is(tmp_path, old, new, message):
    path = tmp_path / "laws.toml"
    assert old in LAWS
    path.write_text(LAWS.replace(old, new, 1))
    result = RUNNER.invoke(cli.app, ["sweep", str(path)])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.count("\n") == 1


def test_noise_statistics_and_seed(tmp_path):
    path = tmp_path / "noise.toml"
    text = (
        '[potential]\nname = "Quadratic"\nstiffness = 2.0\n[system]\ndamping = 0.5\nnoise = "sigma"\n'
        "[run]\nstop = 1.0\ndt = 0.1\nposition = 0.0\nseed = 3\n[axes]\nsigma = [0.0, 1.0]\n"
        'run = { start = 1, stop = 400, count = 400 }\n[keep]\noutputs = ["noise"]\nover = ["run"]\n'
    )
    path.write_text(text)
    runs = sweep_file.read(path).run()
    mean, variance = runs.values["mean"]["noise"], runs.values["variance"]["noise"]
    # sigma^2 t / 2 exactly, within four standard errors.
    assert mean[0] == 0
    assert abs(mean[1] - 0.5) <= 4 * np.sqrt(variance[1] / 400)
    path.write_text(text.replace("seed = 3", "seed = 4"))
    assert sweep_file.read(path).run().values["mean"]["noise"][1] != mean[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[axes]", "[axes", "cannot be read as TOML"),
        ("Duffing", "Duffin", "potential.name = 'Duffin' must be one of"),
        ("cubic", "cubics", "has unknown entries"),
        ("[system]", "[sistem]", "has unknown entries"),
        ("damping =", "dampin =", "unknown entries"),
        ('"gamma"', '"gama"', "damping = 'gama' names no axis"),
        ('"gamma"', "true", "damping = True must be a finite number"),
        ('"q0"', "[[1.0, nan]]", "position = nan must be a finite number"),
        ("stop = 2.0", "", "lacks stop"),
        ("dt = 0.1", 'dt = "h"', "run.dt = 'h' must be a finite number"),
        ("dt = 0.1", "dt = 0.1\nsaves = 2.5", "run.saves = 2.5 must be a whole number"),
        ("dt = 0.1", "dt = 0.1\nfloat64 = 1", "run.float64 = 1 must be true or false"),
        ("dt = 0.1", 'dt = 0.1\nsolver = "XYZ"', "word has the letter 'X'"),
        ("[0.5, -1.0]", "1.0", "axes.q0 = 1.0 must be a list"),
        ("[0.5, -1.0]", '["a"]', "axes.q0 = 'a' must be a finite number"),
        ("start = 0.1", "start = -0.1", "of one sign"),
        ('"log"', '"cubic"', "axes.gamma.scale = 'cubic' must be one of"),
        ('["inertia", "friction"]', '["heat"]', "keep.outputs = 'heat' must be one of"),
        ("[keep]", '[keep]\nover = ["w"]', "keep.over = 'w' must be one of"),
        ("[keep]", '[keep]\nover = "q0"', "keep.over = 'q0' must be a list"),
        ("[keep]", '[keep]\nover = ["q0", "q0"]', "keep.over = ['q0', 'q0'] must have"),
        ("[keep]", '[keep]\nover = ["q0"]\nstatistics = ["mode"]', "keep.statistics = 'mode' must be one of"),
        ("[keep]", '[keep]\nstatistics = ["mean"]', "keep.statistics are over no axis"),
        ("[keep]", "[keep]\nwhen = []", "keep.when = [] must be one of"),
        ('["inertia", "friction"]', '"inertia"', "keep.outputs = 'inertia' must be a list"),
        ('["inertia", "friction"]', "[]", "keep.outputs = [] must have at least one entry"),
        ('["inertia", "friction"]', "[[1]]", "keep.outputs = [1] must be one of"),
        ("count = 3", "count = 1e11", "axes.gamma.count = 100000000000.0 must be a whole number"),
        ("count = 3", "count = 100_000_000_000", "axes.gamma.count = 100000000000 must be from 1 to 100,000,000"),
        ("count = 3", "count = -3", "axes.gamma.count = -3 must be from 1"),
        ("count = 3", "count = true", "axes.gamma.count = True must be a whole number"),
        ("count = 3, ", "", "[axes.gamma] lacks count"),
        ("start = 0.1", "start = 1" + "0" * 400, "axes.gamma.start = 10000"),
        ("start = 0.1", "start = 1" + "0" * 5000, "cannot be read as TOML"),
        (
            'start = 0.1, stop = 1.0, count = 3, scale = "log"',
            "start = -1.5e308, stop = 1.5e308, count = 3",
            "spans more",
        ),
        ("[0.5, -1.0]", "[]", "axes.q0 = [] is empty"),
        ("[0.5, -1.0]", "[true]", "axes.q0 = True must be a finite number"),
        ("[0.5, -1.0]", "[nan]", "axes.q0 = nan must be a finite number"),
        ("[0.5, -1.0]", "2020-01-01", "axes.q0 = datetime.date(2020, 1, 1) must be a list"),
        ("dt = 0.1", "dt = 0.1\nsaves = -3", "run.saves = -3 must be from 2"),
        ("dt = 0.1", "dt = 0.1\nsaves = 1", "run.saves = 1 must be from 2"),
        ("dt = 0.1", "dt = 0.1\nsaves = 100_000_000_000", "run.saves = 100000000000 must be from 2"),
        ("dt = 0.1", "dt = 1e-300", "run.dt = 1e-300 makes more than 1,000,000,000,000 steps"),
        ("dt = 0.1", "dt = 0", "run.dt = 0 must be above 0"),
        ("dt = 0.1", "dt = false", "run.dt = False must be a finite number"),
        ("stop = 2.0", "stop = -2.0", "run.stop = -2.0 must be above 0"),
        ("stop = 2.0", "stop = inf", "run.stop = inf must be a finite number"),
        ("dt = 0.1", "dt = 0.1\nseed = 1" + "0" * 30, "run.seed = 1000000000"),
        ("dt = 0.1", "dt = 0.1\nseed = 4_000_000_000\nfloat64 = false", "run.seed = 4000000000 must be from"),
        ("dt = 0.1", "dt = 0.1\nseed = true", "run.seed = True must be a whole number"),
        ("dt = 0.1", "dt = 0.1\nsolver = 3", "run.solver = 3 must be a word"),
        ('"q0"', "[[1.0], [1.0, 2.0]]", "run.position = [[1.0], [1.0, 2.0]] has entries of different shapes"),
        ('"q0"', "[]", "run.position = [] is empty"),
        ('"q0"', "[" * 40 + "1.0" + "]" * 40, "[[[...]]]] is empty, or nests deeper"),
        ('"q0"', "[" * 5000 + "]" * 5000, "nests too deep"),
        ("0.5\n", "0.5\n" + "a." * 3000 + "b = 1\n", "[run] has unknown entries ['a']"),
        ("[0.5, -1.0]", "{ " + "a." * 3000 + "b = 1 }", "[axes.q0] has unknown entries ['a']"),
        ('name = "Duffing"', "", "[potential] lacks name"),
        ('name = "Duffing"\ncubic = "stiffening"', 'name = "Himmelblau"', "run.position = 'q0' has the shape ()"),
        ("[keep]", "[store]\npath = 3\n[keep]", "store.path = 3 must be a text"),
        ("[keep]", '[store]\npath = ""\n[keep]', "store.path = '' must be a text"),
        ("[keep]", "[store]\nchunk_size = 0\n[keep]", "store.chunk_size = 0 must be from 1"),
        ("[keep]", "[store]\nchunk_size = 1.5\n[keep]", "store.chunk_size = 1.5 must be a whole number"),
        ('[potential]\nname = "Duffing"', 'store = 3\n[potential]\nname = "Duffing"', "must be a table"),
    ],
)
def test_a_mistake_in_the_file_is_one_clear_line(file, old, new, message):
    assert old in FILE
    file.write_text(FILE.replace(old, new, 1))
    result = RUNNER.invoke(cli.app, ["sweep", str(file)])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    assert result.output.count("\n") == 1
    assert len(result.output) < 400 + len(str(file))


@pytest.mark.parametrize("option", ["--save", "--figure"])
@pytest.mark.parametrize("where", [".", "sweep.toml/runs.npz"])
def test_where_nothing_can_be_written_is_told_before_the_sweep(file, option, where, monkeypatch):
    monkeypatch.setattr(sweep_file.Plan, "run", lambda *_args, **_options: pytest.fail("it ran"))
    result = RUNNER.invoke(cli.app, ["sweep", str(file), option, str(file.parent / where)])
    assert result.exit_code == 2
    assert f"error: {option.removeprefix('--')} = " in result.output
    assert "cannot be written" in result.output


def cube(count):
    """The file with three axes of so many points."""
    many = f"{{ start = 0, stop = 1, count = {count} }}"
    return FILE.replace("[0.5, -1.0]", many).replace("[1.0, 2.0]", many).replace("count = 3", f"count = {count}")


def test_axes_may_make_more_points_than_32_bits_number(file):
    file.write_text(cube(2000))
    assert [len(axis) for axis in sweep_file.read(file).axes.values()] == [2000] * 3


def test_axes_that_make_more_points_than_64_bits_number(file):
    file.write_text(cube(4_000_000))
    with pytest.raises(ValueError, match=r"\[axes\] makes 64,000,000,000,000,000,000 points"):
        sweep_file.read(file)


def test_a_log_axis_may_reach_far(file):
    """The product of its ends is beyond a float64; their signs are not."""
    file.write_text(FILE.replace("start = 0.1, stop = 1.0", "start = 1e-300, stop = 1e-200"))
    np.testing.assert_allclose(sweep_file.read(file).axes["gamma"], [1e-300, 1e-250, 1e-200], rtol=1e-12)


def test_a_missing_file_is_named(tmp_path):
    result = RUNNER.invoke(cli.app, ["sweep", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "none.toml" in result.output


def test_no_axes(file):
    file.write_text(
        FILE.split("[axes]", maxsplit=1)[0]
        .replace('"stiffening"', "1.0")
        .replace('"gamma"', "1.0")
        .replace('"q0"', "1.0")
    )
    with pytest.raises(ValueError, match=r"\[axes\] is empty"):
        sweep_file.read(file)


def test_the_command_uses_two_devices_stores_saves_and_draws(file):
    """In a process of its own, where JAX has not started."""
    file.write_text(
        FILE.replace("stiffening = [1.0, 2.0]", "").replace('"stiffening"', "1.0") + '[store]\npath = "s.zarr"\n'
    )
    folder = file.parent
    program = (
        "import sys, jax\nfrom jaxinertia.report.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\nprint('devices', len(jax.devices()))"
    )
    options = ["--devices", "2", "--figure", str(folder / "f.png"), "--save", str(folder / "r.npz")]
    command = [sys.executable, "-c", program, "sweep", str(file), *options]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "devices 2" in printed
    assert "sweep of 6 points: 3 gamma x 2 q0" in printed
    assert (folder / "f.png").exists()
    with jax.enable_x64(True):
        again = sweep_file.read(file)
        assert again.store == folder / "s.zarr"
    saved = ji.Sweep.load(folder / "r.npz")
    np.testing.assert_array_equal(saved.values["inertia"], again.run().values["inertia"])
