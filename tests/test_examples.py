"""examples/cluster, as they stand: jobs of an array, processes under srun and tasks of dask, all on this machine."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.optimised]

CLUSTER = Path(__file__).parents[1] / "examples" / "cluster"
# What srun does, on one machine: as many processes as the job has tasks, each told which it is.
SRUN = """#!/bin/bash
for ((i = 0; i < SLURM_NTASKS; i++)); do SLURM_PROCID=$i SLURM_LOCALID=$i "$@" & done
for job in $(jobs -p); do wait $job || failed=1; done
exit ${failed:-0}
"""


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(CLUSTER, tmp_path / "cluster")
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    return tmp_path / "cluster"


def start(folder, *command, **variables):
    """Where `python` and `jaxinertia` are those that run the tests."""
    path = os.pathsep.join([str(folder.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "JAX_PLATFORMS": "cpu"} | variables
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def finish(*processes):
    told = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return told


def array_of(count):
    names = {"COUNT": count, "MIN": 0, "MAX": count - 1, "STEP": 1}
    for number in range(count):
        yield {f"SLURM_ARRAY_TASK_{name}": str(x) for name, x in ({"ID": number} | names).items()}


def values(store):
    zarr = pytest.importorskip("zarr")
    (name,) = [name for name in ("value", "inertia") if name in zarr.open_group(str(store), mode="r")]
    return zarr.open_group(str(store), mode="r")[name][...]


def alone(folder):
    """The whole by one process, in another folder."""
    other = folder.parent / "alone"
    shutil.copytree(CLUSTER, other)
    (told,) = finish(start(other, "python", "duffing.py"))
    assert "computed 2,000" in told
    return values(other / "duffing.zarr")


def test_a_job_array_makes_the_whole(folder):
    told = finish(*(start(folder, "bash", "job_array.sh", **job) for job in array_of(4)))
    assert sum(int(text.split()[-2]) for text in told) == 2000
    (whole,) = finish(start(folder, "python", "duffing.py"))
    assert "computed 0 in" in whole
    np.testing.assert_array_equal(values(folder / "duffing.zarr"), alone(folder))


def test_a_job_array_of_the_command_line(folder):
    told = finish(*(start(folder, "bash", "command_line.sh", **job) for job in array_of(3)))
    assert ["part 0 of 3" in told[0], "part 1 of 3" in told[1], "part 2 of 3" in told[2]] == [True] * 3
    (whole,) = finish(start(folder, "jaxinertia", "sweep", "duffing.toml", "--shard", "0/1"))
    assert "computed 0 in" in whole
    assert np.isfinite(values(folder / "duffing_toml.zarr")).all()


def test_processes_under_srun(folder):
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "3"}
    (told,) = finish(start(folder, "bash", "under_srun.sh", **job))
    assert told.count("computed 2,000 in") == 1  # the first process tells of the whole
    np.testing.assert_array_equal(values(folder / "duffing.zarr"), alone(folder))


def test_tasks_of_dask(folder):
    pytest.importorskip("distributed")
    (told,) = finish(start(folder, "python", "with_dask.py"))
    assert "computed 2000 points" in told
    np.testing.assert_array_equal(values(folder / "duffing.zarr"), alone(folder))
