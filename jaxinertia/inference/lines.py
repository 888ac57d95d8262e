"""Lines in a noise-driven record: tones of one frequency and size, an instrument's and not the motion's.

A motion that noise drives wanders in phase, so that no sinusoid takes its peak away; a line's it does.
"""

from typing import NamedTuple

import numpy as np
import scipy  # its parts load where they are asked for

from .whittle import SHORTEST, Run, periodogram

MOST = 8
LOUD = 40.0  # times the median power around: white noise has e^-28 of it
AROUND, PEAK = 101, 3  # bins around one, and to either side of a peak
TAKEN = 0.1  # of a peak's power may be left of a line


class Line(NamedTuple):
    """Its angular frequency, per step, and its greatest amplitude in any run."""

    omega: float
    amplitude: float


def taken_away(runs: list[Run]) -> tuple[list[Run], list[Line]]:
    """The runs of a component without their lines, and the lines, the loudest first."""
    lines: list[Line] = []
    for _ in range(MOST):
        first = max(runs, key=lambda run: run.readings)
        if first.readings < max(SHORTEST, AROUND):
            break
        omega, power = periodogram(first)
        ratio = power / np.maximum(scipy.ndimage.median_filter(power, AROUND), 1e-300)
        best = int(np.argmax(np.where(ratio > LOUD, power, 0.0)))
        if ratio[best] <= LOUD:
            break
        near = slice(max(best - PEAK, 0), best + PEAK + 1)
        exact = _frequency(first, omega[best], omega[1] - omega[0])
        cleaned, sizes = zip(*(_without(run, exact) for run in runs), strict=True)
        left = periodogram(_without(first, exact)[0])[1]
        if np.sum(left[near]) > TAKEN * np.sum(power[near]):
            break
        lines.append(Line(exact, max(sizes)))
        runs = list(cleaned)
    return runs, lines


def _frequency(run: Run, omega: float, step: float) -> float:
    """Of the sinusoid that takes the most, within a bin."""
    found = scipy.optimize.minimize_scalar(
        lambda w: float(np.sum(_without(run, w)[0].y ** 2)), bounds=(omega - step, omega + step), method="bounded"
    )
    return float(found.x)


def _without(run: Run, omega: float) -> tuple[Run, float]:
    """The run less its level-free sinusoid of this frequency, and that one's amplitude."""
    columns = np.stack([np.ones_like(run.ts), np.cos(omega * run.ts), np.sin(omega * run.ts)], axis=1)
    found = np.linalg.lstsq(columns, run.y, rcond=None)[0]
    return run._replace(y=run.y - columns[:, 1:] @ found[1:]), float(np.hypot(*found[1:]))
