"""The sub-flows themselves: A drifts, B kicks, O relaxes, D flies (A and O at once), L books what O or D takes, and G
and K do several in turn."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from ..physics.colored import Pushed, colored_relaxation
from ..physics.noise import Colored, White
from ..physics.relaxation import AbstractRelaxation, relaxation
from ..physics.system import System
from .phase import Phase
from .stages import Stage

Increment = Callable[[Stage], Any]  # shaped like what O acts on
Maps: TypeAlias = dict[tuple[str, float], AbstractRelaxation]


class Clock(NamedTuple):
    """A step of length h that starts at t, with the O maps of its `Stage.flow`s and with grad L."""

    t: Scalar
    h: Scalar
    relaxations: Maps
    gradient: Callable[[Position], Position]


class Point(NamedTuple):
    """The state between two sub-flows.

    The losses of one distinct O are summed bare, and its factor multiplied in once at the end of the run; where a run
    books several distinct O, `losses` is already friction. `exchange` is the change of K over all O.
    """

    position: Position
    momentum: Position
    losses: Scalar
    exchange: Scalar | None
    work: Scalar | None
    push: Position | None = None

    @property
    def relaxing(self) -> Any:
        """What O acts on: the momentum, and a random force that has a memory."""
        return self.momentum if self.push is None else Pushed(self.momentum, self.push)


def relaxations(system: System, stages: Sequence[Stage], h: Scalar, momentum: Position) -> Maps:
    """The exact O map of each distinct flow, computed once per h."""
    flows = dict.fromkeys(stage.flow for stage in stages if stage.kind in "ODGK")
    flies = any(stage.kind == "D" for stage in stages)  # D has no noise: only a sigma of zero comes this far
    noise = None if flies else system.noise
    if isinstance(noise, Colored):
        return {flow: colored_relaxation(system.damping, noise, flow[1] * h, momentum) for flow in flows}
    assert noise is None or isinstance(noise, White)
    maps = {flow: relaxation(system.damping, noise, flow[1] * h, momentum) for flow in flows}
    return {flow: only.between_kicks() if flow[0] == "K" else only for flow, only in maps.items()}


def open_account(phase: Phase) -> Point:
    """Start a run from a phase with empty accounts."""
    zero = jnp.zeros_like(phase.friction)
    noise, work = (None if account is None else zero for account in (phase.noise, phase.work))
    return Point(phase.position, phase.momentum, zero, noise, work, phase.push)


def settle(phase: Phase, point: Point, maps: Maps, stages: Sequence[Stage], times: int = 1) -> Phase:
    """Book what the stages did, run so many times, on top of a phase's accounts."""
    friction = point.losses
    flows = _booked(stages)
    if len(set(flows)) == 1:
        count = times * (len(flows) - 2 * sum(stage.kind == "U" for stage in stages))
        friction = maps[flows[0]].friction(point.losses, count)
    noise = None if phase.noise is None or point.exchange is None else phase.noise + point.exchange - friction
    work = None if phase.work is None or point.work is None else phase.work + point.work
    return Phase(point.position, point.momentum, phase.friction + friction, noise, work, point.push)


def _booked(stages: Sequence[Stage]) -> list[tuple[str, float]]:
    return [stage.flow for stage in stages if stage.kind in "LUK"]


def advance(
    system: System,
    stages: Sequence[Stage],
    clock: Clock,
    point: Point,
    gradient: Position | None,
    increment: Increment | None,
) -> tuple[Point, Position | None]:
    """Apply the stages in turn. `gradient` is grad L at the point's position where known, else None."""
    bare = len(set(_booked(stages))) == 1
    for stage in stages:
        if stage.kind in _MOVES:
            point, gradient = _MOVES[stage.kind](system, stage, clock, point), None
        elif stage.kind in "BK":
            if gradient is None:
                gradient = clock.gradient(point.position)
            kick = _kick if stage.kind == "B" else partial(_kick_around, bare)
            point = kick(system, stage, clock, point, gradient)
        elif stage.kind == "O":
            point = _relax(system, stage, clock, point, increment)
        else:
            point = _book(bare, stage, clock, point, point.relaxing)
    return point, gradient


def _drift(system, stage, clock, point):
    velocity = system.kinetic.velocity(point.momentum)
    return point._replace(position=_tree.add_scaled(point.position, stage.weight * clock.h, velocity))


def _kick(system, stage, clock, point, gradient):
    h = stage.weight * clock.h
    momentum = _tree.add_scaled(point.momentum, -h, gradient)
    if system.force is None:
        return point._replace(momentum=momentum)
    force = system.drive(clock.t + stage.drifted * clock.h, point.position)
    momentum = _tree.add_scaled(momentum, h, force)
    # h F.(v + v') / 2 is what F added to a quadratic K, exactly.
    velocities = jax.tree.map(jnp.add, system.kinetic.velocity(point.momentum), system.kinetic.velocity(momentum))
    return point._replace(momentum=momentum, work=point.work + h * _tree.dot(force, velocities) / 2)


def _glide(system, stage, clock, point):
    flow = clock.relaxations[stage.flow]
    before, after = stage.around
    position = _tree.add_scaled(point.position, before * clock.h, point.momentum)
    position = jax.tree.map(jnp.add, position, flow.travel(point.momentum, after * clock.h))
    return point._replace(position=position, momentum=flow(point.momentum, None))


def _fly(system, stage, clock, point):
    flow = clock.relaxations[stage.flow]
    distance = flow.flight(point.momentum, stage.weight * clock.h)
    position = jax.tree.map(jnp.add, point.position, distance)
    return point._replace(position=position, momentum=flow(point.momentum, None))


_MOVES = {"A": _drift, "D": _fly, "G": _glide}


def _kick_around(bare, system, stage, clock, point, gradient):
    first, last = (stage._replace(weight=weight) for weight in stage.around)
    kicked = _kick(system, first, clock, point, gradient)
    relaxed = kicked._replace(momentum=clock.relaxations[stage.flow](kicked.momentum, None))
    after = _kick(system, last, clock, relaxed, gradient)
    return _book(bare, stage, clock, after, jax.tree.map(jnp.add, point.momentum, after.momentum))


def _book(bare, stage, clock, point, momentum):
    flow = clock.relaxations[stage.flow]
    loss = flow.loss(momentum)
    if not bare:
        loss = flow.friction(loss, 1)
    return point._replace(losses=point.losses - loss if stage.kind == "U" else point.losses + loss)


def _relax(system, stage, clock, point, increment):
    flow = clock.relaxations[stage.flow]
    relaxed = flow(point.relaxing, None if increment is None else increment(stage))
    momentum, push = relaxed if isinstance(relaxed, Pushed) else (relaxed, None)
    exchange = point.exchange
    if exchange is not None:
        change = system.kinetic.energy(momentum) - system.kinetic.energy(point.momentum)
        exchange = exchange + change
    return point._replace(momentum=momentum, push=push, exchange=exchange)
