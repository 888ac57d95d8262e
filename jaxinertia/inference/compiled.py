"""jit for the host's loops of a fit: where there is little to do, plain machine code is made sooner still.

What a fit does runs as fast either way (measured: least squares of 200 to 20,000 readings, a thousand records, a
Kalman filter).
"""

from collections.abc import Callable
from typing import Any

from .._compiler import PLAIN, SOONER, compiled_under

LITTLE = 1000  # readings: up to here calling a program costs more than what it does


class Compiled:
    """`eqx.filter_jit(fn)`, compiled sooner where XLA lets us. It is called on the host, never in another jit."""

    def __init__(self, fn: Callable[..., Any]):
        self._well, self._plainly = compiled_under(SOONER, fn), compiled_under(PLAIN, fn)

    def __call__(self, *args: Any) -> Any:
        return self._well(*args)

    def over(self, readings: int) -> Callable[..., Any]:
        """The function, compiled for so many readings."""
        return self._plainly if readings <= LITTLE else self._well
