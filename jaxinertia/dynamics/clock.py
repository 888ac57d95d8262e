"""What time it is: runs count from their start, and whoever asks for the time of day is told it finely enough.

A float32 number resolves 1e-7 of itself: at 1.7e9 s, a time of day in seconds since 1970, that is 128 s. Steps and
states never see such times. A force, a Brownian path or an event does, and is told them in a precision that resolves
the step, or the run is refused.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import _host
from .._checks import is_traced, require

RESOLVED = 0.1  # of a step: the most that a time may be rounded to where somebody is told it
_CLOSE = 1e-3  # of a step: rounded no further than this, the state's own precision, which is faster, will do


def finest() -> np.dtype:
    """The dtype of times: float64, or float32 where JAX's x64 is off."""
    return np.dtype(jnp.result_type(float))


def dtype_for(latest: Any, step: Any, state: jnp.dtype) -> np.dtype:
    """In what to tell times up to `latest`: the state's dtype if known to resolve a step, else the finest."""
    close = not is_traced((latest, step)) and jnp.finfo(state).eps * latest <= _CLOSE * step
    return np.dtype(state) if close else finest()


def check_resolved(run: Any, who: str, latest: Any, step: Any, dtype: Any) -> Any:
    """`run`; ValueError (or a run-time error where traced) unless times up to `latest` resolve a tenth of a step."""
    spacing = jnp.finfo(dtype).eps * latest
    shown = "" if is_traced((latest, step)) else f" of {float(step):.3g} at t = {float(latest):.6g}"
    remedy = "" if finest() == np.float64 else ', or enable x64: jax.config.update("jax_enable_x64", True)'
    message = (
        f"ts lies too far from 0: {np.dtype(dtype).name} does not resolve steps{shown}, and {who} is told the time; "
        f"count from the start, as ts - ts[0]{remedy}"
    )
    return require(run, spacing <= RESOLVED * step, message)


def as_given(ts: Any, host: np.ndarray) -> jax.Array | np.ndarray:
    """Times to hand back, in the precision they came in: as NumPy's float64 where JAX would round them."""
    wide = np.asarray(ts).dtype != np.float32 and finest() != np.float64
    return host if wide else _host.put(host)
