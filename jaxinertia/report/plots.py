"""`ji.plots`: one picture for each question one asks of a run. Each takes an optional Axes and returns the Axes.

A trajectory that came out of `jax.vmap` (a leading axis of runs), or a Sweep of trajectories, draws all its runs.
"""

from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from .._names import offered
from .._shown import shown
from ..dynamics.sweep.result import Sweep
from ..dynamics.trajectory import Trajectory
from ..energy import analytic
from ..energy.rates import measured_decay_rate
from ..physics.potentials import depends_on_time
from . import style
from .fit_figure import fit as fit
from .maps import basins as basins
from .maps import heat_map as heat_map
from .modes_figure import modes as modes
from .modes_figure import stabilization as stabilization
from .training import accounts as accounts
from .training import training as training

__all__ = [
    "accounts",
    "basins",
    "decay_rates",
    "discrete",
    "energy",
    "fit",
    "heat_map",
    "landscape",
    "modes",
    "phase_portrait",
    "stabilization",
    "training",
]


def __dir__() -> list[str]:
    return offered(globals())


def energy(trajectory: Trajectory | Sweep, ax: Axes | None = None, *, parts: bool = True) -> Axes:
    """Inertia against time, with kinetic and potential energy and the booked losses I(0) + friction + work.

    Arguments:
        trajectory: one run; of many, the inertia alone is drawn.
        ax: where to draw; None makes a figure.
        parts: whether to draw K and L too.

    Returns:
        The Axes.

    Raises:
        ValueError: if a Sweep does not hold trajectories.

    Example:
        >>> ji.plots.energy(ji.simulate(system, np.linspace(0, 20, 201), 1.0, dt=0.01))
    """
    trajectory = _trajectory("energy", trajectory)
    ax = style.axes(ax)
    if np.ndim(trajectory.kinetic) == 1:
        _energy_of_one(trajectory, ax, parts)
        _legend(ax)
    else:
        ts = _times(trajectory)
        for inertia in _rows(trajectory.inertia):
            ax.plot(ts, inertia, lw=0.8)
    ax.set(xlabel="time $t$", ylabel="energy" if np.ndim(trajectory.kinetic) == 1 else "inertia $I$")
    return ax


def _energy_of_one(trajectory: Trajectory, ax: Axes, parts: bool) -> None:
    ts, inertia = np.asarray(trajectory.ts), np.asarray(trajectory.inertia)
    if parts:
        ax.plot(ts, trajectory.kinetic, color=style.SKY, lw=0.8, label="kinetic $K$")
        ax.plot(ts, trajectory.potential, color=style.ORANGE, lw=0.8, label="potential $L$")
    ax.plot(ts, inertia, color=style.BLUE, lw=2.4, alpha=0.45, label="inertia $I = K + L$")
    booked = inertia[0] + np.asarray(trajectory.balance.friction + trajectory.balance.work)
    ax.plot(ts, booked, color=style.BLACK, lw=0.6, label="$I(0)$ + friction + work")


def phase_portrait(trajectory: Trajectory | Sweep, ax: Axes | None = None, *, component: int = 0, **line: Any) -> Axes:
    """Momentum against position of one component, with a dot at the start; it is called velocity where it is one.

    Arguments:
        trajectory: one run, or many with a leading axis, or a Sweep of them.
        ax: where to draw; None makes a figure.
        component: which component of the flattened position.
        **line: passed on to `Axes.plot`.

    Returns:
        The Axes.

    Raises:
        ValueError: if there is no such component.

    Example:
        >>> ji.plots.phase_portrait(traj, component=1, lw=0.8)
    """
    trajectory = _trajectory("phase_portrait", trajectory)
    ax = style.axes(ax)
    for q, p in zip(_runs(trajectory, trajectory.position), _runs(trajectory, trajectory.momentum), strict=True):
        if not 0 <= component < q.shape[1]:
            raise ValueError(f"component = {component!r} must be in 0..{q.shape[1] - 1}: the position's components")
        (drawn,) = ax.plot(q[:, component], p[:, component], **line)
        ax.plot(q[0, component], p[0, component], "o", ms=3, color=drawn.get_color())
    ax.set(xlabel=r"position $\theta$", ylabel="velocity $v$" if trajectory.momentum_is_velocity else "momentum $p$")
    return ax


def decay_rates(
    trajectory: Trajectory | Sweep,
    ax: Axes | None = None,
    *,
    gamma: Any = None,
    stiffness: float | None = None,
    window: tuple[float, float] | None = None,
) -> Axes:
    """Measured decay rate of the inertia against gamma, with the exact line where the stiffness is given.

    Arguments:
        trajectory: many runs, a `Trajectory` with a leading axis, one for each gamma, whose potential has its minimum
            at 0; or a Sweep over an axis "gamma", of such runs or of their rates.
        ax: where to draw; None makes a figure.
        gamma: shape (runs,), in one over time; None takes the axis "gamma" of a Sweep.
        stiffness: of a quadratic potential (over the mass), a number, in one over time squared: draws the exact rate
            and the critical point. None draws neither.
        window: (from, to), the times that count; None takes the later half.

    Returns:
        The Axes.

    Raises:
        ValueError: if gamma does not have one entry for each run.

    Example:
        >>> ji.plots.decay_rates(runs, gamma=gammas, stiffness=1.0)
    """
    if isinstance(trajectory, Sweep):
        gamma = _at_each_point(trajectory, "gamma") if gamma is None else gamma
    gamma = np.atleast_1d(np.asarray(gamma, float))
    if isinstance(trajectory, Sweep) and not isinstance(trajectory.values, Trajectory):
        rates, label = np.ravel(trajectory.values), "measured"
    else:
        rates, label = _rates(_trajectory("decay_rates", trajectory), window)
    if gamma.ndim != 1 or rates.shape != gamma.shape:
        raise ValueError(f"gamma has shape {gamma.shape}, the runs {rates.shape}; pass one gamma for each run")
    ax = style.axes(ax)
    if stiffness is not None:
        fine = np.linspace(0, gamma.max() * 1.02, 1000)
        ax.plot(fine, analytic.decay_rate(stiffness, fine), color=style.BLUE, label="exact, long times")
        ax.axvline(2 * np.sqrt(stiffness), color=style.GREY, lw=0.6, ls=":")
    ax.plot(gamma, rates, "o", ms=3.5, mfc="white", mew=0.8, color=style.BLACK, label=label)
    ax.set(xlabel=r"damping $\gamma$", ylabel="decay rate of $I$")
    _legend(ax)
    return ax


def _rates(trajectory: Trajectory, window: tuple[float, float] | None) -> tuple[np.ndarray, str]:
    ts = _times(trajectory)
    low, high = window or (ts[len(ts) // 2], ts[-1])
    late = (ts >= low) & (ts <= high)
    rates = measured_decay_rate(ts[late], np.asarray(trajectory.inertia)[..., late])
    return np.atleast_1d(rates), f"measured, $t$ in [{low:g}, {high:g}]"


def landscape(
    trajectory: Trajectory | Sweep, ax: Axes | None = None, *, potential: Any = None, levels: int = 14
) -> Axes:
    """Paths of a two-component position over the contours of the potential.

    Arguments:
        trajectory: one run, or many with a leading axis, or a Sweep of them.
        ax: where to draw; None makes a figure.
        potential: a callable from shape (2,) to a scalar, for the contours; None draws the paths alone.
        levels: number of contours.

    Returns:
        The Axes.

    Raises:
        ValueError: if the position does not have two components, or the potential depends on time.

    Example:
        >>> ji.plots.landscape(traj, potential=system.potential)
    """
    trajectory = _trajectory("landscape", trajectory)
    ax = style.axes(ax)
    paths = _runs(trajectory, trajectory.position)
    if paths[0].shape[1] != 2:
        raise ValueError(f"position has {paths[0].shape[1]} components; a landscape needs 2")
    if potential is not None and depends_on_time(potential):
        raise ValueError("potential depends on time; pass it at one, as in potential=lambda q: potential(q, 0.0)")
    if potential is not None and not callable(potential):
        raise ValueError(
            f"potential = {shown(potential)} must be a function of a point; of a system, pass system.potential"
        )
    if potential is not None:
        points = np.concatenate(paths)
        contours(ax, potential, points.min(0), points.max(0), levels)
    for path in paths:
        (drawn,) = ax.plot(path[:, 0], path[:, 1], lw=0.8)
        ax.plot(*path[0], "o", ms=3, color=drawn.get_color())
    ax.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", aspect="equal")
    return ax


def colour_by_inertia(trajectory: Trajectory, ax: Axes, norm: Any) -> Any:
    """Paths of a two-component position, coloured by the inertia at each time, for a colour bar; dots at the starts."""
    paths, inertias = _runs(trajectory, trajectory.position), _rows(trajectory.inertia)
    for path, inertia in zip(paths, inertias, strict=True):
        pieces = LineCollection(
            list(np.stack([path[:-1], path[1:]], axis=1)), cmap="viridis", norm=norm, lw=1.4, capstyle="round"
        )
        pieces.set_array((inertia[:-1] + inertia[1:]) / 2)
        ax.add_collection(pieces)
        ax.plot(*path[0], "o", ms=3, color=style.BLACK)
    return pieces


def discrete(trajectory: Trajectory | Sweep, ax: Axes | None = None, **line: Any) -> Axes:
    """The integrator's own error in the energy, cumulative: the account `balance.discretization` against time.

    Arguments:
        trajectory: one run, or many with a leading axis, or a Sweep of them.
        ax: where to draw; None makes a figure.
        **line: passed on to `Axes.plot`.

    Returns:
        The Axes.

    Raises:
        ValueError: if a Sweep does not hold trajectories.

    Example:
        >>> ji.plots.discrete(traj)
    """
    trajectory = _trajectory("discrete", trajectory)
    ax = style.axes(ax)
    for run in _rows(trajectory.balance.discretization):
        ax.plot(_times(trajectory), run, **line)
    ax.set(xlabel="time $t$", ylabel="discretization error of $I$")
    return ax


def _legend(ax: Axes) -> None:
    ax.legend(fontsize=7, frameon=False, handlelength=1.8)


def _trajectory(name: str, data: Trajectory | Sweep) -> Trajectory:
    """The runs to draw: of a Sweep, all its points on one leading axis."""
    if isinstance(data, Trajectory):
        return data
    if not isinstance(data, Sweep):
        raise ValueError(
            f"trajectory = {shown(data)} must be what ji.simulate or ji.sweep returns; plots.{name} draws it"
        )
    if not isinstance(data.values, Trajectory):
        raise ValueError(
            f"trajectory = {shown(data)} is a sweep whose fn returned no trajectory; for plots.{name}, "
            "return from fn what ji.simulate gives"
        )
    return jax.tree.map(lambda x: np.reshape(x, (-1, *np.shape(x)[len(data.shape) :])), data.values)


def _at_each_point(sweep: Sweep, name: str) -> np.ndarray:
    """This parameter at each point of the sweep, in C order."""
    if name not in sweep.dimensions:
        raise ValueError(f"the sweep has the axes {list(sweep.dimensions)}, none of them {name!r}; pass {name}=")
    shape = [1] * len(sweep.shape)
    shape[sweep.dimensions.index(name)] = -1
    return np.broadcast_to(sweep.axes[name].reshape(shape), sweep.shape).ravel()


def _times(trajectory: Trajectory) -> np.ndarray:
    """The times, which all runs share."""
    ts = np.asarray(trajectory.ts)
    return ts.reshape(-1, ts.shape[-1])[0]


def _rows(values: Any) -> np.ndarray:
    """(runs, times), of one run or many."""
    values = np.asarray(values)
    return values.reshape(-1, values.shape[-1])


def _runs(trajectory: Trajectory, state: Any) -> list[np.ndarray]:
    """One (times, components) array for each run."""
    batch = np.shape(trajectory.kinetic)
    flat = [np.asarray(x).reshape(*batch, -1) for x in jax.tree.leaves(state) if hasattr(x, "shape")]
    joined = np.concatenate(flat, axis=-1)
    return list(joined.reshape(-1, batch[-1], joined.shape[-1]))


def contours(ax: Axes, potential: Any, low: Any, high: Any, levels: int) -> None:
    """Of a potential of two components, over a rectangle and 15 % around it."""
    low, high = np.asarray(low), np.asarray(high)
    margin = 0.15 * np.maximum(high - low, 1e-12)
    x = np.linspace(low[0] - margin[0], high[0] + margin[0], 200)
    y = np.linspace(low[1] - margin[1], high[1] + margin[1], 200)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    heights = np.asarray(jax.vmap(jax.vmap(potential))(grid))
    ax.contour(x, y, heights, levels=levels, colors=style.GREY, linewidths=0.4, alpha=0.7)
