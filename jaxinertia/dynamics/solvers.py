"""`ji.solvers`: splittings, their compositions, and what `diffrax.diffeqsolve` needs to run them."""

from .._names import offered
from .._words import SubFlow as SubFlow
from . import energy_letter as energy_letter  # its letter joins the table
from .compositions import blanes_moan4 as blanes_moan4
from .compositions import blanes_moan6 as blanes_moan6
from .compositions import kahan_li6 as kahan_li6
from .compositions import suzuki4 as suzuki4
from .compositions import yoshida4 as yoshida4
from .letters import add_letter as add_letter
from .phase import Phase as Phase
from .phase import initial as initial
from .splitting import Splitting as Splitting
from .terms import terms as terms


def __dir__() -> list[str]:
    return offered(globals())
