"""The sub-flows themselves: A drifts, B kicks, O relaxes, and each keeps its account."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from ..physics.relaxation import AbstractRelaxation, relaxation
from ..physics.system import System
from .phase import Phase
from .stages import Stage

Increment = Callable[[Stage], Position]


class Clock(NamedTuple):
    """A step of length h that starts at t, with the O maps that it needs, one for each distinct weight."""

    t: Scalar
    h: Scalar
    relaxations: dict[float, AbstractRelaxation]


class Point(NamedTuple):
    """The state between two sub-flows.

    The losses of one distinct O are summed bare, and its factor multiplied in once at the end of the run; where the
    word has several distinct O, `losses` is already friction. `exchange` is the change of K over all O.
    """

    position: Position
    momentum: Position
    losses: Scalar
    exchange: Scalar | None
    work: Scalar | None


def relaxations(system: System, stages: Sequence[Stage], h: Scalar, momentum: Position):
    """The exact O map of each distinct weight, computed once per h."""
    weights = dict.fromkeys(stage.weight for stage in stages if stage.kind == "O")
    return {w: relaxation(system.damping, system.noise, w * h, momentum) for w in weights}


def open_account(phase: Phase) -> Point:
    """Start a run from a phase with empty accounts."""
    zero = jnp.zeros_like(phase.friction)
    blank = [None if account is None else zero for account in (phase.noise, phase.work)]
    return Point(phase.position, phase.momentum, zero, *blank)


def settle(phase: Phase, point: Point, maps: dict[float, AbstractRelaxation], relaxed: int) -> Phase:
    """Book what a run did, in which `maps` were applied `relaxed` times in all, on top of a phase's accounts."""
    friction = point.losses
    if len(maps) == 1:
        (only,) = maps.values()
        friction = only.friction(point.losses, relaxed)
    noise = None if phase.noise is None or point.exchange is None else phase.noise + point.exchange - friction
    work = None if phase.work is None or point.work is None else phase.work + point.work
    return Phase(point.position, point.momentum, phase.friction + friction, noise, work)


def advance(
    system: System,
    stages: Sequence[Stage],
    clock: Clock,
    point: Point,
    gradient: Position | None,
    increment: Increment | None,
) -> tuple[Point, Position | None]:
    """Apply the stages in turn. `gradient` is grad L at the point's position where known, else None."""
    for stage in stages:
        if stage.kind == "A":
            point, gradient = _drift(system, stage, clock, point), None
        elif stage.kind == "B":
            if gradient is None:
                gradient = system.gradient(point.position)
            point = _kick(system, stage, clock, point, gradient)
        else:
            point = _relax(system, stage, clock, point, increment)
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


def _relax(system, stage, clock, point, increment):
    flow = clock.relaxations[stage.weight]
    loss = flow.loss(point.momentum)
    if len(clock.relaxations) > 1:
        loss = flow.friction(loss, 1)
    momentum = flow(point.momentum, None if increment is None else increment(stage))
    exchange = point.exchange
    if exchange is not None:
        change = system.kinetic.energy(momentum) - system.kinetic.energy(point.momentum)
        exchange = exchange + change
    return point._replace(momentum=momentum, losses=point.losses + loss, exchange=exchange)
