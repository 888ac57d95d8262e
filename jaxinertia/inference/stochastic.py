"""Noise-driven records: start values from the spectrum, then the likelihood of every reading, or of a band."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from . import kalman, linear, lines, whittle
from .record import Records, joined
from .search import Options, run
from .shooting import Ended
from .starts import from_spectrum, mass_of

KALMAN, EXTENDED, UNSCENTED, WHITTLE = "kalman", "extended kalman", "unscented kalman", "whittle"
LONG = 4096  # readings from which on a spectrum's floor can be judged


class Choice(NamedTuple):
    """A method and the reason for it."""

    method: str
    why: str


class Posed(NamedTuple):
    """One record's likelihood, with the axis of one record, and where its search begins."""

    row: int
    records: Records
    likelihood: kalman.Filter | whittle.Band
    u: np.ndarray
    choice: Choice

    def kind(self) -> tuple:
        """What searches that go side by side have in common."""
        alike, settles = self.likelihood.never_settled()
        return self.choice.method, jax.tree.structure(alike), *map(np.shape, jax.tree.leaves(alike)), settles


def choose(records: Records, found: list[whittle.Resonance]) -> Choice:
    """The likelihood of every reading, unless the spectrum holds more than this motion over a white floor."""
    system = records.system
    if not linear.is_linear(system):
        return Choice(UNSCENTED, "the system is not linear: the filter moves points around its estimate")
    runs = whittle.runs_of(records, 0)
    if records.d == 1 and whittle.is_whole(runs) and system.force is None and records.count.sum() >= LONG:
        flat, worst = whittle.is_flat(runs, found[0])
        if not flat:
            why = (
                f"the spectrum has more in it than this motion over a white floor (up to {worst:.3g} times the model): "
                "only the band around the resonance is used"
            )
            return Choice(WHITTLE, why)
        return Choice(KALMAN, "the potential is quadratic and the spectrum one resonance over a white floor")
    return Choice(KALMAN, "the potential is quadratic: the likelihood of every reading is exact")


def pose(row: int, records: Records, method: str | None, band: Any) -> Posed:
    """One record. `band`: in cycles per time."""
    limits = None if band is None else tuple(2 * math.pi * f * float(records.units.time[0]) for f in band)
    found, named = _resonances(records, limits)
    choice = choose(records, found)
    if limits is not None:
        choice = Choice(WHITTLE, f"a band was given: {limits[0]:.6g} to {limits[1]:.6g} radians per step")
    if method is not None:
        choice = Choice(method, "it was asked for")
    choice = choice._replace(why=choice.why + named)
    omega, gamma, power = (np.array([getattr(x, name) for x in found]) for name in ("omega", "gamma", "power"))
    units = jax.tree.map(lambda x: x[0], records.units)
    u = from_spectrum(records.system, records.parameters, units, omega, gamma, power)
    if choice.method == WHITTLE:
        return Posed(row, records, *_band(records, found[0], limits, u), choice)
    return Posed(row, records, *pose_filter(records, found, u, choice.method), choice)


def _resonances(records: Records, limits: Any) -> tuple[list[whittle.Resonance], str]:
    """Of each component, and lines in words: where there are some, the resonance that is left without them, if one
    stands out, is the motion's."""
    found, told = [], ""
    for i in range(records.d):
        runs = whittle.runs_of(records, i)
        cleaned, heard = lines.taken_away(runs) if limits is None else (runs, [])
        other = whittle.resonance(cleaned, limits)
        found.append(other if not heard or whittle.stands_out(other) else whittle.resonance(runs))
        if heard:
            time = 2 * math.pi * float(records.units.time[0])
            named = ", ".join(f"{line.omega / time:.4g}" for line in heard)
            told = f"; lines at frequency {named} are tones, and not taken for the motion"
            if found[-1] is not other:
                told = f"; tones are at frequency {named}, and nothing else stands out: leave them out by band="
    return found, told


def fit(posed: list[Posed], options: Options) -> Ended:
    """Fisher scoring of records of one kind, side by side."""
    first = posed[0].likelihood
    own = jax.tree.map(lambda *each: np.concatenate(each), *(one.likelihood.own() for one in posed))
    likelihood = first.settled_like([one.likelihood for one in posed]).with_own(own)
    u = np.stack([one.u for one in posed])
    found = run(likelihood, u, np.zeros((len(u), 0, 1)), options, "likelihoods")
    rows, why = np.array([one.row for one in posed]), [one.choice.why for one in posed]
    records = joined([one.records for one in posed])
    return Ended(rows, records, likelihood, found, np.ones(len(u), bool), posed[0].choice.method, why)


def _band(records: Records, found: whittle.Resonance, band: Any, u: np.ndarray) -> tuple[whittle.Band, np.ndarray]:
    if records.d != 1 or not linear.is_linear(records.system) or records.system.force is not None:
        raise ValueError(
            "method = 'whittle' needs one component, a quadratic potential, linear damping, kinetic.Euclidean() and no "
            "input; use a Kalman filter"
        )
    whittle.check_whole(whittle.runs_of(records, 0))
    band = whittle.around(found, math.pi) if band is None else band
    return whittle.pose(records, band), np.concatenate([u, [math.log(found.floor), 0.0]])


def pose_filter(
    records: Records, found: list[whittle.Resonance], u: np.ndarray, method: str
) -> tuple[kalman.Filter, np.ndarray]:
    """The filter's problem of one record, and where its search begins."""
    windows, d = records.windows(records.longest), records.d
    free_offset, free_error = records.offset is None, bool(records.unknown[0, :d].any())
    omega, floor = max(x.omega for x in found), np.array([x.floor for x in found])
    scatter = np.mean([np.sqrt(x.power / max(2 * x.gamma, 1e-300)) for x in found])
    speed = max(float(scatter), omega * 1e-3) * mass_of(records.system)
    exact = linear.is_linear(records.system)
    problem = kalman.Filter(
        system=records.system,
        parameters=records.parameters,
        units=records.units,
        windows=windows,
        offset=np.zeros((1, d)) if records.offset is None else records.offset,
        speed=np.array([speed]),
        freedom=np.maximum(np.sum(windows.weight[..., :d] > 0, (1, 2, 3)) - records.unknowns - free_error * d, 1),
        free_offset=free_offset,
        free_error=free_error,
        scalar=records.scalar,
        transient=_transient(records, u, speed, floor if free_error else None) if exact else None,
        substeps=1 if exact else max(1, math.ceil(omega * _longest_interval(records) / kalman.PHASE)),
        unscented=method == UNSCENTED and not exact,
    )
    rows = records.within[0][..., None]
    middle = np.sum(records.y[0, ..., :d] * rows, (0, 1)) / np.sum(rows)
    return problem, np.concatenate([u, middle if free_offset else [], np.log(floor) if free_error else []])


def _longest_interval(records: Records) -> float:
    return float(np.max(np.diff(records.ts, axis=2)[records.within[:, :, 1:]], initial=1.0))


def _transient(records: Records, u: np.ndarray, speed: float, floor: np.ndarray | None) -> int | None:
    """Readings until a linear system's gain has settled, if it does in half of the record."""
    weight = records.weight[0, ..., : records.d]
    alike = np.all(weight == weight[0, 0]) and np.all(weight[0, 0] > 0)
    if not (records.even and alike and records.system.force is None):
        return None
    system = records.parameters.write(records.system, u)
    variance = 1 / weight[0, 0] ** 2 if floor is None else floor
    units = jax.tree.map(lambda x: x[0], records.units)
    # A search tries other values, where the gain may settle later; a power of two: records share a program.
    readings = 2 * kalman.settles_after(system, records.d, units, records.scalar, variance / 4, speed) + 64
    readings = 2 ** math.ceil(math.log2(readings))
    return readings if readings < records.longest // 2 else None
