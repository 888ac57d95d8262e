"""Laws of the discrete steps themselves, exact at any step size: heavy ball, its damped invariant, and symmetry."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS

OBA = ji.solvers.Splitting("OBA")


def steps_of(potential, gamma, h, count, position, momentum):
    system = ji.System(potential, damping=gamma)
    traj = ji.simulate(system, np.arange(count + 1) * h, position, momentum, dt=h, solver=OBA)
    return np.asarray(traj.position), np.asarray(traj.momentum)


def test_oba_is_heavy_ball_and_so_sgd_with_momentum():
    """m <- g + beta m, theta <- theta - eta m, with eta = h^2, beta = e^{-gamma h} and v = -h m (optax, PyTorch)."""
    learning_rate, beta, count = 0.01, 0.9, 50
    h, gamma = np.sqrt(learning_rate), -np.log(beta) / np.sqrt(learning_rate)
    position, momentum = steps_of(ji.potentials.Duffing(), gamma, h, count, np.array([1.0, -0.5]), None)
    theta, m = np.array([1.0, -0.5]), np.zeros(2)
    for k in range(count):
        m = theta + theta**3 + beta * m
        theta = theta - learning_rate * m
        assert np.allclose(position[k + 1], theta, atol=8 * EPS * (k + 1))
        assert np.allclose(momentum[k + 1], -h * m, atol=16 * EPS * (k + 1))


@pytest.mark.parametrize("h", [0.05, 0.7, 1.5])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_the_damped_invariant_of_heavy_ball_decays_by_exactly_beta(gamma, h):
    """v^2/2 + lambda q^2/(2 beta) + (1 - beta - h^2 lambda) q v/(2 h beta), on a quadratic."""
    stiffness, count, beta = 0.8, 40, np.exp(-gamma * h)
    assert h * h * stiffness < 2 * (1 + beta)  # stable
    q, v = steps_of(ji.potentials.Quadratic(stiffness), gamma, h, count, 1.0, 0.4)
    terms = v * v / 2, stiffness * q * q / (2 * beta), (1 - beta - h * h * stiffness) * q * v / (2 * h * beta)
    invariant, size = sum(terms), sum(np.abs(term) for term in terms)
    # One step rounds each term a few times; the cross term's factor cancels, by 1 / (h gamma) at most.
    assert np.all(np.abs(invariant[1:] - beta * invariant[:-1]) <= 16 * EPS * (size[1:] + size[:-1]) / min(h, 1))


def test_angular_momentum_decays_by_exactly_beta():
    """L invariant under rotations: Q = v^T A q obeys Q+ = beta Q under O-B-A, at any step size."""
    gamma, h, count = 0.4, 0.3, 60
    start = np.array([1.0, 0.2, -0.5]), np.array([0.3, -0.8, 0.1])

    def central(x):
        r2 = jnp.sum(x * x)
        return r2 / 2 + r2**2 / 4

    q, v = steps_of(central, gamma, h, count, *start)
    charges = np.cross(q, v)
    size = np.linalg.norm(q, axis=1, keepdims=True) * np.linalg.norm(v, axis=1, keepdims=True)
    gap = np.abs(charges[1:] - np.exp(-gamma * h) * charges[:-1])
    # The gradient of |q| up to 1.2 is parallel to q only to rounding: some ten roundings of |q| |g| h and |q| |v|.
    assert np.all(gap <= 16 * EPS * (size[1:] + size[:-1] + 4 * h))


@pytest.mark.parametrize("word", ["BA", "BAB", "ABA"])
def test_frictionless_steps_are_reversible(word):
    """Symmetric words retrace their path from the reversed momentum; BA retraces that of its adjoint, AB."""
    ts, back = np.linspace(0, 5, 51), ji.solvers.Splitting(word[::-1])
    system = ji.System(ji.potentials.Pendulum(1.3))
    there = ji.simulate(system, ts, 1.0, 0.4, dt=0.1, solver=ji.solvers.Splitting(word))
    again = ji.simulate(system, ts, there.position[-1], -there.momentum[-1], dt=0.1, solver=back)
    # Rounding of 100 steps, which the pendulum spreads no faster than linearly in time.
    assert np.abs(again.position[::-1] - there.position).max() <= 100 * 8 * EPS * 5
    assert np.abs(again.momentum[::-1] + there.momentum).max() <= 100 * 8 * EPS * 5


@pytest.mark.parametrize("word", ["BA", "BAB", "yoshida4"])
def test_frictionless_steps_preserve_area_and_damped_ones_shrink_it(word):
    """det d(q, p)/d(q0, p0) = 1, and e^{-gamma t} with friction in one dimension."""
    import jax

    solver = ji.solvers.yoshida4() if word == "yoshida4" else ji.solvers.Splitting(word)
    damped = ji.solvers.yoshida4("BAOAB") if word == "yoshida4" else ji.solvers.Splitting(f"O{word}")
    start = jnp.array([1.0, 0.4])

    def flow(state, gamma, solver):
        system = ji.System(ji.potentials.Duffing(), damping=gamma)
        traj = ji.simulate(system, np.array([0.0, 2.0]), state[0], state[1], dt=0.1, solver=solver)
        return jnp.stack([traj.position[-1], traj.momentum[-1]])

    free, shrunk = (jax.jacfwd(flow)(start, gamma, s) for gamma, s in ((0.0, solver), (0.7, damped)))
    size = np.abs(free).max() ** 2
    assert np.linalg.det(free) == pytest.approx(1, abs=60 * 8 * EPS * size)
    assert np.linalg.det(shrunk) == pytest.approx(np.exp(-0.7 * 2), abs=60 * 8 * EPS * size)
