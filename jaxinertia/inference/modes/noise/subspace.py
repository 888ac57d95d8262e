r"""Starts: poles from the covariances of a band (covariance-driven subspace identification), and what they carry.

A band's covariances R_j = sum_w S(w) e^{i (w - centre) j D}, D = 2 pi / width, are sums of K damped exponentials and,
at j = 0 alone, the floor. Their block Hankel matrix has rank K; its shift gives e^{s D}.

Source: B. Peeters and G. De Roeck, Mech. Syst. Signal Process. 13, 855 (1999).
"""

import numpy as np

from .covariances import Layout
from .likelihood import Groups


def subspace(groups: Groups, count: int, lags: int) -> np.ndarray:
    """(omega, gamma) of so many modes, (k, 2), fewer where the matrix has no more; per step."""
    low, high = groups.omega.min(), groups.omega.max()
    step, centre, d = 2 * np.pi / (high - low), (low + high) / 2, groups.power.shape[1]
    scale = np.sqrt(np.einsum("g,gjj->j", groups.weight, groups.power).real)
    weighted = groups.power * groups.weight[:, None, None] / np.outer(scale, scale)
    turns = np.exp(1j * np.outer(np.arange(1, 2 * lags), groups.omega - centre) * step)
    covariances = np.tensordot(turns, weighted, 1)
    rows = np.arange(lags)[:, None] + np.arange(lags)
    hankel = covariances[rows].transpose(0, 2, 1, 3).reshape(lags * d, lags * d)
    left, strength, _ = np.linalg.svd(hankel)
    left = left[:, : min(count, (lags - 1) * d)] * np.sqrt(strength[: min(count, (lags - 1) * d)])
    shift = np.linalg.lstsq(left[:-d], left[d:], rcond=None)[0]
    s = np.log(np.linalg.eigvals(shift) + 1e-300) / step
    omega = np.clip(s.imag + centre, low, high)
    gamma = np.clip(2 * np.abs(s.real), 0.2 * 2 * np.pi / groups.n.max(), high - low)
    return np.stack([omega, gamma], axis=1)[np.argsort(omega)]


def carried(modes: np.ndarray, groups: Groups, orders: tuple[int, ...]) -> list[np.ndarray]:
    """What each of the modes (omega, gamma) carries in displacements: Hermitian (d, d), by weighted least squares."""
    omega, gamma = modes.T
    w = groups.omega[:, None]
    shape = 1 / ((omega**2 - w**2) ** 2 + (gamma * w) ** 2)
    top = shape.max(0)
    basis = np.concatenate([shape / top, np.ones((len(w), 1))], axis=1)
    d = groups.power.shape[1]
    turn = (1j * w) ** np.array(orders)  # the readings as displacements
    model = groups.power / (turn[:, :, None] * turn.conj()[:, None])
    flat = model.reshape(len(w), d * d)
    for _ in range(3):
        level = np.einsum("gjj->g", model).real
        smooth = np.maximum(level, 1e-3 * np.median(level))
        weight = np.sqrt(groups.weight) / smooth
        solved = np.linalg.lstsq(basis * weight[:, None], flat * weight[:, None], rcond=None)[0]
        solved = np.stack([_positive(x.reshape(d, d)) for x in solved])
        model = np.tensordot(basis, solved, 1)
    return [x / t for x, t in zip(solved[:-1], top, strict=True)]


def _positive(x):
    """The nearest matrix that is not negative; a little is left of what would be nothing."""
    values, vectors = np.linalg.eigh((x + x.conj().T) / 2)
    least = 1e-3 * max(np.abs(values).max(), 1e-300)
    return (vectors * np.maximum(values, least)) @ vectors.conj().T


def parameters(modes: np.ndarray, matrices: list[np.ndarray], layout: Layout) -> np.ndarray:
    """The modes' parameters, (k, each), and the layout's references are those of `references`."""
    rows = []
    for (omega, gamma), matrix, reference in zip(modes, matrices, layout.references, strict=True):
        values, vectors = np.linalg.eigh(matrix)
        v = vectors[:, -1] / vectors[reference, -1]
        power = values[-1] * abs(vectors[reference, -1]) ** 2
        others = np.delete(v, reference)
        rows.append(np.r_[np.log(omega), np.log(gamma), np.log(power) / 2, others.real, others.imag])
    return np.array(rows)


def references(matrices: list[np.ndarray]) -> tuple[int, ...]:
    """The channel in which each mode is strongest."""
    return tuple(int(np.argmax(np.abs(np.linalg.eigh(x)[1][:, -1]))) for x in matrices)
