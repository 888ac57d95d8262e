"""The compiled part of a sweep: one chunk of points, over all devices of this process."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ..._checks import nan_for_bad_values
from ..._compiler import WIDE, compiled_under
from ..._origin import watched
from ..._reads import Held
from ..._shown import shown
from ..random_numbers import threefry
from .axes import Axes
from .contents import Contents
from .labels import Timed, name_of, timed

LANES = "points"
# Bytes: parameters of a chunk that take no more are looked up for all its points at once. XLA shares out a look-up in a
# large array among threads and waits for them, though each has points of its own to do: here once, not in each block.
TAKEN = 2**24


class Outputs(NamedTuple):
    """What is known of a point's outputs by name, and how a pytree like the one that fn returns is made of them."""

    shapes: dict[str, jax.ShapeDtypeStruct]
    timed: dict[str, Timed]  # which are over the times of a trajectory
    assemble: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Program:
    """fn as a traced function of a point's parameters and key, and what it returns.

    Equal equations, equal numbers and the same functions called on the host make equal programs: compiled once, they
    serve the next sweep too. fn itself would not do as the mark, since what it closes over may have changed.
    """

    numbers: str
    objects: str
    held: tuple[Held, ...]
    jaxpr: ClosedJaxpr = field(compare=False)  # (parameters, index, key) -> leaves
    outputs: Outputs = field(compare=False)


def trace(fn: Callable, axes: Axes, key: Any) -> Program:
    """Trace fn once on abstract values.

    Raises ValueError if fn does not take the axes' parameters, or returns no array.
    """

    bound = _binder(fn, axes, key)
    over: dict[str, Timed] = {}

    fold = _folding(axes, key)

    def point(parameters, index, key):
        if key is not None:
            parameters = parameters | {"key": fold(key, index)}
        with nan_for_bad_values(), watched() as seen:  # one bad point must not stop the others
            arguments = bound(parameters)
            out = fn(*arguments.args, **arguments.kwargs)
        over.update(timed(out, seen))
        _refuse_keys(out)
        out = jax.tree.map(lambda x: jnp.asarray(x) if eqx.is_array_like(x) else x, out)
        return jax.tree.map(_nan_for_inf, eqx.filter(out, eqx.is_array))

    arrays = {name: x for axis in axes.axes for name, x in axis.values.items()}
    parameters = {name: jax.ShapeDtypeStruct(x.shape[1:], _dtype(x)) for name, x in arrays.items()}
    word = jax.ShapeDtypeStruct((), jnp.uint32)
    jaxpr, out = jax.make_jaxpr(point, return_shape=True)(parameters, (word, word), key)
    leaves = jax.tree_util.tree_leaves_with_path(out)
    if not leaves:
        raise ValueError(f"fn = {shown(fn)} returns no array; return what should be kept of each point")
    names = [name_of(path) for path, _ in leaves]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"fn returns several outputs called {twice} (nested names are joined by dots); rename them")
    shapes = {name: leaf for name, (_, leaf) in zip(names, leaves, strict=True)}
    outputs = Outputs(shapes, over, partial(jax.tree.unflatten, jax.tree.structure(out)))
    inside = Contents(jaxpr, deep=False)
    return Program(inside.numbers, inside.objects, inside.held, jaxpr, outputs)


def _refuse_keys(out: Any) -> None:
    """ValueError for random keys: they are no numbers."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(out):
        if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise ValueError(
                f"fn returns a random key ({name_of(path)}), which is no number; return jax.random.key_data(key)"
            )


def _binder(fn: Callable, axes: Axes, key: Any) -> Callable[[dict[str, Any]], inspect.BoundArguments]:
    """Parameters by name, in the order of fn's signature: what jax.grad returns takes them by position."""
    signature = inspect.signature(fn)
    names = [name for axis in axes.axes for name in axis.values]
    if key is not None and "key" in names:
        raise ValueError("axes have a parameter 'key', which the random key of each point needs; rename the axis")
    names += [] if key is None else ["key"]
    try:
        signature.bind(**dict.fromkeys(names))
    except TypeError as error:
        raise ValueError(
            f"fn{signature} does not take the arguments {names}: {error}; name the axes after them"
        ) from error
    return lambda parameters: signature.bind(**parameters)


@lru_cache(maxsize=16)
def compile_chunk(program: Program, box: tuple[int, ...], names: tuple, mesh: Mesh, width: int, block: int) -> Callable:
    """A function (chunk, arrays, key, into) -> leaves of leading size `width`, computed in one share per device.

    Arguments:
        box: the shape of a full chunk; names: the parameters of each of its axes.
        chunk (of the function): `words` of its first point and its count; arrays: the parameters in its box; into:
            `room` for the leaves, or those of a chunk that is done with, whose memory they take: new memory for each
            chunk would be cleared twice, by the system and by XLA, and that costs more than to fill it.
    """
    share = width // mesh.size

    def taken(arrays, offset):
        """The parameters in these arrays at an offset into the chunk's box."""
        found, rest = {}, offset
        for length, of_axis in zip(reversed(box), reversed(names), strict=True):
            place, rest = jax.lax.rem(rest, jnp.int32(length)), jax.lax.div(rest, jnp.int32(length))
            found |= {name: arrays[name][place] for name in of_axis if name in arrays}
        return found

    def on_one_device(chunk, arrays, key, into):
        high, low, count = chunk
        lane = jax.lax.axis_index(LANES).astype(jnp.int32)
        offsets = jnp.minimum(lane * share + jnp.arange(share, dtype=jnp.int32), count.astype(jnp.int32) - 1)
        small = {name: x for name, x in arrays.items() if share * math.prod(x.shape[1:]) * x.dtype.itemsize <= TAKEN}
        large = {name: x for name, x in arrays.items() if name not in small}

        def at(point):
            offset, known = point
            index = low + offset.astype(jnp.uint32)
            carried = high + (index < low).astype(jnp.uint32)
            parameters = known | taken(large, offset)
            return jaxpr_as_fun(program.jaxpr)(*jax.tree.leaves((parameters, (carried, index), key)))

        points = offsets, jax.vmap(partial(taken, small))(offsets)

        def write(number, into):
            start = number * block
            here = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, block), points)
            new = jax.vmap(at)(here)
            return [jax.lax.dynamic_update_slice_in_dim(x, y, start, 0) for x, y in zip(into, new, strict=True)]

        return write(0, into) if share == block else jax.lax.fori_loop(0, share // block, write, into)

    everywhere, split = PartitionSpec(), PartitionSpec(LANES)
    inputs = (everywhere, everywhere, everywhere, split)
    mapped = jax.shard_map(on_one_device, mesh=mesh, in_specs=inputs, out_specs=split, check_vma=False)
    return compiled_under(WIDE, mapped, partial(jax.jit, donate_argnums=3))


def room(outputs: Outputs, mesh: Mesh, width: int) -> list[jax.Array]:
    """Memory on the devices for the leaves of one chunk."""
    split = NamedSharding(mesh, PartitionSpec(LANES))
    empty = [np.zeros((width, *x.shape), x.dtype) for x in outputs.shapes.values()]
    return [jax.device_put(x, split, may_alias=False) for x in empty]  # donated: it must not be NumPy's own


def words(start: int, count: int) -> np.ndarray:
    """What a compiled chunk is told: the two words of its first point's global index, and how many points it has."""
    return np.array([start >> 32 & 0xFFFFFFFF, start & 0xFFFFFFFF, count], np.uint32)


def mesh_of(devices: list[Any]) -> Mesh:
    """The devices in a row."""
    return Mesh(np.array(devices), (LANES,))


def on_every_device(arrays: Any, mesh: Mesh) -> Any:
    """Copied to all devices once, instead of with each chunk."""
    return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec()))


def _folding(axes: Axes, key: Any) -> Callable[[Any, tuple[Any, Any]], Any]:
    """A function (key, index of two words) -> the point's own key: `fold_in(key, index)`, which knows one word.

    Threefry numbers its keys by two words, of which `fold_in` sets the first to zero: with both no two points share a
    key, and the first 2^32 have the same as ever.
    """
    if axes.size <= 2**32 or key is None:
        return lambda key, index: jax.random.fold_in(key, index[1])
    if axes.size > 2**64 or (kind := str(jax.random.key_impl(key))) != "threefry2x32":
        of = "2^64" if axes.size > 2**64 else f"2^32, with a key of the kind {kind!r}"
        told = f"axes have {' x '.join(f'{n:,}' for n in axes.shape)} = {axes.size:,} points"
        raise ValueError(f"{told}, more than {of}, which can have random keys of their own; split the sweep")
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)

    def fold(key, index):
        seed = jax.random.key_data(key)
        data = jnp.stack(threefry((seed[0], seed[1]), index))
        return jax.random.wrap_key_data(data, impl="threefry2x32") if typed else data

    return fold


def _dtype(values: Any) -> Any:
    return jax.dtypes.canonicalize_dtype(values.dtype)


def _nan_for_inf(x):
    return jnp.where(jnp.isfinite(x), x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.inexact) else x
