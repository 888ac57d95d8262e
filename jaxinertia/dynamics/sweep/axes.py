"""The axes of a sweep, and the point that a global index names: C order, last axis fastest."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from ..._checks import check_unmasked
from ..._shown import shown
from .chunks import unravel


@dataclass(frozen=True)
class Progression:
    """Equally spaced whole numbers, which take no memory before they are asked for: start + step * i, i < size."""

    first: int
    step: int
    size: int
    dtype: np.dtype

    def __len__(self) -> int:
        return self.size

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def ndim(self) -> int:
        return 1

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            numbers = range(self.size)[place]
            return (self.first + self.step * np.arange(numbers.start, numbers.stop, numbers.step)).astype(self.dtype)
        return self.dtype.type(self.first + self.step * int(place))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        del copy  # always made anew
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)


class Axis(NamedTuple):
    """One dimension: a parameter, or several that go together (zipped)."""

    name: str
    values: dict[str, np.ndarray | Progression]  # parameter -> values, all of one leading length

    @property
    def size(self) -> int:
        return len(next(iter(self.values.values())))


class Axes(NamedTuple):
    """The product of axes."""

    axes: tuple[Axis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters, whole."""
        return {name: np.asarray(x) for axis in self.axes for name, x in axis.values.items()}

    def within(self, place: tuple[slice, ...], box: tuple[int, ...]) -> dict[str, np.ndarray]:
        """The parameters in a box of the product; at the edge the last ones are repeated, up to a full box."""
        found = {}
        for axis, at, length in zip(self.axes, place, box, strict=True):
            for name, x in axis.values.items():
                here = np.asarray(x[at])
                missing = length - len(here)
                found[name] = np.concatenate([here, np.repeat(here[-1:], missing, axis=0)]) if missing else here
        return found

    def check_distinct(self, outputs: Iterable[str]) -> None:
        """ValueError if an output is called as a parameter is: a labelled dataset has room for one of them."""
        taken = {*self.names, *(name for axis in self.axes for name in axis.values)}
        if clashing := sorted(taken & set(outputs)):
            raise ValueError(f"fn returns outputs called {clashing}, as axes are; rename them to label or store them")

    def coordinates(self, index: int) -> dict[str, Any]:
        """The same on the host, for reports."""
        places = unravel(index, self.shape)
        return {
            name: np.asarray(x[place]).tolist()
            for axis, place in zip(self.axes, places, strict=True)
            for name, x in axis.values.items()
        }


def parse(axes: Mapping[Any, Any]) -> Axes:
    """Axes from `{"gamma": gammas, ("q0", "p0"): (q0s, p0s)}`.

    Raises ValueError for no axes, an empty axis, a name used twice, or zipped arrays of different lengths.
    """
    if not isinstance(axes, Mapping) or not axes:
        raise ValueError(f"axes = {shown(axes)} must be a dict such as {{'gamma': gammas}} with at least one axis")
    parsed = tuple(_axis(key, value) for key, value in axes.items())
    names = [name for axis in parsed for name in axis.values]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"axes name {sorted(twice)} twice; each parameter belongs to one axis")
    dimensions = [axis.name for axis in parsed]
    for i, axis in enumerate(parsed):
        others = {*dimensions[:i], *(name for j, other in enumerate(parsed) if j != i for name in other.values)}
        if axis.name in others:
            raise ValueError(f"axes make {axis.name!r} twice: a zipped axis is called by its names joined; rename one")
    return Axes(parsed)


def _axis(key: Any, value: Any) -> Axis:
    names = key if isinstance(key, tuple) else (key,)
    arrays = value if isinstance(key, tuple) else (value,)
    if not all(isinstance(name, str) and all(map(str.isidentifier, name.split("."))) for name in names):
        raise ValueError(f"axes has the key {key!r}; use parameter names of fn, or a tuple of them to zip")
    if not isinstance(arrays, (tuple, list)) or len(arrays) != len(names):
        raise ValueError(f"axes[{key!r}] zips {len(names)} parameters and needs a tuple of as many arrays")
    values = {name: _values(name, array) for name, array in zip(names, arrays, strict=True)}
    lengths = {name: len(array) for name, array in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"axes[{key!r}] zips arrays of different lengths {lengths}; make them equal")
    return Axis("_".join(names), values)


def _values(name: str, array: Any) -> np.ndarray | Progression:
    if isinstance(array, range) and array:
        values: Any = Progression(array.start, array.step, len(array), np.dtype(int))
        return _of_32_bits(name, values, min(array[0], array[-1]), max(array[0], array[-1]))
    check_unmasked(f"axes[{name!r}]", array)
    try:
        values = np.asarray(array)
    except TypeError as error:
        raise ValueError(f"axes[{name!r}] must be numbers, not {type(array).__name__}: {error}") from error
    except ValueError as error:
        raise ValueError(f"axes[{name!r}] = {array!r} has rows of different lengths; make them equal") from error
    if values.ndim == 0 or len(values) == 0 or values.dtype.kind not in "biufc":
        raise ValueError(f"axes[{name!r}] = {array!r} must be numbers, with at least one entry along the first axis")
    if values.dtype.kind not in "iu" or values.size == 0:
        return values
    return _of_32_bits(name, _progression(values) or values, int(values.min()), int(values.max()))


def _of_32_bits(name: str, values: Any, least: int, most: int) -> Any:
    """The values; ValueError if JAX's whole numbers are too short for them."""
    known = np.iinfo(jax.dtypes.canonicalize_dtype(values.dtype))
    if least < known.min or most > known.max:
        raise ValueError(f"axes[{name!r}] has whole numbers beyond {known.bits} bits; enable x64, or pass floats")
    return values


def _progression(values: np.ndarray) -> Progression | None:
    """The same whole numbers as a progression, if they are one: np.arange(n) is then known by three numbers."""
    if values.ndim != 1 or len(values) < 2:
        return None
    first, step = int(values[0]), int(values[1]) - int(values[0])
    found = Progression(first, step, len(values), values.dtype)
    pieces = range(0, len(values), 2**16)
    known, last = np.iinfo(values.dtype), first + step * (len(values) - 1)
    fits = known.min <= last <= known.max and abs(last) < 2**63  # none that has gone round
    return found if fits and all(np.array_equal(found[i : i + 2**16], values[i : i + 2**16]) for i in pieces) else None
