"""What a reader of a fit's numbers has to know: what the data deny, or do not say."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import fft, ndimage, special

from . import clock, modulation
from . import evidence as errors
from .delay import lost
from .derived import rates
from .likelihood import Posed
from .record import Records
from .starts import dominant, mass_of

AT = 1e-6  # this close, in standard errors, a value is at its bound
AWAY = 100.0  # rates per reading beyond which nothing that was recorded could be told
DISAGREE = 3.0  # standard errors between early and late damping that are worth a word
NEAR, MULTIPLES = 0.15, 3  # of a motion's frequency: what is as near is its own; and multiples of it that may be
SURE = 6.0  # standard deviations of chi-square that are not chance
AROUND, RARE = 25, 1e-4  # readings around one that say how far it should be off, and how rarely it is farther
CLIPPED, BELOW = 4, 3  # times as many readings at an extreme as at any value near it: more than a swing leaves there
FAINT = 0.5  # of the least relative error: a bias that matters


def doubts(
    posed: Posed,
    why: tuple[str, ...],
    chi: float | None,
    whiteness: float,
    halves: dict,
    flat: np.ndarray,
    covariances: list[np.ndarray],
    ends: np.ndarray,
) -> tuple[str, ...]:
    """All of them, in words; `why`: it has not converged; `covariances`: as reported, and the curvature's; `ends`: of
    values whose errors are not symmetric."""
    records = posed.records
    return (
        *(f"{each}; do not use the values" for each in why),
        *_of_the_steps(posed),
        *_of_the_scatter(posed, chi),
        *_of_the_model(posed, whiteness, halves),
        *clock.doubts(posed, whiteness),
        *_of_the_input(posed, flat, covariances[0]),
        *_of_the_delay(posed),
        *_of_the_readings(records),
        *(() if posed.reading.states is None or posed.likelihood.robust else _of_the_spikes(posed.reading.evidence)),
        *_of_the_values(records, flat, covariances, ends),
        *_of_the_rates(records, flat, covariances[1], ends),
    )


def failures(ended: Any, lost: Any, iterations: Any) -> tuple[str, ...]:
    """Why a search, of one record or of one of many, has not converged to a motion; empty if it has."""
    stopped = f"the search did not converge in {iterations} iterations"
    nothing = "no such motion was found: noise would be fitted as well"
    return (stopped,) * (not ended) + (nothing,) * bool(lost)


def _of_the_steps(posed: Posed) -> Iterator[str]:
    if not posed.fine:
        yield (
            "the steps between readings are not known to be short enough: half of them would still move the prediction "
            "by more than a tenth of a standard error"
        )


def _of_the_scatter(posed: Posed, chi: float | None) -> Iterator[str]:
    """Residuals are in units of what they should be, if that is known: by the reading's error, or by the filter."""
    evidence, least_squares = posed.reading.evidence, posed.reading.states is not None
    if posed.reading.prediction is None or (least_squares and chi is None):
        return
    ratio = float(np.sum(evidence.residuals**2)) / evidence.freedom
    if abs(ratio - 1) < SURE * math.sqrt(2 / evidence.freedom):
        return
    if not least_squares:
        yield (
            f"readings scatter {math.sqrt(ratio):.3g} times as much as the filter expects{_hint(posed.records)}: "
            "do not trust the values"
        )
    elif ratio > 1:
        yield f"reduced chi-square is {chi:.3g}: readings scatter more than position_error says, or the model is wrong"
    else:
        yield f"reduced chi-square is {chi:.3g}: readings scatter less than position_error says, so stderr is too large"


def _of_the_model(posed: Posed, whiteness: float, halves: dict) -> Iterator[str]:
    if errors.at_rounding(posed.likelihood.level, posed.cost):
        yield "residuals are at rounding: the record was computed, and errors are those of its arithmetic"
        return
    found = misfit(posed, whiteness, halves)
    correlated, records = whiteness < errors.DOUBT, posed.records
    together = ": residuals are correlated," if correlated else ":"
    for name, early, late in _drifting(halves):
        law = records.system.damping
        told = "viscous damping alone" if law.is_linear else f"damping = {type(law).__name__}"
        if not name.startswith("damping"):
            told = f"potential = {type(records.system.potential).__name__}"
        yield (
            f"{told} does not describe this record{together} {name} {'falls' if late < early else 'rises'} from "
            f"{early:.4g} to {late:.4g}{_hint(records)}{_beside(posed)}"
        )
    if found == BENT:
        yield (
            "residuals go with the square or the cube of the swing: the sensor saturates where the swing is large, or "
            f"the law is not the record's, and stderr does not know{_hint(records)}; leave the largest swings out"
            f"{_beside(posed)}"
        )
    if found == UNSTEADY:
        yield (
            "residuals go with the swing itself: its size or phase is not what the law makes it throughout, as after a "
            "knock, a gain that changed, or under a hum at its frequency, and stderr does not know; fit parts of the "
            f"record by themselves{_hint(records)}{_beside(posed)}"
        )
    if correlated and found != DRIFT:
        r = errors.autocorrelation(posed.reading.evidence, 1)[0]
        offset = "" if records.offset is None else ": the reading at rest? offset=None fits it"
        advice = _hint(records) + offset or "; stderr allows for the correlation, not for a wrong model"
        peak = peak_of(posed)
        most = "" if peak is None else f", most at frequency {peak.frequency:.4g}"
        other = "; a second motion there? ji.modes(data) takes them apart" if found == ANOTHER else _beside(posed)
        yield (
            f"residuals are correlated ({r:+.2f} from one to the next{most}): the model misses something{advice}{other}"
        )


def _beside(posed: Posed) -> str:
    """What to do where a law does not describe a record."""
    usual = posed.reading.states is not None and posed.records.d == 1
    several = posed.records.of and not posed.records.parameters.own
    own = "; if the records differ in a number, each= gives every one its own" if several else ""
    return own + (
        "; ji.compare(data) fits the usual laws beside it" if usual else "; try another potential or friction"
    )


def _drifting(halves: dict) -> list[tuple[str, float, float]]:
    """What is not the same early and late: its name and both values."""
    return [(name, a, b) for name, (a, b, error) in halves.items() if abs(a - b) > DISAGREE * error]


DRIFT, ANOTHER, BENT, UNSTEADY, SOME = "drift", "another motion", "powers", "unsteady", "something"


def misfit(posed: Any, whiteness: float, halves: dict) -> str | None:
    """What residuals say against a model: its numbers drift, there is another motion, they go with powers of the swing
    or with itself, or something; None: nothing."""
    if _drifting(halves):
        return DRIFT
    if whiteness >= errors.DOUBT:
        chances = modulation.chances(posed)
        if chances.powers < errors.DOUBT:
            return BENT
        return UNSTEADY if chances.itself < errors.DOUBT else None
    peak = peak_of(posed)
    return ANOTHER if peak is not None and _is_apart(peak, posed.records) else SOME


class Peak(NamedTuple):
    """Where residuals have most of their power, in cycles per time, and how far apart two frequencies are told."""

    frequency: float
    resolution: float


def peak_of(posed: Any) -> Peak | None:
    """Of the residuals of one run on even times."""
    records, evidence = posed.records, posed.reading.evidence
    first = evidence.channel == 0
    if posed.reading.prediction is None or records.y.shape[1] > 1 or not records.even or first.sum() < 64:
        return None
    at = np.round(evidence.time[first] / records.finer).astype(int)
    r = np.zeros(at.max() + 1)  # 0 where nothing was read: what is there keeps its time
    r[at] = evidence.residuals[first] - evidence.residuals[first].mean()
    step = float(records.step[0])
    frequency, power = fft.rfftfreq(4 * len(r), step), np.abs(fft.rfft(r, 4 * len(r)))
    return Peak(float(frequency[np.argmax(power)]), 2 / (len(r) * step))


def _is_apart(peak: Peak, records: Any) -> bool:
    """Whether it is none of the motion's own: its frequency, and the multiples that an anharmonic law adds."""
    own = float(dominant(records)[0]) / (2 * math.pi * float(np.asarray(records.units.time)[0]))
    order = max(round(peak.frequency / own), 1)
    return order > MULTIPLES or abs(peak.frequency - order * own) > max(NEAR * own, peak.resolution)


def _hint(records: Records) -> str:
    names = [f"{name}, held at {value}" for name, value in records.parameters.held(records.system)]
    return f": free {' and '.join(names)}" if names else ""


def _of_the_readings(records: Records) -> Iterator[str]:
    for recorded, weight, readings in zip(records.row[0] >= 0, records.weight[0], records.y[0], strict=True):
        y = readings[recorded & (weight[:, 0] > 0), 0]
        count = _at_the_end(y) + _at_the_end(-y)
        if count:
            yield (
                f"{count:,} of {len(y):,} readings lie at the greatest or least value, and few near it: were they "
                "clipped? write them as NaN, or take the part where the swing is smaller"
            )
            return


def _at_the_end(y: np.ndarray) -> int:
    """How many readings lie at the greatest value, if that is many more than at those near it. A swing that is rounded
    leaves at most 2.4 times as many, where it turns; one that ends at rest there is not clipped. Where no other value
    comes twice, three are no chance."""
    values, counts = np.unique(y, return_counts=True)
    if len(values) <= BELOW or y[-1] == values[-1]:
        return 0
    usual = CLIPPED * counts[-1 - BELOW : -1].max() if counts[1:-1].max() > 1 else 2
    return int(counts[-1]) if counts[-1] > usual else 0


def _of_the_input(posed: Posed, flat: np.ndarray, covariance: np.ndarray) -> Iterator[str]:
    """What an input does between its samples, where lines are drawn and errors are so small that it matters; least
    squares on even times has tried other ways."""
    records, error = posed.records, np.sqrt(np.diag(covariance))
    if records.input is None or (records.even and posed.reading.states is not None):
        return
    relative = np.divide(error, np.abs(flat), out=np.full(len(flat), np.inf), where=(error > 0) & (flat != 0))
    part = float(lost(records)[0])
    if part > FAINT * np.min(relative):
        yield (
            f"the input is taken to run straight between its samples, which keeps {100 * part:.2g} % of it from what "
            "drives this motion, and stderr does not know: values may be off by as much; sample the input more finely, "
            "or, without noise, on even times, where other ways of reading it are tried"
        )


def _of_the_delay(posed: Posed) -> Iterator[str]:
    """Delays between which the input does not choose, or beyond which none was tried."""
    records, at = posed.records, posed.likelihood.beside_at[2]
    if records.looked is None:
        return
    unit = float(records.units.time[0])
    late = float(records.delay[0] + np.sum(posed.u[at]))
    error = float(np.sqrt(np.diag(errors.curvature(posed.reading.evidence)))[at][0])
    first, last, apart, *rivals = records.looked[0]
    others = ", ".join(f"{rival * unit:.4g}" for rival in rivals if np.isfinite(rival))
    if others:
        yield (
            f"input_delay = {others} does as well as {late * unit:.4g}, with other values of what was fitted: this "
            "input does not tell them apart, and stderr does not know; give input_delay, hold the gain, or record an "
            "input that changes in other ways"
        )
    if apart > FAINT * error:
        yield (
            f"input_delay may be off by {apart * unit:.4g}, and stderr does not know: neither samples nor readings say "
            "what the input does between samples, whether it is held or when it jumps; sample it more finely"
        )
    if not first < late < last:
        yield (
            f"input_delay = {late * unit:.4g} is at the end of what was tried, {first * unit:.4g} to "
            f"{last * unit:.4g}: move the input's times by about what is known of the delay"
        )


def _of_the_spikes(evidence: errors.Evidence) -> Iterator[str]:
    """Single readings that stand far off what is left around them: squares follow them, and errors grow with them."""
    count = sum(int(np.sum(_far_off(r) > 1)) for _, r in errors.series(evidence))
    if count:
        yield (
            f"{count:,} of {len(evidence.residuals):,} readings are spikes, far off what is left of the others: "
            "they pull the values and widen stderr; pass loss='student'"
        )


def _far_off(r: np.ndarray) -> np.ndarray:
    """Residuals of one run and channel, over how far the farthest of so many normal ones, in units of the median of
    all, or of those before or after it, would be once in ten thousand records; 0 where a neighbour is as far off."""
    n, size = len(r), np.abs(r)
    around = min(AROUND, n - 1 + n % 2)
    before, after = (ndimage.median_filter(size, around, origin=side) for side in (around // 2, -(around // 2)))
    unit = np.maximum(np.median(size), np.maximum(before, after)) / -special.ndtri(0.25)
    limit = -special.ndtri(RARE / n / 2) * (1 + 3 / math.sqrt(around))  # the median of so few is off itself
    beside = np.maximum(np.append(size[1:], 0.0), np.append(0.0, size[:-1]))
    return np.where(beside < size / 2, size / np.maximum(limit * unit, 1e-300), 0.0)


def _of_the_values(
    records: Records, flat: np.ndarray, covariances: list[np.ndarray], ends: np.ndarray
) -> Iterator[str]:
    parameters = records.parameters
    spread, curvature = (np.sqrt(np.diag(each)) for each in covariances)
    fields = [name for name, shape in zip(parameters.names, parameters.shapes, strict=True) for _ in np.ndindex(*shape)]
    away = _far(records)
    silent = np.isinf(curvature) & np.all(parameters.limits == ends.T, axis=1)
    rows = zip(fields, parameters.labels, flat, spread, parameters.limits, ends.T, silent, strict=True)
    for field, label, value, error, (low, high), interval, nothing in rows:
        if at_bound(value, error, low, high):
            bound = low if value - low < high - value else high
            yield f"{label} went to its bound {bound:.6g}: the data want it beyond, and its error means little"
        elif not np.isnan(interval[0]) and not nothing:
            yield f"{label} {_asymmetric(interval[0], interval[1], low, high, error)}"
        elif value > away.get(field, np.inf):
            yield f"{label} ran off to {value:.3g}: the data do not hold it"
        elif not np.isfinite(error):
            yield f"the data say nothing about {label}: its value is the start's; fix it, or record where it matters"
        elif label.startswith(("damping", "noise")) and error > abs(value):
            yield f"{label} cannot be told from zero: {value:.3g} +- {error:.2g}"


def _asymmetric(first: float, last: float, low: float, high: float, error: float) -> str:
    """What an interval that is not symmetric says."""
    below, above = first == low, last == high
    if below and above:
        return "can be anything: all else refitted, none that it may be is excluded at 95 %, and its value means little"
    if above and np.isinf(high):
        return f"is known on one side only, from {first:.4g} on at 95 %: all else refitted, any greater fits as well"
    if below and np.isinf(low):
        return f"is known on one side only, up to {last:.4g} at 95 %: all else refitted, any smaller fits as well"
    level = "" if np.isfinite(error) else "; farther off the cost rises no more: stderr is infinite"
    return f"has an error that is not symmetric: 95 % from {first:.4g} to {last:.4g}, all else refitted{level}"


def _of_the_rates(records: Records, flat: np.ndarray, curvature: np.ndarray, ends: np.ndarray) -> Iterator[str]:
    """What is in a record of which only one rate of two is known."""
    found = rates(records.system, records.parameters, flat, curvature)
    if found is None or not np.any(np.isinf(ends)):
        return
    value, error = min(found, key=lambda each: each[1] / abs(each[0]))
    told = f"{value:.6g} +- {error:.2g}" if error < abs(value) else f"about {value:.4g}"
    yield (
        f"overdamped: one decay alone is in this record, at the rate {told} (stiffness / gamma where friction is "
        "strong); to tell gamma, record the first 1 / gamma after the release, or hold the stiffness"
    )


def _far(records: Records) -> dict[str, float]:
    """Of each field of the friction that has a size: the value beyond which nothing that was recorded could be told."""
    step = float(records.step[0])
    speed = float(records.units.length[0]) / step
    likely = records.system.damping.likely(AWAY / step, speed, mass_of(records.system))
    return {f"damping.{field}": float(value) for field, value in likely.items()}


def at_bound(value: Any, error: Any, low: Any, high: Any) -> np.ndarray | np.bool_:
    """Whether a value has gone to a bound, by its standard error or, where that is infinite, by the bound's size."""
    bound = np.where(value - low < high - value, low, high)
    reach = np.where(np.isfinite(error), error, np.abs(bound) + 1e-300)
    return np.minimum(value - low, high - value) < AT * reach
