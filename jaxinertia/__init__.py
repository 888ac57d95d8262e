"""jaxinertia: learning trajectories as mechanical systems, with every change of energy booked."""

from .dynamics import solvers as solvers
from .dynamics.simulate import simulate as simulate
from .dynamics.trajectory import Trajectory as Trajectory
from .energy.balance import Balance as Balance
from .energy.inertia import inertia as inertia
from .physics import damping as damping
from .physics import kinetic as kinetic
from .physics import noise as noise
from .physics import potentials as potentials
from .physics.system import System as System
