"""What a record does in short windows: the level, amplitude, rate and frequency of a swing that decays, and its misfit.

In each window y = c + Re[(A + B u) e^{(-a + i w) u}], u from the window's middle; a few passes move B into a and w.
"""

from typing import Any, NamedTuple

import numpy as np

PER_PERIOD = 32  # readings that a period keeps: more are averaged
WIDE, STEP = 1.25, 0.125  # of a period: a window, and from one to the next
FEWEST = 8  # readings of a window: three more than it has unknowns
PASSES = 4
ABOVE = 20.0  # times the floor of the spectrum, from which on it holds a motion
BACK = 1.5  # periods by which a window's swing is continued backwards
DRIFT = 0.01  # of the amplitude in a period, growing as its square: what a law that is not linear may change
NEIGHBOURS, FAR = 4, 4.0  # readings whose mean, so many standard errors off, is not of that swing
SPIKE = 8.0  # robust deviations from the median of five readings


class Series(NamedTuple):
    """Readings of one run, spikes and missing ones left out, averaged to so many a period."""

    ts: np.ndarray
    y: np.ndarray  # (n, c)


class Local(NamedTuple):
    """One entry a window; NaN where it has too few readings.

    `rms`: of what is left; `spread`: of the amplitude; `back`: how far the readings before the window are from its
    swing, continued: the greatest square of a mean, in standard errors. `onset`: the time from which on,
    up to the window, they are not.
    """

    left: np.ndarray
    right: np.ndarray
    level: np.ndarray  # (windows, c)
    amplitude: np.ndarray
    rate: np.ndarray
    omega: np.ndarray
    rms: np.ndarray
    spread: np.ndarray
    back: np.ndarray
    onset: np.ndarray
    coefficients: np.ndarray  # (windows, 5, c)


def cleaned(ts: np.ndarray, y: np.ndarray) -> Series:
    """Rows without missing readings and without single ones that stand far off their neighbours."""
    known = np.all(np.isfinite(y), axis=1)
    ts, y = ts[known], y[known]
    if len(ts) < 5:
        return Series(ts, y)
    kept = ~np.any(spikes(y), axis=1)
    return Series(ts[kept], y[kept])


def spikes(y: np.ndarray) -> np.ndarray:
    """(n, c): which single readings stand far off their neighbours."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(y, ((2, 2), (0, 0)), mode="edge"), 5, axis=0)
    off = np.abs(y - np.median(around, axis=-1))
    far = off > SPIKE * (1.4826 * np.median(off, axis=0) + 1e-300) + 1e-12 * np.ptp(y, axis=0)
    alone = far & ~(np.roll(far, 1, 0) & np.roll(far, -1, 0))
    return alone & (off > 0.2 * np.std(y, axis=0))


def period(series: Series) -> float | None:
    """The period of the strongest swing, by the power of its speed; None if nothing stands out of the floor."""
    ts, y = series
    n = len(ts)
    even = np.linspace(ts[0], ts[-1], n)
    grid = np.stack([np.interp(even, ts, x) for x in y.T], axis=-1)
    padded = 4 * n
    power = np.sum(np.abs(np.fft.rfft((grid - grid.mean(0)) * np.ones((n, 1)), padded, axis=0)) ** 2, axis=1)
    omega = 2 * np.pi * np.fft.rfftfreq(padded, even[1] - even[0])
    floor = np.median(power[-max(len(power) // 4, 1) :])
    weighed = np.where((power > ABOVE * floor) & (omega > 2 * np.pi * 1.5 / (ts[-1] - ts[0])), power * omega**2, 0.0)
    best = int(np.argmax(weighed))
    return None if weighed[best] == 0 else 2 * np.pi / omega[best]


def averaged(series: Series, most: float) -> Series:
    """Means of so many neighbours that a time `most` holds no more than PER_PERIOD of them."""
    ts, y = series
    m = int(most / PER_PERIOD / max(float(np.median(np.diff(ts))), 1e-300))
    if m < 2:
        return series
    n = len(ts) // m * m
    blocks = ts[:n].reshape(-1, m)
    if not n or np.max(blocks[:, -1] - blocks[:, 0]) > most / 8:  # across gaps no mean is a reading
        return series
    return Series(ts[:n].reshape(-1, m).mean(1), y[:n].reshape(-1, m, y.shape[1]).mean(1))


def fits(series: Series, time: float) -> Local:
    """The local fits of windows that begin every eighth of a period."""
    ts, y = series
    width = WIDE * time
    count = max(int((ts[-1] - ts[0] - width) / (STEP * time)) + 1, 1)
    left = ts[0] + STEP * time * np.arange(count)
    rows, inside = _rows(ts, left, left + width)
    u = (ts[rows] - (left + width / 2)[:, None]) / time
    readings = np.where(inside[..., None], y[rows], 0.0)
    n = inside.sum(1)
    rate, omega = np.zeros(count), np.full(count, 2 * np.pi)  # of one period
    for k in range(PASSES):
        basis = _basis(u, rate, omega) * inside[..., None]
        gram = np.einsum("wmi,wmj->wij", basis, basis)
        gram += (1e-12 * np.trace(gram, axis1=1, axis2=2) + 1e-300)[:, None, None] * np.eye(5)
        inverse = np.linalg.inv(gram)
        found = inverse @ np.einsum("wmi,wmc->wic", basis, readings)
        a, b = found[:, 1] - 1j * found[:, 2], found[:, 3] - 1j * found[:, 4]
        size = np.sqrt(np.sum(np.abs(a) ** 2, axis=1))
        rms = np.sqrt(np.sum((readings - basis @ found) ** 2, axis=(1, 2)) / y.shape[1] / np.maximum(n - 5, 1))
        spread = rms * np.sqrt(inverse[:, 1, 1] + inverse[:, 2, 2])
        if k < PASSES - 1:
            move = np.sum(np.conj(a) * b, axis=1) / np.maximum(size**2, 1e-300)
            move = np.where(size > 5 * spread, move, 0.0)
            rate = np.clip(rate - np.clip(move.real, -2, 2), -3.0, 6.0)
            omega = np.clip(omega + np.clip(move.imag, -1.5, 1.5), np.pi, 3 * np.pi)
    few = n < FEWEST
    back, onset = _behind(series, time, left, (rate, omega, found, inverse, rms))
    names = ("amplitude", "rate", "omega", "rms", "spread", "back", "onset")
    values = (size, rate / time, omega / time, rms, spread, back, onset)
    out: dict[str, Any] = {name: np.where(few, np.nan, x) for name, x in zip(names, values, strict=True)}
    return Local(
        left=left, right=left + width, level=np.where(few[:, None], np.nan, found[:, 0]), coefficients=found, **out
    )


def swing(seen: Local, time: float, i: int, ts: np.ndarray) -> np.ndarray:
    """One window's fit at these times, inside it or not: (n, c)."""
    u = (ts - (seen.left[i] + seen.right[i]) / 2) / time
    return _basis(u[None], seen.rate[i : i + 1] * time, seen.omega[i : i + 1] * time)[0] @ seen.coefficients[i]


def _rows(ts: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of each window, side by side, and which of them are its own."""
    first, stop = np.searchsorted(ts, low), np.searchsorted(ts, high)
    rows = first[:, None] + np.arange(max(int((stop - first).max(initial=1)), 1))
    return np.minimum(rows, len(ts) - 1), rows < stop[:, None]


def _behind(series: Series, time: float, left: np.ndarray, fit: tuple) -> tuple[np.ndarray, np.ndarray]:
    """`back` and `onset` of each window."""
    ts, y = series
    rate, omega, found, inverse, rms = fit
    rows, inside = _rows(ts, left - BACK * time, left)
    u = (ts[rows] - (left + WIDE * time / 2)[:, None]) / time
    basis = _basis(u, rate, omega)
    variance = np.einsum("wmi,wij,wmj->wm", basis, inverse, basis)
    size = np.linalg.norm(found[:, 1:3], axis=(1, 2))
    allowed = DRIFT * size[:, None] * ((left[:, None] - ts[rows]) / time) ** 2
    off = _far(y[rows] - basis @ found, rms, variance, allowed, inside)
    far = off > FAR
    last = far.shape[1] - 1 - np.argmax(far[:, ::-1], axis=1)
    onset = np.where(far.any(1), ts[np.minimum(rows[np.arange(len(rows)), last] + 1, len(ts) - 1)], -np.inf)
    return np.minimum(off.max(1), 1e150) ** 2, onset


def _far(off: np.ndarray, rms: np.ndarray, variance: np.ndarray, allowed: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """How far each reading before a window and its neighbours on the far side are from its swing, in errors."""
    off, kept = np.where(inside[..., None], off, 0.0), inside.astype(float)
    total, count = np.zeros_like(off), np.zeros_like(kept)
    for k in range(min(NEIGHBOURS, off.shape[1])):
        total[:, k:] += off[:, : off.shape[1] - k]
        count[:, k:] += kept[:, : off.shape[1] - k]
    count = np.maximum(count, 1)
    error = np.maximum(rms[:, None] * np.sqrt(variance + 1 / count), 1e-300)
    beyond = np.max(np.abs(total), axis=-1) / count - allowed
    return np.where(inside, np.maximum(beyond, 0) / error, 0.0)


def _basis(u: np.ndarray, rate: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """(windows, readings, 5): a constant, the decaying swing, and its first change."""
    swing = np.exp((-rate[:, None] + 1j * omega[:, None]) * u)
    return np.stack([np.ones_like(u), swing.real, swing.imag, u * swing.real, u * swing.imag], axis=-1)
