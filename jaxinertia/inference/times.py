"""Dates and spans of time as seconds from the first reading; numbers stay in the unit they have."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

_DATES = (date, timedelta, np.datetime64, np.timedelta64)  # pandas' own are of the first two kinds
_REMEDY = "drop the row, or give it a time"
_ZONES = "give all of them a time zone, or none"


def in_seconds(name: str, x: Any) -> Any:
    """Dates, spans of time, and what pandas has of them, in seconds from the first; anything else as it is.

    Dates of different time zones are put on one clock. Differences are taken before numbers are rounded: nanoseconds
    of this century are kept.

    Raises:
        ValueError: for a date that is missing (NaT), dates beside numbers, or some that have a time zone and some not.
    """
    if np.ma.isMaskedArray(x) and x.dtype.kind in "mM":
        x = np.where(np.ma.getmaskarray(x), np.array("NaT", x.dtype), x.data)
    try:
        raw = np.asarray(x)
    except (TypeError, ValueError):  # rows of unequal length, which others refuse
        return x
    if raw.size and raw.dtype == object and any(isinstance(value, _DATES) for value in raw.ravel()):
        raw = _from_objects(name, raw)
    if raw.dtype.kind not in "mM" or not raw.size:
        return x
    missing = np.isnat(raw)
    if missing.any():
        raise ValueError(f"{name} has NaT at entry {int(np.argmax(missing))}; {_REMEDY}")
    if raw.dtype.kind == "M" and np.datetime_data(raw.dtype)[0] in "YM":
        raw = raw.astype("datetime64[s]")  # years and months are of no fixed length; what begins with them is a date
    try:
        return (raw - raw.ravel()[0]) / np.timedelta64(1, "s")
    except TypeError as error:  # months, of no fixed length
        raise ValueError(f"{name} is in {raw.dtype}, of no fixed length; pass seconds") from error


def _from_objects(name: str, raw: np.ndarray) -> np.ndarray:
    """Python's and pandas' dates, one by one, as spans of time from the first."""
    spans = []
    first = None
    for i, value in enumerate(raw.ravel()):
        if value is None or value != value:  # noqa: PLR0124  NaT, whoever made it
            raise ValueError(f"{name} has {value} at entry {i}; {_REMEDY}")
        if not isinstance(value, _DATES):
            raise ValueError(f"{name} has {value!r} at entry {i}, beside dates; pass times of one kind")
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC)  # else a zone's own clock, which jumps twice a year
        first = value if first is None else first
        try:
            span = value - first
        except TypeError as error:
            raise ValueError(
                f"{name} has {value!r} at entry {i} after {first!r}; pass times of one kind, and {_ZONES}"
            ) from error
        exact = getattr(span, "to_timedelta64", None)  # pandas' own, to the nanosecond
        spans.append(np.timedelta64(span) if exact is None else exact())
    return np.array(spans).reshape(raw.shape)
