"""Fixed steps of a splitting: a nested scan, output rows outside and inner steps inside."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Key
from ..energy.balance import close
from ..energy.inertia import kinetic_and_potential
from ..physics.noise import Colored, White
from ..physics.system import System
from . import brownian
from .advance import Clock, advance, open_account, relaxations, settle
from .grid import Grid
from .phase import Phase, start
from .random_numbers import RandomNumbers
from .scan import PLAIN, checkpointed_scan, longest_block
from .splitting import Splitting
from .stages import Run, cut_before_drift, without_relaxation


def run(system: System, grid: Grid, position, momentum, solver: Splitting, key: Key | None, path: Any):
    """Integrate; returns (position, momentum, kinetic, potential, balance) with leading axis of times."""
    letters = solver.letters
    if system.is_frictionless and system.is_quiet:
        letters = without_relaxation(letters)
    if system.is_quiet:
        system = system.without_noise()
        key = path = None
    schedule = cut_before_drift(letters, noisy=system.noise is not None)
    return _integrate(system, grid._replace(ends=None), position, momentum, schedule, key, path, grid.ends)


@eqx.filter_jit
def _integrate(system, grid, position, momentum, schedule: Run, key, path, ends):
    first = start(system, position, momentum, key)
    row = _row(system, grid, schedule, first, key, path)
    if grid.steps > PLAIN:  # else reverse mode would remember a block for every row
        row = jax.checkpoint(row, prevent_cse=False)
    gradient = system.gradient(position) if schedule.hands_gradient_on else None
    xs = (jnp.arange(grid.rows), grid.starts, None if grid.h.ndim == 0 else grid.h)
    _, rows = checkpointed_scan(row, (first, gradient), xs, grid.rows)
    if ends is not None:
        rows = jax.tree.map(lambda y: y[jnp.asarray(ends)], rows)
    phase, energies = jax.tree.map(
        lambda a, b: jnp.concatenate([a[None], b]), (first, kinetic_and_potential(system, position, momentum)), rows
    )
    kinetic, potential = energies
    balance = close(kinetic + potential, phase.friction, phase.noise, phase.work)
    return phase.position, phase.momentum, kinetic, potential, balance


def _row(system: System, grid: Grid, schedule: Run, first: Phase, key, path):
    """The scan's body: one row of steps, from one saved state to the next."""
    momentum, dtype = first.momentum, _tree.dtype(first.momentum)
    stages = schedule.opening + schedule.turn + schedule.closing
    turns = grid.steps - 1
    noise = _Noise(system, schedule, open_account(first).relaxing, key, path, grid.ts[-1], longest_block(turns))
    # K reads the momentum before it, which XLA then copies: once for two turns.
    unroll = 2 if any(stage.kind == "K" for stage in schedule.turn) else 1
    numbered = system.noise is not None or system.force is not None
    # Traced once, for all kicks. (A bound method would be hashed, with the arrays of the system.)
    gradient_of = jax.jit(lambda position: system.gradient(position), inline=True)  # noqa: PLW0108

    def maps_for(h):
        return relaxations(system, stages, h, momentum)

    # One step size for all rows: its maps are computed once, outside the scans.
    shared = maps_for(jnp.asarray(grid.h, dtype)) if grid.h.ndim == 0 else None

    def row(carry, x):
        phase, gradient = carry
        number, t, h = x
        h = grid.h if h is None else h
        maps = maps_for(jnp.asarray(h, dtype)) if shared is None else shared

        def section(stages, point, gradient, i, drawn=None):
            begin, step = t + i * h, jnp.asarray(h, dtype)
            clock = Clock(jnp.asarray(begin, dtype), step, maps, gradient_of)
            increment = noise.increment(stages, number * grid.steps + i, begin, h, step, drawn)
            return advance(system, stages, clock, point, gradient, increment)

        def turn(point, x):
            i, drawn = x
            return section(schedule.turn, point, None, i, drawn)[0], None

        def prepare(index):
            return index, noise.ahead(number * grid.steps + index[0], len(index))

        point, _ = section(schedule.opening, open_account(phase), gradient, 0)
        phase = settle(phase, point, maps, schedule.opening)
        if turns:
            point, _ = checkpointed_scan(
                turn if numbered else partial(_ignore_index, turn),
                open_account(phase),
                jnp.arange(turns) if numbered else None,
                turns,
                unroll,
                prepare if numbered else None,
            )
            phase = settle(phase, point, maps, schedule.turn, turns)
        point, gradient = section(schedule.closing, open_account(phase), None, turns)
        phase = settle(phase, point, maps, schedule.closing)
        gradient = gradient if schedule.hands_gradient_on else None
        return (phase, gradient), (phase, kinetic_and_potential(system, phase.position, phase.momentum))

    return row


def _ignore_index(turn, point, _):
    return turn(point, (0, None))


AHEAD = 2**16  # random numbers of one run that are drawn together: more would not stay in the cache


class _Noise:
    """Where a row's Brownian increments come from."""

    def __init__(self, system, schedule, like, key, path, last, block):
        stages = schedule.opening + schedule.turn + schedule.closing
        draws = 1 + max(stage.draw for stage in stages)
        self.path, self.last, self.like, self.turn = path, last, like, schedule.turn
        self.remembered = isinstance(system.noise, Colored)
        law = system.noise.law if isinstance(system.noise, White) else "gaussian"
        self.source = None if key is None or path is not None else RandomNumbers(key, draws, law)
        self.early = self.source is not None and block * draws * _tree.size(like) <= AHEAD

    def ahead(self, first, count):
        """What `count` turns will draw, if that is little enough."""
        if self.early:
            return brownian.numbers(self.source, self.turn, first, count, self.like)
        return None

    def increment(self, stages, number, t, h, step, drawn):
        """The increments of one step of length h at t, as a function of the stage."""
        if self.path is not None:
            evaluate = partial(brownian.increments, self.path, remembered=self.remembered)
            return brownian.from_path(evaluate, t, h, self.last, step.dtype)
        if self.source is None:
            return None
        if drawn is None:
            drawn = brownian.numbers(self.source, stages, number, 1, self.like)
            drawn = jax.tree.map(lambda x: x[0], drawn)
        return brownian.from_numbers(drawn, step)
