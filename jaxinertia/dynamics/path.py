"""One Brownian path, the same at every step size: what strong convergence is measured on."""

from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from .._checks import as_number, is_key, require
from .._types import Key, Position
from ..physics.system import as_arrays
from .random_numbers import RandomNumbers

MOST_LEVELS = 24


class BrownianPath(diffrax.AbstractPath):
    r"""W on 2^levels equal steps of [t0, t1], kept as a table: fast, and the same path for every number of levels.

    Levy's construction: W(t1) first, then each level puts the middles between the nodes there are,
    W((a + b)/2) = (W(a) + W(b))/2 + sqrt((b - a)/4) Z. More levels refine the path and move none of its nodes. Unlike
    `diffrax.VirtualBrownianTree` it costs no search per increment, but knows its nodes only: steps must be whole
    multiples of (t1 - t0)/2^levels (for words with two O, twice that).

    Arguments:
        t0, t1: start and end, numbers, in the unit of time.
        levels: an integer from 0 to 24: 2^levels steps.
        like: a position to shape the path like.
        key: a JAX random key.

    Raises:
        ValueError: if t1 <= t0, levels is not a whole number from 0 to 24, or like holds no number. `evaluate` raises
            (at run time where traced) for times that are no nodes.

    Example:
        >>> path = ji.BrownianPath(0.0, 1.0, levels=12, like=1.0, key=jax.random.key(0))
        >>> runs = [ji.simulate(system, np.array([0.0, 1.0]), 1.0, substeps=n, path=path) for n in (16, 32, 64)]

    Source: P. Levy, Processus stochastiques et mouvement brownien, 1948; I. Karatzas and S. E. Shreve, Brownian
    Motion and Stochastic Calculus, 1991, section 2.3.
    """

    table: Position
    t0: Any
    t1: Any

    def __init__(self, t0: Any, t1: Any, levels: int, like: Any, key: Key):
        if isinstance(levels, bool) or not isinstance(levels, int) or not 0 <= levels <= MOST_LEVELS:
            raise ValueError(f"levels = {levels!r} must be a whole number from 0 to {MOST_LEVELS}: 2^levels steps")
        self.t0, self.t1 = as_number("t0", t0), as_number("t1", t1)
        if not self.t1 > self.t0:
            raise ValueError(f"t1 = {t1!r} must be later than t0 = {t0!r}")
        if not is_key(key):
            raise ValueError(f"key = {key!r} must be one JAX random key: jax.random.key(0)")
        like = as_arrays("like", like)
        if not jax.tree.leaves(like):
            raise ValueError(f"like = {like!r} holds no number; pass the position that the path is for")
        numbers = RandomNumbers(key, draws=1, law="gaussian")
        span = self.t1 - self.t0

        def grow(end, middles):
            w = jnp.stack([jnp.zeros_like(end), jnp.sqrt(span) * end])
            for level, z in enumerate(middles):
                middle = (w[:-1] + w[1:]) / 2 + jnp.sqrt(span / 2 ** (level + 2)) * z
                w = jnp.concatenate([jnp.stack([w[:-1], middle], axis=1).reshape(-1, *w.shape[1:]), w[-1:]])
            return w

        # Node k of level l has the number 2^l + k: the same in every refinement.
        end = jax.tree.map(lambda x: x[0], numbers.steps(jnp.uint32(0), 1, 0, like))
        middles = [numbers.steps(jnp.uint32(2**level), 2**level, 0, like) for level in range(levels)]
        self.table = jax.tree.map(lambda end, *rest: grow(end, rest), end, *middles)

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Position:
        """W(t1) - W(t0), or W(t0) - W(start) if t1 is None."""
        del left
        if use_levy:
            raise ValueError("a BrownianPath knows no Levy areas; use a diffrax.VirtualBrownianTree")
        if t1 is None:
            return jax.tree.map(lambda w: w[self._node(t0)], self.table)
        first, last = self._node(t0), self._node(t1)
        return jax.tree.map(lambda w: w[last] - w[first], self.table)

    def _node(self, t):
        steps = jax.tree.leaves(self.table)[0].shape[0] - 1
        place = (jnp.asarray(t) - self.t0) / (self.t1 - self.t0) * steps
        node = jnp.round(place)
        slack = 16 * steps * jnp.finfo(place.dtype).eps + 1e-9
        found = (jnp.abs(place - node) <= slack) & (node >= 0) & (node <= steps)
        message = "path has no node at this time: take steps that are multiples of (t1 - t0) / 2^levels"
        return require(node, found, message).astype(int)
