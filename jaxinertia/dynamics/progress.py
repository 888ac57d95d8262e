"""A run that shows how far it is: the same run in parts, and a bar that moves when the numbers of a part are there."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from tqdm import tqdm

from .._checks import is_traced
from ..energy.balance import close
from . import fixed
from .grid import Grid
from .trajectory import Trajectory

PARTS = 100  # how often the bar moves, about; each part costs a call of the compiled program


def check(progress: Any, inputs: Any) -> None:
    """ValueError unless progress is True or False, and False inside jit, vmap or grad."""
    if not isinstance(progress, bool):
        raise ValueError(f"progress = {progress!r} must be True or False")
    if progress and is_traced(inputs):
        raise ValueError(
            "progress=True shows a run as it goes, and inside jit, vmap, grad or a sweep none goes yet: leave it out "
            "there; ji.sweep and ji.ensemble have a progress= of their own"
        )


def run(system, grid: Grid, position, momentum, solver, key, path) -> Trajectory:
    """As `fixed.run`, with a bar."""
    size = _part(grid.rows)
    parts = fixed.in_parts(system, grid, position, momentum, solver, key, path, size)
    together = jax.tree.map(lambda *x: jnp.concatenate(x), *watched(parts, grid, size))
    phase, (kinetic, potential) = together
    balance = close(kinetic + potential, phase.friction, phase.noise, phase.work)
    return Trajectory(grid.ts, phase.position, phase.momentum, kinetic, potential, balance)


def watched(parts: Iterable[Any], grid: Grid, size: int, progress: bool = True) -> Iterator[Any]:
    """The parts of `fixed.in_parts` as they come, of `size` rows; with a bar of the steps whose numbers are there."""
    with tqdm(total=grid.rows * grid.steps, unit="step", unit_scale=True, disable=not progress) as bar:
        for number, part in enumerate(parts):
            if progress:  # the first part is the start alone
                jax.block_until_ready(part)
                bar.update(min(number * size, grid.rows) * grid.steps - bar.n)
            yield part


def _part(rows: int) -> int:
    """Rows of a part: between a hundredth and a fiftieth of all, if one divides them (else the last part compiles)."""
    least = -(-rows // PARTS)
    return next((size for size in range(least, 2 * least + 1) if rows % size == 0), least)
