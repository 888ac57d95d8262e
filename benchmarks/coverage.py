"""How often 95 % intervals for gamma hold the truth, over 300 made-up records of each kind that people have.

`python -m benchmarks coverage`, or `python -m benchmarks fits.coverage`, which is the same.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats
from scipy.linalg import expm
from scipy.signal import lsim

import jaxinertia as ji

from .timing import write_table

RECORDS, MANY = 300, 1000
GAMMA = 0.2
TS, SHORT = np.linspace(0, 30, 300), np.linspace(0, 20, 200)
SMALL = 0.02  # of an amplitude of 1


def langevin(rng, n: int, dt: float, records: int) -> np.ndarray:
    """Stationary positions by the exact discrete law, (records, n)."""
    rate = np.array([[0.0, 1.0], [-1.0, -1.0]])
    move = expm(rate * dt)
    root = np.linalg.cholesky(np.eye(2) - move @ move.T)
    z, out = rng.normal(size=(records, 2)), np.empty((records, n))
    for k in range(n):
        out[:, k] = z[:, 0]
        z = z @ move.T + rng.normal(size=(records, 2)) @ root.T
    return out


class Case(NamedTuple):
    """Records, the law that is fitted to them, and the gamma in them."""

    data: Callable[[np.random.Generator], list[ji.Observations]]
    system: ji.System
    free: Callable[[ji.System], Any]
    gamma: float = GAMMA
    loss: str = "squares"


def gamma_and_stiffness(s: ji.System) -> tuple:
    return s.damping.gamma, s.potential.stiffness


SPRING = ji.System(ji.potentials.Quadratic())


def ringing(ts: np.ndarray, gamma: float = GAMMA, stiffness: float = 1.3) -> np.ndarray:
    """The damped oscillator let go at 1."""
    return np.asarray(ji.analytic.quadratic(ts, 1.0, 0.0, stiffness, gamma)[0])


def noisy(y: np.ndarray, rng: np.random.Generator, error: Any = SMALL) -> np.ndarray:
    """One record after another of the same motion."""
    return y + error * rng.normal(size=(RECORDS, len(y)))


def uneven(rng):
    out = []
    for _ in range(RECORDS):
        ts = np.sort(rng.uniform(0, 30, 300))
        out.append(ji.Observations(ts, ringing(ts) + SMALL * rng.normal(size=300)))
    return out


def three_segments(rng):
    ts, segment = np.tile(np.linspace(0, 10, 100), 3), np.repeat([0, 1, 2], 100)
    y = np.concatenate([size * ringing(ts[:100]) for size in (1.0, -0.7, 0.5)])
    return [ji.Observations(ts, x, segment=segment) for x in noisy(y, rng)]


def thousand_cycles(rng):
    ts = np.linspace(0, 1000 * 2 * np.pi, 12_000)
    return [ji.Observations(ts, x) for x in noisy(ringing(ts, 1e-3, 1.0), rng, 0.1)]


def overdamped(rng):
    return [ji.Observations(TS, x) for x in noisy(ringing(TS, 3.0, 1.0), rng, 0.005)]


def heteroscedastic(rng):
    error = SMALL * (0.3 + np.exp(-TS / 8))
    return [ji.Observations(TS, x, position_error=error) for x in noisy(ringing(TS), rng, error)]


def unknown_heteroscedastic(rng):
    error = SMALL * (0.3 + np.exp(-TS / 8))
    return [ji.Observations(TS, x) for x in noisy(ringing(TS), rng, error)]


def quantised(rng):
    """To steps of 2.5 times the noise."""
    return [ji.Observations(TS, 0.05 * np.round(x / 0.05)) for x in noisy(ringing(TS), rng)]


def outliers(rng):
    y = noisy(ringing(TS), rng)
    return [ji.Observations(TS, x) for x in np.where(rng.random(y.shape) < 0.03, y + 2 * rng.normal(size=y.shape), y)]


def simulated(system: ji.System, ts: np.ndarray = TS, substeps: int = 64) -> np.ndarray:
    """The motion of a law without a closed form, let go at 1, in steps so short that nothing of them is seen."""
    word = ji.solvers.Splitting("AFA")
    return np.asarray(ji.simulate(system, ts, 1.0, 0.0, substeps=substeps, solver=word).position)


def dry(rng):
    y = simulated(ji.System(ji.potentials.Quadratic(1.3), ji.damping.Drag(0.05, dry=0.02)), TS, 256)
    return [ji.Observations(TS, x) for x in noisy(y, rng, 0.005)]


def softening(rng):
    y = simulated(ji.System(ji.potentials.Duffing(1.3, -0.4), GAMMA))
    return [ji.Observations(TS, x) for x in noisy(y, rng)]


def driven(rng):
    """By an input that is a line between its samples."""
    u = rng.normal(size=len(TS)).cumsum() / 10
    y = lsim(([[0, 1], [-1.3, -GAMMA]], [[0], [0.8]], [[1, 0]], 0), u, TS, [1.0, 0.0])[1]
    return [ji.Observations(TS, x, input=u) for x in noisy(y, rng)]


def noise_driven(rng):
    ys = langevin(rng, 2000, 0.2, RECORDS)
    return [ji.Observations(0.2 * np.arange(2000), y + 0.05 * rng.normal(size=2000), position_error=0.05) for y in ys]


CASES: dict[str, Case] = {
    "even times": Case(
        lambda rng: [ji.Observations(TS, x) for x in noisy(ringing(TS), rng)], SPRING, gamma_and_stiffness
    ),
    "uneven times": Case(uneven, SPRING, gamma_and_stiffness),
    "three segments": Case(three_segments, SPRING, gamma_and_stiffness),
    "1,000 cycles, 10 % noise": Case(thousand_cycles, SPRING, gamma_and_stiffness, 1e-3),
    "Q = 1/3": Case(overdamped, SPRING, gamma_and_stiffness, 3.0),
    "known errors, unlike": Case(heteroscedastic, SPRING, gamma_and_stiffness),
    "unknown errors, unlike": Case(unknown_heteroscedastic, SPRING, gamma_and_stiffness),
    "quantised": Case(quantised, SPRING, gamma_and_stiffness),
    "3 % outliers, loss = student": Case(outliers, SPRING, gamma_and_stiffness, loss="student"),
    "3 % outliers, loss = soft_l1": Case(outliers, SPRING, gamma_and_stiffness, loss="soft_l1"),
    "dry friction": Case(
        dry,
        ji.System(ji.potentials.Quadratic(), ji.damping.Drag(0.1, dry=0.1)),
        lambda s: (s.damping.linear, s.damping.dry, s.potential.stiffness),
        0.05,
    ),
    "softening Duffing": Case(
        softening,
        ji.System(ji.potentials.Duffing()),
        lambda s: (s.damping.gamma, s.potential.linear, s.potential.cubic),
    ),
    "driven": Case(driven, SPRING, lambda s: (s.damping.gamma, s.potential.stiffness, s.force.gain)),
    "noise-driven": Case(
        noise_driven,
        ji.System(ji.potentials.Quadratic(), 0.3, 1.0),
        lambda s: (s.damping.gamma, s.potential.stiffness, s.noise.sigma),
        1.0,
    ),
}


def covered(name: str) -> list[Any]:
    """One row of the table."""
    case, rng = CASES[name], np.random.default_rng(list(CASES).index(name))
    data, start = case.data(rng), time.process_time()
    fits = ji.fit_many(case.system, data, case.free, loss=case.loss)
    low, high = (side[0] for side in fits.interval(0.95))
    held = (low <= case.gamma) & (case.gamma <= high)
    good = fits.converged
    z = (fits.flat[good, 0] - case.gamma) / fits.stderr[0][good]
    share = float(np.mean(held[good]))
    rows = [100 * share, float(np.mean(z)), float(np.std(z)), float(np.median(fits.stderr[0][good])) / case.gamma]
    shown = [f"{rows[0]:.1f} %", f"{rows[1]:+.2f}", f"{rows[2]:.2f}", f"{100 * rows[3]:.2g} %"]
    return [name, case.gamma, int(good.sum()), *shown, time.process_time() - start]


def profiles() -> None:
    """How often 95 % intervals hold the truth, those of the profile too, over 1,000 records."""
    rows = []
    cases = [("under", GAMMA, SMALL), ("near-critically ", 1.99, 0.005), ("over", 4.0, 0.002), ("over", 4.0, 0.01)]
    for name, gamma, error in cases:
        rng = np.random.default_rng(3)
        exact, _ = ji.analytic.quadratic(SHORT, 1.0, 0.0, 1.0, gamma)
        data = [ji.Observations(SHORT, y) for y in np.asarray(exact) + error * rng.normal(size=(MANY, len(SHORT)))]
        fits = ji.fit_many(SPRING, data, gamma_and_stiffness)
        low, high = fits.interval(0.95)
        held = [np.mean((a <= x) & (x <= b)) for a, b, x in zip(low, high, (gamma, 1.0), strict=True)]
        at_truth = ji.System(ji.potentials.Quadratic(), gamma)
        others = (lambda s: s.potential.stiffness, lambda s: s.damping.gamma)
        held += [_profile_holds(at_truth, data, fits, free) for free in others]
        relative = float(np.median(fits.stderr[0])) / gamma
        shown = [f"{100 * x:.1f} %" for x in (relative, *held)]
        rows.append([name + "damped", gamma, error, int(fits.converged.sum()), *shown])
    text = (
        f"{MANY} ring-downs of {len(SHORT)} readings, white noise of unknown size, stiffness 1. Held: how often the "
        "interval from the standard error holds the truth, and how often the profile's (method='profile') does: "
        "by the cost with the true value held, all else refitted. 95 % +- 0.7 % by chance."
    )
    columns = ["case", "gamma", "noise", "converged", "stderr / gamma", "gamma held", "stiffness held"]
    columns += ["gamma held, profile", "stiffness held, profile"]
    write_table("coverage", "Overdamped records, and the profile", text, columns, rows, append=True)


def _profile_holds(system: ji.System, data: list, fits: Any, free: Callable) -> float:
    """How often the cost at one true number, the other refitted, is within the bound of the profile's interval."""
    held = ji.fit_many(system, data, free)
    rise = held.reduced_chi_square * held.freedom - fits.reduced_chi_square * fits.freedom
    bound = stats.t.ppf(0.975, fits.freedom) ** 2 * fits.reduced_chi_square
    return float(np.mean(rise <= bound))


def main() -> None:
    """The whole table."""
    text = (
        f"{RECORDS} records of each kind; if nothing else is said of 300 readings of 5 cycles, gamma {GAMMA}, noise of "
        "2 % of the first swing and of unknown size. Held: how often the 95 % interval from the standard error holds "
        "the true gamma, 95 % +- 1.3 % by chance; z = (gamma - truth) / stderr, mean 0 +- 0.06 and deviation 1 +- 0.04 "
        "by chance."
    )
    columns = ["records", "gamma", "converged", "held", "mean z", "deviation of z", "median stderr / gamma", "CPU s"]
    write_table("coverage", "95 % intervals for gamma", text, columns, [covered(name) for name in CASES])
    profiles()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
