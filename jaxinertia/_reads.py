"""What Python functions read from outside when they are traced, so that a program compiled before is not taken for
one that they would make now.

A compiled program keeps the numbers that a function found in globals, in what it closes over or in an object: where one
of them is another today, the function is the same and its program is not. Told are code and plain values, by what they
are, and all else by its identity. Lists, dictionaries, arrays of NumPy and a user's objects may be changed in place:
small ones are told by what is in them; what is in large ones, and in a function that `jax.jit` has compiled, is not.
"""

import functools
import os
import site
import sys
import sysconfig
import types
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
FEW = 64  # entries of a container that is looked into
SMALL = 4096  # bytes of an array that is
MOST = 500  # objects that are looked at in all
_LIBRARIES = tuple(
    str(folder) + os.sep
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        Path(__file__).parent,
    }
)


class Held:
    """An object known by its identity; held, so that no other object can take its place in memory."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def reads(*parts: Any) -> Hashable:
    """What the functions in these modules, or functions, read: equal where they would be traced to one program.

    The leaves of a module are none of it: they are arguments of its programs.
    """
    told = _Told()
    return tuple(told.part(part) for part in parts)


class _Told:
    def __init__(self) -> None:
        self._seen: dict[
            int, tuple[int, Any]
        ] = {}  # id -> its place, and the object, held so that its id stays its own

    def part(self, x: Any) -> Hashable:
        """A module by its functions and methods; a function as any object."""
        if isinstance(x, eqx.Module):
            fields = [v for k, v in vars(x).items() if not k.startswith("__")]
            return (*self._methods(type(x)), *(self.part(v) for v in fields))
        if isinstance(x, list | tuple | dict):
            return tuple(self.part(v) for v in (x.values() if isinstance(x, dict) else x))
        return self._object(x) if callable(x) else None

    def _methods(self, kind: type) -> Iterator[Hashable]:
        """Of a user's class, by what its methods read."""
        for one in kind.__mro__:
            if not is_library_module(one.__module__):
                yield from (self._object(f) for f in map(_function_of, vars(one).values()) if f is not None)

    def _object(self, x: Any) -> Hashable:
        if isinstance(x, PLAIN):
            return (type(x), repr(x))  # NaN is itself
        if id(x) in self._seen:
            return ("again", self._seen[id(x)][0])
        if len(self._seen) >= MOST or isinstance(x, jax.Array):
            return Held(x)
        self._seen[id(x)] = len(self._seen), x
        return next((tell(self, x) for kind, tell in _KINDS.items() if isinstance(x, kind)), None) or self._instance(x)

    def _instance(self, x: Any) -> Hashable:
        """By its class and attributes if it is the user's."""
        if is_library_module(type(x).__module__) and not isinstance(x, types.SimpleNamespace):
            return Held(x)
        within = getattr(x, "__dict__", {})
        return (Held(type(x)), *self._methods(type(x)), *(self._object(v) for v in within.values()))

    def _array(self, x: np.ndarray) -> Hashable:
        small = x.nbytes <= SMALL and not x.dtype.hasobject
        return (x.shape, x.dtype.str, x.tobytes()) if small else Held(x)

    def _container(self, x: Any) -> Hashable:
        if len(x) > FEW:
            return (Held(x), len(x))
        entries = x.items() if isinstance(x, dict) else x
        return (type(x), *(self._object(entry) for entry in entries))

    def _method(self, x: types.MethodType) -> Hashable:
        return (self._object(x.__func__), self._object(x.__self__))

    def _partial(self, x: functools.partial) -> Hashable:
        return (self._object(x.func), self._object(x.args), self._object(x.keywords))

    def _function(self, x: types.FunctionType) -> Hashable:
        if is_library(x.__code__.co_filename):
            return Held(x)
        cells = [cell.cell_contents for cell in x.__closure__ or () if not is_empty(cell)]
        inner = [self._object(v) for v in (*cells, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values())]
        names = _names(x.__code__)
        found = [(name, x.__globals__[name]) for name in names if name in x.__globals__]
        return (x.__code__, *inner, *((name, self._named(value, names)) for name, value in found))

    def _named(self, x: Any, names: tuple[str, ...]) -> Hashable:
        """A global; of a user's module or class what may be asked of it by one of these names."""
        if isinstance(x, types.ModuleType | type):
            if is_library_module(x.__name__ if isinstance(x, types.ModuleType) else x.__module__):
                return None
            return tuple((name, self._object(vars(x)[name])) for name in names if name in vars(x))
        return self._object(x)


_KINDS: dict[Any, Any] = {
    type | types.ModuleType: lambda _, x: Held(x),
    types.FunctionType: _Told._function,
    types.MethodType: _Told._method,
    functools.partial: _Told._partial,
    np.ndarray: _Told._array,
    list | tuple | dict | set | frozenset: _Told._container,
}


def _function_of(x: Any) -> types.FunctionType | None:
    """The function behind what stands in a class."""
    for name in ("method", "fget", "__func__", "__wrapped__"):
        x = getattr(x, name, None) or x
    return x if isinstance(x, types.FunctionType) else None


@functools.lru_cache(maxsize=4096)
def _names(code: types.CodeType) -> tuple[str, ...]:
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for names in inner for name in names)]))


def is_empty(cell: types.CellType) -> bool:
    """Whether a cell has no value yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


@functools.lru_cache(maxsize=4096)
def is_library(file: str) -> bool:
    """Whether a file came installed: into this Python, or beside it, as the modules of a cluster bring it."""
    return file.startswith(_LIBRARIES) or not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def is_library_module(name: str) -> bool:
    """Whether it came installed: its content is the version's, not the user's."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is not None:
        return is_library(str(file))
    top = name.partition(".")[0]  # compiled into another, as jaxlib._jax.pytree is, or into Python itself
    if top in sys.builtin_module_names:
        return True
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is not None and name != "__main__" and is_library(str(file))
