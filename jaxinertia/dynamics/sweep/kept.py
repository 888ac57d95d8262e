"""What is kept of a share: the values of its points, or the states of statistics over some axes."""

import abc
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import reductions
from .axes import Axes
from .chunks import Chunk, Plan, Share
from .labels import HIDDEN, Labels
from .program import Outputs
from .store import Array, Store, unfinished

FILES = 2**10  # shares that a sweep of many small chunks is kept in: an object, and a mark, for each
SHARE = 2**26  # bytes that several chunks kept together may have
MOST = 10**6  # shares in a store: the mark of each is read when it is opened
STATES = 2**29  # bytes that the states of all shares may have, before there are fewer shares
STATES_OF = f"{HIDDEN}/states"  # the array that holds them
PIECE = 2**18  # bytes copied at a time
SPREAD = (256, 128, 64, 32)  # shares of a sweep of statistics: among so many processes its work can be spread


class Kept(abc.ABC):
    """Makes, fills, writes and reads the data of a share. `layout` says which chunks a share has."""

    called: str  # in the fingerprint
    layout: Plan
    over: tuple[int, ...] | None = None  # the axes that statistics are over
    statistics: tuple[reductions.Statistic, ...] = ()

    @abc.abstractmethod
    def empty(self, share: Share) -> Any:
        """The data before the first chunk."""

    @abc.abstractmethod
    def add(self, data: Any, share: Share, chunk: Chunk, leaves: list[jax.Array]) -> list[np.ndarray]:
        """A finished chunk: one array for each output, of the chunk's points and more.

        Returns the outputs that are not all finite, cut to its points.
        """

    @abc.abstractmethod
    def sealed(self, data: Any, points: int) -> Iterator[np.ndarray]:
        """What the mark vouches for, of data whose first points are finished."""

    @abc.abstractmethod
    def arrays(self, labels: Labels) -> dict[str, Array]:
        """What a store needs for it."""

    @abc.abstractmethod
    def write(self, store: Store, data: Any, share: Share, slot: int) -> None:
        """Put the data."""

    @abc.abstractmethod
    def read(self, store: Store, share: Share, slot: int) -> Any:
        """What was put. Raises LostData if it cannot be read."""

    @abc.abstractmethod
    def objects(self, share: Share, slot: int) -> tuple[list[str], tuple[Any, ...]]:
        """The arrays that data are in, and where, for messages."""


def every_point(outputs: Outputs, axes: Axes, layout: Plan, stored: bool) -> "Values":
    """In memory in one share; in a store in so many that a share is soon full, and its objects are not too many."""
    width = sum(int(np.prod(x.shape)) * np.dtype(x.dtype).itemsize for x in outputs.shapes.values())
    chunk = max(width, 1) * len(layout.points.entries(0))
    together = min(-(-layout.points.size // FILES), SHARE // chunk) if stored else layout.points.size
    kept = Values(outputs, axes, layout.in_shares(together), stored)
    if stored and kept.layout.chunks.size > MOST:
        raise ValueError(
            f"axes have {axes.size:,} points, which a store would keep in {kept.layout.chunks.size:,} objects for each "
            "output, too many to look through: pass reduce=, or return less from fn"
        )
    return kept


def statistics_of(outputs: Outputs, axes: Axes, layout: Plan, over: tuple[int, ...], statistics: Any) -> "States":
    """In as many shares as their states allow, stored or not: the order of merging, and so the bits, are the same."""
    for shares in SPREAD:
        kept = States(outputs, axes, layout.in_shares(-(-layout.points.size // shares)), over, statistics)
        if kept.size <= STATES:
            break
    return kept


class Values(Kept):
    """Every point: for each output an array (points of the share, ...)."""

    called = "every point is kept"

    def __init__(self, outputs: Outputs, axes: Axes, layout: Plan, stored: bool):
        self.outputs, self.shape, self.layout, self.stored = outputs.shapes, axes.shape, layout, stored

    def empty(self, share):
        try:
            data = [np.empty((share.count, *x.shape), x.dtype) for x in self.outputs.values()]
        except (MemoryError, ValueError) as error:
            raise ValueError(
                f"axes have {share.count:,} points, whose outputs do not fit into memory: {error}; "
                "pass store= or reduce=, or return less from fn"
            ) from error
        if self.stored:  # it may be put before it is full
            for array in data:
                array[...] = unfinished(array.dtype)
        return data

    def add(self, data, share, chunk, leaves):
        start, bad = chunk.start - share.start, []
        for array, leaf in zip(data, leaves, strict=True):
            row, good = array[start : start + chunk.count], True
            for shard in leaf.addressable_shards:  # each to its place: whole, they would be copied twice
                at = shard.index[0].start or 0
                good &= _copy(np.asarray(shard.data)[: max(chunk.count - at, 0)], row[at:])
            bad += [] if good else [row]
        return bad

    def sealed(self, data, points):
        return (array[:points] for array in data)

    def arrays(self, labels):
        box = self.layout.share_box
        return {
            name: Array(
                self.shape + x.shape,
                box + tuple(max(n, 1) for n in x.shape),
                x.dtype,
                unfinished(x.dtype),
                labels.variables[name],
            )
            for name, x in self.outputs.items()
        }

    def write(self, store, data, share, slot):
        box = tuple(at.stop - at.start for at in share.place)
        for name, array in zip(self.outputs, data, strict=True):
            store.write(name, share.place, array.reshape(*box, *array.shape[1:]))

    def read(self, store, share, slot):
        return [store.read(name, share.place).reshape(share.count, *x.shape) for name, x in self.outputs.items()]

    def objects(self, share, slot):
        return list(self.outputs), share.place


class States(Kept):
    """Statistics over some axes: for each output and statistic a state over the cells that the share has points of.

    A cell is a point of the axes that remain, and an entry of the output.
    """

    def __init__(self, outputs: Outputs, axes: Axes, layout: Plan, over: tuple[int, ...], statistics: Any):
        self.outputs, self.statistics, self.over = outputs.shapes, statistics, over
        self.kept = tuple(i for i in range(len(axes.shape)) if i not in over)
        self.shape = tuple(axes.shape[i] for i in self.kept)
        self.called = (
            f"{', '.join(map(reductions.described, statistics))} over {', '.join(axes.names[i] for i in over)}"
        )
        self.layout = layout
        self.box = tuple(layout.share_box[i] for i in self.kept)

    @property
    def size(self) -> int:
        """Bytes of the states of all shares."""
        one = sum(x.nbytes for states in self._of(self.box) for state in states for x in state.values())
        return one * self.layout.chunks.size

    def _of(self, cells: tuple[int, ...]) -> list[list[reductions.State]]:
        return [[s.empty(cells + x.shape) for s in self.statistics] for x in self.outputs.values()]

    def empty(self, share):
        return self._of(self.box)

    def add(self, data, share, chunk, leaves):
        box = tuple(s.stop - s.start for s in chunk.place)
        starts = [share.place[i].start for i in self.kept]
        within = tuple(
            slice(chunk.place[i].start - a, chunk.place[i].stop - a) for i, a in zip(self.kept, starts, strict=True)
        )
        rows = [np.asarray(leaf)[: chunk.count] for leaf in leaves]
        for leaf, states in zip(rows, data, strict=True):
            values = leaf.reshape(*box, *leaf.shape[1:])
            values = np.moveaxis(values, self.over, tuple(range(len(self.over))))
            values = values.reshape(-1, *values.shape[len(self.over) :])
            for statistic, state in zip(self.statistics, states, strict=True):
                _merge_into(statistic, state, within, statistic.of(values))
        return [row for row in rows if not _finite(row)]

    def total(self) -> list[list[reductions.State]]:
        """The states of no values, over all cells."""
        return self._of(self.shape)

    def add_to_total(self, total: list[list[reductions.State]], data: Any, share: Share) -> None:
        """Merge a finished share; the shares must come in their order, for the same bits."""
        place = tuple(share.place[i] for i in self.kept)
        here = tuple(slice(0, at.stop - at.start) for at in place)
        for whole, states in zip(total, data, strict=True):
            for statistic, into, state in zip(self.statistics, whole, states, strict=True):
                _merge_into(statistic, into, place, {name: x[here] for name, x in state.items()})

    def sealed(self, data, points):
        return iter([_packed(data)])

    def arrays(self, labels):
        length = len(_packed(self._of(self.box)))
        return {STATES_OF: Array((self.layout.chunks.size, 2, length), (1, 1, length), np.dtype(np.uint8), 0)}

    def write(self, store, data, share, slot):
        store.write(STATES_OF, (share.number, slot), _packed(data))

    def read(self, store, share, slot):
        data, at = self._of(self.box), 0
        packed = store.read(STATES_OF, (share.number, slot)).tobytes()
        for state in (state for states in data for state in states):
            for name, x in state.items():
                state[name] = np.frombuffer(packed, x.dtype, x.size, at).reshape(x.shape).copy()
                at += x.nbytes
        return data

    def objects(self, share, slot):
        return [STATES_OF], (share.number, slot)


def _copy(rows: np.ndarray, to: np.ndarray) -> bool:
    """Copy to the first rows there; returns whether all are finite, asked of each piece while it is in the cache."""
    count = max(PIECE // max(rows[:1].nbytes, 1), 1)
    good = True
    for at in range(0, len(rows), count):
        piece = to[at : min(at + count, len(rows))]
        piece[...] = rows[at : at + count]
        good &= _finite(piece)
    return good


def _finite(x: np.ndarray) -> bool:
    """Of what a program has returned: there NaN stands for the infinite, and any NaN is the largest of all."""
    if not (jnp.issubdtype(x.dtype, np.inexact) and x.size):
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(x.max()))


def _packed(data: Any) -> np.ndarray:
    """All states of a share in one row of bytes: one object to put, however many outputs and statistics there are."""
    arrays = [x for states in data for state in states for x in state.values() if x.size]
    return np.concatenate([np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in arrays or [np.zeros(1, bool)]])


def _merge_into(statistic: reductions.Statistic, state: reductions.State, place: Any, new: reductions.State) -> None:
    here = {name: x[place] for name, x in state.items()}
    for name, x in statistic.merge(here, new).items():
        state[name][place] = x
