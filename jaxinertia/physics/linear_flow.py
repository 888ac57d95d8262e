r"""Linear stochastic equations dz = A z dt + B dW over a time h: the flow, the covariance, and its time integral.

    flow = e^{A h},   passage = int_0^h e^{A s} ds,   ramp = int_0^h passage(s) ds,
    covariance = int_0^h e^{A s} Q e^{A^T s} ds,   integral = int_0^h covariance(s) ds,   Q = B B^T.

All by their series over a short time s with |A| s <= 1/2, then doubled: flow(2s) = E E,  P(2s) = P + E P,
R(2s) = R + s P + E R,  C(2s) = E C E^T + C,  D(2s) = D + s C + E D E^T. That is stable for stiff A, where
Van Loan's block exponential holds e^{-A h}, exact to rounding for small h, and has derivatives where eigenvalues
repeat, which eigenvectors have not.

Source: C. F. Van Loan, IEEE Trans. Automatic Control 23, 395 (1978), for what it replaces.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._tree import vary_alike

_DOUBLINGS, _FARTHEST = 30, 60  # |A| h up to 2^29; and where no reverse mode has to follow
_SERIES = 18  # with |A| s <= 1/2, the terms fall below 1e-17


class LinearFlow(NamedTuple):
    """What a linear stochastic equation does in a time h; None for what was not asked for."""

    flow: Float[Array, "*batch d d"]
    passage: Float[Array, "*batch d d"] | None
    ramp: Float[Array, "*batch d d"] | None
    covariance: Float[Array, "*batch d d"] | None
    integral: Float[Array, "*batch d d"] | None


def linear_flow(
    drift: Float[Array, "... d d"],
    rate: Float[Array, "... d d"] | None,
    h: Float[Array, "..."] | float,
    *,
    driven: bool = True,
    terms: int = _SERIES,
    forward: bool = False,
) -> LinearFlow:
    """Flow, passage and its integral, covariance and its integral for A = drift and Q = rate; leading axes are a batch.

    Without a rate there is no covariance, and unless `driven` no passage: each matrix in the loops costs who traces
    and differentiates them. `terms` cuts the series: all is off by a part of at most 2^-terms / (terms + 1)!.
    `forward`: as many doublings as needed, a number of the run, through which only forward mode goes; else as many as
    are ever needed.
    """
    h, most = jnp.asarray(h, drift.dtype), _FARTHEST if forward else _DOUBLINGS
    size = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(drift), axis=-2), axis=-1) * jnp.abs(h))
    doublings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(2 * size, 1.0))), 0, most)[..., None, None]
    s = h[..., None, None] / 2**doublings
    one = jnp.broadcast_to(np.eye(drift.shape[-1], dtype=drift.dtype), (*s.shape[:-2], *drift.shape[-2:]))
    one, s = vary_alike((one, s), lambda: (drift, rate, h))
    pushed = (one * s, one * s * s / 2) if driven else (None, None)
    grown = (None, None) if rate is None else (rate * s, rate * s * s / 2)
    first = LinearFlow(one, *pushed, *grown)

    def add(k, sums):
        term, piece, now = sums
        term = (drift @ term) * s / k
        new = now._replace(flow=now.flow + term)
        if driven:
            passage, ramp = now.passage + term * s / (k + 1), now.ramp + term * s * s / ((k + 1) * (k + 2))
            new = new._replace(passage=passage, ramp=ramp)
        if rate is not None:
            piece = (drift @ piece + piece @ _transpose(drift)) * s / (k + 1)
            new = new._replace(covariance=now.covariance + piece, integral=now.integral + piece * s / (k + 2))
        return term, piece, new

    def double(i, carry):
        now, time = carry
        e, p, r, c, d = now
        new = now._replace(flow=e @ e)
        if driven:
            new = new._replace(passage=p + e @ p, ramp=r + time * p + e @ r)
        if rate is not None:
            grown = {"covariance": c + e @ c @ _transpose(e), "integral": d + time * c + e @ d @ _transpose(e)}
            new = new._replace(**grown)
        return jax.tree.map(lambda new, old: jnp.where(i < doublings, new, old), (new, 2 * time), carry)

    total = jax.lax.fori_loop(1, terms, add, (one, first.covariance, first))[-1]
    count = jnp.max(doublings).astype(int) if forward else _DOUBLINGS
    return jax.lax.fori_loop(0, count, double, (total, s))[0]


def _transpose(matrix):
    return jnp.swapaxes(matrix, -1, -2)


def cholesky(matrix: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Lower Cholesky factor of a positive semi-definite matrix: a column without variance becomes zero."""
    d = len(matrix)
    floor = d * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(matrix))

    def column(j, factor):
        row = jnp.where(jnp.arange(d) < j, factor[j], 0.0)
        rest = matrix[:, j] - factor @ row
        pivot = rest[j]
        alive = pivot > floor
        scaled = rest / jnp.sqrt(jnp.where(alive, pivot, 1.0))
        keep = alive & (jnp.arange(d) >= j)
        return factor.at[:, j].set(jnp.where(keep, scaled, 0.0))

    return jax.lax.fori_loop(0, d, column, vary_alike(jnp.zeros_like(matrix), lambda: matrix))
