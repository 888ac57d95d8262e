"""The fit's own units: times in sampling steps, lengths in the record's scatter, so that no number is far from 1."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._shown import shown
from .._types import Position, Scalar
from ..physics.potentials import depends_on_time
from ..physics.system import System


def _leaf(x: Any) -> Any:
    """A number as an array: a bare one would be part of the program, and every record compile its own."""
    return np.asarray(x) if isinstance(x, float) else x


class Units(eqx.Module):
    """t = origin + time s,  q = length x,  and so p = (length / time) x'.

    reading: of what is read of a state, one for each channel; None where the position is.
    """

    origin: Any = eqx.field(converter=_leaf)
    time: Any = eqx.field(converter=_leaf)
    length: Any = eqx.field(converter=_leaf)
    reading: Any = None


class _Potential(eqx.Module):
    potential: Callable
    units: Units

    @property
    def depends_on_time(self) -> bool:
        return depends_on_time(self.potential)

    def __call__(self, position: Position, *s: Scalar) -> Scalar:
        back = jax.tree.map(lambda x: self.units.length * x, position)
        t = [self.units.origin + self.units.time * x for x in s]
        return self.potential(back, *t) * (self.units.time / self.units.length) ** 2


class _Force(eqx.Module):
    force: Callable
    units: Units

    def __call__(self, s: Scalar) -> Position:
        factor = self.units.time**2 / self.units.length
        return jax.tree.map(lambda f: factor * f, self.force(self.units.origin + self.units.time * s))


def check(system: System) -> None:
    """ValueError for what a fit cannot do."""
    if system.noise is not None and system.noise.remembers:
        raise ValueError(
            f"noise = {shown(system.noise)} has a memory, which no fit follows: use noise.White, or None for "
            "least squares"
        )


def rescale(system: System, units: Units) -> System:
    """The same motion in the fit's units: x'' + gamma T x' + (T^2 / L^2) grad V(L x) = (T^2 / L) F."""
    time, length = units.time, units.length
    damping = system.damping.in_units(units.origin, time, length)
    kinetic = system.kinetic.in_units(time, length)
    noise = None if system.noise is None else system.noise.in_units(time, length)
    force = None if system.force is None else _Force(system.force, units)
    parts = (_Potential(system.potential, units), damping, noise, kinetic, force)
    return eqx.tree_at(_parts, system, parts, is_leaf=lambda x: x is None)


def _parts(system: System) -> tuple:
    return system.potential, system.damping, system.noise, system.kinetic, system.force
