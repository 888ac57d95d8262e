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
from ..physics.system import System
from . import brownian
from .advance import Clock, advance, open_account, relaxations, settle
from .grid import Grid
from .phase import start
from .scan import PLAIN, checkpointed_scan
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
    row = _row(system, grid, schedule, momentum, key, path)
    if grid.steps > PLAIN:  # else reverse mode would remember a block for every row
        row = jax.checkpoint(row, prevent_cse=False)
    first = start(system, position, momentum)
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


def _row(system: System, grid: Grid, schedule: Run, momentum, key, path):
    """The scan's body: one row of steps, from one saved state to the next."""
    dtype = _tree.dtype(momentum)
    stages = schedule.opening + schedule.turn + schedule.closing
    draws = 1 + max(stage.draw for stage in stages)
    draw_from = _source(key, path, grid.ts[-1], draws, momentum)
    turns = grid.steps - 1
    # K reads the momentum before it, which XLA then copies: once for two turns.
    unroll = 2 if any(stage.kind == "K" for stage in schedule.turn) else 1
    numbered = system.noise is not None or system.force is not None

    def maps_for(h):
        return relaxations(system, stages, h, momentum)

    # One step size for all rows: its maps are computed once, outside the scans.
    shared = maps_for(jnp.asarray(grid.h, dtype)) if grid.h.ndim == 0 else None

    def row(carry, x):
        phase, gradient = carry
        number, t, h = x
        h = grid.h if h is None else h
        maps = maps_for(jnp.asarray(h, dtype)) if shared is None else shared

        def section(stages, point, gradient, i):
            start = t + i * h
            clock = Clock(jnp.asarray(start, dtype), jnp.asarray(h, dtype), maps)
            increment = draw_from(number * grid.steps + i, start, h)
            return advance(system, stages, clock, point, gradient, increment)

        def turn(point, i):
            return section(schedule.turn, point, None, i)[0], None

        point, _ = section(schedule.opening, open_account(phase), gradient, 0)
        phase = settle(phase, point, maps, schedule.opening)
        if turns:
            index = jnp.arange(turns) if numbered else None
            turn = turn if numbered else partial(_ignore_index, turn)
            point, _ = checkpointed_scan(turn, open_account(phase), index, turns, unroll)
            phase = settle(phase, point, maps, schedule.turn, turns)
        point, gradient = section(schedule.closing, open_account(phase), None, turns)
        phase = settle(phase, point, maps, schedule.closing)
        gradient = gradient if schedule.hands_gradient_on else None
        return (phase, gradient), (phase, kinetic_and_potential(system, phase.position, phase.momentum))

    return row


def _ignore_index(turn, point, _):
    return turn(point, 0)


def _source(key, path, last, draws, like):
    """Where a step's Brownian increments come from."""

    def draw_from(step, t, h):
        if path is not None:
            return brownian.from_path(path.evaluate, t, h, last)
        if key is not None:
            return brownian.from_key(key, step, draws, jnp.asarray(h, _tree.dtype(like)), like)
        return None

    return draw_from
