"""Where searches begin: from the data alone, whatever unit the system's numbers were meant in."""

import math
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from scipy import fft

from .._machine import cores
from ..physics.system import System
from . import readout
from .coordinates import ABOVE, MATRICES, REAL, encode
from .parameters import Parameters
from .record import Records
from .units import Units

FIRST = 2.0  # cycles of the first windows
NOTHING = math.log(1e-300)  # the coordinate of what is not there
OTHERS = 3  # starts that `other_starts` gives
SHORT, DEAD = 3.0, 100.0  # rates per step of motions that one reading shows, and that none can tell from nothing


def first_length(longest: int, omega: float) -> int:
    """Rows of two cycles, or the whole of a record that has few."""
    first = max(12, math.ceil(FIRST * 2 * math.pi / omega))
    return longest if 2 * first > longest else first


def dominant(records: Records, rising: bool = False) -> np.ndarray:
    """The angular frequency, per step, that holds most of each motion: the greatest of the averaged spectrum, or of
    that times the frequency's square, where a swing stands out of a decay."""
    records, _ = without_trend(records)
    y, step = np.asarray(records.y), np.ones(len(records))
    if not records.even:
        ends = np.take_along_axis(records.ts, records.count[..., None] - 1, axis=2)[..., 0]
        step = np.sum(ends, 1) / np.sum(records.count - 1, 1)
        y = np.array(y)
        for r, k in np.ndindex(*records.count.shape):
            n = int(records.count[r, k])
            ts = records.ts[r, k, :n]
            y[r, k, :n] = np.stack([np.interp(np.arange(n) * step[r], ts, x) for x in y[r, k, :n].T], -1)
    inside = records.within[..., None]
    rows = np.sum(inside, 2, keepdims=True)
    y = np.where(inside, y - np.sum(y * inside, 2, keepdims=True) / rows, 0.0)
    y = y / np.sqrt(np.maximum(np.sum(y**2, 2, keepdims=True) / rows, 1e-300))
    padded = 4 * 2 ** math.ceil(math.log2(records.longest))
    with fft.set_workers(cores()):
        spectrum = fft.rfft(y, padded, axis=2)
    omega = 2 * np.pi * fft.rfftfreq(padded)
    power = np.sum(np.abs(spectrum) ** 2, axis=(1, 3)) * (omega**2 if rising else 1.0)
    return omega[1 + np.argmax(power[:, 1:], axis=1)] / step


def without_trend(records: Records) -> tuple[Records, np.ndarray]:
    """The records less the slope of the straight line through each channel of each record, which is given as well
    (r, records times levels); as they are, without slopes, where no trend is fitted."""
    if not records.trend:
        return records, np.zeros((len(records), 0))
    t, parts = records.since[..., None] + records.ts, []
    for run in records.runs:
        within, y = records.within[:, run], records.y[:, run, :, : records.levels]
        middle = np.mean(t[:, run], axis=(1, 2), where=within, keepdims=True)
        away = np.where(within, t[:, run] - middle, 0.0)[..., None]
        parts.append(np.sum(away * y, (1, 2)) / np.sum(away**2, (1, 2)))
    slope, flat = np.concatenate(parts, axis=1), records.y.copy()
    flat[..., : records.levels] -= records.of_each(slope)[:, :, None] * t[..., None]
    return replace(records, y=flat, trend=False), slope


def sized(records: Records) -> Records:
    """With a unit of length that the readings tell, where they are of other things than the position."""
    if records.readout is None:
        return records
    omega = dominant(records) / np.asarray(records.units.time)
    length = readout.sizes_of(records.readout, records.d, records.reading_unit, omega)
    return replace(records, units=replace(records.units, length=length))


def other_starts(records: Records, omega: np.ndarray) -> tuple[np.ndarray, ...]:
    """For what the integrated equation starts badly, such as readings with spikes or much noise: the spectrum's
    frequency, with little damping or more, and the system as given."""
    parameters, system = records.parameters, records.system
    plain, likely = sensible(records, omega), sensible(records, omega, 1.0)
    little = likely.copy()
    rates = {f"damping.{field}" for field in system.damping.likely(1.0, 1.0)}
    for name, kind, part in zip(parameters.names, parameters.kinds, parameters.slices, strict=True):
        if kind == ABOVE and name in rates:
            little[..., part] -= math.log(30)  # a decay over fifty cycles, not two
    return little, likely, plain


class Relaxing(NamedTuple):
    """Where searches of those records (`rows`) begin that one exponential all but explains: coordinates (starts, rows,
    p), offsets (rows, d), and states of runs (rows, w, 2 d)."""

    rows: np.ndarray
    u: np.ndarray
    offset: np.ndarray
    states: np.ndarray


def relaxing(records: Records, kept: float) -> Relaxing | None:
    r"""Starts of an overdamped motion, y = c + A e^{-rt} + B e^{-st}, of which such a record shows r alone; None of
    none.

    y = const + r c t - r int y dt is linear, and tells r. Each start has another s, from slower than r, where the
    stiffness r s may be below 0, to what dies within a reading, with gamma = r + s and no B: so no search ends above
    the exponential alone.
    """
    d = records.d
    inside = records.within[..., None]
    y, ts = np.where(inside, records.y[..., :d], 0.0), np.where(inside, records.ts[..., None], 0.0)
    first = y[:, :, :1]
    pieces = np.diff(records.ts[..., None], axis=2) * (y[:, :, 1:] + y[:, :, :-1] - 2 * first) / 2
    rise = np.concatenate([np.zeros_like(first), np.cumsum(pieces, axis=2)], axis=2)  # by trapezoids
    left, total = _centred(y, inside), np.where(inside, rise, 0.0)
    if records.offset is None:
        total, slope = _without(total, ts, inside)
        left, trend = _without(y, ts, inside)
    else:
        total = np.where(inside, total + (first - records.offset[:, None, None]) * ts, 0.0)
        total = _centred(total, inside)
    rate = -np.sum(left * total, (1, 2, 3)) / np.maximum(np.sum(total**2, (1, 2, 3)), 1e-300)
    off = np.sum((left + rate[:, None, None, None] * total) ** 2, (1, 2, 3))
    rows = np.flatnonzero((rate > 0) & (off < kept * np.sum(_centred(y, inside) ** 2, (1, 2, 3))))
    if not rows.size:
        return None
    rate = rate[rows]
    part = records.at(rows)
    if records.offset is not None:
        offset = records.offset[rows]
    else:
        # The trend of y + r int (y - y(0)) dt is r (c - y(0)).
        lag = trend[rows] / rate[:, None, None, None] + slope[rows]
        offset = np.concatenate([np.mean((first[rows] + lag)[:, run], axis=(1, 2)) for run in records.runs], axis=1)
    away = first[rows, :, 0] - (part.of_each(offset) if records.offset is None else offset[:, None])
    states = np.concatenate([away, -rate[:, None, None] * away], axis=-1)
    short = np.maximum(3 * rate, SHORT)
    others = [-rate / 2, rate * 0.4, 3 * rate, np.sqrt(3 * rate * short), short, np.maximum(short, DEAD)]
    return Relaxing(rows, np.array([_two_rates(part, rate, s) for s in others]), offset, states)


def _centred(y: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Less the mean of each run."""
    count = np.maximum(np.sum(inside, 2, keepdims=True), 1)
    return np.where(inside, y - np.sum(np.where(inside, y, 0.0), 2, keepdims=True) / count, 0.0)


def _without(y: np.ndarray, ts: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Less the line of each run, and its slope."""
    y, ts = _centred(y, inside), _centred(ts, inside)
    slope = np.sum(y * ts, 2, keepdims=True) / np.maximum(np.sum(ts**2, 2, keepdims=True), 1e-300)
    return y - slope * ts, slope


def _two_rates(records: Records, rate: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The coordinates of the system as given, but with motions of these two rates per step."""
    parameters, system = records.parameters.local, records.system
    mass, time = mass_of(system), np.asarray(records.units.time, float)
    length = np.asarray(records.units.length, float)
    known = _stiffness(mass, np.sqrt(np.maximum(rate * other, 0.0)) / time)
    known |= dict.fromkeys(("potential.stiffness", "potential.linear"), mass * rate * other / time**2)
    friction = system.damping.likely((rate + other) / time, rate * length / time, mass)
    known |= {f"damping.{field}": value for field, value in friction.items()}
    u = np.tile(parameters.read(system), (len(records), 1))
    each = (parameters.names, parameters.kinds, parameters.slices, parameters.shapes, parameters.low, parameters.high)
    for name, kind, part, shape, low, high in zip(*each, strict=True):
        if name in known and kind not in MATRICES:
            for k in range(len(records)):
                u[k, part] = encode(kind, np.broadcast_to(known[name][k], shape), low, high)
    return records.parameters.spread(u)


def sensible(records: Records, omega: np.ndarray, within: float = 100.0) -> np.ndarray:
    """The coordinates of the system as given, a row for each record; numbers that no such record could show are put
    where one could.

    Dampings and stiffnesses within a factor (of a hundred) of what the record's frequency suggests are kept, and so are
    anharmonic coefficients that are no greater; else the search would begin far off in a unit that nobody meant.
    """
    parameters, system, units = records.parameters.local, records.system, records.units
    omega, time, length = (np.asarray(x, float)[:, None] for x in (omega, units.time, units.length))
    u = parameters.read(system)
    u = np.broadcast_to(u, (len(records), len(u))).copy()
    rate = omega / time
    mass = mass_of(system)
    friction = system.damping.likely(0.1 * rate, length / time, mass)
    likely = {f"damping.{field}": value for field, value in friction.items()} | _stiffness(mass, rate)
    likely |= _wells(records, mass, rate)
    largest = {"potential.cubic": mass * (rate / length) ** 2, "potential.quadratic": mass * rate**2 / length}
    for name, kind, low, part in zip(
        parameters.names, parameters.kinds, parameters.low, parameters.slices, strict=True
    ):
        here = u[:, part]
        if kind == ABOVE and name in likely and np.all(low == 0):
            off = np.abs(here - np.log(likely[name])) > math.log(within)
            u[:, part] = np.where(off, np.log(likely[name]), here)
        elif kind == REAL and name in likely:
            size = np.abs(here) / likely[name]
            u[:, part] = np.where((size > within) | (size < 1 / within), likely[name], here)
        elif kind == REAL and name in largest:
            u[:, part] = np.where(np.abs(here) > within * largest[name], 0.0, here)
    return records.parameters.spread(u)


def _wells(records: Records, mass: float, rate: np.ndarray) -> dict[str, np.ndarray]:
    """What two wells would have in one of which, or between which, records move: by the names of free leaves."""
    inside, length = records.within[..., None], np.asarray(records.units.length)
    squares = np.sum(np.where(inside, records.y[..., : records.d], 0.0) ** 2, (1, 2, 3))
    width = (np.sqrt(squares / np.sum(inside, (1, 2, 3)) / records.d) * length)[:, None]
    return {"potential.width": width, "potential.height": mass * (rate * width) ** 2 / 8}


def _stiffness(mass: float, rate: np.ndarray) -> dict[str, np.ndarray]:
    """What a mass on a spring of this angular frequency would have, by the names of free leaves."""
    stiffness = mass * rate**2
    named = {"potential.stiffness": stiffness, "potential.linear": stiffness}
    return named | {"potential.frequency": math.sqrt(mass) * rate}


def from_spectrum(
    system: System, parameters: Parameters, units: Units, omega: np.ndarray, gamma: np.ndarray, power: np.ndarray
) -> np.ndarray:
    """The coordinates of one system as given, but for what the spectrum's resonances, one a component, tell."""
    mass = mass_of(system)
    friction = system.damping.likely(gamma / units.time, None, mass)
    strength = mass * np.sqrt(power) * units.length / units.time**1.5
    noise = {} if system.noise is None else system.noise.likely(strength)
    known = _stiffness(mass, omega / units.time)
    known |= {f"damping.{field}": value for field, value in friction.items()}
    known |= {f"noise.{field}": value for field, value in noise.items()}
    u = parameters.read(system)
    each = (parameters.names, parameters.kinds, parameters.slices, parameters.shapes, parameters.low, parameters.high)
    for name, kind, part, shape, low, high in zip(*each, strict=True):
        if name in known:
            value = known[name]
            laid = np.mean(value) if not shape else value if len(shape) == 1 else np.diag(value)
            u[part] = encode(kind, np.broadcast_to(laid, shape), low, high)
    return u


def mass_of(system: System) -> float:
    """The mean mass of small motions, about: for start values. 1 where the kinetic energy tells none."""
    mass = system.kinetic.small_mass
    if mass is None:
        return 1.0
    leaves = [np.diag(x) if np.ndim(x) == 2 else np.ravel(x) for x in jax.tree.leaves(mass)]
    return float(np.mean(np.concatenate(leaves)))
