"""A learned kinetic energy is one: convex, even, zero at rest, so that friction takes; and a gradient trains it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS


def learned(depth=2, scale=1.0, **options):
    network = eqx.nn.MLP(2, "scalar", width_size=8, depth=depth, key=jax.random.key(depth), **options)
    network = jax.tree.map(lambda x: scale * x if eqx.is_inexact_array(x) else x, network)
    return ji.kinetic.Learned(network)


@pytest.mark.parametrize(
    "kinetic", [learned(0), learned(1), learned(2, 3.0), learned(2, -3.0), learned(3, 1.0, use_bias=False)]
)
def test_it_is_convex_even_and_zero_at_rest_whatever_its_weights(kinetic):
    p = jax.random.normal(jax.random.key(0), (64, 2)) * jnp.logspace(-3, 1, 64)[:, None]
    energy = jax.vmap(kinetic.energy)
    zero = jnp.zeros(2)
    size = 1 + jnp.abs(kinetic._convex(zero))
    assert abs(kinetic.energy(zero)) <= 4 * EPS * size
    np.testing.assert_allclose(energy(p), energy(-p), rtol=0, atol=4 * EPS * size)
    curvature = jax.vmap(jax.hessian(kinetic.energy))(p)
    assert np.linalg.eigvalsh(curvature).min() >= 1e-3 - 1e-12
    velocity = jax.vmap(lambda p: kinetic.velocity_at(zero, p))(p)
    assert np.all(np.sum(velocity * p, axis=1) >= energy(p) - 8 * EPS * size)
    assert np.all(energy(p) >= 0.0005 * np.sum(p**2, axis=1) - 8 * EPS * size)
    np.testing.assert_allclose(kinetic.velocity_at(zero, zero), 0, atol=4 * EPS)


@pytest.mark.slow
def test_friction_takes_and_a_gradient_trains_its_weights():
    """One step down the gradient of the loss at the end, with respect to the weights, lowers that loss."""
    kinetic = learned(2)
    arrays, rest = eqx.partition(kinetic, eqx.is_inexact_array)

    @jax.jit
    @jax.value_and_grad
    def end(arrays):
        system = ji.System(ji.potentials.Quadratic([1.0, 20.0]), damping=0.5, kinetic=eqx.combine(arrays, rest))
        traj = ji.simulate(system, np.linspace(0, 2, 5), np.array([1.0, 0.5]), substeps=8)
        rises = jnp.max(jnp.diff(traj.balance.friction))
        return traj.potential[-1] + jnp.where(rises < 0, 0.0, jnp.inf)

    value, slopes = end(arrays)
    assert np.isfinite(value)
    size = sum(float(jnp.sum(x**2)) for x in jax.tree.leaves(slopes))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(slopes))
    step = 1e-3 / size**0.5
    after, _ = end(jax.tree.map(lambda x, s: x - step * s, arrays, slopes))
    assert after - value == pytest.approx(-step * size, rel=0.05)
