"""What makes two sweeps "the same call": the traced program, its constants, the axes, the key, and the versions."""

import hashlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .axes import Axes


def fingerprint(point: Callable, index: Any, arrays: Any, key: Any, axes: Axes, box: tuple[int, ...]) -> dict[str, str]:
    """Named digests, so that a difference can be told by name."""
    closed = jax.make_jaxpr(point)(index, arrays, key)
    # Addresses of helper objects show up in a jaxpr's text and differ from run to run.
    program = re.sub(r"0x[0-9a-f]+", "0x", str(closed.jaxpr))
    outputs = [(str(x.shape), str(x.dtype)) for x in closed.out_avals]
    return {
        "fn": _digest(program.encode()),
        "constants of fn": _digest(*(_bytes(x) for x in closed.consts)),
        "axes": _digest(*(_bytes(x) for axis in axes.axes for x in axis.values.values())),
        "names of the axes": ", ".join(axes.names),
        "key": "none" if key is None else _digest(_bytes(key)),
        "dtype": ", ".join(f"{shape} {dtype}" for shape, dtype in outputs),
        "chunk shape": str(box),
        "jax": jax.__version__,
    }


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]


def _bytes(x: Any) -> bytes:
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    array = np.asarray(x)
    return f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes()
