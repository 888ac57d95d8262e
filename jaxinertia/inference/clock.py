r"""Whether times are off: readings then scatter by  error^2 + (dy/dt time_error)^2,  most where they change fastest.

The squares of residuals are laid out as a + b (dy/dt)^2 + c y^2, so that scatter that grows with the swing itself is
not taken for a clock's; b, over its own error, says whether there is one, and its root is the clock's error.
"""

from collections.abc import Iterator

import numpy as np

from . import evidence as errors
from .likelihood import Posed

SURE = 6.0  # standard errors of b
MATTERS = 0.1  # of the residuals' variance
ENOUGH = 100  # readings
ROUNDS, LEAST = 12, 1e-3  # of weights from the last means, and the least of these


def doubts(posed: Posed, whiteness: float) -> Iterator[str]:
    """In words, of least squares whose residuals are otherwise as they should be."""
    records, predicted = posed.records, posed.reading.prediction
    if posed.reading.states is None or predicted is None or posed.likelihood.robust or whiteness < errors.DOUBT:
        return
    if np.any(records.time_error):
        return
    first = predicted[..., 0]
    known = np.isfinite(first)
    if known.sum() < ENOUGH:
        return
    y, weight, ts = records.y[0, ..., 0], records.weight[0, ..., 0], records.ts[0]
    scale = np.where(known, weight, 0.0)
    z, slope = scale * (y - np.where(known, first, y)), np.zeros(y.shape)
    for k, rows in enumerate(known):
        at = np.flatnonzero(rows)
        if len(at) > 2:
            slope[k, at] = np.gradient(first[k, at], ts[k, at])
    swing = np.where(known, first, 0.0) - np.mean(first[known])
    squares = np.stack([np.ones(known.sum()), ((scale * slope) ** 2)[known], ((scale * swing) ** 2)[known]], axis=1)
    found, spread = _laid_out(squares, z[known] ** 2)
    share = found[1] * np.mean(squares[:, 1]) / max(np.mean(z[known] ** 2), 1e-300)
    if found[1] > SURE * spread[1] and share > MATTERS:
        late = np.sqrt(found[1])
        unit, step = records.reading_unit[0, 0], float(records.units.time[0])
        fastest = float(np.max(np.abs(slope))) * late * unit
        still = float(np.sqrt(max(found[0], 0.0)) / np.max(scale)) * unit
        yield (
            f"readings scatter more where they change faster, as if times were off by {late * step:.2g}: that is up to "
            f"{fastest:.2g} of a reading, beside {still:.2g} where it stands still, and stderr does not know: pass "
            f"time_error={late * step:.2g} to ji.Observations"
        )


def _laid_out(squares: np.ndarray, z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The coefficients of squares of normal residuals, whose errors go with their means, and the errors of these."""
    mean = np.full(len(z2), max(float(np.mean(z2)), 1e-300))
    least = LEAST * mean
    size = np.maximum(np.sqrt(np.mean(squares**2, 0)), 1e-300)
    for _ in range(ROUNDS):
        rows = squares / size / mean[:, None]
        found, *_ = np.linalg.lstsq(rows, z2 / mean, rcond=None)
        mean = np.maximum(squares / size @ found, least)
    rows = squares / size / mean[:, None]
    variance = np.diag(np.linalg.pinv(rows.T @ rows)) * np.mean((z2 / mean - 1) ** 2)
    return found / size, np.sqrt(variance) / size
