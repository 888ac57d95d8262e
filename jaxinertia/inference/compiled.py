"""jit for the host's loops of a fit: nearly all the time of a first fit is XLA's compiler.

On CPUs XLA has two ways to make a loop of a fusion. The newer one compiles three times longer, and longer still in
pieces, and what a fit does runs as fast either way (measured: least squares of 200 to 20,000 readings, a thousand
records, a Kalman filter). Where there is little to do, plain machine code is made in half of that again.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import equinox as eqx
import jax

LITTLE = 1000  # readings: up to here calling a program costs more than what it does

_SOONER = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
_PLAIN = _SOONER | {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Compiled:
    """`eqx.filter_jit(fn)`, compiled sooner where XLA lets us. It is called on the host, never in another jit."""

    def __init__(self, fn: Callable[..., Any]):
        self._fn = fn

    def __call__(self, *args: Any) -> Any:
        return self._well(*args)

    def over(self, readings: int) -> Callable[..., Any]:
        """The function, compiled for so many readings."""
        return self._plainly if readings <= LITTLE else self._well

    @cached_property
    def _well(self) -> Callable[..., Any]:
        return eqx.filter_jit(self._fn, **_options(tuple(_SOONER.items())))

    @cached_property
    def _plainly(self) -> Callable[..., Any]:
        return eqx.filter_jit(self._fn, **_options(tuple(_PLAIN.items())))


@lru_cache(maxsize=2)
def _options(wanted: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """For the default device's compiler; none where it does not know them: their names are XLA's own affair."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=dict(wanted)).lower().compile()
    except Exception:  # whatever it says
        return {}
    return {"compiler_options": dict(wanted)}
