"""A program of one point for a block of points, their axis last, and as one function for XLA: how CPUs like it best.

`jax.vmap` puts the points first. Then the components of a position lie side by side in memory, and what acts on one of
them picks every second or third number: coupled potentials took twice as long. With the points last, all that acts on
components takes whole vectors. And XLA's CPU runs a loop's kernels through a list, which costs more than small kernels
themselves; a call that says that it is small becomes one function, loops included, as in a program in C.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, partial, reduce
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jaxtyping import Array

from .kernel.arithmetic import ELEMENTWISE
from .kernel.components import scan_counts
from .kernel.program import Unsupported
from .one_function import compiles_as_one, small_call, whole

Lane: TypeAlias = tuple[Array, bool]  # a value, and whether it has the points as its last axis

SHORT = 40  # equations in a turn that is written out twice as often
_CALLS = ("jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call")
_INSIDE = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_ALIKE = (
    *("squeeze", "concatenate", "stack", "unstack", "split", "rev"),
    *("points_last", "optimization_barrier", "stop_gradient"),
)
_FOLDS = {
    "reduce_sum": jnp.add,
    "reduce_prod": jnp.multiply,
    "reduce_max": jnp.maximum,
    "reduce_min": jnp.minimum,
    "reduce_and": jnp.bitwise_and,
    "reduce_or": jnp.bitwise_or,
}
FEW = 8  # numbers that are joined in a line
PRODUCTS = 512  # of a matrix that all points share: with 32 x 32 a library takes half the time


def in_lanes(fn: Callable[..., list[Array]], mapped: Sequence[bool]) -> Callable[..., Any]:
    """`jax.vmap` of fn over those operands that are mapped, as one function; all but the points' axis as fn has it.

    Raises Unsupported when called, if fn does what has no form with the points last.
    """

    def many(*operands: Array) -> list[Array]:
        pairs = list(zip(operands, mapped, strict=True))
        closed = jax.make_jaxpr(fn)(*(jax.ShapeDtypeStruct(x.shape[m:], x.dtype) for x, m in pairs))
        count = next(x.shape[0] for x, m in pairs if m)
        lanes = [(jnp.moveaxis(x, 0, -1) if m else x, m) for x, m in pairs]
        found = _run(closed.jaxpr, closed.consts, lanes, count)
        return [jnp.moveaxis(_wide(lane, count), -1, 0) for lane in found]

    return partial(small_call, whole(many))


def _inside(eqn: JaxprEqn) -> ClosedJaxpr:
    """The program of a call or a loop."""
    found: Any = next(eqn.params[k] for k in _INSIDE if k in eqn.params)
    return found if isinstance(found, ClosedJaxpr) else ClosedJaxpr(found, ())


def _shaped(atom: Any) -> Any:
    """Shape and dtype of one point's value."""
    return atom.aval


def _run(jaxpr: Jaxpr, constants: Sequence[Any], lanes: Sequence[Lane], count: int) -> list[Lane]:
    """The results of a program, mapped or not."""
    known: dict[Any, Lane] = {var: (jnp.asarray(x), False) for var, x in zip(jaxpr.constvars, constants, strict=True)}
    known.update(zip(jaxpr.invars, lanes, strict=True))

    def read(atom: Any) -> Lane:
        return (jnp.asarray(atom.val, _shaped(atom).dtype), False) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        known.update(zip(eqn.outvars, _results(eqn, [read(atom) for atom in eqn.invars], count), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _results(eqn: JaxprEqn, lanes: list[Lane], count: int) -> list[Lane]:
    name = eqn.primitive.name
    if name == "scan":
        return _scan(eqn, lanes, count)
    if name in _CALLS:
        inside = _inside(eqn)
        return _run(inside.jaxpr, inside.consts, lanes, count)
    for_all = not any(mapped for _, mapped in lanes)
    if name not in _RULES or (for_all and name in (*_FOLDS, "dot_general")):
        raise Unsupported(f"it has {name}")
    if for_all:
        return [(x, False) for x in _checked(_alone(eqn), [x for x, _ in lanes])]
    found = _RULES[name](eqn, lanes, count)
    return [(x, True) for x in (found if isinstance(found, list | tuple) else [found])]


def _alone(eqn: JaxprEqn) -> Callable[..., list[Array]]:
    """The operation by itself."""
    places = {v: i for i, v in enumerate(eqn.invars) if not isinstance(v, Literal)}
    one = jaxpr_as_fun(ClosedJaxpr(Jaxpr((), list(places), eqn.outvars, [eqn], debug_info=_nameless()), ()))
    return lambda *operands: one(*(operands[i] for i in places.values()))


@cache
def _nameless() -> Any:
    """What JAX wants to be told of a program's names."""
    return jax.make_jaxpr(lambda: ())().jaxpr.debug_info._replace(arg_names=None, result_paths=None)


def _checked(fn: Callable[..., list[Array]], operands: Sequence[Array]) -> list[Array]:
    """fn(*operands), of which only JAX knows what it does."""
    program = jax.make_jaxpr(fn)(*operands)
    if not compiles_as_one(program):
        raise Unsupported("it has an operation with a rule of its own for a vmap, which does what no such function can")
    return jaxpr_as_fun(program)(*operands)


def _scan(eqn: JaxprEqn, lanes: list[Lane], count: int) -> list[Lane]:
    """A scan whose carry is mapped where what it carries becomes so."""
    params, inside = eqn.params, _inside(eqn)
    fixed, carried = scan_counts(dict(params))
    mapped, found = _settled(eqn, [is_mapped for _, is_mapped in lanes])
    values = [_wide(lane, count) if is_mapped else lane[0] for lane, is_mapped in zip(lanes, mapped, strict=True)]
    consts, carry, xs = values[:fixed], values[fixed : fixed + carried], values[fixed + carried :]

    def row(carry: list[Array], x: list[Array]) -> tuple[list[Array], list[Array]]:
        out = _run(inside.jaxpr, inside.consts, list(zip([*consts, *carry, *x], mapped, strict=True)), count)
        ends = [_wide(lane, count) if m else lane[0] for lane, m in zip(out[:carried], found[:carried], strict=True)]
        return ends, [x for x, _ in out[carried:]]

    # One copy of what K reads before it serves all turns written out: the loop in C has room for more of them.
    more_turns = 2 if params["unroll"] > 1 and len(inside.jaxpr.eqns) <= SHORT else 1
    unroll = more_turns * params["unroll"]
    ends, rows = jax.lax.scan(row, carry, xs, params["length"], params["reverse"], unroll)
    return list(zip([*ends, *rows], found, strict=True))


def _mapped(jaxpr: Jaxpr, mapped: Sequence[bool]) -> list[bool]:
    """Which results of a program are mapped."""
    known = dict(zip(jaxpr.invars, mapped, strict=True))

    def read(atom: Any) -> bool:
        return not isinstance(atom, Literal) and known.get(atom, False)

    for eqn in jaxpr.eqns:
        arguments = [read(atom) for atom in eqn.invars]
        known.update(zip(eqn.outvars, _results_mapped(eqn, arguments), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _results_mapped(eqn: JaxprEqn, mapped: list[bool]) -> list[bool]:
    if eqn.primitive.name in _CALLS:
        return _mapped(_inside(eqn).jaxpr, mapped)
    if eqn.primitive.name != "scan":
        return [any(mapped)] * len(eqn.outvars)
    return _settled(eqn, mapped)[1]


def _settled(eqn: JaxprEqn, mapped: list[bool]) -> tuple[list[bool], list[bool]]:
    """Which operands of a scan are mapped, those too that its rows make so, and which results."""
    fixed, carried = scan_counts(dict(eqn.params))
    while True:
        found = _mapped(_inside(eqn).jaxpr, mapped)
        more = [a or b for a, b in zip(mapped[fixed : fixed + carried], found[:carried], strict=True)]
        if more == mapped[fixed : fixed + carried]:
            return mapped, [*more, *found[carried:]]
        mapped = [*mapped[:fixed], *more, *mapped[fixed + carried :]]


def _wide(lane: Lane, count: int) -> Array:
    """The value for every point."""
    x, is_mapped = lane
    return x if is_mapped else jnp.broadcast_to(x[..., None], (*x.shape, count))


def _at(lanes: Sequence[Lane]) -> list[Array]:
    """Where in an array, and from the first point on. The place must be the same for all points."""
    if any(is_mapped for _, is_mapped in lanes):
        raise Unsupported("it picks from arrays at places of each point's own")
    starts = [x for x, _ in lanes]
    return [*starts, jnp.zeros((), starts[0].dtype if starts else jnp.int32)]


# Rules: what an operation of one point is with the points last. At least one operand is mapped.


def _each(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Any:
    shape = (*_shaped(eqn.outvars[0]).shape, count)
    wide = [jnp.broadcast_to(x if is_mapped else x[..., None], shape) for x, is_mapped in lanes]
    return eqn.primitive.bind(*wide, **eqn.params)


def _alike(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Any:
    return eqn.primitive.bind(*(_wide(lane, count) for lane in lanes), **eqn.params)


def _with(**change: Callable[[Any, int], Any]) -> Callable[..., Any]:
    """The operation itself, its parameters changed by functions of (parameter, count)."""

    def rule(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Any:
        params = dict(eqn.params) | {name: new(eqn.params[name], count) for name, new in change.items()}
        return eqn.primitive.bind(*(_wide(lane, count) for lane in lanes), **params)

    return rule


def _longer(shape: Sequence[int], count: int) -> tuple[int, ...]:
    return (*shape, count)


def _broadcast(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    ((x, _),), places = lanes, eqn.params["broadcast_dimensions"]
    shape = eqn.params["shape"]
    return jax.lax.broadcast_in_dim(x, (*shape, count), (*places, len(shape)))


def _transpose(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    del count
    order = eqn.params["permutation"]
    return jnp.transpose(lanes[0][0], (*order, len(order)))


def _pad(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    (x, _), (value, is_mapped) = lanes
    config = (*eqn.params["padding_config"], (0, 0, 0))
    if not is_mapped:
        return jax.lax.pad(_wide(lanes[0], count), value, config)
    inside = jax.lax.pad(jnp.ones_like(_wide(lanes[0], count), bool), False, config)
    return jnp.where(inside, jax.lax.pad(_wide(lanes[0], count), jnp.zeros((), x.dtype), config), value)


def _own(eqn: JaxprEqn, lanes: list[Lane], count: int) -> list[Array]:
    """By the operation's own rule."""
    del count
    axes = [-1 if is_mapped else None for _, is_mapped in lanes]
    return _checked(jax.vmap(_alone(eqn), axes, -1), [x for x, _ in lanes])


def _dynamic_slice(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    return jax.lax.dynamic_slice(_wide(lanes[0], count), _at(lanes[1:]), (*eqn.params["slice_sizes"], count))


def _update_slice(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    return jax.lax.dynamic_update_slice(_wide(lanes[0], count), _wide(lanes[1], count), _at(lanes[2:]))


def _fold(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    """A sum, a product, the largest of some numbers: joined one after another, from the first on."""
    del count
    (x, _), axes = lanes[0], eqn.params["axes"]
    rest = [i for i in range(x.ndim) if i not in axes]
    joined, kept = ([x.shape[i] for i in part] for part in (axes, rest))
    rows = jnp.transpose(x, (*axes, *rest)).reshape(math.prod(joined), *kept)
    return _joined(_FOLDS[eqn.primitive.name], rows.astype(_summed_in(x.dtype)), lambda row: row).astype(x.dtype)


def _dot(eqn: JaxprEqn, lanes: list[Lane], count: int) -> Array:
    """Sums of products."""
    (over, batch), aval = eqn.params["dimension_numbers"], _shaped(eqn.outvars[0])
    sides = []
    for (x, is_mapped), inner, outer, atom in zip(lanes, over, batch, eqn.invars, strict=True):
        shape = _shaped(atom).shape
        free = [i for i in range(len(shape)) if i not in (*inner, *outer)]
        parts = [math.prod(shape[i] for i in part) for part in (inner, outer, free)]
        lane = x if is_mapped else x[..., None]
        ordered = jnp.transpose(lane, (*inner, *outer, *free, len(shape)))
        sides.append(ordered.reshape(*parts, lane.shape[-1]).astype(_summed_in(aval.dtype)))
    left, right = sides
    if lanes[0][1] != lanes[1][1] and math.prod(left.shape[:3]) * right.shape[2] > PRODUCTS:
        raise Unsupported("it has a large matrix, which a library multiplies with all points at once")
    total = _joined(jnp.add, (left[:, :, :, None], right[:, :, None]), lambda pair: pair[0] * pair[1])
    return total.reshape(*aval.shape, count).astype(aval.dtype)


def _summed_in(dtype: Any) -> Any:
    """Of short numbers a long sum stands still: float32, as in XLA."""
    return jnp.float32 if jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize < 4 else dtype


def _joined(by: Callable[[Any, Any], Any], rows: Any, of: Callable[[Any], Array]) -> Array:
    """What `of` makes of the rows, joined. XLA may hand a reduction to a library, which a small call cannot do."""
    length = len(jax.tree.leaves(rows)[0])
    if not length:
        raise Unsupported("it has a sum of nothing")
    if length <= FEW:
        return reduce(by, [of(jax.tree.map(lambda x, i=i: x[i], rows)) for i in range(length)])
    first, others = (jax.tree.map(lambda x, part=part: x[part], rows) for part in (0, slice(1, None)))
    return jax.lax.scan(lambda total, row: (by(total, of(row)), None), of(first), others)[0]


_RULES: dict[str, Callable[..., Any]] = (
    dict.fromkeys(ELEMENTWISE, _each)
    | dict.fromkeys(_ALIKE, _alike)
    | dict.fromkeys(_FOLDS, _fold)
    | {
        "broadcast_in_dim": _broadcast,
        "reshape": _with(new_sizes=_longer, dimensions=lambda x, n: None if x is None else (*x, len(x))),
        "tile": _with(reps=lambda x, n: (*x, 1)),
        "slice": _with(
            start_indices=lambda x, n: (*x, 0),
            limit_indices=_longer,
            strides=lambda x, n: None if x is None else (*x, 1),
        ),
        "dynamic_slice": _dynamic_slice,
        "dynamic_update_slice": _update_slice,
        "custom_vmap_call": _own,
        "iota": _own,
        "transpose": _transpose,
        "pad": _pad,
        "dot_general": _dot,
    }
)
