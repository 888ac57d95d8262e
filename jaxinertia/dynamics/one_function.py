"""A program of few numbers as one function of machine code, where XLA makes one of every step before and after a loop.

Each costs its compiler milliseconds, a short run has two dozen, and the numbers are the same to the last bit.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import equinox as eqx
import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr

MOST = 4096  # numbers in any one array: long ones are better cut between threads
# What XLA's compiler of such functions can do: no calls of libraries and of the host, no sorting, no scattering. With
# anything else in it a program stays as it is.
_ARITHMETIC = {
    *("add", "add_any", "sub", "mul", "div", "rem", "neg", "abs", "sign", "max", "min", "floor", "ceil", "round"),
    *("sqrt", "rsqrt", "cbrt", "square", "integer_pow", "pow", "exp", "exp2", "log", "log1p", "expm1", "logistic"),
    *("sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
    *("erf", "erfc", "erf_inv", "sine", "cosine", "inverse_error", "nextafter", "clamp", "is_finite"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "not", "select_n"),
    *("shift_left", "shift_right_logical", "shift_right_arithmetic", "mul_hi", "population_count", "clz"),
    *("convert_element_type", "bitcast_convert_type", "copy", "copy_p", "stop_gradient"),
    *(f"reduce_{name}" for name in ("sum", "prod", "max", "min", "and", "or")),
}
_PLACES = {
    *("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "rev", "concatenate", "stack", "split"),
    "pad",
    *("slice", "dynamic_slice", "dynamic_update_slice", "gather", "iota", "points_last", "empty", "empty2"),
}
_NUMBERS = {"random_wrap", "random_unwrap", "random_bits", "random_fold_in", "random_seed", "threefry2x32"}
_AROUND = {
    *("rows", "scan", "while", "cond", "jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_vmap_call"),
}
_KNOWN = _ARITHMETIC | _PLACES | _NUMBERS | _AROUND


def as_one_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` of pytrees, to be compiled for a CPU."""

    @wraps(fn)
    def run(*args: Any) -> Any:
        arrays, rest = eqx.partition(args, eqx.is_array)
        others: list[Any] = []

        def numbers(arrays):
            found, other = eqx.partition(fn(*eqx.combine(arrays, rest)), eqx.is_array)
            others.append(other)
            return found

        one = whole(numbers)
        can_be = _can_be_one(jax.make_jaxpr(one)(arrays))
        found = small_call(one, arrays) if can_be else one(arrays)[0]  # traced once
        return eqx.combine(found, others[0])

    return run


def whole(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` of pytrees of arrays as one call, which returns a number of each array too."""

    @wraps(fn)
    def and_first(*args: Any) -> Any:
        return fn(*args), [jax.lax.slice(x, (0,) * x.ndim, [min(1, n) for n in x.shape]) for x in jax.tree.leaves(args)]

    return jax.jit(and_first, inline=False)


def small_call(one: Callable[..., Any], *args: Any) -> Any:
    """What `fn` returns, where `one` is `whole(fn)`, as one function of machine code.

    XLA's compiler of such functions ends the process where an argument is not read at all: once it has found out that
    a product is zero, a branch is never taken, an argument is a constant. So it must not know, and all are read.
    """
    found = one(*jax.lax.optimization_barrier(args))
    found = set_xla_metadata(found, xla_cpu_small_call="true", inlineable="false")
    return jax.lax.optimization_barrier(found)[0]


def compiles_as_one(program: ClosedJaxpr) -> bool:
    """Whether it has nothing but what XLA's compiler of such functions is known to do."""
    eqns = [eqn for jaxpr in inside(program) for eqn in jaxpr.eqns]
    nested = any(eqn.primitive.name == "rows" and eqn.params["points"] is not None for eqn in eqns)  # has its own
    return not program.effects and not nested and {eqn.primitive.name for eqn in eqns} <= _KNOWN


def _can_be_one(program: ClosedJaxpr) -> bool:
    return compiles_as_one(program) and max(map(largest, inside(program))) <= MOST


def largest(jaxpr: Jaxpr) -> int:
    """Of all arrays that it reads or makes, the numbers of the largest."""
    variables = [*jaxpr.invars, *jaxpr.constvars, *(x for eqn in jaxpr.eqns for x in eqn.outvars)]
    return max((getattr(x.aval, "size", 1) for x in variables), default=0)


def inside(program: ClosedJaxpr | Jaxpr) -> Iterator[Jaxpr]:
    """A program, and those that its loops and calls run."""
    jaxpr = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    yield jaxpr
    for eqn in jaxpr.eqns:
        for part in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: isinstance(x, ClosedJaxpr | Jaxpr)):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield from inside(part)
