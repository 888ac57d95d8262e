"""Which column is what: by name, by number, or the only one that it can be; as arrays, and in words."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..times import in_seconds
from . import cells, clock, source, stamps
from .table import Table, split_unit

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
    "x_value",
)
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
        chosen["position"] = [_position(table, {i for some in chosen.values() for i in some})]
    _check_apart(table, chosen)
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
    said = (told, *_words(table, chosen, angle), *table.said)
    first = chosen["position"][0]
    return Found(arrays, said, (label, table.columns[first].name or f"column {first}"), table)


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
    for wanted in (_is_named_time, lambda table, i: table.kinds(i) == {cells.STAMP}, _rises):
        some = [i for i in free if wanted(table, i)]
        if len(some) == 1 or (some and wanted is _rises and some[0] == 0):
            return some[:1]
        if some:
            break
    raise table.refuse(
        f"it is not clear which of {table.shown()} holds the times",
        "pass time (its name or number), or the rate if none does",
    )


def _is_named_time(table: Table, i: int) -> bool:
    base = split_unit(table.columns[i].name)[0].casefold().strip()
    return base in TIMES or base.startswith(("time ", "time_", "t_"))


def _rises(table: Table, i: int) -> bool:
    """Whether a column of numbers increases from row to row."""
    if table.kinds(i) != {cells.NUMBER}:
        return False
    values = table.numbers(i)
    return bool(np.all(np.diff(values) > 0)) and len(values) > 2


def _position(table: Table, taken: set[int]) -> int:
    """The only column left that moves; ValueError if there are none, or several."""
    moving = []
    for i in range(len(table.columns)):
        if i in taken or cells.NUMBER not in table.kinds(i):
            continue
        try:
            values = table.numbers(i)
        except ValueError:
            if len(table.columns) - len(taken) == 1:
                raise
            values = np.array([0.0, 1.0])  # it cannot be ruled out
        if np.nanmax(values, initial=-np.inf) > np.nanmin(values, initial=np.inf):
            moving.append(i)
    if len(moving) == 1:
        return moving[0]
    raise table.refuse(
        f"it is not clear which of {table.shown()} holds the positions", "pass position (its name or number)"
    )


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
        ts = clock.of_rate(rate, n)
        return ts, f"time: from the rate, {float(rate or 0):g} readings per unit; {_span(ts, '')}", "time"
    i = chosen[0]
    column = table.columns[i]
    named = f"time: column {table.title(i)}"
    stamped = table.kinds(i) - {cells.NUMBER} == {cells.STAMP}
    if stamped or (not column.is_text and column.cells.dtype.kind in "mMO"):
        if unit is not None:
            raise ValueError(f"time_unit = {unit!r}: {named[6:]} holds stamps, which are seconds; leave it out")
        ts, told = _of_stamps(table, i)
        return (
            ts,
            f"{named}, {told} as seconds from the first reading; {_span(ts, 's')}",
            f"{column.name or 'time'} [s]",
        )
    ts, told = _counted(table, i)
    own = _unit_of(table, i)
    seconds = clock.factor(unit) if unit is not None else 1.0
    if unit is not None and seconds != 1.0:
        told += f", converted from {unit} to s"
    elif unit is None:
        told += f", taken as {own}" if own else ", in the file's own unit"
    ts = ts * seconds
    spread = clock.of_ticks(ts) if segment is None or len(np.unique(segment)) == 1 else None
    if spread is not None:
        ts, told = spread[0], f"{told}; {spread[1]}"
    own = "s" if unit is not None else own
    return ts, f"{named}{told}; {_span(ts, own)}", column.name or "time"


def _of_stamps(table: Table, i: int) -> tuple[Any, str]:
    """Stamps as seconds; arrays of dates are left to `Observations`, which knows them."""
    column = table.columns[i].cells
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
    return start + step * np.arange(len(table.lines)), f" is empty: from {start:g} by {step:g}, as the file says"


def _unit_of(table: Table, i: int) -> str:
    """The unit of time that a column's unit or the end of its name says; "" if none."""
    column = table.columns[i]
    tail = column.name.rpartition("_")[2] if "_" in column.name else ""
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
