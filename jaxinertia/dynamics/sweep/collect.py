"""Where chunks go: into memory, into a store, or into statistics."""

import abc
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from . import labels as labels_module
from . import reductions
from .axes import Axes
from .chunks import Chunk, Plan
from .fingerprint import OtherCall, compare
from .processes import Processes
from .program import Program
from .result import Sweep
from .store import LostChunk, Store

LISTED = 5  # failures named in the report
HEADER = 2**12  # bytes that may stand before an array in its file


class Target(abc.ABC):
    """Takes finished chunks, and makes the result."""

    def __init__(self, axes: Axes, program: Program, layout: Plan):
        self.axes, self.program, self.layout = axes, program, layout
        self.failed = 0
        self.failures: list[dict[str, Any]] = []
        shapes = {name: tuple(x.shape) for name, x in program.outputs.items()}
        self.labels = labels_module.label(axes, axes.names, shapes, program.timed)

    kept_as = "every point is kept"

    @abc.abstractmethod
    def open(self, call: dict[str, str], peers: Processes) -> None:
        """Before the first chunk."""

    @abc.abstractmethod
    def take(self, number: int, chunk: Chunk, leaves: list[np.ndarray]) -> None:
        """A finished chunk: one (count, ...) array for each output."""

    @abc.abstractmethod
    def result(self, computed: int, seconds: float) -> Sweep:
        """After the last chunk."""

    def finished(self, number: int) -> bool:
        return False

    def close(self) -> None:  # noqa: B027  most have nothing left to do
        """After the last chunk of all processes."""

    def note_failures(self, start: int, leaves: list[np.ndarray]) -> None:
        """Count points with an output that is not finite, and keep the coordinates of the first few."""
        self.note(start, *_bad(leaves))

    def note(self, start: int, count: int, first: list[int]) -> None:
        """The same, of what `_bad` has found."""
        self.failed += count
        for offset in first[: LISTED - len(self.failures)]:
            self.failures.append(self.axes.coordinates(start + offset))

    def unflatten(self, arrays: list[np.ndarray]) -> Any:
        return jax.tree.unflatten(self.program.structure, arrays)


def _bad(leaves: list[np.ndarray]) -> tuple[int, list[int]]:
    """How many points have an output that is not finite, and the places of the first few."""
    bad = np.zeros(len(leaves[0]), bool)
    for leaf in leaves:
        if np.issubdtype(leaf.dtype, np.inexact):
            bad |= ~np.isfinite(leaf.reshape(len(leaf), -1)).all(1)
    return int(bad.sum()), np.flatnonzero(bad)[:LISTED].tolist()


def target(axes: Axes, program: Program, layout: Plan, reduce: Any, store: Any) -> Target:
    """The target that the arguments of `sweep` ask for."""
    if store is None and jax.process_count() > 1:
        raise ValueError("store is None, but several processes run: pass store=, a path that all of them can write")
    if reduce is not None:
        return Reduced(axes, program, layout, reduce, store)
    return InMemory(axes, program, layout) if store is None else Stored(axes, program, layout, store)


class InMemory(Target):
    """All values in NumPy arrays."""

    def open(self, call, peers):
        try:
            self.arrays = [np.empty((self.axes.size, *x.shape), x.dtype) for x in self.program.outputs.values()]
        except (MemoryError, ValueError) as error:
            raise ValueError(
                f"axes have {self.axes.size:,} points, whose outputs do not fit into memory: {error}; "
                "pass store= or reduce=, or return less from fn"
            ) from error

    def take(self, number, chunk, leaves):
        for array, leaf in zip(self.arrays, leaves, strict=True):
            array[chunk.start : chunk.start + chunk.count] = leaf
        self.note_failures(chunk.start, leaves)

    def result(self, computed, seconds):
        shaped = [array.reshape(*self.axes.shape, *array.shape[1:]) for array in self.arrays]
        both = (self.unflatten(shaped), dict(zip(self.program.outputs, shaped, strict=True)))
        counts = (self.failed, self.failures, computed, seconds)
        return Sweep(self.axes, self.axes.names, lambda: both, *counts, self.labels)


class Stored(Target):
    """All values in a Zarr store; the marks there say which chunks are finished."""

    def __init__(self, axes, program, layout, path):
        super().__init__(axes, program, layout)
        axes.check_distinct(program.outputs)
        labels_module.check_storable(program.outputs)
        self.store = Store(path)
        self.noted: dict[int, tuple[int, list[int]]] = {}  # chunk -> its failures
        self.lost: list[str] = []  # finished chunks that were found missing or broken

    def open(self, call, peers):
        if peers.index == 0:
            self.store.open(call, self.axes, self.program.outputs, self.layout, self.labels)
        peers.wait("the store is there")
        if peers.index != 0:
            self.store.attach(call, self.program.outputs)

    def finished(self, number):
        if not self.store.marked(number):
            return False
        try:
            self.noted[number] = self._read(number)
        except LostChunk as error:
            self.lost.append(str(error))
            return False
        return True

    def _read(self, number):
        """The failures in a finished chunk."""
        chunk = self.layout.chunks[number]
        arrays = self.store.read_chunk(number, chunk).values()
        return _bad([a.reshape(chunk.count, *a.shape[len(chunk.place) :]) for a in arrays])

    def take(self, number, chunk, leaves):
        box = tuple(s.stop - s.start for s in chunk.place)
        named = zip(self.program.outputs, leaves, strict=True)
        self.store.write(number, chunk, {name: leaf.reshape(*box, *leaf.shape[1:]) for name, leaf in named})
        self.noted[number] = _bad(leaves)

    def result(self, computed, seconds):
        for number, chunk in enumerate(self.layout.chunks):  # of earlier runs and other processes too
            try:
                self.note(chunk.start, *(self.noted[number] if number in self.noted else self._read(number)))
            except LostChunk as error:
                raise self.store.broken(error) from error
        self._say_what_was_mended()

        def read():
            named = self.store.read(self.layout.chunks)
            return self.unflatten(list(named.values())), named

        if jax.process_index() == 0:
            self.store.note_failed(self.failed)
        return Sweep(self.axes, self.axes.names, read, self.failed, self.failures, computed, seconds, self.labels)

    def _say_what_was_mended(self):
        """In a warning: a disk that lost one file may lose others."""
        mended = list(self.store.repaired)
        if self.lost:
            more = f", and {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
            mended.append(
                f"{len(self.lost)} of {len(self.layout.chunks)} chunks, computed again ({self.lost[0]}{more})"
            )
        if mended:
            warnings.warn(f"store = {str(self.store.path)!r} was missing {'; '.join(mended)}", stacklevel=4)


class Reduced(Target):
    """Statistics over some axes. With a store, the state after each chunk is kept there."""

    def __init__(self, axes, program, layout, reduce, path):
        super().__init__(axes, program, layout)
        self.over, self.statistics = _parse_reduce(axes, reduce)
        for name, output in program.outputs.items():
            if np.issubdtype(output.dtype, np.complexfloating):
                raise ValueError(f"fn returns complex numbers ({name}), which reduce cannot order; return real ones")
        called = [_called(name, statistic) for statistic in self.statistics for name in program.outputs]
        if twice := sorted({name for name in called if called.count(name) > 1}):
            raise ValueError(f"fn's outputs and the statistics make {twice} twice; rename an output or a statistic")
        self.kept_as = _kept_as(axes, self.over, self.statistics)
        self.kept = tuple(i for i in range(len(axes.shape)) if i not in self.over)
        self.path = path
        cells = [tuple(axes.shape[i] for i in self.kept) + x.shape for x in program.outputs.values()]
        self.states = [[s.empty(c) for s in self.statistics] for c in cells]
        self.done = -1

    def open(self, call, peers):
        self.call = call
        if self.path is None:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            others = sorted(file.name for file in self.path.iterdir() if not file.match("statistics-*"))
        except OSError as error:
            raise ValueError(f"store = {str(self.path)!r} cannot be made: {error}; pass another path") from error
        if others:
            raise ValueError(
                f"store = {str(self.path)!r} holds {others[0]!r}, which no statistics need; pass another path"
            )
        file = self._file(jax.process_index())
        if file.exists():
            self._restore(file)

    def finished(self, number):
        return number <= self.done

    def take(self, number, chunk, leaves):
        box = tuple(s.stop - s.start for s in chunk.place)
        kept_place = tuple(chunk.place[i] for i in self.kept)
        for leaf, states in zip(leaves, self.states, strict=True):
            values = leaf.reshape(*box, *leaf.shape[1:])
            values = np.moveaxis(values, self.over, tuple(range(len(self.over))))
            values = values.reshape(-1, *values.shape[len(self.over) :])
            for statistic, state in zip(self.statistics, states, strict=True):
                here = {name: x[kept_place] for name, x in state.items()}
                for name, x in statistic.merge(here, statistic.of(values)).items():
                    state[name][kept_place] = x
        self.note_failures(chunk.start, leaves)
        self.done = number
        if self.path is not None:
            self._keep()

    def close(self):
        if self.path is None:
            return
        for process in range(jax.process_count()):
            if process != jax.process_index():
                self._merge_other(self._file(process))

    def result(self, computed, seconds):
        values, named, attributes, over = {}, {}, {}, {}
        for i, statistic in enumerate(self.statistics):
            arrays = [statistic.finish(states[i]) for states in self.states]
            values[statistic.name] = self.unflatten(arrays)
            for name, array in zip(self.program.outputs, arrays, strict=True):
                called = _called(name, statistic)
                named[called] = array
                attributes[called] = labels_module.of_statistic(self.labels, name, statistic.name, statistic.power)
                if name in self.program.timed:
                    over[called] = self.program.timed[name]
        dimensions = tuple(self.axes.names[i] for i in self.kept)
        shapes = {name: array.shape[len(dimensions) :] for name, array in named.items()}
        labels = labels_module.label(self.axes, dimensions, shapes, over, attributes)
        counts = (self.failed, self.failures, computed, seconds)
        return Sweep(self.axes, dimensions, lambda: (values, named), *counts, labels)

    def _file(self, process):
        return self.path / f"statistics-{process}-of-{jax.process_count()}.npz"

    def _keep(self):
        """Replace the file in one step, so that a kill leaves either the old or the new one."""
        head = {"call": self.call, "done": self.done, "failed": self.failed, "failures": self.failures}
        states = [(f"{i}.{j}", s) for i, row in enumerate(self.states) for j, s in enumerate(row)]
        arrays = {f"{place}.{name}": x for place, state in states for name, x in state.items()}
        file = self._file(jax.process_index())
        fresh = file.with_suffix(".new")
        try:
            with open(fresh, "wb") as stream:
                np.savez(stream, head=json.dumps(head), **arrays)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(fresh, file)
        except OSError as error:
            raise ValueError(
                f"store = {str(self.path)!r} cannot be written: {error}; free space or pass another path "
                "(the same call goes on from the last state written)"
            ) from error

    def _load(self, file):
        """What `_keep` wrote. ValueError if the file cannot be read, or is of another call."""
        try:
            with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                head = _Head(**json.loads(str(stored["head"])))
                compare(str(self.path), head.call, self.call)
                return head, [
                    [_state(stored, f"{i}.{j}", s) for j, s in enumerate(r)] for i, r in enumerate(self.states)
                ]
        except OtherCall:
            raise
        except Exception as error:  # zip, NumPy and JSON have each their own for bytes that they cannot read
            raise ValueError(
                f"store = {str(self.path)!r} has statistics that cannot be read, {str(file)!r}: "
                f"{error or type(error).__name__}; put a copy of that file back, or delete it to compute them anew"
            ) from error

    def _restore(self, file):
        head, self.states = self._load(file)
        self.done, self.failed, self.failures = head.done, head.failed, head.failures

    def _merge_other(self, file):
        head, others = self._load(file)
        self.failed += head.failed
        self.failures = (self.failures + head.failures)[:LISTED]
        for states, row in zip(self.states, others, strict=True):
            for j, statistic in enumerate(self.statistics):
                states[j] = statistic.merge(states[j], row[j])


@dataclass
class _Head:
    """What a file of statistics tells of itself."""

    call: Any
    done: Any  # the last chunk that is in them
    failed: Any
    failures: Any

    def __post_init__(self):
        whole = all(type(x) is int and x >= -1 for x in (self.done, self.failed))
        if not (whole and isinstance(self.call, dict) and isinstance(self.failures, list)):
            raise ValueError("its head makes no sense")


def _state(stored: Any, place: str, like: reductions.State) -> reductions.State:
    """The stored arrays of one state; ValueError, before they are read, if they are not as large as they must be."""
    found = {}
    for name, expected in like.items():
        key = f"{place}.{name}"
        if stored.zip.getinfo(f"{key}.npy").file_size > expected.nbytes + HEADER:
            raise ValueError(f"{key} is larger than the statistics of this sweep are")
        found[name] = stored[key]
        if (found[name].shape, found[name].dtype) != (expected.shape, expected.dtype):
            raise ValueError(f"{key} is not as the statistics of this sweep are")
    return found


def _kept_as(axes: Axes, over: tuple[int, ...], statistics: tuple[reductions.Statistic, ...]) -> str:
    return f"{', '.join(map(reductions.described, statistics))} over {', '.join(axes.names[i] for i in over)}"


def _called(name: str, statistic: reductions.Statistic) -> str:
    """What a statistic of an output is called."""
    return statistic.name if name == "value" else f"{name}.{statistic.name}"


def _parse_reduce(axes: Axes, reduce: Any) -> tuple[tuple[int, ...], tuple[reductions.Statistic, ...]]:
    if not isinstance(reduce, Mapping) or len(reduce) != 1:
        raise ValueError(f"reduce = {reduce!r} must be a dict of one entry such as {{'seed': ('mean', 'variance')}}")
    ((names, statistics),) = reduce.items()
    names = names if isinstance(names, tuple) else (names,)
    if len(set(names)) < len(names):
        raise ValueError(f"reduce names the axes {list(names)}, one of them twice; name each once")
    unknown = [name for name in names if name not in axes.names]
    if unknown:
        raise ValueError(f"reduce names the axes {unknown}, the sweep has {list(axes.names)}")
    return tuple(axes.names.index(name) for name in names), reductions.parse(statistics)
