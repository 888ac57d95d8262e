r"""Motion under friction that sticks: smooth where the velocity keeps its sign, which turns at times that are found.

With the sign s of the velocity held, x'' = -grad L - friction(s |v|) + F is smooth, and the classical Runge-Kutta
method has its order 4. A step that would end beyond v = 0 ends there: at tau with v(tau) = 0, found by Newton's
method. There friction holds the particle, if it is neither pushed up against friction(0+) nor down against
friction(0-); else it goes on the way it is pushed, for what is left of the step. With tau* held,
tau = tau* - v(tau*) / v'(tau*) carries the derivative of tau; the place of turning has none by tau, since v vanishes
there.

Source: E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 1993, sections II.1 and II.6
(discontinuities).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import nan_for_bad_values
from .motion import Motion, rate_of

NEWTON = 4  # steps: the first guess is off by a part of a step's phase, and each next by its square
BARELY = 1e-200  # a velocity that has a sign, and no size


class Gliding(Motion):
    """`substeps` steps in each interval, of one component. They are a number of the program, not a part of it: shorter
    steps are no other program."""

    substeps: Any  # ()

    def __init__(self, substeps: int):
        self.substeps = np.asarray(substeps)

    def path(self, system, state, window, frame):
        with nan_for_bad_values():
            glide = _Glide(rate_of(system, window, frame))
            ts = jnp.arange(len(window.ts), dtype=float) if window.even else window.ts

            def row(z, interval):
                start, whole = interval
                h = whole / self.substeps
                z = jax.lax.fori_loop(0, self.substeps, lambda i, z: glide.step(z, start + i * h, h), z)
                return z, z

            path = jax.lax.scan(row, state, (ts[:-1], jnp.diff(ts)))[1]
        return jnp.concatenate([state[None], path])

    def finer(self, system):
        return Gliding(2 * int(self.substeps))


class _Glide:
    """Steps of z = (x, p), of one component."""

    def __init__(self, rate):
        self.rate = rate

    def step(self, z, t, h):
        """After h, whatever happens in it."""
        side = jnp.where(z[1] == 0, self.pushed(z[0], t), jnp.sign(z[1]))
        tau, turns = self.turning(jax.lax.stop_gradient(z), jax.lax.stop_gradient(t), h, side)
        there = self.smooth(z, t, tau, side)

        def turned(there):
            # The derivative of tau, which is no longer than the step.
            late = tau - (there[1] - jax.lax.stop_gradient(there[1])) / self.sided(there, t + tau, side)[1]
            there = there.at[1].set(0.0)
            return self.smooth(there, t + late, h - late, self.pushed(there[0], t + late))

        return _repeat(turned, there, jnp.where(turns, 1, 0))

    def turning(self, z, t, h, side):
        """(how far to go with this sign, whether the velocity vanishes there)."""
        end = side * self.smooth(z, t, h, side)[1]
        turns = end < 0
        speed = side * z[1]

        def newton(tau):
            there = self.smooth(z, t, tau, side)
            fall = self.sided(there, t + tau, side)[1]
            return jnp.clip(tau - there[1] / jnp.where(fall == 0, 1.0, fall), 0.0, h)

        first = h * speed / jnp.where(turns, speed - end, 1.0)
        return _repeat(newton, jnp.where(turns, first, h), jnp.where(turns, NEWTON, 0)), turns

    def pushed(self, x, t):
        """Which way a particle at rest goes: 1, -1, or 0 where friction holds it."""
        up, down = (self.rate(jnp.stack([x, jnp.asarray(side * BARELY, x.dtype)]), t)[1] for side in (1.0, -1.0))
        return jax.lax.stop_gradient(jnp.where(up > 0, 1.0, jnp.where(down < 0, -1.0, 0.0)))

    def sided(self, z, t, side):
        """The rate with this sign of the velocity, also a little beyond where it vanishes; nothing where it is held."""
        kept = z.at[1].set(side * jnp.maximum(side * z[1], BARELY))
        return jnp.abs(side) * self.rate(kept, t)

    def smooth(self, z, t, h, side):
        """The Runge-Kutta method's step."""

        def stage(k, part):
            return self.sided(z + part * h * k, t + part * h, side)

        a = self.sided(z, t, side)
        b = stage(a, 0.5)
        c = stage(b, 0.5)
        return z + h / 6 * (a + 2 * b + 2 * c + stage(c, 1.0))


def _repeat(change, x, times):
    """`change` so many times: of many at once none is computed where all are done, as `lax.cond` would do; few steps
    turn, and those that do take most of the work."""
    return jax.lax.while_loop(lambda s: s[1] > 0, lambda s: (change(s[0]), s[1] - 1), (x, times))[0]
