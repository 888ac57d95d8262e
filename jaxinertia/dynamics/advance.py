"""Stages in turn: each acts on the phase by its letter, and kicks at one place share one gradient."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from .._types import Position, Scalar
from .._words import LETTERS, SubFlow
from ..physics.system import System
from .letters import Maps, Scene, time
from .phase import Phase
from .repeats import Repeat, unstacked
from .stages import Stage


def relaxations(system: System, flows: Iterable[tuple[str, Any]], h: Scalar, momentum: Position) -> Maps:
    """The O map of each distinct `Stage.flow`, computed once per h."""
    return {flow: system.relaxation(flow[1] * h, momentum) for flow in dict.fromkeys(flows)}


def relaxing_flows(stages: Sequence[Stage]) -> list[tuple[str, Any]]:
    """The flows of the stages that take their O map from the scene."""
    return [stage.flow for stage in stages if stage.takes_map]


def _repeated(scene: Scene, repeat: Repeat, phase: Phase, table: Mapping[str, SubFlow]) -> tuple[Phase, Position]:
    """Apply the patterns in a scan, the last one by itself: its gradient may be read further on."""

    def pattern(phase, columns):
        stages, maps = unstacked(repeat, columns)
        return advance(scene._replace(maps=maps), stages, phase, None, table)

    columns, last = scene.maps[repeat]
    phase, _ = jax.lax.scan(lambda p, x: (pattern(p, x)[0], None), phase, columns)
    return pattern(phase, last)


def advance(
    scene: Scene,
    stages: Sequence[Stage | Repeat],
    phase: Phase,
    gradient: Position | None,
    table: Mapping[str, SubFlow] = LETTERS,
) -> tuple[Phase, Position | None]:
    """Apply the stages in turn. `gradient` is grad L at the phase's position where known, else None."""
    for stage in stages:
        if isinstance(stage, Repeat):
            phase, gradient = _repeated(scene, stage, phase, table)
            continue
        flow = table[stage.kind]
        if flow.at_rest and gradient is None:
            gradient = scene.gradient(phase.position, time(scene, stage))
        phase = flow.act(scene, stage, phase, gradient)
        if flow.drifts:
            gradient = None
    return phase, gradient
