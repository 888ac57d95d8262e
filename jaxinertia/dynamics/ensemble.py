"""ensemble: statistics of the energies and their balance over many noisy runs."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_step, is_traced
from .._shown import Card, Shown, shown
from .._types import Key
from .._words import Word
from ..energy.balance import Balance
from ..physics.system import System
from . import cards, grid
from .simulate import simulate
from .splitting import Splitting, as_solver
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


class Ensemble(Shown, eqx.Module):
    """Statistics over n runs at the output times; a run that diverges is left out from where it does.

    Each statistic has `.kinetic`, `.potential`, `.inertia` and `.balance`, of shape (times,).

    Attributes:
        ts: output times, shape (times,).
        count: the finite runs behind each number.
        mean, variance: over the runs; the variance with n - 1.
        standard_error: of the mean, sqrt(variance / count): of Monte Carlo alone. What the length of the step does to
            the mean is not in it, and does not shrink with n.
        step_error: mean - (the mean at dt -> 0), estimated from runs at twice dt; None unless asked for.
        quantiles: of shape (times, probabilities), to 1 % of their size; None if none were asked for.
        probabilities: those of the quantiles.
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
    step_error: Energies | None = None

    def _card(self) -> Card | None:
        return cards.of_ensemble(self)


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
    solver: diffrax.AbstractSolver | Word | None = None,
    quantiles: Any = PROBABILITIES,
    step_error: bool = False,
    chunk_size: int | None = None,
    devices: Any = None,
    store: Any = None,
    progress: bool = False,
) -> Ensemble:
    """Means, variances, quantiles and standard errors of K, L, I and the balance over n runs, without keeping them.

    Run i draws from `fold_in(key, i)`, so the runs are the same for any chunk size and number of devices, and the
    first n of a larger ensemble.

    The standard error is that of Monte Carlo, and falls as 1/sqrt(n). The step's own error does not: for a word of weak
    order p it is (mean at r dt - mean) / (r^p - 1), with p = 2 for symmetric words and 1 for others.

    Arguments:
        system, ts, position, momentum, dt, substeps, solver: as for `ji.simulate`; all runs start from the same state.
        n: how many runs, at least two.
        key: a JAX random key.
        quantiles: their probabilities; () or None keeps none, which is faster.
        step_error: estimate the step's error from n more runs, with other random numbers, at twice dt (r = 2; less
            where an interval has an odd number of steps): half as much work again. It scatters by
            sqrt(2) standard errors / (r^p - 1), by .47 of them for symmetric words. NaN where runs diverged.
        chunk_size, devices, store, progress: as for `ji.sweep`. With a store a killed run goes on where it was.

    Returns:
        An `Ensemble`, in NumPy arrays.

    Raises:
        ValueError: for n < 2, no key, quantiles outside [0, 1], inside jit, or as `ji.simulate` and `ji.sweep` do; for
            step_error with a solver that is no Splitting, or with one step an interval, which none is twice as long as.

    Example:
        >>> hot = ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=0.7)
        >>> runs = ji.ensemble(hot, np.linspace(0, 10, 41), 1.0, n=10_000, key=jax.random.key(0), dt=0.05)
        >>> runs.mean.inertia, runs.standard_error.inertia, runs.mean.balance.noise
    """
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 2:
        raise ValueError(f"n = {shown(n)} must be a whole number of at least 2: a variance needs two runs")
    if n >= 2**32:
        raise ValueError(f"n = {n:,} must be below 2^32: random keys are told apart by 32 bits")
    if key is None:
        raise ValueError("key is None: pass the key that all runs draw from, e.g. jax.random.key(0)")
    if is_traced((system, position, momentum, key)):
        raise ValueError("system is traced: an ensemble cannot run inside jit, vmap or grad; there map ji.simulate")
    probabilities = _probabilities(quantiles)
    coarse = _twice(ts, dt, substeps, solver) if step_error else None
    statistics = ("mean", "variance", "count", *([Quantiles(probabilities)] if probabilities else []))

    def energies(key, dt, substeps):
        traj = simulate(system, ts, position, momentum, dt=dt, substeps=substeps, solver=solver, key=key)
        return Energies(traj.kinetic, traj.potential, traj.inertia, traj.balance)

    def run(run, key):
        del run  # its key is all that tells one run from another
        fine = energies(key, dt, substeps)
        if coarse is None:
            return fine
        return {"fine": fine, "coarse": energies(jax.random.fold_in(key, 1), coarse.dt, coarse.substeps)}

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
    found = runs.values if coarse is None else {name: pair["fine"] for name, pair in runs.values.items()}
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
        None if coarse is None else _step_error(runs.values["mean"], runs.values["count"], n, coarse),
    )


class _Coarse(NamedTuple):
    """Runs at about twice the step."""

    dt: float | None
    substeps: int | None
    divisor: float  # of the means' difference: r^p - 1


def _twice(ts: Any, dt: Any, substeps: int | None, solver: Any) -> _Coarse:
    """How to run at twice the step; ValueError where that cannot be, or no error follows from it."""
    solver = as_solver("solver", solver)
    if not isinstance(solver, Splitting):
        raise ValueError(
            f"step_error = True needs a Splitting, whose order in the mean is known, and solver = "
            f"{type(solver).__name__}; leave it out, and compare two ensembles"
        )
    if dt is not None and substeps is None:
        coarse = _Coarse(2 * check_step(dt), None, 0.0)
    else:
        coarse = _Coarse(dt, None if substeps is None else -(-substeps // 2), 0.0)
    fine, wide = (grid.plan(ts, *steps) for steps in ((dt, substeps), coarse[:2]))
    ratio = float(np.min(_steps(wide) / _steps(fine)))
    if ratio < 1.25:
        raise ValueError(
            f"step_error = True needs at least two steps between output times, and dt = {shown(dt)}, substeps = "
            f"{shown(substeps)} make {fine.steps}; pass a dt of at most half the interval, or fewer output times"
        )
    return coarse._replace(divisor=ratio ** min(solver.order(), 2) - 1)


def _steps(plan: grid.Grid) -> np.ndarray:
    """The step in each interval between output times."""
    steps = np.broadcast_to(np.asarray(plan.h), plan.rows)
    return steps if plan.ends is None else steps[np.asarray(plan.ends)]


def _step_error(mean: Any, count: Any, n: int, coarse: _Coarse) -> Energies:
    """The means' difference over r^p - 1, where no run diverged."""

    def of(mean, wide, count, wide_count):
        return np.where((count == n) & (wide_count == n), (wide - mean) / coarse.divisor, np.nan)

    return jax.tree.map(of, mean["fine"], mean["coarse"], count["fine"], count["coarse"])


def _probabilities(quantiles) -> tuple[float, ...]:
    if quantiles is None:
        return ()
    try:
        found = np.atleast_1d(np.asarray(quantiles, float)).ravel()
    except (TypeError, ValueError) as error:
        raise ValueError(f"quantiles = {shown(quantiles)} must be probabilities, e.g. (0.05, 0.5, 0.95)") from error
    if not np.all((found >= 0) & (found <= 1)):
        raise ValueError(f"quantiles = {shown(quantiles)} must lie in [0, 1]")
    return tuple(float(p) for p in found)
