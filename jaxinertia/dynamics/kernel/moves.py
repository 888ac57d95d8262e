"""Operations that only move numbers, on NumPy arrays whose entries are numbers: they cost a program nothing."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Cells = np.ndarray  # of objects: numbers of a program


def cells(array: Any) -> Cells:
    """The entries of an array that is known, as NumPy scalars."""
    array = np.asarray(array)
    found = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        found[place] = array[place]
    return found


def filled(shape: Any, entries: Any) -> Cells:
    """An array of these entries, in C order."""
    found = np.empty(shape, object)
    for place, entry in zip(np.ndindex(shape), entries, strict=True):
        found[place] = entry
    return found


def _broadcast(a: Cells, shape: Any, broadcast_dimensions: Any) -> Cells:
    wide = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, a.shape, strict=True):
        wide[axis] = size
    return np.broadcast_to(a.reshape(wide), shape)


def _reshape(a: Cells, new_sizes: Any, dimensions: Any) -> Cells:
    return (a if dimensions is None else np.transpose(a, dimensions)).reshape(new_sizes)


def _slice(a: Cells, start_indices: Any, limit_indices: Any, strides: Any) -> Cells:
    steps = strides or (1,) * a.ndim
    return a[tuple(slice(*part) for part in zip(start_indices, limit_indices, steps, strict=True))]


def _transpose(a: Cells, permutation: Any) -> Cells:
    return np.transpose(a, permutation)


def _reverse(a: Cells, dimensions: Any) -> Cells:
    return np.flip(a, dimensions)


def _pad(a: Cells, value: Cells, padding_config: Any) -> Cells:
    for axis, config in enumerate(padding_config):
        low, high, between = map(int, config)
        a = np.moveaxis(a, axis, 0)
        length = max(a.shape[0] + max(a.shape[0] - 1, 0) * between + low + high, 0)
        wide = filled((length, *a.shape[1:]), [value[()]] * (length * int(np.prod(a.shape[1:], dtype=int))))
        for i in range(a.shape[0]):
            place = low + i * (between + 1)
            if 0 <= place < length:
                wide[place] = a[i]
        a = np.moveaxis(wide, 0, axis)
    return a


def _split(a: Cells, sizes: Any, axis: int) -> list[Cells]:
    return np.split(a, np.cumsum(sizes)[:-1], axis)


MOVES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": lambda a, dimensions: a.reshape([n for i, n in enumerate(a.shape) if i not in dimensions]),
    "transpose": _transpose,
    "slice": _slice,
    "rev": _reverse,
    "concatenate": lambda *parts, dimension: np.concatenate(parts, dimension),
    "stack": lambda *parts, axis: np.stack(parts, axis),
    "pad": _pad,
    "split": _split,
    "tile": np.tile,
}


def by_number(primitive: Any, params: dict[str, Any], array: Cells, others: list[Any]) -> Cells:
    """What an operation that picks from its first operand does, tried on numbers that name the entries; -1: none."""
    named = jnp.arange(array.size, dtype=jnp.int32).reshape(array.shape)
    with jax.ensure_compile_time_eval():
        return np.asarray(primitive.bind(named, *(jnp.asarray(x) for x in others), **params))
