"""Noise: 1024 Langevin oscillators x 2000 steps beside their peers; and a million runs against the exact mean."""

import math
import time
from collections.abc import Callable

import diffrax
import jax
import jax.numpy as jnp
import numba
import numpy as np
from jax.sharding import Mesh, PartitionSpec

import jaxinertia as ji

from .timing import interleaved, write_table

COUNT, STEPS, H, BLOCK = 1024, 2000, 0.01, 512
STIFFNESS, GAMMA, SIGMA = 1.5, 0.4, 0.7
STOP = STEPS * H


def simulated(law: str, dtype: type, devices: int) -> Callable:
    """The final inertia of every run by `ji.simulate`, over so many devices."""
    system = ji.System(ji.potentials.Quadratic(STIFFNESS), damping=GAMMA, noise=ji.noise.White(SIGMA, law=law))

    def one(key):
        return ji.simulate(system, np.array([0.0, STOP]), dtype(1.0), dt=H, key=key).inertia[-1]

    def share(keys):
        return jax.lax.map(one, keys, batch_size=BLOCK)

    mesh, split = Mesh(np.array(jax.devices()[:devices]), ("runs",)), PartitionSpec("runs")
    program = jax.jit(jax.shard_map(share, mesh=mesh, in_specs=split, out_specs=split, check_vma=False))
    keys = jax.random.split(jax.random.key(0), COUNT)
    return lambda: program(keys)


@numba.njit(parallel=True, fastmath=True)
def numba_baoab(count, steps, h, stiffness, gamma, sigma):
    """One run after another, with NumPy's generator, as one would write it."""
    energy = np.empty(count)
    decay, push = math.exp(-gamma * h), sigma * math.sqrt((1 - math.exp(-2 * gamma * h)) / (2 * gamma))
    for i in numba.prange(count):
        q, p = 1.0, 0.0
        for _ in range(steps):
            p -= h / 2 * stiffness * q
            q += h / 2 * p
            p = decay * p + push * np.random.standard_normal()  # noqa: NPY002  the generator that numba threads
            q += h / 2 * p
            p -= h / 2 * stiffness * q
        energy[i] = (p * p + stiffness * q * q) / 2
    return energy


@numba.njit(fastmath=True)
def _steps_of_rows(numbers, q, p, h, stiffness, decay, push):
    for row in numbers:
        for i in range(len(q)):
            p[i] -= h / 2 * stiffness * q[i]
            q[i] += h / 2 * p[i]
            p[i] = decay * p[i] + push * row[i]
            q[i] += h / 2 * p[i]
            p[i] -= h / 2 * stiffness * q[i]


def sfc64_baoab(generator: np.random.Generator) -> np.ndarray:
    """NumPy's SFC64 and ziggurat, whose stream is one for all runs, feeding a numba step; one thread."""
    q, p = np.ones(COUNT), np.zeros(COUNT)
    decay, push = math.exp(-GAMMA * H), SIGMA * math.sqrt((1 - math.exp(-2 * GAMMA * H)) / (2 * GAMMA))
    for _ in range(0, STEPS, 50):
        _steps_of_rows(generator.standard_normal((50, COUNT)), q, p, H, STIFFNESS, decay, push)
    return (p * p + STIFFNESS * q * q) / 2


def in_diffrax(path: str) -> Callable:
    """diffrax's Euler on UnsafeBrownianPath, or on a VirtualBrownianTree."""

    def one(key):
        shape = jax.ShapeDtypeStruct((), float)
        if path == "tree":
            brownian = diffrax.VirtualBrownianTree(0.0, STOP, H / 2, shape, key)
        else:
            brownian = diffrax.UnsafeBrownianPath(shape, key)

        def drift(t, y, args):
            q, p = y
            return jnp.stack([p, -STIFFNESS * q - GAMMA * p])

        noise = diffrax.ControlTerm(lambda t, y, args: jnp.array([0.0, SIGMA]), brownian)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), noise)
        start = jnp.array([1.0, 0.0])
        # Direct: only with it does diffrax accept an unsafe path.
        adjoint = diffrax.DirectAdjoint() if path == "unsafe" else diffrax.RecursiveCheckpointAdjoint()
        y = diffrax.diffeqsolve(terms, diffrax.Euler(), 0.0, STOP, H, start, max_steps=STEPS + 1, adjoint=adjoint).ys
        return (y[-1, 1] ** 2 + STIFFNESS * y[-1, 0] ** 2) / 2

    program, keys = jax.jit(jax.vmap(one)), jax.random.split(jax.random.key(0), COUNT)
    return lambda: program(keys)


def in_torchsde() -> Callable | None:
    """torchsde's Euler, if it is installed."""
    try:
        import torch  # noqa: PLC0415  an optional peer
        import torchsde  # noqa: PLC0415
    except ImportError:
        return None

    class Oscillator(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            q, p = y[:, :1], y[:, 1:]
            return torch.cat([p, -STIFFNESS * q - GAMMA * p], 1)

        def g(self, t, y):
            return torch.cat([torch.zeros_like(y[:, :1]), torch.full_like(y[:, 1:], SIGMA)], 1)

    start = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(COUNT, 2)
    times = torch.tensor([0.0, STOP], dtype=torch.float64)

    def run():
        with torch.no_grad():
            y = torchsde.sdeint(Oscillator(), start, times, method="euler", dt=H)[-1].numpy()
        return (y[:, 1] ** 2 + STIFFNESS * y[:, 0] ** 2) / 2

    return run


def check(name: str, values) -> None:
    """Every peer solves the same equation: its mean within five standard errors of the exact one (and Euler's 2 %)."""
    values = np.asarray(values, float)
    exact = float(ji.analytic.mean_inertia(STOP, 1.0, 0.0, STIFFNESS, GAMMA, SIGMA))
    if not abs(values.mean() - exact) <= 5 * values.std() / np.sqrt(len(values)) + 0.02 * exact:
        raise AssertionError(f"{name} has the mean {values.mean()}, not {exact}")


def speed() -> None:
    """The first table."""
    generator = np.random.Generator(np.random.SFC64(0))
    calls = {
        "numba, parallel, NumPy's generator": lambda: numba_baoab(COUNT, STEPS, H, STIFFNESS, GAMMA, SIGMA),
        "NumPy's SFC64 feeding a numba step, one thread": lambda: sfc64_baoab(generator),
    }
    for devices in range(1, len(jax.devices()) + 1):
        for law, dtype in (("gaussian", np.float64), ("gaussian", np.float32), ("three-point", np.float64)):
            name = f"jaxinertia, {law}, {dtype.__name__}, devices: {devices}"
            calls[name] = simulated(law, dtype, devices)
    calls["diffrax Euler, UnsafeBrownianPath"] = in_diffrax("unsafe")
    calls["diffrax Euler, VirtualBrownianTree"] = in_diffrax("tree")
    torch_run = in_torchsde()
    if torch_run is not None:
        calls["torchsde Euler"] = torch_run
    for name, call in calls.items():
        check(name, call())
    seconds = interleaved(calls, repeats=7, budget=4.0)
    first = seconds["numba, parallel, NumPy's generator"]
    write_table(
        "noise",
        f"{COUNT} Langevin oscillators x {STEPS} steps",
        "BAOAB on a quadratic (Euler where it is named), final inertia only; medians of interleaved runs. All agree "
        "with the exact mean. In jaxinertia a number is a function of the run's key, the step and the component alone: "
        "the same for any chunk, block or device. numba's and NumPy's generators are sequential. On one device XLA "
        "already shares the numbers out to all cores, so that a second device gains the rest of the step alone. Of a "
        "Gaussian step in float64 about half is the inverse of the distribution function and a third the hash (on one "
        "core).",
        ["run", "ms", "ns a step", "speed, numba parallel = 1"],
        [[name, 1e3 * s, 1e9 * s / (COUNT * STEPS), first / s] for name, s in seconds.items()],
    )


CASES = {
    "underdamped": (STIFFNESS, 0.4, SIGMA),
    "critically damped": (STIFFNESS, 2 * math.sqrt(STIFFNESS), SIGMA),
    "overdamped": (STIFFNESS, 4.0, SIGMA),
    "no damping": (STIFFNESS, 0.0, SIGMA),
    "matrices": ([[1.5, 0.3], [0.3, 0.8]], [[0.5, -0.2], [-0.2, 0.9]], [[0.7, 0.0], [0.4, 0.3]]),
}


def means(runs: int = 10**6, dt: float = 0.02) -> None:
    """The second table."""
    ts, rows = np.linspace(0, 4, 17), []
    for name, (stiffness, gamma, sigma) in CASES.items():
        spring, friction, amplitude = (np.asarray(x) for x in (stiffness, gamma, sigma))
        start = np.ones(len(spring)) if spring.ndim else 1.0
        potential = ji.potentials.Quadratic(stiffness) if not spring.ndim else lambda q, k=spring: q @ k @ q / 2
        system = ji.System(potential, friction, amplitude)
        began = time.perf_counter()
        found = ji.ensemble(system, ts, start, n=runs, key=jax.random.key(0), dt=dt, quantiles=())
        seconds = time.perf_counter() - began
        exact = np.asarray(ji.analytic.mean_inertia(ts, start, 0.0, spring, friction, amplitude))
        rate = float(np.sum(amplitude**2)) / 2
        error = found.standard_error

        def worst(measured, predicted, errors):
            return float(np.max(np.abs(measured - predicted)[1:] / errors[1:]))

        exact_gap = worst(found.mean.inertia, exact, error.inertia)
        paper_gap = worst(found.mean.inertia, exact - rate * ts, error.inertia)
        booked_gap = worst(found.mean.balance.noise, rate * ts, error.balance.noise)
        rows.append([name, exact_gap, paper_gap, booked_gap, seconds])
    write_table(
        "noise",
        f"{runs:,} runs against the exact mean",
        f"Largest distance over 16 times to t = 4, in standard errors; BAOAB at h = {dt}, whose own error is part of "
        "it. The paper's Eq. (7) is the exact curve without tr(sigma sigma^T) t / 2.",
        ["system", "from exact", "from the paper's (7)", "booked noise from tr(sigma sigma^T) t / 2", "s"],
        rows,
        append=True,
    )


def main() -> None:
    """Both tables."""
    speed()
    means()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
