r"""Fluctuations of the inertia (the paper's IV-B): how large they are, and when they change.

In the stationary state of a quadratic potential with d degrees of freedom at temperature T, E[I] = d T and
Var[I] = d T^2. So the variance of I along a run measures the temperature without a model of the friction, and a change
of it tells that the temperature, or the regime, has changed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from .._types import ArrayLike


def rolling_variance(inertia: ArrayLike, window: int) -> Float[np.ndarray, "..."]:
    """The variance (ddof 1) of I over each `window` successive times, along the last axis.

    Arguments:
        inertia: I at equal times, shape (..., times).
        window: how many times, at least two; many correlation times of I, or the variance is too small.

    Returns:
        Shape (..., times - window + 1): entry k is that of I[k : k + window].

    Raises:
        ValueError: if the window does not fit.

    Example:
        >>> ji.fluctuations.rolling_variance(traj.inertia, 500)
    """
    values = _series(inertia)
    window = _whole("window", window, 2)
    if window > values.shape[-1]:
        raise ValueError(f"window = {window} is longer than the {values.shape[-1]} times of inertia; shorten it")
    return np.lib.stride_tricks.sliding_window_view(values, window, axis=-1).var(axis=-1, ddof=1)


def temperature(inertia: ArrayLike, window: int, degrees: int) -> Float[np.ndarray, "..."]:
    """T = sqrt(Var[I] / d) over each window: exact for d quadratic degrees of freedom in the stationary state.

    Arguments:
        inertia, window: as for `rolling_variance`; degrees: d.

    Returns:
        Shape (..., times - window + 1), in units of energy.

    Raises:
        ValueError: as `rolling_variance`, or for degrees < 1.

    Example:
        >>> ji.fluctuations.temperature(traj.inertia, 500, degrees=1)
    """
    return np.sqrt(rolling_variance(inertia, window) / _whole("degrees", degrees, 1))


class Alarm(NamedTuple):
    """What `detect` found.

    found: the end of the first window whose score passes the threshold (I[:found] were seen by then), or None.
    ends: the end of every window judged, and scores: how far its log variance lies from those of the reference, in
    their standard deviations; positive for larger fluctuations.
    """

    found: int | None
    ends: Float[np.ndarray | Array, " windows"] | np.ndarray
    scores: Float[np.ndarray | Array, " windows"]


def detect(inertia: ArrayLike, window: int, reference: int, threshold: float = 6.0) -> Alarm:
    r"""When do the fluctuations of I change? Non-overlapping windows against those of a quiet reference.

    score = (log V - m) / (s sqrt(1 + 1/k)), where m and s are the mean and standard deviation of the log variances of
    the reference's k windows. Where windows are long against the correlation time of I, the score of an unchanged run
    follows Student's law of k - 1 degrees of freedom: at k = 40 it passes 6 once in two million windows.

    Arguments:
        inertia: I at equal times, shape (times,).
        window: how many times make one variance.
        reference: how many windows at the start are quiet, at least three.
        threshold: the score that raises the alarm, in either direction.

    Returns:
        An `Alarm`.

    Raises:
        ValueError: if there are no windows after the reference, or a variance there is zero.

    Example:
        >>> alarm = ji.fluctuations.detect(traj.inertia, window=400, reference=40)
        >>> alarm.found is None or traj.ts[alarm.found - 1]

    Source: the paper's IV-B, made a test; Student, Biometrika 6, 1 (1908).
    """
    values = _series(inertia)
    window, reference = _whole("window", window, 2), _whole("reference", reference, 3)
    if values.ndim != 1 or len(values) < (reference + 1) * window:
        raise ValueError(
            f"inertia has shape {values.shape}; detect needs one series of at least {(reference + 1) * window} times: "
            f"{reference} windows of {window} as the reference, and one more"
        )
    if not threshold > 0:
        raise ValueError(f"threshold = {threshold!r} must be positive: standard deviations of the reference")
    count = len(values) // window
    variances = values[: count * window].reshape(count, window).var(axis=1, ddof=1)
    if np.any(variances == 0):
        raise ValueError("inertia does not change within a window; take longer windows, or a system with noise")
    logs = np.log(variances)
    quiet, later = logs[:reference], logs[reference:]
    scores = (later - quiet.mean()) / (quiet.std(ddof=1) * np.sqrt(1 + 1 / reference))
    ends = window * np.arange(reference + 1, count + 1)
    passed = np.flatnonzero(np.abs(scores) > threshold)
    return Alarm(int(ends[passed[0]]) if len(passed) else None, ends, scores)


def _series(inertia: ArrayLike) -> np.ndarray:
    values = np.asarray(inertia, float)
    if values.ndim == 0 or not np.all(np.isfinite(values)):
        raise ValueError(f"inertia must be a series of finite numbers, got shape {values.shape}; drop NaN rows")
    return values


def _whole(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} = {value!r} must be a whole number of at least {least}")
    return int(value)
