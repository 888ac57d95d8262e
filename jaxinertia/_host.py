"""NumPy's numbers as JAX's, with no program for it: XLA would compile one for every shape, longer than a short run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree


def put(x: Any, to: Any = None) -> jax.Array:
    """A JAX array of this dtype, or of the numbers' own as far as JAX has it."""
    x = np.asarray(x)
    with np.errstate(over="ignore"):
        x = np.array(x, jax.dtypes.canonicalize_dtype(x.dtype) if to is None else to)  # a copy: JAX may keep this one
    return jnp.asarray(x, x.dtype)


FEW = 1024  # numbers that NumPy may make: of more, JAX keeps the devices that they are on


def zeros_like(tree: PyTree) -> PyTree:
    """Zeros in place of every leaf."""

    def leaf(x):
        if isinstance(x, jax.core.Tracer) or x.size > FEW:
            return jnp.zeros_like(x)
        return put(np.zeros(x.shape, x.dtype))

    return jax.tree.map(leaf, tree)
