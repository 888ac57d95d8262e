"""Appendix B: how the decay rate of I depends on gamma (figure 3)."""

import jax
import numpy as np

from ...dynamics.simulate import simulate
from ...dynamics.solvers import kahan_li6
from ...energy import analytic
from ...energy.rates import measured_decay_rate
from ...physics import potentials
from ...physics.system import System
from .. import plots, style
from .claims import Check, Claim, Verdict
from .findings import MOMENTUM, POSITION, Findings, largest, times

WINDOW = (20.0, 40.0)
GAMMAS = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 1.9, 2.0, 2.25, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
DT = 0.02
CAPTION = (
    "The decay rate of the inertia against the damping: measured (circles), exact for long times (line) "
    "and the paper's straight line (dashed), which ends at critical damping."
)


def measure(quick: bool) -> Findings:
    """Rates of many runs at once, beside the exact rate and the paper's straight line."""
    ts = times(WINDOW[1], 0.1)

    def run(gamma):
        system = System(potentials.Quadratic(), damping=gamma)
        return simulate(system, ts, POSITION, MOMENTUM, dt=DT, solver=kahan_li6())

    runs = jax.vmap(run)(GAMMAS)
    late = ts >= WINDOW[0]
    rates = np.asarray(measured_decay_rate(ts[late], runs.inertia[:, late]))
    q, p = analytic.quadratic(ts[late], POSITION, MOMENTUM, 1.0, GAMMAS)
    exact = np.asarray(measured_decay_rate(ts[late], (p**2 + q**2).T / 2))

    def at(gamma):
        return float(rates[np.flatnonzero(gamma == GAMMAS)[0]])

    claim = Claim(
        "appendix B",
        "the decay rate is gamma: a straight line",
        tuple(Check(f"rate at gamma = {g:g}", g, at(g), 0.05 * g, "5 %") for g in (0.5, 3.0, 6.0)),
        "gamma up to 2 sqrt(lambda), then gamma - sqrt(gamma^2 - 4 lambda): fastest at critical damping.",
        (
            Check("rate at gamma = 3", 3 - np.sqrt(5.0), at(3.0), 1e-6, "long times"),
            Check("rate at gamma = 6", 6 - np.sqrt(32.0), at(6.0), 1e-6, "long times"),
            Check("max |rate - exact rate in this window|", 0.0, largest(rates - exact), 1e-6, "sixth order"),
        ),
        Verdict.NEEDS_CORRECTION,
    )
    fig, (ax,) = style.figure(1, width=style.COLUMN, height=2.6)
    ax.plot([0, 4], [0, 4], color=style.RED, ls="--", lw=1, label=r"paper, rate $= \gamma$")
    plots.decay_rates(runs, ax, gamma=GAMMAS, stiffness=1.0, window=WINDOW)
    ax.text(2.1, 0.06, "critical", color=style.GREY)
    ax.set(ylim=(0, 3))
    return Findings([claim], "fig3_decay_rates", fig, CAPTION)
