"""Fixed steps of a splitting: a nested scan, output rows outside and inner steps inside."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .. import _origin, _tree
from .._checks import is_traced
from .._types import Key
from .._words import LETTERS, Letter
from ..energy.balance import close
from ..energy.inertia import kinetic_and_potential
from ..physics.system import System
from . import brownian, clock, fusion, rounding
from .advance import advance, relaxations, relaxing_flows
from .grid import Grid
from .kernel.wish import Wish, wish
from .letters import Scene
from .loop import looped
from .memory import begun, judged
from .phase import Phase, added, emptied, start
from .random_numbers import RandomNumbers
from .repeats import Repeat, folded, is_costly, stacked
from .scan import PLAIN, checkpointed_scan, longest_block
from .soon import Soon, is_short
from .splitting import Splitting
from .stages import Run, cut_before_drift, without_relaxation
from .trajectory import Trajectory


def run(system: System, grid: Grid, position, momentum, solver: Splitting, key: Key | None, path: Any) -> Trajectory:
    """Integrate a prepared system and state."""
    setting, state = _set_out(system, grid, position, momentum, solver, key, path)
    few, summed = is_short(setting.system, state[0], grid.origin), is_traced((setting, state))
    trajectory, inertia = judged(*_integrate(few, setting, state, grid.ends, summed))
    _origin.note_sum(trajectory.kinetic, trajectory.potential, inertia)
    return eqx.tree_at(lambda x: x.ts, trajectory, grid.ts)


class _Setting(eqx.Module):
    """All that stays the same along a run."""

    system: System
    grid: Grid  # without what only the host needs
    key: Key | None
    path: Any
    letters: tuple[Letter, ...] = eqx.field(static=True)
    told: Any = eqx.field(static=True)  # the dtype of times, where somebody asks for them
    careful: bool = eqx.field(static=True)  # whether small friction is carried below the last place
    kernel: Wish = eqx.field(static=True)


def _set_out(system, grid, position, momentum, solver, key, path) -> tuple[_Setting, tuple[Any, Any]]:
    """What a run needs, and the state that it starts from."""
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
    return _Setting(system, plain, key, path, letters, told, careful, wish(solver.kernel)), (position, momentum)


@Soon
def _integrate(setting: _Setting, state, ends, summed: bool):
    """The trajectory and I, `summed` in the loop or behind it; and what letters keep."""
    plan = _plan(setting, state[1])
    first, gradient, energies = _begin(setting, plan, state)
    (last, _), rows = _rows(setting, plan, (first, gradient), jnp.arange(setting.grid.rows), setting.grid)
    if ends is not None:
        rows = jax.tree.map(lambda y: y[jnp.asarray(ends)], rows)
    together = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (first, (*energies, sum(energies))), rows)
    phase, (kinetic, potential, inertia) = together
    inertia = inertia if summed else kinetic + potential  # XLA drops what is not read
    balance = close(inertia, phase.friction, phase.noise, phase.work)
    trajectory = Trajectory(setting.grid.ts, phase.position, phase.momentum, kinetic, potential, balance)
    return (trajectory, inertia), last.memory


def _begin(setting: _Setting, plan: "_Plan", state: tuple[Any, Any]):
    """The phase before the first row, the gradient there (None if no row hands it on), and K and L."""
    system, grid = setting.system, setting.grid
    position, momentum = state
    first = begun(setting.letters, start(system, position, momentum, setting.key))
    if setting.careful:
        first = first.but(below=jax.tree.map(jnp.zeros_like, first.relaxing))
    begin = jnp.asarray(grid.origin, setting.told or _tree.dtype(position))
    gradient = system.gradient(position, begin) if plan.run.hands_gradient_on else None
    return first, gradient, kinetic_and_potential(system, position, momentum, begin)


def _plan(setting: _Setting, momentum) -> "_Plan":
    h = jnp.asarray(setting.grid.h, _tree.dtype(momentum)).reshape(-1)[0]
    return _Plan(setting.system, setting.letters, h, momentum)


def _rows(setting: _Setting, plan: "_Plan", carry, numbers, grid: Grid):
    """From one (phase, gradient) through the rows of a grid, which have these numbers in the whole run."""
    row = _row(setting.system, grid, plan, carry[0], setting.key, setting.path, setting.told, setting.kernel.prepared)
    if grid.steps > PLAIN:  # else reverse mode would remember a block for every row
        row = jax.checkpoint(row, prevent_cse=False)
    xs = (numbers, grid.starts, None if grid.h.ndim == 0 else grid.h)
    return looped(row, carry, xs, grid.rows, setting.kernel)


def in_parts(
    system: System, grid: Grid, position, momentum, solver: Splitting, key: Key | None, path: Any, rows: int
) -> Iterator[tuple[Phase, Any]]:
    """The same run, at most so many rows at a time: the phases and (K, L) at the output times of each part.

    The first is the start alone; each is being computed while the one before it is used.
    """
    setting, state = _set_out(system, grid, position, momentum, solver, key, path)
    first, gradient, energies = _first(setting, state)
    found = jax.tree.map(lambda x: x[None], (first, energies))
    carry, ends = (first, gradient), np.arange(grid.rows) if grid.ends is None else np.asarray(grid.ends)
    for begin in range(0, grid.rows, rows):
        end = min(begin + rows, grid.rows)
        part = setting.grid._replace(starts=setting.grid.starts[begin:end])
        part = part if part.h.ndim == 0 else part._replace(h=part.h[begin:end])
        carry, following = _part(setting, carry, jnp.arange(begin, end), part)
        yield found
        kept = ends[(ends >= begin) & (ends < end)] - begin
        found = following if len(kept) == end - begin else jax.tree.map(lambda y, at=kept: y[at], following)
    yield judged(found, carry[0].memory)


@eqx.filter_jit
def _first(setting: _Setting, state):
    return _begin(setting, _plan(setting, state[1]), state)


@eqx.filter_jit
def _part(setting: _Setting, carry, numbers, grid: Grid):
    carry, (phases, (kinetic, potential, _)) = _rows(setting, _plan(setting, carry[0].momentum), carry, numbers, grid)
    return carry, (phases, (kinetic, potential))


class _Plan:
    """A word laid out for a run: fused where its relaxations are the same everywhere, else letter by letter."""

    def __init__(self, system, letters, h, momentum):
        probe = system.relaxation(h, momentum)  # looked at, and not computed
        self.system, self.fused = system, fusion.applies(letters, probe)
        self.may_ask_for_time = any(letter.kind not in "ABODF" for letter in letters)  # somebody's own letter
        if self.fused:
            self.run: Run = fusion.fused(letters, system, probe)
        else:
            self.run = cut_before_drift(letters, "AB" if system.kinetic.is_separable else "B")
        self.folded = folded if self._pays(letters, momentum, h) else tuple

    def _pays(self, letters, position, t):
        """Whether long rows of equal stages go into a scan: somebody's own letter may ask for a weight as a number."""
        if self.system.noise is not None or any(letter.kind not in "ABOD" for letter in letters):
            return False
        return folded(self.run.turn) != self.run.turn and is_costly(self.system.gradient, position, t)

    def maps(self, h, t, momentum):
        """The O maps for steps of h, and what the loops in a step read."""
        if self.fused:
            maps = fusion.maps_of(self.system, self.run, h, momentum)
        else:
            maps = relaxations(self.system, relaxing_flows(self.run.all), h, momentum)
        loops = [part for stages in self.run for part in self.folded(stages) if isinstance(part, Repeat)]
        return maps | {part: stacked(part, maps, h, t) for part in loops}

    def table(self, stages):
        """What the stages stand for."""
        return fusion.table(stages) if self.fused else LETTERS

    def settle(self, before, phase, maps, stages, times=1):
        """The phase, with what `times` runs of the stages did on top of the accounts before."""
        return fusion.settle(before, phase, maps, stages, times) if self.fused else added(before, phase)


def _row(system: System, grid: Grid, plan: _Plan, first: Phase, key, path, told, for_kernel):
    """The scan's body: one row of steps, from one saved state to the next."""
    momentum, dtype = first.momentum, _tree.dtype(first.momentum)
    schedule, turns = plan.run, grid.steps - 1
    together = 1 if for_kernel else longest_block(turns)  # a thread has no room for numbers of several steps
    noise = _Noise(system, schedule, first.relaxing, key, path, grid.ts[-1], together)
    # K reads the momentum before it, which XLA then copies: once for two turns.
    unroll = 2 if any(stage.kind == "K" for stage in schedule.turn) else 1
    # A turn that two do not divide comes first: behind the loop it would be one more of the few kernels in line.
    odd = int(unroll == 2 and turns % 2 == 1 and turns <= PLAIN and not for_kernel)
    numbered = system.noise is not None or bool(system.asks_for_time) or plan.may_ask_for_time
    # Traced once, for all kicks. (A bound method would be hashed, with the arrays of the system.)
    gradient_of = jax.jit(lambda position, t: system.gradient(position, t), inline=True)  # noqa: PLW0108
    # One step size for all rows: its maps are computed once, outside the scans.
    zero = jnp.zeros((), told or dtype)
    shared = plan.maps(jnp.asarray(grid.h, dtype), zero, momentum) if grid.h.ndim == 0 else None

    def row(carry, x):
        phase, gradient = carry
        number, t, h = x
        h = grid.h if h is None else h
        maps = plan.maps(jnp.asarray(h, dtype), zero, momentum) if shared is None else shared

        def section(stages, phase, gradient, i, drawn=None):
            now, step = grid.origin + (t + i * h), jnp.asarray(h, dtype)
            increment = noise.increment(stages, number * grid.steps + i, now, h, step, drawn)
            scene = Scene(system, jnp.asarray(now, told or dtype), step, maps, gradient_of, increment)
            return advance(scene, plan.folded(stages), phase, gradient, plan.table(stages))

        def turn(phase, x):
            i, drawn = x
            return section(schedule.turn, phase, None, i, drawn)[0], None

        def prepare(index):
            return index, noise.ahead(number * grid.steps + index[0], len(index))

        run, _ = section(schedule.opening, emptied(phase), gradient, 0)
        phase = plan.settle(phase, run, maps, schedule.opening)
        if turns:
            start = turn(emptied(phase), (0, None))[0] if odd else emptied(phase)
            run, _ = checkpointed_scan(
                turn if numbered else partial(_ignore_index, turn),
                start,
                jnp.arange(odd, turns) if numbered else None,
                turns - odd,
                unroll,
                prepare if numbered else None,
                (emptied, added) if dtype != jnp.float64 else None,  # it costs 6 % of a run that wants the balance
            )
            phase = plan.settle(phase, run, maps, schedule.turn, turns)
        run, gradient = section(schedule.closing, emptied(phase), None, turns)
        phase = plan.settle(phase, run, maps, schedule.closing)
        gradient = gradient if schedule.hands_gradient_on else None
        end = jnp.asarray(grid.origin + (t + grid.steps * h), told or dtype)
        energies = kinetic_and_potential(system, phase.position, phase.momentum, end)
        return (phase, gradient), (phase, (*energies, sum(energies)))

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
        self.early = self.source is not None and block > 1 and block * draws * _tree.size(like) <= AHEAD

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
