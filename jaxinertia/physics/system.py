"""The system: theta'' + Gamma theta' + grad L(theta) = F(t) + sigma dW/dt."""

from collections.abc import Callable, Hashable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _host, _tree
from .._checks import as_float, is_traced
from .._reads import reads
from .._shown import Card, Shown, module, shown
from .._types import ArrayLike, Position, Scalar
from .damping import AbstractDamping, Linear
from .kinetic import AbstractKinetic, Euclidean
from .noise import AbstractNoise, White
from .potentials import Rejoined, as_module, depends_on_time, refusing_numpy
from .relaxation import AbstractRelaxation
from .shapes import fits


class System(Shown, eqx.Module):
    r"""A mechanical system on a potential (the paper's Eq. 1 and 5), always a pytree.

    dq/dt = dK/dp,   dp = (-grad L - dK/dq - friction + F(t)) dt + sigma dW,   friction = gamma dK/dp or another law.

    Arguments:
        potential: L, any callable from a position (a pytree of float arrays) to a scalar, or a
            `potentials.TimeDependent`.
        damping: gamma >= 0 in units of one over time, as a number, an array or a pytree (see `damping.Linear`),
            or any law of `ji.damping` or your own (`damping.AbstractDamping`).
        noise: sigma, as a number or an array (see `noise.White`), any noise of `ji.noise` or your own, or None.
        kinetic: K, of `ji.kinetic` or your own; None means `kinetic.Euclidean()`, with which momentum is velocity.
        force: F, a callable from the time to a pytree like the position, or None.

    Raises:
        ValueError: if the potential or force is not callable, or gamma or sigma is invalid.

    Example:
        >>> system = ji.System(ji.potentials.Pendulum(2.0), damping=0.1)
        >>> traj = ji.simulate(system, np.linspace(0, 20, 201), 1.0, dt=0.01)

    Source: arXiv 2505.19171, Eq. 1, 2 and 5.
    """

    potential: Callable
    damping: AbstractDamping
    noise: AbstractNoise | None
    kinetic: AbstractKinetic
    force: Callable | None
    read: Hashable = eqx.field(static=True, init=False)  # from outside, when a run began; of a user's system ()

    def __init__(
        self,
        potential: Callable,
        damping: ArrayLike = 0.0,
        noise: ArrayLike | None = None,
        kinetic: AbstractKinetic | None = None,
        force: Callable | None = None,
    ):
        if not callable(potential):
            raise ValueError(
                f"potential must be callable, got {shown(potential)}; pass ji.potentials.X(...) or a function"
            )
        if force is not None and not callable(force):
            raise ValueError(f"force must be a function of time, got {shown(force)}; for a constant F pass lambda t: F")
        if kinetic is not None and not isinstance(kinetic, AbstractKinetic):
            raise ValueError(f"kinetic must be a ji.kinetic energy, got {shown(kinetic)}; pass ji.kinetic.Euclidean()")
        _check_law("damping", damping, AbstractDamping, ("force", "force_at"))
        _check_law("noise", noise, AbstractNoise, ("push",))
        self.potential = as_module("potential", potential, *(() if depends_on_time(potential) else ("position",)))
        self.damping = _numbers_as_arrays(damping) if isinstance(damping, AbstractDamping) else Linear(damping)
        self.noise = _numbers_as_arrays(noise) if isinstance(noise, AbstractNoise) or noise is None else White(noise)
        self.kinetic = Euclidean() if kinetic is None else _numbers_as_arrays(kinetic)
        self.force = None if force is None else as_module("force", force, "t")
        self.read = ()

    def level(self, position: Position, t: Scalar | None = None) -> Scalar:
        """L(q), or L(q, t) where the potential depends on time."""
        if not self.moves_with_time:
            return self.potential(position)
        if t is None:
            raise ValueError("t is None, but the potential depends on time; pass the time t=")
        return self.potential(position, t)

    def gradient(self, position: Position, t: Scalar | None = None) -> Position:
        """grad L, like the position."""
        return jax.grad(self.level)(position, t)

    def drive(self, t: Scalar, position: Position) -> Position:
        """F(t), cast and broadcast to the position."""
        return jax.tree.map(lambda f, q: jnp.broadcast_to(jnp.asarray(f, q.dtype), q.shape), self.force(t), position)

    def relaxation(self, h: Scalar, momentum: Position) -> AbstractRelaxation:
        """The O sub-flow over h, friction and noise: what can be computed once for a run is."""
        return self.damping.prepared(self.kinetic, self.noise, h, momentum)

    def without_noise(self) -> "System":
        """The same system with noise=None."""
        return eqx.tree_at(lambda s: s.noise, self, None, is_leaf=lambda x: x is None)

    def reading(self, *others: Any) -> "System":
        """The system with what its functions, and these, read now: no program that they made of other numbers is its
        own."""
        return _with(self, read=reads(self.potential, self.damping, self.noise, self.kinetic, self.force, *others))

    def without_read(self) -> "System":
        """The system as a user makes one."""
        return _with(self, read=())

    def _card(self) -> Card:
        parts = {"potential": self.potential, "damping": self.damping, "noise": self.noise, "kinetic": self.kinetic}
        if self.force is not None:
            parts["force"] = self.force
        return Card("System", [(name, "none" if part is None else module(part)) for name, part in parts.items()])

    @property
    def moves_with_time(self) -> bool:
        """Whether the potential depends on time."""
        return depends_on_time(self.potential)

    @property
    def asks_for_time(self) -> str:
        """Who is told the time, in words; "" where nobody is."""
        who = {
            "force": self.force is not None,
            "potential": self.moves_with_time,
            "damping": self.damping.asks_for_time,
        }
        return " and ".join(name for name, asks in who.items() if asks)

    @property
    def takes_work(self) -> bool:
        """Whether something outside can do work: a force, or a potential that depends on time."""
        return self.force is not None or self.moves_with_time

    @property
    def is_frictionless(self) -> bool:
        """Whether friction is known, now, to be zero."""
        return self.damping.is_zero

    @property
    def is_quiet(self) -> bool:
        """Whether there is no noise, or it is known, now, to be zero."""
        return self.noise is None or self.noise.is_zero


def _with(system: System, **changed: Any) -> System:
    """A copy of which nothing else differs."""
    copy = object.__new__(System)
    for name, value in (vars(system) | changed).items():
        object.__setattr__(copy, name, value)
    return copy


def _of_arrays(system: System) -> System:
    """The system, also where someone put Python floats in place of its laws' arrays."""
    laws = {name: getattr(system, name) for name in ("damping", "noise", "kinetic")}
    if not any(isinstance(x, float) for x in jax.tree.leaves(laws)):
        return system
    return _with(system, **{name: _numbers_as_arrays(law) for name, law in laws.items()})


def prepare(system: System, position: Any, momentum: Any = None) -> tuple[System, Position, Position, Any]:
    """Bring a system and a state to one dtype, float32 or finer, and part what moves from what does not.

    Numbers and arrays move; of an Equinox module its inexact array leaves do, and the rest is put back before
    the potential is called. Returns (system, position, momentum, rest).

    Raises:
        ValueError: if nothing moves, the momentum does not match the position, a number is complex, or the
            potential does not return a scalar.
    """
    check_system(system)
    system = _of_arrays(system).reading()
    position = as_arrays("position", position)
    moving, rest = eqx.partition(position, eqx.is_inexact_array)
    leaves = jax.tree.leaves(moving)
    if not leaves or not _tree.size(moving):
        raise ValueError(f"position has no float array that could move, got {shown(position)}; pass an array of floats")
    # Leaves of several precisions move in the finest; a step in float16 or bfloat16 would be lost in the position.
    dtype = jnp.promote_types(_tree.dtype(moving), jnp.float32)
    moving = _tree.cast(moving, dtype)
    if momentum is None:
        momentum = _host.zeros_like(moving)
    else:
        momentum = _match_momentum(as_arrays("momentum", momentum), moving)
    _check_finite("position", moving)
    _check_finite("momentum", momentum)
    system = eqx.tree_at(_force_of, _tree.cast(system, dtype), system.force, is_leaf=lambda x: x is None)
    if jax.tree.leaves(rest):
        system = eqx.tree_at(lambda s: s.potential, system, Rejoined(system.potential, rest))
    _check_scalar(system, moving)
    _check_force(system, moving)
    for part in (system.damping, system.kinetic, system.noise):
        moving = moving if part is None else part.check(moving)
    return bind(system, moving), moving, momentum, rest


def bind(system: System, position: Position) -> System:
    """The system with a kinetic energy ready for the run, and a damping that knows the system."""
    system = eqx.tree_at(lambda s: s.kinetic, system, system.kinetic.bound(position))
    return eqx.tree_at(lambda s: s.damping, system, system.damping.bound(system))


def vary_alike(
    system: System, position: Position, momentum: Position, *others: Any
) -> tuple[System, Position, Position]:
    """The same; inside `jax.shard_map` all vary over the mesh axes that one of them, or of the others, varies over.

    Also over those of what a potential or a force has closed over, which shows in what they return.
    """

    def everything():
        t = jnp.zeros((), _tree.dtype(position))
        velocity = system.kinetic.velocity_at(position, momentum)
        returned = [system.level(position, t), system.damping.force_at(t, position, momentum, velocity), velocity]
        if system.force is not None:
            returned.append(system.force(t))
        return system, position, momentum, others, returned

    return _tree.vary_alike((system, position, momentum), everything)


def _force_of(system: System) -> Any:
    """What keeps its own precision: it may hold times. What it returns is cast to the position's."""
    return system.force


def as_arrays(name: str, tree: Any) -> Any:
    """Numbers, and lists of numbers, as float arrays; NumPy arrays inside Equinox modules as JAX arrays."""

    def leaf(x):
        if isinstance(x, eqx.Module) or x is None:
            return jax.tree.map(lambda y: jnp.asarray(y) if isinstance(y, np.ndarray) else y, x)
        return as_float(name, x)

    if isinstance(tree, list) and not any(hasattr(x, "dtype") for x in jax.tree.leaves(tree)):
        return as_float(name, tree)
    return jax.tree.map(leaf, tree, is_leaf=lambda x: isinstance(x, eqx.Module))


def _match_momentum(momentum: Any, position: Position) -> Position:
    momentum = eqx.filter(momentum, eqx.is_inexact_array)
    pairs = zip(jax.tree.leaves(momentum), jax.tree.leaves(position), strict=False)
    if not _tree.same_structure(momentum, position) or any(p.shape != q.shape for p, q in pairs):
        raise ValueError(
            f"momentum has the shapes {_tree.shapes(momentum)}, the position {_tree.shapes(position)}; "
            "pass a momentum shaped like the position, or None to start at rest"
        )
    return jax.tree.map(lambda p, q: jnp.asarray(p, q.dtype), momentum, position)


def check_system(system: Any) -> None:
    """ValueError unless a System."""
    if not isinstance(system, System):
        raise ValueError(f"system must be a ji.System, got {shown(system)}; wrap the potential: ji.System(potential)")


def _numbers_as_arrays(law: Any) -> Any:
    """The law with its Python floats as arrays: they are numbers that a fit may free, and no part of the program."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, law)


def _check_force(system: System, position: Position) -> None:
    if system.force is None:
        return
    force = system.force
    out = eqx.filter_eval_shape(lambda t: jax.tree.map(jnp.asarray, force(t)), _host.put(0.0, _tree.dtype(position)))
    if any(jnp.issubdtype(f.dtype, jnp.complexfloating) for f in jax.tree.leaves(out)):
        raise ValueError(f"force returns complex numbers, {out}; take the real part")
    pairs = zip(jax.tree.leaves(out), jax.tree.leaves(position), strict=False)
    if not _tree.same_structure(out, position) or not all(fits(f.shape, q.shape) for f, q in pairs):
        raise ValueError(f"force returns {out}, which does not fit the position {_tree.shapes(position)}; match it")


def _check_finite(name: str, state: Position) -> None:
    for leaf in jax.tree.leaves(state):
        if not is_traced(leaf) and not np.all(np.isfinite(np.asarray(leaf))):
            raise ValueError(f"{name} has a NaN or inf: {shown(leaf)}; start from finite numbers")


def _check_law(name: str, value: Any, kind: type, methods: tuple[str, ...]) -> None:
    """ValueError for what is no such law, but would run as another where it is a pytree of numbers."""
    if isinstance(value, type):
        raise ValueError(f"{name} = {value.__name__} is a class: make one, {value.__name__}(...)")
    if isinstance(value, kind):
        return
    has = next((method for method in methods if callable(getattr(value, method, None))), None)
    if has is not None:
        raise ValueError(
            f"{name} = {type(value).__name__} has a {has}, but is no law: let it subclass ji.{name}.{kind.__name__}"
        )
    if isinstance(value, (AbstractDamping, AbstractNoise, AbstractKinetic)):
        raise ValueError(f"{name} = {type(value).__name__} is no {name}; pass one of ji.{name}, or a number")
    if callable(value) and not jax.tree.leaves(eqx.filter(value, eqx.is_inexact_array)):
        raise ValueError(
            f"{name} = {shown(value)} is a function; a law is a class with {methods[0]}: see ji.{name}.{kind.__name__}"
        )


def _check_scalar(system: System, position: Position) -> None:
    with refusing_numpy("potential"):
        out = eqx.filter_eval_shape(system.level, position, _host.put(0.0, _tree.dtype(position)))
    if getattr(out, "shape", None) != () or not jnp.issubdtype(out.dtype, jnp.floating):
        raise ValueError(
            f"potential must return one float, got {out}; sum it over components, e.g. lambda x: jnp.sum(x**2) / 2"
        )
