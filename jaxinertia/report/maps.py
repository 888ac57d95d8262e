"""Pictures of a sweep over two axes: a number as colour, or which minimum each start ends in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm
from matplotlib.patches import Patch

from .._shown import shown
from ..dynamics.sweep.result import Sweep
from . import style

LABELS = {"gamma": r"damping $\gamma$", "dt": "step $h$", "temperature": "temperature $T$"}
COLOURS = [style.BLUE, style.ORANGE, style.GREEN, style.PURPLE, style.SKY, style.YELLOW, style.RED]


def heat_map(
    sweep: Sweep,
    ax: Axes | None = None,
    *,
    output: str | None = None,
    at: Mapping[str, float] | None = None,
    log: bool = False,
) -> Axes:
    """One number of each point as a colour, over two axes; what failed stays white.

    Arguments:
        sweep: a `Sweep` with a scalar output.
        ax: where to draw; None makes a figure.
        output: which of `sweep.outputs`; None if there is only one.
        at: for each axis beyond two, the value near which to cut, as in `{"gamma": 0.1}`.
        log: whether the colours are on a logarithmic scale.

    Returns:
        The Axes. The last axis of the sweep that is left runs upwards.

    Raises:
        ValueError: if the output is not one number a point, or other than two axes are left.

    Example:
        >>> runs = ji.sweep(final_energy, {"gamma": gammas, "q0": starts})
        >>> ji.plots.heat_map(runs)
    """
    names, values, coordinates = _plane(sweep, output, at)
    if values.ndim != 2:
        raise ValueError(
            f"output {output or 'value'!r} has shape {values.shape[2:]} a point; a heat map needs a number"
        )
    ax = style.axes(ax)
    mesh = ax.pcolormesh(*coordinates, values.T, norm=LogNorm() if log else None, cmap="viridis", rasterized=True)
    bar = ax.figure.colorbar(mesh, ax=ax)
    bar.set_label(output or next(iter(sweep.outputs)), fontsize=8)
    bar.ax.tick_params(labelsize=7)
    _label(ax, names)
    return ax


def basins(
    sweep: Sweep,
    minima: Any,
    ax: Axes | None = None,
    *,
    output: str | None = None,
    at: Mapping[str, float] | None = None,
) -> Axes:
    """Which minimum each point ends in, over two axes.

    A point belongs to the nearest minimum, if it is within half of the smallest distance between minima; else it is
    grey: not settled, or settled elsewhere. What failed stays white.

    Arguments:
        sweep: a `Sweep` whose output is the final position, scalar or of shape (d,).
        minima: shape (minima,) or (minima, d), in the position's unit.
        ax, output, at: as for `heat_map`.

    Returns:
        The Axes.

    Raises:
        ValueError: if positions and minima differ in size, or other than two axes are left.

    Example:
        >>> runs = ji.sweep(end, {"gamma": np.linspace(0.05, 1, 200), "q0": np.linspace(-3, 3, 200)})
        >>> ji.plots.basins(runs, [-1.0, 1.0])
    """
    names, ends, coordinates = _plane(sweep, output, at)
    minima = np.atleast_1d(np.asarray(minima, float))
    if minima.ndim > 2 or not minima.size:
        raise ValueError(f"minima have shape {minima.shape}; pass one number or one row a minimum, such as [-1.0, 1.0]")
    minima = minima.reshape(len(minima), -1)
    ends = ends.reshape(*ends.shape[:2], -1)
    if ends.shape[-1] != minima.shape[-1]:
        raise ValueError(
            f"minima have {minima.shape[-1]} components, the final positions {ends.shape[-1]}; pass one row a minimum"
        )
    ax = style.axes(ax)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(minima))]
    norm = BoundaryNorm(np.arange(-1.5, len(minima)), len(minima) + 1)
    which = nearest_minimum(ends, minima)
    ax.pcolormesh(*coordinates, which.T, cmap=ListedColormap(["#bbbbbb", *colours]), norm=norm, rasterized=True)
    ends_at = [", ".join(f"{x:.3g}" for x in minimum) for minimum in minima]
    patches = [Patch(color=c, label=f"ends at {e}") for c, e in zip(colours, ends_at, strict=True)]
    if np.any(which == -1):
        patches.append(Patch(color="#bbbbbb", label="not settled"))
    ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False)
    _label(ax, names)
    return ax


def overview(sweep: Sweep, path: Path) -> Path:
    """Every output with one number a point, as curves over one axis or maps over two, into one file.

    Raises:
        ValueError: if there is none, or the sweep has other than one or two axes, or the file cannot be written.
    """
    names = [name for name, x in sweep.outputs.items() if x.ndim == len(sweep.shape)]
    if not names or len(sweep.shape) not in (1, 2):
        raise ValueError(
            f"the sweep over {list(sweep.dimensions)} keeps {sorted(sweep.outputs)}; "
            "a figure needs one or two axes and an output that is one number a point"
        )
    with style.applied():
        fig, axes = style.figure(len(names), width=style.COLUMN * len(names), height=2.6)
        for name, ax in zip(names, axes, strict=True):
            if len(sweep.shape) == 2:
                heat_map(sweep, ax, output=name)
            else:
                (axis,) = sweep.dimensions
                ax.plot(sweep.axes[axis], sweep.outputs[name])
                ax.set(xlabel=LABELS.get(axis, axis), ylabel=name)
        try:
            fig.savefig(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"figure = {str(path)!r} cannot be written: {error}") from error
    return path


def nearest_minimum(ends: np.ndarray, minima: np.ndarray) -> np.ma.MaskedArray:
    """The index of the nearest minimum, (..., d) -> (...); -1 if none is near, masked where not finite."""
    distance = np.linalg.norm(ends[..., None, :] - minima, axis=-1)
    apart = np.linalg.norm(minima[:, None] - minima, axis=-1)
    reach = np.inf if len(minima) == 1 else apart[~np.eye(len(minima), dtype=bool)].min() / 2
    nearest = np.where(distance.min(-1) <= reach, distance.argmin(-1), -1)
    return np.ma.masked_array(nearest, ~np.isfinite(ends).all(-1))


def _plane(sweep: Sweep, output: str | None, at: Mapping[str, float] | None):
    """Names and coordinates of the two axes left after the cuts, and the values over them."""
    if not isinstance(sweep, Sweep):
        raise ValueError(f"sweep = {shown(sweep)} must be what ji.sweep returns")
    if output is None and len(sweep.outputs) == 1:
        output = next(iter(sweep.outputs))
    if output not in sweep.outputs:
        raise ValueError(f"output = {shown(output)} must be one of {sorted(sweep.outputs)}")
    values, names = sweep.outputs[output], list(sweep.dimensions)
    for name, wanted in (at or {}).items():
        if name not in names:
            raise ValueError(f"at names {name!r}; the sweep has the axes {names}")
        place = int(np.argmin(np.abs(np.asarray(sweep.axes[name]) - wanted)))
        values = np.take(values, place, axis=names.index(name))
        names.remove(name)
    if len(names) != 2:
        raise ValueError(f"at leaves the axes {names}; a picture needs two: cut the others, as in at={{'gamma': 0.1}}")
    coordinates = [np.asarray(sweep.axes[name]) if name in sweep.axes else None for name in names]
    if any(x is None or x.ndim != 1 for x in coordinates):
        raise ValueError(f"axes {names} must each be one parameter with a number for each entry; zipped ones have none")
    return names, values, coordinates


def _label(ax: Axes, names) -> None:
    ax.set(xlabel=LABELS.get(names[0], names[0]), ylabel=LABELS.get(names[1], names[1]))
