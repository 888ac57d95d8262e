r"""The likelihood of the spectral matrix in bands: Whittle's, debiased, with Fisher's information written out.

The discrete Fourier transform J of n readings under a taper has, at each frequency, E J J^H = S, exactly

    S(w) = sum_k (f_k A_k + h.c.) + floor,   f_k = sum_{tau=0}^{n-1} a(tau) (e^{s_k - i w})^tau - 1/2,

a the autocorrelation of `taper`, with what leaks from a short record and what sampling folds back in it. The J are
complex normal, and independent but for neighbours: the cost is sum_w log det S + tr(S^-1 J J^H), its information
sum_w tr(S^-1 dS S^-1 dS). Of neighbouring frequencies over which S hardly changes, a group, only the mean J J^H
counts.

A channel's floor is log-polynomial across a band, about a level that the band's quiet part tells: its prior holds it
where the band tells nothing of it (it would run away, and take the errors with it).

Source: A. M. Sykulski, S. C. Olhede, A. P. Guillaumin, J. M. Lilly, J. J. Early, Biometrika 106, 251 (2019);
S.-K. Au, Mech. Syst. Signal Process. 25, 1 (2011).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .covariances import Layout, OutOfBounds, poles
from .taper import transformed

LEVEL, BEND = 2.0, 1.0  # widths of the prior of log floor: of its level and of its slope and curvature across a band


class Groups(NamedTuple):
    """Groups of neighbouring frequencies, by band and frequency: radians per step, how many independent ones
    they are worth, the readings of
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
        value[rows], slope[rows] = transformed(int(length), s - 1j * omega[rows, None])
    return value - 0.5, slope


def spectrum(theta: np.ndarray, layout: Layout, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """S, (g, d, d), and its derivatives, packed (g, d * d, p); OutOfBounds where the couplings are no forces'."""
    found = poles(theta, layout)
    d, size, motion, g = layout.channels, layout.size, layout.motion, len(groups.omega)
    f, df = leakage(found.s, groups.omega, groups.n)
    # f A + h.c., packed, is the real part of f times a packed A: products of real matrices.
    amounts = np.moveaxis(_both(found.da, d), 0, 2)
    places = np.moveaxis(_both(found.ds[..., None, None] * found.a, d), 0, 2)
    white = _packed(found.dwhite.reshape(motion, d * d), d).T
    value = _real(f) @ _stacked(_both(found.a, d)) + _packed(found.white.reshape(d * d), d)
    by = np.zeros((g, d * d, size))
    for own, used in _reaches(layout):
        right = np.concatenate([_stacked(amounts[used][..., own]), _stacked(places[used][..., own])])
        moved = np.concatenate([_real(f[:, used]), _real(df[:, used])], axis=1) @ right
        by[..., own] = moved.reshape(g, d * d, -1) + white[:, own]
    at = motion
    for band, order in enumerate(layout.floors):
        rows = np.flatnonzero(groups.band == band)
        basis = groups.place[rows, None] ** np.arange(order)
        for channel in range(d):
            floor = np.exp(np.clip(basis @ theta[at : at + order], -700, 700))
            value[rows, channel] += floor
            by[rows, channel, at : at + order] = floor[:, None] * basis
            at += order
    return _unpacked(value, d), by


def _reaches(layout: Layout) -> Iterator[tuple[slice, list[int]]]:
    """Parameters, and the poles that what they change is made of: those of their mode, and of modes whose forces are
    correlated with its own."""
    k, coupled = layout.modes, layout.coupled
    for mode in range(k):
        some = sorted({mode, *(m for pair in coupled if mode in pair for m in pair)})
        yield slice(mode * layout.each, (mode + 1) * layout.each), [*some, *(m + k for m in some)]
    for i, pair in enumerate(coupled):
        at = k * layout.each + i
        yield slice(at, at + 1), [*pair, *(m + k for m in pair)]


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
    return White(data, logs, (_whitening(white) * root) @ by)


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
    """The maps of packed x to packed W x W^H, (g, d * d, d * d), as map @ x."""
    g, d = white.shape[:2]
    i, j = np.tril_indices(d, -1)
    half = len(i)
    out = np.empty((g, d * d, d * d))
    out[..., :d] = _packed((white[:, :, None] * white.conj()[:, None]).reshape(g, d * d, d), d, 1)
    # The diagonal, and below and above it, of w_i w_j^H, i > j, times 1 and times the imaginary unit.
    left, right = white[..., i], white[..., j].conj()
    level, below, above = np.sqrt(2) * left * right, left[:, i] * right[:, j], left[:, j] * right[:, i]
    for rows, turn in ((slice(d, d + half), 1), (slice(d + half, d * d), 1j)):
        out[:, :d, rows] = (turn * level).real
        x, y = turn * below, turn * above
        out[:, d : d + half, rows] = x.real + y.real
        out[:, d + half :, rows] = x.imag - y.imag
    return out


def _unpacked(x: np.ndarray, d: int) -> np.ndarray:
    """Hermitian matrices (..., d, d) of packed ones."""
    low = np.tril_indices(d, -1)
    out = np.zeros((*x.shape[:-1], d, d), complex)
    half = len(low[0])
    below = (x[..., d : d + half] + 1j * x[..., d + half :]) / np.sqrt(2)
    out[..., low[0], low[1]], out[..., low[1], low[0]] = below, below.conj()
    out[..., np.arange(d), np.arange(d)] = x[..., :d]
    return out


def _packed(x: np.ndarray, d: int, axis: int = -1) -> np.ndarray:
    """Of Hermitian matrices, flat (..., d * d) along an axis, as many real numbers, whose scalar product is tr x y."""
    low = np.tril_indices(d, -1)
    below = np.take(x, low[0] * d + low[1], axis) * np.sqrt(2)
    return np.concatenate([np.take(x, np.arange(d) * (d + 1), axis).real, below.real, below.imag], axis=axis)


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
