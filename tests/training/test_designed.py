"""Each optimizer that was designed with the energy obeys its law."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinertia as ji

from ..oracles import EPS, slope
from .runs import PARAMS, flat, loss, train

T = ji.training
START = jnp.array([1.0, -0.5])
DUFFING = ji.potentials.Duffing()
QUADRATIC = ji.potentials.Quadratic([1.0, 4.0])


def born_infeld(h, steps, conserve):
    """(E at each (theta, p) before the kick, the conserved E, |velocity|^2 / V) of a run on a Duffing loss."""
    optimizer = T.energy_conserving_descent(h, extra_energy=0.3, conserve=conserve)

    def step(carry, _):
        params, state = carry
        value, g = jax.value_and_grad(lambda q: DUFFING(q) + 0.05)(params)
        updates, after = optimizer.update(g, state, params, value=value)
        e = after.energy
        p = after.momentum + h / 2 * g * (value / e + e / value)  # undo the kick
        energy = jnp.sqrt(value * (value + p @ p))
        moved = updates @ updates / h**2 / value
        return (params + updates, after), (energy, e, moved, value)

    return jax.jit(lambda q: jax.lax.scan(step, (q, optimizer.init(q)), None, steps)[1])(START)


def test_energy_conserving_descent_conserves_its_energy_exactly():
    energy, conserved, _, value = born_infeld(0.05, 400, conserve=True)
    assert float(conserved[0]) == pytest.approx(float(DUFFING(START)) + 0.05 + 0.3, rel=4 * EPS)
    # p^2 = E^2/V - V is rounded at E^2/V, and undoing the kick at |p|.
    np.testing.assert_allclose(energy, conserved, rtol=64 * EPS)
    assert float(value.min()) < 0.06  # it went down to the floor of the loss, 0.05


def test_without_rescaling_it_conserves_to_first_order():
    steps, errors = (0.04, 0.02, 0.01), []
    for h in steps:
        energy, conserved, _, _ = born_infeld(h, round(4 / h), conserve=False)
        errors.append(np.abs(energy - conserved).max())
    assert slope(steps, errors) == pytest.approx(1, abs=0.15)


def test_its_speed_limit_is_the_root_of_the_height():
    """|theta'|^2 = V (1 - V^2/E^2) after a kick from the law's own momentum: below V up to the kick's order in h."""
    for h in (0.02, 0.01):
        _, _, moved, _ = born_infeld(h, 400, conserve=True)
        assert np.max(moved) < 1 + 4 * h


def test_energy_restart_brakes_only_uphill():
    """Frictionless downhill; at the first turn uphill it gives up all its kinetic energy, at a quarter period."""
    h, omega = 0.01, 1.0
    optimizer = T.monitor(T.energy_restart(h), h)
    _, (readouts, positions) = train(optimizer, jnp.array(1.0), 400, ji.potentials.Quadratic(omega**2))
    friction = np.diff(np.asarray(readouts.friction))
    braked = np.flatnonzero(friction < -1e-12)
    assert abs(braked[0] * h - np.pi / 2 / omega) <= 2 * h
    # Downhill nothing is lost but roundings of K = 1/2, summed.
    assert np.all(np.abs(friction[: braked[0]]) <= 16 * EPS)
    kinetic = np.asarray(readouts.kinetic)[:-1]
    np.testing.assert_allclose(friction[braked], -kinetic[braked], rtol=1e-9)
    assert float(np.abs(positions[-1])) < 2 * h


def test_energy_restart_with_mild_friction_uphill():
    h = 0.01
    optimizer = T.monitor(T.energy_restart(h, gamma=0.2, uphill=3.0), h)
    _, (readouts, positions) = train(optimizer, START, 300, DUFFING)
    gamma = np.asarray(readouts.effective_gamma)[1:-1]
    velocity = np.diff(np.asarray(positions), axis=0) / h
    gradients = np.asarray(positions + positions**3)[1:]
    uphill = np.einsum("ti,ti->t", velocity, gradients)[:-1] > 0
    expected = -np.expm1(-2 * h * np.where(uphill, 3.2, 0.2)) / (2 * h)
    assert uphill.any()
    assert not uphill.all()
    np.testing.assert_allclose(gamma, expected, rtol=1e-8)


def test_inertia_controlled_takes_energy_at_the_set_rate():
    """Friction is -(1 - e^{-rate h}) (I - floor) a step while K can pay, whatever the loss; else gamma_max's."""
    h, rate, floor = 0.02, 0.1, -0.1
    optimizer = T.monitor(T.inertia_controlled(h, rate, floor=floor), h)
    _, (readouts, _) = train(optimizer, START, 2000, DUFFING)
    friction = np.diff(np.asarray(readouts.friction))
    wanted = np.expm1(-rate * h) * (np.asarray(readouts.inertia)[:-1] - floor)
    most = np.expm1(-20 * rate * h) * np.asarray(readouts.kinetic)[:-1]
    can_pay = most < wanted
    assert 0.5 < can_pay.mean() < 1
    np.testing.assert_allclose(friction[can_pay], wanted[can_pay], rtol=1e-9)
    np.testing.assert_allclose(friction[~can_pay], most[~can_pay], rtol=1e-9, atol=1e-15)


def test_relativistic_heavy_ball_obeys_its_speed_limit_and_is_heavy_ball_when_slow():
    h, gamma, c = 0.1, 0.5, 0.3
    for per_parameter in (False, True):
        optimizer = T.monitor(T.relativistic_heavy_ball(h, gamma, c, per_parameter=per_parameter), h)
        _, (_, positions) = train(optimizer, 4 * START, 100, DUFFING)
        velocity = np.diff(np.asarray(positions), axis=0) / h
        speed = np.abs(velocity).max(1) if per_parameter else np.linalg.norm(velocity, axis=1)
        assert 0.9 * c < speed.max() < c
    learning_rate, momentum = T.to_optax(h, gamma)
    (slow, _), _ = train(T.relativistic_heavy_ball(h, gamma, 1e9), PARAMS, 30, with_value=False, read=False)
    (classic, _), _ = train(optax.sgd(learning_rate, momentum), PARAMS, 30, with_value=False, read=False)
    np.testing.assert_allclose(flat(slow), flat(classic), atol=30 * 16 * EPS, rtol=0)


@pytest.mark.parametrize("per_parameter", [False, True])
def test_a_relativistic_step_is_its_formula_in_the_precision_of_each_leaf(per_parameter):
    """p -> e^{-gamma h} p - h g, v = p / sqrt(1 + |p|^2/c^2), by NumPy."""
    h, gamma, c = 0.1, 0.5, 0.3
    optimizer = T.relativistic_heavy_ball(h, gamma, c, per_parameter=per_parameter)
    p = {"w": jnp.array([[0.3, -0.2], [2.0, 0.0]]), "b": jnp.array([0.5], jnp.float32)}
    g = jax.tree.map(lambda x: 0.7 * x + 0.1, p)
    updates, after = optimizer.update(g, type(optimizer.init(p))(p))
    kicked = {k: np.exp(-gamma * h) * np.asarray(p[k]) - h * np.asarray(g[k]) for k in p}
    total = sum(np.sum(x.astype(float) ** 2) for x in kicked.values())
    for k, eps in (("w", EPS), ("b", float(np.finfo(np.float32).eps))):
        square = kicked[k] ** 2 if per_parameter else total
        np.testing.assert_allclose(after.momentum[k], kicked[k], rtol=8 * eps, atol=0)
        # All components share |p|, of which one leaf is rounded to float32.
        rtol = 8 * eps if per_parameter else 8 * float(np.finfo(np.float32).eps)
        np.testing.assert_allclose(updates[k], h * kicked[k] / np.sqrt(1 + square / c**2), rtol=rtol, atol=0)
        assert updates[k].dtype == after.momentum[k].dtype == p[k].dtype


@pytest.mark.parametrize("per_parameter", [False, True])
def test_without_friction_it_keeps_its_energy_to_first_order(per_parameter):
    """K + L with K = c^2 (sqrt(1 + p^2/c^2) - 1), of all parameters together or of each."""
    c, steps, errors = 0.8, (0.04, 0.02, 0.01), []

    def energy(q, p):
        root = jnp.sqrt(1 + (p**2 if per_parameter else p @ p) / c**2)
        return jnp.sum(c**2 * (root - 1)) + DUFFING(q)

    for h in steps:
        optimizer = T.relativistic_heavy_ball(h, 0.0, c, per_parameter=per_parameter)

        def step(carry, _):
            q, state = carry
            updates, state = optimizer.update(jax.grad(DUFFING)(q), state)
            return (q + updates, state), energy(q + updates, state.momentum)

        values = jax.jit(lambda q: jax.lax.scan(step, (q, optimizer.init(q)), None, round(6 / h))[1])(START)
        errors.append(np.abs(values - DUFFING(START)).max())
    assert slope(steps, errors) == pytest.approx(1, abs=0.1)


def test_relativistic_friction_shrinks_phase_space_by_beta_in_each_dimension():
    h, gamma = 0.3, 0.6
    optimizer = T.relativistic_heavy_ball(h, gamma, 0.7)

    def flow(state):
        q, p = state
        updates, after = optimizer.update(jax.grad(DUFFING)(q), type(optimizer.init(q))(p))
        return jnp.concatenate([q + updates, after.momentum])

    jacobian = jax.jacfwd(lambda x: flow((x[:2], x[2:])))(jnp.array([1.0, -0.5, 0.4, 0.3]))
    assert np.linalg.det(jacobian) == pytest.approx(np.exp(-gamma * h * 2), rel=64 * EPS)


def test_the_inertia_penalty_is_friction():
    """Before SGD with momentum beta it is momentum beta - weight, to the rounding of theta - theta_before."""
    rate, beta, weight = 0.01, 0.9, 0.15
    penalised = optax.chain(T.inertia_penalty(weight, dt=rate**0.5), optax.sgd(rate, beta))
    (one, _), _ = train(penalised, PARAMS, 40, with_value=False, read=False)
    (two, _), _ = train(optax.sgd(rate, beta - weight), PARAMS, 40, with_value=False, read=False)
    np.testing.assert_allclose(flat(one), flat(two), atol=40 * 64 * EPS, rtol=0)


@pytest.mark.parametrize(
    "optimizer",
    [
        T.energy_conserving_descent(0.1),
        T.energy_restart(0.1),
        T.inertia_controlled(0.1, 0.5),
        T.relativistic_heavy_ball(0.1, 0.5, 1.0),
    ],
    ids=["conserving", "restart", "controlled", "relativistic"],
)
def test_they_train_a_network(optimizer):
    (params, _), _ = train(T.monitor(optimizer, 0.1), PARAMS, 300, read=False)
    assert float(loss(params)) < 0.5 * float(loss(PARAMS))
