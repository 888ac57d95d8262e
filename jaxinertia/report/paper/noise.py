"""Eq. (5)-(7): the inertia under white, coloured and vanishing noise, and the term that the paper drops (figure 6)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...dynamics.ensemble import ensemble
from ...dynamics.path import BrownianPath
from ...dynamics.simulate import simulate
from ...energy import analytic
from ...physics import potentials
from ...physics.noise import AbstractNoise, Colored, White
from ...physics.system import System
from .. import style
from .claims import Check, Claim, Verdict
from .findings import Findings, times

STIFFNESS, GAMMA, SIGMA, START, STOP = 1.5, 0.4, 0.7, 1.0, 10.0
FORCE, TAU = 0.8, 0.5  # the coloured noise: standard deviation and correlation time of the force
FAINT = 0.02 * SIGMA
DT = 0.02
ERRORS = 4.0  # standard errors: one false alarm in 16,000 for a single comparison
CAPTION = (
    "The mean inertia under noise: (a) measured (points) beside the paper's (7) without and with what "
    "noise gives, (b) what is left to the corrected one, (c) for vanishing noise, what is left to the "
    "paper's. Bars: 4 standard errors to either side."
)


class Curves(NamedTuple):
    """E[I](t) and the mean booked noise, measured with their standard errors, beside the predictions."""

    ts: np.ndarray
    mean: np.ndarray
    error: np.ndarray
    booked: np.ndarray
    booked_error: np.ndarray
    exact: np.ndarray
    given: np.ndarray  # what the noise gives on average, which Eq. (7) leaves out

    @property
    def paper(self) -> np.ndarray:
        """Eq. (7) with the true E|v|^2: the exact curve without what the noise gives."""
        return self.exact - self.given


def measure(quick: bool) -> Findings:
    """E[I](t) over many runs, beside the paper's line and the corrected one."""
    runs = 4_000 if quick else 40_000
    ts = times(STOP, 0.25)
    white = _curves(White(SIGMA), ts, runs, SIGMA, None)
    colored = _curves(Colored(FORCE, TAU), ts, runs, FORCE, TAU)
    faint = _curves(White(FAINT), ts, runs, FAINT, None)
    claims = [_pathwise(), _in_the_mean(white), _with_memory(colored), _vanishing(faint)]
    return Findings(claims, "fig6_noise", _draw(white, colored, faint, runs), CAPTION)


def _curves(noise: AbstractNoise, ts, runs, sigma, tau) -> Curves:
    system = System(potentials.Quadratic(STIFFNESS), damping=GAMMA, noise=noise)
    runs_found = ensemble(system, ts, START, n=runs, key=jax.random.key(0), dt=DT, quantiles=())
    exact = np.asarray(analytic.mean_inertia(ts, START, 0.0, STIFFNESS, GAMMA, sigma, tau))
    mean, error = runs_found.mean, runs_found.standard_error
    found = (mean.inertia, error.inertia, mean.balance.noise, error.balance.noise)
    measured, spread, booked, booked_spread = (np.asarray(x) for x in found)
    return Curves(ts, measured, spread, booked, booked_spread, exact, _given(ts, sigma, tau))


def _given(ts, sigma, tau):
    """int tr(sigma sigma^T)/2 dt, or int E[v.xi] dt by Simpson's rule on a grid 50 times finer."""
    if tau is None:
        return sigma**2 * ts / 2
    fine = np.linspace(0, ts[-1], 50 * (len(ts) - 1) + 1)
    law = analytic.oscillator_law(fine, START, 0.0, STIFFNESS, GAMMA, sigma, tau)
    power = np.asarray(law.covariance[:, 1, 2] + law.mean[:, 1] * law.mean[:, 2])
    h = fine[1] - fine[0]
    pairs = h / 3 * (power[:-2:2] + 4 * power[1:-1:2] + power[2::2])
    return np.concatenate([[0.0], np.cumsum(pairs)])[::25]


def _worst(measured, predicted, errors):
    return float(np.max(np.abs(measured - predicted)[1:] / errors[1:]))


def _checks(curves: Curves, what: str) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """The paper's Eq. (7) and the corrected one, in standard errors."""
    literal = "largest |E[I] - (7)| in standard errors"
    corrected = "largest |E[I] - exact| in standard errors"
    booked = f"largest |mean booked noise - {what}| in standard errors"
    return (Check(literal, 0.0, _worst(curves.mean, curves.paper, curves.error), ERRORS, "chance"),), (
        Check(corrected, 0.0, _worst(curves.mean, curves.exact, curves.error), ERRORS, "chance"),
        Check(booked, 0.0, _worst(curves.booked, curves.given, curves.booked_error), ERRORS, "chance"),
    )


def _in_the_mean(curves: Curves) -> Claim:
    literal, corrected = _checks(curves, "sigma^2 t / 2")
    return Claim(
        "Eq. (7)",
        "dE[I]/dt = -gamma E|v|^2",
        literal,
        "dE[I]/dt = -gamma E|v|^2 + tr(sigma sigma^T)/2: the Ito term is missing. (7) holds only as noise vanishes.",
        corrected,
        Verdict.NEEDS_CORRECTION,
    )


def _with_memory(curves: Curves) -> Claim:
    literal, corrected = _checks(curves, "int E[v.xi] dt")
    power = float(analytic.colored_power(STIFFNESS, GAMMA, FORCE, TAU))
    late = len(curves.ts) // 2  # the start is forgotten as e^{-gamma t}
    span = curves.ts[-1] - curves.ts[late]
    measured = float((curves.booked[-1] - curves.booked[late]) / span)
    expected = float((curves.given[-1] - curves.given[late]) / span)
    chance = ERRORS * float(np.hypot(curves.booked_error[-1], curves.booked_error[late])) / span
    return Claim(
        "Eq. (7), coloured noise",
        "dE[I]/dt = -gamma E|v|^2",
        literal,
        "add E[v.xi], since a force with a memory is correlated with the velocity; in the long run "
        "sigma^2 tau / (1 + gamma tau + lambda tau^2).",
        (
            *corrected,
            Check(
                "power E[v.xi] over the second half, against sigma^2 tau / (1 + gamma tau + lambda tau^2)",
                power,
                measured,
                chance + abs(expected - power),
                "chance, and the start not yet forgotten",
            ),
        ),
        Verdict.NEEDS_CORRECTION,
    )


def _vanishing(curves: Curves) -> Claim:
    """(7) errs by sigma^2 t / 2, which for faint noise is small beside I(0), and still there."""
    start = float(curves.exact[0])
    gap, missing = float(curves.mean[-1] - curves.paper[-1]) / start, FAINT**2 * STOP / 2 / start
    chance = ERRORS * float(curves.error[-1]) / start
    quantity = f"(E[I] - (7)) / I(0) at sigma = {FAINT:.3g}, t = {STOP:g}"
    return Claim(
        "Eq. (7), sigma -> 0",
        "dE[I]/dt = -gamma E|v|^2",
        (Check(quantity, 0.0, gap, chance, "chance"),),
        "(7) is the limit sigma -> 0: what it misses, sigma^2 t / 2, is here a thousandth of I(0), and measurable.",
        (Check(f"{quantity}, against sigma^2 t / (2 I(0))", missing, gap, chance, "chance"),),
        Verdict.NEEDS_CORRECTION,
    )


def _pathwise() -> Claim:
    """Both readings of v.xi in Eq. (6) along one path: Ito (left point) and Stratonovich (mid-point)."""
    levels, stop = 11, 2.048
    dt = stop / 2**levels
    ts = times(stop, dt)
    path = BrownianPath(0.0, stop, levels, 0.0, jax.random.key(1))
    system = System(potentials.Quadratic(STIFFNESS), damping=GAMMA, noise=SIGMA)
    traj = simulate(system, ts, START, substeps=1, path=path)
    increments = jnp.diff(path.table)
    v = traj.momentum
    left = SIGMA * float(jnp.sum(v[:-1] * increments))
    middle = SIGMA * float(jnp.sum((v[:-1] + v[1:]) / 2 * increments))
    gained = float((traj.inertia - traj.inertia[0] - traj.balance.friction)[-1])
    # sum of (dW^2 - dt) sigma^2 / 2 has the standard deviation sigma^2 sqrt(dt stop / 2).
    chance = ERRORS * SIGMA**2 * np.sqrt(dt * stop / 2)
    change = f"I - I(0) - friction at t = {stop}"
    return Claim(
        "Eq. (5)-(6)",
        "dI = -gamma |v|^2 dt + v.sigma dW",
        (Check(f"{change}, against the Ito sum of v.sigma dW", left, gained, chance, "chance"),),
        "In Ito's sense add tr(sigma sigma^T)/2 dt; without it (6) holds read in Stratonovich's sense.",
        (
            Check("the same, against the mid-point sum", middle, gained, chance, "chance"),
            Check(
                "the same, against the Ito sum + sigma^2 t / 2", left + SIGMA**2 * stop / 2, gained, chance, "chance"
            ),
        ),
        Verdict.NEEDS_CORRECTION,
    )


def _draw(white: Curves, colored: Curves, faint: Curves, runs: int):
    fig, (means, rest, faintly) = style.figure(1, width=style.COLUMN, height=6.2, rows=3)
    named = {rf"white, $\sigma = {SIGMA}$": (white, style.BLUE, "o")}
    named[rf"coloured, $\sigma = {FORCE}$, $\tau = {TAU}$"] = (colored, style.ORANGE, "s")
    for k, (label, (curves, color, mark)) in enumerate(named.items()):
        means.plot(curves.ts, curves.exact, color=color, lw=1, label=f"{label}: (7) corrected")
        means.plot(curves.ts, curves.paper, color=color, ls="--", lw=1, label="the same: (7) of the paper")
        means.plot(curves.ts, curves.mean, mark, ms=2.5, mfc="white", mew=0.7, color=color)
        shift = (k - 0.5) * 0.08  # beside each other, not upon
        _with_errors(rest, curves.ts + shift, curves.mean - curves.exact, curves.error, color, mark, None)
    means.set(ylabel=r"mean inertia $\mathrm{E}[I]$", title=f"points: {runs:,} runs")
    below = dict(loc="upper center", columnspacing=1.2)
    means.legend(bbox_to_anchor=(0.5, -0.12), ncols=1, **below)
    rest.axhline(0, color=style.BLACK, lw=0.6)
    rest.set(ylabel=r"$\mathrm{E}[I]$ $-$ corrected (7)", title="what is left, $\\pm 4$ standard errors")
    _with_errors(faintly, faint.ts, faint.mean - faint.paper, faint.error, style.GREEN, "o", "measured")
    faintly.plot(faint.ts, faint.given, color=style.BLACK, lw=0.8, label=r"corrected: $\sigma^2 t/2$")
    faintly.axhline(0, color=style.RED, ls="--", lw=1, label="paper's (7)")
    faintly.set(xlabel="time $t$", ylabel=r"$\mathrm{E}[I]$ $-$ paper's (7)")
    faintly.set_title(rf"vanishing noise, $\sigma = {FAINT:.3g}$")
    faintly.ticklabel_format(axis="y", scilimits=(0, 0), useMathText=True)
    faintly.legend(bbox_to_anchor=(0.5, -0.28), ncols=3, **below)
    return fig


def _with_errors(ax, ts, values, errors, color, mark, label):
    """Points with ERRORS standard errors to either side."""
    style_of = dict(fmt=mark, ms=2, color=color, elinewidth=0.6, capsize=0, label=label)
    ax.errorbar(ts, values, ERRORS * errors, **style_of)
