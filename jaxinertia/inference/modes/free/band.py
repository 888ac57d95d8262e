r"""A band of the record, with no more readings than it needs: filtered, decimated, and exactly accounted.

A filter y'(t) = sum_m h_m y(t + tau_m) turns every damped motion into one with the same pole, and mixes its two
amplitudes by sum_m h_m T(tau_m), T the motion's own propagator: poles are fitted to the decimated readings at their
times as they are, and `unmixed` gives the amplitudes of the record itself. Where the band does not begin at 0,
frequencies above half the new rate fold into it; `zone` says how often.
"""

import contextlib
from typing import NamedTuple

import numpy as np
from scipy import signal

from ..motion import decay
from ..record import Record, Run

STOP = 80.0  # decibels
PARTS = (1, 8, 64, 512)  # of a record, whose beginnings are looked at
SHORTEST, BLOCK = 512, 32  # readings of a beginning; bins whose median is taken
STRETCHES = 128  # of a record, whose powers are compared
SURE = 30.0  # over that median: not by chance
EDGE = 0.35  # of the band's width, on either side, in which the filter falls


class Narrowed(NamedTuple):
    """record: filtered. zone: how often its frequencies are folded. taps, lags: the filter, and the times tau; none
    where nothing was filtered."""

    record: Record
    zone: int
    taps: np.ndarray
    lags: np.ndarray
    level: bool

    def unmixed(self, a: float, depth: float, c: np.ndarray) -> np.ndarray:
        """Amplitudes (2, ...) before the filter of a section whose are c after it."""
        if not len(self.taps):
            return c
        # e^{-a tau} grows for negative tau: what is divided by it is small.
        first, second = (self.taps @ x[:, 0] for x in decay(np.array([a]), np.array([depth]), self.lags)[:2])
        det = first**2 - depth * second**2
        return np.stack([first * c[0] - second * c[1], first * c[1] - depth * second * c[0]]) / det

    def unmixed_lone(self, rate: float, c: np.ndarray) -> np.ndarray:
        """The amplitude of a lone pole."""
        return c / (self.taps @ np.exp(-rate * self.lags)) if len(self.taps) else c


def whole(record: Record) -> Narrowed:
    """Nothing left out."""
    return Narrowed(record, 0, np.zeros(0), np.zeros(0), True)


def narrow(record: Record, band: tuple[float, float]) -> Narrowed:
    """The band (low, high), in cycles per time, of an even record without a gap.

    Raises:
        ValueError: if a run is too short for the filter.
    """
    step = record.step
    assert step is not None
    low, high = band
    edge = EDGE * (high - low)
    few, zone = _decimation(low - edge, high + edge, step)
    cut_low, cut_high = low - edge / 2, high + edge / 2
    if cut_high >= 0.5 / step and cut_low <= 0:
        return whole(record)
    length = signal.kaiserord(STOP, edge * 2 * step)[0] | 1
    shortest = min(len(run.ts) for run in record.runs)
    if length > shortest // 2:
        raise ValueError(
            f"band = ({low:.6g}, {high:.6g}) needs a filter of {length} readings, and a run has {shortest}: widen it"
        )
    level = bool(cut_low <= 0)
    cuts = [cut for cut in (cut_low, cut_high) if 0 < cut < 0.5 / step]
    taps = signal.firwin(length, cuts, window=("kaiser", signal.kaiser_beta(STOP)), pass_zero=level, fs=1 / step)
    half = length // 2
    runs = []
    for run in record.runs:
        # What is stopped is stopped to a ten-thousandth: of a level far above the motion that would be too much.
        rest = 0.0 if level else run.y.mean(axis=0)
        y = signal.oaconvolve(run.y - rest, taps[:, None], mode="valid", axes=0)[::few]
        rows = half + few * np.arange(len(y))
        runs.append(Run(run.ts[rows], y, run.weight[rows], run.start, run.row[rows]))
    record = record._replace(runs=tuple(runs), step=few * step, typical=few * step)
    return Narrowed(record, zone, taps, (np.arange(length) - half) * step, level)


def _decimation(low: float, high: float, step: float) -> tuple[int, int]:
    """The greatest decimation for which the band lies within one zone of half the new rate, and which."""
    if low <= 0:
        return max(int(0.5 / (high * step)), 1), 0
    for few in range(max(int(0.5 / ((high - low) * step)), 1), 1, -1):
        half = 0.5 / (few * step)
        zone = int(low // half)
        if high <= (zone + 1) * half:
            return few, zone
    return 1, 0


def thin(record: Record, rows: int) -> Narrowed:
    """The record for a search: of a long one, only while it moves, up to the frequencies at which something stands
    out, and of that the beginning."""
    step = record.step
    if step is None or not record.is_whole or max(len(run.ts) for run in record.runs) <= rows:
        return whole(record)
    record = record._replace(runs=tuple(_while_it_moves(run) for run in record.runs))
    high = 1.15 * max(highest(run.y) for run in record.runs) / step + 8 / record.duration
    narrowed = whole(record)
    if high * (1 + 2 * EDGE) * step < 0.25:
        with contextlib.suppress(ValueError):  # a run is too short for the filter
            narrowed = narrow(record, (0.0, high))
    begun = tuple(_first(run, slice(rows)) for run in narrowed.record.runs)
    return narrowed._replace(record=narrowed.record._replace(runs=begun))


def _first(run: Run, rows: slice) -> Run:
    """These rows of it."""
    return Run(run.ts[rows], run.y[rows], run.weight[rows], run.start, run.row[rows])


def _while_it_moves(run: Run) -> Run:
    """The run until well after the last of its parts with more power, in one channel, than the last quarter has."""
    size = len(run.ts) // STRETCHES
    if size < 8:
        return run
    parts = run.y[: size * STRETCHES].reshape(STRETCHES, size, -1)
    power = np.var(parts, axis=1)
    quiet = np.median(power[3 * STRETCHES // 4 :], axis=0)
    loud = np.flatnonzero(np.any(power > quiet * (1 + 6 * np.sqrt(2 / size)), axis=1))
    kept = size * min(max(2 * (loud[-1] + 1), 4), STRETCHES) if len(loud) else len(run.ts)
    return _first(run, slice(kept))


def highest(y: np.ndarray) -> float:
    """The highest frequency, per reading, at which a spectrum of the whole (n, d), or of its beginning, has a peak: a
    bin far above the median of its surroundings. 0 for noise.

    What decays fast stands out of a short beginning only; tails of resonances, which are smooth, do not count.
    """
    top = 0.0
    for part in (y[: max(len(y) // few, SHORTEST)] for few in PARTS if len(y) // few >= SHORTEST or few == 1):
        size = len(part)
        power = np.abs(np.fft.rfft(part - part.mean(0), axis=0)) ** 2
        count = max(len(power) // BLOCK, 1)
        blocks = power[: count * BLOCK].reshape(count, -1, power.shape[1])
        middle = np.median(blocks, axis=1)
        around = np.maximum(np.concatenate([middle[:1], middle[:-1]]), np.concatenate([middle[1:], middle[-1:]]))
        loud = np.any(blocks.max(axis=1) > (SURE + np.log(size)) * np.maximum(around, middle), axis=1)
        if loud.any():
            top = max(top, min(int(np.flatnonzero(loud)[-1] + 1) * BLOCK / size, 0.5))
    return top
