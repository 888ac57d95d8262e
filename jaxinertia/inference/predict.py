"""What the readings of a window would be, and how they change with the parameters and the initial state."""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import nan_for_bad_values
from ..dynamics import solvers
from ..dynamics.simulate import simulate
from ..physics import system as systems
from ..physics.force import Sampled
from ..physics.shapes import match
from ..physics.system import System
from . import linear
from .parameters import Parameters
from .solve import Normal
from .units import Units, rescale
from .windows import Windows

EXACT, STEPS, INTEGRAL = "exact step", "steps", "integral equation"


class How(eqx.Module):
    """How a window's motion is found: exactly if linear; else in `substeps` steps of a solver between readings; or,
    to begin with, from the integrated equation with the readings put into it."""

    kind: str = eqx.field(static=True)
    solver: Any = eqx.field(static=True, default="kahan_li6")
    substeps: int = eqx.field(static=True, default=1)


class Problem(eqx.Module):
    """The least-squares problem: u are the parameters and then the offset if it is free, x_w = (x, x') of window w."""

    system: System
    parameters: Parameters
    units: Units
    windows: Windows
    offset: Float[Array | np.ndarray, "*many d"]
    readings: Any  # how many
    how: How
    free_offset: bool = eqx.field(static=True)
    scalar: bool = eqx.field(static=True)  # whether a position is a number

    @property
    def d(self) -> int:
        return self.offset.shape[-1]

    def own(self) -> tuple:
        """What belongs to the record; the rest is shared by all records of a kind."""
        return self.windows, self.units, self.offset, self.readings


def normal(u: Float[Array, " p"], x: Float[Array, "w k"], problem: Problem) -> Normal:
    """Half the sum of squares, with its Gauss-Newton equations."""
    r, j = linearise(u, x, problem)
    p = len(u)
    cost = jnp.sum(r * r) / 2
    freedom = jnp.maximum(problem.readings - p - x.size, 1)
    weighted = jnp.swapaxes(j, -1, -2)
    gram = weighted @ j
    g = jnp.sum(weighted * r[:, None, :], axis=-1)
    rounding = 1e-30 * jnp.sum((problem.windows.y * problem.windows.weight) ** 2)
    unit = 2 * cost / freedom + rounding
    return Normal(
        cost, unit, jnp.sum(g[:, :p], 0), jnp.sum(gram[:, :p, :p], 0), g[:, p:], gram[:, :p, p:], gram[:, p:, p:]
    )


def linearise(u: Float[Array, " p"], x: Float[Array, "w k"], problem: Problem):
    """Weighted residuals (w, readings) and their derivatives (w, readings, p + k) by (u, x_w)."""

    def one(state, window):
        def residual(both):
            return residuals(both[: len(u)], both[len(u) :], window, problem)

        both = jnp.concatenate([u, state])
        push = partial(jax.jvp, residual, (both,))
        return jax.vmap(lambda v: push((v,)), out_axes=(None, -1))(jnp.eye(len(both)))

    return jax.vmap(one)(x, problem.windows)


def residuals(u, state, window: Windows, problem: Problem) -> Float[Array, " readings"]:
    """(prediction - reading) / error, flat; 0 where nothing was read."""
    return jnp.ravel(window.weight * (predict(u, state, window, problem) - window.y))


def predict(u, state, window: Windows, problem: Problem) -> Float[Array, "m c"]:
    """The readings of one window, in the fit's units."""
    d = problem.d
    system = problem.parameters.write(problem.system, u)
    offset = u[-d:] if problem.free_offset else problem.offset
    move = {EXACT: _exactly, STEPS: _by_steps, INTEGRAL: _by_integrals}[problem.how.kind]
    path = move(system, state, window, problem)
    path = path.at[:, :d].add(offset)
    return path[:, : window.y.shape[-1]]


def _exactly(system, state, window, problem):
    """One exact step after another, from the place of rest; of each state, the channels that are read."""
    d, m, channels = problem.d, len(window.ts), window.y.shape[-1]
    rate, h = linear.rate(system, d, problem.units), jnp.diff(window.ts)
    step = linear.step(rate, None, 1.0) if window.even else jax.vmap(lambda h: linear.step(rate, None, h))(h)
    rest = jnp.concatenate([linear.rest(system, d, problem.units), jnp.zeros(d)])
    kicks = None if system.force is None else linear.kicks(step, drive(system, window, problem.units), h, d)

    def turn(z, row):
        move, kick = row
        z = linear.apply(step.move if move is None else move, z)
        z = z if kick is None else z + kick
        return z, z[:channels]

    rows = (None if window.even else step.move, kicks)
    path = jax.lax.scan(turn, state - rest, rows, length=m - 1)[1]
    return rest[:channels] + jnp.concatenate([(state - rest)[None, :channels], path])


def drive(system: System, window: Windows, units: Units) -> Float[Array, "m d"]:
    """The force of the input at a window's times, in the fit's units."""
    return window.input * system.force.gain * (units.time**2 / units.length)  # type: ignore[union-attr]


def _by_steps(system, state, window, problem):
    d, how = problem.d, problem.how
    q, p = (state[0], state[1]) if problem.scalar else (state[:d], state[d:])
    ts = np.arange(len(window.ts), dtype=float) if window.even else window.ts
    with nan_for_bad_values():
        traj = simulate(local(system, window, problem), ts, q, p, substeps=how.substeps, solver=SOLVERS[how.solver])
    rows = (len(window.ts), d)
    return jnp.concatenate([traj.position.reshape(rows), traj.momentum.reshape(rows)], axis=-1)


SOLVERS = {"BAOAB": solvers.Splitting("BAOAB"), "kahan_li6": solvers.kahan_li6("BAOAB")}


def local(system: System, window: Windows, problem: Any) -> System:
    """The system in the fit's units, its force in the window's own time."""
    units = problem.units
    if window.input is None:
        return rescale(system, Units(units.origin + units.time * window.start, units.time, units.length))
    gain = system.force.gain * (units.time**2 / units.length)  # type: ignore[union-attr]
    ts = np.arange(len(window.ts), dtype=float) if window.even else window.ts
    u = window.input[:, 0] if problem.scalar else window.input
    moved = rescale(eqx.tree_at(lambda s: s.force, system, None), units)
    return eqx.tree_at(lambda s: s.force, moved, Sampled(ts, u, gain), is_leaf=lambda x: x is None)


def bound(system: System, problem: Any) -> System:
    """The system with friction and kinetic energy that know it."""
    return systems.bind(system, jnp.zeros(()) if problem.scalar else jnp.zeros(problem.d))


def _by_integrals(system, state, window, problem):
    """x(t) = x0 + t v0 - Gamma int (x - x(0)) - int int (grad V(x) - f), with the readings for x on the right.

    Linear in the states and in the coefficients of forces, so that one step finds them. With the unknown x0 for the
    reading x(0) it would be bilinear, and a first reading that is off could lead it astray; this only shifts v0.
    """
    d = problem.d
    here = bound(local(system, window, problem), problem)
    offset = problem.offset
    x = window.y[:, :d] - offset
    shaped = x[:, 0] if problem.scalar else x
    slope = jax.vmap(here.gradient)(shaped, window.ts).reshape(x.shape)
    if here.force is not None:
        slope = slope - jax.vmap(here.drive)(window.ts, shaped).reshape(x.shape)
    t = window.ts[:, None]
    if not here.kinetic.is_euclidean or here.damping.linear_part is None:
        return _by_two_turns(here, state, x, slope, window, problem)
    impulse = _cumulative(x, window.ts) - t * x[0]
    like = jnp.zeros(()) if problem.scalar else jnp.zeros(d)
    part = here.damping.linear_part
    gamma = match("damping gamma", jnp.zeros(()) if part is None else part, like)
    drag = jax.vmap(gamma.times)(impulse[:, 0] if problem.scalar else impulse).reshape(x.shape)
    position = state[:d] + t * state[d:] - drag - _cumulative(_cumulative(slope, window.ts), window.ts)
    return jnp.concatenate([position, jnp.zeros_like(position)], axis=-1)


def _by_two_turns(here, state, x, slope, window, problem):
    """For any kinetic energy and friction: p(t) = p0 - int (grad V(x) - f), then with the friction of that p, twice.

    From it x(t) = x0 + int v.
    """
    d = problem.d

    def shaped(y):
        return y[:, 0] if problem.scalar else y

    q, start = shaped(x), state[d:]

    def moved(p):
        v = jax.vmap(here.kinetic.velocity_at)(q, p)
        force = jax.vmap(here.damping.force_at)(window.ts, q, p, v)
        if not here.kinetic.is_separable:
            force = force + jax.vmap(jax.grad(here.kinetic.energy_at))(q, p)
        return v.reshape(x.shape), force.reshape(x.shape)

    p = start - _cumulative(slope, window.ts)
    for _ in range(2):
        _, force = moved(shaped(p))
        p = start - _cumulative(slope + force, window.ts)
    velocity, _ = moved(shaped(p))
    position = state[:d] + _cumulative(velocity, window.ts)
    return jnp.concatenate([position, jnp.zeros_like(position)], axis=-1)


def _cumulative(f, ts):
    """int f dt from the start, by Simpson's parabolas through three neighbours: exact for cubics on even times."""
    h = jnp.diff(ts)[:, None]
    pieces = h * (f[1:] + f[:-1]) / 2
    if len(f) > 2:
        bend = f[2:] - 2 * f[1:-1] + f[:-2]
        left, right = jnp.concatenate([bend[:1], bend]), jnp.concatenate([bend, bend[-1:]])
        pieces = pieces - h * (left + right) / 24
    return jnp.concatenate([jnp.zeros_like(f[:1]), jnp.cumsum(pieces, axis=0)])
