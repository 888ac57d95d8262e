"""Where friction alone acts on a record: the part that a fit takes, and that fit beside the whole record."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np

from ..physics.system import System
from .observations import Observations
from .result import Fit
from .shooting import LEAST_SQUARES


def free_part(system: System, data: Any, method: str | None) -> Any:
    """The data's free motion for least squares, unless someone chose a part, or more than friction acts on it."""
    if method != LEAST_SQUARES or not isinstance(data, Observations):
        return data
    works = system.takes_work if data.input is None else system.moves_with_time  # what an input drives is as it is
    return data if works else data.free_motion()


def on_whole(result: Fit, part: Observations, whole: Observations) -> Fit:
    """The fit with its record: of a part it says so, with residuals and prediction like the whole record, NaN where it
    was left out."""
    result = dataclasses.replace(result, data=part, whole=whole)
    if part is whole:
        return result

    def spread(x: np.ndarray) -> np.ndarray:
        out = np.full(whole.position.shape, np.nan)
        out[part.rows] = x
        return out

    def told(fit: Fit) -> tuple:
        return fit.diagnostics.residuals, fit.diagnostics.prediction, fit.why

    residuals, prediction, why = told(result)
    return eqx.tree_at(told, result, (spread(residuals), spread(prediction), f"{why}; {part.reading[-1]}"))
