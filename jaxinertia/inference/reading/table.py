"""A table's columns as numbers or as labels, with errors that say which line is wrong."""

import re
from typing import Any, NamedTuple

import numpy as np

from . import cells
from .cells import COMMA, MISSING

_HINT = "decimal commas? write points, or separate the columns by semicolons or tabs"
_POINTS = "its points may part thousands, as other columns have decimal commas; write no points, or points in all"
MOST = 12  # names in a message
_REPEATED, _ALONE = 1e3, 1e6  # times all other readings: farther out is no reading, if it is there again, or only once
_THOUSANDS = "its commas may be decimal ones or part thousands; write points, or no commas"


class Column(NamedTuple):
    """One column: its name and unit, "" where there is none, and its cells, as text or as an array."""

    name: str
    unit: str
    cells: Any

    @property
    def is_text(self) -> bool:
        return isinstance(self.cells, list)


class Table(NamedTuple):
    """What a file holds. `lines`: each row's line in the file, from 1. `said`: what was found, in words.

    `above`: the rows above the table, as cells. `excerpt`: the first lines, for messages.
    """

    path: str
    columns: list[Column]
    lines: list[int]
    delimiter: str
    said: list[str]
    above: list[list[str]]
    excerpt: str
    missing: frozenset[str]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def refuse(self, why: str, remedy: str) -> ValueError:
        """An error about the whole file, with its first lines."""
        return ValueError(f"{self.path}: {why}; {remedy}. The file begins: {self.excerpt}")

    def at(self, i: int, row: int) -> str:
        """Where a cell is, in words."""
        return f"{self.path}: column {self.title(i)}, line {self.lines[row]}"

    def title(self, i: int) -> str:
        """A column as it is told: by its name, or by its number."""
        return repr(self.columns[i].name) if self.columns[i].name else str(i)

    def find(self, role: str, key: str | int) -> int:
        """Which column a name or a number means: a name as it is written, in other letters, or without its unit.

        Raises:
            ValueError: if there is none, or several.
        """
        if isinstance(key, bool) or not isinstance(key, str | int | np.integer):
            raise ValueError(f"{role} = {key!r} must be the name of a column, or its number, from 0")
        if isinstance(key, str):
            for form in (str, str.strip, str.casefold, _bare):
                same = [i for i, name in enumerate(self.names) if name and form(name) == form(key)]
                if len(same) == 1:
                    return same[0]
                if same:
                    twice = f"column {key!r} appears more than once, as numbers {same}"
                    raise ValueError(f"{self.path}: {twice}; pass the number of one, from 0")
        if isinstance(key, str) and not key.strip().isdecimal():
            raise self.refuse(
                f"there is no column {key!r}; there are {self.shown()}", f"pass one of them as {role}, or its number"
            )
        if not 0 <= int(key) < len(self.columns):
            count = len(self.columns)
            raise self.refuse(f"{role} = {key} is none of its {count} columns", f"pass a number from 0 to {count - 1}")
        return int(key)

    def shown(self) -> str:
        """The columns' names, or how many there are."""
        if not any(self.names):
            return f"{len(self.columns)} columns without names, from number 0"
        more = f" and {len(self.names) - MOST} more" if len(self.names) > MOST else ""
        return f"{self.names[:MOST]}{more}"

    def kept(self, rows: np.ndarray, told: str) -> "Table":
        """Some rows, and in words why the others are left out."""
        columns = [
            each._replace(cells=[each.cells[k] for k in rows] if each.is_text else each.cells[rows])
            for each in self.columns
        ]
        return self._replace(columns=columns, lines=[self.lines[k] for k in rows], said=[*self.said, told])

    def kinds(self, i: int) -> set[str]:
        """Which kinds of cells a column has, but for those that hold nothing."""
        column = self.columns[i]
        if not column.is_text:
            return {cells.STAMP if column.cells.dtype.kind in "mMO" else cells.NUMBER}
        return {cells.kind(cell, self.missing) for cell in column.cells} - {cells.NOTHING}

    def numbers(self, i: int, missing: bool = True) -> np.ndarray:
        """One column as numbers, NaN where a cell is empty; commas are decimal ones where no cell has a point.

        Raises:
            ValueError: if a cell is not a finite number, or empty where it must not be.
        """
        column = self.columns[i]
        if column.is_text:
            values = self._read(i)
        else:
            try:
                values = np.asarray(column.cells, float)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{self.path}: column {self.title(i)} does not hold numbers: {error}") from error
        words = [float(word) for word in self.missing if cells.is_float(word)]
        if words and missing:
            values = np.where(np.isin(values, words), np.nan, values)
        bad = np.isinf(values) if missing else ~np.isfinite(values)
        told = "is no finite number"
        if missing and not np.any(bad):
            bad, told = _beyond(values), "is far beyond all other readings, as an instrument's word for none"
        if np.any(bad):
            row = int(np.argmax(bad))
            cell = str(column.cells[row])
            remedy = (
                f"if it stands for no reading, pass missing={cell!r}" if missing else "fill it in, or drop the line"
            )
            raise ValueError(f"{self.at(i, row)}: {cell!r} {told}; {remedy}")
        return values

    def _read(self, i: int) -> np.ndarray:
        column = self.columns[i].cells
        if self.delimiter != "," and cells.points_may_be_thousands(column) and self._has_decimal_commas():
            row = next(row for row, cell in enumerate(column) if "." in cell)
            raise ValueError(f"{self.at(i, row)}: {column[row]!r}: {_POINTS}")
        try:
            return np.array(column, float)
        except ValueError:
            column = [cells.plain(cell) for cell in column]
        if any("," in cell for cell in column) and not any("." in cell for cell in column):
            if self.delimiter == "," and self._all_thousands():
                row = next(row for row, cell in enumerate(column) if "," in cell)
                raise ValueError(f"{self.at(i, row)}: {column[row]!r}: {_THOUSANDS}")
            column = [cell.replace(",", ".") if COMMA.fullmatch(cell) else cell for cell in column]
        try:
            return np.array(column, float)
        except ValueError:
            return np.array([self._number(i, row, cell) for row, cell in enumerate(column)])

    def _has_decimal_commas(self) -> bool:
        """Whether a column's commas can only be decimal ones."""
        texts = [column.cells for column in self.columns if column.is_text]
        return any(any(map(COMMA.fullmatch, text)) and not cells.may_be_thousands(text) for text in texts)

    def _all_thousands(self) -> bool:
        """Whether no cell of the table settles what its commas are."""
        return all(cells.may_be_thousands(column.cells) for column in self.columns if column.is_text)

    def labels(self, i: int) -> np.ndarray:
        """One column as it is written, or as numbers where all of it is numbers.

        Raises:
            ValueError: if a cell is empty.
        """
        column = [str(cell) for cell in self.columns[i].cells]
        empty = next((row for row, cell in enumerate(column) if cell.casefold() in MISSING), None)
        if empty is not None:
            raise ValueError(f"{self.at(i, empty)}: {column[empty]!r} is no label; give every row a segment")
        try:
            return np.array(column, float)
        except ValueError:
            return np.array(column)

    def named(self, message: str) -> str:
        """A message about entries ts[i], with their lines in the file."""
        return re.sub(r"\bts\[(\d+)\]", lambda found: f"{found[0]} (line {self.lines[int(found[1])]})", message)

    def _number(self, i: int, row: int, cell: str) -> float:
        if cells.kind(cell, self.missing) == cells.NOTHING:
            return float("nan")
        try:
            return float(cell)
        except ValueError as error:
            cell = self.columns[i].cells[row]
            mixed = "the column has commas and points; write points"
            hint = f"if it stands for no reading, pass missing={cell!r}"
            if COMMA.fullmatch(cell):
                hint = _HINT if self.delimiter == "," else mixed
            elif cells.STAMPS.fullmatch(cell):
                hint = "stamps can only be times"
            raise ValueError(f"{self.at(i, row)}: {cell!r} is not a number; {hint}") from error


def _beyond(values: np.ndarray) -> np.ndarray:
    """Where readings are one number that is out of all proportion to the others; a motion passes through what lies
    between, a code for none does not."""
    off = np.abs(values - np.nanmedian(values)) if np.isfinite(values).any() else np.zeros(len(values))
    far = off == np.nanmax(off, initial=0.0)
    rest = np.nanmax(np.where(far, 0.0, off), initial=0.0)
    reach = _REPEATED if far.sum() > 1 else _ALONE
    return far & (rest > 0) & (off > reach * rest)


def _bare(name: str) -> str:
    """A name without the unit that follows it, in small letters."""
    return split_unit(name)[0].casefold()


_IN_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]\s*")
_AFTER_SLASH = re.compile(r"(.*?\S)\s*/\s*(\S+)\s*")


def split_unit(name: str) -> tuple[str, str]:
    """A name and its unit, as in "Time (ms)", "t [s]" or "t / s"; the unit is "" where none is said."""
    for form in (_IN_BRACKETS, _AFTER_SLASH):
        found = form.fullmatch(name)
        if found and found[1].strip():
            return found[1].strip(), found[2]
    return name.strip(), ""
