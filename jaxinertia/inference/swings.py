"""How many decaying swings a stretch of readings holds, and what they leave: y_k = c + sum_j Re(a_j z_j^k).

The space that the windows of such a record span is moved into itself by one step; the z are the eigenvalues of that
move. Of the numbers of swings the one of the least BIC is taken.

Source: R. Roy and T. Kailath, IEEE Trans. ASSP 37, 984 (1989).
"""

from typing import NamedTuple

import numpy as np

MOST = 7
NUMBERS = 4  # of a swing in one component: frequency, rate, and two of its size


class Swings(NamedTuple):
    """How many there are, and what is left of the readings, (n, c)."""

    number: int
    left: np.ndarray

    @property
    def rms(self) -> float:
        """Of what is left, for the numbers that were fitted."""
        n, c = self.left.shape
        return float(np.sqrt(np.sum(self.left**2) / max(n * c - NUMBERS * self.number - c, 1)))


def of(y: np.ndarray) -> Swings:
    """The swings of readings on even times, (n, c)."""
    n, c = y.shape
    y = y - y.mean(0)
    lags = n // 2 + 1
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(x, lags) for x in y.T])
    basis = np.linalg.eigh(windows.T @ windows)[1][:, ::-1]
    found, least = Swings(0, y), _bic(y, 0)
    for count in range(1, min(MOST, (n * c - c) // (2 * NUMBERS)) + 1):
        some = basis[:, : 2 * count]
        z = np.linalg.eigvals(np.linalg.lstsq(some[:-1], some[1:], rcond=None)[0])
        z = z / np.maximum(np.abs(z), 1.0)  # none of them grows
        powers = z ** np.arange(n)[:, None]
        columns = np.concatenate([np.ones((n, 1)), powers.real, powers.imag], axis=1)
        left = y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]
        bic = _bic(left, count)
        if bic < least:
            found, least = Swings(count, left), bic
    return found


def _bic(left: np.ndarray, count: int) -> float:
    n, c = left.shape
    numbers = count * (2 + 2 * c) + c
    return n * c * np.log(np.sum(left**2) / (n * c) + 1e-300) + numbers * np.log(n * c)
