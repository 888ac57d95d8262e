"""Intervals that refit: where the cost says stop, and how far resampled residuals scatter."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from . import shooting, solve
from .errors import curvature
from .predict import Problem, normal
from .result import correlation_length
from .solve import Normal

REFITS = 12


def profile(fit: Any, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Where 2 (cost - least cost) = t^2 variance, each coordinate in turn held while all else is refitted."""
    outcome, parameters, _ = fit.refit
    if any(kind in ("gram", "factor") for kind in parameters.kinds):
        raise ValueError("method = 'profile' is for numbers and components, not for matrices; use 'bootstrap'")
    fitted = outcome.fitted
    reach = float(stats.t.ppf((1 + level) / 2, fit.freedom))
    low, high = np.empty_like(fit.flat), np.empty_like(fit.flat)
    spread = np.sqrt(np.diag(curvature(outcome.evidence)))
    for i in range(parameters.size):
        ends = [_edge(fitted, i, sign * reach, spread[i], outcome.evidence.variance) for sign in (-1, 1)]
        values = [
            float(parameters.natural(jnp.asarray(np.where(np.arange(len(outcome.u)) == i, end, outcome.u)))[i])
            for end in ends
        ]
        low[i], high[i] = min(values), max(values)
    return low, high


def _edge(fitted: shooting.Fitted, i: int, target: float, spread: float, variance: float) -> float:
    """By the secant rule on the signed root of the cost's rise, which is nearly a straight line."""
    least = float(fitted.search.normal.cost)
    u, x = fitted.u.copy(), fitted.x
    at, roots = [float(u[i])], [0.0]
    value = u[i] + target * spread
    for _ in range(REFITS):
        u[i] = value
        search = solve.run(_pinned, solve.start(u, x), (fitted.problem, np.asarray(i)), 50)
        u, x = np.asarray(search.u).copy(), np.asarray(search.x)
        rise = max(2 * (float(search.normal.cost) - least) / variance, 0.0)
        at, roots = [*at, value], [*roots, np.sign(target) * np.sqrt(rise)]
        if abs(roots[-1] - target) < 1e-3 * abs(target):
            return value
        slope = (roots[-1] - roots[-2]) / (at[-1] - at[-2])
        value = at[-1] + np.clip(
            (target - roots[-1]) / slope if slope > 0 else target * spread,
            -3 * abs(target) * spread,
            3 * abs(target) * spread,
        )
    return value


def _pinned(u: Any, x: Any, args: tuple[Problem, Any]) -> Normal:
    """The normal equations with one coordinate held."""
    problem, i = args
    full = normal(u, x, problem)
    free = jnp.arange(len(u)) != i
    a = jnp.where(free[:, None] & free, full.a, jnp.eye(len(u)))
    return full._replace(g=full.g * free, a=a, b=full.b * free[None, :, None])


def bootstrap(fit: Any, level: float, *, key: Any, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Percentiles of fits to the prediction plus residuals drawn in blocks as long as they are correlated."""
    if key is None:
        raise ValueError("key is None: the bootstrap draws residuals; pass key=jax.random.key(0)")
    if not isinstance(samples, int) or samples < 20:
        raise ValueError(f"samples = {samples!r} must be a whole number of at least 20")
    outcome, parameters, _ = fit.refit
    fitted = outcome.fitted
    windows = fitted.problem.windows
    weight = np.asarray(windows.weight)
    read = weight > 0
    residual = np.where(read, np.asarray(windows.y) - outcome.prediction, 0.0)
    n = int(read.sum())
    block = 1 if fit.diagnostics.whiteness > 1e-3 else correlation_length(outcome.evidence)
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (2,))))
    pool = residual[read] * np.sqrt(n / fit.freedom)
    ys = np.repeat(np.asarray(windows.y)[None], samples, 0)
    for y in ys:
        starts = rng.integers(0, n, -(-n // block))
        drawn = pool[(starts[:, None] + np.arange(block)) % n].ravel()[:n]
        y[read] = outcome.prediction[read] + drawn
    u, x = jnp.asarray(outcome.u), jnp.asarray(fitted.x)
    search = jax.vmap(lambda _: solve.start(u, x))(jnp.arange(samples))
    for _ in range(30):
        if bool(np.all(search.done)):
            break
        search = _iterate_all(search, jnp.asarray(ys), fitted.problem)
    kept = np.asarray(search.u)[~np.asarray(search.failed)]
    values = np.asarray(jax.vmap(parameters.natural)(jnp.asarray(kept)))
    return tuple(np.quantile(values, q, axis=0) for q in ((1 - level) / 2, (1 + level) / 2))


@eqx.filter_jit
def _iterate_all(search: Any, ys: Any, problem: Problem) -> Any:
    def one(search, y):
        changed = eqx.tree_at(lambda p: p.windows.y, problem, y)
        return solve.iterate(normal, search, changed)

    return jax.vmap(one)(search, ys)
