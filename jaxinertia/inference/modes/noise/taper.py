"""The taper of a record: its ends rise and fall linearly, so that what leaks from a resonance falls off fast.

Without it the two ends of a record leave the same few random numbers at all frequencies, a part 1 / (gamma T) of a
resonance's tail. Where many frequencies see the tail over the floor they would all err together.

The taper is h = r_l * r_m / m, r_l a row of l ones, l = n - m + 1. Its autocorrelation, times m^2, is a cubic spline
with the transform z^(2-l-m) (1 - z^l)^2 (1 - z^m)^2 / (1 - z)^4, whose terms from z^0 on are summed in closed form.
"""

from functools import lru_cache
from math import comb

import numpy as np

SHARE = 64  # of a record, one of which is an end


def ends(n: int) -> int:
    """m, how many readings an end has."""
    return max(n // SHARE, 1)


def taper(n: int) -> np.ndarray:
    """h, (n,), with sum h^2 = 1."""
    m = ends(n)
    h = np.minimum(np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)), m) / m
    return h / np.sqrt(np.sum(h**2))


@lru_cache(64)
def _worth(n: int) -> float:
    return float(1 / (n * np.sum(taper(n) ** 4)))


def worth(n: np.ndarray) -> np.ndarray:
    """Independent frequencies that one is worth, since neighbours are correlated: (sum h^2)^2 / (n sum h^4)."""
    return np.array([_worth(int(x)) for x in n])


@lru_cache(64)
def _terms(n: int) -> tuple[np.ndarray, tuple[tuple[int, float], ...]]:
    """sum_tau a(tau) z^tau = sum_r A_r u^(r+1) + u^4 sum c z^e, u = 1/(1 - z): A, (4,), and the pairs (e, c)."""
    m = ends(n)
    l = n - m + 1
    kept: dict[int, int] = {}
    powers, total = [0] * 4, 0
    for i, a in enumerate((1, -2, 1)):
        for j, b in enumerate((1, -2, 1)):
            e, c = i * l + j * m + 2 - l - m, a * b
            if e <= 0:
                total += c * comb(3 - e, 3)
            if e >= 0:
                kept[e] = kept.get(e, 0) + c
                continue
            for r in range(4):
                powers[r] += c * comb(2 - e - r, 3 - r)
    return np.array([x / total for x in powers]), tuple((e, c / total) for e, c in kept.items())


def transformed(n: int, log: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """sum_{tau >= 0} a(tau) z^tau, a the autocorrelation of h, and its derivative by log z; of log z."""
    (a, b, c, d), kept = _terms(n)
    z = np.exp(log)
    u = 1 / (1 - z)
    rest, slope = np.full_like(z, d), np.zeros_like(z)
    for e, factor in kept:
        power = factor * np.exp(e * log)
        rest += power
        slope += e * power
    value = u * (a + u * (b + u * (c + u * rest)))
    change = u**2 * (a + u * (2 * b + u * (3 * c + 4 * u * rest)))
    return value, z * change + u**4 * slope
