"""Made-up records of modes that white forces drive, exact at every step, and their exact covariances."""

from typing import NamedTuple

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.signal import lfilter


class Driven(NamedTuple):
    """omega and gamma per step, (K,); force, the intensity (K, K); shape, (d, K); floor, (d,): error of a reading."""

    omega: np.ndarray
    gamma: np.ndarray
    force: np.ndarray
    shape: np.ndarray
    floor: np.ndarray

    @property
    def rate(self):
        """Of (q, q')."""
        k = len(self.omega)
        return np.block([[np.zeros((k, k)), np.eye(k)], [-np.diag(self.omega**2), -np.diag(self.gamma)]])

    @property
    def stationary(self):
        """The covariance of (q, q')."""
        k = len(self.omega)
        noise = np.zeros((2 * k, 2 * k))
        noise[k:, k:] = self.force
        return solve_continuous_lyapunov(self.rate, -noise)

    def read(self, rows, n, seed):
        """(n, d) readings, `rows` (d, 2K) of (q, q')."""
        rng, stationary, move = np.random.default_rng(seed), self.stationary, expm(self.rate)
        noise = stationary - move @ stationary @ move.T
        values, vectors = np.linalg.eigh((noise + noise.T) / 2)
        turns, back = np.linalg.eig(move)
        pushes = rng.standard_normal((n, len(move))) * np.sqrt(np.maximum(values, 0)) @ vectors.T
        pushes[0] = np.linalg.cholesky(stationary) @ rng.standard_normal(len(move))
        pushes = pushes @ np.linalg.inv(back).T
        parts = np.stack([lfilter([1], [1, -turn], pushes[:, i]) for i, turn in enumerate(turns)], axis=1)
        clean = (parts @ back.T).real @ rows.T
        return clean + rng.standard_normal(clean.shape) * self.floor

    def readings(self, n, seed):
        """(n, d) displacements."""
        return self.read(np.concatenate([self.shape, np.zeros_like(self.shape)], axis=1), n, seed)

    def periodogram(self, rows, frequency, taper):
        """The expectation of J J^H at w, (d, d), J under this taper (n,), by summing n covariances."""
        total, move, power = np.zeros((len(rows),) * 2, complex), expm(self.rate), np.eye(len(self.rate))
        for lag, weight in enumerate(np.correlate(taper, taper, "full")[len(taper) - 1 :]):
            there = weight * rows @ power @ self.stationary @ rows.T * np.exp(-1j * frequency * lag)
            total += there + there.conj().T if lag else there
            power = move @ power
        return total + np.diag(np.broadcast_to(self.floor, len(rows)) ** 2)


def three(shape=((1.0, 1.0, 1.0),)):
    """Three modes at 1 %, two of them 3 % apart, of about equal power, over a floor of a tenth of it."""
    omega = np.array([0.5, 0.515, 1.0])
    gamma = 0.02 * omega
    return Driven(omega, gamma, np.diag(2 * gamma * omega**2), np.array(shape), np.array([0.3]))


def pair(correlation):
    """Two close modes on two channels, their forces correlated."""
    omega = np.array([0.5, 0.515])
    gamma = 0.02 * omega
    strength = np.sqrt(2 * gamma) * omega
    force = np.outer(strength, strength) * np.array([[1, correlation], [correlation, 1]])
    return Driven(omega, gamma, force, np.array([[1.0, 1.0], [0.5, -0.8]]), np.array([0.1]))
