"""How many modes: one more at a time, each where it takes most of what is left, all refined together; then the
evidence.

The criterion is Schwarz's, -2 log L + numbers log n, with residuals allowed a correlation of their own (`colour`), so
that a spectrum that is not flat is not made of modes.
"""

from typing import NamedTuple

import numpy as np

from ..found import Order
from . import colour
from .projection import Problem, State, evaluate, is_rounding, is_told, refine, residuals, strengths
from .sections import NONE, Sections
from .start import Peak, peaks, split

PATIENCE = 2  # numbers of modes that are tried after the best
GROUND = 0.1  # of the residuals' power: a filter's stop band holds no evidence
FREQUENCIES = np.linspace(0, 0.5, 1025)  # per reading, of the residuals' spectrum
FIRST = 10  # steps of each start: the best of them goes on
STRONG = 300.0  # of the deviance: what takes more is no chance mode
CROWD = 2  # overlapping modes beyond the channels
WEIGHED = 10.0  # a start that takes less of the deviance is no motion


class Candidate(NamedTuple):
    """State: of the poles. numbers: how many were fitted. seen: of each channel, the residuals' covariances and number.
    criterion: -2 log L with the penalty."""

    state: State
    numbers: int
    seen: tuple[tuple[np.ndarray, int], ...]
    criterion: float = np.inf

    def order(self) -> Order:
        """For the table."""
        sections = self.state.sections
        return Order(
            sections.modes, self.state.deviance, self.numbers, self.criterion, sections.frequency, sections.gamma
        )


def judge(problem: Problem, state: State, ground: np.ndarray) -> Candidate:
    """The evidence for these poles; ground: (d,), white power added to each channel's residuals."""
    sections = state.sections
    each = 2 * len(sections.a) + len(sections.rate) + problem.levels
    numbers = sections.size + each * sum(len(block.channels) for block in problem.blocks)
    seen = []
    for series in by_channel(problem, state):
        n = sum(len(r) for r in series)
        seen.append((colour.covariances(series, colour.most(n)), n))
    return _judged(problem, Candidate(state, numbers, tuple(seen)), ground)


def _judged(problem: Problem, candidate: Candidate, ground: np.ndarray) -> Candidate:
    if not is_told(problem, candidate.state):
        return candidate._replace(criterion=np.inf)
    total = sum(colour.of_covariances(*seen, float(g))[1] for seen, g in zip(candidate.seen, ground, strict=True))
    price = candidate.numbers + 2 * len(candidate.state.sections.a)
    return candidate._replace(criterion=total + price * float(np.log(problem.counts.sum())))


def _ground(problem: Problem, tried: list[Candidate]) -> np.ndarray:
    """(d,), the same for all that are compared: a part of the least residuals. Nothing where nothing was filtered."""
    if not problem.filtered:
        return np.zeros(len(problem.counts))
    return GROUND * np.min([[gamma[0] for gamma, _ in each.seen] for each in tried], axis=0)


def by_channel(problem: Problem, state: State) -> list[list[np.ndarray]]:
    """Of each channel, the residuals of each run, in standard deviations where errors are known."""
    out: list[list[np.ndarray]] = [[] for _ in problem.counts]
    for block, r in zip(problem.blocks, residuals(problem, state), strict=True):
        for j, channel in enumerate(block.channels):
            out[channel].append(r[:, j])
    return out


def grow(problem: Problem, most: int, count: int | None) -> list[Candidate]:
    """The best of each number of modes that was tried, from none; one more than were asked for, to say what it is
    worth."""
    tried = [judge(problem, evaluate(problem, NONE), np.zeros(len(problem.counts)))]
    while len(tried) <= most:
        best = int(np.argmin([each.criterion for each in tried]))
        enough = len(tried) > best + PATIENCE if count is None else _counted(problem, tried[-1]) > count
        crowded = count is None and is_crowded(problem, tried[-1].state.sections)
        if enough or crowded or is_rounding(problem, tried[-1].state):
            break
        more = _one_more(problem, tried[-1], _ground(problem, tried))
        if more is None:
            break
        tried.append(more)
        ground = _ground(problem, tried)
        tried = [_judged(problem, each, ground) for each in tried]
    return _pruned(problem, tried, _ground(problem, tried))


def is_crowded(problem: Problem, sections: Sections) -> bool:
    """Whether more modes overlap than so many channels tell apart: then they are the modes of no linear motion."""
    return any(len(group) >= CROWD + len(problem.counts) for group in sections.overlapping)


def _counted(problem: Problem, candidate: Candidate) -> int:
    """How many of its modes lie in the band."""
    return int(problem.inside(candidate.state.sections).sum())


def choose(problem: Problem, tried: list[Candidate], count: int | None) -> int | None:
    """Which of them has the least criterion, of those with this number of modes in the band; None if there is none."""
    good = [i for i, each in enumerate(tried) if count is None or _counted(problem, each) == count]
    return min(good, key=lambda i: tried[i].criterion, default=None)


def _one_more(problem: Problem, before: Candidate, ground: np.ndarray) -> Candidate | None:
    """The best that one more mode can do."""
    state = before.state
    colours = [colour.of_covariances(*seen, float(g))[0] for seen, g in zip(before.seen, ground, strict=True)]
    floor = None
    if any(len(each.phi) for each in colours):
        floor = np.mean([each.spectrum(FREQUENCIES) for each in colours], axis=0)
    found = peaks(problem, state, floor)
    starts = [state.sections.plus(peak.sections) for peak in found if peak.gain > WEIGHED or peak is found[0]]
    starts += [new for peak in found if (new := _split_at(problem, state, peak)) is not None]
    states = [refine(problem, evaluate(problem, start), steps=FIRST) for start in starts]
    wanted = state.sections.modes + 1
    states = [each for each in states if np.isfinite(each.deviance) and each.sections.modes == wanted]
    states += [pair for each in states if (pair := _paired(problem, each)) is not None]
    good = [judge(problem, each, ground) for each in states]
    best = min(good, key=lambda each: each.criterion, default=None)
    if best is None or not np.isfinite(best.criterion):
        return None
    return judge(problem, refine(problem, best.state), ground)


def _split_at(problem: Problem, state: State, peak: Peak) -> Sections | None:
    if not len(peak.sections.a):
        return None
    return split(problem, state, float(np.sqrt(-peak.sections.depth[0])))


def _paired(problem: Problem, state: State) -> State | None:
    """A lone pole made a section: the fast part of an overdamped motion may show."""
    sections = state.sections
    if not len(sections.rate):
        return None
    slow = sections.rate[0]
    fast = sections.rate[1] if len(sections.rate) > 1 else 10 * slow
    if slow <= 0 or fast <= 0 or len(sections.rate) > 1:
        return None
    a, depth = (slow + fast) / 2, ((fast - slow) / 2) ** 2
    rest = Sections(sections.a, sections.depth, sections.rate[1:])
    pair = Sections(np.array([a]), np.array([depth]), np.zeros(0))
    trial = refine(problem, evaluate(problem, rest.plus(pair)), steps=FIRST)
    return trial if np.isfinite(trial.deviance) else None


def _pruned(problem: Problem, tried: list[Candidate], ground: np.ndarray) -> list[Candidate]:
    """With each mode of the best taken out in turn, its poorer neighbour may turn out better than it grew."""
    best = int(np.argmin([each.criterion for each in tried]))
    while best > 1:
        fewer = []
        for k in np.flatnonzero(strengths(problem, tried[best].state) < STRONG):
            state = refine(problem, evaluate(problem, tried[best].state.sections.without(int(k))))
            if np.isfinite(state.deviance):
                fewer.append(judge(problem, state, ground))
        least = min(fewer, key=lambda each: each.criterion, default=tried[best - 1])
        if least.criterion < tried[best - 1].criterion:
            tried[best - 1] = least
        if tried[best - 1].criterion >= tried[best].criterion:
            break
        best -= 1
    return tried
