"""Vector algebra on pytrees: the few operations that mechanics needs."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._types import Scalar

Class = TypeVar("Class", bound=type)


def static(**options: Any) -> Any:
    """A field of a `plain` class that belongs to the program, and is no array."""
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
def plain(cls: Class) -> Class:
    """A frozen dataclass that is a pytree, for what the host handles: an Equinox module makes another module of every
    method that it is asked for, which takes longer than most methods do."""
    made: Any = dataclasses.dataclass(frozen=True, eq=False)(cls)
    fields = dataclasses.fields(made)
    moving = tuple(f.name for f in fields if not f.metadata.get("static"))
    fixed = tuple(f.name for f in fields if f.metadata.get("static"))

    def flatten(x: Any) -> tuple:
        return tuple(getattr(x, name) for name in moving), tuple(getattr(x, name) for name in fixed)

    def unflatten(known: tuple, leaves: Any) -> Any:
        out = object.__new__(made)  # leaves may be anything here: no annotation holds
        out.__dict__.update(zip(moving, leaves, strict=True))
        out.__dict__.update(zip(fixed, known, strict=True))
        return out

    jax.tree_util.register_pytree_node(made, flatten, unflatten)
    return made


def add_scaled(y: PyTree, a: Scalar | float, x: PyTree) -> PyTree:
    """y + a x, leaf by leaf, in the dtype of y."""
    return jax.tree.map(lambda yi, xi: yi + jnp.asarray(a, yi.dtype) * xi, y, x)


def dot(x: PyTree, y: PyTree) -> Scalar:
    """sum_i x_i y_i over all components of all leaves."""
    products = jax.tree.map(lambda xi, yi: jnp.sum(xi * yi), x, y)
    return sum_leaves(products)


def sum_leaves(tree: PyTree) -> Scalar:
    """The sum of a pytree's scalar leaves."""
    first, *rest = jax.tree.leaves(tree)
    for leaf in rest:
        first = first + leaf
    return first


def same_structure(x: PyTree, y: PyTree) -> bool:
    """Whether two pytrees have the same structure."""
    return bool(jax.tree.structure(x) == jax.tree.structure(y))  # type: ignore[operator]


def shapes(tree: PyTree) -> PyTree:
    """The shape of every leaf, for messages."""
    return jax.tree.map(jnp.shape, tree)


def size(tree: PyTree) -> int:
    """The number of components, d."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def dtype(tree: PyTree) -> jnp.dtype:
    """The one dtype that all leaves promote to."""
    return jnp.result_type(*jax.tree.leaves(tree))


def cast(tree: PyTree, to: jnp.dtype) -> PyTree:
    """Cast every inexact array leaf; leave all else alone. What is known, inside jit too, stays known."""

    def leaf(x):
        if not (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)):
            return x
        if isinstance(x, jax.core.Tracer):
            return jnp.asarray(x, to)
        with jax.ensure_compile_time_eval():
            return jnp.asarray(x, to)

    return jax.tree.map(leaf, tree)


def varies(x: Any) -> bool:
    """Whether `jax.shard_map` keeps track of mesh axes over which this varies."""
    aval = jax.typeof(x)
    return bool(getattr(aval, "vma", None) or getattr(getattr(aval, "mat", None), "varying", None))  # by JAX's version


def vary_alike(tree: PyTree, like: Callable[[], PyTree]) -> PyTree:
    """The same tree; inside `jax.shard_map` its arrays vary over all mesh axes that a leaf of `like()` varies over.

    There JAX takes what does not vary for one value that all devices share: a loop cannot start from it and go on
    varying, and `jax.grad` with respect to it sums over the devices.
    """
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    never = jnp.zeros((), bool)
    leaves = [leaf for leaf in jax.tree.leaves(like()) if isinstance(leaf, jax.Array)]
    if not any(map(varies, leaves)):  # nor does anything with check_vma=False: what is known then stays known
        return tree
    for leaf in leaves:
        if varies(leaf):
            leaf = jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
            never = never | (jnp.any(jnp.isnan(leaf)) & False)
    return jax.tree.map(lambda x: jnp.where(never, x, x) if hasattr(x, "dtype") or isinstance(x, float) else x, tree)
