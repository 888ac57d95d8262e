"""What a step carries: a point in phase space, and the accounts of its energy."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from ..physics.system import System, prepare


class Phase(eqx.Module):
    """A point in phase space with its cumulative energy accounts: diffrax's y.

    noise and work are None where the system has no noise or no force.
    """

    position: Position
    momentum: Position
    friction: Scalar
    noise: Scalar | None
    work: Scalar | None


def initial(system: System, position: Any, momentum: Any = None) -> tuple[System, Phase]:
    """The system and the phase to give `diffrax.diffeqsolve` as `args` and `y0`, all in one dtype.

    Arguments:
        system, position, momentum: as for `ji.simulate`.

    Returns:
        (system, phase), with all accounts at zero.

    Raises:
        ValueError: as `ji.simulate` does for a bad state.

    Example:
        >>> args, y0 = ji.solvers.initial(system, 1.0)
        >>> diffrax.diffeqsolve(ji.solvers.terms(system), ji.solvers.Splitting("BAOAB"), 0.0, 1.0, 0.01, y0, args=args)
    """
    system, position, momentum, _ = prepare(system, position, momentum)
    return system, start(system, position, momentum)


def start(system: System, position: Position, momentum: Position) -> Phase:
    """A prepared state with all accounts at zero."""
    zero = jnp.zeros((), _tree.dtype(position))
    noise = None if system.noise is None else zero
    work = None if system.force is None else zero
    return Phase(position, momentum, zero, noise, work)
