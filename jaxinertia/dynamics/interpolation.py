"""Between the steps of a splitting: cubics through the states and the rates that are known at both ends of a step."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

from .._types import Position, Scalar
from ..physics.system import System
from .phase import Phase
from .terms import rates


class Hermite(diffrax.AbstractLocalInterpolation):
    r"""y(t0 + x h) for x from 0 to 1: cubic where dy/dt is known at both ends, else linear.

    y = y0 + x (y1 - y0) + x (1 - x) [(1 - x) (h y0' - (y1 - y0)) - x (h y1' - (y1 - y0))],

    of order 4 between steps. Without noise all rates are known: v, dp/dt, -v.(drag) and F.v; what the cubics leave open
    is discretization, of order 4 too. White noise has no dp/dt: the momentum is then linear, the mean of the Brownian
    bridge between its ends, and the noise account NaN, for the energy of a mean path is not the mean energy: it lies
    below by the bridge's variance. (Coloured noise keeps dp/dt; its own force is linear.)

    Arguments:
        t0, t1: the step's ends, as the solver's clock runs.
        y0, y1: the phases there.
        rates: `step_rates` there.

    Source: E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 1993, section II.6.
    """

    t0: Any
    t1: Any
    y0: Phase
    y1: Phase
    rates: tuple[dict[str, Any], dict[str, Any]]

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Phase:
        """The phase at t0, or its change from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(jnp.subtract, self.evaluate(t1), self.evaluate(t0))
        span = self.t1 - self.t0
        x = (t0 - self.t0) / jnp.where(span == 0, 1, span)
        # How far a time may be off a step's end by rounding, and still mean it.
        slack = 4 * jnp.finfo(jnp.result_type(x)).eps * (1 + jnp.maximum(abs(self.t0), abs(self.t1)) / abs(span))
        starts, ends = x <= slack, x >= 1 - slack

        def exact_at_ends(y0, y1, y):  # the value alone: the slope, by which a root is found, stays the cubic's
            off = jnp.where(starts, y0 - y, jnp.where(ends, y1 - y, 0))
            return y + jax.lax.stop_gradient(off)

        phase = jax.tree.map(exact_at_ends, self.y0, self.y1, self._cubics(x))
        if self.y0.noise is None or "noise" in self.rates[0]:
            return phase
        noise = jnp.where(starts | ends, phase.noise, jnp.nan)
        return eqx.tree_at(lambda y: y.noise, phase, noise)

    def _cubics(self, x: Scalar) -> Phase:
        fields = {}
        for name in Phase.__annotations__:
            ends = getattr(self.y0, name), getattr(self.y1, name)
            if all(name in rates for rates in self.rates):
                slopes = (rates[name] for rates in self.rates)
                fields[name] = jax.tree.map(lambda *known: _cubic(x, *known), *ends, *slopes)
            else:
                fields[name] = jax.tree.map(lambda *known: _line(x, *known), *ends)
        return Phase(**fields)


def _line(x, y0, y1):
    return y0 + jnp.asarray(x, y0.dtype) * (y1 - y0)


def _cubic(x, y0, y1, slope0, slope1):
    x, change = jnp.asarray(x, y0.dtype), y1 - y0
    return y0 + x * change + x * (1 - x) * ((1 - x) * (slope0 - change) - x * (slope1 - change))


def step_rates(system: System, t: Scalar, h: Scalar, phase: Phase, gradient: Position) -> dict[str, Any]:
    """h dy/dt at a step's end by the names of the phase's fields, without those that white noise drives.

    Arguments:
        t, h: the time and the step, with its sign, as the system's clock runs.
        gradient: grad L at the phase's position.
    """
    known = ["position", "momentum", "friction", "noise", "work"]
    if system.noise is not None and not system.noise.remembers:
        known = ["position"]
    change = jax.tree.map(lambda rate: h * rate, rates(t, phase, system, gradient))
    return {name: getattr(change, name) for name in known}
