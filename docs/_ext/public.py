"""The public names of the package: what has a page of its own in the API reference."""

import ast
import functools
import inspect
import sys
from types import ModuleType

import jaxinertia as ji

# Names without an underscore that serve the package's other files, and no user.
INTERNAL = {
    "plots": {"colour_by_inertia", "contours"},
    "potentials": {"Function", "Rejoined", "as_module", "depends_on_time", "refusing_numpy"},
    "reductions": {"described", "parse", "told", "untold"},
}


def _stated(module: ModuleType) -> list[str]:
    """What a module's text makes its own: its classes and functions, and what it re-exports as `X as X`."""
    names = []
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom):
            names += [alias.name for alias in node.names if alias.asname == alias.name]
    body = ast.parse(inspect.getsource(module)).body
    names += [node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return sorted({name for name in names if not name.startswith("_")})


@functools.cache
def names() -> dict[str, object]:
    """Every public name under the path that users write, such as `jaxinertia.damping.Linear`, and what it is."""
    found: dict[str, object] = {}
    for name in _stated(ji):
        member = getattr(ji, name)
        if not inspect.ismodule(member):
            found[f"jaxinertia.{name}"] = member
    for short in modules():
        module = getattr(ji, short)
        for name in _stated(module):
            member = getattr(module, name)
            if not inspect.ismodule(member) and name not in INTERNAL.get(short, ()):
                found[f"jaxinertia.{short}.{name}"] = member
    return found


def modules() -> list[str]:
    """The public modules: those that the package imports under their own names, such as `damping`."""
    return [name for name in _stated(ji) if inspect.ismodule(getattr(ji, name))]


def import_under_public_paths() -> None:
    """Lets `import jaxinertia.damping` find what `jaxinertia.damping` is, for tools that import what they document."""
    for short in modules():
        sys.modules.setdefault(f"jaxinertia.{short}", getattr(ji, short))


def has_twin(name: str) -> bool:
    """Whether a name in small letters, such as `jaxinertia.sweep`, is also that of a class."""
    small = name.rpartition(".")[2].islower()
    return small and any(other != name and other.lower() == name for other in names())
