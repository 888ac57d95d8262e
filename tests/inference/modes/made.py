"""Made-up records of several modes, by complex exponentials. Nothing here calls the package's search."""

from typing import NamedTuple

import numpy as np


class Made(NamedTuple):
    """ts (n,), clean (n, d); frequency (natural) and gamma (K,); amplitudes c (d, K) of Re(c e^{st})."""

    ts: np.ndarray
    clean: np.ndarray
    frequency: np.ndarray
    gamma: np.ndarray
    c: np.ndarray

    def noisy(self, error, seed):
        """(n, d) with white noise of this standard deviation."""
        return self.clean + error * np.random.default_rng(seed).standard_normal(self.clean.shape)

    def bound(self, error):
        """(K,), Cramer and Rao's bound of gamma, with an offset of each channel among the unknowns."""
        s, t = poles(self.frequency, self.gamma), self.ts[:, None]
        e = np.exp(t * s)
        d, k = self.c.shape
        rows = []
        for j in range(d):
            own = np.concatenate([e.real, -e.imag, np.ones_like(t)], axis=1)
            others = [np.zeros((len(t), own.shape[1])) for _ in range(d)]
            others[j] = own
            ds = t * e * self.c[j]
            rows.append(np.concatenate([ds.real, -ds.imag, *others], axis=1))
        information = sum(row.T @ row for row in rows) / error**2
        scale = np.sqrt(np.diag(information))
        covariance = np.linalg.inv(information / np.outer(scale, scale)) / np.outer(scale, scale)
        return 2 * np.sqrt(np.diag(covariance)[:k])  # gamma = -2 Re s


def poles(frequency, gamma):
    """-gamma/2 + i omega of swinging modes."""
    omega = 2 * np.pi * np.asarray(frequency)
    return -np.asarray(gamma) / 2 + 1j * np.sqrt(omega**2 - np.asarray(gamma) ** 2 / 4)


def made(ts, frequency, gamma, c):
    """The record of these modes."""
    frequency, gamma, c = (np.asarray(x) for x in (frequency, gamma, c))
    clean = np.real(np.exp(np.outer(ts, poles(frequency, gamma))) @ np.atleast_2d(c).T)
    return Made(ts, clean, frequency, gamma, np.atleast_2d(c))


def close():
    """Two modes 1 % apart."""
    return made(np.arange(2000) * 0.05, [1.0, 1.01], [0.12, 0.12], [[1, 0.8j]])


def five():
    """Five over two decades, one of them 40 dB below."""
    f = np.array([0.1, 0.37, 1.3, 4.1, 10.0])
    return made(np.arange(8000) * 0.02, f, 0.04 * np.pi * f, [[1, 1j, 0.01, 0.7, -1]])


def three():
    """Three close ones on three channels."""
    c = [[1, 0.8, 0.5], [1, -0.5, 0.2j], [0.3, 0.2, -1]]
    return made(np.arange(2000) * 0.05, [1.0, 1.02, 1.05], [0.1, 0.12, 0.15], c)


def pair(n=600, step=0.05):
    """Two modes well apart, for quick looks."""
    return made(np.arange(n) * step, [1.0, 1.7], [0.2, 0.3], [[1, 0.5j]])


def overdamped(ts, gamma, stiffness, q=1.0, v=0.0):
    """The motion with two real poles."""
    fast, slow = np.roots([1.0, gamma, stiffness])
    a, b = np.linalg.solve([[1, 1], [fast, slow]], [q, v])
    return a * np.exp(fast * ts) + b * np.exp(slow * ts)
