"""The random numbers themselves: known answers, the laws' moments, and the same bits wherever they are drawn."""

import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32
from scipy import stats

import jaxinertia as ji
from jaxinertia.dynamics.random_numbers import RandomNumbers, threefry

from ..oracles import EPS

pytestmark = pytest.mark.optimised

KEY = jax.random.key(11)
LIKE = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(())}


def numbers(law="gaussian", first=0, count=400, draw=0, draws=2, like=LIKE, key=KEY):
    return RandomNumbers(key, draws, law).steps(jnp.uint32(first), count, draw, like)


def test_threefry_gives_the_known_answers():
    """Random123's own vectors for Threefry-2x32-20, and JAX's generator on random counters."""
    vectors = {
        ((0, 0), (0, 0)): (0x6B200159, 0x99BA4EFE),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)): (0x1CB996FC, 0xBB002BE7),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)): (0xC4923A9C, 0x483DF7A0),
    }
    for (seed, counter), answer in vectors.items():
        seed, counter = (tuple(jnp.array(x, jnp.uint32) for x in pair) for pair in (seed, counter))
        assert tuple(map(int, threefry(seed, counter))) == answer
    seed = jnp.array([7, 9], jnp.uint32)
    counter = jax.random.bits(KEY, (2, 50), "uint32")
    ours = jnp.concatenate(threefry((seed[0], seed[1]), (counter[0], counter[1])))
    assert np.array_equal(ours, threefry_2x32(seed, counter.ravel()))


@pytest.mark.slow
@pytest.mark.parametrize("law", ["gaussian", "three-point"])
def test_bits_depend_on_the_step_alone_however_many_are_drawn(law):
    """From any first step, any count, in float32 too, and under vmap, twice as well."""
    whole = numbers(law)
    for first, count in ((0, 1), (5, 1), (3, 17), (8, 8), (391, 9)):
        part = numbers(law, first, count)
        for name in LIKE:
            assert np.array_equal(part[name], whole[name][first : first + count])
    keys = jax.random.split(KEY, 6).reshape(2, 3)
    mapped = jax.vmap(jax.vmap(lambda key: numbers(law, 5, 12, key=key)))(keys)
    for i, j in np.ndindex(2, 3):
        one = numbers(law, 5, 12, key=keys[i, j])
        assert all(np.array_equal(mapped[name][i, j], one[name]) for name in LIKE)
    moving = jax.vmap(lambda first: numbers(law, first, 12))(jnp.arange(4, dtype=jnp.uint32))
    assert all(np.array_equal(moving[name][3], whole[name][3:15]) for name in LIKE)


@pytest.mark.parametrize(("dtype", "rotations", "quotients"), [(jnp.float64, 20, 2), (jnp.float32, 19, 1)])
def test_each_counter_is_hashed_once(dtype, rotations, quotients):
    """In the compiled program of many numbers, which inverts in one kernel. The first word lacks the last rotation."""
    seed = jnp.arange(64, dtype=jnp.uint32)

    def many(seed):
        source = eqx.tree_at(lambda source: source.seed, RandomNumbers(KEY, 1, "gaussian"), (seed, seed))
        return source.steps(jnp.uint32(3), 44, 0, jnp.zeros((), dtype))

    text = jax.jit(jax.vmap(many)).lower(seed).compile().as_text()
    inverts = [part for part in text.split("\n\n") if " sqrt(" in part]
    assert text.count(" shift-left(") == rotations
    assert [part.count(" divide(") for part in inverts] == [quotients]


def test_float32_numbers_are_those_of_float64():
    """One cell of 2^-23 apart: by 2^-23 over the density, at most 0.01 in the last cells (5.3), 1e-4 below 4."""
    short, long = (numbers(like=jnp.zeros(50, dtype)) for dtype in (jnp.float32, jnp.float64))
    assert short.dtype == jnp.float32
    inside = np.abs(long) < 4
    assert np.abs(short - long)[inside].max() < 2.0**-23 / stats.norm.pdf(4)


def test_gaussian_numbers_follow_their_law_in_the_tails_too():
    """400,000 numbers: Kolmogorov and Smirnov's test, and the count beyond 4 (expected 25)."""
    draws = np.asarray(numbers(count=400, like=jnp.zeros(1000))).ravel()
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    beyond = np.sum(np.abs(draws) > 4)
    assert stats.poisson(400_000 * 2 * stats.norm.sf(4)).cdf(beyond) > 1e-4
    assert stats.poisson(400_000 * 2 * stats.norm.sf(4)).sf(beyond) > 1e-4


def test_three_point_numbers_have_a_gaussians_moments_up_to_the_fifth():
    draws = np.asarray(numbers("three-point", count=800, like=jnp.zeros(500))).ravel()
    values = np.unique(draws)
    assert np.allclose(values, [-np.sqrt(3), 0, np.sqrt(3)])
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (5, 0)):
        spread = np.sqrt(3.0**power / 3 - moment**2)  # E[x^(2 power)] = 3^power / 3
        assert abs(np.mean(draws**power) - moment) < 5 * spread / np.sqrt(len(draws))


@pytest.mark.parametrize("law", ["gaussian", "three-point"])
def test_steps_components_and_draws_are_independent(law):
    """The eight digits of one counter, the neighbours in both words of it, and the draws of a step."""
    grid = np.concatenate([numbers(law, count=8000, draw=draw, like=jnp.zeros(2)) for draw in (0, 1)], axis=1)
    lagged = np.hstack([grid[k : 7990 + k] for k in range(9)])  # every lag within a group of eight steps
    correlation = np.corrcoef(lagged.T) - np.eye(lagged.shape[1])
    assert np.abs(correlation).max() < 5.5 / np.sqrt(7990)  # 630 pairs: once in 40,000
    assert np.abs(np.corrcoef((lagged**2).T) - np.eye(lagged.shape[1])).max() < 5.5 / np.sqrt(7990)


@pytest.mark.slow
def test_simulate_draws_the_same_whatever_is_drawn_ahead(monkeypatch):
    """With many numbers ahead, or one step at a time, as large positions do: the same path to rounding."""
    from jaxinertia.dynamics import fixed

    system = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.5)

    def run(steps_of):
        return ji.simulate(system, np.linspace(0, steps_of / 16, 2), np.ones(3), dt=1 / 16, key=KEY).position

    ahead = run(150), run(20)
    monkeypatch.setattr(fixed, "AHEAD", 0)
    jax.clear_caches()
    for before, n in zip(ahead, (150, 20), strict=True):
        assert np.allclose(run(n), before, rtol=0, atol=1e-13)


def test_simulate_draws_the_same_bits_under_every_transformation(tmp_path):
    """vmap, map, batches, jit, shard_map and sharded keys on four devices, against runs one by one.

    Three-point numbers are the bits themselves: equal. Gaussian ones are a polynomial of them, rounded some ten times
    in the order that a program chooses; bound runs of 40 steps round as often.
    """
    file = tmp_path / "momenta.npz"
    subprocess.run([sys.executable, str(Path(__file__).with_name("devices.py")), str(file)], check=True)
    found = dict(np.load(file))
    assert found.pop("devices") == 4
    cases = {name.split(": ")[0] for name in found}
    assert len(found) == 8 * len(cases) == 24
    for name, momenta in found.items():
        case, way = name.split(": ")
        alone = found[f"{case}: one by one"]
        assert len(np.unique(alone[:, -1])) > len(alone), name
        if case == "free, three-point":
            assert np.array_equal(momenta, alone), way
        else:
            assert np.abs(momenta - alone).max() <= 2 * 40 * 10 * EPS * np.abs(alone).max(), name


@pytest.mark.parametrize("word", ["BAOAB", "OBABO"])
def test_three_point_runs_book_the_mean_noise(word):
    """E[noise] = sigma^2 t / 2 at any step; 20,000 runs, four standard errors."""
    system = ji.System(ji.potentials.Quadratic(1.5), 0.4, ji.noise.White(0.7, law="three-point"))
    options = dict(dt=0.25, solver=ji.solvers.Splitting(word), quantiles=())
    runs = ji.ensemble(system, np.array([0.0, 2.0]), 1.0, n=20_000, key=KEY, **options)
    assert abs(runs.mean.balance.noise[-1] - 0.49) <= 4 * runs.standard_error.balance.noise[-1]
