"""Any splitting is an optax optimizer: the same path as `simulate`, and SGD with momentum for "OBA"."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinertia as ji

from ..oracles import EPS
from .runs import PARAMS, flat, train

T = ji.training
H, GAMMA, STEPS = 0.1, 0.7, 40
START = np.array([1.0, -0.5])
DUFFING = ji.potentials.Duffing()


def path(optimizer, steps=STEPS):
    _, (_, positions) = train(T.monitor(optimizer, H), jnp.asarray(START), steps, DUFFING)
    return np.asarray(positions)


def simulated(word, sigma=None, key=None):
    system = ji.System(DUFFING, GAMMA, noise=sigma)
    solver = ji.solvers.Splitting(word)
    return ji.simulate(system, np.arange(STEPS + 1) * H, START, dt=H, solver=solver, key=key)


@pytest.mark.parametrize(("learning_rate", "momentum"), [(0.01, 0.9), (0.3, 0.5), (0.02, 1.0)])
def test_oba_is_sgd_with_momentum_to_rounding(learning_rate, momentum):
    dt, gamma = T.to_physical(learning_rate, momentum)
    (ours, _), _ = train(T.as_optimizer("OBA", dt, gamma), PARAMS, 50, with_value=False, read=False)
    (theirs, _), _ = train(optax.sgd(learning_rate, momentum), PARAMS, 50, with_value=False, read=False)
    np.testing.assert_allclose(flat(ours), flat(theirs), atol=50 * 16 * EPS, rtol=0)


@pytest.mark.optimised
@pytest.mark.parametrize("sigma", [None, 0.3])
@pytest.mark.parametrize("word", ["OBA", "BAOAB", "OBABO", "BAO"])
def test_the_positions_are_those_of_simulate_with_the_same_noise(word, sigma):
    """Words that reach their kick without a drift: from rest, and with one key, the same bits of noise."""
    key = jax.random.key(3)
    optimizer = T.as_optimizer(word, H, GAMMA, 0.0 if sigma is None else sigma, key)
    expected = simulated(word, sigma, None if sigma is None else key).position[:STEPS]
    np.testing.assert_allclose(path(optimizer), expected, atol=STEPS * 16 * EPS, rtol=0)


def test_a_word_that_starts_with_a_drift_is_turned_to_its_kick():
    """AOB from rest does nothing before its first kick: call k ends where step k + 1 does."""
    expected = simulated("AOB").position[1:]
    np.testing.assert_allclose(path(T.as_optimizer("AOB", H, GAMMA)), expected, atol=STEPS * 16 * EPS, rtol=0)


@pytest.mark.parametrize("word", ["BD", "BDB"])
def test_flights_are_those_of_simulate(word):
    """Kicks first, from rest: the positions at which the word kicks."""
    np.testing.assert_allclose(
        path(T.as_optimizer(word, H, GAMMA)), simulated(word).position[:STEPS], atol=STEPS * 16 * EPS, rtol=0
    )


def test_baoab_with_noise_samples_the_boltzmann_distribution():
    """On L = q^2/2 BAOAB's positions have variance T = sigma^2/(2 gamma) exactly, at any stable step (Leimkuhler)."""
    sigma, temperature = 0.6, 0.6**2 / (2 * GAMMA)
    optimizer = T.as_optimizer("BAOAB", 0.5, GAMMA, sigma, jax.random.key(1))
    runs = jnp.zeros(20_000)

    def step(carry, _):
        q, state = carry
        updates, state = optimizer.update(q, state)
        return (q + updates, state), None

    (q, _), _ = jax.jit(lambda q: jax.lax.scan(step, (q, optimizer.init(q)), None, 60))(runs)
    # 60 steps of 0.5 forget the start to e^{-21}; the variance of 20,000 normals is known to sqrt(2 / 20,000) = 1 %.
    assert float(jnp.var(q)) == pytest.approx(temperature, rel=0.04)


def test_gamma_may_differ_from_parameter_to_parameter():
    gamma = {"inner": {"w": 0.0, "b": 0.3}, "outer": {"w": 2.0}}
    gamma = jax.tree.map(lambda g, p: jnp.full_like(p, g), gamma, PARAMS)
    optimizer = T.monitor(T.as_optimizer("OBA", H, gamma), H, depth=2)
    (_, state), _ = train(optimizer, PARAMS, 20)
    groups = T.readout(state).groups
    for name, rate in {"inner.w": 0.0, "inner.b": 0.3, "outer.w": 2.0}.items():
        expected = -np.expm1(-2 * rate * H) / (2 * H)
        assert float(groups[name].effective_gamma) == pytest.approx(expected, rel=1e-8, abs=1e-11)


def test_the_maps_undo_each_other_and_agree_in_the_limit():
    for reading in ("exact", "drag"):
        dt, gamma = T.to_physical(np.array([0.01, 0.04]), 0.9, reading)
        back = T.to_optax(dt, gamma, reading)
        np.testing.assert_allclose(back.learning_rate, [0.01, 0.04], rtol=4 * EPS)
        np.testing.assert_allclose(back.momentum, 0.9, rtol=4 * EPS)
    exact, drag = (T.to_physical(0.01, 1 - 1e-4, reading).gamma for reading in ("exact", "drag"))
    assert exact / drag - 1 == pytest.approx(5e-5, rel=1e-3)  # -ln(1 - x) = x (1 + x/2 + ...)
    assert T.to_physical(0.04, 0.0, "drag").gamma == pytest.approx(5.0)
    assert T.to_physical(0.04, 1.0).gamma == 0


def test_the_maps_are_differentiable():
    slope = jax.grad(lambda beta: T.to_physical(jnp.float64(0.04), beta).gamma)(0.8)
    assert float(slope) == pytest.approx(-1 / 0.8 / 0.2, rel=4 * EPS)
