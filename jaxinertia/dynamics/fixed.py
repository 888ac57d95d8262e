"""Fixed steps of a splitting: a nested scan, output rows outside and inner steps inside."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Key
from .._words import LETTERS, Letter
from ..energy.balance import close
from ..energy.inertia import kinetic_and_potential
from ..physics.system import System
from . import brownian, clock, fusion, rounding
from .advance import advance, relaxations, relaxing_flows
from .grid import Grid
from .letters import Scene
from .memory import begun, judged
from .phase import Phase, added, emptied, start
from .random_numbers import RandomNumbers
from .scan import PLAIN, checkpointed_scan, longest_block
from .splitting import Splitting
from .stages import Run, cut_before_drift, without_relaxation
from .trajectory import Trajectory


def run(system: System, grid: Grid, position, momentum, solver: Splitting, key: Key | None, path: Any) -> Trajectory:
    """Integrate a prepared system and state."""
    letters = solver.letters
    if system.is_frictionless and system.is_quiet:
        letters = without_relaxation(letters)
    if system.is_quiet:
        system = system.without_noise()
        key = path = None
    reach = grid.latest, grid.shortest
    told = clock.dtype_for(*reach, _tree.dtype(momentum)) if system.asks_for_time else None
    for who, dtype in ((system.asks_for_time, told), ("path", None if path is None else clock.finest())):
        if dtype is not None:
            position = clock.check_resolved(position, who, *reach, dtype)
    position, careful = rounding.plan(system, letters, grid.shortest, position, momentum)
    plain = grid._replace(ts=jnp.asarray(grid.ts), ends=None, latest=None, shortest=None)
    trajectory, memory = _integrate(system, plain, position, momentum, letters, key, path, grid.ends, told, careful)
    trajectory = judged(trajectory, memory)
    return eqx.tree_at(lambda x: x.ts, trajectory, grid.ts)


@eqx.filter_jit
def _integrate(
    system, grid, position, momentum, letters: tuple[Letter, ...], key, path, ends, told, careful: bool
) -> tuple[Trajectory, dict[str, Any] | None]:
    first = begun(letters, start(system, position, momentum, key))
    if careful:
        first = first.but(below=jax.tree.map(jnp.zeros_like, first.relaxing))
    plan = _Plan(system, letters, jnp.asarray(grid.h, _tree.dtype(position)).reshape(-1)[0], momentum)
    row = _row(system, grid, plan, first, key, path, told)
    if grid.steps > PLAIN:  # else reverse mode would remember a block for every row
        row = jax.checkpoint(row, prevent_cse=False)
    begin = jnp.asarray(grid.origin, told or _tree.dtype(position))
    gradient = system.gradient(position, begin) if plan.run.hands_gradient_on else None
    xs = (jnp.arange(grid.rows), grid.starts, None if grid.h.ndim == 0 else grid.h)
    (last, _), rows = checkpointed_scan(row, (first, gradient), xs, grid.rows)
    if ends is not None:
        rows = jax.tree.map(lambda y: y[jnp.asarray(ends)], rows)
    energies = kinetic_and_potential(system, position, momentum, begin)
    phase, (kinetic, potential) = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (first, energies), rows)
    balance = close(kinetic + potential, phase.friction, phase.noise, phase.work)
    return Trajectory(grid.ts, phase.position, phase.momentum, kinetic, potential, balance), last.memory


class _Plan:
    """A word laid out for a run: fused where its relaxations are the same everywhere, else letter by letter."""

    def __init__(self, system, letters, h, momentum):
        probe = system.damping.prepared(system.kinetic, system.noise, h, momentum)  # looked at, and not computed
        self.system, self.fused = system, fusion.applies(letters, probe)
        self.may_ask_for_time = any(letter.kind not in "ABODF" for letter in letters)  # somebody's own letter
        if self.fused:
            self.run: Run = fusion.fused(letters, system, probe)
        else:
            self.run = cut_before_drift(letters, "AB" if system.kinetic.is_separable else "B")

    def maps(self, h, momentum):
        """The O maps for steps of h."""
        if self.fused:
            return fusion.maps_of(self.system, self.run, h, momentum)
        return relaxations(self.system, relaxing_flows(self.run.all), h, momentum)

    def table(self, stages):
        """What the stages stand for."""
        return fusion.table(stages) if self.fused else LETTERS

    def settle(self, before, phase, maps, stages, times=1):
        """The phase, with what `times` runs of the stages did on top of the accounts before."""
        return fusion.settle(before, phase, maps, stages, times) if self.fused else added(before, phase)


def _row(system: System, grid: Grid, plan: _Plan, first: Phase, key, path, told):
    """The scan's body: one row of steps, from one saved state to the next."""
    momentum, dtype = first.momentum, _tree.dtype(first.momentum)
    schedule, turns = plan.run, grid.steps - 1
    noise = _Noise(system, schedule, first.relaxing, key, path, grid.ts[-1], longest_block(turns))
    # K reads the momentum before it, which XLA then copies: once for two turns.
    unroll = 2 if any(stage.kind == "K" for stage in schedule.turn) else 1
    numbered = system.noise is not None or bool(system.asks_for_time) or plan.may_ask_for_time
    # Traced once, for all kicks. (A bound method would be hashed, with the arrays of the system.)
    gradient_of = jax.jit(lambda position, t: system.gradient(position, t), inline=True)  # noqa: PLW0108
    # One step size for all rows: its maps are computed once, outside the scans.
    shared = plan.maps(jnp.asarray(grid.h, dtype), momentum) if grid.h.ndim == 0 else None

    def row(carry, x):
        phase, gradient = carry
        number, t, h = x
        h = grid.h if h is None else h
        maps = plan.maps(jnp.asarray(h, dtype), momentum) if shared is None else shared

        def section(stages, phase, gradient, i, drawn=None):
            now, step = grid.origin + (t + i * h), jnp.asarray(h, dtype)
            increment = noise.increment(stages, number * grid.steps + i, now, h, step, drawn)
            scene = Scene(system, jnp.asarray(now, told or dtype), step, maps, gradient_of, increment)
            return advance(scene, stages, phase, gradient, plan.table(stages))

        def turn(phase, x):
            i, drawn = x
            return section(schedule.turn, phase, None, i, drawn)[0], None

        def prepare(index):
            return index, noise.ahead(number * grid.steps + index[0], len(index))

        run, _ = section(schedule.opening, emptied(phase), gradient, 0)
        phase = plan.settle(phase, run, maps, schedule.opening)
        if turns:
            run, _ = checkpointed_scan(
                turn if numbered else partial(_ignore_index, turn),
                emptied(phase),
                jnp.arange(turns) if numbered else None,
                turns,
                unroll,
                prepare if numbered else None,
                (emptied, added) if dtype != jnp.float64 else None,  # it costs 6 % of a run that wants the balance
            )
            phase = plan.settle(phase, run, maps, schedule.turn, turns)
        run, gradient = section(schedule.closing, emptied(phase), None, turns)
        phase = plan.settle(phase, run, maps, schedule.closing)
        gradient = gradient if schedule.hands_gradient_on else None
        end = jnp.asarray(grid.origin + (t + grid.steps * h), told or dtype)
        return (phase, gradient), (phase, kinetic_and_potential(system, phase.position, phase.momentum, end))

    return row


def _ignore_index(turn, phase, _):
    return turn(phase, (0, None))


AHEAD = 2**16  # random numbers of one run that are drawn together: more would not stay in the cache


class _Noise:
    """Where a row's Brownian increments come from."""

    def __init__(self, system, schedule, like, key, path, last, block):
        draws = 1 + max(stage.draw for stage in schedule.all)
        self.path, self.last, self.like, self.turn = path, last, like, schedule.turn
        self.remembered = system.noise is not None and system.noise.remembers
        law = "gaussian" if system.noise is None else system.noise.law
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
