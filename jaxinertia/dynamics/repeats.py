"""Long words as loops: the equal patterns of a composition, one after another, become one pattern in a scan.

Written out, the eleven kicks of a sixth-order step become one fusion for each array that the loop carries, and each
computes all gradients anew: XLA takes its arithmetic for cheap. In a scan a gradient is computed once, and the compiler
sees one stage; that pays where a gradient is more than a few operations, and where the stages are not K, which XLA
keeps apart as they are.

What the scan reads has the patterns along its first axis, and `jax.vmap` puts the points there. It would be turned
over in every turn, for XLA moves no bare transposition out of a loop: a third of the step. So `_points_last` is the
identity, whose vmap has its points last, behind a barrier that does move out.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Primitive
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from .._types import Scalar
from .stages import Stage

FEWEST = 4  # patterns in a row: fewer are quicker written out
COSTLY = 12  # operations of a gradient


class Repeat(NamedTuple):
    """Patterns of the same kinds of stages."""

    patterns: tuple[tuple[Stage, ...], ...]


@lru_cache(maxsize=256)
def folded(stages: tuple[Stage, ...]) -> tuple[Stage | Repeat, ...]:
    """The stages with their longest row of equal patterns as one, where that pays."""
    kinds = "".join(stage.kind for stage in stages)
    best = (0, 0, 0)
    for period in range(1, len(kinds) // FEWEST + 1):
        for start in range(len(kinds)):
            count = 1
            while kinds.startswith(kinds[start : start + period], start + count * period):
                count += 1
            if count >= FEWEST and _drifts_first(kinds[start : start + period]):
                best = max(best, (count * period, -period, -start))
    length, period, start = best[0], -best[1], -best[2]
    if not length:
        return stages
    row = [stages[i : i + period] for i in range(start, start + length, period)]
    return (*stages[:start], Repeat(tuple(row)), *stages[start + length :])


def _drifts_first(pattern: str) -> bool:
    """Whether no gradient is handed on from one pattern to the next."""
    return pattern.lstrip("LU")[:1] in tuple("ADG") and "B" in pattern and "K" not in pattern


def is_costly(program: Callable[..., Any], *like: Any) -> bool:
    """Whether a function takes many operations, or one that is worth many."""
    jaxpr = jax.make_jaxpr(program)(*like).jaxpr
    return _operations(pe.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]) >= COSTLY


def _operations(jaxpr: Jaxpr) -> int:
    count = 0
    for eqn in jaxpr.eqns:
        params = [x.jaxpr if isinstance(x, ClosedJaxpr) else x for x in eqn.params.values()]
        inside = [x for x in params if isinstance(x, Jaxpr)]
        if inside:
            count += sum(_operations(x) for x in inside)
        elif eqn.primitive.name not in _FREE:
            count += 1 if eqn.primitive.name in _CHEAP else COSTLY
    return count


_CHEAP = {"add", "add_any", "sub", "mul", "neg", "div", "max", "min", "square", "integer_pow", "reduce_sum"}
_FREE = {"copy", "squeeze", "slice", "pad", "reshape", "broadcast_in_dim", "convert_element_type"}


def stacked(repeat: Repeat, maps: Any, h: Scalar, t: Scalar) -> Any:
    """What a scan over all patterns but the last reads, and the last: of each stage its numbers, and O map if any."""

    def column(stages: Sequence[Stage]) -> Any:
        numbers = tuple(
            jnp.asarray([getattr(stage, name) for stage in stages], like.dtype)
            for name, like in (("weight", h), ("drifted", t), ("relaxed", t), ("around", h))
        )
        if not stages[0].takes_map:
            return numbers, None
        return numbers, jax.tree.map(lambda *leaves: jnp.stack(leaves), *(maps[stage.flow] for stage in stages))

    columns = jax.tree.map(points_last, [column(stages) for stages in zip(*repeat.patterns, strict=True)])
    return jax.tree.map(lambda x: x[:-1], columns), jax.tree.map(lambda x: x[-1], columns)


def unstacked(repeat: Repeat, columns: Any) -> tuple[list[Stage], dict[Any, Any]]:
    """The stages of one pattern in the scan, and their O maps."""
    stages, maps = [], {}
    for place, (stage, (numbers, only)) in enumerate(zip(repeat.patterns[0], columns, strict=True)):
        weight, drifted, relaxed, around = numbers
        here = stage._replace(weight=weight, drifted=drifted, relaxed=relaxed, around=tuple(around), place=place)
        stages.append(here)
        if only is not None:
            maps[here.flow] = only
    return stages, maps


def points_last(x: Any) -> Any:
    """The same; of what is one number a pattern, `jax.vmap` then has the points last."""
    return _points_last.bind(x) if x.ndim == 1 else x


def _batched(operands, axes):
    x = jnp.moveaxis(operands[0], axes[0], -1)
    return _points_last.bind(x), x.ndim - 1


_points_last = Primitive("points_last")
_points_last.def_impl(lambda x: x)
_points_last.def_abstract_eval(lambda x: x)
batching.primitive_batchers[_points_last] = _batched
ad.primitive_jvps[_points_last] = lambda primals, tangents: (_points_last.bind(*primals), *tangents)
mlir.register_lowering(_points_last, mlir.lower_fun(jax.lax.optimization_barrier, multiple_results=False))
