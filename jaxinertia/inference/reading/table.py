"""A table's columns as numbers or as labels, with errors that say which line is wrong."""

import re
from typing import Any, NamedTuple

import numpy as np

from . import cells
from .cells import COMMA, MISSING

_HINT = "decimal commas? write points, or separate the columns by semicolons or tabs"
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
        return str(self.names) if any(self.names) else f"{len(self.columns)} columns without names, from number 0"

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
        bad = np.isinf(values) if missing else ~np.isfinite(values)
        if np.any(bad):
            row = int(np.argmax(bad))
            remedy = "leave a missing reading empty" if missing else "fill it in, or drop the line"
            raise ValueError(f"{self.at(i, row)}: {str(column.cells[row])!r} is no finite number; {remedy}")
        return values

    def _read(self, i: int) -> np.ndarray:
        column = self.columns[i].cells
        if any("," in cell for cell in column) and not any("." in cell for cell in column):
            if self.delimiter == "," and self._all_thousands():
                row = next(row for row, cell in enumerate(column) if "," in cell)
                raise ValueError(f"{self.at(i, row)}: {column[row]!r}: {_THOUSANDS}")
            column = [cell.replace(",", ".") if COMMA.fullmatch(cell) else cell for cell in column]
        try:
            return np.array(column, float)
        except ValueError:
            return np.array([self._number(i, row, cell) for row, cell in enumerate(column)])

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
            mixed = "the column has commas and points; write points"
            hint = f"if it stands for no reading, pass missing={cell!r}"
            if COMMA.fullmatch(cell):
                hint = _HINT if self.delimiter == "," else mixed
            elif cells.STAMPS.fullmatch(cell):
                hint = "stamps can only be times"
            raise ValueError(f"{self.at(i, row)}: {cell!r} is not a number; {hint}") from error


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
