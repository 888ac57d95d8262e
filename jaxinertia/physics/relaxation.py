r"""The O sub-flow: friction and noise on the momentum over a time h, and what they take and give.

Every damping law makes its own map (`AbstractDamping.prepared`). Any law has a `Split` one, half its friction, the
noise, half its friction, which books what friction changed K by; a law that is linear in the momentum has an exact one
(`damping.Linear`), which books the expected dissipation given the start.

A map that asks for neither the time nor the place is an `AbstractConstantRelaxation`: the loop's tricks work with it.
"""

import abc
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _tree
from .._types import Position, Scalar


class Pushed(NamedTuple):
    """A momentum and a random force on it that has a memory; also their two standard normals times sqrt(h)."""

    momentum: Position
    force: Position


class AbstractRelaxation(eqx.Module):
    """The O sub-flow over one fixed time."""

    @abc.abstractmethod
    def __call__(self, state: Any, increment: Any, t: Scalar, position: Position) -> tuple[Any, Scalar]:
        """The state after it, and the friction to book.

        The state is the momentum, or `Pushed`; `increment` the Brownian increment that drives it, like the state; the
        relaxation starts at the time t, and the position rests meanwhile.
        """


class AbstractConstantRelaxation(AbstractRelaxation):
    """A map that is the same at every time and place, with what it takes known from the state before it."""

    @abc.abstractmethod
    def move(self, state: Any, increment: Any) -> Any:
        """The state after the relaxation."""

    @abc.abstractmethod
    def change(self, state: Any, increment: Any) -> Any:
        """What the relaxation adds to the state, with all its digits where that is little."""

    @abc.abstractmethod
    def loss(self, state: Any) -> Scalar:
        """Proportional to the expected dissipation without noise; `friction` knows the factor."""

    @abc.abstractmethod
    def friction(self, losses: Scalar, count: int) -> Scalar:
        """The booked friction of `count` relaxations whose `loss` values sum to `losses`."""

    def __call__(self, state: Any, increment: Any, t: Scalar, position: Position) -> tuple[Any, Scalar]:
        del t, position
        return self.moved(state, increment), self.friction(self.loss(state), 1)

    def moved(self, state: Any, increment: Any) -> Any:
        """`move`, in float32 by its `change`: 1 - e^{-gamma h} would be lost there."""
        if _tree.dtype(state) == jnp.float64:
            return self.move(state, increment)
        return jax.tree.map(jnp.add, state, self.change(state, increment))


class AbstractMemoryless(AbstractConstantRelaxation):
    """A constant map of the momentum alone, which without noise joins with the drifts and kicks beside it.

    `travel` and `flight` are time integrals of the momentum: where K is quadratic, its velocity of them is a way.
    """

    @abc.abstractmethod
    def travel(self, momentum: Position, h: Scalar) -> Position:
        """h times the relaxed momentum, without noise."""

    @abc.abstractmethod
    def flight(self, momentum: Position, h: Scalar) -> Position:
        """int_0^h p(s) ds while it relaxes, without noise, over the map's own time h."""

    @abc.abstractmethod
    def between_kicks(self) -> "AbstractMemoryless | None":
        """The same map, whose `loss` takes p0 + p1 around two equal kicks instead of the momentum between them.

        Whatever the kick, p0 + p1 = (1 + e^{-Gamma h}) p between them. None where that does not give p.
        """


class Split(AbstractRelaxation):
    """Half of a law's friction, the noise, half of its friction: of weak order 2. Without noise the friction alone.

    Friction books the change of K over each half, noise what is left: on average tr(K'' sigma sigma^T) h / 2.
    """

    damping: Any
    kinetic: Any
    random: Any
    h: Scalar

    def __init__(self, damping: Any, kinetic: Any, noise: Any, h: Scalar, momentum: Position):
        self.damping, self.kinetic, self.h = damping, kinetic, h
        self.random = None if noise is None else noise.alone(h, momentum)

    def __call__(self, state, increment, t, position):
        if self.random is None:
            return self._rub(state, self.h, t, position)
        state, first = self._rub(state, self.h / 2, t, position)
        state = self.random(state, increment)
        state, last = self._rub(state, self.h / 2, t + self.h / 2, position)
        return state, first + last

    def _rub(self, state, h, t, position):
        momentum = state.momentum if isinstance(state, Pushed) else state
        after = relaxed(self.damping, self.kinetic, h, t, position, momentum)
        # The change of K, which in float32 the difference of two K would lose.
        velocity = self.kinetic.mean_velocity(position, momentum, after)
        change = _tree.dot(velocity, jax.tree.map(jnp.subtract, after, momentum))
        return (state._replace(momentum=after) if isinstance(state, Pushed) else after), change


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
_NODES, _WEIGHTS = ((_NODES + 1) / 2).tolist(), (_WEIGHTS / 2).tolist()  # Python's floats promote no float32


def under_push(
    damping: Any, kinetic: Any, h: Scalar, t: Scalar, position: Position, momentum: Position, push: Position
) -> tuple[Position, Scalar, Position]:
    """Friction under a constant push at a resting position: dp/dt = push - friction over h from t.

    Returns (momentum, friction, distance): friction = -int f.v dt and distance = int v dt, by Gauss and Legendre's
    quadrature along the law's own map. Its weights are positive, so friction never gives.
    """

    def after(node):
        p = relaxed(damping, kinetic, node * h, t, position, momentum, push)
        v = kinetic.velocity_at(position, p)
        power = _tree.dot(damping.force_at(t + node * h, position, p, v), v)
        return p, jnp.asarray(power, _tree.dtype(momentum)), v

    # The nodes and the end at once: one copy of the law's map to compile.
    dtype = _tree.dtype(momentum)
    p, power, v = jax.vmap(after)(jnp.asarray([*_NODES, 1.0], dtype))
    weights = h * jnp.asarray(_WEIGHTS, dtype)
    distance = jax.tree.map(lambda v: jnp.tensordot(weights, v[:-1], 1), v)
    return jax.tree.map(lambda p: p[-1], p), -jnp.sum(weights * power[:-1]), distance


def relaxed(
    damping: Any,
    kinetic: Any,
    h: Scalar,
    t: Scalar,
    position: Position,
    momentum: Position,
    push: Position | None = None,
) -> Position:
    """The law's own map, in the momentum's precision: times may have a finer one."""
    after = damping.relaxation(kinetic, h, t, position, momentum, push)
    return jax.tree.map(lambda a, p: jnp.asarray(a, p.dtype), after, momentum)


def one_step(rate: Any, h: Scalar, t: Scalar, momentum: Position) -> Position:
    """p(h) of dp/dt = rate(t, p): two half steps of the classical Runge-Kutta method, extrapolated with a whole one.

    NaN where the two are further apart than a tenth of the momentum: the step is too long for this law.
    """
    whole = _runge_kutta(rate, h, t, momentum)
    halves = _runge_kutta(rate, h / 2, t + h / 2, _runge_kutta(rate, h / 2, t, momentum))
    error = jax.tree.map(jnp.subtract, halves, whole)
    size = jnp.maximum(_largest(momentum), _largest(halves))
    resolved = _largest(error) <= 0.1 * size
    return jax.tree.map(lambda p, e: jnp.where(resolved, p + e / 15, jnp.nan), halves, error)


def _largest(tree):
    return jnp.stack([jnp.max(jnp.abs(jax.lax.stop_gradient(x))) for x in jax.tree.leaves(tree)]).max()


def _runge_kutta(rate, h, t, p):
    first = rate(t, p)
    second = rate(t + h / 2, _tree.add_scaled(p, h / 2, first))
    third = rate(t + h / 2, _tree.add_scaled(p, h / 2, second))
    fourth = rate(t + h, _tree.add_scaled(p, h, third))
    slope = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, first, second, third, fourth)
    return _tree.add_scaled(p, h, slope)
