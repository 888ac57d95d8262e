r"""The loop's tricks, for relaxations that are the same at every time and place: fewer passes over the same arrays.

XLA's loop on the CPU writes every carried array in a pass of its own, copies an old one that is still read when its
successor is written, and recomputes what two passes need. So O and D leave their loss to four more stages:
    L books the loss of an O as soon as its momentum is known, before any drift and so at the end of the turn before;
    U takes back the last L of a run whose next O is not part of it;
    G is A O A without noise in one: q += velocity of (a + b e^{-Gamma h}) p;
    K is B O B without noise and with equal kicks, which books from the momenta p0, p1 around it:
      the O's loss is  tanh(Gamma h / 2) |p0 + p1|^2 / 2.
The losses of one distinct O are summed bare, and its factor multiplied in once at the end of the run; where a run books
several distinct O, they are friction already. Meanwhile `noise` holds the change of K over all O.

They pay: 2.3 times for BAOAB, 2.0 for OBABO, 1.07 for Blanes and Moan's fourth order.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from .._words import Letter, SubFlow
from ..physics.relaxation import AbstractConstantRelaxation, AbstractMemoryless, AbstractRelaxation
from ..physics.system import System
from .advance import relaxations
from .letters import Maps, Scene, carefully, drift, exchange, flown, in_time, kick, with_relaxing
from .phase import Phase, added
from .stages import Run, Stage, cut_before_drift

_KNOWN = "ABOD"


def applies(letters: tuple[Letter, ...], probe: AbstractRelaxation) -> bool:
    """Whether a word may be fused whose O maps are like `probe`."""
    known = all(letter.kind in _KNOWN for letter in letters)
    return known and any(x.kind in "OD" for x in letters) and isinstance(probe, AbstractConstantRelaxation)


def fused(letters: tuple[Letter, ...], system: System, probe: AbstractRelaxation) -> Run:
    """The run of a word, fused."""
    noisy, straight = system.noise is not None, "A" if system.kinetic.is_separable else ""
    run = cut_before_drift(letters, straight + ("B" if noisy else "BDO"))
    opening, turn, closing = (_with_losses(part) for part in run)
    if turn[0].kind == "L":  # of an O at the turn's start: book it one turn earlier
        opening, turn, closing = (*opening, turn[0]), (*turn[1:], turn[0]), _without(turn[0], closing)
    plain = not system.kinetic.is_quadratic or system.moves_with_time
    if noisy or plain or sum(stage.kind == "O" for stage in turn) > 1 or not isinstance(probe, AbstractMemoryless):
        return Run(opening, turn, closing)
    around = probe.between_kicks() is not None
    return Run(_absorb(opening, around), _absorb(turn, around), _absorb(closing, around))


def maps_of(system: System, run: Run, h: Scalar, momentum: Position) -> Maps:
    """The O map of each distinct flow of a fused run."""
    flows = [stage.flow for stage in run.all if stage.kind in "ODGK"]
    maps: dict[Any, Any] = relaxations(system, flows, h, momentum)
    return {flow: only.between_kicks() if flow[0] == "K" else only for flow, only in maps.items()}


def table(stages: Sequence[Stage]) -> Mapping[str, SubFlow]:
    """The letters of a fused run, with the accounts of these stages."""
    bare = len(set(_booked(stages))) == 1
    return {
        "A": SubFlow(drift, drifts=True),
        "B": SubFlow(kick, kicks=True, at_rest=True),
        "O": SubFlow(_relax, relaxes=True),
        "D": SubFlow(_fly, drifts=True, relaxes=True),
        "G": SubFlow(_glide, drifts=True, relaxes=True),
        "K": SubFlow(partial(_kick_around, bare), kicks=True, relaxes=True, at_rest=True),
        "L": SubFlow(partial(_book_next, bare)),
        "U": SubFlow(partial(_book_next, bare)),
    }


def settle(before: Phase, run: Phase, maps: Maps, stages: Sequence[Stage], times: int = 1) -> Phase:
    """Book what the stages did, run so many times, on top of a phase's accounts."""
    friction = run.friction
    flows = _booked(stages)
    if len(set(flows)) == 1:
        count = times * (len(flows) - 2 * sum(stage.kind == "U" for stage in stages))
        friction = maps[flows[0]].friction(run.friction, count)  # type: ignore[attr-defined]
    return added(before, run.but(friction=friction).book(noise=-friction))


def _booked(stages: Sequence[Stage]) -> list[tuple[str, Any]]:
    return [stage.flow for stage in stages if stage.kind in "LUK"]


def _with_losses(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages with an L for every O and D."""
    booked: list[Stage] = []
    for stage in stages:
        if stage.kind in "OD":
            at = len(booked)
            while at and booked[at - 1].kind == "A":
                at -= 1
            booked.insert(at, stage._replace(kind="L"))
        booked.append(stage)
    return tuple(booked)


def _without(loss: Stage, closing: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The closing of a run that has already booked this loss: its own O's, or that of a next step."""
    if closing[0].kind == "L" and closing[0].weight == loss.weight:
        return closing[1:]
    return (loss._replace(kind="U"), *closing)


def _absorb(stages: tuple[Stage, ...], around: bool) -> tuple[Stage, ...]:
    """A O A becomes G, and, where losses are known from around it, B L O B with equal kicks K."""
    merged: list[Stage] = []
    for stage in stages:
        kinds = "".join(s.kind for s in merged[-3:]) + stage.kind
        if kinds.endswith("AOA"):
            relaxed, before = merged.pop(), merged.pop()
            stage = relaxed._replace(kind="G", around=(before.weight, stage.weight))
        elif around and kinds == "BLOB" and merged[-3].weight == stage.weight:
            relaxed, _, before = merged.pop(), merged.pop(), merged.pop()
            stage = relaxed._replace(kind="K", drifted=before.drifted, around=(before.weight, stage.weight))
        merged.append(stage)
    return tuple(merged)


def _relax(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    increment = None if scene.increment is None else scene.increment(stage)
    after = _damped(scene.maps[stage.flow], phase, increment)
    return after.book(noise=0.0 if phase.noise is None else exchange(scene, phase, after.momentum))


def _damped(flow: Any, phase: Phase, increment: Any = None) -> Phase:
    if phase.below is None:
        return with_relaxing(phase, flow.moved(phase.relaxing, increment))
    return carefully(flow, phase, increment)


def _fly(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    flow: Any = scene.maps[stage.flow]
    return in_time(scene, stage, phase, _damped(flow, phase).but(position=flown(scene, stage, phase, flow)))


def _glide(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    flow: Any = scene.maps[stage.flow]
    velocity = scene.system.kinetic.velocity_at
    before, after = stage.around
    position = _tree.add_scaled(phase.position, before * scene.h, velocity(phase.position, phase.momentum))
    way = velocity(phase.position, flow.travel(phase.momentum, after * scene.h))
    return _damped(flow, phase).but(position=jax.tree.map(jnp.add, position, way))


def _kick_around(bare: bool, scene: Scene, stage: Stage, phase: Phase, gradient: Position) -> Phase:
    first, last = (stage._replace(weight=weight) for weight in stage.around)
    kicked = kick(scene, first, phase, gradient)
    after = kick(scene, last, _damped(scene.maps[stage.flow], kicked), gradient)
    return _book(bare, scene, stage, after, jax.tree.map(jnp.add, phase.momentum, after.momentum))


def _book_next(bare: bool, scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    return _book(bare, scene, stage, phase, phase.relaxing)


def _book(bare: bool, scene: Scene, stage: Stage, phase: Phase, momentum: Any) -> Phase:
    flow: Any = scene.maps[stage.flow]
    loss = flow.loss(momentum)
    if not bare:
        loss = flow.friction(loss, 1)
    return phase.book(friction=-loss if stage.kind == "U" else loss)
