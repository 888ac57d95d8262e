"""float32 positions under x64: everything that depends on the state is float32, and as accurate as that allows."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

pytestmark = pytest.mark.optimised

EPS32 = float(np.finfo(np.float32).eps)
TS = np.linspace(0, 2, 9)
START = np.array([1.0, -0.5], np.float32), np.array([0.2, 0.3], np.float32)
SYSTEMS = {
    "plain": ji.System(ji.potentials.Duffing()),
    "damped": ji.System(ji.potentials.Duffing(), damping=0.3),
    "matrix": ji.System(ji.potentials.Quadratic([[2.0, 0.3], [0.3, 1.0]]), damping=[[0.5, 0.1], [0.1, 0.3]]),
    "driven": ji.System(ji.potentials.Pendulum(1.3), damping=[0.1, 0.4], force=lambda t: jnp.stack([jnp.cos(t), t])),
    "noisy": ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.4),
    "noisy matrix": ji.System(ji.potentials.Duffing(), damping=np.eye(2), noise=[[0.4, 0.1], [0.0, 0.2]]),
}


def dtypes(tree):
    return {str(leaf.dtype) for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_float32_run_is_the_float64_run_rounded(name):
    system, key = SYSTEMS[name], jax.random.key(0)
    single = ji.simulate(system, TS, *START, dt=1 / 32, key=key)
    assert dtypes((single.position, single.momentum, single.kinetic, single.potential, single.balance)) == {"float32"}
    if system.noise is not None:
        return  # the bits of another dtype are other bits
    double = ji.simulate(system, TS, *(x.astype(float) for x in START), dt=1 / 32)
    # 64 steps of some 8 roundings each, of values up to 4, spread at most e^2-fold by t = 2.
    tolerance = 64 * 8 * 4 * EPS32
    for account in ("position", "momentum", "inertia"):
        assert np.abs(getattr(single, account) - getattr(double, account)).max() < tolerance
    assert np.abs(single.balance.friction - double.balance.friction).max() < tolerance
    assert np.abs(single.balance.work - double.balance.work).max() < tolerance


def test_a_long_float32_run_keeps_its_times():
    """10^5 steps of 10^-3: times are counted, not added up, and drift by no more than rounding walks."""
    traj = ji.simulate(ji.System(ji.potentials.Quadratic()), np.linspace(0, 100, 11), np.float32(1.0), dt=1e-3)
    assert traj.ts[-1] == 100
    # Verlet's phase error is h^2 t / 24 = 4e-6; 10^5 roundings of eps/2 walk by their square root, 10-fold for safety.
    assert np.abs(traj.position - np.cos(np.linspace(0, 100, 11))).max() < 10 * np.sqrt(1e5) * EPS32


@pytest.mark.parametrize("dt", [0.1, np.float64(0.1), np.float32(0.1)])
def test_modified_inertia_is_float32_for_a_float32_state(dt):
    value = ji.modified_inertia(ji.System(ji.potentials.Duffing()), *START, dt, solver="BA")
    assert dtypes(value) == {"float32"}
    assert dtypes(ji.inertia(ji.System(ji.potentials.Duffing()), *START)) == {"float32"}


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), ji.solvers.Splitting("OBABO")])
def test_adaptive_runs_in_float32(solver):
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4) if isinstance(solver, diffrax.Tsit5) else None
    options = dict(solver=solver, stepsize_controller=controller, max_steps=4096, dt=0.01)
    traj = ji.simulate(SYSTEMS["damped"], TS, *START, **options)
    assert dtypes((traj.position, traj.momentum, traj.balance)) == {"float32"}
    assert np.all(np.isfinite(traj.inertia))


def test_gradients_in_float32():
    def late(gamma, start):
        system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=0.3)
        return ji.simulate(system, TS, start, dt=1 / 32, key=jax.random.key(0)).inertia[-1]

    by_gamma, by_start = jax.grad(late, argnums=(0, 1))(jnp.float32(0.0), jnp.asarray(START[0]))
    assert dtypes((by_gamma, by_start)) == {"float32"}
    assert np.all(np.isfinite(by_gamma))
    assert np.all(np.isfinite(by_start))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_moves_in_float32(dtype):
    """A step would be lost in a position of 8 or 11 bits: the run is the float32 one of the same numbers."""
    half, single = (jnp.ones(2, kind) for kind in (dtype, jnp.float32))
    runs = [ji.simulate(SYSTEMS["damped"], TS, start, start, dt=1 / 32) for start in (half, single)]
    for a, b in zip(*map(jax.tree.leaves, runs), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    _, phase = ji.solvers.initial(SYSTEMS["damped"], half)
    assert dtypes((phase, ji.inertia(SYSTEMS["damped"], half, half))) == {"float32"}


STEP, STARTS = 0.125, np.array([1.0, 1.99, -0.7, 1.3], np.float32)
FREE = ji.potentials.Quadratic(0.0)


def coast(damping, steps, start=STARTS, noise=None, **options):
    """A free particle that many steps of STEP on."""
    system = ji.System(FREE, damping=damping, noise=noise)
    ts = np.array([0.0, steps * STEP])
    return ji.simulate(system, ts, np.zeros_like(start), start, dt=STEP, **options)


@pytest.mark.parametrize("word", [ji.solvers.Splitting("OBABO"), ji.solvers.blanes_moan4()])
@pytest.mark.parametrize("decay", [1e-9, 1e-8, 5e-8, 1e-6, 1e-4, 1e-2, 10.0])
def test_friction_and_momentum_for_every_gamma_h(decay, word):
    """p = p0 e^{-gamma t}. A momentum that hardly changes rounds alike at every step: the worst case there is."""
    steps = 20_000
    traj = coast(decay / STEP, steps, solver=word)
    exact = STARTS.astype(float) * np.exp(-decay * steps)
    kinetic = np.sum(STARTS.astype(float) ** 2) / 2
    booked = kinetic * np.expm1(-2 * decay * steps)
    assert traj.balance.friction[-1] == pytest.approx(booked, rel=1e-3)
    # Kept below the last place, or so strong that the rounding of what it takes away is below 1e-3 of it.
    lost = np.abs(STARTS) * -np.expm1(-decay * steps)
    assert np.all(np.abs(traj.momentum[-1] - exact) <= 2 * EPS32 * np.abs(STARTS) + 1e-3 * lost)


def test_inertia_over_a_million_steps():
    """gamma h = 1e-6, gamma t = 1, from several starts: I within 1e-3 of the float64 run's."""
    system = ji.System(ji.potentials.Quadratic(), damping=1e-6 / STEP)
    ends = []
    for dtype in (np.float32, np.float64):
        traj = ji.simulate(
            system, np.array([0.0, 1e6 * STEP]), STARTS.astype(dtype), STARTS[::-1].astype(dtype), dt=STEP
        )
        ends.append(np.asarray(traj.position[-1], float) ** 2 / 2 + np.asarray(traj.momentum[-1], float) ** 2 / 2)
    assert np.all(np.abs(ends[0] / ends[1] - 1) < 1e-3)


SMALL = 5e-8 / STEP
LAWS = {
    "components": (np.array([0, SMALL, 2 * SMALL, 0.1]), None),
    "matrix": (SMALL * (np.eye(4) + np.ones((4, 4))), None),
    "drag": (ji.damping.Drag(linear=SMALL, quadratic=SMALL), None),
    "white": (SMALL, 1e-30),
    "coloured": (SMALL, ji.noise.Colored(1e-30, tau=1.0, initial=0.0)),
}


@pytest.mark.parametrize(
    "name", ["components", "matrix", "drag", "white", pytest.param("coloured", marks=pytest.mark.slow)]
)
def test_small_decays_of_every_law(name):
    damping, noise = LAWS[name]
    key = None if noise is None else jax.random.key(0)
    single, double = (coast(damping, 4000, x, noise, key=key) for x in (STARTS, STARTS.astype(float)))
    assert np.abs(single.momentum[-1] - double.momentum[-1]).max() <= 4 * EPS32
    assert single.balance.friction[-1] == pytest.approx(float(double.balance.friction[-1]), rel=1e-3)


def test_small_decays_through_diffrax():
    traj = coast(SMALL, 2000, solver=ji.solvers.Splitting("BAOAB"), max_steps=2000)
    assert np.all(np.abs(traj.momentum[-1] - STARTS * np.exp(-2000 * 5e-8)) <= 2 * EPS32 * np.abs(STARTS))


def test_a_traced_gamma_that_float32_would_lose_is_refused():
    run = eqx.filter_jit(lambda gamma: coast(gamma, 4).momentum[-1])
    assert np.array_equal(run(jnp.float32(0.0)), STARTS)
    assert np.all(np.isfinite(run(jnp.float32(2e-6 / STEP))))
    with pytest.raises(RuntimeError, match=r"gamma times a step is below 1e-06.*float32.*enable x64"):
        run(jnp.float32(SMALL))
    swept = ji.sweep(lambda gamma: coast(gamma, 4).momentum[-1], {"gamma": np.array([0.0, SMALL, 0.1])})
    assert swept.failed == 1
    assert np.all(np.isnan(swept.values[1]))


def test_long_sums_of_equal_losses():
    """A million losses that hardly change: a plain float32 sum is off by per cents."""
    traj = coast(1e-4 / STEP * 1e-3, 1_000_000, np.array([1.2345], np.float32))
    exact = 1.2345**2 / 2 * np.expm1(-2 * 1e-7 * 1e6)
    assert traj.balance.friction[-1] == pytest.approx(exact, rel=1e-3)
