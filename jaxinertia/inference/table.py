"""Columns of numbers out of a CSV file, with errors that say which line is wrong."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

MISSING = ("", "nan", "na", "n/a", "null", "none", "-")
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?|[+-]?\d+,")  # such as -0,25e-3
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d?:\d\d")
_DATE_HINT = "for dates pass the columns of pandas.read_csv(..., parse_dates=[...]) to ji.Observations"
_HINT = "decimal commas? write points, or separate the columns by semicolons or tabs"


class Table(NamedTuple):
    """The columns as text, by the names in the first line; `lines` has each row's line in the file, counted from 1."""

    path: str
    columns: dict[str, list[str]]
    lines: list[int]
    delimiter: str

    def numbers(self, name: str, missing: bool = True) -> np.ndarray:
        """One column as numbers, NaN where a cell is empty; a comma is a decimal point where none parts the columns.

        Raises:
            ValueError: if there is no such column, or a cell is not a finite number, or empty where it must not be.
        """
        cells = self._cells(name)
        if self.delimiter != "," and not any("." in cell for cell in cells):
            cells = [cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in cells]
        try:
            values = np.array(cells, float)
        except ValueError:
            values = np.array([self._number(name, i, cell) for i, cell in enumerate(cells)])
        bad = np.isinf(values) if missing else ~np.isfinite(values)
        if np.any(bad):
            i = int(np.argmax(bad))
            remedy = "leave a missing reading empty" if missing else "fill it in, or drop the line"
            raise ValueError(f"{self._at(name, i)}: {cells[i]!r} is no finite number; {remedy}")
        return values

    def labels(self, name: str) -> np.ndarray:
        """One column as it is written, or as numbers where all of it is numbers.

        Raises:
            ValueError: if there is no such column, or a cell is empty.
        """
        cells = self._cells(name)
        empty = next((i for i, cell in enumerate(cells) if cell.lower() in MISSING), None)
        if empty is not None:
            raise ValueError(f"{self._at(name, empty)}: {cells[empty]!r} is no label; give every row a segment")
        try:
            return np.array(cells, float)
        except ValueError:
            return np.array(cells)

    def named(self, message: str) -> str:
        """A message about entries ts[i], with their lines in the file."""
        return re.sub(r"\bts\[(\d+)\]", lambda found: f"{found[0]} (line {self.lines[int(found[1])]})", message)

    def _cells(self, name: str) -> list[str]:
        if name not in self.columns:
            raise ValueError(f"{self.path}: there is no column {name!r}; there are {list(self.columns)}")
        return self.columns[name]

    def _number(self, name: str, i: int, cell: str) -> float:
        if cell.lower() in MISSING:
            return float("nan")
        try:
            return float(cell)
        except ValueError as error:
            mixed = "the column has commas and points; write points"
            hint = _HINT if self.delimiter == "," else mixed
            hint = f"; {hint}" if _COMMA.fullmatch(cell) else f"; {_DATE_HINT}" if _DATE.match(cell) else ""
            raise ValueError(f"{self._at(name, i)}: {cell!r} is not a number{hint}") from error

    def _at(self, name: str, i: int) -> str:
        return f"{self.path}: column {name!r}, line {self.lines[i]}"


def read(path: str | Path) -> Table:
    """The table in a file: comma, semicolon or tab between columns, empty lines and those that start with # left out.

    Raises:
        ValueError: if the file cannot be read, is empty, or a row has another number of cells than the first.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"path = {str(path)!r} cannot be read: {error}") from error
    kept = [(i, x) for i, x in enumerate(text.splitlines(), 1) if x.strip() and not x.lstrip().startswith("#")]
    if len(kept) < 2:
        raise ValueError(f"{path}: has {len(kept)} lines; it needs a line of column names and a row for each time")
    numbers, lines = zip(*kept, strict=True)
    delimiter = max(",;\t", key=lines[0].count)
    reader = csv.reader(lines, delimiter=delimiter)
    rows = [([cell.strip() for cell in row], numbers[reader.line_num - 1]) for row in reader]
    names = rows.pop(0)[0]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}: columns {repeated} appear more than once; give each a name of its own")
    for row, line in rows:
        if len(row) != len(names):
            remedy = _HINT if delimiter == "," and len(row) > len(names) else "complete it"
            raise ValueError(f"{path}: line {line} has {len(row)} cells, the line of names {len(names)}; {remedy}")
    columns = {name: [row[i] for row, _ in rows] for i, name in enumerate(names)}
    return Table(str(path), columns, [line for _, line in rows], delimiter)
