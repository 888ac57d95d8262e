"""Intervals that refit: where the cost says stop, and how far resampled residuals scatter."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from . import search
from .coordinates import MATRICES
from .evidence import DOUBT, correlation_length
from .likelihood import Likelihood
from .profile import Lanes, Walk, ends, fastest
from .search import Options
from .standing import tangents


def profile(fit: Any, level: float, which: np.ndarray) -> np.ndarray:
    """Where 2 (cost - least cost) = t^2 variance, each value of `which` in turn held while all else is refitted; at a
    bound where the cost does not rise so far before it. (2, p), NaN for others."""
    posed, parameters = fit.posed, fit.parameters
    if any(kind in MATRICES for kind in parameters.kinds):
        raise ValueError("method = 'profile' is for numbers and components, not for matrices; use 'bootstrap'")
    reach = float(special.stdtrit(fit.freedom, (1 + level) / 2))
    spread = np.sqrt(np.diag(fit.covariance_curvature))
    widths = np.where(np.isfinite(spread) & (spread > 0), spread, 1e-3 * np.abs(fit.flat) + 1e-300)
    at = np.repeat(np.flatnonzero(which), 2)
    side = np.tile([0, 1], len(at) // 2)
    row = np.zeros(len(at), int)
    lanes = Lanes(row, at, fit.flat[at], parameters.limits[at, side])
    optimum = np.asarray(posed.u)[None], np.asarray(posed.x)[None], np.array([posed.cost])
    variance = np.array([posed.reading.evidence.variance])
    tangent = tangents(posed.reading.evidence.information[None], len(fit.flat))
    likelihood, quick = _repeated(posed.likelihood, 1), fastest(posed.records)
    walk = Walk(likelihood, parameters, lanes, optimum, variance, widths[None], tangent, quick)
    out = np.full((2, len(fit.flat)), np.nan)
    first = lanes.value + np.where(side, reach, -reach) * widths[at]
    out[side, at] = ends(walk, first, np.full(len(at), reach), np.ones(len(at), bool))
    return out


def cannot_refit(fit: Any, method: str | None, level: float) -> str:
    """Why this method cannot, and what can."""
    why = "of a fit that still has its data: fit again" if fit.method == "least squares" else "after least squares"
    if method is None:
        return f"level = {level}: intervals that are not symmetric are refitted, only {why}; 0.95 is kept"
    return f"method = {method!r} refits, which it can only {why}; use 'normal'"


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
