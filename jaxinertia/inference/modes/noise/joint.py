"""All bands together: how many modes in each, and one fit of all of them."""

from typing import NamedTuple

import numpy as np

from ..found import Order
from .ascent import climb
from .covariances import Layout, mode_rows, shapes
from .likelihood import Groups, cost
from .order import Fit, best, refined


class Ladder(NamedTuple):
    """A band's groups, and its fits with 0, 1, 2, ... modes."""

    groups: Groups
    fits: list[Fit]

    @property
    def chosen(self) -> int:
        return best(self.fits, self.groups)

    @property
    def best(self) -> Fit:
        return self.fits[self.chosen]


class Within(NamedTuple):
    """The best fit in bands of some reach; of each band its ladder, and how many modes were picked; `choices` are the
    best picks by their sum."""

    fit: Fit
    grid: Groups
    bands: list[tuple[float, float]]
    ladders: list[Ladder]
    picks: list[int]
    choices: list[list[int]]
    lines: tuple[float, ...]


def counts(ladders: list[Ladder], count: int | None) -> tuple[list[int], list[list[int]]]:
    """How many modes of each band: by the evidence, or the likeliest so many in all; and, by the number of modes in
    all, the best such choice."""
    choices: list[list[int]] = [[]]
    for ladder in ladders:
        longer: dict[int, list[int]] = {}
        for choice in choices:
            for k in range(len(ladder.fits)):
                new = [*choice, k]
                known = longer.get(sum(new))
                if known is None or _criterion(ladders, new) < _criterion(ladders, known):
                    longer[sum(new)] = new
        choices = [longer[total] for total in sorted(longer)]
    if count is None:
        return min(choices, key=lambda choice: _criterion(ladders, choice)), choices
    right = [choice for choice in choices if sum(choice) == count]
    if not right:
        raise ValueError(
            f"count = {count}: no {count} modes that the record resolves were found, but {sum(choices[-1])} at most; "
            "pass a lower count, or None"
        )
    return right[0], choices


def _criterion(ladders, choice):
    return sum(one.fits[k].criterion(one.groups) for one, k in zip(ladders, choice, strict=False))


def tried(ladders: list[Ladder], choices: list[list[int]], step: float) -> tuple[Order, ...]:
    """What was tried, by the number of modes."""
    found = []
    for choice in choices:
        fits = [one.fits[k] for one, k in zip(ladders, choice, strict=True)]
        modes = np.concatenate([fit.modes for fit in fits])
        found.append(
            Order(
                sum(choice),
                float(sum(2 * fit.cost.likelihood for fit in fits)),
                sum(fit.layout.size for fit in fits),
                float(_criterion(ladders, choice)),
                modes[:, 0] / (2 * np.pi * step),
                modes[:, 1] / step,
            )
        )
    return tuple(found)


def together(fits: list[Fit]) -> tuple[Layout, np.ndarray]:
    """One layout of all bands, over flat floors, and its parameters."""
    first = fits[0].layout
    references = tuple(r for fit in fits for r in fit.layout.references)
    layout = Layout(references, first.orders, (), (1,) * len(fits))
    modes = [fit.theta[: fit.layout.modes * fit.layout.each] for fit in fits]
    floors = [fit.theta[fit.layout.motion :: fit.layout.floors[0]] for fit in fits]
    return layout, np.concatenate([*modes, *floors])


def settled(layout: Layout, theta: np.ndarray, groups: Groups, units: np.ndarray) -> Fit:
    """The best fit from there: shapes measured by the channel of the greatest motion in the record's own units, forces
    of close modes correlated where there is evidence of it."""
    fit = climbed(*rebased(*climbed(layout, theta, groups)[:2], units), groups)
    fit = refined(fit, groups)
    return climbed(fit.layout, fit.theta, groups)


def climbed(layout: Layout, theta: np.ndarray, groups: Groups) -> Fit:
    """The best fit from there."""
    theta, value, _ = climb(theta, lambda x: cost(x, layout, groups))
    if value is None:
        raise ValueError("no likelihood at the start: the readings of one channel are an exact sum of the others")
    return Fit(layout, theta, value)


def rebased(layout: Layout, theta: np.ndarray, units: np.ndarray) -> tuple[Layout, np.ndarray]:
    """The same with each mode measured by the channel where it is greatest."""
    found, rows = shapes(theta, layout), mode_rows(theta, layout).copy()
    references = tuple(int(x) for x in np.argmax(np.abs(found) * units[:, None], axis=0))
    for k, reference in enumerate(references):
        others = np.delete(found[:, k] / found[reference, k], reference)
        rows[k, 2] += np.log(np.abs(found[reference, k]))
        rows[k, 3:] = np.r_[others.real, others.imag]
    return layout._replace(references=references), np.r_[rows.ravel(), theta[layout.modes * layout.each :]]
