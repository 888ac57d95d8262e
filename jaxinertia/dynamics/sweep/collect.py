"""Where finished chunks go: into the data of their share, and these into a store, if there is one, with a mark.

One process, several that belong together, and shards that know nothing of each other do the same: a worker takes every
n-th share, goes on from the mark of each, and the result is made of all shares in their order.
"""

import time
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..._shown import shown
from . import labels as labels_module
from . import reductions
from .axes import Axes
from .chunks import Chunk, Plan, Share
from .described import describe
from .kept import Kept, States, every_point, statistics_of
from .marks import LISTED, NO_MARK, Mark, seal
from .objects import Objects
from .program import Outputs
from .result import Sweep
from .store import Description, LostData, Store

RARELY, PART = 1.0, 20  # seconds between two puts of an unfinished share; at most this part of the time goes there


class Worker(NamedTuple):
    """Which shares are to be computed here: number, number + of, ..."""

    number: int
    of: int

    def mine(self, shares: int) -> range:
        return range(self.number, shares, self.of)


class _Open:
    """The share that is being filled, and the mark that it has by now."""

    def __init__(self, share: Share, data: Any, mark: Mark):
        self.share, self.data = share, data
        self.done, self.failed, self.first, self.slot = mark.done, mark.failed, list(mark.first), mark.slot
        self.put = mark.done  # of its chunks, that the store has
        self.whole = True  # no chunk is half in the data


class Collector:
    """Takes finished chunks, and makes the result."""

    def __init__(self, axes: Axes, outputs: Outputs, kept: Kept, store: Store | None):
        self.axes, self.outputs, self.kept, self.store = axes, outputs, kept, store
        self.layout = kept.layout
        shapes = {name: tuple(x.shape) for name, x in outputs.shapes.items()}
        self.labels = labels_module.label(axes, axes.names, shapes, outputs.timed)
        self.marks: dict[int, Mark] = {}  # of finished shares, without a store
        self.lost: list[str] = []  # shares that were found missing or broken, and how many chunks they had
        self.lost_chunks = 0
        self._open: _Open | None = None
        self._data: Any = kept.total() if isinstance(kept, States) else None
        self._last, self._took = time.monotonic(), 0.0

    def open(self, call: dict[str, str]) -> None:
        """Before the first chunk: find or make the store, or take the memory."""
        if self.store is None:
            self._open = self._begin(self.layout.share(0))
            return
        told = describe(self.axes, self.outputs, self.kept, self.labels)
        sentence, arrays = labels_module.describe(self.axes), self.kept.arrays(self.labels)
        self.store.open(Description(call, told.text, sentence, told.arrays, arrays, self.layout.chunks.size))

    def done(self, number: int) -> int:
        """How many chunks of a share are in the store, whole."""
        if self.store is None or not (mark := self.store.marks[number]).done:
            return 0
        try:
            self._read(self.layout.share(number), mark)
        except LostData as error:
            self.lost.append(str(error))
            self.lost_chunks += mark.done
            self.store.marks[number] = NO_MARK
            return 0
        return mark.done

    def _read(self, share: Share, mark: Mark) -> Any:
        """The data of a share, up to its mark. Raises LostData if they are not those that were put."""
        assert self.store is not None
        data = self.kept.read(self.store, share, mark.slot)
        if not mark.speaks_of(self.kept.sealed(data, self.points(share.number, mark.done))):
            raise self.store.differs(*self.kept.objects(share, mark.slot))
        return data

    def points(self, number: int, done: int) -> int:
        """In the first chunks of a share."""
        if not done:
            return 0
        share = self.layout.share(number)
        last = self.layout.chunk(share.chunks[done - 1])
        return last.start + last.count - share.start

    def take(self, share: Share, chunk: Chunk, leaves: list[jax.Array]) -> None:
        """A finished chunk of a share, the next one: an array for each output, of the chunk's points and more."""
        if self._open is None or self._open.share.number != share.number:
            self._open = self._begin(share)
        here = self._open
        here.whole = False
        failed, first = _bad(self.kept.add(here.data, share, chunk, leaves))
        here.failed += failed
        here.first += [chunk.start - share.start + place for place in first][: LISTED - len(here.first)]
        here.done += 1
        here.whole = True
        if here.done == len(share.chunks):
            self._put(here)
            self._open = None
        elif time.monotonic() - self._last > max(RARELY, PART * self._took):
            self._put(here)

    def _begin(self, share: Share) -> _Open:
        mark = NO_MARK if self.store is None else self.store.marks[share.number]
        data = self._read(share, mark) if mark.done else self.kept.empty(share)
        return _Open(share, data, mark)

    def _put(self, here: _Open) -> None:
        """Put the data of a share, then its mark."""
        share, data = here.share, here.data
        if self.store is None:
            self.marks[share.number] = Mark(here.done, 0, 0, 0, here.failed, tuple(here.first))
            if isinstance(self.kept, States):
                self.kept.add_to_total(self._data, data, share)
            else:
                self._data = data
            return
        started = time.monotonic()
        slot = 1 - here.slot if isinstance(self.kept, States) else 0
        self.kept.write(self.store, data, share, slot)
        sealed = self.kept.sealed(data, self.points(share.number, here.done))
        self.store.mark(share.number, Mark(here.done, *seal(sealed), slot, here.failed, tuple(here.first)))
        here.slot, here.put = slot, here.done
        self._last = time.monotonic()
        self._took = self._last - started

    def keep(self) -> None:
        """Put what is finished of a share, when the rest will not be computed now."""
        here = self._open
        if self.store is not None and here is not None and here.whole and here.put < here.done:
            self._put(here)

    def result(self, computed: int, seconds: float) -> Sweep:
        """After the last chunk of all that belong together."""
        if self.store is not None:
            self.store.look_through()
            self._say_what_was_mended()
        marks = self.store.marks if self.store is not None else [self.marks[i] for i in sorted(self.marks)]
        failed = sum(mark.failed for mark in marks)
        failures = self._failures(marks)
        counts = (failed, failures, computed, seconds)
        if self.store is not None and self._left(marks):
            read = partial(self._refuse_unfinished, marks)
            return Sweep(self.axes, self.axes.names, read, *counts, self.labels, in_memory=False)
        if self.store is not None and jax.process_index() == 0:
            self.store.note_failed(failed)
        if isinstance(self.kept, States):
            return self._statistics(self.kept, marks, counts)
        values = partial(self._values, marks)
        return Sweep(self.axes, self.axes.names, values, *counts, self.labels, in_memory=self.store is None)

    def _failures(self, marks: list[Mark]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for number, mark in enumerate(marks):
            if len(found) < LISTED and mark.first:
                start = self.layout.share(number).start
                found += [self.axes.coordinates(start + place) for place in mark.first[: LISTED - len(found)]]
        return found

    def _left(self, marks: list[Mark]) -> int:
        """Chunks that are not finished."""
        return sum(len(self.layout.chunks.entries(i)) - mark.done for i, mark in enumerate(marks))

    def merged(self) -> Sweep:
        """The result of what is in the store. ValueError unless all of it is."""
        assert self.store is not None
        self._refuse_unfinished(self.store.marks)
        return self.result(0, 0.0)

    def _refuse_unfinished(self, marks: list[Mark]) -> Any:
        if self.store is not None and (left := self._left(marks)):
            raise ValueError(
                f"store = {self.store.name!r} lacks {left:,} of {self.layout.points.size:,} chunks, which other shards "
                "compute; when they have, ji.merge_shards(store), or the same call without shard=, gives the whole"
            )

    def _values(self, marks: list[Mark]) -> tuple[Any, dict[str, np.ndarray]]:
        """All values of all outputs. ValueError if the store lost some."""
        names = list(self.outputs.shapes)
        if self.store is None:
            shaped = [array.reshape(*self.axes.shape, *array.shape[1:]) for array in self._data]
            return self.outputs.assemble(shaped), dict(zip(names, shaped, strict=True))
        try:
            try:
                arrays = [self.store.whole(name) for name in names]
            except Exception:  # which share is it?
                for number, mark in enumerate(marks):
                    self._read(self.layout.share(number), mark)
                raise
            for number, mark in enumerate(marks):
                share = self.layout.share(number)
                here = [array[share.place] for array in arrays]
                for name, array in zip(names, here, strict=True):
                    self.store.check(name, share.place, array)
                if not mark.speaks_of(here):
                    raise self.store.differs(names, share.place)
        except LostData as error:
            raise self.store.broken(error) from error
        return self.outputs.assemble(arrays), dict(zip(names, arrays, strict=True))

    def _statistics(self, kept: States, marks: list[Mark], counts: tuple[int, Any, int, float]) -> Sweep:
        """All shares in their order, merged and finished."""
        total = self._data
        if self.store is not None:
            try:
                for number, mark in enumerate(marks):
                    share = self.layout.share(number)
                    kept.add_to_total(total, self._read(share, mark), share)
            except LostData as error:
                raise self.store.broken(error) from error
        values, named, attributes, over = {}, {}, {}, {}
        for i, statistic in enumerate(kept.statistics):
            arrays = [statistic.finish(states[i]) for states in total]
            values[statistic.name] = self.outputs.assemble(arrays)
            for name, array in zip(self.outputs.shapes, arrays, strict=True):
                called = of_statistic(name, statistic.name)
                named[called] = array
                attributes[called] = labels_module.of_statistic(self.labels, name, statistic.name, statistic.power)
                if name in self.outputs.timed:
                    over[called] = self.outputs.timed[name]
        dimensions = tuple(self.axes.names[i] for i in kept.kept)
        shapes = {name: array.shape[len(dimensions) :] for name, array in named.items()}
        labels = labels_module.label(self.axes, dimensions, shapes, over, attributes)
        return Sweep(self.axes, dimensions, lambda: (values, named), *counts, labels)

    def _say_what_was_mended(self) -> None:
        """In a warning: a disk that lost one file may lose others."""
        assert self.store is not None
        mended = list(self.store.repaired)
        if self.lost:
            more = f", and {len(self.lost) - 1} more" if len(self.lost) > 1 else ""
            mended.append(
                f"{self.lost_chunks} of {self.layout.points.size} chunks, computed again ({self.lost[0]}{more})"
            )
        if mended:
            warnings.warn(f"store = {self.store.name!r} was missing {'; '.join(mended)}", stacklevel=4)


def collector(
    axes: Axes, outputs: Outputs, layout: Plan, reduce: Any, objects: Objects | None, flush: bool
) -> Collector:
    """What the arguments of `sweep` ask for."""
    store = None if objects is None else Store(objects, flush)
    if store is not None:
        labels_module.check_storable(outputs.shapes)
    if reduce is None:
        if store is not None:
            axes.check_distinct(outputs.shapes)
        return Collector(axes, outputs, every_point(outputs, axes, layout, store is not None), store)
    over, statistics = _parse_reduce(axes, reduce)
    for name, output in outputs.shapes.items():
        if np.issubdtype(output.dtype, np.complexfloating):
            raise ValueError(f"fn returns complex numbers ({name}), which reduce cannot order; return real ones")
    called = [of_statistic(name, statistic.name) for statistic in statistics for name in outputs.shapes]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ValueError(f"fn's outputs and the statistics make {twice} twice; rename an output or a statistic")
    return Collector(axes, outputs, statistics_of(outputs, axes, layout, over, statistics), store)


def _parse_reduce(axes: Axes, reduce: Any) -> tuple[tuple[int, ...], tuple[reductions.Statistic, ...]]:
    if not isinstance(reduce, Mapping) or len(reduce) != 1:
        raise ValueError(
            f"reduce = {shown(reduce)} must be a dict of one entry such as {{'seed': ('mean', 'variance')}}"
        )
    ((names, statistics),) = reduce.items()
    names = names if isinstance(names, tuple) else (names,)
    if len(set(names)) < len(names):
        raise ValueError(f"reduce names the axes {list(names)}, one of them twice; name each once")
    unknown = [name for name in names if name not in axes.names]
    if unknown:
        raise ValueError(f"reduce names the axes {unknown}, the sweep has {list(axes.names)}")
    return tuple(axes.names.index(name) for name in names), reductions.parse(statistics)


def of_statistic(output: str, statistic: str) -> str:
    """What a statistic of an output is called."""
    return statistic if output == "value" else f"{output}.{statistic}"


def _bad(leaves: list[np.ndarray]) -> tuple[int, list[int]]:
    """How many points have an output that is not finite, and the places of the first few; from outputs with such."""
    if not leaves:
        return 0, []
    bad = ~np.all([np.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in leaves], axis=0)
    return int(bad.sum()), np.flatnonzero(bad)[:LISTED].tolist()
