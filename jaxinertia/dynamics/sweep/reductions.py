"""Statistics over axes of a sweep that is too large to keep: updated chunk by chunk, and merged between processes.

Each keeps a state per cell (a point of the axes that remain, and an entry of the output) in NumPy arrays. Points that
are not finite are left out, and `count` says how many were kept.
"""

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._names import offered
from ..._shown import shown
from .contents import Contents

__all__ = ["Histogram", "Quantiles"]


def __dir__() -> list[str]:
    return offered(globals())


State = dict[str, np.ndarray]


class Statistic(abc.ABC):
    """A mergeable summary of many values per cell."""

    name: str

    @property
    def power(self) -> int:
        """Of the values' unit, in the statistic's: 0 for counts."""
        return 0

    @abc.abstractmethod
    def empty(self, cells: tuple[int, ...]) -> State:
        """The state of no values."""

    @abc.abstractmethod
    def of(self, values: np.ndarray) -> State:
        """The state of some values: shape (values, *cells)."""

    @abc.abstractmethod
    def merge(self, a: State, b: State) -> State:
        """The state of both."""

    @abc.abstractmethod
    def finish(self, state: State) -> np.ndarray:
        """What the user asked for."""


@dataclass(frozen=True)
class Moments(Statistic):
    """Mean or variance (ddof 1), by Welford's update in its merging form: exact to rounding.

    Source: T. F. Chan, G. H. Golub, R. J. LeVeque, The American Statistician 37, 242 (1983).
    """

    name: str = "mean"

    @property
    def power(self):
        return {"count": 0, "mean": 1}.get(self.name, 2)

    def empty(self, cells):
        return {key: np.zeros(cells) for key in ("count", "mean", "squares")}

    def of(self, values):
        good = np.isfinite(values)
        count = good.sum(0).astype(float)
        mean = np.where(good, values, 0.0).sum(0, dtype=float) / np.maximum(count, 1)
        squares = np.where(good, values - mean, 0.0)
        return {"count": count, "mean": mean, "squares": (squares**2).sum(0)}

    def merge(self, a, b):
        count = a["count"] + b["count"]
        share = b["count"] / np.maximum(count, 1)
        step = b["mean"] - a["mean"]
        return {
            "count": count,
            "mean": a["mean"] + step * share,
            "squares": a["squares"] + b["squares"] + step**2 * a["count"] * share,
        }

    def finish(self, state):
        if self.name == "count":
            return state["count"]
        needed = 1 if self.name == "mean" else 2
        value = state["mean"] if self.name == "mean" else state["squares"] / np.maximum(state["count"] - 1, 1)
        return np.where(state["count"] >= needed, value, np.nan)


@dataclass(frozen=True)
class Histogram(Statistic):
    """Counts between edges, shape (*cells, len(edges) - 1); what falls outside is left out.

    Arguments:
        edges: increasing numbers, at least two, in the unit of the output.
        name: the word that it goes by in `Sweep.values`.

    Raises:
        ValueError: if the edges do not increase.

    Example:
        >>> ji.sweep(final, {"seed": range(10_000)}, reduce={"seed": (ji.reductions.Histogram(np.linspace(0, 1, 51)),)})
    """

    edges: tuple[float, ...]
    name: str = "histogram"

    def __post_init__(self):
        edges = np.asarray(self.edges, float)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise ValueError(
                f"edges = {shown(self.edges)} must increase, with at least two; e.g. np.linspace(0, 1, 51)"
            )
        object.__setattr__(self, "edges", tuple(edges.tolist()))

    def empty(self, cells):
        return {"counts": np.zeros((*cells, len(self.edges) - 1), np.int64)}

    def of(self, values):
        places = np.searchsorted(np.asarray(self.edges), values, side="right") - 1
        places = np.where(values == self.edges[-1], len(self.edges) - 2, places)
        return {"counts": _count(places, np.isfinite(values), len(self.edges) - 1)}

    def merge(self, a, b):
        return {"counts": a["counts"] + b["counts"]}

    def finish(self, state):
        return state["counts"]


@dataclass(frozen=True)
class Quantiles(Statistic):
    """Quantiles to a relative error, from counts in logarithmic bins; shape (*cells, len(probabilities)).

    Arguments:
        probabilities: numbers, each in [0, 1].
        relative_error: of the answer, a number in (0, 1), for magnitudes between `smallest` and `largest`.
        smallest, largest: numbers, in the unit of the output: smaller magnitudes count as zero, larger as infinite.
        name: the word that it goes by in `Sweep.values`; two sketches in one sweep need two names.

    Raises:
        ValueError: for a probability outside [0, 1], a relative error outside (0, 1), or a `smallest` not below
            `largest`.

    Example:
        >>> ji.sweep(final, {"seed": range(10_000)}, reduce={"seed": ji.reductions.Quantiles((0.05, 0.5, 0.95))})

    Source: C. Masson, J. E. Rim, H. K. Lee, DDSketch, PVLDB 12, 2195 (2019).
    """

    probabilities: tuple[float, ...]
    relative_error: float = 0.01
    smallest: float = 1e-9
    largest: float = 1e9
    name: str = "quantiles"

    def __post_init__(self):
        object.__setattr__(self, "probabilities", tuple(np.atleast_1d(self.probabilities).astype(float).tolist()))
        if not all(0 <= p <= 1 for p in self.probabilities):
            raise ValueError(f"probabilities = {shown(self.probabilities)} must lie in [0, 1]")
        if not 0 < self.relative_error < 1:
            raise ValueError(f"relative_error = {self.relative_error!r} must lie between 0 and 1")
        if not 0 < self.smallest < self.largest < np.inf:
            raise ValueError(f"smallest = {self.smallest!r} must be above 0 and below largest = {self.largest!r}")

    @property
    def power(self):
        return 1

    @property
    def _growth(self) -> float:
        return float(np.log((1 + self.relative_error) / (1 - self.relative_error)))

    @property
    def _bins(self) -> int:
        """Bins for one sign, the last of them for what is beyond `largest`; the row is negative, zero, positive."""
        return int(np.ceil(np.log(self.largest / self.smallest) / self._growth)) + 1

    def empty(self, cells):
        return {"counts": np.zeros((*cells, 2 * self._bins + 1), np.int64)}

    def of(self, values):
        size = np.abs(values)
        tiny = ~(size > self.smallest)
        level = np.ceil(np.log(np.where(tiny, self.smallest, size) / self.smallest) / self._growth)
        level = np.where(size > self.largest, self._bins, np.clip(level, 1, self._bins - 1)).astype(int)
        places = self._bins + np.where(tiny, 0, np.where(values < 0, -level, level))
        return {"counts": _count(places, np.isfinite(values), 2 * self._bins + 1)}

    def merge(self, a, b):
        return {"counts": a["counts"] + b["counts"]}

    def finish(self, state):
        counts = state["counts"]
        total = counts.sum(-1)
        reached = np.cumsum(counts, axis=-1)
        answers = []
        for p in self.probabilities:
            rank = np.floor(p * np.maximum(total - 1, 0)).astype(np.int64)
            place = np.argmax(reached > rank[..., None], axis=-1)
            answers.append(np.where(total > 0, self._value(place), np.nan))
        return np.stack(answers, axis=-1)

    def _value(self, place):
        level = place - self._bins
        # The middle of a bin in the sense of relative error.
        middle = self.smallest * np.exp(self._growth * np.abs(level)) * (1 - self.relative_error)
        return np.sign(level) * np.where(np.abs(level) == self._bins, np.inf, middle)


def described(statistic: Statistic) -> str:
    """A statistic with all its settings, as a text that no other one has."""
    if type(statistic) is Moments:
        return statistic.name
    settings = [f"{name}={value!r}" for name, value in vars(statistic).items() if name != "name"]
    told = [text if len(text) < 60 else f"{text[:57]}..." for text in settings]
    return f"{statistic.name} ({', '.join([*told, 'digest ' + Contents(statistic, deep=True).objects])})"


def told(statistic: Statistic) -> dict[str, Any]:
    """A statistic in JSON's types: one of this module whole, one of the user's own by its name alone."""
    for kind in (Moments, Histogram, Quantiles):
        if type(statistic) is kind:
            return {"kind": kind.__name__} | vars(statistic)
    return {"name": statistic.name}


def untold(what: dict[str, Any]) -> Statistic | None:
    """The statistic that `told` told of; None for one of the user's own."""
    settings: dict[str, Any] = {
        name: tuple(x) if isinstance(x, list) else x for name, x in what.items() if name != "kind"
    }
    for kind in (Moments, Histogram, Quantiles):
        if what.get("kind") == kind.__name__:
            return kind(**settings)
    return None


def _count(places: np.ndarray, good: np.ndarray, bins: int) -> np.ndarray:
    """How many of values (values, *cells) fall into each bin: shape (*cells, bins)."""
    cells = places.shape[1:]
    inside = good & (places >= 0) & (places < bins)
    cell = np.broadcast_to(np.arange(int(np.prod(cells, dtype=int))).reshape(cells), places.shape)
    flat = (cell * bins + places)[inside]
    return np.bincount(flat, minlength=int(np.prod(cells, dtype=int)) * bins).reshape(*cells, bins)


def parse(statistics) -> tuple[Statistic, ...]:
    """Statistics from names and objects; ValueError for an unknown one."""
    if isinstance(statistics, (str, Statistic)):
        statistics = (statistics,)
    parsed = tuple(Moments(s) if s in ("mean", "variance", "count") else s for s in statistics)
    for statistic in parsed:
        if not isinstance(statistic, Statistic):
            raise ValueError(
                f"reduce has the statistic {shown(statistic)}; use 'mean', 'variance', 'count', "
                "ji.reductions.Histogram(edges) or ji.reductions.Quantiles(probabilities)"
            )
    names = [statistic.name for statistic in parsed]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"reduce has the statistics {names}; give at least one, each with a name= of its own")
    return parsed
