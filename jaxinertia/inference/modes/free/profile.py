"""How the deviance rises away from the best gamma, all else refitted: for intervals where the error is no small
part."""

import numpy as np

from ..found import PROFILE
from .errors import Worth
from .projection import Problem, State, evaluate, refine

LARGE = 0.15  # standard error over gamma: above it the profile is taken
REACH = 4.5  # square root of the rise to which it is followed
FARTHEST = 200.0  # standard errors
STEPS = 12


def profiles(problem: Problem, state: State, worth: Worth) -> np.ndarray:
    """(K, 2, PROFILE): gamma, and the rise of the deviance there; NaN where no profile is needed.

    Residuals' correlation makes the rise as much smaller as it makes the variance larger.
    """
    sections = state.sections
    m, k = len(sections.a), sections.modes
    out = np.full((k, 2, PROFILE), np.nan)
    if problem.counts.sum() == 0:
        return out
    for mode in range(k):
        index = mode if mode < m else m + mode
        variance, plain = worth.covariance[index, index], worth.curvature[index, index]
        value = state.sections.u[index]
        spread = float(np.sqrt(variance)) if np.isfinite(variance) else abs(value)
        if spread < LARGE * abs(value):
            continue
        ratio = plain / variance if np.isfinite(variance) and variance > 0 else 1.0
        half = PROFILE // 2
        sides = [_side(problem, state, index, direction * spread, half, ratio) for direction in (-1.0, 1.0)]
        values = np.concatenate([sides[0][0][::-1], [value], sides[1][0]])
        rises = np.concatenate([sides[0][1][::-1], [0.0], sides[1][1]])
        out[mode] = 2 * values, rises
    return out


def _side(
    problem: Problem, best: State, index: int, spread: float, count: int, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values on one side of the best, and rises; past REACH (or at gamma 0) the last is repeated a little farther."""
    values, rises = np.empty(count), np.empty(count)
    state, far, step = best, 0.0, 0.4
    value = best.sections.u[index]
    done = False
    for i in range(count):
        if not done:
            far += step
            u = state.sections.u.copy()
            there = value + far * spread
            there, done = (0.0, True) if value > 0 >= there else (there, False)
            u[index] = there
            trial = evaluate(problem, state.sections.of(u), state)
            trial = refine(problem, trial, (index,), STEPS) if np.isfinite(trial.deviance) else trial
            if np.isfinite(trial.deviance):
                state = trial
            rise = max(state.deviance - best.deviance, 0.0) * ratio
            values[i], rises[i] = there, max(rise, rises[i - 1] if i else 0.0)
            done |= rise > REACH**2 or far > FARTHEST
            step = 0.4 if np.sqrt(rise) > 0.3 * far else min(step * 1.5, 30.0)  # flat sides are crossed in longer steps
        else:
            values[i], rises[i] = values[i - 1] + 1e-9 * spread, rises[i - 1]
    return values, rises
