"""The laws that a file may name: friction, kinetic energies and noises whose arguments are numbers."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..physics import damping, kinetic, noise
from . import entries

LAWS: dict[str, dict[str, Callable]] = {
    "damping": {
        "linear": damping.Linear,
        "drag": damping.Drag,
        "power_law": damping.PowerLaw,
        "momentum": damping.Momentum,
        "nesterov": damping.nesterov,
        "curvature_aware": damping.CurvatureAware,
    },
    "kinetic": {
        "euclidean": kinetic.Euclidean,
        "mass": kinetic.Mass,
        "relativistic": kinetic.Relativistic,
        "power_law": kinetic.PowerLaw,
    },
    "noise": {"white": noise.White, "colored": noise.Colored},
}
BARE = {"damping": ("linear", "gamma"), "noise": ("white", "sigma")}  # what a number alone is


class Law(NamedTuple):
    """A constructor, and its numbers: each a number, the name of an axis, or lists of them."""

    make: Callable
    numbers: dict[str, Any]

    def build(self, number: Callable[[Any], Any]) -> Any:
        """The law with what `number` makes of its numbers."""
        return self.make(**{name: number(x) for name, x in self.numbers.items()})


def read(part: str, value: Any, axes: dict[str, np.ndarray]) -> Law | None:
    """The law of `system.<part>`: a number alone, or a table that names it; None where there is none.

    An axis that is called after one of its numbers, such as "damping.linear", gives that number.
    """
    mine = {name.removeprefix(f"{part}."): name for name in axes if name.startswith(f"{part}.")}
    if value is None and not mine:
        return None
    make, given = _named(part, value)
    signature = inspect.signature(make).parameters
    known = tuple(name for name, x in signature.items() if not isinstance(x.default, str))
    for name, axis in mine.items():
        if name not in known:
            raise ValueError(f"[axes] has {axis!r}, but the numbers of system.{part} are {sorted(known)}")
        if name in given:
            raise ValueError(f"[axes] has {axis!r}, and system.{part} gives {name} too; leave one of them out")
    numbers = given | mine
    needed = tuple(name for name in known if signature[name].default is inspect.Parameter.empty)
    entries.table(f"system.{part}", numbers, known, needed)
    for name, x in numbers.items():
        entries.numbers(f"system.{part}" if value is x else f"system.{part}.{name}", x, axes)
    law = Law(make, numbers)
    try:
        law.build(lambda x: _greatest(x, axes))
    except ValueError as error:
        raise ValueError(f"system.{part} = {entries.short(value)}: {error}") from error
    return law


def _named(part: str, value: Any) -> tuple[Callable, dict[str, Any]]:
    """The constructor that an entry names, and the numbers that it gives."""
    laws = LAWS[part]
    if isinstance(value, dict):
        numbers = dict(value)
        if "law" not in numbers:
            raise ValueError(f"[system.{part}] lacks law; it must be one of {sorted(laws)}")
        return entries.choice(f"system.{part}.law", numbers.pop("law"), laws), numbers
    if part not in BARE:
        raise ValueError(
            f"system.{part} = {entries.short(value)} must be a table that names its law, such as "
            f"{{ law = {next(reversed(laws))!r}, ... }}; the laws are {sorted(laws)}"
        )
    law, number = BARE[part]
    return laws[law], {} if value is None else {number: value}


def _greatest(value: Any, axes: dict[str, np.ndarray]) -> Any:
    """The number, or the greatest of its axis."""
    if isinstance(value, list):
        return np.stack([np.asarray(_greatest(x, axes)) for x in value])
    return float(np.max(axes[value])) if isinstance(value, str) else float(value)
