"""Potentials and what they promise: values, gradients by hand, minima."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS

pytestmark = pytest.mark.optimised

P = ji.potentials
X = np.array([0.7, -1.3])
MATRIX = np.array([[2.0, 0.5], [0.5, 3.0]])

# potential, value at X, gradient at X: by hand.
CATALOGUE = {
    "quadratic": (P.Quadratic(2.0), X @ X, 2 * X),
    "quadratic off centre": (P.Quadratic(2.0, center=[0.5, 1.0]), (X - [0.5, 1]) @ (X - [0.5, 1]), 2 * (X - [0.5, 1])),
    "quadratic components": (P.Quadratic([1.0, 4.0]), (X[0] ** 2 + 4 * X[1] ** 2) / 2, X * [1, 4]),
    "quadratic matrix": (P.Quadratic(MATRIX, center=1.0), (X - 1) @ MATRIX @ (X - 1) / 2, MATRIX @ (X - 1)),
    "duffing": (P.Duffing(1.0, 2.0, 0.3), np.sum(X**2 / 2 + 0.1 * X**3 + X**4 / 2), X + 0.3 * X**2 + 2 * X**3),
    "double well": (P.DoubleWell(2.0, 1.5), 2 * np.sum((X**2 / 2.25 - 1) ** 2), 8 * X / 2.25 * (X**2 / 2.25 - 1)),
    "pendulum": (P.Pendulum(1.5), 2.25 * np.sum(1 - np.cos(X)), 2.25 * np.sin(X)),
    "rosenbrock": (
        P.Rosenbrock(1.0, 5.0),
        0.3**2 + 5 * (-1.3 - 0.49) ** 2,
        np.array([-2 * 0.3 - 20 * 0.7 * (-1.3 - 0.49), 10 * (-1.3 - 0.49)]),
    ),
    "himmelblau": (
        P.Himmelblau(),
        (0.49 - 1.3 - 11) ** 2 + (0.7 + 1.69 - 7) ** 2,
        np.array(
            [2 * (0.49 - 12.3) * 2 * 0.7 + 2 * (2.39 - 7), 2 * (0.49 - 12.3) + 2 * (2.39 - 7) * 2 * -1.3],
        ),
    ),
    "loss": (P.Loss(lambda w, x: jnp.sum(w * x), np.array([2.0, 3.0])), X @ [2, 3], np.array([2.0, 3.0])),
}
MINIMA = {
    "double well": (P.DoubleWell(2.0, 1.5), [1.5, -1.5]),
    "pendulum": (P.Pendulum(2.0), [0.0, 2 * np.pi]),
    "rosenbrock": (P.Rosenbrock(1.2, 7.0), [1.2, 1.44]),
    "himmelblau": (P.Himmelblau(), [3.0, 2.0]),
    "quadratic": (P.Quadratic(MATRIX, center=[0.3, 0.4]), [0.3, 0.4]),
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_values_and_gradients_are_those_by_hand(name):
    potential, value, gradient = CATALOGUE[name]
    position = jnp.asarray(X)
    assert potential(position) == pytest.approx(value, rel=32 * EPS)
    assert np.allclose(ji.System(potential).gradient(position), gradient, rtol=32 * EPS, atol=32 * EPS)
    assert eqx.filter_jit(potential)(position) == pytest.approx(value, rel=32 * EPS)


@pytest.mark.parametrize("name", MINIMA)
def test_minima_are_at_zero(name):
    potential, where = MINIMA[name]
    assert abs(potential(jnp.array(where))) <= 100 * EPS
    assert np.abs(jax.grad(potential)(jnp.array(where))).max() <= 200 * EPS


@pytest.mark.parametrize("potential", [P.Duffing(1.0, 0.5, 0.2), P.DoubleWell(), P.Pendulum(1.3), P.Quadratic(1.5)])
def test_one_coordinate_potentials_sum_over_the_pytree(potential):
    tree = {"a": jnp.array([0.3, -0.4]), "b": (jnp.array([[1.2]]), jnp.array(0.5))}
    flat = jnp.array([0.3, -0.4, 1.2, 0.5])
    assert potential(tree) == pytest.approx(float(sum(potential(x) for x in flat)), rel=16 * EPS)


def test_the_inertia_is_kinetic_plus_potential():
    system = ji.System(P.Quadratic(MATRIX))
    momentum = np.array([0.2, 0.5])
    assert ji.inertia(system, X, momentum) == pytest.approx(momentum @ momentum / 2 + X @ MATRIX @ X / 2, rel=8 * EPS)
    assert ji.inertia(system, X) == pytest.approx(X @ MATRIX @ X / 2, rel=8 * EPS)
    many = jax.vmap(lambda q, p: ji.inertia(system, q, p))(jnp.stack([X, 2 * X]), jnp.zeros((2, 2)))
    assert many[1] == pytest.approx(4 * float(many[0]), rel=8 * EPS)


def test_the_derivatives_of_a_quadratic_are_those_by_hand():
    """L = sum(S (x - c)^2) / 2: also in S and c, and mixed and second ones, forwards and backwards."""
    stiffness, center = np.array([1.5, -0.4]), np.array([0.2, 0.1])
    offset = X - center

    def value(stiffness, center, x):
        return P.Quadratic(stiffness, center)(x)

    for transform in (jax.jacfwd, jax.jacrev):
        slopes = transform(value, (0, 1, 2))(stiffness, center, X)
        for slope, by_hand in zip(slopes, (offset**2 / 2, -stiffness * offset, stiffness * offset), strict=True):
            np.testing.assert_allclose(slope, by_hand, rtol=8 * EPS)
        seconds = transform(jax.grad(value, 2), (0, 1, 2))(stiffness, center, X)
        for second, by_hand in zip(seconds, (offset, -stiffness, stiffness), strict=True):
            np.testing.assert_allclose(second, np.diag(by_hand), rtol=8 * EPS)


@pytest.mark.parametrize("name", CATALOGUE)
def test_parameters_are_leaves_and_have_gradients(name):
    potential, _, _ = CATALOGUE[name]
    gradient = jax.grad(lambda potential: potential(jnp.asarray(X)))(potential)
    assert jax.tree.structure(gradient) == jax.tree.structure(potential)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_a_system_is_a_pytree_whose_leaves_are_its_parameters():
    system = ji.System(P.Duffing(1.0, 2.0), damping=0.3, noise=[0.1, 0.2], force=jnp.cos)
    assert len(jax.tree.leaves(system)) == 5
    doubled = jax.tree.map(lambda x: 2 * x, system)
    assert doubled.damping.gamma == pytest.approx(0.6)
    assert hash(jax.tree.structure(system)) == hash(jax.tree.structure(doubled))


def test_damping_force_is_gamma_times_velocity():
    velocity = jnp.array([1.0, -2.0])
    for gamma in (0.5, np.array([0.1, 0.7]), MATRIX):
        matrix = gamma if np.ndim(gamma) == 2 else np.diag(np.broadcast_to(gamma, (2,)))
        assert np.allclose(ji.damping.Linear(gamma).force(velocity), matrix @ velocity, rtol=4 * EPS)


@pytest.mark.parametrize(("x", "dtype"), [(1e-6, jnp.float64), (1e-3, jnp.float32), (1.0, jnp.float64)])
def test_a_pendulum_at_small_angles_keeps_its_digits(x, dtype):
    with mpmath.workdps(40):
        exact = float(1 - mpmath.cos(mpmath.mpf(float(dtype(x)))))
    value, slope = jax.value_and_grad(ji.potentials.Pendulum())(jnp.asarray(x, dtype))
    assert value == pytest.approx(exact, rel=4 * float(jnp.finfo(dtype).eps))
    assert slope == pytest.approx(float(np.sin(np.float64(dtype(x)))), rel=4 * float(jnp.finfo(dtype).eps))


def test_a_constant_force_is_a_function_of_time():
    """q'' = 1 from rest: q = t^2 / 2, which Verlet gives exactly."""
    system = ji.System(lambda q: 0.0 * q, force=lambda t: 1.0)
    assert ji.simulate(system, np.array([0.0, 2.0]), 0.0, dt=0.1).position[-1] == pytest.approx(2.0, rel=1e-14)


def test_leaves_of_two_precisions_move_in_the_finer_one():
    state = {"a": np.float32(1.0), "b": np.float64(2.0)}
    traj = ji.simulate(ji.System(ji.potentials.Quadratic()), np.linspace(0, 1, 3), state, dt=0.1)
    assert {str(x.dtype) for x in jax.tree.leaves(traj.position)} == {"float64"}
