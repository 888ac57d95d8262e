r"""The likelihood of the spectral matrix in bands: Whittle's, debiased, with Fisher's information written out.

The discrete Fourier transform J of n readings under a taper has, at each frequency, E J J^H = S, exactly

    S(w) = sum_k (f_k A_k + h.c.) + floor,   f_k = sum_{tau=0}^{n-1} a(tau) (e^{s_k - i w})^tau - 1/2,

a the autocorrelation of `taper`, with what leaks from a short record and what sampling folds back in it. The J are
independent but near each other, and complex normal: the cost is sum_w log det S + tr(S^-1 J J^H), its information sum_w tr(S^-1 dS S^-1 dS). Of
neighbouring frequencies over which S hardly changes, a group, only the mean J J^H counts.

A channel's floor is log-polynomial across a band, about a level that the band's quiet part tells: its prior holds it
where the band tells nothing of it (it would run away, and take the errors with it).

Source: A. M. Sykulski, S. C. Olhede, A. P. Guillaumin, J. M. Lilly, J. J. Early, Biometrika 106, 251 (2019);
S.-K. Au, Mech. Syst. Signal Process. 25, 1 (2011).
"""

from typing import NamedTuple

import numpy as np

from .covariances import Layout, OutOfBounds, poles
from .taper import transformed

LEVEL, BEND = 2.0, 1.0  # widths of the prior of log floor: of its level and of its slope and curvature across a band


class Groups(NamedTuple):
    """Groups of neighbouring frequencies, by band and frequency: radians per step, how many independent
    ones they are worth, the readings of
    their run, the mean J J^H, their band, their place in it from -1 to 1; and the quiet level of each band and
    channel."""

    omega: np.ndarray  # (g,)
    weight: np.ndarray
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
    value, slope = np.empty((2, len(omega), len(s)), complex)
    for length in np.unique(n):
        rows = n == length
        value[rows], slope[rows] = transformed(int(length), np.exp(s - 1j * omega[rows, None]))
    return value - 0.5, slope


def spectrum(theta: np.ndarray, layout: Layout, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """S, (g, d, d), and its derivatives, packed (g, p, d * d); OutOfBounds where the couplings are no forces'."""
    found = poles(theta, layout)
    d, size, motion, g = layout.channels, layout.size, layout.motion, len(groups.omega)
    f, df = leakage(found.s, groups.omega, groups.n)
    # f A + h.c., packed, is the real part of f times a packed A: products of real matrices.
    amounts = _both(np.moveaxis(found.da, 0, 1), d)
    places = _both(np.moveaxis(found.ds[..., None, None] * found.a, 0, 1), d)
    value = _real(f) @ _stacked(_both(found.a, d)) + _packed(found.white.reshape(d * d), d)
    by = np.zeros((g, size, d * d))
    moved = np.concatenate([_real(f), _real(df)], axis=1) @ np.concatenate([_stacked(amounts), _stacked(places)])
    by[:, :motion] = moved.reshape(g, motion, d * d) + _packed(found.dwhite.reshape(motion, d * d), d)
    at = motion
    for band, order in enumerate(layout.floors):
        rows = np.flatnonzero(groups.band == band)
        basis = groups.place[rows, None] ** np.arange(order)
        for channel in range(d):
            floor = np.exp(np.clip(basis @ theta[at : at + order], -700, 700))
            value[rows, channel] += floor
            by[rows, at : at + order, channel] = floor[:, None] * basis
            at += order
    return _unpacked(value, d), by


class White(NamedTuple):
    """Readings and derivatives as S whitens them, packed. data: W J J^H W^H, (g, d, d). logs: log det S, (g,).
    by: W dS W^H times weight^1/2, (g, d * d, p)."""

    data: np.ndarray
    logs: np.ndarray
    by: np.ndarray


def whitened(theta: np.ndarray, layout: Layout, groups: Groups) -> White:
    """OutOfBounds where the parameters are those of no spectrum."""
    with np.errstate(all="ignore"):
        value, by = spectrum(theta, layout, groups)
        if not np.all(np.isfinite(value)):
            raise OutOfBounds("a spectrum that is not finite")
        try:
            factor = np.linalg.cholesky(value)
            white = np.linalg.inv(factor)
        except np.linalg.LinAlgError as error:
            raise OutOfBounds("a spectrum that is not positive") from error
    data = white @ groups.power @ white.conj().transpose(0, 2, 1)
    logs = 2 * np.log(np.einsum("gjj->gj", factor).real).sum(1)
    root = np.sqrt(groups.weight)[:, None, None]
    return White(data, logs, (by @ (_whitening(white) * root)).transpose(0, 2, 1))


def cost(theta: np.ndarray, layout: Layout, groups: Groups) -> Cost | None:
    """None where the parameters are out of bounds."""
    try:
        found = whitened(theta, layout, groups)
    except OutOfBounds:
        return None
    g, d = len(groups.weight), layout.channels
    flat = found.by.reshape(g * d * d, layout.size)
    rest = _packed((np.eye(d) - found.data).reshape(g, d * d), d) * np.sqrt(groups.weight)[:, None]
    likelihood = float(groups.weight @ (found.logs + np.einsum("gjj->g", found.data).real))
    off, precision = _prior(theta, layout, groups)
    value = likelihood + float(precision @ off**2) / 2
    return Cost(value, rest.ravel() @ flat + precision * off, flat.T @ flat + np.diag(precision), likelihood)


def _real(f: np.ndarray) -> np.ndarray:
    """What f's real products are taken with, (g, 4k)."""
    return np.concatenate([f.real, -f.imag], axis=1)


def _stacked(c: np.ndarray) -> np.ndarray:
    """(4k, ...) flat behind."""
    flat = c.reshape(len(c), -1) if c.size else c.reshape(len(c), int(np.prod(c.shape[1:])))
    return np.concatenate([flat.real, flat.imag])


def _both(a: np.ndarray, d: int) -> np.ndarray:
    """C (..., d * d) of A (..., d, d) such that Re f C is f A + h.c., packed."""
    low = np.tril_indices(d, -1)
    below, above = a[..., low[0], low[1]], a[..., low[1], low[0]]
    diagonal = 2 * np.einsum("...jj->...j", a)
    return np.concatenate([diagonal, np.sqrt(2) * (below + above), -1j * np.sqrt(2) * (below - above)], axis=-1)


def _whitening(white: np.ndarray) -> np.ndarray:
    """The maps of packed x to packed W x W^H, (g, d * d, d * d), as x @ map."""
    g, d = white.shape[:2]
    both = (white[:, :, None, :, None] * white.conj()[:, None, :, None]).reshape(g, d * d, d * d)
    basis = _unpacked(np.eye(d * d), d).reshape(d * d, d * d)
    return (basis @ both.transpose(0, 2, 1) @ basis.conj().T).real


def _unpacked(x: np.ndarray, d: int) -> np.ndarray:
    """Hermitian matrices (..., d, d) of packed ones."""
    low = np.tril_indices(d, -1)
    out = np.zeros((*x.shape[:-1], d, d), complex)
    half = len(low[0])
    below = (x[..., d : d + half] + 1j * x[..., d + half :]) / np.sqrt(2)
    out[..., low[0], low[1]], out[..., low[1], low[0]] = below, below.conj()
    out[..., np.arange(d), np.arange(d)] = x[..., :d]
    return out


def _packed(x: np.ndarray, d: int) -> np.ndarray:
    """Of Hermitian matrices, flat (..., d * d), as many real numbers, whose scalar product is tr x y."""
    low = np.tril_indices(d, -1)
    below = x[..., low[0] * d + low[1]] * np.sqrt(2)
    return np.concatenate([x[..., :: d + 1].real, below.real, below.imag], axis=-1)


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
