"""What a simulation returns: the path, its energies, and where the energy went."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .. import _files, _origin
from .._checks import is_traced
from .._shown import Card, Shown
from .._types import Position
from ..energy.balance import Balance
from ..physics.system import as_arrays
from . import cards, tables
from .clock import as_given
from .events import EventState

_VERSION = 1
_IS_VELOCITY = "momentum_is_velocity"


class Trajectory(Shown, eqx.Module):
    """States and energies at the output times, leading axis len(ts); I = K + L and its balance close to rounding.

    Attributes:
        ts: output times, shape (times,).
        position, momentum: pytrees like the initial position, each leaf with a leading axis of times; of a run with
            `store=` they are Zarr's arrays, which give what is sliced of them.
        kinetic, potential: K and L, shape (times,); `inertia` is their sum, the paper's I.
        balance: cumulative friction, noise, work and discretization, each (times,); their sum is inertia - inertia[0].
        event_time: the time at which the `event` stopped the run; later rows are NaN. inf if it did not happen, NaN if
            the run failed before; None without an event.
        event_position, event_momentum: the state at that time, without an axis of times; NaN if the event did not
            happen.
        momentum_is_velocity: whether grad K(p) = p; None where that is not known, as of a file of an earlier release.
    """

    ts: Float[Array | np.ndarray, " *runs times"]
    position: PyTree
    momentum: PyTree
    kinetic: Float[Array | np.ndarray, " *runs times"]
    potential: Float[Array | np.ndarray, " *runs times"]
    balance: Balance
    event_time: Float[Array | np.ndarray, " *runs"] | None = None
    event_position: PyTree | None = None
    event_momentum: Position | None = None
    momentum_is_velocity: bool | None = eqx.field(static=True, default=None)

    @property
    def event_state(self) -> EventState | None:
        """(time, position, momentum) where the `event` stopped the run, from which to go on; None without an event.

        Example:
            >>> time, position, momentum = traj.event_state                     # a ball at the floor
            >>> ji.simulate(system, time + ts, position, -0.8 * momentum, dt=0.01, event=event)
        """
        if self.event_time is None:
            return None
        return EventState(self.event_time, self.event_position, self.event_momentum)

    @property
    def inertia(self) -> Float[Array | np.ndarray, " *runs times"]:
        """I = K + L, shape (times,): the paper's Eq. 2."""
        known = _origin.known_sum(self.kinetic, self.potential)
        return _origin.derived(self.kinetic + self.potential if known is None else known, "inertia", self.kinetic)

    @property
    def velocity(self) -> PyTree:
        """grad K(p), like the momentum: with the Euclidean kinetic energy, the momentum itself.

        Raises:
            ValueError: with another kinetic energy, which a trajectory does not hold: it says how to ask the system.

        Example:
            >>> speed = np.linalg.norm(traj.velocity, axis=-1)
        """
        if self.momentum_is_velocity:
            return self.momentum
        why = "is not the Euclidean one" if self.momentum_is_velocity is False else "is not known"
        raise ValueError(
            f"velocity is grad K(p), and the kinetic energy of this trajectory {why}: ask the system that ran, with "
            "jax.vmap(system.kinetic.velocity_at)(traj.position, traj.momentum)"
        )

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` of positions, momenta, energies and the balance over the dimension "time".

        Names, `long_name` and `units` are those of `Sweep.to_xarray`. Runs that came out of `jax.vmap` have a dimension
        "run", and "time" as their coordinate where all have the same times (else "ts").

        Raises:
            ValueError: if xarray is not installed, inside jit or vmap, or of a run that went to a store.

        Example:
            >>> traj.to_xarray().inertia.sel(time=5.0, method="nearest")
        """
        return tables.to_xarray(self)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the times as its index, and a column for each component, energy and account.

        Runs that came out of `jax.vmap` are rows below each other, with (run, time) as the index.

        Raises:
            ValueError: if pandas is not installed, inside jit or vmap, or of a run that went to a store.

        Example:
            >>> traj.to_pandas()["inertia"].plot()
        """
        return tables.to_pandas(self)

    def _card(self) -> Card | None:
        return cards.of_trajectory(self)

    def note_origin(self, ts: Any) -> "Trajectory":
        """Itself; a sweep that watches learns which arrays are this trajectory's, at the times ts."""
        known = None if is_traced(ts) else np.asarray(ts, float)
        _origin.note(self.ts, "ts", known)
        for name in ("kinetic", "potential"):
            _origin.note(getattr(self, name), name, known)
        for name in Balance.__annotations__:
            _origin.note(getattr(self.balance, name), name, known)
        for name in ("position", "momentum"):
            for leaf in jax.tree.leaves(eqx.filter(getattr(self, name), eqx.is_inexact_array)):
                _origin.note(leaf, name, known)
        return self

    def save(self, path: str | Path) -> Path:
        """Write to a NumPy .npz file (no pickle); the suffix is added if missing. Returns the path written.

        Raises:
            ValueError: inside jit or vmap, where there are no numbers to write yet, for a run that went to a store, or
                if the path cannot be written.
        """
        if any(hasattr(leaf, "store") for leaf in jax.tree.leaves((self.position, self.momentum))):
            raise ValueError("trajectory has its positions in a store already: copy that, or save what you slice of it")
        leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(self, eqx.is_array))
        if any(isinstance(leaf, jax.core.Tracer) for _, leaf in leaves):
            raise ValueError("trajectory is traced (inside jit or vmap): return it from there, then save it")
        arrays: dict[str, Any] = {_name(key): np.asarray(leaf) for key, leaf in leaves}
        if self.momentum_is_velocity is not None:
            arrays[_IS_VELOCITY] = np.asarray(self.momentum_is_velocity)
        return _files.write(path, "trajectory", _VERSION, arrays)

    @classmethod
    def load(cls, path: str | Path, like: Any = None) -> "Trajectory":
        """Read what `save` wrote.

        Arguments:
            path: the .npz file.
            like: a position with the structure that was simulated. Not needed where it was one array or (nested)
                dicts of arrays.

        Raises:
            ValueError: if the file is missing, damaged or not a saved trajectory, its fields do not match each other,
                or `like` has other leaves.
        """
        with _files.opened(path, "trajectory", (_VERSION,)) as file:
            arrays = read_arrays(file)
        return cls.of_arrays(arrays, like)

    @classmethod
    def of_arrays(cls, arrays: dict[str, Any], like: Any = None) -> "Trajectory":
        """A trajectory from its arrays by name, such as "position" and "balance.friction"; like as for `load`."""
        state = {name: _state(arrays, name, like) for name in ("position", "momentum")}
        balance = Balance(**{k: jnp.asarray(arrays[f"balance.{k}"]) for k in Balance.__annotations__})
        for name in ("event_position", "event_momentum"):
            if any(_belongs(key, name) for key in arrays):
                state[name] = _state(arrays, name, like)
        rest = {k: jnp.asarray(arrays[k]) for k in ("kinetic", "potential", "event_time") if k in arrays}
        known = bool(arrays[_IS_VELOCITY]) if _IS_VELOCITY in arrays else None
        ts = as_given(arrays["ts"], arrays["ts"])
        return cls(ts=ts, balance=balance, momentum_is_velocity=known, **state, **rest)


def read_arrays(file: _files.Archive, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of one trajectory, for `Trajectory.of_arrays`.

    Raises ValueError, before memory is taken, unless they are real numbers of the shapes that belong together; and for
    times that do not increase.
    """
    times = file.expect(f"{prefix}ts", _files.REAL).shape
    if not times:
        raise file.refuse(f"{prefix}ts", "has the shape (), and needs an axis of times")
    names = {"kinetic": times, "potential": times} | {f"balance.{name}": times for name in Balance.__annotations__}
    for name, shape in names.items():
        file.expect(prefix + name, _files.FLOAT, shape)
    if f"{prefix}event_time" in file.fields:
        file.expect(f"{prefix}event_time", _files.FLOAT, times[:-1])
    states = _check_state(file, prefix, "", times)
    if any(_belongs(key, f"{prefix}event_position") for key in file.fields):
        states += _check_state(file, prefix, "event_", times[:-1])
    wanted = ["ts", *names, *states, *(["event_time"] if f"{prefix}event_time" in file.fields else [])]
    if prefix + _IS_VELOCITY in file.fields:
        file.expect(prefix + _IS_VELOCITY, "b", ())
        wanted.append(_IS_VELOCITY)
    arrays = {name: file.array(prefix + name) for name in wanted}
    rises = np.isfinite(arrays["ts"]).all(-1) & (np.diff(arrays["ts"]) > 0).all(-1)
    # A point of a sweep whose times made no sense has failed: its energies are NaN.
    if not np.all(rises | ((len(times) > 1) & ~np.isfinite(arrays["kinetic"]).all(-1))):
        raise file.refuse(f"{prefix}ts", "does not increase throughout, as finite times")
    return arrays


def _check_state(file: _files.Archive, prefix: str, kind: str, leading: tuple[int, ...]) -> list[str]:
    """The fields of the positions and momenta of a kind, "" or "event_", which share these leading axes.

    ValueError unless each position that moves has its momentum.
    """
    names = [key.removeprefix(prefix) for key in file.fields if key.startswith(prefix)]
    positions = [name for name in names if _belongs(name, f"{kind}position")]
    momenta = {name for name in names if _belongs(name, f"{kind}momentum")}
    moving = []
    for name in positions:
        kinds = _files.REAL + "b"  # a model's buffers are whole numbers, without times
        if file.expect(prefix + name, kinds).dtype.kind == "f":
            moving.append(name)
            shape = file.expect(prefix + name, kinds, leading, more=True).shape
            file.expect(prefix + _momentum_of(name), _files.FLOAT, shape)
    if not moving:
        raise file.refuse(f"{prefix}{kind}position", "is missing")
    if extra := sorted(momenta - {_momentum_of(name) for name in moving}):
        raise file.refuse(f"{prefix}{extra[0]}", "has no position beside it")
    return [*positions, *sorted(momenta)]


def _momentum_of(name: str) -> str:
    return name.replace("position", "momentum", 1)


def _name(key) -> str:
    return jax.tree_util.keystr(key).removeprefix(".")


def _state(arrays: dict[str, np.ndarray], name: str, like: Any) -> Any:
    found = {key.removeprefix(name): jnp.asarray(x) for key, x in arrays.items() if _belongs(key, name)}
    if like is None:
        return _nested(name, found)
    # A position is saved with its buffers of whole numbers; a momentum has None there.
    kept = eqx.is_array if name.endswith("position") else eqx.is_inexact_array
    moving, rest = eqx.partition(as_arrays("like", like), kept)
    names = [jax.tree_util.keystr(key) for key, _ in jax.tree_util.tree_leaves_with_path(moving)]
    if sorted(names) != sorted(found):
        raise ValueError(f"like has the leaves {sorted(names)}, the file {sorted(found)}; pass the position simulated")
    leaves = jax.tree.unflatten(jax.tree.structure(moving), [found[key] for key in names])
    return eqx.combine(leaves, rest) if name.endswith("position") else leaves


def _belongs(key: str, name: str) -> bool:
    return key == name or key.startswith((f"{name}[", f"{name}."))


def _nested(name: str, found: dict[str, Array]) -> Any:
    if set(found) == {""}:
        return found[""]
    tree: dict[str, Any] = {}
    for key, value in found.items():
        parts = key.removeprefix("['").removesuffix("']").split("']['")
        if not (key.startswith("['") and key.endswith("']")) or any("]" in part for part in parts):
            raise ValueError(
                f"{name} was not one array or dicts of arrays ({key!r}); pass like=, a position of its structure"
            )
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node[parts[-1]] = value
    return tree
