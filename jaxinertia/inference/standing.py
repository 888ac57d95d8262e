"""Where searches stand, all records side by side: values, errors by the curvature, and what the residuals say."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from . import evidence as errors
from .compiled import Compiled
from .coordinates import MATRICES
from .parameters import Parameters
from .shooting import LEAST_SQUARES, Ended

RIDGE = 1e-12  # on a unit diagonal: what the others do not tell, goes nowhere


@dataclass(frozen=True)
class Standing:
    """Of the records of a group, what is asked for, once."""

    ended: Ended

    @property
    def parameters(self) -> Parameters:
        """Of all."""
        return self.ended.records.parameters

    @cached_property
    def natural(self) -> tuple[np.ndarray, np.ndarray]:
        """Values (r, p), and their derivatives (r, p, coordinates)."""
        return natural(self.ended.search.u[:, : self.parameters.size], self.parameters)

    @property
    def values(self) -> np.ndarray:
        """(r, p)."""
        return self.natural[0]

    @cached_property
    def variance(self) -> np.ndarray:
        """(r,), of a residual of weight one."""
        return self.ended.likelihood.variance(self.ended.search.normal, self.ended.records.unknown)

    @cached_property
    def information(self) -> np.ndarray:
        """(r, coordinates, coordinates), the states unknown."""
        return self.ended.search.normal.information()

    @cached_property
    def covariance(self) -> np.ndarray:
        """(r, p, p), by the curvature."""
        jacobian, p, constant = self.natural[1], self.parameters.size, self.parameters.constant
        in_u = self.variance[:, None, None] * errors.inverse(self.information)[:, :p, :p]
        # All of them known, and every value moved by one: nothing is infinite.
        known = np.isfinite(np.diagonal(in_u, axis1=1, axis2=2)).all(1) & (jacobian != 0).any(2).all(1)
        out = jacobian @ np.where(known[:, None, None], in_u, 0.0) @ np.swapaxes(jacobian, 1, 2)
        for i in np.flatnonzero(~known).tolist():
            out[i] = errors.propagated(jacobian[i], in_u[i], constant)
        return out

    @cached_property
    def error(self) -> np.ndarray:
        """(r, p), by the curvature."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def tangent(self) -> np.ndarray:
        """(r, p, coordinates): how all go along, refitted, as one of the first p is moved by one."""
        return tangents(self.information, self.parameters.size)

    @cached_property
    def lost(self) -> np.ndarray:
        """(r,): whether noise would be fitted as well."""
        search, likelihood = self.ended.search, self.ended.likelihood
        taken = np.sum(likelihood.taken, (1, 2, 3))
        lost = is_lost(likelihood.level, search.cost, self.variance, taken, search.u.shape[1])
        return np.broadcast_to(lost, len(search.u))

    @cached_property
    def innovations(self) -> np.ndarray:
        """(r, w, m, c), the residuals."""
        likelihood, search = self.ended.likelihood, self.ended.search
        return likelihood.all_innovations(search.u, search.x)

    @cached_property
    def whiteness(self) -> np.ndarray:
        """(r,), of the residuals."""
        return errors.whiteness_of_all(self.innovations, self.ended.likelihood.taken)

    @property
    def independent(self) -> np.ndarray:
        """(r,): whether the residuals are white."""
        return self.whiteness > errors.DOUBT

    @cached_property
    def alike(self) -> np.ndarray:
        """(r,): whether the residuals of least squares scatter alike all along the runs, as the curvature takes it."""
        if self.ended.method != LEAST_SQUARES:
            return np.ones(len(self.ended.rows), bool)
        return errors.steadiness_of_all(self.innovations, np.asarray(self.ended.likelihood.taken)) > errors.DOUBT

    @property
    def misfits(self) -> np.ndarray:
        """(r,): whether the residuals are correlated, or the search did not end."""
        return ~np.asarray(self.ended.search.ended) | ~(self.whiteness >= errors.DOUBT)

    def corrected(self, i: int) -> np.ndarray:
        """The covariance of the values of one of the records, corrected for what its residuals are."""
        search, p = self.ended.search.at(i), self.parameters.size
        unknown = self.ended.records.unknown[i]
        found = self.ended.likelihood.at(i).read(search.u, search.x, search.normal, unknown).evidence
        in_u = errors.corrected(found, bool(self.independent[i]))[:p, :p]
        return errors.propagated(self.natural[1][i], in_u, self.parameters.constant)


def tangents(information: np.ndarray, p: int) -> np.ndarray:
    """Of each of the first p coordinates, held: -H_oo^-1 H_oi of the others, and 1."""
    h = np.where(np.isfinite(information), information, 0.0)
    root = np.sqrt(np.maximum(np.diagonal(h, axis1=1, axis2=2), 1e-300))
    scaled, q = h / root[:, :, None] / root[:, None, :], h.shape[1]
    out = np.zeros((len(h), p, q))
    for i in range(p):
        others = np.arange(q) != i
        inner = scaled[:, others][:, :, others] + RIDGE * np.eye(q - 1)
        out[:, i, others] = -np.linalg.solve(inner, scaled[:, others, i, None])[..., 0]
        out[:, i, i] = 1.0
    return out / root[:, None, :] * root[:, :p, None]


def is_lost(level: Any, cost: Any, variance: Any, n: Any, p: int) -> Any:
    """Whether noise would be fitted as well; not asked where there is no level."""
    return np.isfinite(level) & ~errors.found(level, cost, variance, n, p)


def natural(u: Any, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """Values of rows of coordinates, and their derivatives by them."""
    if not any(kind in MATRICES for kind in parameters.kinds):
        return parameters.natural_of_rows(np.asarray(u))
    with jax.enable_x64(True):
        values, jacobian = _natural(u, parameters)
        return np.asarray(values), np.asarray(jacobian)


@Compiled
def _natural(u: jax.Array, parameters: Parameters) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(parameters.natural)(u), jax.vmap(jax.jacfwd(parameters.natural))(u)
