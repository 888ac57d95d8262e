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

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped

from .. import _tree
from .._types import Key, Position

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
        make = _gaussian if self.law == "gaussian" else _three_point
        for leaf in leaves:
            component = done + jnp.arange(leaf.size, dtype=jnp.uint32)
            numbers.append(make(self.seed, jnp.asarray(first, jnp.uint32), count, component, leaf))
            done += leaf.size
        return jax.tree.unflatten(structure, numbers)


def _gaussian(seed, first, count, component, like):
    step = first + jnp.arange(count, dtype=jnp.uint32)
    high, low = threefry(seed, (step[:, None], component))
    if like.dtype == jnp.float64:  # 32 + 20 bits, exactly
        cell = high.astype(jnp.float64) * 2.0**20 + (low >> np.uint32(12)).astype(jnp.float64)
        x = (cell + 0.5) * 2.0**-51 - 1.0
    else:
        x = ((high >> np.uint32(9)).astype(jnp.float32) + 0.5) * np.float32(2.0**-22) - 1.0
    normal = math.sqrt(2) * jax.lax.erf_inv(x)
    return normal.astype(like.dtype).reshape(count, *like.shape)


_DIGITS = 4  # base 6, in a word of which 29 bits are used: times 6 it still fits
_MASK = np.uint32(2**29 - 1)
_POWERS = np.array([6**k for k in range(_DIGITS)], np.uint32)
_SHARED = 2 * _DIGITS  # steps that share a counter


def _three_point(seed, first, count, component, like):
    groups = (count + _SHARED - 2) // _SHARED + 1  # enough wherever `first` lies within its group
    group = first // np.uint32(_SHARED) + jnp.arange(groups, dtype=jnp.uint32)
    words = jnp.stack(threefry(seed, (group[:, None], component)), axis=1)  # (groups, 2, components)
    fraction = (words[:, :, None] * _POWERS[:, None]) & _MASK
    digit = (fraction * np.uint32(6)) >> np.uint32(29)
    digit = digit.reshape(groups * _SHARED, component.size)
    digit = jax.lax.dynamic_slice_in_dim(digit, first % np.uint32(_SHARED), count)
    side = (digit == 5).astype(like.dtype) - (digit == 0).astype(like.dtype)
    return (side * math.sqrt(3)).astype(like.dtype).reshape(count, *like.shape)
