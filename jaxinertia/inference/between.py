"""What an input does between its samples: nobody recorded it, so each way is tried, and the one that fits is kept.

A line between samples loses (omega h)^2 / 12 of a sine's amplitude and bends the rest into harmonics: 0.13 % at fifty
samples a cycle, 4 % at nine. What was filtered before it was sampled is the band-limited curve through its samples; so
it is taken to run where the line is so near that no record tells.
"""

from dataclasses import replace

import numpy as np

from .shooting import Record
from .windows import Run

FINER = 4  # rows for each sample of the input
CLOSE, ONE = 1e-3, 1e-5  # of the input's scatter: closer, and no record tells the ways apart; and they are one
CLEARLY = 4.0  # in twice the log-likelihood
LINE, BAND, HELD = "line", "band", "held"
INPUTS = {LINE: "on a straight line", BAND: "band-limited", HELD: "held"}


def refine(record: Record) -> dict[str, Record]:
    """The record for each way in which its input may run between samples; one where they cannot be told apart."""
    if not all(_is_even(run) for run in record.runs):
        return {LINE: record}
    finer = {way: [_finer(run, way) for run in record.runs] for way in INPUTS}
    apart = np.concatenate(
        [np.asarray(a.input) - np.asarray(b.input) for a, b in zip(finer[LINE], finer[BAND], strict=True)]
    )
    scatter = np.std(np.concatenate([run.input for run in record.runs]))
    distance = np.sqrt(np.mean(apart**2)) / max(scatter, 1e-300)
    if distance <= ONE:
        return {LINE: record}
    step = record.units.time / FINER
    units = type(record.units)(record.units.origin, step, record.units.length)
    ways = INPUTS if distance > CLOSE else (BAND,)
    return {way: record._replace(runs=finer[way], units=units) for way in ways}


def most_likely(deviances: dict[str, float]) -> str:
    """The way that fits best; another than band-limited only where it fits clearly better.

    A line takes a part of every sine's amplitude, which a gain makes up for, and leaves no trace in the residuals.
    """
    return min(deviances, key=lambda way: deviances[way] + CLEARLY * (way != BAND))


def _is_even(run: Run) -> bool:
    return len(run.ts) > 3 and np.array_equal(run.ts, np.arange(len(run.ts)))


def _finer(run: Run, way: str) -> Run:
    n = (len(run.ts) - 1) * FINER + 1
    y, weight = (
        np.stack([np.interp(np.arange(n) / FINER, run.ts, x) for x in run.y.T], -1),
        np.zeros((n, run.y.shape[1])),
    )
    weight[::FINER] = run.weight
    row = np.full(n, -1)
    row[::FINER] = run.row
    u = np.stack([_between(x, n, way) for x in np.asarray(run.input).T], -1)
    return replace(run, start=run.start * FINER, ts=np.arange(n, dtype=float), y=y, weight=weight, input=u, row=row)


def _between(u: np.ndarray, n: int, way: str) -> np.ndarray:
    at = np.arange(n) / FINER
    if way == LINE:
        return np.interp(at, np.arange(len(u)), u)
    if way == HELD:
        return u[np.floor(at + 1e-9).astype(int)]
    # What is left of the line between its ends, turned about each of them: value and slope run on where the period
    # closes. A mirror image would bend there, and the kick of that bend would be taken for the start's momentum.
    ends = [0, len(u) - 1]
    rest = u - np.interp(np.arange(len(u)), ends, u[ends])
    turned = np.concatenate([rest, -rest[-2:0:-1]])
    spectrum = np.fft.rfft(turned)
    return np.interp(at, ends, u[ends]) + FINER * np.fft.irfft(spectrum, len(turned) * FINER)[:n]
