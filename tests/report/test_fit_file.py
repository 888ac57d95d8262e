"""`jaxinertia fit` as a user meets it."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import jaxinertia as ji
from jaxinertia.report import cli, fit_figure, fit_file, style

from ..inference.records import damped

RUNNER = CliRunner()


@pytest.fixture
def ringdown(tmp_path):
    ts = np.linspace(0, 20, 200)
    y = damped(ts, 1.3, 0.2) + 0.02 * np.random.default_rng(0).normal(size=200) + 0.5
    path = tmp_path / "ringdown.csv"
    path.write_text("t,y\n" + "".join(f"{a},{b}\n" for a, b in zip(ts, y, strict=True)))
    return path


def test_a_file_gives_a_table_json_and_a_figure(ringdown):
    result = RUNNER.invoke(cli.app, ["fit", str(ringdown), "--time", "t", "--position", "y"])
    assert result.exit_code == 0, result.output
    assert re.search(r"damping\.gamma +0\.[12]\d+", result.output)
    found = json.loads(ringdown.with_name("ringdown.fit.json").read_text())
    gamma = found["parameters"]["damping.gamma"]
    assert gamma["low"] < 0.2 < gamma["high"]
    assert found["offset"][0][0] == pytest.approx(0.5, abs=0.01)
    assert ringdown.with_name("ringdown.fit.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--position", "z"], "no column 'z'"),
        (["--position", "y", "--potential", "cubic"], "potential = 'cubic'"),
        (
            ["--position", "y", "--drag", "dry,cubic"],
            "drag = 'dry,cubic' must be one of ['dry', 'linear', 'quadratic']",
        ),
        (["--position", "y", "--drag", "dry,dry"], "drag = 'dry,dry'"),
        (["--position", "y", "--out", "."], "out = '.' cannot be written"),
        (["--position", "y", "--out", "pyproject.toml/a"], "a.fit.json' cannot be written"),
    ],
)
def test_bad_options_are_one_line(ringdown, options, message, monkeypatch):
    monkeypatch.setattr(fit_file, "fit", lambda *_args, **_options: pytest.fail("it fitted"))
    result = RUNNER.invoke(cli.app, ["fit", str(ringdown), "--time", "t", *options])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_runs_by_name_and_decimal_commas(tmp_path):
    """Two runs A and B, as a European instrument writes them; the JSON file is valid for strict readers."""
    ts = np.linspace(0, 20, 200)
    rng = np.random.default_rng(1)
    path = tmp_path / "runs.csv"
    rows = [
        (a, b, run)
        for run, q in (("B", 1.0), ("A", 0.5))
        for a, b in zip(ts, damped(ts, 1.3, 0.2, q) + 0.02 * rng.normal(size=200), strict=True)
    ]
    path.write_text("t;y;run\n" + "".join(f"{a:.5f};{b:.5f};{run}\n".replace(".", ",") for a, b, run in rows))
    columns = ["--time", "t", "--position", "y", "--segment", "run"]
    result = RUNNER.invoke(cli.app, ["fit", str(path), *columns, "--no-figure"])
    assert result.exit_code == 0, result.output
    found = json.loads(path.with_name("runs.fit.json").read_text(), parse_constant=pytest.fail)
    assert found["parameters"]["damping.gamma"]["low"] < 0.2 < found["parameters"]["damping.gamma"]["high"]
    derived = found["derived"]["quality_factor"]
    assert abs(derived["value"] - np.sqrt(1.3) / 0.2) < 4 * derived["stderr"]


def test_python_m_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "jaxinertia", "fit", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--segment" in done.stdout


def test_the_envelope_falls_as_half_the_damping():
    """q = A e^(-gamma t / 2) cos, of which the potential says A sqrt(1 - zeta^2): zeta is 0.02."""
    stiffness, gamma = 4.0, 0.08
    system = ji.System(ji.potentials.Quadratic(stiffness), gamma)
    with jax.enable_x64(True):
        traj = ji.simulate(system, np.linspace(0, 30, 3001), 1.0, 0.0, dt=0.01)
    above, below = fit_figure.envelope(system, traj)
    np.testing.assert_allclose(above, np.exp(-gamma * traj.ts / 2), rtol=1e-3)
    np.testing.assert_allclose(below, -above, rtol=1e-9)


@pytest.mark.parametrize(
    ("drag", "fields"),
    [
        ("linear", ("gamma",)),
        ("quadratic", ("linear", "quadratic")),
        ("dry", ("linear", "dry")),
        ("dry, quadratic", ("linear", "quadratic", "dry")),
    ],
)
def test_a_drag_frees_what_it_names_beside_linear_drag(ringdown, drag, fields, monkeypatch):
    def fit(system, data, free, **_options):
        assert tuple(free(system)) == (*(f"damping.{name}" for name in fields), "potential.stiffness")
        assert "dry" in fields or getattr(system.damping, "dry", None) is None
        raise ValueError("as far as this")

    monkeypatch.setattr(fit_file, "fit", fit)
    result = RUNNER.invoke(cli.app, ["fit", str(ringdown), "--time", "t", "--position", "y", "--drag", drag])
    assert "as far as this" in result.output


@pytest.mark.parametrize(
    ("potential", "damping", "kinetic"),
    [
        (ji.potentials.Pendulum(2.0), ji.damping.Drag(0.05, 0.1), None),
        (ji.potentials.Duffing(1.0, 0.5, 0.8), ji.damping.Linear(0.1), None),
        (ji.potentials.Quadratic(1.0), ji.damping.Drag(0.05, dry=0.02), None),
        (ji.potentials.Quadratic(4.0), ji.damping.PositionDependent(lambda q: 0.1 * q**2), ji.kinetic.Mass(2.0)),
        (ji.potentials.Quadratic(1.0), ji.damping.Momentum(0.05), ji.kinetic.Relativistic(2.0)),
    ],
    ids=["pendulum", "duffing", "dry", "mass", "relativistic"],
)
def test_turning_points_lie_on_the_envelope(potential, damping, kinetic):
    """Whatever the potential, the friction and the kinetic energy: there, all of the energy is potential."""
    system = ji.System(potential, damping, kinetic=kinetic)
    with jax.enable_x64(True):
        traj = ji.simulate(system, np.linspace(0, 30, 3001), 1.2, 0.0, dt=0.01)
    q = np.asarray(traj.position)
    for side, turns in zip(fit_figure.envelope(system, traj), (q, -q), strict=True):
        i = 1 + np.flatnonzero((turns[1:-1] > turns[:-2]) & (turns[1:-1] >= turns[2:]))
        # The nearest time is up to 0.005 from the turn: p = 0.005 L', and q gamma p / 2 is of an amplitude over L'.
        np.testing.assert_allclose(side[i], q[i], atol=0.005 * 0.1 * 1.2 / 2)


def test_an_overdamped_motion_has_no_envelope():
    system = ji.System(ji.potentials.Quadratic(1.0), 5.0)
    traj = ji.simulate(system, np.linspace(0, 30, 301), 1.0, 0.0, dt=0.01)
    assert fit_figure.envelope(system, traj) == []


@pytest.mark.parametrize("ratio", [1.001, 1.5, 5.9, 6.1, 9.0, 30.0, 99.0, 101.0, 1e6, 1e30])
@pytest.mark.parametrize("least", [1.01e-9, 0.6, 2.1, 4.9])
def test_an_energy_axis_has_two_labels(ratio, least):
    ax = Figure().subplots()
    ax.plot([0, 1], [least, least * ratio])
    fit_figure.scale_energy(ax, ratio)
    ax.figure.draw_without_rendering()
    low, high = ax.get_ylim()
    shown = [t for t in ax.yaxis.get_ticklabels() if t.get_text() and low <= t.get_position()[1] <= high]
    assert len(shown) >= 2


def test_a_figure_names_its_columns_values_and_the_part_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(fit_figure, "SHOWN", 50)
    ts = np.linspace(0, 199, 200)
    y = damped(ts, 1.3, 0.02) + 0.02 * np.random.default_rng(2).normal(size=200)
    data = ji.Observations(ts, y, labels=("t_s", "U$V"))
    result = ji.fit(ji.System(ji.potentials.Quadratic()), data, lambda s: (s.damping.gamma, s.potential.stiffness))
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda fig, *_, **__: drawn.append(fig))
    fit_figure.overview(result, data, tmp_path / "a.png")
    labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in drawn[0].axes]
    assert labels[0] == ("t_s (first 49 of 199)", r"U\$V")
    assert labels[2][0] == labels[0][0]
    title = drawn[0].get_suptitle()
    assert re.match(r"\$\\gamma\$ = 0\.0[12]\d+ \$\\pm\$ .*\$f_0\$ = 0\.18.*\$Q\$ = ", title)


@pytest.mark.parametrize(("better", "white"), [(30.0, 0.5), (30.0, 1e-9), (-30.0, 0.5), (None, 0.5)])
def test_the_figure_is_of_the_law_that_was_found(ringdown, monkeypatch, better, white):
    """Drawn and headed by it, whichever was asked for: of another with half the amplitude and twice the error, and by
    `better` the likelier."""
    asked, drawn = [], []

    def found(_data, _loss, known, _progress):
        (result,) = known.values()
        half, left = tuple(x / 2 for x in result.initial), 2 * result.diagnostics.residuals
        told = replace(result.diagnostics, residuals=left, whiteness=white)
        other = replace(result, initial=half, covariance=4 * result.covariance, diagnostics=told)
        other = replace(other, deviance=result.deviance - better)
        asked.extend([result, other])
        return ji.compare({"viscous": result, "dry friction": other})

    monkeypatch.setattr(fit_file, "advised", lambda _: better is not None)
    monkeypatch.setattr(fit_file, "of_record", found)
    monkeypatch.setattr(Figure, "savefig", lambda fig, *_, **__: drawn.append(fig))
    said = RUNNER.invoke(cli.app, ["fit", str(ringdown), "--time", "t", "--position", "y"])
    assert said.exit_code == 0, said.output
    lines, panels = drawn[0].get_suptitle().split("\n"), drawn[0].axes
    if better is None:
        assert lines[0] == "viscous"
        return
    of, rest = asked[::-1] if better > 0 else asked
    curve = {line.get_label(): line for line in panels[0].lines}["fit"].get_ydata()
    assert curve[0] - of.offset[0][0] == pytest.approx(of.initial[0][0], rel=1e-12)
    np.testing.assert_array_equal(panels[1].lines[0].get_ydata(), of.diagnostics.residuals)
    assert lines[1] == fit_figure.values(of) != fit_figure.values(rest)
    doubt = "" if white > 1e-3 else ", none of which describes the record: residuals are still correlated"
    assert lines[0] == f"{'dry friction' if better > 0 else 'viscous'}, the best of 2 laws{doubt}"
    beside = ["asked for was viscous, whose AIC is greater by 30.0", fit_figure.values(asked[0])]
    assert lines[2:] == (beside if better > 0 else [])


def test_a_figure_says_what_the_table_warns_of(ringdown):
    data = ji.Observations.from_csv(ringdown, time="t", position="y", offset=None)
    result = ji.fit(ji.System(ji.potentials.Quadratic()), data, lambda s: (s.damping.gamma, s.potential.stiffness))
    for warnings, converged, first in (
        ((), True, "viscous"),
        (("a",), True, "viscous, with 1 warning, told in the table"),
        (("a", "b"), True, "viscous, with 2 warnings, told in the table"),
        (("it did not",), False, "viscous: the search did not converge"),
    ):
        other = replace(result, diagnostics=replace(result.diagnostics, warnings=warnings, converged=converged))
        assert list(fit_figure.headed("viscous", other, None)) == [first, fit_figure.values(result)]


def test_a_heading_of_many_numbers_is_no_wider_than_its_figure(ringdown, monkeypatch):
    labels = ("damping.linear", "damping.quadratic", "damping.dry", "potential.cubic")
    numbers, errors = np.array([0.016934, 0.0026705, 0.033336, -0.00095893]), np.array([2.2e-3, 1.1e-4, 3.5e-3, 9.6e-5])
    told = {"natural_frequency": (0.52064, 1.4e-4), "quality_factor": (249.51, 8.2)}
    data = ji.Observations.from_csv(ringdown, time="t", position="y", offset=None)
    result = ji.fit(ji.System(ji.potentials.Quadratic()), data, lambda s: (s.damping.gamma, s.potential.stiffness))
    many = replace(result, labels=labels, flat=numbers, covariance=np.diag(errors**2))
    monkeypatch.setattr(type(result), "derived", told)
    fig = Figure(figsize=(style.PAGE, 4.6))
    said = fig.suptitle(fit_figure.values(many), fontsize=8)
    assert said.get_text().count("=") == 6
    assert said.get_window_extent().width < fig.bbox.width
