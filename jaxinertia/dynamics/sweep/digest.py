"""Short digests of arrays and texts, and all the numbers that a traced program holds."""

import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


def digest(*parts: Any) -> str:
    """Of texts, arrays, numbers and random keys, in this order: 16 hexadecimal digits."""
    found = hashlib.sha256()
    for part in map(_bytes, parts):
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()[:16]


def _bytes(x: Any) -> bytes:
    if isinstance(x, str):
        return x.encode()
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    array = np.asarray(x)
    return f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes()


def constants(closed: ClosedJaxpr) -> Iterator[Any]:
    """Every number that the program holds, those of functions within it too: jit keeps its own."""
    yield from closed.consts
    yield from _constants_within(closed.jaxpr)


def _constants_within(jaxpr: Jaxpr) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield from (x.val for x in equation.invars if isinstance(x, Literal))
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr):
            if isinstance(inner, ClosedJaxpr):
                yield from constants(inner)
            elif isinstance(inner, Jaxpr):
                yield from _constants_within(inner)


def _is_jaxpr(x: Any) -> bool:
    return isinstance(x, ClosedJaxpr | Jaxpr)
