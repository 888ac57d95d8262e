"""Which numbers of a system a fit may change, and the unbounded coordinates in which it changes them.

A leaf theta above a bound is theta = low + e^u, below one high - e^u, between two low + (high - low) / (1 + e^-u); a
friction or noise matrix is theta = R R^T, or R itself, with R lower triangular and log R_ii among the u; a skew one is
theta = R - R^T with R strictly lower triangular.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit

from .. import _host, _tree
from .._shown import shown
from ..physics.system import System

REAL, ABOVE, BELOW, BETWEEN = "real", "above", "below", "between"
GRAM, FACTOR, SKEW = "gram", "factor", "skew"
MATRICES = (GRAM, FACTOR, SKEW)


_OF_LEAVES = ("low", "high", "where", "kinds", "shapes", "names")


class _Place:
    """Stands for a leaf while `free` picks leaves."""

    def __init__(self, index: int):
        self.index = index


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
        return self._indices([_coordinates(k, s) for k, s in zip(self.kinds, self.shapes, strict=True)])

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
                values[:, part] = _free(kind, u[:, part], low, high, np)
                at = np.arange(part.start, part.stop)
                slopes[:, at, at] = _free_slope(kind, u[:, part], low, high)
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
        loose = [_free(kind, u[..., part], np.ravel(low), np.ravel(high), np) for kind, part, low, high in parts]
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
                u[..., part] = _logit((here - low) / (high - low))
        return u

    @property
    def size(self) -> int:
        """How many coordinates there are."""
        return sum(_coordinates(k, s) for k, s in zip(self.kinds, self.shapes, strict=True))

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
        ends = np.cumsum([0, *(_coordinates(k, s) for k, s in zip(self.kinds, self.shapes, strict=True))])
        return [slice(int(a), int(b)) for a, b in pairwise(ends)]

    def _leaves(self, u):
        u = jnp.asarray(u)
        parts = zip(self.kinds, self.slices, self.shapes, self.low, self.high, strict=True)
        return [_decode(kind, u[part], shape, low, high) for kind, part, shape, low, high in parts]


def choose(system: System, free: Callable, bounds: Any = None, each: Callable | None = None) -> Parameters:
    """The leaves that `free` picks, and `each` for one run, checked; friction, masses and noise positive, else of any
    sign, unless bounded."""
    paths, _ = jax.tree_util.tree_flatten_with_path(system)
    shared, structure = _picked("free", free, system, each is not None)
    own, own_structure = ([], None) if each is None else _picked("each", each, system)
    where = (*shared, *own)
    names = tuple(jax.tree_util.keystr(paths[i][0]).lstrip(".") for i in where)
    if len(set(where)) < len(where):
        raise ValueError(f"free returns a leaf twice{' or each one of its' * bool(own)}: {names}")
    leaves = [paths[i][1] for i in where]
    for name, leaf in zip(names, leaves, strict=True):
        if not eqx.is_inexact_array(leaf):
            raise ValueError(f"free returns {name} = {shown(leaf)}, which is not an array of floats")
    if own and bounds is not None and not (isinstance(bounds, tuple) and len(bounds) == 2):
        raise ValueError(f"bounds = {shown(bounds)}: with each= pass two, (those of free, those of each), or None")
    of_shared, of_own = bounds if own and bounds is not None else (bounds, None)
    limits = _bounds(of_shared, structure, names[: len(shared)])
    limits = [*limits, *(_bounds(of_own, own_structure, names[len(shared) :]) if own else [])]
    positive = [_is_in(system, paths[i][0], "nonnegative") for i in where]
    skew = [_is_in(system, paths[i][0], "skew") for i in where]
    every = zip(names, leaves, limits, positive, skew, strict=True)
    kinds, low, high = zip(*(_kind(*one) for one in every), strict=True)
    shapes = tuple(x.shape for x in leaves)
    return Parameters(low, high, where, kinds, shapes, names, structure, own_structure, len(own))


def _picked(name: str, pick: Callable, system: System, may_be_none: bool = False) -> tuple[list[int], Any]:
    """Which leaves a function of the system returns, and in which structure."""
    leaves, structure = jax.tree.flatten(system)
    places = jax.tree.unflatten(structure, [_Place(i) for i in range(len(leaves))])
    try:
        picked = pick(places)
    except (AttributeError, TypeError, IndexError, KeyError) as error:
        raise ValueError(
            f"{name} fails on the system: {error}; return leaves, as in lambda s: s.damping.gamma"
        ) from error
    chosen, picked_structure = jax.tree.flatten(picked, is_leaf=lambda x: isinstance(x, _Place))
    if not (chosen or may_be_none) or not all(isinstance(x, _Place) for x in chosen):
        raise ValueError(
            f"{name} returns {shown(picked)}; return leaves of the system, as in lambda s: (s.damping.gamma,)"
        )
    return [x.index for x in chosen], picked_structure


def _is_in(system: System, path: tuple, wish: str) -> bool:
    """Whether the leaf is, or lies in, a field that its owner names in its `nonnegative` (or `skew`)."""
    node: Any = system
    for key in path:
        name = getattr(key, "name", None)
        if name is not None and name in getattr(node, wish, ()):
            return True
        node = getattr(node, name) if name is not None else node[key.idx if hasattr(key, "idx") else key.key]
    return False


def _bounds(bounds, structure, names):
    if bounds is None:
        return [None] * len(names)
    try:
        given = structure.flatten_up_to(bounds)
    except (ValueError, TypeError) as error:
        raise ValueError(f"bounds = {shown(bounds)} must have a (low, high) for each leaf that free returns") from error
    for name, pair in zip(names, given, strict=True):
        good = pair is None or (isinstance(pair, tuple | list) and len(pair) == 2)
        if good and pair is not None and None not in pair:
            good = bool(np.all(np.asarray(pair[0]) < np.asarray(pair[1])))
        if not good:
            raise ValueError(
                f"bounds of {name} = {shown(pair)} must be (low, high) with low < high, or None for either"
            )
    return given


def _kind(name, leaf, limits, positive, skew):
    matrix = leaf.ndim == 2 and leaf.shape[0] == leaf.shape[1]
    if skew or (positive and matrix):
        if limits is not None:
            raise ValueError(f"bounds of {name}, a matrix, cannot be kept; pass None for it")
        if skew:
            return SKEW, np.zeros(()), np.zeros(())
        return FACTOR if name.startswith("noise") else GRAM, np.zeros(()), np.zeros(())
    low, high = limits if limits is not None else (None, None)
    if positive and (low is None or np.any(np.asarray(low) < 0)):
        low = 0.0
    kind = {(0, 0): REAL, (1, 0): ABOVE, (0, 1): BELOW, (1, 1): BETWEEN}[low is not None, high is not None]
    return kind, *(np.asarray(0.0 if x is None else x, float) for x in (low, high))


def _coordinates(kind, shape):
    if kind == SKEW:
        return shape[0] * (shape[0] - 1) // 2
    return shape[0] * (shape[0] + 1) // 2 if kind in (GRAM, FACTOR) else int(np.prod(shape))


def _decode(kind, u, shape, low, high):
    if kind == SKEW:
        lower = jnp.zeros(shape, u.dtype).at[np.tril_indices(shape[0], -1)].set(u)
        return lower - lower.T
    if kind in (GRAM, FACTOR):
        i, j = np.tril_indices(shape[0])
        factor = jnp.zeros(shape, u.dtype).at[i, j].set(jnp.where(i == j, jnp.exp(u), u))
        return factor @ factor.T if kind == GRAM else factor
    return _free(kind, u.reshape(shape), low, high)


def _free(kind: str, u: Any, low: Any, high: Any, xp: ModuleType = jnp) -> Any:
    if kind == ABOVE:
        return low + xp.exp(u)
    if kind == BELOW:
        return high - xp.exp(u)
    if kind == BETWEEN:
        return low + (high - low) * (expit(u) if xp is np else jax.nn.sigmoid(u))
    return u


def _free_slope(kind: str, u: np.ndarray, low: Any, high: Any) -> Any:
    """The derivative of `_free`, in NumPy."""
    if kind in (ABOVE, BELOW):
        return np.exp(u) if kind == ABOVE else -np.exp(u)
    return (high - low) * expit(u) * expit(-u) if kind == BETWEEN else np.ones_like(u)


def encode(kind, value, low, high):
    """The coordinates of a value, at a distance from the bounds where it lies on or beyond them."""
    if kind == SKEW:
        return value[np.tril_indices(len(value), -1)]
    if kind in (GRAM, FACTOR):
        size = max(float(np.abs(value).max()), 1e-300)
        gram = value if kind == GRAM else value @ value.T
        factor = np.linalg.cholesky(gram + 1e-6 * (size if kind == GRAM else size**2) * np.eye(len(value)))
        i, j = np.tril_indices(len(value))
        entries = factor[i, j]
        return np.where(i == j, np.log(np.where(i == j, np.abs(entries), 1.0)), entries)
    value = np.ravel(value)
    if kind == REAL:
        return value
    if kind == ABOVE:
        return np.log(np.maximum(value - low, _inside(value, low)))
    if kind == BELOW:
        return np.log(np.maximum(high - value, _inside(value, high)))
    return _logit((value - low) / (high - low))


def _logit(part):
    part = np.clip(part, 1e-3, 1 - 1e-3)
    return np.log(part / (1 - part))


def _inside(value, bound):
    return 1e-12 * (np.abs(value) + np.abs(bound)) + 1e-300
