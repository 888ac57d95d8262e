"""Where the O maps get their Brownian increments: from a key, or from a path that several solvers share."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Index, Position, Scalar
from .._words import kinds
from ..physics.relaxation import Pushed
from .random_numbers import RandomNumbers
from .stages import Stage

Numbers = dict[tuple[int, int], Any]  # (step, draw) of a relaxation -> its numbers


def numbers(source: RandomNumbers, stages: Sequence[Stage], first: Index, count: int, like: Any) -> Numbers:
    """The numbers of all relaxations among the stages, for `count` steps from `first` on."""
    drawing = kinds("draws")
    return {
        (stage.step, stage.draw): source.steps(first + stage.step, count, stage.draw, like)
        for stage in stages
        if stage.kind in drawing
    }


def from_numbers(drawn: Numbers, h: Scalar) -> Callable[[Stage], Any]:
    """The increments of one step over h: its numbers times sqrt(h)."""

    def increment(stage: Stage) -> Any:
        scale = jnp.sqrt(stage.weight * h)
        return jax.tree.map(lambda x: scale * x, drawn[stage.step, stage.draw])

    return increment


def from_path(
    evaluate: Callable[[Scalar, Scalar], Any], t: Scalar, h: Scalar, last: Scalar, dtype: jnp.dtype
) -> Callable[[Stage], Any]:
    """Increments of a Brownian path that all step sizes share.

    `evaluate(t0, t1)` are the `increments` of the path, `last` is its end: rounding must not step over it.
    """

    def increment(stage: Stage) -> Any:
        start = t + stage.relaxed * h
        drawn = evaluate(jnp.minimum(start, last), jnp.minimum(start + stage.weight * h, last))
        return _tree.cast(drawn, dtype)

    return increment


def increments(path: Any, t0: Scalar, t1: Scalar, remembered: bool) -> Any:
    r"""What a relaxation takes of a path: W(t1) - W(t0), and where the noise is `remembered` a part for the momentum.

    Over a time h a coloured noise pushes the momentum by int (h - s) dW + ... = h (W/2 + H) + ..., with the space-time
    Levy area H of variance h/12. A path that knows it gives the momentum's own number sqrt(12) H, and the law is exact.
    From any other path this part, of variance h^3 / 12 a step, is left out: strong order 1 and weak order 2 remain.

    Source: J. Foster, T. Lyons, H. Oberhauser, SIAM J. Numer. Anal. 58, 1393 (2020).
    """
    if not remembered:
        return path.evaluate(t0, t1)
    if not knows_area(path):
        dw = path.evaluate(t0, t1)
        return Pushed(jax.tree.map(jnp.zeros_like, dw), dw)
    drawn = path.evaluate(t0, t1, use_levy=True)
    return Pushed(jax.tree.map(lambda area: math.sqrt(12) * area, drawn.H), drawn.W)


def knows_area(path: Any) -> bool:
    """Whether a path, such as a `diffrax.VirtualBrownianTree` made for it, gives its space-time Levy area."""
    area = getattr(path, "levy_area", None)
    return isinstance(area, type) and issubclass(area, diffrax.AbstractSpaceTimeLevyArea)


def check_path(path: Any, position: Position) -> None:
    """ValueError unless this is a path whose increments are shaped like the position."""
    if not callable(getattr(path, "evaluate", None)):
        raise ValueError(f"path = {path!r} must be a Brownian path, e.g. a diffrax.VirtualBrownianTree")
    time = jax.ShapeDtypeStruct((), jnp.result_type(float))
    given = jax.eval_shape(path.evaluate, time, time)
    if not _tree.same_structure(given, position) or _tree.shapes(given) != _tree.shapes(position):
        raise ValueError(
            f"path gives increments of the shapes {_tree.shapes(given)}, but the position's are "
            f"{_tree.shapes(position)}; build it for this position: BrownianPath(..., like=position)"
        )
