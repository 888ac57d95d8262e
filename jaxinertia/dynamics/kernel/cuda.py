"""The emitter: a kernel in CUDA C.

Why CUDA C, compiled by NVRTC, and launched by XLA's own custom call for PTX: `jax[cuda]` brings NVRTC with it, so that
nobody needs a compiler; a thread runs one trajectory with all of C's mathematics in float32 and float64, on every GPU
that JAX knows; XLA takes the kernel into the program like any other operation, and compiles it without a GPU at hand;
and a C compiler runs the same text on a CPU, which is how it is tested. Pallas's Triton is deprecated since JAX 0.11;
its Mosaic wants a Hopper GPU and lacks erf_inv, log1p and more; a host library for `jax.ffi` needs nvcc; Warp and
jax-triton are one more dependency each.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .layout import Buffer, Kernel
from .program import Load, Loop, Number, Operation, Statement, Store, Unsupported, Value

NAME = "rows"
THREADS = 128  # of a block

_TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}
_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^"} | {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "shift_left": "<<",
    "shift_right_arithmetic": ">>",
}
# Of whole numbers, by their kind: signed ones wrap around, and a quotient by 0 is -1; C leaves both open.
_WHOLE = {
    "i": {name: f"({{T}})(({{U}}){{0}} {_INFIX[name]} ({{U}}){{1}})" for name in ("add", "sub", "mul", "shift_left")}
    | {
        "neg": "({T})(0 - ({U}){0})",
        "abs": "{0} < 0 ? ({T})(0 - ({U}){0}) : {0}",
        "div": "{1} == -1 ? ({T})(0 - ({U}){0}) : {1} ? {0} / {1} : -1",
        "rem": "{1} == -1 ? 0 : {1} ? {0} % {1} : {0}",
    },
    "u": {"abs": "{0}", "div": "{1} ? {0} / {1} : -1", "rem": "{1} ? {0} % {1} : {0}"},
}
# C's functions of float64; those of float32 end with an f.
_FUNCTIONS = {
    **{name: name for name in ("sin", "cos", "tan", "asin", "acos", "atan", "atan2")},
    **{name: name for name in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")},
    **{name: name for name in ("exp", "exp2", "log", "log2", "log1p", "expm1", "pow", "sqrt", "rsqrt", "cbrt")},
    **{name: name for name in ("floor", "ceil", "erf", "erfc", "lgamma", "nextafter")},
    **{"erf_inv": "erfinv", "round_even": "rint", "round_away": "round", "rem": "fmod", "abs": "fabs"},
}


def source(kernel: Kernel, points: int, each: int = 1) -> str:
    """The kernel for so many trajectories, `each` of them in a thread, as text.

    A thread's are as far apart as there are threads, so that neighbouring threads read neighbouring numbers; past the
    end they are the last once more.
    """
    threads = -(-points // each)
    place, last = "point0 + {}LL".format, f"{points - 1}LL"
    others = [
        f"  const long long point{k} = {place(k * threads)} < {last} ? {place(k * threads)} : {last};"
        for k in range(1, each)
    ]
    parameters = [f"const {_type(b)}* __restrict__ in{k}" for k, b in enumerate(kernel.inputs)]
    parameters += [f"{_type(b)}* __restrict__ out{k}" for k, b in enumerate(kernel.outputs)]
    lines = [
        f'extern "C" __global__ void __launch_bounds__({THREADS}) {NAME}({", ".join(parameters)})',
        "{",
        "  const long long point0 = blockIdx.x * (long long)blockDim.x + threadIdx.x;",
        f"  if (point0 >= {threads}LL) return;",
        *others,
        *_Writer(kernel, points).block(kernel.program.statements, "  "),
        "}",
        "",
    ]
    return "\n".join(lines)


class _Writer:
    def __init__(self, kernel: Kernel, points: int):
        self.kernel, self.points = kernel, points

    def block(self, statements: Sequence[Statement], indent: str) -> list[str]:
        lines: list[str] = []
        for statement in statements:
            if isinstance(statement, Loop):
                lines += self._loop(statement, indent)
            else:
                lines.append(indent + self._line(statement))
        return lines

    def _line(self, statement: Operation | Load | Store) -> str:
        if isinstance(statement, Store):
            place = self._place(self.kernel.outputs[statement.output], statement)
            return f"out{statement.output}[{place}] = {_text(statement.value)};"
        if isinstance(statement, Load):
            place = self._place(self.kernel.inputs[statement.operand], statement)
            return f"const {_declared(statement.result)} = in{statement.operand}[{place}];"
        return f"const {_declared(statement.result)} = {_expression(statement)};"

    def _place(self, buffer: Buffer, of: Load | Store) -> str:
        """Where a number lies: rows first, then components, points last, so that neighbours read neighbours."""
        first = str(of.component) if of.row is None else f"({_text(of.row)} * {buffer.components}LL + {of.component})"
        return f"{first} * {self.points}LL + point{of.copy}" if buffer.mapped else first

    def _loop(self, loop: Loop, indent: str) -> list[str]:
        pairs = list(zip(loop.variables, loop.starts, strict=True))
        lines = [f"{indent}{_declared(variable)} = {_text(start)};" for variable, start in pairs]
        index = f"v{loop.counter.number}"
        lines.append(f"{indent}for (int {index} = 0; {index} < {loop.length}; ++{index}) {{")
        inner = indent + "  "
        lines += self.block(loop.body, inner)
        own = set(loop.variables)
        late = {end for end in loop.ends if isinstance(end, Value) and end in own}  # read before they change
        lines += [f"{inner}const {_type(end)} next{end.number} = v{end.number};" for end in sorted(late, key=_number)]
        for variable, end in zip(loop.variables, loop.ends, strict=True):
            text = f"next{end.number}" if isinstance(end, Value) and end in late else _text(end)
            lines.append(f"{inner}v{variable.number} = {text};")
        return [*lines, f"{indent}}}"]


def _number(value: Value) -> int:
    return value.number


def _type(x: Any) -> str:
    return _TYPES[x.dtype.name]


def _declared(value: Value) -> str:
    return f"{_type(value)} v{value.number}"


def _text(x: Number) -> str:
    """A value's name, or a constant, to the last bit."""
    if isinstance(x, Value):
        return f"v{x.number}"
    if x.dtype.kind == "b":
        return "true" if x else "false"
    if not np.issubdtype(x.dtype, np.floating):
        suffix = {"u": "u", "i": ""}[x.dtype.kind] + ("LL" if x.dtype.itemsize == 8 else "")
        low = x.dtype.kind == "i" and int(x) == -(2 ** (8 * x.dtype.itemsize - 1))  # which C reads as - 2147483648
        return f"({int(x) + 1}{suffix} - 1)" if low else f"({int(x)}{suffix})"
    number = float(x)
    if math.isnan(number):
        return f"(({_type(x)})(0.0 / 0.0))"
    if math.isinf(number):
        return f"(({_type(x)})({'-' if number < 0 else ''}1.0 / 0.0))"
    return f"({number.hex()}{'f' if x.dtype == np.float32 else ''})"


def _expression(operation: Operation) -> str:
    name, dtype, kind = operation.name, operation.result.dtype, operation.arguments[0].dtype.kind
    text = [_text(x) for x in operation.arguments]
    if name == "convert":
        return _convert(dtype, kind, *text)
    if name in _WHOLE.get(kind, ()):
        return _WHOLE[kind][name].format(*text, T=_TYPES[dtype.name], U=f"unsigned {_unsigned(dtype)}")
    if name in _SPECIAL:
        return _SPECIAL[name](dtype, *text)
    if name in _INFIX:
        return f"{text[0]} {_INFIX[name]} {text[1]}"
    if name in _FUNCTIONS and kind == "f":
        return f"{_FUNCTIONS[name]}{'f' if dtype == np.float32 else ''}({', '.join(text)})"
    raise Unsupported(f"it has the operation {name!r} of numbers of the type {dtype}")


def _convert(dtype: np.dtype, kind: str, x: str) -> str:
    """A number of a kind as another type; a float's whole part stops at its ends, and is 0 of NaN: C leaves it open."""
    plain = f"({x} != 0)" if dtype.kind == "b" else f"({_TYPES[dtype.name]}){x}"
    if kind != "f" or dtype.kind not in "iu":
        return plain
    low, high = (_text(dtype.type(end)) for end in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    above = f"{2.0 ** (8 * dtype.itemsize - (dtype.kind == 'i'))}f"  # a power of two, so exact
    return f"{x} != {x} ? 0 : {x} >= {above} ? {high} : {x} <= {low} ? {low} : {plain}"


def _logistic(dtype: np.dtype, x: str) -> str:
    one, exp = ("1.0f", "expf") if dtype == np.float32 else ("1.0", "exp")
    return f"{one} / ({one} + {exp}(-{x}))"


_SPECIAL: dict[str, Any] = {
    "neg": lambda dtype, x: f"-{x}",
    "not": lambda dtype, x: f"!{x}" if dtype.kind == "b" else f"~{x}",
    # NaN stays NaN, which C's fmax and fmin would drop.
    "max": lambda dtype, x, y: f"({x} > {y} || {x} != {x}) ? {x} : {y}",
    "min": lambda dtype, x, y: f"({x} < {y} || {x} != {x}) ? {x} : {y}",
    "sign": lambda dtype, x: f"{x} > 0 ? 1 : ({x} < 0 ? -1 : {x})",
    "select": lambda dtype, which, yes, no: f"{which} ? {yes} : {no}",
    "logistic": _logistic,
    "is_finite": lambda dtype, x: f"({x} - {x} == 0)",
    "shift_right_logical": lambda dtype, x, by: f"({_TYPES[dtype.name]})((unsigned {_unsigned(dtype)}){x} >> {by})",
}


def _unsigned(dtype: np.dtype) -> str:
    return {1: "char", 4: "int", 8: "long long"}[dtype.itemsize]
