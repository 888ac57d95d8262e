"""Simulated and real records. Nothing here calls the package's fits."""

from pathlib import Path

import numpy as np
from scipy.linalg import expm

REAL = Path(__file__).parents[3] / "shared" / "data"


def damped(ts, stiffness, gamma, q=1.0, p=0.0):
    """The damped oscillator by complex exponentials; not at critical damping itself."""
    roots = np.roots([1.0, gamma, stiffness]).astype(complex)
    amplitudes = np.linalg.solve(np.array([[1, 1], roots]), np.array([q, p], complex))
    return np.real(np.exp(np.multiply.outer(ts, roots)) @ amplitudes)


def langevin(rng, n, dt, stiffness=1.0, gamma=1.0, sigma=2**0.5):
    """Positions of q'' + gamma q' + stiffness q = sigma dW/dt at n times, stationary, by the exact discrete law."""
    rate = np.array([[0.0, 1.0], [-stiffness, -gamma]])
    stationary = np.diag([sigma**2 / (2 * gamma * stiffness), sigma**2 / (2 * gamma)])
    move = expm(rate * dt)
    noise = np.linalg.cholesky(stationary - move @ stationary @ move.T)
    z = np.linalg.cholesky(stationary) @ rng.normal(size=2)
    kicks = rng.normal(size=(n, 2)) @ noise.T
    out = np.empty(n)
    for k in range(n):
        out[k] = z[0]
        z = move @ z + kicks[k]
    return out
