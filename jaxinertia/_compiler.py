"""Options of XLA's compiler under which it is done sooner: nearly all the time of a first run or a first fit is its.

On CPUs XLA has two ways to make a loop of a fusion. The newer one compiles two to three times longer, and longer still
in pieces; of few numbers both run as fast, and say the same to the last bit.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax

Options: TypeAlias = tuple[tuple[str, Any], ...]

SOONER: Options = (("xla_cpu_use_fusion_emitters", False), ("xla_cpu_parallel_codegen_split_count", 1))
PLAIN: Options = (*SOONER, ("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True))

_refused: set[str] = set()  # names that the compiler of this process does not know: they are XLA's own affair


def compiled_under(options: Options, fn: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit(fn)` under these options where the default device is a CPU and its compiler knows them."""
    under: dict[str, Any] = {"compiler_options": dict(options)}
    plain, special = eqx.filter_jit(fn), eqx.filter_jit(fn, **under)

    def call(*args: Any) -> Any:
        if any(name in _refused for name in under["compiler_options"]) or jax.default_backend() != "cpu":
            return plain(*args)
        try:
            return special(*args)
        except jax.errors.JaxRuntimeError as error:
            refused = {name for name in under["compiler_options"] if name in str(error)}
            if not refused:
                raise
        _refused.update(refused)
        return plain(*args)

    return call


def at_top() -> bool:
    """Whether what is called now runs now, outside of jit, vmap and grad: JAX takes options nowhere else.

    Arguments do not tell: a function may have closed over what is traced. JAX has no public name for this; without one
    the options are left out.
    """
    try:
        from jax._src.core import trace_state_clean  # noqa: PLC0415  an internal name, asked for where it is needed
    except ImportError:
        return False
    return bool(trace_state_clean())
