"""Sweeps of 65,536 points x 2000 steps over two cores, beside C, numba, diffrax, torchdiffeq and SciPy."""

import importlib.util
import math
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import jaxinertia as ji
from jaxinertia.report import style

from . import peers
from .timing import RESULTS, interleaved, write_table

POINTS, STEPS, STOP = 65_536, 2000, 20.0
H = STOP / STEPS
GAMMA = np.linspace(0.0, 2.0, POINTS)
DAMPED = np.linspace(0.5, 2.0, POINTS)  # nearly undamped, the valley is chaotic: no two runs would agree
SHARE = 16  # the adaptive peers, slow and linear in the points, run every 16th of them
TOLERANCES = 10.0 ** -np.arange(3.0, 13.0, 0.5)


class Problem(NamedTuple):
    """One potential, in the forms that the peers take."""

    make: Callable[[], Any]
    start: np.ndarray  # shape () or (2,)
    energy: Callable[[np.ndarray], np.ndarray]  # of positions (count,) or (2, count)
    slope: Callable  # (x, y) -> (f_x, f_y), for numba
    force: Callable[[Any], Callable]  # namespace -> force of (count,) or (2, count)
    c: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # q0 -> (q, p)
    steps: tuple[int, ...]  # of the higher-order word, from coarse to fine
    gamma: np.ndarray = GAMMA


def valley(xp):
    """The gradient of Rosenbrock's function."""

    def force(q):
        x, y = q[0], q[1]
        across = y - x * x
        return xp.stack([-2 * (1 - x) - 400 * x * across, 200 * across])

    return force


PROBLEMS = {
    "quadratic": Problem(
        ji.potentials.Quadratic,
        np.float64(1.0),
        lambda q: q**2 / 2,
        lambda x, y: (x, 0.0),
        lambda xp: lambda q: q,
        lambda q: peers.c_obabo(GAMMA, q, STEPS, H, threads=True),
        (10, 12, 14, 16, 18, 20, 25, 30, 40, 50),
    ),
    "Duffing": Problem(
        ji.potentials.Duffing,
        np.float64(1.0),
        lambda q: q**2 / 2 + q**4 / 4,
        lambda x, y: (x + x * x * x, 0.0),
        lambda xp: lambda q: q + q * q * q,
        lambda q: peers.c_obabo(GAMMA, q, STEPS, H, cubic=1.0, threads=True),
        (14, 16, 18, 20, 25, 30, 35, 40, 50, 60, 80),
    ),
    "pendulum": Problem(
        ji.potentials.Pendulum,
        np.float64(1.0),
        lambda q: 1 - np.cos(q),
        lambda x, y: (math.sin(x), 0.0),
        lambda xp: xp.sin,
        lambda q: peers.c_formula("obabo_pendulum", GAMMA, q, STEPS, H),
        (14, 16, 18, 20, 25, 30, 35, 40, 50, 60, 80),
    ),
    "Rosenbrock": Problem(
        ji.potentials.Rosenbrock,
        np.array([0.5, 0.5]),
        lambda q: (1 - q[0]) ** 2 + 100 * (q[1] - q[0] ** 2) ** 2,
        lambda x, y: (-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)),
        valley,
        lambda q: peers.c_formula("obabo_rosenbrock", DAMPED, q, STEPS, H),
        (140, 160, 180, 200, 250, 300, 350, 500, 700, 1000),
        DAMPED,
    ),
}


def point(problem: Problem, solver: Any, steps: int, saves: int = 1) -> Callable:
    """gamma -> final energy, or the energies at so many times."""
    ts = np.linspace(0.0, STOP, saves + 1)

    def energy(gamma):
        system = ji.System(problem.make(), damping=gamma)
        inertia = ji.simulate(system, ts, problem.start, dt=STOP / steps, solver=solver).inertia
        return inertia[-1] if saves == 1 else inertia[1:]

    return energy


class Swept:
    """`ji.sweep` over all gammas, and how long the mapping alone took each time."""

    def __init__(self, problem: Problem, solver: Any, steps: int, saves: int = 1, devices: Any = None):
        self.fn, self.gamma, self.devices = point(problem, solver, steps, saves), problem.gamma, devices
        self.mapping: list[float] = []

    def __call__(self) -> np.ndarray:
        runs = ji.sweep(self.fn, {"gamma": self.gamma}, devices=self.devices)
        self.mapping.append(runs.seconds)
        return runs.values


def main() -> None:
    """All tables of this module."""
    if len(jax.devices()) < 2:
        raise ValueError("one JAX device only; run `python -m benchmarks sweeps`, which gives JAX one for each core")
    for number, name in enumerate(PROBLEMS):
        beside_peers(name, append=number > 0)
    saved_energies()
    overhead()
    growth()
    compilation_cache()
    ten_million()


def beside_peers(name: str, append: bool) -> None:
    """One potential: the same word as C, and everyone at C's accuracy."""
    problem = PROBLEMS[name]
    q0 = np.broadcast_to(problem.start[..., None], (*problem.start.shape, POINTS)).copy()
    flat = np.stack([q0, np.zeros_like(q0)]) if q0.ndim == 1 else q0  # numba moves two positions

    def energy(state):
        q, p = np.asarray(state[0]), np.asarray(state[1])
        return problem.energy(q) + np.sum(p * p, axis=tuple(range(p.ndim - 1))) / 2

    def of_numba(run):
        def call():
            q, p = run(problem.gamma, flat, STEPS, H)
            return energy((q[0], p[0]) if q0.ndim == 1 else (q, p))

        return call

    def in_whole_vectors():
        with peers.whole_vectors():
            return energy(problem.c(q0))

    word = ji.solvers.Splitting("OBABO")
    calls: dict[str, Callable[[], np.ndarray]] = {
        "C, OpenMP": lambda: energy(problem.c(q0)),
        **({"C, OpenMP, vectors of 512 bits": in_whole_vectors} if platform.machine() == "x86_64" else {}),
        "numba, parallel, blocked": of_numba(peers.numba_formula(problem.slope, blocked=True)),
        "numba, parallel, plain": of_numba(peers.numba_formula(problem.slope, blocked=False)),
        "ji.sweep, all devices": Swept(problem, word, STEPS),
        "ji.sweep, one device": Swept(problem, word, STEPS, devices=jax.devices()[:1]),
    }
    reference = calls["C, OpenMP"]()
    for peer, run in calls.items():
        difference = float(np.max(np.abs(run() - reference)))
        if not difference <= 1e-9:
            raise AssertionError(f"{peer} differs from C on the {name} by {difference}")
    exact = Swept(problem, ji.solvers.kahan_li6("OBABO"), STEPS)()

    def error(values):
        return float(np.max(np.abs(values - exact[:: POINTS // len(values)])))

    target = error(reference)
    calls |= {f"{key}, as accurate": run for key, run in higher_order(problem, error, target).items()}
    seconds = interleaved(calls, repeats=5, budget=4.0)
    few = {f"{key}, as accurate": run for key, run in adaptive(problem, q0, energy, error, target).items()}
    seconds |= {key: SHARE * s for key, s in interleaved(few, repeats=1).items()}
    calls |= few
    rows = []
    for key, run in calls.items():
        mapping = float(np.median(run.mapping[2:])) if isinstance(run, Swept) else seconds[key]
        rows.append([key, 1e3 * seconds[key], 1e3 * mapping, seconds["C, OpenMP"] / mapping, error(run())])
    low, high = problem.gamma[[0, -1]]
    write_table(
        "sweeps",
        f"{name}: {POINTS:,} points x {STEPS} steps",
        f"Word OBABO, float64, gamma in [{low:g}, {high:g}], final energy kept; `as accurate` takes the coarsest "
        "setting that reaches the error of C's leapfrog. A sweep is timed as called, tracing included, and from its "
        "first chunk to its last; all is compiled before. A sweep takes whole vectors where the CPU has 512 bits; gcc "
        "by itself takes half, so that C has a second row. The adaptive peers ran "
        f"every {SHARE}th point, and their time is scaled.",
        ["run", "ms as called", "ms of mapping", "speed of mapping, C = 1", "max energy error"],
        rows,
        append=append,
    )


def coarsest(settings, make: Callable, error: Callable, target: float) -> tuple[Any, Callable[[], np.ndarray]]:
    """The first setting whose run is within the target error, and that run."""
    for setting in settings:
        run = make(setting)
        if error(run()) <= target:
            return setting, run
    raise AssertionError("out of reach; extend the settings")


def higher_order(problem, error, target) -> dict[str, Callable[[], np.ndarray]]:
    """Words of order 4 and 6, each at the coarsest step within the target error."""
    words = {
        "kahan_li6": ji.solvers.kahan_li6("OBABO"),
        "blanes_moan4": ji.solvers.blanes_moan4(),
        "blanes_moan6": ji.solvers.blanes_moan6(),
    }
    runs = {}
    for name, word in words.items():
        steps, run = coarsest(problem.steps, lambda steps, word=word: Swept(problem, word, steps), error, target)
        runs[f"ji.sweep, {name} in {steps} steps"] = run
    return runs


def adaptive(problem, q0, energy, error, target) -> dict[str, Callable[[], np.ndarray]]:
    """Each adaptive peer at the loosest tolerance within the target error, on every SHARE-th point."""
    gamma, q0 = problem.gamma[::SHARE].copy(), q0[..., ::SHARE].copy()
    lanes = q0.T if q0.ndim == 2 else q0  # one trajectory is () or (2,)

    def diffrax_run(tolerance):
        run = peers.tuned_diffrax(problem.force(jnp), STOP, tolerance, gamma, lanes)
        return lambda: energy([np.asarray(x).T for x in run(gamma, lanes)[:2]])

    def torch_run(tolerance):
        import torch  # noqa: PLC0415

        return lambda: energy(peers.torchdiffeq_stacked(problem.force(torch), STOP, tolerance, gamma, q0))

    def scipy_run(tolerance):
        def force(q):
            return problem.force(np)(q.reshape(q0.shape)).ravel()

        drag = np.broadcast_to(gamma, q0.shape).ravel()
        return lambda: energy(
            [x.reshape(q0.shape) for x in peers.scipy_stacked(force, STOP, tolerance, drag, q0.ravel())]
        )

    makes = {"diffrax Tsit5 + PIDController, vmapped": diffrax_run, "SciPy DOP853, stacked": scipy_run}
    if importlib.util.find_spec("torchdiffeq"):
        makes["torchdiffeq dopri5, stacked"] = torch_run
    named = {}
    for name, make in makes.items():
        settings = TOLERANCES[::2] if make is torch_run else TOLERANCES  # whole decades of the slowest
        tolerance, run = coarsest(settings, make, error, target)
        named[f"{name}, tolerance {tolerance:.0e}"] = run
    return named


def saved_energies() -> None:
    """256 energies of each point instead of the last one."""
    word = ji.solvers.Splitting("OBABO")
    rows = []
    for name, problem in PROBLEMS.items():
        calls = {saves: Swept(problem, word, 2048, saves) for saves in (1, 256)}
        seconds = interleaved(calls, repeats=3, budget=3.0)
        rows.append([name, 1e3 * seconds[1], 1e3 * seconds[256], seconds[256] / seconds[1]])
    write_table(
        "sweeps",
        "256 saved energies a point",
        f"{POINTS:,} points x 2048 steps on all devices: the last energy alone, and 256 of them (134 MB).",
        ["potential", "ms, one energy", "ms, 256 energies", "ratio"],
        rows,
        append=True,
    )


def overhead() -> None:
    """`ji.sweep` beside the compiled map that one would write by hand."""
    from jax.sharding import Mesh, PartitionSpec  # noqa: PLC0415

    rows = []
    for name, problem in PROBLEMS.items():
        fn = point(problem, ji.solvers.Splitting("OBABO"), STEPS)
        gamma = np.linspace(0.0, 2.0, 2**19)
        mesh = Mesh(np.array(jax.devices()), ("points",))
        split = PartitionSpec("points")
        by_hand = jax.jit(
            jax.shard_map(
                lambda x, fn=fn: jax.lax.map(fn, x, batch_size=512),
                mesh=mesh,
                in_specs=split,
                out_specs=split,
                check_vma=False,
            )
        )
        vmapped = jax.jit(jax.vmap(fn))
        calls = {
            "sweep": lambda fn=fn, gamma=gamma: ji.sweep(fn, {"gamma": gamma}).values,
            "by hand": lambda f=by_hand, gamma=gamma: np.asarray(f(gamma)),
            "vmap": lambda f=vmapped, gamma=gamma: np.asarray(f(gamma)),
        }
        s = interleaved(calls, repeats=3, budget=6.0)
        rows.append(
            [name, 1e3 * s["sweep"], 1e3 * s["by hand"], 1e3 * s["vmap"], 100 * (s["sweep"] / s["by hand"] - 1)]
        )
    write_table(
        "sweeps",
        "What a sweep adds",
        f"{2**19:,} points x {STEPS} steps, all compiled before: `ji.sweep` as called, the same blocks in one jitted "
        "shard_map written by hand, and one bare jitted vmap on one device.",
        ["potential", "sweep, ms", "shard_map by hand, ms", "bare vmap, ms", "overhead over shard_map, %"],
        rows,
        append=True,
    )


def growth() -> None:
    """Time against points and steps."""
    problem, word = PROBLEMS["Duffing"], ji.solvers.Splitting("OBABO")
    rows, curves = [], {}
    for steps in (500, 2000):
        fn = point(problem, word, steps)
        for count in (10**3, 10**4, 10**5, 10**6):
            axes = {"gamma": np.linspace(0.0, 2.0, count)}
            s = interleaved({"sweep": lambda fn=fn, axes=axes: ji.sweep(fn, axes).values}, repeats=2, budget=3.0)
            curves.setdefault(steps, []).append((count, s["sweep"]))
            rows.append([steps, f"{count:,}", s["sweep"], 1e9 * s["sweep"] / count / steps])
    write_table(
        "sweeps",
        "Growth with points and steps",
        "Duffing, OBABO, final energy, all devices; a sweep as called, compiled before. Figure: sweeps_growth.png.",
        ["steps", "points", "s", "ns for a point and step"],
        rows,
        append=True,
    )
    mpl.use("Agg")
    with style.applied():
        fig, (ax,) = style.figure(width=style.COLUMN, height=2.6)
        for (steps, points), mark in zip(curves.items(), "os", strict=True):
            ax.loglog(*np.array(points).T, mark + "-", ms=3, label=f"{steps} steps")
        count = np.array([10**4, 10**6])
        ax.loglog(count, count * curves[2000][-1][1] / 10**6, ":", color=style.GREY, label="proportional")
        ax.set(xlabel="points", ylabel="time, s")
        ax.legend()
        fig.savefig(RESULTS / "sweeps_growth.png")


FIRST_CHUNK = """
import time, sys
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
import jaxinertia as ji
if len(sys.argv) > 1:
    ji.cache(sys.argv[1])
ts, solver = np.array([0.0, 20.0]), ji.solvers.kahan_li6()
def energy(gamma):
    return ji.simulate(ji.System(ji.potentials.Duffing(), gamma), ts, 1.0, dt=0.1, solver=solver).inertia[-1]
start = time.perf_counter()
ji.sweep(energy, {"gamma": np.linspace(0, 2, 1024)})
print(time.perf_counter() - start)
"""


def compilation_cache() -> None:
    """From the call of sweep to its first chunk, in a new process, without and with `ji.cache`."""

    def seconds(*arguments):
        command = [sys.executable, "-c", FIRST_CHUNK, *arguments]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    with tempfile.TemporaryDirectory() as folder:
        without = float(np.median([seconds() for _ in range(3)]))
        first = seconds(folder)
        second = float(np.median([seconds(folder) for _ in range(3)]))
    write_table(
        "sweeps",
        "JAX's compilation cache",
        "From the call of `ji.sweep` (Duffing, kahan_li6, one chunk) to its end, each in a new process (`ji.cache`).",
        ["process", "s", "of the time without"],
        [
            ["without a cache", without, 1.0],
            ["the first with one", first, first / without],
            ["the second", second, second / without],
        ],
        append=True,
    )


LARGE = """
import resource, time
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
import jaxinertia as ji
ts = np.array([0.0, 2.0])
def energy(gamma, q0):
    return ji.simulate(ji.System(ji.potentials.Duffing(), gamma), ts, q0, dt=0.01).inertia[-1]
start = time.perf_counter()
runs = ji.sweep(energy, {"gamma": np.linspace(0, 2, 2500), "q0": np.linspace(-1, 1, 4000)})
assert runs.values.shape == (2500, 4000) and runs.failed == 0
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def ten_million() -> None:
    """10^7 points with one number each: time and memory of the whole process."""
    command = [sys.executable, "-c", LARGE]
    seconds, gib = map(float, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    write_table(
        "sweeps",
        "Ten million points",
        "2,500 gamma x 4,000 starts, Duffing, BAOAB, 200 steps, final energy kept; compilation included.",
        ["points", "s", "points/s", "largest resident memory of the process, GiB"],
        [["10,000,000", seconds, f"{1e7 / seconds:,.0f}", gib]],
        append=True,
    )
