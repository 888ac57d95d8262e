"""A sweep on disk: a Zarr store, written chunk by chunk, that a killed run can go on from.

One Zarr chunk holds one chunk of the sweep, so that no two writers share a file. A chunk counts as finished only when
its mark is written, after its data, and as long as its data has the length and checksum that the mark tells: a run
killed in between, and a file that is lost or broken later, is computed again. Chunks of fill values are written like
others, so that a missing file is never taken for them.
"""

import json
import math
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from .axes import Axes
from .chunks import Chunk, Plan
from .fingerprint import compare
from .labels import HIDDEN, Labels, describe

MARKS = f"{HIDDEN}/finished"


def local_path(store: Any) -> Path:
    """The path of a store; ValueError for what is none: Python would make a local folder of a URL."""
    if not isinstance(store, str | Path) or str(store) in ("", "."):
        raise ValueError(f"store = {store!r} must be a path, such as 'run.zarr'")
    if "::" in str(store) or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(store)):  # Path makes one slash of two
        raise ValueError(f"store = {str(store)!r} is a URL; stores are local folders: pass a path, and copy it after")
    return Path(store)


class LostChunk(Exception):
    """What a mark speaks of is missing or broken; the text names the file."""


class Store:
    """An open store: `marked(k)`, `write(k, chunk, values)`, `read_chunk(k, chunk)`, `read(chunks)`."""

    def __init__(self, path: Path):
        self.path = path
        self.group: Any = None
        self._arrays: dict[str, Any] = {}
        self.outputs: tuple[str, ...] = ()
        self.repaired: list[str] = []  # what was found broken and could be mended, in words

    def open(self, call: dict[str, str], axes: Axes, outputs: dict[str, Any], plan: Plan, labels: Labels) -> None:
        """Open the store of this very call, or make it.

        Raises:
            ValueError: if the path holds the store of another call, cannot be written, or its description be read.
        """
        self.outputs = tuple(outputs)
        try:
            self._attach(call)
        except (FileNotFoundError, KeyError):
            self._refuse_other_content()
            self._create(call, axes, outputs, plan, labels)
            return
        self._check_arrays(axes, outputs, plan)
        self._mend_coordinates(axes, labels)

    def attach(self, call: dict[str, str], outputs: dict[str, Any]) -> None:
        """Open a store that another process has made."""
        self.outputs = tuple(outputs)
        self._attach(call)

    def _attach(self, call):
        try:
            self.group = _zarr().open_group(str(self.path), mode="r+")
            stored = json.loads(self.group[HIDDEN].attrs.get("call", "{}")) if HIDDEN in self.group else {}
        except (FileNotFoundError, KeyError, _NoZarr):
            raise
        except OSError as error:
            raise self._unusable(error) from error
        except Exception as error:  # whatever a file that is no longer JSON, or lacks an entry, leads to
            raise self._unreadable("zarr.json", error) from error
        if not stored and "call" in self.group.attrs:
            raise ValueError(
                f"store = {str(self.path)!r} was made by an earlier release, which kept its marks elsewhere; "
                "read it with xarray.open_zarr, and pass another path"
            )
        if not stored or "description" not in self.group.attrs:
            raise ValueError(
                f"store = {str(self.path)!r} is a Zarr group in which no sweep was fully set up, by its zarr.json; "
                "delete it, or pass another path"
            )
        compare(str(self.path), stored, call)

    def marked(self, number: int) -> bool:
        """Whether this chunk was once written whole."""
        return self._mark(number) is not None

    def _mark(self, number: int) -> tuple[int, int] | None:
        """Length and checksum of a chunk."""
        try:
            marked, length, checksum = (int(x) for x in self._array(MARKS)[number])
        except Exception:  # a mark cut short by a crash, or broken: as good as none
            return None
        return (length, checksum) if marked == 1 else None

    def write(self, number: int, chunk: Chunk, values: dict[str, np.ndarray]) -> None:
        """Write one chunk's values, then its mark.

        Raises:
            ValueError: if the disk is full or the store cannot be written; what was finished stays readable.
        """
        try:
            for name, value in values.items():
                self._array(name)[chunk.place] = value
            self._array(MARKS)[number] = np.array([1, *_seal(values)], np.uint64)
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

    def read(self, chunks: tuple[Chunk, ...]) -> dict[str, np.ndarray]:
        """All values of all outputs.

        Raises:
            ValueError: if a chunk is missing or broken.
        """
        try:
            try:
                arrays = {name: np.asarray(self._array(name)[...]) for name in self.outputs}
            except Exception:  # which chunk is it?
                for number, chunk in enumerate(chunks):
                    self.read_chunk(number, chunk)
                raise
            for number, chunk in enumerate(chunks):
                self._check(number, chunk, {name: array[chunk.place] for name, array in arrays.items()})
        except LostChunk as error:
            raise self.broken(error) from error
        return arrays

    def read_chunk(self, number: int, chunk: Chunk) -> dict[str, np.ndarray]:
        """The values in one chunk, by output. Raises LostChunk if they are not those that were written."""
        values = {}
        for name in self.outputs:
            try:
                values[name] = np.asarray(self._array(name)[chunk.place])
            except Exception as error:  # each codec has its own for bytes that it cannot read
                raise LostChunk(f"{self._file(name, chunk)} cannot be read ({error})") from error
        self._check(number, chunk, values)
        return values

    def _check(self, number: int, chunk: Chunk, values: dict[str, np.ndarray]) -> None:
        for name, value in values.items():
            if value.size and not self._file(name, chunk).is_file():
                raise LostChunk(f"{self._file(name, chunk)} is missing")
        if self._mark(number) != _seal(values):
            files = ", ".join(str(self._file(name, chunk)) for name in self.outputs)
            raise LostChunk(f"{files} differs from what was written there, by the checksum in {MARKS!r}")

    def _file(self, name: str, chunk: Chunk) -> Path:
        array = self._array(name)
        lengths = zip(array.chunks, (*(s.start for s in chunk.place), *(0 for _ in array.chunks)), strict=False)
        return self.path / name / array.metadata.encode_chunk_key(tuple(at // length for length, at in lengths))

    def _array(self, name: str) -> Any:
        """An array of the store, set to write chunks that hold nothing but the fill value."""
        if name not in self._arrays:
            with _zarr().config.set({"array.write_empty_chunks": True}):
                self._arrays[name] = self.group[name]
        return self._arrays[name]

    def _check_arrays(self, axes: Axes, outputs: dict[str, Any], plan: Plan) -> None:
        """ValueError if an array is missing, or is not what this call writes."""
        needed = {name: (x.shape, x.dtype) for axis in axes.axes for name, x in axis.values.items()}
        needed |= {name: (axes.shape + x.shape, np.dtype(x.dtype)) for name, x in outputs.items()}
        needed[MARKS] = ((len(plan.chunks), 3), np.dtype(np.uint64))
        for name, (shape, dtype) in needed.items():
            file = f"{name}/zarr.json"
            try:
                array = self._array(name)
                found = (array.shape, array.dtype)
            except Exception as error:
                raise self._unreadable(file, error) from error
            if found != (shape, dtype):
                raise self._unreadable(file, ValueError(f"it tells of {found}, where {(shape, dtype)} was written"))

    def _mend_coordinates(self, axes: Axes, labels: Labels) -> None:
        """Write the axes' values, and the times, again where they are not what they were."""
        times = {name: x for name, x in labels.times.items() if name in self.group}
        for name, values in ({name: x for axis in axes.axes for name, x in axis.values.items()} | times).items():
            try:
                same = np.asarray(self._array(name)[...]).tobytes() == values.tobytes()
            except Exception:  # each codec has its own for bytes that it cannot read
                same = False
            if not same:
                self.repaired.append(f"the values of the axis {name!r}")
                self._array(name)[...] = values

    def _create(self, call, axes, outputs, plan, labels):
        zarr = _zarr()
        kept = {"compressors": zarr.codecs.ZstdCodec(level=0, checksum=True)}  # any reader sees a broken chunk
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            group = zarr.open_group(str(self.path), mode="w-")
            parameters = {name: x for axis in axes.axes for name, x in axis.values.items()}
            for name, values in (parameters | labels.times).items():
                _coordinate(group, labels.coordinates[name], name, values, kept)
            for name, output in outputs.items():
                group.create_array(
                    name,
                    shape=axes.shape + output.shape,
                    chunks=tuple(plan.box) + tuple(max(n, 1) for n in output.shape),
                    dtype=output.dtype,
                    fill_value=_unfinished(output.dtype),
                    dimension_names=labels.variables[name].dimensions,
                    attributes=labels.variables[name].attributes,
                    **kept,
                )
            marks = {"shape": (len(plan.chunks), 3), "chunks": (1, 3), "dtype": "uint64", "fill_value": 0}
            hidden = group.create_group(HIDDEN)
            group.create_array(MARKS, **marks, compressors=None)
            # Last: a store without its call is one whose making was interrupted.
            group.attrs.update({"description": describe(axes)} | _coordinates_attribute(labels))
            hidden.attrs.update({"call": json.dumps(call)})
            _consolidate(group)
        except OSError as error:
            raise self._unusable(error) from error
        self.group = group

    def _refuse_other_content(self) -> None:
        if any(self.path.glob("statistics-*.npz")):
            raise ValueError(
                f"store = {str(self.path)!r} holds the statistics of a sweep with reduce=; pass another path"
            )
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(f"store = {str(self.path)!r} exists and is not a store of a sweep; pass another path")

    def _unusable(self, error: OSError) -> ValueError:
        return ValueError(
            f"store = {str(self.path)!r} cannot be written: {error}; free space or pass another path "
            "(finished chunks stay readable, and the same call goes on from them)"
        )

    def broken(self, error: LostChunk) -> ValueError:
        return ValueError(
            f"store = {str(self.path)!r} is broken: {error}; start the same sweep again, which computes that anew"
        )

    def _unreadable(self, file: str, error: Exception) -> ValueError:
        return ValueError(
            f"store = {str(self.path)!r} has a description that cannot be read, {str(self.path / file)!r}: {error}; "
            "put a copy of that file back, pass another path, or delete the store to start anew"
        )


def _seal(values: dict[str, np.ndarray]) -> tuple[int, int]:
    """Length in bytes and CRC-32 of all outputs in a chunk."""
    length = checksum = 0
    for value in values.values():
        data = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        length, checksum = length + len(data), zlib.crc32(data.data, checksum)
    return length, checksum


def _coordinate(group, variable, name, values, kept):
    kept = kept | {"dimension_names": variable.dimensions, "attributes": variable.attributes}
    kept |= {"config": {"write_empty_chunks": True}}
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, **kept)
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


class _NoZarr(ValueError):
    """Zarr is not installed."""


def _zarr() -> Any:
    try:
        import zarr  # noqa: PLC0415  optional
    except ImportError as error:
        raise _NoZarr("store= needs zarr and xarray: pip install 'jaxinertia[io]'") from error
    return zarr
