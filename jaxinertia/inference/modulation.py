"""Whether residuals go with the swing: with its powers, or with itself, of another size or phase early than late.

A sensor that saturates leaves powers of the swing; a knock, a gain that changed, or a hum at its frequency leave the
swing s and its rate s' times something slow. Such a misfit may lie far below the readings' scatter, where no lag of the
residuals shows it, and still be many errors of a damping. With columns c of such a kind less what the fit's own numbers
take of them, and residuals r, of k columns

    chi-square_k = (c^T r)^T (sum_i c_i c_i^T r_i^2)^-1 (c^T r)

Source: J. B. Ramsey, J. R. Stat. Soc. B 31, 350 (1969); whatever the scatter: J. M. Wooldridge, J. Econometrics 47, 5
(1991).
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import special

ENOUGH = 50  # readings
POWERS = 2, 3
SLOW = 3  # the order of the polynomials that are slow, in the share of the swing's path until then
ALONE = 1e-10  # of a column's squares: what is left of one that the fit takes whole


class Chances(NamedTuple):
    """That residuals go so much with the powers, or with the swing itself, by chance."""

    powers: float
    itself: float


def chances(posed: Any) -> Chances:
    """Of least squares with one channel; 1 where that is not asked."""
    evidence, predicted = posed.reading.evidence, posed.reading.prediction
    if predicted is None or evidence.states is None or predicted.shape[-1] > 1 or posed.likelihood.robust:
        return Chances(1.0, 1.0)
    swing = predicted[np.isfinite(predicted)]
    if len(swing) != len(evidence.residuals) or len(swing) < ENOUGH:
        return Chances(1.0, 1.0)
    weight = np.asarray(posed.likelihood.windows.weight)
    weight = weight[weight > 0]
    swing = (swing - swing.mean()) / np.ptp(swing)
    slow = [np.zeros_like(swing) for _ in range(2 * SLOW)]
    for run in np.unique(evidence.run):
        rows = np.flatnonzero(evidence.run == run)
        if len(rows) > 2:
            s, rate = swing[rows], np.gradient(swing[rows], evidence.time[rows])
            share = np.cumsum(np.abs(s)) / max(np.sum(np.abs(s)), 1e-300)
            for k in range(SLOW):
                shape = np.polynomial.Legendre.basis(k + 1)(2 * share - 1)
                slow[2 * k][rows], slow[2 * k + 1][rows] = shape * s, shape * rate
    return Chances(*(_chance(evidence, weight[:, None] * np.stack(c, 1)) for c in ([swing**k for k in POWERS], slow)))


def _chance(evidence: Any, columns: np.ndarray) -> float:
    """The least by the scatter as it is found, and by one that is alike."""
    columns = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-300)
    for run in np.unique(evidence.run):
        rows = evidence.run == run
        columns[rows] = _less(columns[rows], evidence.states[rows])
    left, size, _ = np.linalg.svd(_less(columns, evidence.roots[:, 0]), full_matrices=False)
    own = left[:, size**2 > ALONE]
    r = evidence.residuals
    if not own.shape[1]:
        return 1.0
    pull = own.T @ r
    as_found = float(pull @ np.linalg.pinv((own * r[:, None] ** 2).T @ own, hermitian=True) @ pull)
    alike = float(pull @ pull) * evidence.freedom / max(float(r @ r), 1e-300)
    return float(special.chdtrc(own.shape[1], max(min(as_found, alike), 0.0)))


def _less(columns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The columns without their part in the span of others."""
    return columns - others @ np.linalg.lstsq(others, columns, rcond=None)[0]
