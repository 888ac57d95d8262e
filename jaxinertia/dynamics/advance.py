"""Stages in turn: each acts on the phase by its letter, and kicks at one place share one gradient."""

from collections.abc import Iterable, Mapping, Sequence

from .._types import Position, Scalar
from .._words import LETTERS, SubFlow
from ..physics.system import System
from .letters import Maps, Scene, time
from .phase import Phase
from .stages import Stage


def relaxations(system: System, flows: Iterable[tuple[str, float]], h: Scalar, momentum: Position) -> Maps:
    """The O map of each distinct `Stage.flow`, computed once per h."""
    return {flow: system.relaxation(flow[1] * h, momentum) for flow in dict.fromkeys(flows)}


def relaxing_flows(stages: Sequence[Stage]) -> list[tuple[str, float]]:
    """The flows of the stages that take their O map from the scene."""
    return [stage.flow for stage in stages if stage.kind not in LETTERS or LETTERS[stage.kind].relaxes]


def advance(
    scene: Scene,
    stages: Sequence[Stage],
    phase: Phase,
    gradient: Position | None,
    table: Mapping[str, SubFlow] = LETTERS,
) -> tuple[Phase, Position | None]:
    """Apply the stages in turn. `gradient` is grad L at the phase's position where known, else None."""
    for stage in stages:
        flow = table[stage.kind]
        if flow.at_rest and gradient is None:
            gradient = scene.gradient(phase.position, time(scene, stage))
        phase = flow.act(scene, stage, phase, gradient)
        if flow.drifts:
            gradient = None
    return phase, gradient
