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

from .. import _tree
from ..physics.linear_flow import LinearFlow, linear_flow
from ..physics.system import System
from . import linear, looks, moves
from .beside import Beside, level_of, moved_by, window_coordinates
from .compiled import Compiled
from .evidence import Evidence
from .likelihood import Likelihood, Reading
from .normal import without_states
from .parameters import Parameters
from .readout import Readout
from .record import Windows
from .units import Units

VAGUE = 1e6  # variance of a linear system's initial state, in the record's own scatter: the initial state is free
WIDE = 10.0  # of another system's, about the first reading: further away it would see another potential
ABSENT = 1e12  # variance of a reading that was not taken
PHASE = 0.3  # radians that one linearised step may take


@_tree.plain
class Filter(Likelihood):
    """u are the parameters, then what is fitted of the readings' zero, then the logs of each channel's variance if that
    is unknown."""

    system: System
    parameters: Parameters
    units: Units
    windows: Windows
    offset: Float[Array | np.ndarray, "*many levels"]
    speed: Float[Array | np.ndarray, "*many"]  # scatter of the momentum, roughly: for the vague initial state
    freedom: Any  # readings less what is fitted and the runs' initial states
    readout: Readout | None
    beside: Beside = _tree.static()
    d: int = _tree.static()
    scalar: bool = _tree.static()
    transient: int | None = _tree.static()  # readings until the gain has settled; None: it never does
    substeps: int = _tree.static()
    unscented: bool = _tree.static(default=False)

    def own(self):
        return self.windows, self.units, self.offset, self.speed, self.freedom

    @property
    def levels(self) -> int:
        """Channels that are read."""
        return self.offset.shape[-1]

    @property
    def readings_of_one(self):
        return max(1, self.windows.ts[0].size)

    def normal(self, u, x):
        """The negative log-likelihood, its score and expected information."""
        (e, log_s), scores, roots = self.score(u)
        known = jnp.isfinite(log_s) & (self.windows.weight[..., : self.levels] > 0)
        cost = jnp.sum(jnp.where(known, log_s + e * e * jnp.exp(-log_s), 0.0)) / 2
        bad = ~jnp.all(jnp.isfinite(log_s))
        information = jnp.einsum("wmdqi,wmdqj->ij", roots, roots)
        return without_states(jnp.where(bad, jnp.nan, cost), jnp.ones(()), jnp.sum(scores, (0, 1, 2)), information)

    def score(self, u: Float[Array, " p"]):
        """((e, log S), scores, roots), of shapes (w, m, d), (w, m, d, p), (w, m, d, 2, p); 0 where nothing was read."""
        push = partial(jax.jvp, lambda u: innovations(u, self), (u,))
        (e, log_s), (de, dlog) = jax.vmap(lambda v: push((v,)), out_axes=(None, -1))(jnp.eye(len(u)))
        read = (self.windows.weight[..., : self.levels] > 0)[..., None]
        z = (e * jnp.exp(-log_s / 2))[..., None]
        a, b = de * jnp.exp(-log_s / 2)[..., None], dlog / math.sqrt(2)
        scores = jnp.where(read, z * a + (1 - z * z) * dlog / 2, 0.0)
        return (e, log_s), scores, jnp.where(read[..., None, :], jnp.stack([a, b], axis=-2), 0.0)

    def innovations(self, u, x):
        e, log_s = innovations(u, self)
        return e * jnp.exp(-log_s / 2)

    @property
    def taken(self):
        return np.asarray(self.windows.weight)[..., : self.levels] > 0

    def read(self, u, x, normal, unknown):
        """Innovations are independent."""
        (e, log_s), scores, roots = jax.tree.map(np.asarray, _score(self, jnp.asarray(u)))
        windows, read = self.windows, self.taken
        run = np.broadcast_to(np.arange(len(e))[:, None, None], e.shape)[read]
        time = np.broadcast_to(np.asarray(windows.ts)[..., None], e.shape)[read]
        channel = np.broadcast_to(np.arange(self.levels), e.shape)[read]
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
        prediction = np.where(read, np.asarray(windows.y)[..., : self.levels] - e, np.nan)
        error = None
        if self.beside.error:
            error = np.exp(u[self.beside_at[-1]] / 2).reshape(-1, self.levels)
            error = error[list(self.beside.of)] if self.beside.of else error[0]
        return Reading(evidence, prediction, None, 2 * float(normal.cost), error)

    def never_settled(self) -> tuple["Filter", bool]:
        """The same but for the readings till the gain settles, and whether it does."""
        return replace(self, transient=None), self.transient is not None

    def settled_like(self, others: list) -> "Filter":
        """The same, with readings enough for all that settle."""
        each = [other.transient for other in others]
        return replace(self, transient=None if None in each else max(each))


_score = Compiled(Filter.score)


def innovations(u: Float[Array, " p"], problem: Filter):
    """Prediction errors and the logs of their variances, (w, m, levels) each, in the fit's units."""
    run, local = _settled if problem.transient is not None else _general, problem.parameters.local

    def one(u, window):
        level = level_of(u, problem.beside, local.size, problem.offset, window)
        window = moved_by(u, problem.beside, local.size, window)
        system = local.write(problem.system, u)
        error = u[problem.beside.local.slices(local.size)[-1]]
        error = jnp.exp(error) if problem.beside.error else jnp.ones(problem.levels)
        return run(system, window.y[:, : problem.levels] - level, error, window, problem)

    at = window_coordinates(problem.parameters, problem.beside, len(problem.windows.ts))
    return jax.vmap(one, in_axes=(None, 0) if at is None else 0)(u if at is None else u[at], problem.windows)


def _general(system, y, error, window, problem):
    """Any times, gaps, forces and potentials: one reading after another."""
    variances = _variances(error, window, problem)
    move, look = moves.mover(system, window, problem), looks.look_of(system, problem)

    def turn(state, row):
        z, covariance = state
        value, variance, step = row
        e, log_s, z, covariance = _update(look, z, covariance, value, variance)
        return move(z, covariance, step), (e, log_s)

    rows = jax.tree.map(lambda x: jnp.concatenate([x, x[-1:]]), moves.rows(system, window, problem))
    return jax.lax.scan(turn, _before(system, y[0], problem), (y, variances, rows))[1]


def _settled(system, y, error, window, problem):
    """A linear system on even times without gaps: the gain settles, and the rest is a constant recursion in blocks."""
    variance = _variances(error, window, problem)[0]
    look = looks.look_of(system, problem)
    step = _step(system, problem.d, problem.units, problem.scalar)
    move = step.flow

    def turn(state, value):
        e, log_s, z, covariance = _update(look, *state, value, variance)
        return (move @ z, move @ covariance @ move.T + step.covariance), (e, log_s)

    first, rest = y[: problem.transient], y[problem.transient :]
    (z, covariance), (e, log_s) = jax.lax.scan(turn, _before(system, y[0], problem), first)
    zero, inner, across, _ = look(jnp.zeros_like(z), covariance)
    factor = jnp.linalg.cholesky(inner + jnp.diag(variance))
    gain, seen = move @ jax.scipy.linalg.cho_solve((factor, True), across).T, looks.rows_of(problem)
    states = _recursion(move - gain @ seen, (rest - zero) @ gain.T, z)
    predicted = states[:, : problem.d] if problem.readout is None else states @ seen.T + zero
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


def _update(look, z, covariance, value, variance):
    """Take in one reading: the errors channel by channel, their log variances, and the new state."""
    seen, inner, across, slope = look(z, covariance)
    factor = jnp.linalg.cholesky(inner + jnp.diag(variance))
    e = jnp.where(variance < ABSENT, value - seen, 0.0)
    across = jax.scipy.linalg.solve_triangular(factor, across, lower=True)
    z = z + across.T @ jax.scipy.linalg.solve_triangular(factor, e, lower=True)
    errors, logs = _sequential(factor, e[None])
    if slope is None:
        return errors[0], logs, z, covariance - across.T @ across
    # Of what is read of a vague state a difference keeps nothing; Joseph's sum of squares does.
    gain = jax.scipy.linalg.solve_triangular(factor, across, lower=True, trans=1).T
    keep = jnp.eye(len(z)) - gain @ slope
    return errors[0], logs, z, keep @ covariance @ keep.T + (gain * variance) @ gain.T


def _sequential(factor, e):
    """Errors of each component given those before it, and the logs of their variances."""
    if factor.shape == (1, 1):
        return e, 2 * jnp.log(factor[0])
    diagonal = jnp.diag(factor)
    white = jax.scipy.linalg.solve_triangular(factor, e.T, lower=True).T
    return white * diagonal, 2 * jnp.log(diagonal)


def _variances(error, window, problem):
    """(m, levels): of each reading; where unknown, the free one of its channel."""
    weight = window.weight[:, : problem.levels]
    read = weight > 0
    known = 1 / jnp.where(read, weight, 1.0) ** 2
    return jnp.where(read, error if problem.beside.error else known, ABSENT)


def _before(system, first, problem):
    """The state before any reading: free if the system is linear, else near the first reading, or the next if missing.

    Centred there, the first reading tells nothing but where the record begins, as with a free state. What is free is
    how far the momentum takes it in one step: were it the momentum itself, of which strong friction leaves ever less,
    the second reading would be ever more likely the stronger friction is, and gamma would run off.
    """
    d = problem.d
    if not linear.is_linear(problem.system) or not (problem.readout is None or problem.readout.is_affine):
        variances = jnp.full((2, d), WIDE).at[1].multiply(problem.speed**2).ravel()
        if problem.readout is None:
            place = jnp.concatenate([first, jnp.zeros_like(first)])
        else:
            place = looks.place_of(system, first, variances, problem)
        return place, jnp.diag(variances)
    drag = linear.rate(system, d, problem.units)[d:, d:]
    slower = jnp.linalg.inv(linear_flow(drag, None, 1.0, forward=True).passage) * problem.speed
    none = jnp.zeros((d, d))
    return jnp.zeros(2 * d), VAGUE * jnp.block([[jnp.eye(d), none], [none, slower @ slower.T]])


@eqx.filter_jit
def _step(system, d, units, scalar) -> LinearFlow:
    """Between readings on even times."""
    rates = linear.rate(system, d, units), linear.noise_rate(system, d, units, scalar)
    return linear_flow(*rates, 1.0, forward=True)


def settles_after(
    system: System, seen: np.ndarray, units: Units, scalar: bool, variance: np.ndarray, speed: float
) -> int:
    """Readings until the predicted covariance changes by less than 1e-13 of itself; at most 4096. `variance`: (c,);
    `seen`: (c, 2 d), what is read of a state."""
    d = seen.shape[1] // 2
    step = _step(system, d, units, scalar)
    move, noise = np.asarray(step.flow), np.asarray(step.covariance)
    covariance = VAGUE * np.diag(np.repeat([1.0, speed**2], d))
    for k in range(4096):
        across = seen @ covariance
        gain = np.linalg.solve(across @ seen.T + np.diag(variance), across).T
        keep = np.eye(2 * d) - gain @ seen
        after = keep @ covariance @ keep.T + (gain * variance) @ gain.T
        new = move @ after @ move.T + noise
        if np.all(np.abs(new - covariance) <= 1e-13 * np.sqrt(np.outer(np.diag(new), np.diag(new)))):
            return k
        covariance = new
    return 4096
