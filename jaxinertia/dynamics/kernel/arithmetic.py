"""Operations on numbers: what is known already is computed now, with NumPy, the rest is written into the program."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .program import Number, Program, Unsupported, Value

_SHIFTS = ("shift_left", "shift_right_logical", "shift_right_arithmetic")
_SAME = {"add_any": "add", "sine": "sin", "cosine": "cos", "inverse_error": "erf_inv"}  # names of one operation
ELEMENTWISE = {
    *("add", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "floor", "ceil", "round", "clamp"),
    *("polynomial", "one_minus_square", "log2"),  # of JAX 0.12
    *("sqrt", "rsqrt", "cbrt", "square", "integer_pow", "pow", "exp", "exp2", "log", "log1p", "expm1", "logistic"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "erf_inv", "lgamma", "nextafter", "and", "or", "xor", "not", *_SHIFTS, *_SAME),
    *("eq", "ne", "lt", "le", "gt", "ge", "is_finite", "select_n", "convert_element_type", "copy", "copy_p"),
}
_TYPES = {np.dtype(t) for t in (bool, "int8", "int32", "int64", "uint8", "uint32", "uint64", "float32", "float64")}


def check_dtype(dtype: Any) -> None:
    """Unsupported for a dtype that kernels do not know."""
    if not isinstance(dtype, np.dtype) or dtype not in _TYPES:
        raise Unsupported(f"it has numbers of the type {dtype}")


def compute(program: Program, name: str, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    """One elementwise operation of one component."""
    name = _SAME.get(name, name)
    if name in ("copy", "copy_p"):
        return numbers[0]
    if not any(isinstance(x, Value) for x in numbers) and name in _NOW:
        with np.errstate(all="ignore"):
            return _known(_NOW[name](*numbers), np.dtype(dtype))
    if name in _RULES:
        return _RULES[name](program, params, dtype, numbers)
    simple = _simplified(name, numbers)
    return program.do(name, dtype, *numbers) if simple is None else simple


def _simplified(name: str, numbers: list[Number]) -> Number | None:
    """What needs no operation: x * 1, x / 1, x - 0, and x + 0, which XLA takes for x too, also where x is -0.0."""
    neutral = {"mul": 1, "div": 1, "sub": 0, "add": 0}.get(name)
    if neutral is None:
        return None
    first, second = numbers
    if not isinstance(second, Value) and second == neutral:
        return first
    if name in ("mul", "add") and not isinstance(first, Value) and first == neutral:
        return second
    return None


def _power(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    """x^n by repeated squaring."""
    x, n = numbers[0], abs(params["y"])
    result: Number | None = None
    while n:
        if n % 2:
            result = x if result is None else compute(program, "mul", {}, dtype, [result, x])
        n //= 2
        if n:
            x = compute(program, "mul", {}, dtype, [x, x])
    one = np.dtype(dtype).type(1)
    if result is None:
        return one
    return result if params["y"] > 0 else compute(program, "div", {}, dtype, [one, result])


def _square(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    return compute(program, "mul", {}, dtype, [numbers[0], numbers[0]])


def _polynomial(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    """Horner's rule; the coefficients come from the lowest degree up."""
    x, *coefficients = numbers
    total = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        total = compute(program, "add", {}, dtype, [compute(program, "mul", {}, dtype, [total, x]), coefficient])
    return total


def _one_minus_square(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    one = np.dtype(dtype).type(1)
    parts = [compute(program, name, {}, dtype, [one, numbers[0]]) for name in ("add", "sub")]
    return compute(program, "mul", {}, dtype, parts)


def _round(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    even = params["rounding_method"].name == "TO_NEAREST_EVEN"
    return program.do("round_even" if even else "round_away", dtype, numbers[0])


def select(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    """numbers[1 + which], which is numbers[0]."""
    which, *cases = numbers
    if not isinstance(which, Value):
        return cases[int(which)]
    if all(case is cases[0] for case in cases):
        return cases[0]
    if which.dtype == bool:
        return program.do("select", dtype, which, cases[1], cases[0])
    result = cases[-1]
    for k, case in reversed(list(enumerate(cases[:-1]))):
        hit = program.do("eq", bool, which, which.dtype.type(k))
        result = program.do("select", dtype, hit, case, result)
    return result


def _clamp(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    low, x, high = numbers
    return compute(program, "min", {}, dtype, [compute(program, "max", {}, dtype, [x, low]), high])


def _convert(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
    x = numbers[0]
    return x if x.dtype == dtype else program.do("convert", dtype, x)


def _shift(name: str) -> Callable[..., Number]:
    def rule(program: Program, params: dict[str, Any], dtype: Any, numbers: list[Number]) -> Number:
        by = numbers[1]
        if isinstance(by, Value) or not 0 <= int(by) < 8 * np.dtype(dtype).itemsize:  # C leaves it open
            raise Unsupported("it shifts bits by a number that is not known")
        return program.do(name, dtype, *numbers)

    return rule


_RULES: dict[str, Callable[..., Number]] = {
    "integer_pow": _power,
    "square": _square,
    "polynomial": _polynomial,
    "one_minus_square": _one_minus_square,
    "round": _round,
    "select_n": select,
    "clamp": _clamp,
    "convert_element_type": _convert,
} | {name: _shift(name) for name in _SHIFTS}


def _known(x: Any, dtype: np.dtype) -> np.generic:
    """x as one of a dtype: a whole number wraps around, a float's whole part stops at its ends, of NaN it is 0."""
    if dtype.kind in "iu" and isinstance(x, np.floating):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        x = min(max(int(x), low), high) if np.isfinite(x) else 0 if np.isnan(x) else high if x > 0 else low
    entry: Any = np.asarray(x).astype(dtype)
    return entry[()]


def _quotient(x: Any, y: Any) -> Any:
    """x / y, of whole numbers towards zero, and -1 where y is 0."""
    if not np.issubdtype(x.dtype, np.integer):
        return x / y
    size = abs(int(x)) // abs(int(y)) if y else 1
    return -size if not y or (x < 0) != (y < 0) else size


# Numbers that are known: indices need them now, and IEEE arithmetic is the same everywhere.
_NOW: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _quotient,
    "rem": lambda x, y: np.fmod(x, y) if y or not np.issubdtype(x.dtype, np.integer) else x,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "floor": np.floor,
    "ceil": np.ceil,
    "sqrt": np.sqrt,
    "square": np.square,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "is_finite": np.isfinite,
    "clamp": lambda low, x, high: np.minimum(np.maximum(x, low), high),
    "select_n": lambda which, *cases: cases[int(which)],
    "convert_element_type": lambda x: x,
}
