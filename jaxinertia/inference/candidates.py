"""The few laws of motion that most records obey, by name: a potential and what is added to viscous friction."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..physics import potentials
from ..physics.damping import AbstractDamping, Drag, Linear
from ..physics.force import Sampled
from ..physics.system import System
from .observations import Observations

POTENTIALS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "quadratic": (potentials.Quadratic, ("stiffness",)),
    "duffing": (potentials.Duffing, ("linear", "cubic")),
    "asymmetric": (potentials.Duffing, ("linear", "quadratic", "cubic")),
    "pendulum": (potentials.Pendulum, ("frequency",)),
}
DRAGS = ("linear", "quadratic", "dry")
NAMES = {"duffing": "Duffing", "asymmetric": "asymmetric Duffing", "pendulum": "pendulum"}
ADDED = {"quadratic": "quadratic drag", "dry": "dry friction"}


class Law(NamedTuple):
    """A potential by name, and friction as names with commas; linear friction is always among them."""

    potential: str = "quadratic"
    drag: str = "linear"

    @property
    def added(self) -> tuple[str, ...]:
        """What friction has beside the linear one, in one order."""
        return tuple(name for name in DRAGS[1:] if name in self.parts)

    @property
    def parts(self) -> list[str]:
        return [name.strip() for name in self.drag.split(",")]

    @property
    def name(self) -> str:
        """In words."""
        named = [NAMES[self.potential]] if self.potential in NAMES else []
        return ", ".join([*named, *(ADDED[name] for name in self.added)]) or "viscous"

    def further(self) -> Iterator["Law"]:
        """One step from here: another potential than the spring's, one friction more."""
        if self.potential == "quadratic":
            yield from (Law(name, self.drag) for name in ("duffing", "pendulum"))
        for name in DRAGS[1:]:
            if name not in self.added:
                yield Law(self.potential, f"{self.drag},{name}").plain

    @property
    def plain(self) -> "Law":
        """The same law as everyone writes it."""
        return Law(self.potential, ",".join(self.added) or "linear")


def pose(law: Law, noise: bool = False, force: Any = None) -> tuple[System, Callable[[Any], dict[str, Any]]]:
    """The system of a law, and what is free in it.

    Raises:
        ValueError: for a potential or a drag that is not among those known.
    """
    if law.potential not in POTENTIALS:
        raise ValueError(f"potential = {law.potential!r} must be one of {sorted(POTENTIALS)}")
    make, numbers = POTENTIALS[law.potential]
    damping, rates = _damping(law)

    def free(s: Any) -> dict[str, Any]:
        leaves = {f"damping.{name}": getattr(s.damping, name) for name in rates}
        leaves |= {f"potential.{name}": getattr(s.potential, name) for name in numbers}
        leaves |= {"noise.sigma": s.noise.sigma} if noise else {}
        return leaves | ({} if force is None else {"force.gain": s.force.gain})

    return System(make(), damping, noise=1.0 if noise else None, force=force), free


def force_of(data: Observations) -> Sampled | None:
    """The input of a record as a force whose gain is fitted."""
    if data.input is None:
        return None
    first = data.runs[0]
    return Sampled(data.ts[first], data.input[first], 1.0)


def _damping(law: Law) -> tuple[AbstractDamping, tuple[str, ...]]:
    """The friction of a law, and its free fields."""
    named = law.parts
    if len(set(named)) < len(named) or not set(named) <= set(DRAGS):
        raise ValueError(
            f"drag = {law.drag!r} must be one of {sorted(DRAGS)}, or some with commas, such as 'dry,quadratic'"
        )
    if not law.added:
        return Linear(0.1), ("gamma",)
    fields = tuple(name for name in DRAGS if name in {*named, "linear"})
    return Drag(**dict.fromkeys(fields, 0.1)), fields
