r"""What the balance says about a run, beyond its loss: instability, stall, under-damping.

Each takes a `History` and answers for every recorded call, from the `window` calls before it; the first ones, which
have no such past, are answered as false.
"""

import warnings

import numpy as np
from jaxtyping import Bool, Float

from .._shown import shown
from .history import History

Flags = Bool[np.ndarray, " calls"]


def instability(history: History, window: int = 10, threshold: float = 1.0) -> Flags:
    """Discretization takes over friction: over the window it gave more than `threshold` times what friction took.

    At the edge of stability the step itself feeds the stiffest modes; their kinetic energy grows out of a small one,
    long before the loss, which all modes share, shows it. Numbers that are not finite count as unstable. On
    mini-batches without reference gradients discretization holds their noise, which a steady state balances against
    friction: take a threshold of 2 or more there.

    Arguments:
        history: the `History` of a run.
        window: how many calls (steps) back.
        threshold: of their ratio, a number.

    Returns:
        One bool for each call.

    Raises:
        ValueError: if the window is not a positive whole number, or the threshold negative.

    Example:
        >>> ji.training.instability(history)[-1]
    """
    _check(history, window, threshold=threshold)
    gained, taken = _past(history["discretization"], window), -_past(history["friction"], window)
    unstable = (gained > threshold * np.maximum(taken, 0)) & (gained > 0)
    return unstable | ~np.isfinite(history["inertia"])


def stall(
    history: History, window: int = 50, *, high: float | None = None, floor: float = 0.0, tolerance: float = 1e-3
) -> Flags:
    """Energy and its flow vanish while the loss is high: K, and the change of I over the window, are below `tolerance`
    times L - floor, and L is above `high`.

    Arguments:
        history: the `History` of a run.
        window: how many calls (steps) back.
        high: the loss that is not good enough, a number; None takes the mean of the first loss and the floor.
        floor: the loss that could be reached, a number.
        tolerance: the fraction of L - floor that counts as nothing, a number.

    Returns:
        One bool for each call.

    Raises:
        ValueError: if the window is not a positive whole number, or the tolerance negative.

    Example:
        >>> ji.training.stall(history, high=0.5)[-1]
    """
    _check(history, window, tolerance=tolerance)
    loss = history["potential"]
    high = (loss[0] + floor) / 2 if high is None else high
    small = tolerance * (loss - floor)
    flow = np.abs(_past(history["inertia"], window, missing=np.inf))
    return (history["kinetic"] < small) & (flow < small) & (loss > high)


def quality_factor(history: History, window: int = 50) -> Float[np.ndarray, " calls"]:
    r"""Q: energy stored over energy lost per radian, from how much K went to and fro against what friction took.

    Q = (pi / 2) (sum |dK| - |sum dK|) / (-friction) over the window; a weakly damped oscillator has Q = omega / gamma.
    Zero for a descent in which K rises or falls only.

    Arguments:
        history: the `History` of a run.
        window: how many calls (steps) back, some oscillations long.

    Returns:
        Q for each call; 0 where the past is too short, inf where nothing was lost.

    Raises:
        ValueError: if the window is not a positive whole number.

    Example:
        >>> ji.training.quality_factor(history, window=200)[-1]
    """
    _check(history, window)
    kinetic = history["kinetic"]
    lost = -_past(history["friction"], window)
    with np.errstate(all="ignore"):  # of a run that diverged
        travelled = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(kinetic)))])
        sloshed = _past(travelled, window) - np.abs(_past(kinetic, window))
        sloshed = np.where(sloshed > 1e-12 * np.abs(travelled), sloshed, 0.0)
        quality = np.pi / 2 * sloshed / np.maximum(lost, 0.0)
    return np.where(sloshed > 0, quality, 0.0)


def underdamping(history: History, window: int = 50, threshold: float = 5.0) -> Flags:
    """Energy sloshes between kinetic and potential: the quality factor exceeds `threshold` (critical damping is 1/2).

    Arguments:
        history: the `History` of a run.
        window: how many calls (steps) back, some oscillations long.
        threshold: of Q, a number.

    Returns:
        One bool for each call.

    Raises:
        ValueError: if the window is not a positive whole number, or the threshold negative.

    Example:
        >>> ji.training.underdamping(history, window=200)[-1]
    """
    _check(history, window, threshold=threshold)
    return quality_factor(history, window) > threshold


def diagnose(history: History, window: int = 50) -> dict[str, bool]:
    """The three diagnostics at the latest call, with their default thresholds.

    It warns if the whole history is that of SGD, with or without momentum, whose learning rate is not dt^2 but keeps
    one other ratio to it: then gamma, K and the accounts are those of another step. Clipped, scheduled and adaptive
    updates, which keep no ratio, are let be.

    Arguments:
        history: the `History` of a run.
        window: how many calls (steps) back.

    Returns:
        {"instability": ..., "stall": ..., "underdamping": ...}.

    Raises:
        ValueError: if the history is empty, or the window is not a positive whole number.

    Example:
        >>> ji.training.diagnose(history)
    """
    _check_dt(history)
    found = {
        "instability": instability(history, window),
        "stall": stall(history, window),
        "underdamping": underdamping(history, window),
    }
    return {name: bool(flags[-1]) for name, flags in found.items()}


def _check_dt(history: History) -> None:
    """Warn of a dt that is not the root of the learning rate that the updates show."""
    if not (isinstance(history, History) and {"dt", "learning_rate"} <= set(history.names)):
        return
    shown, dt = (np.asarray(history[name], float) for name in ("learning_rate", "dt"))
    told = (shown > 0) & (dt > 0)
    if told.sum() < 3:
        return
    ratios = shown[told] / dt[told] ** 2
    ratio = float(np.median(ratios))
    if np.ptp(ratios) <= 1e-2 * ratio and abs(ratio - 1) > 2e-2:
        rate = float(shown[told][-1])
        warnings.warn(
            f"the updates are those of SGD with learning rate {rate:.4g}, of which dt = {rate**0.5:.4g}, but the "
            f"monitor has dt = {float(dt[told][-1]):.4g}: pass dt=sqrt(learning_rate) to it, or a schedule",
            stacklevel=3,
        )


def _past(values: np.ndarray, window: int, missing: float = 0.0) -> np.ndarray:
    """values - values `window` calls earlier."""
    values = np.asarray(values, float)
    change = np.full(len(values), missing)
    if len(values) > window:
        with np.errstate(invalid="ignore"):
            change[window:] = values[window:] - values[:-window]
    return change


def _check(history: History, window: int, **positive: float) -> None:
    if not isinstance(history, History) or not len(history):
        raise ValueError(
            f"history = {shown(history)} must be a History with records; make one with ji.training.history"
        )
    if isinstance(window, bool) or not isinstance(window, int | np.integer) or window < 1:
        raise ValueError(f"window = {shown(window)} must be a positive whole number of calls")
    for name, x in positive.items():
        if not x >= 0:
            raise ValueError(f"{name} = {shown(x)} must not be negative")
