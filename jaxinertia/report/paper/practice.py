"""Claims about training practice: weight decay (IV-A) and what a monitor needs (V-C)."""

import diffrax
import jax.numpy as jnp
import numpy as np

from ...dynamics.simulate import simulate
from ...dynamics.solvers import kahan_li6
from ...physics import potentials
from ...physics.system import System
from .claims import Check, Claim, Verdict
from .findings import Findings, largest, times

DECAY = 0.1
STOP = 5.0


def measure(quick: bool) -> Findings:
    """Weight decay in both its forms, and the inertia without the velocity."""
    return Findings([_penalty(), _decoupled(), _from_positions()])


def _penalty():
    ts = times(STOP, 0.01)
    penalised = System(potentials.Quadratic(1.0 + DECAY))  # theta^2 / 2 + DECAY theta^2 / 2
    traj = simulate(penalised, ts, 1.0, dt=0.01, solver=kahan_li6())
    drag = -DECAY * float(np.trapezoid(np.asarray(traj.momentum) ** 2, ts))
    change = float(traj.inertia[-1] - traj.inertia[0])
    return Claim(
        "IV-A",
        "weight decay acts as a drag on the velocity",
        (Check("I(5) - I(0) with an L2 penalty, against -w int v^2", drag, change, 1e-3, "trapezoidal rule"),),
        "An L2 penalty is a potential: it stiffens the loss and takes no energy.",
        (Check("I(5) - I(0) with an L2 penalty", 0.0, change, 1e-11, "sixth order"),),
        Verdict.NEEDS_CORRECTION,
    )


def _decoupled():
    """theta' = v - w theta, v' = -grad L: dI/dt = -w theta.grad L, whatever its sign."""
    literal, corrected = [], []
    for name, potential, start in (
        ("quadratic", potentials.Quadratic(), 1.0),
        ("inside a double well", potentials.DoubleWell(), 0.3),
    ):
        change, drag, work = _integrate_decoupled(System(potential), start)
        sign = "falls" if work < 0 else "rises"
        literal.append(Check(f"I(1) - I(0), {name}, against -w int v^2", drag, change, 1e-3))
        corrected.append(Check(f"I(1) - I(0), {name} ({sign}), against -w int theta.grad L", work, change, 1e-8))
    return Claim(
        "IV-A, decoupled",
        "the same for decoupled weight decay (AdamW)",
        tuple(literal),
        "It drags theta, not v: dI/dt = -w theta.grad L, of either sign.",
        tuple(corrected),
        Verdict.NEEDS_CORRECTION,
    )


def _integrate_decoupled(system, start):
    def field(t, y, args):
        theta, v, _, _ = y
        g = system.gradient(theta)
        return v - DECAY * theta, -g, -DECAY * v**2, -DECAY * theta * g

    y0 = tuple(jnp.asarray(x) for x in (start, 0.0, 0.0, 0.0))
    solution = diffrax.diffeqsolve(diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, 1.0, 0.005, y0)
    theta, v, drag, work = (float(x[-1]) for x in solution.ys)
    change = v**2 / 2 + float(system.potential(jnp.asarray(theta)) - system.potential(jnp.asarray(start)))
    return change, drag, work


def _from_positions():
    every = 0.5  # between checkpoints
    traj = simulate(System(potentials.Quadratic()), times(20.0, every), 1.0, dt=0.01, solver=kahan_li6())
    theta = np.asarray(traj.position)
    guess = np.diff(theta) / every
    inertia = guess**2 / 2 + theta[1:] ** 2 / 2
    start = float(traj.inertia[0])
    return Claim(
        "V-C",
        "I can be monitored without access to gradients or optimizer state",
        (
            Check(
                "max |I - I(0)| / I(0), v from checkpoints 0.5 apart", 0.0, largest(inertia / start - 1), 1e-2, "1 %"
            ),
            Check("max |L - I(0)| / I(0), loss alone", 0.0, largest(traj.potential / start - 1), 1e-2, "1 %"),
        ),
        "The velocity is needed, and it is the optimizer's state.",
        (Check("max |I - I(0)| / I(0), with v", 0.0, largest(traj.inertia / start - 1), 1e-10, "sixth order"),),
        Verdict.NEEDS_CORRECTION,
    )
