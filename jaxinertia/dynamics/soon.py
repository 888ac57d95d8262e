"""Runs of few numbers, compiled sooner: there XLA takes longer than the run, whichever way it makes the loop.

A run of many numbers is twice as fast the longer way (4096 Duffing oscillators; 64 are 1.2 times as fast).
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import equinox as eqx
import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from .._compiler import SOONER, at_top, options
from ..physics.system import System

FEW = 16  # numbers in any one array of a step


class Soon:
    """`eqx.filter_jit(fn)`, whose compiler is done sooner where it is told that the numbers are few."""

    def __init__(self, fn: Callable[..., Any]):
        self._usual = eqx.filter_jit(fn)
        self._fn = fn

    def __call__(self, few: bool, *args: Any) -> Any:
        return (self._sooner if few else self._usual)(*args)

    @cached_property
    def _sooner(self) -> Callable[..., Any]:
        return eqx.filter_jit(self._fn, **options(SOONER))


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

    return max(_sizes(jax.make_jaxpr(forces)(*(x for x in arrays if x is not None))), default=0)


def _sizes(program: ClosedJaxpr | Jaxpr) -> list[int]:
    jaxpr = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    variables = [*jaxpr.invars, *jaxpr.constvars, *(x for eqn in jaxpr.eqns for x in eqn.outvars)]
    sizes = [getattr(x.aval, "size", 1) for x in variables]
    for eqn in jaxpr.eqns:
        for inside in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr)):
            if isinstance(inside, ClosedJaxpr | Jaxpr):
                sizes += _sizes(inside)
    return sizes
