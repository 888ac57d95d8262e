"""A sweep in a store of Zarr's: written share by share by any number of processes, each able to go on from a kill.

One object of an array holds one share, so that no two writers meet. A share's data come first, its mark after them. All
that a store needs is that an object is put whole: to make it is to put the same description from everywhere, its root
last, so that whoever comes first, together or again after a kill, makes the same store. Chunks of fill values are
written like others, so that a missing object is never taken for them.
"""

import json
import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from . import marks
from .fingerprint import compare, difference
from .labels import HIDDEN, Variable
from .marks import Mark
from .objects import NoZarr, Objects, import_zarr

MARKS = f"{HIDDEN}/finished"
ROOT, HIDDEN_ROOT = "zarr.json", f"{HIDDEN}/zarr.json"


class LostData(Exception):
    """What a mark speaks of is missing or broken; the text names the object."""


class Array(NamedTuple):
    """One array of a store, each of whose objects holds one share's data."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: Any
    fill: Any
    variable: Variable = Variable((), {})


class Description(NamedTuple):
    """All that a store tells of its sweep."""

    call: dict[str, str]  # the fingerprint
    sweep: dict[str, Any]  # what `ji.merge_shards` makes the result of, in JSON's types
    sentence: str
    coordinates: dict[str, tuple[Variable, np.ndarray]]
    arrays: dict[str, Array]
    shares: int


class Store:
    """An open store: `marks`, `mark(share, ...)`, `write(name, place, values)`, `read(name, place)`."""

    def __init__(self, objects: Objects, flush: bool):
        self.objects, self.name, self._flush = objects, objects.name, flush
        self.group: Any = None
        self.marks: list[Mark] = []  # as they were when the store was opened, or last looked through
        self.sweep: dict[str, Any] = {}  # what it says of its sweep
        self.repaired: list[str] = []  # what was found broken and could be mended, in words
        self._arrays: dict[str, Any] = {}
        self._unflushed: list[str] = []

    def open(self, told: Description) -> None:
        """Open the store of this very call, or make it.

        Raises:
            ValueError: if there is the store of another call, it cannot be written, or its description be read.
        """
        try:
            if self._root() is None:
                self._make(told)
            compare(self.name, self._attach(), told.call, lambda: self._axes_differ(told))
        except OSError as error:
            raise self.unusable(error) from error
        self._check_arrays(told)
        self._mend_coordinates(told)
        self.look_through()

    def _axes_differ(self, told: Description) -> str:
        """How the axes of the call that the store belongs to differ from this call's, in words."""
        found = []
        for name, (_, here) in told.coordinates.items():
            called = name.removeprefix(f"{HIDDEN}/axes/")
            if name.startswith(HIDDEN) and called == name:
                continue  # times
            try:
                found.append(difference(called, np.asarray(self.group[name][...]), here))
            except KeyError:
                found.append(f"{called} is here alone")
            except Exception:  # a broken file must not hide that the calls differ
                return ""
        counted = [_counted(sweep) for sweep in (self.sweep, told.sweep)]  # axes such as range(1000)
        for name in counted[1]:
            rows = [known[name] for known in counted if name in known]
            if len(rows) == 2 and rows[0] != rows[1]:
                found.append(f"{name} {_progression(rows[0])} there, {_progression(rows[1])} here")
        return ", ".join(filter(None, found))

    def _root(self) -> Any:
        """What the root's description says; None if there is none."""
        data = self.objects.get(ROOT)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise self._unreadable(ROOT, error) from error

    def open_as_it_is(self) -> None:
        """Open the store of any call.

        Raises:
            ValueError: if there is none, or its description cannot be read.
        """
        there = self.objects.folder is None or self.objects.folder.is_dir()  # to look for one would make it
        try:
            if not there or self._root() is None:
                raise ValueError(f"store = {self.name!r} holds no sweep; pass the store that ji.sweep was given")
            self._attach()
        except OSError as error:
            raise self._unreachable(error) from error
        self.look_through()

    def _attach(self) -> dict[str, str]:
        """Open what is there; returns the call that it belongs to."""
        try:
            self.group = import_zarr().open_group(self.objects.store, mode="r+")
            stored = json.loads(self.group[HIDDEN].attrs.get("call", "{}")) if HIDDEN in self.group else {}
        except (NoZarr, OSError):
            raise
        except Exception as error:  # whatever a file that is no longer JSON, or lacks an entry, leads to
            raise self._unreadable(ROOT, error) from error
        if not stored and "call" in self.group.attrs:
            raise ValueError(
                f"store = {self.name!r} was made by an earlier release, which kept its marks elsewhere; "
                "read it with xarray.open_zarr, and pass another path"
            )
        if not stored or "description" not in self.group.attrs:
            raise ValueError(
                f"store = {self.name!r} is a Zarr group in which no sweep was fully set up, by its zarr.json; "
                "delete it, or pass another path"
            )
        self.sweep = self.group[HIDDEN].attrs.get("sweep", {})
        return stored

    def _make(self, told: Description) -> None:
        """Put the description: which call it is first, the root last. Others may be doing the same."""
        drawn = _draw(told)
        self._refuse_other_content()
        there = self.objects.put_first(HIDDEN_ROOT, drawn[HIDDEN_ROOT])
        try:
            stored = json.loads(json.loads(there)["attributes"]["call"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._unreadable(HIDDEN_ROOT, error) from error
        compare(self.name, stored, told.call)
        for key, data in drawn.items():
            if key not in (ROOT, HIDDEN_ROOT):
                self.objects.put(key, data)
        self.objects.put(ROOT, drawn[ROOT])

    def _refuse_other_content(self) -> None:
        """ValueError if there is anything that no sweep has put. Called where the root is missing."""
        found = self.objects.at_root()
        if any(name.startswith("statistics-") and name.endswith(".npz") for name in found):
            raise ValueError(
                f"store = {self.name!r} holds statistics of an earlier release, which this one cannot go on from; "
                "pass another path"
            )
        if set(found) - {HIDDEN} and self.objects.get(HIDDEN_ROOT) is None:
            other = sorted(set(found) - {HIDDEN})[0]
            raise ValueError(f"store = {self.name!r} holds {other!r} and is not a store of a sweep; pass another path")

    def look_through(self) -> None:
        """Read all marks, also those of others. ValueError if the store cannot be read."""
        try:
            self.marks = marks.read_all(self._array(MARKS))
        except Exception as error:
            raise self._unreachable(error) from error

    def mark(self, share: int, mark: Mark) -> None:
        """Put a mark, after what was written is on the disk.

        Raises:
            ValueError: if the store cannot be written; what was finished stays readable.
        """
        try:
            if self._flush:
                self.objects.flush(self._unflushed)
            self._unflushed.clear()
            self._array(MARKS)[share] = mark.row()
        except Exception as error:
            raise self.unusable(error) from error
        self.marks[share] = mark

    def write(self, name: str, place: tuple[Any, ...], values: np.ndarray) -> None:
        """Write the values of one share.

        Raises:
            ValueError: if the disk is full or the store cannot be written; what was finished stays readable.
        """
        try:
            self._array(name)[place] = values
        except Exception as error:  # each kind of store has its own
            raise self.unusable(error) from error
        if values.size:
            self._unflushed.append(self._key(name, place))

    def read(self, name: str, place: tuple[Any, ...]) -> np.ndarray:
        """The values of one share. Raises LostData if they cannot be read."""
        array, key = self._array(name), self._key(name, place)
        try:
            values = np.asarray(array[place])
            self.check(name, place, values)
        except marks.BROKEN as error:
            raise LostData(f"{self.objects.called(key)} cannot be read ({error})") from error
        except LostData:
            raise
        except Exception as error:
            raise self._unreachable(error) from error
        return values

    def check(self, name: str, place: tuple[Any, ...], values: np.ndarray) -> None:
        """Raise LostData if the values of one share are what a missing object reads as, and it is missing."""
        key, fill = self._key(name, place), np.full((1,), self._array(name).fill_value, values.dtype)
        alike = values.size and values.reshape(-1)[:1].tobytes() == fill.tobytes()
        if alike and values.tobytes() == fill.tobytes() * values.size and not self.objects.has(key):
            raise LostData(f"{self.objects.called(key)} is missing")

    def whole(self, name: str) -> np.ndarray:
        """All values of an array, whether they are finished or not."""
        return np.asarray(self._array(name)[...])

    def differs(self, names: list[str], place: tuple[Any, ...]) -> LostData:
        """The error for data that a mark does not speak of."""
        files = ", ".join(self.objects.called(self._key(name, place)) for name in names)
        return LostData(f"{files} differs from what was written there, by the checksum in {MARKS!r}")

    def note_failed(self, failed: int) -> None:
        """Keep in the store's attributes how many points failed, for its readers."""
        if self.group.attrs.get("failed") == failed:
            return
        try:
            root = self._root()
            root["attributes"]["failed"] = failed
            self.objects.put(ROOT, json.dumps(root, indent=2).encode())
        except OSError as error:
            raise self.unusable(error) from error

    def _key(self, name: str, place: tuple[Any, ...]) -> str:
        """The object that holds the values at the start of this place."""
        array = self._array(name)
        starts = [at.start if isinstance(at, slice) else at for at in place]
        lengths = zip(array.chunks, [*starts, *[0] * len(array.chunks)], strict=False)
        return f"{name}/{array.metadata.encode_chunk_key(tuple(at // length for length, at in lengths))}"

    def _array(self, name: str) -> Any:
        """An array of the store, set to write chunks that hold nothing but the fill value."""
        if name not in self._arrays:
            with import_zarr().config.set({"array.write_empty_chunks": True}):
                self._arrays[name] = self.group[name]
        return self._arrays[name]

    def _check_arrays(self, told: Description) -> None:
        """ValueError if an array is missing, or is not what this call writes."""
        needed = {name: (array.shape, np.dtype(array.dtype)) for name, array in told.arrays.items()}
        needed |= {name: (values.shape, values.dtype) for name, (_, values) in told.coordinates.items()}
        needed[MARKS] = ((told.shares, marks.WIDTH), np.dtype(np.uint64))
        for name, (shape, dtype) in needed.items():
            file = f"{name}/zarr.json"
            try:
                array = self._array(name)
                found = (array.shape, array.dtype)
            except Exception as error:
                raise self._unreadable(file, error) from error
            if found != (shape, dtype):
                raise self._unreadable(file, ValueError(f"it tells of {found}, where {(shape, dtype)} was written"))

    def _mend_coordinates(self, told: Description) -> None:
        """Write the axes' values, and the times, again where they are not what they were."""
        for name, (_, values) in told.coordinates.items():
            try:
                same = np.asarray(self._array(name)[...]).tobytes() == values.tobytes()
            except Exception:  # each codec has its own for bytes that it cannot read
                same = False
            if not same:
                self.repaired.append(f"the values of the axis {name.rpartition('/')[2]!r}")
                self._array(name)[...] = values

    def _unreachable(self, error: Exception) -> ValueError:
        return ValueError(
            f"store = {self.name!r} cannot be read: {error or type(error).__name__}; try again when it can (the same "
            "call goes on from what is finished)"
        )

    def unusable(self, error: Exception) -> ValueError:
        return ValueError(
            f"store = {self.name!r} cannot be written: {error or type(error).__name__}; free space or pass another "
            "path (finished chunks stay readable, and the same call goes on from them)"
        )

    def broken(self, error: LostData) -> ValueError:
        return ValueError(
            f"store = {self.name!r} is broken: {error}; start the same sweep again, which computes that anew"
        )

    def _unreadable(self, key: str, error: Exception) -> ValueError:
        return ValueError(
            f"store = {self.name!r} has a description that cannot be read, {self.objects.called(key)!r}: {error}; "
            "put a copy of that file back, pass another path, or delete the store to start anew"
        )


def unfinished(dtype: Any) -> Any:
    """What a point that was not computed yet reads as: NaN, or the whole number that results have least (0 of true
    and false, which have no third value)."""
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
    return {"f": math.nan, "c": complex(math.nan, math.nan)}.get(dtype.kind, False)


def _counted(sweep: dict[str, Any]) -> dict[str, list[Any]]:
    """The axes that are told as [first, step, size, type], by name."""
    return {name: list(x) for _, rows in sweep.get("axes", []) for name, x in rows.items() if x is not None}


def _progression(x: list[Any]) -> str:
    return f"{x[2]:,} points from {x[0]} by {x[1]}"


def _draw(told: Description) -> dict[str, bytes]:
    """All objects of a store before its first share, as Zarr writes them into memory."""
    zarr = import_zarr()
    kept = {"compressors": zarr.codecs.ZstdCodec(level=0, checksum=True)}  # any reader sees a broken chunk
    memory = zarr.storage.MemoryStore()
    group = zarr.open_group(memory, mode="w-")
    hidden = group.create_group(HIDDEN)
    for name, (variable, values) in told.coordinates.items():
        labels: dict[str, Any] = {"dimension_names": variable.dimensions, "attributes": variable.attributes}
        config = {"write_empty_chunks": True}
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, config=config, **labels, **kept)
        array[...] = values
    for name, drawn in told.arrays.items():
        labels = {"dimension_names": drawn.variable.dimensions or None, "attributes": drawn.variable.attributes}
        sizes = {"shape": drawn.shape, "chunks": drawn.chunks, "dtype": drawn.dtype, "fill_value": drawn.fill}
        group.create_array(name, **sizes, **labels, **kept)
    shape = {"shape": (told.shares, marks.WIDTH), "chunks": (1, marks.WIDTH), "dtype": "uint64", "fill_value": 0}
    group.create_array(MARKS, **shape, compressors=zarr.codecs.Crc32cCodec())
    group.attrs.update({"description": told.sentence} | _coordinates_attribute(told))
    hidden.attrs.update({"call": json.dumps(told.call), "sweep": told.sweep})
    with warnings.catch_warnings():  # zarr notes that its third format has no standard for this yet
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(memory)  # xarray opens the store faster, and without a warning
    return Objects(memory, "memory", None).everything()


def _coordinates_attribute(told: Description) -> dict[str, str]:
    """Names of the coordinates that are not named as their dimension: xarray takes others for data."""
    given = [(name, variable) for name, (variable, _) in told.coordinates.items() if not name.startswith(HIDDEN)]
    names = [name for name, variable in given if name != variable.dimensions[0]]
    return {"coordinates": " ".join(names)} if names else {}
