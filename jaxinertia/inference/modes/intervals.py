"""Confidence intervals of modes."""

from typing import Any

import numpy as np
from scipy import stats


def intervals(modes: Any, level: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(low, high), each (K,), by name: see `Modes.interval`."""
    if not 0 < level < 1:
        raise ValueError(f"level = {level!r} must be between 0 and 1, such as 0.95")
    reach = stats.norm.ppf((1 + level) / 2)
    out = {}
    for name in ("frequency", "damped_frequency", "gamma", "damping_ratio", "quality_factor"):
        value, error = getattr(modes, name), getattr(modes.stderr, name)
        out[name] = value - reach * error, value + reach * error
    low, high = (np.array(side) for side in out["gamma"])
    for k in range(modes.count):
        if np.all(np.isfinite(modes.profile[k, 0])):
            low[k], high[k] = _crossings(modes.profile[k, 0], modes.profile[k, 1], float(modes.gamma[k]), reach**2)
    out["gamma"] = low, high
    return out


def _crossings(values: np.ndarray, rise: np.ndarray, best: float, allowed: float) -> tuple[float, float]:
    """Where a profile crosses, on both sides of the best; the grid's end where it does not (0 is one, infinity
    another)."""
    root = np.sqrt(np.maximum(rise, 0.0))
    below, above = values <= best, values >= best
    low = np.interp(-np.sqrt(allowed), -root[below], values[below]) if below.any() else best
    high = np.interp(np.sqrt(allowed), root[above], values[above]) if above.any() else best
    return float(low), float(high) if root[above][-1] ** 2 >= allowed else np.inf
