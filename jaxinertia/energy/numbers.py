"""What the closed forms take: numbers of one float dtype, checked where they are known."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._checks import as_float, is_traced
from .._types import ArrayLike


def numbers(**given: ArrayLike) -> list[Array]:
    """`finite`, of shapes that (but for times t) broadcast, with gamma >= 0 and tau > 0."""
    arrays = dict(zip(given, finite(**given), strict=True))
    shapes = {name: x.shape for name, x in arrays.items() if name != "t"}
    try:
        jnp.broadcast_shapes(*shapes.values())
    except ValueError as error:
        raise ValueError(f"shapes {shapes} do not broadcast; give one entry a component") from error
    for name, x in arrays.items():
        if is_traced(x):
            continue
        matrix = x.ndim == 2 and x.shape[0] == x.shape[1]
        if name == "gamma" and np.any(np.diag(x) < 0 if matrix else np.asarray(x) < 0):
            raise ValueError(f"gamma must not be negative, got {x}; pass gamma >= 0")
        if name == "tau" and np.any(np.asarray(x) <= 0):
            raise ValueError(f"tau must be positive, got {x}; it is the correlation time")
    return list(arrays.values())


def finite(**given: ArrayLike) -> list[Array]:
    """Arrays of one float dtype; ValueError for a NaN or inf."""
    arrays = {name: as_float(name, x) for name, x in given.items()}
    dtype = jnp.result_type(float, *arrays.values())
    for name, x in arrays.items():
        if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
            raise ValueError(f"{name} must be finite, got {x}; remove the NaN or inf")
    return [x.astype(dtype) for x in arrays.values()]
