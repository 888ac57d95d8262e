"""One figure of a fit: the record under its prediction, what is left, and where the energy goes."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from .._shown import shown
from ..dynamics.compositions import kahan_li6
from ..dynamics.simulate import simulate
from ..dynamics.splitting import Splitting
from ..dynamics.trajectory import Trajectory
from ..inference.compare import Comparison
from ..inference.observations import Observations
from ..inference.result import Fit
from ..physics.system import System, prepare
from . import style

SHOWN = 4000  # readings of the first run that are drawn
SMOOTH = 2000  # points, at least, of the fit's curve
SWINGS = 3  # turning points, at least, of what is given an envelope
FLAT, SHORT = 6.0, 100.0  # greatest over least: below the one a linear axis does; below the other, decades are too few
LINE, ABREAST = 0.14, 3  # inches of a heading's further lines, and how many values one has
SYMBOLS = {
    "damping.gamma": r"$\gamma$",
    "damping.linear": "linear drag",
    "damping.quadratic": "quadratic drag",
    "damping.dry": "dry friction",
    "damping.coefficient": "drag",
    "damping.exponent": "exponent",
    "potential.cubic": "cubic stiffness",
    "kinetic.mass": "$m$",
    "kinetic.speed_limit": "$c$",
    "natural_frequency": "$f_0$",
    "quality_factor": "$Q$",
    "temperature": "$T$",
}


def fit(result: Fit, axes: Any = None, *, data: Observations | None = None, whole: Observations | None = None) -> Any:
    """Four panels: data and fit with their envelope; residuals; energy (or spectrum); the residuals' autocorrelation.

    Arguments:
        result: what `ji.fit` returns.
        axes: (2, 2) Axes to draw on; None makes a figure over both columns.
        data: the `Observations` that were fitted; None takes those that the fit keeps. A fit from a file has none.
        whole: the record that they are a part of, which is shown beside them; None as for `data`.

    Returns:
        The (2, 2) array of Axes.

    Raises:
        ValueError: if the fit has no data and none are given, or those given are not the ones that were fitted.

    Example:
        >>> axes = ji.plots.fit(ji.fit(system, data))
    """
    if not isinstance(result, Fit):
        raise ValueError(f"result = {shown(result)} must be what ji.fit returns; of many, pass fits[i]")
    if data is None:
        data, whole = result.data, result.whole if whole is None else whole
    if data is None:
        raise ValueError("result is from a file, which keeps no readings: pass data=, those that were fitted")
    result = _beside(result, data)
    with style.applied() if axes is None else nullcontext():
        axes = style.panels(axes, 2, 2, height=4.6)
        _panels(result, data, whole, axes)
    return axes


def overview(
    result: Fit, data: Observations, path: Path, whole: Observations | None = None, heading: str | None = None
) -> Path:
    """The figure of `fit` in a file; its heading, if not the fit's numbers alone.

    Raises:
        ValueError: if the file's format is unknown.
    """
    with style.applied():
        lines = 0 if heading is None else heading.count("\n")
        fig = Figure(figsize=(style.PAGE, 4.6 + LINE * lines))
        fit(result, fig.subplots(2, 2), data=data, whole=whole)
        if heading is not None:
            fig.suptitle(heading, fontsize=8)
        try:
            fig.savefig(path, dpi=150)
        except ValueError as error:
            raise ValueError(f"figure = {str(path)!r} cannot be written: {error}") from error
    return path


def headed(asked: str, result: Fit, beside: Comparison | None) -> Iterator[str]:
    """Lines above the figure: which law is drawn, what the text says against it, and its numbers; then the same of the
    law that was asked for, if that is another."""
    if beside is None:
        warnings = len(result.diagnostics.warnings)
        told = f", with {warnings} warning{'s' * (warnings > 1)}, told in the table" if warnings else ""
        yield asked + (told if result.diagnostics.converged else ": the search did not converge")
        yield values(result)
        return
    best, behind = next(iter(beside.fits)), {name: delta for name, *_, delta in beside}
    doubt = "" if beside.describes else ", none of which describes the record: residuals are still correlated"
    yield f"{best}, the best of {len(behind)} laws{doubt}"
    yield values(beside.best)
    if best != asked:
        yield f"asked for was {asked}, whose AIC is greater by {behind[asked]:,.1f}"
        yield values(result)


def _beside(result: Fit, data: Observations) -> Fit:
    """The fit with residuals and predictions in the rows of `data`; a fit of a part has them in those of the whole."""

    def told(fit: Fit) -> tuple:
        return fit.diagnostics.residuals, fit.diagnostics.prediction

    residuals = result.diagnostics.residuals
    if residuals is None:
        return result
    if len(residuals) != len(data.ts):
        if data.rows is None or data.rows.max() >= len(residuals):
            raise ValueError(
                f"data has {len(data.ts):,} readings, and the fit residuals of {len(residuals):,}: pass what was fitted"
            )
        result = eqx.tree_at(told, result, tuple(x[data.rows] for x in told(result)))
    elif np.any(np.isnan(residuals) & ~np.isnan(data.position)):
        raise ValueError(
            "data has readings that were not fitted: pass the part that was, such as data.decays(), and whole=data"
        )
    return result


def _panels(result: Fit, data: Observations, whole: Observations | None, axes: Any) -> None:
    time, position = (name.replace("$", r"\$") for name in data.labels)
    axes[0, 0].figure.suptitle(values(result), fontsize=8)
    traj = None if result.initial is None else motion(result, data)
    record(result, data, traj, axes[0, 0])
    if whole is not None and data.rows is not None:
        left_out(data, whole, axes[0, 0])
    residuals(result, data, axes[0, 1])
    if traj is None:
        spectrum(result, data, axes[1, 0])
    else:
        energy(result.system, traj, axes[1, 0])
    autocorrelation(result, axes[1, 1])
    in_time = axes[0] if traj is None else (*axes[0], axes[1, 0])
    for ax in in_time:
        ax.set_xlabel(time + part(data) if ax.lines else "")
    axes[0, 0].set_ylabel(position)


def values(result: Fit) -> str:
    """The dampings, frequency, quality and temperature with their errors, few in a line."""
    named = dict(zip(result.labels, zip(result.flat, np.sqrt(np.diag(result.covariance)), strict=True), strict=True))
    named |= result.derived
    each = [f"{text} = {_rounded(*named[name])}" for name, text in SYMBOLS.items() if name in named]
    return ",\n".join(",   ".join(each[k : k + ABREAST]) for k in range(0, len(each), ABREAST))


def _rounded(value: float, error: float) -> str:
    """A value to the second digit of its error, which follows where there is one."""
    if not (np.isfinite(error) and error > 0 and value):
        return f"{value:.5g}"
    digits = int(np.floor(np.log10(abs(value))) - np.floor(np.log10(error))) + 2
    said, spread = (f"{x:#.{n}g}".rstrip(".") for x, n in ((value, max(digits, 1)), (error, 2)))
    return f"{said} $\\pm$ {spread}"


def part(data: Observations) -> str:
    """Which part of the record is shown, if not all of it."""
    first, runs = data.runs[0], len(data.runs)
    of = f", run 1 of {runs}" if runs > 1 else ""
    ts = data.ts[first]
    whole = len(first) <= SHOWN
    return of if whole else f"{of} (first {ts[SHOWN - 1] - ts[0]:.3g} of {ts[-1] - ts[0]:.3g})"


def motion(result: Fit, data: Observations) -> Trajectory:
    """The fitted motion through the part that is shown, at times close enough for a smooth curve."""
    assert result.initial is not None
    ts = data.ts[_rows(data)]
    finer = -(-SMOOTH // len(ts))
    fine = np.interp(np.arange((len(ts) - 1) * finer + 1) / finer, np.arange(len(ts)), ts)
    q, p = (x[0] for x in result.initial)
    high = result.system.damping.composes(result.system.kinetic)
    dt = float(np.median(np.diff(ts))) / (2 if high else 20)
    with jax.enable_x64(True):
        return simulate(result.system, fine, q, p, dt=dt, solver=kahan_li6("BAOAB") if high else Splitting("BAOAB"))


def record(result: Fit, data: Observations, traj: Trajectory | None, ax: Axes) -> None:
    """The first run, the fitted motion (or its prediction, where it is driven), and the envelope."""
    rows = _rows(data)
    ts, y = data.ts[rows], data.position.reshape(len(data.ts), -1)[rows, 0]
    ax.plot(ts, y, ".", ms=2, color=style.GREY, label="data")
    prediction = result.diagnostics.prediction
    if traj is not None and result.system.force is None and data.read is None and not data.trend:
        offset = result.offset[0] if result.offset is not None else data.offset
        level = 0.0 if offset is None else float(np.ravel(offset)[0])
        q = np.asarray(traj.position).reshape(len(traj.ts), -1)[:, 0]
        ax.plot(traj.ts, q + level, lw=0.8, color=style.BLUE, label="fit")
        for i, side in enumerate(envelope(result.system, traj)):
            ax.plot(traj.ts, side + level, color=style.ORANGE, lw=1.0, label="envelope" if i == 0 else None)
    elif prediction is not None:
        said = prediction.reshape(len(data.ts), -1)[rows, 0]
        label = "fit" if traj is not None else "predicted from the readings before"
        ax.plot(ts, said, lw=0.8, color=style.BLUE, label=label)
    _legend_above(ax)


def left_out(data: Observations, whole: Observations, ax: Axes) -> None:
    """What was recorded up to the end of the part that is shown, and not fitted; and where the free motion begins."""
    shown = _rows(data)
    assert data.rows is not None
    others = np.setdiff1d(np.arange(len(whole.ts)), data.rows)
    same = whole.segment[others] == whole.segment[data.rows[shown[0]]]
    others = others[same & (whole.ts[others] < data.ts[shown[-1]])][-SHOWN:]
    if not len(others):
        return
    y = whole.position.reshape(len(whole.ts), -1)[others, 0]
    ax.plot(whole.ts[others], y, ".", ms=2, color=style.ORANGE, alpha=0.5, label="not fitted")
    ax.axvline(data.ts[shown[0]], color=style.BLACK, lw=0.6, ls=(0, (1, 2)))
    _legend_above(ax)


def envelope(system: System, traj: Trajectory) -> list[np.ndarray]:
    """How far the motion of one component would go to either side: where L = J. Nothing, if it does not swing, or the
    potential changes with time.

    J = I + q f(p) / 2, with f(p) the friction, is I at the turning points, which therefore lie on the envelope; for
    linear friction on a harmonic potential it falls as exp(-gamma t), and the envelope as exp(-gamma t / 2). Where
    friction jumps at rest, as dry friction does, J goes on straight lines between the turning points.
    """
    q, p = np.asarray(traj.position), np.asarray(traj.momentum)
    turns = np.flatnonzero(p.ravel()[1:] * p.ravel()[:-1] < 0)
    if q.size != len(q) or len(turns) < SWINGS or system.moves_with_time:
        return []
    shape = q.shape[1:]
    with jax.enable_x64(True):
        x = np.linspace(2 * q.min() - q.max(), 2 * q.max() - q.min(), 40001)
        well = np.asarray(jax.vmap(system.potential)(jnp.asarray(x).reshape(-1, *shape)))
        friction = _friction(system, traj, p)
        jump = _friction(system, traj, 1e-9 * np.abs(p)) - _friction(system, traj, -1e-9 * np.abs(p))
    inside = (x >= q.min()) & (x <= q.max())
    rest = int(np.flatnonzero(inside)[np.argmin(well[inside])])
    j = np.asarray(traj.inertia) + ((q - x[rest]) * friction).ravel() / 2
    if np.abs(jump).max() > 1e-3 * np.abs(friction).max():
        speed = np.abs(p).ravel()
        nearest = turns + (speed[turns + 1] < speed[turns])
        at = np.union1d(nearest, np.flatnonzero(speed == 0))
        j = np.interp(np.arange(len(j)), at, np.asarray(traj.inertia)[at])
    # The square root of the depth is straight near the bottom, where the depth itself is not.
    depth, root = (np.sqrt(np.maximum(e - well[rest], 0.0)) for e in (well, j))
    sides = depth[rest:], depth[rest::-1]
    reach = x[rest:], x[rest::-1]
    return [np.interp(root, np.maximum.accumulate(side), to) for side, to in zip(sides, reach, strict=True)]


def _friction(system: System, traj: Trajectory, p: np.ndarray) -> np.ndarray:
    """The friction at these momenta along the motion."""
    position, momentum = jnp.asarray(traj.position), jnp.asarray(p)
    system = prepare(system, position[0], momentum[0])[0]
    velocity = jax.vmap(system.kinetic.velocity_at)(position, momentum)
    return np.asarray(jax.vmap(system.damping.force_at)(jnp.asarray(traj.ts), position, momentum, velocity))


def residuals(result: Fit, data: Observations, ax: Axes) -> None:
    """Reading - prediction of the same run, with two errors of a reading to either side as a band."""
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
        band = 2 * float(np.ravel(result.position_error)[0])
        ax.axhspan(-band, band, color=style.SKY, alpha=0.25, lw=0, label=r"$\pm 2 \times$ error of a reading")
        _legend_above(ax)
    ax.axhline(0, color=style.BLACK, lw=0.6)
    ax.set(ylabel="reading $-$ fit")


def energy(system: System, traj: Trajectory, ax: Axes) -> None:
    """The fitted motion's inertia, and what friction left of it by the balance."""
    with jax.enable_x64(True):
        rest = 0.0 if system.moves_with_time else system.potential(jnp.zeros(np.shape(traj.position)[1:]))
    inertia = np.asarray(traj.inertia) - float(rest)
    booked = inertia[0] + np.asarray(traj.balance.friction + traj.balance.work)
    ax.plot(traj.ts, inertia, color=style.BLUE, label="inertia $I$ of the fit")
    ax.plot(traj.ts, booked, color=style.BLACK, ls=(0, (1, 2)), lw=1.4, label="$I(0)$ + friction + work")
    if not system.takes_work and np.all(inertia > 0):
        scale_energy(ax, float(inertia.max() / inertia.min()))
    ax.set(ylabel="energy")
    _legend_above(ax)


def scale_energy(ax: Axes, ratio: float) -> None:
    """A logarithmic axis with two labels at least, at 1, 2 and 5 where decades are few; a linear one below FLAT."""
    if ratio < FLAT:
        return
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    if ratio < SHORT:
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.yaxis.set_minor_locator(NullLocator())


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
