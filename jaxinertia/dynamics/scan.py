"""A scan whose reverse mode remembers about the square root of its steps.

Long scans run in blocks of about sqrt(length) steps; the backward pass keeps the state at each block's start and
recomputes one block at a time. Forward mode, and a run without gradients, see a plain scan.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .. import _tree

PLAIN = 128  # up to this many steps, remembering all costs little


def checkpointed_scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any,
    length: int,
    unroll: int = 1,
    prepare: Callable[[Any], Any] | None = None,
    sums: tuple[Callable[[Any], Any], Callable[[Any, Any], Any]] | None = None,
) -> tuple[Any, Any]:
    """`jax.lax.scan`, checkpointed in blocks where it is long.

    `prepare`, if given, makes the body's xs from those of a whole block: what many steps need is computed together.
    `sums`, if given, are (emptied, added): each block starts from emptied(carry) and is put back by added(carry, end),
    so that long sums are sums of short ones, and round as little.
    """
    carry = _tree.vary_alike(carry, lambda: (carry, xs))

    def scan(carry, xs, length, unroll):
        return jax.lax.scan(body, carry, xs if prepare is None else prepare(xs), length, unroll=unroll)

    if length <= PLAIN:
        return scan(carry, xs, length, min(unroll, max(length, 1)))
    block = _block(length)
    count, tail = divmod(length, block)

    def run_block(carry, x):
        if sums is None:
            return scan(carry, x, block, unroll)
        emptied, added = sums
        end, ys = scan(emptied(carry), x, block, unroll)
        return added(carry, end), ys

    # prevent_cse is for code outside a scan; inside one it only adds barriers.
    run_block = jax.checkpoint(run_block, prevent_cse=False)
    head = jax.tree.map(lambda x: x[: count * block].reshape(count, block, *x.shape[1:]), xs)
    carry, ys = jax.lax.scan(run_block, carry, head, count)
    ys = jax.tree.map(lambda y: y.reshape(count * block, *y.shape[2:]), ys)
    if tail:
        carry, last = scan(carry, jax.tree.map(lambda x: x[count * block :], xs), tail, 1)
        ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, last)
    return carry, ys


def longest_block(length: int) -> int:
    """The most steps that `prepare` sees at once."""
    return length if length <= PLAIN else max(_block(length), length % _block(length))


def _block(length: int) -> int:
    """A divisor of the length near its square root, or else the square root and a tail."""
    root = math.isqrt(length)
    near = [b for b in range(root // 2 + 1, 2 * root) if length % b == 0]
    return min(near, key=lambda b: abs(b - root), default=root)
