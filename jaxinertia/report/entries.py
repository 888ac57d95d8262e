"""Entries of a TOML file, and names of results: of the right kind and within reason, or a ValueError that names the
key."""

import math
import os
import reprlib
from pathlib import Path
from typing import Any

from ..inference.reading.source import STDIN

Table = dict[str, Any]
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 60, 60


def short(x: Any) -> str:
    """A value as it is told: its beginning, where it is long or deep."""
    return _SHORT.repr(x)


def table(name: str, entries: Any, known: tuple[str, ...] | None, needed: tuple[str, ...] = ()) -> Table:
    """A table with no other entries than the known ones (None: any), and all that are needed."""
    if not isinstance(entries, dict):
        raise ValueError(f"{name} = {short(entries)} must be a table: write [{name}]")
    unknown = sorted(set(entries) - set(known)) if known is not None else []
    if unknown:
        raise ValueError(f"[{name}] has unknown entries {short(unknown)}; it may have {sorted(known or ())}")
    for key in needed:
        if key not in entries:
            raise ValueError(f"[{name}] lacks {key}; add it")
    return entries


def number(key: str, x: Any) -> float:
    """One finite number as a float."""
    if isinstance(x, bool) or not isinstance(x, int | float):
        raise ValueError(f"{key} = {short(x)} must be a finite number")
    try:
        value = float(x)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{key} = {short(x)} must be a finite number")
    return value


def positive(key: str, x: Any) -> float:
    """One finite number above 0."""
    value = number(key, x)
    if value <= 0:
        raise ValueError(f"{key} = {short(x)} must be above 0")
    return value


def whole(key: str, x: Any, least: int, most: int) -> int:
    """One whole number, from least to most."""
    if isinstance(x, bool) or not isinstance(x, int):
        raise ValueError(f"{key} = {short(x)} must be a whole number, such as {max(least, 2)}")
    if not least <= x <= most:
        raise ValueError(f"{key} = {short(x)} must be from {least:,} to {most:,}")
    return x


def yes_or_no(key: str, x: Any) -> bool:
    """true or false."""
    if not isinstance(x, bool):
        raise ValueError(f"{key} = {short(x)} must be true or false")
    return x


def text(key: str, x: Any) -> str:
    """A text that is not empty."""
    if not isinstance(x, str) or not x.strip() or "\0" in x:
        raise ValueError(f'{key} = {short(x)} must be a text in quotes, such as "run.zarr"')
    return x


def choice(key: str, x: Any, known: dict[str, Any]) -> Any:
    """What one of the known names stands for."""
    if not isinstance(x, str) or x not in known:
        raise ValueError(f"{key} = {short(x)} must be one of {sorted(known)}")
    return known[x]


def choices(key: str, x: Any, known: dict[str, Any]) -> dict[str, Any]:
    """What some of the known names stand for; each once, at least one."""
    if not isinstance(x, list):
        raise ValueError(f"{key} = {short(x)} must be a list, such as {short(sorted(known)[:2])}")
    found = {name: choice(key, name, known) for name in x}
    if not found or len(found) < len(x):
        raise ValueError(f"{key} = {short(x)} must have at least one entry, and each once, of {sorted(known)}")
    return found


def numbers(key: str, x: Any, names: dict[str, Any], depth: int = 4) -> tuple[int, ...]:
    """The shape of a number, the name of an axis, or lists of them; lists beside each other are of one length."""
    if isinstance(x, str):
        if x not in names:
            raise ValueError(f"{key} = {short(x)} names no axis; the axes are {sorted(names)}")
        return ()
    if not isinstance(x, list):
        number(key, x)
        return ()
    if depth == 0 or not x:
        raise ValueError(f"{key} = {short(x)} is empty, or nests deeper than 4 lists; write a list of numbers")
    shapes = {numbers(key, entry, names, depth - 1) for entry in x}
    if len(shapes) > 1:
        raise ValueError(f"{key} = {short(x)} has entries of different shapes; make its rows of one length")
    return (len(x), *shapes.pop())


def band_of(text: str | None) -> tuple[float, float] | None:
    """The lowest and the highest frequency of a text such as "10,40"."""
    if text is None:
        return None
    try:
        low, high = (float(x) for x in text.split(","))
    except ValueError as error:
        raise ValueError(f"band = {short(text)} must be two numbers with a comma, such as 10,40") from error
    return low, high


def number_or_name(text: str | None) -> float | str | None:
    """A number, or the name of a column."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def check_writable(option: str, path: Path) -> None:
    """Make the folder of a file that will be written; ValueError if that cannot be, or the path is no file's."""
    try:
        if not path.name or path.is_dir():
            raise OSError("it is a folder, not the name of a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise OSError(f"{str(path.parent)!r} is read-only")
    except OSError as error:
        raise ValueError(f"{option} = {str(path)!r} cannot be written: {error}; pass another") from error


def stem_of(path: Path, out: Path | None, ending: str) -> Path:
    """What the names of a record's results begin with; ValueError if one with this ending could not be written."""
    name = Path("record") if str(path) == STDIN else path
    stem = name.parent / name.stem if out is None else out
    check_writable("out", stem.parent / f"{stem.name}{ending}" if stem.name else stem)
    return stem
