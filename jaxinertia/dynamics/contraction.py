"""The fixed point of a contraction, to rounding, whatever the units, with the derivatives of the implicit function.

The same iteration solves the linear equation of the derivatives, in forward and in reverse mode: its matrix is the
map's Jacobian or its transpose, which contracts as fast as the map. No matrix is ever made.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._types import Scalar

MOST = 128  # iterations: what shrinks by less than a quarter each time does not come to rounding in them
_NOISIER = 128  # an estimate of noise may be too low by this factor
_SHRINKS = 0.9  # what does no longer, once it is little, is rounding


class _Iterate(NamedTuple):
    value: Any
    change: Scalar  # the last one, relative to the sizes
    before: Scalar  # and the one before it
    count: Any


def fixed_point(update: Callable[[Any], Any], guess: Any, sizes: Any, noise: Any = 0.0) -> tuple[Any, Any]:
    """(y, found) with y = update(y): a pytree like the guess, and whether the iteration came to rest at rounding.

    Changes are relative to the largest number in each leaf, or to its size, a tree of numbers like y, where that is
    more. `noise` is about how far, so measured, the update is off by rounding, where that is more than its last place.
    """

    def solve(residual, y):
        y, found = settle(lambda y: jax.tree.map(jnp.add, y, residual(y)), y, sizes, noise)
        return y, found.astype(float)  # JAX makes a tangent of it, and would of a bool make a wrong one

    def solve_linear(linear, b):
        return jax.lax.custom_linear_solve(linear, b, solve=_by_iterating, transpose_solve=_by_iterating)

    def residual(y):
        return jax.tree.map(jnp.subtract, update(y), y)

    y, found = jax.lax.custom_root(residual, guess, solve, solve_linear, has_aux=True)
    return y, jax.lax.stop_gradient(found) > 0


def _by_iterating(linear: Callable[[Any], Any], b: Any) -> Any:
    """x with linear(x) = b, for 1 + linear a contraction; NaN where it is none."""
    none = jax.tree.map(lambda x: jnp.zeros((), x.dtype), b)
    add = lambda x: jax.tree.map(lambda x, y, b: x + (y - b), x, linear(x), b)  # noqa: E731
    x, found = settle(add, jax.tree.map(jnp.negative, b), none)
    return jax.tree.map(lambda x: jnp.where(found, x, jnp.nan), x)


def settle(update: Callable[[Any], Any], guess: Any, sizes: Any, noise: Any = 0.0) -> tuple[Any, Any]:
    """`fixed_point` without its derivatives."""
    dtype = jnp.result_type(*jax.tree.leaves(guess))
    eps = float(jnp.finfo(dtype).eps)
    noise = jnp.asarray(noise, dtype)
    floor, little = jnp.maximum(4 * eps, noise), jnp.maximum(eps**0.5, _NOISIER * noise)

    def at_rounding(it):
        return (it.change <= floor) | ((it.change <= little) & (it.change >= _SHRINKS * it.before))

    def goes_on(it):  # NaN, too, ends it
        return (it.count < MOST) & ~at_rounding(it) & (it.change < jnp.inf)

    def once(it):
        value = update(it.value)
        return _Iterate(value, _relative(value, it.value, sizes).astype(dtype), it.change, it.count + 1)

    far = jnp.full((), jnp.finfo(dtype).max, dtype)
    end = jax.lax.while_loop(goes_on, once, once(_Iterate(guess, far, far, jnp.zeros((), jnp.int32))))
    return end.value, at_rounding(end)


def _relative(new: Any, old: Any, sizes: Any) -> Scalar:
    """The largest change of a leaf, relative to the leaf; none where numbers go under, and their last places first."""

    def of(new, old, size):
        change = jnp.max(jnp.abs(new - old))
        size = jnp.maximum(jnp.maximum(jnp.max(jnp.abs(new)), jnp.max(jnp.abs(old))), size)
        none = float(jnp.finfo(change.dtype).tiny / jnp.finfo(change.dtype).eps)
        return jnp.where(change <= none, 0, change / jnp.where(size > 0, size, 1))

    return jnp.stack(jax.tree.leaves(jax.tree.map(of, new, old, sizes))).max()
