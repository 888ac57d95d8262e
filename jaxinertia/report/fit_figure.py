"""One figure of a fit: the record under its prediction, what is left, and where the energy goes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..dynamics.compositions import kahan_li6
from ..dynamics.simulate import simulate
from ..inference.observations import Observations
from ..inference.result import Fit
from . import style

SHOWN = 4000  # readings of the first run that are drawn


def overview(result: Fit, data: Observations, path: Path) -> Path:
    """Data and fit with their envelope, residuals, energy (or spectrum), and the residuals' autocorrelation.

    Raises:
        ValueError: if the file's format is unknown.
    """
    with style.applied():
        fig = Figure(figsize=(style.PAGE, 4.2))
        axes = fig.subplots(2, 2)
        record(result, data, axes[0, 0])
        residuals(result, data, axes[0, 1])
        (energy if result.initial is not None else spectrum)(result, data, axes[1, 0])
        autocorrelation(result, axes[1, 1])
        try:
            fig.savefig(path, dpi=150)
        except ValueError as error:
            raise ValueError(f"figure = {str(path)!r} cannot be written: {error}") from error
    return path


def record(result: Fit, data: Observations, ax: Axes) -> None:
    """The first run, its prediction, and the envelope through the prediction's peaks."""
    rows = _rows(data)
    ts, y = data.ts[rows], data.position.reshape(len(data.ts), -1)[rows, 0]
    ax.plot(ts, y, ".", ms=2, color=style.GREY, label="data")
    prediction = result.diagnostics.prediction
    if prediction is not None:
        said = prediction.reshape(len(data.ts), -1)[rows, 0]
        label = "fit" if result.initial is not None else "predicted from the readings before"
        ax.plot(ts, said, lw=0.8, color=style.BLUE, label=label)
        peaks = 1 + np.flatnonzero((said[1:-1] > said[:-2]) & (said[1:-1] >= said[2:]))
        if result.initial is not None and 2 < len(peaks) < len(rows) / 4:
            ax.plot(ts[peaks], said[peaks], color=style.ORANGE, lw=1.0, label="envelope")
    ax.set(xlabel="time", ylabel="position")
    _legend_above(ax)


def residuals(result: Fit, data: Observations, ax: Axes) -> None:
    """Reading - prediction of the same run, with the error of a reading as a band."""
    left = result.diagnostics.residuals
    if left is None:
        ax.text(
            0.5, 0.5, "a band of the spectrum was fitted:\nno residuals in time", ha="center", transform=ax.transAxes
        )
        ax.set(xticks=[], yticks=[])
        return
    rows = _rows(data)
    ax.plot(data.ts[rows], left.reshape(len(data.ts), -1)[rows, 0], ".", ms=2, color=style.BLUE)
    if result.initial is not None and result.position_error is not None:
        ax.axhspan(-result.position_error, result.position_error, color=style.SKY, alpha=0.25, lw=0)
    ax.axhline(0, color=style.BLACK, lw=0.6)
    ax.set(xlabel="time", ylabel="reading $-$ fit")


def energy(result: Fit, data: Observations, ax: Axes) -> None:
    """The fitted motion's inertia, and what friction left of it by the balance."""
    assert result.initial is not None
    rows = _rows(data)
    q, p = (x[0] for x in result.initial)
    ts = data.ts[rows]
    with jax.enable_x64(True):
        traj = simulate(result.system, ts, q, p, dt=float(np.median(np.diff(ts))) / 2, solver=kahan_li6("BAOAB"))
        rest = result.system.potential(jnp.zeros(np.shape(q)))
    inertia = np.asarray(traj.inertia) - float(rest)
    booked = inertia[0] + np.asarray(traj.balance.friction + traj.balance.work)
    ax.plot(ts, inertia, color=style.BLUE, label="inertia $I$ of the fit")
    ax.plot(ts, booked, color=style.BLACK, ls=(0, (1, 2)), lw=1.4, label="$I(0)$ + friction + work")
    if result.system.force is None and np.all(inertia > 0):
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="time", ylabel="energy")
    _legend_above(ax)


def spectrum(result: Fit, data: Observations, ax: Axes) -> None:
    """The averaged periodogram of the record, per frequency, and the fitted resonance."""
    rows = data.runs[0]
    y = data.position.reshape(len(data.ts), -1)[rows, 0]
    y = np.interp(data.ts[rows], data.ts[rows][np.isfinite(y)], y[np.isfinite(y)])
    step = float(np.median(np.diff(data.ts[rows])))
    power = np.abs(np.fft.rfft(y - y.mean()))[1:] ** 2 * step / len(y)
    f = np.fft.rfftfreq(len(y), step)[1:]
    edges = np.geomspace(f[0], f[-1] * 1.001, 300)
    which = np.digitize(f, edges)
    kept = np.unique(which)
    ax.loglog([f[which == k].mean() for k in kept], [power[which == k].mean() for k in kept], color=style.GREY, lw=0.8)
    for label, value in zip(result.labels, result.flat, strict=True):
        if label == "potential.stiffness" and value > 0:
            ax.axvline(np.sqrt(value) / (2 * np.pi), color=style.ORANGE, lw=1.0, label=r"fitted $\omega_0 / 2\pi$")
            _legend_above(ax)
    ax.set(xlabel="frequency", ylabel="power")


def autocorrelation(result: Fit, ax: Axes) -> None:
    """Of the residuals, with the band that white ones stay in."""
    r = result.diagnostics.autocorrelation
    bound = 2 / np.sqrt(result.readings)
    ax.axhspan(-bound, bound, color=style.SKY, alpha=0.25, lw=0)
    ax.vlines(np.arange(1, len(r) + 1), 0, r, color=style.BLUE, lw=1.2)
    ax.axhline(0, color=style.BLACK, lw=0.6)
    ax.set(
        xlabel="lag", ylabel="autocorrelation of residuals", ylim=(min(-0.2, 1.1 * r.min()), max(0.2, 1.1 * r.max()))
    )


def _rows(data: Observations) -> np.ndarray:
    return data.runs[0][:SHOWN]


def _legend_above(ax: Axes) -> None:
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.1)
