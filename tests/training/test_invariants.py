"""Laws of discrete training steps: the damped invariant, the modified inertia, and Noether charges."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinertia as ji

from ..oracles import EPS
from .runs import X, Y, train

T = ji.training
HESSIAN = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
MINIMUM = np.array([0.3, -0.2, 0.5])
RATE, BETA = 0.04, 0.9
H = RATE**0.5


def bowl(x):
    d = x - MINIMUM
    return d @ HESSIAN @ d / 2 + 0.7


def points(fn, start, steps, beta=BETA):
    """(position, velocity) after each update of SGD with momentum."""
    optimizer = T.monitor(optax.sgd(RATE, beta), H)

    def step(carry, _):
        params, state = carry
        value, g = jax.value_and_grad(fn)(params)
        updates, state = optimizer.update(g, state, params, value=value)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, T.velocity(state))

    return jax.jit(lambda c: jax.lax.scan(step, c, None, steps)[1])((start, optimizer.init(start)))


@pytest.mark.parametrize("beta", [0.9, 0.99, 1.0])
def test_the_damped_invariant_falls_by_exactly_beta_on_any_quadratic(beta):
    q, v = points(bowl, jnp.array([1.0, -0.5, 0.2]), 60, beta)

    def invariant(q, v):
        return T.damped_invariant(bowl, q, v, H, beta, MINIMUM, floor=0.7)

    values = np.asarray(jax.vmap(invariant)(q, v))
    # Beside L - floor = 0.7 - 0.7 at the end, the rounding is that of L itself.
    assert np.all(np.abs(values[1:] - beta * values[:-1]) <= 64 * EPS)
    assert np.all(np.abs(values[1:20] / values[:19] / beta - 1) < 1e-12)


def test_at_beta_one_it_is_the_modified_inertia_which_holds_still():
    q, v = points(bowl, jnp.array([1.0, -0.5, 0.2]), 60, 1.0)
    damped = jax.vmap(lambda q, v: T.damped_invariant(bowl, q, v, H, 1.0, MINIMUM))(q, v)
    modified = jax.vmap(lambda q, v: ji.modified_inertia(ji.System(bowl), q, v, H, solver="OBA", order=1))(q, v)
    np.testing.assert_allclose(damped, modified, rtol=16 * EPS)
    np.testing.assert_allclose(modified, modified[0], rtol=60 * 16 * EPS)


class Stacked(eqx.Module):
    """Two linear layers, with or without an activation between."""

    inner: eqx.nn.Linear
    outer: eqx.nn.Linear

    def __init__(self, key):
        one, two = jax.random.split(key)
        self.inner, self.outer = eqx.nn.Linear(5, 4, key=one), eqx.nn.Linear(4, 3, key=two)


def linear_loss(model):
    return jnp.mean((jax.vmap(lambda x: model.outer(model.inner(x)))(X) - Y) ** 2)


def tanh_loss(model):
    return jnp.mean((jax.vmap(lambda x: model.outer(jnp.tanh(model.inner(x))))(X) - Y) ** 2)


def charges_of(model, v):
    return T.rotation_charges(
        model.inner.weight, model.outer.weight, v.inner.weight, v.outer.weight, model.inner.bias, v.inner.bias
    )


def run(optimizer, fn, steps=40, kicked=True):
    """The charges after each update, from a first velocity that turns the hidden units (or from rest)."""
    model = Stacked(jax.random.key(5))
    state = optimizer.init(model)
    if kicked:  # the momentum that optax's trace holds: -v / h
        push = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), model)
        state = eqx.tree_at(lambda s: s.inner[0].trace, state, push)

    def step(carry, _):
        model, state = carry
        value, g = jax.value_and_grad(fn)(model)
        updates, state = optimizer.update(g, state, model, value=value)
        model = optax.apply_updates(model, updates)
        return (model, state), charges_of(model, T.velocity(state))

    return np.asarray(jax.jit(lambda c: jax.lax.scan(step, c, None, steps)[1])((model, state)))


HEAVY_BALL = T.monitor(optax.sgd(RATE, BETA), H)


@pytest.mark.optimised
def test_rotation_charges_of_stacked_linear_layers_fall_by_exactly_beta():
    charges = run(HEAVY_BALL, linear_loss)
    assert np.abs(charges[0]).max() > 0.1
    np.testing.assert_array_equal(charges, -np.swapaxes(charges, 1, 2))
    # Each entry sums 13 products of numbers of order one; the update rounds theta and v once each.
    assert np.abs(charges[1:] - BETA * charges[:-1]).max() <= 13 * 8 * EPS * 4


def test_from_rest_they_stay_zero_and_adam_does_not_keep_them():
    still = run(HEAVY_BALL, linear_loss, kicked=False)
    assert np.abs(still).max() <= 13 * 40 * EPS
    moved = run(T.monitor(optax.adam(0.01), H), linear_loss, kicked=False)
    assert np.abs(moved[-1]).max() > 1e-3


def test_an_activation_between_the_layers_breaks_the_symmetry():
    charges = run(HEAVY_BALL, tanh_loss, kicked=False)
    assert np.abs(charges[-1]).max() > 1e-4


def test_the_monitor_takes_equinox_models():
    model = Stacked(jax.random.key(5))
    (_, state), _ = train(HEAVY_BALL, model, 5, linear_loss, read=False)
    assert list(T.readout(state).groups) == ["inner", "outer"]
