"""Whether a loop is to run as a kernel: what was asked for, and what is known of the machine where it is traced."""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

_explaining = ContextVar("explaining", default=False)


class Wish(enum.Enum):
    """What is to become of a loop that is lowered for CUDA."""

    NEVER = enum.auto()
    POSSIBLY = enum.auto()  # if it can; but there is no GPU in sight, and it is traced for CPUs
    EXPECTED = enum.auto()  # if it can
    MUST = enum.auto()

    @property
    def prepared(self) -> bool:
        """Whether it is traced as suits a kernel."""
        return self in (Wish.EXPECTED, Wish.MUST)

    def __repr__(self) -> str:
        return "lowered"  # a program's text tells sweeps apart, and this is not part of what they compute


def wish(kernel: bool | None) -> Wish:
    """Of a solver's `kernel=`."""
    if kernel is not None:
        return Wish.MUST if kernel else Wish.NEVER
    in_sight = _explaining.get() or jax.default_backend() == "gpu"
    return Wish.EXPECTED if in_sight else Wish.POSSIBLY


@contextmanager
def explaining() -> Iterator[None]:
    """Trace as if there were a GPU."""
    token = _explaining.set(True)
    try:
        yield
    finally:
        _explaining.reset(token)
