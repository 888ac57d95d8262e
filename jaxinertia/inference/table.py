"""Columns of numbers out of a CSV file, with errors that say which line is wrong."""

import csv
from pathlib import Path

import numpy as np

MISSING = ("", "nan", "na", "n/a", "null", "none", "-")


def read(path: str | Path) -> dict[str, list[str]]:
    """The columns as text, by the names in the first line.

    Raises:
        ValueError: if the file cannot be read, is empty, or a row has another number of cells than the first.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"path = {str(path)!r} cannot be read: {error}") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) < 2:
        raise ValueError(f"{path}: has {len(lines)} lines; it needs a line of column names and a row for each time")
    delimiter = max(",;\t", key=lines[0].count)
    names, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter))
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: columns {repeated} appear more than once; give each a name of its own")
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise ValueError(f"{path}: row {i + 1} has {len(row)} cells, the first line {len(names)}; complete it")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def column(path: str | Path, columns: dict[str, list[str]], name: str) -> np.ndarray:
    """One column as numbers, NaN where a cell is empty.

    Raises:
        ValueError: if there is no such column, or a cell is not a number.
    """
    if name not in columns:
        raise ValueError(f"{path}: there is no column {name!r}; there are {list(columns)}")
    cells = columns[name]
    try:
        return np.array(cells, float)
    except ValueError:
        return np.array([_number(path, name, i, cell) for i, cell in enumerate(cells)])


def _number(path: str | Path, name: str, i: int, cell: str) -> float:
    if cell.lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError as error:
        raise ValueError(f"{path}: column {name!r}, row {i + 1}: {cell!r} is not a number") from error
