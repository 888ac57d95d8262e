"""What is to be done with every record, checked: in the caller's words, before anything is computed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from .. import _tree
from .._shown import shown
from ..physics import system as systems
from ..physics.system import System, check_system
from . import free_leaves, linear, stochastic, units
from .loss import SQUARES, check_loss
from .observations import Observations
from .parameters import Parameters
from .record import with_input
from .search import Options
from .shooting import LEAST_SQUARES, Near

METHODS = (LEAST_SQUARES, stochastic.KALMAN, stochastic.UNSCENTED, stochastic.EXTENDED, stochastic.WHITTLE)


class Task(NamedTuple):
    """What is to be done with every record."""

    system: System  # in double precision, with the input of the first record as its force
    parameters: Parameters  # of one run
    method: str | None  # None: the records choose
    band: tuple[float, float] | None
    loss: str
    options: Options
    near: Near | None = None  # where the search of one record begins
    thorough: bool = True  # whether other starts are tried, and errors looked up


def prepare(
    system: System,
    data: Observations,
    free: Callable,
    bounds: Any,
    method: Any,
    band: Any,
    loss: Any,
    options: Options,
    each: Callable | None = None,
) -> Task:
    """The task, checked by the first record."""
    check_system(system)
    method = check_method(system, method, band)
    check_loss(loss, method == LEAST_SQUARES)
    system = system.without_noise() if method == LEAST_SQUARES and system.noise is not None else system
    units.check(system)
    system = with_input(_tree.cast(system, np.dtype(np.float64)), data).reading(data.read)
    chosen = free_leaves.choose(system, free, bounds, each)
    if any(name.startswith("noise") for name in chosen.names) and system.noise is None:
        raise ValueError("free returns noise, but the system has none; pass noise=1.0")
    check_position(system, data)
    return Task(system, chosen, method, band, loss, options)


def check_clock(task: Task, data: Observations) -> None:
    """ValueError for errors of times where no motion tells how fast readings change, or no weights are kept."""
    if data.time_error and (task.method != LEAST_SQUARES or task.loss != SQUARES.name):
        raise ValueError(
            f"time_error = {data.time_error:.4g} is for least squares with loss='squares'; else leave it out: a robust "
            "loss fits its scale, and under noise the error of a reading that is fitted holds that of its time"
        )


def as_one(data: Any) -> Observations:
    """A record, or several as one."""
    if isinstance(data, Observations):
        return data
    if not isinstance(data, list | tuple) or not data or not all(isinstance(one, Observations) for one in data):
        raise ValueError(
            f"data = {shown(data)} must be ji.Observations, or a list of them; wrap your arrays: "
            "ji.Observations(ts, position)"
        )
    return Observations.join(data)


def check_list(data: Any) -> None:
    """ValueError unless there are several."""
    if isinstance(data, Observations) or not isinstance(data, Sequence):
        raise ValueError(f"data = {shown(data)} must be a list of ji.Observations; for one record use ji.fit")
    if not data:
        raise ValueError("data is empty; pass a list of ji.Observations")


def check_alike(data: list[Observations]) -> None:
    """ValueError unless records may be fitted side by side."""
    for i, one in enumerate(data):
        if one.position.shape[1:] != data[0].position.shape[1:]:
            raise ValueError(f"data[{i}] = {shown(one)} must be ji.Observations with the components of the first")
        if (one.components, one.scalar) != (data[0].components, data[0].scalar):
            raise ValueError(f"data[{i}] has components = {one.components}, data[0] {data[0].components}")
        if (one.input is None) != (data[0].input is None):
            raise ValueError(f"data[{i}] and data[0]: one has an input, one has none; fit each kind by itself")


def check_runs(task: Task, data: list[Observations]) -> None:
    """ValueError where runs have own values, and records are not of as many."""
    counts = [len(one.runs) for one in data] if task.parameters.own else []
    if len(set(counts)) > 1:
        i = next(i for i, count in enumerate(counts) if count != counts[0])
        raise ValueError(
            f"each= gives own values to every run: data[{i}] has {counts[i]} runs, data[0] {counts[0]}; fit records of "
            "as many runs together"
        )


def check_position(system: System, data: Observations) -> None:
    """ValueError unless the system takes positions of as many components as the data have."""
    position = np.zeros(() if data.scalar else data.components)
    try:
        _takes.eval_shape(*eqx.partition(system, lambda x: isinstance(x, jax.Array | np.ndarray)), position)
    except (TypeError, ValueError) as error:
        raise ValueError(f"position of {data.components} components does not fit the system: {error}") from error


@partial(jax.jit, static_argnums=1)
def _takes(arrays: System, rest: System, position: jax.Array) -> jax.Array:
    """Whatever it is, of systems that are alike it is traced once."""
    return systems.prepare(eqx.combine(arrays, rest), position)[1]


def check_method(system: System, method: str | None, band: Any) -> str | None:
    """The method asked for, or least squares without noise; None where the data are to choose."""
    if method is not None and method not in METHODS:
        raise ValueError(f"method = {shown(method)} must be one of {METHODS}, or None")
    if method == LEAST_SQUARES or (method is None and system.noise is None):
        if band is not None:
            raise ValueError(f"band = {shown(band)} is for noise-driven data; give the system noise, as noise=1.0")
        return LEAST_SQUARES
    if system.noise is None:
        raise ValueError(f"method = {shown(method)} needs noise in the system; pass noise=1.0 and free its sigma")
    if method == stochastic.KALMAN and not linear.is_linear(system):
        other = f"{stochastic.UNSCENTED!r} or {stochastic.EXTENDED!r}"
        raise ValueError(
            f"method = {shown(method)} needs a quadratic potential, linear damping and kinetic.Euclidean(); use {other}"
        )
    if band is not None and not 0 <= band[0] < band[1]:
        raise ValueError(f"band = {shown(band)} must be (low, high) in cycles per time, with 0 <= low < high")
    return method
