"""From fitted amplitudes of readings to the modes' displacements: states, shapes, amplitudes and phases, with
errors."""

from typing import NamedTuple

import numpy as np

from ..found import poles
from .band import Narrowed
from .errors import Worth
from .sections import Sections

NUDGE = 1e-6  # of each number, in a central difference: the maps are smooth, and errors want few digits


class Shape(NamedTuple):
    """Of one mode; see `found.Found`."""

    reference: int
    parts: np.ndarray
    shape_error: np.ndarray
    state: np.ndarray
    amplitude: np.ndarray
    phase: np.ndarray
    amplitude_error: np.ndarray
    phase_error: np.ndarray


class _Place(NamedTuple):
    """Where the numbers of one mode are. rows: of the amplitudes (two, or one of a lone pole). poles: of u. present:
    (R, d), whether a channel was read in a run."""

    rows: list[int]
    poles: list[int]
    present: np.ndarray


def shape(sections: Sections, k: int, worth: Worth, narrowed: Narrowed, mix: np.ndarray) -> Shape:
    """Mode k. mix: (d, d), from the channels that were fitted to those that were read."""
    record = narrowed.record
    runs, d = len(record.runs), record.channels
    m = len(sections.a)
    lone = k >= m
    place = _Place(
        [m + k] if lone else [k, m + k],
        [m + k] if lone else [k, m + k],
        np.array([[(r, j) in worth.amplitudes for j in range(d)] for r in range(runs)]),
    )
    u, c, covariance = _joint(sections, worth, place, mix)
    stiffness = _gamma_stiffness(u)[1]
    weights = np.array([1.0, 1 / max(stiffness, 1e-300)])[: c.shape[2]]  # of C and S: omega_0 S is like C
    loud = np.sqrt(np.sum(weights * c**2, axis=(0, 2))) / np.maximum(np.sqrt(mix**2 @ worth.error**2), 1e-300)
    reference = int(np.argmax(loud))

    def numbers(x: np.ndarray) -> np.ndarray:
        return _numbers(x[: len(u)], x[len(u) :].reshape(c.shape), narrowed, record.order, reference, place.present)

    x = np.concatenate([u, c.ravel()])
    values = numbers(x)
    jacobian = _jacobian(numbers, x, np.sqrt(np.maximum(np.diag(covariance), 0.0)), runs)
    with np.errstate(invalid="ignore"):
        error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian), 0.0))
    if not np.all(np.isfinite(worth.covariance)):
        error = np.full(len(values), np.inf)
    cut = np.cumsum([2 * d, 2 * d, 2 * runs, runs])
    parts, _, state, amplitude, phase = np.split(values, cut)
    _, shaped, _, amplitude_error, phase_error = np.split(error, cut)
    return Shape(
        reference,
        parts.reshape(d, 2),
        shaped[:d] + 1j * shaped[d:],
        state.reshape(runs, 2),
        amplitude,
        phase,
        amplitude_error,
        phase_error,
    )


def _joint(
    sections: Sections, worth: Worth, place: _Place, mix: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pole's numbers, amplitudes (R, d, rows), and the covariance of both, flat."""
    runs, d = place.present.shape
    width, p = len(place.rows), len(place.poles)
    u = sections.u[place.poles]
    size = p + runs * d * width
    c = np.zeros((runs, d, width))
    by_poles = np.zeros((runs, d, width, sections.size))
    own = np.zeros((runs, d, width, width))
    cross = np.zeros((sections.size, runs, d, width))
    for (r, j), one in worth.amplitudes.items():
        c[r, j] = one.c[place.rows]
        own[r, j] = one.own[np.ix_(place.rows, place.rows)]
        by_poles[r, j] = one.by_poles[place.rows]
        cross[:, r, j] = one.with_poles[:, place.rows]
    c, by_poles = np.einsum("ij,rjw->riw", mix, c), np.einsum("ij,rjwp->riwp", mix, by_poles)
    cross = np.einsum("ij,prjw->priw", mix, cross)
    flat = by_poles.reshape(-1, sections.size)
    along = cross.reshape(sections.size, -1)
    covariance = np.zeros((size, size))
    told = np.where(np.isfinite(worth.covariance), worth.covariance, 0.0)
    between = told @ flat.T + along
    covariance[:p, :p] = told[np.ix_(place.poles, place.poles)]
    covariance[:p, p:] = between[place.poles]
    covariance[p:, :p] = covariance[:p, p:].T
    mixed = np.einsum("ij,rjvw,kj->rivkw", mix, own, mix)
    block = flat @ told @ flat.T + flat @ along + (flat @ along).T
    block = block.reshape(runs, d * width, runs, d * width)
    for r in range(runs):
        block[r, :, r] += mixed[r].reshape(d * width, d * width)
    covariance[p:, p:] = block.reshape(runs * d * width, -1)
    return u, c, covariance


def _numbers(u, c, narrowed: Narrowed, order: np.ndarray, reference: int, present: np.ndarray) -> np.ndarray:
    """Parts (d, 2), shape (real then imaginary), state (R, 2), amplitude (R,), phase (R,), in one row."""
    state = _states(u, c, narrowed, order)  # (R, d, 2)
    gamma, stiffness = _gamma_stiffness(u)
    here = state[:, reference]
    force = np.stack([here[:, 1], -stiffness * here[:, 0] - gamma * here[:, 1]], axis=-1)
    moves = np.stack([here, force], axis=1)  # (R, time derivative, part)
    parts = np.zeros((state.shape[1], 2))
    for j in range(len(parts)):
        rows = np.flatnonzero(present[:, j] & present[:, reference])
        if len(rows):
            left, right = moves[rows], state[rows, j]
            parts[j] = _solve(left.reshape(-1, 2), right.ravel(), len(u) == 1, stiffness)
    parts[reference] = 1.0, 0.0
    pole = poles(np.array([gamma]), np.array([np.sqrt(max(stiffness, 0.0)) / (2 * np.pi)]))[0]
    shaped = parts[:, 0] + parts[:, 1] * pole
    z = here[:, 0] + 0j
    if pole.imag > 0:
        z = here[:, 0] - 1j * (here[:, 1] - pole.real * here[:, 0]) / pole.imag
    amplitude, phase = (np.abs(z), np.angle(z)) if pole.imag > 0 else (here[:, 0], np.zeros(len(z)))
    return np.concatenate([parts.ravel(), shaped.real, shaped.imag, state[:, reference].ravel(), amplitude, phase])


def _solve(moves: np.ndarray, state: np.ndarray, lone: bool, stiffness: float) -> np.ndarray:
    """alpha and beta of least squares, velocities counted in displacements; of a lone pole alpha alone."""
    scale = np.sqrt(max(stiffness, 1e-300))
    rows = np.where(np.arange(len(moves)) % 2 == 0, 1.0, 1 / scale)
    left, right = moves * rows[:, None] * np.array([1.0, 1 / scale]), state * rows
    if lone:
        left = left[:, :1]
    found = np.linalg.lstsq(left, right, rcond=1e-9)[0]
    return np.array([found[0], 0.0 if lone else found[1] / scale])


def _gamma_stiffness(u: np.ndarray) -> tuple[float, float]:
    if len(u) == 1:
        return 2 * float(u[0]), float(u[0]) ** 2
    return 2 * float(u[0]), float(u[0] ** 2 - u[1])


def _states(u: np.ndarray, c: np.ndarray, narrowed: Narrowed, order: np.ndarray) -> np.ndarray:
    """(R, d, 2): displacement and velocity at the start of each run, of amplitudes (R, d, rows) of the readings."""
    gamma, stiffness = _gamma_stiffness(u)
    if len(u) == 1:
        first = narrowed.unmixed_lone(float(u[0]), c[..., 0])
        state = [first, -u[0] * first]
    else:
        first, second = narrowed.unmixed(float(u[0]), float(u[1]), np.moveaxis(c, -1, 0))
        state = [first, second - u[0] * first]
    out = np.stack(state, axis=-1)
    for j, times in enumerate(order):
        for _ in range(times):  # the integral of y: its velocity is y, and stiffness times it -y' - gamma y
            value, slope = out[:, j, 0].copy(), out[:, j, 1].copy()
            out[:, j, 0], out[:, j, 1] = -(slope + gamma * value) / stiffness, value
    return out


def _jacobian(f, x: np.ndarray, spread: np.ndarray, angles: int) -> np.ndarray:
    """By central differences; the last numbers are angles, which may turn over."""
    step = NUDGE * np.maximum(np.abs(x), np.where(np.isfinite(spread), spread, 0.0)) + 1e-300
    columns = []
    for i, h in enumerate(step):
        up, down = x.copy(), x.copy()
        up[i], down[i] = x[i] + h, x[i] - h
        change = f(up) - f(down)
        change[-angles:] = np.angle(np.exp(1j * change[-angles:]))
        columns.append(change / (up[i] - down[i]))
    return np.stack(columns, axis=-1)
