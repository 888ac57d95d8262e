"""Intervals that refit: where the cost says stop, and how far resampled residuals scatter."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from scipy.optimize import brentq

from . import search
from .evidence import DOUBT, correlation_length
from .likelihood import Likelihood, Posed
from .normal import Problem
from .parameters import MATRICES, Parameters
from .search import Options

FAR = 1e6  # standard errors squared: all that is farther counts as this
DOUBLINGS = 40  # of the first guess of an end, till the cost has risen enough


def profile(fit: Any, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Where 2 (cost - least cost) = t^2 variance, each value in turn held while all else is refitted; at a bound where
    the cost does not rise so far before it."""
    posed, parameters = fit.posed, fit.parameters
    if any(kind in MATRICES for kind in parameters.kinds):
        raise ValueError("method = 'profile' is for numbers and components, not for matrices; use 'bootstrap'")
    reach = float(stats.t.ppf((1 + level) / 2, fit.freedom))
    spread = np.sqrt(np.diag(fit.covariance_curvature))
    ends = np.empty((2, parameters.size))
    for i, (value, error, limits) in enumerate(zip(fit.flat, spread, parameters.limits, strict=True)):
        guess = error if np.isfinite(error) and error > 0 else 1e-3 * abs(value) + 1e-300
        for side, limit in enumerate(limits):
            rise = _Rise(posed, parameters, i)
            first = float(value + np.sign(limit - value) * reach * guess)
            ends[side, i] = _end(lambda x, rise=rise: rise(x) - reach, float(value), first, limit)
    return ends[0], ends[1]


def _end(excess: Callable, inner: float, outer: float, limit: float) -> float:
    """The root of `excess` between a value and its limit: bracketed by doubling, then found by Brent's method."""
    for _ in range(DOUBLINGS):
        outer = min(outer, limit) if limit > inner else max(outer, limit)
        if excess(outer) >= 0:
            return float(brentq(excess, inner, outer, xtol=1e-3 * abs(outer - inner)))
        if outer == limit:
            return limit
        inner, outer = outer, outer + 2 * (outer - inner)
    return limit


class _Rise:
    """sqrt(2 (cost - least) / variance) with value i held: of a parabola, how many standard errors it is away."""

    def __init__(self, posed: Posed, parameters: Parameters, i: int):
        self.posed, self.parameters, self.i = posed, parameters, i
        self.pinned = _Pinned(_repeated(posed.likelihood, 1), np.asarray([i]))
        self.u, self.x = posed.u.copy(), posed.x
        self.known = {float(parameters.natural(self.u)[i]): 0.0}

    def __call__(self, value: float) -> float:
        if value not in self.known:
            self.u[self.i] = self.parameters.coordinate(self.i, value)
            found = search.run(self.pinned, self.u[None], self.x[None], Options(50)).at(0)
            rise = 2 * (float(found.cost) - self.posed.cost) / self.posed.reading.evidence.variance
            if math.isfinite(rise):  # the next one starts where this one ended
                self.u, self.x = np.array(found.u), np.asarray(found.x)
            self.known[value] = math.sqrt(min(max(rise, 0.0), FAR)) if math.isfinite(rise) else math.sqrt(FAR)
        return self.known[value]


class _Pinned(Problem):
    """A likelihood with one coordinate held."""

    inner: Problem
    i: Any

    def own(self):
        return *self.inner.own(), self.i

    @property
    def readings_of_one(self):
        return self.inner.readings_of_one

    def normal(self, u, x):
        full = self.inner.normal(u, x)
        free = jnp.arange(len(u)) != self.i
        a = jnp.where(free[:, None] & free, full.a, jnp.eye(len(u)))
        return full._replace(g=full.g * free, a=a, b=full.b * free[None, :, None])


def bootstrap(fit: Any, level: float, *, key: Any, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of fits to the prediction plus residuals, in units of their errors, drawn in blocks as long as they
    are correlated, from those of the same component."""
    if key is None:
        raise ValueError("key is None: the bootstrap draws residuals; pass key=jax.random.key(0)")
    if not isinstance(samples, int) or samples < 20:
        raise ValueError(f"samples = {samples!r} must be a whole number of at least 20")
    posed, windows = fit.posed, fit.posed.likelihood.windows
    y, weight, prediction = np.asarray(windows.y), np.asarray(windows.weight), posed.reading.prediction
    read = weight > 0
    scale = np.where(read, weight, 1.0)
    residual = np.where(read, (y - prediction) * scale, 0.0)
    n = int(read.sum())
    evidence = posed.reading.evidence
    block = 1 if fit.diagnostics.whiteness > DOUBT else correlation_length(evidence)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (2,))))
    ys = np.repeat(y[None], samples, 0)
    for one in ys:
        for c in range(y.shape[-1]):
            here = read[..., c]
            pool = residual[..., c][here] * np.sqrt(n / fit.freedom)
            starts = rng.integers(0, len(pool), -(-len(pool) // block))
            drawn = pool[(starts[:, None] + np.arange(block)) % len(pool)].ravel()[: len(pool)]
            one[..., c][here] = prediction[..., c][here] + drawn / scale[..., c][here]
    problem = eqx.tree_at(lambda p: p.windows.y, _repeated(posed.likelihood, samples), ys)
    u, x = (np.repeat(part[None], samples, 0) for part in (posed.u, posed.x))
    found = search.run(problem, u, x, Options(30))
    kept = np.asarray(found.u)[found.ended]
    if len(kept) < samples / 2:
        raise ValueError(f"samples = {samples}: only {len(kept)} could be fitted; use method='profile'")
    with jax.enable_x64(True):
        values = np.asarray(jax.vmap(fit.parameters.natural)(jnp.asarray(kept)))
    return tuple(np.quantile(values, q, axis=0) for q in ((1 - level) / 2, (1 + level) / 2))


def _repeated(likelihood: Likelihood, times: int) -> Likelihood:
    """One record's, as often, with the axis of records."""
    return likelihood.with_own(jax.tree.map(lambda a: np.repeat(np.asarray(a)[None], times, 0), likelihood.own()))
