"""Which column is what: by name, by number, or the only one that it can be; as arrays, and in words."""

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..times import in_seconds
from . import cells, clock, source, stamps
from .table import Column, Table, split_unit

RADIANS = np.pi / 180  # in a degree
TIMES = (
    "t",
    "time",
    "times",
    "timestamp",
    "datetime",
    "date",
    "elapsed",
    "zeit",
    "temps",
    "tiempo",
    "tempo",
    "tijd",
    "tid",
    "aika",
    "czas",
    "время",
    "時間",
    "时间",
    "uhrzeit",
    "datum",
    "heure",
    "hora",
    "x_value",
)
# Names that are units, and no others', as min is of a least value; and how far a second clock may be off a line.
NAMED_UNITS = frozenset(unit for unit in clock.UNITS if len(unit) > 2 and unit not in ("min", "mins", "day", "days"))
NAMED_UNITS |= {"ms"}
STRAIGHT = 1e-3
DEGREES = ("deg", "degree", "degrees", "°")

Key = str | int | None


class Found(NamedTuple):
    """Arrays by their names in `Observations`, how the file was read, and the names of times and first positions."""

    arrays: dict[str, Any]
    said: tuple[str, ...]
    labels: tuple[str, str]
    table: Table


def read(
    path: str | Path,
    *,
    time: Key = None,
    position: Any = None,
    momentum: Any = None,
    input: Any = None,
    segment: Key = None,
    position_error: Any = None,
    rate: float | None = None,
    angle: str = "rad",
    time_unit: str | None = None,
    missing: Any = None,
) -> Found:
    """The columns of a file; see `Observations.from_csv`.

    Raises:
        ValueError: for a bad file, or where it is unclear which column is what.
    """
    if angle not in ("rad", "deg"):
        raise ValueError(f"angle = {angle!r} must be 'rad' or 'deg'")
    if rate is not None and (time is not None or time_unit is not None):
        raise ValueError(f"rate = {rate!r} is for a file without times; pass it without time and time_unit")
    if time_unit is not None:
        clock.factor(time_unit)
    table = source.read(path, cells.words("missing", missing))
    keys = dict(position=position, momentum=momentum, input=input, segment=segment)
    chosen = _chosen(table, keys)
    if isinstance(position_error, str):
        chosen["position_error"] = [table.find("position_error", position_error)]
    chosen["time"] = _time(table, time, rate, {i for some in chosen.values() for i in some})
    if not chosen["position"]:
        chosen["position"] = [_position(table, chosen)]
    _check_apart(table, chosen)
    table = _without_repeats(table, chosen["time"])
    arrays: dict[str, Any] = {"position_error": position_error}
    for role, may_miss in (("position", True), ("momentum", True), ("input", False), ("position_error", False)):
        if chosen.get(role):
            arrays[role] = _stacked(table, chosen[role], may_miss, isinstance(keys.get(role), list | tuple))
    if angle == "deg":
        scaled = [role for role in ("position", "momentum", "position_error") if arrays.get(role) is not None]
        arrays |= {role: np.asarray(arrays[role], float) * RADIANS for role in scaled}
    arrays["segment"] = table.labels(chosen["segment"][0]) if chosen["segment"] else None
    ts, told, label = _times(table, chosen["time"], rate, time_unit, arrays["segment"])
    arrays["ts"] = ts
    said = [told, *_words(table, chosen, angle), *table.said]
    runs = clock.restarts(ts) if arrays["segment"] is None else None
    if runs is not None:
        _check_runs(table, ts, runs, arrays["position"])
        arrays["segment"] = runs
        lines = ", ".join(str(table.lines[k]) for k in (np.flatnonzero(np.diff(runs)) + 1)[:4])
        said.append(f"times start anew at line {lines}: {runs[-1] + 1} runs, each a segment")
    first = chosen["position"][0]
    name = table.columns[first].name or f"column {first}"
    return Found(arrays, tuple(said), (label, _in_radians(name) if angle == "deg" else name), table)


def _in_radians(name: str) -> str:
    """What a column in degrees is called after it was converted."""
    quantity = split_unit(name)[0].strip()
    return f"{'angle' if quantity.casefold() in ('', *DEGREES) else quantity} (rad)"


def _chosen(table: Table, roles: dict[str, Any]) -> dict[str, list[int]]:
    """The numbers of the columns that were named."""
    out = {}
    for role, keys in roles.items():
        several = list(keys) if isinstance(keys, list | tuple) else [] if keys is None else [keys]
        out[role] = [table.find(role, key) for key in several]
    return out


def _check_apart(table: Table, chosen: dict[str, list[int]]) -> None:
    """ValueError where one column is taken for two things."""
    roles: dict[int, str] = {}
    for role in ("time", "position", "momentum", "input", "segment", "position_error"):
        for i in chosen.get(role, []):
            if i in roles:
                raise ValueError(
                    f"{table.path}: {roles[i]} and {role} are both column {table.title(i)}; pass one column for each"
                )
            roles[i] = role


def _time(table: Table, key: Key, rate: float | None, taken: set[int]) -> list[int]:
    """The column of times, if there is one: the one named, or the only one that can be."""
    if rate is not None:
        return []
    if key is not None:
        return [table.find("time", key)]
    free = [i for i in range(len(table.columns)) if i not in taken]
    for wanted in (_is_named_time, _is_stamped, _is_named_unit, _rises):
        some = [i for i in free if wanted(table, i)]
        if wanted is _rises and len(some) > 1:  # a row's number is no time where there is one
            some = [i for i in some if not clock.counted(table.numbers(i))] or some
        if len(some) == 1 or (some and wanted is _rises and some[0] == 0):
            return some[:1]
        if len(some) == 2 and all(_is_stamped(table, i) and table.columns[i].is_text for i in some):
            days = [i for i in some if ":" not in table.columns[i].cells[0]]  # and the hours beside them
            if len(days) == 1:
                return [*days, *(i for i in some if i not in days)]
        if some:
            break
    raise table.refuse(
        f"it is not clear which of {table.shown()} holds the times",
        "pass time (its name or number), or the rate if none does",
    )


def _is_named_time(table: Table, i: int) -> bool:
    base = split_unit(table.columns[i].name)[0].casefold().strip()
    return base in TIMES or base.startswith(("time ", "time_", "t_"))


def _is_named_unit(table: Table, i: int) -> bool:
    return re.split(r"[ _(]", table.columns[i].name.strip().casefold())[0] in NAMED_UNITS and _rises(table, i)


def _is_stamped(table: Table, i: int) -> bool:
    return table.kinds(i) == {cells.STAMP}


def _rises(table: Table, i: int) -> bool:
    """Whether a column of numbers increases from row to row, in every run where it starts anew."""
    if table.kinds(i) != {cells.NUMBER} or len(table.lines) < 3:
        return False
    try:
        values = table.numbers(i, missing=False)
    except ValueError:
        return False
    runs = clock.restarts(values)
    rising = np.diff(values) > 0
    return bool(np.all(rising if runs is None else rising | (np.diff(runs) > 0)))


def _check_whole(table: Table) -> None:
    """ValueError where lines between readings hold none, and times are counted: later ones would all be too early."""
    steps = np.diff(table.lines)
    if len(steps) and np.any(steps > steps.min()):
        line = table.lines[int(np.argmax(steps > steps.min())) + 1]
        raise ValueError(
            f"{table.path}: times are counted from line to line, and before line {line} some hold no reading; write "
            "nan where one is missing, or drop the lines"
        )


def _without_repeats(table: Table, time: list[int]) -> Table:
    """The table without rows that are the row before them again, written twice, where no other times repeat."""
    if len(time) != 1:
        return table
    columns = [np.asarray(each.cells) for each in table.columns]
    same = np.array([column[1:] == column[:-1] for column in columns])
    again = np.concatenate([[False], same.all(0)])
    if not again.any() or np.any(same[time[0]] & ~again[1:]):
        return table
    first = int(np.argmax(again))
    told = f"{again.sum():,} rows that repeat the row before them left out, the first in line {table.lines[first]}"
    return table.kept(np.flatnonzero(~again), told)


def _check_runs(table: Table, ts: np.ndarray, runs: np.ndarray, position: np.ndarray) -> None:
    """ValueError where a run is another one again: a record that was written twice."""
    parts = [np.flatnonzero(runs == k) for k in range(runs[-1] + 1)]
    for one, other in itertools.pairwise(parts):
        alike = len(one) == len(other) and np.array_equal(ts[one], ts[other])
        if alike and np.array_equal(position[one], position[other], equal_nan=True):
            first, last = table.lines[other[0]], table.lines[other[-1]]
            raise ValueError(f"{table.path}: lines {first} to {last} are the lines before them again; drop them")


def _position(table: Table, chosen: dict[str, list[int]]) -> int:
    """The only column left that moves, and is no row's number or second clock; ValueError if there are none, or
    several."""
    taken = {i for some in chosen.values() for i in some}
    moving, words = [], []
    for i in range(len(table.columns)):
        if i in taken or cells.NUMBER not in table.kinds(i):
            words += [i] if i not in taken and cells.TEXT in table.kinds(i) else []
            continue
        try:
            values = table.numbers(i)
        except ValueError:
            if len(table.columns) - len(taken) == 1:
                raise
            values = np.array([0.0, 1.0])  # it cannot be ruled out
        if np.nanmax(values, initial=-np.inf) > np.nanmin(values, initial=np.inf):
            moving.append(i)
    if len(moving) > 1:
        moving = [i for i in moving if not _is_clock(table, i, chosen["time"])]
    if len(moving) == 1:
        return moving[0]
    if not moving and words:
        cell = next(cell for cell in table.columns[words[0]].cells if cells.kind(cell) == cells.TEXT)
        raise table.refuse(f"column {table.title(words[0])} holds no numbers but {cell!r}", "write numbers alone")
    raise table.refuse(
        f"it is not clear which of {table.shown()} holds the positions", "pass position (its name or number)"
    )


def _is_clock(table: Table, i: int, time: list[int]) -> bool:
    """Whether a column is a row's number, or the times once more in another unit."""
    if not _rises(table, i):
        return False
    values = table.numbers(i)
    if clock.counted(values):
        return True
    if len(time) != 1 or table.kinds(time[0]) != {cells.NUMBER}:
        return False
    t = table.numbers(time[0])
    t = (t - t[0]) / max(t[-1] - t[0], 1e-300)
    return bool(np.max(np.abs((values - values[0]) / (values[-1] - values[0]) - t)) < STRAIGHT)


def _stacked(table: Table, chosen: list[int], missing: bool, listed: bool) -> np.ndarray:
    """One column as it is, several side by side."""
    arrays = [table.numbers(i, missing) for i in chosen]
    return np.stack(arrays, axis=-1) if listed else arrays[0]


def _times(
    table: Table, chosen: list[int], rate: float | None, unit: str | None, segment: Any
) -> tuple[np.ndarray, str, str]:
    """The times, how they were found, and their name for a figure."""
    n = len(table.lines)
    if not chosen:
        _check_whole(table)
        ts = clock.of_rate(rate, n)
        return ts, f"time: from the rate, {float(rate or 0):g} readings per unit; {_span(ts, '')}", "time"
    i = chosen[0]
    column = table.columns[i]
    named = f"time: column {table.title(i)}"
    if len(chosen) == 2:
        days, hours = (table.columns[k] for k in chosen)
        pairs = zip(days.cells, hours.cells, strict=True)
        column = Column(f"{days.name} {hours.name}".strip(), "", [f"{day} {hour}" for day, hour in pairs])
        named = f"time: columns {table.title(i)} and {table.title(chosen[1])}"
    stamped = table.kinds(i) - {cells.NUMBER} == {cells.STAMP}
    if stamped or (not column.is_text and column.cells.dtype.kind in "mMO"):
        if unit is not None:
            raise ValueError(f"time_unit = {unit!r}: {named[6:]} holds stamps, which are seconds; leave it out")
        ts, told = _of_stamps(table, i, column.cells)
        told = f", {told} as seconds from the first reading"
        ts, told = _spread(ts, told, segment)
        return ts, f"{named}{told}; {_span(ts, 's')}", f"{column.name or 'time'} [s]"
    ts, told = _counted(table, i)
    row = clock.leaps(ts)
    if row is not None:
        raise ValueError(
            f"{table.at(i, row)}: times leap by 40 where the seconds reach 60: are they hours, minutes and seconds in "
            "one number? write them as h:m:s"
        )
    own = _unit_of(table, i)
    seconds = clock.factor(unit) if unit is not None else 1.0
    if unit is not None and seconds != 1.0:
        told += f", converted from {unit} to s"
    elif unit is None:
        told += _own(ts, own)
    ts, told = _spread(ts * seconds, told, segment)
    own = "s" if unit is not None else own
    return ts, f"{named}{told}; {_span(ts, own)}", column.name or "time"


def _own(ts: np.ndarray, unit: str) -> str:
    """In words, in which unit times stay."""
    since = clock.epoch(ts)
    if unit:
        return f", taken as {unit}"
    if since:
        return f", taken as {since} since 1970 by their size"
    counts = " (a row's number? then leave it out, and pass the rate)" if clock.counted(ts) else ""
    return f", in the file's own unit{counts}"


def _spread(ts: np.ndarray, told: str, segment: Any) -> tuple[np.ndarray, str]:
    """Times of one run, spread evenly where they are ticks of a slow clock; and that, in words."""
    spread = clock.of_ticks(ts) if segment is None or len(np.unique(segment)) == 1 else None
    return (ts, told) if spread is None else (spread[0], f"{told}; {spread[1]}")


def _of_stamps(table: Table, i: int, column: Any) -> tuple[Any, str]:
    """Stamps as seconds; arrays of dates are left to `Observations`, which knows them."""
    if not isinstance(column, list):
        return np.asarray(in_seconds("ts", column), float), "dates"
    for row, cell in enumerate(column):
        if cells.kind(cell, table.missing) == cells.NOTHING:
            raise ValueError(f"{table.at(i, row)}: {cell!r} is no time; fill it in, or drop the line")
    try:
        return stamps.seconds(column)
    except ValueError as error:
        raise ValueError(f"{table.path}: column {table.title(i)}: {table.named(str(error))}") from error


def _counted(table: Table, i: int) -> tuple[np.ndarray, str]:
    """The numbers of a column of times; of one that counts rows, what the file says of start and increment."""
    if table.kinds(i) or not table.columns[i].is_text:
        ts = table.numbers(i, missing=False)
        known = {name.casefold(): j for j, name in enumerate(table.names)}
        units = table.above[-1] if table.above else []
        if clock.counted(ts) and {"start", "increment"} <= set(known):
            try:
                start, step = (float(units[known[name]]) for name in ("start", "increment"))
            except (ValueError, IndexError):
                return ts, ""
            return start + step * ts, f" counts rows: from {start:g} by {step:g}, as the file says"
        return ts, ""
    said = {row[0].casefold(): row[1] for row in table.above if len(row) > 1}
    try:
        step, start = (
            float(said.get(name, default).replace(",", ".")) for name, default in (("delta_x", ""), ("x0", "0"))
        )
    except ValueError as error:
        raise table.refuse(f"column {table.title(i)} is empty", "pass the rate, readings per unit of time") from error
    _check_whole(table)
    return start + step * np.arange(len(table.lines)), f" is empty: from {start:g} by {step:g}, as the file says"


def _unit_of(table: Table, i: int) -> str:
    """The unit of time that a column's unit or the end of its name says; "" if none."""
    column = table.columns[i]
    words = re.split(r"[ _]", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"[(){}\[\]]", " ", column.name).strip()))
    tail = words[-1] if len(words) > 1 or words[-1].casefold() in NAMED_UNITS else ""
    return next((unit for unit in (column.unit, tail) if unit.strip().casefold() in clock.UNITS), "")


def _span(ts: np.ndarray, unit: str) -> str:
    return f"{len(ts):,} rows from {ts[0]:.6g} to {ts[-1]:.6g}{' ' if unit else ''}{unit}"


def _words(table: Table, chosen: dict[str, list[int]], angle: str) -> list[str]:
    """What was taken for what, and what was passed over."""
    said = []
    for role in ("position", "momentum", "input", "segment", "position_error"):
        some = chosen.get(role, [])
        if some:
            told = f"{role}: column{'s' if len(some) > 1 else ''} {', '.join(table.title(i) for i in some)}"
            if angle == "deg" and role in ("position", "momentum", "position_error"):
                told += ", converted from degrees to radians"
            said.append(told)
    unit = table.columns[chosen["position"][0]].unit.casefold()
    if unit in DEGREES and angle == "rad":
        said.append("positions are in degrees by their name, and stay so: pass angle='deg' for radians")
    taken = {i for some in chosen.values() for i in some}
    left = [table.title(i) for i in range(len(table.columns)) if i not in taken]
    if left:
        said.append(
            f"columns passed over: {', '.join(left[:8])}{f' and {len(left) - 8} more' if len(left) > 8 else ''}"
        )
    return said
