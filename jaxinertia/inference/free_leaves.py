"""Which leaves `free` and `each` pick of a system, within which bounds: checked, and said in the caller's words."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._shown import shown
from ..physics.system import System
from .coordinates import ABOVE, BELOW, BETWEEN, FACTOR, GRAM, REAL, SKEW
from .parameters import Parameters


class _Place:
    """Stands for a leaf while `free` picks leaves."""

    def __init__(self, index: int):
        self.index = index


def choose(system: System, free: Callable, bounds: Any = None, each: Callable | None = None) -> Parameters:
    """The leaves that `free` picks, and `each` for one run, checked; friction, masses and noise positive, else of any
    sign, unless bounded."""
    paths, _ = jax.tree_util.tree_flatten_with_path(system)
    shared, structure = _picked("free", free, system, each is not None)
    own, own_structure = ([], None) if each is None else _picked("each", each, system)
    where = (*shared, *own)
    names = tuple(jax.tree_util.keystr(paths[i][0]).lstrip(".") for i in where)
    if len(set(where)) < len(where):
        raise ValueError(f"free returns a leaf twice{' or each one of its' * bool(own)}: {names}")
    leaves = [paths[i][1] for i in where]
    for name, leaf in zip(names, leaves, strict=True):
        if not eqx.is_inexact_array(leaf):
            raise ValueError(f"free returns {name} = {shown(leaf)}, which is not an array of floats")
    if own and bounds is not None and not (isinstance(bounds, tuple) and len(bounds) == 2):
        raise ValueError(f"bounds = {shown(bounds)}: with each= pass two, (those of free, those of each), or None")
    of_shared, of_own = bounds if own and bounds is not None else (bounds, None)
    limits = _bounds(of_shared, structure, names[: len(shared)])
    limits = [*limits, *(_bounds(of_own, own_structure, names[len(shared) :]) if own else [])]
    positive = [_is_in(system, paths[i][0], "nonnegative") for i in where]
    skew = [_is_in(system, paths[i][0], "skew") for i in where]
    every = zip(names, leaves, limits, positive, skew, strict=True)
    kinds, low, high = zip(*(_kind(*one) for one in every), strict=True)
    shapes = tuple(x.shape for x in leaves)
    return Parameters(low, high, where, kinds, shapes, names, structure, own_structure, len(own))


def _picked(name: str, pick: Callable, system: System, may_be_none: bool = False) -> tuple[list[int], Any]:
    """Which leaves a function of the system returns, and in which structure."""
    leaves, structure = jax.tree.flatten(system)
    places = jax.tree.unflatten(structure, [_Place(i) for i in range(len(leaves))])
    try:
        picked = pick(places)
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        raise ValueError(
            f"{name} fails on the system: {error}; return leaves, as in lambda s: s.damping.gamma"
        ) from error
    chosen, picked_structure = jax.tree.flatten(picked, is_leaf=lambda x: isinstance(x, _Place))
    if not (chosen or may_be_none) or not all(isinstance(x, _Place) for x in chosen):
        raise ValueError(
            f"{name} returns {shown(picked)}; return leaves of the system, as in lambda s: (s.damping.gamma,)"
        )
    return [x.index for x in chosen], picked_structure


def _is_in(system: System, path: tuple, wish: str) -> bool:
    """Whether the leaf is, or lies in, a field that its owner names in its `nonnegative` (or `skew`)."""
    node: Any = system
    for key in path:
        name = getattr(key, "name", None)
        if name is not None and name in getattr(node, wish, ()):
            return True
        node = getattr(node, name) if name is not None else node[key.idx if hasattr(key, "idx") else key.key]
    return False


def _bounds(bounds, structure, names):
    if bounds is None:
        return [None] * len(names)
    try:
        given = structure.flatten_up_to(bounds)
    except (ValueError, TypeError) as error:
        raise ValueError(f"bounds = {shown(bounds)} must have a (low, high) for each leaf that free returns") from error
    for name, pair in zip(names, given, strict=True):
        good = pair is None or (isinstance(pair, tuple | list) and len(pair) == 2)
        if good and pair is not None and None not in pair:
            good = bool(np.all(np.asarray(pair[0]) < np.asarray(pair[1])))
        if not good:
            raise ValueError(
                f"bounds of {name} = {shown(pair)} must be (low, high) with low < high, or None for either"
            )
    return given


def _kind(name, leaf, limits, positive, skew):
    matrix = leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1]
    if skew or (positive and matrix):
        if limits is not None:
            raise ValueError(f"bounds of {name}, a matrix, cannot be kept; pass None for it")
        if skew:
            return SKEW, np.zeros(()), np.zeros(())
        return FACTOR if name.startswith("noise") else GRAM, np.zeros(()), np.zeros(())
    low, high = limits if limits is not None else (None, None)
    if positive and (low is None or np.any(np.asarray(low) < 0)):
        low = 0.0
    kind = {(0, 0): REAL, (1, 0): ABOVE, (0, 1): BELOW, (1, 1): BETWEEN}[low is not None, high is not None]
    return kind, *(np.asarray(0.0 if x is None else x, float) for x in (low, high))
