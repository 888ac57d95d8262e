"""Bad input becomes a ValueError when it is known, and a run-time error when it is traced."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def is_traced(tree: Any) -> bool:
    """Whether any leaf is unknown until run time (inside jit, vmap or grad)."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def is_zero(tree: Any) -> bool:
    """Whether every leaf is known, now, to be zero."""
    return not is_traced(tree) and all(np.all(np.asarray(x) == 0) for x in jax.tree.leaves(tree))


_poison: ContextVar[bool] = ContextVar("poison", default=False)


@contextmanager
def nan_for_bad_values() -> Iterator[None]:
    """Inside, a bad value found at run time becomes NaN instead of an error: where many points run together, one bad
    point must not stop the others, and a program without callbacks can be kept in JAX's compilation cache."""
    token = _poison.set(True)
    try:
        yield
    finally:
        _poison.reset(token)


def require(x: Any, holds: Any, message: str) -> Any:
    """Return x; raise ValueError(message) unless `holds`, at once if known, else at run time."""
    if is_traced(holds):
        if _poison.get():
            return jax.tree.map(lambda leaf: jnp.where(holds, leaf, jnp.nan), x)
        return eqx.error_if(x, ~holds, message)
    if not np.all(np.asarray(holds)):
        raise ValueError(message)
    return x


def is_symmetric_psd(matrix: np.ndarray) -> bool:
    """Symmetric with no eigenvalue below zero, both within rounding."""
    scale = max(float(np.abs(matrix).max()), np.finfo(matrix.dtype).tiny)
    slack = 64 * len(matrix) * np.finfo(matrix.dtype).eps * scale
    symmetric = bool(np.all(np.abs(matrix - matrix.T) <= slack))
    return symmetric and bool(np.linalg.eigvalsh(matrix).min() >= -slack)
