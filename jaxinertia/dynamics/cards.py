"""What trajectories, sweeps and ensembles say of themselves."""

import math
from typing import Any

import jax
import numpy as np

from .._shown import Card, is_there, numbers

ENERGIES = ("kinetic", "potential", "inertia")
ACCOUNTS = ("friction", "noise", "work", "discretization")


def of_trajectory(traj: Any) -> Card | None:
    """States and energies at both ends, and what was booked between; None where they are no arrays in memory."""
    energies = (traj.kinetic, traj.potential, traj.balance)
    shape = np.shape(traj.kinetic)
    if not is_there((energies, traj.ts, traj.event_time)) or not shape or 0 in shape or np.shape(traj.ts) != shape:
        return None
    if any(np.shape(x) != shape for x in jax.tree.leaves(energies)):
        return None
    ts = np.asarray(traj.ts)
    runs = f"{math.prod(shape[:-1]):,} runs at " if len(shape) > 1 else ""
    title = f"Trajectory of {runs}{shape[-1]:,} times, t = {ts.min():.6g} to {ts.max():.6g}"
    rows = [_state(name, getattr(traj, name), len(shape)) for name in ("position", "momentum")]
    rows += [_ends(name, getattr(traj, name), len(shape)) for name in ENERGIES]
    rows += [(name, "", numbers(np.asarray(getattr(traj.balance, name))[..., -1])) for name in ACCOUNTS]
    notes = []
    if traj.event_time is not None:
        notes.append(f"event at t = {numbers(traj.event_time)} (inf: not yet); no numbers after it")
    if len(lost := lost_rows(traj)):
        notes.append(f"NOT FINITE from t = {ts[lost[0]]:.6g} on")
    return Card(title, rows, ("", "start", "end"), tuple(notes))


def lost_rows(traj: Any) -> np.ndarray:
    """The rows of one run whose energy is not finite, but for those after an event.

    None where the numbers are not there yet (inside jit or vmap), nor of many runs.
    """
    if not is_there((traj.kinetic, traj.potential, traj.ts, traj.event_time)) or np.ndim(traj.ts) != 1:
        return np.zeros(0, int)
    bad = ~(np.isfinite(np.asarray(traj.kinetic)) & np.isfinite(np.asarray(traj.potential)))
    if traj.event_time is not None:
        bad &= ~(np.asarray(traj.ts) > np.asarray(traj.event_time))
    return np.flatnonzero(bad)


def _state(name: str, state: Any, axis: int) -> tuple[str, str, str]:
    """A position or a momentum at both ends; of many arrays, how many numbers."""
    leaves = [x for x in jax.tree.leaves(state) if hasattr(x, "shape") and np.ndim(x) >= axis]
    if len(leaves) == 1 and is_there(leaves):
        return _ends(name, leaves[0], axis)
    count = sum(math.prod(x.shape[axis:]) for x in leaves)
    stored = ", in a store" if any(hasattr(x, "store") for x in leaves) else ""
    return (name, f"{len(leaves)} array{'s' * (len(leaves) > 1)}, {count:,} numbers a time{stored}", "")


def _ends(name: str, x: Any, axis: int) -> tuple[str, str, str]:
    first, last = (np.take(np.asarray(x), i, axis - 1) for i in (0, -1))
    return (name, numbers(first), numbers(last))


def of_sweep(sweep: Any, axes: Any, read: bool) -> Card:
    """The axes, and the outputs if they are read already: a store may be larger than memory."""
    rows = [(name, f"{np.shape(x)[0]:,} points", _range(x)) for name, x in sweep.axes.items()]
    if read:
        rows += [(name, f"{x.dtype} {x.shape}", _range(x)) for name, x in sweep.outputs.items()]
    notes = [f"failed (not finite): {sweep.failed:,}"] if sweep.failed else []
    notes += [] if read else ["outputs not read yet: .values reads them, .summary() tells their ranges"]
    shape = " x ".join(f"{n} {name}" for name, n in zip(axes.names, axes.shape, strict=True))
    return Card(f"Sweep of {axes.size:,} points: {shape}", rows, notes=tuple(notes))


def _range(x: Any) -> str:
    if not isinstance(x, np.ndarray):  # a progression, whose points are not in memory
        return f"{x[0]} to {x[len(x) - 1]}"
    return numbers(x) if np.issubdtype(x.dtype, np.number) else ""


def of_ensemble(runs: Any) -> Card | None:
    """Means at both ends, each with its standard error."""
    if not is_there((runs.ts, runs.mean, runs.standard_error, runs.count)) or np.ndim(runs.ts) != 1:
        return None
    ts = np.asarray(runs.ts)
    total = int(np.max(np.asarray(runs.count.inertia))) + (runs.failed if np.ndim(runs.failed) == 0 else 0)
    rows = [(name, *_mean(getattr(runs.mean, name), getattr(runs.standard_error, name))) for name in ENERGIES]
    booked = ((name, getattr(runs.mean.balance, name), getattr(runs.standard_error.balance, name)) for name in ACCOUNTS)
    rows += [(name, "", _mean(mean, error)[1]) for name, mean, error in booked]
    title = f"Ensemble at {len(ts):,} times, t = {ts[0]:.6g} to {ts[-1]:.6g}: means, +- their standard errors"
    notes = (f"failed: {runs.failed:,} of {total:,} runs",) if runs.failed else (f"{total:,} runs, none failed",)
    return Card(title, rows, ("", "start", "end"), notes)


def _mean(mean: Any, error: Any) -> tuple[str, str]:
    mean, error = np.asarray(mean), np.asarray(error)
    first, last = (f"{mean[i]:.6g} +- {error[i]:.2g}" if error[i] else f"{mean[i]:.6g}" for i in (0, -1))
    return first, last
