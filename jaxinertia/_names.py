"""What `dir` shows of a public module: what it offers, and not what it imports for its own use."""

from types import ModuleType
from typing import Any


def offered(namespace: dict[str, Any]) -> list[str]:
    """The names in a module's `__all__`; of one that only re-exports, all of its names that are no modules."""
    names = namespace.get("__all__") or [name for name, x in namespace.items() if not isinstance(x, ModuleType)]
    return sorted(name for name in names if not name.startswith("_") and namespace.get(name) is not offered)
