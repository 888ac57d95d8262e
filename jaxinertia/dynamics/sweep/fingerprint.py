"""What makes two sweeps "the same call": the traced program, all that it holds, the axes, the key, and what is kept."""

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .axes import Axes, Progression
from .chunks import Plan
from .contents import Contents
from .digest import digest
from .program import Program

FORMAT = "3"  # of what is written; a store of another one is refused


class OtherCall(ValueError):
    """A store belongs to another call."""


def fingerprint(program: Program, key: Any, axes: Axes, layout: Plan, kept: str) -> dict[str, str]:
    """Named digests, so that a difference can be told by name.

    Arguments:
        layout: the chunks, and the shares that they are kept in.
        kept: every point, or which statistics over which axes.

    Raises:
        ValueError: if fn calls a function on the host of which nobody can say that it is still the same.
    """
    # Addresses of helper objects show up in a jaxpr's text and differ from run to run.
    text = re.sub(r"0x[0-9a-f]+", "0x", str(program.jaxpr.jaxpr))
    try:
        inside = Contents(program.jaxpr, deep=True)
    except ValueError as error:
        raise ValueError(f"store cannot tell this sweep from another one: {error}; or pass store=None") from error
    return {
        "format": FORMAT,
        "fn": digest(text),
        "constants of fn": inside.numbers,
        "functions that fn calls on the host": inside.objects,
        "axes": digest(*(part for axis in axes.axes for named in axis.values.items() for part in _told_by(named))),
        "names of the axes": ", ".join(axes.names),
        "key": "none" if key is None else digest(key),
        "outputs": ", ".join(f"{name} {x.shape} {x.dtype}" for name, x in program.outputs.shapes.items()),
        "reduce": kept,
        "chunk shape": f"{layout.points.box}, {layout.share_box} kept together",
        "jax": jax.__version__,
    }


def _told_by(named: tuple[str, Any]) -> tuple[str, Any]:
    name, values = named
    return (name, str(values)) if isinstance(values, Progression) else (name, values)


def compare(store: str, stored: Any, call: dict[str, str], axes: Callable[[], str] = str) -> None:
    """ValueError that names every difference between the call that a store belongs to and this one.

    axes() says in words how the axes differ, or "" where it cannot.
    """
    stored = stored if isinstance(stored, dict) else {}
    differing = [name for name in {**call, **stored} if stored.get(name) != call.get(name)]
    if differing:
        words = {"axes": axes()} if "axes" in differing else {}
        both = {name: words.get(name) or _both(stored, call, name) for name in differing}
        told = "; ".join(f"{name}: {said}" for name, said in both.items() if said)
        raise OtherCall(
            f"store = {store!r} was made by another call, which differs in {', '.join(differing)}"
            f"{f' ({told})' if told else ''}; pass another path, or delete it to start anew"
        )


def _both(stored: dict[str, str], call: dict[str, str], name: str) -> str:
    """What both say; "" where it is digests, which tell nobody how things differ."""
    there, here = (str(known.get(name, "not recorded")) for known in (stored, call))
    if all(re.fullmatch("[0-9a-f]{16}", said) for said in (there, here)):
        return ""
    return f"{there} there, {here} here"


def _is_nan(x: np.ndarray) -> np.ndarray:
    return np.isnan(x) if np.issubdtype(x.dtype, np.inexact) else np.zeros(x.shape, bool)


def difference(name: str, there: np.ndarray, here: np.ndarray) -> str:
    """How one axis differs, in words; "" where it does not."""
    if there.shape != here.shape:
        points = [f"{len(x):,}{f' x {x.shape[1:]}' if x.ndim > 1 else ''} points" for x in (there, here)]
        return f"{name} {points[0]} there, {points[1]} here"
    unlike = ~((there == here) | (_is_nan(there) & _is_nan(here)))
    if not unlike.any():
        return "" if there.dtype == here.dtype else f"{name} {there.dtype} there, {here.dtype} here"
    first = tuple(np.argwhere(unlike)[0])
    return f"{name} differs in {unlike.sum():,} of {here.size:,} points, first {there[first]} there, {here[first]} here"
