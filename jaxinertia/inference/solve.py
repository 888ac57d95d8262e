r"""Levenberg-Marquardt on optimistix: its trust region and damped Newton step, on our normal equations.

    (H + (damping / size) D) step = -gradient,

for parameters u and states x_w, with H an arrow (`Arrow`) that `Elimination` solves, and D the greatest diagonal of H
met. The step is optimistix's DampedNewtonDescent in coordinates in which D is 1; whether it is taken, and the next
size, its ClassicalTrustRegion says. The same search maximises a Gaussian likelihood, with its expected information in
place of J^T J (Fisher scoring), and maps over many records.

Ours are the loop, which can be watched and mapped, and its end, in units of one standard error. Two things would be
lost with optimistix.LevenbergMarquardt as it stands: it keeps the residuals and their linearisation in its loop, where
the normal equations are a few numbers, and it waits till they settle to a tolerance of theirs (`benchmarks/fits.py`).

Source: J. J. More, The Levenberg-Marquardt algorithm, 1978 (scaling by the greatest curvature met).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Float

from .arrow import Arrow, Elimination

TOLERANCE = 1e-10  # of the cost that one standard error is worth: steps end below 1e-5 standard errors
ROUNDING = 1e-13
CAREFUL, BOLD = 1e-3, 1e-9  # damping of the first step: in general, and where the problem is all but linear
MOST = 200
# Of the reduction predicted, what must be found to take a step, and to try a longer one; by how much longer or shorter.
# Milder than optimistix's own 0.99, 3.5 and 0.25, which need half as many steps again, or more, in the bent valley of
# an overdamped record, where most steps find a little less than predicted.
LOW, HIGH, LONGER, SHORTER = 0.01, 0.75, 3.0, 0.5
SHORTEST = 1e-15


class Normal(NamedTuple):
    """The cost, half the sum of squares or a negative log-likelihood, with its gradient and information.

    `unit` is the cost that moving a parameter by one standard error adds, times two.
    """

    cost: Float[Array, ""]
    unit: Float[Array, ""]
    g: Float[Array, " p"]
    a: Float[Array, "p p"]
    gx: Float[Array, "w k"]
    b: Float[Array, "w p k"]
    c: Float[Array, "w k k"]

    @property
    def information(self) -> Arrow:
        return Arrow(self.a, self.b, self.c)

    @property
    def info(self) -> Any:
        """As optimistix has it."""
        return optimistix.FunctionInfo.EvalGradHessian(self.cost, (self.g, self.gx), self.information)


class Search(NamedTuple):
    """Where the search stands, and the step that it will try."""

    u: Float[Array, " p"]
    x: Float[Array, "w k"]
    step: tuple[Float[Array, " p"], Float[Array, "w k"]]
    normal: Normal
    scale: Float[Array, " p"]
    scale_x: Float[Array, "w k"]
    damping: Float[Array, ""]  # of the first step
    size: Float[Array, ""]  # by which it is divided now
    region: Any  # optimistix's own account of the size
    done: Any
    failed: Any
    iterations: Any  # how often the cost was evaluated


def start(u: Any, x: Any, damping: Any = CAREFUL) -> Search:
    """A search that begins at u and x. Its first iteration steps nowhere, and finds the cost there."""
    u, x = jnp.asarray(u, float), jnp.asarray(x, float)
    (p,), (w, k) = u.shape, x.shape
    cost = jnp.asarray(jnp.inf, float)
    normal = Normal(cost, cost, *(jnp.zeros(s) for s in ((p,), (p, p), (w, k), (w, p, k), (w, k, k))))
    nowhere = jnp.zeros(p), jnp.zeros((w, k))
    damping, size = jnp.asarray(damping, float), jnp.ones((), float)
    region = _region().init((u, x), normal.info)
    no = jnp.zeros((), bool)
    return Search(u, x, nowhere, normal, *nowhere, damping, size, region, no, no, jnp.asarray(0, int))


def iterate(evaluate: Callable[..., Normal], search: Search, args: Any, tolerance: Any = TOLERANCE) -> Search:
    """Try the step: it is taken if it lowers the cost as it should, and the next is longer or shorter.

    The end is seen where the next step is found, so that none is tried that is worth nothing.
    """
    old, step, region = search.normal, search.step, _region()
    here = search.u, search.x
    there = jax.tree.map(jnp.add, here, step)
    new = evaluate(*there, args)
    first, finite = jnp.isinf(old.cost), _all_finite(new)
    tried = new._replace(cost=jnp.where(finite, new.cost, jnp.inf))
    nowhere = jax.tree.map(jnp.zeros_like, here)
    size, accept, _, state = region.step(first, nowhere, step, old.info, tried.info, search.region)
    size = jnp.asarray(size, search.size.dtype)  # not weakly typed as the region's: that would compile all twice
    better = accept & finite
    scales = jnp.maximum(search.scale, _diagonal(new.a)), jnp.maximum(search.scale_x, _diagonal(new.c))
    moved, kept = (*there, new, *scales), (*here, old, search.scale, search.scale_x)
    take = better & ~search.done
    u, x, normal, scale, scale_x = jax.tree.map(lambda a, b: jnp.where(take, a, b), moved, kept)
    step = _step(normal, (scale, scale_x), search.damping, size)
    predicted = -region.predict_reduction(step, normal.info)
    small = predicted < tolerance * normal.unit
    level = predicted < ROUNDING * jnp.abs(normal.cost) + 1e-300  # no step can be told from rounding
    nothing = first & ~better  # there is no cost to begin with
    done = search.done | (~nothing & ((small & (better | (search.damping < size))) | level))
    failed = search.failed | (((size < SHORTEST) | nothing) & ~done)
    count = search.iterations + ~search.done
    return Search(u, x, step, normal, scale, scale_x, search.damping, size, state, done | failed, failed, count)


def _region() -> optimistix.ClassicalTrustRegion:
    """Made where it is used: its numbers become arrays, of the precision that holds there."""
    return optimistix.ClassicalTrustRegion(high_cutoff=HIGH, low_cutoff=LOW, high_constant=LONGER, low_constant=SHORTER)


def _step(normal: Normal, scales: Any, damping: Any, size: Any) -> tuple[Any, Any]:
    """The damped Gauss-Newton step, (H + damping / size D) step = -gradient, by way of coordinates in which D is 1."""
    s = jax.tree.map(lambda d: jnp.where(d > 0, 1 / jnp.sqrt(damping * jnp.where(d > 0, d, 1.0)), 1.0), scales)
    info = normal.info
    gradient = jax.tree.map(jnp.multiply, info.grad, s)
    scaled = optimistix.FunctionInfo.EvalGradHessian(info.f, gradient, info.hessian.scaled(*s))
    descent: Any = optimistix.DampedNewtonDescent(Elimination())
    step, _ = descent.step(size, descent.query(info.grad, scaled, None))
    return jax.tree.map(jnp.multiply, step, s)


_jitted = eqx.filter_jit(iterate)


def run(
    evaluate: Callable[..., Normal], search: Search, args: Any, most: int = MOST, report: Callable | None = None
) -> Search:
    """Iterate to the end. The loop is Python's, so that it can be watched and interrupted."""
    for _ in range(most):
        if bool(search.done):
            break
        search = _jitted(evaluate, search, args)
        if report is not None:
            report(search)
    return search._replace(failed=search.failed | ~search.done)


def _diagonal(x):
    return jnp.diagonal(x, axis1=-2, axis2=-1)


def _all_finite(tree):
    flags = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(flags))
