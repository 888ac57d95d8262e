"""Where the O maps get their Brownian increments: from a key, or from a path that several solvers share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr

from .._types import Index, Key, Position, Scalar
from .stages import Stage


def from_key(key: Key, step: Index, draws: int, h: Scalar, like: Position):
    """Increments that depend on the key, the step and the draw alone."""

    def increment(stage: Stage) -> Position:
        draw = jr.fold_in(key, (step + stage.step) * draws + stage.draw)
        leaves, structure = jax.tree.flatten(like)
        keys = [draw] if len(leaves) == 1 else jr.split(draw, len(leaves))
        scale = jnp.sqrt(stage.weight * h)
        normals = [scale * jr.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(structure, normals)

    return increment


def from_path(evaluate: Callable[[Scalar, Scalar], Position], t: Scalar, h: Scalar, last: Scalar):
    """Increments of a Brownian path, such as `diffrax.VirtualBrownianTree`, that all step sizes share.

    `evaluate(t0, t1)` is the path's increment, `last` its end: rounding must not step over it.
    """

    def increment(stage: Stage) -> Position:
        start = t + stage.relaxed * h
        return evaluate(jnp.minimum(start, last), jnp.minimum(start + stage.weight * h, last))

    return increment
