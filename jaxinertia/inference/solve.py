r"""Levenberg-Marquardt for parameters u that all windows share and states x_w that each has for itself.

The information matrix is an arrow: A for u, C_w for x_w, B_w between. Eliminating the states,

    (A - sum_w B_w C_w^-1 B_w^T) du = -(g_u - sum_w B_w C_w^-1 g_w),   dx_w = -C_w^-1 (g_w + B_w^T du),

costs as much as the windows are many, whether there is one or there are thousands. The same search maximises a
Gaussian likelihood, with its expected information in place of J^T J (Fisher scoring), and maps over many records.

Why not optimistix.LevenbergMarquardt? On 1,000 ring-downs of 200 readings it takes 435 ms where this takes 103. Not for
its QR (Cholesky: 185 against 189), but for waiting till residuals settle to tolerances of 1e-8, 33 steps of the slowest
record against 11 at 1e-5 (189 ms), and for carrying the linearised residuals through its loop: a solver of optimistix's
search and descent that keeps J^T J alone takes 87 (`benchmarks/normal_equations.py`). What that has not got is the
elimination above, without which a record of a thousand windows is a dense problem in two thousand unknowns, and the
likelihoods, which are no sums of squares.

Source: J. J. More, The Levenberg-Marquardt algorithm, 1978 (scaling by the greatest curvature met); H. B. Nielsen,
Damping parameter in Marquardt's method, 1999 (its update).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TOLERANCE = 1e-10  # of the cost that one standard error is worth: steps end below 1e-5 standard errors
ROUNDING = 1e-13
CAREFUL, BOLD = 1e-3, 1e-9  # damping of the first step: in general, and where the problem is all but linear
MOST = 200


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


class Search(NamedTuple):
    """Where the search stands."""

    u: Float[Array, " p"]
    x: Float[Array, "w k"]
    normal: Normal
    scale: Float[Array, " p"]
    scale_x: Float[Array, "w k"]
    damping: Float[Array, ""]
    growth: Float[Array, ""]
    done: Any
    failed: Any
    iterations: Any


def start(u: Any, x: Any, damping: Any = CAREFUL) -> Search:
    """A search that begins at u and x. Its first iteration steps nowhere, and finds the cost there."""
    u, x = jnp.asarray(u, float), jnp.asarray(x, float)
    (p,), (w, k) = u.shape, x.shape
    cost = jnp.asarray(jnp.inf, float)
    normal = Normal(cost, cost, *(jnp.zeros(s) for s in ((p,), (p, p), (w, k), (w, p, k), (w, k, k))))
    no = jnp.zeros((), bool)
    scales = jnp.zeros(p), jnp.zeros((w, k))
    return Search(
        u, x, normal, *scales, jnp.asarray(damping, float), jnp.asarray(2.0, float), no, no, jnp.asarray(0, int)
    )


def iterate(evaluate: Callable[..., Normal], search: Search, args: Any, tolerance: Any = TOLERANCE) -> Search:
    """One trial step: taken if it lowers the cost, else the damping grows."""
    old = search.normal
    du, dx = solve(old, search.damping * search.scale, search.damping * search.scale_x)
    predicted = -(jnp.sum(old.g * du) + jnp.sum(old.gx * dx)) / 2
    new = evaluate(search.u + du, search.x + dx, args)
    first = jnp.isinf(old.cost)
    gain = jnp.where(first, 0.5, (old.cost - new.cost) / jnp.maximum(predicted, 1e-300))
    better = (new.cost < old.cost) & _all_finite(new)
    small = predicted < tolerance * old.unit
    level = predicted < ROUNDING * jnp.abs(old.cost) + 1e-300  # no step can be told from rounding
    done = search.done | (~first & ((small & (better | (search.damping < 1.0))) | level))
    failed = search.failed | ((search.damping > 1e12) | (first & ~better)) & ~done
    shrink = jnp.clip(1 - (2 * gain - 1) ** 3, 1 / 3, 2.0)
    damping = jnp.clip(search.damping * jnp.where(better, shrink, search.growth), 1e-15, 1e15)
    growth = jnp.where(better, 2.0, jnp.minimum(2 * search.growth, 64.0))
    scales = jnp.maximum(search.scale, _diagonal(new.a)), jnp.maximum(search.scale_x, _diagonal(new.c))
    moved = (search.u + du, search.x + dx, new, *scales)
    kept = (search.u, search.x, old, search.scale, search.scale_x)
    take = better & ~search.done
    state = jax.tree.map(lambda a, b: jnp.where(take, a, b), moved, kept)
    u, x, normal, scale, scale_x = state
    count = search.iterations + ~search.done
    return Search(u, x, normal, scale, scale_x, damping, growth, done | failed, failed, count)


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


def solve(normal: Normal, ridge: Any, ridge_x: Any) -> tuple[Any, Any]:
    """The damped Gauss-Newton step (du, dx)."""
    c = normal.c + _embed(ridge_x)
    if normal.gx.size == 0:
        return -_solve(normal.a + _embed(ridge), normal.g[:, None])[:, 0], normal.gx
    both = jnp.concatenate([jnp.swapaxes(normal.b, -1, -2), normal.gx[..., None]], axis=-1)
    inner = _solve(c, both)  # C^-1 (B^T, g)
    reduced = normal.a + _embed(ridge) - jnp.sum(normal.b @ inner[..., :-1], axis=0)
    g = normal.g - jnp.sum(normal.b @ inner[..., -1:], axis=0)[:, 0]
    du = -_solve(reduced, g[:, None])[:, 0]
    return du, -(inner[..., -1] + inner[..., :-1] @ du)


def reduced_information(normal: Normal) -> Float[Array, "p p"]:
    """A - sum_w B_w C_w^-1 B_w^T: what the data say of u, the states unknown."""
    if normal.gx.size == 0:
        return normal.a
    inner = _solve(normal.c, jnp.swapaxes(normal.b, -1, -2))
    return normal.a - jnp.sum(normal.b @ inner, axis=0)


def inverse(matrix: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """Of a small positive definite matrix."""
    return _solve(matrix, jnp.eye(len(matrix)))


def _solve(matrix, right):
    """Gauss-Jordan, unrolled, on the matrix scaled to a unit diagonal; small, positive definite, and many at once.

    LAPACK is called matrix by matrix and dominates a thousand small problems; this compiles into the loop around it.
    """
    n = matrix.shape[-1]
    diagonal = jnp.diagonal(matrix, axis1=-2, axis2=-1)
    root = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0))
    scaled = matrix / (root[..., :, None] * root[..., None, :])
    if n > 12:
        return jnp.linalg.solve(scaled, right / root[..., None]) / root[..., None]
    rows = jnp.concatenate([scaled, right / root[..., None]], axis=-1)
    for i in range(n):
        pivot = rows[..., i, i]
        row = rows[..., i, :] / jnp.where(jnp.abs(pivot) > 1e-300, pivot, 1e-300)[..., None]
        rows = rows - rows[..., :, i, None] * row[..., None, :]
        rows = rows.at[..., i, :].set(row)
    return rows[..., n:] / root[..., None]


def _diagonal(x):
    return jnp.diagonal(x, axis1=-2, axis2=-1)


def _embed(x):
    return x[..., :, None] * jnp.eye(x.shape[-1])


def _all_finite(tree):
    flags = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(flags))
