"""Noise-driven records: start values from the spectrum, then the likelihood of every reading, or of a band."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from . import delay, kalman, linear, lines, whittle
from .record import Records, joined
from .search import Options, Search, run
from .shooting import Ended, at_once, chosen
from .starts import from_spectrum, mass_of, sensible, without_trend

KALMAN, EXTENDED, UNSCENTED, WHITTLE = "kalman", "extended kalman", "unscented kalman", "whittle"
SEVERAL = (
    f"method = {WHITTLE!r} ({{}}) has one floor for all readings, and these are several: fit each record by itself, or "
    f"all by method={KALMAN!r} if there is no other motion in them"
)
LOOK, ROUGH = 12, 1e-2  # iterations that a trial of a delay is worth, and of the cost of a standard error
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
    whole: Records  # as they came: of the others the input is moved by its delay

    def kind(self) -> tuple:
        """What searches that go side by side have in common."""
        alike, settles = self.likelihood.never_settled()
        return self.choice.method, jax.tree.structure(alike), *map(np.shape, jax.tree.leaves(alike)), settles


def choose(records: Records, found: list[whittle.Resonance]) -> Choice:
    """The likelihood of every reading, unless the spectrum holds more than this motion over a white floor."""
    system, read = records.system, records.readout
    if not linear.is_linear(system):
        return Choice(UNSCENTED, "the system is not linear: the filter moves points around its estimate")
    if read is not None and not read.is_affine:
        return Choice(UNSCENTED, "read is not linear: the filter reads points around its estimate")
    runs = whittle.runs_of(records, 0)
    if (
        records.d == records.levels == 1
        and whittle.is_whole(runs)
        and system.force is None
        and records.count.sum() >= LONG
    ):
        flat, worst = whittle.is_flat(runs, found[0], _seen(records))
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
    whole = records
    records = delay.moved(records, records.delay)
    limits = None if band is None else tuple(2 * math.pi * f * float(records.units.time[0]) for f in band)
    flat, _ = without_trend(records)
    seen = _seen(records)
    found, named, cleaned = _resonances(flat, limits, seen)
    choice = choose(records, found)
    if limits is not None:
        choice = Choice(WHITTLE, f"a band was given: {band[0]:.6g} to {band[1]:.6g} cycles per time")
    if method is not None:
        choice = Choice(method, "it was asked for")
    if choice.method == WHITTLE and records.of:
        raise ValueError(SEVERAL.format(choice.why))
    if choice.method == WHITTLE and limits is None:
        found = [whittle.local(cleaned, found[0], seen)]
    choice = choice._replace(why=choice.why + named)
    uneven = [run for run in whittle.runs_of(records, 0) if not run.is_even]
    if choice.method == WHITTLE and uneven:
        told = "times are uneven: the spectrum is summed at the times themselves, and what they spread of it is floor"
        choice = choice._replace(why=f"{choice.why}; {told}")
    omega, gamma, power = (np.array([getattr(x, name) for x in found]) for name in ("omega", "gamma", "power"))
    units = jax.tree.map(lambda x: x[0], records.units)
    if records.levels == records.d and (records.readout is None or seen is not None):
        local = from_spectrum(records.system, records.parameters.local, units, omega, gamma, power)
        u = records.parameters.spread(local)
    else:
        u = sensible(records, np.max(omega)[None])[0]
    if choice.method == WHITTLE:
        return Posed(row, records, *_band(flat, found[0], limits, u), choice, whole)
    return Posed(row, records, *pose_filter(records, found, u, choice.method), choice, whole)


def _seen(records: Records) -> np.ndarray | None:
    """(a^2, b^2), where a reading is a x + b x' of one component, in the fit's units; else None."""
    if records.readout is None or not records.readout.is_affine or records.d > 1 or records.levels > 1:
        return None
    units = jax.tree.map(lambda x: x[0], records.units)
    return np.asarray(records.readout.matrix(units))[0] ** 2


def _resonances(
    records: Records, limits: Any, seen: np.ndarray | None
) -> tuple[list[whittle.Resonance], str, list[whittle.Run]]:
    """Of each component, lines in words, and the first component's runs without them: where there are some, the
    resonance that is left without them, if one stands out, is the motion's."""
    found, told, without = [], "", []
    for i in range(records.levels):
        runs = whittle.runs_of(records, i)
        cleaned, heard = lines.taken_away(runs) if limits is None else (runs, [])
        without.append(cleaned)
        other = whittle.resonance(cleaned, limits, seen)
        found.append(other if not heard or whittle.stands_out(other) else whittle.resonance(runs, None, seen))
        if heard:
            time = 2 * math.pi * float(records.units.time[0])
            named = ", ".join(f"{line.omega / time:.4g}" for line in heard)
            told = f"; lines at frequency {named} are tones, and not taken for the motion"
            if found[-1] is not other:
                told = f"; tones are at frequency {named}, and nothing else stands out: leave them out by band="
    return found, told, without[0]


def fit(posed: list[Posed], options: Options) -> Ended:
    """Fisher scoring of records of one kind, side by side."""
    first = posed[0].likelihood
    own = jax.tree.map(lambda *each: np.concatenate(each), *(one.likelihood.own() for one in posed))
    likelihood = first.settled_like([one.likelihood for one in posed]).with_own(own)
    u = np.stack([one.u for one in posed])
    records = joined([one.records for one in posed])
    if records.free_delay:
        records, likelihood, found = _delayed(joined([one.whole for one in posed]), likelihood, u, options)
    else:
        found = run(likelihood, u, np.zeros((len(u), 0, 1)), options, "likelihoods")
    rows, why = np.array([one.row for one in posed]), [one.choice.why for one in posed]
    return Ended(rows, records, likelihood, found, np.ones(len(u), bool), posed[0].choice.method, why)


def _delayed(
    whole: Records, likelihood: kalman.Filter, u: np.ndarray, options: Options
) -> tuple[Records, kalman.Filter, Search]:
    """The searches with the input moved by the best of all delays: each is tried, with all else fitted to it, and the
    lowest of those at the bottom of valleys is kept."""
    omega, nothing = delay.common(whole), np.zeros((len(u), 0, 1))
    tried = delay.trials(omega)
    part, heard, counts = delay.lanes(whole, tried)
    held = replace(part, slope=np.zeros_like(part.slope))
    few = options._replace(most=min(LOOK, options.most), tolerance=ROUGH)
    every = np.tile(np.arange(len(u)), len(tried))
    look = run(_moved(likelihood.at(every), held), u[every], nothing[every], few, "delays")
    first = delay.valleys(tried, np.where(counts, look.cost.reshape(tried.shape), np.inf))
    begin = np.argmin(np.abs(tried[None] - first[:, None]), axis=1) * len(u) + np.arange(len(u))
    many = joined([replace(whole, weight=heard)] * len(first))
    now, found = delay.moved(many, first.ravel()), look.at(begin.ravel())
    every = np.tile(np.arange(len(u)), len(first))
    lanes = likelihood.at(every)
    now, found = _follow(many, now, lanes, run(_moved(lanes, now), found.u, found.x, few, "delays"), few)
    best, others = chosen(now, found, heard, delay.spacing(omega) / 2)
    now, found = delay.moved(whole, now.delay[best]), found.at(best)
    found = run(_moved(likelihood, now), at_once(found, likelihood).u, found.x, options, "input moved")
    now, found = _follow(whole, now, likelihood, found, options)
    now = replace(now, looked=delay.looked_for(whole, tried, counts, others))
    return now, _moved(likelihood, now), found


def _moved(likelihood: kalman.Filter, now: Records) -> kalman.Filter:
    """The likelihood of these readings under this input."""
    moved = replace(likelihood, windows=now.windows(now.longest))
    readings, before = (np.sum(one.taken, axis=(1, 2, 3)) for one in (moved, likelihood))
    return replace(moved, freedom=likelihood.freedom + readings - before)


def _follow(
    whole: Records, now: Records, likelihood: kalman.Filter, found: Search, options: Options
) -> tuple[Records, Search]:
    """The search again with the input moved to where it ended, till it ends where it began; `whole`: not moved."""
    at, omega = likelihood.beside_at[2], delay.common(whole)
    for _ in range(delay.ROUNDS):
        step = delay.steps(np.asarray(found.u)[:, at][:, 0], omega)
        if step is None:
            break
        now = delay.moved(whole, now.delay + step)
        found = run(_moved(likelihood, now), at_once(found, likelihood).u, found.x, options, "input moved")
    return now, found


def _band(records: Records, found: whittle.Resonance, band: Any, u: np.ndarray) -> tuple[whittle.Band, np.ndarray]:
    seen = _seen(records)
    if records.parameters.own:
        raise ValueError(f"method = 'whittle' has one spectrum for all runs: with each= use method={KALMAN!r}")
    if records.readout is not None and seen is None:
        raise ValueError(
            "method = 'whittle' needs one channel that reads a linear function of one component's q and p; use "
            f"method={KALMAN if records.readout.is_affine else UNSCENTED!r} for this read="
        )
    if records.d != 1 or not linear.is_linear(records.system) or records.system.force is not None:
        raise ValueError(
            "method = 'whittle' needs one component, a quadratic potential, linear damping, kinetic.Euclidean() and no "
            "input; use a Kalman filter"
        )
    whittle.check_whole(whittle.runs_of(records, 0))
    band = whittle.around(found, math.pi, seen) if band is None else band
    return whittle.pose(records, band, seen), np.concatenate([u, [math.log(found.floor), 0.0]])


def pose_filter(
    records: Records, found: list[whittle.Resonance], u: np.ndarray, method: str
) -> tuple[kalman.Filter, np.ndarray]:
    """The filter's problem of one record, and where its search begins."""
    windows, levels = records.windows(records.longest), records.levels
    beside = records.beside._replace(error=bool(records.unknown[0, :levels].any()))
    omega, floor = max(x.omega for x in found), np.array([x.floor for x in found])
    scatter = np.mean([np.sqrt(x.power / max(2 * x.gamma, 1e-300)) for x in found])
    scatter = omega if levels != records.d else scatter
    speed = max(float(scatter), omega * 1e-3) * mass_of(records.system)
    exact = linear.is_linear(records.system)
    affine = records.readout is None or records.readout.is_affine
    problem = kalman.Filter(
        system=records.system,
        parameters=records.parameters,
        units=records.units,
        windows=windows,
        offset=np.zeros((1, levels)) if records.offset is None else records.offset,
        speed=np.array([speed]),
        freedom=np.maximum(
            np.sum(windows.weight[..., :levels] > 0, (1, 2, 3))
            - records.unknowns
            - beside.error * levels * beside.records,
            1,
        ),
        readout=records.readout,
        beside=beside,
        d=records.d,
        scalar=records.scalar,
        transient=_transient(records, u, speed, floor if beside.error else None) if exact else None,
        substeps=1 if exact else max(1, math.ceil(omega * _longest_interval(records) / kalman.PHASE)),
        unscented=method == UNSCENTED and not (exact and affine),
    )
    flat, line = without_trend(records)
    late = [0.0] * records.free_delay
    errors = np.tile(np.log(floor), beside.records if beside.error else 0)
    return problem, np.concatenate([u, flat.middle[0], line[0], late, errors])


def _longest_interval(records: Records) -> float:
    return float(np.max(np.diff(records.ts, axis=2)[records.within[:, :, 1:]], initial=1.0))


def _transient(records: Records, u: np.ndarray, speed: float, floor: np.ndarray | None) -> int | None:
    """Readings until a linear system's gain has settled, if it does in half of the record."""
    if records.readout is not None and not records.readout.is_affine:
        return None
    weight = records.weight[0, ..., : records.levels]
    alike = np.all(weight == weight[0, 0]) and np.all(weight[0, 0] > 0)
    if not (records.even and alike and records.system.force is None):
        return None
    system = records.parameters.local.write(records.system, u[records.parameters.index[0]])
    variance = 1 / weight[0, 0] ** 2 if floor is None else floor
    units = jax.tree.map(lambda x: x[0], records.units)
    # A search tries other values, where the gain may settle later; a power of two: records share a program.
    seen = np.eye(records.d, 2 * records.d)
    seen = seen if records.readout is None else np.asarray(records.readout.matrix(units))
    sizes = [0.25, *([4.0 * len(records.runs)] if records.of else [])]  # of one record's error over that of all
    settled = [kalman.settles_after(system, seen, units, records.scalar, size * variance, speed) for size in sizes]
    readings = 2 * max(settled) + 64
    readings = 2 ** math.ceil(math.log2(readings))
    return readings if readings < records.longest // 2 else None
