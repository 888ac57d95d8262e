"""`ji.noise`: random forces on the momentum."""

from .abstract import AbstractNoise as AbstractNoise
from .colored import Colored as Colored
from .white import White as White
from .white import thermal as thermal
