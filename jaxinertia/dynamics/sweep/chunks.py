"""How the points are cut: into chunks, computed at a time, and these into shares, kept at a time.

Both are boxes, contiguous in C order, and follow from the call alone: whoever computes a share, and after however many
kills, its chunks are the same and come in the same order. Nothing here grows with the number of points.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

MEMORY = 2**28  # bytes of output that one chunk may take
REUSED = 2**23  # bytes of output on a CPU: few chunks' memory serves all, so that less of it is taken anew and cleared
LARGEST = 2**17  # points: small enough that progress shows and a crash costs little
# Points that a CPU works on at a time. The loop of `simulate` makes blocks of its own, but fn may be anything: without
# these, all points at once hold what each computes on the way (rows of 500 numbers and their spectrum: three times as
# long, and 1.0 GB for 2^17 points), loops of the user's own leave the cache, and adaptive ones wait for the slowest.
BLOCK = 512
WIDEST = 2**30  # points of a chunk are counted in 32 bits


class Grid(NamedTuple):
    """A product of this shape, cut into boxes of one shape; those at the edge are smaller."""

    shape: tuple[int, ...]
    box: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Boxes along each axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.box, strict=True))

    @property
    def size(self) -> int:
        """How many boxes."""
        return math.prod(self.counts)

    def place(self, number: int) -> tuple[slice, ...]:
        """Where a box is; boxes are numbered in C order."""
        lows = [i * b for i, b in zip(unravel(number, self.counts), self.box, strict=True)]
        return tuple(slice(a, min(a + b, n)) for a, b, n in zip(lows, self.box, self.shape, strict=True))

    def entries(self, number: int) -> range:
        """The entries of a box, by their numbers in C order."""
        place = self.place(number)
        start = 0
        for at, n in zip(place, self.shape, strict=True):
            start = start * n + at.start
        return range(start, start + math.prod(at.stop - at.start for at in place))


@dataclass(frozen=True)
class Chunk:
    """Points start .. start + count - 1, which fill the box `place` of the product."""

    start: int
    count: int
    place: tuple[slice, ...]


@dataclass(frozen=True)
class Share:
    """Consecutive chunks, and the points in them."""

    number: int
    chunks: range
    start: int
    count: int
    place: tuple[slice, ...]


class Plan(NamedTuple):
    """All chunks, each computed as `width` points, of which those beyond its count are dropped, and all shares."""

    points: Grid  # cut into chunks
    chunks: Grid  # their counts along each axis, cut into shares
    width: int
    block: int  # points mapped at a time on one device

    def chunk(self, number: int) -> Chunk:
        points = self.points.entries(number)
        return Chunk(points.start, len(points), self.points.place(number))

    def share(self, number: int) -> Share:
        chunks = self.chunks.entries(number)
        sides = zip(self.chunks.place(number), self.points.box, self.points.shape, strict=True)
        place = tuple(slice(at.start * b, min(at.stop * b, n)) for at, b, n in sides)
        start = self.points.entries(chunks.start).start
        return Share(number, chunks, start, math.prod(at.stop - at.start for at in place), place)

    def in_shares(self, chunks: int) -> "Plan":
        """The same chunks, in shares of at most so many."""
        return self._replace(chunks=Grid(self.points.counts, cut(self.points.counts, max(chunks, 1))))

    @property
    def share_box(self) -> tuple[int, ...]:
        """The shape of a full share, in points."""
        sides = zip(self.chunks.box, self.points.box, self.points.shape, strict=True)
        return tuple(min(k * b, n) for k, b, n in sides)


def plan(shape: tuple[int, ...], chunk_size: int | None, bytes_per_point: int, devices: int, cpu: bool) -> Plan:
    """Cut a product of this shape into chunks; all of them in one share."""
    if chunk_size is None:
        room, reused = (max(size // max(bytes_per_point, 1), 1) for size in (MEMORY, REUSED))
        chunk_size = min(room, max(reused, BLOCK * devices) if cpu else room, LARGEST)
    points = Grid(shape, cut(shape, min(chunk_size, WIDEST)))
    share = -(-math.prod(points.box) // devices)
    block = min(BLOCK, share) if cpu else share
    share = -(-share // block) * block
    return Plan(points, Grid(points.counts, points.counts), share * devices, block)


def cut(shape: tuple[int, ...], most: int) -> tuple[int, ...]:
    """A box of at most so many entries: whole trailing axes while they fit, then as even a part of one axis as it can,
    then single entries."""
    box, room = [1] * len(shape), most
    for axis in reversed(range(len(shape))):
        if room <= 1:
            break
        parts = -(-shape[axis] // room)
        box[axis] = -(-shape[axis] // parts)
        room = room // shape[axis] if parts == 1 else 1
    return tuple(box)


def unravel(number: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The place of an entry in C order; of numbers of any size, where NumPy's has 64 bits."""
    places = []
    for n in reversed(shape):
        places.append(number % n)
        number //= n
    return tuple(reversed(places))
