"""Splittings: words of exact sub-flows, as diffrax solvers."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _tree, _words
from .._checks import is_traced, require
from .._shown import shown
from .._types import Position
from ..physics.relaxation import AbstractConstantRelaxation
from ..physics.system import System
from . import given
from .advance import advance, relaxations, relaxing_flows
from .brownian import from_path
from .interpolation import Hermite, step_rates
from .letters import Scene
from .memory import begun, sound
from .phase import Phase
from .stages import lay_out


class Splitting(diffrax.AbstractItoSolver, diffrax.AbstractStratonovichSolver):
    """A step as a word of exact sub-flows, written in the order in which they act.

    A drifts, q += h grad K(p);  B kicks, p -= h grad L(q);  O relaxes, p -> e^{-Gamma h} p + noise, exactly;  D flies,
    which is A and O at once without noise: q += int_0^h e^{-Gamma s} ds p, p -> e^{-Gamma h} p;  F rubs, which is B and
    O at once without noise and q at rest;  E is A and B at once, by a step that keeps K + L to rounding (and is solved
    for: 30 to 75 values and gradients of L, the more the longer the step is). Each letter of a plain word takes dt
    divided by its count. "BA" is symplectic Euler (the paper's Eq. 9-10), "OBA" heavy ball and so SGD with momentum,
    "BAB" velocity Verlet, "OBABO" and "BAOAB" the damped and Langevin Verlets, "BDB" the damped Verlet that is exact
    where there is no force, "AFA" the one in which dry friction holds, "OEO" the one whose discretization is rounding
    alone, with any kinetic energy.

    Where `diffrax.diffeqsolve` saves between steps, the position and the momentum are cubics through both ends with
    their rates, of order 4 (with white noise the momentum is linear, and the noise account NaN there).

    Arguments:
        word: a string of letters, or (letter, weight) pairs such as `[("B", 0.5), ("A", 1.0), ("B", 0.5)]`.
        order: the order in h, if known; else 2 for a palindrome and 1 for any other word.
        kernel: whether fixed steps on an NVIDIA GPU run as one CUDA kernel, a trajectory a thread. None: where they can
            and the state fits into registers (`ji.explain` says where not and why; a plain loop runs there). True:
            always, or ValueError saying why not. False: never. Reverse mode runs by the plain loop.

    Raises:
        ValueError: for an unknown letter, a word without a drift or a kick, or weights of all that drifts, kicks or
            relaxes that do not sum to 1. When run: for a word without O, D and F if the system has damping; with noise,
            for one without O, with D or F, or with a negative O weight; for D with a law that has no exact flight
            (linear friction has, and drag without a dry part) or a kinetic energy that is not quadratic; and for
            negative weights with a law that comes to rest.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.01, solver=ji.solvers.Splitting("OBABO"))

    Source: B. Leimkuhler and C. Matthews, Molecular Dynamics, 2015, ch. 7 (the letters and BAOAB).
    """

    letters: tuple[_words.Letter, ...] = eqx.field(static=True)
    known_order: int | None = eqx.field(static=True)
    kernel: bool | None = eqx.field(static=True)

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable] = Hermite

    def __init__(self, word: _words.Word, order: int | None = None, kernel: bool | None = None):
        self.letters = _words.parse(word)
        if order is not None and (isinstance(order, bool) or not isinstance(order, int) or order < 1):
            raise ValueError(f"order = {order!r} must be a whole number of at least 1, or None")
        if kernel is not None and not isinstance(kernel, bool):
            raise ValueError(f"kernel = {shown(kernel)} must be True, False, or None: where it can")
        self.known_order, self.kernel = order, kernel

    @property
    def has_relaxation(self) -> bool:
        """Whether the word has an O, a D or an F, and so can damp."""
        return self._has("relaxes")

    @property
    def takes_noise(self) -> bool:
        """Whether the word has an O, and so can take noise."""
        return self._has("draws")

    def order(self, terms=None) -> int:
        if self.known_order is not None:
            return self.known_order
        return 2 if _words.is_palindrome(self.letters) else 1

    def strong_order(self, terms=None) -> float:
        return 1.0

    def check(self, system: System, position: Position) -> Position:
        """The position, if this word can run the system; ValueError (or a run-time error where traced) if not."""
        for kind in dict.fromkeys(letter.kind for letter in self.letters):
            reason = _words.LETTERS[kind].refuses(system, position)
            if reason is not None:
                raise ValueError(f"solver = {self._word!r}: {reason}")
        if not self._has("relaxes"):
            position = self._refuse_dropping("damping", system.damping, system.is_frictionless, position)
        if not self._has("draws") and system.noise is not None:
            position = self._refuse_dropping("noise", system.noise, system.is_quiet, position)
        if not system.is_quiet and any(w < 0 for kind, w in self.letters if _words.LETTERS[kind].draws):
            raise ValueError(
                "solver has a negative O weight, and noise cannot run backwards in time; "
                "use 'BAOAB' or 'OBABO' for a system with noise"
            )
        if any(w < 0 for kind, w in self.letters if _words.LETTERS[kind].relaxes):
            position = system.damping.check_backwards(position)
        return position

    def check_kernel(self, obstacle: str) -> None:
        """ValueError if this must run as a kernel, which such a run cannot."""
        if self.kernel:
            raise ValueError(
                f"kernel = True, but this run cannot be one: {obstacle}; leave kernel= out, or take fixed steps alone"
            )

    @property
    def _word(self) -> str:
        return "".join(letter.kind for letter in self.letters)

    def _has(self, job: str) -> bool:
        return any(getattr(_words.LETTERS[letter.kind], job) for letter in self.letters)

    def _refuse_dropping(self, name: str, law: Any, zero: bool, position: Position) -> Position:
        if zero:
            return position
        remedy = f"the word {self._word!r} has no O to apply it; use 'BAOAB', 'OBABO', or a composition of one of them"
        shown = "" if is_traced(law) else f" = {type(law).__name__}({_numbers(law.strength)})"
        none: Any = False  # known, and inside a sweep still an error
        if law.strength is not None and is_traced(law.strength):
            none = jnp.all(jnp.stack([jnp.all(x == 0) for x in jax.tree.leaves(law.strength)]))
        return require(position, none, f"{name}{shown} would be dropped: {remedy}")

    # diffrax's interface. The gradient is carried, so that a word that ends with a kick takes one gradient a step; and
    # in float32 what the relaxations did below the momentum's last place.

    def init(self, terms, t0, t1, y0: Phase, args: System):
        self.check_kernel("it goes through diffrax.diffeqsolve, for a controller, an event, an adjoint or max_steps")
        position = self.check(args, given.check(terms, y0, args))
        gradient = args.gradient(position, given.time(given.read(terms), t0, y0))
        probe = args.relaxation(jnp.ones_like(y0.friction), y0.momentum)  # looked at, and not computed
        constant = self.has_relaxation and isinstance(probe, AbstractConstantRelaxation)
        careful = constant and _tree.dtype(y0.momentum) != jnp.float64
        below = jax.tree.map(jnp.zeros_like, y0.relaxing) if careful else None
        return gradient, below, begun(self.letters, y0).memory

    def func(self, terms, t0, y0: Phase, args: System):
        return terms.vf(t0, y0, args)

    def step(self, terms, t0, t1, y0: Phase, args: System, solver_state, made_jump):
        del made_jump
        parts = given.read(terms)
        h = jnp.asarray(parts.drift.contr(t0, t1), y0.friction.dtype)  # negative where the run goes back in time
        stages = lay_out(self.letters)
        increment = None
        if parts.kick is not None:
            more = {} if y0.push is None else {"remembered": True}  # coloured noise needs it
            increment = from_path(partial(parts.kick.contr, **more), t0, t1 - t0, t1, h.dtype)
        maps = relaxations(args, relaxing_flows(stages), h, y0.momentum)
        scene = Scene(args, given.time(parts, t0, y0), h, maps, args.gradient, increment)
        before, below, memory = solver_state
        y1, gradient = advance(scene, stages, y0.but(below=below, memory=memory), before)
        y1, below, memory = y1.but(below=None, memory=None), y1.below, y1.memory
        if gradient is None:
            gradient = args.gradient(y1.position, scene.t + h)
        ends = (scene.t, y0, before), (scene.t + h, y1, gradient)
        rates = tuple(step_rates(args, t, h, y, slope) for t, y, slope in ends)
        result = diffrax.RESULTS.successful
        if memory is not None:
            result = diffrax.RESULTS.where(sound(memory), result, diffrax.RESULTS.nonlinear_divergence)
        return y1, None, {"y0": y0, "y1": y1, "rates": rates}, (gradient, below, memory), result


def as_solver(name: str, solver: Any) -> diffrax.AbstractSolver:
    """The solver that was asked for: a Splitting of a word, BAOAB for None, any diffrax solver as it is.

    Raises:
        ValueError: for anything else, and for what is no word.
    """
    if solver is None:
        return Splitting("BAOAB")
    if isinstance(solver, (str, list, tuple)):
        try:
            return Splitting(solver)
        except ValueError as error:
            raise ValueError(f"{name} = {shown(solver)}: {error}") from error
    if not isinstance(solver, diffrax.AbstractSolver):
        raise ValueError(
            f"{name} = {shown(solver)} must be a word such as 'BAOAB', a ji.solvers.Splitting or a diffrax solver"
        )
    return solver


def _numbers(strength: Any) -> str:
    return ", ".join(str(np.asarray(x).tolist())[:60] for x in jax.tree.leaves(strength))
