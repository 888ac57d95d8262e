r"""The equations of one step: parameters u that all windows share, and states x_w that each has for itself: an arrow.

    H = [A, B; B^T, C],   A for u, C_w for x_w, B_w between.

Eliminating the states, H (du, dx) = (g, g_w) is

    (A - sum_w B_w C_w^-1 B_w^T) du = g - sum_w B_w C_w^-1 g_w,   dx_w = C_w^-1 (g_w - B_w^T du),

and costs as much as the windows are many, whether there is one or there are thousands.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _tree


class Step(NamedTuple):
    """Of parameters and states."""

    u: Float[Array, " p"]
    x: Float[Array, "w k"]


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

    def diagonal(self) -> Step:
        """Of H."""
        return Step(jnp.diagonal(self.a), jnp.diagonal(self.c, axis1=-2, axis2=-1))

    def damped(self, damping: Step) -> Step:
        """-(H + D)^-1 gradient, for a diagonal D."""
        a, c = self.a + _embed(damping.u), self.c + _embed(damping.x)
        if self.gx.size == 0:
            return Step(-solve(a, self.g[:, None])[:, 0], self.gx)
        both = jnp.concatenate([jnp.swapaxes(self.b, -1, -2), self.gx[..., None]], axis=-1)
        inner = solve(c, both)  # C^-1 (B^T, g)
        across = jnp.sum(self.b @ inner, axis=0)
        u = -solve(a - across[:, :-1], (self.g - across[:, -1])[:, None])[:, 0]
        return Step(u, -inner[..., -1] - inner[..., :-1] @ u)

    def reduction(self, step: Step) -> Float[Array, ""]:
        """By how much the parabola of these equations falls over a step: -(g s + s H s / 2)."""
        u, x = step
        along = self.a @ u + 2 * jnp.sum(self.b * x[:, None, :], axis=(0, 2))
        own = jnp.sum(x * (self.gx + jnp.sum(self.c * x[:, None, :], axis=2) / 2))
        return -(self.g @ u + u @ along / 2 + own)

    def information(self) -> np.ndarray:
        """A - sum_w B_w C_w^-1 B_w^T, of one record or of many: what the data say of u, the states unknown."""
        a, b, c = (np.asarray(x) for x in (self.a, self.b, self.c))
        if self.gx.size == 0:
            return a
        with np.errstate(all="ignore"):
            return a - np.sum(b @ solve(c, np.swapaxes(b, -1, -2), np), axis=-3)


def without_states(
    cost: Float[Array, ""], unit: Float[Array, ""], g: Float[Array, " p"], a: Float[Array, "p p"]
) -> Normal:
    """The equations of parameters alone."""
    p = len(g)
    return Normal(cost, unit, g, a, jnp.zeros((0, 1)), jnp.zeros((0, p, 1)), jnp.zeros((0, 1, 1)))


class Problem(ABC):
    """What a search needs: of one record, or with a leading axis of records in `own`."""

    @abstractmethod
    def own(self) -> Any:
        """What belongs to a record; the rest is shared by all records of a kind."""

    @abstractmethod
    def normal(self, u: Float[Array, " p"], x: Float[Array, "w k"]) -> Normal:
        """The cost of one record, with its normal equations."""

    @property
    @abstractmethod
    def readings_of_one(self) -> int:
        """Rows of a record, whose work goes with them."""

    def of_all(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """fn(problem, *numbers) of one record as a function of the numbers of all, with their axis; a single one does
        without it inside, which costs whoever traces and compiles it."""
        if len(jax.tree.leaves(self.own())[0]) == 1:
            alone = self.with_own(jax.tree.map(lambda x: x[0], self.own()))

            def of_one(*each):
                out = fn(alone, *jax.tree.map(lambda x: x[0], each))
                return jax.tree.map(lambda x: x[None], out)

            return of_one
        nowhere, own = jax.tree.map(lambda _: None, self), jax.tree.map(lambda _: 0, self.own())
        axes = eqx.tree_at(lambda p: p.own(), nowhere, own, is_leaf=lambda x: x is None)
        return lambda *each: eqx.filter_vmap(fn, in_axes=(axes, *([0] * len(each))))(self, *each)

    def at(self, rows: Any) -> Any:
        """Of some of the records, of neighbours without a copy; or of one, without its axis."""
        if np.ndim(rows) == 1 and len(rows) and np.all(np.diff(rows) == 1):
            rows = slice(rows[0], rows[-1] + 1)
        return self.with_own(jax.tree.map(lambda x: np.asarray(x)[rows], self.own()))

    def with_own(self, own: Any) -> Any:
        """Of other records."""
        return eqx.tree_at(lambda p: p.own(), self, own, is_leaf=lambda x: x is None)


@_tree.plain
class Held(Problem):
    """A problem with some of its coordinates held where they are: `free` (p,) tells the others."""

    inner: Problem
    free: Any

    def own(self):
        return *self.inner.own(), self.free

    @property
    def readings_of_one(self):
        return self.inner.readings_of_one

    def normal(self, u, x):
        full, free = self.inner.normal(u, x), self.free
        a = jnp.where(free[:, None] & free, full.a, jnp.eye(len(u)))
        return full._replace(g=full.g * free, a=a, b=full.b * free[None, :, None])


def solve(matrix: Any, right: Any, xp: ModuleType = jnp) -> Any:
    """Of matrices (..., n, n) and (..., n, r): Gauss-Jordan, unrolled, on the matrix scaled to a unit diagonal; small,
    positive definite, and many at once.

    LAPACK is called matrix by matrix and dominates a thousand small problems; this compiles into the loop around it.
    """
    n = matrix.shape[-1]
    diagonal = xp.diagonal(matrix, axis1=-2, axis2=-1)
    root = xp.sqrt(xp.where(diagonal > 0, diagonal, 1.0))
    scaled = matrix / (root[..., :, None] * root[..., None, :])
    if n > 12:
        return xp.linalg.solve(scaled, right / root[..., None]) / root[..., None]
    rows = xp.concatenate([scaled, right / root[..., None]], axis=-1)
    for i in range(n):
        pivot = rows[..., i, i]
        row = rows[..., i, :] / xp.where(xp.abs(pivot) > 1e-300, pivot, 1e-300)[..., None]
        others = rows - rows[..., :, i, None] * row[..., None, :]
        rows = xp.where((np.arange(n) == i)[:, None], row[..., None, :], others)
    return rows[..., n:] / root[..., None]


def _embed(x: Float[Array, "*many n"]) -> Float[Array, "*many n n"]:
    return x[..., :, None] * np.eye(x.shape[-1])
