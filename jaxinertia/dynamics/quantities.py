"""What the arrays of a trajectory are called, and in which unit they are: the same in a store, xarray and pandas."""

from typing import Any

import jax

# What each is, and its unit: the user's own for time and for position, and what follows from them.
QUANTITIES = {
    "ts": ("time", "unit of time"),
    "position": ("position", "unit of position"),
    "momentum": ("momentum", "unit of momentum"),
    "kinetic": ("kinetic energy K", "unit of energy"),
    "potential": ("potential energy L", "unit of energy"),
    "inertia": ("inertia I = K + L", "unit of energy"),
    "friction": ("energy from friction since the start", "unit of energy"),
    "noise": ("energy from noise since the start", "unit of energy"),
    "work": ("work of the external force since the start", "unit of energy"),
    "discretization": ("energy from the integrator's error since the start", "unit of energy"),
    "total": ("change of the inertia since the start", "unit of energy"),
}


def quantity_of(path: Any) -> str | None:
    """The quantity of a trajectory's leaf by its path: the field, or the account of the balance."""
    names = [key.name for key in path if isinstance(key, jax.tree_util.GetAttrKey)]
    quantity = names[1] if names[:1] == ["balance"] else names[0]
    return quantity if quantity in QUANTITIES else None


def name_of(path: Any) -> str:
    """What an output is called, by its place in what is returned."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator=".") or "value"


def attributes_of(quantity: str) -> dict[str, str]:
    """How xarray labels it."""
    what, unit = QUANTITIES[quantity]
    return {"long_name": what, "units": unit}
