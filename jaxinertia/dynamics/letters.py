"""The letters: what each sub-flow does to a phase, and what it books. One entry of the table is a letter.

Accounts: `friction` is what damping took, `noise` what the random force gave, `work` what came from outside. What is
left of the change of I is discretization.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from .._words import LETTERS, SubFlow
from ..physics.relaxation import AbstractMemoryless, Pushed, under_push
from ..physics.system import System
from .phase import Phase
from .rounding import Sum
from .stages import Stage

Increment: TypeAlias = Callable[[Stage], Any]  # shaped like what O acts on
Maps: TypeAlias = dict[Any, Any]  # `Stage.flow` -> its AbstractRelaxation; a `Repeat` -> what its scan reads

INNER = "GKLU"  # what a run makes of its letters (see fusion)


class Scene(NamedTuple):
    """A step of length h that starts at t: the system, its O maps by `Stage.flow`, grad L(q, t), and the noise."""

    system: System
    t: Scalar
    h: Scalar
    maps: Maps
    gradient: Callable[[Position, Scalar], Position]
    increment: Increment | None


def add_letter(kind: str, flow: SubFlow) -> None:
    """Make a letter known: words may use it from then on.

    Arguments:
        kind: its name, one character.
        flow: a `SubFlow`: `act(scene, stage, phase, gradient) -> phase`, over stage.weight * scene.h, with the jobs
            that it does. See `dynamics/letters.py` for those that the package has.

    Returns:
        None.

    Raises:
        ValueError: if the letter is not one character, or is taken, or flow is no `SubFlow`.

    Example:
        >>> ji.solvers.add_letter("W", ji.solvers.SubFlow(act=wait, drifts=True))
    """
    taken = [*LETTERS, *INNER]
    if not isinstance(kind, str) or len(kind) != 1 or kind in taken:
        raise ValueError(f"kind = {kind!r} must be one character that is no letter yet; taken are {', '.join(taken)}")
    if not isinstance(flow, SubFlow) or not callable(flow.act):
        raise ValueError(f"flow = {flow!r} must be a SubFlow: ji.solvers.SubFlow(act=function, drifts=True)")
    LETTERS[kind] = flow


def drift(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    """A: the flow of K alone. For most K, q += h v."""
    del gradient
    position, momentum = scene.system.kinetic.drift(phase.position, phase.momentum, stage.weight * scene.h)
    return in_time(scene, stage, phase, phase.but(position=position, momentum=momentum))


def in_time(scene: Scene, stage: Stage, before: Phase, after: Phase) -> Phase:
    """A potential that depends on time moves on with the drift: L(q, t + h) - L(q, t) is work.

    Its mean over both ends of the drift: at one end alone the account would be of order 1.
    """
    if not scene.system.moves_with_time:
        return after
    begin, end = (time(scene, stage, part) for part in (0.0, 1.0))
    level = scene.system.level
    work = sum(level(phase.position, end) - level(phase.position, begin) for phase in (before, after)) / 2
    return after.book(work=jnp.asarray(work, after.friction.dtype))


def time(scene: Scene, stage: Stage, part: float = 0.0) -> Scalar:
    """When the stage is, as the drift goes."""
    return scene.t + (stage.drifted + part * stage.weight) * scene.h


def kick(scene: Scene, stage: Stage, phase: Phase, gradient: Position) -> Phase:
    """B: p -= h grad L, and p += h F. What F gave, h F.v with v a mean of the velocity, is work."""
    h, kinetic = stage.weight * scene.h, scene.system.kinetic
    momentum = _tree.add_scaled(phase.momentum, -h, gradient)
    if scene.system.force is None:
        return phase.but(momentum=momentum)
    force = scene.system.drive(time(scene, stage), phase.position)
    momentum = _tree.add_scaled(momentum, h, force)
    velocity = kinetic.mean_velocity(phase.position, phase.momentum, momentum)
    return phase.but(momentum=momentum).book(work=h * _tree.dot(force, velocity))


def relax(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    """O: friction and noise, exactly or as the law says."""
    del gradient
    increment = None if scene.increment is None else scene.increment(stage)
    begin = scene.t + stage.relaxed * scene.h
    after, friction = relaxed(scene.maps[stage.flow], phase, increment, begin)
    noise = 0.0 if phase.noise is None else exchange(scene, phase, after.momentum) - friction
    return after.book(friction=friction, noise=noise)


def relaxed(flow: Any, phase: Phase, increment: Any, t: Scalar) -> tuple[Phase, Scalar]:
    """The phase after an O map, not booked yet, and the friction to book."""
    if phase.below is None:
        state, friction = flow(phase.relaxing, increment, t, phase.position)
        return with_relaxing(phase, state), friction
    return carefully(flow, phase, increment), flow.friction(flow.loss(phase.relaxing), 1)


def carefully(flow: Any, phase: Phase, increment: Any) -> Phase:
    """The phase after a constant O map, with what float32 rounds away of it carried into the next."""
    state, below = Sum(phase.relaxing, phase.below).plus(flow.change(phase.relaxing, increment))
    return with_relaxing(phase, state).but(below=below)


def with_relaxing(phase: Phase, state: Any) -> Phase:
    """The phase with this for what O acts on."""
    momentum, push = state if isinstance(state, Pushed) else (state, None)
    return phase.but(momentum=momentum, push=push)


def exchange(scene: Scene, phase: Phase, momentum: Position) -> Scalar:
    """The change of K at rest."""
    energy = scene.system.kinetic.energy_at
    return energy(phase.position, momentum) - energy(phase.position, phase.momentum)


def fly(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    """D: drift and linear friction at once, q += int v ds."""
    del gradient
    flow = scene.maps[stage.flow]
    after, friction = relaxed(flow, phase, None, scene.t)
    after = after.but(position=flown(scene, stage, phase, flow))
    return in_time(scene, stage, phase, after.book(friction=friction))


def flown(scene: Scene, stage: Stage, phase: Phase, flow: Any) -> Position:
    """Where a flight ends."""
    way = flow.flight(phase.momentum, stage.weight * scene.h)
    return jax.tree.map(jnp.add, phase.position, scene.system.kinetic.velocity_at(phase.position, way))


def rub(scene: Scene, stage: Stage, phase: Phase, gradient: Position) -> Phase:
    """F: kick and friction at once, q at rest: dp/dt = -grad L + F - friction."""
    system, h, begin = scene.system, stage.weight * scene.h, scene.t + stage.relaxed * scene.h
    push, force = jax.tree.map(jnp.negative, gradient), None
    if system.force is not None:
        force = system.drive(time(scene, stage), phase.position)
        push = jax.tree.map(jnp.add, push, force)
    momentum, friction, way = under_push(system.damping, system.kinetic, h, begin, phase.position, phase.momentum, push)
    work = 0.0 if force is None else _tree.dot(force, way)
    return phase.but(momentum=momentum).book(friction=friction, work=work)


def _no_friction(pushed: bool, system: System, position: Position) -> str | None:
    return system.damping.refuses(system.kinetic, position, pushed)


def _name(law: Any) -> str:
    return type(law).__name__.removeprefix("Bound")  # what is ready for a run is named as it was given


def _no_flight(system: System, position: Position) -> str | None:
    if not system.is_quiet:
        return "the letter D has no noise; use 'BAOAB' or 'OBABO' with noise"
    one = jax.ShapeDtypeStruct((), _tree.dtype(position))
    if system.kinetic.is_quadratic:
        found: list[Any] = []
        jax.eval_shape(lambda h, q: found.append(system.without_noise().relaxation(h, q)), one, position)
        if isinstance(found[0], AbstractMemoryless):
            return None
    return (
        f"the letter D is exact for linear friction or drag and a quadratic kinetic energy only, not for "
        f"damping.{_name(system.damping)} and kinetic.{_name(system.kinetic)}; "
        "use a word of A, B and O, or a diffrax solver such as diffrax.Tsit5()"
    )


def _no_rub(system: System, position: Position) -> str | None:
    if not system.is_quiet:
        return "the letter F has no noise; use 'BAOAB' or 'OBABO' with noise"
    return _no_friction(True, system, position)


_EXACT: dict[str, Any] = dict(exact=True, joins=True, reverses=True)

# A drift is exact, and two in turn are one, only where K does not ask for the place: a run joins them then.
add_letter("A", SubFlow(drift, drifts=True, exact=True, reverses=True))
add_letter("B", SubFlow(kick, kicks=True, at_rest=True, **_EXACT))
_no_relaxing = partial(_no_friction, False)
add_letter("O", SubFlow(relax, relaxes=True, draws=True, refuses=_no_relaxing, frictionless="", **_EXACT))
add_letter("D", SubFlow(fly, drifts=True, relaxes=True, refuses=_no_flight, frictionless="A", **_EXACT))
add_letter("F", SubFlow(rub, kicks=True, relaxes=True, at_rest=True, refuses=_no_rub, frictionless="B", **_EXACT))
