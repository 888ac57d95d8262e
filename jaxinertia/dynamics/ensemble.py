"""ensemble: statistics of the energies and their balance over many noisy runs."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .._checks import is_traced
from .._types import Key
from ..energy.balance import Balance
from ..physics.system import System
from .simulate import simulate
from .sweep.reductions import Quantiles
from .sweep.run import sweep

PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95)
CHUNK = 2**13  # runs at a time: what the statistics need of them stays within some tens of MB


class Energies(eqx.Module):
    """One statistic of K, L, I and the four accounts at the output times, each of shape (times, ...)."""

    kinetic: Float[Array | np.ndarray, "..."]
    potential: Float[Array | np.ndarray, "..."]
    inertia: Float[Array | np.ndarray, "..."]
    balance: Balance


class Ensemble(eqx.Module):
    """Statistics over n runs at the output times; a run that diverges is left out from where it does.

    ts: output times, shape (times,).
    count: the finite runs behind each number.
    mean, variance (with n - 1), standard_error (of the mean, sqrt(variance / count)): each an `Energies`.
    quantiles: an `Energies` with a last axis of `probabilities`, to 1 % of their size; None if none were asked for.
    failed: how many runs diverged.
    """

    ts: Float[Array | np.ndarray, " times"]
    count: Energies
    mean: Energies
    variance: Energies
    standard_error: Energies
    quantiles: Energies | None
    probabilities: tuple[float, ...] = eqx.field(static=True)
    failed: int = eqx.field(static=True)


def ensemble(
    system: System,
    ts: Any,
    position: Any,
    momentum: Any = None,
    *,
    n: int,
    key: Key,
    dt: Any = None,
    substeps: int | None = None,
    solver: Any = None,
    quantiles: Any = PROBABILITIES,
    chunk_size: int | None = None,
    devices: Any = None,
    store: Any = None,
    progress: bool = False,
) -> Ensemble:
    """Means, variances, quantiles and standard errors of K, L, I and the balance over n runs, without keeping them.

    Run i draws from `fold_in(key, i)`, so the runs are the same for any chunk size and number of devices, and the
    first n of a larger ensemble.

    Arguments:
        system, ts, position, momentum, dt, substeps, solver: as for `ji.simulate`; all runs start from the same state.
        n: how many runs, at least two.
        key: a JAX random key.
        quantiles: their probabilities; () or None keeps none, which is faster.
        chunk_size, devices, store, progress: as for `ji.sweep`. With a store a killed run goes on where it was.

    Returns:
        An `Ensemble`, in NumPy arrays.

    Raises:
        ValueError: for n < 2, no key, quantiles outside [0, 1], inside jit, or as `ji.simulate` and `ji.sweep` do.

    Example:
        >>> hot = ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=0.7)
        >>> runs = ji.ensemble(hot, np.linspace(0, 10, 41), 1.0, n=10_000, key=jax.random.key(0), dt=0.05)
        >>> runs.mean.inertia, runs.standard_error.inertia, runs.mean.balance.noise
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 2:
        raise ValueError(f"n = {n!r} must be a whole number of at least 2: a variance needs two runs")
    if n >= 2**32:
        raise ValueError(f"n = {n:,} must be below 2^32: random keys are told apart by 32 bits")
    if key is None:
        raise ValueError("key is None: pass the key that all runs draw from, e.g. jax.random.key(0)")
    if is_traced((system, position, momentum, key)):
        raise ValueError("system is traced: an ensemble cannot run inside jit, vmap or grad; there map ji.simulate")
    probabilities = _probabilities(quantiles)
    statistics = ("mean", "variance", "count", *([Quantiles(probabilities)] if probabilities else []))

    def run(run, key):
        del run  # its key is all that tells one run from another
        traj = simulate(system, ts, position, momentum, dt=dt, substeps=substeps, solver=solver, key=key)
        return Energies(traj.kinetic, traj.potential, traj.inertia, traj.balance)

    runs = sweep(
        run,
        {"run": range(int(n))},
        key=key,
        chunk_size=min(CHUNK, int(n)) if chunk_size is None else chunk_size,
        devices=devices,
        store=store,
        reduce={"run": statistics},
        progress=progress,
    )
    found = runs.values
    error = jax.tree.map(lambda v, c: np.sqrt(v / np.maximum(c, 1)), found["variance"], found["count"])
    return Ensemble(
        np.asarray(ts, float),
        found["count"],
        found["mean"],
        found["variance"],
        error,
        found.get("quantiles"),
        probabilities,
        int(n - found["count"].inertia.min()),
    )


def _probabilities(quantiles) -> tuple[float, ...]:
    if quantiles is None:
        return ()
    try:
        found = np.atleast_1d(np.asarray(quantiles, float)).ravel()
    except (TypeError, ValueError) as error:
        raise ValueError(f"quantiles = {quantiles!r} must be probabilities, e.g. (0.05, 0.5, 0.95)") from error
    if not np.all((found >= 0) & (found <= 1)):
        raise ValueError(f"quantiles = {quantiles!r} must lie in [0, 1]")
    return tuple(float(p) for p in found)
