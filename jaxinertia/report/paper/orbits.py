"""Phase portraits and appendix C: when orbits close (figures 2 and 4)."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import Normalize

from ...dynamics.simulate import simulate
from ...dynamics.solvers import kahan_li6
from ...physics import potentials
from ...physics.system import System
from .. import plots, style
from .claims import Check, Claim, Verdict
from .findings import GAMMAS, MOMENTUM, POSITION, STOP, Findings, largest, times

DT = 0.02
STIFFNESS = jnp.array([1.0, 4.0])
CLOSED = 1e-8  # sixth order over one turn: 2 pi (2 h)^6 = 3e-8 at most in any component of size 1
PORTRAIT = (
    "The phase plane of a quadratic loss: (a) without friction the orbit closes, (b) with friction it "
    "spirals in. Dots: the start."
)
LANDSCAPE = (
    "Paths from rest at four starts (dots) over an anisotropic bowl, coloured by the inertia on the way: "
    "(a) without friction each keeps its own, (b) with friction it falls. Grey: contours of the loss."
)


def portrait(quick: bool) -> Findings:
    """One degree of freedom: a closed orbit without friction, a spiral with it."""
    ts = times(STOP, 0.02)

    def run(gamma):
        return simulate(
            System(potentials.Quadratic(), damping=gamma), ts, POSITION, MOMENTUM, dt=DT, solver=kahan_li6()
        )

    fig, (left, right) = style.figure(2, width=style.COLUMN, height=1.9)
    for ax, gamma in zip((left, right), GAMMAS, strict=True):
        plots.phase_portrait(run(gamma), ax)
        ax.set(title=rf"$\gamma = {gamma:g}$", xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
        ax.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    turn = simulate(System(potentials.Quadratic()), [0.0, 2 * np.pi], POSITION, MOMENTUM, dt=DT, solver=kahan_li6())
    gap = largest(jnp.array([turn.position[-1] - turn.position[0], turn.momentum[-1] - turn.momentum[0]]))
    check = Check("distance from the start after one period", 0.0, gap, CLOSED, "sixth order")
    claim = Claim("section V, phase plane", "without friction the orbit in (theta, v) is closed", (check,))
    return Findings([claim], "fig2_phase_portrait", fig, PORTRAIT)


def landscape(quick: bool) -> Findings:
    """Two degrees of freedom: four starts on a circle over the anisotropic bowl."""
    angles = np.deg2rad([20.0, 120.0, 205.0, 290.0])  # one in each quarter, each of another inertia
    starts = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    bowl = potentials.Quadratic(STIFFNESS)
    ts = times(2 * np.pi, 2 * np.pi / 400)

    def run(gamma):
        system = System(bowl, damping=gamma)
        return jax.vmap(lambda q: simulate(system, ts, q, dt=DT, solver=kahan_li6()))(starts)

    free, damped = run(0.0), run(0.2)
    fig, axes = style.figure(2, width=style.COLUMN, height=2.5)
    norm = Normalize(0.0, float(free.inertia.max()))
    for ax, traj, title in zip(axes, (free, damped), (r"$\gamma = 0$", r"$\gamma = 0.2$"), strict=True):
        plots.contours(ax, bowl, [-1.05, -1.05], [1.05, 1.05], 10)
        pieces = plots.colour_by_inertia(traj, ax, norm)
        ax.set(title=title, xlabel=r"$\theta_1$", xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
    axes[0].set_ylabel(r"$\theta_2$")
    fig.colorbar(pieces, ax=axes, location="bottom", shrink=0.7, aspect=30, label="inertia $I$ along the path")
    gap = largest(free.position[:, -1] - free.position[:, 0])
    closed = Check("distance from the start after 2 pi, frequencies 1 and 2", 0.0, gap, CLOSED, "sixth order")
    never = Check(
        "closest return in t in [1, 100], frequencies 1 and sqrt 2", 0.0, _closest_return(), 1e-2, "drawn width"
    )
    claim = Claim(
        "appendix C",
        "frictionless trajectories are closed orbits",
        (never,),
        "Closed if the frequencies are commensurate, as 1 and 2 here; else the path fills a rectangle, at constant I.",
        (closed,),
        Verdict.NEEDS_CORRECTION,
    )
    return Findings([claim], "fig4_landscape", fig, LANDSCAPE)


def _closest_return():
    system = System(potentials.Quadratic([1.0, 2.0]))
    traj = simulate(system, times(100.0, 0.01), np.array([1.0, 1.0]), dt=DT, solver=kahan_li6())
    away = jnp.linalg.norm(jnp.concatenate([traj.position - 1.0, traj.momentum], axis=1), axis=1)
    return float(jnp.min(away[100:]))
