"""Splittings and diffrax's Langevin solvers at equal work: how right are averages, and how right are paths?"""

from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

import jaxinertia as ji

from .timing import write_table

GAMMA, TEMPERATURE = 1.0, 1.0
STIFFNESSES = (1.0, 4.0, 9.0)
RATES = (4, 8, 16)  # gradients a unit of time
PATHS, STOP, FINE = 64, 4.0, 512


def solvers() -> dict[str, diffrax.AbstractSolver]:
    return {
        "BAOAB": ji.solvers.Splitting("BAOAB"),
        "ABOBA": ji.solvers.Splitting("ABOBA"),
        "diffrax ALIGN": diffrax.ALIGN(0.1),
        "diffrax ShOULD": diffrax.ShOULD(0.1),
        "diffrax QUICSORT": diffrax.QUICSORT(0.1),
    }


def counted(solver: diffrax.AbstractSolver) -> float:
    """Gradients a step, as evaluated: those of 24 steps less those of 8, over 16."""
    calls = []

    @jax.custom_vjp
    def potential(q):
        return q**2 / 2

    def backward(q, cotangent):
        jax.debug.callback(lambda: calls.append(1))
        return (cotangent * q,)

    potential.defvjp(lambda q: (q**2 / 2, q), backward)
    system = ji.System(potential, GAMMA, 1.0)
    counts = []
    for steps in (8, 24):
        calls.clear()
        path = diffrax.VirtualBrownianTree(0.0, 24.0, 1e-3, (), jax.random.key(0), diffrax.SpaceTimeTimeLevyArea)
        run = ji.simulate(system, np.array([0.0, steps / 10]), 1.0, dt=0.1, solver=solver, path=path)
        jax.block_until_ready(run.position)
        jax.effects_barrier()
        counts.append(len(calls))
    return (counts[1] - counts[0]) / 16


class OneStep(diffrax.AbstractPath):
    """A path of one step, whose increment and areas are given: a step on a quadratic is linear in all of them."""

    areas: tuple
    t0: jax.Array
    t1: jax.Array

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        w, h, k = self.areas
        if t1 is None:
            return (t0 - self.t0) / (self.t1 - self.t0) * w
        return diffrax.SpaceTimeTimeLevyArea(t1 - t0, w, h, k) if use_levy else w * (t1 - t0) / (self.t1 - self.t0)


def stationary(solver: diffrax.AbstractSolver) -> Callable[[float, float], np.ndarray]:
    """Of a stiffness and a step h: Cov(q, p) of the steps themselves in the long run, without chance.

    A step is linear, z' = M z + N (W, H, K), with independent W, H, K of variances h, h/12, h/720, so that
    C = M C M^T + N V N^T. All words here have one O a step, which takes one increment.
    """

    @jax.jit
    def columns(stiffness, h):
        system = ji.System(ji.potentials.Quadratic(stiffness), GAMMA, np.sqrt(2 * GAMMA * TEMPERATURE))

        def step(unit):
            path = OneStep(tuple(unit[2:]), 0.0, h)
            ts = h * jnp.arange(2)
            run = ji.simulate(system, ts, unit[0], unit[1], substeps=1, solver=solver, path=path)
            return jnp.stack([run.position[-1], run.momentum[-1]])

        return jax.vmap(step)(jnp.eye(5)).T

    def covariance(stiffness, h):
        both = np.asarray(columns(stiffness, h))
        push = both[:, 2:]
        return scipy.linalg.solve_discrete_lyapunov(both[:, :2], push @ np.diag([h, h / 12, h / 720]) @ push.T)

    return covariance


def averages() -> None:
    """Var q and Var p over those of the exact motion, less 1."""
    rows = []
    for name, solver in solvers().items():
        gradients, covariance = counted(solver), stationary(solver)
        for stiffness in STIFFNESSES:
            row = [name, f"{gradients:g}", f"{stiffness:g}"]
            for rate in RATES:
                variances = np.diag(covariance(stiffness, gradients / rate)) * [stiffness, 1] / TEMPERATURE
                row.append(", ".join(f"{np.round(100 * bias, 2) + 0.0:+.2f} %" for bias in variances - 1))
            rows.append(row)
    write_table(
        "langevin",
        "Under noise: averages",
        "Bias of <q^2>, and of <p^2>, of a stationary oscillator q'' + q' + stiffness q = noise at equal work, by "
        "linear algebra on the steps' own maps: no sampling error. In percent of the exact value.",
        ["solver", "gradients a step", "stiffness", *(f"{rate} gradients a unit of time" for rate in RATES)],
        rows,
    )


def last(solver: diffrax.AbstractSolver) -> Callable:
    """(keys, steps) -> position and momentum at STOP of a Duffing oscillator, on the path of each key.

    Step by step, with the increments and areas of the path: one program for any number of steps.
    """
    system = ji.System(ji.potentials.Duffing(), GAMMA, np.sqrt(2 * GAMMA * TEMPERATURE))

    def run(key, steps):
        path = diffrax.VirtualBrownianTree(0.0, STOP, STOP / 2**12, (), key, diffrax.SpaceTimeTimeLevyArea)
        h = STOP / steps

        def step(i, state):
            area = path.evaluate(i * h, jnp.minimum((i + 1) * h, STOP), use_levy=True)
            one = OneStep((area.W, area.H, area.K), 0.0, h)
            end = ji.simulate(system, h * jnp.arange(2), *state, substeps=1, solver=solver, path=one)
            return jnp.stack([end.position[-1], end.momentum[-1]])

        return jax.lax.fori_loop(0, steps, step, jnp.array([1.0, 0.0]))

    return jax.jit(jax.vmap(run, (0, None)))


def paths() -> None:
    """Root of the mean square error of (q, p) at STOP, on shared Brownian paths."""
    keys = jax.random.split(jax.random.key(0), PATHS)
    runs = {name: last(solver) for name, solver in solvers().items()}
    exact = runs["diffrax QUICSORT"](keys, FINE)
    rows = []
    for name, solver in solvers().items():
        steps = [round(STOP * rate / counted(solver)) for rate in RATES]
        errors = [float(jnp.sqrt(jnp.mean(jnp.sum((runs[name](keys, n) - exact) ** 2, axis=1)))) for n in steps]
        order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
        rows.append([name, *errors, f"{order:.2f}"])
    write_table(
        "langevin",
        "Under noise: paths",
        f"Root-mean-square error of (q, p) at t = {STOP:g} of a Duffing oscillator q'' + q' + q + q^3 = noise at "
        f"temperature 1, over {PATHS} Brownian paths that all solvers share, against {FINE} steps of QUICSORT on the "
        "same paths; and the order that the row shows.",
        ["solver", *(f"{rate} gradients a unit of time" for rate in RATES), "order"],
        rows,
        append=True,
    )


def main() -> None:
    averages()
    paths()
