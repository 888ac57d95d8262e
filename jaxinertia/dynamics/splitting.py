"""Splittings: words of exact sub-flows, as diffrax solvers."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _words
from .._checks import is_traced, require
from .._types import Position
from ..physics.damping import Linear
from ..physics.kinetic import Euclidean
from ..physics.system import System
from . import given
from .advance import Clock, advance, open_account, relaxations, settle
from .brownian import from_path
from .phase import Phase
from .stages import lay_out, with_losses


class Splitting(diffrax.AbstractItoSolver, diffrax.AbstractStratonovichSolver):
    """A step as a word of exact sub-flows, written in the order in which they act.

    A drifts, q += h grad K(p);  B kicks, p -= h grad L(q);  O relaxes, p -> e^{-Gamma h} p + noise, exactly;  D flies,
    which is A and O at once without noise: q += int_0^h e^{-Gamma s} ds p, p -> e^{-Gamma h} p. Each letter of a plain
    word takes dt divided by its count. "BA" is symplectic Euler (the paper's Eq. 9-10), "OBA" heavy ball and so SGD
    with momentum, "BAB" velocity Verlet, "OBABO" and "BAOAB" the damped and Langevin Verlets, "BDB" the damped Verlet
    that is exact where there is no force.

    Arguments:
        word: a string of letters, or (letter, weight) pairs such as `[("B", 0.5), ("A", 1.0), ("B", 0.5)]`.
        order: the order in h, if known; else 2 for a palindrome and 1 for any other word.

    Raises:
        ValueError: for an unknown letter, a word without a drift or a kick, D beside A or O, or weights of a letter
            that do not sum to 1. When run: for a word without O and D if the system has damping; with noise, for one
            without O, with D, or with a negative O weight; and for D with another kinetic energy than Euclidean.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.01, solver=ji.solvers.Splitting("OBABO"))

    Source: B. Leimkuhler and C. Matthews, Molecular Dynamics, 2015, ch. 7 (the letters and BAOAB).
    """

    letters: tuple[_words.Letter, ...] = eqx.field(static=True)
    known_order: int | None = eqx.field(static=True)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable] = diffrax.LocalLinearInterpolation

    def __init__(self, word: _words.Word, order: int | None = None):
        self.letters = _words.parse(word)
        if order is not None and (isinstance(order, bool) or not isinstance(order, int) or order < 1):
            raise ValueError(f"order = {order!r} must be a whole number of at least 1, or None")
        self.known_order = order

    @property
    def has_relaxation(self) -> bool:
        """Whether the word has an O or a D, and so can damp."""
        return any(letter.kind in _words.RELAXATIONS for letter in self.letters)

    @property
    def has_flight(self) -> bool:
        """Whether the word has a D, and so cannot take noise."""
        return any(letter.kind == "D" for letter in self.letters)

    def order(self, terms=None) -> int:
        if self.known_order is not None:
            return self.known_order
        return 2 if _words.is_palindrome(self.letters) else 1

    def strong_order(self, terms=None) -> float:
        return 1.0

    def check(self, system: System, position: Position) -> Position:
        """The position, if this word can run the system; ValueError (or a run-time error where traced) if not."""
        if not self.has_relaxation:
            return self._refuse_dropping(system, position)
        if not isinstance(system.kinetic, Euclidean) and (self.has_flight or not system.is_frictionless):
            letter, other = ("D", "a word of A, B and O") if self.has_flight else ("O", "damping=0")
            raise ValueError(
                f"kinetic = {system.kinetic!r}: {letter} is exact for kinetic.Euclidean() only; "
                f"use a diffrax solver such as diffrax.Tsit5(), or {other}"
            )
        if self.has_flight and not system.is_quiet:
            raise ValueError("solver has the letter D, which has no noise; use 'BAOAB' or 'OBABO' with noise")
        if not system.is_quiet and any(w < 0 for kind, w in self.letters if kind == "O"):
            raise ValueError(
                "solver has a negative O weight, and noise cannot run backwards in time; "
                "use 'BAOAB' or 'OBABO' for a system with noise"
            )
        return position

    def _refuse_dropping(self, system: System, position: Position) -> Position:
        word = "".join(letter.kind for letter in self.letters)
        remedy = f"the word {word!r} has no O to apply it; use 'BAOAB', 'OBABO', or a composition of one of them"
        gamma = system.damping.gamma if isinstance(system.damping, Linear) else system.damping
        sigma = None if system.noise is None else system.noise.sigma
        for name, value, zero in (
            ("damping gamma", gamma, system.is_frictionless),
            ("noise sigma", sigma, system.is_quiet),
        ):
            if zero:
                continue
            shown = "" if is_traced(value) else f" = {value}"
            all_zero = jnp.all(jnp.stack([jnp.all(x == 0) for x in jax.tree.leaves(value)]))
            position = require(position, all_zero, f"{name}{shown} would be dropped: {remedy}")
        return position

    # diffrax's interface. The gradient is carried, so that a word that ends with a kick takes one gradient a step.

    def init(self, terms, t0, t1, y0: Phase, args: System):
        return args.gradient(self.check(args, given.check(terms, y0, args)))

    def func(self, terms, t0, y0: Phase, args: System):
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0: Phase, args: System, solver_state, made_jump):
        del made_jump
        parts = given.read(terms)
        h = jnp.asarray(parts.drift.contr(t0, t1), y0.friction.dtype)  # negative where the run goes back in time
        stages = with_losses(lay_out(self.letters))
        clock = Clock(parts.direction(h.dtype) * t0, h, relaxations(args, stages, h, y0.momentum), args.gradient)
        increment = None
        if parts.kick is not None:
            more = {} if y0.push is None else {"remembered": True}  # coloured noise needs it
            increment = from_path(partial(parts.kick.contr, **more), t0, t1 - t0, t1, h.dtype)
        point, gradient = advance(args, stages, clock, open_account(y0), solver_state, increment)
        y1 = settle(y0, point, clock.relaxations, stages)
        if gradient is None:
            gradient = args.gradient(y1.position)
        return y1, None, {"y0": y0, "y1": y1}, gradient, diffrax.RESULTS.successful
