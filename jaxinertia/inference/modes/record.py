"""The readings as the search for modes wants them: runs of plain numbers, missing ones with weight 0."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..observations import Observations

KINDS = ("displacement", "velocity", "acceleration")
LARGEST = 1e60  # of readings and times, and of one over them: fourth powers are taken
EVEN = 1e-2  # of a step: times that are this close to an even grid were rounded


class Run(NamedTuple):
    """One run. ts: (n,), since its first reading, increasing. y: (n, d), 0 where nothing was read. weight: (n, d), one
    over the error of a reading (1 where it is unknown), 0 where nothing was read. start: the first reading's time.
    row: (n,), of the data."""

    ts: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    start: float
    row: np.ndarray


class Record(NamedTuple):
    """All runs. kinds: what each of the d channels reads. known: whether the errors of readings are. step: of the even
    grid that the times of all runs lie on, without a gap, or None. typical: the median step. trend: whether the zero
    of each channel drifts on a straight line in each run."""

    runs: tuple[Run, ...]
    kinds: tuple[str, ...]
    known: bool
    step: float | None
    typical: float
    trend: bool

    @property
    def channels(self) -> int:
        """d."""
        return len(self.kinds)

    @property
    def readings(self) -> int:
        """How many numbers were read."""
        return int(sum(np.count_nonzero(run.weight) for run in self.runs))

    @property
    def duration(self) -> float:
        """Of the longest run."""
        return float(max(run.ts[-1] for run in self.runs))

    @property
    def is_whole(self) -> bool:
        """Whether every row of every channel was read."""
        return all(np.all(run.weight > 0) for run in self.runs)

    @property
    def order(self) -> np.ndarray:
        """For each channel 0, 1 or 2: which derivative of the displacement it reads."""
        return np.array([KINDS.index(kind) for kind in self.kinds])


def record_of(data: Observations, kind: str | Sequence[str]) -> Record:
    """The record; ValueError for what is no record of a free or noise-driven motion."""
    if not isinstance(data, Observations):
        raise ValueError(f"data = {type(data).__name__} must be ji.Observations(ts, position)")
    for name, remedy in (
        ("input", "pass the parts where it is off, as segments"),
        ("read", "leave it out, and say by kind= what the readings are of"),
        ("momentum", "pass velocities as further columns of position, with kind=['displacement', ..., 'velocity']"),
    ):
        if getattr(data, name, None) is not None:
            raise ValueError(f"data have {'an' if name[0] == 'i' else 'a'} {name}, which modes do not use: {remedy}")
    y = data.position.reshape(len(data.ts), -1)
    weight = np.isfinite(y).astype(float)
    if data.position_error is not None:
        error = (
            data.position_error.reshape(len(y), -1)
            if data.position_error.ndim == data.position.ndim
            else (data.position_error)
        )
        weight = weight / np.broadcast_to(error, y.shape)
    runs = []
    for rows in data.runs:
        ts = data.ts[rows]
        runs.append(Run(ts - ts[0], np.nan_to_num(y[rows]), weight[rows], float(ts[0]), rows))
    gaps = [np.diff(run.ts) for run in runs if len(run.ts) > 1]
    if not gaps:
        raise ValueError("every segment holds one reading; modes need runs of several")
    typical = float(np.median(np.concatenate(gaps)))
    _check_sizes(runs)
    kinds = _kinds(kind, y.shape[1])
    return Record(tuple(runs), kinds, data.position_error is not None, _step(runs), typical, data.trend)


def _check_sizes(runs: list[Run]) -> None:
    """Readings, also in units of their errors, and times are no so large or small that their powers are lost."""
    duration = max(float(run.ts[-1]) for run in runs)
    if not 1 / LARGEST < duration < LARGEST:
        raise ValueError(f"ts span {duration:.3g}: pass them in another unit, in which that is nearer to 1")
    for name, scaled in (("position", [run.y for run in runs]), ("position_error", [run.weight for run in runs])):
        size = max(float(np.max(np.abs(x))) for x in scaled)
        if not 1 / LARGEST < size < LARGEST:
            said = size if name == "position" else 1 / size
            raise ValueError(f"{name} is about {said:.3g}: pass readings in another unit, in which that is nearer to 1")


def _kinds(kind: str | Sequence[str], channels: int) -> tuple[str, ...]:
    kinds = (kind,) * channels if isinstance(kind, str) else tuple(kind)
    if len(kinds) != channels:
        raise ValueError(f"kind = {kind!r} has {len(kinds)} entries; pass one for each of the {channels} channels")
    if not set(kinds) <= set(KINDS):
        raise ValueError(
            f"kind = {kind!r} must be 'displacement', 'velocity' or 'acceleration', or one for each channel"
        )
    return kinds


def _step(runs: list[Run]) -> float | None:
    """The step of the even grid that all runs share; None where one is uneven, or has a row missing."""
    steps = [run.ts[-1] / (len(run.ts) - 1) for run in runs if len(run.ts) > 1]
    step = float(np.median(steps))
    for run in runs:
        if np.max(np.abs(run.ts - step * np.arange(len(run.ts)))) > EVEN * step:
            return None
    return step
