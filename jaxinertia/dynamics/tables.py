"""A trajectory as a table: in xarray with labelled dimensions, in pandas with one column for each component."""

from typing import Any

import equinox as eqx
import jax
import numpy as np

from .quantities import attributes_of, name_of, quantity_of


def to_xarray(trajectory: Any) -> Any:
    """An `xarray.Dataset` over the dimension "time", and "run" where there are many runs."""
    try:
        import xarray  # noqa: PLC0415  optional
    except ImportError as error:
        raise ValueError("to_xarray needs xarray: pip install 'jaxinertia[io]'") from error
    found, ts = _arrays(trajectory), np.asarray(trajectory.ts)
    runs = _runs(ts)
    variables = {}
    for name, (quantity, x) in found.items():
        inner = [f"{name}_{i + 1}" for i in range(x.ndim - ts.ndim)]  # as in a sweep, where time is 0
        variables[name] = ((*runs, "time", *inner), x, attributes_of(quantity))
    same = ts.reshape(-1, ts.shape[-1])
    if np.all(same == same[:1]):
        coordinates: dict[str, Any] = {"time": (("time",), same[0], attributes_of("ts"))}
    else:
        coordinates = {"ts": ((*runs, "time"), ts, attributes_of("ts"))}
    if trajectory.event_time is not None:
        said = attributes_of("ts") | {"long_name": "time of the event"}
        variables["event_time"] = (tuple(runs), np.asarray(trajectory.event_time), said)
    return xarray.Dataset(variables, coordinates, {"description": "jaxinertia.simulate"})


def to_pandas(trajectory: Any) -> Any:
    """A `pandas.DataFrame` with one row for each time (of each run), and one column for each component."""
    try:
        import pandas  # noqa: PLC0415  optional
    except ImportError as error:
        raise ValueError("to_pandas needs pandas: pip install 'jaxinertia[io]'") from error
    found, ts = _arrays(trajectory), np.asarray(trajectory.ts)
    columns = {}
    for name, (_, x) in found.items():
        shape = x.shape[ts.ndim :]
        flat = x.reshape(ts.size, -1)
        for i, index in enumerate(np.ndindex(shape)):
            columns[f"{name}[{','.join(map(str, index))}]" if shape else name] = flat[:, i]
    times = pandas.Index(ts.ravel(), name="time")
    if ts.ndim > 1:
        numbers = np.indices(ts.shape)[:-1].reshape(ts.ndim - 1, -1)
        times = pandas.MultiIndex.from_arrays([*numbers, ts.ravel()], names=[*_runs(ts), "time"])
    return pandas.DataFrame(columns, index=times)


def _runs(ts: np.ndarray) -> list[str]:
    """The names of the dimensions before time."""
    return ["run"] if ts.ndim == 2 else [f"run_{i}" for i in range(ts.ndim - 1)]


def _arrays(trajectory: Any) -> dict[str, tuple[str, np.ndarray]]:
    """(quantity, values) of all that has times, by name; ValueError where that is not in memory."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(trajectory, lambda x: hasattr(x, "dtype")))
    if any(hasattr(leaf, "store") for _, leaf in leaves):
        raise ValueError("trajectory has its positions in a store: open that with xarray.open_zarr")
    if any(isinstance(leaf, jax.core.Tracer) for _, leaf in leaves):
        raise ValueError("trajectory is traced (inside jit or vmap): return it from there, then make a table of it")
    found = {}
    for path, leaf in leaves:
        quantity = quantity_of(path)
        if quantity not in (None, "ts") and np.issubdtype(leaf.dtype, np.inexact):
            found[name_of(path)] = (quantity, np.asarray(leaf))
    return found | {"inertia": ("inertia", np.asarray(trajectory.inertia))}
