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

MARKS = "_finished"


class Store:
    """An open store: `finished(k)`, `write(k, chunk, values)`, `read(name)`."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.group: Any = None

    def open(self, call: dict[str, str], axes: Axes, outputs: dict[str, Any], plan: Plan, description: str) -> None:
        """Open the store of this very call, or make it.

        Raises:
            ValueError: if the path holds the store of another call, or cannot be written.
        """
        zarr = _zarr()
        try:
            self.group = zarr.open_group(str(self.path), mode="r+")
        except (FileNotFoundError, KeyError):
            self._refuse_other_content()
            self._create(call, axes, outputs, plan, description)
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

    def read(self, name: str) -> np.ndarray:
        """All values of one output."""
        return np.asarray(self.group[name][...])

    def read_box(self, name: str, place: tuple[slice, ...]) -> np.ndarray:
        """The values of one output in one chunk."""
        return np.asarray(self.group[name][place])

    def _create(self, call, axes, outputs, plan, description):
        zarr = _zarr()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(str(self.path), mode="w-")
            for axis in axes.axes:
                for name, values in axis.values.items():
                    _coordinate(group, axis.name, name, values)
            for name, output in outputs.items():
                inner = tuple(f"{name}_{i}" for i in range(len(output.shape)))
                group.create_array(
                    name,
                    shape=axes.shape + output.shape,
                    chunks=tuple(plan.box) + tuple(max(n, 1) for n in output.shape),
                    dtype=output.dtype,
                    fill_value=math.nan if np.issubdtype(output.dtype, np.floating) else 0,
                    dimension_names=axes.names + inner,
                )
            marks = {"shape": (len(plan.chunks),), "chunks": (1,), "dtype": "uint8", "fill_value": 0}
            group.create_array(MARKS, **marks, compressors=None, dimension_names=(MARKS,))
            # Last: a store without its call is one whose making was interrupted.
            group.attrs.update({"call": json.dumps(call), "description": description})
            with warnings.catch_warnings():  # zarr notes that its third format has no standard for this yet
                warnings.simplefilter("ignore")
                zarr.consolidate_metadata(group.store)  # xarray opens the store faster, and without a warning
        except OSError as error:
            raise self._unusable(error) from error
        self.group = group

    def _compare(self, call: dict[str, str]) -> None:
        stored = json.loads(self.group.attrs.get("call", "{}"))
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


def _coordinate(group, dimension, name, values):
    inner = tuple(f"{name}_{i}" for i in range(values.ndim - 1))
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, dimension_names=(dimension, *inner))
    array[...] = values


def _zarr() -> Any:
    try:
        import zarr  # noqa: PLC0415  optional
    except ImportError as error:
        raise ValueError("store= needs zarr and xarray: pip install 'jaxinertia[io]'") from error
    return zarr
