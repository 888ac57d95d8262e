"""What one does with modes: simulate them, take one alone, compare, save, draw."""

import json

import jax
import matplotlib
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.inference.modes import motion
from jaxinertia.inference.modes.found import parts_of, poles, shape_of

from . import made

matplotlib.use("Agg")


def decay(record, seed=0):
    return ji.Observations(record.ts, record.noisy(0.01, seed).squeeze())


@pytest.fixture(scope="module")
def data():
    return decay(made.three())


@pytest.fixture(scope="module")
def found(data):
    return ji.modes(data, 3)


def test_the_system_runs_to_the_record(found, data):
    """Complex shapes and three channels included: to what the splitting of order 6 leaves."""
    ts = data.ts[:200]
    with jax.enable_x64(True):
        traj = ji.simulate(found.system, ts, *found.start(), dt=0.01, solver=ji.solvers.kahan_li6())
    said = found.reading(traj.position, traj.momentum)
    np.testing.assert_allclose(said, found.checks.prediction[:200], atol=1e-8)
    np.testing.assert_allclose(found.predict(ts), found.checks.prediction[:200], atol=1e-12)


def test_energy_is_the_system_s_and_falls_with_gamma(found):
    ts = np.linspace(0, 20, 5)
    position, momentum = found.start()
    stiffness = (2 * np.pi * found.frequency) ** 2
    np.testing.assert_allclose(found.energy(ts)[0], (momentum**2 + stiffness * position**2) / 2)
    # The damped invariant falls exactly: E + gamma q q' / 2.
    q, v = motion.propagate(found.state[:, 0], found.gamma, found.frequency, ts)
    exact = found.energy(ts) + found.gamma * q * v / 2
    np.testing.assert_allclose(exact, exact[0] * np.exp(-found.gamma * ts[:, None]), rtol=1e-10)


@pytest.mark.slow
def test_one_mode_alone_can_be_fitted(found, data):
    alone = found.alone(data, 0)
    assert alone.position.shape == data.ts.shape
    result = ji.fit(
        ji.System(ji.potentials.Quadratic(40.0), 0.1), alone, lambda s: (s.damping.gamma, s.potential.stiffness)
    )
    assert abs(float(result.values[0]) - found.gamma[0]) < found.stderr.gamma[0]
    both = found.alone(data, [0, 2])
    rest = found.predict(data.ts, modes=[1])[:, found.reference[0]] + found.offset[0, found.reference[0]]
    np.testing.assert_allclose(both.position, data.position[:, found.reference[0]] - rest)


def test_shapes_are_compared(found):
    mac = found.mac()
    np.testing.assert_allclose(np.diag(mac), 1)
    c = made.three().c
    want = np.abs(np.vdot(c[:, 0], c[:, 1])) ** 2 / (np.linalg.norm(c[:, 0]) * np.linalg.norm(c[:, 1])) ** 2
    np.testing.assert_allclose(mac[0, 1], want, atol=0.02)
    assert found.phase_collinearity[0] > 0.999  # real
    assert found.phase_collinearity[2] < 0.95  # has 0.2i beside -1 and 0.5


def test_intervals_and_derived_numbers(found):
    low, high = found.interval(0.95)["gamma"]
    np.testing.assert_allclose(high - low, 2 * 1.959964 * found.stderr.gamma, rtol=1e-5)
    np.testing.assert_allclose(found.quality_factor, 1 / (2 * found.damping_ratio))
    np.testing.assert_allclose(found.damped_frequency, poles(found.gamma, found.frequency).imag / (2 * np.pi))
    # Errors of what follows are the covariance's, by differences.
    values = np.concatenate([found.gamma, found.frequency])
    for name in ("damping_ratio", "quality_factor", "damped_frequency"):
        jacobian = []
        for i in range(6):
            up, down = (values + sign * 1e-6 * np.eye(6)[i] for sign in (1, -1))
            pair = [motion.derived(x[:3], x[3:], found.covariance)[0][name] for x in (up, down)]
            jacobian.append((pair[0] - pair[1]) / 2e-6)
        j = np.array(jacobian).T
        np.testing.assert_allclose(getattr(found.stderr, name), np.sqrt(np.diag(j @ found.covariance @ j.T)), rtol=1e-6)
    with pytest.raises(ValueError, match="level"):
        found.interval(95.0)


def test_shapes_of_channels_and_their_parts_are_inverses():
    rng = np.random.default_rng(0)
    shape = rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))
    gamma, frequency = np.array([0.1, 0.4, 2.0]), np.array([1.0, 0.3, 5.0])
    np.testing.assert_allclose(shape_of(parts_of(shape, gamma, frequency), gamma, frequency), shape)


def test_save_load_json_summary(found, tmp_path):
    again = ji.Modes.load(found.save(tmp_path / "bell"))
    assert again.summary() == found.summary()
    assert again.to_json() == json.loads(json.dumps(found.to_json(), allow_nan=False))
    np.testing.assert_array_equal(again.covariance, found.covariance)
    np.testing.assert_array_equal(again.checks.residuals, found.checks.residuals)
    np.testing.assert_array_equal(again.predict(np.arange(3.0)), found.predict(np.arange(3.0)))
    assert "Modes(free: frequency" in repr(found)
    assert found._repr_html_().count("<tr>") == 1 + found.count
    assert f"<td>{found.frequency[1]:.6g}</td>" in found._repr_html_()
    assert "cycles per time" in found.summary()
    none = ji.modes(decay(made.pair()), 0)
    assert not ji.Modes.load(none.save(tmp_path / "none")).count
    with pytest.raises(ValueError, match="no system"):
        _ = none.system
    with np.load(tmp_path / "bell.npz") as file:
        arrays = dict(file)
    changes = {"gamma": np.zeros(2), "shape": np.zeros((3, 3)), "text": np.array("{}"), "lone": np.zeros(3)}
    for name, change in changes.items():
        np.savez(tmp_path / "bad.npz", **(arrays | {name: change}))
        with pytest.raises(ValueError, match=r"bad\.npz"):
            ji.Modes.load(tmp_path / "bad.npz")


def test_what_cannot_be_is_refused(found, data):
    for call, words in (
        (lambda: found.alone(data, 7), "must be in 0..2"),
        (lambda: found.start(1), "run = 1"),
        (lambda: found.predict([0.0], run=2), "run = 2"),
        (lambda: found.alone(decay(made.pair()), 0), "another record"),
        (lambda: ji.plots.modes(found, what="colour"), "what = 'colour'"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_pictures_show_what_was_found(found, tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 4)
    ji.plots.stabilization(found, axes[0])
    assert [line.get_label() for line in axes[0].lines[:2]] == ["record", "what the modes leave"]
    assert len(axes[0].patches) == 3  # one band for each mode
    ji.plots.modes(found, axes[1])
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), found.gamma)
    ji.plots.modes(found, axes[2], what="shapes")
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), found.shape[0].real)
    ji.plots.modes(found, axes[3], what="energy")
    line = axes[3].lines[0]
    np.testing.assert_allclose(line.get_ydata(), found.energy(line.get_xdata())[:, 0])


def test_command_line(tmp_path):
    from typer.testing import CliRunner

    from jaxinertia.report.cli import app

    record = made.three()
    path = tmp_path / "bell.csv"
    rows = np.column_stack([record.ts, record.noisy(0.01, 0)])
    np.savetxt(path, rows, delimiter=",", header="t,a,b,c", comments="")
    arguments = ["modes", str(path), "--time", "t", "--position", "a,b,c"]
    result = CliRunner().invoke(app, [*arguments, "--count", "3"])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "bell.modes.json").read_text())
    assert len(written["modes"]) == 3
    assert (tmp_path / "bell.modes.png").stat().st_size > 10000
    bare = tmp_path / "bare.txt"
    cells = [",".join(["OVER" if i == 7 and j == 1 else f"{x:.6f}" for j, x in enumerate(row)])
             for i, row in enumerate(rows[:, 1:])]  # fmt: skip
    bare.write_text("\n".join(cells))
    options = "--position 0,1,2 --rate 20 --from 1 --to 90 --missing OVER --error 0.01 --band 0.5,1.5 --no-figure"
    result = CliRunner().invoke(app, ["modes", str(bare), *options.split(), "--count", "3"])
    assert result.exit_code == 0, result.output
    assert "readings from 1 to 90: 1,781 of 2,000" in result.output
    again = json.loads((tmp_path / "bare.modes.json").read_text())
    assert [m["gamma"]["value"] for m in again["modes"]] == pytest.approx(record.gamma, rel=0.1)
    assert not (tmp_path / "bare.modes.png").exists()
    bad = CliRunner().invoke(app, [*arguments, "--band", "1"])
    assert bad.exit_code == 2
    assert "two numbers" in bad.output
