"""The axes of a sweep, and the point that a global index names: C order, last axis fastest."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._types import Index


class Axis(NamedTuple):
    """One dimension: a parameter, or several that go together (zipped)."""

    name: str
    values: dict[str, np.ndarray]  # parameter -> values, all of one leading length

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

    def arrays(self) -> dict[str, Array]:
        """All parameters, as device arrays."""
        return {name: jnp.asarray(x) for axis in self.axes for name, x in axis.values.items()}

    def point(self, arrays: dict[str, Array], index: Index) -> dict[str, Array]:
        """The parameters of the point with this global index; traceable."""
        rest: Any = index
        point: dict[str, Array] = {}
        for axis in reversed(self.axes):
            place, rest = rest % axis.size, rest // axis.size
            point |= {name: arrays[name][place] for name in axis.values}
        return point

    def check_distinct(self, outputs: Iterable[str]) -> None:
        """ValueError if an output is called as a parameter is: a labelled dataset has room for one of them."""
        taken = {*self.names, *(name for axis in self.axes for name in axis.values)}
        if clashing := sorted(taken & set(outputs)):
            raise ValueError(f"fn returns outputs called {clashing}, as axes are; rename them to label or store them")

    def coordinates(self, index: int) -> dict[str, Any]:
        """The same on the host, for reports."""
        places = np.unravel_index(index, self.shape)
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
        raise ValueError(f"axes = {axes!r} must be a dict such as {{'gamma': gammas}} with at least one axis")
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


def _values(name: str, array: Any) -> np.ndarray:
    try:
        values = np.asarray(array)
    except TypeError as error:
        raise ValueError(f"axes[{name!r}] must be numbers, not {type(array).__name__}: {error}") from error
    except ValueError as error:
        raise ValueError(f"axes[{name!r}] = {array!r} has rows of different lengths; make them equal") from error
    if values.ndim == 0 or len(values) == 0 or values.dtype.kind not in "biufc":
        raise ValueError(f"axes[{name!r}] = {array!r} must be numbers, with at least one entry along the first axis")
    if values.dtype.kind in "iu" and not np.array_equal(np.asarray(jnp.asarray(values)), values):
        raise ValueError(f"axes[{name!r}] has whole numbers beyond 32 bits; enable x64, or pass floats")
    return values
