"""What `diffrax.diffeqsolve` was given for a Splitting: its terms, args and y0 are read here, or refused in words."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from diffrax import AbstractTerm, MultiTerm, ODETerm

from .._checks import require
from .._types import Position, Scalar
from ..physics.system import prepare
from .brownian import check_path
from .phase import Phase, check_state
from .terms import Drift, Kick


class Given(NamedTuple):
    """The terms of a system, as diffrax hands them to a solver: it counts time from the start, also backwards."""

    drift: AbstractTerm
    kick: AbstractTerm | None

    def direction(self, dtype: Any) -> Scalar:
        """1, or -1 where the run goes back in time: the sign of what the drift calls a unit of time."""
        return jnp.asarray(self.drift.contr(jnp.zeros((), dtype), jnp.ones((), dtype)), dtype)


def read(terms: Any) -> Given:
    """The parts of `solvers.terms(system, path)`; ValueError for any other terms, which a Splitting would leave out."""
    drift, *others = terms.terms if isinstance(terms, MultiTerm) else (terms,)
    known = [isinstance(_bare(drift), ODETerm) and isinstance(_bare(drift).vector_field, Drift)]
    known += [isinstance(_bare(term), Kick) for term in others]
    if not all(known) or len(known) > 2:
        kinds = ", ".join(type(_bare(term)).__name__ for term in (drift, *others))
        raise ValueError(
            f"terms ({kinds}) are not those of a system, and a Splitting would leave out what it does not know: pass "
            "ji.solvers.terms(system), or ji.solvers.terms(system, path) with noise. A further force belongs into "
            "ji.System(..., force=); a general equation to a solver such as diffrax.Tsit5()"
        )
    return Given(drift, others[0] if others else None)


def time(parts: Given, t: Scalar, y: Phase) -> Scalar:
    """The system's time at the solver's time t."""
    dtype = y.friction.dtype
    return parts.direction(dtype) * jnp.asarray(t, dtype)


def check(terms: Any, y0: Any, args: Any) -> Position:
    """y0's position, if a Splitting can go from there; ValueError (or a run-time error) with the remedy if not."""
    given = read(terms)
    check_state(y0, args)
    if (given.kick is None) != (args.noise is None):
        has, lacks = ("noise", "no Brownian path") if given.kick is None else ("no noise", "a Brownian path")
        raise ValueError(
            f"terms have {lacks}, but the system in args has {has}; build both from one system: "
            "args, y0 = ji.solvers.initial(system, position), ji.solvers.terms(args, path)"
        )
    if given.kick is not None:
        check_path(_bare(given.kick).path, y0.position)
    position = prepare(args, y0.position, y0.momentum)[1]
    forwards = given.direction(jnp.result_type(float)) > 0
    if args.noise is not None:
        message = "t1 is before t0, and noise cannot run backwards in time: take noise=None, or t0 < t1"
        position = require(position, forwards, message)
    if not args.damping.invertible:
        name = type(args.damping).__name__
        message = f"t1 is before t0, and backwards {name} blows up in a finite time: take diffrax.Tsit5()"
        position = require(position, forwards, message)
    return position


def _bare(term: Any) -> Any:
    """A term without the wrapper with which diffrax counts time backwards."""
    while hasattr(term, "direction") and hasattr(term, "term"):
        term = term.term
    return term
