"""A kinetic energy whose metric changes from place to place."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optimistix

from ... import _tree
from ..._checks import require
from ..._shown import shown
from ..._types import Position, Scalar
from ..potentials import as_module
from ..shapes import leaves_of, match
from .abstract import AbstractKinetic

_MOST_ITERATIONS = 64


class Riemannian(AbstractKinetic):
    r"""K(q, p) = p^T G(q)^{-1} p / 2: a metric G(q) on the positions, so v = G(q)^{-1} p.

    Its drift is the geodesic flow, dq/dt = G^{-1} p and dp/dt = -dK/dq, by the implicit midpoint rule: symplectic,
    symmetric, of order 2. Where its iteration does not contract, the step is too long and the result NaN, as it is
    where G is not positive definite; of a matrix that is not symmetric the symmetric part counts.

    Arguments:
        metric: G, a callable from the position to a number, to what is shaped like the position (a diagonal), or to a
            symmetric positive definite (d, d) matrix where the position is one 1-D array.

    Raises:
        ValueError: if the metric is not callable; when run, if what it returns does not fit the position, or is not
            symmetric and positive definite at the start.

    Example:
        >>> metric = lambda q: 1.0 + jnp.sum(q**2)
        >>> ji.System(ji.potentials.Quadratic(), kinetic=ji.kinetic.Riemannian(metric))

    Source: M. Girolami and B. Calderhead, J. R. Stat. Soc. B 73, 123 (2011); E. Hairer, C. Lubich, G. Wanner,
    Geometric Numerical Integration, 2006, ch. VI (the midpoint rule).
    """

    metric: Callable

    def __init__(self, metric: Callable):
        if not callable(metric):
            raise ValueError(
                f"metric = {shown(metric)} must be a function of the position, such as lambda q: 1 + q @ q"
            )
        self.metric = as_module("metric", metric, "position")

    def energy_at(self, position: Position, momentum: Position) -> Scalar:
        """p^T G(q)^-1 p / 2."""
        return _tree.dot(momentum, self.velocity_at(position, momentum)) / 2

    def velocity_at(self, position, momentum):
        metric = self._metric(position)
        if metric.matrix:
            factor = jnp.linalg.cholesky(metric.value)  # NaN where it is not positive definite
            return jax.tree.map(lambda p: jax.scipy.linalg.cho_solve((factor, True), p), momentum)
        positive = jax.tree.map(lambda g: jnp.where(g > 0, g, jnp.nan), metric.value)
        return jax.tree.map(jnp.divide, momentum, positive)

    def drift(self, position, momentum, h):
        given = _tree.dtype(momentum)
        # The iteration keeps its error in JAX's default precision, so the state has to have it too.
        position, momentum = start = _tree.cast((position, momentum), jnp.result_type(float))

        def step(end, _):
            q, p = jax.tree.map(lambda a, b: (a + b) / 2, start, end)
            push = jax.grad(self.energy_at)(q, p)
            return _tree.add_scaled(position, h, self.velocity_at(q, p)), _tree.add_scaled(momentum, -h, push)

        eps = float(jnp.finfo(_tree.dtype(momentum)).eps)
        solver = optimistix.FixedPointIteration(rtol=8 * eps, atol=8 * eps)
        solved = optimistix.fixed_point(step, solver, start, max_steps=_MOST_ITERATIONS, throw=False)
        found = solved.result == optimistix.RESULTS.successful
        end = _tree.cast(solved.value, given)
        return jax.tree.map(lambda x: jnp.where(found, x, jnp.nan), end)

    def check(self, position):
        metric = self._metric(position)
        leaves = [jax.lax.stop_gradient(g) for g in jax.tree.leaves(metric.value)]
        holds = jnp.all(jnp.stack([jnp.all(g > 0) for g in leaves]))
        if metric.matrix:
            (value,) = leaves
            slack = 64 * len(value) * jnp.finfo(value.dtype).eps * jnp.max(jnp.abs(value))
            symmetric = jnp.all(jnp.abs(value - value.T) <= slack)
            holds = symmetric & jnp.all(jnp.isfinite(jnp.linalg.cholesky(value)))
        return require(position, holds, "metric must be symmetric and positive definite, and is not at the start")

    def _metric(self, position: Position) -> Any:
        return match("metric", leaves_of("metric", self.metric(position)), position)
