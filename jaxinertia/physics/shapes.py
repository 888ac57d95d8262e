"""How gamma and sigma meet a position: scalar, per component, or matrix."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .. import _tree
from .._checks import as_float, everywhere, is_symmetric_psd, is_traced, require
from .._shown import shown
from .._types import ArrayLike, Position


class Coefficient(NamedTuple):
    """gamma or sigma laid out for one position.

    `value` is a (d, d) array if `matrix`, else a pytree like the position; `uniform` says that all
    components share one number, which sums over components may take out of the sum.
    """

    value: Position
    matrix: bool
    uniform: bool

    def times(self, vector: Position) -> Position:
        """Gamma v: a matrix product, or component by component."""
        if self.matrix:
            return jax.tree.map(lambda v: self.value @ v, vector)
        return jax.tree.map(jnp.multiply, self.value, vector)


def match(name: str, value: Position, position: Position) -> Coefficient:
    """Lay a scalar, an array or a pytree out for a position; ValueError if it does not fit."""
    leaves = jax.tree.leaves(position)
    if not _tree.same_structure(value, 0):
        return Coefficient(_like(name, value, position), matrix=False, uniform=False)
    if value.ndim == 0:
        return Coefficient(jax.tree.map(lambda _: value, position), matrix=False, uniform=True)
    if len(leaves) > 1:
        raise ValueError(
            f"{name} has shape {value.shape}, but the position has {len(leaves)} leaves; "
            "pass a scalar, or a pytree with the structure of the position"
        )
    (leaf,) = leaves
    if value.ndim == 2 and leaf.ndim == 1 and value.shape == (leaf.size, leaf.size):
        return Coefficient(value, matrix=True, uniform=False)
    return Coefficient(_like(name, jax.tree.map(lambda _: value, position), position), matrix=False, uniform=False)


def check_damping(gamma: Coefficient, position: Position) -> Position:
    """The position, if this damping takes energy and never gives it; ValueError, or a run-time error where traced."""
    if gamma.matrix:
        message = (
            "damping gamma, used as a matrix, must be symmetric with no negative eigenvalue"
            + ("" if is_traced(gamma.value) else f", got {gamma.value.tolist()}")
            + "; symmetrise it, or build it as R @ R.T"
        )
        if not is_traced(gamma.value):
            return require(position, is_symmetric_psd(np.asarray(gamma.value)), message)
        value = jax.lax.stop_gradient(gamma.value)
        slack = 64 * len(value) * jnp.finfo(value.dtype).eps * jnp.max(jnp.abs(value))
        symmetric = jnp.all(jnp.abs(value - value.T) <= slack)
        return require(position, symmetric & jnp.all(jnp.linalg.eigvalsh(value) >= -slack), message)
    message = "damping gamma must not be negative in any component; pass gamma >= 0"
    return require(position, everywhere(lambda x: x >= 0, gamma.value), message)


def leaves_of(name: str, value: ArrayLike) -> PyTree:
    """Numbers and (nested lists of) numbers become float arrays; other pytrees keep their structure.

    ValueError for no number at all.
    """
    if not jax.tree.leaves(value) or np.size(jax.tree.leaves(value)[0]) == 0:
        raise ValueError(f"{name} = {shown(value)} holds no number; pass one, such as 0.0")
    if isinstance(value, list) and not any(hasattr(x, "dtype") for x in jax.tree.leaves(value)):
        return as_float(name, value)
    return jax.tree.map(lambda x: as_float(name, x), value)


def _like(name, value, position):
    pairs = zip(jax.tree.leaves(value), jax.tree.leaves(position), strict=False)
    if not _tree.same_structure(value, position) or not all(fits(x.shape, q.shape) for x, q in pairs):
        raise ValueError(
            f"{name} has the shapes {_tree.shapes(value)}, which do not fit the position's {_tree.shapes(position)}; "
            "pass a scalar, or a pytree of arrays shaped like the position"
        )
    return value


def fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether the shape broadcasts to the target."""
    padded = (1,) * (len(target) - len(shape)) + tuple(shape)
    return len(shape) <= len(target) and all(a in (1, b) for a, b in zip(padded, target, strict=True))
