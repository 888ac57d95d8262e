"""The times of a file's rows: of their unit, of a rate, of a row number, and of ticks coarser than the readings."""

from typing import Any

import numpy as np

# Seconds in each unit, by the ways in which it is written.
_WRITTEN = {
    1.0: "s sec secs second seconds",
    1e-3: "ms msec millis millisecond milliseconds",
    1e-6: "us µs μs usec micros microsecond microseconds",
    1e-9: "ns nanosecond nanoseconds",
    60.0: "min mins minute minutes",
    3600.0: "h hr hrs hour hours",
    86400.0: "d day days",
}
UNITS = {word: value for value, line in _WRITTEN.items() for word in line.split()}
EPOCHS = {1.0: "s", 1e3: "ms", 1e6: "us", 1e9: "ns"}  # since 1970: so many in a second, and how they are told
CENTURY = 1e9, 3e9  # seconds since 1970 of the years from 2001 to 2065
FEWEST = 8  # rows of a run
LEAST = 0.1  # of the times that repeat before they are taken for a clock's ticks


def factor(unit: Any) -> float:
    """Seconds in a unit of time; ValueError unless it is one."""
    if not isinstance(unit, str) or unit.strip().casefold() not in UNITS:
        known = [line.split()[0] for line in _WRITTEN.values()]
        raise ValueError(f"time_unit = {unit!r} must be one of {known}")
    return UNITS[unit.strip().casefold()]


def of_rate(rate: Any, n: int) -> np.ndarray:
    """n times, from 0, of so many readings per unit of time; ValueError unless the rate is a positive number."""
    try:
        value = float(rate)
    except (TypeError, ValueError):
        value = 0.0
    if isinstance(rate, bool) or not 0 < value < np.inf:
        raise ValueError(f"rate = {rate!r} must be a number above 0: readings per unit of time")
    return np.arange(n) / value


def counted(ts: np.ndarray) -> bool:
    """Whether these are the numbers of the rows."""
    return bool(np.array_equal(np.diff(ts), np.ones(len(ts) - 1)))


def epoch(ts: np.ndarray) -> str:
    """The unit of times since 1970, by their size; "" where they are none."""
    low, high = CENTURY
    return next((unit for per, unit in EPOCHS.items() if low <= ts.min() / per and ts.max() / per <= high), "")


def restarts(ts: np.ndarray) -> np.ndarray | None:
    """Which run each row is of, where times start anew, as of a log that was begun again or a counter that ran over.

    None where they do not, or fall in another way: a later run begins no later than the one before it began.
    """
    falls = np.flatnonzero(np.diff(ts) < 0) + 1
    if not falls.size:
        return None
    first = ts[np.concatenate([[0], falls])]
    counts = np.diff(np.concatenate([[0], falls, [len(ts)]]))
    usual = float(np.median(np.diff(ts)))
    if counts.min() < FEWEST or np.any(np.diff(first) > usual):
        return None
    return np.repeat(np.arange(len(counts)), counts)


def of_ticks(ts: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Times that repeat because their clock ticks more slowly than readings come, spread evenly; and that, in words.

    None unless every tick holds as many readings as even spacing would give it: time k lies within a tick of a line.
    """
    steps = np.diff(ts)
    if len(ts) < 4 or np.any(steps < 0) or np.mean(steps == 0) < LEAST or not np.any(steps > 0):
        return None
    tick = float(np.min(steps[steps > 0]))
    k = np.arange(len(ts))
    slope, start = np.polyfit(k, ts, 1)
    off = ts - (start + slope * k)
    if np.ptp(off) > 1.01 * tick + abs(slope) or slope >= tick:
        return None
    error = float(np.sqrt(np.mean(off**2) / np.sum((k - k.mean()) ** 2)))
    told = (
        f"times repeat, in ticks of {tick:.6g} that hold {tick / slope:.3g} readings each: "
        f"taken as evenly spaced by {slope:.6g} +- {error:.1g}"
    )
    return start + slope * k, told
