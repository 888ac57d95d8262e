"""How the values of a sweep are called: dimensions, coordinates and attributes, the same in a store and in xarray."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..._origin import Origin, find, same
from ..quantities import attributes_of, name_of, quantity_of
from ..trajectory import Trajectory
from .axes import Axes


class Timed(NamedTuple):
    """An output over time: the quantity, how many dimensions of a point's output come before time, and the times."""

    quantity: str
    before: int
    times: int
    ts: np.ndarray | None


class Variable(NamedTuple):
    """One array of a dataset."""

    dimensions: tuple[str, ...]
    attributes: dict[str, str]


class Labels(NamedTuple):
    """Names of everything: outputs, coordinates (parameters of the axes, and times), and the times' values."""

    variables: dict[str, Variable]
    coordinates: dict[str, Variable]
    times: dict[str, np.ndarray]


def timed(out: Any, seen: list[Origin]) -> dict[str, Timed]:
    """Which leaves of what fn returned are over the times of a trajectory, by the leaf's name.

    Known are a trajectory as a whole, and its arrays as they are; what was computed from them is an array like others.
    """
    found: dict[str, Timed] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(out):
        if (origin := find(seen, leaf, name_of(path[-1:]))) is not None:
            found[name_of(path)] = Timed(origin.quantity, 0, leaf.shape[0], origin.ts)
    is_whole = lambda x: isinstance(x, Trajectory)  # noqa: E731  of one use
    for path, node in jax.tree_util.tree_leaves_with_path(out, is_leaf=is_whole):
        if not is_whole(node) or find(seen, node.kinetic) is not None:
            continue
        rows = node.kinetic.shape  # mapped inside fn: runs come before times
        for inner, leaf in jax.tree_util.tree_leaves_with_path(node):
            quantity = quantity_of(inner)
            if quantity and getattr(leaf, "shape", ())[: len(rows)] == rows and np.issubdtype(leaf.dtype, np.inexact):
                found[name_of((*path, *inner))] = Timed(quantity, len(rows) - 1, rows[-1], None)
    return found


def label(
    axes: Axes,
    dimensions: tuple[str, ...],
    shapes: Mapping[str, tuple[int, ...]],
    over: Mapping[str, Timed],
    told: Mapping[str, dict[str, str]] | None = None,
) -> Labels:
    """Labels of outputs of these shapes (of one point), over these axes.

    over: which have times. told: their attributes, where they do not follow from the quantity.
    """
    parameters = {name: (axis.name, x) for axis in axes.axes for name, x in axis.values.items()}
    taken = {*axes.names, *parameters, *shapes}
    times: dict[str, Timed] = {}

    def free(name: str) -> str:
        while name in taken:
            name += "_"
        return name

    def time_of(origin: Timed) -> str:
        for name, known in times.items():
            if known.times == origin.times and same(known.ts, origin.ts):
                return name
        name = free("time" if not times else f"time_{len(times) + 1}")
        times[name] = origin
        return name

    variables = {}
    for name, shape in shapes.items():
        inner = [free(f"{name}_{i}") for i in range(len(shape))]
        attributes = {"long_name": name}
        if (origin := over.get(name)) is not None:
            inner[origin.before] = time_of(origin)
            attributes = attributes_of(origin.quantity) if origin.quantity else attributes
        variables[name] = Variable(dimensions + tuple(inner), (told or {}).get(name, attributes))
    coordinates = {
        name: Variable((axis, *(free(f"{name}_{i}") for i in range(x.ndim - 1))), {"long_name": name})
        for name, (axis, x) in parameters.items()
        if axis in dimensions
    }
    known = {name: origin.ts for name, origin in times.items() if origin.ts is not None}
    return Labels(variables, coordinates | {name: Variable((name,), attributes_of("ts")) for name in known}, known)


def of_statistic(labels: Labels, name: str, what: str, power: int) -> dict[str, str]:
    """The attributes of a statistic of an output: of its unit to this power."""
    attributes = labels.variables[name].attributes
    units = attributes.get("units")
    said = {"long_name": f"{what} of {attributes['long_name']}"}
    if power == 0:
        return said | {"units": "1"}
    return said if units is None else said | {"units": units if power == 1 else f"({units})^{power}"}


def describe(axes: Axes) -> str:
    """The sweep in one line."""
    return "jaxinertia.sweep over " + " x ".join(f"{axis.size} {axis.name}" for axis in axes.axes)


def check_storable(outputs: Mapping[str, jax.ShapeDtypeStruct]) -> None:
    """ValueError for an output that a Zarr store has no name or no type for."""
    for name, output in outputs.items():
        bad = not name or name in (".", "..", "zarr.json") or name.startswith("__") or not name.isprintable()
        if bad or set(name) & set('/\\:*?"<>|') or len(name.encode(errors="replace")) > 200 or name == HIDDEN:
            raise ValueError(f"fn returns an output called {name[:60]!r}, which no store can hold; rename it")
        if np.dtype(output.dtype).kind not in "biufc":
            raise ValueError(
                f"fn returns {output.dtype} ({name}), which no store can hold; return x.astype(jnp.float32)"
            )


HIDDEN = "_sweep"  # the group in which a store keeps what is not for its readers
