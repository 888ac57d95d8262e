"""Lines: power at a single frequency (mains, a motor, a calibration tone), which is no mode that noise drives.

A line is narrower than the record resolves. Left in, it would be taken for a mode without damping.
"""

import numpy as np

from .order import Fit, residuals
from .spectral import Transform, groups

STRONG = 1000.0  # times the power at 3 to 10 frequencies from it, at which it is a line before any fit
CHANCE = 12.0  # e^-12: the probability that the largest of all frequencies is as large by chance


def strong_lines(parts: list[Transform], limits: tuple[float, float]) -> list[float]:
    """Frequencies, radians per step, of what stands so far above its neighbours that no resolved mode could."""
    found: list[float] = []
    part = max(parts, key=lambda t: t.n)
    power = np.sum(np.abs(part.j) ** 2, axis=1)
    if len(power) < 32:
        return found
    padded = np.pad(power, 10, mode="reflect")
    sides = [padded[10 + k : 10 + k + len(power)] for k in (*range(-10, -2), *range(3, 11))]
    around = np.median(sides, axis=0)
    inside = (part.omega >= limits[0]) & (part.omega <= limits[1])
    for i in np.flatnonzero(inside & (power > STRONG * around)):
        if i in (0, len(power) - 1) or power[i] >= max(power[i - 1], power[i + 1]):
            found.append(float(part.omega[i]))
    return found


def weak_lines(
    fit: Fit, parts: list[Transform], bands: list[tuple[float, float]], known: tuple[float, ...]
) -> list[float]:
    """Single frequencies that exceed the fit by more than chance allows in any of them."""
    grid = groups(parts, bands, lambda w: 0.0, known)
    power, d = residuals(fit, grid) * fit.layout.channels, fit.layout.channels
    limit = np.log(len(power)) + CHANCE + (d - 1) * np.log(len(power))
    return [float(x) for x in grid.omega[power > limit]]
