"""Records as spectral matrices: transforms of the runs, bands around what stands out, groups of frequencies.

Nothing is decimated in time: a band is its frequencies, and those over which the spectrum hardly changes are averaged.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.signal import find_peaks, peak_widths

from .likelihood import Groups
from .taper import taper, worth

SPREAD = 3.0  # blocks over which a peak has to reach, to be told better by them than by shorter ones
DRIFT = 3  # frequencies next to zero that are left out: what is left there of a mean and a trend
FEWEST = 24  # frequencies of a band
CLEAR = 12.0  # standard deviations by which a peak stands out of its valleys; white noise spans 7 to 8


class Transform(NamedTuple):
    """A run's Fourier transform under a taper: radians per step, J of each channel, how many readings."""

    omega: np.ndarray  # (m,)
    j: np.ndarray  # (m, d)
    n: int


class Peak(NamedTuple):
    """Where the spectrum stands out: centre and full width at half height, radians per step; by how many deviations."""

    omega: float
    width: float
    clear: float


def transforms(runs: list[np.ndarray]) -> list[Transform]:
    """Of runs (n, d) at even steps, without their means, under the taper; zero and the highest frequency, which are
    real, left out."""
    found = []
    for y in runs:
        n = len(y)
        h = taper(n)
        j = np.fft.rfft((y - h @ y / h.sum()) * h[:, None], axis=0)[DRIFT : (n + 1) // 2]
        found.append(Transform(2 * np.pi * np.arange(DRIFT, (n + 1) // 2) / n, j, n))
    return found


def whole(parts: list[Transform]) -> tuple[float, float]:
    """The widest band."""
    return min(t.omega[0] for t in parts), max(t.omega[-1] for t in parts)


def groups(
    parts: list[Transform],
    bands: list[tuple[float, float]],
    width: Callable[[float], float],
    lines: tuple[float, ...] = (),
) -> Groups:
    """Groups no wider than `width(omega)`; frequencies next to one of `lines` are left out."""
    rows = []
    for b, (low, high) in enumerate(bands):
        for part in parts:
            first, last = np.searchsorted(part.omega, [low, high])
            step = 2 * np.pi / part.n
            near = [np.searchsorted(part.omega, [line - 2.5 * step, line + 2.5 * step]) for line in lines]
            stops = sorted({first, last, *(int(np.clip(x, first, last)) for pair in near for x in pair)})
            for start, stop in pairwise(stops):
                if any(pair[0] <= start < pair[1] for pair in near):
                    continue
                rows += [(b, part.n, *each) for each in _cut(part, start, stop, width, step)]
    if not rows:
        raise ValueError("band holds lines alone, and no other frequency: widen it")
    rows.sort(key=lambda row: (row[0], row[2]))
    band, n, omega, count, power = (np.array(x) for x in zip(*rows, strict=True))
    edges = np.array(bands)[band].T
    place = (omega - edges.mean(0)) / np.maximum((edges[1] - edges[0]) / 2, 1e-300)
    quiet = np.stack([_quiet(power[band == b], count[band == b]) for b in range(len(bands))])
    return Groups(omega, count * worth(n), n.astype(float), power, band, place, quiet)


def _cut(part, start, stop, width, step):
    """(omega, count, power) of the groups of these frequencies."""
    while start < stop:
        end = min(stop, start + max(1, int(width(part.omega[start]) / step)))
        j = part.j[start:end]
        yield (part.omega[start] + part.omega[end - 1]) / 2, end - start, j.T @ j.conj() / (end - start)
        start = end


def _quiet(power, count):
    """The level of a band's quiet part, (d,): the least mean of blocks of sixteen frequencies or more."""
    block = np.maximum(np.cumsum(count) - 1, 0).astype(int) // max(16, int(count.sum()) // 32)
    total = np.bincount(block, count)
    levels = np.einsum("gjj->jg", power).real
    return np.stack([np.min((np.bincount(block, count * x) / np.maximum(total, 1))[total > 0]) for x in levels])


def near(omega: np.ndarray, gamma: np.ndarray, fraction: float = 0.08) -> Callable[[float], float]:
    """Widths over which a spectrum with these resonances hardly changes."""
    return lambda w: fraction * float(np.min(np.hypot(w - omega, gamma / 2), initial=np.inf))


def peaks(parts: list[Transform], band: tuple[float, float]) -> list[Peak]:
    """What stands out of its surroundings, at the coarsest scale that still resolves it; by frequency."""
    kept: list[Peak] = []
    part = max(parts, key=lambda t: t.n)
    first, last = np.searchsorted(part.omega, band)
    power = np.abs(part.j[first:last]) ** 2
    size = 8
    while len(power) // size >= 6:
        for one in _peaks_at(power, size):
            bins = 2 * np.pi / part.n
            one = Peak(part.omega[first] + bins * (one.omega - 0.5), bins * one.width, one.clear)
            inside = [k for k in kept if abs(one.omega - k.omega) < (one.width + k.width) / 2]
            if not inside or (len(inside) == 1 and one.width > SPREAD * bins * size):
                kept = [one, *(k for k in kept if k not in inside)]
        size *= 2
    return sorted(kept, key=lambda p: p.omega)


def _peaks_at(power, size):
    """Peaks of the channels' geometric mean over blocks of so many frequencies; in frequencies from the first."""
    d, blocks = power.shape[1], len(power) // size
    deviation = 1 / np.sqrt(size * d)
    level = np.log(power[: blocks * size].reshape(blocks, size, d).mean(1) + 1e-300).mean(1)
    level = np.pad(level, 1, constant_values=level.min())
    at, about = find_peaks(level, prominence=CLEAR * deviation)
    wide = peak_widths(np.exp(level), at)[0] if len(at) else []
    for i, w, prominence in zip(at, wide, about["prominences"], strict=True):
        yield Peak((i - 0.5) * size, max(w, 1.0) * size, prominence / deviation)


def bands_around(found: list[Peak], limits: tuple[float, float], reach: float) -> list[tuple[float, float]]:
    """Bands of so many half widths to both sides of each peak, those that overlap joined."""
    bands: list[tuple[float, float]] = []
    for one in sorted(found, key=lambda p: p.omega):
        half = reach * one.width / 2
        low, high = max(limits[0], one.omega - half), min(limits[1], one.omega + half)
        while bands and low <= bands[-1][1]:
            last = bands.pop()
            low, high = min(low, last[0]), max(high, last[1])
        bands.append((low, high))
    return bands
