"""Modes of a free decay, from the record to what was found."""

import numpy as np

from ..found import Checks, Found, empty
from ..record import Record
from .band import Narrowed, highest, narrow, thin, whole
from .colour import MOST, whiteness
from .doubts import doubts
from .errors import DOUBT, Worth, worth
from .growth import Candidate, by_channel, choose, grow
from .halves import halves
from .profile import profiles
from .projection import Problem, State, evaluate, is_rounding, pose, refine, residuals
from .sections import Sections
from .shapes import shape

LONG = 20000  # rows above which the search is on a thinned record, and only its end on all readings
CYCLES = 4.0  # of each mode that the thinned record has to hold
CORRELATED = 5.0  # over n^-1/2: channels whose residuals are as correlated share their noise
COPIED = 1e-10  # of an eigenvalue of the residuals' correlation, below which a channel is a sum of others
FALLS = 30.0  # the first quarter's power over the last one's, beyond which a record decays
EXPLAINED = 0.95  # of the readings' squares
PIECE = 8192  # rows on which a free motion is tried, to tell what drives
MODES = 20  # that are looked for
SPARE = 4  # modes beside the band that its own may need
EPSILON = 4 * np.finfo(float).eps  # of a number: no error is less
SHOWN = 4096  # frequencies kept of the spectrum


def search(record: Record, count: int | None, band: tuple[float, float] | None) -> Found:
    """The modes: their number by evidence if it is None, found on a thinned record where that is enough, refined on all
    readings."""
    narrowed, problem = _posed(record, band)
    thinned = thin(record, LONG) if band is None else whole(record)
    coarse = problem if thinned.record is record else pose(thinned.record, filtered=len(thinned.taps) > 0)
    tried, chosen = _grown(coarse, count)
    state = tried[chosen].state
    if coarse is not problem:
        state = refine(problem, evaluate(problem, state.sections))
        left = any(highest(r) for r in residuals(problem, state))
        if left or not _is_seen(coarse, tried[chosen].state.sections):
            coarse = problem
            tried, chosen = _grown(coarse, count)
            state = tried[chosen].state
    problem, state, mix = _apart(problem, state)
    found = _conclude(record, narrowed, problem, state, mix, tried, chosen, (coarse, tried[chosen].state))
    return found if band is None else found.only(problem.inside(state.sections))


def _is_seen(problem: Problem, sections: Sections) -> bool:
    """Whether the beginning of a record shows each mode swing: of slower motions it may make anything."""
    swing = np.sqrt(np.maximum(-sections.depth, 0.0)) / (2 * np.pi)
    return not len(sections.rate) and bool(np.all(swing * problem.longest > CYCLES))


def _grown(problem: Problem, count: int | None) -> tuple[list[Candidate], int]:
    """All that was tried, and which is chosen."""
    tried = grow(problem, min(MODES, _room(problem)) if count is None else count + SPARE, count)
    chosen = choose(problem, tried, count)
    if chosen is None:
        raise ValueError(f"count = {count}: the record does not hold so many that can be told apart; ask for fewer")
    return tried, chosen


def _posed(record: Record, band: tuple[float, float] | None) -> tuple[Narrowed, Problem]:
    """The record, filtered where there is a band and times are even without a gap; else a band only says where to
    look."""
    narrowed = whole(record)
    if band is not None and record.step is not None and record.is_whole:
        narrowed = narrow(record, band)
    return narrowed, pose(narrowed.record, narrowed.zone, band, narrowed.level, len(narrowed.taps) > 0)


def _room(problem: Problem) -> int:
    """How many modes the readings of the shortest block hold."""
    return max(min(len(block.ts) for block in problem.blocks) // 6, 1)


def _apart(problem: Problem, state: State) -> tuple[Problem, State, np.ndarray]:
    """Channels made combinations whose residuals are not correlated, where they are and errors are not known; and the
    matrix back from them."""
    d = len(problem.counts)
    if d == 1 or any(len(block.channels) < d for block in problem.blocks):
        return problem, state, np.eye(d)
    left = np.concatenate(
        [r[:, np.argsort(b.channels)] for b, r in zip(problem.blocks, residuals(problem, state), strict=True)]
    )
    covariance = left.T @ left / len(left)
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    unit = covariance / np.outer(scale, scale)
    _check_own(unit, is_rounding(problem, state))
    if problem.known or np.max(np.abs(unit - np.eye(d))) < CORRELATED / np.sqrt(len(left)):
        return problem, state, np.eye(d)
    mix = scale[:, None] * np.linalg.cholesky(unit)
    back = np.linalg.inv(mix)
    blocks = []
    for block in problem.blocks:
        order = np.argsort(block.channels)
        y = block.y[:, order] @ back.T
        base = block.base[order] @ back.T
        total = np.sum((y + base) ** 2, axis=0)
        blocks.append(block._replace(y=y, channels=np.arange(d), total=total, base=base))
    problem = problem._replace(blocks=tuple(blocks))
    return problem, refine(problem, evaluate(problem, state.sections)), mix


def _check_own(unit: np.ndarray, computed: bool) -> None:
    """ValueError where a channel's residuals are an exact sum of the others': it would be counted as news."""
    values, vectors = np.linalg.eigh(unit)
    if values[0] < COPIED and not computed:
        j = int(np.argmax(np.abs(vectors[:, 0])))
        raise ValueError(
            f"position[:, {j}] has no noise of its own: it is a copy, or a sum, of other channels; leave it out"
        )


def _conclude(
    record: Record,
    narrowed: Narrowed,
    problem: Problem,
    state: State,
    mix: np.ndarray,
    tried: list[Candidate],
    chosen: int,
    coarse: tuple[Problem, State],
) -> Found:
    """Values, errors, checks and warnings."""
    sections = state.sections
    orders = tuple(each.order() for each in tried)
    rule = "by the evidence" if chosen == int(np.argmin([each.criterion for each in tried])) else "as asked"
    value = worth(problem, state)
    error = np.sqrt(mix**2 @ value.error**2) * _given(record)
    changes = halves(*coarse, worth(*coarse) if coarse[0] is not problem else value)
    warnings = doubts(record, narrowed, problem, state, value, changes, tried, chosen)
    checks = _checks(record, narrowed, problem, state, mix, value, changes)
    offset, trend = _levels(problem, state, mix)
    if not sections.modes:
        return empty(record, orders, rule, checks, error, offset, trend, warnings)
    shapes = [shape(sections, k, value, narrowed, mix) for k in range(sections.modes)]
    jacobian = sections.jacobian
    finite = np.all(np.isfinite(value.covariance))
    covariance = jacobian @ value.covariance @ jacobian.T if finite else np.full((2 * sections.modes,) * 2, np.inf)
    covariance += np.diag((EPSILON * np.concatenate([sections.gamma, sections.frequency])) ** 2)
    stacked = {name: np.stack([getattr(one, name) for one in shapes]) for name in shapes[0]._fields}
    return Found(
        gamma=sections.gamma,
        frequency=sections.frequency,
        lone=np.arange(sections.modes) >= len(sections.a),
        covariance=covariance,
        force=None,
        offset=offset,
        trend=trend,
        position_error=error,
        orders=orders,
        chosen=chosen,
        profile=profiles(*coarse, value),
        chosen_by=rule,
        checks=checks,
        warnings=warnings,
        **stacked,
    )


def _given(record: Record) -> np.ndarray | float:
    """The typical error of each channel's readings, where it was given: the residuals were divided by it."""
    if not record.known:
        return 1.0
    weight = np.concatenate([run.weight for run in record.runs])
    return 1 / np.array([np.median(w[w > 0]) for w in weight.T])


def _levels(problem: Problem, state: State, mix: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Offsets and trends, (R, d) each, of the channels that were read."""
    runs = 1 + max(block.run for block in problem.blocks)
    found: list[np.ndarray | None] = [None, None]
    for power in range(problem.levels):
        values = np.full((runs, len(problem.counts)), np.nan)
        for block, sums in zip(problem.blocks, state.sums, strict=True):
            values[block.run, block.channels] = sums.c[len(sums.c) - problem.levels + power] + block.base * (power == 0)
        found[power] = values @ mix.T if np.all(np.isfinite(values)) else values
    return found[0], found[1]


def _checks(
    record: Record,
    narrowed: Narrowed,
    problem: Problem,
    state: State,
    mix: np.ndarray,
    value: Worth,
    changes: np.ndarray,
) -> Checks:
    """Residuals in the data's rows and units, where no filter was between."""
    d = record.channels
    left = residuals(problem, state)
    rows = None
    if not len(narrowed.taps):
        rows = np.full((max(int(run.row.max()) for run in record.runs) + 1, d), np.nan)
        for block, r in zip(problem.blocks, left, strict=True):
            run = record.runs[block.run]
            kept = run.weight[:, block.channels[0]] > 0
            plain = r if block.w is None else r / block.w[:, None]
            rows[np.ix_(run.row[kept], block.channels)] = plain @ mix.T if len(block.channels) == d else plain
    prediction = None
    if rows is not None:
        y = np.full_like(rows, np.nan)
        for run in record.runs:
            y[run.row] = np.where(run.weight > 0, run.y, np.nan)
        prediction = y - rows
    rms = np.sqrt(mix**2 @ (state.squares / np.maximum(problem.counts, 1))) * _given(record)
    return Checks(
        rows, prediction, rms, value.autocorrelation, value.whiteness, changes, _spectrum(problem, left, state)
    )


def _spectrum(problem: Problem, left: list[np.ndarray], state: State) -> np.ndarray | None:
    """(3, m): frequency, and power of the readings and of the residuals of the longest run, over that of white
    residuals, the mean of the channels."""
    i = int(np.argmax([len(block.ts) for block in problem.blocks]))
    block = problem.blocks[i]
    if problem.zone or np.max(np.abs(np.diff(block.ts) - problem.step)) > 0.1 * problem.step:
        return None
    scale = np.maximum(state.squares[block.channels] / problem.counts[block.channels], 1e-300)
    powers = []
    for values in (block.y - block.y.mean(0), left[i]):
        powers.append(np.mean(np.abs(np.fft.rfft(values, axis=0)) ** 2 / scale, axis=1)[1:] / len(values))
    frequency = np.fft.rfftfreq(len(block.ts), problem.step)[1:]
    few = max(-(-len(frequency) // SHOWN), 1)
    cut = len(frequency) // few * few
    return np.stack([x[:cut].reshape(-1, few).mean(1) for x in (frequency, *powers)])


def loses_power(record: Record) -> bool:
    """Whether runs decay: the first quarter has many times the last one's power about a straight line, in the channel
    where it falls most."""
    ratios = []
    for run in record.runs:
        quarter = max(len(run.ts) // 4, 1)
        read = run.weight > 0
        about = [_about_a_line(run.ts, *each) for each in zip(run.y.T, read.T, strict=True)]
        square = np.where(read, np.stack(about, axis=1), 0.0) ** 2
        first, last = (
            square[rows].sum(0) / np.maximum(read[rows].sum(0), 1) for rows in (slice(quarter), slice(-quarter, None))
        )
        both = read[:quarter].any(0) & read[-quarter:].any(0)
        ratios.append(float(np.max(np.where(both, first / np.maximum(last, 1e-300), 0.0))))
    return bool(np.median(ratios) > FALLS)


def _about_a_line(ts: np.ndarray, y: np.ndarray, read: np.ndarray) -> np.ndarray:
    """One channel less the line through the medians of its quarters: a motion that has decayed does not tilt it."""
    parts = [rows for rows in np.array_split(np.flatnonzero(read), 4) if len(rows)]
    if len(parts) < 4:
        return y - (np.mean(y[read]) if read.any() else 0.0)
    return y - np.polyval(
        np.polyfit([ts[rows].mean() for rows in parts], [np.median(y[rows]) for rows in parts], 1), ts
    )


def is_explained(record: Record, band: tuple[float, float] | None) -> bool:
    """Whether a few free modes leave white residuals, or next to none, of the beginning of the record."""
    runs = tuple(
        run._replace(**{name: getattr(run, name)[:PIECE] for name in ("ts", "y", "weight", "row")})
        for run in record.runs
    )
    piece = record._replace(runs=runs)
    problem = pose(piece, 0, band, True)
    tried = grow(problem, min(4, _room(problem)), None)
    best = min(tried, key=lambda each: each.criterion)
    return _leaves_white(problem, best.state) or _fraction(problem, best.state) > EXPLAINED


def is_enough(record: Record, found: Found, band: tuple[float, float] | None) -> bool:
    """Whether the free modes leave white residuals, or next to none."""
    problem = _posed(record, band)[1]
    left = (found.checks.rms / _given(record)) ** 2 * problem.counts
    share = 1 - left / np.maximum(_about_means(problem), 1e-300)
    return found.checks.whiteness > DOUBT or float(np.max(share)) > EXPLAINED


def _leaves_white(problem: Problem, state: State) -> bool:
    """Whether no residual tells of the next."""
    return whiteness(by_channel(problem, state), MOST)[1] > DOUBT


def _fraction(problem: Problem, state: State) -> float:
    """Of the readings' squares about their means, the channel that is explained best."""
    return float(np.max(1 - state.squares / np.maximum(_about_means(problem), 1e-300)))


def _about_means(problem: Problem) -> np.ndarray:
    """(d,), about the means."""
    out = np.zeros(len(problem.counts))
    for block in problem.blocks:
        out[block.channels] += np.sum((block.y - block.y.mean(0)) ** 2, axis=0)
    return out
