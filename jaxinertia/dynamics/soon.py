"""Runs of few numbers, compiled sooner: there XLA takes longer than the run, whichever way it makes the loop.

A run of many numbers is twice as fast the longer way (4096 Duffing oscillators; 64 are 1.2 times as fast).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax

from .._compiler import SOONER, at_top, compiled_under
from ..physics.system import System
from .one_function import as_one_function, inside, largest

FEW = 16  # numbers in any one array of a step


class Soon:
    """`eqx.filter_jit(fn)`, whose compiler is done sooner where it is told that the numbers are few."""

    def __init__(self, fn: Callable[..., Any]):
        self._usual = eqx.filter_jit(fn)
        self._sooner = compiled_under(SOONER, as_one_function(fn))

    def __call__(self, few: bool, *args: Any) -> Any:
        return (self._sooner if few else self._usual)(*args)


def is_short(system: System, position: Any, t: Any) -> bool:
    """Whether a run starts now, and no array of its system and its forces is of more than a few numbers."""
    if not at_top():
        return False
    leaves, structure = jax.tree.flatten((system, position, t))
    arrays = [jax.ShapeDtypeStruct(x.shape, x.dtype) if eqx.is_array(x) else None for x in leaves]
    rest = [None if eqx.is_array(x) else x for x in leaves]
    return _largest(structure, tuple(arrays), tuple(rest)) <= FEW


@lru_cache(maxsize=64)
def _largest(structure: Any, arrays: tuple[Any, ...], rest: tuple[Any, ...]) -> int:
    """Of all arrays that a system's forces read or make, the numbers of the largest."""

    def forces(*given):
        filled = iter(given)
        leaves = [other if like is None else next(filled) for like, other in zip(arrays, rest, strict=True)]
        system, position, t = jax.tree.unflatten(structure, leaves)
        velocity = system.kinetic.velocity_at(position, position)
        return system.gradient(position, t), system.damping.force_at(t, position, position, velocity)

    return max(map(largest, inside(jax.make_jaxpr(forces)(*(x for x in arrays if x is not None)))))
