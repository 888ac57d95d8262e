r"""Noise-driven records: the exact Gaussian likelihood of positions alone, by the Kalman filter.

The filter predicts each reading from all before it; its errors e_k are independent, of variance S_k, and

    -log p(y) = sum_k (log S_k + e_k^2 / S_k) / 2 + const,

with the expected information  sum_k (de_k de_k^T / S_k + dS_k dS_k^T / (2 S_k^2)). No velocity is ever formed from
differences. How the estimate goes from one reading to the next is in `moves`. On even times without gaps a linear
system's gain settles; from there on the filter is a recursion with constant numbers, and runs in blocks side by side.

The limit of the filters for systems that are not linear: they take the particle to be near one place. With several
readings a period, of an error well below the distance over which the force bends, damping can be trusted, even of a
particle that hops in a double well. With four readings a period, 2,000 in all, the extended filter's stiffness is off
by several standard errors, the unscented one's by one at most (`benchmarks/fits.py`); with an error as large as a well
is wide as well, both fail.

Source: A. C. Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, ch. 3.4 (likelihood and
information).
"""

import math
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..physics.linear_flow import LinearFlow, linear_flow
from ..physics.system import System
from . import linear, moves
from .evidence import Evidence
from .likelihood import Likelihood, Reading
from .normal import without_states
from .parameters import Parameters
from .record import Windows
from .units import Units

VAGUE = 1e6  # variance of a linear system's initial state, in the record's own scatter: the initial state is free
WIDE = 10.0  # of another system's, about the first reading: further away it would see another potential
ABSENT = 1e12  # variance of a reading that was not taken
PHASE = 0.3  # radians that one linearised step may take


class Filter(Likelihood):
    """u are the parameters, then the offset if free, then the logs of each component's reading variance if unknown."""

    system: System
    parameters: Parameters
    units: Units
    windows: Windows
    offset: Float[Array | np.ndarray, "*many d"]
    speed: Float[Array | np.ndarray, "*many"]  # scatter of the momentum, roughly: for the vague initial state
    freedom: Any  # readings less what is fitted and the runs' initial states
    free_offset: bool = eqx.field(static=True)
    free_error: bool = eqx.field(static=True)
    scalar: bool = eqx.field(static=True)
    transient: int | None = eqx.field(static=True)  # readings until the gain has settled; None: it never does
    substeps: int = eqx.field(static=True)
    unscented: bool = eqx.field(static=True, default=False)

    def own(self):
        return self.windows, self.units, self.offset, self.speed, self.freedom

    @property
    def d(self) -> int:
        return self.offset.shape[-1]

    @property
    def readings_of_one(self):
        return max(1, self.windows.ts[0].size)

    @property
    def offset_at(self):
        p = self.parameters.size
        return slice(p, p + self.d if self.free_offset else p)

    @property
    def error_at(self):
        first = self.offset_at.stop
        return slice(first, first + self.d if self.free_error else first)

    def normal(self, u, x):
        """The negative log-likelihood, its score and expected information."""
        (e, log_s), scores, roots = self.score(u)
        known = jnp.isfinite(log_s) & (self.windows.weight[..., : self.d] > 0)
        cost = jnp.sum(jnp.where(known, log_s + e * e * jnp.exp(-log_s), 0.0)) / 2
        bad = ~jnp.all(jnp.isfinite(log_s))
        information = jnp.einsum("wmdqi,wmdqj->ij", roots, roots)
        return without_states(jnp.where(bad, jnp.nan, cost), jnp.ones(()), jnp.sum(scores, (0, 1, 2)), information)

    def score(self, u: Float[Array, " p"]):
        """((e, log S), scores, roots), of shapes (w, m, d), (w, m, d, p), (w, m, d, 2, p); 0 where nothing was read."""
        push = partial(jax.jvp, lambda u: innovations(u, self), (u,))
        (e, log_s), (de, dlog) = jax.vmap(lambda v: push((v,)), out_axes=(None, -1))(jnp.eye(len(u)))
        read = (self.windows.weight[..., : self.d] > 0)[..., None]
        z = (e * jnp.exp(-log_s / 2))[..., None]
        a, b = de * jnp.exp(-log_s / 2)[..., None], dlog / math.sqrt(2)
        scores = jnp.where(read, z * a + (1 - z * z) * dlog / 2, 0.0)
        return (e, log_s), scores, jnp.where(read[..., None, :], jnp.stack([a, b], axis=-2), 0.0)

    def innovations(self, u, x):
        e, log_s = innovations(u, self)
        return e * jnp.exp(-log_s / 2)

    @property
    def taken(self):
        return np.asarray(self.windows.weight)[..., : self.d] > 0

    def read(self, u, x, normal, unknown):
        """Innovations are independent."""
        (e, log_s), scores, roots = jax.tree.map(np.asarray, _score(self, jnp.asarray(u)))
        windows, d = self.windows, self.d
        read = self.taken
        run = np.broadcast_to(np.arange(len(e))[:, None, None], e.shape)[read]
        time = np.broadcast_to(np.asarray(windows.ts)[..., None], e.shape)[read]
        channel = np.broadcast_to(np.arange(d), e.shape)[read]
        evidence = Evidence(
            residuals=(e * np.exp(-log_s / 2))[read],
            scores=scores[read],
            roots=roots[read],
            run=run,
            channel=channel,
            time=time,
            variance=1.0,
            freedom=int(self.freedom),
            states=None,
        )
        prediction = np.where(read, np.asarray(windows.y)[..., :d] - e, np.nan)
        error = np.exp(u[self.error_at] / 2) if self.free_error else None
        return Reading(evidence, prediction, None, 2 * float(normal.cost), error)

    def never_settled(self) -> tuple["Filter", bool]:
        """The same but for the readings till the gain settles, and whether it does."""
        return replace(self, transient=None), self.transient is not None

    def settled_like(self, others: list) -> "Filter":
        """The same, with readings enough for all that settle."""
        each = [other.transient for other in others]
        return replace(self, transient=None if None in each else max(each))


_score = eqx.filter_jit(Filter.score)


def innovations(u: Float[Array, " p"], problem: Filter):
    """Prediction errors and the logs of their variances, (w, m, d) each, in the fit's units."""
    d, size = problem.d, problem.parameters.size
    system = problem.parameters.write(problem.system, u)
    offset = u[size : size + d] if problem.free_offset else problem.offset
    if linear.is_linear(system):
        offset = offset + linear.rest(system, d, problem.units)
    error = jnp.exp(u[-d:]) if problem.free_error else jnp.ones(d)
    run = _settled if problem.transient is not None else _general
    return jax.vmap(lambda w: run(system, offset, error, w, problem))(problem.windows)


def _general(system, offset, error, window, problem):
    """Any times, gaps, forces and potentials: one reading after another."""
    y, variances = window.y[:, : problem.d] - offset, _variances(error, window, problem)
    move = moves.mover(system, window, problem)

    def turn(state, row):
        z, covariance = state
        value, variance, step = row
        e, log_s, z, covariance = _update(z, covariance, value, variance)
        return move(z, covariance, step), (e, log_s)

    rows = jax.tree.map(lambda x: jnp.concatenate([x, x[-1:]]), moves.rows(system, window, problem))
    return jax.lax.scan(turn, _before(y[0], system, problem), (y, variances, rows))[1]


def _settled(system, offset, error, window, problem):
    """A linear system on even times without gaps: the gain settles, and the rest is a constant recursion in blocks."""
    y = window.y[:, : problem.d] - offset
    variance = _variances(error, window, problem)[0]
    step = _step(system, problem.d, problem.units, problem.scalar)
    move = step.flow

    def turn(state, value):
        e, log_s, z, covariance = _update(*state, value, variance)
        return (move @ z, move @ covariance @ move.T + step.covariance), (e, log_s)

    first, rest = y[: problem.transient], y[problem.transient :]
    (z, covariance), (e, log_s) = jax.lax.scan(turn, _before(y[0], system, problem), first)
    s = covariance[: problem.d, : problem.d] + jnp.diag(variance)
    factor = jnp.linalg.cholesky(s)
    gain = move @ jax.scipy.linalg.cho_solve((factor, True), covariance[: problem.d]).T
    keep = move - jnp.concatenate([gain, jnp.zeros((len(z), len(z) - problem.d))], axis=1)
    predicted = _recursion(keep, rest @ gain.T, z)[:, : problem.d]
    errors, logs = _sequential(factor, rest - predicted)
    return jnp.concatenate([e, errors]), jnp.concatenate([log_s, jnp.broadcast_to(logs, errors.shape)])


def _recursion(keep, inputs, z):
    """z_0, z_1, ... of z_{k+1} = keep z_k + inputs_k: all blocks from zero side by side, then each block's start."""
    n = len(inputs)
    length = max(1, math.isqrt(n))
    count = -(-n // length)
    padded = jnp.pad(inputs, ((0, count * length - n), (0, 0))).reshape(count, length, -1)

    def turn(state, b):
        power, z = state
        return (keep @ power, z @ keep.T + b), (power, z)

    start = (jnp.eye(len(z)), jnp.zeros((count, len(z))))
    (power, ends), (powers, partial_sums) = jax.lax.scan(turn, start, jnp.swapaxes(padded, 0, 1))
    _, starts = jax.lax.scan(lambda z, end: (power @ z + end, z), z, ends)
    states = partial_sums + jnp.einsum("kij,cj->kci", powers, starts)
    return jnp.swapaxes(states, 0, 1).reshape(count * length, -1)[:n]


def _update(z, covariance, value, variance):
    """Take in one reading: the errors component by component, their log variances, and the new state."""
    d = len(value)
    factor = jnp.linalg.cholesky(covariance[:d, :d] + jnp.diag(variance))
    e = jnp.where(variance < ABSENT, value - z[:d], 0.0)
    across = jax.scipy.linalg.solve_triangular(factor, covariance[:d], lower=True)
    z = z + across.T @ jax.scipy.linalg.solve_triangular(factor, e, lower=True)
    errors, logs = _sequential(factor, e[None])
    return errors[0], logs, z, covariance - across.T @ across


def _sequential(factor, e):
    """Errors of each component given those before it, and the logs of their variances."""
    if factor.shape == (1, 1):
        return e, 2 * jnp.log(factor[0])
    diagonal = jnp.diag(factor)
    white = jax.scipy.linalg.solve_triangular(factor, e.T, lower=True).T
    return white * diagonal, 2 * jnp.log(diagonal)


def _variances(error, window, problem):
    """(m, d): of each reading; where unknown, the free one of its component."""
    weight = window.weight[:, : problem.d]
    read = weight > 0
    known = 1 / jnp.where(read, weight, 1.0) ** 2
    return jnp.where(read, error if problem.free_error else known, ABSENT)


def _before(first, system, problem):
    """The state before any reading: free if the system is linear, else near the first reading, or the next if missing.

    Centred there, the first reading tells nothing but where the record begins, as with a free state. What is free is
    how far the momentum takes it in one step: were it the momentum itself, of which strong friction leaves ever less,
    the second reading would be ever more likely the stronger friction is, and gamma would run off.
    """
    d, still = problem.d, jnp.zeros_like(first)
    if not linear.is_linear(problem.system):
        variances = jnp.ones((2, d)).at[1].multiply(problem.speed**2).ravel()
        return jnp.concatenate([first, still]), WIDE * jnp.diag(variances)
    drag = linear.rate(system, d, problem.units)[d:, d:]
    slower = jnp.linalg.inv(linear_flow(drag, jnp.zeros_like(drag), 1.0, forward=True).passage) * problem.speed
    none = jnp.zeros((d, d))
    return jnp.concatenate([still, still]), VAGUE * jnp.block([[jnp.eye(d), none], [none, slower @ slower.T]])


@eqx.filter_jit
def _step(system, d, units, scalar) -> LinearFlow:
    """Between readings on even times."""
    rates = linear.rate(system, d, units), linear.noise_rate(system, d, units, scalar)
    return linear_flow(*rates, 1.0, forward=True)


def settles_after(system: System, d: int, units: Units, scalar: bool, variance: np.ndarray, speed: float) -> int:
    """Readings until the predicted covariance changes by less than 1e-13 of itself; at most 4096. `variance`: (d,)."""
    step = _step(system, d, units, scalar)
    move, noise = np.asarray(step.flow), np.asarray(step.covariance)
    covariance = VAGUE * np.diag(np.repeat([1.0, speed**2], d))
    for k in range(4096):
        s = covariance[:d, :d] + np.diag(variance)
        after = covariance - covariance[:, :d] @ np.linalg.solve(s, covariance[:d])
        new = move @ after @ move.T + noise
        if np.all(np.abs(new - covariance) <= 1e-13 * np.sqrt(np.outer(np.diag(new), np.diag(new)))):
            return k
        covariance = new
    return 4096
