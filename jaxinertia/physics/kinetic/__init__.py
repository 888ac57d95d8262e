"""`ji.kinetic`: kinetic energies K(p), and with them what a momentum is."""

from ..._names import offered
from .abstract import AbstractKinetic as AbstractKinetic
from .learned import Learned as Learned
from .power_law import PowerLaw as PowerLaw
from .quadratic import Euclidean as Euclidean
from .quadratic import Mass as Mass
from .relativistic import Relativistic as Relativistic
from .riemannian import Riemannian as Riemannian


def __dir__() -> list[str]:
    return offered(globals())
