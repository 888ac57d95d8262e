"""A sweep is the same wherever it is kept: all that a store needs is that an object is put whole."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, WrapperStore

import jaxinertia as ji
from jaxinertia.dynamics.sweep import collect, kept
from jaxinertia.dynamics.sweep.marks import Mark

from . import crew

pytestmark = pytest.mark.optimised

AXES = {"a": np.linspace(0.0, 1.0, 12), "b": np.arange(10)}
REDUCE = {"b": ("mean", "variance", ji.reductions.Quantiles((0.5,)), ji.reductions.Histogram((0.0, 1.0, 20.0)))}


class PutOnly(WrapperStore):
    """An object store at its barest: an object is got, or put whole. Nothing is deleted, renamed or put in part."""

    def __init__(self, store):
        super().__init__(store)
        self.puts: list[str] = []

    async def set(self, key, value):
        self.puts.append(key)
        await super().set(key, value)

    async def set_if_not_exists(self, key, value):
        if not await self.exists(key):
            await self.set(key, value)

    async def delete(self, key):
        raise NotImplementedError(key)

    delete_dir = delete


def point(a, b, key):
    return {"u": a * b, "v": jax.random.normal(key, (3,)), "w": 1 / (a - 0.5 * b)}


def run(store=None, reduce=None, **options):
    return ji.sweep(point, AXES, key=jax.random.key(1), chunk_size=5, store=store, reduce=reduce, **options)


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one.values, other.values)
    assert (one.failed, one.failures) == (other.failed, other.failures)


@pytest.fixture(scope="module")
def whole():
    return {"values": run(), "statistics": run(reduce=REDUCE)}


KINDS = {"values": None, "statistics": REDUCE}


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_only_puts_is_enough(kind, whole):
    store = PutOnly(MemoryStore())
    assert_same(run(store, KINDS[kind]), whole[kind])
    assert run(store, KINDS[kind]).computed == 0
    assert_same(ji.merge_shards(store), whole[kind])
    assert len(set(store.puts)) == len(store.puts) - 1  # once each, but the root, which tells of failures
    merged = ji.merge_shards(store).to_xarray()
    assert merged.identical(whole[kind].to_xarray())


@pytest.mark.parametrize("kind", KINDS)
def test_shards_are_parts_of_the_one_sweep(kind, whole, tmp_path):
    store = tmp_path / "run.zarr"
    parts = [run(store, KINDS[kind], shard=(i, 3)) for i in (2, 0)]
    lacks = r"lacks 8 of 24 chunks, which other shards compute.*merge_shards"
    with pytest.raises(ValueError, match=lacks):
        _ = parts[1].values
    with pytest.raises(ValueError, match=lacks):
        ji.merge_shards(store)
    parts.append(run(store, KINDS[kind], shard=(1, 3)))
    assert [part.computed for part in parts] == [40, 40, 40]
    for found in (parts[2], ji.merge_shards(store), run(store, KINDS[kind])):
        assert_same(found, whole[kind])


def test_more_shards_than_chunks_and_another_number_of_them(whole, tmp_path):
    computed = [run(tmp_path / "run.zarr", REDUCE, shard=(i, 30)).computed for i in (0, 23, 24)]
    assert computed == [5, 5, 0]
    assert run(tmp_path / "run.zarr", REDUCE, shard=(1, 2)).computed == 60 - 5
    assert run(tmp_path / "run.zarr", REDUCE, shard=(0, 5)).computed == 10  # shares 10 and 20
    assert_same(run(tmp_path / "run.zarr", REDUCE), whole["statistics"])


def test_a_statistic_of_ones_own_is_merged_by_the_call(tmp_path):
    class Largest(ji.reductions.Statistic):
        name = "largest"

        def empty(self, cells):
            return {"value": np.full(cells, -np.inf)}

        def of(self, values):
            return {"value": values.max(0)}

        def merge(self, a, b):
            return {"value": np.maximum(a["value"], b["value"])}

        def finish(self, state):
            return state["value"]

    def swept(**options):
        return ji.sweep(lambda a, b: a * b, AXES, reduce={"b": Largest()}, store=tmp_path / "run.zarr", **options)

    swept(shard=(0, 1))
    with pytest.raises(ValueError, match=r"'largest', one of your own: call ji\.sweep again"):
        ji.merge_shards(tmp_path / "run.zarr")
    assert swept().computed == 0
    np.testing.assert_array_equal(swept().values["largest"], 9 * AXES["a"])


def test_a_trajectory_comes_back_as_such(tmp_path):
    def fn(gamma):
        return ji.simulate(ji.System(ji.potentials.Duffing(), gamma), np.linspace(0, 1, 4), 1.0, dt=0.25)

    runs = ji.sweep(fn, {"gamma": np.linspace(0, 1, 3)}, store=tmp_path / "run.zarr")
    merged = ji.merge_shards(tmp_path / "run.zarr")
    assert isinstance(merged.values, ji.Trajectory)
    np.testing.assert_array_equal(merged.values.inertia, runs.values.inertia)
    assert merged.to_xarray().identical(runs.to_xarray())


@pytest.mark.parametrize("shard", [(3, 3), (-1, 2), (0, 0), (1.0, 2), 3, (True, 2), (0, 1, 2)])
@pytest.mark.usefixtures("without_type_checks")
def test_a_shard_that_makes_no_sense_is_refused(shard, tmp_path):
    with pytest.raises(ValueError, match=r"shard = .* must be \(i, n\)"):
        run(tmp_path / "run.zarr", shard=shard)


def test_a_shard_needs_a_store_and_merging_needs_a_sweep(tmp_path):
    with pytest.raises(ValueError, match=r"shard = \(0, 2\) needs store="):
        run(shard=(0, 2))
    for place in (tmp_path, tmp_path / "none.zarr"):
        with pytest.raises(ValueError, match="holds no sweep"):
            ji.merge_shards(place)
    assert not list(tmp_path.iterdir())
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    with pytest.raises(ValueError, match="no sweep was fully set up"):
        ji.merge_shards(tmp_path / "other.zarr")


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_of_many_chunks_goes_on_in_its_midst(kind, whole, tmp_path, monkeypatch):
    """Put every so many seconds, and when the sweep stops: what was finished by then is not computed again."""
    monkeypatch.setattr(kept, "FILES", 3)
    monkeypatch.setattr(kept, "SPREAD", (3,))
    expected = run(reduce=KINDS[kind])
    take = collect.Collector.take

    def stops(at, whole):
        def stop(self, share, chunk, leaves):
            if chunk.start == at:
                if not whole:  # in the midst of the next chunk's adding
                    monkeypatch.setattr(self.kept, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
                    take(self, share, chunk, leaves)
                raise KeyboardInterrupt
            take(self, share, chunk, leaves)

        return stop

    for at, inside in ((15, True), (65, False)):
        monkeypatch.setattr(collect.Collector, "take", stops(at, inside))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run.zarr", KINDS[kind])
    monkeypatch.setattr(collect.Collector, "take", take)
    resumed = run(tmp_path / "run.zarr", KINDS[kind])
    # Three shares of eight chunks: the second stop is in the midst of adding a chunk, after which nothing is put.
    assert resumed.computed == 120 - 40
    assert_same(resumed, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_is_put_before_it_is_full_once_a_while(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FILES", 2)
    monkeypatch.setattr(kept, "SPREAD", (2,))
    monkeypatch.setattr(collect, "RARELY", 0.0)
    monkeypatch.setattr(collect, "PART", 0)
    puts = []
    put = collect.Collector._put

    def counted(self, here):
        put(self, here)
        puts.append((here.share.number, here.done, here.slot))

    monkeypatch.setattr(collect.Collector, "_put", counted)
    run(tmp_path / "run.zarr", KINDS[kind])
    assert [(share, done) for share, done, _ in puts] == [(i, n + 1) for i in range(2) for n in range(12)]
    slots = [slot for _, _, slot in puts]
    # Statistics go to one slot and the other, so that the mark before always has its data.
    assert slots == ([0] * 24 if kind == "values" else [1, 0] * 12)


def test_what_is_put_is_flushed_before_its_mark(tmp_path, monkeypatch):
    order = []
    sync = os.fsync

    def synced(handle):
        file = Path(os.readlink(f"/proc/self/fd/{handle}"))
        share = tuple(int(x) for x in file.relative_to(tmp_path / "run.zarr").parts[2:4])
        assert not (tmp_path / f"run.zarr/_sweep/finished/c/{2 * share[0] + share[1]}/0").exists()
        order.append(str(file.relative_to(tmp_path / "run.zarr")))
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    run(tmp_path / "run.zarr")
    inner = {"u": "", "v": "/0", "w": ""}
    assert sorted(order) == sorted(
        f"{name}/c/{a}/{b}{rest}" for name, rest in inner.items() for a in range(12) for b in range(2)
    )
    order.clear()
    run(tmp_path / "other.zarr", flush=False)
    run(PutOnly(MemoryStore()))
    assert not order


@pytest.mark.parametrize("step", range(9))
def test_making_a_store_may_stop_anywhere_and_another_goes_on(step, whole):
    """Also while others make the same: whoever comes, the same objects are put."""

    class Stops(PutOnly):
        async def set(self, key, value):
            if len(self.puts) == step:
                raise ConnectionError("gone")
            await super().set(key, value)

    memory = MemoryStore()
    with pytest.raises(ValueError, match="cannot be written: gone"):
        run(Stops(memory))
    assert_same(run(PutOnly(memory)), whole["values"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["zarr.json", "_sweep/finished/c/3/0", "data"])
def test_a_store_out_of_reach_is_not_taken_for_a_broken_one(kind, which, whole):
    """Nothing that is finished is computed again because a network was down."""

    class Unplugged(PutOnly):
        async def get(self, key, prototype, byte_range=None):
            if key == which or (which == "data" and key.endswith("c/0/0")):
                raise Timeout("no answer")
            return await super().get(key, prototype, byte_range)

    class Timeout(Exception):
        """A client library's own, no OSError."""

    memory = MemoryStore()
    run(PutOnly(memory), KINDS[kind])
    if which == "data" and kind == "statistics":
        which = "_sweep/states/c/0/1/0"
    for read in (lambda: run(Unplugged(memory), KINDS[kind]), lambda: ji.merge_shards(Unplugged(memory)).values):
        with pytest.raises(ValueError, match=r"cannot be (read|written): .*no answer"):
            read()
    again = run(PutOnly(memory), KINDS[kind])
    assert again.computed == 0
    assert_same(again, whole[kind])


def test_a_half_made_store_of_another_call_is_refused():
    memory = MemoryStore()
    run(PutOnly(memory))
    del memory._store_dict["zarr.json"]
    with pytest.raises(ValueError, match="made by another call, which differs in key"):
        ji.sweep(point, AXES, key=jax.random.key(2), chunk_size=5, store=PutOnly(memory))


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (lambda folder: zarr.storage.ZipStore(folder / "run.zip", mode="w"), "cannot replace what it has"),
        (lambda folder: LocalStore(folder, read_only=True), "cannot be written; pass one opened for writing"),
        (lambda folder: {}, "must be a path, such as 'run.zarr', a URL, or a Zarr store"),
    ],
)
def test_stores_that_cannot_keep_a_sweep_are_refused(store, told, tmp_path):
    with pytest.raises(ValueError, match=f"store = .*{told}"):
        run(store(tmp_path))


def test_a_file_url_is_its_path(tmp_path, whole):
    assert_same(run(f"file://{tmp_path}/run.zarr"), whole["values"])
    assert run(tmp_path / "run.zarr").computed == 0
    assert run(LocalStore(tmp_path / "run.zarr")).computed == 0


def test_a_mark_says_all_that_it_was_given():
    for mark in (Mark(3, 2**40, 2**32 - 1, 1, 7, (0, 5, 2**50)), Mark(1, 0, 0), Mark(2, 1, 1, 0, 9, (1, 2, 3, 4, 5))):
        assert Mark.of(mark.row()) == mark


def found_by_a_crew(way, store, file, seed=0):
    command = [sys.executable, crew.__file__, way, str(store), str(file), str(seed)]
    subprocess.run(command, check=True, timeout=1800)
    with np.load(file) as found:
        found = dict(found)
    alone = {name.removeprefix("alone "): x for name, x in found.items() if name.startswith("alone ")}
    return found, alone


@pytest.mark.slow
def test_crews_killed_and_begun_again_with_another_number_find_the_same_bits(tmp_path):
    found, alone = found_by_a_crew("killed", tmp_path, tmp_path / "found.npz")
    for rank in range(3):
        for name, x in alone.items():
            np.testing.assert_array_equal(found[f"{rank} {name}"], x)


@pytest.mark.slow
def test_independent_shards_at_once_lose_no_process_and_find_the_same_bits(tmp_path):
    found, alone = found_by_a_crew("shards", tmp_path, tmp_path / "found.npz")
    for number in range(crew.ROUNDS):
        for name, x in alone.items():
            np.testing.assert_array_equal(found[f"{number} {name}"], x)
    ends = alone["inertia"][..., -1]
    assert len(np.unique(ends)) == ends.size  # no point repeats another's noise


@pytest.fixture
def bucket(monkeypatch):
    """A bucket on a server of the tests' own that speaks S3."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    boto3.client("s3").create_bucket(Bucket="bucket")
    yield "s3://bucket"
    server.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the server's and the client's libraries
@pytest.mark.parametrize("way", ["killed", "shards"])
def test_the_same_in_a_bucket(way, bucket, tmp_path):
    found, alone = found_by_a_crew(way, f"{bucket}/{way}", tmp_path / "found.npz")
    for name, x in alone.items():
        np.testing.assert_array_equal(found[f"2 {name}"], x)
