"""Bad input becomes a ValueError when it is known, and a run-time error when it is traced."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import _host
from ._run_time import noticed
from ._shown import shown


def is_traced(tree: Any) -> bool:
    """Whether any leaf is unknown until run time (inside jit, vmap or grad)."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def is_zero(tree: Any) -> bool:
    """Whether every leaf is known, now, to be zero."""
    return not is_traced(tree) and all(np.all(np.asarray(x) == 0) for x in jax.tree.leaves(tree))


def known(x: Any) -> Any:
    """NumPy's array where the numbers are known: a condition on it is known too, and is no program of XLA's."""
    return x if is_traced(x) else np.asarray(x)


def everywhere(holds: Callable[[Any], Any], tree: Any) -> Any:
    """Whether it holds of all numbers of all leaves."""
    each = [holds(known(x)).all() for x in jax.tree.leaves(tree)]
    return jnp.stack(each).all() if is_traced(each) else all(each)


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


def bad_values_are_nan() -> bool:
    """Whether this runs inside `nan_for_bad_values`."""
    return _poison.get()


def require(x: Any, holds: Any, message: str) -> Any:
    """Return x; raise ValueError(message) unless `holds`, at once if known, else at run time.

    At run time x becomes NaN in a program that cannot raise: one for several devices, or made for another machine.
    """
    if not is_traced(holds):
        if not np.all(np.asarray(holds)):
            raise ValueError(message)
        return x
    if not bad_values_are_nan():
        holds = noticed(holds, message)
    return jax.tree.map(lambda leaf: jnp.where(holds, leaf, jnp.nan), x)


def unevenness(ts: np.ndarray) -> float:
    """How far times are, at most, off those at equal steps between the first and the last."""
    return float(np.max(np.abs(ts - np.linspace(ts[0], ts[-1], len(ts))), initial=0.0))


def is_symmetric_psd(matrix: np.ndarray) -> bool:
    """Symmetric with no eigenvalue below zero, both within rounding."""
    scale = max(float(np.abs(matrix).max()), np.finfo(matrix.dtype).tiny)
    slack = 64 * len(matrix) * np.finfo(matrix.dtype).eps * scale
    symmetric = bool(np.all(np.abs(matrix - matrix.T) <= slack))
    return symmetric and bool(np.linalg.eigvalsh(matrix).min() >= -slack)


def is_key(x: Any) -> bool:
    """Whether this is one JAX random key, typed or raw."""
    if not isinstance(x, jax.Array):
        return False
    typed = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return x.shape == () if typed else bool(x.ndim == 1 and jnp.issubdtype(x.dtype, jnp.unsignedinteger))


def check_unmasked(name: str, x: Any) -> None:
    """ValueError for an array of NumPy some of whose entries are masked: what stands behind the mask is no number."""
    if np.ma.is_masked(x):
        raise ValueError(f"{name} has masked entries; leave them out, or fill them: x.filled(0.0)")


def as_float(name: str, x: Any) -> jax.Array:
    """A number, an array or nested lists of numbers as a float array; ValueError for anything else."""
    check_unmasked(name, x)
    try:
        if isinstance(x, (bool, int, float, np.generic, np.ndarray, list, tuple)):
            x = np.asarray(x)
            if x.dtype.kind in "biuf" and x.dtype.itemsize <= 8:
                return _host.put(x, jnp.result_type(float, jax.dtypes.canonicalize_dtype(x.dtype)))
        array = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} = {shown(x)} is not a number or an array of numbers") from error
    if not any(jnp.issubdtype(array.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ValueError(f"{name} = {shown(x)} must be real numbers, not {array.dtype}")
    return jnp.asarray(array, jnp.result_type(float, array))


def as_number(name: str, x: Any, least: float | None = None, finite: bool = True) -> float:
    """x as a Python float; ValueError unless one number, not NaN, not below `least`, and finite where asked."""
    kind = "finite number" if finite else "number"
    try:
        number = float(x)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} = {shown(x)} must be one {kind}") from error
    if math.isnan(number) or (finite and math.isinf(number)):
        raise ValueError(f"{name} = {shown(x)} must be one {kind}")
    if least is not None and number < least:
        raise ValueError(f"{name} = {shown(x)} must not be below {least:g}")
    return number


def check_step(dt: Any) -> float:
    """dt as a float; ValueError unless positive and finite."""
    try:
        step = float(dt)
    except (TypeError, ValueError) as error:
        raise ValueError(f"dt = {shown(dt)} must be a positive number, the largest inner step") from error
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"dt = {shown(dt)} must be positive and finite; it is the largest inner step")
    return step
