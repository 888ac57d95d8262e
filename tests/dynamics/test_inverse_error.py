"""The inverse of the error function that random numbers take: its accuracy, its ends, and one form wherever it runs."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

import jaxinertia as ji
from jaxinertia.dynamics import inverse_error, random_numbers, vectorised
from jaxinertia.dynamics.random_numbers import RandomNumbers

KEY = jax.random.key(5)


def units_off(y: float, x: float, dtype: type) -> float:
    """How far y is from erf_inv x, in units of its last place: (erf y - x) / erf' y, by Newton."""
    z, p = mpmath.mpf(abs(y)), mpmath.mpf(abs(x))
    missed = (1 - p) - mpmath.erfc(z) if p > 0.5 else mpmath.erf(z) - p
    return float(abs(missed) * mpmath.exp(z * z) * mpmath.sqrt(mpmath.pi) / 2) / float(np.spacing(dtype(abs(y))))


@pytest.mark.parametrize(("dtype", "count", "units"), [(np.float64, 2500, 3.0), (np.float32, 1200, 4.0)])
def test_it_is_right_to_few_units_in_the_last_place(dtype, count, units):
    """Over (-1, 1), near 0, across the edge of the two regions and up to the last number before 1."""
    least = np.finfo(dtype).epsneg
    middle, edge = np.linspace(-0.999, 0.999, 2 * count), np.linspace(0.78, 0.88, count // 2)
    parts = [middle, edge, np.geomspace(1e-30, 0.1, 100), 1 - np.geomspace(least, 0.2, count), least - 1, 1 - 2 * least]
    x = np.hstack(parts).astype(dtype)
    found = np.asarray(jax.jit(vectorised.erf_inv)(x))
    assert found.dtype == dtype
    assert np.array_equal(np.sign(found), np.sign(x))
    with mpmath.workdps(40):
        assert max(units_off(float(b), float(a), dtype) for a, b in zip(x, found, strict=True)) <= units


def test_its_logarithm_is_right_to_one_unit_in_the_last_place():
    y = np.hstack([np.geomspace(2.0**-54, 1, 801), np.linspace(0.4, 0.6, 201), np.linspace(0.69, 1.45, 401)])
    found = np.asarray(jax.jit(inverse_error._log)(y))
    with mpmath.workdps(40):
        exact = [mpmath.log(mpmath.mpf(float(value))) for value in y]
        off = np.array([float(mpmath.mpf(float(a)) - b) for a, b in zip(found, exact, strict=True)])
    assert np.all(np.abs(off) <= np.spacing(np.abs(np.array(exact, float))))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.float16])
def test_its_ends_are_infinite_and_nothing_lies_beyond(dtype):
    x = jnp.array([1, -1, 1.5, -1.5, jnp.inf, -jnp.inf, jnp.nan, 0.0, -0.0], dtype)
    found = np.asarray(vectorised.erf_inv(x))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, [np.inf, -np.inf, *5 * [np.nan], 0.0, 0.0])
    assert list(np.signbit(found[-2:])) == [False, True]


def test_its_derivatives_are_those_of_an_inverse():
    """y' = 1 / erf' y and y'' = 2 y y'^2, in either mode."""
    x = jnp.linspace(-0.99, 0.99, 23)
    y = special.erfinv(np.asarray(x))
    slope = np.sqrt(np.pi) / 2 * np.exp(y**2)
    for derivative in (jax.grad, jax.jacfwd):
        first = derivative(vectorised.erf_inv)
        np.testing.assert_allclose(jax.vmap(first)(x), slope, rtol=1e-14)
        np.testing.assert_allclose(jax.vmap(jax.grad(first))(x), 2 * y * slope**2, rtol=1e-14, atol=1e-14)


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", [jnp.float64, pytest.param(jnp.float32, marks=pytest.mark.slow)])
def test_it_has_one_form_wherever_it_runs(dtype):
    """The same bits op by op, compiled, one number at a time, in loops, and in vectors of any length."""
    x = jnp.asarray(np.random.default_rng(2).uniform(-1, 1, 61), dtype)
    whole = vectorised.erf_inv(x)
    ways = {
        "compiled": jax.jit(vectorised.erf_inv)(x),
        "alone": jnp.stack([vectorised.erf_inv(value) for value in x]),
        "blocks": jax.lax.map(vectorised.erf_inv, x, batch_size=29),
        "parts": jnp.concatenate([vectorised.erf_inv(x[:7]), vectorised.erf_inv(x[7:])]),
    }
    for way, found in ways.items():
        assert np.array_equal(found, whole), way


def by_scipy(steps: int, size: int) -> np.ndarray:
    """The standard normals of KEY, (steps, size), from the hashed words by SciPy."""
    source = RandomNumbers(KEY, 1, "gaussian")
    counter = jnp.meshgrid(jnp.arange(steps, dtype=jnp.uint32), jnp.arange(size, dtype=jnp.uint32), indexing="ij")
    high, low = (np.asarray(word, np.uint64) for word in random_numbers.threefry(source.seed, tuple(counter)))
    cell = (high << np.uint64(20)) + (low >> np.uint64(12))
    return np.sqrt(2) * special.erfinv((cell.astype(float) + 0.5) * 2.0**-51 - 1)


@pytest.mark.parametrize(("count", "size"), [(1, 3), (37, 100)])
def test_gaussian_numbers_are_the_inverse_distribution_at_the_cells(count, size):
    """Few of them, and so many that they are made in a loop."""
    found = RandomNumbers(KEY, 1, "gaussian").steps(jnp.uint32(0), count, 0, jnp.zeros(size))
    np.testing.assert_allclose(found, by_scipy(count, size), rtol=1e-14)


def test_a_langevin_run_is_the_one_written_out():
    """BAOAB by hand on q'' + gamma q' + q = sigma W', with SciPy's normals: the same to 1e-12."""
    gamma, sigma, h, steps = 0.5, 0.7, 0.1, 40
    system = ji.System(ji.potentials.Quadratic(), gamma, sigma)
    run = ji.simulate(system, np.array([0.0, h * steps]), np.ones(3), dt=h, key=KEY, solver="BAOAB")
    q, p, decay = np.ones(3), np.zeros(3), np.exp(-gamma * h)
    for normal in by_scipy(steps, 3):
        p = p - h / 2 * q
        q = q + h / 2 * p
        p = decay * p + sigma * np.sqrt((1 - decay**2) / (2 * gamma)) * normal
        q = q + h / 2 * p
        p = p - h / 2 * q
    np.testing.assert_allclose(run.position[-1], q, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.momentum[-1], p, rtol=0, atol=1e-12)


def test_a_users_own_inverse_in_a_loop_is_this_one():
    def final(start):
        system = ji.System(lambda q: jnp.sum(jax.lax.erf_inv(q / 4) ** 2), damping=0.2)
        return ji.simulate(system, np.array([0.0, 0.5]), start, dt=0.1).inertia[-1]

    text = str(jax.make_jaxpr(final)(1.2)).partition("rows[")[2]
    assert "inverse_error" in text
    assert "erf_inv" not in text
