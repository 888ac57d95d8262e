"""jaxinertia: learning trajectories as mechanical systems, with every change of energy booked."""

import importlib
from typing import TYPE_CHECKING, Any

from ._cache import cache as cache
from .dynamics import solvers as solvers
from .dynamics.ensemble import Ensemble as Ensemble
from .dynamics.ensemble import ensemble as ensemble
from .dynamics.explain import explain as explain
from .dynamics.path import BrownianPath as BrownianPath
from .dynamics.shadow import shadow_inertia as shadow_inertia
from .dynamics.simulate import simulate as simulate
from .dynamics.sweep import reductions as reductions
from .dynamics.sweep.merge import merge_shards as merge_shards
from .dynamics.sweep.result import Sweep as Sweep
from .dynamics.sweep.run import sweep as sweep
from .dynamics.trajectory import Trajectory as Trajectory
from .energy import analytic as analytic
from .energy import fluctuations as fluctuations
from .energy import generators as generators
from .energy.balance import Balance as Balance
from .energy.inertia import inertia as inertia
from .energy.modified import modified_inertia as modified_inertia
from .energy.symmetry import Charge as Charge
from .energy.symmetry import noether as noether
from .physics import damping as damping
from .physics import force as force
from .physics import kinetic as kinetic
from .physics import noise as noise
from .physics import potentials as potentials
from .physics.system import System as System

if TYPE_CHECKING:  # these load on first use
    from . import training as training
    from .inference.compare import compare as compare
    from .inference.fit import fit as fit
    from .inference.fit import fit_many as fit_many
    from .inference.modes.entry import modes as modes
    from .inference.modes.result import Modes as Modes
    from .inference.observations import Observations as Observations
    from .inference.result import Fit as Fit
    from .inference.result import Fits as Fits
    from .report import plots as plots

__version__ = "0.1.0"

# matplotlib alone costs more than everything above, optax serves training: they load on first
# use (PEP 562).
_LAZY = {"plots": ".report.plots", "training": ".training"}
_LAZY_MEMBERS = {
    "Fit": ".inference.result",
    "Fits": ".inference.result",
    "Modes": ".inference.modes.result",
    "Observations": ".inference.observations",
    "compare": ".inference.compare",
    "fit": ".inference.fit",
    "fit_many": ".inference.fit",
    "modes": ".inference.modes.entry",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(_LAZY[name], __name__)
    if name in _LAZY_MEMBERS:
        return getattr(importlib.import_module(_LAZY_MEMBERS[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# What is in reach and no public name: imports of this file, and the folders behind the public modules.
_INNER = {"Any", "TYPE_CHECKING", "importlib", "dynamics", "energy", "inference", "physics", "report"}


def __dir__() -> list[str]:
    names = {*globals(), *_LAZY, *_LAZY_MEMBERS} - _INNER
    return sorted(name for name in names if name == "__version__" or not name.startswith("_"))
