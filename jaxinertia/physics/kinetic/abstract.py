"""What a kinetic energy is: K, and all that drifts, kicks and friction need to know of it."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ... import _tree
from ..._types import Position, Scalar


class AbstractKinetic(eqx.Module):
    r"""K(p), or K(q, p), with dq/dt = dK/dp. A subclass that defines `energy(momentum)` alone works everywhere.

    One that needs the place defines `energy_at(position, momentum)` and its own `drift`. The rest can be overridden
    where a closed form is better than what follows from K: the velocity is its gradient, a drift q + h grad K(p).

    Example:
        >>> class Quartic(ji.kinetic.AbstractKinetic):
        ...     def energy(self, momentum):
        ...         return momentum**2 / 2 + momentum**4 / 4
        >>> ji.System(ji.potentials.Quadratic(), damping=0.1, kinetic=Quartic())
    """

    def energy(self, momentum: Position) -> Scalar:
        """K(p), a scalar."""
        raise ValueError(f"kinetic = {type(self).__name__} defines neither energy(momentum) nor energy_at(q, p)")

    def energy_at(self, position: Position, momentum: Position) -> Scalar:
        """K(q, p), a scalar."""
        del position
        return self.energy(momentum)

    def velocity_at(self, position: Position, momentum: Position) -> Position:
        """v = dK/dp, like the momentum."""
        return jax.grad(lambda p: self.energy_at(position, p))(momentum)

    def mean_velocity(self, position: Position, before: Position, after: Position) -> Position:
        """A mean of the velocity with which K changes by exactly mean . (after - before) (Gonzalez)."""
        middle = jax.tree.map(lambda a, b: (a + b) / 2, before, after)
        change = jax.tree.map(jnp.subtract, after, before)
        velocity = self.velocity_at(position, middle)
        rest = self.energy_at(position, after) - self.energy_at(position, before) - _tree.dot(velocity, change)
        size = _tree.dot(change, change)
        share = jnp.where(size > 0, rest / jnp.where(size > 0, size, 1.0), 0.0)
        return _tree.add_scaled(velocity, share, change)

    def drift(self, position: Position, momentum: Position, h: Scalar) -> tuple[Position, Position]:
        """The flow of K alone over h: (position, momentum)."""
        return _tree.add_scaled(position, h, self.velocity_at(position, momentum)), momentum

    def slowed(self, friction: Scalar, momentum: Position) -> Position | None:
        """p(1) of dp/ds = -friction grad K(p), for a number, where that has a closed form: else None."""
        del friction, momentum
        return None

    def inverse_mass(self, momentum: Position) -> Any:
        """M^-1, a `shapes.Coefficient`, where K is quadratic; None where it is not, and where M is 1."""
        del momentum
        return None

    @property
    def is_euclidean(self) -> bool:
        """Whether the momentum is the velocity."""
        return False

    @property
    def is_quadratic(self) -> bool:
        """Whether the velocity is linear in the momentum, and the same everywhere."""
        return False

    @property
    def is_separable(self) -> bool:
        """Whether K does not ask for the place, so that two drifts in turn are one."""
        return type(self).energy_at is AbstractKinetic.energy_at

    @property
    def small_mass(self) -> Any:
        """The mass of small motions, a number or one a component; None where there is none such."""
        return None

    nonnegative: ClassVar[tuple[str, ...]] = ()
    """The fields that a fit keeps positive; all others may change sign, unless bounded."""

    def in_units(self, time: Any, length: Any) -> "AbstractKinetic":
        """The same energy where times are in units of `time` and positions in units of `length`."""
        return InUnits(self, time, length)

    def check(self, position: Position) -> Position:
        """The position, if K can be taken there; ValueError, or a run-time error where traced, if not."""
        given = eqx.filter_eval_shape(self.energy_at, position, position)
        if getattr(given, "shape", None) != () or not jnp.issubdtype(given.dtype, jnp.floating):
            raise ValueError(
                f"kinetic = {type(self).__name__}: the energy must be one float, got {given}; sum it over components"
            )
        return position

    def bound(self, position: Position) -> "AbstractKinetic":
        """The same K made ready for a run with positions like this one."""
        del position
        return self


class InUnits(AbstractKinetic):
    """An energy in other units: q = length x, p = (length / time) y, K' = (time / length)^2 K."""

    original: AbstractKinetic
    time: Any
    length: Any

    @property
    def is_separable(self) -> bool:
        return self.original.is_separable

    @property
    def small_mass(self) -> Any:
        return self.original.small_mass

    def in_units(self, time, length):
        return InUnits(self.original, self.time * time, self.length * length)

    def energy_at(self, position, momentum):
        return self.original.energy_at(*self._back(position, momentum)) * (self.time / self.length) ** 2

    def velocity_at(self, position, momentum):
        velocity = self.original.velocity_at(*self._back(position, momentum))
        return jax.tree.map(lambda v: v * (self.time / self.length), velocity)

    def drift(self, position, momentum, h):
        position, momentum = self.original.drift(*self._back(position, momentum), h * self.time)
        return (
            jax.tree.map(lambda q: q / self.length, position),
            jax.tree.map(lambda p: p * (self.time / self.length), momentum),
        )

    def _back(self, position, momentum):
        speed = self.length / self.time
        return jax.tree.map(lambda q: q * self.length, position), jax.tree.map(lambda p: p * speed, momentum)
