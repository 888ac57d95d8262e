"""Lines: power at a single frequency (mains, a motor, a calibration tone), which is no mode that noise drives.

A line is narrower than the record resolves. Left in, it would be taken for a mode without damping, and what leaks of it
for a floor. Strong ones are fitted as sinusoids and taken out before anything else.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from .order import Fit, residuals
from .spectral import DRIFT, Transform, groups

STRONG = 1000.0  # times the power at 3 to 10 frequencies from it, at which it is a line before any fit
CHANCE = 12.0  # e^-12: the probability that the largest of all frequencies is as large by chance
MEDIAN = 0.7  # of the powers of single frequencies, their mean 1
MOST = 40  # sinusoids that are taken out


def without_lines(runs: list[np.ndarray], limits: tuple[float, float]) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """The runs without the sinusoids that stand so far above their surroundings that no resolved mode could, and the
    frequencies of these, radians per step."""
    found: list[float] = []
    for _ in range(MOST):
        longest = max(runs, key=len)
        # What leaks of a sinusoid through this window is gone at three frequencies from it.
        power = np.sum(np.abs(np.fft.rfft(longest * np.hanning(len(longest))[:, None], axis=0)) ** 2, axis=1)
        omega = 2 * np.pi * np.arange(len(power)) / len(longest)
        ratio = power / np.maximum(_around(power), 1e-300)
        ratio[(omega < limits[0]) | (omega > limits[1])] = 0.0
        ratio[:DRIFT] = 0.0
        k = int(np.argmax(ratio))
        if ratio[k] < STRONG or len(power) < 32:
            break
        line = _refined(longest, omega[k], omega[1])
        runs = [_taken_out(y, line) for y in runs]
        found.append(line)
    return runs, tuple(found)


def _around(power):
    """The median power at 3 to 10 frequencies from each."""
    padded = np.pad(power, 10, mode="reflect")
    shifts = (*range(-10, -2), *range(3, 11))
    return np.median([padded[10 + k : 10 + k + len(power)] for k in shifts], axis=0)


def _refined(y, omega, step):
    """The frequency of the greatest power within a step of omega."""
    t = np.arange(len(y))

    def power(w):
        return -float(np.sum(np.abs(np.exp(-1j * w * t) @ y) ** 2))

    bounds = (omega - step, omega + step)
    return float(minimize_scalar(power, bounds=bounds, method="bounded", options={"xatol": 1e-4 * step}).x)


def _taken_out(y, omega):
    """y without what a sinusoid explains of it."""
    turn = omega * np.arange(len(y))
    basis = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]


def weak_lines(fit: Fit, parts: list[Transform], bands: list, known: tuple[float, ...]) -> list[float]:
    """Single frequencies that exceed the fit, and their neighbours' excess, by more than chance allows in any."""
    grid = groups(parts, bands, lambda w: 0.0, known)
    d = fit.layout.channels
    power = residuals(fit, grid) * d
    if len(power) < 32:
        return []
    # A fit that is off is off in one combination of channels as a rule: what the neighbours exceed it by is its scale.
    scale = np.maximum(max(1.0, d / 2), (_around(power) - (d - 1)) / MEDIAN)
    return [float(x) for x in grid.omega[power > (np.log(len(power)) + CHANCE) * scale]]
