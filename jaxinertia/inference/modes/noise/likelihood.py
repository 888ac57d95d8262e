r"""The likelihood of the spectral matrix in bands: Whittle's, debiased, with Fisher's information written out.

The discrete Fourier transform J of n readings has, at each frequency, E J J^H / n = S, exactly

    S(w) = sum_k (f_k A_k + h.c.) + floor,   f_k = sum_{tau=0}^{n-1} (1 - tau/n) (e^{s_k - i w})^tau - 1/2,

with what leaks from a short record and what sampling folds back in it. Far apart in frequency the J are independent and
complex normal: the cost is sum_w log det S + tr(S^-1 J J^H / n), its information sum_w tr(S^-1 dS S^-1 dS). Neighbouring
frequencies over which S hardly changes are one group, of which only the mean J J^H / n counts.

A channel's floor is log-polynomial across a band, about a level that the band's quiet part tells: its prior holds it where
the band tells nothing of it (it would run away, and take the errors with it).

Source: A. M. Sykulski, S. C. Olhede, A. P. Guillaumin, J. M. Lilly, J. J. Early, Biometrika 106, 251 (2019);
S.-K. Au, Mech. Syst. Signal Process. 25, 1 (2011).
"""

from typing import NamedTuple

import numpy as np

from .covariances import Layout, poles

LEVEL, BEND = 2.0, 1.0  # widths of the prior of log floor: of its level and of its slope and curvature across a band


class Groups(NamedTuple):
    """Groups of neighbouring frequencies: radians per step, how many, the readings of their run, the mean J J^H / n,
    their band, their place in it from -1 to 1; and of each band the quiet level of each channel."""

    omega: np.ndarray  # (g,)
    count: np.ndarray
    n: np.ndarray
    power: np.ndarray  # (g, d, d)
    band: np.ndarray
    place: np.ndarray
    quiet: np.ndarray  # (bands, d)


class Cost(NamedTuple):
    """The negative log posterior with its gradient and information; `likelihood` leaves the floors' prior out."""

    value: float
    gradient: np.ndarray
    information: np.ndarray
    likelihood: float


def leakage(s: np.ndarray, omega: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f, (g, 2k), and its derivative by s."""
    step = np.exp(s - 1j * omega[:, None])
    n = n[:, None]
    last, gap = np.exp(n * (s - 1j * omega[:, None])), 1 - step
    value = 1 / gap - step * (1 - last) / (n * gap**2)
    slope = 1 / gap**2 - (1 - (n + 1) * last) / (n * gap**2) - 2 * step * (1 - last) / (n * gap**3)
    return value - 0.5, step * slope


def spectrum(theta: np.ndarray, layout: Layout, groups: Groups) -> tuple[np.ndarray, np.ndarray] | None:
    """S, (g, d, d), and its derivatives, (g, p, d, d)."""
    found = poles(theta, layout)
    if found is None:
        return None
    d, size, motion = layout.channels, layout.size, layout.motion
    g, twice = len(groups.omega), len(found.s)
    f, df = leakage(found.s, groups.omega, groups.n)
    value = (f @ found.a.reshape(twice, d * d)).reshape(g, d, d)
    by = np.zeros((g, size, d, d), complex)
    moved = np.moveaxis(found.da, 0, 1).reshape(twice, -1), np.moveaxis(found.ds[..., None, None] * found.a, 0, 1)
    by[:, :motion] = (f @ moved[0] + df @ moved[1].reshape(twice, -1)).reshape(g, motion, d, d)
    value = value + value.conj().transpose(0, 2, 1) + found.white
    by[:, :motion] = by[:, :motion] + by[:, :motion].conj().transpose(0, 1, 3, 2) + found.dwhite
    at = motion
    for band, order in enumerate(layout.floors):
        rows = np.flatnonzero(groups.band == band)
        basis = groups.place[rows, None] ** np.arange(order)
        for channel in range(d):
            floor = np.exp(np.clip(basis @ theta[at : at + order], -700, 700))
            value[rows, channel, channel] += floor
            by[rows, at : at + order, channel, channel] = floor[:, None] * basis
            at += order
    return value, by


def cost(theta: np.ndarray, layout: Layout, groups: Groups) -> Cost | None:
    """None where the parameters are out of bounds."""
    with np.errstate(all="ignore"):
        found = spectrum(theta, layout, groups)
        if found is None or not np.all(np.isfinite(found[0])):
            return None
        value, by = found
        try:
            factor = np.linalg.cholesky(value)
            white = np.linalg.inv(factor)
        except np.linalg.LinAlgError:
            return None
    back = white.conj().transpose(0, 2, 1)
    data = white @ groups.power @ back
    trace = np.einsum("gjj->g", data).real
    logs = 2 * np.log(np.einsum("gjj->gj", factor).real).sum(1)
    pulled = white[:, None] @ by @ back[:, None]
    rest = np.eye(layout.channels) - data
    g, p = pulled.shape[:2]
    weighted = (pulled * groups.count[:, None, None, None]).reshape(g, p, -1)
    gradient = np.einsum("gpa,ga->p", weighted, rest.conj().reshape(g, -1)).real
    flat = (pulled * np.sqrt(groups.count)[:, None, None, None]).transpose(1, 0, 2, 3).reshape(p, -1)
    flat = np.concatenate([flat.real, flat.imag], axis=1)
    likelihood = float(groups.count @ (logs + trace))
    off, precision = _prior(theta, layout, groups)
    value = likelihood + float(precision @ off**2) / 2
    return Cost(value, gradient + precision * off, flat @ flat.T + np.diag(precision), likelihood)


def _prior(theta, layout, groups):
    """Distance of each parameter from its prior's centre, and the prior's precision."""
    off, precision = np.zeros(layout.size), np.zeros(layout.size)
    at = layout.motion
    for band, order in enumerate(layout.floors):
        for channel in range(layout.channels):
            off[at : at + order] = theta[at : at + order]
            off[at] -= np.log(groups.quiet[band, channel])
            precision[at : at + order] = np.r_[LEVEL, np.full(order - 1, BEND)] ** -2.0
            at += order
    return off, precision
