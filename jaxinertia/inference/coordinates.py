"""The unbounded coordinates u in which a fit changes a leaf theta, by the kind of leaf.

Above a bound theta = low + e^u, below one high - e^u, between two low + (high - low) / (1 + e^-u); a friction or noise
matrix is theta = R R^T, or R itself, with R lower triangular and log R_ii among the u; a skew one is theta = R - R^T,
R strictly lower triangular.
"""

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

REAL, ABOVE, BELOW, BETWEEN = "real", "above", "below", "between"
GRAM, FACTOR, SKEW = "gram", "factor", "skew"
MATRICES = (GRAM, FACTOR, SKEW)


def count(kind, shape):
    if kind == SKEW:
        return shape[0] * (shape[0] - 1) // 2
    return shape[0] * (shape[0] + 1) // 2 if kind in (GRAM, FACTOR) else int(np.prod(shape))


def decode(kind, u, shape, low, high):
    if kind == SKEW:
        lower = jnp.zeros(shape, u.dtype).at[np.tril_indices(shape[0], -1)].set(u)
        return lower - lower.T
    if kind in (GRAM, FACTOR):
        i, j = np.tril_indices(shape[0])
        factor = jnp.zeros(shape, u.dtype).at[i, j].set(jnp.where(i == j, jnp.exp(u), u))
        return factor @ factor.T if kind == GRAM else factor
    return number(kind, u.reshape(shape), low, high)


def number(kind: str, u: Any, low: Any, high: Any, xp: ModuleType = jnp) -> Any:
    if kind == ABOVE:
        return low + xp.exp(u)
    if kind == BELOW:
        return high - xp.exp(u)
    if kind == BETWEEN:
        return low + (high - low) * (expit(u) if xp is np else jax.nn.sigmoid(u))
    return u


def number_slope(kind: str, u: np.ndarray, low: Any, high: Any) -> Any:
    """The derivative of `number`, in NumPy."""
    if kind in (ABOVE, BELOW):
        return np.exp(u) if kind == ABOVE else -np.exp(u)
    return (high - low) * expit(u) * expit(-u) if kind == BETWEEN else np.ones_like(u)


def encode(kind, value, low, high):
    """The coordinates of a value, at a distance from the bounds where it lies on or beyond them."""
    if kind == SKEW:
        return value[np.tril_indices(len(value), -1)]
    if kind in (GRAM, FACTOR):
        size = max(float(np.abs(value).max()), 1e-300)
        gram = value if kind == GRAM else value @ value.T
        factor = np.linalg.cholesky(gram + 1e-6 * (size if kind == GRAM else size**2) * np.eye(len(value)))
        i, j = np.tril_indices(len(value))
        entries = factor[i, j]
        return np.where(i == j, np.log(np.where(i == j, np.abs(entries), 1.0)), entries)
    value = np.ravel(value)
    if kind == REAL:
        return value
    if kind == ABOVE:
        return np.log(np.maximum(value - low, _inside(value, low)))
    if kind == BELOW:
        return np.log(np.maximum(high - value, _inside(value, high)))
    return logit((value - low) / (high - low))


def logit(part):
    part = np.clip(part, 1e-3, 1 - 1e-3)
    return np.log(part / (1 - part))


def _inside(value, bound):
    return 1e-12 * (np.abs(value) + np.abs(bound)) + 1e-300
