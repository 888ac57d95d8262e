"""What a store says of its sweep, so that its result can be made without the function that was swept."""

from typing import Any, NamedTuple

import jax
import numpy as np

from ..trajectory import Trajectory
from . import reductions
from .axes import Axes, Axis, Progression
from .chunks import Grid, Plan
from .kept import Kept, States, Values
from .labels import HIDDEN, Labels, Timed, Variable
from .program import Outputs
from .store import Store


class Told(NamedTuple):
    """A text in JSON's types, and the arrays beside it, by their names in the store."""

    text: dict[str, Any]
    arrays: dict[str, tuple[Variable, np.ndarray]]


def describe(axes: Axes, outputs: Outputs, kept: Kept, labels: Labels) -> Told:
    """The axes, the outputs, and what is kept of them in which shares.

    Where every point is kept, axes and times are for all readers; otherwise they are hidden, as the states are.
    """
    arrays: dict[str, tuple[Variable, np.ndarray]] = {}
    layout: list[Any] = []
    for axis in axes.axes:
        rows: dict[str, Any] = {}
        for name, x in axis.values.items():
            if kept.over is not None and isinstance(x, Progression):
                rows[name] = [x.first, x.step, x.size, np.dtype(x.dtype).name]
            else:
                rows[name] = None
                arrays[_axis(name, kept.over is not None)] = _variable(labels, name, kept), np.asarray(x)
        layout.append([axis.name, rows])
    if kept.over is None:
        arrays |= {name: (labels.coordinates[name], ts) for name, ts in labels.times.items()}
    times: list[np.ndarray] = []
    timed = {}
    for name, over in outputs.timed.items():
        place = None
        if over.ts is not None:
            place = next((i for i, ts in enumerate(times) if ts is over.ts), len(times))
            times[place:] = times[place:] or [over.ts]
        timed[name] = [over.quantity, over.before, over.times, place]
    arrays |= {f"{HIDDEN}/times/{i}": (Variable(("time",), {}), ts) for i, ts in enumerate(times)}
    text = {
        "axes": layout,
        "outputs": [[name, list(x.shape), np.dtype(x.dtype).name] for name, x in outputs.shapes.items()],
        "timed": timed,
        "kind": _kind(outputs),
        "chunk": list(kept.layout.points.box),
        "share": list(kept.layout.chunks.box),
        "over": None if kept.over is None else list(kept.over),
        "statistics": None if kept.over is None else [reductions.told(s) for s in kept.statistics],
    }
    return Told(text, arrays)


def _axis(name: str, hidden: bool) -> str:
    return f"{HIDDEN}/axes/{name}" if hidden else name


def _variable(labels: Labels, name: str, kept: Kept) -> Variable:
    return labels.coordinates[name] if kept.over is None else Variable(labels.coordinates[name].dimensions, {})


def _kind(outputs: Outputs) -> str:
    """What the values are: one array, a trajectory, or arrays by name."""
    if list(outputs.shapes) == ["value"]:
        return "value"
    whole = outputs.assemble(list(outputs.shapes.values()))
    return "trajectory" if isinstance(whole, Trajectory) else "names"


def read(store: Store) -> tuple[Axes, Outputs, Kept]:
    """What `describe` told a store.

    Raises:
        ValueError: if a statistic is of the user's own, which only the call knows.
    """
    text = store.sweep
    over = text["over"]
    axes = Axes(
        tuple(
            Axis(name, {p: _values(store, p, row, over is not None) for p, row in rows.items()})
            for name, rows in text["axes"]
        )
    )
    timed = {
        name: Timed(quantity, before, times, None if place is None else store.whole(f"{HIDDEN}/times/{place}"))
        for name, (quantity, before, times, place) in text["timed"].items()
    }
    shapes = {name: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for name, shape, dtype in text["outputs"]}
    names = list(shapes)

    def assemble(arrays: list[Any]) -> Any:
        named = dict(zip(names, arrays, strict=True))
        if text["kind"] == "trajectory":
            try:
                return Trajectory.of_arrays(named)
            except ValueError:  # a position that names cannot tell the structure of
                return named
        return named["value"] if text["kind"] == "value" else named

    outputs = Outputs(shapes, timed, assemble)
    points = Grid(axes.shape, tuple(text["chunk"]))
    layout = Plan(points, Grid(points.counts, tuple(text["share"])), 1, 1)
    if over is None:
        return axes, outputs, Values(outputs, axes, layout, True)
    statistics = tuple(_statistic(store, x) for x in text["statistics"])
    return axes, outputs, States(outputs, axes, layout, tuple(over), statistics)


def _values(store: Store, name: str, row: Any, hidden: bool) -> Any:
    if row is None:
        return store.whole(_axis(name, hidden))
    first, step, size, dtype = row
    return Progression(first, step, size, np.dtype(dtype))


def _statistic(store: Store, told: Any) -> reductions.Statistic:
    found = reductions.untold(told)
    if found is None:
        raise ValueError(
            f"store = {store.name!r} has the statistic {told['name']!r}, one of your own: call ji.sweep again as for "
            "the shards, without shard=, which merges what they have computed"
        )
    return found
