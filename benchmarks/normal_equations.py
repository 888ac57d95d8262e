"""Levenberg-Marquardt from optimistix's parts, but for one thing: it keeps J^T J and J^T r, not the residuals and J.

optimistix's own solver carries the linearised residuals of the last accepted point through its loop. Under vmap each
step selects, record by record, between all of them and the new ones. The normal equations are a few numbers.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import optimistix
from optimistix import FunctionInfo, max_norm


class _State(eqx.Module):
    first: Any
    trial: Any
    search: Any
    cost: Any
    gradient: Any
    hessian: Any
    done: Any
    result: Any


class NormalEquations(optimistix.AbstractLeastSquaresSolver):
    """ClassicalTrustRegion and DampedNewtonDescent by Cholesky, on the Gauss-Newton equations."""

    rtol: float
    atol: float
    norm: Callable = max_norm
    descent: Any = optimistix.DampedNewtonDescent(linear_solver=lineax.Cholesky())
    search: Any = optimistix.ClassicalTrustRegion()

    def init(self, fn, y, args, options, f_struct, aux_struct, tags):
        nothing = jnp.zeros(()), jnp.zeros_like(y), jnp.eye(len(y))
        search = self.search.init(y, _info(*nothing))
        return _State(jnp.array(True), y, search, *nothing, jnp.array(False), optimistix.RESULTS.successful)

    def step(self, fn, y, args, options, state, tags):
        def push(tangent):
            return jax.jvp(lambda q: fn(q, args)[0], (state.trial,), (tangent,))

        r, j = jax.vmap(push, out_axes=(None, -1))(jnp.eye(len(y)))
        new = jnp.sum(r * r) / 2, jnp.sum(j * r[:, None], 0), j.T @ j
        old = state.cost, state.gradient, state.hessian
        size, accept, _, search = self.search.step(state.first, y, state.trial, _info(*old), _info(*new), state.search)
        moved = self.norm((state.trial - y) / (self.atol + self.rtol * jnp.abs(state.trial))) < 1
        fell = jnp.abs(new[0] - old[0]) < self.atol + self.rtol * new[0]
        y, *kept = jax.tree.map(lambda a, b: jnp.where(accept, a, b), (state.trial, *new), (y, *old))
        step, result = self.descent.step(size, self.descent.query(y, _info(*kept), None))
        done = accept & ~state.first & moved & fell
        return y, _State(jnp.array(False), y + step, search, *kept, done, result), None

    def terminate(self, fn, y, args, options, state, tags):
        return state.done, state.result

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        return y, aux, {}


def _info(cost, gradient, hessian):
    operator = lineax.MatrixLinearOperator(hessian, lineax.positive_semidefinite_tag)
    return FunctionInfo.EvalGradHessian(cost, gradient, operator)
