"""Options of XLA's compiler for CPUs: under which it is done sooner, and what it makes is faster.

Nearly all the time of a first run or a first fit is the compiler's. XLA has two ways to make a loop of a fusion. The
newer one compiles two to three times longer, and longer still in pieces; of few numbers both run as fast, and say the
same to the last bit.

Of vectors of 512 bits XLA uses halves, for the sake of old processors that run slower with whole ones.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax

Options: TypeAlias = tuple[tuple[str, Any], ...]

SOONER: Options = (("xla_cpu_use_fusion_emitters", False), ("xla_cpu_parallel_codegen_split_count", 1))
PLAIN: Options = (*SOONER, ("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True))

WIDE: Options = (("xla_cpu_prefer_vector_width", 512),)

_refused: set[str] = set()  # names that the compiler of this process does not know: they are XLA's own affair


def compiled_under(
    options: Options, fn: Callable[..., Any], jit: Callable[..., Any] = eqx.filter_jit
) -> Callable[..., Any]:
    """`jit(fn)` under these options where it runs now, the default device is a CPU and its compiler knows them."""
    plain, special = jit(fn), jit(fn, compiler_options=dict(options))

    def call(*args: Any) -> Any:
        if any(name in _refused for name, _ in options) or jax.default_backend() != "cpu" or not at_top():
            return plain(*args)
        try:
            return special(*args)
        except jax.errors.JaxRuntimeError as error:
            refused = {name for name, _ in options if name in str(error)}
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
