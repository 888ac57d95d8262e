"""Fisher scoring with a step that is shortened until the cost falls."""

from collections.abc import Callable

import numpy as np

from .likelihood import Cost

SMALL = 1e-6  # fall of the cost, expected of a step or in several made, at which the search ends
SEVERAL = 5
LONGEST = 60


def climb(
    theta: np.ndarray,
    cost: Callable[[np.ndarray], Cost | None],
    steps: int = LONGEST,
    free: np.ndarray | None = None,
    small: float = SMALL,
) -> tuple[np.ndarray, Cost | None, bool]:
    """The best parameters, their cost, and whether the search ended; `free` are the parameters that may move."""
    best = cost(theta)
    if best is None:
        return theta, None, False
    free = np.ones(len(theta), bool) if free is None else free
    damping, values = 1e-3, [best.value]
    for _ in range(steps):
        if len(values) > SEVERAL and values[-1 - SEVERAL] - values[-1] < small:
            return theta, best, True
        information, gradient = best.information[np.ix_(free, free)], best.gradient[free]
        scale = np.sqrt(np.maximum(np.diag(information), 1e-12 * np.max(np.diag(information))))
        scaled, pull = information / np.outer(scale, scale), gradient / scale
        while True:
            step = -np.linalg.solve(scaled + damping * np.eye(len(pull)), pull) / scale
            expected = -float(gradient @ step)
            if expected < small:
                return theta, best, True
            step = step * min(1.0, 1.0 / np.max(np.abs(step)))
            moved = theta.copy()
            moved[free] += step
            new = cost(moved)
            if new is not None and new.value < best.value:
                theta, best, damping = moved, new, max(damping * 0.2, 1e-9)
                values.append(best.value)
                break
            damping = max(damping * 5, 1e-4)
            if damping > 1e8:
                return theta, best, True
    return theta, best, False
