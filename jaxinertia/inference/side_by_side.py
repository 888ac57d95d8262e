"""The usual laws of one record, side by side: seen first, and fitted where that may matter.

Those one step from viscous damping of a spring are looked at first, then those one step further than the best, as long
as the best gets better. The best is fitted, with all that a fit does; and the next, should it turn out to be better.
"""

import sys
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from .candidates import Law, force_of, pose
from .fit import fitted
from .observations import Observations
from .result import Fit
from .screening import GREATER, Seen, keeps_phase, screened
from .search import Options
from .shooting import Near
from .task import prepare

SUPPORT = 10.0  # of AIC: a law that is this much worse has next to none
ITERATIONS = 100  # of a search


class SideBySide:
    """Fits of the laws, what was only seen of others, and why there is none of a third kind; each by law.

    known: fits to the same data that are there already.
    """

    def __init__(self, data: Observations, loss: str, known: dict[Law, Fit], progress: bool = False):
        self.data, self.loss, self.progress = data, loss, progress
        self.known = {law.plain: found for law, found in known.items()}
        self.fits: dict[Law, Any] = {}
        self.seen: dict[Law, Any] = {}
        self.failures: dict[Law, str] = {}
        self._groups: dict[str, dict[Law, Seen]] = {}
        for law in (Law(), *self.known):
            self.fit(law)
        self._look()
        self._fit_the_best()

    @property
    def all(self) -> dict[Law, Any]:
        """Fits, and what was seen of others."""
        return self.seen | self.fits

    @property
    def best(self) -> Law | None:
        """The law with the least AIC."""
        return min(self.all, key=lambda law: aic(self.all[law]), default=None)

    def fit(self, law: Law) -> None:
        """A law's fit, or why there is none."""
        started = time.perf_counter()
        try:
            found = self.known[law] if law in self.known else self._fitted(law)
        except ValueError as error:
            self._lose(law, str(error))
            return
        if found.diagnostics.converged:
            self.fits[law] = found
        else:
            self._lose(law, next(iter(found.diagnostics.warnings), "the search did not converge"))
        self._say(law.name, started)

    def _fitted(self, law: Law) -> Any:
        seen = self.seen.get(law)
        return _fit(self.data, law, self.loss, self.progress, None if seen is None else seen.near)

    def _lose(self, law: Law, why: str) -> None:
        self.failures[law] = why
        self.seen.pop(law, None)

    def _look(self) -> None:
        """At the laws one step from the spring's viscous damping, and on from the best while it gets better."""
        self._take(Law())
        best, reached = self.best, aic(self.fits[Law()]) if Law() in self.fits else np.inf
        while best is not None and aic(self.all[best]) < reached - SUPPORT:
            reached = aic(self.all[best])
            self._take(best)
            best = self.best

    def _take(self, start: Law) -> None:
        """What is one step from here."""
        for law in start.further():
            if law in self.all or law in self.failures or (law.potential == "pendulum" and not _is_angle(self.data)):
                continue
            if Law() not in self.fits:  # there is nothing to begin a look with
                self.fit(law)
                continue
            self.seen[law] = self._screened(law.potential)[law]

    def _screened(self, potential: str) -> dict[Law, Seen]:
        """Of all laws with this potential, at once."""
        if potential not in self._groups:
            started = time.perf_counter()
            viscous = self.fits[Law()]
            own = None if keeps_phase(viscous) else self._own(GREATER.get(potential, potential))
            found = screened(viscous, own, self.data, potential)
            self._groups |= dict.fromkeys({potential, *(law.potential for law in found)}, found)
            self._say(f"a first look at {len(found)} laws", started)
        return self._groups[potential]

    def _own(self, potential: str) -> Fit | None:
        """The fit with this potential and viscous friction, from the data alone; None where there is none."""
        law = Law(potential)
        try:
            return self.known[law] if law in self.known else _fit(self.data, law, self.loss, self.progress, None, False)
        except ValueError:
            return None

    def _fit_the_best(self) -> None:
        """Till the best is one that was fitted."""
        while (best := self.best) is not None and best not in self.fits:
            self.fit(best)

    def _say(self, what: str, started: float) -> None:
        if self.progress:
            tqdm.write(f"{what}: {time.perf_counter() - started:.1f} s", file=sys.stderr)


def aic(found: Any) -> float:
    """-2 log L + 2 k."""
    return found.deviance + 2 * found.numbers


def _fit(data: Observations, law: Law, loss: str, progress: bool, near: Near | None, thorough: bool = True) -> Any:
    """From where a look has ended; else from what the data alone tell."""
    system, free = pose(law, force=force_of(data))
    with jax.enable_x64(True):
        task = prepare(system, data, free, None, None, None, loss, Options(ITERATIONS, progress))
        return fitted(task._replace(near=near, thorough=thorough), data, data)


def _is_angle(data: Observations) -> bool:
    """Whether readings can be a pendulum's angle in radians: it swings by less than half a turn."""
    return float(np.nanmax(np.abs(data.position - np.nanmedian(data.position)))) < np.pi
