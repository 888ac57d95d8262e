"""Eq. (5)-(7): the inertia under white noise, and the Ito term that the paper drops (figure 6)."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics.simulate import simulate
from ...energy import analytic
from ...physics import potentials
from ...physics.system import System
from .. import style
from .claims import Check, Claim, Verdict
from .findings import Findings, times

STIFFNESS, GAMMA, SIGMA, START, STOP = 1.5, 0.4, 0.7, 1.0, 10.0
DT = 0.02
ERRORS = 4.0  # standard errors: one false alarm in 16,000 for a single comparison


def measure(quick: bool) -> Findings:
    """E[I](t) over many runs, beside the paper's line and the corrected one."""
    runs = 4_000 if quick else 40_000
    ts = times(STOP, 0.25)
    system = System(potentials.Quadratic(STIFFNESS), damping=GAMMA, noise=SIGMA)

    @jax.jit
    def many(keys):
        def one(key):
            traj = simulate(system, ts, START, dt=DT, key=key)
            return traj.inertia, traj.balance.noise

        inertia, booked = jax.lax.map(one, keys, batch_size=1000)
        return inertia.mean(0), inertia.std(0) / np.sqrt(runs), booked.mean(0), booked.std(0) / np.sqrt(runs)

    mean, error, booked, booked_error = (np.asarray(x) for x in many(jax.random.split(jax.random.key(0), runs)))
    exact = np.asarray(analytic.mean_inertia(ts, START, 0.0, STIFFNESS, GAMMA, SIGMA))
    paper = exact - SIGMA**2 * ts / 2
    claims = [_pathwise(), _in_the_mean(ts, mean, error, booked, booked_error, exact, paper)]
    return Findings(claims, "fig6_noise", _draw(ts, mean, error, exact, paper, runs))


def _in_the_mean(ts, mean, error, booked, booked_error, exact, paper):
    def worst(measured, predicted, errors):
        return float(np.max(np.abs(measured - predicted)[1:] / errors[1:]))

    return Claim(
        "Eq. (7)",
        "dE[I]/dt = -gamma E|v|^2",
        (Check("largest |E[I] - (7)| in standard errors", 0.0, worst(mean, paper, error), ERRORS, "chance"),),
        "dE[I]/dt = -gamma E|v|^2 + tr(sigma sigma^T)/2: the Ito term is missing. (7) holds only as noise vanishes.",
        (
            Check("largest |E[I] - exact| in standard errors", 0.0, worst(mean, exact, error), ERRORS, "chance"),
            Check(
                "largest |mean booked noise - sigma^2 t / 2| in standard errors",
                0.0,
                worst(booked, SIGMA**2 * ts / 2, booked_error),
                ERRORS,
                "chance",
            ),
        ),
        Verdict.NEEDS_CORRECTION,
    )


def _pathwise():
    """Both readings of v.xi in Eq. (6) along one path: Ito (left point) and Stratonovich (mid-point)."""
    stop, dt = 2.0, 1e-3
    ts = times(stop, dt)
    shape = jax.ShapeDtypeStruct((), jnp.result_type(float))
    path = diffrax.VirtualBrownianTree(0.0, stop, dt / 4, shape, jax.random.key(1))
    system = System(potentials.Quadratic(STIFFNESS), damping=GAMMA, noise=SIGMA)
    traj = simulate(system, ts, START, dt=dt, path=path)
    increments = jax.vmap(path.evaluate)(ts[:-1], ts[1:])
    v = traj.momentum
    left = SIGMA * float(jnp.sum(v[:-1] * increments))
    middle = SIGMA * float(jnp.sum((v[:-1] + v[1:]) / 2 * increments))
    gained = float((traj.inertia - traj.inertia[0] - traj.balance.friction)[-1])
    # sum of (dW^2 - dt) sigma^2 / 2 has the standard deviation sigma^2 sqrt(dt stop / 2).
    chance = ERRORS * SIGMA**2 * np.sqrt(dt * stop / 2)
    return Claim(
        "Eq. (5)-(6)",
        "dI = -gamma |v|^2 dt + v.sigma dW",
        (Check("I - I(0) - friction at t = 2, against the Ito sum of v.sigma dW", left, gained, chance, "chance"),),
        "In Ito's sense add tr(sigma sigma^T)/2 dt; without it (6) holds read in Stratonovich's sense.",
        (
            Check("the same, against the mid-point sum", middle, gained, chance, "chance"),
            Check(
                "the same, against the Ito sum + sigma^2 t / 2", left + SIGMA**2 * stop / 2, gained, chance, "chance"
            ),
        ),
        Verdict.NEEDS_CORRECTION,
    )


def _draw(ts, mean, error, exact, paper, runs):
    fig, (ax, close_up) = style.figure(2)
    ax.plot(ts, mean, ".", ms=4, color=style.BLUE, label=f"measured, {runs:,} runs")
    ax.plot(ts, exact, color=style.BLACK, lw=1, label="corrected: with the Ito term")
    ax.plot(ts, paper, color=style.RED, ls="--", lw=1, label="paper's (7)")
    ax.axhline(0, color=style.GREY, lw=0.5)
    ax.set(xlabel="time $t$", ylabel=r"mean inertia $\mathrm{E}[I]$")
    ax.legend(loc="lower left")
    band = ERRORS * error
    close_up.fill_between(ts, -band, band, color=style.SKY, alpha=0.5, lw=0, label=r"$\pm 4$ standard errors")
    close_up.plot(ts, mean - exact, ".", ms=4, color=style.BLUE, label="measured - corrected")
    close_up.plot(ts, paper - exact, color=style.RED, ls="--", lw=1, label="paper's (7) - corrected")
    close_up.axhline(0, color=style.BLACK, lw=0.8)
    close_up.set(xlabel="time $t$", ylabel="difference", ylim=2.2 * band.max() * np.array([-1, 1]))
    close_up.legend(loc="lower right")
    return fig
