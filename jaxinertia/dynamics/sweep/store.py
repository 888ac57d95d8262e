"""A sweep on disk: a Zarr store, written chunk by chunk, that a killed run can go on from.

One Zarr chunk holds one chunk of the sweep, so that no two writers share a file. A chunk counts as finished only when
its mark is written, after its data: a run killed in between computes it again.
"""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .axes import Axes
from .chunks import Chunk, Plan
from .labels import HIDDEN, Labels, describe

MARKS = f"{HIDDEN}/finished"


class Store:
    """An open store: `finished(k)`, `write(k, chunk, values)`, `read(name)`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.group: Any = None

    def open(self, call: dict[str, str], axes: Axes, outputs: dict[str, Any], plan: Plan, labels: Labels) -> None:
        """Open the store of this very call, or make it.

        Raises:
            ValueError: if the path holds the store of another call, or cannot be written.
        """
        zarr = _zarr()
        try:
            self.group = zarr.open_group(str(self.path), mode="r+")
        except (FileNotFoundError, KeyError):
            self._refuse_other_content()
            self._create(call, axes, outputs, plan, labels)
            return
        except OSError as error:
            raise self._unusable(error) from error
        self._compare(call)

    def attach(self, call: dict[str, str]) -> None:
        """Open a store that another process has made."""
        self.group = _zarr().open_group(str(self.path), mode="r+")
        self._compare(call)

    def finished(self, number: int) -> bool:
        """Whether this chunk was written whole."""
        try:
            return bool(self.group[MARKS][number] == 1)
        except (OSError, ValueError, RuntimeError):
            return False  # a mark cut short by a crash

    def write(self, number: int, chunk: Chunk, values: dict[str, np.ndarray]) -> None:
        """Write one chunk's values, then its mark.

        Raises:
            ValueError: if the disk is full or the store cannot be written; what was finished stays readable.
        """
        try:
            for name, value in values.items():
                self.group[name][chunk.place] = value
            self.group[MARKS][number] = 1
        except OSError as error:
            raise self._unusable(error) from error

    def note_failed(self, failed: int) -> None:
        """Keep in the store's attributes how many points failed, for its readers."""
        if self.group.attrs.get("failed") == failed:
            return
        try:
            self.group.attrs.update({"failed": failed})
            _consolidate(self.group)
        except OSError as error:
            raise self._unusable(error) from error

    def read(self, name: str) -> np.ndarray:
        """All values of one output."""
        return np.asarray(self.group[name][...])

    def read_box(self, name: str, place: tuple[slice, ...]) -> np.ndarray:
        """The values of one output in one chunk."""
        return np.asarray(self.group[name][place])

    def _create(self, call, axes, outputs, plan, labels):
        zarr = _zarr()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(str(self.path), mode="w-")
            parameters = {name: x for axis in axes.axes for name, x in axis.values.items()}
            for name, values in (parameters | labels.times).items():
                _coordinate(group, labels.coordinates[name], name, values)
            for name, output in outputs.items():
                group.create_array(
                    name,
                    shape=axes.shape + output.shape,
                    chunks=tuple(plan.box) + tuple(max(n, 1) for n in output.shape),
                    dtype=output.dtype,
                    fill_value=_unfinished(output.dtype),
                    dimension_names=labels.variables[name].dimensions,
                    attributes=labels.variables[name].attributes,
                )
            marks = {"shape": (len(plan.chunks),), "chunks": (1,), "dtype": "uint8", "fill_value": 0}
            hidden = group.create_group(HIDDEN)
            group.create_array(MARKS, **marks, compressors=None)
            # Last: a store without its call is one whose making was interrupted.
            group.attrs.update({"description": describe(axes)} | _coordinates_attribute(labels))
            hidden.attrs.update({"call": json.dumps(call)})
            _consolidate(group)
        except OSError as error:
            raise self._unusable(error) from error
        self.group = group

    def _compare(self, call: dict[str, str]) -> None:
        stored = json.loads(self.group[HIDDEN].attrs.get("call", "{}")) if HIDDEN in self.group else {}
        if not stored and "call" in self.group.attrs:
            raise ValueError(
                f"store = {str(self.path)!r} was made by an earlier release, which kept its marks elsewhere; "
                "read it with xarray.open_zarr, and pass another path"
            )
        if not stored:
            raise ValueError(
                f"store = {str(self.path)!r} is a Zarr group in which no sweep was fully set up; "
                "delete it, or pass another path"
            )
        differing = [name for name in call if stored.get(name) != call[name]]
        if differing:
            told = "; ".join(f"{name}: {stored.get(name)} there, {call[name]} here" for name in differing)
            raise ValueError(
                f"store = {str(self.path)!r} was made by another call, which differs in {', '.join(differing)} "
                f"({told}); pass another path, or delete it to start anew"
            )

    def _refuse_other_content(self) -> None:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(f"store = {str(self.path)!r} exists and is not a store of a sweep; pass another path")

    def _unusable(self, error: OSError) -> ValueError:
        return ValueError(
            f"store = {str(self.path)!r} cannot be written: {error}; free space or pass another path "
            "(finished chunks stay readable, and the same call goes on from them)"
        )


def _coordinate(group, variable, name, values):
    named = {"dimension_names": variable.dimensions, "attributes": variable.attributes}
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, **named)
    array[...] = values


def _coordinates_attribute(labels):
    """Names of the coordinates that are not named as their dimension: xarray takes others for data."""
    names = [name for name, variable in labels.coordinates.items() if name != variable.dimensions[0]]
    return {"coordinates": " ".join(names)} if names else {}


def _consolidate(group):
    with warnings.catch_warnings():  # zarr notes that its third format has no standard for this yet
        warnings.simplefilter("ignore")
        _zarr().consolidate_metadata(group.store)  # xarray opens the store faster, and without a warning


def _unfinished(dtype: Any) -> Any:
    """What a point that was not computed yet reads as: NaN, or the whole number that results have least (0 of true
    and false, which have no third value)."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
    return {"f": math.nan, "c": complex(math.nan, math.nan)}.get(dtype.kind, False)


def _zarr() -> Any:
    try:
        import zarr  # noqa: PLC0415  optional
    except ImportError as error:
        raise ValueError("store= needs zarr and xarray: pip install 'jaxinertia[io]'") from error
    return zarr
