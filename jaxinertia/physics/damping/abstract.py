"""What a damping law is: a friction force, and all that the O sub-step needs to know of it."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ... import _host, _tree
from ..._checks import is_zero
from ..._types import Position, Scalar
from ..relaxation import AbstractRelaxation, Split, one_step
from ..shapes import Coefficient


class AbstractDamping(eqx.Module):
    r"""Friction: dp/dt = -force. A subclass that defines `force(velocity)` alone works in every word and solver.

    One that asks for more defines `force_at(t, position, momentum, velocity)`. Its O sub-step then is a fourth-order
    one-step method on dp/dt = -force, position at rest, and friction books what K changed by; words of order four
    keep their order, those of order six need the law's own map. With noise the sub-step is half the friction, the
    noise, half the friction, of weak order 2. A step too long for the one-step method gives NaN.

    A law that knows its own map overrides `relaxation(kinetic, h, t, position, momentum, push=None)`: the momentum
    after the time h from t of dp/dt = push - force, with the position at rest, and with `super().relaxation(...)`
    for any kinetic energy (or push) that it has no closed form for. All else is optional.

    Example:
        >>> class Cubic(ji.damping.AbstractDamping):
        ...     gamma: float
        ...     c: float
        ...     def force(self, velocity):
        ...         return (self.gamma + self.c * velocity**2) * velocity
        >>> ji.System(ji.potentials.Quadratic(), damping=Cubic(0.1, 0.5))
    """

    def force(self, velocity: Position) -> Position:
        """The friction force is the negative of this. Shaped like the velocity."""
        raise ValueError(
            f"damping = {type(self).__name__} has no force(velocity) of its own: define it, or use "
            "force_at(t, position, momentum, velocity)"
        )

    def force_at(self, t: Scalar, position: Position, momentum: Position, velocity: Position) -> Position:
        """The same where the force asks for the time, the place or the momentum."""
        del t, position, momentum
        return self.force(velocity)

    def relaxation(
        self, kinetic: Any, h: Scalar, t: Scalar, position: Position, momentum: Position, push: Position | None = None
    ) -> Position:
        """The momentum after the time h from t of dp/dt = push - force, the position at rest; no push is zero."""

        def rate(t, p):
            force = self.force_at(t, position, p, kinetic.velocity_at(position, p))
            if push is None:
                return jax.tree.map(lambda f, p: (-f).astype(p.dtype), force, p)
            return jax.tree.map(lambda a, f: (a - f).astype(a.dtype), push, force)

        return one_step(rate, h, t, momentum)

    def prepared(self, kinetic: Any, noise: Any, h: Scalar, momentum: Position) -> AbstractRelaxation:
        """The O map over the time h, noise included: what can be computed once for a run is."""
        return Split(self, kinetic, noise, h, momentum)

    def constant_gamma(self, like: Position) -> Coefficient | None:
        """Gamma laid out, where the force is Gamma v with a constant symmetric Gamma; else None."""
        del like
        return None

    def shrinks(self, kinetic: Any, like: Position) -> Scalar | None:
        """gamma, where with this K the force is gamma p with one constant number: p -> e^{-gamma h} p; else None."""
        del kinetic, like
        return None

    @property
    def asks_for_time(self) -> bool:
        """Whether the force may depend on the time: where `force_at` is the law's own."""
        return type(self).force_at is not AbstractDamping.force_at

    @property
    def is_linear(self) -> bool:
        """Whether the force is Gamma v with a constant symmetric Gamma."""
        return False

    @property
    def turns(self) -> bool:
        """Whether a part of the force does no work, as a gyroscopic one: the motion has it without friction too."""
        return False

    @property
    def linear_part(self) -> Position | None:
        """The force over the velocity of small motions, for a unit mass; None where there is none such."""
        return None

    @property
    def strength(self) -> Any:
        """Numbers that are all zero where there is no friction, or None where a law has none such."""
        return None

    @property
    def is_zero(self) -> bool:
        """Whether there is known, now, to be no friction."""
        return self.strength is not None and is_zero(self.strength)

    invertible: ClassVar[bool] = False
    """Whether its map runs backwards in time too: not where it stops, or blows up there in a finite time."""

    def composes(self, kinetic: Any) -> bool:
        """Whether words of high order are for it: its map with this K is exact, smooth, little work, and runs backwards
        over a short time."""
        del kinetic
        return False

    nonnegative: ClassVar[tuple[str, ...]] = ()
    """The fields that a fit keeps positive; all others may change sign, unless bounded."""

    skew: ClassVar[tuple[str, ...]] = ()
    """The fields that are skew matrices, which a fit keeps so."""

    def likely(self, gamma: Any, speed: Any = None, mass: Any = 1.0) -> dict[str, Any]:
        """Values of fields that would damp a mass about as gamma does (at this speed, if given): where a fit may start.

        A field of a law within has its path for a name, such as "laws[0].linear".
        """
        del gamma, speed, mass
        return {}

    def decay(self, mass: Any) -> Any:
        """gamma of x'' + gamma x' + ... = 0, of small motions of such a mass; None where there is none such."""
        return None if self.linear_part is None else jax.tree.map(lambda x: x / mass, self.linear_part)

    def in_units(self, origin: Any, time: Any, length: Any) -> "AbstractDamping":
        """The same law where t = origin + time s and q = length x."""
        return InUnits(self, origin, time, length)

    def refuses(self, kinetic: Any, momentum: Position, pushed: bool) -> str | None:
        """Why `relaxation` cannot run with this kinetic energy (pushed or not), and the remedy; None if it can."""
        del kinetic, momentum, pushed
        return None

    @property
    def sticks(self) -> bool:
        """Whether it holds what is at rest against a push: of several laws, one such takes the push of the letter F."""
        return False

    def check(self, position: Position) -> Position:
        """The position, if the law can act there; ValueError, or a run-time error where traced, if not."""
        t = _host.put(0.0, _tree.dtype(position))
        given = jax.eval_shape(lambda q: jax.tree.map(jnp.asarray, self.force_at(t, q, q, q)), position)
        if not _tree.same_structure(given, position) or _tree.shapes(given) != _tree.shapes(position):
            raise ValueError(
                f"damping = {type(self).__name__}: the force has the shapes {_tree.shapes(given)} for a velocity of "
                f"{_tree.shapes(position)}; it must be like the velocity"
            )
        return position

    def check_backwards(self, position: Position) -> Position:
        """The same for sub-steps that run backwards in time: ValueError for a law that comes to rest and stays."""
        return position

    def bound(self, system: Any) -> "AbstractDamping":
        """The same law, with what it needs of its system."""
        del system
        return self


class InUnits(AbstractDamping):
    """A law in other units: t = origin + time s, q = length x, p = (length / time) y."""

    law: AbstractDamping
    origin: Any
    time: Any
    length: Any

    def force_at(self, t, position, momentum, velocity):
        speed = self.length / self.time
        place, p, v = (_scaled(x, by) for x, by in ((position, self.length), (momentum, speed), (velocity, speed)))
        return _scaled(self.law.force_at(self._at(t), place, p, v), self.time / speed)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        speed = self.length / self.time
        place, p = _scaled(position, self.length), _scaled(momentum, speed)
        push = None if push is None else _scaled(push, speed / self.time)
        relaxed = self.law.relaxation(self._back(kinetic), h * self.time, self._at(t), place, p, push)
        return _scaled(relaxed, 1 / speed)

    @property
    def linear_part(self):
        part = self.law.linear_part
        return None if part is None else _scaled(part, self.time)

    @property
    def strength(self) -> Any:
        return self.law.strength

    @property
    def sticks(self) -> bool:
        return self.law.sticks

    def refuses(self, kinetic, momentum, pushed):
        return self.law.refuses(self._back(kinetic), momentum, pushed)

    def check_backwards(self, position):
        return self.law.check_backwards(position)

    @property
    def turns(self) -> bool:
        return self.law.turns

    def composes(self, kinetic: Any) -> bool:
        return self.law.composes(self._back(kinetic))

    def bound(self, system):
        if type(self.law).bound is not AbstractDamping.bound:
            raise ValueError(
                f"damping = {type(self.law).__name__} has a bound(system), but no in_units(origin, time, length) of "
                "its own: define it, so that the law can follow a system in other units"
            )
        return self

    def _back(self, kinetic):
        return kinetic.in_units(1 / self.time, 1 / self.length)

    def _at(self, t):
        return self.origin + self.time * t


def _scaled(tree, by):
    return jax.tree.map(lambda x: jnp.asarray(x * by, x.dtype), tree)
