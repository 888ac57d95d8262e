"""Orders with noise. Weak: every path of a discrete law is run, so that no chance is left. Strong: on shared paths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import slope
from ..scripted import THREE_POINT, Scripted, every_path, gauss_hermite

GAMMA, SIGMA, START, STOP = 0.5, 0.8, (1.0, 0.3), 1.0
BLOCK, LONGEST = 3**8, 12
ANHARMONIC = ji.System(ji.potentials.Duffing(), damping=GAMMA, noise=SIGMA)


@functools.cache
def program(word):
    """Inertia after every step of up to LONGEST steps h, for a block of prescribed numbers; one compilation."""

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0))
    def run(h, numbers):
        path = Scripted.of(jnp.sqrt(h) * numbers, h)
        ts = h * jnp.arange(LONGEST + 1)
        solver = ji.solvers.Splitting(word)
        return ji.simulate(ANHARMONIC, ts, *START, substeps=1, solver=solver, path=path).inertia

    return run


def expectation(word, law, steps):
    """E[I](STOP) of a word at so many steps, over all paths of a discrete law of the increments."""
    numbers, weights = every_path(law, steps)
    numbers = np.pad(numbers, ((0, -len(numbers) % BLOCK), (0, LONGEST - steps)))
    weights = np.pad(weights, (0, len(numbers) - len(weights))).reshape(-1, BLOCK)
    total = 0.0
    for block, weight in zip(numbers.reshape(-1, BLOCK, LONGEST), weights, strict=True):
        total += weight @ np.asarray(program(word)(STOP / steps, block)[:, steps])
    return total


@functools.cache
def gaussian(word):
    """E[I] at n = 3, 4, 5, 6 steps by six-point quadrature a step: its remainder is of order (sigma^2 h)^6 / 12!."""
    return np.array([expectation(word, gauss_hermite(6), n) for n in (3, 4, 5, 6)])


@functools.cache
def limit():
    """E[I] as h -> 0. A symmetric word with the exact law has even powers of h alone: h^2, h^4 and h^6 removed."""
    h = STOP / np.array([3, 4, 5, 6])
    return np.linalg.solve(np.stack([h**0, h**2, h**4, h**6], axis=1), gaussian("BAOAB"))[0]


def test_weak_order_two_with_gaussian_increments():
    errors = np.abs(gaussian("BAOAB") - limit())
    assert 1.9 <= slope(STOP / np.array([3, 4, 5, 6]), errors) <= 2.1


@pytest.mark.parametrize("word", ["BAOAB", "ABOBA"])
def test_weak_order_two_with_three_point_increments(word):
    """All 3^12 paths of the finest run."""
    steps = (6, 8, 10, 12)
    errors = [abs(expectation(word, THREE_POINT, n) - limit()) for n in steps]
    assert 1.9 <= slope(STOP / np.array(steps), errors) <= 2.1


def test_two_symmetric_words_have_one_limit():
    """What is left after h^6 is some (1/3)^2 of the h^6 term, which the two words' difference bounds."""
    h = STOP / np.array([3, 4, 5, 6])
    other = np.linalg.solve(np.stack([h**0, h**2, h**4, h**6], axis=1), gaussian("ABOBA"))
    assert abs(other[0] - limit()) <= 1e-2 * np.abs(gaussian("BAOAB")[-1] - limit())


PATHS, FINE, ROWS = 128, 2**9, 64


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["white", "colored"])
def test_strong_order_one_on_shared_paths(noise):
    """The root of the mean square error over paths at t = 2, of 8 to 64 steps against 512 on the very same paths."""
    force = ji.noise.White(0.8) if noise == "white" else ji.noise.Colored(0.8, tau=0.5, initial=0.0)
    system = ji.System(ji.potentials.Pendulum(1.3), damping=0.6, noise=force)
    stop = 2.0

    @jax.vmap
    def draw(key):  # eight times as long as needed: one program of 64 rows serves all steps
        return ji.BrownianPath(0.0, 8 * stop, 12, 1.0, key)

    paths = draw(jax.random.split(jax.random.key(7), PATHS))

    def run(ts, path, substeps):
        traj = ji.simulate(system, ts, 1.0, 0.2, substeps=substeps, path=path)
        return jnp.stack([traj.position, traj.momentum])

    fine = jax.jit(jax.vmap(lambda path: run(jnp.array([0.0, stop]), path, FINE)))(paths)[:, :, -1]
    coarse = jax.jit(jax.vmap(lambda ts, path: run(ts, path, 1), in_axes=(None, 0)))
    steps = np.array([8, 16, 32, 64])
    errors = [
        np.sqrt(np.mean(np.sum((coarse(jnp.arange(ROWS + 1) * stop / n, paths)[:, :, n] - fine) ** 2, axis=1)))
        for n in steps
    ]
    assert slope(stop / steps, errors) >= 0.95


@pytest.mark.optimised
@pytest.mark.slow
def test_a_brownian_path_is_refined_without_moving():
    """The nodes of 2^6 steps are those of 2^9; increments add up; and their law is Brownian."""
    coarse, fine = (ji.BrownianPath(1.0, 3.0, levels, jnp.zeros(2), jax.random.key(3)) for levels in (6, 12))
    assert np.array_equal(fine.table[:: 2**6], coarse.table)
    assert np.allclose(fine.evaluate(1.0, 1.5) + fine.evaluate(1.5, 3.0), fine.evaluate(3.0), atol=1e-14)
    draws = np.diff(fine.table, axis=0).ravel() / np.sqrt(2 / 2**12)
    n = len(draws)
    assert abs(draws.mean()) < 5 / np.sqrt(n)
    assert abs(draws.var() - 1) < 5 * np.sqrt(2 / n)
    assert abs(np.corrcoef(draws[:-2], draws[2:])[0, 1]) < 5 / np.sqrt(n)
    with pytest.raises(ValueError, match="node"):
        coarse.evaluate(1.0, 1.01)
