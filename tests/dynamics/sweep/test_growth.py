"""What a sweep costs beside its points does not grow with them, and no number of points is too large to count."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

import jaxinertia as ji
from jaxinertia.dynamics.sweep import axes as axes_module
from jaxinertia.dynamics.sweep.axes import Progression
from jaxinertia.dynamics.sweep.chunks import plan
from jaxinertia.dynamics.sweep.kept import FILES, every_point, statistics_of
from jaxinertia.dynamics.sweep.program import compile_chunk, mesh_of, room, trace, words

WIDE = 1_000_003  # no power of two: a chunk crosses 2^32 in its midst
INDICES = [0, 5, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1, 2**32 + 2, 2**40]


def found_at(key, indices):
    """What points of these indices are given: their places, and their keys."""
    axes = axes_module.parse({"a": range(2**21), "b": range(WIDE)})
    program = trace(lambda a, b, key: {"a": a, "b": b, "key": jax.random.key_data(key)}, axes, key)
    layout = plan(axes.shape, 8, 24, 1, cpu=True)
    mesh = mesh_of(jax.devices()[:1])
    run = compile_chunk(program, layout.points.box, (("a",), ("b",)), mesh, layout.width, 8)
    per_row = layout.points.counts[1]
    for index in indices:
        a, b = divmod(index, WIDE)
        chunk = layout.chunk(a * per_row + b // layout.points.box[1])
        assert chunk.start <= index < chunk.start + chunk.count
        arrays = axes.within(chunk.place, layout.points.box)
        leaves = run(words(chunk.start, chunk.count), arrays, key, room(program.outputs, mesh, layout.width))
        yield (a, b), [np.asarray(leaf)[index - chunk.start] for leaf in leaves]


def test_points_beyond_32_bits_have_their_own_place_and_key():
    """The index is Threefry's counter, of two words: different for all points, and as ever for the first 2^32."""
    key = jax.random.key(7)
    seed, keys = jax.random.key_data(key), set()
    for index, (place, (a, b, bits)) in zip(INDICES, found_at(key, INDICES), strict=True):
        assert (a, b) == place
        counter = jnp.array([index >> 32, index & 0xFFFFFFFF], jnp.uint32)
        np.testing.assert_array_equal(bits, threefry_2x32(seed, counter))
        if index < 2**32:
            np.testing.assert_array_equal(bits, jax.random.key_data(jax.random.fold_in(key, np.uint32(index))))
        keys.add(tuple(bits.tolist()))
    assert len(keys) == len(INDICES)


@pytest.mark.parametrize("shape", [(10**5, 10**5), (10**6, 10**6, 10**9)])
def test_a_plan_of_any_size_costs_nothing_and_covers_its_ends(shape):
    layout = plan(shape, None, 8, 2, cpu=True).in_shares(1000)
    last = layout.share(layout.chunks.size - 1)
    chunk = layout.chunk(last.chunks[-1])
    assert last.start + last.count == math.prod(shape) == chunk.start + chunk.count
    assert sum(layout.share(i).count for i in range(3)) == layout.share(3).start


def test_shares_cover_every_point_once_in_order():
    for shape, chunk, most in (((7, 5, 4), 3, 2), ((7, 5, 4), 9, 5), ((3, 11), 4, 100), ((50,), 7, 3)):
        layout = plan(shape, chunk, 8, 1, cpu=True).in_shares(most)
        seen, at, chunks = np.zeros(shape, int), 0, 0
        for share in map(layout.share, range(layout.chunks.size)):
            assert (share.start, share.chunks.start) == (at, chunks)
            seen[share.place] += 1
            at, chunks = at + share.count, share.chunks.stop
            assert sum(layout.chunk(i).count for i in share.chunks) == share.count
            assert len(share.chunks) <= most
        assert np.all(seen == 1)


def test_many_small_chunks_are_kept_together():
    """10^5 chunks: a thousand objects for each output, of a few kB."""
    axes = axes_module.parse({"a": np.linspace(0, 1, 10**4), "b": range(100)})
    outputs = trace(lambda a, b: {"u": a, "v": a * b}, axes, None).outputs
    layout = plan(axes.shape, 10, 16, 1, cpu=True)
    assert layout.points.size == 10**5
    kept = every_point(outputs, axes, layout, stored=True)
    assert FILES / 2 < kept.layout.chunks.size <= 2 * FILES
    statistics = statistics_of(outputs, axes, layout, (1,), ji.reductions.parse("mean"))
    assert statistics.layout.chunks.size <= 512
    assert every_point(outputs, axes, layout, stored=False).layout.chunks.size == 1


def test_a_store_of_more_objects_than_can_be_looked_through_is_refused(tmp_path):
    axes = {"a": range(2**20), "b": range(2**20)}
    with pytest.raises(ValueError, match=r"axes have 1,099,511,627,776 points.* objects for each output.*reduce="):
        ji.sweep(lambda a, b: jnp.full(1000, a * b), axes, store=tmp_path / "run.zarr")
    assert not list(tmp_path.iterdir())


def test_keys_that_cannot_be_told_apart_are_refused_by_their_number():
    axes = {"a": range(2**40), "b": range(2**30)}
    with pytest.raises(ValueError, match=r"1,180,591,620,717,411,303,424 points, more than 2\^64.*split"):
        ji.sweep(lambda a, b, key: a, axes, key=jax.random.key(0), reduce={"a": "mean"})
    axes = {"a": range(2**20), "b": range(2**20)}
    with pytest.raises(ValueError, match=r"1,099,511,627,776 points, more than 2\^32, with a key of the kind 'rbg'"):
        ji.sweep(lambda a, b, key: a, axes, key=jax.random.key(0, impl="rbg"), reduce={"a": "mean"})


@pytest.mark.parametrize("values", [range(3, 40, 2), np.arange(20), np.arange(20, 0, -3), np.arange(7, dtype=np.uint8)])
def test_whole_numbers_in_a_row_are_known_by_three(values):
    axes = axes_module.parse({"a": values})
    known = axes.axes[0].values["a"]
    assert isinstance(known, Progression)
    np.testing.assert_array_equal(np.asarray(known), np.asarray(values))
    assert known.dtype == np.asarray(values).dtype
    np.testing.assert_array_equal(ji.sweep(lambda a: a + 0, {"a": values}).values, np.asarray(values))


@pytest.mark.parametrize("values", [np.array([0, 1, 3]), np.array([5]), np.array([0, 255, 254], np.uint8)])
def test_other_whole_numbers_are_kept_as_they_are(values):
    assert isinstance(axes_module.parse({"a": values}).axes[0].values["a"], np.ndarray)


def test_whole_numbers_too_long_are_refused():
    with jax.enable_x64(False), pytest.raises(ValueError, match="beyond 32 bits"):
        axes_module.parse({"a": range(2**31, 2**31 + 5)})
    with jax.enable_x64(False), pytest.raises(ValueError, match="beyond 32 bits"):
        axes_module.parse({"a": np.array([0, 1, 2**31])})


MEMORY = """
import resource, sys
import jax
jax.config.update("jax_enable_x64", True)
import jaxinertia as ji
reduce = {"run": ("mean", "variance", ji.reductions.Quantiles((0.5,)))}
axes = {"run": range(int(sys.argv[1]))}
ji.sweep(lambda run, key: jax.random.normal(key), axes, key=jax.random.key(0), reduce=reduce)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.optimised
def test_memory_of_statistics_does_not_grow_with_the_axis():
    """In kB: ten million points more are 80 MB, had they been kept at all."""
    used = [
        int(subprocess.run([sys.executable, "-c", MEMORY, count], check=True, capture_output=True, text=True).stdout)
        for count in ("1000000", "11000000")
    ]
    assert used[1] - used[0] < 40_000, used
