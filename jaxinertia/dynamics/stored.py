"""A long run that goes to a store as it runs: its positions and momenta are never all in memory."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from ..energy.balance import Balance, close
from . import fixed
from .grid import Grid
from .progress import watched
from .quantities import attributes_of, name_of
from .sweep.objects import import_zarr, locate
from .trajectory import Trajectory

PART = 2**25  # bytes of positions and momenta that are computed, and put, at a time


def run(system, grid: Grid, position, momentum, solver, key, path, store: Any, progress: bool = False) -> Trajectory:
    """As `fixed.run`, into a store; the positions and momenta of the trajectory are Zarr's arrays there.

    Raises ValueError for a store that is not empty or cannot be written, and where nothing has numbers yet.
    """
    if is_traced((system, grid.ts, position, momentum, key, path)):
        raise ValueError("store needs numbers, and inside jit, vmap or grad there are none yet; store what comes out")
    states = {"position": position, "momentum": momentum}
    rows = max(1, PART // max(sum(x.nbytes for x in jax.tree.leaves(states)), 1))
    kept = _Kept(store, np.asarray(grid.ts, float), states, min(rows, len(grid.ts)))
    try:
        parts = fixed.in_parts(system, grid, position, momentum, solver, key, path, kept.chunk)
        for phase, energies in watched(parts, grid, kept.chunk, progress):
            along = (energies, phase.friction, phase.noise, phase.work)
            kept.write({"position": phase.position, "momentum": phase.momentum}, along)
        (kinetic, potential), *rest = jax.tree.map(jnp.asarray, kept.along)
        balance = close(kinetic + potential, *rest)
        kept.finish(kinetic, potential, balance)
    except OSError as error:
        raise ValueError(
            f"store = {kept.name!r} cannot be written: {error}; free space or pass another (it has {kept.done:,} of "
            f"{kept.rows:,} output times)"
        ) from error
    return Trajectory(grid.ts, kept.arrays("position"), kept.arrays("momentum"), kinetic, potential, balance)


class _Kept:
    """The Zarr group of one trajectory: `write` adds rows of its states, `finish` the rest and its energies."""

    def __init__(self, store: Any, ts: np.ndarray, states: dict[str, Any], chunk: int):
        place = locate(store)
        self.name, self.rows, self.chunk, self.done = place.name, len(ts), chunk, 0
        if others := place.at_root():
            raise ValueError(
                f"store = {self.name!r} holds {others[0]!r}, and must be empty; pass another, or delete it"
            )
        self.group = import_zarr().create_group(store=place.store, attributes={"description": "jaxinertia.simulate"})
        self._waiting: dict[str, list[np.ndarray]] = {}  # rows that do not fill a chunk yet
        self.along: Any = None  # whole arrays from the start: small pieces would pin the memory freed around them
        self._begun = 0
        self._add("time", "ts", ts.dtype, (), self.rows)
        self.group["time"][...] = ts
        self._names = {name: jax.tree_util.tree_map_with_path(_namer(name), state) for name, state in states.items()}
        for name, state in states.items():
            for called, leaf in self._pairs(name, state):
                self._add(called, name, leaf.dtype, leaf.shape, chunk)
                self._waiting[called] = []

    def arrays(self, name: str) -> Any:
        """The arrays in the store, as a tree like the state."""
        return jax.tree.map(lambda called: self.group[called], self._names[name])

    def write(self, states: dict[str, Any], along: Any) -> None:
        """Add rows, of which those that fill chunks are put; numbers along them stay in memory, in `along`."""
        if self.along is None:
            self.along = jax.tree.map(lambda x: np.empty(self.rows, x.dtype), along)
        end = self._begun + len(jax.tree.leaves(along)[0])
        for whole, x in zip(jax.tree.leaves(self.along), jax.tree.leaves(along), strict=True):
            whole[self._begun : end] = x
        self._begun = end
        for name, state in states.items():
            for called, leaf in self._pairs(name, state):
                self._waiting[called].append(np.asarray(leaf))
        held = sum(map(len, next(iter(self._waiting.values()))))
        if held >= self.chunk:
            self._put(held // self.chunk * self.chunk)

    def finish(self, kinetic: Any, potential: Any, balance: Balance) -> None:
        self._put(self.rows - self.done)
        energies = {"kinetic": kinetic, "potential": potential, "inertia": kinetic + potential, **vars(balance)}
        for name, energy in energies.items():
            self._add(name, name, energy.dtype, (), self.rows)
            self.group[name][...] = np.asarray(energy)
        with warnings.catch_warnings():  # zarr notes that its third format has no standard for this yet
            warnings.simplefilter("ignore")
            import_zarr().consolidate_metadata(self.group.store)

    def _put(self, count: int) -> None:
        for called, parts in self._waiting.items():
            joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
            self.group[called][self.done : self.done + count] = joined[:count]
            self._waiting[called] = [joined[count:].copy()]
        self.done += count

    def _pairs(self, name: str, state: Any) -> zip:
        return zip(jax.tree.leaves(self._names[name]), jax.tree.leaves(state), strict=True)

    def _add(self, called: str, quantity: str, dtype: Any, shape: tuple[int, ...], chunk: int) -> None:
        self.group.create_array(
            called,
            shape=(self.rows, *shape),
            chunks=(chunk, *(max(n, 1) for n in shape)),
            dtype=dtype,
            fill_value=np.nan,
            dimension_names=("time", *(f"{called}_{i}" for i in range(len(shape)))),
            attributes=attributes_of(quantity),
            compressors=import_zarr().codecs.ZstdCodec(level=0, checksum=True),  # any reader sees a broken chunk
        )


def _namer(name: str) -> Any:
    """(path, leaf) -> what the leaf of a state is called in the store."""
    return lambda path, _: f"{name}.{name_of(path)}" if path else name
