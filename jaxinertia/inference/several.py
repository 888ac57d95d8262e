"""Several records as one: what they must have in common, and what each brings of its own."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._shown import shown

ALIKE = {
    "channels": "fit records of as many channels together",
    "components": "fit records of one system together",
    "scalar": "pass positions of one shape, (n,) or (n, 1)",
    "read": "pass one function for all",
    "trend": "pass trend=True for all, or for none",
    "time_error": "pass one for all",
}
EITHER = "give it for every record, or None for all, so that each has its own fitted"


def checked(records: Any, kind: type) -> list[Any]:
    """The records; ValueError where they cannot be one."""
    if isinstance(records, kind) or not isinstance(records, Sequence) or not records:
        raise ValueError(f"records = {shown(records)} must be a list of ji.Observations")
    for i, one in enumerate(records):
        if not isinstance(one, kind):
            raise ValueError(f"records[{i}] = {shown(one)} must be ji.Observations; wrap your arrays")
    driven = [i for i, one in enumerate(records) if one.input is not None]
    moved = [i for i, one in enumerate(records) if one.momentum is not None]
    everyone = range(len(records))
    for name, remedy in ALIKE.items():
        _alike(records, everyone, name, lambda one, name=name: getattr(one, name), remedy)
    _alike(records, driven, "input_delay", lambda one: one.input_delay, "pass one for all, or None for all")
    _alike(records, driven, "input's shape", lambda one: one.input.shape[1:], "pass inputs of one shape")
    for name, some in (("offset", everyone), ("position_error", everyone), ("momentum_error", moved)):
        _alike(records, some, f"{name} is None", lambda one, name=name: getattr(one, name) is None, EITHER)
    return list(records)


def _alike(records: Any, some: Any, name: str, of: Any, remedy: str) -> None:
    """ValueError unless all of some records have the same of something."""
    for i in some:
        here, there = of(records[some[0]]), of(records[i])
        if here != there:
            raise ValueError(
                f"records[{i}] and records[{some[0]}] are unlike: {name}: {shown(there)}, {shown(here)}; {remedy}"
            )


def joined(parts: list[Any]) -> dict[str, Any]:
    """What `Observations` takes of all of them."""
    first = parts[0]
    moved = [one for one in parts if one.momentum is not None]
    driven = [one for one in parts if one.input is not None]

    def all_of(name: str, absent: float) -> np.ndarray:
        """A number for each reading."""
        values = [getattr(one, name) for one in parts]
        pairs = zip(parts, values, strict=True)
        return np.concatenate([np.broadcast_to(absent if x is None else x, one.position.shape) for one, x in pairs])

    def numbered(name: str) -> np.ndarray:
        """Each record's own numbers, after those of the one before."""
        counts = np.cumsum([0, *(getattr(one, name).max() + 1 for one in parts)])
        return np.concatenate([getattr(one, name) + n for one, n in zip(parts, counts, strict=False)])

    still = np.zeros(driven[0].input.shape[1:]) if driven else 0.0
    inputs = [np.broadcast_to(still, (len(x.ts), *np.shape(still))) if x.input is None else x.input for x in parts]
    has_error = bool(moved) and moved[0].momentum_error is not None
    return {
        "ts": np.concatenate([one.ts for one in parts]),
        "position": all_of("position", np.nan) - all_of("offset", 0.0),
        "momentum": all_of("momentum", np.nan) if moved else None,
        "position_error": None if first.position_error is None else all_of("position_error", 1.0),
        "momentum_error": all_of("momentum_error", 1.0) if has_error else None,
        "segment": numbered("segment"),
        "record": numbered("record"),
        "input": np.concatenate(inputs) if driven else None,
        "offset": None if first.offset is None else 0.0,
        "read": first.read,
        "components": None if first.read is None else 0 if first.scalar else first.components,
        "trend": first.trend,
        "input_delay": driven[0].input_delay if driven else 0.0,
        "time_error": first.time_error,
        "reading": tuple(f"record {k + 1}: {line}" for k, one in enumerate(parts) for line in one.reading),
        "labels": first.labels,
    }
