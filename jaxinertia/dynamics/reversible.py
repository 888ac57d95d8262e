r"""Reverse mode by running backwards: gradients whose memory does not grow with the number of steps.

The states that the derivatives of the steps need are not remembered but run again, from the end: a word over -h, its
letters in turn from the last, undoes what it did over h. Rounding grows on that way as the friction shrank it, by
e^{gamma t}; so each output row starts it anew from its own state, and where gamma times the row is more than `GROWTH`
states in between are stored, one every M steps with gamma h M <= GROWTH.

Source: D. Maclaurin, D. Duvenaud, R. P. Adams, ICML 2015; A. Griewank and A. Walther, Evaluating Derivatives, 2008.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _tree
from .._checks import bad_values_are_nan, is_traced
from .._run_time import noticed
from .._types import Scalar
from .._words import LETTERS, Letter
from ..energy.balance import close
from ..energy.inertia import kinetic_and_potential
from ..physics.system import System
from . import clock, rounding
from .advance import advance, relaxations, relaxing_flows
from .grid import Grid
from .letters import Scene
from .memory import begun, judged
from .phase import Phase, added, emptied, start
from .splitting import Splitting
from .stages import lay_out, without_relaxation
from .trajectory import Trajectory

GROWTH = 5.0  # rounding may grow by e^5 = 150 on the way back: by a tenth of that in float32
STORED = 128  # states in a run where gamma is not known before it runs

_DEFAULT = "leave adjoint= out: the default remembers about the square root of the steps, and takes all"


def check(adjoint: str, system: System, solver: Any, position: Any, others: dict[str, Any]) -> tuple:
    """(the word's letters, the position); ValueError for no known adjoint, and for what cannot run backwards."""
    if adjoint != "reversible":
        raise ValueError(f"adjoint = {adjoint!r} must be 'reversible', or diffrax's, e.g. diffrax.ForwardMode()")
    if not isinstance(solver, Splitting):
        raise ValueError(f"adjoint = 'reversible' is for a ji.solvers.Splitting, not {type(solver).__name__}")
    solver.check_kernel("adjoint = 'reversible' has a loop of its own")
    for name, value in others.items():
        if value is not None:
            raise ValueError(
                f"adjoint = 'reversible' takes fixed steps and no {name}; leave {name}= out, or {_DEFAULT}"
            )
    if not system.is_quiet:
        raise ValueError(f"adjoint = 'reversible': noise cannot run backwards in time; {_DEFAULT}")
    stuck = [letter.kind for letter in solver.letters if not LETTERS[letter.kind].reverses]
    if stuck:
        raise ValueError(f"adjoint = 'reversible': the letter {stuck[0]} does not say that it reverses; {_DEFAULT}")
    damping = system.damping
    if system.is_frictionless:
        return solver.letters, position
    position = damping.check_backwards(position)
    if not (damping.invertible or damping.composes(system.kinetic)):
        name = type(damping).__name__.removeprefix("Bound")
        raise ValueError(
            f"adjoint = 'reversible': damping.{name} with kinetic.{type(system.kinetic).__name__} has no exact map "
            f"that runs backwards too; {_DEFAULT}"
        )
    return solver.letters, position


def run(system: System, grid: Grid, position, momentum, letters: tuple[Letter, ...]) -> Trajectory:
    """Integrate a prepared system and state."""
    letters = without_relaxation(letters) if system.is_frictionless else letters
    system = system.without_noise()
    reach = grid.latest, grid.shortest
    told = clock.dtype_for(*reach, _tree.dtype(momentum)) if system.asks_for_time else _tree.dtype(momentum)
    if system.asks_for_time:
        position = clock.check_resolved(position, system.asks_for_time, *reach, told)
    position, careful = rounding.plan(system, letters, grid.shortest, position, momentum)
    how = _How(letters, grid.steps, _block(system, grid, momentum), careful, not bad_values_are_nan())
    plain = grid._replace(ts=jnp.asarray(grid.ts), ends=None, latest=None, shortest=None)
    trajectory, memory = _integrate(system, plain, position, momentum, how, told, grid.ends)
    return eqx.tree_at(lambda x: x.ts, judged(trajectory, memory), grid.ts)


class _How(NamedTuple):
    """All of a run that is known before it: `steps` a row, `block` of them between stored states."""

    letters: tuple[Letter, ...]
    steps: int
    block: int
    careful: bool
    throw: bool

    def remembering(self, phase: Phase) -> Phase:
        """A bare phase with what its steps keep, as if it were a start."""
        below = jax.tree.map(jnp.zeros_like, phase.momentum) if self.careful else None
        return begun(self.letters, phase.but(below=below))


class _Clock(NamedTuple):
    """When a row is: it starts at `origin` + `start`, with steps of h. One a row, or one of many."""

    origin: Any
    start: Any
    h: Any


def _block(system: System, grid: Grid, momentum: Any) -> int:
    """How many steps to go back at once."""
    narrow = _tree.dtype(momentum) != jnp.float64
    few = max(1, -(-grid.steps * grid.rows // STORED))
    rate = 0.0 if system.is_frictionless else _rate(system, momentum)
    longest = grid.shortest if grid.h.ndim == 0 else jnp.max(grid.h)
    if rate is None or is_traced(longest):
        return min(few, grid.steps)
    most = GROWTH / (10 if narrow else 1) / max(rate * float(longest), 1e-300)
    return max(1, int(min(most, few if narrow else grid.steps, grid.steps)))


def _rate(system: System, momentum: Any) -> float | None:
    """No momentum decays faster; None where that is not known yet."""
    with jax.ensure_compile_time_eval():
        like = jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), momentum)
        gamma, inverse = system.damping.constant_gamma(like), system.kinetic.inverse_mass(like)
        if gamma is None or is_traced((gamma, inverse)) or not system.kinetic.is_quadratic:
            return None
        return _largest(gamma) * (1.0 if inverse is None else _largest(inverse))


def _largest(coefficient: Any) -> float:
    """No eigenvalue of the matrix is larger."""
    leaves = [jnp.abs(x) for x in jax.tree.leaves(coefficient.value)]
    return max(float(jnp.max(jnp.sum(x, -1) if coefficient.matrix else x)) for x in leaves)


@eqx.filter_jit
def _integrate(system, grid: Grid, position, momentum, how: _How, told, ends) -> tuple[Trajectory, Any]:
    first = start(system, position, momentum)
    clocks = _Clock(*(jnp.broadcast_to(jnp.asarray(x), (grid.rows,)) for x in (grid.origin, grid.starts, grid.h)))
    example = how.remembering(first), jax.tree.map(lambda x: x[0], clocks), jnp.zeros((), int)
    shared = grid.h if grid.h.ndim == 0 else None
    # As modules, what the steps have closed over is among their leaves: also what a potential has.
    there = eqx.filter_closure_convert(_step(system, how.letters, 1, first, shared, told), *example)
    back = eqx.filter_closure_convert(_step(system, how.letters[::-1], -1, first, shared, told), *example)
    back = jax.tree.map(lambda x: jax.lax.stop_gradient(x) if eqx.is_array(x) else x, back)
    rows, memory = _rows((there, first, clocks), back, how)
    if ends is not None:
        rows = jax.tree.map(lambda y: y[jnp.asarray(ends)], rows)
    phase = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rows)
    energies = lambda x: kinetic_and_potential(system, x[0].position, x[0].momentum, x[1])  # noqa: E731
    kinetic, potential = jax.lax.map(energies, (phase, jnp.asarray(grid.ts, told)))
    balance = close(kinetic + potential, phase.friction, None, phase.work)
    return Trajectory(grid.ts, phase.position, phase.momentum, kinetic, potential, balance), memory


def _step(system: System, letters: tuple[Letter, ...], sign: int, like: Phase, shared: Any, told: Any) -> Callable:
    """(phase, clock, number) -> the phase after the numbered step of a row; with the sign -1, before it."""
    stages, dtype = lay_out(letters), like.friction.dtype

    def maps(h):
        return relaxations(system, relaxing_flows(stages), jnp.asarray(sign * h, dtype), like.momentum)

    ready = None if shared is None else maps(shared)

    def step(phase, clock, number):
        t = clock.origin + (clock.start + (number + (sign < 0)) * clock.h)
        relaxing = maps(clock.h) if ready is None else ready
        h = jnp.asarray(sign * clock.h, dtype)
        scene = Scene(system, jnp.asarray(t, told), h, relaxing, system.gradient, None)
        return advance(scene, stages, phase, None)[0]

    return step


def _bare(phase: Phase) -> Phase:
    return phase.but(below=None, memory=None)


@eqx.filter_custom_vjp
def _rows(run: tuple[Any, Phase, _Clock], back: Any, how: _How) -> tuple[Phase, Any]:
    """(the phases at the ends of the rows, what letters kept to the end): `run` is (one step, the start, clocks)."""
    del back
    return _forwards(run, how)[0]


@_rows.def_fwd
def _(perturbed, run, back, how):
    del perturbed, back
    found, stored = _forwards(run, how)
    return found, (found[0], stored)


def _forwards(run, how: _How):
    """((phases at the ends of the rows, what was kept), the states stored within each row)."""
    there, first, clocks = run
    count, rest = divmod(how.steps, how.block)

    def block(phase, clock, begin, length):
        # (phase, number): as an array to scan over the numbers would take memory.
        once = lambda carry, _: ((there(carry[0], clock, carry[1]), carry[1] + 1), None)  # noqa: E731
        (end, _), _ = jax.lax.scan(once, (emptied(phase), jnp.asarray(begin)), None, length)
        return added(phase, end)  # long sums are sums of short ones, and round as little

    def row(phase, clock):
        def whole(phase, j):
            end = block(phase, clock, j * how.block, how.block)
            return end, (end.position, end.momentum)

        phase, ends = jax.lax.scan(whole, phase, jnp.arange(count))
        if rest:
            phase = block(phase, clock, count * how.block, rest)
        stored = jax.tree.map(lambda x: x if rest else x[:-1], ends)
        return phase, (_bare(phase), stored)

    last, (rows, stored) = jax.lax.scan(row, how.remembering(first), clocks)
    return (rows, last.memory), stored


class _Way(NamedTuple):
    """What the way back carries: derivatives with respect to the phase, to all that a step uses, and to the clock."""

    phase: Phase
    used: Any
    clock: Any

    def before(self, pull: Callable) -> "_Way":
        """The same one step before, whose transposed derivative is `pull`."""
        used, phase, clock = pull(self.phase)
        return _Way(phase, *jax.tree.map(jnp.add, (self.used, self.clock), (used, clock)))


@_rows.def_bwd
def _(residuals, grad, perturbed, run, back, how):
    (rows, stored), (there, first, clocks) = residuals, run
    used, rest = eqx.partition(there, perturbed[0])
    zeros = lambda tree: jax.tree.map(jnp.zeros_like, tree)  # noqa: E731
    slopes = jax.tree.map(
        lambda given, y: None if y is None else jnp.zeros_like(y) if given is None else given,
        grad[0],
        rows,
        is_leaf=lambda x: x is None,
    )
    previous = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b[:-1]]), first, rows)

    def row(carry, x):
        phase, total, worst = carry
        slope, begin, end, inner, clock = x
        ticking, known = eqx.partition(clock, perturbed[2])

        def step(used, phase, ticking, number):
            return _bare(eqx.combine(used, rest)(how.remembering(phase), eqx.combine(ticking, known), number))

        way = _Way(jax.tree.map(jnp.add, phase, slope), total, zeros(ticking))
        undo = lambda phase, number: back(phase, clock, number)  # noqa: E731
        pull = lambda y, number: jax.vjp(lambda *x: step(*x, number), used, y, ticking)[1]  # noqa: E731
        way, gap = _row_back(way, (begin, end, inner), undo, pull, how)
        return (way.phase, way.used, jnp.maximum(worst, gap)), way.clock

    carry = zeros(first), zeros(used), jnp.zeros((), first.friction.dtype)
    xs = slopes, previous, rows, stored, clocks
    (phase, used, worst), clock = jax.lax.scan(row, carry, xs, reverse=True)
    holds = worst <= jnp.finfo(worst.dtype).eps ** 0.5
    holds = noticed(holds, _LOST) if how.throw else holds
    return jax.tree.map(lambda x: jnp.where(holds, x, jnp.nan), (used, phase, clock))


_LOST = (
    "adjoint = 'reversible': the run backwards left the run forwards, by more than half of all digits: it is chaotic, "
    "or damped strongly, or too long for its precision; give ts more times, from each of which it starts anew, or take "
    f"a damping that is known, not traced, or x64; or {_DEFAULT}"
)


def _row_back(way: _Way, states, undo: Callable, pull: Callable, how: _How) -> tuple[_Way, Scalar]:
    """The way to the start of a row from its end, and by how much the states on it missed the stored ones."""
    begin, end, inner = states
    count, rest = divmod(how.steps, how.block)
    at = lambda tree, i: jax.tree.map(lambda x: x[i], tree)  # noqa: E731

    def as_phase(state):
        return end.but(position=state[0], momentum=state[1])

    worst = jnp.zeros_like(end.friction)
    if rest:
        way, worst = _block_back(way, (as_phase(at(inner, -1)), end), count * how.block, rest, undo, pull, how)
        end = as_phase(at(inner, -1))
    starts = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b])[:count], (begin.position, begin.momentum), inner)

    def whole(carry, x):
        way, end, worst = carry
        j, start = x
        start = as_phase(start)
        way, gap = _block_back(way, (start, end), j * how.block, how.block, undo, pull, how)
        return (way, start, jnp.maximum(worst, gap)), None

    (way, _, worst), _ = jax.lax.scan(whole, (way, end, worst), (jnp.arange(count), starts), reverse=True)
    return way, worst


def _block_back(way: _Way, ends, begin, length: int, undo: Callable, pull: Callable, how: _How) -> tuple[_Way, Scalar]:
    """The same for a block between two stored states."""
    start, end = emptied(ends[0]), emptied(ends[1])
    if length == 1:
        return way.before(pull(start, jnp.asarray(begin))), jnp.zeros_like(start.friction)

    def one(carry, _):
        way, after, sizes, number = carry
        before = undo(after, number)
        known = jax.tree.map(lambda a, b: jnp.where(number == begin, a, b), start, emptied(_bare(before)))
        sizes = jax.tree.map(
            lambda s, x: jnp.maximum(s, jnp.max(jnp.abs(x))), sizes, (before.position, before.momentum)
        )
        return (way.before(pull(known, number)), before, sizes, number - 1), None

    sizes = jax.tree.map(lambda x: jnp.zeros((), x.dtype), (end.position, end.momentum))
    last = jnp.asarray(begin + length - 1)
    (way, found, sizes, _), _ = jax.lax.scan(one, (way, how.remembering(end), sizes, last), None, length)
    gaps = jax.tree.map(
        lambda a, b, size: jnp.max(jnp.abs(a - b)) / jnp.where(size > 0, size, 1),
        (found.position, found.momentum),
        (start.position, start.momentum),
        sizes,
    )
    return way, jnp.stack(jax.tree.leaves(gaps)).max()
