"""Which kind of file it is, by what it begins with, and the table in it."""

import gzip
import importlib.util
import io
import re
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from . import layout
from .table import Column, Table, split_unit

STDIN = "-"
_GZIP = b"\x1f\x8b"
_TABLES = (".csv", ".tsv", ".txt", ".dat", ".lvm")  # of these a zip file may have one
_MARKED = {  # how texts begin that hold no lines of cells
    re.compile(r"\s*(\{\s*[\"\[}]|\[\s*[\[{\"\d-])"): "is JSON: load it (json), and pass its arrays to ji.Observations",
    re.compile(r"\s*<[!?a-zA-Z]"): "is HTML or XML: save it as .csv, or load it (pandas.read_html, pandas.read_xml)",
}
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_FOREIGN = {  # how files begin that hold no text, and what to do about them
    _OLD_EXCEL: "is an old Excel file (.xls): save it as .xlsx or .csv (phyphox: export as CSV, comma, decimal point)",
    b"\x89HDF": "is an HDF5 file: load it (h5py), and pass its arrays to ji.Observations",
    b"MATLAB": "is a MATLAB file: load it (scipy.io.loadmat), and pass its arrays to ji.Observations",
    b"BZh": "is compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "is compressed (xz): unpack it first",
    b"(\xb5/\xfd": "is compressed (zstd): unpack it first",
    b"ARROW1": "is an Arrow file: load it (pandas.read_feather), and pass its columns to ji.Observations",
    b"RIFF": "is a sound or a video: load its samples (scipy.io.wavfile), and pass them to ji.Observations",
    b"%PDF": "is a PDF: export the numbers as .csv",
    b"\x89PNG": "is a picture: export the numbers as .csv",
}


def read(path: str | Path, missing: frozenset[str]) -> Table:
    """The table in a file; "-" is the standard input.

    Raises:
        ValueError: if the file cannot be read, holds no text and is of no kind that is known, or has no table.
    """
    name = str(path)
    try:
        raw = sys.stdin.buffer.read() if name == STDIN else Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"path = {name!r} cannot be read: {error}") from error
    return _of_bytes("standard input" if name == STDIN else name, raw, missing)


def _of_bytes(name: str, raw: bytes, missing: frozenset[str]) -> Table:
    """The table in a file's bytes."""
    if raw.startswith(_GZIP):
        try:
            return _of_bytes(name, gzip.decompress(raw), missing)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"path = {name!r} cannot be unpacked: {error}; is it complete?") from error
    for magic, what in _FOREIGN.items():
        if raw.startswith(magic):
            raise ValueError(f"path = {name!r} {what}")
    if raw.startswith(b"PK"):
        return _of_archive(name, raw, missing)
    if raw.startswith(b"PAR1"):
        frame = _pandas(name, "pyarrow").read_parquet(io.BytesIO(raw))
        return _of_arrays(name, _arrays_of(frame), missing, "a Parquet file")
    if raw.startswith(b"\x93NUMPY"):
        array = _numpy(name, raw)
        parts = {key: array[key] for key in array.dtype.names} if array.dtype.names else {"": array}
        return _of_arrays(name, parts, missing, "a NumPy array")
    text, said = _decoded(name, raw)
    for form, what in _MARKED.items():
        if form.match(text):
            raise ValueError(f"path = {name!r} {what}")
    return layout.of_text(name, text, said, missing)


def _decoded(name: str, raw: bytes) -> tuple[str, list[str]]:
    """The text, and its encoding where that is not UTF-8."""
    wide = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}.get(raw[:2])
    wide = "utf-32" if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")) else wide
    if wide is None and len(raw) > 3 and raw[:200].count(0) > len(raw[:200]) // 3:
        wide = "utf-16-le" if raw[1] == 0 else "utf-16-be"
    try:
        if wide is not None:
            return raw.decode(wide), [f"encoding: {wide[:6].upper()}"]
        if b"\0" in raw:
            raise ValueError(f"path = {name!r} is no text: export the numbers as .csv")
        return raw.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        if wide is not None:
            raise ValueError(f"path = {name!r} cannot be read as UTF-16: {error}; save it as UTF-8") from error
        return raw.decode("latin-1"), ["encoding: Latin-1, as it is not UTF-8"]


def _of_archive(name: str, raw: bytes, missing: frozenset[str]) -> Table:
    """An Excel workbook or NumPy's .npz: both are zip files."""
    try:
        members = zipfile.ZipFile(io.BytesIO(raw)).namelist()
    except zipfile.BadZipFile as error:
        raise ValueError(f"path = {name!r} cannot be read: {error}; is it complete?") from error
    if members and all(member.endswith(".npy") for member in members):
        with _npz(name, raw) as file:
            return _of_arrays(name, {key: _member(name, file, key) for key in file.files}, missing, "a NumPy file")
    if any(member.startswith("xl/") for member in members):
        return _of_workbook(name, raw, missing)
    # What an application says of itself lies in folders beside its table.
    tables = [each for each in members if each.casefold().endswith(_TABLES) and "/" not in each]
    if len(tables) == 1:
        try:
            table = _of_bytes(f"{name}: {tables[0]}", zipfile.ZipFile(io.BytesIO(raw)).read(tables[0]), missing)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
            raise ValueError(f"path = {name!r}: {tables[0]!r} cannot be unpacked: {error}") from error
        return table._replace(said=[*table.said, f"file {tables[0]!r} in the zip file"])
    raise ValueError(f"path = {name!r} is a zip file of {members[:4]}: unpack it, and pass the table in it")


def _npz(name: str, raw: bytes) -> Any:
    try:
        return np.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"path = {name!r} cannot be read: {error}") from error


def _member(name: str, file: Any, key: str) -> np.ndarray:
    try:
        return file[key]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"path = {name!r}: its array {key!r} cannot be read: {error}") from error


def _numpy(name: str, raw: bytes) -> np.ndarray:
    try:
        return np.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"path = {name!r} cannot be read: {error}") from error


def _of_arrays(name: str, arrays: dict[str, np.ndarray], missing: frozenset[str], kind: str) -> Table:
    """A table of arrays: those with as many rows as the longest; a matrix gives a column for each of its own."""
    arrays = {key: x[0] if np.ndim(x) == 2 and len(x) == 1 else x for key, x in arrays.items()}
    rows = max((len(x) for x in arrays.values() if np.ndim(x)), default=0)
    columns, passed = [], []
    for key, x in arrays.items():
        if np.ndim(x) not in (1, 2) or len(x) != rows or np.iscomplexobj(x):
            passed.append(key)
            continue
        x = x.astype(str) if x.dtype.kind == "S" else x
        parts = {key: x} if x.ndim == 1 else {f"{key}[{j}]" if key else "": x[:, j] for j in range(x.shape[1])}
        if x.ndim == 2 and not key:
            columns += [Column("", "", part) for part in x.T]
            continue
        columns += [
            Column(part, split_unit(part)[1], [str(v) for v in values] if values.dtype.kind == "U" else values)
            for part, values in parts.items()
        ]
    if not columns or not rows:
        raise ValueError(f"path = {name!r} has no columns of numbers: it holds {list(arrays)}")
    said = [kind, *([f"arrays of another length passed over: {passed}"] if passed else [])]
    shown = f"arrays {[f'{key} {np.shape(x)}' for key, x in arrays.items()]}"
    return Table(name, columns, list(range(1, rows + 1)), ";", said, [], shown, missing)


def _of_workbook(name: str, raw: bytes, missing: frozenset[str]) -> Table:
    """The first sheet of an Excel workbook that holds a table."""
    pandas = _pandas(name, "openpyxl")
    sheets = pandas.ExcelFile(io.BytesIO(raw), engine="openpyxl").sheet_names
    first: ValueError | None = None
    for k, sheet in enumerate(sheets):
        frame = pandas.read_excel(io.BytesIO(raw), sheet_name=sheet, header=None, dtype=object, engine="openpyxl")
        of = "" if len(sheets) == 1 else f", the first of {len(sheets)}" if k == 0 else f", number {k + 1}"
        before = f": no table in {sheets[:k]}" if k else ""
        try:
            return _of_sheet(name, frame, [f"sheet {sheet!r}{of}{before}"], missing)
        except layout.NoTableError as error:
            first = first or error
    raise first or ValueError(f"{name}: it has no sheet")


def _of_sheet(name: str, frame: Any, said: list[str], missing: frozenset[str]) -> Table:
    """A sheet's rows as rows of text."""
    rows = []
    for i, row in enumerate(frame.itertuples(index=False), 1):
        told = ["" if cell is None or cell != cell else _told(cell) for cell in row]  # noqa: PLR0124  NaN and NaT
        stripped = layout.stripped(told)
        if stripped:
            rows.append(layout.Row(stripped, i, len(told)))
    shown = layout.excerpt([", ".join(row.cells) for row in rows])
    if not rows:
        raise layout.NoTableError(f"{name}: its first sheet is empty")
    return layout.arrange(name, rows, ";", said, missing, shown, True, [])


def _told(cell: Any) -> str:
    """A cell of a workbook as text: dates as ISO 8601."""
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


def _arrays_of(frame: Any) -> dict[str, np.ndarray]:
    """The columns of a data frame, and its index where that says more than a row's number."""
    if frame.index.name is not None or frame.index.dtype.kind in "mM":
        frame = frame.reset_index()
    return {str(key): _array(frame[key]) for key in frame.columns}


def _array(series: Any) -> np.ndarray:
    values = series.to_numpy()
    return values.astype(str) if values.dtype == object and all(isinstance(v, str) for v in values) else values


def _pandas(name: str, engine: str) -> Any:
    """pandas, where it is installed with what it needs for this kind of file."""
    lacking = [each for each in ("pandas", engine) if importlib.util.find_spec(each) is None]
    if lacking:
        raise ValueError(f"path = {name!r} needs {' and '.join(lacking)}: install it, or save the table as .csv")
    return importlib.import_module("pandas")
