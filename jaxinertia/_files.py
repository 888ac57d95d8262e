"""Files of arrays (.npz): written whole or not at all, and looked at before they are believed.

A file is judged by what it says of its arrays, before memory is taken for any of them. What `save` writes is not
compressed, so that the arrays can never be larger than the file.
"""

import json
import math
import os
import re
import tokenize
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REAL, FLOAT, NUMBER = "iuf", "f", "biufc"
_WORDS = {REAL: "real numbers", FLOAT: "floating-point numbers", NUMBER: "numbers"}
_CLASSES = {"trajectory": "Trajectory", "sweep": "Sweep", "fit": "Fit", "fits": "Fits", "modes": "Modes"}
_UNREADABLE = (
    OSError, EOFError, zipfile.BadZipFile, ValueError, TypeError, SyntaxError, RuntimeError, MemoryError,
    tokenize.TokenError,
)  # fmt: skip


class Field(NamedTuple):
    """What a file says of one array."""

    shape: tuple[int, ...]
    dtype: np.dtype


def write(path: str | Path, kind: str, version: int, arrays: dict[str, Any]) -> Path:
    """Write arrays of numbers or text, with the suffix .npz; a file that was there is replaced in one step, or stays.

    Raises:
        ValueError: if an array holds what a file cannot, or the path cannot be written.
    """
    path = Path(path)
    path = path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
    for name, x in arrays.items():
        dtype = np.asarray(x).dtype
        if dtype.kind not in NUMBER + "U":
            raise ValueError(f"{name} holds {dtype}, which a file cannot; convert it, as in x.astype(jnp.float32)")
        if "\0" in name:
            raise ValueError(f"{name!r} has a character that no file can hold; rename it")
    fresh = path.with_name(path.name + ".new")
    try:
        with open(fresh, "wb") as stream:
            np.savez(stream, format=f"jaxinertia {kind} {version}", **arrays)
        os.replace(fresh, path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise ValueError(f"path = {str(path)!r} cannot be written: {error}; pass another") from error
    return path


class Archive:
    """An open file of `write`: `fields` says what is there, `array` and `text` read it."""

    def __init__(self, path: str | Path, kind: str, archive: zipfile.ZipFile, size: int):
        self.path, self.kind, self._archive = path, kind, archive
        self.fields: dict[str, Field] = {}
        entries = archive.infolist()
        if packed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
            unpack = "np.savez(path, **np.load(path)) rewrites a file that you trust"
            raise self._unlike(f"has {_short(packed[0])} compressed, which may unpack to any size ({unpack})")
        if (claimed := sum(entry.file_size for entry in entries)) > size:
            raise self._unlike(f"says that it unpacks to {claimed:,} bytes, of a file of {size:,}")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename or name in self.fields:
                raise self._unlike(f"has the entry {_short(entry.filename)}, which is no array or is there twice")
            self.fields[name] = self._look_at(name, entry)

    def expect(self, name: str, kinds: str, shape: tuple[int, ...] | None = None, more: bool = False) -> Field:
        """The field; ValueError unless it is there, of one of these kinds of numbers, and of this shape.

        more: further axes may follow those of `shape`.
        """
        if name not in self.fields:
            raise self.refuse(name, "is missing")
        field = self.fields[name]
        if field.dtype.kind not in kinds or (kinds != NUMBER and field.dtype.itemsize > 8):
            raise self.refuse(name, f"holds {_called(field.dtype)}, not {_WORDS.get(kinds, 'real numbers')}")
        if shape is not None and (field.shape[: len(shape)] if more else field.shape) != shape:
            wanted = f"{shape}, and what follows" if more else f"{shape}"
            raise self.refuse(name, f"has the shape {field.shape}, which must be {wanted}, to match the other fields")
        return field

    def array(self, name: str) -> np.ndarray:
        """The numbers of a field that was expected."""
        try:
            with self._archive.open(f"{name}.npy") as stream:
                x = np.lib.format.read_array(stream, allow_pickle=False)
        except _UNREADABLE as error:
            raise self.refuse(name, f"is damaged ({error})") from error
        return x.astype(x.dtype.newbyteorder("="), copy=False)

    def text(self, name: str) -> str:
        """The text of a field; ValueError if it is none."""
        if name not in self.fields:
            raise self.refuse(name, "is missing")
        if self.fields[name].dtype.kind != "U" or self.fields[name].shape:
            raise self.refuse(name, f"holds {_called(self.fields[name].dtype)}, not a text")
        return str(self.array(name))

    def table(self, name: str, entries: dict[str, Any]) -> dict[str, Any]:
        """The JSON object in a field; ValueError unless it has these entries, of these types."""
        try:
            found = json.loads(self.text(name))
        except (json.JSONDecodeError, RecursionError) as error:
            raise self.refuse(name, f"is not the JSON that save writes ({error})") from error
        if not isinstance(found, dict):
            raise self.refuse(name, f"is {_short(found)}, not a table")
        self.check_entries(name, found, entries)
        return found

    def check_entries(self, name: str, found: dict[str, Any], entries: dict[str, Any]) -> None:
        """ValueError unless a table of this field has these entries, of these types."""
        for entry, types in entries.items():
            if entry not in found:
                raise self.refuse(name, f"lacks {entry!r}")
            if not isinstance(found[entry], types) or (isinstance(found[entry], bool) and types is not bool):
                raise self.refuse(name, f"has {entry} = {_short(found[entry])}, which makes no sense there")

    def refuse(self, name: str, why: str) -> ValueError:
        """The error about one field, with the remedy."""
        return ValueError(
            f"path = {str(self.path)!r}: the field {name!r} {why}; copy the file anew, "
            f"or save it again with {_CLASSES[self.kind]}.save"
        )

    def _unlike(self, why: str) -> ValueError:
        return ValueError(
            f"path = {str(self.path)!r} {why}: it is not as {_CLASSES[self.kind]}.save writes it; save it again"
        )

    def _look_at(self, name: str, entry: zipfile.ZipInfo) -> Field:
        """Shape and type from the first bytes; ValueError unless the entry has just the bytes that they need."""
        try:
            with self._archive.open(entry) as stream:
                version = np.lib.format.read_magic(stream)
                if version not in ((1, 0), (2, 0)):
                    raise ValueError(f"version {version} of the array format")
                header = (
                    np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(stream)
                left = entry.file_size - stream.tell()
        except _UNREADABLE as error:
            raise self.refuse(name, f"is damaged ({str(error)[:80]})") from error
        # Objects are pickled, of any length; they are refused wherever numbers are expected.
        if not dtype.hasobject and (min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left):
            raise self.refuse(name, f"says {shape} of {dtype}, and has {left:,} bytes")
        return Field(shape, dtype)


@contextmanager
def opened(path: str | Path, kind: str, versions: Collection[int]) -> Iterator[Archive]:
    """The file at this path, if `write` wrote it, as this kind.

    Raises:
        ValueError: if the file is missing, cut short, of another kind or of an unknown version.
    """
    called = f"path = {str(path)!r} cannot be read as a saved {kind}"
    remedy = f"; pass a file written with {_CLASSES[kind]}.save"
    try:
        stream = open(path, "rb")  # noqa: SIM115  closed below, apart from errors that are the caller's
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{called}: {error}{remedy}") from error
    with stream:
        try:
            archive = zipfile.ZipFile(stream)
        except _UNREADABLE as error:
            raise ValueError(f"{called}: {error}{remedy}") from error
        with archive:
            file = Archive(path, kind, archive, os.fstat(stream.fileno()).st_size)
            found = _format(file)
            there = re.fullmatch(r"jaxinertia (\w+) (\d+)", found)
            if not there or there[1] not in _CLASSES:
                raise ValueError(f"{called}: it holds something else{remedy}")
            if there[1] != kind:
                raise ValueError(f"{called}: it holds a {there[1]}; read it with {_CLASSES[there[1]]}.load")
            if int(there[2]) not in versions:
                raise ValueError(
                    f"{called}: it is of version {there[2]}, this release reads {max(versions)}; save it anew"
                )
            yield file


def _format(file: Archive) -> str:
    """What the file says that it is; sweeps once said so in their head."""
    if "format" in file.fields:
        return file.text("format")
    try:
        return str(file.table("head", {}).get("format"))
    except ValueError:
        return ""


def _called(dtype: np.dtype) -> str:
    names = {"O": "Python objects", "U": "text", "S": "bytes", "c": "complex numbers", "b": "true and false"}
    return names.get(dtype.kind, str(dtype))


def _short(x: Any) -> str:
    said = repr(x)
    return said if len(said) <= 60 else f"{said[:57]}..."
