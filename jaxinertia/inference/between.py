"""What an input does between its samples: nobody recorded it, so each way is tried, and the one that fits is kept.

A line between samples loses (omega h)^2 / 12 of a sine's amplitude and bends the rest into harmonics: 0.13 % at fifty
samples a cycle, 4 % at nine. What was filtered before it was sampled is the band-limited curve through its samples; so
it is taken to run where the line is so near that no record tells.
"""

from dataclasses import replace

import numpy as np
from scipy import fft

from .record import Records

FINER = 4  # rows for each sample of the input
CLOSE, ONE = 1e-3, 1e-5  # of the input's scatter: closer, and no record tells the ways apart; and they are one
CLEARLY = 4.0  # in twice the log-likelihood
LINE, BAND, HELD = "line", "band", "held"
INPUTS = {LINE: "on a straight line", BAND: "band-limited", HELD: "held"}

Ways = dict[str, Records]


def refine(records: Records) -> list[tuple[np.ndarray, Ways]]:
    """Which of the records (on one grid) are read in which ways; one way where no record tells them apart."""
    everything = np.arange(len(records))
    if not records.even or np.any(records.count <= 3):
        return [(everything, {LINE: records})]
    inputs = {way: _finer_input(records, way) for way in INPUTS}
    inside = _spread(records.within[..., None]) == 1
    apart = np.sum((inside * (inputs[LINE] - inputs[BAND])) ** 2, (1, 2, 3)) / np.sum(inside, (1, 2, 3))
    apart = apart / inputs[LINE].shape[-1]
    scatter = np.array([np.std(u[one]) for u, one in zip(records.input, records.within, strict=True)])  # type: ignore[arg-type]
    distance = np.sqrt(apart) / np.maximum(scatter, 1e-300)
    kinds = ((distance <= ONE, ()), ((distance > ONE) & (distance <= CLOSE), (BAND,)), (distance > CLOSE, INPUTS))
    out = []
    for rows, ways in ((np.flatnonzero(which), ways) for which, ways in kinds):
        if rows.size:
            part = records.at(rows)
            out.append((rows, {way: _finer(part, inputs[way][rows]) for way in ways} or {LINE: part}))
    return out


def most_likely(deviances: dict[str, np.ndarray]) -> np.ndarray:
    """Of each record the way that fits best; another than band-limited only where it fits clearly better.

    A line takes a part of every sine's amplitude, which a gain makes up for, and leaves no trace in the residuals.
    """
    ways = list(deviances)
    table = np.stack([np.asarray(deviances[way]) + CLEARLY * (way != BAND) for way in ways])
    return np.array(ways)[np.argmin(table, axis=0)]


def _spread(x: np.ndarray) -> np.ndarray:
    """Rows, and FINER - 1 more between each two, on a line."""
    x = np.asarray(x, float)
    part = (np.arange(FINER) / FINER)[:, None]
    between = x[..., :-1, None, :] + part * (x[..., 1:, None, :] - x[..., :-1, None, :])
    between = between.reshape(*x.shape[:-2], -1, x.shape[-1])
    return np.concatenate([between, x[..., -1:, :]], axis=-2)


def _finer(records: Records, force: np.ndarray) -> Records:
    """The records with rows in between, in which nothing is read."""
    y = _spread(records.y)
    n = y.shape[2]
    weight, row = np.zeros_like(y), np.full(y.shape[:3], -1)
    weight[:, :, ::FINER] = records.weight
    row[:, :, ::FINER] = records.row
    units = replace(records.units, time=records.units.time / FINER)
    ts = np.broadcast_to(np.arange(n, dtype=float), y.shape[:3]).copy()
    start, count = records.start * FINER, (records.count - 1) * FINER + 1
    late, off = records.delay * FINER, records.time_error * FINER
    now = replace(records, units=units, start=start, ts=ts, y=y, weight=weight, input=force, row=row, count=count)
    return replace(now, delay=late, time_error=off, finer=FINER)


def _finer_input(records: Records, way: str) -> np.ndarray:
    u = np.asarray(records.input)
    if way == LINE:
        return _spread(u)
    if way == HELD:
        held = np.repeat(u, FINER, axis=2)[:, :, : (u.shape[2] - 1) * FINER + 1]
        # Rows are joined by lines: a jump is as steep before its sample as behind it, and so at its time.
        held[:, :, FINER::FINER] = (u[:, :, :-1] + u[:, :, 1:]) / 2
        # Such a jump is a ramp of two rows, which keeps 1 - (omega h)^2 / 6 of a sine, h between rows: given back.
        held[:, :, 1:-1] -= np.diff(held, 2, axis=2) / 6
        return held
    out = _spread(u)
    for k in range(u.shape[1]):
        for n in np.unique(records.count[:, k]):
            rows = records.count[:, k] == n
            out[rows, k, : (n - 1) * FINER + 1] = _band_limited(u[rows, k, :n])
    return out


def _band_limited(u: np.ndarray) -> np.ndarray:
    """The rows, FINER times as fine, whose lines have in their band what the curve through samples (r, n, d) has.

    What is left of the line between its ends is turned about each of them: value and slope run on where the period
    closes. A mirror image would bend there, and the kick of that bend would be taken for the start's momentum.
    """
    n = u.shape[1]
    at = np.arange((n - 1) * FINER + 1)[:, None] / (FINER * (n - 1))
    line = u[:, :1] + at * (u[:, -1:] - u[:, :1])
    rest = u - line[:, ::FINER]
    turned = np.concatenate([rest, -rest[:, -2:0:-1]], axis=1)
    kept = np.sinc(fft.rfftfreq(turned.shape[1]) / FINER) ** 2  # of a sine by lines between rows
    finer = FINER * fft.irfft(fft.rfft(turned, axis=1) / kept[:, None], turned.shape[1] * FINER, axis=1)
    return line + finer[:, : len(at)]
