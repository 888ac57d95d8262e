"""Noise-driven records: start values from the spectrum, then the likelihood of every reading, or of a band."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..physics.system import System
from . import kalman, linear, solve, spectrum
from .outcome import Outcome, of_band, of_filter
from .parameters import encode
from .shooting import Record, mass_of
from .windows import cut

KALMAN, EXTENDED, UNSCENTED, WHITTLE = "kalman", "extended kalman", "unscented kalman", "whittle"
LONG = 4096  # readings from which on a spectrum's floor can be judged


class Choice(NamedTuple):
    """A method and the reason for it."""

    method: str
    why: str


def filter_for(system: System) -> str:
    """The filter that takes every reading: exact if the system is linear, else the one that is biased least."""
    return KALMAN if linear.is_linear(system) else UNSCENTED


def choose(record: Record, found: list[spectrum.Resonance]) -> Choice:
    """The likelihood of every reading, unless the spectrum holds more than this motion over a white floor."""
    if not linear.is_linear(record.system):
        return Choice(UNSCENTED, "the system is not linear: the filter moves points around its estimate")
    whole = all(np.all(run.weight > 0) and spectrum.unevenness(run) <= spectrum.JITTER for run in record.runs)
    if record.d == 1 and whole and record.system.force is None and sum(len(r.ts) for r in record.runs) >= LONG:
        flat, worst = spectrum.is_flat(record.runs, 0, found[0])
        if not flat:
            why = (
                f"the spectrum has more in it than this motion over a white floor (up to {worst:.3g} times the model): "
                "only the band around the resonance is used"
            )
            return Choice(WHITTLE, why)
        return Choice(KALMAN, "the potential is quadratic and the spectrum one resonance over a white floor")
    return Choice(KALMAN, "the potential is quadratic: the likelihood of every reading is exact")


def fit(
    record: Record, method: str | None, band: Any, error: bool, most: int, report: Callable | None
) -> tuple[Outcome, Choice]:
    """Fisher scoring from the spectrum's start. `error`: whether the error of a reading is known."""
    limits = None if band is None else (band[0], band[1])
    found = [spectrum.resonance(record.runs, i, limits) for i in range(record.d)]
    choice = choose(record, found)
    if band is not None:
        choice = Choice(WHITTLE, f"a band was given: {band[0]:.6g} to {band[1]:.6g} radians per step")
    if method is not None:
        choice = Choice(method, "it was asked for")
    u = start(record, found)
    if choice.method == WHITTLE:
        return _whittle(record, found[0], band, u, most, report), choice
    return _filter(record, found, u, error, choice.method, most, report), choice


def _whittle(record, found, band, u, most, report):
    if record.d != 1 or not linear.is_linear(record.system) or record.system.force is not None:
        raise ValueError(
            "method = 'whittle' needs one component, a quadratic potential, linear damping, kinetic.Euclidean() and no "
            "input; use a Kalman filter"
        )
    spectrum.check_whole(record.runs)
    band = spectrum.around(found, math.pi) if band is None else band
    problem = spectrum.pose(record.system, record.parameters, record.units, record.runs, band, record.scalar)
    search = solve.start(np.concatenate([u, [math.log(found.floor), 0.0]]), np.zeros((0, 1)))
    return of_band(solve.run(spectrum.normal, search, problem, most, report), record, problem)


def _filter(record, found, u, error, method, most, report):
    problem, u = pose(record, found, u, error, method)
    search = solve.start(u, np.zeros((0, 1)))
    return of_filter(solve.run(kalman.normal, search, problem, most, report), record, problem)


def pose(
    record: Record, found: list[spectrum.Resonance], u: np.ndarray, error: bool, method: str
) -> tuple[kalman.Filter, np.ndarray]:
    """The filter's problem, and where its search begins."""
    windows, _ = cut(record.runs, record.longest)
    d = record.d
    omega = max(x.omega for x in found)
    floor = np.array([x.floor for x in found])
    scatter = np.mean([np.sqrt(x.power / max(2 * x.gamma, 1e-300)) for x in found])
    speed = np.asarray(max(float(scatter), omega * 1e-3) * mass_of(record.system))
    free_offset = record.offset is None
    exact = linear.is_linear(record.system)
    transient = None
    weight = np.asarray(windows.weight)[..., :d]
    if (
        exact
        and windows.even
        and record.system.force is None
        and np.all(weight == weight[0, 0])
        and np.all(weight[0, 0] > 0)
    ):
        here = record.parameters.write(record.system, u)
        variance = floor if not error else 1 / weight[0, 0] ** 2
        # A search tries other values, where the gain may settle later.
        transient = 2 * kalman.settles_after(here, d, record.units, record.scalar, variance / 4, float(speed)) + 64
        # A power of two: records of one length share a program.
        transient = 2 ** math.ceil(math.log2(transient))
        transient = transient if transient < record.longest // 2 else None
    steps = max(float(np.max(np.diff(run.ts), initial=1.0)) for run in record.runs)
    middle = np.mean(np.concatenate([run.y[:, :d] for run in record.runs]), axis=0)
    problem = kalman.Filter(
        record.system,
        record.parameters,
        record.units,
        windows,
        np.zeros(d) if free_offset else np.asarray(record.offset),
        speed,
        free_offset,
        not error,
        record.scalar,
        transient,
        1 if exact else max(1, math.ceil(omega * steps / kalman.PHASE)),
        method == UNSCENTED and not exact,
    )
    return problem, np.concatenate([u, middle if free_offset else [], [] if error else np.log(floor)])


def start(record: Record, found: list[spectrum.Resonance]) -> np.ndarray:
    """The coordinates of the system as given, but for what the spectrum knows."""
    units, parameters = record.units, record.parameters
    omega, gamma, power = (np.array([getattr(x, name) for x in found]) for name in ("omega", "gamma", "power"))
    system = record.system
    mass = mass_of(system)
    friction = system.damping.likely(gamma / units.time, None, mass)
    amplitude = (
        {} if system.noise is None else system.noise.likely(mass * np.sqrt(power) * units.length / units.time**1.5)
    )
    known = {f"damping.{field}": value for field, value in friction.items()} | {
        "potential.stiffness": mass * (omega / units.time) ** 2,
        "potential.linear": mass * (omega / units.time) ** 2,
        "potential.frequency": math.sqrt(mass) * omega / units.time,
    }
    known |= {f"noise.{field}": value for field, value in amplitude.items()}
    u = parameters.read(system)
    for name, kind, part, shape, low, high in zip(
        parameters.names,
        parameters.kinds,
        parameters.slices,
        parameters.shapes,
        parameters.low,
        parameters.high,
        strict=True,
    ):
        if name in known:
            value = known[name]
            laid = np.mean(value) if not shape else value if len(shape) == 1 else np.diag(value)
            u[part] = encode(kind, np.broadcast_to(laid, shape), low, high)
    return u
