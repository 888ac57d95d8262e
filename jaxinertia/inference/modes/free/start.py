r"""Where the next mode may be: how much of the residuals' squares one more damped motion could take, over all of them.

With X = sum r e^{-(a + i omega) t}, P = sum e^{-2at} and Q = sum e^{-2(a + i omega) t}, a motion e^{-at} (A cos + B
sin) takes 2 (P |X|^2 - Re(Q* X^2)) / (P^2 - |Q|^2) of sum r^2: for each a on a grid, at all omega by one
transform. Close pairs are split by the shift invariance of the band around them.

Source: R. Roy and T. Kailath, IEEE Trans. ASSP 37, 984 (1989).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import signal

from .projection import Problem, State, residuals
from .sections import NONE, Sections, columns, of_poles, relaxing, swinging

PADDED = 2  # times the record's length: between frequencies a start loses little
RATIO = 3.0  # of one rate of decay to the next
DECAYED = 6.0  # amplitudes e^{-6} and below are not summed
LARGEST = 200  # samples of a band that the split looks at
APART = 1e-3  # of P^2: below it cosine and sine of a motion are one


class Peak(NamedTuple):
    """gain: in units of the deviance."""

    gain: float
    sections: Sections


def series(problem: Problem, values: list[np.ndarray], step: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each block: channels, and (n, channels) on an even grid of this step; readings go to the nearest place, others
    are 0."""
    out = []
    for block, r in zip(problem.blocks, values, strict=True):
        at = np.round(block.ts / step).astype(int)
        grid = np.zeros((at[-1] + 1, r.shape[1]))
        np.add.at(grid, at, r)
        out.append((block.channels, grid))
    return out


def peaks(problem: Problem, state: State, floor: np.ndarray | None = None) -> list[Peak]:
    """The best swinging start, the best by `floor` (the residuals' own spectrum, at even frequencies from 0 to half the
    rate), and the best relaxing start."""
    step = problem.step
    weight = np.ones(len(problem.counts)) if problem.known else problem.counts / np.maximum(state.squares, 1e-300)
    rows = series(problem, residuals(problem, state), step)
    longest = max(len(grid) for _, grid in rows)
    best = [Peak(0.0, NONE)] * 3
    for a in _decays(longest):
        gain, relaxed, size = _gains(rows, weight, a)
        start = int(np.ceil(size / min(longest, max(DECAYED / (4 * a), 8.0)) if a else size / longest))
        omega = problem.unfolded(2 * np.pi * np.arange(len(gain)) / size / step)
        gain[:start] = 0.0
        gain[(omega < problem.band[0]) | (omega > problem.band[1])] = 0.0
        ratings = [gain]
        if floor is not None:
            ratings.append(gain / np.interp(np.linspace(0, 1, len(gain)), np.linspace(0, 1, len(floor)), floor))
        for i, rating in enumerate(ratings):
            at = int(np.argmax(rating))
            if rating[at] > best[i].gain:
                best[i] = Peak(float(gain[at]), swinging(max(a, 0.3 / longest) / step, float(omega[at])))
        if a and problem.levels and relaxed > best[2].gain:
            best[2] = Peak(relaxed, relaxing(a / step))
    return [peak for peak in best if peak.gain > 0]


def _decays(longest: int) -> Iterator[float]:
    """Rates per step: none, and from one over the record to half a radian."""
    yield 0.0
    a = 1.0 / longest
    while a < 0.5:
        yield a
        a *= RATIO


def _gains(rows, weight, a: float) -> tuple[np.ndarray, float, int]:
    """Of all frequencies k / size, k <= size / 2; and of a lone pole beside a constant."""
    most = max(len(grid) for _, grid in rows)
    kept = min(most, int(np.ceil(DECAYED / a))) if a else most
    size = PADDED * 2 ** int(np.ceil(np.log2(max(kept, 2))))
    total, relaxed = np.zeros(size // 2 + 1), 0.0
    omega = 2 * np.pi * np.arange(size // 2 + 1) / size
    for channels, grid in rows:
        n = min(kept, len(grid))
        decay = np.exp(-a * np.arange(n))
        x = np.fft.rfft(grid[:n] * decay[:, None], size, axis=0)
        ratio = np.exp(-2 * (a + 1j * omega))
        whole = n if a == 0 else float((1 - np.exp(-2 * a * n)) / (1 - np.exp(-2 * a)))
        near = np.abs(1 - ratio) < 1e-12
        turned = np.where(near, whole, (1 - ratio**n) / np.where(near, 1.0, 1 - ratio))
        apart = np.maximum(whole**2 - np.abs(turned) ** 2, APART * whole**2)
        power = np.abs(x) ** 2
        gain = 2 * (whole * power - (turned.conj()[:, None] * x**2).real) / apart[:, None]
        total += gain @ weight[channels]
        if a:
            level = decay.sum() / len(grid)  # a constant is fitted too
            left = whole - level * decay.sum()
            taken = (x[0].real - level * grid.sum(0)) ** 2 / max(left, 1e-9 * whole)
            relaxed += float(taken @ weight[channels])
    return total, relaxed, size


def split(problem: Problem, state: State, omega: float) -> Sections | None:
    """The poles with one more around this frequency: those of the nearest modes found again, together with it."""
    sections = state.sections
    if not len(sections.a):
        return None
    swing = np.sqrt(np.maximum(-sections.depth, 0.0))
    nearest = int(np.argmin(np.abs(swing - omega) + 1e9 * (sections.depth >= 0)))
    reach = max(8 * abs(sections.a[nearest]), 8 * np.pi / problem.longest, 1.5 * abs(swing[nearest] - omega))
    if sections.depth[nearest] >= 0 or abs(swing[nearest] - omega) > reach or swing[nearest] < reach / 2:
        return None
    inside = (np.abs(swing - swing[nearest]) < 0.7 * reach) & (sections.depth < 0)
    here, keep = np.flatnonzero(inside), np.flatnonzero(~inside)
    poles = _band_poles(problem, state, here, float(swing[nearest]), float(reach))
    if poles is None:
        return None
    rest = Sections(sections.a[keep], sections.depth[keep], sections.rate)
    return rest.plus(of_poles(poles, problem.step))


def _band_poles(problem: Problem, state: State, here: np.ndarray, center: float, reach: float) -> np.ndarray | None:
    """ESPRIT on residuals and the modes `here`, shifted to zero frequency and decimated."""
    parts: list[np.ndarray] = []
    step = problem.step
    few = max(int(np.pi / (reach * step)), 1)
    taps = signal.firwin(8 * few + 1, 1 / few) if few > 1 else np.ones(1)
    m = len(state.sections.a)
    local = Sections(state.sections.a[here], state.sections.depth[here], np.zeros(0))
    values = residuals(problem, state)
    for i, (block, sums) in enumerate(zip(problem.blocks, state.sums, strict=True)):
        c = sums.c[np.concatenate([here, m + here])]
        moves = columns(local, block.ts, derivatives=False)[0] @ c
        values[i] = values[i] + (moves if block.w is None else moves * block.w[:, None])
    for block, (_, grid) in zip(problem.blocks, series(problem, values, step), strict=True):
        scale = np.sqrt(np.maximum(state.squares[block.channels] / problem.counts[block.channels], 1e-300))
        z = grid / scale * np.exp(-1j * center * step * np.arange(len(grid)))[:, None]
        low = signal.oaconvolve(z, taps[:, None], mode="valid", axes=0)[::few] if len(z) > len(taps) + few else z[:0]
        parts += [low[:LARGEST, j] for j in range(low.shape[1])]
    rank = len(here) + 1
    parts = [z for z in parts if len(z) >= 4 * rank]
    if not parts:
        return None
    found = _shift_invariance(parts, rank) / (few * step)
    poles = found + 1j * center
    good = (poles.imag > 0) & (np.abs(poles.imag - center) < reach)
    if not good.all():
        return None
    return np.minimum(poles.real, -0.1 / problem.longest) + 1j * poles.imag


def _shift_invariance(parts: list[np.ndarray], rank: int) -> np.ndarray:
    """Logarithms of the poles shared by these series."""
    rows = min(len(z) for z in parts) // 2
    hankel = np.concatenate([np.lib.stride_tricks.sliding_window_view(z, len(z) - rows + 1) for z in parts], axis=1)
    basis = np.linalg.eigh(hankel @ hankel.conj().T)[1][:, -rank:]
    turn = np.linalg.lstsq(basis[:-1], basis[1:], rcond=None)[0]
    # An exponential that has gone to 0 has no logarithm.
    return np.log(np.where((z := np.linalg.eigvals(turn)) == 0, 1e-300, z))
