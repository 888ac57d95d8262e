r"""Modes that white forces drive: poles, and the covariances of the readings as sums over them, with derivatives.

Mode k obeys q'' + gamma q' + omega^2 q = e^alpha w_k, w white with E w_k w_l = c_kl (1 on the diagonal), and is read as
y = sum_k (a_k + b_k/omega_k d/dt) q_k: a and b are the parts of its shape in phase and in quadrature with the motion.
With its poles s = -gamma/2 +- (gamma^2/4 - omega^2)^(1/2) the readings' covariance is, for tau >= 0,

    E y(t + tau) y(t)^T = sum_k A_k e^{s_k tau},   A_k = psi_k sum_l P_kl psi_l^H,   P_kl = -c_kl/(s_k + s_l^*),

over all poles k, l; psi = e^alpha (a + b s/omega)/(s - s'), s' the other pole of the mode. In a channel of velocities
y = sum_k (a_k d/dt - b_k omega_k) q_k; accelerations are their derivatives: a row of A_k times s_k, a column times
-s_k, and the force itself, white. Here time is in steps of the record.

Source: P. Van Overschee and B. De Moor, Subspace Identification for Linear Systems, 1996, ch. 3.
"""

from typing import NamedTuple

import numpy as np


class OutOfBounds(ValueError):
    """Parameters of no spectrum."""


class Layout(NamedTuple):
    """What the vector of parameters holds: for each mode log omega, log gamma, alpha, then a and b of all channels but
    the reference, where a = 1 and b = 0; then c of the coupled pairs; then the floors' coefficients, in order of band,
    channel and power."""

    references: tuple[int, ...]  # of each mode, the channel that its shape is measured by
    orders: tuple[int, ...]  # of each channel: 0 displacement, 1 velocity, 2 acceleration
    coupled: tuple[tuple[int, int], ...] = ()
    floors: tuple[int, ...] = (1,)  # of each band, how many coefficients log floor has

    @property
    def channels(self) -> int:
        return len(self.orders)

    @property
    def modes(self) -> int:
        return len(self.references)

    @property
    def each(self) -> int:
        """Parameters of one mode."""
        return 3 + 2 * (self.channels - 1)

    @property
    def motion(self) -> int:
        """Parameters of all modes and their couplings."""
        return self.modes * self.each + len(self.coupled)

    @property
    def size(self) -> int:
        return self.motion + self.channels * sum(self.floors)


class Poles(NamedTuple):
    """The poles s (2k,) and A (2k, d, d), with derivatives (p, ...) by all parameters of the motion; `white` is what a
    recorded acceleration has of the force itself, (d, d)."""

    s: np.ndarray
    a: np.ndarray
    ds: np.ndarray
    da: np.ndarray
    white: np.ndarray
    dwhite: np.ndarray


def mode_rows(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """(modes, each): the parameters mode by mode."""
    return theta[: layout.modes * layout.each].reshape(layout.modes, layout.each)


def shapes(theta: np.ndarray, layout: Layout) -> np.ndarray:
    """Complex shapes a + i b, (d, modes), 1 at each mode's reference."""
    d, out = layout.channels, np.ones((layout.channels, layout.modes), complex)
    for k, (row, reference) in enumerate(zip(mode_rows(theta, layout), layout.references, strict=True)):
        others = [j for j in range(d) if j != reference]
        out[others, k] = row[3 : 2 + d] + 1j * row[2 + d :]
    return out


def poles(theta: np.ndarray, layout: Layout) -> Poles:
    """OutOfBounds where the couplings are those of no forces (not positive definite)."""
    k, d, p = layout.modes, layout.channels, layout.motion
    rows = mode_rows(theta, layout)
    omega, gamma, amplitude = np.exp(rows[:, :3].T)
    root = np.sqrt(gamma**2 / 4 - omega**2 + 0j)
    root = np.where(np.abs(root) < 1e-6 * omega, 1e-6 * omega, root)  # critical: two poles that are one, kept apart
    sign, twice = np.repeat([1.0, -1.0], k), np.tile(np.arange(k), 2)
    s = -gamma[twice] / 2 + sign * root[twice]
    at, mode = layout.each * np.arange(k)[twice], np.arange(2 * k)
    by = np.zeros((3, p, 2 * k), complex)  # derivatives of the root, of s, and of log omega, by all parameters
    by[0, at, mode], by[0, at + 1, mode] = -((omega**2) / root)[twice], (gamma**2 / (4 * root))[twice]
    by[1] = sign * by[0]
    by[1, at + 1, mode] -= gamma[twice] / 2
    by[2, at, mode] = 1.0
    droot, ds, dlog = by
    real, imaginary = shapes(theta, layout).real, shapes(theta, layout).imag
    moving = np.array(layout.orders)[:, None] > 0
    first, second = np.where(moving, s, 1.0), np.where(moving, -omega[twice], s / omega[twice])
    dfirst = np.where(moving, ds[:, None], 0.0)
    dsecond = np.where(moving, -(omega[twice] * dlog)[:, None], (ds / omega[twice] - s / omega[twice] * dlog)[:, None])
    phi = real[:, twice] * first + imaginary[:, twice] * second
    dphi = real[:, twice] * dfirst + imaginary[:, twice] * dsecond
    for m, reference in enumerate(layout.references):
        for i, j in enumerate(j for j in range(d) if j != reference):
            own = m * layout.each + 3 + i
            dphi[own, j, m::k] += first[j, m::k]
            dphi[own + d - 1, j, m::k] += second[j, m::k]
    scale = sign * amplitude[twice] / (2 * root[twice])
    dscale = -scale * droot / root[twice]
    dscale[at + 2, mode] += scale
    psi, dpsi = phi * scale, dphi * scale + phi * dscale[:, None]
    coupling, dcoupling = _coupling(theta, layout)
    if layout.coupled and np.linalg.eigvalsh(coupling)[0] <= 0:
        raise OutOfBounds("couplings that are those of no forces")
    both = np.ix_(twice, twice)
    total, dtotal = s[:, None] + s.conj(), ds[:, :, None] + ds.conj()[:, None]
    covariance = -coupling[both] / total
    dcovariance = -dcoupling[:, *both] / total + coupling[both] * dtotal / total**2
    right = covariance @ psi.conj().T
    dright = dcovariance @ psi.conj().T + covariance @ dpsi.conj().transpose(0, 2, 1)
    a = psi.T[:, :, None] * right[:, None]
    da = dpsi.transpose(0, 2, 1)[..., None] * right[:, None] + psi.T[:, :, None] * dright[:, :, None]
    felt = np.array(layout.orders) == 2
    if felt.any():
        left, back = (np.where(felt, sign * s[:, None], 1.0) for sign in (1, -1))
        read, powers = left[:, :, None] * back[:, None], felt[:, None].astype(float) + felt
        a, da = a * read, da * read + ds[..., None, None] / s[:, None, None] * powers * (a * read)
    white, dwhite = _force(theta, layout, coupling, dcoupling)
    return Poles(s, a, ds, da, white, dwhite)


def _coupling(theta, layout):
    """c, (modes, modes), and its derivatives."""
    coupling, by = np.eye(layout.modes), np.zeros((layout.motion, layout.modes, layout.modes))
    for i, (k, l) in enumerate(layout.coupled):
        at = layout.modes * layout.each + i
        coupling[k, l] = coupling[l, k] = np.tanh(theta[at])
        by[at, k, l] = by[at, l, k] = 1 - np.tanh(theta[at]) ** 2
    return coupling, by


def _force(theta, layout, coupling, dcoupling):
    """The force's own white spectrum in a recorded acceleration, through the shapes' part in phase."""
    d, p = layout.channels, layout.motion
    felt = np.array(layout.orders) == 2
    if not felt.any():
        return np.zeros((d, d)), np.zeros((p, d, d))
    strength = np.exp(mode_rows(theta, layout)[:, 2])
    through = shapes(theta, layout).real * strength * felt[:, None]
    by = np.zeros((p, d, layout.modes))
    for k, reference in enumerate(layout.references):
        at = k * layout.each
        by[at + 2, :, k] = through[:, k]
        for i, j in enumerate(j for j in range(d) if j != reference):
            by[at + 3 + i, j, k] = strength[k] * felt[j]
    half = by @ coupling @ through.T
    return through @ coupling @ through.T, half + half.transpose(0, 2, 1) + through @ dcoupling @ through.T
