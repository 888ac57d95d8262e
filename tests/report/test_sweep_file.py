"""`jaxinertia sweep FILE`: the numbers of the same call in Python, and one line for each mistake."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxinertia as ji
from jaxinertia.report import cli, sweep_file

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
        ("[keep]", '[keep]\nover = ["w"]', "reduce names the axes"),
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
