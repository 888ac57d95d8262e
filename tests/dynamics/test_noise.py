"""Random bits: they depend on the key and the step alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jaxinertia as ji

from ..oracles import EPS

pytestmark = pytest.mark.optimised

KEY = jax.random.key(42)
WORDS = ["BAOAB", "OBABO", "OBA"]
FREE = ji.System(ji.potentials.Quadratic(0.0), noise=1.0)


def run(ts, word="BAOAB", key=KEY, system=None, **options):
    system = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.5) if system is None else system
    solver = ji.solvers.Splitting(word)
    return ji.simulate(system, ts, np.array([1.0, -0.5]), dt=1 / 16, solver=solver, key=key, **options)


@pytest.mark.parametrize("word", WORDS)
def test_the_same_key_gives_the_same_bits(word):
    ts = np.linspace(0, 2, 5)
    first, again, other = run(ts, word), run(ts, word), run(ts, word, key=jax.random.key(43))
    assert np.array_equal(first.position, again.position)
    assert np.array_equal(first.balance.noise, again.balance.noise)
    assert np.all(first.position[1:] != other.position[1:])


@pytest.mark.parametrize("word", WORDS)
def test_bits_depend_on_the_key_and_the_step_not_on_what_is_saved(word):
    """Saved at every step or every eighth: one path, up to the rounding of 32 steps."""
    fine = run(np.linspace(0, 2, 33), word)
    rounding = 32 * 16 * EPS * 8
    coarse = run(np.linspace(0, 2, 5), word)
    assert np.abs(coarse.position - fine.position[::8]).max() <= rounding
    assert np.abs(coarse.balance.noise - fine.balance.noise[::8]).max() <= rounding


def test_a_shorter_run_is_the_prefix_of_a_longer_one():
    long, short = run(np.linspace(0, 4, 9)), run(np.linspace(0, 2, 5))
    assert np.array_equal(short.position, long.position[:5])


def test_uneven_times_on_a_common_step_draw_the_same_bits():
    """Intervals of 64, 128 and 192 steps run in blocks of 64: step numbers, and so bits, are those of the even run."""
    even, uneven = (
        ji.simulate(FREE, np.array(ts), 0.0, dt=1 / 64, key=KEY) for ts in ([0, 1, 2, 3, 4, 5, 6], [0, 1, 3, 6])
    )
    assert np.abs(uneven.momentum - even.momentum[np.array([0, 1, 3, 6])]).max() <= 384 * EPS * 8


def test_mapped_keys_give_different_bits_and_those_of_single_runs():
    keys = jax.random.split(KEY, 4)
    ts = np.linspace(0, 2, 5)
    mapped = jax.vmap(lambda key: run(ts, key=key).position)(keys)
    assert len(np.unique(mapped[:, -1, 0])) == 4
    for i in range(4):
        assert np.allclose(mapped[i], run(ts, key=keys[i]).position, atol=32 * 16 * EPS * 8)


def test_components_leaves_and_steps_are_independent():
    """The increments of a free particle: standard normal, and without correlation between any two."""
    ts = np.arange(2001) / 16
    free = ji.simulate(FREE, ts, {"a": jnp.zeros(2), "b": 0.0}, dt=1 / 16, key=KEY).momentum
    draws = np.diff(np.column_stack([free["a"], free["b"]]), axis=0) * 4  # sqrt(16)
    assert stats.kstest(draws.ravel(), "norm").pvalue > 1e-3
    n = len(draws)
    lagged = np.hstack([draws[:-1], draws[1:]])
    correlation = np.corrcoef(lagged.T) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(n)  # 15 pairs: 5 deviations happen once in 10^5
    assert np.allclose(draws.var(axis=0), 1, atol=5 * np.sqrt(2 / n))


@pytest.mark.parametrize("word", ["OBABO", "BAOAB"])
def test_each_relaxation_of_a_step_draws_on_its_own(word):
    """Over a step the increments sum to variance h, whether one O takes it or two share it."""
    ts = np.arange(4001) / 16
    traj = ji.simulate(FREE, ts, 0.0, dt=1 / 16, solver=ji.solvers.Splitting(word), key=KEY)
    draws = np.diff(traj.momentum) * 4
    assert draws.var() == pytest.approx(1, abs=5 * np.sqrt(2 / 4000))


def test_legacy_keys_work():
    ts = np.linspace(0, 2, 5)
    assert np.array_equal(run(ts, key=jax.random.PRNGKey(42)).position, run(ts).position)


def test_noise_without_key_is_refused():
    with pytest.raises(ValueError, match=r"key is None, but the system has noise.*key=jax\.random\.key"):
        run(np.linspace(0, 1, 3), key=None)


def test_noise_that_is_zero_needs_no_key():
    ts = np.linspace(0, 1, 3)
    silent = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.0)
    plain = ji.System(ji.potentials.Duffing(), damping=0.3)
    assert np.array_equal(run(ts, key=None, system=silent).position, run(ts, key=None, system=plain).position)
    assert not np.any(run(ts, system=silent).balance.noise)


def test_a_traced_zero_noise_is_no_noise():
    """sigma = 0 known only at run time moves nothing, and books nothing."""
    ts = np.linspace(0, 1, 3)

    @jax.jit
    def traced(sigma):
        return run(ts, system=ji.System(ji.potentials.Duffing(), damping=0.3, noise=sigma))

    calm = run(ts, system=ji.System(ji.potentials.Duffing(), damping=0.3), key=None)
    assert np.allclose(traced(0.0).position, calm.position, atol=16 * 16 * EPS)
    assert np.abs(traced(0.0).balance.noise).max() <= 16 * 16 * EPS


def test_noise_in_float32():
    start = jnp.array([1.0, -0.5], jnp.float32)
    system = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.5)
    traj = ji.simulate(system, np.linspace(0, 2, 5), start, dt=1 / 16, key=KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves((traj.position, traj.momentum, traj.balance))} == {
        jnp.dtype("float32")
    }
    draws = np.diff(ji.simulate(FREE, np.arange(2001) / 16, start, dt=1 / 16, key=KEY).momentum, axis=0) * 4
    assert stats.kstest(draws.ravel(), "norm").pvalue > 1e-3
