"""What a reader of the modes has to know."""

from collections.abc import Iterator

import numpy as np

from ..record import Record
from .band import Narrowed
from .errors import DOUBT, Worth
from .growth import Candidate, is_crowded
from .projection import Problem, State, evaluate, is_rounding, residuals

DISAGREE = 4.0  # standard errors between early and late: two numbers of several modes are looked at
NOTABLE = 0.01  # of the value: a difference below it is none to an engineer
SURE = 6.0  # standard deviations of chi-square that are not chance
FADED = 4.0  # e-folds of a mode's energy before the first value
DRIFTS = 0.05  # of the residuals' squares
STRAIGHT = 0.5  # e-folds over a record, below which a lone pole is a drift
SPIKE = 10.0  # standard deviations
ALIKE = 0.99  # correlation of two modes' numbers


def doubts(
    record: Record,
    narrowed: Narrowed,
    problem: Problem,
    state: State,
    worth: Worth,
    halves: np.ndarray,
    tried: list[Candidate],
    chosen: int,
) -> tuple[str, ...]:
    """All of them, in words."""
    return (
        *_of_the_search(problem, state, worth, tried, chosen),
        *_of_the_filter(narrowed, state),
        *_of_the_residuals(record, narrowed, problem, state, worth),
        *_of_the_modes(problem, state, worth),
        *_of_the_clusters(state),
        *_of_the_laws(state, halves),
    )


def _of_the_search(problem: Problem, state: State, worth: Worth, tried: list[Candidate], chosen: int) -> Iterator[str]:
    if not state.sections.modes and chosen == int(np.argmin([each.criterion for each in tried])):
        if worth.whiteness < DOUBT:
            yield (
                "no modes were found, though the record is no white noise: it is coloured noise, or a motion that does "
                "not decay from its first reading on; cut what was before a release with between() or decays(), give "
                "each hit a segment, or pass driven='noise'"
            )
        else:
            yield "no modes were found: the record is no more than noise about a constant"
    elif not state.converged:
        yield "the search did not converge: do not use the values"
    best = int(np.argmin([each.criterion for each in tried]))
    if best != chosen:
        counts, rise = tried[best].state.sections.modes, tried[chosen].criterion - tried[best].criterion
        yield f"the evidence is for {counts} modes rather than {state.sections.modes}, by {rise:.1f} in the criterion"
    if best == len(tried) - 1 and best == chosen and not is_rounding(problem, state):
        crowded = is_crowded(problem, state.sections)
        why = "overlap too much for more to be believed" if crowded else "is the most that was tried"
        yield f"the evidence is for more modes, but {state.sections.modes} {why}"
    if len(state.sections.rate) + 2 * np.sum(state.sections.depth > 0) > 2:
        yield "there are more than two real poles: which of them belong to one overdamped mode the record does not say"


def _of_the_filter(narrowed: Narrowed, state: State) -> Iterator[str]:
    """What decays before a band's filter has its first value."""
    if not len(narrowed.lags):
        return
    delay = float(narrowed.lags[-1])
    if not state.sections.modes or np.any(state.sections.gamma * delay > FADED):
        yield (
            f"the band's filter has its first value {delay:.4g} after the start of a run: of what decays faster than "
            f"gamma = {FADED / delay:.3g} it sees little; widen the band, or leave it out"
        )


def _of_the_residuals(
    record: Record, narrowed: Narrowed, problem: Problem, state: State, worth: Worth
) -> Iterator[str]:
    if is_rounding(problem, state):
        yield "residuals are at rounding: the record was computed, and errors are those of its arithmetic"
        return
    yield from _of_spikes(problem, state)
    if record.known:
        ratio = float(np.sum(state.squares)) / max(float(problem.counts.sum()), 1.0)
        if abs(ratio - 1) > SURE * np.sqrt(2 / problem.counts.sum()):
            more = "more" if ratio > 1 else "less"
            yield f"reduced chi-square is {ratio:.3g}: readings scatter {more} than position_error says"
    yield from _of_a_trend(problem, state)
    if worth.whiteness < DOUBT and not len(narrowed.taps):  # a filter colours what it leaves
        uneven = "" if record.step is not None else ", by the order of the readings, whose times are uneven"
        yield (
            f"residuals are correlated ({worth.autocorrelation[0]:+.2f} from one to the next): stderr allows for "
            f"it{uneven}, not for a wrong model"
        )


def _of_a_trend(problem: Problem, state: State) -> Iterator[str]:
    """A zero that drifts, where none was fitted."""
    if problem.levels != 1:
        return
    straight = evaluate(problem._replace(levels=2), state.sections)
    numbers = sum(len(block.channels) for block in problem.blocks)
    gained = state.deviance - straight.deviance > SURE**2 + numbers * np.log(problem.counts.sum())
    share = float(np.max(1 - straight.squares / np.maximum(state.squares, 1e-300)))
    if gained and share > DRIFTS:
        yield (
            f"a zero that drifts on a straight line would explain {share:.0%} of what is left: pass "
            "Observations(..., trend=True)"
        )


def _of_spikes(problem: Problem, state: State) -> Iterator[str]:
    """Readings so far off that they are no part of the noise, which they would make seem larger."""
    for block, left in zip(problem.blocks, residuals(problem, state), strict=True):
        spread = np.median(np.abs(left), axis=0) / 0.6745  # of a normal distribution
        far = np.max(np.abs(left), axis=0) / np.maximum(spread, 1e-300)
        for j in np.flatnonzero((far > SPIKE) & (spread > 0)):
            i = int(np.argmax(np.abs(left[:, j])))
            yield (
                f"a reading of channel {block.channels[j]}, {block.ts[i]:.6g} after the start of run {block.run}, is "
                f"{far[j]:.0f} standard deviations off: a spike? write it as NaN"
            )


def _of_the_modes(problem: Problem, state: State, worth: Worth) -> Iterator[str]:
    sections = state.sections
    k = sections.modes
    covariance = (
        sections.jacobian @ np.where(np.isfinite(worth.covariance), worth.covariance, 0.0) @ sections.jacobian.T
    )
    error = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if k and not np.all(np.isfinite(worth.covariance)):
        yield "the record does not hold all of these numbers: ask for fewer modes"
        return
    for rate in sections.rate:
        if abs(rate) * problem.longest < STRAIGHT:
            yield f"e^({-rate:.5g} t) is a straight line here: a zero that drifts; pass Observations(..., trend=True)"
        yield (
            f"a lone real pole, e^({-rate:.5g} t), is told as gamma = {2 * rate:.5g}: a drift, a relaxation, or what "
            "is left of an overdamped motion, of which the record then holds stiffness / gamma alone"
        )
    for i, f in enumerate(sections.frequency):
        gamma = sections.gamma[i]
        if gamma < -2 * error[i]:
            yield f"the mode at {f:.5g} grows (gamma {gamma:.3g} +- {error[i]:.2g}): something drives it"
        elif error[i] > 0.5 * abs(gamma):
            yield f"gamma of the mode at {f:.5g} cannot be told from zero: {gamma:.3g} +- {error[i]:.2g}"
    for i in range(k):
        for j in range(i):
            r = covariance[i, j] / max(error[i] * error[j], 1e-300)
            if abs(r) > ALIKE:
                yield (
                    f"the modes at {sections.frequency[j]:.5g} and {sections.frequency[i]:.5g} are hardly told apart: "
                    f"their gammas are correlated by {r:+.3f}"
                )


def _of_the_clusters(state: State) -> Iterator[str]:
    """Modes that overlap may be one that is not linear."""
    for group in state.sections.overlapping:
        if len(group) > 1:
            said = ", ".join(f"{f:.5g}" for f in state.sections.frequency[group])
            yield (
                f"the modes at {said} overlap: one mode whose damping or frequency changes with its amplitude looks "
                "like that too; fit `alone(data, [...])` of them with ji.fit and drag, dry friction or Duffing"
            )


def _of_the_laws(state: State, halves: np.ndarray) -> Iterator[str]:
    """Modes that are not viscous, or whose frequency changes as they decay."""
    for f, (gamma, frequency) in zip(state.sections.frequency, halves, strict=True):
        for name, (early, late, error), law in (
            ("gamma", gamma, "drag or dry friction"),
            ("frequency", frequency, "a cubic stiffness (Duffing)"),
        ):
            if np.isfinite(error) and abs(late - early) > max(
                DISAGREE * error, NOTABLE * abs(early) * (name == "gamma")
            ):
                verb = "falls" if late < early else "rises"
                yield (
                    f"the mode at {f:.5g} is not linear: its {name} {verb} from {early:.5g} to {late:.5g} "
                    f"(+- {error:.2g}); fit `alone(data, mode)` with ji.fit and {law}"
                )
