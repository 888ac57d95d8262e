"""What a step carries: a point in phase space, and the accounts of its energy."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _tree
from .._shown import shown
from .._types import Key, Position, Scalar
from ..physics.relaxation import Pushed
from ..physics.system import System, prepare


class Phase(eqx.Module):
    """A point in phase space with its cumulative energy accounts: diffrax's y.

    Attributes:
        position, momentum: pytrees of float arrays.
        friction: what friction took so far, a scalar, in units of energy.
        noise, work: the same of the noise and of the outside; None where the system has no noise, or nothing does work.
        push: the random force, like the position; None where the noise has no memory.
        memory: what letters keep from step to step, by letter; None if nothing.
        below: in float32, what O did to `relaxing` below its last place, where that is kept; else None.
    """

    position: Position
    momentum: Position
    friction: Scalar
    noise: Scalar | None
    work: Scalar | None
    push: Position | None = None
    memory: dict[str, Any] | None = None
    below: Any = None

    @property
    def relaxing(self) -> Any:
        """What O acts on: the momentum, and a random force that has a memory."""
        return self.momentum if self.push is None else Pushed(self.momentum, self.push)

    def book(self, friction: Any = 0.0, noise: Any = 0.0, work: Any = 0.0) -> "Phase":
        """The same point with amounts of friction, noise and work added to those accounts that it has."""

        def on(account, amount):
            return None if account is None else account + jnp.asarray(amount, account.dtype)

        return self.but(friction=on(self.friction, friction), noise=on(self.noise, noise), work=on(self.work, work))

    def but(self, **fields: Any) -> "Phase":
        """The same phase with these fields in place of its own."""
        old = dict(position=self.position, momentum=self.momentum, friction=self.friction)
        old |= dict(noise=self.noise, work=self.work, push=self.push, below=self.below, memory=self.memory)
        return Phase(**(old | fields))


def initial(system: System, position: Any, momentum: Any = None, *, key: Key | None = None) -> tuple[System, Phase]:
    """The system and the phase to give `diffrax.diffeqsolve` as `args` and `y0`, all in one dtype.

    Arguments:
        system, position, momentum: as for `ji.simulate`.
        key: a JAX random key, which draws the start of a coloured noise where that is not given.

    Returns:
        (system, phase), with all accounts at zero.

    Raises:
        ValueError: as `ji.simulate` does for a bad state.

    Example:
        >>> args, y0 = ji.solvers.initial(system, 1.0)
        >>> diffrax.diffeqsolve(ji.solvers.terms(system), ji.solvers.Splitting("BAOAB"), 0.0, 1.0, 0.01, y0, args=args)
    """
    system, position, momentum, _ = prepare(system, position, momentum)
    return system, start(system, position, momentum, key)


def start(system: System, position: Position, momentum: Position, key: Key | None = None) -> Phase:
    """A prepared state with all accounts at zero, and a noise that remembers at its start."""
    zero = jnp.zeros((), _tree.dtype(position))
    noise = None if system.noise is None else zero
    work = zero if system.takes_work else None
    push = None if system.noise is None else system.noise.begin(momentum, key)
    return Phase(position, momentum, zero, noise, work, push)


def emptied(phase: Phase) -> Phase:
    """The same point with all accounts at zero."""
    zero = jnp.zeros_like(phase.friction)
    noise, work = (None if account is None else zero for account in (phase.noise, phase.work))
    return phase.but(friction=zero, noise=noise, work=work)


def added(before: Phase, run: Phase) -> Phase:
    """The point of `run`, its accounts on top of those before."""

    accounts = {"friction": before.friction, "noise": before.noise, "work": before.work}
    return run.book(**{name: amount for name, amount in accounts.items() if amount is not None})


def check_state(y: Any, args: Any) -> None:
    """ValueError unless args is a prepared System and y a Phase with the accounts that this system needs."""
    remedy = "pass what ji.solvers.initial makes: args, y0 = ji.solvers.initial(system, position)"
    if not isinstance(args, System):
        raise ValueError(f"args = {shown(args)} must be the prepared system, args=; {remedy}")
    if not isinstance(y, Phase):
        raise ValueError(f"y0 must be a ji.solvers.Phase, got {type(y).__name__}; {remedy}")
    needed = {
        "noise": args.noise is not None,
        "work": args.takes_work,
        "push": args.noise is not None and args.noise.remembers,
    }
    for name, wanted in needed.items():
        if (getattr(y, name) is not None) != wanted:
            has = "no account" if wanted else "an account"
            raise ValueError(f"y0 has {has} of {name}, which does not fit the system in args; {remedy}")
    dtype = _tree.dtype(y.position)
    finer = [x.dtype for x in jax.tree.leaves(args) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)]
    if any(jnp.promote_types(x, dtype) != dtype for x in finer):
        raise ValueError(f"args holds numbers in {jnp.result_type(*finer)}, y0 is in {dtype}; {remedy}")
