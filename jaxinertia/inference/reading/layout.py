"""Where in a file's lines the table is: comments, titles, names, units, rows, and a last row that was cut off."""

import csv
from collections import Counter
from typing import NamedTuple

from . import cells
from .cells import NOTHING, NUMBER, STAMP, TEXT
from .table import _HINT as COMMAS
from .table import Column, Table, split_unit

DELIMITERS = (";", "\t", "|", ",", " ")  # the earlier one where several do as well
SAMPLE = 400  # rows, from either end, that say what a column holds
COMMENTS = ("#", "%", "//")
SHOWN, WIDE = 6, 60  # lines of an excerpt, and letters of each
_WORDS = {"s", "ms", "us", "µs", "μs", "ns", "min", "h", "v", "mv", "volt", "volts", "a", "ma", "m", "cm", "mm", "deg"}
UNITS = _WORDS | {"rad", "°", "m/s", "m/s^2", "m/s²", "g", "hz", "sequence", "second", "seconds", "sec", "n", "pa"}


class NoTableError(ValueError):
    """Nothing in a text is a row of numbers."""


class Row(NamedTuple):
    """A line's cells without the empty ones at its end; `width` counts them too."""

    cells: list[str]
    line: int
    width: int


def excerpt(lines: list[str]) -> str:
    """The first lines, for a message."""
    return " | ".join(line[:WIDE].strip() for line in lines[:SHOWN]) or "(nothing)"


def of_text(path: str, text: str, said: list[str], missing: frozenset[str]) -> Table:
    """The table in a text.

    Raises:
        ValueError: if there is none, or a row has other cells than the names.
    """
    lines = text.splitlines()
    shown = excerpt(lines)
    kept = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    delimiter = None
    if kept and kept[0][1].strip().casefold().startswith("sep="):
        delimiter = kept.pop(0)[1].strip()[4:5] or None  # as Excel says it
    comments = [(i, line) for i, line in kept if line.lstrip().startswith(COMMENTS)]
    kept = [(i, line) for i, line in kept if not line.lstrip().startswith(COMMENTS)]
    if not kept:
        raise NoTableError(f"{path}: has no row of numbers; the file begins: {shown}")
    if delimiter is None:
        some = [line for _, line in kept[:SAMPLE]]
        delimiter = max(DELIMITERS, key=lambda each: _score(split(path, some, each), missing))
        if delimiter == "," and _is_one_column(split(path, some, delimiter)):
            delimiter = ";"
    numbers, texts = zip(*kept, strict=True)
    rows = [Row(stripped(row), numbers[i], len(row)) for i, row in split(path, list(texts), delimiter, numbered=True)]
    rows = [row for row in rows if row.cells]
    if not rows:
        raise NoTableError(f"{path}: has no row of numbers; the file begins: {shown}")
    ended = text.endswith(("\n", "\r"))
    if comments:
        said = [*said, f"{len(comments)} lines of comment passed over"]
    names = _names_in(comments, kept[0][0], delimiter)
    return arrange(path, rows, delimiter, said, missing, shown, ended, names)


def split(path: str, lines: list[str], delimiter: str, numbered: bool = False) -> list:
    """The cells of each line; with the index of the line on which they end, if `numbered`."""
    reader = csv.reader((line.strip(" ") for line in lines), delimiter=delimiter, skipinitialspace=True)
    try:
        return [(reader.line_num - 1, row) if numbered else row for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path}: near line {reader.line_num} of its table: {error}; is it a text file?") from error


def _is_one_column(rows: list[list[str]]) -> bool:
    """Whether a single name stands over two whole numbers in every line: one column, whose commas are decimal ones."""
    body = [row for row in rows if len(row) == 2 and all(map(cells.is_number, row))]
    head = rows[: len(rows) - len(body)]
    return (
        bool(head) and rows[len(head) :] == body and len(head[-1]) == 1 and not any("." in x for r in body for x in r)
    )


def stripped(row: list[str]) -> list[str]:
    row = [cell.strip() for cell in row]
    while row and not row[-1]:
        row.pop()
    return row


def _score(rows: list[list[str]], missing: frozenset[str]) -> tuple[int, int]:
    """How well a delimiter parts the lines that have numbers: cells that can be read, less those that cannot; and
    how many cells there are."""
    total = cells_in_all = 0
    for row in rows:
        counts = Counter(cells.kind(cell.strip(), missing) for cell in row)
        read = counts[NUMBER] + counts[STAMP]
        total += (read - counts[TEXT]) if read else 0
        cells_in_all += sum(bool(cell.strip()) for cell in row) if read else 0
    return total, cells_in_all


def _names_in(comments: list[tuple[int, str]], first: int, delimiter: str) -> list[str]:
    """The cells of a comment right above the first row: names, where nothing else has them."""
    if not comments or comments[-1][0] != first - 1:
        return []
    line = comments[-1][1].strip().lstrip("".join(COMMENTS)).strip()
    return stripped(next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), []))


def arrange(
    path: str,
    rows: list[Row],
    delimiter: str,
    said: list[str],
    missing: frozenset[str],
    shown: str,
    ended: bool,
    spare_names: list[str],
) -> Table:
    """The table in rows of cells: what stands above it, its names and units, its columns.

    `ended`: whether the last line was; if not, it may have been cut. `spare_names`: names, where no row has them.
    """
    said = list(said)
    holds = _columns_hold(rows, missing)
    if not any(holds):
        raise NoTableError(f"{path}: has no row of numbers; the file begins: {shown}")
    start = _start(rows, holds, missing)
    above, body = rows[:start], rows[start:]
    names, units, used = _names(above, len(holds))
    if not names and len(spare_names) == len(holds):
        names, said = spare_names, [*said, f"names from the comment above the table: {spare_names}"]
    passed = len(above) - used
    if passed:
        said.append(f"{passed} lines above the table passed over")
    body = _without_words(body, [row.cells for row in above[len(above) - used :]], holds, missing, said)
    usual = Counter(row.width for row in body).most_common(1)[0][0]
    width = len(names) or min(usual, max(len(row.cells) for row in body))
    body = _whole(path, body, width, bool(names), delimiter, ended, said)
    columns = []
    for j in range(width):
        name, unit = (names[j], split_unit(names[j])[1]) if j < len(names) else ("", "")
        unit = units[j].strip("()[] ") if j < len(units) else unit
        columns.append(Column(name, unit, [row.cells[j] if j < len(row.cells) else "" for row in body]))
    if delimiter == "," and any(cells.is_torn(column.cells) for column in columns):
        raise ValueError(f"{path}: whole numbers that begin with 0 between commas: {COMMAS}. It begins: {shown}")
    lines = [row.line for row in body]
    return Table(path, columns, lines, delimiter, said, [row.cells for row in above], shown, missing)


def _columns_hold(rows: list[Row], missing: frozenset[str]) -> list[str | None]:
    """What most cells of each column are, numbers or stamps; "" where text, None where nothing."""
    last = rows[-SAMPLE:]
    found: list[str | None] = []
    for j in range(max(len(row.cells) for row in last)):
        each = Counter(cells.kind(row.cells[j], missing) for row in last if j < len(row.cells))
        empty = each.pop(NOTHING, 0)
        most, count = each.most_common(1)[0] if each else (None, 0)
        found.append(most if most != TEXT else "" if count > empty else None)
    return found


def _agreement(row: Row, holds: list[str | None], missing: frozenset[str]) -> float:
    """The share of a row's cells that are what their columns hold; text counts too where nothing is held."""
    pairs = [(cells.kind(cell, missing), hold) for cell, hold in zip(row.cells, holds, strict=False)]
    told = [kind == hold for kind, hold in pairs if kind != NOTHING and (hold or (hold is None and kind == TEXT))]
    return sum(told) / len(told) if told else 0.0


def _start(rows: list[Row], holds: list[str | None], missing: frozenset[str]) -> int:
    """The first row of the table: from which on rows are what the columns hold, and not the names."""
    start = len(rows)
    for i, row in enumerate(rows):
        if all(_agreement(each, holds, missing) == 1 for each in (row, *rows[i + 1 : i + 2])):
            start = i
            break
    if start == len(rows):
        start = next((i for i, row in enumerate(rows) if _agreement(row, holds, missing) == 1), len(rows) - 1)
    first = start
    while start and _agreement(rows[start - 1], holds, missing) >= 0.5 and rows[start - 1].width == rows[first].width:
        start -= 1  # a row with a word where a reading was
    held = [(cell, hold) for cell, hold in zip(rows[0].cells, holds, strict=False) if hold]
    names = any(cells.kind(cell, missing) not in (hold, NOTHING) for cell, hold in held)
    return start + 1 if start == 0 < first and names else start


def _names(above: list[Row], columns: int) -> tuple[list[str], list[str], int]:
    """Names and units among the rows above the table, and how many rows that takes."""
    if not above:
        return [], [], 0
    last = above[-1].cells
    if len(above) > 1 and _are_units(last) and len(above[-2].cells) >= max(len(last), min(columns, 2)):
        return above[-2].cells, last, 2
    if len(last) == 1 < columns:  # a title
        return [], [], 0
    return last, [], 1


def _are_units(row: list[str]) -> bool:
    """Whether a row is one of units: in brackets, or known ones; numbers may stand beside them."""
    told = [cell for cell in row if cell and not cells.is_number(cell)]
    return bool(told) and all((cell[0] in "([" and cell[-1] in ")]") or cell.casefold() in UNITS for cell in told)


def _without_words(
    body: list[Row], names: list[list[str]], holds: list[str | None], missing: frozenset[str], said: list[str]
) -> list[Row]:
    """The rows without names and units that come again, as of a log that was begun anew, and lines of words below."""
    again = [row.line for row in body if row.cells in names]
    if again:
        said.append(f"names come again, passed over: line{'s' * (len(again) > 1)} {', '.join(map(str, again[:4]))}")
        body = [row for row in body if row.cells not in names]
    end = len(body)
    while end > 1 and _is_words(body[end - 1], holds, missing):
        end -= 1
    if end < len(body):
        first = " ".join(body[end].cells)[:WIDE]
        said.append(f"{len(body) - end} lines below the table passed over, from line {body[end].line}: {first!r}")
    return body[:end]


def _is_words(row: Row, holds: list[str | None], missing: frozenset[str]) -> bool:
    """Whether a row begins with a word where a number or a stamp should be: a summary, or a last remark."""
    cell, hold = next((pair for pair in zip(row.cells, holds, strict=False) if pair[0]), ("", None))
    return bool(hold) and cells.kind(cell, missing) == TEXT


def _whole(
    path: str,
    body: list[Row],
    width: int,
    named: bool,
    delimiter: str,
    ended: bool,
    said: list[str],
) -> list[Row]:
    """The rows, without a last one that was cut off; ValueError for others that have too few cells or too many."""
    if len(body) > 1 and not ended and _is_cut(body, width):
        said.append(f"the last line, {body[-1].line}, is cut off and left out: {delimiter.join(body[-1].cells)!r}")
        body = body[:-1]
    least = min(width, max(row.width for row in body))  # names may stand over nothing
    for row in body:
        if len(row.cells) > width or row.width < least:
            remedy = COMMAS if delimiter == "," and len(row.cells) > width else "complete it"
            of = f"the line of names {width}" if named else f"others {width}"
            raise ValueError(f"{path}: line {row.line} has {row.width} cells, {of}; {remedy}")
    return body


def _is_cut(body: list[Row], width: int) -> bool:
    """Whether a last line without an end has fewer cells than the others, or fewer digits than all of them have."""
    last, others = body[-1], body[:-1]
    if last.width < width and last.width < max(row.width for row in others):
        return True
    cell, j = last.cells[-1], len(last.cells) - 1
    if not cells.is_number(cell):
        torn = cell in "+-" or cells.kind(cell) == TEXT
        return torn and all(len(row.cells) > j and cells.is_number(row.cells[j]) for row in others)
    decimals = {_decimals(row.cells[j]) for row in others[-SAMPLE:] if len(row.cells) > j}
    return len(decimals) == 1 and len(others) > 2 and _decimals(cell) < decimals.pop()


def _decimals(cell: str) -> int:
    """How many letters follow the point, or the comma."""
    return len(cell.replace(",", ".").partition(".")[2])
