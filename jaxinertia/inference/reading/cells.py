"""What one cell of a text table is: a number, a stamp, nothing, or text."""

import re
from collections.abc import Iterable
from typing import Any

MISSING = frozenset(
    {"", "nan", "na", "n/a", "null", "none", "-", "--", "---", "#n/a", "#na", "nan(ind)", "-nan(ind)", "-nan"}
    | {"1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind"}  # as C and spreadsheets write what is no number
)
NUMBER, STAMP, NOTHING, TEXT = "number", "stamp", "nothing", "text"
COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?|[+-]?\d+,")  # such as -0,25e-3
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
STAMPS = re.compile(
    r"\d{4}-\d\d?-\d\d?([T ].*)?|\d{1,4}[/.]\d{1,2}[/.]\d{2,4}([T ,].*)?|\d+:\d\d.*"
    rf"|\d{{1,2}}[-/. ]{_MONTH}[-/. ,]+\d{{2,4}}.*|{_MONTH} \d{{1,2}}[ ,]+\d{{4}}.*|\d{{8}}[Tt]\d{{6}}.*",
    re.IGNORECASE,
)
# Year to second in one number, as 20240501115955.05
TOGETHER = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])(?:[0-5]\d){2}(?:\.\d*)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_PARTS = "[ \u00a0\u2009\u202f'\u2019]"  # what parts thousands and is no decimal mark: spaces, apostrophes
_SPACED = re.compile(rf"[+-]?\d{{1,3}}({_PARTS}\d{{3}})+([.,]\d*)?")
_FORTRAN = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)")
_PADDED = re.compile(r"[+-]?0\d+")


def is_number(cell: str) -> bool:
    """With a point, a comma, or neither; nan is nothing rather than a number."""
    return is_float(cell) or COMMA.fullmatch(cell) is not None or (plain(cell) != cell and is_number(plain(cell)))


def is_float(cell: str) -> bool:
    """As Python reads it."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def plain(cell: str) -> str:
    """A number's text without what is only its dress: a printed minus, single quotes, parted thousands, Fortran's D."""
    cell = cell.replace("\u2212", "-")
    if len(cell) > 2 and cell[0] == cell[-1] == "'":
        cell = cell[1:-1].strip()
    if _SPACED.fullmatch(cell):
        cell = re.sub(_PARTS, "", cell)
    return _FORTRAN.sub(r"\1e\2", cell) if _FORTRAN.fullmatch(cell) else cell


def kind(cell: str, missing: Iterable[str] = ()) -> str:
    """One of NUMBER, STAMP, NOTHING, TEXT; `missing` are more words for nothing, in small letters."""
    small = cell.casefold()
    if small in MISSING or small in missing:
        return NOTHING
    if TOGETHER.fullmatch(cell):
        return STAMP
    if is_number(cell):
        return NUMBER
    return STAMP if STAMPS.fullmatch(cell) else TEXT


def may_be_thousands(cells: Iterable[str]) -> bool:
    """Whether every comma in these cells could part thousands, as in 1,234: none of them must be a decimal one."""
    return all(_THOUSANDS.fullmatch(cell) for cell in cells if "," in cell)


def points_may_be_thousands(cells: Iterable[str]) -> bool:
    """Whether there are points in these cells, and each could part thousands, as in 1.234."""
    pointed = [cell for cell in cells if "." in cell]
    return bool(pointed) and all(_THOUSANDS.fullmatch(cell.replace(".", ",")) for cell in pointed)


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
