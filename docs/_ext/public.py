"""The public names of the package: what has a page of its own in the API reference."""

import functools
import inspect
import sys

import jaxinertia as ji


@functools.cache
def names() -> dict[str, object]:
    """Every public name under the path that users write, such as `jaxinertia.damping.Linear`, and what it is."""
    found: dict[str, object] = {}
    for path, module in {"jaxinertia": ji, **{f"jaxinertia.{name}": getattr(ji, name) for name in modules()}}.items():
        found |= {f"{path}.{name}": x for name in dir(module) if _is_ours(x := getattr(module, name))}
    return found


def _is_ours(x: object) -> bool:
    """Whether it is a class or function of the package: an import hook may leave others in a module."""
    return callable(x) and getattr(x, "__module__", "").startswith("jaxinertia")


def modules() -> list[str]:
    """The public modules, such as `damping`."""
    found = {name: getattr(ji, name) for name in dir(ji)}
    return [name for name, x in found.items() if inspect.ismodule(x) and x.__name__.startswith("jaxinertia.")]


def import_under_public_paths() -> None:
    """Lets `import jaxinertia.damping` find what `jaxinertia.damping` is, for tools that import what they document."""
    for short in modules():
        sys.modules.setdefault(f"jaxinertia.{short}", getattr(ji, short))


def has_twin(name: str) -> bool:
    """Whether a name in small letters, such as `jaxinertia.sweep`, is also that of a class."""
    small = name.rpartition(".")[2].islower()
    return small and any(other != name and other.lower() == name for other in names())
