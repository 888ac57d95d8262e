"""`ji.noise`: random forces on the momentum."""

from ..._names import offered
from .abstract import AbstractNoise as AbstractNoise
from .colored import Colored as Colored
from .white import White as White
from .white import thermal as thermal


def __dir__() -> list[str]:
    return offered(globals())
