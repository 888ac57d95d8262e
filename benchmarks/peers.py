"""The peers: hand-written C, numba, diffrax and SciPy, all on many independent oscillators at once."""

import ctypes
import math
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numba
import numpy as np
from scipy.integrate import DOP853

FLAGS = ("-O3", "-march=native", "-ffast-math", "-shared", "-fPIC")


_whole = ContextVar("whole", default=False)


@contextmanager
def whole_vectors() -> Iterator[None]:
    """C with vectors of 512 bits: gcc by itself takes half of them, as XLA does."""
    token = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(token)


def c_library(threads: bool) -> ctypes.CDLL:
    """oscillators.c, compiled here and now; with OpenMP if `threads`."""
    return _compiled(threads, _whole.get())


@cache
def _compiled(threads: bool, whole: bool) -> ctypes.CDLL:
    target = Path(tempfile.mkdtemp()) / "oscillators.so"
    source = Path(__file__).with_name("oscillators.c")
    more = [*(["-fopenmp"] if threads else []), *(["-mprefer-vector-width=512"] if whole else [])]
    subprocess.run(["gcc", *FLAGS, *more, "-Wno-unknown-pragmas", str(source), "-o", str(target), "-lm"], check=True)
    return ctypes.CDLL(str(target))


def _pointer(x: np.ndarray) -> Any:
    return x.ctypes.data_as(ctypes.POINTER(ctypes.c_double))


def c_obabo(gamma, q0, steps, h, linear=1.0, cubic=0.0, threads=False, joined=False) -> tuple[np.ndarray, np.ndarray]:
    q, p = q0.copy(), np.zeros_like(q0)
    numbers = [ctypes.c_double(x) for x in (linear, cubic)]
    run = c_library(threads).obabo_joined if joined else c_library(threads).obabo
    run(
        ctypes.c_long(len(q)),
        ctypes.c_long(steps),
        ctypes.c_double(h),
        _pointer(gamma),
        *numbers,
        _pointer(q),
        _pointer(p),
    )
    return q, p


def c_formula(name: str, gamma, q0, steps, h) -> tuple[np.ndarray, np.ndarray]:
    """`obabo_pendulum` or `obabo_rosenbrock`, on all threads; q0 has shape (count,) or (2, count)."""
    q, p = q0.copy(), np.zeros_like(q0)
    run = getattr(c_library(True), name)
    run(ctypes.c_long(q.shape[-1]), ctypes.c_long(steps), ctypes.c_double(h), _pointer(gamma), _pointer(q), _pointer(p))
    return q, p


def c_verlet(q0, steps, h, linear=1.0, cubic=0.0, pendulum=False) -> tuple[np.ndarray, np.ndarray]:
    q, p = q0.copy(), np.zeros_like(q0)
    numbers = [ctypes.c_double(x) for x in (linear, cubic)]
    c_library(False).verlet(
        ctypes.c_long(len(q)),
        ctypes.c_long(steps),
        ctypes.c_double(h),
        *numbers,
        ctypes.c_int(pendulum),
        _pointer(q),
        _pointer(p),
    )
    return q, p


def c_langevin(q0, steps, h, gamma, sigma, linear=1.0, threads=False, seed=1) -> tuple[np.ndarray, np.ndarray]:
    q, p = q0.copy(), np.zeros_like(q0)
    numbers = [ctypes.c_double(x) for x in (h, gamma, sigma, linear)]
    run = c_library(threads).langevin
    run(ctypes.c_long(len(q)), ctypes.c_long(steps), *numbers, ctypes.c_uint64(seed), _pointer(q), _pointer(p))
    return q, p


@numba.njit(parallel=True, fastmath=True)
def numba_obabo(gamma, q0, steps, h):
    """One trajectory after another, as one would write it."""
    q, p = q0.copy(), np.zeros_like(q0)
    for i in numba.prange(len(q)):
        x, v, decay = q[i], 0.0, math.exp(-gamma[i] * h / 2)
        for _ in range(steps):
            v = v * decay - h / 2 * x
            x += h * v
            v = (v - h / 2 * x) * decay
        q[i], p[i] = x, v
    return q, p


@numba.njit(parallel=True, fastmath=True)
def numba_obabo_blocked(gamma, q0, steps, h):
    """Blocks of 64 trajectories in the first cache, SIMD across a block."""
    q, p = q0.copy(), np.zeros_like(q0)
    for block in numba.prange(len(q) // 64):
        first = block * 64
        x, v, decay = q[first : first + 64].copy(), np.zeros(64), np.exp(-gamma[first : first + 64] * h / 2)
        for _ in range(steps):
            for i in range(64):
                v[i] = v[i] * decay[i] - h / 2 * x[i]
                x[i] += h * v[i]
                v[i] = (v[i] - h / 2 * x[i]) * decay[i]
        q[first : first + 64], p[first : first + 64] = x, v
    return q, p


def numba_formula(slope: Callable, blocked: bool) -> Callable:
    """OBABO for any slope(x, y) -> (f_x, f_y): (gamma, q0, steps, h) -> (q, p), with q0 of shape (2, count).

    A potential of one position leaves the second at rest, and the compiler sees through it.
    """
    slope = numba.njit(slope, fastmath=True, inline="always")

    def plain(gamma, q0, steps, h):
        q, p = q0.copy(), np.zeros_like(q0)
        for i in numba.prange(q.shape[1]):
            x, y, u, v, decay = q[0, i], q[1, i], 0.0, 0.0, math.exp(-gamma[i] * h / 2)
            f, g = slope(x, y)
            for _ in range(steps):
                u = u * decay - h / 2 * f
                v = v * decay - h / 2 * g
                x += h * u
                y += h * v
                f, g = slope(x, y)
                u = (u - h / 2 * f) * decay
                v = (v - h / 2 * g) * decay
            q[0, i], q[1, i], p[0, i], p[1, i] = x, y, u, v
        return q, p

    def in_blocks(gamma, q0, steps, h):
        q, p = q0.copy(), np.zeros_like(q0)
        for block in numba.prange(q.shape[1] // 64):
            a, b = 64 * block, 64 * block + 64
            x, y, u, v = q[0, a:b].copy(), q[1, a:b].copy(), np.zeros(64), np.zeros(64)
            decay = np.exp(-gamma[a:b] * h / 2)
            for _ in range(steps):
                for i in range(64):
                    f, g = slope(x[i], y[i])
                    u[i] = u[i] * decay[i] - h / 2 * f
                    v[i] = v[i] * decay[i] - h / 2 * g
                    x[i] += h * u[i]
                    y[i] += h * v[i]
                    f, g = slope(x[i], y[i])
                    u[i] = (u[i] - h / 2 * f) * decay[i]
                    v[i] = (v[i] - h / 2 * g) * decay[i]
            q[0, a:b], q[1, a:b], p[0, a:b], p[1, a:b] = x, y, u, v
        return q, p

    return numba.njit(in_blocks if blocked else plain, parallel=True, fastmath=True)


def diffrax_adaptive(force: Callable, stop: float, tolerance: float, max_steps: int) -> Callable:
    """A jitted, vmapped Tsit5 + PIDController: (gamma, q0) -> (q, p, steps)."""
    controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
    return _tsit5(force, stop, dt0=None, controller=controller, max_steps=max_steps)


def tuned_diffrax(force, stop, tolerance, gamma, q0) -> Callable:
    """The same with max_steps sized to what the batch needs: diffrax is faster for it."""
    steps = int(diffrax_adaptive(force, stop, tolerance, 2**16)(gamma, q0)[2].max())
    return diffrax_adaptive(force, stop, tolerance, steps + 1)


def diffrax_fixed(force: Callable, stop: float, steps: int) -> Callable:
    """A jitted, vmapped Tsit5 at constant steps: (gamma, q0) -> (q, p, steps)."""
    return _tsit5(force, stop, dt0=stop / steps, controller=diffrax.ConstantStepSize(), max_steps=steps + 1)


def _tsit5(force, stop, dt0, controller, max_steps):
    def field(t, y, gamma):
        q, p = y
        return p, -force(q) - gamma * p

    def one(gamma, q0):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            diffrax.Tsit5(),
            0.0,
            stop,
            dt0,
            (q0, jnp.zeros_like(q0)),
            args=gamma,
            stepsize_controller=controller,
            max_steps=max_steps,
            saveat=diffrax.SaveAt(t1=True),
        )
        return solution.ys[0][0], solution.ys[1][0], solution.stats["num_steps"]

    return jax.jit(jax.vmap(one))


def scipy_stacked(force, stop, tolerance, gamma, q0) -> tuple[np.ndarray, np.ndarray]:
    """DOP853 on all trajectories as one long vector."""
    n = len(q0)

    def field(t, y):
        q, p = y[:n], y[n:]
        return np.concatenate([p, -force(q) - gamma * p])

    solver = DOP853(field, 0.0, np.concatenate([q0, np.zeros(n)]), stop, rtol=tolerance, atol=tolerance)
    while solver.status == "running":
        solver.step()
    return solver.y[:n], solver.y[n:]


def torchdiffeq_stacked(force, stop, tolerance, gamma, q0) -> tuple[np.ndarray, np.ndarray]:
    """One adaptive dopri5 over all trajectories; force acts on tensors of the shape of q0."""
    import torch  # noqa: PLC0415  heavy, and not everywhere
    from torchdiffeq import odeint  # noqa: PLC0415

    drag = torch.from_numpy(gamma)

    def field(_t, y):
        q, p = y
        return torch.stack([p, -force(q) - drag * p])

    first = torch.from_numpy(np.stack([q0, np.zeros_like(q0)]))
    times = torch.tensor([0.0, stop], dtype=torch.float64)
    with torch.no_grad():
        q, p = odeint(field, first, times, rtol=tolerance, atol=tolerance, method="dopri5")[-1].numpy()
    return q, p
