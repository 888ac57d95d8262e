"""The loop over rows as one primitive: vmaps around it gather into one, and how it runs is settled when it is lowered.

A plain `jax.vmap(simulate)` writes every carried array of all points in every step: out of the cache, twice as slow as
blocks of points that stay in it. Only who lowers the loop knows how many points there are in all, and on what machine
they run. So the loop stays whole until then: `jax.vmap` flattens into an axis of points, and for a CPU they run in
blocks; for CUDA, where the step allows it, as one kernel. Derivatives are those of the same loop in plain JAX, but for
forward mode of what is to run as a kernel: that is a loop of the step's derivative, and so a kernel again.
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import compress
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, JaxprEqn, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe

from .. import _tree
from .derivative import tangent_loop, without_constants
from .kernel.launch import call
from .kernel.layout import Kernel, lay_out
from .kernel.program import Unsupported
from .kernel.wish import Wish
from .lanes import in_lanes
from .scan import checkpointed_scan
from .vectorised import vectorised

CARRIED = 2**11  # numbers in a block of points: in float64 half of a CPU's first cache. Of more, which would fit in
# float32, XLA hands parts of a step to other threads, each step anew, where it has a sine in it.
ROWS = 2**20  # bytes: a CPU's second cache, for the rows that a block stores
SMALLEST = 32  # points in a block: fewer are not worth their own loop
WIDEST = 512  # ... more cannot be worth much
COPIES = 2**24  # bytes: what is copied to flatten a vmap into another, at most
KERNELS_COPIES = 2**31  # ... where the loop is to be a kernel, which gains more than copies cost

_loop = Primitive("rows")
_loop.multiple_results = True
# JAX 0.11 has primitives that are to be lowered early: those of a body are lowered with the loop.
setattr(_loop, "is_high", lambda *avals, **params: False)  # noqa: B010


def looped(
    body: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, length: int, kernel: Wish = Wish.NEVER
) -> tuple[Any, Any]:
    """`checkpointed_scan(body, carry, xs, length)`, as one primitive.

    Raises ValueError where it must run as a kernel and cannot.
    """
    c, x = jax.tree.leaves(carry), jax.tree.leaves(xs)
    row = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in x]
    returned: list[Any] = []

    def flat(c, x):
        out = body(jax.tree.unflatten(jax.tree.structure(carry), c), jax.tree.unflatten(jax.tree.structure(xs), x))
        returned.append(jax.tree.structure(out))
        return jax.tree.leaves(out)

    closed = jax.make_jaxpr(flat)([jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in c], row)
    operands = [*closed.consts, *c, *x]
    if closed.effects or any(map(_tree.varies, operands)):  # callbacks; devices told apart
        if kernel is Wish.MUST:
            raise refusal("it calls back to the host, or runs in a shard_map that checks what varies (check_vma=False)")
        return checkpointed_scan(body, carry, xs, length)
    loop = dict(
        body=ClosedJaxpr(without_constants(vectorised(closed.jaxpr)), ()),
        counts=(len(closed.consts), len(c)),
        length=length,
        kernel=kernel,
        points=None,
        mapped=(False,) * len(operands),
    )
    if kernel is Wish.MUST and isinstance(found := planned(**loop), str):
        raise refusal(found)
    out = _loop.bind(*operands, **loop)
    return jax.tree.unflatten(returned[-1], out)


def _plain(*operands, body: ClosedJaxpr, counts: tuple[int, int], length: int, lowered: bool = False):
    """The loop of one point, in plain JAX; without checkpoints where it is lowered and its derivatives are taken."""
    fixed, carried = counts
    consts, carry, xs = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
    fn = jaxpr_as_fun(body)

    def row(carry, x):
        out = fn(*consts, *carry, *x)
        return out[:carried], out[carried:]

    ends, rows = (jax.lax.scan if lowered else checkpointed_scan)(row, list(carry), list(xs), length)
    return [*ends, *rows]


def _program(*operands, points: int | None, mapped, kernel: Wish, block: int | None = None, lanes=False, **loop):
    """The loop of all points, in plain JAX, `block` at a time if given, and in lanes or not: then as for a CPU."""
    del kernel
    if points is None:
        return _plain(*operands, **loop)
    run = partial(_plain, lowered=block is not None, **loop)
    many = in_lanes(run, mapped) if lanes else jax.vmap(run, [0 if is_mapped else None for is_mapped in mapped])
    if block is None or points < 2 * block:
        return many(*operands)

    def some(part):
        parts = iter(part)
        return many(*(next(parts) if is_mapped else x for x, is_mapped in zip(operands, mapped, strict=True)))

    split = [x for x, is_mapped in zip(operands, mapped, strict=True) if is_mapped]
    count, rest = divmod(points, block)
    head = jax.lax.map(some, [x[: count * block].reshape(count, block, *x.shape[1:]) for x in split])
    out = [x.reshape(count * block, *x.shape[2:]) for x in head]
    if rest:
        out = [jnp.concatenate(pair) for pair in zip(out, some([x[count * block :] for x in split]), strict=True)]
    return out


def _on_cpu(*operands, body, counts, length, **rest):
    carried, stored = body.out_avals[: counts[1]], body.out_avals[counts[1] :]
    block = _power_of_two(CARRIED, sum(math.prod(aval.shape) for aval in carried))
    run = partial(_program, *operands, body=body, counts=counts, length=length, **rest)
    wide = min(2 * block, WIDEST)  # what is one function goes through its arrays quicker
    if rest["points"] and wide >= SMALLEST:
        try:
            return run(block=min(wide, max(_power_of_two(ROWS, length * _bytes(stored)), SMALLEST)), lanes=True)
        except Unsupported:
            pass
    return run(block=block if block >= SMALLEST else None)


def _bytes(avals) -> int:
    return sum(math.prod(aval.shape) * aval.dtype.itemsize for aval in avals)


def _power_of_two(room: int, each: int) -> int:
    """The largest that fits."""
    return 2 ** int(math.log2(max(room / max(each, 1), 1)))


def _on_cuda(*operands, **params):
    plan = planned(**params) if params["points"] != 0 else "there are no points"
    try:
        if not isinstance(plan, str):
            return call(plan, params["points"], list(operands))
    except Unsupported as reason:
        plan = str(reason)
    if params["kernel"] is Wish.MUST:
        raise refusal(plan)
    return _program(*operands, **params)


def _for_cuda(ctx, *operands, **params):
    """XLA cannot cut a kernel up: on several devices, where nothing says who runs what, each would run all points."""
    module, axes, obstacle = ctx.module_context, ctx.module_context.axis_context, None
    if isinstance(axes, mlir.SPMDAxisContext):
        alone = set(axes.mesh.axis_names) <= set(axes.manual_axes)
    else:
        alone = (getattr(axes, "num_devices", None) or 1) == 1
    if not alone:
        obstacle = "it is spread over several devices: put it into jax.shard_map(..., check_vma=False) or ji.sweep"
    elif module.lowering_parameters.for_export:
        obstacle = "it is exported, and JAX serialises no program with a kernel"
    if obstacle is not None and params["kernel"] is Wish.MUST:
        raise refusal(obstacle)
    return mlir.lower_fun(_program if obstacle else _on_cuda, multiple_results=True)(ctx, *operands, **params)


@lru_cache(maxsize=16)
def planned(body, counts, length, mapped, kernel, points) -> Kernel | str:
    """The kernel of a loop, or in words why there is none."""
    del points
    if kernel is Wish.NEVER:
        return "kernel=False forbids it"
    try:
        return lay_out(body, counts, length, mapped, forced=kernel is Wish.MUST)
    except Unsupported as reason:
        return str(reason)
    except Exception as error:  # of what a later JAX may do in other ways: the plain loop is right
        return f"it could not be laid out, {type(error).__name__}: {error}"


def is_loop(eqn: JaxprEqn) -> bool:
    """Whether an equation of a program is such a loop."""
    return eqn.primitive is _loop


def refusal(reason: str) -> ValueError:
    """What is said of a loop that must be a kernel and cannot."""
    return ValueError(f"kernel = True, but this run cannot be one: {reason}; leave kernel= out, and a plain loop runs")


@_loop.def_impl
def _(*operands, **params):
    run = partial(_program if jax.config.jax_disable_jit else _loop.bind, **params)
    return jax.jit(run)(*operands)


@_loop.def_abstract_eval
def _(*operands, body, counts, length, points, mapped, kernel):
    del operands, mapped, kernel
    lead = () if points is None else (points,)
    carry, rows = body.out_avals[: counts[1]], body.out_avals[counts[1] :]
    ends = [ShapedArray((*lead, *aval.shape), aval.dtype) for aval in carry]
    return ends + [ShapedArray((*lead, length, *aval.shape), aval.dtype) for aval in rows]


def _batched(operands, axes, *, points, mapped, **loop):
    """Another vmap: its points times those there are."""
    new = [isinstance(axis, int) for axis in axes]
    for x, axis in zip(compress(operands, new), compress(axes, new), strict=True):
        _check_whole(jax.typeof(x), axis)
    moved = [jnp.moveaxis(x, axis, 0) if is_new else x for x, axis, is_new in zip(operands, axes, new, strict=True)]
    (count,) = {x.shape[0] for x, is_new in zip(moved, new, strict=True) if is_new}
    if points is None:
        return _loop.bind(*moved, points=count, mapped=tuple(new), **loop), [0] * _outputs(loop)
    both = tuple(a or b for a, b in zip(new, mapped, strict=True))
    flat = {"points": count * points, "mapped": both}
    copied = sum(
        x.size * x.dtype.itemsize * (points if is_new else count)
        for x, is_new, is_mapped in zip(moved, new, mapped, strict=True)
        if is_new != is_mapped
    )
    if copied > (KERNELS_COPIES if _is_kernel(**flat, **loop) else COPIES):
        if loop["kernel"] is Wish.MUST:
            raise refusal(f"a vmap around another would copy {copied / 2**30:.3g} GiB: map over both at once")
        inner = partial(_program, points=points, mapped=mapped, **loop)
        return jax.vmap(inner, [0 if is_new else None for is_new in new])(*moved), [0] * _outputs(loop)
    wide = [_flattened(*x, count, points) for x in zip(moved, new, mapped, strict=True)]
    out = _loop.bind(*wide, **flat, **loop)
    return [x.reshape(count, points, *x.shape[1:]) for x in out], [0] * len(out)


def _check_whole(aval: Any, axis: int) -> None:
    """ValueError for points that a mesh with explicit axes holds apart: JAX's own loops do not take them either."""
    if (sharding := getattr(aval, "sharding", None)) is not None and sharding.spec[axis] is not None:
        raise ValueError(
            f"jax.vmap over an axis that is sharded as {sharding.spec} on a mesh with explicit axes: make the mesh "
            "with axis_types=(jax.sharding.AxisType.Auto,), or map inside jax.shard_map, or with ji.sweep"
        )


def _is_kernel(**loop) -> bool:
    """Whether it is expected to run as a kernel, and can."""
    return loop["kernel"].prepared and not isinstance(planned(**loop), str)


def _outputs(loop) -> int:
    return len(loop["body"].out_avals)


def _flattened(x, is_new: bool, is_mapped: bool, count: int, points: int):
    if not (is_new or is_mapped):
        return x
    if is_new and not is_mapped:
        x = x[:, None]
    shape = x.shape[2:] if is_new else x.shape[1:]
    return jnp.broadcast_to(x, (count, points, *shape)).reshape(count * points, *shape)


def _jvp(primals, tangents, **params):
    if _is_kernel(**params):
        out = _loop.bind(*primals, **params)
        return out, _tangents(primals, tangents, out, **params)
    live = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero)]

    def of_live(*some):
        operands = list(primals)
        for i, x in zip(live, some, strict=True):
            operands[i] = x
        return _program(*operands, **params)  # in blocks, reverse mode would remember more

    return jax.jvp(of_live, [primals[i] for i in live], [tangents[i] for i in live])


def _tangents(primals, tangents, out, body, counts, mapped, **rest):
    operands, derivative, places = tangent_loop(primals, tangents, body, counts, mapped)
    found = _loop.bind(*operands, **derivative, **rest)
    return [ad.Zero.from_primal_value(x) if i is None else found[i] for x, i in zip(out, places, strict=True)]


def _transposed(cotangents, *operands, **params):
    """Of the loop of a derivative, which is linear in its tangents: by the plain loop, at tangents of zero."""
    linear = [i for i, x in enumerate(operands) if ad.is_undefined_primal(x)]
    kept = [i for i, aval in enumerate(params["body"].out_avals) if jnp.issubdtype(aval.dtype, jnp.inexact)]

    def of_linear(*some):
        given = list(operands)
        for i, x in zip(linear, some, strict=True):
            given[i] = x
        out = _program(*given, **params)
        return [out[i] for i in kept]

    at = [jnp.zeros(operands[i].aval.shape, operands[i].aval.dtype) for i in linear]
    pulled = jax.vjp(of_linear, *at)[1]([ad.instantiate_zeros(cotangents[i]) for i in kept])
    found = dict(zip(linear, pulled, strict=True))
    return [found.get(i) for i in range(len(operands))]


def _needed(used: list[bool], *live_and_eqn: Any) -> tuple[list[bool], JaxprEqn | None]:
    """The loop without the rows that nobody reads, and without what only they needed to be carried."""
    eqn: JaxprEqn = live_and_eqn[-1]  # JAX 0.12 tells first which operands are live references: here none is one
    params = dict(eqn.params)
    fixed, carried = params["counts"]
    if not any(used):
        return [False] * len(eqn.invars), None
    while True:  # what is carried is read by the next row
        body, reads = pe.dce_jaxpr(params["body"].jaxpr, used)
        more = [a or b for a, b in zip(used[:carried], reads[fixed : fixed + carried], strict=True)] + used[carried:]
        if more == used:
            break
        used = more
    keep = [*reads[:fixed], *used[:carried], *reads[fixed + carried :]]
    body, _ = pe.dce_jaxpr(params["body"].jaxpr, used, keep)
    params |= {"body": ClosedJaxpr(body, ()), "counts": (sum(keep[:fixed]), sum(used[:carried]))}
    params["mapped"] = tuple(compress(params["mapped"], keep))
    operands, results = list(compress(eqn.invars, keep)), list(compress(eqn.outvars, used))
    return keep, eqn.replace(invars=operands, outvars=results, params=params)


batching.primitive_batchers[_loop] = _batched
ad.primitive_jvps[_loop] = _jvp
ad.primitive_transposes[_loop] = _transposed
pe.dce_rules[_loop] = _needed
mlir.register_lowering(_loop, mlir.lower_fun(_program, multiple_results=True))
mlir.register_lowering(_loop, mlir.lower_fun(_on_cpu, multiple_results=True), platform="cpu")
mlir.register_lowering(_loop, _for_cuda, platform="cuda")
