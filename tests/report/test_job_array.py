"""Which part of a sweep a job computes: told on the command line, or by Slurm and PBS; in doubt refused."""

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxinertia as ji
from jaxinertia.report.cli import app
from jaxinertia.report.job_array import shard


def slurm(number, least=0, most=15, step=1, count=None):
    count = (most - least) // step + 1 if count is None else count
    told = {"ID": number, "MIN": least, "MAX": most, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(x) for name, x in told.items()}


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, None),
        ("3/16", {}, (3, 16)),
        ("0/1", slurm(5), (0, 1)),
        (None, slurm(5), (5, 16)),
        (None, slurm(16, 1, 16), (15, 16)),
        (None, slurm(9, 1, 13, 4), (2, 4)),
        (None, slurm(9, 1, 15, 4), (2, 4)),  # --array=1-15:4 ends at 13
        ("/16", slurm(5), (5, 16)),
        ("/16", {"PBS_ARRAY_INDEX": "7"}, (7, 16)),
        ("/16", {"PBS_ARRAYID": "0"}, (0, 16)),
    ],
)
def test_the_part_is_told(given, environment, expected):
    found = shard(given, environment)
    assert (found if found is None else found[0]) == expected


@pytest.mark.parametrize(
    ("given", "environment", "told"),
    [
        ("16/16", {}, "must be below 16: parts are counted from 0"),
        ("3", {}, "must be such as 3/16"),
        ("-1/4", {}, "must be such as 3/16"),
        ("1/0", {}, "must be below 0"),
        ("/16", {}, "none tells it"),
        ("/8", slurm(5), "is of 8 parts, and SLURM_ARRAY_TASK_ID of 16"),
        (None, slurm(7, 3, 7, 1, count=2), "do not follow evenly.*--shard 0/1"),
        (None, {"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_COUNT is not set"),
        (None, slurm("x"), "is no whole number"),
        (None, {"PBS_ARRAY_INDEX": "3"}, "PBS does not tell of how many; pass --shard /16"),
        ("/16", {"PBS_ARRAY_INDEX": "16"}, "PBS_ARRAY_INDEX = 16 must be below 16"),
    ],
)
def test_what_tells_no_part_is_refused(given, environment, told):
    with pytest.raises(ValueError, match=told):
        shard(given, environment)


CONFIG = """
[potential]
name = "Duffing"
[system]
damping = "gamma"
noise = 0.2
[run]
stop = 1.0
dt = 0.1
[axes]
gamma = [0.1, 0.2, 0.3, 0.4, 0.5]
[store]
path = "run.zarr"
chunk_size = 1
"""


def test_the_parts_of_an_array_make_the_whole(tmp_path, monkeypatch):
    """Three jobs, of which one comes too late: the whole computes what it left, and is what one process computes."""
    (tmp_path / "run.toml").write_text(CONFIG)
    (tmp_path / "alone.toml").write_text(CONFIG.replace("run.zarr", "alone.zarr"))
    call = CliRunner().invoke
    for number in (1, 2):
        for name, value in slurm(number, 1, 3).items():
            monkeypatch.setenv(name, value)
        found = call(app, ["sweep", str(tmp_path / "run.toml")])
        assert found.exit_code == 0, found.output
        assert f"part {number - 1} of 3, by SLURM_ARRAY_TASK_ID: 2 points" in found.output
    refused = call(app, ["sweep", str(tmp_path / "run.toml"), "--save", str(tmp_path / "x")])
    assert refused.exit_code == 2
    assert "--save needs the whole sweep" in refused.output
    for name in ("run", "alone"):
        more = ["--shard", "0/1", "--save", str(tmp_path / name)]
        found = call(app, ["sweep", str(tmp_path / f"{name}.toml"), *more])
        assert f"computed {1 if name == 'run' else 5}" in found.output
    values = [ji.Sweep.load(tmp_path / f"{name}.npz").values for name in ("run", "alone")]
    for a, b in zip(*map(jax.tree.leaves, values), strict=True):
        np.testing.assert_array_equal(a, b)
