"""Which arrays are quantities of a trajectory, and at which times: noted by who makes them, for who labels them."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np


class Origin(NamedTuple):
    """One array over the times of a trajectory."""

    array: Any
    quantity: str  # such as "kinetic"
    ts: np.ndarray | None  # the times, where they are known


_seen: ContextVar[list[Origin] | None] = ContextVar("seen", default=None)


@contextmanager
def watched() -> Iterator[list[Origin]]:
    """Inside, the list has what was noted so far."""
    seen: list[Origin] = []
    token = _seen.set(seen)
    try:
        yield seen
    finally:
        _seen.reset(token)


def note(array: Any, quantity: str, ts: np.ndarray | None) -> None:
    """That this array is this quantity at these times."""
    seen = _seen.get()
    if seen is not None:
        seen.append(Origin(array, quantity, ts))


_sums: dict[int, tuple[Any, Any]] = {}  # by the id of the first part, while that lives: the other, and the sum


def note_sum(first: Any, other: Any, total: Any) -> None:
    """That first + other is this, computed before: inside a program, who reads it alone has not both of them stored."""
    _sums[id(first)] = (weakref.ref(other), total)
    weakref.finalize(first, _sums.pop, id(first), None)


def known_sum(first: Any, other: Any) -> Any:
    """What was noted of these very arrays, or None."""
    its, total = _sums.get(id(first), (lambda: None, None))
    return total if its() is other else None


def derived(result: Any, quantity: str, source: Any) -> Any:
    """The result, noted as a quantity at the times of its source."""
    seen = _seen.get()
    if seen is not None and (known := find(seen, source)) is not None:
        note(result, quantity, known.ts)
    return result


def find(seen: list[Origin], array: Any, name: str = "") -> Origin | None:
    """What was noted of this very array; of one that stands for several quantities (zeros), that of this name, or "".

    None too where it stands at different times.
    """
    known = [origin for origin in seen if origin.array is array]
    if not known or not all(same(origin.ts, known[0].ts) for origin in known):
        return None
    quantities = {origin.quantity for origin in known}
    if len(quantities) == 1:
        return known[0]
    return known[0]._replace(quantity=name if name in quantities else "")


def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Whether these are equal times."""
    return a is b or (a is not None and b is not None and np.array_equal(a, b))
