r"""How a filter's estimate, N(z, P), goes from one reading to the next.

Linear systems move by their exact step:  z <- E z + kick,  P <- E P E^T + Q.

Others move in substeps by the exact step of the system linearised at a point (of second order):

- extended: at the mean, which also moves P;
- unscented: at each of 2 n points  z +- sqrt(n) L_i,  P = L L^T, whose mean and scatter are the new z and P - Q. It
  sees that the force bends over the width of P, which the extended filter does not.

Source: T. Ozaki, Statistica Sinica 2, 113 (1992) (local linearisation); S. J. Julier and J. K. Uhlmann, Proc. IEEE 92,
401 (2004), with kappa = 0: I. Arasaratnam and S. Haykin, IEEE Trans. Autom. Control 54, 1254 (2009).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..physics.linear_flow import linear_flow
from . import linear
from .motion import drive, linear_steps, local, rate_of

SERIES = 8  # terms of the series of a linearised step: it is exact to 1e-8 of itself
JITTER = 1e-10  # of a variance: keeps P's root real where a reading was all but exact


def rows(system: Any, window: Any, problem: Any) -> tuple:
    """What `mover` needs for each interval of a window: the exact step and its kick if linear, else times."""
    d, units = problem.d, problem.units
    h = jnp.diff(window.ts)
    if not linear.is_linear(system):
        return window.ts[:-1], h
    step = linear_steps(system, window, problem, linear.noise_rate(system, d, units, problem.scalar))
    if window.even:
        step = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(h), *x.shape)), step)
    kicks = None if system.force is None else linear.kicks(step, drive(system, window, units), h, d)
    return step.flow, step.covariance, kicks


def mover(system: Any, window: Any, problem: Any) -> Callable:
    """(z, P, row) -> (z, P) after the row's interval."""
    if linear.is_linear(system):
        return _exactly
    flow = _flow(system, window, problem)
    one = _by_points(flow) if problem.unscented else _by_mean(flow)

    def move(z, covariance, row):
        start, interval = row
        h = interval / problem.substeps
        return jax.lax.fori_loop(0, problem.substeps, lambda i, at: one(*at, start + i * h, h), (z, covariance))

    return move


def _exactly(z, covariance, row):
    step, noise, kick = row
    z = step @ z
    return (z if kick is None else z + kick), step @ covariance @ step.T + noise


def _by_mean(flow):
    def move(z, covariance, t, h):
        z, step = flow(z, t, h)
        return z, step.flow @ covariance @ step.flow.T + step.covariance

    return move


def _by_points(flow):
    def move(z, covariance, t, h):
        moved, steps = jax.vmap(lambda z: flow(z, t, h))(z + points(covariance))
        mean = jnp.mean(moved, 0)
        return mean, (moved - mean).T @ (moved - mean) / len(moved) + jnp.mean(steps.covariance, 0)

    return move


def points(covariance: Any) -> Any:
    """(2 n, n): how far they are from the mean."""
    n = len(covariance)
    sd = jnp.sqrt(jnp.maximum(jnp.diag(covariance), JITTER**2))
    root = sd[:, None] * jnp.linalg.cholesky(covariance / (sd[:, None] * sd) + JITTER * jnp.eye(n))
    return math.sqrt(n) * jnp.concatenate([root.T, -root.T])


def _flow(system, window, problem):
    """(z, t, h) -> z after h, with the linearised step that took it there."""
    d = problem.d
    noise = linear.noise_rate(system, d, problem.units, problem.scalar)
    motion, asks_for_time = rate_of(system, window, problem), bool(local(system, window, problem).asks_for_time)

    def flow(z, t, h):
        step = linear_flow(jax.jacfwd(motion)(z, t), noise, h, terms=SERIES, forward=True)
        now = motion(z, t)
        moved = z + step.passage @ now
        if asks_for_time:  # between t and t + h what the time does goes on a straight line
            moved = moved + step.ramp[:, d:] @ ((motion(z, t + h) - now)[d:] / h)
        return moved, step

    return flow
