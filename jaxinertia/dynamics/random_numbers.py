r"""Random numbers as a function of (key, step, component): any cut into blocks, chunks or devices draws the same bits.

The key is hashed once into a seed; step and component are the counter of Threefry-2x32, whose 64 bits make one number.
So many steps' numbers come from one vectorised call, wherever it starts, and nothing is carried. JAX's own generator
hashes a new key for every step, and its loops on the CPU cost three times as much.

gaussian: the inverse distribution function at the middle of one of 2^52 equal cells (2^23 in float32).
three-point: eight base-6 digits from each 64 bits, so eight steps share a counter; 0 and 5 give -+sqrt(3). A digit's
probability is 1/6 to 3e-6.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11 (2011).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from .. import _tree
from .._types import Key, Position
from .vectorised import erf_inv

Words = Shaped[Array, "..."]  # of 32 bits
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry(seed: tuple[Words, Words], counter: tuple[Words, Words]) -> tuple[Words, Words]:
    """Threefry-2x32 of twenty rounds: 64 random bits for every (seed, counter)."""
    keys = (*seed, seed[0] ^ seed[1] ^ _PARITY)
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation)))
        x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


class RandomNumbers(eqx.Module):
    """The random numbers of one run: independent, of mean 0 and variance 1."""

    seed: tuple[Words, Words]
    draws: int = eqx.field(static=True)  # in a step
    law: str = eqx.field(static=True)

    def __init__(self, key: Key, draws: int, law: str):
        first, second = jax.random.bits(key, (2,), "uint32")
        self.seed, self.draws, self.law = (first, second), draws, law

    def steps(self, first: Words, count: int, draw: int, like: Position) -> Position:
        """Numbers for the steps first, ..., first + count - 1, each leaf (count, ...) for a leaf of `like`."""
        leaves, structure = jax.tree.flatten(like)
        size, done, numbers = _tree.size(like), draw * _tree.size(like), []
        if self.draws * size >= 2**32:
            raise ValueError(f"position has {size:,} components, more than random numbers can be counted for")
        first = jnp.asarray(first, jnp.uint32)
        for leaf in leaves:
            like_leaf = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
            make = partial(_LAWS[self.law], count=count, offset=done, like=like_leaf)
            numbers.append(_points_last(make)(*self.seed, first))
            done += leaf.size
        return jax.tree.unflatten(structure, numbers)


def _points_last(make: Callable[..., Array]) -> Callable[[Words, Words, Words], Array]:
    """make(seed, first), which under vmap lays the points out along the last axis.

    A loop over steps then reads whole rows. vmap by itself would put points first, and XLA transpose all numbers.
    """

    @jax.custom_batching.custom_vmap
    def numbers(seed0, seed1, first):
        return make((seed0, seed1), first)

    @numbers.def_vmap
    def rule(size, batched, seed0, seed1, first):
        *seeds_batched, first_batched = batched
        if first_batched:  # points at different steps: no row to share
            axes = tuple(0 if b else None for b in batched)
            return jax.vmap(lambda a, b, first: make((a, b), first), axes)(seed0, seed1, first), True
        pairs = zip((seed0, seed1), seeds_batched, strict=True)
        last = [jnp.moveaxis(x, 0, -1) if b else jnp.broadcast_to(x[..., None], (*x.shape, size)) for x, b in pairs]
        return jnp.moveaxis(numbers(*last, first), -1, 0), True

    return numbers


def _counters(
    leading: Words, offset: int, like: jax.ShapeDtypeStruct, seed: tuple[Words, Words]
) -> tuple[Words, Words]:
    """(step or group, component), against each other, the components shaped like the leaf, and the seeds."""
    inner = (1,) * seed[0].ndim
    component = (offset + jnp.arange(like.size, dtype=jnp.uint32)).reshape(*like.shape, *inner)
    return leading.reshape(-1, *(1,) * component.ndim), component


_MANY = 2**11  # numbers drawn together that are worth a loop of their own, which takes XLA a while to compile


def _gaussian(seed, first, count, offset, like):
    many = count > 1 and count * like.size * seed[0].size >= _MANY
    rows = count + count % 2 if many else count
    step = first + jnp.arange(rows, dtype=jnp.uint32)
    words = threefry(seed, _counters(step, offset, like, seed))
    if not many:
        return _normal(words, like.dtype)
    # In two halves, because XLA would fuse and hash words of 32 bits only as many at once as fit of floats of 64.
    halves = _packed(words, like.dtype).reshape(2, rows // 2, *words[0].shape[1:])
    normal = jax.lax.map(lambda half: _normal(_unpacked(half), like.dtype), halves)
    return normal.reshape(rows, *normal.shape[2:])[:count]


def _packed(words: Sequence[Words], dtype: jnp.dtype) -> Array:
    """The words that a number is made of as one array: of two, XLA would hash anew for each."""
    if dtype != jnp.float64:
        return words[0]
    return jax.lax.complex(*(jax.lax.bitcast_convert_type(word, jnp.float32) for word in words))


def _unpacked(packed: Array) -> list[Words]:
    parts = [jnp.real(packed), jnp.imag(packed)] if jnp.iscomplexobj(packed) else [packed]
    return [jax.lax.bitcast_convert_type(part, jnp.uint32) for part in parts]


def _normal(words: Sequence[Words], dtype: jnp.dtype) -> Array:
    """sqrt(2) erf_inv x at the middle x of a cell of (-1, 1)."""
    high, *low = words
    if dtype == jnp.float64:  # 32 + 20 bits, exactly
        cell = high.astype(jnp.float64) * 2.0**20 + (low[0] >> np.uint32(12)).astype(jnp.float64)
        x = (cell + 0.5) * 2.0**-51 - 1.0
    else:
        x = ((high >> np.uint32(9)).astype(jnp.float32) + 0.5) * np.float32(2.0**-22) - 1.0
    return (math.sqrt(2) * erf_inv(x)).astype(dtype)


_DIGITS = 4  # base 6, in a word of which 29 bits are used: times 6 it still fits
_MASK = np.uint32(2**29 - 1)
_POWERS = np.array([6**k for k in range(_DIGITS)], np.uint32)
_SHARED = 2 * _DIGITS  # steps that share a counter


def _three_point(seed, first, count, offset, like):
    groups = (count + _SHARED - 2) // _SHARED + 1  # enough wherever `first` lies within its group
    group = first // np.uint32(_SHARED) + jnp.arange(groups, dtype=jnp.uint32)
    words = threefry(seed, _counters(group, offset, like, seed))

    def eight(pair):  # of one group; mapped, because XLA would fuse and hash again for every digit
        powers = _POWERS.reshape(-1, *(1,) * pair[0].ndim)
        return jnp.concatenate([_side(word * powers) for word in pair])

    # Two words apart, because XLA's loop over a stack of them is scalar; and bytes, an eighth of the memory.
    sides = jax.lax.map(eight, words).reshape(groups * _SHARED, *words[0].shape[1:])
    sides = jax.lax.dynamic_slice_in_dim(sides, first % np.uint32(_SHARED), count)
    return (sides.astype(like.dtype) * math.sqrt(3)).astype(like.dtype)


def _side(shifted: Words) -> Array:
    """-1, 0 or 1 from the leading base-6 digit."""
    digit = ((shifted & _MASK) * np.uint32(6)) >> np.uint32(29)
    return (digit == 5).astype(jnp.int8) - (digit == 0).astype(jnp.int8)


_LAWS = {"gaussian": _gaussian, "three-point": _three_point}
