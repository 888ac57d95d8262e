"""What a noise is: a random force on the momentum, and all that the O sub-step needs to know of it."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ... import _tree
from ..._checks import is_zero
from ..._types import Key, Position, Scalar
from ..shapes import Coefficient


class AbstractNoise(eqx.Module):
    r"""A random force on the momentum, dp = ... + sigma dW. A subclass that defines `push(increment)` alone, linear in
    dW, runs in every word with an O.

    One that defines `amplitude(like)` too, the number, array or matrix sigma, has an exact O sub-step with linear
    friction, and runs in diffrax's stochastic solvers.

    Example:
        >>> class Along(ji.noise.AbstractNoise):
        ...     direction: jax.Array
        ...     def push(self, increment):
        ...         return self.direction * (self.direction @ increment)
    """

    law: ClassVar[str] = "gaussian"
    remembers: ClassVar[bool] = False  # whether it is a force with a memory, carried beside the momentum

    def push(self, increment: Position) -> Position:
        """sigma dW for the Brownian increment dW; both are like the momentum."""
        raise ValueError(f"noise = {type(self).__name__} defines no push(increment), which gives sigma dW")

    def amplitude(self, like: Position) -> Coefficient | None:
        """sigma laid out for a momentum, where it is known as a number, an array or a matrix; else None."""
        del like
        return None

    def alone(self, h: Scalar, momentum: Position) -> Callable[[Any, Any], Any]:
        """(state, increment) -> state after the time h under the noise alone."""
        del h, momentum
        return lambda state, increment: jax.tree.map(jnp.add, state, self.push(increment))

    nonnegative: ClassVar[tuple[str, ...]] = ()
    """The fields that a fit keeps positive; all others may change sign, unless bounded."""

    def likely(self, sigma: Any) -> dict[str, Any]:
        """Values of fields that would push about as the amplitude sigma does: where a fit may start."""
        del sigma
        return {}

    def in_units(self, time: Any, length: Any) -> "AbstractNoise":
        """The same noise where times are in units of `time` and positions in units of `length`."""
        return InUnits(self, time, length)

    def joint(self, gamma: Coefficient, h: Scalar, momentum: Position) -> Any:
        """The exact map of linear friction and a noise that remembers."""
        raise ValueError(f"noise = {type(self).__name__} has no exact map with friction")

    def begin(self, momentum: Position, key: Key | None) -> Position | None:
        """The force that the noise starts with, where it remembers."""
        del momentum, key
        return None

    def forgotten(self, force: Position) -> Position:
        """d(force)/dt without the noise, where it remembers."""
        raise ValueError(f"noise = {type(self).__name__} remembers, but does not say how its force fades")

    @property
    def strength(self) -> Any:
        """Numbers that are all zero where there is no noise, or None where a noise has none such."""
        return None

    @property
    def is_zero(self) -> bool:
        """Whether the force is known, now, to vanish."""
        return self.strength is not None and is_zero(self.strength)

    def check(self, position: Position) -> Position:
        """The position, if the noise fits it; ValueError if not."""
        given = eqx.filter_eval_shape(self.push, position)
        if not _tree.same_structure(given, position) or _tree.shapes(given) != _tree.shapes(position):
            raise ValueError(
                f"noise = {type(self).__name__}: push gives {_tree.shapes(given)} for an increment of the shapes "
                f"{_tree.shapes(position)}; it must be like the position"
            )
        return position


class InUnits(AbstractNoise):
    """A white noise in other units: sigma' = sigma time^1.5 / length."""

    noise: AbstractNoise
    time: Any
    length: Any

    def push(self, increment):
        return jax.tree.map(lambda x: x * (self.time**1.5 / self.length), self.noise.push(increment))

    def amplitude(self, like):
        sigma = self.noise.amplitude(like)
        if sigma is None:
            return None
        return sigma._replace(value=jax.tree.map(lambda x: x * (self.time**1.5 / self.length), sigma.value))

    @property
    def strength(self) -> Any:
        return self.noise.strength
