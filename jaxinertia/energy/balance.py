"""The energy balance: every change of the inertia is booked under one of four accounts."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._origin import derived
from .._shown import Card, Shown, is_there, numbers


class Balance(Shown, eqx.Module):
    r"""I(t) - I(0) = friction + noise + work + discretization, each cumulative from the start, shape (times,).

    Attributes:
        friction: what damping took, -int v.force dt; never positive. Per exact relaxation over h from K0 by linear
            friction it is -[K0 - K(e^{-Gamma h} p0)] - [tr(sigma sigma^T) h - tr C] / 2 (unit mass), the expected
            dissipation given the start; for any other law the change of K that friction made.
        noise: what the random force gave; of mean tr(sigma sigma^T) t / 2 (with a mass, tr(M^-1 sigma sigma^T) t / 2)
            at every step size if it is white and friction linear, and int v.xi dt if it has a memory.
        work: what came from outside: int F.v dt of the external force, int dL/dt dt of a potential that depends on
            time.
        discretization: the integrator's own error, of its order in h; zero where the flow is exact. NaN where diffrax's
            stochastic solvers run on white noise, which cannot tell it from noise; with its Langevin solvers (ALIGN,
            ShOULD, QUICSORT), which carry no account, friction and noise are NaN too.
    """

    friction: Float[Array | np.ndarray, " *times"]
    noise: Float[Array | np.ndarray, " *times"]
    work: Float[Array | np.ndarray, " *times"]
    discretization: Float[Array | np.ndarray, " *times"]

    @property
    def total(self) -> Float[Array | np.ndarray, " *times"]:
        """friction + noise + work + discretization: equal to I(t) - I(0)."""
        total = self.friction + self.noise + self.work + self.discretization
        return derived(total, "total", self.friction)

    def _card(self) -> Card | None:
        accounts = {name: getattr(self, name) for name in ("friction", "noise", "work", "discretization")}
        shapes = {np.shape(x) for x in accounts.values()}
        if not is_there(self) or len(shapes) > 1 or 0 in (shape := shapes.pop()):
            return None
        accounts["total"] = self.total
        if not shape:
            return Card("Balance at one time", [(name, numbers(x)) for name, x in accounts.items()])
        runs = f" of {math.prod(shape[:-1]):,} runs" if len(shape) > 1 else ""
        title = f"Balance{runs} at {shape[-1]:,} times"
        return Card(title, [(name, numbers(x[..., -1])) for name, x in accounts.items()], ("", "at the end"))


def close(
    inertia: Float[Array, " times"],
    friction: Float[Array, " times"],
    noise: Float[Array, " times"] | None,
    work: Float[Array, " times"] | None,
    noise_is_remainder: bool = False,
) -> Balance:
    """Make a balance from accounts kept along the path: what they leave open is discretization (or noise)."""
    zero = jnp.zeros_like(friction)
    work = zero if work is None else work
    change = inertia - inertia[0]
    if noise_is_remainder:
        return Balance(friction, change - friction - work, work, jnp.full_like(zero, jnp.nan))
    noise = zero if noise is None else noise
    return Balance(friction, noise, work, change - friction - noise - work)
