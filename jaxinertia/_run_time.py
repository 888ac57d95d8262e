"""Checks of values that are known at run time only: errors where a program can raise them, and no callback elsewhere.

A callback into Python belongs to one backend of one process: with it a program cannot be lowered for another platform,
nor exported; and of several devices that share a program the one that raises leaves the others waiting. So what a check
becomes is decided when the program is lowered, by a primitive of its own: an error, or nothing, and a caller puts NaN
in the place of bad values.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir


def noticed(holds: Any, message: str) -> Any:
    """`holds`, to be used (else nothing is checked). Raises where one is false, over every mapped axis too.

    It raises at once if known, else when the program runs, if that can.
    """
    return _noticed_p.bind(jnp.asarray(holds), message=message)


_noticed_p = Primitive("noticed")
_noticed_p.def_abstract_eval(lambda holds, *, message: holds)  # the input's type: under shard_map it may vary


@_noticed_p.def_impl
def _now(holds, *, message):
    if not jnp.all(holds):
        raise ValueError(message)
    return holds


def _over_the_batch(args, axes, *, message):
    # One question for the whole batch: mapped over, a condition would run both of its branches.
    return noticed(*args, message), axes[0]


batching.primitive_batchers[_noticed_p] = _over_the_batch


def _lower(ctx, holds, *, message):
    rule = partial(_raise, message) if _can_raise(ctx.module_context) else lambda holds: holds
    return mlir.lower_fun(rule, multiple_results=False)(ctx, holds)


def _raise(message, holds):
    return eqx.error_if(holds, ~jnp.all(holds), message)


def _can_raise(module: mlir.ModuleContext) -> bool:
    """Whether this program runs here, on the backend that it is made for, and on one device."""
    try:
        if len(module.platforms) > 1 or module.get_backend(optional=True) is None:
            return False
    except RuntimeError:  # compiled ahead for devices that this process has not
        return False
    parameters, axes = module.lowering_parameters, module.axis_context
    devices = axes.mesh.size if isinstance(axes, mlir.SPMDAxisContext) else getattr(axes, "num_devices", None)
    return devices == 1 and not parameters.for_export


mlir.register_lowering(_noticed_p, _lower)
