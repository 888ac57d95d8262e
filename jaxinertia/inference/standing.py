"""Where searches stand, all records side by side: values, errors by the curvature, and what the residuals say."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from . import evidence as errors
from .likelihood import innovations_of_all
from .parameters import Parameters
from .shooting import Ended


class Standing(NamedTuple):
    """values: (r, p). jacobian: (r, p, coordinates). unit: (r, q, q), the inverse of the information, q with offset and
    errors. variance: (r,) of a residual of weight one. lost: (r,), whether noise would be fitted as well."""

    values: np.ndarray
    jacobian: np.ndarray
    unit: np.ndarray
    variance: np.ndarray
    lost: np.ndarray

    def covariance(self, i: int, constant: np.ndarray) -> np.ndarray:
        """Of the values of one record, by the curvature."""
        p = self.jacobian.shape[2]
        return errors.propagated(self.jacobian[i], self.variance[i] * self.unit[i, :p, :p], constant)


def standing(ended: Ended) -> Standing:
    """Of all records of a group."""
    search, likelihood, parameters = ended.search, ended.likelihood, ended.records.parameters
    values, jacobian = (np.asarray(x) for x in natural(search.u[:, : parameters.size], parameters))
    unit = errors.inverse(np.asarray(_information(search.normal)))
    variance = likelihood.variance(search.cost, ended.records.unknown)
    taken = np.sum(likelihood.taken, (1, 2, 3))
    lost = is_lost(likelihood.level, search.cost, variance, taken, search.u.shape[1])
    return Standing(values, jacobian, unit, variance, np.broadcast_to(lost, len(values)))


def is_lost(level: Any, cost: Any, variance: Any, n: Any, p: int) -> Any:
    """Whether noise would be fitted as well; not asked where there is no level."""
    return np.isfinite(level) & ~errors.found(level, cost, variance, n, p)


def whiteness(ended: Ended) -> np.ndarray:
    """Of the residuals of each record."""
    likelihood, search = ended.likelihood, ended.search
    return errors.whiteness_of_all(innovations_of_all(likelihood, search.u, search.x), likelihood.taken)


def misfits(ended: Ended) -> np.ndarray:
    """Of which of the records the residuals are correlated, or the search did not end."""
    return ~np.asarray(ended.search.ended) | ~(whiteness(ended) >= errors.DOUBT)


def corrected(ended: Ended, i: int) -> np.ndarray:
    """The covariance of the coordinates of one of the records, corrected for its residuals' correlation."""
    search = ended.search.at(i)
    reading = ended.likelihood.at(i).read(search.u, search.x, float(search.cost), ended.records.unknown[i])
    return errors.sandwich(reading.evidence, errors.correlation_length(reading.evidence))


@eqx.filter_jit
def natural(u: jax.Array, parameters: Parameters) -> tuple[jax.Array, jax.Array]:
    """Values, and their derivatives by the coordinates."""
    return jax.vmap(parameters.natural)(u), jax.vmap(jax.jacfwd(parameters.natural))(u)


@eqx.filter_jit
def _information(normal: Any) -> jax.Array:
    return jax.vmap(lambda one: one.information())(normal)
