"""What every method hands to the report: where it ended, and what each reading says there."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import kalman, predict, spectrum
from .errors import Evidence
from .shooting import Fitted, Record


class Outcome(NamedTuple):
    """u: parameters first, then what the method adds; `extra` names it. record: as it was fitted, in units of its own
    where an input made its steps finer. The first rows of `prediction` are those of the record's runs; what follows
    them fills a window up."""

    u: np.ndarray
    record: Record
    evidence: Evidence
    extra: list[str]
    ended: bool  # the search, and not for want of iterations
    iterations: int
    cost: float
    prediction: Any  # (w, m, c) in the fit's units, or None
    initial: Any  # (runs, 2 d) in the fit's units, or None
    windows: Any
    unknown: np.ndarray  # of which channels the readings' error is, and no coordinate stands for it
    known: bool  # whether the errors of all readings are
    fitted: Any = None  # of least squares: to refit from


_linearise = eqx.filter_jit(predict.linearise)
_filter_score = eqx.filter_jit(kalman.score)
_band_score = eqx.filter_jit(spectrum.score)


def of_least_squares(fitted: Fitted, record: Record, unknown: np.ndarray) -> Outcome:
    """Evidence of a deterministic fit: the states of each run eliminated. `unknown`: of which channels the error is."""
    problem, u = fitted.problem, fitted.u
    r, j = (np.asarray(x) for x in _linearise(jnp.asarray(u), jnp.asarray(fitted.x), problem))
    windows = problem.windows
    read = np.asarray(windows.weight).reshape(r.shape) > 0
    p, channels = len(u), np.asarray(windows.y).shape[-1]
    freedom = max(int(read.sum()) - p - fitted.x.size, 1)
    variance = float(np.sum(r**2)) / freedom if unknown.all() else 1.0
    time = np.repeat(np.asarray(windows.ts), channels, axis=-1)
    channel = np.tile(np.arange(channels), r.shape[1] // channels)
    names = ("residuals", "scores", "roots", "run", "channel", "time", "states")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    for w in range(len(r)):
        keep = read[w]
        ju, jx, rw = j[w, keep, :p], j[w, keep, p:], r[w, keep]
        ju = ju - jx @ np.linalg.lstsq(jx, ju, rcond=None)[0]
        parts = (rw / np.sqrt(variance) if variance > 0 else rw, ju * rw[:, None], ju[:, None], np.full(len(rw), w))
        for name, part in zip(rows, (*parts, channel[keep], time[w, keep], jx), strict=True):
            rows[name].append(part)
    joined = {name: np.concatenate(x) for name, x in rows.items()}
    evidence = Evidence(variance=variance, freedom=freedom, **joined)
    residual = r.reshape(np.asarray(windows.y).shape)
    weight = np.asarray(windows.weight)
    prediction = np.where(weight > 0, np.asarray(windows.y) + residual / np.where(weight > 0, weight, 1.0), np.nan)
    extra = [f"offset[{i}]" for i in range(record.d)] if problem.free_offset else []
    search = fitted.search
    ended = (not bool(search.failed), int(search.iterations), float(search.normal.cost))
    known = not bool(unknown.any())
    return Outcome(u, record, evidence, extra, *ended, prediction, fitted.x, windows, unknown, known, fitted)


def of_filter(search: Any, record: Record, problem: kalman.Filter) -> Outcome:
    """Evidence of a Kalman filter: innovations are independent."""
    (e, log_s), scores, roots = jax.tree.map(np.asarray, _filter_score(search.u, problem))
    windows = problem.windows
    read = np.asarray(windows.weight)[..., : problem.d] > 0
    p = scores.shape[-1]
    run = np.broadcast_to(np.arange(len(e))[:, None, None], e.shape)[read]
    time = np.broadcast_to(np.asarray(windows.ts)[..., None], e.shape)[read]
    channel = np.broadcast_to(np.arange(problem.d), e.shape)[read]
    rows = (e * np.exp(-log_s / 2))[read], scores[read], roots[read], run, channel, time
    freedom = max(int(read.sum()) - p - 2 * problem.d * len(e), 1)
    evidence = Evidence(*rows, variance=1.0, freedom=freedom, states=None)
    prediction = np.where(read, np.asarray(windows.y)[..., : problem.d] - e, np.nan)
    extra = [f"offset[{i}]" for i in range(problem.d)] if problem.free_offset else []
    extra += [f"position_error[{i}]" for i in range(problem.d)] if problem.free_error else []
    ended = (not bool(search.failed), int(search.iterations), float(search.normal.cost))
    u, none = np.asarray(search.u), np.zeros(problem.d, bool)
    return Outcome(u, record, evidence, extra, *ended, prediction, None, windows, none, not problem.free_error)


def of_band(search: Any, record: Record, problem: spectrum.Band) -> Outcome:
    """Evidence of a band of the spectrum: one row for each frequency, the excess of power over its mean."""
    log_s, scores, roots = jax.tree.map(np.asarray, _band_score(search.u, problem))
    excess = np.asarray(problem.power) * np.exp(-log_s) - 1
    n = len(excess)
    rows = excess, scores, roots[:, None], np.zeros(n, int), np.zeros(n, int), np.asarray(problem.omega)
    evidence = Evidence(*rows, variance=1.0, freedom=n - scores.shape[-1], states=None)
    ended = (not bool(search.failed), int(search.iterations), float(search.normal.cost))
    return Outcome(
        np.asarray(search.u),
        record,
        evidence,
        ["floor", "floor slope"],
        *ended,
        None,
        None,
        None,
        np.zeros(1, bool),
        known=False,
    )
