"""Derivatives of a simulation: exact for the discrete map, and those of the continuous motion at the scheme's order."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS, relative
from ..worlds import END, REFINED, SOLVERS, SUBSTEPS, order_of

STEPS, DT = 24, 0.125
TIMES = np.linspace(0, STEPS * DT, 3)
KEY = jax.random.key(7)
POINTS = {  # gamma, linear, cubic, position, momentum, sigma
    "damped": (0.4, 1.2, 0.7, 0.9, -0.3, 0.6),
    "frictionless, noisy": (0.0, 1.2, 0.7, 0.9, -0.3, 0.6),
    "strongly damped": (30.0, 1.2, 0.7, 0.9, -0.3, 0.6),
}


def duffing(gamma, linear, cubic, sigma):
    return ji.System(ji.potentials.Duffing(linear, cubic), damping=gamma, noise=sigma)


def outcome(parameters, solver, key, path):
    """Final state, inertia and accounts, as functions of the parameters: (6,)."""
    gamma, linear, cubic, position, momentum, sigma = parameters
    system = duffing(gamma, linear, cubic, sigma)
    traj = ji.simulate(system, TIMES, position, momentum, dt=DT, solver=solver, key=key, path=path)
    balance = traj.balance
    rows = traj.position, traj.momentum, traj.inertia, balance.friction, balance.noise, balance.discretization
    return jnp.stack([row[-1] for row in rows])


class Wave(eqx.Module):
    """A known smooth 'Brownian' path: what the noise does is then a formula."""

    components: tuple = eqx.field(static=True, default=())

    def evaluate(self, t0, t1):
        return jnp.full(self.components, jnp.sin(3 * t1) - jnp.sin(3 * t0) + (t1 - t0) / 2)


def wave(t0, t1):
    return mpmath.sin(3 * t1) - mpmath.sin(3 * t0) + (t1 - t0) / 2


def increments_from_key():
    """What the key draws: a free frictionless particle under unit noise shows its increments."""
    ts = np.arange(STEPS + 1) * DT
    traj = ji.simulate(ji.System(lambda x: 0.0 * x, noise=1.0), ts, 0.0, dt=DT, key=KEY)
    return [mpmath.mpf(float(x)) for x in np.diff(traj.momentum)]


def by_hand(word, parameters, increments):
    """The same outcome, one letter after another, in mpmath. `increments(step, start, end)` in fractions of a step."""
    gamma, linear, cubic, q, p, sigma = parameters

    def inertia():
        return p * p / 2 + linear * q * q / 2 + cubic * q**4 / 4

    begun = inertia()
    friction = noise = mpmath.mpf(0)
    for step in range(STEPS):
        relaxed = mpmath.mpf(0)
        for letter in word:
            h = mpmath.mpf(DT) / word.count(letter)
            if letter == "A":
                q += h * p
            elif letter == "B":
                p -= h * (linear * q + cubic * q**3)
            else:
                y = 2 * gamma * h
                phi = -mpmath.expm1(-y) / y if y else mpmath.mpf(1)
                before = p * p / 2
                part = mpmath.mpf(1) / word.count("O")
                dw = increments(step, relaxed, relaxed + part)
                p = mpmath.exp(-gamma * h) * p + sigma * mpmath.sqrt(phi) * dw
                lost = -(-mpmath.expm1(-y) * before + sigma**2 * h / 2 * (1 - phi))
                friction, noise, relaxed = friction + lost, noise + p * p / 2 - before - lost, relaxed + part
    return [q, p, inertia(), friction, noise, inertia() - begun - friction - noise]


def exact_jacobian(word, point, increments):
    with mpmath.workdps(40):
        point = [mpmath.mpf(x) for x in point]
        columns = []
        for i in range(len(point)):
            h = mpmath.mpf(10) ** -12  # central: error h^2 = 1e-24, rounding 1e-40 / h
            shifted = [[x + s * h * (j == i) for j, x in enumerate(point)] for s in (-1, 1)]
            low, high = (by_hand(word, x, increments) for x in shifted)
            columns.append([float((b - a) / (2 * h)) for a, b in zip(low, high, strict=True)])
        return np.array([float(x) for x in by_hand(word, point, increments)]), np.array(columns).T


def check_derivatives(word, increments, key=None, path=None):
    """Values to rounding, and both modes' Jacobians to 1e-10, at every point of the table; gamma = 0 is one."""

    def run(x):
        return outcome(x, ji.solvers.Splitting(word), key, path)

    everything = jax.jit(lambda x: (run(x), jax.jacfwd(run)(x), jax.jacrev(run)(x)))
    for point in POINTS.values():
        values, jacobian = exact_jacobian(word, point, increments)
        value, forward, reverse = everything(jnp.array(point))
        assert relative(value, values) < 1e-12
        assert relative(forward, jacobian) < 1e-10
        assert relative(reverse, jacobian) < 1e-10
        assert relative(reverse, forward) < 1e-13 * 10  # the same products, summed from the other end


@pytest.mark.parametrize("word", ["OBABO", "BAOAB", "OBA"])
def test_derivatives_are_those_of_the_discrete_map(word):
    def increments(step, start, end):
        return wave((step + start) * mpmath.mpf(DT), (step + end) * mpmath.mpf(DT))

    check_derivatives(word, increments, path=Wave())


def test_derivatives_under_a_key_are_those_of_the_discrete_map():
    """The random bits are constants: the derivative with respect to sigma and gamma goes through their amplitude."""
    drawn = increments_from_key()
    check_derivatives("BAOAB", lambda step, start, end: drawn[step], key=KEY)


@pytest.mark.parametrize("name", ["OBA", "OBABO", "BAOAB", "BDB", "suzuki4", "kahan_li6"])
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_derivatives_converge_to_the_continuous_ones(name, gamma):
    """d(q, p)/d(gamma, stiffness, q0, p0) of the oscillator, at the order of the scheme."""
    solver, order = SOLVERS[name]
    x = jnp.array([gamma, 1.3, 0.8, -0.4])

    def continuous(x):
        return jnp.stack(ji.analytic.quadratic(END, x[2], x[3], x[1], x[0]))

    def discrete(ts, row, x):
        system = ji.System(ji.potentials.Quadratic(x[1]), damping=x[0])
        traj = ji.simulate(system, ts, x[2], x[3], substeps=SUBSTEPS[order], solver=solver)
        return jnp.stack([traj.position[row], traj.momentum[row]])

    jacobian = jax.jit(jax.jacfwd(discrete, argnums=2))
    exact = jax.jacfwd(continuous)(x)
    gaps = [np.abs(jacobian(jnp.arange(17) * (END / (4 * rows)), 4 * rows, x) - exact).max() for rows in REFINED]
    assert order_of(gaps) == pytest.approx(order, abs=0.1)


def test_the_gradient_at_an_identity_friction_matrix_is_finite_and_right():
    """Repeated eigenvalues: expm has a derivative where eigenvectors have none."""
    start = jnp.array([1.0, -0.5, 0.3]), jnp.array([0.2, 0.4, -0.6])
    valley = ji.potentials.Quadratic([1.0, 2.0, 3.0])

    def late(gamma, sigma):
        system = ji.System(valley, damping=gamma, noise=sigma)
        return ji.simulate(system, TIMES, *start, dt=DT, path=Wave((3,))).inertia[-1]

    by_matrix = jax.jit(jax.grad(late, argnums=(0, 1)))(jnp.eye(3), 0.4 * jnp.eye(3))
    by_component = jax.jit(jax.grad(late, argnums=(0, 1)))(jnp.ones(3), 0.4 * jnp.ones(3))
    for matrix, component in zip(by_matrix, by_component, strict=True):
        assert np.all(np.isfinite(matrix))
        # Rounding of expm and Cholesky, some ten operations a step, over STEPS steps.
        assert np.allclose(np.diag(matrix), component, rtol=1000 * EPS * STEPS, atol=1000 * EPS)


def test_the_gradient_at_a_singular_noise_matrix_is_finite():
    """Noise on one component only."""

    def late(gamma, sigma):
        system = ji.System(ji.potentials.Quadratic(), damping=gamma, noise=sigma)
        return ji.simulate(system, TIMES, jnp.ones(2), dt=DT, path=Wave((2,))).inertia[-1]

    gamma, sigma = jnp.array([[0.5, 0.2], [0.2, 0.4]]), jnp.array([[0.7, 0.0], [0.0, 0.0]])
    for gradient in jax.jit(jax.grad(late, argnums=(0, 1)))(gamma, sigma):
        assert np.all(np.isfinite(gradient))


def test_second_derivatives_are_symmetric_at_zero_damping():
    x = jnp.array(POINTS["frictionless, noisy"])
    hessian = jax.jit(jax.hessian(lambda x: outcome(x, ji.solvers.Splitting("BAOAB"), None, Wave())[2]))(x)
    assert np.all(np.isfinite(hessian))
    assert relative(hessian, hessian.T) < 1e-12


def test_gradients_reach_every_leaf_of_the_system():
    """One grad of the whole System: potential, damping, noise."""
    system = duffing(0.3, 1.2, 0.7, 0.5)

    @eqx.filter_jit
    @eqx.filter_grad
    def late(system):
        return ji.simulate(system, TIMES, 1.0, dt=DT, key=KEY).inertia[-1]

    gradient = late(system)
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == len(jax.tree.leaves(system)) == 5
    assert all(np.isfinite(leaf) and leaf != 0 for leaf in leaves)


def temporaries(steps, rows):
    """Bytes that the compiled gradient of a run of `steps` steps, saved at `rows` times, keeps beside its input."""

    def late(gamma, position):
        system = ji.System(ji.potentials.Duffing(), damping=gamma)
        return ji.simulate(system, np.linspace(0, 1, rows + 1), position, dt=1 / steps).inertia[-1]

    arguments = jnp.array(0.1), jnp.ones(16)
    return jax.jit(jax.grad(late, argnums=(0, 1))).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.optimised
@pytest.mark.parametrize("rows", [1, 10, "all"])
def test_reverse_mode_remembers_the_square_root_of_the_steps(rows):
    """From 10^3 to 10^5 steps memory grows by 10 or less, where remembering all would take 100."""
    sizes = [temporaries(steps, steps if rows == "all" else rows) for steps in (10**3, 10**5)]
    assert sizes[1] <= 10 * sizes[0]
