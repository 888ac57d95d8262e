"""The fit's own units: times in sampling steps, lengths in the record's scatter, so that no number is far from 1."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._types import Position, Scalar
from ..physics.damping import Drag, Linear
from ..physics.kinetic import Euclidean
from ..physics.noise import White
from ..physics.system import System


def _leaf(x: Any) -> Any:
    """A number as an array: a bare one would be part of the program, and every record compile its own."""
    return np.asarray(x) if isinstance(x, float) else x


class Units(eqx.Module):
    """t = origin + time s,  q = length x,  and so p = (length / time) x'."""

    origin: Any = eqx.field(converter=_leaf)
    time: Any = eqx.field(converter=_leaf)
    length: Any = eqx.field(converter=_leaf)


class _Potential(eqx.Module):
    potential: Callable
    units: Units

    def __call__(self, position: Position) -> Scalar:
        back = jax.tree.map(lambda x: self.units.length * x, position)
        return self.potential(back) * (self.units.time / self.units.length) ** 2


class _Force(eqx.Module):
    force: Callable
    units: Units

    def __call__(self, s: Scalar) -> Position:
        factor = self.units.time**2 / self.units.length
        return jax.tree.map(lambda f: factor * f, self.force(self.units.origin + self.units.time * s))


def check(system: System) -> None:
    """ValueError for what cannot be brought to other units."""
    if not isinstance(system.kinetic, Euclidean):
        raise ValueError(f"kinetic = {system.kinetic!r}: a fit needs kinetic.Euclidean()")
    if not isinstance(system.damping, Linear | Drag):
        raise ValueError(f"damping = {system.damping!r}: a fit needs damping.Linear or damping.Drag")
    if not (system.noise is None or isinstance(system.noise, White)):
        raise ValueError(f"noise = {system.noise!r}: a fit needs noise.White, or None for deterministic data")


def rescale(system: System, units: Units) -> System:
    """The same motion in the fit's units: x'' + gamma T x' + (T^2 / L^2) grad V(L x) = (T^2 / L) F."""
    time, length = units.time, units.length
    damping = jax.tree.map(lambda x: x * time, system.damping)
    if isinstance(damping, Drag):
        quadratic = jax.tree.map(lambda x: x * length, system.damping.quadratic)  # type: ignore[attr-defined]
        damping = eqx.tree_at(lambda d: d.quadratic, damping, quadratic)
    noise = jax.tree.map(lambda x: x * time**1.5 / length, system.noise)
    force = None if system.force is None else _Force(system.force, units)
    parts = (_Potential(system.potential, units), damping, noise, force)
    return eqx.tree_at(_parts, system, parts, is_leaf=lambda x: x is None)


def _parts(system: System) -> tuple:
    return system.potential, system.damping, system.noise, system.force
