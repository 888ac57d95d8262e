r"""The correlation of residuals: an autoregression of each channel, r_t = sum_k phi_k r_{t-k} + e_t, its order by BIC.

Residuals count in the order in which they were read; of uneven times that is a description, not a law.

Source: G. Schwarz, Ann. Statist. 6, 461 (1978); N. Levinson, J. Math. Phys. 25, 261 (1947).
"""

from typing import NamedTuple

import numpy as np
from scipy import signal, stats

MOST = 24  # lags


class Colour(NamedTuple):
    """phi: (p,), variance: of e; total: of r."""

    phi: np.ndarray
    variance: float
    total: float

    def spectrum(self, frequency: np.ndarray) -> np.ndarray:
        """Power at frequencies per reading, over that of white residuals of the same variance."""
        lags = np.arange(1, len(self.phi) + 1)
        answer = 1 - np.exp(-2j * np.pi * np.outer(frequency, lags)) @ self.phi
        return self.variance / np.maximum(np.abs(answer) ** 2, 1e-300) / max(self.total, 1e-300)

    def spread(self, x: np.ndarray) -> np.ndarray:
        """(n, q): F with F^T F = X^T R X, R the covariance of residuals of one run."""
        back = signal.lfilter([1.0], np.concatenate([[1.0], -self.phi]), x[::-1], axis=0)
        return np.sqrt(self.variance) * back[::-1]


def covariances(series: list[np.ndarray], lags: int = MOST) -> np.ndarray:
    """(lags + 1,), of several series of one channel, divided by all readings: positive as a sequence."""
    total, n = np.zeros(lags + 1), sum(len(r) for r in series)
    for r in series:
        size = 2 ** int(np.ceil(np.log2(len(r) + lags + 1)))
        power = np.abs(np.fft.rfft(r, size)) ** 2
        total += np.fft.irfft(power, size)[: lags + 1]
    return total / max(n, 1)


def fit(series: list[np.ndarray], spent: float = 0.0) -> Colour:
    """The autoregression of a channel's residuals; spent: fitted numbers, for the variance."""
    n = sum(len(r) for r in series)
    colour, _ = of_covariances(covariances(series, most(n)), n)
    scale = n / max(n - spent, 1.0)
    return Colour(colour.phi, colour.variance * scale, colour.total * scale)


def most(n: int) -> int:
    """Lags that are looked at."""
    return min(MOST, n // 20)


def of_covariances(gamma: np.ndarray, n: int, ground: float = 0.0) -> tuple[Colour, float]:
    """The autoregression and its -2 log L + p log n, up to what all orders share. ground: white power added: what lies
    below it is not looked at."""
    if gamma[0] <= 0:
        return Colour(np.zeros(0), 1e-300, 1e-300), n * np.log(1e-300)
    total = gamma[0] + ground
    phi, variance = np.zeros(0), total
    best = n * np.log(total), phi, variance
    for p in range(1, len(gamma)):
        k = (gamma[p] - phi @ gamma[p - 1 : 0 : -1]) / variance
        phi = np.concatenate([phi - k * phi[::-1], [k]])
        variance = max(variance * (1 - k**2), 1e-15 * total)
        cost = n * np.log(variance) + p * np.log(n)
        if cost < best[0]:
            best = cost, phi, variance
    return Colour(best[1], best[2], total), float(best[0])


def whiteness(series: list[list[np.ndarray]], lags: int) -> tuple[np.ndarray, float]:
    """Mean autocorrelation of the channels, lags 1 .. ; and Ljung and Box's probability, the least times the
    channels."""
    least, correlations = 1.0, []
    for channel in series:
        n = sum(len(r) for r in channel)
        few = max(min(lags, n // 5), 1)
        gamma = covariances(channel, few)
        r = gamma[1:] / max(gamma[0], 1e-300)
        correlations.append(np.pad(r, (0, lags - few)))
        statistic = n * (n + 2) * np.sum(r**2 / (n - np.arange(1, few + 1)))
        least = min(least, float(stats.chi2.sf(statistic, few)))
    return np.mean(correlations, axis=0), min(1.0, least * len(series))
