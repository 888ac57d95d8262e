"""The few laws of motion that most records obey: by name, and fitted to one record, side by side.

A potential and what is added to viscous friction make a law. Those of one step are fitted first, viscous damping of a
spring among them; then those one step further than the best, as long as the best gets better.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..physics import potentials
from ..physics.damping import AbstractDamping, Drag, Linear
from ..physics.force import Sampled
from ..physics.system import System
from .fit import fit
from .observations import Observations
from .result import Fit

POTENTIALS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "quadratic": (potentials.Quadratic, ("stiffness",)),
    "duffing": (potentials.Duffing, ("linear", "cubic")),
    "asymmetric": (potentials.Duffing, ("linear", "quadratic", "cubic")),
    "pendulum": (potentials.Pendulum, ("frequency",)),
}
DRAGS = ("linear", "quadratic", "dry")
SUPPORT = 10.0  # of AIC: a law that is this much worse has next to none
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


def side_by_side(
    data: Observations, loss: str, known: dict[Law, Fit], progress: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """Fits by the names of their laws, and why there is none of others.

    Arguments:
        data: the part of a record that is fitted. known: fits of it that are there already.
    """
    known, fits = {law.plain: found for law, found in known.items()}, dict[Law, Any]()
    failures: dict[str, str] = {}

    def take(law: Law) -> None:
        if law in fits or law.name in failures:
            return
        try:
            found = known[law] if law in known else _fit(data, law, loss, progress)
        except ValueError as error:
            failures[law.name] = str(error)
            return
        if found.diagnostics.converged:
            fits[law] = found
        else:
            failures[law.name] = next(iter(found.diagnostics.warnings), "the search did not converge")

    for law in (Law(), *Law().further(), *known):
        if law.potential != "pendulum" or _is_angle(data) or law in known:
            take(law)
    best = min(fits, key=lambda law: aic(fits[law]), default=None)
    reached = aic(fits[Law()]) if Law() in fits else np.inf
    while best is not None and aic(fits[best]) < reached - SUPPORT:
        reached = aic(fits[best])
        for law in best.further():
            if law.potential != "pendulum" or _is_angle(data):
                take(law)
        best = min(fits, key=lambda law: aic(fits[law]))
    return {law.name: found for law, found in fits.items()}, failures


def aic(found: Any) -> float:
    """-2 log L + 2 k."""
    return found.deviance + 2 * found.numbers


def _fit(data: Observations, law: Law, loss: str, progress: bool) -> Any:
    system, free = pose(law, force=force_of(data))
    return fit(system, data, free, loss=loss, progress=progress)


def _is_angle(data: Observations) -> bool:
    """Whether readings can be a pendulum's angle in radians: it swings by less than half a turn."""
    return float(np.nanmax(np.abs(data.position - np.nanmedian(data.position)))) < np.pi


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
