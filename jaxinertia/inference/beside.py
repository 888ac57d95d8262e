"""What is fitted beside the parameters: each record's zero and its drift, the input's delay, the readings' errors."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from .parameters import Parameters


class Beside(NamedTuple):
    """What else u holds, in this order behind the parameters: offsets of `levels` channels, their trends, the input's
    delay beyond that of the records, and the logs of the readings' variances.

    Several records fitted as one have these, but for the delay, each for itself, one record after another; `of` says
    of which record each run is, and is empty where all are of one.
    """

    levels: int = 0
    offset: bool = False
    trend: bool = False
    delay: bool = False
    error: bool = False
    of: tuple[int, ...] = ()

    @property
    def records(self) -> int:
        """How many."""
        return 1 + max(self.of, default=0)

    @property
    def local(self) -> "Beside":
        """That of one run."""
        return self._replace(of=())

    def slices(self, first: int) -> tuple[slice, slice, slice, slice]:
        """Where each is."""
        n = self.levels * self.records
        ends = first + np.cumsum([0, n * self.offset, n * self.trend, int(self.delay), n * self.error])
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))  # type: ignore[return-value]

    def of_runs(self, first: int, runs: int) -> np.ndarray:
        """(runs, coordinates of one run): where they are in u."""
        of = np.array(self.of or (0,) * runs)
        own = of[:, None] * self.levels + np.arange(self.levels)
        offset, trend, delay, error = (np.arange(part.start, part.stop) for part in self.slices(first))
        shared = np.broadcast_to(delay, (runs, len(delay)))
        parts = [part[own] if len(part) else own[:, :0] for part in (offset, trend, error)]
        return np.concatenate([parts[0], parts[1], shared, parts[2]], axis=1)

    @property
    def size(self) -> int:
        """How many coordinates."""
        return self.levels * self.records * (self.offset + self.trend + self.error) + self.delay


def window_coordinates(parameters: Parameters, beside: Beside, windows: int) -> np.ndarray | None:
    """(windows, q): where in u the coordinates are that a window's run has, what is beside them too; None if all are
    every run's. Windows are those of one run after another, as many of each."""
    runs = max(parameters.runs, len(beside.of))
    if not parameters.own and beside.records == 1:
        return None
    shared = parameters.index
    index = np.broadcast_to(shared, (runs, shared.shape[1])) if len(shared) == 1 else shared
    index = np.concatenate([index, beside.of_runs(parameters.size, runs)], axis=1)
    return index[np.arange(windows) // max(windows // runs, 1)]


def level_of(u: Any, beside: Beside, first: int, offset: Any, window: Any) -> Float[Array | np.ndarray, "*m levels"]:
    """The offset, and its trend, at a window's times; what is not fitted as given. `u`: of one run; `first`: of u
    behind parameters."""
    offset_at, trend_at, *_ = beside.local.slices(first)
    level = u[offset_at] if beside.offset else offset
    if not beside.trend:
        return level
    return level + u[trend_at] * (window.since + window.ts)[:, None]


def moved_by(u: Any, beside: Beside, first: int, window: Any) -> Any:
    """The window with its input as much later as the coordinates say, to first order."""
    if not beside.delay:
        return window
    later = u[beside.local.slices(first)[2]]
    return replace(window, input=window.input - later * window.slope)
