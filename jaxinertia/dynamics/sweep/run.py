"""sweep: a function of one point, over the product of axes."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from ..._checks import is_key, is_traced
from ..._types import Key
from . import axes as axes_module
from . import collect
from .axes import Axes
from .chunks import Chunk, Plan, plan
from .fingerprint import fingerprint
from .processes import Processes
from .program import Program, compile_chunk, index_dtype, mesh_of, on_every_device, trace
from .result import Sweep
from .store import local_path

IN_FLIGHT = 2  # chunks computed ahead of the one being stored


def sweep(
    fn: Callable[..., Any],
    axes: Mapping[Any, Any],
    *,
    key: Key | None = None,
    chunk_size: int | None = None,
    devices: Any = None,
    store: str | Path | None = None,
    reduce: Mapping[Any, Any] | None = None,
    progress: bool = False,
) -> Sweep:
    """Map fn over the product of axes: in chunks of bounded memory, on all cores and devices, into a store if given.

    Arguments:
        fn: a function of one point, called with each axis as a keyword (a scalar, or a row of an array with more
            dimensions) and `key=` if a key is given; returns any pytree of arrays. It usually calls `ji.simulate` and
            returns what should be kept; it may take gradients.
        axes: `{"gamma": gammas, "q0": q0s}`; the product is mapped in C order, last axis fastest. A tuple zips:
            `{("q0", "p0"): (q0s, p0s)}`.
        key: each point gets `fold_in(key, global index)`: the same random bits for any chunk size, devices or restart.
        chunk_size: points at a time; None chooses from the size of the output and a memory limit.
        devices: JAX devices; None means all of this process. On a CPU, `jax.config.update("jax_num_cpu_devices", n)`
            before JAX starts gives one a core.
        store: a local path for a Zarr store (URLs are refused). Results go there chunk by chunk; the same call, started
            again after a crash, goes on where it was, and computes again, with a warning, what is missing or broken.
            Another call is refused. With several processes (`jax.distributed`) each computes its share into the one
            store. A Python function that fn has called on the host (`jax.pure_callback`, a rule of `custom_vmap`) is
            known by its code and all that it refers to: numbers, arrays, functions, its own classes, and libraries by
            name; what it reads from files is not seen. One that refers to anything else is refused, as are
            `io_callback` and `jax.ffi`.
        reduce: `{"seed": ("mean", "variance")}`: keep statistics over these axes instead of every point; also
            "count", `ji.reductions.Histogram(edges)`, `ji.reductions.Quantiles(probabilities)`.
        progress: show a bar with points per second and the time left.

    Returns:
        A `Sweep`: `values` with the axes leading, `axes`, `to_xarray()`, `summary()`. Points that diverge are NaN,
        counted in `failed` and the first few listed in `failures`.

    Raises:
        ValueError: for axes, a chunk_size or a reduction that make no sense, more than 2^32 points, fn that returns no
            array, or a store that belongs to another call, cannot be written, or whose description cannot be read.

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
        raise ValueError(f"chunk_size = {chunk_size!r} must be a whole number of at least 1")
    path = None if store is None else local_path(store)
    if key is not None and not is_key(key):
        raise ValueError(f"key = {key!r} must be one JAX random key: jax.random.key(0)")
    if not callable(fn):
        raise ValueError(f"fn = {fn!r} must be a function of one point, called with the axes as keywords")
    if isinstance(axes, Mapping) and is_traced(list(axes.values())):
        raise ValueError("axes are traced: take gradients inside fn, one for every point, e.g. jax.grad(energy)(gamma)")
    parsed = axes_module.parse(axes)
    devices = _devices(devices)
    program = trace(fn, parsed, key)
    layout = _lay_out(parsed, program, chunk_size, devices)
    target = collect.target(parsed, program, layout, reduce, path)
    call = {} if path is None else fingerprint(program, key, parsed, layout.box, target.kept_as)
    started = time.perf_counter()
    with Processes() as peers:
        target.open(call, peers)
        computed = _compute(program, parsed, layout, devices, key, target, peers, progress)
    target.close()
    return target.result(computed, time.perf_counter() - started)


def _devices(given: Any) -> list[jax.Device]:
    devices = jax.local_devices() if given is None else list(given) if isinstance(given, list | tuple) else []
    if not devices or not all(isinstance(device, jax.Device) for device in devices):
        raise ValueError(f"devices = {given!r} must be a list of JAX devices, e.g. jax.devices()[:2]")
    return devices


def _lay_out(axes: Axes, program: Program, chunk_size, devices) -> Plan:
    size = sum(int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize for x in program.outputs.values())
    return plan(axes.shape, chunk_size, size, len(devices), devices[0].platform == "cpu")


def _compute(program, axes: Axes, layout: Plan, devices, key, target, peers: Processes, progress: bool) -> int:
    """Run this process's unfinished chunks; returns how many points all processes have computed."""
    mine = range(peers.index, len(layout.chunks), peers.count)
    todo = [number for number in mine if not target.finished(number)]
    mesh, dtype = mesh_of(devices), index_dtype(axes)
    run = compile_chunk(program, axes.size, mesh, layout.width, layout.block)
    arrays, key = on_every_device((axes.arrays(), key), mesh)
    left = sum(layout.chunks[number].count for number in todo)
    done = sum(layout.chunks[number].count for number in mine) - left
    waiting: deque[tuple[int, Chunk, Any]] = deque()
    shown = progress and peers.index == 0
    with tqdm(total=axes.size, initial=peers.note_done(done), unit="point", unit_scale=True, disable=not shown) as bar:

        def finish_one():
            nonlocal done
            number, chunk, leaves = waiting[0]
            peers.until(lambda: all(leaf.is_ready() for leaf in leaves))
            target.take(number, chunk, [np.asarray(leaf)[: chunk.count] for leaf in leaves])
            waiting.popleft()
            done += chunk.count
            bar.update(peers.note_done(done) - bar.n)

        for number in todo:
            peers.check()
            chunk = layout.chunks[number]
            waiting.append((number, chunk, run(np.asarray(chunk.start, dtype), arrays, key)))
            if len(waiting) > IN_FLIGHT:
                finish_one()
        while waiting:
            finish_one()
        return sum(peers.wait("all chunks are written", left, lambda: bar.update(peers.note_done(done) - bar.n)))
