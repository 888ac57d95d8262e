"""What every likelihood has in common: what the search asks of it, and what the report asks of it."""

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float

from ..physics.system import System
from .beside import Beside
from .compiled import Compiled
from .evidence import Evidence
from .normal import Normal, Problem
from .parameters import Parameters
from .record import Records
from .units import Units


class Reading(NamedTuple):
    """What a likelihood says of one record at its optimum, in the fit's units."""

    evidence: Evidence
    prediction: np.ndarray | None  # (w, m, channels) of the windows, NaN where nothing was read; None: not in time
    states: np.ndarray | None  # (runs, 2 d): the initial states that were fitted
    deviance: float  # -2 log L but for a constant of the record
    error: np.ndarray | None  # (d,) or (runs, d): the standard deviation of a reading that was estimated
    errors: int = 0  # how many numbers of the readings' scatter were fitted beside `u`


class Posed(NamedTuple):
    """What was fitted of one record: enough to fit it again."""

    records: Records  # a batch of one
    likelihood: "Likelihood"  # without the axis
    reading: Reading
    u: Any
    x: Any
    cost: float
    fine: bool


class Likelihood(Problem):
    """The coordinates u are the parameters', then what is fitted `beside` them. x are the states of windows, which only
    least squares have.
    """

    system: System
    parameters: Parameters
    units: Units
    freedom: Any  # of each record: readings less what is fitted
    beside: Beside

    @abstractmethod
    def innovations(self, u: Float[Array, " p"], x: Float[Array, "w k"]) -> Float[Array, "w m c"]:
        """What is left of each reading of one record, in standard deviations where these are known; of a robust loss
        what it counts of that."""

    def all_innovations(self, u: Any, x: Any) -> np.ndarray:
        """Of many records, (r, w, m, c)."""
        return innovations_of_all(self, u, x)

    @abstractmethod
    def read(self, u: np.ndarray, x: np.ndarray, normal: Normal, unknown: np.ndarray) -> Reading:
        """What one record says at its optimum, with the equations there; `unknown`: of which channels the error of a
        reading is."""

    @property
    @abstractmethod
    def taken(self) -> np.ndarray:
        """(..., w, m, c): which readings there are."""

    @property
    def level(self) -> Any:
        """The cost of no motion at all; NaN where that is not asked."""
        return np.asarray(np.nan)

    def variance(self, normal: Normal, unknown: np.ndarray) -> Any:
        """Of a residual of weight one, whose channels' errors are unknown (..., c) or not."""
        return np.ones(np.shape(normal.cost))

    @property
    def robust(self) -> bool:
        """Whether no single reading can pull the values far."""
        return False

    @property
    def beside_at(self) -> tuple[slice, slice, slice, slice]:
        """Where in u they are: offsets, trends, the delay, and the logs of the variances of readings."""
        return self.beside.slices(self.parameters.size)


@Compiled
def _all_innovations(likelihood: Likelihood, u: Any, x: Any) -> Any:
    return likelihood.of_all(lambda one, u, x: one.innovations(u, x))(u, x)


def innovations_of_all(likelihood: Likelihood, u: Any, x: Any) -> np.ndarray:
    """Of many records, (r, w, m, c)."""
    return np.asarray(_all_innovations(likelihood, np.asarray(u), np.asarray(x)))
