"""The search of many records at once: in blocks that stay in a cache, the blocks on threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from .._machine import cores
from . import solve
from .predict import normal

READINGS = 50_000  # of a block: they and their derivatives stay in a core's cache together
LEAST = 16  # records of a block: the arithmetic goes over them side by side
FEW = 32  # a block's slowest records: one in ten may need twice the iterations of the others


def run_all(
    u: np.ndarray,
    x: np.ndarray,
    problem: Any,
    most: int,
    tolerance: float = solve.TOLERANCE,
    damping: float = solve.CAREFUL,
    evaluate: Callable = normal,
    title: str = "",
    progress: bool = False,
) -> solve.Search:
    """Levenberg-Marquardt of all records, in equal blocks on all cores; `progress` shows how many have ended."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # like x64, a setting of each thread
    n, readings = len(u), max(1, problem.windows.ts[0].size)
    count = -(-n // max(LEAST, READINGS // readings))
    size = -(-n // count)
    blocks = [np.minimum(np.arange(k * size, (k + 1) * size), n - 1) for k in range(count)]

    def one(rows):
        with jax.enable_x64(True), jax.default_device(device):
            start = _begin(jnp.asarray(u[rows]), jnp.asarray(x[rows]), damping)
            return _block(evaluate, start, at(problem, rows), tolerance, most)

    pool, parts = ThreadPoolExecutor(min(count, cores())), []
    try:
        with tqdm(total=n, desc=title, unit="record", disable=not progress) as bar:
            for rows, part in zip(blocks, pool.map(one, blocks), strict=True):
                parts.append(part)
                bar.update(len(np.unique(rows)))
    finally:
        pool.shutdown(cancel_futures=True)
    search = jax.tree.map(lambda *each: jnp.asarray(np.concatenate(each)[:n]), *parts)
    return search._replace(failed=search.failed | ~search.done)


def _block(evaluate: Callable, start: solve.Search, problem: Any, tolerance: float, most: int) -> solve.Search:
    """A block's searches, as NumPy's arrays. The last few go on by themselves."""
    few = FEW if len(start.u) > 2 * FEW else 0
    search, left = _run(evaluate, start, problem, tolerance, jnp.asarray(most), few)
    whole = jax.tree.map(np.array, search)
    slow = np.flatnonzero(~whole.done)
    if left > 0 and slow.size:
        slow = np.resize(slow, few)
        search, _ = _run(evaluate, jax.tree.map(lambda a: a[slow], whole), at(problem, slow), tolerance, left, 0)
        jax.tree.map(lambda a, b: a.__setitem__(slow, b), whole, search)
    return whole


def axes(problem: Any) -> Any:
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
def _run(
    evaluate: Callable, search: solve.Search, problem: Any, tolerance: float, most: jax.Array, few: int
) -> tuple[solve.Search, jax.Array]:
    """Until no more than `few` are left, and the iterations left then."""
    one = eqx.filter_vmap(lambda s, p: solve.iterate(evaluate, s, p, tolerance), in_axes=(0, axes(problem)))

    def unfinished(state):
        search, left = state
        return (left > 0) & (jnp.sum(~search.done) > few)

    return jax.lax.while_loop(unfinished, lambda state: (one(state[0], problem), state[1] - 1), (search, most))
