"""Where the O maps get their Brownian increments: from a key, or from a path that several solvers share."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._types import Index, Position, Scalar
from ..physics.colored import Pushed
from .random_numbers import RandomNumbers
from .stages import Stage

Numbers = dict[tuple[int, int], Any]  # (step, draw) of a relaxation -> its numbers


def numbers(source: RandomNumbers, stages: Sequence[Stage], first: Index, count: int, like: Any) -> Numbers:
    """The numbers of all relaxations among the stages, for `count` steps from `first` on."""
    return {
        (stage.step, stage.draw): source.steps(first + stage.step, count, stage.draw, like)
        for stage in stages
        if stage.kind == "O"
    }


def from_numbers(drawn: Numbers, h: Scalar) -> Callable[[Stage], Any]:
    """The increments of one step over h: its numbers times sqrt(h)."""

    def increment(stage: Stage) -> Any:
        scale = jnp.sqrt(stage.weight * h)
        return jax.tree.map(lambda x: scale * x, drawn[stage.step, stage.draw])

    return increment


def from_path(
    evaluate: Callable[[Scalar, Scalar], Position], t: Scalar, h: Scalar, last: Scalar, remembered: bool
) -> Callable[[Stage], Any]:
    """Increments of a Brownian path, such as `diffrax.VirtualBrownianTree`, that all step sizes share.

    `evaluate(t0, t1)` is the path's increment, `last` its end: rounding must not step over it. A coloured noise is
    `remembered`: the path drives its force, and what the momentum would draw for itself, of variance h^3, is left out.
    """

    def increment(stage: Stage) -> Any:
        start = t + stage.relaxed * h
        dw = evaluate(jnp.minimum(start, last), jnp.minimum(start + stage.weight * h, last))
        return Pushed(jax.tree.map(jnp.zeros_like, dw), dw) if remembered else dw

    return increment
