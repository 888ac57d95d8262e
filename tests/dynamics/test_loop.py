"""The loop as one primitive: the same numbers under every transformation, in blocks and in scans of stages or not."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia import _origin
from jaxinertia.dynamics import loop, repeats, vectorised

TS = np.linspace(0.0, 1.0, 4)
ROUNDING = 1e-13


def energy(gamma, position=1.0, potential=None, word="BAOAB", **options):
    """The final inertia and friction of one run."""
    system = ji.System(ji.potentials.Duffing() if potential is None else potential, damping=gamma)
    traj = ji.simulate(system, TS, position, dt=0.1, solver=ji.solvers.Splitting(word), **options)
    return traj.inertia[-1], traj.balance.friction[-1]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few points, so that few points fill several."""
    monkeypatch.setattr(loop, "SMALLEST", 4)
    monkeypatch.setattr(loop, "CARRIED", 16)
    jax.clear_caches()
    yield
    jax.clear_caches()


GAMMAS, STARTS = np.linspace(0.0, 1.0, 29), np.array([0.5, 1.0, 1.5])


def one_by_one():
    return np.array([[energy(gamma, start) for start in STARTS] for gamma in GAMMAS[::7]])


def test_every_nest_of_vmaps_gives_what_runs_one_by_one_give(small_blocks):
    expected = one_by_one()
    over_gamma = jax.vmap(lambda start: jax.vmap(lambda gamma: jnp.stack(energy(gamma, start)))(GAMMAS))(STARTS)
    over_starts = jax.vmap(lambda gamma: jax.vmap(lambda start: jnp.stack(energy(gamma, start)))(STARTS))(GAMMAS)
    mapped = jax.lax.map(lambda gamma: jax.vmap(lambda start: jnp.stack(energy(gamma, start)))(STARTS), GAMMAS)
    np.testing.assert_allclose(np.swapaxes(over_gamma, 0, 1)[::7], expected, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_array_equal(over_starts, np.swapaxes(over_gamma, 0, 1))
    np.testing.assert_allclose(mapped, over_starts, rtol=ROUNDING, atol=ROUNDING)


def test_what_would_be_copied_too_often_is_mapped_instead(monkeypatch, small_blocks):
    expected = jax.vmap(lambda start: jax.vmap(lambda gamma: jnp.stack(energy(gamma, start)))(GAMMAS))(STARTS)
    monkeypatch.setattr(loop, "COPIES", 0)
    jax.clear_caches()
    found = jax.vmap(lambda start: jax.vmap(lambda gamma: jnp.stack(energy(gamma, start)))(GAMMAS))(STARTS)
    np.testing.assert_allclose(found, expected, rtol=ROUNDING, atol=ROUNDING)


def test_derivatives_of_mapped_runs_are_those_of_single_ones(small_blocks):
    def final(gamma):
        return energy(gamma)[0]

    def total(gammas):
        return jnp.sum(jax.vmap(final)(gammas))

    single = [jax.grad(final)(gamma) for gamma in GAMMAS[::14]]
    np.testing.assert_allclose(jax.grad(total)(GAMMAS)[::14], single, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(jax.grad(final))(GAMMAS)[::14], single, rtol=1e-12)
    forward, linear = jax.linearize(jax.vmap(final), jnp.asarray(GAMMAS))
    np.testing.assert_allclose(linear(jnp.ones(29))[::14], single, rtol=1e-12)
    np.testing.assert_allclose(forward, jax.jit(jax.vmap(final))(GAMMAS), rtol=ROUNDING)
    step = 1e-4
    slopes = (jax.grad(final)(0.5 + step) - jax.grad(final)(0.5 - step)) / (2 * step)
    np.testing.assert_allclose(jax.hessian(final)(0.5), slopes, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(jax.checkpoint(final))(0.5), jax.grad(final)(0.5), rtol=1e-12)


def test_noise_is_the_same_in_every_nest(small_blocks):
    system = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.4)

    def run(key, start):
        return ji.simulate(system, TS, start, dt=0.1, key=key).inertia[-1]

    keys = jax.random.split(jax.random.key(0), 9)
    nested = jax.vmap(lambda start: jax.vmap(lambda key: run(key, start))(keys))(STARTS)
    single = [[run(key, start) for key in keys[::4]] for start in STARTS]
    np.testing.assert_allclose(nested[:, ::4], single, rtol=ROUNDING)


@pytest.mark.optimised
def test_what_nobody_reads_is_not_computed():
    """The balance: without it the program has fewer numbers to carry, in blocks too."""

    def carried(fn):
        text = jax.jit(jax.vmap(fn)).lower(jnp.linspace(0.0, 1.0, 4096)).compile().as_text()
        return max(line.count("f64[") for line in text.splitlines() if " while(" in line)

    assert carried(lambda gamma: energy(gamma)[0]) < carried(energy)


@pytest.mark.optimised
def test_a_step_of_a_block_stays_on_one_thread():
    """A sine in float32: XLA says in how many parts it runs a kernel, where it is more than one."""

    def final(gamma):
        return energy(gamma, jnp.float32(1.0), ji.potentials.Pendulum())[0]

    text = jax.jit(jax.vmap(final)).lower(jnp.linspace(0.0, 1.0, 4096, dtype=jnp.float32)).compile().as_text()
    kernels = [line for line in text.splitlines() if "= f32[512]" in line and " fusion(" in line]
    assert len(kernels) > 3
    assert not [line for line in kernels if 'outer_dimension_partitions":["' in line]
    assert "f32[4,1024" not in text


def saved(gamma, what):
    ts = np.linspace(0.0, 1.0, 12)
    return what(ji.simulate(ji.System(ji.potentials.Duffing(), damping=gamma), ts, 1.0, dt=0.02, solver="OBABO"))


@pytest.mark.optimised
def test_the_energy_of_every_row_is_stored_as_one_array_by_one_function():
    """I alone is summed in the loop; XLA runs a block's whole loop as one instruction."""
    gammas = jnp.linspace(0.0, 1.0, 2048)

    def compiled(what):
        return jax.jit(jax.vmap(lambda gamma: saved(gamma, what))).lower(gammas).compile()

    program = compiled(lambda traj: traj.inertia)
    lines = program.as_text().splitlines()
    rows = [line for line in lines if "[11,512]" in line and " while(" in line]
    assert [line.split(" while(")[0].count("[11,512]") for line in rows] == [1]
    assert sum(" call(" in line and "xla_cpu_small_call" in line for line in lines) == 1
    inertia, both, change = compiled(lambda traj: (traj.inertia, traj.kinetic + traj.potential, traj.balance.total))(
        gammas
    )
    np.testing.assert_allclose(inertia, both, rtol=4e-16)
    np.testing.assert_array_equal(program(gammas), inertia)
    np.testing.assert_allclose(change, both - both[:, :1], rtol=0, atol=1e-15)
    assert not _origin._sums


@pytest.mark.parametrize(
    ("word", "ends"),
    [
        (ji.solvers.blanes_moan6(), TS),
        pytest.param(ji.solvers.suzuki4(), np.array([0.0, 0.3, 1.0]), marks=pytest.mark.slow),
    ],
    ids=["flying, even", "relaxing, uneven"],
)
def test_stages_in_a_scan_are_the_stages_written_out(monkeypatch, word, ends):
    def final(gamma):
        system = ji.System(ji.potentials.Pendulum(2.0), damping=gamma)
        traj = ji.simulate(system, ends, 1.0, dt=0.1, solver=word)
        return traj.inertia[-1] + traj.balance.friction[-1]

    found = []
    for fewest in (repeats.FEWEST, 100):
        monkeypatch.setattr(repeats, "FEWEST", fewest)
        repeats.folded.cache_clear()
        jax.clear_caches()
        text = str(jax.make_jaxpr(final)(0.3))
        found.append((text.count("scan["), *jax.value_and_grad(final)(0.3)))
    repeats.folded.cache_clear()
    assert found[0][0] > found[1][0]
    np.testing.assert_allclose(found[0][1:], found[1][1:], rtol=1e-12)


def test_a_cheap_gradient_is_written_out():
    position, t = jnp.ones(()), jnp.zeros(())
    potentials = ji.potentials.Quadratic(), ji.potentials.Duffing(), ji.potentials.Pendulum()
    costly = [repeats.is_costly(ji.System(potential).gradient, position, t) for potential in potentials]
    assert costly == [False, False, True]


@pytest.mark.parametrize(
    ("dtype", "units", "exact_to", "beyond"), [(np.float64, 2, 3e6, 1e16), (np.float32, 3, 1e5, 2e6)]
)
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sines_are_right_to_few_units_in_the_last_place(name, dtype, units, exact_to, beyond):
    x = np.concatenate([np.linspace(-20, 20, 801), np.geomspace(1e-30, exact_to, 401), [0.0, np.pi, 2.5 * np.pi]])
    x = x.astype(dtype)
    found = np.asarray(getattr(vectorised, name)(jnp.asarray(x)))
    assert found.dtype == dtype
    with mpmath.workdps(40):
        exact = np.array([float(getattr(mpmath, name)(mpmath.mpf(float(value)))) for value in x])
    # Near a zero away from 0 the reduction's own rounding, that of the last part of pi, is what is left.
    left = np.finfo(dtype).eps * {np.float64: 2.0**-68, np.float32: 2.0**-29}[dtype]
    assert np.all(np.abs(found - exact) <= units * np.spacing(np.abs(exact).astype(dtype)) + left * np.abs(x))
    assert np.all(np.isnan(getattr(vectorised, name)(jnp.array([beyond, np.inf, np.nan], dtype))))


@pytest.mark.parametrize(("dtype", "ends"), [(np.float64, (3e6, 9e14)), (np.float32, (1e5, 9e5))])
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_a_far_sine_is_that_of_a_number_that_rounds_to_its_argument(name, dtype, ends):
    """Where the products with the parts of pi round as well: by half a unit of x at most, one operation at a time."""
    x = np.geomspace(*ends, 301).astype(dtype)
    exact = getattr(np, name)(x.astype(np.longdouble))
    off = np.abs(np.asarray(getattr(vectorised, name)(jnp.asarray(x)), np.float64) - exact)
    assert np.all(off <= 0.51 * np.spacing(x) + 2 * np.finfo(dtype).eps)


def test_a_users_cosine_runs_as_the_catalogues():
    """With values, derivatives and float32; the sines inside loops and calls are met too."""

    def own(q):
        return jax.lax.fori_loop(0, 1, lambda _, total: total + jnp.sum(1 - jnp.cos(q)), 0.0 * jnp.sum(q))

    def final(potential, start):
        return jnp.stack(energy(0.2, start, potential))

    for dtype, rounding in ((jnp.float64, 1e-13), (jnp.float32, 1e-5)):
        start = jnp.asarray(1.2, dtype)
        np.testing.assert_allclose(
            final(own, start), final(ji.potentials.Pendulum(), start), rtol=rounding, atol=rounding
        )
    slopes = [jax.jacfwd(lambda start, p=p: final(p, start))(1.2) for p in (own, ji.potentials.Pendulum())]
    np.testing.assert_allclose(*slopes, rtol=1e-12)
    text = str(jax.make_jaxpr(lambda start: final(own, start))(1.2))
    assert "sine" in text
    assert " sin " not in text.partition("rows[")[2]


def test_second_derivatives_of_a_sine():
    x = jnp.linspace(0.1, 3.0, 7)
    sine = jax.vmap(jax.grad(jax.grad(vectorised._sine.bind)))(x)
    np.testing.assert_allclose(sine, -np.sin(x), rtol=1e-14)


def test_without_jit_it_is_the_plain_loop():
    with jax.disable_jit():
        found = energy(0.3)
    np.testing.assert_allclose(found, energy(0.3), rtol=ROUNDING)


def test_points_that_an_explicit_mesh_holds_apart_are_refused_with_the_remedy():
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    starts = jax.device_put(STARTS, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d")))
    with pytest.raises(ValueError, match=r"explicit axes.*AxisType\.Auto"):
        jax.jit(jax.vmap(lambda start: energy(0.3, start)))(starts)
    with jax.set_mesh(mesh), pytest.raises(ValueError, match=r"jax\.set_mesh.*outside"):
        ji.sweep(energy, {"gamma": [1.0]})
