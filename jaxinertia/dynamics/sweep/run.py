"""sweep: a function of one point, over the product of axes."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from ..._checks import is_key, is_traced
from ..._shown import shown
from ..._types import Key
from . import axes as axes_module
from .axes import Axes
from .chunks import Chunk, Plan, Share, plan
from .collect import Collector, Worker, collector
from .fingerprint import fingerprint
from .objects import locate
from .processes import OtherFailed, Processes
from .program import Program, compile_chunk, mesh_of, on_every_device, room, trace, words
from .result import Sweep

IN_FLIGHT = 2  # chunks computed ahead of the one being stored


def sweep(
    fn: Callable[..., Any],
    axes: Mapping[Any, Any],
    *,
    key: Key | None = None,
    chunk_size: int | None = None,
    devices: Any = None,
    store: Any = None,
    shard: tuple[int, int] | None = None,
    flush: bool = True,
    reduce: Mapping[Any, Any] | None = None,
    progress: bool = False,
) -> Sweep:
    """Map fn over the product of axes: in chunks of bounded memory, on all cores and devices, into a store if given.

    Arguments:
        fn: a function of one point, called with each axis as a keyword (a scalar, or a row of an array with more
            dimensions) and `key=` if a key is given; returns any pytree of arrays. It usually calls `ji.simulate` and
            returns what should be kept; it may take gradients.
        axes: a dict of arrays, `{"gamma": gammas, "q0": q0s}`; the product is mapped in C order, last axis fastest. A
            tuple zips: `{("q0", "p0"): (q0s, p0s)}`.
        key: each point gets `fold_in(key, global index)`: the same random bits for any chunk size, devices or restart.
        chunk_size: points at a time; None chooses from the size of the output and a memory limit.
        devices: JAX devices; None means all of this process. On a CPU, `jax.config.update("jax_num_cpu_devices", n)`
            before JAX starts gives one a core.
        store: where results are kept as they come: a path, a URL (`s3://bucket/run.zarr`, with fsspec and what it
            needs for it), or a store object of Zarr's. The same call, started again after a crash, goes on where it
            was, on any number of processes, and computes again, with a warning, what is missing or broken. Another
            call is refused. With several processes (`jax.distributed`), all of which make this call, each computes its
            share into the one store. A Python function that fn has called on the host (`jax.pure_callback`, a rule of
            `custom_vmap`) is known by its code and all that it refers to: numbers, arrays, functions, its own classes,
            and libraries by name; what it reads from files is not seen. One that refers to anything else is refused,
            as are `io_callback` and `jax.ffi`.
        shard: (i, n): compute only the i-th of n parts, i from 0, as one job of an array: the parts need not know of
            each other, and start, end and fail as they like. They are parts of the one sweep, with its random bits;
            `ji.merge_shards(store)` gives the whole.
        flush: wait until a local store's data are on the disk before they count as finished, so that they outlive a
            power cut. Without it a power cut may cost what was written last, which is then computed again.
        reduce: `{"seed": ("mean", "variance")}`: keep statistics over these axes instead of every point; also
            "count", `ji.reductions.Histogram(edges)`, `ji.reductions.Quantiles(probabilities)`.
        progress: whether to show a bar with points per second and the time left; of several processes in the first, for
            all.

    Returns:
        A `Sweep`: `values` with the axes leading, `axes`, `to_xarray()`, `summary()`. Points that diverge are NaN,
        counted in `failed` and the first few listed in `failures`.

    Raises:
        ValueError: for axes, a chunk_size, a shard or a reduction that make no sense, fn that returns no array, more
            points than can have keys, or a store that belongs to another call, cannot be written, or whose description
            cannot be read.
        RuntimeError: if another process of this sweep fails or dies, with its reason, seconds after. What is finished
            is kept, and the same call goes on from there.

    Warns:
        UserWarning: if chunks that a store says it has are missing or broken; they are computed again.

    Example:
        >>> def final_energy(gamma, q0):
        ...     system = ji.System(ji.potentials.Duffing(), damping=gamma)
        ...     return ji.simulate(system, np.array([0.0, 20.0]), q0, dt=0.01).inertia[-1]
        >>> runs = ji.sweep(final_energy, {"gamma": np.linspace(0, 2, 256), "q0": np.linspace(-1, 1, 256)})
    """
    whole = isinstance(chunk_size, int | np.integer) and not isinstance(chunk_size, bool)
    if chunk_size is not None and not (whole and chunk_size >= 1):
        raise ValueError(f"chunk_size = {shown(chunk_size)} must be a whole number of at least 1")
    objects = None if store is None else locate(store)
    worker = _worker(shard, objects)
    if key is not None and not is_key(key):
        raise ValueError(f"key = {shown(key)} must be one JAX random key: jax.random.key(0)")
    if not callable(fn):
        raise ValueError(f"fn = {shown(fn)} must be a function of one point, called with the axes as keywords")
    if isinstance(axes, Mapping) and is_traced(list(axes.values())):
        raise ValueError("axes are traced: take gradients inside fn, one for every point, e.g. jax.grad(energy)(gamma)")
    parsed = axes_module.parse(axes)
    devices = _devices(devices)
    with Processes() as others:
        program = trace(fn, parsed, key)
        layout = _lay_out(parsed, program, chunk_size, devices)
        target = collector(parsed, program.outputs, layout, reduce, objects, flush)
        call = {} if objects is None else fingerprint(program, key, parsed, target.layout, target.kept.called)
        started = time.perf_counter()
        target.open(call)
        computed = _compute(program, parsed, devices, key, target, worker, others, progress)
    return target.result(computed, time.perf_counter() - started)


def _worker(shard: Any, objects: Any) -> Worker:
    """This process's part: of the shard, if several processes share one."""
    processes = jax.process_count()
    if objects is None and processes > 1:
        raise ValueError("store is None, but several processes run: pass store=, a path that all of them can write")
    if shard is None:
        return Worker(jax.process_index(), processes)
    whole = isinstance(shard, tuple | list) and all(type(x) is int or isinstance(x, np.integer) for x in shard)
    if not whole or len(shard) != 2 or not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard = {shown(shard)} must be (i, n) with 0 <= i < n: the i-th of n parts, counted from 0")
    if objects is None:
        raise ValueError(f"shard = {shown(shard)} needs store=, the place where all shards keep what they compute")
    return Worker(int(shard[0]) * processes + jax.process_index(), int(shard[1]) * processes)


def _devices(given: Any) -> list[jax.Device]:
    devices = jax.local_devices() if given is None else list(given) if isinstance(given, list | tuple) else []
    if not devices or not all(isinstance(device, jax.Device) for device in devices):
        raise ValueError(f"devices = {shown(given)} must be a list of JAX devices, e.g. jax.devices()[:2]")
    if any(device.process_index != jax.process_index() for device in devices):
        raise ValueError(
            f"devices = {shown(given)} has some of other processes, each of which makes this call for its own; "
            "leave it out, or choose from jax.local_devices()"
        )
    return devices


def _lay_out(axes: Axes, program: Program, chunk_size, devices) -> Plan:
    size = sum(int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize for x in program.outputs.shapes.values())
    return plan(axes.shape, chunk_size, size, len(devices), devices[0].platform == "cpu")


def _compute(
    program, axes: Axes, devices, key, target: Collector, worker: Worker, others: Processes, progress: bool
) -> int:
    """Run this worker's unfinished chunks, share by share; returns how many points all processes have computed."""
    layout = target.layout
    mine = worker.mine(layout.chunks.size)
    done = {number: target.done(number) for number in mine}
    mesh = mesh_of(devices)
    names = tuple(tuple(axis.values) for axis in axes.axes)
    run = compile_chunk(program, layout.points.box, names, mesh, layout.width, layout.block)
    key = on_every_device(key, mesh)
    found = sum(target.points(number, chunks) for number, chunks in done.items())
    waiting: deque[tuple[Share, Chunk, Any]] = deque()
    done_with: list[list[jax.Array]] = []  # leaves of chunks that were taken
    with _Count(others, worker, layout, found, progress) as count:

        def finish_one():
            share, chunk, leaves = waiting[0]
            others.until(lambda: _ready(leaves))
            target.take(share, chunk, jax.block_until_ready(leaves))  # if they fail, before any is taken
            waiting.popleft()
            done_with.append(leaves)
            count.add(chunk.count)

        try:
            for share in map(layout.share, mine):
                for number in share.chunks[done[share.number] :]:
                    others.check()
                    chunk = layout.chunk(number)
                    arrays = axes.within(chunk.place, layout.points.box)
                    into = done_with.pop() if done_with else room(program.outputs, mesh, layout.width)
                    waiting.append((share, chunk, run(words(chunk.start, chunk.count), arrays, key, into)))
                    if len(waiting) > IN_FLIGHT:
                        finish_one()
            while waiting:
                finish_one()
        except BaseException as error:
            with suppress(Exception):  # what has stopped the sweep is what to tell of
                while isinstance(error, OtherFailed) and waiting and _ready(waiting[0][2]):
                    finish_one()
            with suppress(Exception):
                target.keep()
            raise
        return sum(others.wait("all that was computed is written", count.done - found, count.show))


def _ready(leaves: Any) -> bool:
    return all(leaf.is_ready() for leaf in leaves)


class _Count:
    """How many points are done, told to the other processes; the first shows a bar of them all."""

    def __init__(self, others: Processes, worker: Worker, layout: Plan, found: int, progress: bool):
        first = worker.number - others.index
        all_of_us = [Worker(number, worker.of) for number in range(first, first + others.count)]
        total = sum(layout.share(number).count for one in all_of_us for number in one.mine(layout.chunks.size))
        self.others, self.done = others, found
        shown = {"unit": "point", "unit_scale": True, "disable": not progress or others.index > 0}
        self._bar = tqdm(total=total, initial=others.note_done(found), **shown)

    def __enter__(self) -> "_Count":
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.close()

    def add(self, points: int) -> None:
        self.done += points
        self.show()

    def show(self) -> None:
        self._bar.update(self.others.note_done(self.done) - self._bar.n)
