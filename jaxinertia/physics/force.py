"""External forces F(t) as modules: their numbers are leaves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import as_float, is_traced, unevenness
from .._names import offered
from .._types import ArrayLike, Scalar

__all__ = ["Sampled"]


def __dir__() -> list[str]:
    return offered(globals())


class Sampled(eqx.Module):
    """F(t) = gain u(t), with u between its samples on a straight line, and at its end values outside of them.

    Arguments:
        ts: the samples' times, increasing, shape (n,). Equal spacing is found out, and then costs no search.
        u: the samples, shape (n,), or (n, d) for a position of shape (d,).
        gain: force per unit of u, a scalar or one for each component.

    Raises:
        ValueError: if ts does not increase, a number is not finite, or the lengths differ.

    Example:
        >>> force = ji.force.Sampled(ts, volts, gain=186030.0)
        >>> ji.System(ji.potentials.Duffing(), damping=40.0, force=force)
    """

    ts: Float[Array | np.ndarray, " n"]
    u: Float[Array | np.ndarray, " n *d"]
    gain: Float[Array | np.ndarray, "..."]
    even: bool = eqx.field(static=True)

    def __init__(self, ts: ArrayLike, u: ArrayLike, gain: ArrayLike = 1.0):
        self.ts, self.u, self.gain = as_float("force ts", ts), as_float("force u", u), as_float("force gain", gain)
        if self.ts.ndim != 1 or len(self.ts) < 2 or self.u.shape[:1] != self.ts.shape:
            raise ValueError(
                f"force ts has shape {self.ts.shape}, u {self.u.shape}; pass (n,) and (n,) or (n, d), with n >= 2"
            )
        for name in ("ts", "u", "gain"):
            x = getattr(self, name)
            if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
                raise ValueError(f"force {name} has a NaN or inf; replace it, e.g. by np.interp over the gap")
        self.even = not is_traced(self.ts) and _evenly_spaced(np.asarray(ts, float))
        if not is_traced(self.ts):
            _check_rounding(np.asarray(ts, float), np.asarray(self.ts))

    def __call__(self, t: Scalar) -> Float[Array, "..."]:
        last = len(self.ts) - 1
        if self.even:
            step = (self.ts[-1] - self.ts[0]) / last
            left = jnp.clip(jnp.floor((t - self.ts[0]) / step).astype(int), 0, last - 1)
        else:
            left = jnp.clip(jnp.searchsorted(self.ts, t, side="right") - 1, 0, last - 1)
        start = jax.lax.dynamic_index_in_dim(self.ts, left, keepdims=False)
        stop = jax.lax.dynamic_index_in_dim(self.ts, left + 1, keepdims=False)
        part = jnp.clip((t - start) / (stop - start), 0.0, 1.0)
        u = self.u[left] + part * (self.u[left + 1] - self.u[left])
        return jnp.asarray(self.gain) * u


def _evenly_spaced(ts: np.ndarray) -> bool:
    steps = np.diff(ts)
    if np.any(steps <= 0):
        i = int(np.argmax(steps <= 0))
        raise ValueError(f"force ts must increase, but ts[{i}] = {ts[i]} >= ts[{i + 1}] = {ts[i + 1]}; sort it")
    # A time this little off its place changes the piece of line, not the value on it.
    return bool(unevenness(ts) <= 1e-6 * (ts[-1] - ts[0]) / (len(ts) - 1))


def _check_rounding(given: np.ndarray, kept: np.ndarray) -> None:
    """ValueError where the samples' times, rounded to a JAX array, are off by a tenth of a step."""
    if np.max(np.abs(kept - given)) > 0.1 * np.min(np.diff(given)):
        raise ValueError(
            f"force ts reaches {given[-1]:.9g}, and {kept.dtype} does not resolve its steps of "
            f"{np.min(np.diff(given)):.3g} there; count ts from the start, as ts - ts[0], or enable x64: "
            'jax.config.update("jax_enable_x64", True)'
        )
