r"""What a fit is worth: covariances, correlated residuals, and whether early and late data agree.

With scores s_k = d cost_k / du, and H the information, the curvature gives H^-1 (times the residuals' variance where
that was estimated). Where residuals are correlated the scores are too, and the covariance is the sandwich

    H^-1 ( sum_l w_l sum_k s_k s_{k+l}^T ) H^-1,   w_l = 1 - |l| / (L + 1).

Source: W. K. Newey and K. D. West, Econometrica 55, 703 (1987).
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LAGS = 24  # of the residuals' autocorrelation that are tested
ROUNDING = 1e-14  # of an eigenvalue of an information of unit diagonal: sums over thousands of readings are off by it
DOUBT = 1e-3  # below this probability residuals are called correlated


class Evidence(NamedTuple):
    """What every reading, in order, says at the optimum; the states of least squares are eliminated from `roots`.

    residuals: (n,), in standard deviations. scores: (n, p), gradients of the cost. roots: (n, q, p), whose squares sum
    to the information. run: (n,), which run a reading is of; channel: (n,), of which component. time: (n,).
    variance: of a residual of weight one. freedom: readings less fitted numbers. states: derivatives (n, k) by the
    run's initial state, or None.
    """

    residuals: np.ndarray
    scores: np.ndarray
    roots: np.ndarray
    run: np.ndarray
    channel: np.ndarray
    time: np.ndarray
    variance: float
    freedom: int
    states: np.ndarray | None

    @property
    def information(self) -> np.ndarray:
        return np.einsum("nqi,nqj->ij", self.roots, self.roots)


def inverse(information: np.ndarray) -> np.ndarray:
    """H^-1, (..., p, p), scaled to a unit diagonal first; infinite variance for what the data say nothing of but
    rounding, whether one record is fitted or many are."""
    information = np.where(np.isfinite(information), information, 0.0)
    diagonal, one = np.diagonal(information, axis1=-2, axis2=-1), np.eye(information.shape[-1])
    known = diagonal > 0
    root = np.sqrt(np.where(known, diagonal, 1.0))
    square, both = root[..., :, None] * root[..., None, :], known[..., :, None] & known[..., None, :]
    scaled = np.where(both, information / square, one)
    full = np.linalg.eigvalsh(scaled)[..., :1, None] > ROUNDING
    inverted = np.linalg.inv(np.where(full, scaled, one)) / square
    unknown = np.where(known[..., None] | (one == 0), 0.0, np.inf)
    return np.where(full, np.where(both, inverted, unknown), np.inf)


def curvature(evidence: Evidence) -> np.ndarray:
    """The covariance if residuals are independent."""
    return evidence.variance * inverse(evidence.information)


def sandwich(evidence: Evidence, lags: int) -> np.ndarray:
    """The covariance whatever the residuals' correlation over this many readings."""
    total = np.zeros_like(evidence.information)
    for run in np.unique(evidence.run):
        here = evidence.run == run
        # What is read at one time counts as one: components may share an error.
        times, at = np.unique(evidence.time[here], return_inverse=True)
        scores = np.zeros((len(times), len(total)))
        np.add.at(scores, at, evidence.scores[here])
        total += scores.T @ scores
        for lag in range(1, min(lags, len(scores) - 1) + 1):
            cross = scores[lag:].T @ scores[:-lag]
            total += (1 - lag / (lags + 1)) * (cross + cross.T)
    bread = inverse(evidence.information)
    n = len(evidence.residuals)
    known = np.isfinite(np.diag(bread))
    bread = np.where(np.isfinite(bread), bread, 0.0)
    return bread @ total @ bread * (n / max(evidence.freedom, 1)) + np.diag(np.where(known, 0.0, np.inf))


def propagated(jacobian: np.ndarray, covariance: np.ndarray, constant: np.ndarray | None = None) -> np.ndarray:
    """J C J^T; what depends on a coordinate of which the data say nothing is as unknown, and disturbs no other.

    `constant`: which values no coordinate changes; they have no error.
    """
    known = np.isfinite(np.diag(covariance))
    j = jacobian[:, known]
    out = j @ covariance[np.ix_(known, known)] @ j.T
    blind = np.any(jacobian[:, ~known] != 0, axis=1) | ~np.any(j != 0, axis=1)
    blind = blind if constant is None else blind & ~constant
    out[blind], out[:, blind] = 0.0, 0.0
    return out + np.diag(np.where(blind, np.inf, 0.0))


def autocorrelation(evidence: Evidence, lags: int = LAGS) -> np.ndarray:
    """Of the residuals within each channel of each run, lags 1 to `lags`."""
    products, counts = np.zeros(lags + 1), np.zeros(lags + 1)
    series = evidence.run * (evidence.channel.max() + 1) + evidence.channel
    for one in np.unique(series):
        r = evidence.residuals[series == one]
        for lag in range(min(lags + 1, len(r))):
            products[lag] += np.sum(r[lag:] * r[: len(r) - lag])
            counts[lag] += len(r) - lag
    mean = products / np.maximum(counts, 1)
    return mean[1:] / max(mean[0], 1e-300)


def whiteness(evidence: Evidence) -> float:
    """The probability of so much autocorrelation by chance: Ljung and Box's test of each channel, of which the least
    counts, times their number (Bonferroni): channels may share an error."""
    channels = np.unique(evidence.channel).tolist()
    return min(1.0, len(channels) * min(_ljung_box(evidence, channel) for channel in channels))


def _ljung_box(evidence: Evidence, channel: int) -> float:
    here = evidence.channel == channel
    one = evidence._replace(**{name: getattr(evidence, name)[here] for name in ("residuals", "run", "channel")})
    n = len(one.residuals)
    lags = min(LAGS, n // 5)
    r = autocorrelation(one, lags)
    statistic = n * (n + 2) * np.sum(r**2 / (n - np.arange(1, lags + 1)))
    return float(stats.chi2.sf(statistic, lags))


def found(total: Any, cost: Any, variance: Any, n: Any, p: int) -> Any:
    """Whether a motion of p parameters lowers the cost of n readings from `total`, that of a constant, by more than the
    best of n / 2 frequencies does in noise once in a thousand times: each takes an exponential part of the variance."""
    return 2 * (total - cost) > variance * (2 * np.log(1000.0 * n) + 2 * p)


def halves(evidence: Evidence, index: int) -> tuple[float, float, float]:
    """How far one coordinate is from the fit's by the early and by the late data alone, and the standard error of the
    difference, each half with initial states of its own: one Gauss-Newton step for each half.

    The halves hold equal information on the coordinate; times count from the start of a run.
    """
    weight = np.sum(evidence.roots[:, :, index] ** 2, axis=1)
    order = np.argsort(evidence.time, kind="stable")
    middle = order[np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2).clip(0, len(order) - 1)]
    early = evidence.time <= evidence.time[middle]
    shifts, variances = [], []
    for part in (early, ~early):
        information, score = _part(evidence, part)
        bread = inverse(information)
        with np.errstate(invalid="ignore"):
            shifts.append(float((-bread @ score)[index]))
        variances.append(evidence.variance * bread[index, index])
    return shifts[0], shifts[1], float(np.sqrt(sum(variances)))


def _part(evidence: Evidence, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Information and score of some rows, their runs' initial states eliminated."""
    if evidence.states is None:
        roots = evidence.roots[part]
        return np.einsum("nqi,nqj->ij", roots, roots), evidence.scores[part].sum(0)
    p = evidence.roots.shape[-1]
    information, score = np.zeros((p, p)), np.zeros(p)
    for run in np.unique(evidence.run[part]):
        rows = part & (evidence.run == run)
        j, jx, r = evidence.roots[rows, 0], evidence.states[rows], evidence.residuals[rows] * np.sqrt(evidence.variance)
        both = np.linalg.lstsq(jx, np.column_stack([j, r]), rcond=None)[0]
        j, r = j - jx @ both[:, :p], r - jx @ both[:, p]
        information, score = information + j.T @ j, score + j.T @ r
    return information, score
