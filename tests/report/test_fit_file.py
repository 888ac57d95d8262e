"""`jaxinertia fit` as a user meets it."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from jaxinertia.report import cli

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
        (["--position", "y", "--drag", "dry"], "drag = 'dry'"),
    ],
)
def test_bad_options_are_one_line(ringdown, options, message):
    result = RUNNER.invoke(cli.app, ["fit", str(ringdown), "--time", "t", *options])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
