"""Whether a mode keeps its damping and frequency: one Gauss-Newton step by the early rows alone, and by the late
ones."""

import numpy as np

from .errors import Worth
from .projection import Problem, State, evaluate, inverted, normal

TOLD = 0.05  # of what all rows say of a number: a half that says less takes it as it is
FINE = 400  # points on which the middle of the information is found


def halves(problem: Problem, state: State, worth: Worth) -> np.ndarray:
    """(K, 2, 3): of gamma and frequency, early, late, and the standard error of their difference. Each half holds half
    the information on gamma, with amplitudes of its own; NaN where a half says nothing."""
    sections = state.sections
    out = np.full((sections.modes, 2, 3), np.nan)
    if not np.all(np.isfinite(worth.covariance)):
        return out
    all_rows, _ = normal(problem, state)
    wider = np.sqrt(np.diag(worth.covariance) / np.maximum(np.diag(worth.curvature), 1e-300))
    m, k = len(sections.a), sections.modes
    for mode in range(k):
        middle = _middle(float(sections.slowest[mode]), problem.longest)
        parts = [part for early in (True, False) if (part := _part(problem, middle, early)) is not None]
        if len(parts) < 2:
            continue
        moved = [_step(part, problem.counts, state, all_rows) for part in parts]
        own = [mode, m + mode] if mode < m else [m + mode]
        if any(np.isnan(change[own]).any() for change, _ in moved):
            continue
        rows = sections.jacobian[[mode, k + mode]]
        values = np.array([sections.gamma[mode], sections.frequency[mode]])
        square = np.zeros(2)
        for i, (change, covariance) in enumerate(moved):
            known = np.isfinite(change)
            out[mode, :, i] = values + rows[:, known] @ change[known]
            scaled = covariance * np.outer(wider, wider)
            square += np.einsum("ip,pq,iq->i", rows[:, known], scaled[np.ix_(known, known)], rows[:, known])
        out[mode, :, 2] = np.sqrt(np.maximum(square, 0.0))
    return out


def _middle(rate: float, longest: float) -> float:
    """The time before which half the information on a decay's rate is: that of t^2 e^{-2 rate t} about its own mean."""
    t = np.linspace(0, longest, FINE)
    weight = np.exp(-2 * max(rate, 0.0) * t)
    mean = np.sum(weight * t) / np.sum(weight)
    total = np.cumsum(weight * (t - mean) ** 2)
    return float(np.interp(total[-1] / 2, total, t))


def _part(problem: Problem, middle: float, early: bool) -> Problem | None:
    """The rows on one side of this time since their run's start; None where that leaves too few."""
    blocks = []
    counts = np.zeros(len(problem.counts))
    for block in problem.blocks:
        rows = block.ts <= middle if early else block.ts > middle
        y = block.y[rows]
        if len(y) < 4:
            continue
        w = None if block.w is None else block.w[rows]
        blocks.append(block._replace(ts=block.ts[rows], w=w, y=y, total=block.total * len(y) / len(block.y)))
        counts[block.channels] += len(y)
    return problem._replace(blocks=tuple(blocks), counts=counts) if blocks else None


def _step(part: Problem, counts: np.ndarray, state: State, all_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The change of the numbers u, and its covariance with residuals as they are overall; NaN for what is not told."""
    here = evaluate(part, state.sections)
    overall = here._replace(squares=state.squares / np.maximum(counts, 1) * part.counts)
    information, score = normal(part, overall)
    index = np.flatnonzero(np.diag(information) > TOLD * np.diag(all_rows))
    change, covariance = np.full(len(score), np.nan), np.full(information.shape, np.nan)
    bread = inverted(information[np.ix_(index, index)])
    change[index] = bread @ score[index]
    covariance[np.ix_(index, index)] = bread
    return change, covariance
