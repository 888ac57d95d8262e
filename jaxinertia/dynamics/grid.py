"""Output times and the equal inner steps between them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _host
from .._checks import check_step, check_unmasked, is_traced, require, unevenness
from .._shown import shown
from . import clock


class Grid(NamedTuple):
    """Rows of `steps` equal steps each; row k starts at starts[k] with the step h[k] (or h, if all are equal).

    `starts` count from `origin`, the first output time, so that they stay fine however late it is. `ts` are the output
    times as they came; `latest` the furthest from 0 and `shortest` the least step: numbers, or traced.

    Row `ends[j]` ends at the output time ts[j + 1]. An even grid has one row per interval; an uneven one shares a
    common block of steps, so that it compiles once, and keeps only the rows that end an interval.
    """

    ts: Float[Array | np.ndarray, " times"]
    origin: Float[Array, ""]
    starts: Float[Array, " rows"]
    h: Float[Array, " rows"] | Float[Array, ""]
    steps: int
    ends: tuple[int, ...] | None  # None: every row ends an interval
    latest: Any
    shortest: Any

    @property
    def rows(self) -> int:
        return self.starts.shape[0]


def plan(ts: Any, dt: Any, substeps: int | None) -> Grid:
    """The grid for output times ts with inner steps of at most dt, or `substeps` steps an interval.

    Raises ValueError for times that do not increase, a dt that is not a positive number, or traced times with dt.
    """
    if substeps is not None:
        return _with_substeps(ts, dt, substeps)
    counts, host = count_steps(ts, dt)
    block = _common_block(counts)
    rows = np.ceil(counts / block).astype(int)
    h = np.diff(host) / (rows * block)
    even = _one_step(host, rows * block)
    inside = np.concatenate([np.arange(r) for r in rows])
    starts = np.repeat(host[:-1] - host[0], rows) + inside * block * np.repeat(h, rows)
    ends = None if len(starts) == len(counts) else tuple((np.cumsum(rows) - 1).tolist())
    step = (host[-1] - host[0]) / float(np.sum(rows) * block) if even else np.repeat(h, rows)
    return _known(ts, host, starts, step, block, ends)


def _known(ts, host, starts, step, block, ends) -> Grid:
    latest, shortest = float(np.max(np.abs(host))), float(np.min(step))
    origin, starts, step = (_host.put(x) for x in (host[0], starts, step))
    return Grid(clock.as_given(ts, host), origin, starts, step, block, ends, latest, shortest)


def count_steps(ts: Any, dt: Any) -> tuple[np.ndarray, np.ndarray]:
    """Steps per interval, n = max(1, ceil(interval / dt (1 - 1e-6))), and the times in host float64."""
    if is_traced(ts):
        raise ValueError("ts is traced (jax.numpy inside jit): use a NumPy array for ts, or substeps= instead of dt=")
    if is_traced(dt):
        raise ValueError("dt is traced: the number of steps must be known; use a Python float, or substeps=")
    host = check_times(ts)
    step = check_step(dt)
    intervals = np.diff(host)
    slack = np.maximum(1e-6 * intervals, _rounding(ts, host))
    with np.errstate(over="ignore"):
        counts = np.maximum(1, np.ceil((intervals - slack) / step))
    _check_count(float(np.sum(counts)), f"ts from {host[0]:g} to {host[-1]:g} and dt = {step:g}", "dt")
    return counts.astype(int), host


MOST_STEPS = 2**31 - 1  # so many fit in the counter of a step


def _check_count(steps: float, what: str, name: str) -> None:
    if not steps <= MOST_STEPS:
        remedy = "larger dt" if name == "dt" else "smaller substeps"
        raise ValueError(
            f"{what} ask for {steps:.3g} steps, more than {MOST_STEPS:.3g}; pass a {remedy}, or a shorter ts"
        )


def check_times(ts: Any) -> np.ndarray:
    """ts as host float64; ValueError unless one-dimensional, finite and increasing.

    Times in float32 that are evenly spaced within their rounding become exactly even.
    """
    check_unmasked("ts", ts)
    try:
        host = np.asarray(ts, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"ts = {shown(ts)} is not an array of times; pass e.g. np.linspace(0, 10, 101)") from error
    if np.asarray(ts).dtype.kind in "mM":
        raise ValueError(
            "ts has dates or spans of time; pass numbers, as seconds: (ts - ts[0]) / np.timedelta64(1, 's')"
        )
    if host.ndim != 1 or host.size < 2:
        raise ValueError(f"ts must be 1-D with the start and at least one later time, got shape {host.shape}")
    if not np.all(np.isfinite(host)):
        raise ValueError(f"ts has a NaN or inf at index {int(np.argmin(np.isfinite(host)))}; remove it")
    falls = np.flatnonzero(np.diff(host) <= 0)
    if falls.size:
        i = int(falls[0])
        raise ValueError(
            f"ts must increase, but ts[{i}] = {host[i]} >= ts[{i + 1}] = {host[i + 1]}; sort it, drop repeats"
        )
    rounding = _rounding(ts, host)
    exact = rounding <= _rounding(host, host)
    return host if exact or unevenness(host) > rounding else np.linspace(host[0], host[-1], len(host))


def _rounding(ts: Any, host: np.ndarray) -> float:
    """How far off a time may be in the precision that it was given in."""
    dtype = np.asarray(ts).dtype
    eps = np.finfo(dtype if dtype == np.float32 else np.float64).eps
    return float(4 * eps * np.abs(host).max())


def _with_substeps(ts, dt, substeps):
    if dt is not None:
        raise ValueError(f"dt = {shown(dt)} and substeps = {shown(substeps)} are both given; pass one of them")
    if isinstance(substeps, bool) or not isinstance(substeps, (int, np.integer)) or substeps < 1:
        raise ValueError(f"substeps = {shown(substeps)} must be a whole number of at least 1: steps in each interval")
    _check_count(
        float(substeps) * max(len(np.shape(ts)) and np.shape(ts)[0] - 1, 1), f"substeps = {substeps}", "substeps"
    )
    if not is_traced(ts):
        host = check_times(ts)
        if _one_step(host, np.full(len(host) - 1, substeps)):
            h = (host[-1] - host[0]) / float((len(host) - 1) * substeps)
            return _known(ts, host, host[:-1] - host[0], h, int(substeps), None)
        return _known(ts, host, host[:-1] - host[0], np.diff(host) / substeps, int(substeps), None)
    if ts.ndim != 1 or ts.shape[0] < 2:
        raise ValueError(f"ts must be 1-D with the start and at least one later time, got shape {ts.shape}")
    ts = require(ts, jnp.all(jnp.diff(ts) > 0), "ts must increase and be finite; sort it, drop repeats")
    h = jnp.diff(ts) / substeps
    return Grid(ts, ts[0], ts[:-1] - ts[0], h, int(substeps), None, jnp.max(jnp.abs(ts)), jnp.min(h))


def _one_step(host: np.ndarray, counts: np.ndarray) -> bool:
    """Whether one step size reaches every output time within the rounding of the times themselves."""
    return bool(np.all(counts == counts[0])) and unevenness(host) <= _rounding(host, host)


_ROW_COST = 4.0  # saving a row costs about as much as a few steps


def _common_block(counts: np.ndarray) -> int:
    """The number of steps a row has: equal counts as they are, else the least total work."""
    if np.all(counts == counts[0]):
        return int(counts[0])
    powers = 2 ** np.arange(int(counts.max()).bit_length())
    candidates = np.unique(np.concatenate([powers, counts[:64]]))
    work = [np.sum(np.ceil(counts / b)) * (b + _ROW_COST) for b in candidates]
    return int(candidates[int(np.argmin(work))])
