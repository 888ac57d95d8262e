"""Weights from residuals: of each channel whose error is unknown, of runs that scatter differently, and of spikes."""

from dataclasses import replace

import numpy as np
from scipy import special

from .local import spikes
from .loss import Loss, Squares, Student
from .record import Records, filled

UNLIKE = 1e-3  # the probability of runs' scatters by chance, below which each run has its own
MATTERS = 1.25  # ratio of runs' scatters, below which one does for all
ENOUGH = 20  # readings of a run that tell their scatter
LEAST = 1e-12  # scale of a channel, in units of the readings' scatter
EXACT = 1e-9  # the same of another loss, or of a run: residuals below it are rounding, and tell of no error
BISECTIONS = 60
PASSES, NEWTON, CLOSE = 3, 30, 1e-6
GOLDEN = 22  # steps: to 3e-5 in 1 / nu
INSENSITIVE = 1e-2  # how little of a change of 1 / nu moves the place: to first order none
FAINT = 0.1  # of the full weight
MOST, FEWEST = 100.0, 1.0  # degrees of freedom of Student's t: with more it is the normal law


def weighed(records: Records, loss: Loss, z: np.ndarray) -> tuple[Records, Loss]:
    """The records with readings in units of their scale, and the loss with its shape, both the likeliest of residuals
    z (r, w, m, c), which are in units of the records' weights.

    Squares: of known errors, and of one channel whose runs scatter alike, the weights are kept; the variance says it.
    Other losses have a scale of each channel, whatever is known of its error, which then weighs readings alone.
    """
    taken = records.weight > 0
    squares = isinstance(loss, Squares)
    unknown = np.broadcast_to(records.unknown, (len(records), z.shape[-1]))
    if squares and not unknown.any():
        return records, loss
    shares = _shares(records, taken) if squares else np.sum(taken, 2)
    own = _own(loss, z, taken, shares) & unknown
    scale = _scales(loss, z, taken, shares, own)
    if isinstance(loss, Student):
        loss, scale = _with_shape(z, taken, shares, own, scale)
    if squares:
        kept = ~unknown[:, None] | ((z.shape[-1] == 1) & ~own[:, None])
        scale = np.where(kept, 1.0, scale)
    return replace(records, weight=records.weight / scale[:, :, None]), loss


def with_clock(records: Records, z: np.ndarray, rates: np.ndarray) -> Records:
    """The records with the errors of times in their weights, error^2 + (rate time_error)^2: of known errors; or of
    those under which a channel's residuals z (r, w, m, c), in units of the weights, have the variance 1.

    Arguments:
        rates: of the readings, per row, in their unit.
    """
    taken = records.weight > 0
    moved = (records.weight * rates * records.time_error[:, None, None, None]) ** 2  # in units of the weights
    fitted = records.unknowns / np.maximum(records.readings, 1)
    count = np.sum(taken, (1, 2)) * np.maximum(1 - fitted, 0.1)[:, None]

    def square(base: np.ndarray) -> np.ndarray:
        return np.sum(np.where(taken, z**2 / (base[:, None, None] + moved), 0.0), (1, 2))

    low, high = (np.full(count.shape, x) for x in (2 * np.log(LEAST), np.log(np.sum(z**2, (1, 2)) / count + 1e-300)))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        more = square(np.exp(middle)) > count
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    unknown = np.broadcast_to(records.unknown, count.shape)
    base = np.where(unknown, np.exp(high), 1.0)
    weight = records.weight / np.sqrt(base[:, None, None] + moved)
    return replace(records, weight=weight)


def _shares(records: Records, taken: np.ndarray) -> np.ndarray:
    """(r, w, c): the degrees of freedom of each run and channel: readings less their part of what is fitted."""
    count = np.sum(taken, 2)
    run = np.maximum(np.sum(count, 2, keepdims=True), 1)
    shared = records.unknowns - 2 * records.d * count.shape[1]
    fitted = 2 * records.d + shared * run / np.sum(run, 1, keepdims=True)
    return np.where(count > 0, np.maximum(count * (1 - fitted / run), 1.0), 0.0)


def _scales(loss: Loss, z: np.ndarray, taken: np.ndarray, shares: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(r, w, c): of each run where `own` (r, c), else of all."""
    each = _solved(loss, z, taken, shares)
    together = _solved(loss, _one_run(z), _one_run(taken), np.sum(shares, 1, keepdims=True))
    return np.where(own[:, None] & (np.sum(taken, 2) >= ENOUGH), each, together)


def _one_run(x: np.ndarray) -> np.ndarray:
    """The runs of each record in one."""
    return x.reshape(len(x), 1, -1, x.shape[-1])


def _solved(loss: Loss, z: np.ndarray, taken: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The scale s (r, w, c) at which sum x psi(x), x = z / s, is `count`: by Newton's method in log s."""
    z = np.where(taken, z, 0.0)
    n = np.maximum(count, 1)
    s = np.maximum(np.sqrt(np.sum(z * z, 2) / n), LEAST)
    if isinstance(loss, Squares):
        return s
    with np.errstate(invalid="ignore"):
        middle = np.nanmedian(np.where(taken | ~taken.any(2, keepdims=True), np.abs(z), np.nan), axis=2)
    s = np.maximum(np.minimum(1.4826 * middle, s), EXACT)
    for _ in range(NEWTON):
        x = z / s[:, :, None]
        pull = x * loss.pull(x)
        over = np.sum(pull, 2) / n - 1
        slope = np.sum(pull + x * x * loss.stiffness(x), 2) / n
        move = np.clip(over / np.maximum(slope, 0.1), -1.0, 1.0)
        old, s = s, np.maximum(s * np.exp(move), EXACT)
        if np.max(np.abs(s - old) / old) < CLOSE:  # Newton's next move is the square of this one
            break
    return s


def _own(loss: Loss, z: np.ndarray, taken: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(r, c): whether runs differ in scatter, by more than chance, and so much that it matters.

    The log of a scale has the variance <(x psi - 1)^2> / <x psi + x^2 psi'>^2 / n: of squares that of Layard's test,
    which asks for no normal law.
    """
    count = np.sum(taken, 2)
    enough = count >= ENOUGH
    s = _solved(loss, z, taken, shares)
    x = np.where(taken, z, 0.0) / s[:, :, None]
    rows, pull = taken & enough[:, :, None], x * loss.pull(x)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.sum(np.where(rows, values, 0.0), (1, 2)) / np.maximum(np.sum(rows, (1, 2)), 1)

    spread = mean((pull - 1) ** 2) / np.maximum(mean(pull + x * x * loss.stiffness(x)), 0.1) ** 2
    n = np.where(enough, count, 0)
    log = np.log(s)
    middle = np.sum(n * log, 1, keepdims=True) / np.maximum(np.sum(n, 1, keepdims=True), 1)
    statistic = np.sum(n * (log - middle) ** 2, 1) / np.maximum(spread, 0.1)
    runs = np.sum(enough, 1)
    unlike = special.chdtrc(np.maximum(runs - 1, 1), statistic) < UNLIKE
    low, high = (f(np.where(enough, s, fill), axis=1) for f, fill in ((np.min, np.inf), (np.max, 0.0)))
    return (runs > 1) & unlike & (high > MATTERS * low) & (high > EXACT)


def _with_shape(
    z: np.ndarray, taken: np.ndarray, shares: np.ndarray, own: np.ndarray, scale: np.ndarray
) -> tuple[Student, np.ndarray]:
    """Student's t with the likeliest degrees of freedom, found in 1 / nu, and the scales that go with them."""
    low, high = np.full(len(z), 1 / MOST), np.full(len(z), 1 / FEWEST)

    def posed(inverse: np.ndarray) -> tuple[np.ndarray, Student, np.ndarray]:
        law = Student(1 / inverse)
        s = _scales(law, z, taken, shares, own)
        x = np.where(taken, z, 0.0) / s[:, :, None]
        each = law.cost(x, np) + np.where(taken, np.log(s)[:, :, None], 0.0)
        return np.sum(each, (1, 2, 3)) + law.normaliser() * np.sum(taken, (1, 2, 3)), law, s

    golden = (np.sqrt(5) - 1) / 2
    inner, outer = high - golden * (high - low), low + golden * (high - low)
    at_inner, at_outer = posed(inner)[0], posed(outer)[0]
    for _ in range(GOLDEN):
        left = at_inner < at_outer
        low, high = np.where(left, low, inner), np.where(left, outer, high)
        new = np.where(left, high - golden * (high - low), low + golden * (high - low))
        at_new = posed(new)[0]
        inner, outer = np.where(left, new, outer), np.where(left, inner, new)
        at_inner, at_outer = np.where(left, at_new, at_outer), np.where(left, at_inner, at_new)
    ends = [posed(x) for x in (np.full(len(z), 1 / MOST), (low + high) / 2)]
    best = np.where(ends[0][0] <= ends[1][0], 1 / MOST, (low + high) / 2)
    _, law, s = posed(best)
    return law, s


def change(old: Records, new: Records, before: Loss, after: Loss) -> np.ndarray:
    """(r,): the greatest relative change of a weight or a shape."""
    ratio = np.where(old.weight > 0, new.weight / np.where(old.weight > 0, old.weight, 1.0), 1.0)
    out = np.max(np.abs(np.log(ratio)), (1, 2, 3))
    if isinstance(after, Student) and isinstance(before, Student):
        out = np.maximum(out, INSENSITIVE * np.abs(1 / after.shape - 1 / before.shape))
    return out


def told(now: Records, before: Records, loss: Loss, z: np.ndarray) -> list[str]:
    """What was made of each record's weights, in words that go on after others; z as `weighed` has it."""
    taken = before.weight > 0
    ratio = now.weight / np.where(taken, before.weight, 1.0)
    most, least = (f(np.where(taken, ratio, fill), axis=(1, 2)) for f, fill in ((np.max, -np.inf), (np.min, np.inf)))
    apart = np.any(most > (1 + 1e-9) * least, axis=1)
    out = ["; each run weighed by its own scatter" * bool(one) for one in apart]
    if isinstance(loss, Squares):
        return out
    x = np.abs(np.where(taken, z * ratio, 0.0))
    counts = np.sum(loss.pull(x) < FAINT * loss.stiffness(0 * x) * x, axis=(1, 2, 3))
    for i, (few, all_of_it) in enumerate(zip(counts, taken.sum((1, 2, 3)), strict=True)):
        freedom = f" with {loss.shape[i]:.3g} degrees of freedom" if isinstance(loss, Student) else ""
        out[i] = f"; loss {loss.name!r}{freedom}: {few:,} of {all_of_it:,} readings count less than a tenth{out[i]}"
    return out


def without_spikes(records: Records) -> Records:
    """The records with single readings that stand far off their neighbours left out: where robust searches begin."""
    y, weight = records.y.copy(), records.weight.copy()
    for r, k in np.ndindex(*y.shape[:2]):
        for c in range(y.shape[-1]):
            for _ in range(PASSES):
                read = np.flatnonzero(weight[r, k, :, c] > 0)
                far = spikes(y[r, k, read, c, None])[:, 0] if len(read) >= 5 else np.zeros(len(read), bool)
                if not far.any() or np.mean(far) > 0.2:
                    break
                weight[r, k, read[far], c] = 0.0
                kept = read[~far]
                y[r, k, :, c] = np.where(np.isin(np.arange(y.shape[2]), kept), y[r, k, :, c], np.nan)
        inside = records.within[r, k][:, None]
        if np.isnan(y[r, k]).any():
            y[r, k] = np.where(inside, filled(records.ts[r, k], np.where(inside, y[r, k], np.nan)), records.y[r, k])
    return replace(records, y=y, weight=weight)
