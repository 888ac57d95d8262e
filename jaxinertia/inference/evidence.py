r"""What a fit is worth: covariances, correlated residuals, and whether early and late data agree.

With scores s_k = d cost_k / du, and H the information, the curvature gives H^-1 (times the residuals' variance where
that was estimated). Where residuals are correlated the scores are too, and the covariance is the sandwich

    H^-1 ( sum_l w_l sum_k s_k s_{k+l}^T ) H^-1,   w_l = 1 - |l| / (L + 1).

Source: W. K. Newey and K. D. West, Econometrica 55, 703 (1987).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import fft, special

from .coordinates import MATRICES
from .parameters import Parameters

LAGS = 24  # of the residuals' autocorrelation that are tested
ROUNDING = 1e-14  # of an eigenvalue of an information of unit diagonal: sums over thousands of readings are off by it
COMPUTED = 1e-24  # of a motion's sum of squares: readings are right to twelve digits
QUIET = 12  # lags without correlation, after which none is expected
LEAST = 0.1  # of one less a leverage
PARTS = 4  # of a run, whose scatters are compared
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
    """The covariance whatever the residuals' correlation over this many readings.

    The weighted sum over lags is that of the squares of all stretches of `lags` + 1 scores, over their length.
    """
    total = np.zeros_like(evidence.information)
    for run in np.unique(evidence.run):
        here = evidence.run == run
        # What is read at one time counts as one: components may share an error.
        times, at = np.unique(evidence.time[here], return_inverse=True)
        sums = np.zeros((len(times) + 1, len(total)))
        np.add.at(sums, at + 1, evidence.scores[here])
        sums = np.cumsum(sums, axis=0)
        first = np.arange(-lags, len(times))
        stretches = sums[np.minimum(first + lags + 1, len(times))] - sums[np.maximum(first, 0)]
        total += stretches.T @ stretches / (lags + 1)
    bread = inverse(evidence.information)
    n = len(evidence.residuals)
    known = np.isfinite(np.diag(bread))
    bread = np.where(np.isfinite(bread), bread, 0.0)
    return bread @ total @ bread * (n / max(evidence.freedom, 1)) + np.diag(np.where(known, 0.0, np.inf))


def of_unlike(evidence: Evidence) -> np.ndarray:
    """The covariance if residuals are independent, however each of them scatters: that of a fit without the reading,
    whose residual is 1 / (1 - h) times as large, h its leverage (J. G. MacKinnon and H. White, J. Econometrics 29, 305
    (1985)). Without that it would be short by what the fit took."""
    root = evidence.roots[:, 0]
    bread = inverse(evidence.information)
    h = np.einsum("ni,ij,nj->n", root, np.where(np.isfinite(bread), bread, 0.0), root)
    if evidence.states is not None:
        for run in np.unique(evidence.run):
            rows = evidence.run == run
            h[rows] += np.sum(np.linalg.qr(evidence.states[rows])[0] ** 2, axis=1)
    alone = evidence._replace(scores=evidence.scores / np.maximum(1 - h, LEAST)[:, None])
    return sandwich(alone, 0) * (evidence.freedom / len(evidence.residuals))


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


def scaled(covariance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """A covariance with these errors in place of its own, where they are not NaN."""
    if np.isnan(spread).all():
        return covariance
    old = np.sqrt(np.diag(covariance))
    new = np.where(np.isnan(spread), old, spread)
    known = np.isfinite(new) & np.isfinite(old) & (old > 0)
    factor = np.where(known, new / np.where(known, old, 1.0), 0.0)
    out = np.where(np.isfinite(covariance), covariance, 0.0) * np.outer(factor, factor)
    return out + np.diag(np.where(known, 0.0, new**2))


def corrected(evidence: Evidence, independent: bool) -> np.ndarray:
    """The covariance of independent residuals whatever their scatter, or of those that are correlated as far as they
    are."""
    return of_unlike(evidence) if independent else sandwich(evidence, correlation_length(evidence))


def chosen(plain: np.ndarray, corrected: np.ndarray, independent: bool, alike: bool) -> np.ndarray:
    """The covariance that the residuals ask for."""
    if independent:
        return plain if alike else corrected
    return no_less(corrected, plain)


def no_less(corrected: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """A corrected covariance with no error below the plain one: where residuals are anticorrelated the correction is a
    small difference of large numbers, and a record too short to tell it would promise too much."""
    new, least = (np.sqrt(np.diag(each)) for each in (corrected, plain))
    return scaled(corrected, np.where(new < least, least, np.nan))


def autocorrelation(evidence: Evidence, lags: int = LAGS) -> np.ndarray:
    """Of the residuals within each channel of each run, lags 1 to `lags`."""
    return _ratios(*(np.sum(x, 0) for x in zip(*(_products(r, lags) for _, r in series(evidence)), strict=True)))


def whiteness(evidence: Evidence) -> float:
    """The probability of so much autocorrelation by chance: Ljung and Box's test of each channel, of which the least
    counts, times their number (Bonferroni): channels may share an error."""
    channels: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for channel, r in series(evidence):
        channels.setdefault(channel, []).append(_products(r, LAGS))
    sums = [[np.sum(x, 0) for x in zip(*parts, strict=True)] for parts in channels.values()]
    return min(1.0, len(sums) * min(float(ljung_box(*each)) for each in sums))


def whiteness_of_all(residuals: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The same of many records, whose residuals (r, w, m, c) were taken where `taken` says."""
    residuals, taken = _taken_first(residuals, taken)
    r, m, n = np.where(taken, residuals, 0.0), residuals.shape[2], taken.sum(2)[..., None]
    lags = range(min(LAGS, m - 1) + 1)
    products = np.stack([np.einsum("rwmc,rwmc->rc", r[:, :, k:], r[:, :, : m - k]) for k in lags], -1)
    counts = np.sum(np.maximum(n - np.array(lags), 0), 1)
    chances = ljung_box(products, counts)
    return np.minimum(1.0, chances.shape[1] * chances.min(1))


def _taken_first(residuals: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """With what was not taken at the end of each run."""
    if not np.any(taken[:, :, 1:] & ~taken[:, :, :-1]):
        return residuals, taken
    order = np.argsort(~taken, axis=2, kind="stable")
    return np.take_along_axis(residuals, order, axis=2), np.take_along_axis(taken, order, axis=2)


def steadiness_of_all(residuals: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The chance that residuals (r, w, m, c) scatter as unlike early, in the middle and late in their runs: Brown and
    Forsythe's test of a few parts of every run, of equal counts, about 0."""
    residuals, taken = _taken_first(residuals, taken)
    size, n = np.where(taken, np.abs(residuals), 0.0), taken.sum(2, keepdims=True)
    part = PARTS * np.arange(taken.shape[2])[:, None] // np.maximum(n, 1)
    inside = [taken & (part == k) for k in range(PARTS)]
    counts = np.stack([np.count_nonzero(x, (1, 2, 3)) for x in inside], -1)
    sums = np.stack([np.einsum("rwmc,rwmc->r", size, x) for x in inside], -1)
    total = np.einsum("rwmc,rwmc->r", size, size)
    between = np.sum(sums**2 / np.maximum(counts, 1), -1)
    among = np.maximum(between - sums.sum(-1) ** 2 / np.maximum(counts.sum(-1), 1), 0.0)
    rest = np.maximum(counts.sum(-1) - PARTS, 1)
    return special.fdtrc(PARTS - 1, rest, among / (PARTS - 1) / np.maximum((total - between) / rest, 1e-300))


def steadiness(evidence: Evidence) -> float:
    """The same of one record."""
    each = [r for _, r in series(evidence)]
    residuals, taken = (
        np.zeros((1, len(each), max(map(len, each)), 1)),
        np.zeros((1, len(each), max(map(len, each)), 1), bool),
    )
    for k, r in enumerate(each):
        residuals[0, k, : len(r), 0], taken[0, k, : len(r), 0] = r, True
    return float(steadiness_of_all(residuals, taken)[0])


def ljung_box(products: np.ndarray, counts: np.ndarray) -> Any:
    """The chance, from sums of products at lags 0, 1, 2, ... (along the last axis) and the numbers of pairs."""
    n, lag = counts[..., :1], np.arange(1, products.shape[-1])
    lags = np.minimum(len(lag), n // 5)
    terms = (products[..., 1:] / np.maximum(products[..., :1], 1e-300)) ** 2 / np.maximum(n - lag, 1)
    statistic = n[..., 0] * (n[..., 0] + 2) * np.sum(np.where(lag <= lags, terms, 0.0), -1)
    return np.where(lags[..., 0] > 0, special.chdtrc(lags[..., 0], statistic), np.nan)


def correlation_length(evidence: Evidence) -> int:
    """Readings over which residuals are taken to be correlated: twice as far as the first stretch of quiet lags."""
    n = len(evidence.residuals)
    loud = np.abs(autocorrelation(evidence, min(400, n // 4))) > 3 / np.sqrt(n)
    quiet = next((k for k in range(len(loud)) if not loud[k : k + QUIET].any()), len(loud))
    return int(np.clip(2 * quiet, n ** (1 / 3), n // 5))


def series(evidence: Evidence) -> Iterator[tuple[int, np.ndarray]]:
    """Of each run and channel, the channel and its residuals."""
    for run in np.unique(evidence.run):
        here = evidence.run == run
        for channel in np.unique(evidence.channel[here]).tolist():
            yield channel, evidence.residuals[here & (evidence.channel == channel)]


def _products(r: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of r_k r_{k + lag} for lags 0 to `lags`, and the numbers of their terms."""
    n = len(r)
    products, counts = np.zeros(lags + 1), np.maximum(n - np.arange(lags + 1), 0)
    inner = min(n, lags + 1)
    padded = fft.next_fast_len(2 * n, real=True)
    products[:inner] = fft.irfft(np.abs(fft.rfft(r, padded)) ** 2, padded)[:inner]
    return products, counts


def _ratios(products: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean products at lags 1, 2, ... over that at lag 0."""
    mean = products / np.maximum(counts, 1)
    return mean[..., 1:] / np.maximum(mean[..., :1], 1e-300)


def found(total: Any, cost: Any, variance: Any, n: Any, p: int) -> Any:
    """Whether a motion of p parameters lowers the cost of n readings from `total`, that of a constant, by more than the
    best of n / 2 frequencies does in noise once in a thousand times: each takes an exponential part of the variance."""
    return 2 * (total - cost) > variance * (2 * np.log(1000.0 * n) + 2 * p)


def at_rounding(total: Any, cost: Any) -> Any:
    """Whether a motion leaves of `total`, the cost of a constant, what rounding may leave: the record was computed."""
    return cost < COMPUTED * total


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


def early_and_late(
    parameters: Parameters, evidence: Evidence, flat: np.ndarray, jacobian: np.ndarray
) -> dict[str, tuple[int, float, float, float]]:
    """(row of `flat`, early, late, standard error of their difference) of each number of friction and potential that is
    one by itself."""
    out = {}
    each = (parameters.titles, parameters.kinds, parameters.slices, parameters.shapes)
    for name, kind, part, shape in zip(*each, strict=True):
        if not name.startswith(("damping", "potential")) or shape != () or kind in MATRICES:
            continue
        i = part.start
        early, late, error = halves(evidence, i)
        if not np.isfinite(error):  # at a bound a half says nothing
            continue
        row = int(np.argmax(np.abs(jacobian[:, i])))
        scale, value = float(jacobian[row, i]), float(flat[row])
        out[name] = (row, value + scale * early, value + scale * late, abs(scale) * error)
    return out
