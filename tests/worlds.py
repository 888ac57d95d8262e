"""The named tables that many tests run over: systems with their equations in NumPy, and solvers with their orders.

A world is several independent systems in one position, so that one compilation tests them all.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxinertia as ji

from .oracles import dop853, slope

SOLVERS = {
    "BA": (ji.solvers.Splitting("BA"), 1),
    "AB": (ji.solvers.Splitting("AB"), 1),
    "OBA": (ji.solvers.Splitting("OBA"), 1),
    "BAB": (ji.solvers.Splitting("BAB"), 2),
    "ABA": (ji.solvers.Splitting("ABA"), 2),
    "OBABO": (ji.solvers.Splitting("OBABO"), 2),
    "BAOAB": (ji.solvers.Splitting("BAOAB"), 2),
    "BDB": (ji.solvers.Splitting("BDB"), 2),
    "DB": (ji.solvers.Splitting("DB"), 1),
    "yoshida4": (ji.solvers.yoshida4(), 4),
    "yoshida4 BAOAB": (ji.solvers.yoshida4("BAOAB"), 4),
    "suzuki4": (ji.solvers.suzuki4(), 4),
    "kahan_li6": (ji.solvers.kahan_li6(), 6),
    "blanes_moan4": (ji.solvers.blanes_moan4(), 4),
    "blanes_moan6": (ji.solvers.blanes_moan6(), 6),
}
DAMPED = {name: pair for name, pair in SOLVERS.items() if pair[0].has_relaxation}

PENDULUM_FREQUENCY, ROSENBROCK_B = 1.3, 4.0
ANISOTROPIC = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])  # a coupled quadratic valley
TURNED = np.array([[0.5, 0.2, 0.1], [0.2, 0.3, 0.0], [0.1, 0.0, 0.4]])  # a friction matrix, positive definite


def potential(x):
    """Duffing on component 0, a pendulum on 1, Rosenbrock's valley on 2 and 3."""
    pendulum = ji.potentials.Pendulum(PENDULUM_FREQUENCY)
    rosenbrock = ji.potentials.Rosenbrock(b=ROSENBROCK_B)
    return ji.potentials.Duffing()(x[0]) + pendulum(x[1]) + rosenbrock(x[2:])


def numpy_gradient(q):
    """By hand: Duffing, pendulum, Rosenbrock."""
    x, y = q[2:]
    valley = y - x * x
    rosenbrock = [-2 * (1 - x) - 4 * ROSENBROCK_B * x * valley, 2 * ROSENBROCK_B * valley]
    return np.array([q[0] + q[0] ** 3, PENDULUM_FREQUENCY**2 * np.sin(q[1]), *rosenbrock])


START = np.array([1.0, 0.8, 0.2, 0.9]), np.array([0.3, -0.5, 0.4, -0.2])
GAMMA = np.array([0.3, 0.6, 0.2, 0.9])  # anisotropic: every component has its own
PARTS = {"duffing": [0], "pendulum": [1], "rosenbrock": [2, 3]}


def drive(t):
    """An external force on every component."""
    return jnp.stack([jnp.cos(2 * t), 0.5 * jnp.sin(t), t / 4, -jnp.cos(t)])


def numpy_drive(t):
    return np.array([np.cos(2 * t), 0.5 * np.sin(t), t / 4, -np.cos(t)])


def world(damped=False, driven=False):
    return ji.System(potential, damping=GAMMA if damped else 0.0, force=drive if driven else None)


END = 2.0
QUARTERS = np.linspace(0, END, 5)
# Steps in each row of a run that has 16 rows (one compilation for all step sizes); the coarsest reaches END at row 8.
SUBSTEPS = {1: 100, 2: 12, 4: 6, 6: 3}
# Between its asymptotic range and rounding there is little room, for each part elsewhere; in Rosenbrock's valley none.
SUBSTEPS_OF_BLANES_MOAN_6 = {"pendulum": 1, "duffing": 2}
REFINED = (2, 3, 4)  # rows in a quarter of END


def refined(system, start, solver, order, substeps=None):
    """One run for each step size END / (4 rows SUBSTEPS), at the four quarters of END."""
    runs = []
    for rows in REFINED:
        ts = np.arange(17) * (END / (4 * rows))
        traj = ji.simulate(system, ts, *start, substeps=substeps or SUBSTEPS[order], solver=solver)
        runs.append(jax.tree.map(lambda x, rows=rows: np.asarray(x)[rows : 4 * rows + 1 : rows], traj))
    return runs


def order_of(gaps):
    """The order in the step size that the errors of `refined` runs show."""
    return slope(1 / np.array(REFINED), gaps)


@functools.cache
def reference(damped=False, driven=False):
    """The world by DOP853: position, momentum, friction and work at the quarters of END, start left out."""

    def rhs(t, y):
        q, v = y[:4], y[4:8]
        drag = GAMMA * v * damped
        force = numpy_drive(t) * driven
        return np.concatenate([v, -numpy_gradient(q) - drag + force, [-drag @ v, force @ v]])

    return dop853(rhs, QUARTERS, np.concatenate([*START, [0.0, 0.0]]))[1:]
