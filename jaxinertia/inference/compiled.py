"""jit for the host's loops of a fit: where there is little to do, plain machine code is made sooner still.

What a fit does runs as fast either way (measured: least squares of 200 to 20,000 readings, a thousand records, a
Kalman filter).
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import equinox as eqx

from .._compiler import PLAIN, SOONER, options

LITTLE = 1000  # readings: up to here calling a program costs more than what it does


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
        return eqx.filter_jit(self._fn, **options(SOONER))

    @cached_property
    def _plainly(self) -> Callable[..., Any]:
        return eqx.filter_jit(self._fn, **options(PLAIN))
