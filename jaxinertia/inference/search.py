r"""Levenberg-Marquardt of many records side by side; one record is a batch of one.

    (H + (damping / size) D) step = -gradient,

with D the greatest diagonal of H met. A step is taken where the cost falls by a part of what was predicted, and the
next is longer or shorter by how much it did. The same search maximises a Gaussian likelihood, with its expected
information in place of J^T J (Fisher scoring). It ends in units of one standard error.

A library's search keeps the residuals and their linearisation in its loop, where the normal equations are a few
numbers, and waits till they settle to a tolerance of its own (`benchmarks/fits.py` has it beside this one).

Source: J. J. More, The Levenberg-Marquardt algorithm, 1978 (scaling by the greatest curvature met).
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from .._machine import cores
from .compiled import Compiled
from .normal import Normal, Problem, Step

TOLERANCE = 1e-10  # of the cost that one standard error is worth: steps end below 1e-5 standard errors
SAME = 1e-4  # of it, by which costs may differ that are the same optimum's
ROUNDING = 1e-13
CAREFUL, BOLD = 1e-3, 1e-9  # damping of the first step: in general, and where the problem is all but linear
# Of the reduction predicted, what must be found to take a step, and to try a longer one; by how much longer or shorter.
# Milder ones than these need fewer steps in the bent valley of an overdamped record, where most steps find a little
# less than predicted.
LOW, HIGH, LONGER, SHORTER = 0.01, 0.75, 3.0, 0.5
SHORTEST = 1e-15
READINGS = 50_000  # of a block: they and their derivatives stay in a core's cache together
LEAST = 16  # records of a block: the arithmetic goes over them side by side
FEW = 32  # a block's slowest records: one in ten may need twice the iterations of the others


class Search(NamedTuple):
    """Where a search stands, and the step that it will try. Of many records all have a leading axis."""

    u: Float[Array, " p"]
    x: Float[Array, "w k"]
    step: Step
    normal: Normal
    scale: Step
    damping: Float[Array, ""]  # of the first step
    size: Float[Array, ""]  # by which it is divided now
    done: Any
    failed: Any
    iterations: Any  # how often the cost was evaluated

    @property
    def ended(self) -> Any:
        """Which have, and not for want of iterations or of a cost."""
        return np.asarray(self.done) & ~np.asarray(self.failed)

    @property
    def cost(self) -> Any:
        """Of each."""
        return np.asarray(self.normal.cost)

    def at(self, rows: Any) -> "Search":
        """Of some records, or of one, without its axis."""
        return jax.tree.map(lambda x: np.asarray(x)[rows], self)

    def put(self, rows: np.ndarray, part: "Search") -> "Search":
        """With those of some records."""

        def place(whole, new):
            whole = np.array(whole)
            whole[rows] = new
            return whole

        return jax.tree.map(place, self, part)

    def better(self, other: "Search") -> "Search":
        """The better of both, record by record: what costs less, and of two that cost the same what ended."""
        unit = np.minimum(np.asarray(self.normal.unit), np.asarray(other.normal.unit))
        apart = np.abs(other.cost - self.cost) > SAME * unit
        take = np.where(apart | (self.ended == other.ended), other.cost < self.cost, other.ended)
        return self.put(np.flatnonzero(take), other.at(take))


def start(u: Any, x: Any, damping: float = CAREFUL) -> Search:
    """Searches that begin at u (r, p) and x (r, w, k). Their first iteration steps nowhere, and finds the cost there.

    All of it is NumPy's: XLA would compile a program for it.
    """
    u, x = np.asarray(u, float), np.asarray(x, float)
    (n, p), (_, w, k) = u.shape, x.shape
    of_states = k if w else 1  # as without_states has it

    def zeros(*shape: int) -> Any:
        return np.zeros((n, *shape))

    nowhere, no, one = Step(zeros(p), zeros(w, k)), zeros() > 0, zeros() + 1.0
    blocks = zeros(w, of_states), zeros(w, p, of_states), zeros(w, of_states, of_states)
    normal = Normal(one * np.inf, one * np.inf, zeros(p), zeros(p, p), *blocks)
    return Search(u, x, nowhere, normal, nowhere, one * damping, one, no, no, zeros().astype(int))


def iterate(problem: Problem, search: Search, tolerance: Any = TOLERANCE) -> Search:
    """Try the step: it is taken if it lowers the cost as it should, and the next is longer or shorter.

    The end is seen where the next step is found, so that none is tried that is worth nothing.
    """
    old, there = search.normal, (search.u + search.step.u, search.x + search.step.x)
    new = problem.normal(*there)
    finite, first = _all_finite(new), jnp.isinf(old.cost)
    predicted = old.reduction(search.step)
    found = jnp.where(finite, old.cost - new.cost, -jnp.inf)
    taken = finite & (first | (found >= LOW * predicted))
    good = ~first & (found > HIGH * predicted) & (predicted > 0)
    size = search.size * jnp.where(good, LONGER, jnp.where(taken | first, 1.0, SHORTER))
    scale = jax.tree.map(jnp.maximum, search.scale, new.diagonal())
    moved, kept = (*there, new, scale), (search.u, search.x, old, search.scale)
    take = taken & ~search.done
    u, x, normal, scale = jax.tree.map(lambda a, b: jnp.where(take, a, b), moved, kept)
    damping = search.damping / size
    step = normal.damped(jax.tree.map(lambda d: damping * jnp.where(d > 0, d, 1.0), scale))
    predicted = normal.reduction(step)
    small = predicted < tolerance * normal.unit
    level = predicted < ROUNDING * jnp.abs(normal.cost) + 1e-300  # no step can be told from rounding
    nothing = first & ~taken  # there is no cost to begin with
    done = search.done | (~nothing & ((small & (taken | (search.damping < size))) | level))
    failed = search.failed | (((size < SHORTEST) | nothing) & ~done)
    count = search.iterations + ~search.done
    return Search(u, x, step, normal, scale, search.damping, size, done | failed, failed, count)


class Options(NamedTuple):
    """How far searches go, and whether they show it."""

    most: int  # iterations
    progress: bool = False
    tolerance: float = TOLERANCE
    damping: float = CAREFUL


def run(problem: Problem, u: Any, x: Any, options: Options, title: str = "") -> Search:
    """The searches of all records from their u (r, p) and x (r, w, k)."""
    with jax.enable_x64(True):
        return go_on(problem, start(u, x, options.damping), options, title)


def go_on(problem: Problem, search: Search, options: Options, title: str = "") -> Search:
    """The searches of all records from where they stand, in equal blocks on all cores."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]  # like x64, a setting of each thread
    n, size = len(search.u), max(LEAST, READINGS // problem.readings_of_one)
    count = -(-n // size)
    size = -(-n // count)
    blocks = [np.minimum(np.arange(k * size, (k + 1) * size), n - 1) for k in range(count)]

    def one(rows):
        with jax.enable_x64(True), jax.default_device(device):
            part = (search, problem) if count == 1 else (search.at(rows), problem.at(rows))
            return _block(*part, options)

    pool, parts = ThreadPoolExecutor(min(count, cores())), []
    try:
        with tqdm(total=n, desc=title, unit="record", disable=not options.progress) as bar:
            for rows, part in zip(blocks, pool.map(one, blocks) if count > 1 else map(one, blocks), strict=True):
                parts.append(part)
                bar.update(len(np.unique(rows)))
    finally:
        pool.shutdown(cancel_futures=True)
    return parts[0] if count == 1 else jax.tree.map(lambda *each: np.concatenate(each)[:n], *parts)


def _block(search: Search, problem: Problem, options: Options) -> Search:
    """A block's searches, as NumPy's arrays. The last few go on by themselves."""
    few = FEW if len(search.u) > 2 * FEW else 0
    run = _run.over(problem.readings_of_one * len(search.u))
    tolerance, most = np.asarray(options.tolerance), np.asarray(options.most)
    search, left = run(problem, search, tolerance, most, few)
    whole = jax.tree.map(np.asarray, search)
    slow = np.flatnonzero(~whole.done)
    if int(left) > 0 and slow.size:
        slow = np.resize(slow, few)
        search, _ = run(problem.at(slow), whole.at(slow), tolerance, left, 0)
        whole = whole.put(slow, search)
    return whole


@Compiled
def _run(problem: Problem, search: Search, tolerance: jax.Array, most: jax.Array, few: int) -> tuple[Search, jax.Array]:
    """Until no more than `few` are left, and the iterations left then."""
    one = problem.of_all(lambda p, s: iterate(p, s, tolerance))

    def unfinished(state):
        search, left = state
        return (left > 0) & (jnp.sum(~search.done) > few)

    return jax.lax.while_loop(unfinished, lambda state: (one(state[0]), state[1] - 1), (search, most))


def padded(rows: np.ndarray) -> np.ndarray:
    """Rows, some of them twice: as many as a power of two, so that few programs serve all counts."""
    return np.resize(rows, 2 ** int(np.ceil(np.log2(len(rows)))))


def _all_finite(tree):
    flags = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(flags))
