"""How the points are cut: chunks that are boxes of the product, contiguous in C order."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MEMORY = 2**28  # bytes of output that one chunk may take
LARGEST = 2**17  # points: small enough that progress shows and a crash costs little
MOST = 10**7  # chunks: each is kept track of
BLOCK = 512  # points that a CPU works on at a time: their state fits its first cache


@dataclass(frozen=True)
class Chunk:
    """Points start .. start + count - 1, which fill the box `place` of the product."""

    start: int
    count: int
    place: tuple[slice, ...]


class Plan(NamedTuple):
    """All chunks, each computed as `width` points, of which those beyond `count` are dropped."""

    chunks: tuple[Chunk, ...]
    box: tuple[int, ...]  # the shape of a full chunk
    width: int
    block: int  # points mapped at a time on one device


def plan(shape: tuple[int, ...], chunk_size: int | None, bytes_per_point: int, devices: int, cpu: bool) -> Plan:
    """Cut a product of this shape.

    A box takes whole trailing axes while they fit, then as even a part of one axis as it can, then single entries.
    Raises ValueError for more chunks than can be kept track of.
    """
    if chunk_size is None:
        chunk_size = int(np.clip(MEMORY // max(bytes_per_point, 1), 1, LARGEST))
    box, room = [1] * len(shape), chunk_size
    for axis in reversed(range(len(shape))):
        if room <= 1:
            break
        parts = -(-shape[axis] // room)
        box[axis] = -(-shape[axis] // parts)
        room = room // shape[axis] if parts == 1 else 1
    counts = [-(-n // b) for n, b in zip(shape, box, strict=True)]
    if math.prod(counts) > MOST:
        raise ValueError(
            f"chunk_size = {chunk_size} cuts the sweep into {math.prod(counts):,} chunks; take a larger one"
        )
    chunks = tuple(_chunk(shape, box, number) for number in np.ndindex(*counts))
    share = -(-int(np.prod(box)) // devices)
    block = min(BLOCK, share) if cpu else share
    share = -(-share // block) * block
    return Plan(chunks, tuple(box), share * devices, block)


def _chunk(shape, box, number) -> Chunk:
    low = [i * b for i, b in zip(number, box, strict=True)]
    high = [min(a + b, n) for a, b, n in zip(low, box, shape, strict=True)]
    place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    count = int(np.prod([b - a for a, b in zip(low, high, strict=True)]))
    return Chunk(int(np.ravel_multi_index(low, shape)), count, place)
