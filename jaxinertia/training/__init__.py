"""The same in training: hyper-parameter maps, the energy monitor, and optimizers designed with it."""

from .._names import offered
from .designed import energy_conserving_descent as energy_conserving_descent
from .designed import energy_restart as energy_restart
from .designed import inertia_controlled as inertia_controlled
from .designed import relativistic_heavy_ball as relativistic_heavy_ball
from .diagnostics import diagnose as diagnose
from .diagnostics import instability as instability
from .diagnostics import quality_factor as quality_factor
from .diagnostics import stall as stall
from .diagnostics import underdamping as underdamping
from .history import History as History
from .history import history as history
from .invariants import damped_invariant as damped_invariant
from .invariants import rotation_charges as rotation_charges
from .maps import to_optax as to_optax
from .maps import to_physical as to_physical
from .monitor import MonitorState as MonitorState
from .monitor import monitor as monitor
from .optimizer import as_optimizer as as_optimizer
from .penalty import inertia_penalty as inertia_penalty
from .readout import Readout as Readout
from .readout import postfix as postfix
from .readout import readout as readout
from .readout import scalars as scalars
from .readout import velocity as velocity


def __dir__() -> list[str]:
    return offered(globals())
