"""Pictures of modes: which were chosen and why, their dampings, shapes and energies."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..inference.modes.result import Modes
from ..inference.observations import Observations
from . import style

SHOWN = 4000  # readings of a record that are drawn
AROUND = 10.0  # widths of a resonance that are drawn around the modes
FALLEN = 6.0  # e-folds of the slowest mode's energy that are drawn


def stabilization(modes: Modes, ax: Axes | None = None) -> Axes:
    """The spectrum of the record and of what the modes leave of it, over frequency in cycles per time.

    Over it the modes of every number of them that was tried (right axis), and as bands the chosen ones: as wide as
    their resonances, gamma / 2 pi, with their 95 % intervals.

    Arguments:
        modes: what `ji.modes` returns.
        ax: where to draw; None makes a figure.

    Returns:
        The Axes of the spectrum.

    Raises:
        ValueError: if `modes` is not what `ji.modes` returns, or was read from a file without its spectrum.

    Example:
        >>> ji.plots.stabilization(ji.modes(data))
    """
    ax = style.axes(ax)
    if modes.checks.spectrum is not None:
        frequency, power, left = modes.checks.spectrum
        ax.semilogy(frequency, power, color=style.GREY, lw=0.7, label="record")
        ax.semilogy(frequency, left, color=style.BLUE, lw=0.7, label="what the modes leave")
    for f, g in zip(modes.frequency, np.abs(modes.gamma), strict=True):
        ax.axvspan(f - g / (4 * np.pi), f + g / (4 * np.pi), color=style.SKY, alpha=0.35, lw=0)
    ax.set(xlabel="frequency (cycles per time)", ylabel="power over the noise's")
    if modes.count:
        margin = max(0.3 * float(np.ptp(modes.frequency)), AROUND * float(np.abs(modes.gamma).max()) / (2 * np.pi))
        ax.set_xlim(max(float(modes.frequency.min()) - margin, 0.0), float(modes.frequency.max()) + margin)
    tried = ax.twinx()
    for i, order in enumerate(modes.orders):
        chosen = i == modes.chosen
        color, size = (style.ORANGE, 5) if chosen else (style.BLACK, 3)
        count = np.full(len(order.frequency), len(order.frequency))
        tried.plot(order.frequency, count, "o", ms=size, color=color, mfc=color if chosen else "none", mew=0.7)
    low, high = modes.interval(0.95)["frequency"]
    if modes.count:
        errors = np.maximum([modes.frequency - low, high - modes.frequency], 0.0)
        at = np.full(modes.count, modes.orders[modes.chosen].modes if modes.orders else modes.count)
        tried.errorbar(modes.frequency, at, xerr=errors, fmt="none", color=style.ORANGE, capsize=2, lw=1)
    tried.set_ylabel("modes tried")
    tried.yaxis.set_major_locator(MaxNLocator(integer=True))
    tried.spines["right"].set_visible(True)
    if ax.lines:
        ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1)
    return ax


def modes(modes: Modes, ax: Axes | None = None, *, what: str = "damping") -> Axes:
    """Gamma against frequency of the modes, their shapes over the channels, or their energies against time.

    Arguments:
        modes: what `ji.modes` returns.
        ax: where to draw; None makes a figure.
        what: the word "damping", for gamma (one over time) against frequency (cycles per time) with 95 % intervals;
            "shapes", real (full) and imaginary (dotted) part of each over the channels; "energy", of each mode since
            the first run's start, exp(-gamma t) but for its wobble.

    Returns:
        The Axes.

    Raises:
        ValueError: for another `what`, or energies where noise drives.

    Example:
        >>> ji.plots.modes(ji.modes(data), what="shapes")
    """
    drawings = {"damping": _damping, "shapes": _shapes, "energy": _energy}
    if what not in drawings:
        raise ValueError(f"what = {what!r} must be one of {sorted(drawings)}")
    if what == "energy" and modes.driven == "noise":
        raise ValueError("what = 'energy' is for a free decay; where noise drives, the energy of a mode is chance")
    ax = style.axes(ax)
    drawings[what](modes, ax)
    return ax


def _damping(found: Modes, ax: Axes) -> None:
    low, high = found.interval(0.95)["gamma"]
    reach = np.where(np.isfinite(high), high, 3 * np.abs(found.gamma))
    errors = np.maximum([found.gamma - low, reach - found.gamma], 0.0)
    across = 1.96 * found.stderr.frequency
    ax.errorbar(found.frequency, found.gamma, yerr=errors, xerr=across, fmt="o", ms=3, capsize=2, color=style.BLUE)
    if found.count and np.all(low > 0) and found.gamma.max() > 20 * found.gamma.min():
        ax.set_yscale("log")
    ax.set(xlabel="frequency (cycles per time)", ylabel=r"damping $\gamma$ (1 / time)")


def _shapes(found: Modes, ax: Axes) -> None:
    channels = np.arange(found.shape.shape[1])
    for shape, error, f in zip(found.shape, found.stderr.shape, found.frequency, strict=True):
        drawn = ax.errorbar(channels, shape.real, yerr=1.96 * error.real, fmt="o-", ms=3, capsize=2, label=f"{f:.4g}")
        color = drawn.lines[0].get_color()
        ax.plot(channels, shape.imag, ":", color=color, lw=0.8)
    ax.axhline(0, color=style.BLACK, lw=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="channel", ylabel="shape")
    _legend(ax, found.count)


def _energy(found: Modes, ax: Axes) -> None:
    falling = found.gamma[found.gamma > 0]
    span = FALLEN / falling.min() if len(falling) else 1.0
    ts = found.starts[0] + np.linspace(0, span, 1000)
    for energy, f in zip(found.energy(ts).T, found.frequency, strict=True):
        ax.semilogy(ts, np.where(energy > 0, energy, np.nan), lw=1.0, label=f"{f:.4g}")
    if found.count:
        top = float(np.nanmax(found.energy(ts)))
        ax.set_ylim(top * np.exp(-2 * FALLEN), 2 * top)
    ax.set(xlabel="time", ylabel="energy of each mode")
    _legend(ax, found.count)


def _legend(ax: Axes, count: int) -> None:
    """The modes by frequency, above the axes and so on no curve."""
    if 0 < count <= 8:
        above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.1}
        ax.legend(**above, ncols=min(count, 4), columnspacing=1.0, title="frequency", title_fontsize=7)


def overview(found: Modes, data: Observations, path: Path) -> Path:
    """Record and residual, stabilization, damping, and shapes or energies.

    Raises:
        ValueError: if the file's format is unknown.
    """
    with style.applied():
        fig = Figure(figsize=(style.PAGE, 4.8))
        axes: Any = fig.subplots(2, 2)
        _record(found, data, axes[0, 0])
        stabilization(found, axes[0, 1])
        modes(found, axes[1, 0])
        rest = "shapes" if found.shape.shape[1] > 1 or found.driven == "noise" else "energy"
        modes(found, axes[1, 1], what=rest)
        try:
            fig.savefig(path, dpi=150)
        except ValueError as error:
            raise ValueError(f"figure = {str(path)!r} cannot be written: {error}") from error
    return path


def _record(found: Modes, data: Observations, ax: Axes) -> None:
    """The first channel of the first run, and what the modes leave of it."""
    rows = data.runs[0][:SHOWN]
    ax.plot(data.ts[rows], data.position.reshape(len(data.ts), -1)[rows, 0], color=style.GREY, lw=0.7, label="record")
    left = found.checks.residuals
    if left is not None:
        ax.plot(data.ts[rows], left[rows, 0], color=style.BLUE, lw=0.7, label="what the modes leave")
    time, reading = (label.replace("$", r"\$") for label in data.labels)
    ax.set(xlabel=time, ylabel=reading)
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1)
