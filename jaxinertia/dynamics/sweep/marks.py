"""Marks: what a store says of each share, put after its data.

A mark that speaks of other data than are there (a run killed between the two, a broken disk) is seen by length and
checksum. It counts failures too, so that nobody must read the data to know them. A broken mark is as good as none.
"""

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

LISTED = 5  # failures named in the report
# What codecs raise for bytes that they cannot read. All else is the store's: it may be well again, its data whole.
BROKEN = (ValueError, RuntimeError, TypeError, IndexError, EOFError)
WIDTH = 5 + LISTED


class Mark(NamedTuple):
    """Of one share. Its data may be in one of two slots: the one before stays, until the new mark is put."""

    done: int  # chunks, from the first
    length: int  # of their data, in bytes
    checksum: int
    slot: int = 0
    failed: int = 0  # points with an output that is not finite
    first: tuple[int, ...] = ()  # of them, counted from the share's start

    def row(self) -> np.ndarray:
        first = [place + 1 for place in self.first[:LISTED]]  # 0 is none, as in a mark that was never put
        return np.array([*self[:5], *first, *[0] * (LISTED - len(first))], np.uint64)

    @classmethod
    def of(cls, row: np.ndarray) -> "Mark":
        numbers = [int(x) for x in row]
        done, length, checksum, slot, failed = numbers[:5]
        return cls(done, length, checksum, slot, failed, tuple(x - 1 for x in numbers[5:] if x))

    def speaks_of(self, arrays: Iterable[np.ndarray]) -> bool:
        """Whether these are the data that were there when the mark was put."""
        return (self.length, self.checksum) == seal(arrays)


NO_MARK = Mark(0, 0, 0)


def seal(arrays: Iterable[np.ndarray]) -> tuple[int, int]:
    """Length in bytes and CRC-32 of arrays, one after the other."""
    length = checksum = 0
    for array in arrays:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        length, checksum = length + len(data), zlib.crc32(data.data, checksum)
    return length, checksum


def read_all(array: Any) -> list[Mark]:
    """The marks in an array of a store: at once, or one by one if any is broken."""
    try:
        rows = np.asarray(array[...])
    except BROKEN:
        return [read(array, number) for number in range(array.shape[0])]
    return [Mark.of(row) for row in rows]


def read(array: Any, number: int) -> Mark:
    try:
        return Mark.of(np.asarray(array[number]))
    except BROKEN:  # or cut short by a crash
        return NO_MARK
