"""How many modes a band holds: one after another, as long as the evidence grows.

Each mode is tried from several starts (the subspace of one dimension more, a mode split in two, what is left over),
and each number of modes with floors that are flat, sloped and bent, so that a floor is not taken for a mode. The
evidence is the Bayesian information criterion over the band's frequencies. What is no mode is never counted as one:
narrower than the record resolves, wider than the band, or outside it.

Source: G. Schwarz, Ann. Stat. 6, 461 (1978).
"""

from typing import NamedTuple

import numpy as np

from . import subspace
from .ascent import LONGEST, climb
from .covariances import Layout, mode_rows
from .likelihood import Cost, Groups, cost, spectrum

ROUGH = 0.1  # fall of the cost at which a fit that is only compared ends
KEPT = 2  # starts that are followed to their end
BENT = 3  # coefficients of a log floor at most
SKETCHED, SKETCH = 6, 6  # starts that are compared, and by how many steps
PROMISE = 0.3  # of the evidence that more parameters need, which one step towards them has to promise
LAGS = (12, 32)
CLOSE = 3.0  # sums of their gamma by which modes may be apart and their forces still be seen to be correlated
RESOLVED = 4.0  # gamma times the record's length, below which a mode is a line


class Fit(NamedTuple):
    """A fit of a band."""

    layout: Layout
    theta: np.ndarray
    cost: Cost

    @property
    def modes(self) -> np.ndarray:
        """(omega, gamma), (k, 2)."""
        return np.exp(mode_rows(self.theta, self.layout)[:, :2])

    def criterion(self, groups: Groups) -> float:
        """The Bayesian information criterion; less is better."""
        return 2 * self.cost.likelihood + self.layout.size * float(np.log(groups.weight.sum()))


def ladder(
    groups: Groups, orders: tuple[int, ...], most: int, known: np.ndarray | None = None, at_least: int = 0
) -> list[Fit]:
    """The best fit with 0, 1, 2, ... modes, to the first that has less evidence, but to `at_least` where one is found.

    `known` are modes (omega, gamma) to begin at, as peaks of the spectrum are. More are sought over flat floors and
    with forces that are not correlated, for while modes are missing nothing else is told; then the fit is refined, and
    modes taken away from it, as long as there is more evidence for that.
    """
    empty = Layout((), orders, (), (1,) * len(groups.quiet))
    top = _begun(known, empty, groups)
    if top is None:
        found = [_floors(empty, groups, True)]
    else:
        top = _raised(top, groups, max(most, at_least))
        found = _down_from(refined(top, groups), empty, groups)
    while len(found) <= max(most, at_least):
        new = _one_more(found[-1], groups)
        if new is None:
            break
        found.append(refined(new, groups))
        if found[-1].criterion(groups) > found[-2].criterion(groups) and len(found) > at_least:
            break
    return found


def _begun(modes: np.ndarray | None, empty: Layout, groups: Groups) -> Fit | None:
    """The fit with these modes, but those that turn out to be none."""
    fit = None if modes is None or not len(modes) else _climbed(_posed(modes, groups, empty), groups)
    while fit is not None and not proper(fit, groups):
        rest = fit.modes[are_proper(fit, groups)]
        fit = _climbed(_posed(rest, groups, empty), groups) if len(rest) else None
    return fit


def _raised(found: Fit, groups: Groups, most: int) -> Fit:
    """With more modes, as long as the evidence grows."""
    while found.layout.modes < most:
        new = _one_more(found, groups)
        if new is None or new.criterion(groups) > found.criterion(groups):
            break
        found = new
    return found


def _down_from(top: Fit, empty: Layout, groups: Groups) -> list[Fit]:
    """Fits with 0, 1, 2, ... modes of this one. The mode that is missed least is taken away first; once that costs
    evidence, fits with fewer are there to be shown, or asked for, and are only sketched."""
    found, is_close = [top], True
    while found[0].layout.modes > 1:
        rest = [np.delete(found[0].modes, k, 0) for k in range(found[0].layout.modes)]
        left = _best_start([_posed(some, groups, empty) for some in rest], groups, 1)
        one = _climbed(left[0], groups, LONGEST if is_close else SKETCH) if left else None
        if one is None:
            return [_floors(empty, groups, True)]
        found.insert(0, refined(one, groups) if is_close else one)
        is_close = is_close and found[0].criterion(groups) < found[1].criterion(groups)
    return [_floors(empty, groups, is_close), *found]


def _best_start(starts: list, groups: Groups, kept: int) -> list:
    """The likeliest so many, as they are."""
    costs = [cost(theta, layout, groups) for layout, theta in starts]
    order = np.argsort([np.inf if one is None else one.value for one in costs])
    return [starts[i] for i in order[:kept] if costs[i] is not None]


def _is_worth(start: tuple[Layout, np.ndarray], found: Fit, groups: Groups) -> bool:
    """Whether a step from there, where more parameters are still without effect, promises a good part of the evidence
    that they need."""
    layout, theta = start
    there = cost(theta, layout, groups)
    if there is None:
        return False
    gain = float(there.gradient @ np.linalg.solve(there.information, there.gradient))
    return gain > PROMISE * (layout.size - found.layout.size) * float(np.log(groups.weight.sum()))


def best(found: list[Fit], groups: Groups) -> int:
    """The number of modes with the most evidence."""
    return int(np.argmin([one.criterion(groups) for one in found]))


def _floors(empty: Layout, groups: Groups, is_bent: bool) -> Fit:
    """The best fit of floors alone."""
    found = _climbed((empty, quiet(groups)), groups)
    if found is None:
        raise ValueError("the spectrum's floor has no likelihood: a channel holds no noise at all")
    return bent(found, groups) if is_bent else found


def _climbed(start: tuple[Layout, np.ndarray], groups: Groups, steps: int = LONGEST) -> Fit | None:
    """The best fit from there, None where nothing is likely."""
    layout, theta = start
    theta, value, _ = climb(theta, lambda x: cost(x, layout, groups), steps, small=ROUGH)
    return None if value is None else Fit(layout, theta, value)


def refined(found: Fit, groups: Groups) -> Fit:
    """The best fit from there, forces of close modes correlated and floors bent where there is evidence of it."""
    return bent(correlated(found, groups), groups)


def correlated(found: Fit, groups: Groups) -> Fit:
    """The best fit from there, forces of close modes correlated as long as the evidence grows."""
    for k in range(found.layout.modes):
        for l in range(k):
            (a, wide), (b, broad) = found.modes[[k, l]]
            if abs(a - b) > CLOSE * (wide + broad):
                continue
            at = found.layout.motion
            layout = found.layout._replace(coupled=(*found.layout.coupled, (k, l)))
            start = layout, np.r_[found.theta[:at], 0.0, found.theta[at:]]
            new = _climbed(start, groups) if _is_worth(start, found, groups) else None
            if new is not None and new.criterion(groups) < found.criterion(groups):
                found = new
    return found


def bent(found: Fit, groups: Groups) -> Fit:
    """The best fit from there, its floors bent as long as the evidence grows."""
    for band in range(len(found.layout.floors)):
        while found.layout.floors[band] < BENT:
            start = _with_bend(found, band)
            new = _climbed(start, groups) if _is_worth(start, found, groups) else None
            if new is None or new.criterion(groups) >= found.criterion(groups):
                break
            found = new
    return found


def _with_bend(found: Fit, band: int) -> tuple[Layout, np.ndarray]:
    """The same with one coefficient more for the floors of a band."""
    layout, at, theta = found.layout, found.layout.motion, [found.theta[: found.layout.motion]]
    for b, order in enumerate(layout.floors):
        for _ in range(layout.channels):
            theta.append(np.r_[found.theta[at : at + order], np.zeros(int(b == band))])
            at += order
    floors = tuple(order + (b == band) for b, order in enumerate(layout.floors))
    return layout._replace(floors=floors), np.concatenate(theta)


def _one_more(found: Fit, groups: Groups) -> Fit | None:
    """The best fit with one mode more, None where every start ends in what is no mode."""
    sketched = []
    for start in _best_start(list(_starts(found, groups)), groups, SKETCHED):
        one = _climbed(start, groups, SKETCH)
        if one is not None:
            sketched.append(one)
    sketched.sort(key=lambda one: one.cost.value)
    good: list[Fit] = []
    for i, one in enumerate(sketched):
        if i >= KEPT and good:
            break
        ended = _climbed((one.layout, one.theta), groups)
        if ended is not None and proper(ended, groups):
            good.append(ended)
    return min(good, key=lambda one: one.cost.value) if good else None


def proper(found: Fit, groups: Groups) -> bool:
    """Whether each mode is resolved, inside a band and narrower than it."""
    return bool(np.all(are_proper(found, groups)))


def are_proper(found: Fit, groups: Groups) -> np.ndarray:
    """(k,), of each mode."""
    edges = np.array([_edges(groups, b) for b in range(len(groups.quiet))])
    omega, gamma = found.modes.T[:, :, None]
    inside = (edges[:, 0] <= omega) & (omega <= edges[:, 1]) & (gamma <= edges[:, 1] - edges[:, 0])
    return np.any(inside, axis=1) & (gamma[:, 0] * groups.n.max() >= RESOLVED)


def _edges(groups: Groups, band: int) -> tuple[float, float]:
    omega = groups.omega[groups.band == band]
    return float(omega.min()), float(omega.max())


def quiet(groups: Groups) -> np.ndarray:
    """Coefficients of flat floors at the bands' quiet levels."""
    return np.log(groups.quiet).ravel()


def _starts(found: Fit, groups: Groups):
    """(layout, theta) with one mode more, over flat floors."""
    k, layout = found.layout.modes, found.layout._replace(floors=(1,) * len(groups.quiet))
    for lags in LAGS:
        modes = subspace.subspace(groups, k + 1, lags)
        if len(modes) == k + 1:
            yield _posed(modes, groups, layout)
    modes = found.modes
    for i, (omega, gamma) in enumerate(modes):
        halves = np.array([[max(omega - gamma / 4, omega / 8), gamma / 2], [omega + gamma / 4, gamma / 2]])
        yield _posed(np.concatenate([np.delete(modes, i, 0), halves]), groups, layout)
    for new in _left_over(found, groups):
        yield _posed(np.concatenate([modes, [new]]), groups, layout)


def _posed(modes, groups, layout):
    modes = modes[np.argsort(modes[:, 0])]
    matrices = subspace.carried(modes, groups, layout.orders)
    layout = layout._replace(references=subspace.references(matrices), coupled=())
    return layout, np.r_[subspace.parameters(modes, matrices, layout).ravel(), quiet(groups)]


def _left_over(found: Fit, groups: Groups) -> list[np.ndarray]:
    """(omega, gamma) where the readings exceed the fit most clearly, over a narrow and over a wide window."""
    whitened = residuals(found, groups)
    excess, d = (whitened - 1) * groups.weight * found.layout.channels, found.layout.channels
    total, weight = np.r_[0, np.cumsum(excess)], np.r_[0, np.cumsum(groups.weight * d)]
    new = []
    for size in sorted({max(1, len(excess) // part) for part in (400, 100, 25, 6)}):
        clear = (total[size:] - total[:-size]) / np.sqrt(weight[size:] - weight[:-size])
        i = int(np.argmax(clear))
        low, high = groups.omega[i], groups.omega[i + size - 1]
        least = RESOLVED / groups.n.max()
        new.append(np.array([(low + high) / 2, max(high - low, 2 * least)]))
    return new


def residuals(found: Fit, groups: Groups) -> np.ndarray:
    """tr(S^-1 J J^H / n) / d of each group, 1 on average where the fit is right."""
    value, _ = spectrum(found.theta, found.layout, groups)
    return np.einsum("gjj->g", np.linalg.solve(value, groups.power)).real / found.layout.channels
