"""A store survives kill -9 at any point, is never mixed with another call's, and says what is wrong with a disk."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxinertia as ji

from . import crashing

pytestmark = pytest.mark.optimised

SCRIPT = Path(__file__).with_name("crashing.py")
CHUNKS = 24


def start(store, delay):
    command = [sys.executable, str(SCRIPT), str(store), str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_ten_times_and_finished_equals_never_killed_bit_for_bit(tmp_path):
    store, moments = tmp_path / "run.zarr", random.Random(0)
    began = []
    for _ in range(10):
        process = start(store, 0.01)
        seen = []
        for _ in range(moments.randint(1, 3)):  # wait for some chunks to begin, then a random while more
            line = process.stdout.readline()
            if not line.strip().isdigit():
                break
            seen.append(int(line))
        time.sleep(moments.uniform(0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        began.append(seen)
    finished = start(store, 0.0)
    output = finished.communicate()[0]
    assert finished.returncode == 0
    computed = int(output.split("computed")[1])
    assert computed < CHUNKS * 10  # what was finished before was not computed again
    assert len({seen[0] for seen in began if seen}) > 1, began  # restarts went on from where the last one was
    whole = crashing.run(tmp_path / "whole.zarr").values
    resumed = crashing.run(store)
    assert resumed.computed == 0
    for name in ("inertia", "position"):
        np.testing.assert_array_equal(resumed.values[name], whole[name])


def test_the_store_opens_in_xarray_with_the_axes_as_coordinates(tmp_path):
    import xarray

    runs = crashing.run(tmp_path / "run.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray on Zarr 3 speaks of consolidated metadata
        stored = xarray.open_zarr(tmp_path / "run.zarr", consolidated=False)
    assert stored["inertia"].dims[:2] == ("gamma", "repeat")
    np.testing.assert_array_equal(stored["gamma"], crashing.AXES["gamma"])
    np.testing.assert_array_equal(stored["inertia"], runs.values["inertia"])
    assert "12 gamma x 20 repeat" in stored.attrs["description"]


def test_an_unfinished_store_can_be_read(tmp_path, monkeypatch):
    import zarr

    from jaxinertia.dynamics.sweep import store

    write = store.Store.write

    def fail_on_the_third(self, name, place, values):
        if place == (slice(1, 2), slice(0, 10)):
            raise OSError(28, "No space left on device")
        write(self, name, place, values)

    monkeypatch.setattr(store.Store, "write", fail_on_the_third)
    with pytest.raises(OSError, match="No space"):
        crashing.run(tmp_path / "run.zarr")
    values = zarr.open_group(str(tmp_path / "run.zarr"), mode="r")["position"][...]
    assert np.isfinite(values).sum() == 20  # two chunks of ten
    monkeypatch.setattr(store.Store, "write", write)
    assert crashing.run(tmp_path / "run.zarr").computed == 220


def test_a_full_disk_is_a_clear_error(tmp_path, monkeypatch):
    import zarr

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    with pytest.raises(ValueError, match=r"store = .*cannot be written.*No space left.*free space"):
        crashing.run(tmp_path / "run.zarr")


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"fn": lambda gamma, repeat, key: gamma * 2.0}, "fn"),
        ({"axes": {"gamma": np.linspace(0.0, 2.0, 12), "repeat": np.arange(20)}}, "axes"),
        ({"key": jax.random.key(6)}, "key"),
        ({"chunk_size": 20}, "chunk shape"),
    ],
)
def test_another_call_is_refused_by_name(tmp_path, change, differs):
    crashing.run(tmp_path / "run.zarr")
    call = {"fn": crashing.point, "axes": crashing.AXES, "key": jax.random.key(5), "chunk_size": 10} | change
    with pytest.raises(ValueError, match=f"another call, which differs in .*{differs}"):
        ji.sweep(call.pop("fn"), call.pop("axes"), store=tmp_path / "run.zarr", **call)


@pytest.mark.parametrize("within", [lambda f: f, jax.jit])
def test_a_constant_inside_fn_is_part_of_the_call(tmp_path, within):
    """Also one that a jitted function inside holds for itself."""

    def scaled(by):
        table = np.full(3, by)
        inner = within(lambda x: x * jax.numpy.asarray(table))
        return lambda gamma: inner(gamma).sum()

    ji.sweep(scaled(1.0), {"gamma": np.arange(3.0)}, store=tmp_path / "run.zarr")
    with pytest.raises(ValueError, match="differs in"):
        ji.sweep(scaled(2.0), {"gamma": np.arange(3.0)}, store=tmp_path / "run.zarr")


def test_other_content_and_unusable_paths_are_refused(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not a store of a sweep"):
        crashing.run(tmp_path / "notes")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="store = "):
        crashing.run(tmp_path / "file" / "run.zarr")


def test_statistics_go_on_after_a_crash(tmp_path, monkeypatch):
    from jaxinertia.dynamics.sweep import collect

    reduce = {"repeat": ("mean", "variance")}
    whole = crashing.run(None, reduce=reduce).values
    take = collect.Collector.take

    def stop_at_the_eighth(self, share, chunk, leaves):
        if chunk.start == 80:
            raise KeyboardInterrupt
        take(self, share, chunk, leaves)

    monkeypatch.setattr(collect.Collector, "take", stop_at_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        crashing.run(tmp_path / "statistics", reduce=reduce)
    monkeypatch.setattr(collect.Collector, "take", take)
    resumed = crashing.run(tmp_path / "statistics", reduce=reduce)
    assert resumed.computed == 240 - 80
    for name in ("mean", "variance"):
        np.testing.assert_array_equal(resumed.values[name]["inertia"], whole[name]["inertia"])
