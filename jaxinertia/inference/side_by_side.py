"""The search of many records at once: in blocks that stay in a cache, the blocks on threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._machine import cores
from . import solve
from .predict import normal

# Records whose readings and derivatives stay in a core's cache together.
BLOCK = 250
FEW = 32  # a block's slowest records: one in ten may need twice the iterations of the others


def run_all(
    u: np.ndarray,
    x: np.ndarray,
    problem: Any,
    most: int,
    tolerance: float = solve.TOLERANCE,
    damping: float = solve.CAREFUL,
    evaluate: Callable = normal,
) -> solve.Search:
    """Levenberg-Marquardt of all records, in equal blocks on all cores. The last few of a block go on by themselves."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # like x64, a setting of each thread
    n = len(u)
    count = -(-n // BLOCK)
    size = -(-n // count)
    blocks = [np.minimum(np.arange(k * size, (k + 1) * size), n - 1) for k in range(count)]

    def on(search, part, most, few):
        """Until no more than `few` are left, and the iterations left then."""
        for i in range(most):
            if np.sum(~np.asarray(search.done)) <= few:
                return search, most - i
            search = _iterate(evaluate, search, part, tolerance)
        return search, 0

    def one(rows):
        with jax.enable_x64(True), jax.default_device(device):
            part, few = at(problem, rows), FEW if len(rows) > 2 * FEW else 0
            search, left = on(_begin(jnp.asarray(u[rows]), jnp.asarray(x[rows]), damping), part, most, few)
            whole = jax.tree.map(np.array, search)
            slow = np.flatnonzero(~whole.done)
            if left and slow.size:
                slow = np.resize(slow, few)
                search, _ = on(jax.tree.map(lambda a: a[slow], whole), at(part, slow), left, 0)
                jax.tree.map(lambda a, b: a.__setitem__(slow, b), whole, search)
            return whole

    if count == 1:
        parts = [one(blocks[0])]
    else:
        with ThreadPoolExecutor(min(count, cores())) as pool:
            parts = list(pool.map(one, blocks))
    search = jax.tree.map(lambda *each: jnp.asarray(np.concatenate(each)[:n]), *parts)
    return search._replace(failed=search.failed | ~search.done)


def _axes(problem: Any) -> Any:
    """Which arrays of a problem have the axis of records."""
    axes = jax.tree.map(lambda _: None, problem)
    own = jax.tree.map(lambda _: 0, problem.own())
    return eqx.tree_at(lambda p: p.own(), axes, own, is_leaf=lambda x: x is None)


def at(problem: Any, rows: Any) -> Any:
    """The problem of some of its records; of neighbours without a copy."""
    if np.all(np.diff(rows) == 1):
        rows = slice(rows[0], rows[-1] + 1)
    return eqx.tree_at(lambda p: p.own(), problem, jax.tree.map(lambda x: x[rows], problem.own()))


_begin = jax.jit(jax.vmap(solve.start, in_axes=(0, 0, None)))


@eqx.filter_jit
def _iterate(evaluate: Callable, search: solve.Search, problem: Any, tolerance: Any) -> solve.Search:
    step = eqx.filter_vmap(lambda s, p: solve.iterate(evaluate, s, p, tolerance), in_axes=(0, _axes(problem)))
    return step(search, problem)
