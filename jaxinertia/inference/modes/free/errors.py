r"""What the poles and amplitudes of a free decay are worth.

With r = R^{1/2} e the residuals' covariance R of `colour`, the poles' error is H^-1 sum_j L_j^T E^T P r_j / sigma_j^2
and that of the amplitudes G^-1 Phi^T r_j + M_j (error of the poles), M_j = -G^-1 Phi^T E L_j: all linear in the
residuals, so that one product of the columns with R gives every covariance.
"""

from typing import NamedTuple

import numpy as np

from . import colour
from .growth import by_channel
from .projection import CHUNK, Block, Problem, State, Sums, inverted, is_told, weighted_columns
from .sections import chain

DOUBT = 1e-3  # below this probability residuals are called correlated


class Amplitudes(NamedTuple):
    """Of one channel of one run. c: (q,). own: (q, q), covariance of what its residuals do. by_poles: (q, p).
    with_poles: (p, q), covariance of the poles' error with `own`'s."""

    c: np.ndarray
    own: np.ndarray
    by_poles: np.ndarray
    with_poles: np.ndarray


class Worth(NamedTuple):
    """covariance: (p, p), of the poles' numbers. curvature: the same, were residuals white. amplitudes: by (run,
    channel).
    error: (d,), of a reading, in units of its given error where that is known. autocorrelation, whiteness: of
    residuals."""

    covariance: np.ndarray
    curvature: np.ndarray
    amplitudes: dict[tuple[int, int], Amplitudes]
    error: np.ndarray
    autocorrelation: np.ndarray
    whiteness: float


def worth(problem: Problem, state: State) -> Worth:
    """All of it."""
    p = state.sections.size
    series = by_channel(problem, state)
    spent = _spent(problem, state)
    fits = [colour.fit(each, s) for each, s in zip(series, spent, strict=True)]
    correlation, white = colour.whiteness(series, colour.MOST)
    if white > DOUBT:  # by readings' own errors where they are known
        fits = [colour.Colour(np.zeros(0), *(1.0 if problem.known else one.total,) * 2) for one in fits]
    information, middle = np.zeros((p, p)), np.zeros((p, p))
    pieces = []
    for block, sums in zip(problem.blocks, state.sums, strict=True):
        combine = chain(state.sections, sums.c)
        plain = None
        for i, j in enumerate(block.channels):
            one, weight = fits[j], 1 / max(fits[j].total, 1e-300)
            if len(one.phi):
                gram = _gram(block, state, problem.levels, one)
            else:
                plain = _gram(block, state, problem.levels, None) if plain is None else plain
                gram = one.total * plain
            piece = _piece(sums, combine[i], gram, i)
            information += weight * combine[i].T @ sums.inner @ combine[i]
            middle += weight**2 * piece.middle
            pieces.append((block.run, int(j), weight, piece))
    bread = inverted(information) if is_told(problem, state) else np.full((p, p), np.inf)
    safe = np.where(np.isfinite(bread), bread, 0.0)
    covariance = safe @ middle @ safe + np.where(np.isfinite(bread), 0.0, np.inf)
    amplitudes = {
        (run, j): Amplitudes(piece.c, piece.own, piece.by_poles, safe @ (weight * piece.cross))
        for run, j, weight, piece in pieces
    }
    error = np.sqrt(np.array([one.total for one in fits]))
    return Worth(covariance, bread, amplitudes, error, correlation, white)


class _Piece(NamedTuple):
    c: np.ndarray
    own: np.ndarray
    by_poles: np.ndarray
    cross: np.ndarray
    middle: np.ndarray


def _piece(sums: Sums, combine: np.ndarray, gram: np.ndarray, i: int) -> _Piece:
    """Of one channel: (e, p) `combine`, and `gram`, the columns' product with the residuals' covariance between."""
    q = len(sums.c)
    off = np.concatenate([-sums.inverse @ sums.across, np.eye(gram.shape[0] - q)])  # Z off = E projected off Phi
    left = off @ combine
    return _Piece(
        sums.c[:, i],
        sums.inverse @ gram[:q, :q] @ sums.inverse,
        -sums.inverse @ sums.across @ combine,
        left.T @ gram[:, :q] @ sums.inverse,
        left.T @ gram @ left,
    )


def _gram(block: Block, state: State, levels: int, one: colour.Colour | None) -> np.ndarray:
    """Z^T Z, or Z^T R Z."""
    if one is not None:
        z = one.spread(weighted_columns(state.sections, block.ts, block.w, levels))
        return z.T @ z
    total = 0.0
    for start in range(0, len(block.ts), CHUNK):
        rows = slice(start, start + CHUNK)
        z = weighted_columns(state.sections, block.ts[rows], None if block.w is None else block.w[rows], levels)
        total = total + z.T @ z
    return np.asarray(total)


def _spent(problem: Problem, state: State) -> np.ndarray:
    """(d,), fitted numbers of each channel, the poles shared out."""
    each = 2 * len(state.sections.a) + len(state.sections.rate) + problem.levels
    spent = np.full(len(problem.counts), state.sections.size / len(problem.counts))
    for block in problem.blocks:
        spent[block.channels] += each
    return spent
