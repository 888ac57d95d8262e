"""jit for the host's loops of a fit: nearly all the time of a first fit is XLA's compiler.

On CPUs XLA has two ways to make a loop of a fusion. The newer one compiles three times longer, and longer still in
pieces, and what a fit does runs as fast either way (measured: least squares of 200 to 20,000 readings, a thousand
records, a Kalman filter).
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import equinox as eqx
import jax

_SOONER = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}


class Compiled:
    """`eqx.filter_jit(fn)`, compiled sooner where XLA lets us. It is called on the host, never in another jit."""

    def __init__(self, fn: Callable[..., Any]):
        self._fn = fn

    def __call__(self, *args: Any) -> Any:
        return self._jitted(*args)

    @cached_property
    def _jitted(self) -> Callable[..., Any]:
        return eqx.filter_jit(self._fn, **_options())


@lru_cache(maxsize=1)
def _options() -> dict[str, Any]:
    """For the default device's compiler; none where it does not know them: their names are XLA's own affair."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=_SOONER).lower().compile()
    except Exception:  # whatever it says
        return {}
    return {"compiler_options": _SOONER}
