"""By which method the motion of a system is found, with which steps to begin."""

import math

from ..physics.system import System
from . import linear
from .gliding import Gliding
from .motion import Exact, Motion, Steps

PHASE = 0.7  # radians a step of the sixth-order solver may take
GLIDING_PHASE = 0.1  # of order 4, where friction sticks
MODEST_PHASE = 0.2  # of a step of order 2, which other friction that does not compose starts with
COARSE_PHASE = 0.02  # below it, and over few enough radians, order 2 does


def motion_for(system: System, d: int, omega: float, longest: float, whole: float) -> Motion:
    """The exact step where the system is linear; else a solver and steps short enough for this angular frequency, with
    intervals of this length at most, over the whole of a run of d components."""
    if linear.is_linear(system):
        return Exact()
    phase = omega * longest
    if system.damping.sticks and d == 1:
        return Gliding(max(1, math.ceil(phase / GLIDING_PHASE)))
    if not system.damping.composes(system.kinetic):
        word = "AFA" if system.damping.sticks else "BAOAB"
        return Steps(word, max(1, math.ceil(phase / MODEST_PHASE)))
    if phase < COARSE_PHASE and phase**2 / 24 * omega * whole < 1e-4:
        return Steps("BAOAB", 1)
    return Steps("kahan_li6", max(1, math.ceil(phase / PHASE)))
