r"""Fluctuations of the inertia (the paper's IV-B): how large they are, and when they change.

In the stationary state of a quadratic potential with d degrees of freedom at temperature T, E[I] = d T and
Var[I] = d T^2. So the variance of I along a run measures the temperature without a model of the friction, and a change
of it tells that the temperature, or the regime, has changed.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from .._names import offered
from .._shown import shown
from .._types import ArrayLike

__all__ = ["Alarm", "detect", "rolling_variance", "temperature"]


def __dir__() -> list[str]:
    return offered(globals())


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
    r"""T^2 = Var[I] / d over each window: for d quadratic degrees of freedom in the stationary state.

    T = sqrt(s^2 (n - 1) / ((n - g) d)) (1 + v / 8),  g = sum (1 - |k|/n) rho_k,  v = sum (2 rho_k^2 + 6 rho_k / d) / n.

    Times that follow each other are correlated, by rho_k at a distance of k times. So a window's own mean takes
    part of the variance with it (g), and the root of a scattered variance is low in the mean (v, for the energies of d
    thermal oscillators). Both are put right to first order in g / window, with rho measured within the windows: at a
    window of 36 g the mean would be 3.2 % low, and is right to 0.3 %.

    Arguments:
        inertia: as for `rolling_variance`.
        window: n, at least 20 g: how many times.
        degrees: d, how many quadratic degrees of freedom I is the energy of: an integer.

    Returns:
        Shape (..., times - window + 1), in units of energy. One window scatters by sqrt(v) / 2 of T.

    Raises:
        ValueError: as `rolling_variance`, for degrees < 1, or for a window shorter than 20 g.

    Example:
        >>> ji.fluctuations.temperature(traj.inertia, 500, degrees=1)

    Source: T. W. Anderson, The Statistical Analysis of Time Series, 1971, section 8.3; U. Wolff, Comput. Phys.
    Commun. 156, 143 (2004).
    """
    degrees = _whole("degrees", degrees, 1)
    variance = rolling_variance(inertia, window)
    values = _series(inertia)
    rows = values.reshape(-1, values.shape[-1])
    g, squares = np.array([_correlation(row, window) for row in rows]).T.reshape(2, *values.shape[:-1], 1)
    if (longest := g.max()) > window / LEAST:
        raise ValueError(
            f"window = {window} is too short: I is correlated over {longest:.3g} times, so that its variance there is "
            f"too small; pass at least {LEAST} times as many, {int(np.ceil(LEAST * longest))}, or save I more rarely"
        )
    scatter = (2 * squares + 6 * g / degrees) / window
    return np.sqrt(variance * (window - 1) / (window - g) / degrees) * (1 + scatter / 8)


LEAST = 20  # windows are at least so many times as long as I is correlated


def _correlation(values: np.ndarray, window: int) -> tuple[float, float]:
    """g and the sum of rho_k^2 of one series, from its windows side by side: (1, 1) if no two times are correlated.

    The sum stops at the first lag beyond 3 g (Wolff's rule: noise adds up beyond, and little is left). Each window's
    own mean lowers all rho_k by g / n, which is put back.
    """
    rows = values[: len(values) // window * window].reshape(-1, window)
    rows = rows - rows.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(rows, 2 * window)) ** 2
    products = np.fft.irfft(power)[:, :window]  # (1 - k/n) rho_k, times the variance
    products = products[products[:, 0] > 0]
    if not len(products):
        return 1.0, 1.0
    rho = (products / products[:, :1]).mean(0)
    sums = 2 * np.cumsum(rho) - 1
    lags = np.arange(window)
    beyond = np.flatnonzero(lags > 3 * np.maximum(sums, 1))
    last = int(beyond[0]) if len(beyond) else window - 1
    lost = (2 * last + 1 - sums[last]) / window  # of the sum, as a share of g
    g = max(sums[last] / (1 - lost), 1.0) if lost < 1 else float(window)
    return g, float(2 * np.sum(rho[: last + 1] ** 2) - 1)


class Alarm(NamedTuple):
    """Where `detect` saw the fluctuations of I change, if it did; a named tuple.

    Attributes:
        found: the end of the first window whose score passes the threshold (I[:found] were seen by then), or None.
        ends: the end of every window judged, shape (windows,).
        scores: how far the log variance of each lies from those of the reference, in their standard deviations, shape
            (windows,); positive for larger fluctuations.
    """

    found: int | None
    ends: Float[np.ndarray | Array, " windows"] | np.ndarray
    scores: Float[np.ndarray | Array, " windows"]


def detect(inertia: ArrayLike, window: int, reference: int, threshold: float = 6.0) -> Alarm:
    r"""When do the fluctuations of I change? Non-overlapping windows against those of a quiet reference.

    score = (log V - m) / (s sqrt(1 + 1/k)), where m and s are the mean and standard deviation of the log variances of
    the reference's k windows. Where windows are long against the correlation time of I, the score of an unchanged run
    follows Student's law of k - 1 degrees of freedom: at k = 40 it passes 6 once in two million windows.

    What it sees: a change of temperature from T to T' makes scores around 2 log(T'/T) / s, and s falls as
    1/sqrt(window). An oscillator with q'' + q' + q = noise, windows of 200 time units (s = .27) and k = 40:

        T'/T                           1.5    2 or 1/2    3 or 1/3
        threshold 6, in one window      1 %        21 %        94 %
                     in ten             6 %        73 %       100 %
        threshold 4, in one window     17 %        82 %       100 %
                     in ten            72 %       100 %       100 %

    At the threshold 4, four of a thousand quiet stretches of ten windows raise the alarm.

    Arguments:
        inertia: I at equal times, shape (times,).
        window: how many of the times make one variance.
        reference: how many windows at the start are quiet, at least three.
        threshold: the score that raises the alarm, in either direction: a positive number, dimensionless.

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
        raise ValueError(f"threshold = {shown(threshold)} must be positive: standard deviations of the reference")
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
        raise ValueError(f"{name} = {shown(value)} must be a whole number of at least {least}")
    return int(value)
