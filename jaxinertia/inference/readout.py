r"""What an instrument makes of a state: y = read(q, p), or read(q, p, p'), in place of the position itself.

In the fit's units q = length x, p = (length / time) x', and y = unit r: of an affine function, y = y_0 + A q + B p,

    r = C (x, x') + r_0,   C = [A length, B length / time] / unit,

with which a linear filter goes on as with positions. Others are called, and differentiated, where the state is.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .row_checks import takes
from .units import Units

TRIED, SAME = 24, 1e-9  # states, of sizes from 1e-3 to 1e3, at which an affine function has one slope, and how exactly
SIZES = np.logspace(-18, 18, 721)  # of a motion, in the readings' number: one of them reads as was read
PHASES = 2 * np.pi * np.arange(32) / 32


class _Plain(eqx.Module):
    """A function that is no pytree."""

    function: Callable = eqx.field(static=True)

    def __call__(self, *state: Any) -> Any:
        return self.function(*state)


class Readout(eqx.Module):
    """gain, constant: (c, 2 d) and (c,) where the function is affine, in its own units; else None."""

    read: Any
    gain: np.ndarray | None
    constant: np.ndarray | None
    asks_for_force: bool = eqx.field(static=True)
    scalar: bool = eqx.field(static=True)

    @property
    def is_affine(self) -> bool:
        """Whether a reading is a linear function of the state, and a constant."""
        return self.gain is not None

    def flat(self, q: Any, p: Any, *force: Any) -> Float[Array, " c"]:
        """Of one state (d,) each, as a vector."""
        return jnp.ravel(self.read(*(x[0] if self.scalar else x for x in (q, p, *force))))

    def matrix(self, units: Units) -> Float[Array, "c n"]:
        """C."""
        d = self.gain.shape[-1] // 2  # type: ignore[union-attr]
        scale = units.length * jnp.concatenate([jnp.ones(d), jnp.ones(d) / units.time])
        return self.gain * scale / units.reading[:, None]

    def seen(self, z: Float[Array, " n"], units: Units, rate: Any = None) -> Float[Array, " c"]:
        """The reading of a state (x, x'), of which (x', x'') is the rate, in the fit's units."""
        if self.gain is not None:
            return jnp.sum(self.matrix(units) * z, -1) + self.constant / units.reading
        d = len(z) // 2
        speed = units.length / units.time
        force = () if rate is None else (rate[d:] * (speed / units.time),)
        return self.flat(z[:d] * units.length, z[d:] * speed, *force) / units.reading


def of(data: Any) -> Readout | None:
    """Of a record; None where its position is read."""
    if data.read is None:
        return None
    read = data.read if isinstance(data.read, eqx.Module) else _Plain(data.read)
    asks, d = takes(data.read) > 2, data.components
    plain = Readout(read, None, None, asks, data.scalar)
    affine = None if asks else _affine(plain, d)
    return plain if affine is None else Readout(read, *affine, asks, data.scalar)


def sizes_of(readout: Readout, d: int, scatter: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """(r,): how large a swing is, of an angular frequency (r,) in the data's time, whose readings scatter so (r, c):
    the smallest one in `SIZES`, if there is any."""

    def scatter_of(size, rate):
        def one(phase):
            x = jnp.exp(1j * (phase + jnp.pi * jnp.arange(d) / (2 * d))) * np.sqrt(2) * size
            states = (jnp.real(x), jnp.real(1j * rate * x), jnp.real(-(rate**2) * x))
            return readout.flat(*states[: 3 if readout.asks_for_force else 2])

        return jnp.std(jax.vmap(one)(jnp.asarray(PHASES)), axis=0)

    every = jax.jit(jax.vmap(jax.vmap(scatter_of, (0, None)), (None, 0)))
    made = np.asarray(every(jnp.asarray(SIZES), jnp.asarray(omega)))  # (r, sizes, c)
    reach = np.max(np.where(np.isfinite(made), made, 0.0) / np.maximum(scatter[:, None], 1e-300), -1)
    first = np.where(np.any(reach >= 1, 1), np.argmax(reach >= 1, axis=1), np.argmax(reach, axis=1))
    return SIZES[first]


def _affine(plain: Readout, d: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(gain, constant) of a function whose slope is the same everywhere."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(TRIED, 2 * d)) * np.logspace(-3, 3, TRIED)[:, None]

    def one(z):
        return plain.flat(z[:d], z[d:])

    values, slopes = (np.asarray(x) for x in jax.vmap(lambda z: (one(z), jax.jacfwd(one)(z)))(jnp.asarray(states)))
    gain = slopes[0]
    constant = np.asarray(one(jnp.zeros(2 * d)))
    size = np.abs(gain) @ np.abs(states).T + np.abs(constant)[:, None]
    straight = np.all(np.abs(values.T - gain @ states.T - constant[:, None]) <= SAME * size)
    if straight and np.all(np.abs(slopes - gain) <= SAME * np.max(np.abs(gain), initial=0.0)):
        return gain, constant
    return None
