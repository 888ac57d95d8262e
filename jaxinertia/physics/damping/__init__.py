"""`ji.damping`: friction, which takes energy from the momentum. A law and its exact map stand side by side."""

from ..._names import offered
from .abstract import AbstractDamping as AbstractDamping
from .curvature import CurvatureAware as CurvatureAware
from .drag import Drag as Drag
from .linear import Linear as Linear
from .momentum import Momentum as Momentum
from .place import PositionDependent as PositionDependent
from .power_law import PowerLaw as PowerLaw
from .several import Sum as Sum
from .time import Nesterov as Nesterov
from .time import TimeVarying as TimeVarying
from .time import nesterov as nesterov


def __dir__() -> list[str]:
    return offered(globals())
