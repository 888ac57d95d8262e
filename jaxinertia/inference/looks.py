r"""What a filter's estimate, N(z, P), says of a reading h(z): its mean, its variance, and its covariance with z.

Of a position, or another linear function C z + c:  C z + c,  C P C^T,  C P.  Of other functions

- extended: with C the derivative at the mean;
- unscented: the mean and scatter of h at the points by which `moves` moves the estimate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from . import linear, moves

STEPS = 12  # of Newton's method, from a swing's turning point to a state that reads as the first reading


def look_of(system: Any, problem: Any) -> Callable:
    """(z, P) -> (mean, variance, covariance with z, slope) of a reading, z measured from where a linear system rests;
    no slope where none is needed."""
    d, readout = problem.d, problem.readout
    rest = _rest(system, problem)
    if readout is None:
        return lambda z, covariance: (z[:d] + rest[:d], covariance[:d, :d], covariance[:d], None)

    def seen(z):
        return readout.seen(z + rest, problem.units)

    def by_slope(z, covariance):
        slope = rows_of(problem) if readout.is_affine else jax.jacfwd(seen)(z)
        across = slope @ covariance
        return seen(z), across @ slope.T, across, slope

    def by_points(z, covariance):
        away = moves.points(covariance)
        read = jax.vmap(seen)(z + away)
        mean = jnp.mean(read, 0)
        off = (read - mean) / len(away)
        return mean, off.T @ (read - mean), off.T @ away, None

    return by_points if problem.unscented and not readout.is_affine else by_slope


def rows_of(problem: Any) -> Float[Array, "c n"]:
    """C, of what is read linearly."""
    if problem.readout is None:
        return jnp.eye(problem.d, 2 * problem.d)
    return problem.readout.matrix(problem.units)


def place_of(system: Any, first: Any, variances: Any, problem: Any) -> Float[Array, " n"]:
    """The likeliest state, of these variances about rest, that reads as the first reading, or near it."""
    rest = _rest(system, problem)

    def seen(z):
        return problem.readout.seen(z + rest, problem.units)

    def turn(_, z):
        slope = jax.jacfwd(seen)(z)
        inner = (slope * variances) @ slope.T
        inner = inner + 1e-9 * (jnp.trace(inner) + 1e-300) * jnp.eye(len(inner))
        return variances * (slope.T @ jnp.linalg.solve(inner, first - seen(z) + slope @ z))

    start = jnp.zeros(2 * problem.d).at[: problem.d].set(1.0)
    return jax.lax.stop_gradient(jax.lax.fori_loop(0, STEPS, turn, start))


def _rest(system: Any, problem: Any) -> Float[Array, " n"]:
    """Where a linear system rests, as a state; 0 of another."""
    d = problem.d
    rest = linear.rest(system, d, problem.units) if linear.is_linear(system) else jnp.zeros(d)
    return jnp.concatenate([rest, jnp.zeros(d)])
