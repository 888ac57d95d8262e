"""How a window's motion is found: exactly if linear; in steps of a solver; or from the equation, integrated twice."""

from abc import abstractmethod
from collections.abc import Callable
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
from ..physics.linear_flow import LinearFlow, linear_flow
from ..physics.shapes import match
from ..physics.system import System
from . import linear
from .readout import Readout
from .record import Windows
from .units import Units, rescale


class Frame(eqx.Module):
    """In which units, and about which level, a window is read; as a likelihood of one record has it too."""

    units: Units
    level: Any  # (d,) or (m, d); not needed where readings are not of the position
    d: int = eqx.field(static=True)
    scalar: bool = eqx.field(static=True)  # whether a position is a number
    channels: int = eqx.field(static=True)  # of the state that are read: its first ones


class Motion(eqx.Module):
    """(position, momentum) at a window's times, as rows of 2 d, in the fit's units, less the level."""

    @abstractmethod
    def path(self, system: System, state: Any, window: Windows, frame: Frame) -> Float[Array, "m k"]:
        """From a state at the window's start; of it at least the channels that are read."""

    def finer(self, system: System) -> "Motion | None":
        """With shorter steps; None where nothing is to be had of them."""
        return None


class Exact(Motion):
    """One exact step after another, from the place of rest."""

    def path(self, system, state, window, frame):
        d, m, channels = frame.d, len(window.ts), frame.channels
        step, h = linear_steps(system, window, frame, None), jnp.diff(window.ts)
        rest = jnp.concatenate([linear.rest(system, d, frame.units), jnp.zeros(d)])
        kicks = None if system.force is None else linear.kicks(step, drive(system, window, frame.units), h, d)

        def turn(z, row):
            move, kick = row
            z = linear.apply(step.flow if move is None else move, z)
            z = z if kick is None else z + kick
            return z, z[:channels]

        rows = (None if window.even else step.flow, kicks)
        path = jax.lax.scan(turn, state - rest, rows, length=m - 1)[1]
        return rest[:channels] + jnp.concatenate([(state - rest)[None, :channels], path])


def linear_steps(system: System, window: Windows, frame: Any, noise: Any) -> LinearFlow:
    """The exact step of a linear system: one for all intervals on even times, else one for each."""
    rate = linear.rate(system, frame.d, frame.units)
    h = jnp.ones(()) if window.even else jnp.diff(window.ts)
    return linear_flow(rate, noise, h, driven=system.force is not None, forward=True)


def drive(system: System, window: Windows, units: Units) -> Float[Array, "m d"]:
    """The force of the input at a window's times, in the fit's units."""
    return window.input * system.force.gain * (units.time**2 / units.length)  # type: ignore[union-attr]


class Steps(Motion):
    """`substeps` steps of a solver in each interval."""

    solver: str = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    def path(self, system, state, window, frame):
        return self.at(self.substeps, system, state, window, frame)

    def at(self, substeps: int, system: System, state: Any, window: Windows, frame: Frame) -> Float[Array, "m k"]:
        """The path by so many steps in each interval."""
        d = frame.d
        q, p = (state[0], state[1]) if frame.scalar else (state[:d], state[d:])
        ts = np.arange(len(window.ts), dtype=float) if window.even else window.ts
        with nan_for_bad_values():
            solver = SOLVERS[self.solver]
            traj = simulate(local(system, window, frame), ts, q, p, substeps=substeps, solver=solver)
        rows = (len(window.ts), d)
        return jnp.concatenate([traj.position.reshape(rows), traj.momentum.reshape(rows)], axis=-1)

    def finer(self, system):
        """The sixth order in place of the second, where friction composes, or the second extrapolated; or half the
        step."""
        if self.solver == "kahan_li6":
            return Steps(self.solver, 2 * self.substeps)
        composes = system.damping.composes(system.kinetic)
        return Steps("kahan_li6", self.substeps) if composes else Extrapolated(self.solver, self.substeps)


class Extrapolated(Steps):
    """Two paths of a symmetric word of order 2, one of steps half as long, and what their difference tells of both:
    order 4 where friction is smooth. Where dry friction turns, the letter F leaves an error of that order too."""

    def path(self, system, state, window, frame):
        coarse, fine = (self.at(n, system, state, window, frame) for n in (self.substeps, 2 * self.substeps))
        return fine + (fine - coarse) / 3

    def finer(self, system):
        """Half the step."""
        return Extrapolated(self.solver, 2 * self.substeps)


SOLVERS = {word: solvers.Splitting(word) for word in ("BAOAB", "AFA")} | {"kahan_li6": solvers.kahan_li6("BAOAB")}


def local(system: System, window: Windows, frame: Any) -> System:
    """The system in the fit's units, its force in the window's own time."""
    units = frame.units
    if window.input is None:
        return rescale(system, Units(units.origin + units.time * window.start, units.time, units.length))
    gain = system.force.gain * (units.time**2 / units.length)  # type: ignore[union-attr]
    ts = np.arange(len(window.ts), dtype=float) if window.even else window.ts
    u = window.input[:, 0] if frame.scalar else window.input
    moved = rescale(eqx.tree_at(lambda s: s.force, system, None), units)
    return eqx.tree_at(lambda s: s.force, moved, Sampled(ts, u, gain), is_leaf=lambda x: x is None)


def bound(system: System, frame: Any) -> System:
    """The system with friction and kinetic energy that know it."""
    return systems.bind(system, jnp.zeros(()) if frame.scalar else jnp.zeros(frame.d))


def rate_of(system: System, window: Windows, frame: Any) -> Callable[[Any, Any], Float[Array, " n"]]:
    """(z, t) -> dz/dt without noise, z = (x, p) in the fit's units, t since the window's start."""
    d = frame.d
    here = bound(local(system, window, frame), frame)

    def shaped(x):
        return x[0] if frame.scalar else x

    def rate(z, t):
        q, p = shaped(z[:d]), shaped(z[d:])
        v = here.kinetic.velocity_at(q, p)
        push = 0.0 if here.force is None else here.drive(t, q)
        push = push - here.gradient(q, t) - here.damping.force_at(t, q, p, v)
        if not here.kinetic.is_separable:
            push = push - jax.grad(here.kinetic.energy_at)(q, p)
        return jnp.concatenate([jnp.reshape(v, (d,)), jnp.reshape(push, (d,))])

    return rate


def seen_of(
    readout: Readout, path: Float[Array, "m n"], system: System, window: Windows, frame: Frame
) -> Float[Array, "m c"]:
    """What is read of each row of a path."""
    if not readout.asks_for_force:
        return jax.vmap(lambda z: readout.seen(z, frame.units))(path)
    rate = rate_of(system, window, frame)
    return jax.vmap(lambda z, t: readout.seen(z, frame.units, rate(z, t)))(path, window.ts)


class Integral(Motion):
    """The equation of motion integrated twice, with the readings put into it: for start values."""

    def path(self, system, state, window, frame):
        return _by_integrals(system, state, window, frame)


def _by_integrals(system, state, window, frame):
    """x(t) = x0 + t v0 - Gamma int (x - x(0)) - int int (grad V(x) - f), with the readings for x on the right.

    Linear in the states and in the coefficients of forces, so that one step finds them. With the unknown x0 for the
    reading x(0) it would be bilinear, and a first reading that is off could lead it astray; this only shifts v0.
    """
    d = frame.d
    here = bound(local(system, window, frame), frame)
    x = window.y[:, :d] - frame.level
    shaped = x[:, 0] if frame.scalar else x
    slope = jax.vmap(here.gradient)(shaped, window.ts).reshape(x.shape)
    if here.force is not None:
        slope = slope - jax.vmap(here.drive)(window.ts, shaped).reshape(x.shape)
    t = window.ts[:, None]
    if not here.kinetic.is_euclidean or here.damping.linear_part is None:
        return _by_two_turns(here, state, x, slope, window, frame)
    impulse = _cumulative(x, window.ts) - t * x[0]
    like = jnp.zeros(()) if frame.scalar else jnp.zeros(d)
    part = here.damping.linear_part
    gamma = match("damping gamma", jnp.zeros(()) if part is None else part, like)
    drag = jax.vmap(gamma.times)(impulse[:, 0] if frame.scalar else impulse).reshape(x.shape)
    position = state[:d] + t * state[d:] - drag - _cumulative(_cumulative(slope, window.ts), window.ts)
    return jnp.concatenate([position, jnp.zeros_like(position)], axis=-1)


def _by_two_turns(here, state, x, slope, window, frame):
    """For any kinetic energy and friction: p(t) = p0 - int (grad V(x) - f), then with the friction of that p, twice.

    From it x(t) = x0 + int v.
    """
    d = frame.d

    def shaped(y):
        return y[:, 0] if frame.scalar else y

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
