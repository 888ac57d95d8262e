"""Many trajectories on a GPU, as one kernel and beside its peers: `python -m benchmarks gpu`.

1000 steps of BAB (for Langevin BAOAB), the end of each trajectory kept. One command, unattended, in under eight
minutes. The table is written anew after every row, and what fails or comes out wrong costs a cell, whose reason stands
above the table; what is left when the time is up has a dash, and so has a peer that is not there.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import jaxinertia as ji

from .timing import write_table

STEPS, H, GAMMA, SIGMA = 1000, 0.002, 0.5, 0.5  # a valley of Rosenbrock's takes no longer steps
POINTS = (2**23, 2**20, 2**16, 2**13, 2**10)
SMALL = 8  # points of a trial of all methods
PEERS_AT, SWEEP_AT = 2**13, 2**20  # where peers that compile or run long are measured, and ji.sweep
CASES: dict[str, tuple[Any, int]] = {  # potential, components
    "quadratic": (ji.potentials.Quadratic(), 1),
    "Duffing": (ji.potentials.Duffing(), 1),
    "pendulum": (ji.potentials.Pendulum(), 1),
    "Rosenbrock": (ji.potentials.Rosenbrock(), 2),
    "Langevin": (ji.potentials.Duffing(), 1),
}
BUDGET = 420.0  # seconds in all
REPEATS, LONG = 5, 3.0  # measured runs, and seconds after which there are no more of them
TRIES = 3  # failures of a method after which it is passed over at as many points
# The least instructions of a step, of its numbers and of whole ones, where a product and the sum after it are one: of
# Duffing's x += h p; s = x x; t = -h - h s; p += x t. A sine, logarithm or root counts as one. Langevin's has ten
# rounds of Philox, of four each.
LEAST = {"quadratic": (2, 0), "Duffing": (4, 0), "pendulum": (3, 0), "Rosenbrock": (7, 0), "Langevin": (12, 40)}
ISSUED = 128  # instructions that a processor starts in a cycle
COLUMNS = ["potential", "dtype", "points", "kernel", "plain loop", "ji.sweep", "CUDA C++", "numba-cuda", "diffrax"]
COLUMNS += ["torchdiffeq", "floor", "kernel / CUDA C++", "kernel / floor", "plain / kernel"]


def main() -> None:
    """One row for each potential, dtype and number of points."""
    device = jax.devices()[0]
    if device.platform != "gpu":
        raise SystemExit(
            "JAX finds no GPU here, and this measures one: run it on a machine with an NVIDIA GPU and "
            "pip install 'jax[cuda13]'. `python -m benchmarks sweeps` measures processors."
        )
    measure(device)


def measure(device: Any) -> None:
    """All rows, the largest first; those that there are stand in the table after each."""
    begun, rows, failed = time.perf_counter(), [], []
    order = {name: i for i, name in enumerate(CASES)}
    title = f"Trajectories on {device.device_kind}"
    for points in POINTS:
        for dtype in ("float32", "float64"):
            for name in CASES:
                left = BUDGET - (time.perf_counter() - begun)
                rows.append(_row(name, dtype, points, device, left, failed))
                print(*rows[-1], flush=True)
                ordered = sorted(rows, key=lambda row: (order[row[0]], row[1], int(row[2].replace(",", ""))))
                write_table("gpu", title, _text(device, failed), COLUMNS, ordered, show=False)
    print(_text(device, failed))


class Failure(NamedTuple):
    """Of a method, in a row."""

    method: str
    points: int
    row: str
    reason: str


def _row(name: str, dtype: str, points: int, device: Any, left: float, failed: list[Failure]) -> list[Any]:
    """A row of the table; `failed` has the methods that failed so far, and why, and is added to."""
    begun, cells = time.perf_counter(), {}
    expected: np.ndarray | None = None
    for method, call in methods(name, dtype, points).items():
        spent, failures = time.perf_counter() - begun, [x[:2] == (method, points) for x in failed]
        if (spent > left / 4 and method != "kernel") or left <= 0 or sum(failures) >= TRIES:
            continue
        try:
            cells[method], ends = call()
            if method == "kernel":
                expected = ends
            elif name != "Langevin" or method == "plain loop":  # the others draw other numbers
                _check(method, name, dtype, ends, expected)
        except Exception as error:  # of a peer, of the device's memory, of ours: the other rows are worth having
            cells[method] = "failed"
            words = " ".join(str(error).split())[:200]
            row = f"{name}, {dtype}, {points:,} points"
            failed.append(Failure(method, points, row, f"{type(error).__name__}: {words}"))
    cells["floor"] = floor_ms(name, dtype, points, device)
    got = [cells.get(column) for column in COLUMNS[3:11]]
    pairs = ("kernel", "CUDA C++"), ("kernel", "floor"), ("plain loop", "kernel")
    return [name, dtype, f"{points:,}", *("-" if x is None else x for x in got), *(_ratio(cells, *x) for x in pairs)]


def _ratio(cells: dict[str, Any], above: str, below: str) -> float | str:
    known = isinstance(cells.get(above), float) and isinstance(cells.get(below), float)
    return cells[above] / cells[below] if known else "-"


def _check(method: str, name: str, dtype: str, ends: np.ndarray, expected: Any) -> None:
    """RuntimeError if a row is of another motion: chaos and rounding leave the mean energy of many alone."""
    solved = method in ("diffrax", "torchdiffeq")  # other methods, of other errors
    most = 1e-2 if solved else {"float32": 1e-3, "float64": 1e-8}[dtype]
    if expected is not None and not abs(np.mean(ends) / np.mean(expected) - 1) < most:
        raise RuntimeError(f"{method}, {name}, {dtype}: mean energy {np.mean(ends)}, the kernel's {np.mean(expected)}")


def _text(device: Any, failed: list[Failure]) -> str:
    absent = ", ".join(f"{peer} ({why})" for peer, why in missing().items()) or "none"
    first = {f"{x.method}: {x.reason}": x.row for x in reversed(failed)}
    reasons = f" Failed: {'; '.join(f'{why} (first in {row})' for why, row in first.items())}." if failed else ""
    return (
        f"Milliseconds, the fastest of {REPEATS}, of {STEPS} steps of h = {H}; {device.device_kind}, compute "
        f"capability {getattr(device, 'compute_capability', '?')}, {_nvidia('driver_version') or '?'} driver. BAB from "
        "starts between 0.5 and 1.5; Langevin is BAOAB on Duffing's potential. kernel and plain loop: jitted vmap with "
        "kernel=True and False; ji.sweep as called. CUDA C++: by hand, nvcc -O3, the kernel alone without transfers. "
        "diffrax: vmapped diffeqsolve with Tsit5 at the same step; torchdiffeq: rk4 at the same step. floor: the least "
        f"instructions of a step ({', '.join(f'{name} {sum(n)}' for name, n in LEAST.items())}), over what all "
        f"processors issue at their highest clock. Absent peers: {absent}.{reasons}"
    )


def methods(name: str, dtype: str, points: int, steps: int = STEPS) -> dict[str, Callable[[], Any]]:
    """name -> () -> (milliseconds, energies at the end), each built when called."""
    start = _start(name, dtype, points)
    found = {
        "kernel": partial(_ours, name, start, steps, True),
        "plain loop": partial(_ours, name, start, steps, False),
    }
    if points in (SWEEP_AT, SMALL):
        found["ji.sweep"] = partial(_sweep, name, start, steps)
    found["CUDA C++"] = partial(_by_hand, name, start, steps)
    if name in ("quadratic", "Duffing"):
        found["numba-cuda"] = partial(_numba, name, start, steps)
    if name != "Langevin" and points in (PEERS_AT, SMALL):
        found["diffrax"] = partial(_diffrax, name, start, steps)
        found["torchdiffeq"] = partial(_torch, name, start, steps)
    return {method: call for method, call in found.items() if method not in missing()}


@cache
def missing() -> dict[str, str]:
    """The peers that cannot run here, and why."""
    found = {}
    needs = {
        "CUDA C++": lambda: shutil.which("nvcc") and jax.default_backend() == "gpu",
        "numba-cuda": lambda: import_module("numba.cuda").is_available(),
        "torchdiffeq": lambda: import_module("torchdiffeq") and import_module("torch").cuda.is_available(),
    }
    for peer, is_there in needs.items():
        try:
            if not is_there():
                found[peer] = "no nvcc" if peer == "CUDA C++" else "it finds no GPU"
        except Exception as error:  # whatever goes wrong with it, the others run
            found[peer] = f"{type(error).__name__}: {str(error)[:80]}"
    return found


def _start(name: str, dtype: str, points: int) -> np.ndarray:
    """(points,), or (points, 2) for the plane."""
    size = CASES[name][1]
    starts = np.linspace(0.5, 1.5, points * size).reshape(size, points).T
    return (starts[:, 0] if size == 1 else np.ascontiguousarray(starts)).astype(dtype)


def _energy(name: str, q: np.ndarray, p: np.ndarray) -> np.ndarray:
    """K + L of (points,) or (points, 2)."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return np.asarray(jax.vmap(CASES[name][0])(q)) + np.sum(p.reshape(len(p), -1) ** 2, 1) / 2


def _one(name: str, steps: int, kernel: bool | None, q: Any, key: Any = None) -> tuple[Any, Any]:
    noisy = name == "Langevin"
    system = ji.System(CASES[name][0], damping=GAMMA if noisy else 0.0, noise=SIGMA if noisy else None)
    solver = ji.solvers.Splitting("BAOAB" if noisy else "BAB", kernel=kernel)
    ts = np.array([0.0, steps * H])
    traj = ji.simulate(system, ts, q, substeps=steps, solver=solver, key=key if noisy else None)
    return traj.position[-1], traj.momentum[-1]


def _measured(call: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of the fastest call after the first, and what that returns."""
    out = jax.block_until_ready(call())
    ms: list[float] = []
    while len(ms) < REPEATS and sum(ms) < 1e3 * LONG:
        begun = time.perf_counter()
        jax.block_until_ready(call())
        ms.append(1e3 * (time.perf_counter() - begun))
    return min(ms), out


def _ours(name: str, start: np.ndarray, steps: int, kernel: bool) -> tuple[float, np.ndarray]:
    run, given = jax.jit(jax.vmap(partial(_one, name, steps, kernel))), [jnp.asarray(start)]
    if name == "Langevin":
        given.append(jax.random.split(jax.random.key(0), len(start)))
    ms, (q, p) = _measured(lambda: run(*given))
    return ms, _energy(name, np.asarray(q), np.asarray(p))


def _sweep(name: str, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    key = jax.random.key(0) if name == "Langevin" else None

    def quiet(q):
        return _one(name, steps, None, q)

    def noisy(q, key):
        return _one(name, steps, None, q, key)

    ms, (q, p) = _measured(lambda: ji.sweep(quiet if key is None else noisy, {"q": start}, key=key).values)
    return ms, _energy(name, np.asarray(q), np.asarray(p))


@cache
def _library() -> ctypes.CDLL:
    target = Path(tempfile.mkdtemp()) / "gpu.so"
    source = Path(__file__).with_name("gpu.cu")
    flags = ("-O3", "-shared", "-Xcompiler", "-fPIC", "-arch=native")
    subprocess.run(["nvcc", *flags, str(source), "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


def _by_hand(name: str, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    run = _library().run32 if start.dtype == np.float32 else _library().run64
    run.restype = ctypes.c_double
    given = np.ascontiguousarray(start.T)
    q, p = np.empty_like(given), np.empty_like(given)
    numbers = [ctypes.c_double(x) for x in (H, GAMMA, SIGMA)]
    where = [ctypes.c_void_p(x.ctypes.data) for x in (given, q, p)]
    ms = run(list(CASES).index(name), ctypes.c_long(len(start)), steps, *numbers, *where, REPEATS)
    if ms < 0:
        raise RuntimeError("CUDA refuses memory, or the launch")
    return ms, _energy(name, q.T, p.T)


def _numba(name: str, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    if not hasattr(np, "row_stack"):  # which numba-cuda asks NumPy for, and NumPy has no more
        setattr(np, "row_stack", np.vstack)  # noqa: B010
    cuda: Any = import_module("numba.cuda")
    cubic, h = start.dtype.type(name == "Duffing"), start.dtype.type(H)

    @cuda.jit
    def verlet(start, q, p):
        i = cuda.grid(1)
        if i < len(start):
            x = start[i]
            u = -h / 2 * x * (1 + cubic * x * x)
            for _ in range(steps):
                x += h * u
                u -= h * x * (1 + cubic * x * x)
            q[i], p[i] = x, u + h / 2 * x * (1 + cubic * x * x)

    given, q, p = cuda.to_device(start), cuda.device_array_like(start), cuda.device_array_like(start)

    def call():
        verlet[-(-len(start) // 128), 128](given, q, p)
        cuda.synchronize()

    ms, _ = _measured(call)
    return ms, _energy(name, q.copy_to_host(), p.copy_to_host())


def _diffrax(name: str, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    slope = jax.grad(CASES[name][0])
    term = diffrax.ODETerm(lambda t, y, args: (y[1], -slope(y[0])))

    def one(q):
        y0, save = (q, jnp.zeros_like(q)), diffrax.SaveAt(t1=True)
        options = dict(stepsize_controller=diffrax.ConstantStepSize(), adjoint=diffrax.ForwardMode(), saveat=save)
        options["max_steps"] = steps + 8
        found = diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, steps * H, H, y0, **options)
        return found.ys[0][-1], found.ys[1][-1]

    run, given = jax.jit(jax.vmap(one)), jnp.asarray(start)
    ms, (q, p) = _measured(lambda: run(given))
    return ms, _energy(name, np.asarray(q), np.asarray(p))


def _torch(name: str, start: np.ndarray, steps: int) -> tuple[float, np.ndarray]:
    torch, odeint = import_module("torch"), import_module("torchdiffeq").odeint
    forces = {
        "quadratic": lambda x: x,
        "Duffing": lambda x: x * (1 + x * x),
        "pendulum": torch.sin,
        "Rosenbrock": lambda x: torch.stack(
            [-2 * (1 - x[:, 0]) - 400 * x[:, 0] * (x[:, 1] - x[:, 0] ** 2), 200 * (x[:, 1] - x[:, 0] ** 2)], 1
        ),
    }
    q0 = torch.as_tensor(start, device="cuda")
    ends = torch.tensor([0.0, steps * H], device="cuda", dtype=q0.dtype)

    def call():
        with torch.no_grad():
            force = forces[name]
            found = odeint(
                lambda t, y: (y[1], -force(y[0])),
                (q0, torch.zeros_like(q0)),
                ends,
                method="rk4",
                options={"step_size": H},
            )
        torch.cuda.synchronize()
        return [x[-1].cpu().numpy() for x in found]

    ms, (q, p) = _measured(call)
    return ms, _energy(name, q, p)


def floor_ms(name: str, dtype: str, points: int, device: Any) -> float | None:
    """Milliseconds that the arithmetic alone takes; None where the device does not tell how fast it is."""
    clock, processors = re.match(r"[0-9.]+", _nvidia("clocks.max.sm") or ""), getattr(device, "core_count", None)
    if clock is None or processors is None:
        return None
    numbers, whole = LEAST[name]
    capability = tuple(int(x) for x in str(device.compute_capability).split("."))
    cycles = max(numbers / _lanes(dtype, capability), (numbers + whole) / ISSUED)
    return 1e3 * points * STEPS * cycles / (processors * float(clock[0]) * 1e6)


def _lanes(dtype: str, capability: tuple[int, ...]) -> int:
    """Results of arithmetic that a processor has in a cycle: CUDA C++ Programming Guide, arithmetic instructions."""
    if dtype == "float32":
        return 64 if capability <= (8, 0) else 128
    return {(7, 0): 32, (8, 0): 32, (9, 0): 64, (10, 0): 64}.get(capability, 2)


@cache
def _nvidia(what: str) -> str | None:
    if not shutil.which("nvidia-smi"):
        return None
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    return told[0] if told else None
