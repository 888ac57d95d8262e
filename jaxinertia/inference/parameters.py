"""The numbers of a system that a fit may change, in a row of values or of unbounded coordinates."""

import math
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _host, _tree
from ..physics.system import System
from .coordinates import ABOVE, BELOW, BETWEEN, MATRICES, REAL, SKEW, count, decode, encode, logit, number, number_slope

_OF_LEAVES = ("low", "high", "where", "kinds", "shapes", "names")


@_tree.plain
class Parameters:
    """The free leaves, in the order in which `free` returns them; then those of `each`, again for every run."""

    low: tuple[Any, ...]  # arrays
    high: tuple[Any, ...]
    where: tuple[int, ...] = _tree.static()
    kinds: tuple[str, ...] = _tree.static()
    shapes: tuple[tuple[int, ...], ...] = _tree.static()
    names: tuple[str, ...] = _tree.static()
    structure: Any = _tree.static()
    own_structure: Any = _tree.static(default=None)
    own: int = _tree.static(default=0)  # leaves of `each`
    runs: int = _tree.static(default=1)  # for which they are there

    @property
    def shared(self) -> int:
        """How many leaves are `free`'s."""
        return len(self.where) - self.own * self.runs

    def _with_leaves(self, leaves: list[int], runs: int) -> "Parameters":
        """Of some leaves, as many runs' as that."""
        fields: dict[str, Any] = {name: tuple(getattr(self, name)[i] for i in leaves) for name in _OF_LEAVES}
        return replace(self, **fields, runs=runs)

    @property
    def local(self) -> "Parameters":
        """Those of one run: the leaves of a system."""
        return self if self.runs == 1 else self._with_leaves(list(range(self.shared + self.own)), 1)

    def for_runs(self, runs: int) -> "Parameters":
        """Those of one run, with own leaves for so many."""
        shared, own = range(self.shared), range(self.shared, self.shared + self.own)
        return self._with_leaves([*shared, *[i for _ in range(runs) for i in own]], runs) if self.own else self

    def _indices(self, sizes: list[int]) -> np.ndarray:
        """(runs, entries of one run): where its entries are among all, of leaves that have so many each."""
        ends = np.cumsum([0, *sizes])
        shared, all_own = int(ends[self.shared]), int(ends[-1])
        own = np.arange(shared, all_own).reshape(self.runs, -1)
        return np.concatenate([np.broadcast_to(np.arange(shared), (self.runs, shared)), own], axis=1)

    @property
    def index(self) -> np.ndarray:
        """(runs, coordinates of one run): where they are in u."""
        return self._indices([count(k, s) for k, s in zip(self.kinds, self.shapes, strict=True)])

    @property
    def flat_index(self) -> np.ndarray:
        """(runs, values of one run): where they are among all flat values."""
        return self._indices([int(np.prod(s)) for s in self.shapes])

    def spread(self, u: np.ndarray) -> np.ndarray:
        """Coordinates of one run, or rows of them, as those of all."""
        out = np.zeros((*np.shape(u)[:-1], self.size))
        for at in self.index:
            out[..., at] = u
        return out

    def natural(self, u: jax.Array | np.ndarray) -> jax.Array:
        """The values themselves, flat: all leaves, one after another."""
        return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(leaf) for leaf in self._leaves(u))])

    def natural_of_rows(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same of rows of coordinates, in NumPy, with their derivatives by them (r, values, coordinates); where no
        leaf is a matrix. Coordinates of what is fitted beside them may follow, and move no value."""
        values, slopes = np.empty((len(u), self.size)), np.zeros((len(u), self.size, u.shape[1]))
        each = zip(self.kinds, self.slices, self.shapes, self.low, self.high, strict=True)
        with np.errstate(over="ignore", invalid="ignore"):
            for kind, part, shape, *ends in each:
                low, high = (np.broadcast_to(end, shape).ravel() for end in ends)
                values[:, part] = number(kind, u[:, part], low, high, np)
                at = np.arange(part.start, part.stop)
                slopes[:, at, at] = number_slope(kind, u[:, part], low, high)
        return values, slopes

    def write(self, system: System, u: jax.Array | np.ndarray) -> System:
        """The system with these values, of one run."""
        leaves, structure = jax.tree.flatten(system)
        for i, value in zip(self.where, self._leaves(u), strict=True):
            leaves[i] = value
        return jax.tree.unflatten(structure, leaves)

    def read(self, system: System) -> np.ndarray:
        """The coordinates of a system's values; what lies outside its bounds is brought inside."""
        leaves = jax.tree.leaves(system)
        parts = [
            encode(kind, np.asarray(leaves[i], float), low, high)
            for i, kind, low, high in zip(self.where, self.kinds, self.low, self.high, strict=True)
        ]
        return np.concatenate([np.zeros(0), *parts])

    def coordinate(self, i: Any, value: Any) -> np.ndarray:
        """Coordinates i, of numbers or components, where these have the values; -inf or inf at a bound."""
        low, high = np.moveaxis(self.limits[i], -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            above, below = np.log(value - low), np.log(high - value)
            bounded = np.where(np.isfinite(low), np.where(np.isfinite(high), above - below, above), below)
        return np.where(np.isfinite(low) | np.isfinite(high), bounded, value)

    def unbounded(self) -> "Parameters":
        """The same leaves with no bounds on numbers and components: what is linear in a leaf is linear in them."""
        kinds = tuple(kind if kind in MATRICES else REAL for kind in self.kinds)
        return replace(self, kinds=kinds)

    def loosen(self, u: np.ndarray) -> np.ndarray:
        """The coordinates of `unbounded` at u, or at rows of them."""
        parts = zip(self.kinds, self.slices, self.low, self.high, strict=True)
        loose = [number(kind, u[..., part], np.ravel(low), np.ravel(high), np) for kind, part, low, high in parts]
        return np.concatenate(loose, axis=-1)

    def tighten(self, loose: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Back from `loosen`; what is out of bounds is put within, a hundredth as far from them as at the start."""
        u = np.array(loose)
        for kind, part, low, high in zip(self.kinds, self.slices, self.low, self.high, strict=True):
            here, low, high = u[..., part], np.ravel(low), np.ravel(high)
            if kind in (ABOVE, BELOW):
                gap = here - low if kind == ABOVE else high - here
                u[..., part] = np.maximum(np.log(np.maximum(gap, 1e-300)), start[..., part] - math.log(100))
            elif kind == BETWEEN:
                u[..., part] = logit((here - low) / (high - low))
        return u

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return sum(count(k, s) for k, s in zip(self.kinds, self.shapes, strict=True))

    def unflatten(self, flat: np.ndarray) -> Any:
        """Flat values in the structure that `free` returned."""
        return jax.tree.map(lambda x: x[0][()], self.unflatten_all(np.asarray(flat)[None]))

    def unflatten_all(self, flat: np.ndarray) -> Any:
        """Rows of flat values in the structure that `free` returned, with their leading axis."""
        return jax.tree.unflatten(self.structure, self._split(flat)[: self.shared])

    def unflatten_own(self, flat: np.ndarray) -> Any:
        """Flat values in the structure that `each` returned, with a leading axis of runs; None without `each`."""
        return None if not self.own else jax.tree.map(lambda x: x[0], self.unflatten_own_all(np.asarray(flat)[None]))

    def unflatten_own_all(self, flat: np.ndarray) -> Any:
        """Rows of them, (rows, runs, ...)."""
        if not self.own:
            return None
        leaves = self._split(flat)[self.shared :]
        every = [np.stack(leaves[i :: self.own], axis=1) for i in range(self.own)]
        return jax.tree.unflatten(self.own_structure, every)

    def _split(self, flat: np.ndarray) -> list[np.ndarray]:
        """Rows of flat values, leaf by leaf."""
        ends = np.cumsum([int(np.prod(s)) for s in self.shapes])[:-1]
        parts = zip(np.split(flat, ends, axis=1), self.shapes, strict=True)
        return [part.reshape(len(flat), *shape) for part, shape in parts]

    def put(self, system: System, flat: Any) -> System:
        """The system with these flat values, of one run, in place of its free ones."""
        leaves, structure = jax.tree.flatten(system)
        ends = np.cumsum([0, *(int(np.prod(s)) for s in self.shapes)]).tolist()
        for i, (first, last), shape in zip(self.where, pairwise(ends), self.shapes, strict=True):
            value = flat[first:last].reshape(shape)
            leaves[i] = _host.put(value) if isinstance(value, np.ndarray) else value
        return jax.tree.unflatten(structure, leaves)

    def held(self, system: System) -> list[tuple[str, str]]:
        """Names and values of the system's numbers that are not free, and not 0."""
        paths, _ = jax.tree_util.tree_flatten_with_path(system)
        return [
            (jax.tree_util.keystr(path).lstrip("."), f"{float(leaf):.6g}")
            for i, (path, leaf) in enumerate(paths)
            if i not in self.where and eqx.is_inexact_array_like(leaf) and np.shape(leaf) == () and float(leaf) != 0
        ]

    @property
    def labels(self) -> list[str]:
        """A name for each flat value, such as damping.gamma, damping.gamma[0, 1] or "damping.gamma, run 2"."""
        out = []
        for name, shape in zip(self.titles, self.shapes, strict=True):
            entries = [", ".join(map(str, i)) for i in np.ndindex(*shape)]
            out += [f"{name}[{entry}]" if entry else name for entry in entries]
        return out

    @property
    def titles(self) -> list[str]:
        """A name for each leaf."""
        own = [f", run {k + 1}" for k in range(self.runs) for _ in range(self.own)]
        return [name + run for name, run in zip(self.names, [*[""] * self.shared, *own], strict=True)]

    def within(self, flat: Any) -> np.ndarray:
        """Flat values, or rows of them, where they may be: no interval reaches beyond a bound."""
        return np.clip(flat, *self.limits.T)

    @cached_property
    def limits(self) -> np.ndarray:
        """(values, 2): between which numbers each flat value is kept."""
        out = []
        for kind, shape, low, high in zip(self.kinds, self.shapes, self.low, self.high, strict=True):
            ends = low if kind in (ABOVE, BETWEEN) else -np.inf, high if kind in (BELOW, BETWEEN) else np.inf
            out.append(np.stack([np.broadcast_to(end, shape).ravel() for end in ends], axis=1))
        return np.concatenate(out)

    @property
    def constant(self) -> np.ndarray:
        """Which flat values no coordinate changes: the zeros on the diagonal of a skew matrix."""
        pairs = zip(self.kinds, self.shapes, strict=True)
        return np.concatenate(
            [(np.eye(s[0]) == 1).ravel() if k == SKEW else np.zeros(int(np.prod(s)), bool) for k, s in pairs]
        )

    @property
    def slices(self) -> list[slice]:
        """Where each leaf's coordinates are in u."""
        ends = np.cumsum([0, *(count(k, s) for k, s in zip(self.kinds, self.shapes, strict=True))])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def _leaves(self, u):
        u = jnp.asarray(u)
        parts = zip(self.kinds, self.slices, self.shapes, self.low, self.high, strict=True)
        return [decode(kind, u[part], shape, low, high) for kind, part, shape, low, high in parts]
