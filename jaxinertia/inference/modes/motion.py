r"""The motion of a mode, q'' + gamma q' + omega_0^2 q = 0, in closed form, and what follows from gamma and frequency.

With a = gamma/2 and D = a^2 - omega_0^2, C = cosh(sqrt(D) t) and S = sinh(sqrt(D) t) / sqrt(D), entire in D t^2:

    q = e^{-at} (q0 C + (v0 + a q0) S),   v = e^{-at} (v0 C - (omega_0^2 q0 + a v0) S).
"""

from collections.abc import Sequence

import numpy as np

NEAR = 1e-3  # of |D t^2|: below it series are good to the last digit


def decay(a: np.ndarray, depth: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """e^{-at} C, e^{-at} S and e^{-at} dS/dD = e^{-at} (t C - S) / (2 D), each (n, K), without overflow at any D."""
    t = t[:, None]
    root = np.sqrt(np.abs(depth))
    swings = depth <= 0
    # Swinging: one decay. Overdamped: the exponents combined, for cosh overflows where e^{-at} cosh does not.
    turn = np.where(swings, root, 0.0) * t
    fast, slow = a + np.where(swings, 0.0, root), a - np.where(swings, 0.0, root)
    low, high = np.exp(-slow * t), np.exp(-fast * t)
    c = np.where(swings, low * np.cos(turn), (low + high) / 2)
    safe = np.where(root > 0, root, 1.0)
    s = np.where(swings, low * np.sin(turn), (low - high) / 2) / safe
    x = depth * t**2
    near = np.abs(x) < NEAR
    plain = np.exp(-a * t)
    s = np.where(near, plain * t * (1 + x / 6 * (1 + x / 20 * (1 + x / 42))), s)
    bent = (t * c - s) / (2 * np.where(depth == 0, 1.0, depth))
    bent = np.where(near, plain * t**3 / 6 * (1 + x / 10 * (1 + x / 28 * (1 + x / 54))), bent)
    return c, s, bent


def propagate(
    state: np.ndarray, gamma: np.ndarray, frequency: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """q and q', each (n, K), at times t since the state (K, 2)."""
    a, omega = gamma / 2, 2 * np.pi * frequency
    c, s, _ = decay(a, a**2 - omega**2, t)
    q, v = state[:, 0], state[:, 1]
    return q * c + (v + a * q) * s, v * c - (omega**2 * q + a * v) * s


def reading(
    parts: np.ndarray,
    gamma: np.ndarray,
    frequency: np.ndarray,
    position: np.ndarray,
    momentum: np.ndarray,
    order: Sequence[int] | np.ndarray,
) -> np.ndarray:
    """(n, d): of q and q', each (n, K), what channels see that read derivative `order` of alpha q + beta q'."""
    stiffness = (2 * np.pi * frequency) ** 2
    chain = [position, momentum]
    for _ in range(2):
        chain.append(-stiffness * chain[-2] - gamma * chain[-1])
    columns = [chain[m] @ parts[:, j, 0] + chain[m + 1] @ parts[:, j, 1] for j, m in enumerate(order)]
    return np.stack(columns, axis=-1)


def derived(
    gamma: np.ndarray, frequency: np.ndarray, covariance: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values and standard errors of what follows from gamma and frequency, by name."""
    omega = 2 * np.pi * frequency
    k = len(gamma)
    gg, ff = np.diag(covariance)[:k], np.diag(covariance)[k:]
    gf = np.diag(covariance[:k, k:]) if k else np.zeros(0)

    def error(by_gamma, by_frequency):
        square = by_gamma**2 * gg + 2 * by_gamma * by_frequency * gf + by_frequency**2 * ff
        return np.sqrt(np.maximum(square, 0.0))

    damped = np.sqrt(np.maximum(omega**2 - gamma**2 / 4, 0.0)) / (2 * np.pi)
    some, swings = np.where(damped > 0, damped, 1.0), damped > 0
    none, one = np.zeros(k), np.ones(k)
    with np.errstate(divide="ignore", invalid="ignore"):
        quality, ratio = omega / gamma, gamma / (2 * omega)
        values = dict(
            frequency=frequency, damped_frequency=damped, gamma=gamma, damping_ratio=ratio, quality_factor=quality
        )
        errors = dict(
            frequency=error(none, one),
            damped_frequency=np.where(swings, error(-gamma / (16 * np.pi**2 * some), frequency / some), 0.0),
            gamma=error(one, none),
            damping_ratio=error(1 / (2 * omega), -ratio / frequency),
            quality_factor=error(-quality / gamma, quality / frequency),
        )
    return values, errors


def root(force: np.ndarray) -> np.ndarray:
    """sigma of an intensity sigma sigma^T: symmetric, whatever its rank."""
    values, vectors = np.linalg.eigh((force + force.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
