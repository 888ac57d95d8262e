"""One look for all figures: column width, legible type, colours that colour-blind readers can tell apart."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

COLUMN = 3.5  # inches, one column of a two-column journal
PAGE = 7.16  # inches, both columns

# Okabe and Ito's palette, ordered by contrast on white.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
GREY = "#777777"

SETTINGS: Any = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.2,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "mathtext.fontset": "cm",
}


@contextmanager
def applied() -> Iterator[None]:
    """The look, for the figures made inside the block; the user's own settings return afterwards."""
    with mpl.rc_context(SETTINGS):
        yield


def figure(columns: int = 1, width: float = PAGE, height: float = 2.4, rows: int = 1) -> tuple[Figure, list]:
    """A figure of panels, of several lettered (a), (b), ..., that belongs to no window, so nothing is left open."""
    fig = Figure(figsize=(width, height))
    axes = list(fig.subplots(rows, columns, squeeze=False).ravel())
    for ax, letter in zip(axes, "abcdefgh", strict=False):
        if len(axes) > 1:
            ax.set_title(f"({letter})", loc="left", fontweight="bold")
    return fig, axes


def axes(ax: Axes | None) -> Axes:
    """The Axes given, or those of a new one-column figure of pyplot."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt  # noqa: PLC0415  only here does a window system matter

    with applied():
        ax = plt.subplots(figsize=(COLUMN, 2.6))[1]
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)  # a notebook's backend sets this with its first figure; leaving `applied` undid it
    return ax


def panels(axes: Any, rows: int, columns: int, height: float) -> Any:
    """The (rows, columns) Axes given, or those of a new figure of pyplot over both columns; ValueError for others."""
    if axes is None:
        import matplotlib.pyplot as plt  # noqa: PLC0415  only here does a window system matter

        with applied():
            axes = plt.subplots(rows, columns, figsize=(PAGE, height))[1]
            interactive = mpl.is_interactive()
        mpl.interactive(interactive)  # as in `axes`
    if np.shape(axes) != (rows, columns):
        raise ValueError(
            f"axes has the shape {np.shape(axes)}; pass ({rows}, {columns}) Axes, or None for a new figure"
        )
    return np.asarray(axes)


def mark_steps(ax: Axes, steps: Iterable[float]) -> None:
    """Label a logarithmic step axis at the steps themselves."""
    ax.set_xticks(list(steps), [f"{h:g}" for h in steps])
    ax.xaxis.set_minor_locator(NullLocator())


def save(fig: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.png and NAME.pdf, without a date, so that equal figures are equal files."""
    # matplotlib's font subsetting reports the age of its own fonts.
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    paths = [folder / f"{name}.png", folder / f"{name}.pdf"]
    fig.savefig(paths[0])
    fig.savefig(paths[1], metadata={"CreationDate": None})
    return paths
