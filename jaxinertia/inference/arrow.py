r"""The information of parameters u that all windows share and states x_w that each has for itself: an arrow.

    H = [A, B; B^T, C],   A for u, C_w for x_w, B_w between.

Eliminating the states, H (du, dx) = (g, g_w) is

    (A - sum_w B_w C_w^-1 B_w^T) du = g - sum_w B_w C_w^-1 g_w,   dx_w = C_w^-1 (g_w - B_w^T du),

and costs as much as the windows are many, whether there is one or there are thousands.
"""

from typing import Any

import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Float


class Arrow(lineax.AbstractLinearOperator):
    """H, on pairs (u, x). A sum with a diagonal operator, such as a damping, is an arrow again."""

    a: Float[Array, "p p"]
    b: Float[Array, "w p k"]
    c: Float[Array, "w k k"]

    def mv(self, vector: Any) -> Any:
        u, x = vector
        along = self.a @ u + jnp.sum(self.b * x[:, None, :], axis=(0, 2))
        return along, jnp.sum(self.b * u[:, None], axis=1) + jnp.sum(self.c * x[:, None, :], axis=2)

    def __add__(self, other: lineax.AbstractLinearOperator) -> "Arrow":
        p, (w, k, _) = len(self.a), self.c.shape
        along = lineax.diagonal(other)
        return Arrow(self.a + jnp.diag(along[:p]), self.b, self.c + _embed(along[p:].reshape(w, k)))

    def scaled(self, s: Float[Array, " p"], sx: Float[Array, "w k"]) -> "Arrow":
        """S H S for a diagonal S."""
        a = self.a * s[:, None] * s
        return Arrow(a, self.b * s[:, None] * sx[:, None, :], self.c * sx[:, :, None] * sx[:, None, :])

    def as_matrix(self) -> Float[Array, "n n"]:
        return lineax.FunctionLinearOperator(self.mv, self.in_structure()).as_matrix()

    def transpose(self) -> "Arrow":
        return self

    def in_structure(self) -> Any:
        (p, _), (w, k, _) = self.a.shape, self.c.shape
        return jax.ShapeDtypeStruct((p,), self.a.dtype), jax.ShapeDtypeStruct((w, k), self.c.dtype)

    def out_structure(self) -> Any:
        return self.in_structure()


@lineax.is_symmetric.register
def _(_: Arrow) -> bool:
    return True


@lineax.is_positive_semidefinite.register
def _(_: Arrow) -> bool:
    return False  # it is, but a tag would hide from `Elimination` what it solves


class Elimination(lineax.AbstractLinearSolver):
    """Solves an `Arrow` by eliminating the states."""

    def init(self, operator: Arrow, options: dict[str, Any]) -> Arrow:
        del options
        return operator

    def compute(self, state: Arrow, vector: Any, options: dict[str, Any]) -> tuple[Any, lineax.RESULTS, dict]:
        g, gx = vector
        if gx.size == 0:
            return (solve(state.a, g[:, None])[:, 0], gx), lineax.RESULTS.successful, {}
        both = jnp.concatenate([jnp.swapaxes(state.b, -1, -2), gx[..., None]], axis=-1)
        inner = solve(state.c, both)  # C^-1 (B^T, g)
        reduced = state.a - jnp.sum(state.b @ inner[..., :-1], axis=0)
        u = solve(reduced, (g - jnp.sum(state.b @ inner[..., -1:], axis=0)[:, 0])[:, None])[:, 0]
        return (u, inner[..., -1] - inner[..., :-1] @ u), lineax.RESULTS.successful, {}

    def transpose(self, state: Arrow, options: dict[str, Any]) -> tuple[Arrow, dict[str, Any]]:
        return state, options

    def conj(self, state: Arrow, options: dict[str, Any]) -> tuple[Arrow, dict[str, Any]]:
        return state, options

    def assume_full_rank(self) -> bool:
        return True


def reduced_information(information: Arrow) -> Float[Array, "p p"]:
    """A - sum_w B_w C_w^-1 B_w^T: what the data say of u, the states unknown."""
    if information.c.size == 0:
        return information.a
    inner = solve(information.c, jnp.swapaxes(information.b, -1, -2))
    return information.a - jnp.sum(information.b @ inner, axis=0)


def solve(matrix: Float[Array, "*many n n"], right: Float[Array, "*many n r"]) -> Float[Array, "*many n r"]:
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


def _embed(x: Float[Array, "*many n"]) -> Float[Array, "*many n n"]:
    return x[..., :, None] * jnp.eye(x.shape[-1])
