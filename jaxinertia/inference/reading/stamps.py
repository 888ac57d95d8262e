"""A clock's text as seconds from the first reading: dates in several forms, or hours, minutes and seconds."""

import re
from collections.abc import Callable
from datetime import datetime

import numpy as np

from ..times import in_seconds

_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d*)?)\s*(AM|PM|am|pm)?")
_TOGETHER = re.compile(r"(\d{8})[Tt]?(\d{6})(.*)")
_ZONE = re.compile(r" ?(?:UTC|GMT)$")
_HALF = re.compile(r"([ap])\.\s?m\.", re.IGNORECASE)
_NAIVE = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.]+)?")
_ORDERS = (
    *("%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d/%m/%y", "%m/%d/%y"),
    *("%d/%b/%Y", "%d/%B/%Y", "%d/%b/%y", "%b/%d/%Y", "%B/%d/%Y"),
)
_HOURS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M:%S.%f %p")
DAY = 86400.0


def seconds(cells: list[str]) -> tuple[np.ndarray, str]:
    """Seconds from the first reading, and how the stamps were read, in words.

    Raises:
        ValueError: if they have no form that is known, or several that differ.
    """
    cells = [_ZONE.sub("Z", _HALF.sub(r"\1m", cell)) for cell in cells]
    if all(_TOGETHER.fullmatch(cell) for cell in cells):
        cells = [_TOGETHER.sub(r"\1T\2\3", cell) for cell in cells]
        return _of_dates(cells, datetime.fromisoformat), "dates"
    if all(_CLOCK.fullmatch(cell) for cell in cells):
        return _of_clock(cells)
    if re.match(r"\d{4}-", cells[0]):
        return _of_dates(cells, _iso), "dates"
    texts = [_named_month(re.sub(r"[.\-](?=\d{1,4}[.\-/ ]|\d{4}\b)", "/", cell, count=2)) for cell in cells]
    texts = [re.sub(r"[ ,T]+", " ", text.replace("/ ", "/")).strip() for text in texts]
    readings = {}
    for order in _ORDERS:
        form = _form(texts[0], order)
        if form is None:
            continue
        try:
            readings[order] = _of_dates(texts, lambda text, form=form: _by(text, form))
        except ValueError:
            continue
    if not readings:
        raise ValueError(f"{cells[0]!r} is no date or time of a known form; write it as 2024-05-01T12:00:00.000")
    orders, values = list(readings), list(readings.values())
    if any(not np.array_equal(values[0], other) for other in values[1:]):
        forms = " or ".join(order.replace("%", "").lower() for order in orders)
        raise ValueError(f"{cells[0]!r} is a date by {forms}; write it as 2024-05-01T12:00:00.000")
    return values[0], "dates"


def _named_month(text: str) -> str:
    """A date whose month is a word, as 01-May-2024 or May 1, 2024, with slashes; others as they are."""
    found = re.match(r"(\d+|[A-Za-z]+)\.?[-/ .]+(\d+|[A-Za-z]+)\.?[-/ .,]+(\d+)(.*)", text)
    return (
        text
        if found is None or not re.search("[A-Za-z]", found[1] + found[2])
        else "/".join(found.groups()[:3]) + found[4]
    )


def _form(text: str, order: str) -> str | None:
    """The form of one text, with its day, month and year in this order."""
    for hours in _HOURS:
        try:
            datetime.strptime(text, order + hours)
            return order + hours
        except ValueError:
            continue
    return None


def _by(text: str, form: str) -> datetime:
    """One text by its form; a fraction of a second may be absent."""
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return datetime.strptime(text, form.replace(".%f", ""))


def _iso(text: str) -> datetime | np.datetime64:
    """To the nanosecond where no zone is given, or it is Z; Python keeps microseconds of the others."""
    text = text.replace(",", ".")
    bare = text[:-1] if text.endswith(("Z", "z")) else text
    return np.datetime64(bare.replace(" ", "T", 1), "ns") if _NAIVE.fullmatch(bare) else datetime.fromisoformat(text)


def _of_dates(texts: list[str], read: Callable) -> np.ndarray:
    dates = []
    for i, text in enumerate(texts):
        try:
            dates.append(read(text))
        except ValueError as error:
            raise ValueError(f"ts[{i}]: {text!r} is no date like {texts[0]!r} before it: {error}") from error
    return np.asarray(in_seconds("ts", dates), float)


def _of_clock(cells: list[str]) -> tuple[np.ndarray, str]:
    """Hours, minutes and seconds, or minutes and seconds; a clock that passes midnight goes on."""
    out = np.empty(len(cells))
    for i, cell in enumerate(cells):
        found = _CLOCK.fullmatch(cell)
        hours, minutes, rest, half = found.groups()  # type: ignore[union-attr]
        if hours is None and not re.search(r"[.,]", rest):
            raise ValueError(f"ts[{i}]: {cell!r} may be hours and minutes, or minutes and seconds; write h:m:s")
        at = int(hours or 0) % (12 if half else 10**9) + 12 * ((half or "").lower() == "pm")
        out[i] = (at * 60 + int(minutes)) * 60 + float(rest.replace(",", "."))
    falls = np.diff(out) < -DAY / 2
    out[1:] += DAY * np.cumsum(falls)
    first = out[0]
    told = "hours, minutes and seconds" if cells[0].count(":") == 2 else "minutes and seconds"
    return np.round(out - first, 9), told + (", which pass midnight" if falls.any() else "")
