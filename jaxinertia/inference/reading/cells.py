"""What one cell of a text table is: a number, a stamp, nothing, or text."""

import re
from collections.abc import Iterable
from typing import Any

MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})
NUMBER, STAMP, NOTHING, TEXT = "number", "stamp", "nothing", "text"
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?|[+-]?\d+,")  # such as -0,25e-3
STAMPS = re.compile(r"\d{4}-\d\d?-\d\d?([T ].*)?|\d{1,4}[/.]\d{1,2}[/.]\d{2,4}([T ,].*)?|\d+:\d\d.*")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_PADDED = re.compile(r"[+-]?0\d+")


def is_number(cell: str) -> bool:
    """With a point, a comma, or neither; nan is nothing rather than a number."""
    try:
        float(cell)
    except ValueError:
        return COMMA.fullmatch(cell) is not None
    return True


def kind(cell: str, missing: Iterable[str] = ()) -> str:
    """One of NUMBER, STAMP, NOTHING, TEXT; `missing` are more words for nothing, in small letters."""
    small = cell.casefold()
    if small in MISSING or small in missing:
        return NOTHING
    if is_number(cell):
        return NUMBER
    return STAMP if STAMPS.fullmatch(cell) else TEXT


def may_be_thousands(cells: Iterable[str]) -> bool:
    """Whether every comma in these cells could part thousands, as in 1,234: none of them must be a decimal one."""
    return all(_THOUSANDS.fullmatch(cell) for cell in cells if "," in cell)


def is_torn(cells: Iterable[str]) -> bool:
    """Whether whole numbers begin with a zero, as what stood behind a decimal comma does: 0,05 split at its comma."""
    cells = list(cells)
    return any(_PADDED.fullmatch(cell) for cell in cells) and not any("." in cell for cell in cells)


def words(name: str, x: Any) -> frozenset[str]:
    """The words for a missing reading that an option gives: one, or several in a list."""
    several = [x] if isinstance(x, str) else list(x or ())
    if not all(isinstance(word, str) for word in several):
        raise ValueError(f"{name} = {x!r} must be a word, or a list of words, such as 'OVER'")
    return frozenset(word.strip().casefold() for word in several)
