"""Options of XLA's compiler under which it is done sooner: nearly all the time of a first run or a first fit is its.

On CPUs XLA has two ways to make a loop of a fusion. The newer one compiles two to three times longer, and longer still
in pieces; of few numbers both run as fast, and say the same to the last bit.
"""

from functools import lru_cache
from typing import Any

import jax

SOONER = (("xla_cpu_use_fusion_emitters", False), ("xla_cpu_parallel_codegen_split_count", 1))
PLAIN = (*SOONER, ("xla_backend_optimization_level", 0), ("xla_llvm_disable_expensive_passes", True))


@lru_cache(maxsize=2)
def options(wanted: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """For `jit` on the default device; none where its compiler does not know them: their names are XLA's own affair."""
    known = jax.default_backend() == "cpu" and (_knows(PLAIN) or (wanted != PLAIN and _knows(wanted)))
    return {"compiler_options": dict(wanted)} if known else {}


@lru_cache(maxsize=2)
def _knows(wanted: tuple[tuple[str, Any], ...]) -> bool:
    """Whether the compiler takes them; who takes the longer list takes its parts."""
    try:
        jax.jit(lambda: 0, compiler_options=dict(wanted)).lower().compile()
    except Exception:  # whatever it says
        return False
    return True


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
