"""Where the monitor is: in an optimizer's state, however it is wrapped."""

from typing import Any

import jax
import optax

from .accounts import Lost, MonitorState

# Those of the state's fields that are one array each.
_ARRAYS = [
    name
    for name in MonitorState._fields
    if name
    not in ("inner", "moved", "moved_before", "gradient", "kicks", "work", "work_latest", "lost", "put_aside", "depth")
]


def monitors(opt_state: Any) -> list[MonitorState]:
    """The monitors in an optimizer's state, or in the `opt_state` of an object that keeps one, as `nnx.Optimizer`.

    One; or several where they share the parameters between them, in one `optax.partition`. Else a ValueError.
    """
    found = inside(opt_state, MonitorState)
    if not found and hasattr(opt_state, "opt_state"):
        return monitors(opt_state.opt_state)
    shared = any(len(inside(each, MonitorState)) == len(found) for each in inside(opt_state, optax.PartitionState))
    if not (len(found) == 1 or (found and shared)):
        raise ValueError(
            f"opt_state holds {len(found)} monitors, not one (or one for each part of an optax.partition): wrap the "
            "optimizer, ji.training.monitor(optimizer, dt=...), before optimizer.init(params)"
        )
    return [_plain(state) for state in found]


def inside(tree: Any, kinds: Any) -> list[Any]:
    """Every outermost node of these kinds."""
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, kinds))
    return [node for node in nodes if isinstance(node, kinds)]


def _plain(state: MonitorState) -> MonitorState:
    """With arrays for arrays: some libraries keep every array of a state in a box, a pytree of one leaf."""
    boxed = {name: jax.tree.leaves(getattr(state, name)) for name in _ARRAYS}
    lost = Lost(*(jax.tree.leaves(x)[0] for x in state.lost))
    return state._replace(**{name: leaf for name, (leaf,) in boxed.items()}, lost=lost)
