"""A first look at many laws of one record: what each would cost, all of them in one program.

A law is a greater one with some of its numbers held: without dry friction it is 0, without a bend so is the cubic. So
one search after another goes on side by side, from the viscous fit with a little or much of its friction given to
what is added; then each from where it ended, and from the best that holds no more than it. Laws that have no greater
one in common, a spring and a pendulum, take a program each.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from . import starts
from .candidates import DRAGS, Law, force_of, pose
from .least_squares import pose as posed_as
from .normal import Held
from .parameters import ABOVE, encode
from .result import Fit
from .search import Options, Search, run
from .shooting import KEPT, LEAST_SQUARES, Near
from .short_windows import pace
from .task import prepare
from .which_motion import motion_for

GREATER = {"quadratic": "duffing"}  # than the spring's: with numbers that are 0 there
SHARES = 0.03, 0.5  # of the friction that a law's further ones begin with
LOOK = Options(30, tolerance=1e-2)  # of the cost of a standard error


class Seen(NamedTuple):
    """What a law costs by a first look; its numbers by name; and where its own search begins."""

    deviance: float
    numbers: int
    values: dict[str, float]
    near: Near


def keeps_phase(fit: Fit) -> bool:
    """Whether a fit explains most of a record, so that a search for another law may begin there."""
    posed = cast(Any, fit.posed)
    return bool(posed.cost < KEPT * posed.likelihood.level)


def screened(viscous: Fit, own: Fit | None, data: Any, potential: str) -> dict[Law, Seen]:
    """Of all laws with this potential, or what it holds, from the viscous fit to the same data; or those with this
    potential from `own`, the fit with it and viscous friction, where that tells more of the record."""
    with jax.enable_x64(True):
        group = _Group(viscous, own, data, GREATER.get(potential, potential))
        return group.seen()


class _Group:
    """The laws of one potential, as one with numbers held."""

    def __init__(self, viscous: Fit, own: Fit | None, data: Any, potential: str):
        self.viscous, self.posed = viscous, cast(Any, viscous.posed)
        system, free = pose(Law(potential, ",".join(DRAGS[1:])), force=force_of(data))
        task = prepare(system, data, free, None, None, None, self.posed.likelihood.loss.name, LOOK)
        self.parameters = task.parameters
        before = self.posed.records
        self.records = replace(before, system=task.system, parameters=task.parameters)
        within = [*[k for k, v in GREATER.items() if v == potential], potential]
        frictions = ["linear", *DRAGS[1:], ",".join(DRAGS[1:])]
        self.laws = [Law(name, drag).plain for name in within for drag in frictions]
        self.free = np.array([self._is_free(law) for law in self.laws])
        better = own if own is not None and own.deviance < viscous.deviance else viscous
        self.bases = [better if law.potential == potential else viscous for law in self.laws]

    def _is_free(self, law: Law) -> list[bool]:
        """(coordinates,) of the greater law: which this one has; and all that is fitted beside."""
        held = {f"damping.{name}" for name in DRAGS[1:] if name not in law.added}
        held |= {"potential.cubic"} if law.potential in GREATER else set()
        beside = self.posed.u.shape[-1] - self.posed.records.parameters.size
        return [name not in held for name in self.parameters.names] + [True] * beside

    def seen(self) -> dict[Law, Seen]:
        """Every law, searched for twice, from two starts each time."""
        records, states = self.records, np.asarray(self.posed.x)[None, :, None]
        motion = motion_for(records.system, records.d, *pace(records, starts.dominant(records), states))
        loss = jax.tree.map(lambda x: np.asarray(x)[None], self.posed.likelihood.loss)
        whole = posed_as(records, records.longest, motion, loss=loss)
        free = np.repeat(self.free, len(SHARES), axis=0)
        problem = Held(whole.at(np.zeros(len(free), int)), free)
        each = zip(self.free, self.bases, strict=True)
        u = np.stack([self._start(free, base, share) for free, base in each for share in SHARES])
        x = np.repeat(np.stack([np.asarray(cast(Any, base.posed).x) for base in self.bases]), len(SHARES), axis=0)
        found = run(problem, u, x, LOOK, "a first look")
        best = self._best(found)
        again = np.stack([best, self._held_more(found, best)], axis=1).ravel()
        u = self._freed(np.asarray(found.u)[again], free)
        found = run(problem, u, np.asarray(found.x)[again], LOOK, "a second look")
        return {law: self._told(found, k) for law, k in zip(self.laws, self._best(found).tolist(), strict=True)}

    def _start(self, free: np.ndarray, fit: Fit, share: float) -> np.ndarray:
        """A fit with viscous friction, a share of its friction given to each that is added."""
        records, values = self.records, {name: float(value) for name, value in fit.values.items()}
        time, length = (np.asarray(x, float)[0] for x in (records.units.time, records.units.length))
        rate = float(starts.dominant(records)[0] / time)
        gamma = values[next(name for name in ("damping.gamma", "damping.linear") if name in values)]
        stiffness = float(self.viscous.values["potential.stiffness"])
        gamma = max(gamma, 1e-3 * rate)
        friction = records.system.damping.likely(share * gamma, rate * length, 1.0)
        known = {f"damping.{name}": value for name, value in friction.items()}
        known |= {"damping.linear": gamma * (1 - share), "potential.linear": stiffness}
        known |= {"potential.frequency": math.sqrt(max(stiffness, 1e-6 * rate**2))}
        known |= {name: value for name, value in values.items() if not name.startswith("damping.")}
        p = self.parameters
        parts = [
            encode(kind, np.full(shape, known.get(name, 0.0)), low, high)
            for name, kind, shape, low, high in zip(p.names, p.kinds, p.shapes, p.low, p.high, strict=True)
        ]
        u = np.concatenate([*parts, _beside(fit)])
        return np.where(free, u, self._nothing(u))

    def _nothing(self, u: np.ndarray) -> np.ndarray:
        """Coordinates of numbers that are not there."""
        above = [kind == ABOVE for kind in self.parameters.kinds]
        return np.where(above + [False] * (len(u) - len(above)), starts.NOTHING, 0.0)

    def _freed(self, u: np.ndarray, free: np.ndarray) -> np.ndarray:
        """With a little of what is free and was not there."""
        little = np.stack([self._start(row, self.viscous, SHARES[0]) for row in free])
        return np.where(free & (u <= starts.NOTHING), little, u)

    def _best(self, found: Search) -> np.ndarray:
        """(laws,): of each its lane that costs least."""
        cost = np.where(np.isfinite(found.cost), found.cost, np.inf).reshape(len(self.laws), -1)
        return np.argmin(cost, axis=1) + cost.shape[1] * np.arange(len(self.laws))

    def _held_more(self, found: Search, best: np.ndarray) -> np.ndarray:
        """(laws,): the lane of the best law that has no numbers but a law's own."""
        inside = ~np.any(self.free[None] & ~self.free[:, None], axis=2)  # (law, law that it holds)
        cost = np.where(inside, found.cost[best][None], np.inf)
        return best[np.argmin(cost, axis=1)]

    def _told(self, found: Search, lane: int) -> Seen:
        fit, cost = self.viscous, float(found.cost[lane])
        squares = fit.method.endswith(LEAST_SQUARES) and self.posed.records.unknown.all()
        squares = squares and not self.posed.likelihood.robust
        ratio = max(cost, 1e-300) / max(float(self.posed.cost), 1e-300)
        rise = fit.readings * math.log(ratio) if squares else 2 * (cost - float(self.posed.cost))
        free = self.free[lane // len(SHARES)][: self.parameters.size]
        values = self.parameters.natural_of_rows(np.asarray(found.u)[lane : lane + 1, : self.parameters.size])[0][0]
        named = {name: float(v) for name, v, own in zip(self.parameters.names, values, free, strict=True) if own}
        beside = np.asarray(found.u)[lane, self.parameters.size :]
        near = Near(values[free], beside, np.asarray(found.x)[lane])
        return Seen(fit.deviance + rise, fit.numbers + int(free.sum()) - len(fit.flat), named, near)


def _beside(fit: Fit) -> np.ndarray:
    """The coordinates of what is fitted beside the parameters."""
    posed = cast(Any, fit.posed)
    return np.asarray(posed.u)[posed.records.parameters.size :]
