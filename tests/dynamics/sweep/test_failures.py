"""When one process of a sweep fails, the others end soon, with its reason, and nothing that was finished is lost."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from . import crashing
from .failing import REDUCE

pytestmark = [pytest.mark.slow, pytest.mark.optimised]

ROOT = Path(__file__).parents[3]
REASONS = {
    "raise": "process {} of {} failed: RuntimeError: the point makes no sense",
    "full": "process {} of {} failed: ValueError: store = .* cannot be written: .*No space left on device",
    "kill": "process {} of {} died: nothing was heard of it",
}


def start(count, store, how, reduce):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "tests.dynamics.sweep.failing"]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    return [
        subprocess.Popen([*command, str(rank), str(count), port, str(store), how, reduce], **pipes)
        for rank in range(count)
    ]


@pytest.mark.parametrize("reduce", ["no", "reduce"])
@pytest.mark.parametrize(("how", "count"), [("raise", 2), ("full", 2), ("kill", 2), ("kill", 3)])
def test_the_others_end_with_the_reason_and_keep_what_is_finished(how, count, reduce, tmp_path):
    *others, failing = start(count, tmp_path / "run.zarr", how, reduce)
    assert failing.stdout.readline() == "fails\n"
    failed = time.monotonic()
    told = [process.communicate(timeout=120)[1] for process in others]
    assert time.monotonic() - failed < 20
    failing.communicate(timeout=60)
    assert all(process.returncode not in (0, None) for process in [*others, failing])
    for text in told:
        assert re.search(REASONS[how].format(count - 1, count), text), text[-2000:]
        assert "what is finished is kept" in text
    assert "point" in told[0]  # the bar, of the first process alone
    assert all("point/s" not in text for text in told[1:])
    options = dict(reduce=REDUCE) if reduce == "reduce" else {}
    resumed = crashing.run(tmp_path / "run.zarr", **options)
    assert 0 < resumed.computed <= 240 - 3 * 10  # it failed at its fourth chunk of ten points
    whole = crashing.run(tmp_path / "whole.zarr", **options)
    for a, b in zip(jax.tree.leaves(resumed.values), jax.tree.leaves(whole.values), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_first_process_dies_and_the_others_with_it(tmp_path):
    """It holds the store of `jax.distributed`, so JAX itself ends the others."""
    first, other = start(2, tmp_path / "run.zarr", "never", "no")
    while not (tmp_path / "run.zarr" / "_sweep" / "finished" / "c").is_dir():
        time.sleep(0.05)
        assert first.poll() is None
    first.kill()
    killed = time.monotonic()
    text = other.communicate(timeout=120)[1]
    assert time.monotonic() - killed < 20
    assert other.returncode != 0
    assert "another task died" in text
    assert crashing.run(tmp_path / "run.zarr").computed < 240
    first.communicate()
