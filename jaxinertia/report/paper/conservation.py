"""Sections II, III and V: inertia without and with friction (Eq. 1-4 and 12-16, Theorem 1; figure 1)."""

import jax
import numpy as np
from scipy.integrate import simpson

from ...dynamics.simulate import simulate
from ...dynamics.solvers import kahan_li6
from ...energy import analytic
from ...physics import potentials
from ...physics.system import System
from .. import plots, style
from .claims import Check, Claim, Verdict
from .findings import GAMMAS, MOMENTUM, POSITION, STOP, Findings, largest, times

DT = 0.02
EVERY = 0.01
# Order 6 leaves about DT^6 = 6e-11 a unit of time at worst; rounding adds 1e-12 over 1000 steps of 9 stages.
SIXTH_ORDER = STOP * DT**6
CAPTION = (
    "Energies on a quadratic loss (a) without and (b) with friction. The inertia (wide) is constant, or "
    "falls by just what the balance books as friction (thin, upon it), around the exponential of the "
    "paper's (16)."
)


def measure(quick: bool) -> Findings:
    """Conservation, decay, and the closed forms of the quadratic loss."""
    ts = times(STOP, EVERY)
    gamma = GAMMAS[1]
    free = _run(0.0, ts)
    damped = _run(gamma, ts)
    claims = [
        _motion(ts),
        _theorem_1(),
        _rate(damped, ts, gamma),
        *_signs(damped),
        _closed_forms(ts),
        _mean_decay(gamma),
    ]
    return Findings(claims, "fig1_energy", _draw(free, damped, gamma), CAPTION)


def _run(gamma, ts, potential=None, **options):
    system = System(potential or potentials.Quadratic(), damping=gamma, noise=options.pop("noise", None))
    options.setdefault("solver", kahan_li6())
    return simulate(system, ts, POSITION, MOMENTUM, dt=DT, **options)


def _motion(ts):
    traj = _run(GAMMAS[1], ts)
    v = np.asarray(traj.momentum)
    h = ts[1] - ts[0]
    acceleration = (v[2:] - v[:-2]) / (2 * h)
    residual = acceleration + GAMMAS[1] * v[1:-1] + np.asarray(traj.position)[1:-1]
    bound = h**2 / 6 * 1.1  # central difference: h^2 |v'''| / 6, with |v'''| <= 1.1 here
    check = Check("max |theta'' + gamma theta' + grad L|", 0.0, largest(residual), bound, "h^2 |v'''| / 6")
    return Claim("Eq. (1)-(2)", "theta'' + gamma theta' + grad L = 0 moves the parameters; I = |v|^2/2 + L", (check,))


def _theorem_1():
    ts = times(STOP, 0.1)
    shapes = {"quadratic": potentials.Quadratic(), "Duffing": potentials.Duffing(), "pendulum": potentials.Pendulum()}
    checks = []
    for name, potential in shapes.items():
        inertia = _run(0.0, ts, potential).inertia
        checks.append(Check(f"max |I - I(0)|, {name}", 0.0, largest(inertia - inertia[0]), SIXTH_ORDER, "20 h^6"))
    return Claim("Theorem 1, Eq. (3)", "without friction and noise I is constant", tuple(checks))


def _rate(damped, ts, gamma):
    power = gamma * np.asarray(damped.momentum) ** 2
    lost = np.array([-simpson(power[: 2 * k + 1], x=ts[: 2 * k + 1]) for k in range(1, len(ts) // 2, 25)])
    change = np.asarray(damped.inertia - damped.inertia[0])[2 : len(ts) - 1 : 50]
    bound = STOP * EVERY**4 / 180 * gamma * 2**4  # Simpson: T h^4 / 180 times the fourth derivative of gamma v^2
    booked = np.asarray(damped.balance.friction)[2 : len(ts) - 1 : 50]
    checks = (
        Check("max |I(t) - I(0) + int gamma v^2|", 0.0, largest(change - lost), bound, "Simpson's rule"),
        Check("max |booked friction + int gamma v^2|", 0.0, largest(booked - lost), bound, "Simpson's rule"),
    )
    return Claim("Eq. (4)", "dI/dt = -gamma |v|^2", checks)


def _signs(damped):
    noisy = _run(0.2, times(STOP, EVERY), noise=0.3, solver=None, key=jax.random.key(7))
    rising = float(np.mean(np.diff(noisy.inertia) > 0))
    quiet = float(np.mean(np.diff(damped.inertia) > 0))
    stopped = np.diff(damped.inertia) >= 0  # I stands still only where v does
    slow = largest(np.where(stopped, np.asarray(damped.momentum)[1:], 0.0))
    with_noise = Check("share of intervals in which I rises, sigma = 0.3", 0.0, rising, 0.0, "monotone means none")
    correction = "Without noise only: a random force lifts I in about half of all short intervals."
    needs = Verdict.NEEDS_CORRECTION
    strictly = Claim(
        "Eq. (4), remark",
        "dI/dt is strictly negative unless v = 0",
        (with_noise,),
        correction,
        (Check("max |v| where I does not fall, no noise", 0.0, slow, 1e-6, "I falls by 2e-15 at v = 1e-6"),),
        needs,
    )
    monotone = Claim(
        "section III",
        "I decreases monotonically",
        (with_noise,),
        correction,
        (Check("share of intervals in which I rises, no noise", 0.0, quiet, 0.0, "none"),),
        needs,
    )
    return [strictly, monotone]


def _closed_forms(ts):
    checks = []
    for name, gamma in (("no friction", 0.0), ("underdamped", 0.2), ("critical", 2.0), ("overdamped", 5.0)):
        traj = _run(gamma, ts)
        q, p = analytic.quadratic(ts, POSITION, MOMENTUM, 1.0, gamma)
        error = max(largest(traj.position - q), largest(traj.momentum - p))
        # The error constant grows with the fastest rate of the motion, to the sixth power.
        bound = SIXTH_ORDER * max(1.0, gamma) ** 6
        checks.append(Check(f"max error of theta and v, {name}", 0.0, error, bound, "20 (rate h)^6"))
    return Claim("Eq. (12)-(15)", "a quadratic loss gives a damped oscillation in closed form", tuple(checks))


def _mean_decay(gamma):
    omega = np.sqrt(1 - gamma**2 / 4)
    periods = 3
    ts = np.linspace(0, periods * 2 * np.pi / omega, 1201)
    traj = _run(gamma, ts)
    start = POSITION**2 / 2
    scaled = np.asarray(traj.inertia) * np.exp(gamma * ts) / start
    invariant = analytic.damped_invariant(traj.position, traj.momentum, 1.0, gamma)
    flat = np.asarray(invariant) * np.exp(gamma * ts) / start
    # <u^2> of the undamped factor u = e^{at} theta gives the mean of I e^{gamma t} over a period exactly.
    mean = 1 + gamma**2 / 4 * (1 + (gamma / 2 / omega) ** 2) / 2 / start
    return Claim(
        "Eq. (16)",
        "I(t) = I(0) e^{-gamma t}",
        (Check("max |I e^{gamma t} / I(0) - 1|", 0.0, largest(scaled - 1), 1e-6, "an identity"),),
        "I oscillates around e^{-gamma t}; J = I + (gamma/2) theta v decays exactly so.",
        (
            Check("max |J e^{gamma t} / J(0) - 1|", 0.0, largest(flat - 1), 1e-7, "sixth order, times e^{gamma t}"),
            Check("mean of I e^{gamma t} / I(0) over 3 periods", mean, float(np.mean(scaled[:-1])), 1e-6, "exact mean"),
        ),
        Verdict.ON_AVERAGE,
    )


def _draw(free, damped, gamma):
    fig, (left, right) = style.figure(1, width=style.COLUMN, height=4.0, rows=2)
    plots.energy(free, left)
    left.set_title(r"no friction, $\gamma = 0$")
    left.get_legend().remove()
    plots.energy(damped, right)
    ts = np.asarray(damped.ts)
    paper = np.asarray(damped.inertia[0]) * np.exp(-gamma * ts)
    right.plot(ts, paper, color=style.RED, ls="--", lw=1, label=r"paper's (16), $I(0)\,e^{-\gamma t}$")
    right.set_title(rf"damped, $\gamma = {gamma:g}$")
    right.legend()
    left.set_ylim(top=0.56)
    for ax in (left, right):
        ax.set_xticks(range(0, 21, 5))
    return fig
