"""What a traced program holds besides its text: numbers, and the Python objects that it calls when it runs.

A jaxpr prints a callback as its name alone, so two programs of equal text may call different functions. Two questions
are asked of such a function. Within a process: is it the very same object (`deep=False`; what libraries make afresh at
each trace is taken by its content)? For a store, which outlives the process: is its code the same, with all that it
refers to (`deep=True`; what cannot be told is refused)? Within a process the text itself is taken too, equation by
equation: to print it would cost half of the time that a sweep takes beside its points.
"""

import dataclasses
import dis
import enum
import functools
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from ..._reads import Held, is_empty, is_library, is_library_module
from .digest import digest

# The derivative rules of a function: used up when the program is traced, and made afresh at each trace.
_USED_UP = {"jvp_jaxpr_fun", "jvp_fun", "jvp", "fwd_jaxpr_thunk", "fwd", "bwd", "out_trees"}
_TEXTS = (type(None), bool, int, float, complex, str, bytes, np.dtype, np.generic, enum.Enum, range, type(...))
_PROGRAMMING = ("jax", "jaxlib", "equinox", "jaxinertia")  # what makes programs, and prints whole what is in them
_RAISES = os.path.join("equinox", "_errors.py")  # raises an error or not, and gives no number


class Contents:
    """The numbers of a program, digested; the objects it calls, digested as far as content tells; the rest, held.

    Without `deep` the objects have its equations among them.

    Arguments:
        closed: the traced program, or another object.
        deep: take a user's function by its code and all that it refers to, instead of by its identity.

    Raises:
        ValueError: with deep, for an object that content does not tell from another one.
    """

    def __init__(self, closed: Any, deep: bool):
        self.deep = deep
        self._numbers: list[Any] = []
        self._objects: list[Any] = []
        self._held: list[Held] = []
        # id -> the object, held so that its id stays its own; its digest; the numbers in it
        self._known: dict[int, tuple[Any, str, list[Any]]] = {}
        self._open: list[int] = []  # ids of what is being taken, outermost first
        self._called = 0  # how many of these are called when the program runs: their jaxprs are not in its text
        self._types: dict[Any, str] = {}  # how those of variables are written
        self._user = ""  # the function of the user whose content is being taken
        self._take(closed)
        self.numbers, self.objects = digest(*self._numbers), digest(*self._objects)
        self.held = tuple(self._held)

    def _jaxpr(self, program: ClosedJaxpr | Jaxpr) -> None:
        if isinstance(program, ClosedJaxpr):
            # JAX 0.12 leaves tracers here: results within the program itself, which the rest of it determines.
            self._numbers += [x for x in program.consts if not isinstance(x, jax.core.Tracer)]
            program = program.jaxpr
        known: dict[Any, int] = {}  # variables, by number: programs of one text are made with other ones each time
        self._wires("jaxpr", [*program.constvars, *program.invars], known)
        for equation in program.eqns:
            self._numbers += [x.val for x in equation.invars if isinstance(x, Literal)]
            name = equation.primitive.name
            self._wires(f"{name} {list(equation.params)}", [*equation.invars, *equation.outvars], known)
            if self.deep and _only_reports(name):
                continue
            if self.deep and name in ("io_callback", "ffi_call"):
                raise ValueError(_why_not(name))
            for parameter, value in equation.params.items():
                if not (parameter in _USED_UP and name.startswith("custom_")):
                    self._take(value)
        self._wires("returns", program.outvars, known)

    def _wires(self, of: str, variables: list[Any], known: dict[Any, int]) -> None:
        """What an equation, or a jaxpr, reads and gives: the numbers of its variables, and their types."""
        if self.deep:  # a store has the text
            return
        told = [of]
        for x in variables:
            if x.aval not in self._types:
                self._types[x.aval] = str(x.aval)
            number = "literal" if isinstance(x, Literal) else known.setdefault(x, len(known))
            told.append(f"{number} {self._types[x.aval]}")
        self._objects.append("; ".join(told))

    def _take(self, x: Any) -> None:
        """Add one object: plain values and jaxprs as they are, containers entry by entry, code and classes apart."""
        while _only_checks_types(x):
            x = x.__wrapped__
        if isinstance(x, _TEXTS):
            self._objects.append(f"{type(x).__qualname__} {x!r}")
        elif isinstance(x, ClosedJaxpr | Jaxpr):
            self._jaxpr(x)
            if self._called and self.deep:
                self._objects.append(str(x))
        elif id(x) in self._open:
            self._objects.append(f"within itself, {len(self._open) - self._open.index(id(x))} levels up")
        else:
            if id(x) not in self._known:
                before, self._objects, self._numbers = (self._objects, self._numbers), [], []
                self._open.append(id(x))
                self._take_new(x)
                self._open.pop()
                self._known[id(x)] = (x, digest(*self._objects), self._numbers)
                self._objects, self._numbers = before
            # Whether an object is shared or made twice depends on what JAX has traced before: all the same here.
            self._objects.append(self._known[id(x)][1])
            self._numbers += self._known[id(x)][2]

    def _take_new(self, x: Any) -> None:
        if isinstance(x, types.FunctionType):
            self._function(x)
        elif isinstance(x, jax.core.Tracer):
            self._unknown(x)
        elif isinstance(x, np.ndarray | jax.Array):
            self._array(x)
        elif isinstance(x, list | tuple | dict | set | frozenset):
            self._container(x)
        elif (parts := _parts(x)) is not None:
            self._take(parts)
        elif isinstance(x, types.ModuleType):
            self._module(x)
        elif isinstance(x, type):
            self._class(x)
        elif isinstance(x, types.BuiltinFunctionType) and isinstance(x.__self__, types.ModuleType):
            self._objects.append(f"builtin {x.__module__} {x.__qualname__}")
        else:
            self._instance(x)

    def _function(self, x: types.FunctionType) -> None:
        """By identity or code if it is the user's, a library's by its name; and by what it closes over."""
        code = x.__code__
        installed = is_library(code.co_filename)
        if not (installed or self.deep):
            self._hold(x)
            return
        if self.deep and installed and code.co_filename.endswith(_RAISES):
            self._objects.append(f"error {x.__qualname__}")
            return
        before = self._user
        self._user = self._user if installed else self._user or x.__qualname__
        self._called += 1
        self._objects.append(f"function {x.__module__} {x.__qualname__} {_version(x) if installed else ''}")
        if not (installed and self.deep) or "<lambda>" in x.__qualname__:
            self._code(code)
        cells = [_NOTHING if is_empty(cell) else cell.cell_contents for cell in x.__closure__ or ()]
        self._take((x.__defaults__, x.__kwdefaults__, cells, {} if installed else vars(x)))
        if not installed:
            for name in sorted(set(_globals_of(code))):
                self._objects.append(name)
                self._take(_global(name, x.__globals__))
        self._called -= 1
        self._user = before

    def _code(self, code: types.CodeType) -> None:
        self._take((code.co_code, code.co_names, code.co_varnames, code.co_freevars))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant)
            else:
                self._take(constant)

    def _array(self, x: Any) -> None:
        if isinstance(x, np.ndarray) and x.dtype.hasobject:
            self._take(("objects", x.shape, x.tolist()))
            return
        self._objects.append(x)
        if isinstance(x, np.ndarray) and not self.deep:
            self._held.append(Held(x))  # it may be changed in place before the program runs again

    def _container(self, x: Any) -> None:
        self._objects.append(f"{type(x).__module__} {type(x).__qualname__} {len(x)}")
        if self.deep and not is_library_module(type(x).__module__):
            self._take(type(x))
        if isinstance(x, set | frozenset):
            entries: Any = sorted(x, key=repr)
        else:
            entries = x.items() if isinstance(x, dict) else x
        for entry in entries:
            if isinstance(x, dict):
                self._take(entry[0])
                self._take(entry[1])
            else:
                self._take(entry)

    def _module(self, x: types.ModuleType) -> None:
        if is_library_module(x.__name__):
            self._objects.append(f"module {x.__name__} {_version(x)}")
        else:
            self._unknown(x)

    def _class(self, x: type) -> None:
        """A library's by its name; a user's by all that it defines."""
        if is_library_module(x.__module__):
            self._objects.append(f"class {x.__module__} {x.__qualname__}")
        elif self.deep:
            skipped = ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "_abc_impl")
            defined = {name: value for name, value in vars(x).items() if name not in skipped}
            self._take(("class", x.__qualname__, x.__bases__, defined))
        else:
            self._hold(x)

    def _instance(self, x: Any) -> None:
        """By its class and attributes; by what it prints only where a library made it for the program itself."""
        kind = type(x)
        if not is_library_module(kind.__module__):
            if self.deep and hasattr(x, "__dict__"):
                self._take((kind, _attributes(x)))
            else:
                self._unknown(x)
            return
        name = f"{kind.__module__} {kind.__qualname__}"
        if kind.__name__ == "DebugInfo" or (self.deep and kind is object):
            self._objects.append(name)  # names for messages; a sentinel, which is nothing but itself
            return
        if _is_of_a_library(x):
            self._objects.append(f"{name} {x.__module__} {x.__qualname__} {_version(x)}")
            return
        text, attributes, plain = repr(x), _attributes(x), dataclasses.is_dataclass(x)
        if not plain and (self._called and kind.__module__.partition(".")[0] not in _PROGRAMMING):
            self._unknown(x)
        elif not plain and " at 0x" not in text and not (self._called and attributes):
            self._objects.append(f"{name} {text}")
        elif attributes:
            self._called += callable(x)
            self._objects.append(name)
            self._take(attributes)
            self._called -= callable(x)
        else:
            self._unknown(x)

    def _hold(self, x: Any) -> None:
        self._held.append(Held(x))
        self._objects.append(f"held {len(self._held)}")

    def _unknown(self, x: Any) -> None:
        if not self.deep:
            self._hold(x)
            return
        where = f"the function {self._user!r} that fn has called on the host" if self._user else "fn"
        raise ValueError(
            f"{where} refers to {_short(x)}, and content does not tell that from another one; "
            "keep to numbers, arrays and functions there"
        )


_NOTHING = "no value yet"


def _parts(x: Any) -> tuple[Any, ...] | None:
    """What an object that stands for others is made of; None for any other object."""
    if isinstance(x, jax.tree_util.PyTreeDef):
        return ("tree", x.node_data(), x.children())
    if isinstance(x, functools.partial):
        return ("partial", x.func, x.args, x.keywords)
    if isinstance(x, types.MethodType):
        return ("method", x.__func__, x.__self__)
    if isinstance(x, staticmethod | classmethod):
        return (type(x).__name__, x.__func__)
    if isinstance(x, property):
        return ("property", x.fget, x.fset, x.fdel)
    return ("slot", x.__name__) if isinstance(x, types.MemberDescriptorType) else None


def _only_reports(name: str) -> bool:
    return name in ("debug_callback", "debug_print")


def _only_checks_types(x: Any) -> bool:
    """Whether x is a function that checks the arguments of another one and calls it."""
    if not (isinstance(x, types.FunctionType) and hasattr(x, "__wrapped__")):
        return False
    file = x.__code__.co_filename
    return file.startswith("<@beartype") or file.endswith(os.path.join("jaxtyping", "_decorator.py"))


def _why_not(name: str) -> str:
    if name == "io_callback":
        return "fn calls jax.experimental.io_callback, which may return something else each time; use jax.pure_callback"
    return "fn calls compiled code by name (jax.ffi), and a name does not tell that code from another version of it"


def _attributes(x: Any) -> dict[str, Any]:
    """What the object keeps, by name; if it wraps a function, as a jitted one does, that function."""
    if hasattr(x, "__wrapped__") and is_library_module(type(x).__module__):
        return {"__wrapped__": x.__wrapped__}
    slots = [name for kind in type(x).__mro__ for name in _slots(kind) if not name.startswith("__")]
    found = {name: getattr(x, name) for name in slots if hasattr(x, name)}
    return found | getattr(x, "__dict__", {})


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """Names that the code takes from outside: globals, and modules that it imports."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield step.argval
        elif step.opname == "IMPORT_NAME":
            yield f"import {step.argval}"
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)


def _global(name: str, known: dict[str, Any]) -> Any:
    if name.startswith("import "):
        return sys.modules.get(name.removeprefix("import "), types.ModuleType(name.removeprefix("import ")))
    builtins = known.get("__builtins__", {})
    builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
    return known[name] if name in known else builtins.get(name, _NOTHING)


def _version(x: Any) -> str:
    """Of the library that a module or function is of; this one's programs are known by what they compute."""
    top = str(getattr(x, "__module__", None) or x.__name__).partition(".")[0]
    return "" if top == "jaxinertia" else str(getattr(sys.modules.get(top), "__version__", ""))


def _is_of_a_library(x: Any) -> bool:
    """Whether x is what a library calls by that name: numpy.where."""
    module, name = getattr(x, "__module__", None), getattr(x, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)):
        return False
    return is_library_module(module) and getattr(sys.modules.get(module), name, None) is x


def _short(x: Any) -> str:
    if isinstance(x, types.ModuleType):
        return f"the module {x.__name__!r}"
    return f"an object of the type {type(x).__module__}.{type(x).__qualname__}"
