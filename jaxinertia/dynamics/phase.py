"""What a step carries: a point in phase space, and the accounts of its energy."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Key, Position, Scalar
from ..physics.colored import stationary_force
from ..physics.noise import Colored
from ..physics.shapes import match
from ..physics.system import System, prepare


class Phase(eqx.Module):
    """A point in phase space with its cumulative energy accounts: diffrax's y.

    noise and work are None where the system has no noise or no force; push, the random force, where it has no memory.
    """

    position: Position
    momentum: Position
    friction: Scalar
    noise: Scalar | None
    work: Scalar | None
    push: Position | None = None


def initial(system: System, position: Any, momentum: Any = None, *, key: Key | None = None) -> tuple[System, Phase]:
    """The system and the phase to give `diffrax.diffeqsolve` as `args` and `y0`, all in one dtype.

    Arguments:
        system, position, momentum: as for `ji.simulate`.
        key: draws the start of a coloured noise, where that is not given.

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
    """A prepared state with all accounts at zero, and a coloured noise at its start."""
    zero = jnp.zeros((), _tree.dtype(position))
    noise = None if system.noise is None else zero
    work = None if system.force is None else zero
    push = _push(system.noise, momentum, key) if isinstance(system.noise, Colored) else None
    return Phase(position, momentum, zero, noise, work, push)


def check_state(y: Any, args: Any) -> None:
    """ValueError unless args is a prepared System and y a Phase with the accounts that this system needs."""
    remedy = "pass what ji.solvers.initial makes: args, y0 = ji.solvers.initial(system, position)"
    if not isinstance(args, System):
        raise ValueError(f"args = {args!r} must be the prepared system, args=; {remedy}")
    if not isinstance(y, Phase):
        raise ValueError(f"y0 must be a ji.solvers.Phase, got {type(y).__name__}; {remedy}")
    needed = {"noise": args.noise is not None, "work": args.force is not None, "push": isinstance(args.noise, Colored)}
    for name, wanted in needed.items():
        if (getattr(y, name) is not None) != wanted:
            has = "no account" if wanted else "an account"
            raise ValueError(f"y0 has {has} of {name}, which does not fit the system in args; {remedy}")
    dtype = _tree.dtype(y.position)
    finer = [x.dtype for x in jax.tree.leaves(args) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)]
    if any(jnp.promote_types(x, dtype) != dtype for x in finer):
        raise ValueError(f"args holds numbers in {jnp.result_type(*finer)}, y0 is in {dtype}; {remedy}")


def _push(noise: Colored, momentum: Position, key: Key | None) -> Position:
    if noise.initial is not None:
        value = match("noise initial", noise.initial, momentum)
        if value.matrix:
            raise ValueError("noise initial is a matrix; pass a scalar, or a force shaped like the position")
        return jax.tree.map(lambda x, p: jnp.broadcast_to(x, p.shape), value.value, momentum)
    if key is None:
        raise ValueError(
            "noise initial is None, and there is no key to draw it: pass Colored(sigma, tau, initial=0.0), "
            "or key= and no path"
        )
    leaves, structure = jax.tree.flatten(momentum)
    keys = jax.random.split(jax.random.fold_in(key, 1), len(leaves))
    normals = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return stationary_force(noise, jax.tree.unflatten(structure, normals))
