"""What a sweep returns: labelled values, and a report of what failed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ... import _files
from ..._shown import Card, Shown
from .. import cards
from ..trajectory import Trajectory, read_arrays
from .axes import Axes, Axis
from .labels import Labels, Variable, describe, label

_VERSION = 1
_HEAD: dict[str, Any] = {
    "layout": list,
    "dimensions": list,
    "failures": list,
    "failed": int,
    "computed": int,
    "seconds": (int, float),
}


class Sweep(Shown):
    """The results of `ji.sweep`: fn at each point of the product of the axes.

    Attributes:
        values: the pytree that fn returns, each leaf a NumPy array with the axes leading (after `reduce`: a dict from
            the statistic's name to such a pytree, without the reduced axes). Read from the store on first use, if
            there is one.
        axes: parameter names and their values, in the order of the dimensions.
        failed, failures: how many points have an output that is not finite, and the first few, as dicts of parameters.
        computed, seconds: points computed by this call (not those found in the store) in all its processes, and the
            time that took.
    """

    def __init__(
        self,
        axes: Axes,
        dimensions: tuple[str, ...],
        read: Callable[[], tuple[Any, dict[str, np.ndarray]]],
        failed: int,
        failures: list[dict[str, Any]],
        computed: int,
        seconds: float,
        labels: Labels,
        in_memory: bool = True,
    ):
        self._axes, self._dimensions, self._read = axes, dimensions, read
        self._cached: tuple[Any, dict[str, np.ndarray]] | None = None
        self.failed, self.failures, self.computed, self.seconds = failed, failures, computed, seconds
        self._labels, self._in_memory = labels, in_memory

    @property
    def axes(self) -> dict[str, np.ndarray]:
        """The parameters' values by name, in the order of the dimensions."""
        return {name: x for axis in self._axes.axes for name, x in axis.values.items()}

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes that the values have."""
        sizes = dict(zip(self._axes.names, self._axes.shape, strict=True))
        return tuple(sizes[name] for name in self._dimensions)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of the axes that the values have: those of the sweep, without the reduced ones."""
        return self._dimensions

    @property
    def values(self) -> Any:
        """What fn returned at each point, the axes leading."""
        return self._both()[0]

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """The leaves of `values` by name, as they are called in the store and in `to_xarray`."""
        return self._both()[1]

    def _both(self):
        if self._cached is None:
            self._cached = self._read()
        return self._cached

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: dimensions and coordinates named after the axes, one variable for each output.

        Trajectories, and their arrays as they are, share the dimension "time" (a second one, "time_2", where fn has
        other times too), with the times as its coordinate where all points have the same. `xarray.open_dataset(store)`
        is identical. `long_name` and `units` tell what is what; units are the user's own.

        Raises:
            ValueError: if xarray is not installed, or an output is called as an axis is.
        """
        try:
            import xarray  # noqa: PLC0415  optional
        except ImportError as error:
            raise ValueError("to_xarray needs xarray: pip install 'jaxinertia[io]'") from error
        self._axes.check_distinct(self.outputs)
        labels, given = self._labels, self.axes | self._labels.times
        variables = {name: (v.dimensions, self.outputs[name], v.attributes) for name, v in labels.variables.items()}
        coordinates = {name: (v.dimensions, given[name], v.attributes) for name, v in labels.coordinates.items()}
        attributes = {"description": describe(self._axes), "failed": self.failed}
        return xarray.Dataset(variables, coordinates, attributes)

    def summary(self) -> str:
        """A few lines: size, speed, ranges of the outputs, and what failed."""
        shape = " x ".join(f"{n} {name}" for name, n in zip(self._axes.names, self._axes.shape, strict=True))
        rate = self.computed / self.seconds if self.seconds > 0 else 0.0
        lines = [
            f"sweep of {self._axes.size:,} points: {shape}",
            f"computed {self.computed:,} in {self.seconds:.3g} s ({rate:,.0f} points/s)",
        ]
        for name, value in self.outputs.items():
            if value.size and np.issubdtype(value.dtype, np.number) and np.any(np.isfinite(value)):
                low, mean, high = np.nanmin(value), np.nanmean(value), np.nanmax(value)
                lines.append(f"{name}: min {low:.6g}, mean {mean:.6g}, max {high:.6g}, shape {value.shape}")
        lines.append(f"failed (not finite): {self.failed:,}" + ("" if self.failed else " - none"))
        lines += [f"  {failure}" for failure in self.failures]
        return "\n".join(lines)

    def _card(self) -> Card:
        return cards.of_sweep(self, self._axes, self._in_memory or self._cached is not None)

    def save(self, path: str | Path) -> Path:
        """Write to a NumPy .npz file (no pickle); the suffix is added if missing. Returns the path written.

        Raises:
            ValueError: if the path cannot be written, or an output is of a type that a file cannot hold (bfloat16).
        """
        layout = [[axis.name, list(axis.values)] for axis in self._axes.axes]
        head = {"layout": layout, "dimensions": list(self._dimensions), "failures": self.failures}
        if isinstance(self.values, Trajectory) and {"position", "momentum"} <= set(self.outputs):
            head["kind"] = "trajectory"
        elif not isinstance(self.values, np.ndarray):
            head["kind"] = "names"
        numbers = {"failed": self.failed, "computed": self.computed, "seconds": self.seconds}
        arrays: dict[str, Any] = {f"axis.{name}": x for name, x in self.axes.items()}
        arrays |= {f"value.{name}": x for name, x in self.outputs.items()}
        head["variables"], head["coordinates"] = self._labels.variables, self._labels.coordinates
        arrays |= {f"time.{name}": x for name, x in self._labels.times.items()}
        return _files.write(path, "sweep", _VERSION, {"head": json.dumps(head | numbers), **arrays})

    @classmethod
    def load(cls, path: str | Path) -> "Sweep":
        """Read what `save` wrote to path; trajectories of array positions come back as such, other pytrees as a dict.

        Raises:
            ValueError: if the file is missing, damaged or not a saved sweep, or its fields do not match each other.
        """
        if isinstance(path, (str, Path)) and Path(path).is_dir():
            raise ValueError(
                f"path = {str(path)!r} is a store: run the same ji.sweep(..., store=) again, which reads it, or "
                "open it with xarray.open_zarr"
            )
        with _files.opened(path, "sweep", (_VERSION,)) as file:
            head = file.table("head", _HEAD)
            axes, dimensions = _read_axes(file, head["layout"]), _read_dimensions(file, head)
            sizes = dict(zip(axes.names, axes.shape, strict=True))
            shape = tuple(sizes[name] for name in dimensions)
            names = [key.removeprefix("value.") for key in file.fields if key.startswith("value.")]
            if not names:
                raise file.refuse("value", "is missing")
            for name in names:
                file.expect(f"value.{name}", _files.NUMBER, shape, more=True)
            if head.get("kind") == "trajectory":
                named = read_arrays(file, "value.")
            else:
                named = {name: file.array(f"value.{name}") for name in names}
            labels = _read_labels(file, head, axes, dimensions, {name: named[name].shape for name in named})
        values: Any = named["value"] if names == ["value"] and head.get("kind") != "names" else named
        if head.get("kind") == "trajectory":
            values = Trajectory.of_arrays(named)
        counts = (head["failed"], head["failures"], head["computed"], head["seconds"])
        return cls(axes, dimensions, lambda: (values, named), *counts, labels)


def _read_axes(file: _files.Archive, layout: list[Any]) -> Axes:
    """The axes that a saved head tells; ValueError unless its arrays are there, zipped ones of one length."""
    axes = []
    for entry in layout:
        named = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) and isinstance(entry[1], list)
        if not named or not entry[1] or not all(isinstance(name, str) for name in entry[1]):
            raise file.refuse("head", "has a layout that is no list of axes and their parameters")
        lengths = [file.expect(f"axis.{name}", _files.NUMBER).shape[:1] for name in entry[1]]
        for name, length in zip(entry[1], lengths, strict=True):
            if length in ((), (0,)) or length != lengths[0]:
                raise file.refuse(f"axis.{name}", f"has no entries, or not as many as {entry[1][0]!r} beside it")
        axes.append(Axis(entry[0], {name: file.array(f"axis.{name}") for name in entry[1]}))
    names = [name for axis in axes for name in axis.values]
    if not axes or len({axis.name for axis in axes}) < len(axes) or len(set(names)) < len(names):
        raise file.refuse("head", "has a layout without axes, or with one twice")
    return Axes(tuple(axes))


def _read_dimensions(file: _files.Archive, head: dict[str, Any]) -> tuple[str, ...]:
    """Which axes the values have, in their order."""
    names = [entry[0] for entry in head["layout"]]
    if head["dimensions"] != [name for name in names if name in head["dimensions"]]:
        raise file.refuse("head", "has dimensions that are not its axes, in their order")
    return tuple(head["dimensions"])


def _read_labels(
    file: _files.Archive, head: dict[str, Any], axes: Axes, dimensions: tuple[str, ...], shapes: dict[str, Any]
) -> Labels:
    """The labels that were saved; ValueError unless they fit what they label. Once there were none."""
    if "variables" not in head:
        return label(axes, dimensions, {name: shape[len(dimensions) :] for name, shape in shapes.items()}, {})
    parameters = {name: x.shape for axis in axes.axes for name, x in axis.values.items() if axis.name in dimensions}
    names = [key.removeprefix("time.") for key in file.fields if key.startswith("time.")]
    sizes = {name: file.expect(f"time.{name}", _files.FLOAT).shape for name in names}
    variables = _read_variables(file, head["variables"], shapes)
    coordinates = _read_variables(file, head.get("coordinates"), parameters | sizes)
    lengths: dict[str, int] = dict(zip(axes.names, axes.shape, strict=True))
    for labelled, shapes_of in ((coordinates, parameters | sizes), (variables, shapes)):
        for name, variable in labelled.items():
            for dimension, length in zip(variable.dimensions, shapes_of[name], strict=True):
                if lengths.setdefault(dimension, length) != length:
                    raise file.refuse("head", f"has the dimension {dimension!r} of two lengths")
    return Labels(variables, coordinates, {name: file.array(f"time.{name}") for name in names})


def _read_variables(file: _files.Archive, told: Any, shapes: dict[str, Any]) -> dict[str, Variable]:
    """Dimensions and attributes of each array; ValueError unless each has a dimension for each axis, and a name."""
    if not isinstance(told, dict) or set(told) != set(shapes):
        raise file.refuse("head", "labels other arrays than it holds")
    for name, entry in told.items():
        good = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], list) and isinstance(entry[1], dict)
        if not good or len(entry[0]) != len(shapes[name]) or len(set(map(str, entry[0]))) < len(entry[0]):
            raise file.refuse("head", f"has labels of {name!r} that do not fit its shape {shapes[name]}")
    return {name: Variable(tuple(map(str, dimensions)), attributes) for name, (dimensions, attributes) in told.items()}
