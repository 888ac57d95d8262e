"""Pictures of a training run's energy: `ji.plots.training` and `ji.plots.accounts`."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from .._shown import shown
from . import style

if TYPE_CHECKING:
    from ..training.history import History


def training(history: "History", ax: Axes | None = None, *, log: bool = False) -> Axes:
    """Loss, kinetic energy and inertia of a run against its steps, with what friction alone would have left of it.

    The dotted line is I(0) + friction + work: where it leaves I, noise and the step's own error give or take energy.

    Arguments:
        history: a `ji.training.History`.
        ax: where to draw; None makes a figure.
        log: whether the energy axis is logarithmic.

    Returns:
        The Axes.

    Raises:
        ValueError: if the history is empty or none.

    Example:
        >>> ji.plots.training(ji.training.history(readouts))
    """
    _check(history)
    ax = style.axes(ax)
    step, inertia = history["step"], history["inertia"]
    ax.plot(step, history["kinetic"], color=style.SKY, lw=0.8, label="kinetic $K$")
    ax.plot(step, history["potential"], color=style.ORANGE, lw=0.8, label="loss $L$")
    ax.plot(step, inertia, color=style.BLUE, label="inertia $I = K + L$")
    left = inertia[0] + history["friction"] + history["work"]
    ax.plot(step, left, color=style.BLACK, ls=(0, (1, 2)), lw=1.6, label="$I(0)$ + friction + work")
    ax.set(xlabel="step", ylabel="energy (units of the loss)", yscale="log" if log else "linear")
    ax.legend(fontsize=7, frameon=False, handlelength=1.8)
    return ax


def accounts(history: "History", ax: Axes | None = None) -> Axes:
    """The cumulative accounts of a run against its steps: friction, noise, work and discretization.

    Arguments:
        history: a `ji.training.History`.
        ax: where to draw; None makes a figure.

    Returns:
        The Axes.

    Raises:
        ValueError: if the history is empty or none.

    Example:
        >>> ji.plots.accounts(ji.training.history(readouts))
    """
    _check(history)
    ax = style.axes(ax)
    colours = {"friction": style.BLACK, "noise": style.GREEN, "work": style.PURPLE, "discretization": style.RED}
    for name, colour in colours.items():
        if np.any(history[name] != 0):
            ax.plot(history["step"], history[name], color=colour, lw=1.0, label=name)
    ax.axhline(0.0, color=style.GREY, lw=0.5)
    ax.set(xlabel="step", ylabel="energy given since the start")
    ax.legend(fontsize=7, frameon=False, handlelength=1.8)
    return ax


def _check(history: "History") -> None:
    if not (hasattr(history, "names") and len(history)):
        raise ValueError(f"history = {shown(history)} must be a ji.training.History with records")
