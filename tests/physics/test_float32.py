"""float32 positions under x64: everything that depends on the state is float32, and as accurate as that allows."""

import diffrax
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


def test_half_precision_runs_too():
    traj = ji.simulate(SYSTEMS["damped"], TS, jnp.ones(2, jnp.bfloat16), dt=1 / 8)
    assert dtypes((traj.position, traj.inertia, traj.balance)) == {"bfloat16"}
