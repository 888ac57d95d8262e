"""What a reader of a fit's numbers has to know: what the data deny, or do not say."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import errors
from .shooting import mass_of
from .windows import about_mean

AT = 1e-6  # this close, in standard errors, a value is at its bound
AWAY = 100.0  # rates per reading beyond which nothing that was recorded could be told
DISAGREE = 3.0  # standard errors between early and late damping that are worth a word
SURE = 6.0  # standard deviations of chi-square that are not chance
CLIPPED = 0.05  # of the readings at the extremes: more than a swing leaves there


def doubts(outcome, record, chi, whiteness, halves, flat, covariance) -> tuple[str, ...]:
    """All of them, in words."""
    return (
        *(f"{why}; do not use the values" for why in failures(outcome.ended, is_lost(outcome), outcome.iterations)),
        *_of_the_steps(outcome),
        *_of_the_scatter(outcome, record, chi),
        *_of_the_model(outcome, record, whiteness, halves),
        *_of_the_readings(record),
        *_of_the_values(record, flat, covariance),
    )


def failures(ended: Any, lost: Any, iterations: Any) -> tuple[str, ...]:
    """Why a search, of one record or of one of many, has not converged to a motion; empty if it has."""
    stopped = f"the search did not converge in {iterations} iterations"
    nothing = "no such motion was found: noise would be fitted as well"
    return (stopped,) * (not ended) + (nothing,) * bool(lost)


def is_lost(outcome) -> bool:
    """Whether least squares found no motion."""
    if outcome.fitted is None:
        return False
    windows, evidence = outcome.fitted.problem.windows, outcome.evidence
    total = float(about_mean(windows.weight, windows.y))
    n, p = len(evidence.residuals), len(outcome.u)
    return not errors.found(total, outcome.cost, evidence.variance, n, p)


def _of_the_steps(outcome) -> Iterator[str]:
    if outcome.fitted is not None and not outcome.fitted.fine:
        yield (
            "the steps between readings are not known to be short enough: half of them would still move the prediction "
            "by more than a tenth of a standard error"
        )


def _of_the_scatter(outcome, record, chi) -> Iterator[str]:
    """Residuals are in units of what they should be, if that is known: by the reading's error, or by the filter."""
    freedom = outcome.evidence.freedom
    least_squares = outcome.fitted is not None
    if outcome.windows is None or (least_squares and chi is None):
        return
    ratio = float(np.sum(outcome.evidence.residuals**2)) / freedom
    if abs(ratio - 1) < SURE * math.sqrt(2 / freedom):
        return
    if not least_squares:
        yield (
            f"readings scatter {math.sqrt(ratio):.3g} times as much as the filter expects{_hint(record)}: "
            "do not trust the values"
        )
    elif ratio > 1:
        yield f"reduced chi-square is {chi:.3g}: readings scatter more than position_error says, or the model is wrong"
    else:
        yield f"reduced chi-square is {chi:.3g}: readings scatter less than position_error says, so stderr is too large"


def _of_the_model(outcome, record, whiteness, halves) -> Iterator[str]:
    correlated = whiteness < errors.DOUBT
    whittle = "floor" in outcome.extra
    drifting = [
        (name, early, late)
        for name, (early, late, error) in halves.items()
        if abs(early - late) > DISAGREE * error and not whittle
    ]
    for name, early, late in drifting:
        verb = "falls" if late < early else "rises"
        law = record.system.damping
        told, trial = f"damping = {type(law).__name__}", "another potential, or another law of friction"
        if law.is_linear:
            told = "viscous damping alone"
            trial = "quadratic drag" if late < early else "another potential, or dry friction"
        advice = f"; try {trial}"
        together = ": residuals are correlated," if correlated else ":"
        yield (
            f"{told} does not describe this record{together} "
            f"{name} {verb} from {early:.4g} to {late:.4g}{_hint(record)}{advice}"
        )
    if correlated and not drifting:
        r = errors.autocorrelation(outcome.evidence, 1)[0]
        offset = "" if record.offset is None else ": the reading at rest? offset=None fits it"
        advice = _hint(record) + offset or "; stderr allows for the correlation, not for a wrong model"
        yield (
            f"residuals are correlated ({r:+.2f} from one to the next{_peak(outcome, record)}): the model misses "
            f"something{advice}"
        )


def _peak(outcome, record) -> str:
    """Where the residuals of one run on even times have most of their power."""
    windows, evidence = outcome.windows, outcome.evidence
    first = evidence.channel == 0
    if windows is None or len(record.runs) > 1 or not windows.even or first.sum() < 64:
        return ""
    step = float(record.units.time)
    at = np.round(evidence.time[first] * (float(outcome.record.units.time) / step)).astype(int)
    r = np.zeros(at.max() + 1)  # 0 where nothing was read: what is there keeps its time
    r[at] = evidence.residuals[first] - evidence.residuals[first].mean()
    power = np.abs(np.fft.rfft(r, 4 * len(r))) ** 2
    frequency = np.fft.rfftfreq(4 * len(r), step)[np.argmax(power)]
    return f", most at frequency {frequency:.4g}"


def _hint(record) -> str:
    names = [f"{name}, held at {value}" for name, value in record.parameters.held(record.system)]
    return f": free {' and '.join(names)}" if names else ""


def _of_the_readings(record) -> Iterator[str]:
    for run in record.runs:
        y = run.y[run.row >= 0, 0]
        ends = np.mean(y == y.max()), np.mean(y == y.min())
        if max(ends) > CLIPPED and len(np.unique(y)) > 20:
            yield f"{100 * sum(ends):.0f} % of the readings lie at the greatest or least value: were they clipped?"
            return


def _of_the_values(record, flat, covariance) -> Iterator[str]:
    parameters = record.parameters
    spread = np.sqrt(np.diag(covariance))
    fields = [name for name, shape in zip(parameters.names, parameters.shapes, strict=True) for _ in np.ndindex(*shape)]
    away = _far(record)
    rows = zip(fields, parameters.labels, flat, spread, parameters.limits, strict=True)
    for field, label, value, error, (low, high) in rows:
        if value > away.get(field, np.inf):
            yield f"{label} ran off to {value:.3g}: the data do not hold it"
        elif at_bound(value, error, low, high):
            bound = low if value - low < high - value else high
            yield f"{label} went to its bound {bound:.6g}: the data want it beyond, and its error means little"
        elif not np.isfinite(error):
            yield f"the data say nothing about {label}: its value is the start's; fix it, or record where it matters"
        elif label.startswith(("damping", "noise")) and error > abs(value):
            yield f"{label} cannot be told from zero: {value:.3g} +- {error:.2g}"


def _far(record) -> dict[str, float]:
    """Of each field of the friction that has a size: the value beyond which nothing that was recorded could be told."""
    units = record.units
    speed = float(units.length / units.time)
    likely = record.system.damping.likely(AWAY / float(units.time), speed, mass_of(record.system))
    return {f"damping.{field}": float(value) for field, value in likely.items()}


def at_bound(value: Any, error: Any, low: float, high: float) -> np.ndarray | np.bool_:
    """Whether a value has gone to a bound, by its standard error or, where that is infinite, by the bound's size."""
    bound = np.where(value - low < high - value, low, high)
    reach = np.where(np.isfinite(error), error, np.abs(bound) + 1e-300)
    return np.minimum(value - low, high - value) < AT * reach
