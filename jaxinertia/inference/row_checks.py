"""What a record holds, and what one row of it is of: checks of what a user says of it."""

import inspect
import math
import reprlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._shown import shown

_shortened = reprlib.Repr()
_shortened.maxother = 60
REMEDY = "return what one row of `position` holds, as read=lambda q, p: p"


def flag(name: str, value: Any) -> bool:
    """True or False, or ValueError."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} = {shown(value)} must be True or False")
    return bool(value)


def delay(value: Any, given: Any) -> float | None:
    """The delay of an input; ValueError unless it is a number, or None, and 0 where there is no input."""
    if value is None and given is not None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if value is None or (number != 0 and given is None):
        raise ValueError(f"input_delay = {shown(value)} is of an input, and there is none; pass input=")
    if not math.isfinite(number):
        raise ValueError(f"input_delay = {shown(value)} must be a time, or None to fit it")
    return number


def time_error(value: Any, ts: np.ndarray) -> float:
    """The error of one time; ValueError unless it is a number from 0 to the typical step."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    step = float(np.median(np.abs(np.diff(ts)))) if len(ts) > 1 else math.inf
    if not 0 <= number <= step:
        raise ValueError(
            f"time_error = {shown(value)} must be a time from 0 to a step, {step:.3g}; pass 0 if none is known"
        )
    return number


def shape_of(read: Any, components: Any, row: tuple[int, ...]) -> tuple[int, bool]:
    """(d, whether a position is a number); ValueError unless `read` makes a row of readings of such a state."""
    if read is None:
        if components is not None:
            raise ValueError(f"components = {shown(components)} is for read=; without it position says them")
        return (row or (1,))[0], not row
    if not callable(read):
        raise ValueError(f"read = {shown(read)} is not a function of (q, p); {REMEDY}")
    shape = row
    if components is not None:
        if isinstance(components, bool) or not isinstance(components, int | np.integer) or components < 0:
            raise ValueError(f"components = {shown(components)} must be a whole number: d, or 0 for a number")
        shape = (int(components),) if components else ()
    state = jax.ShapeDtypeStruct(shape, jnp.result_type(float))
    where = f"q, p of shape {shape}"
    try:
        made = jax.eval_shape(lambda *x: jnp.asarray(read(*x)), *[state] * max(takes(read), 2))
    except Exception as error:  # whatever a user's function raises
        raise ValueError(
            f"read fails on {where}: {shown(str(error).splitlines()[0])}; {REMEDY}, or pass components=, the number of "
            "the position's components (0: a number)"
        ) from error
    if made.shape != row or not jnp.issubdtype(made.dtype, jnp.floating):
        raise ValueError(f"read makes {made.dtype}{list(made.shape)} of {where}, a row has the shape {row}; {REMEDY}")
    return (shape or (1,))[0], not shape


def takes(read: Any) -> int:
    """How many arguments that have no default it takes."""
    try:
        every = inspect.signature(read).parameters.values()
    except (TypeError, ValueError):  # of what is not written in Python
        return 2
    return sum(one.kind <= one.POSITIONAL_OR_KEYWORD and one.default is one.empty for one in every)


def groups(name: str, segment: Any, n: int) -> np.ndarray:
    """The number of the group that each of n rows is of, sorted by name; ValueError unless each has one."""
    if segment is None:
        return np.zeros(n, int)
    array = np.asarray(segment)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; pass one entry for each of the {n} times")
    if array.dtype.kind in "fmM" and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has a NaN or NaT; give every row a {name}")
    try:
        return np.unique(array, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            f"{name} mixes {sorted({type(x).__name__ for x in array})}; give every row one kind"
        ) from error


def in_order(names: np.ndarray) -> np.ndarray:
    """Groups as numbers 0, 1, ... in the order in which they first appear."""
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


def bound(name: str, x: Any) -> float | None:
    """One finite time, or None; or ValueError."""
    if x is None:
        return None
    value = numbers(name, x, missing=False)
    if value.shape != ():
        raise ValueError(f"{name} has shape {value.shape}; pass one time")
    return float(value)


def numbers(name: str, x: Any, missing: bool = True) -> np.ndarray:
    """Real numbers, with NaN only where some may be missing; or ValueError."""
    try:
        raw = np.asarray(np.ma.filled(np.ma.asarray(x).astype(float), np.nan) if np.ma.isMaskedArray(x) else x)
        if np.iscomplexobj(raw) or raw.dtype.kind in "mM":
            raise TypeError(raw.dtype.name)
        array = np.asarray(raw, np.float64)
    except (TypeError, ValueError) as error:
        said = " ".join(_shortened.repr(x).split())
        raise ValueError(f"{name} = {said} is not an array of real numbers") from error
    if np.any(np.isinf(array)) or (not missing and np.any(np.isnan(array))):
        i = int(np.argmax(~np.isfinite(array.ravel())))
        allowed = "write a missing reading as NaN" if missing else "interpolate it, or drop the row"
        raise ValueError(f"{name} has {array.ravel()[i]} at entry {i}; {allowed}")
    return array


def like(name: str, x: Any, position: np.ndarray) -> np.ndarray:
    """Real numbers, as many as positions; or ValueError."""
    array = numbers(name, x)
    if array.shape != position.shape:
        raise ValueError(f"{name} has shape {array.shape}, position {position.shape}; pass equal shapes")
    return array


def error_of(name: str, x: Any, position: np.ndarray) -> np.ndarray | None:
    """The standard deviation of a reading, one or as many as positions; ValueError unless it is positive."""
    if x is None:
        return None
    array = numbers(name, x, missing=False)
    if array.shape not in ((), position.shape[1:], position.shape):
        raise ValueError(f"{name} has shape {array.shape}; pass a number, or the shape of position {position.shape}")
    if np.any(array <= 0):
        raise ValueError(f"{name} must be positive, got {array.min()}; pass None if it is unknown")
    return array
