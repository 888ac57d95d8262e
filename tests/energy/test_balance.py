"""Where the energy goes. That the balance closes is true by construction, so each account is recomputed here."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxinertia as ji
from jaxinertia.energy.balance import close

from ..oracles import EPS, slope
from ..worlds import SOLVERS, START, order_of, reference, refined, world

DUFFING = ji.potentials.Duffing()
VALLEY = ji.potentials.Quadratic([[2.0, 0.3], [0.3, 1.0]])
SPREAD = np.array([[0.8, 0.3], [0.3, 0.5]])
SHEAR = np.array([[0.7, 0.2], [-0.3, 0.5]])
GAMMAS = {"scalar": 0.4, "components": np.array([0.0, 1.5]), "matrix": SPREAD}
SIGMAS = {"scalar": 0.6, "components": np.array([0.3, 1.1]), "matrix": SHEAR}


def covariance_rate(sigma, d=2):
    sigma = np.asarray(sigma)
    return sigma @ sigma.T if sigma.ndim == 2 else np.diag(np.broadcast_to(sigma, (d,)) ** 2)


def test_what_no_account_holds_is_discretization():
    """Or noise, where nobody has counted that; each account alone is what it is."""
    inertia = jnp.array([3.0, 4.0, 9.0])
    friction, noise, work = (jnp.array([0.0, x, 2 * x]) for x in (-0.5, 0.25, 2.0))
    kept = close(inertia, friction, noise, work)
    np.testing.assert_array_equal(kept.discretization, [0.0, 1 + 0.5 - 0.25 - 2, 6 + 1 - 0.5 - 4])
    np.testing.assert_array_equal(kept.total, inertia - 3)
    bare = close(inertia, friction, None, None)
    np.testing.assert_array_equal(bare.discretization, [0.0, 1.5, 7.0])
    np.testing.assert_array_equal(bare.noise + bare.work, 0.0)
    rest = close(inertia, friction, None, work, noise_is_remainder=True)
    np.testing.assert_array_equal(rest.noise, [0.0, 1 + 0.5 - 2, 6 + 1 - 4])
    assert np.isnan(rest.discretization).all()


def close_enough(value, exact, scale):
    """Cumulative sums of a few hundred terms: each adds a rounding of the scale."""
    return np.all(np.abs(np.asarray(value) - exact) <= 4 * EPS * len(value) * scale)


@pytest.mark.parametrize("sigma", [None, 0.6])
def test_friction_of_heavy_ball_is_recomputed_from_the_saved_path(sigma):
    """In OBA the relaxation starts from the saved momentum: -(1 - e^{-2 gamma h}) K - (sigma^2 d h / 2)(1 - phi)."""
    gamma, h, steps, d = 0.9, 0.05, 200, 3
    system = ji.System(DUFFING, damping=gamma, noise=sigma)
    ts = np.arange(steps + 1) * h
    solver = ji.solvers.Splitting("OBA")
    traj = ji.simulate(system, ts, jnp.array([1.0, -0.5, 0.2]), dt=h, solver=solver, key=jax.random.key(0))
    lost = -np.expm1(-2 * gamma * h)
    heat = (sigma or 0.0) ** 2 * d * h / 2 * (1 - lost / (2 * gamma * h))
    friction = -np.cumsum(lost * np.asarray(traj.kinetic)[:-1] + heat)
    assert close_enough(traj.balance.friction[1:], friction, np.abs(friction).max())
    # Noise is then what the kinetic energy did beyond that, over the relaxation.
    assert np.isfinite(traj.balance.noise).all()
    if sigma is None:
        assert not np.any(traj.balance.noise)


def test_friction_of_obabo_is_recomputed_from_the_saved_path():
    """A step starts with a relaxation from p_n, and ends with one that gives p_{n+1}."""
    gamma, h, steps = 0.9, 0.05, 200
    traj = ji.simulate(
        ji.System(DUFFING, damping=gamma),
        np.arange(steps + 1) * h,
        jnp.array([1.0, -0.5]),
        dt=h,
        solver=ji.solvers.Splitting("OBABO"),
    )
    kinetic = np.asarray(traj.kinetic)
    friction = -np.cumsum(-np.expm1(-gamma * h) * kinetic[:-1] + np.expm1(gamma * h) * kinetic[1:])
    assert close_enough(traj.balance.friction[1:], friction, np.abs(friction).max())


@pytest.mark.parametrize("gamma", GAMMAS)
def test_friction_of_the_default_is_the_integral_over_the_saved_path(gamma):
    """-int v^T Gamma v dt by Simpson's rule on the saved steps (error h^4); BAOAB books it at order 2."""
    gamma = GAMMAS[gamma]
    matrix = gamma if np.ndim(gamma) == 2 else np.diag(np.broadcast_to(gamma, (2,)))
    steps, gaps = (0.1, 0.05, 0.025), []
    for dt in steps:
        ts = np.linspace(0, 5, round(5 / dt) + 1)
        traj = ji.simulate(ji.System(VALLEY, damping=gamma), ts, np.ones(2), np.array([0.0, 0.5]), dt=dt)
        power = np.einsum("ti,ij,tj->t", traj.momentum, matrix, traj.momentum)
        simpson = dt / 3 * (power[0] + power[-1] + 4 * power[1:-1:2].sum() + 2 * power[2:-1:2].sum())
        gaps.append(abs(traj.balance.friction[-1] + simpson))
    assert slope(steps, gaps) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("name", "driven"),
    [("OBA", False), ("BAOAB", True), ("BDB", True), ("suzuki4", False), ("blanes_moan4", False), ("kahan_li6", False)],
)
def test_the_accounts_converge_to_the_continuous_ones(name, driven):
    """Against DOP853 with friction and work integrated beside the state, at the order of the solver."""
    solver, order = SOLVERS[name]
    exact = reference(damped=True, driven=driven)
    gaps = {"friction": [], "work": [], "discretization": []}
    for traj in refined(world(damped=True, driven=driven), START, solver, order):
        gaps["friction"].append(np.abs(traj.balance.friction - exact[:, 8]).max())
        gaps["work"].append(np.abs(traj.balance.work - exact[:, 9]).max())
        gaps["discretization"].append(np.abs(traj.balance.discretization).max())
    if not driven:
        assert gaps.pop("work") == [0, 0, 0]
    seen = {account: order_of(gap) for account, gap in gaps.items()}
    assert seen == pytest.approx(dict.fromkeys(gaps, order), abs=0.1)


@pytest.mark.parametrize("name", ["BA", "BAB", "ABA", "yoshida4"])
def test_discretization_falls_at_the_order_of_the_solver(name):
    solver, order = SOLVERS[name]
    gaps = [np.abs(traj.balance.discretization).max() for traj in refined(world(), START, solver, order)]
    assert order_of(gaps) == pytest.approx(order, abs=0.1)


@pytest.mark.optimised
@pytest.mark.parametrize("word", ["BA", "BAB", "ABA", "BAOAB"])
def test_without_friction_and_noise_all_change_is_discretization(word):
    ts = np.linspace(0, 3, 31)
    traj = ji.simulate(ji.System(DUFFING), ts, 1.0, 0.3, dt=0.1, solver=ji.solvers.Splitting(word))
    assert np.array_equal(traj.balance.discretization, traj.inertia - traj.inertia[0])
    for account in (traj.balance.friction, traj.balance.noise, traj.balance.work):
        assert not np.any(account)
    assert np.array_equal(traj.inertia, traj.kinetic + traj.potential)


def test_the_balance_starts_at_zero_and_totals_the_change():
    system = ji.System(DUFFING, damping=0.3, noise=0.4, force=jnp.cos)
    traj = ji.simulate(system, np.linspace(0, 3, 31), 1.0, 0.3, dt=0.1, key=jax.random.key(2))
    balance = traj.balance
    for account in (balance.friction, balance.noise, balance.work, balance.discretization):
        assert account[0] == 0
        assert np.any(account != 0)
    assert close_enough(balance.total, np.asarray(traj.inertia - traj.inertia[0]), np.max(traj.inertia))


@settings(max_examples=10, deadline=None)
@given(
    gamma=st.floats(0, 5),
    sigma=st.floats(0, 3),
    start=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    seed=st.integers(0, 2**31 - 1),
)
def test_friction_only_takes(gamma, sigma, start, seed):
    """Never positive and never rising, with noise or without: every step's friction is a sum of losses."""
    traj = RUN(jnp.array(gamma), jnp.array(sigma), jnp.array(start), jax.random.key(seed))
    friction = np.asarray(traj.balance.friction)
    assert np.all(friction <= 0)
    assert np.all(np.diff(friction) <= 0)


@jax.jit
def RUN(gamma, sigma, start, key):
    system = ji.System(DUFFING, damping=gamma, noise=sigma)
    return ji.simulate(system, np.linspace(0, 4, 9), start[0], start[1], dt=0.1, key=key)


FORCE = np.array([0.7, -0.4])


def test_work_of_a_constant_force_is_force_times_way():
    """ABA kicks in the middle of a straight drift, so its work is F.(q(t) - q(0)) exactly."""
    system = ji.System(VALLEY, force=lambda t: FORCE)
    traj = ji.simulate(system, np.linspace(0, 5, 51), np.ones(2), dt=0.1, solver=ji.solvers.Splitting("ABA"))
    way = np.asarray(traj.position - traj.position[0]) @ FORCE
    assert close_enough(traj.balance.work, way, np.abs(traj.position).max())


def test_work_of_a_constant_force_in_verlet_telescopes():
    """BAB: work = F.(q(t) - q(0)) + (h^2/8) F.(a(t) - a(0)), a the acceleration: two half kicks around each drift."""
    h = 0.1
    system = ji.System(VALLEY, force=lambda t: FORCE)
    traj = ji.simulate(system, np.linspace(0, 5, 51), np.ones(2), dt=h, solver=ji.solvers.Splitting("BAB"))
    position = np.asarray(traj.position)
    acceleration = FORCE - position @ np.array([[2.0, 0.3], [0.3, 1.0]])
    way = (position - position[0] + h**2 / 8 * (acceleration - acceleration[0])) @ FORCE
    assert close_enough(traj.balance.work, way, np.abs(position).max())


def test_work_of_a_constant_force_with_friction_is_force_times_way_at_order_two():
    system, start = ji.System(VALLEY, damping=SPREAD, force=lambda t: FORCE), (np.ones(2), np.zeros(2))
    gaps = []
    for traj in refined(system, start, ji.solvers.Splitting("BAOAB"), 2):
        gaps.append(np.abs(traj.balance.work - (traj.position - start[0]) @ FORCE).max())
    assert order_of(gaps) == pytest.approx(2, abs=0.1)


def test_noise_and_work_are_told_apart():
    """A driven noisy run: noise keeps its mean tr(sigma sigma^T) t / 2, and work averages that of the mean motion."""
    n, end = 4000, 2.0
    system = ji.System(VALLEY, damping=0.4, noise=0.6, force=lambda t: FORCE)

    def run(key):
        return ji.simulate(system, np.linspace(0, end, 5), np.ones(2), dt=0.25, key=key).balance

    noisy = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(3), n))
    calm = ji.simulate(system.without_noise(), np.linspace(0, end, 5), np.ones(2), dt=0.25).balance
    for account, mean in ((noisy.noise, 0.36 * 2 * end / 2), (noisy.work, calm.work[-1])):
        last = np.asarray(account)[:, -1]
        assert abs(last.mean() - mean) <= 4 * last.std() / np.sqrt(n)  # linear forces: the mean motion is the calm one


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("gamma", ["zero", *GAMMAS])
def test_noise_gives_half_its_trace_at_every_step_size(gamma, sigma):
    """E[noise] = tr(sigma sigma^T) t / 2 exactly, within four standard errors, at big steps too."""
    n, system = 4000, ji.System(VALLEY, damping=GAMMAS.get(gamma, 0.0), noise=SIGMAS[sigma])
    keys = jax.random.split(jax.random.key(11), n)

    @jax.jit
    def runs(h):
        ts = jnp.arange(3) * 2 * h
        run = jax.vmap(lambda key: ji.simulate(system, ts, np.ones(2), substeps=2, key=key).balance.noise)
        return ts, run(keys)

    for h in (0.5, 0.1):
        ts, noise = map(np.asarray, runs(h))
        exact = np.trace(covariance_rate(SIGMAS[sigma])) * ts / 2
        assert np.all(np.abs(noise.mean(axis=0) - exact) <= 4 * noise.std(axis=0) / np.sqrt(n))


def test_the_mean_inertia_is_the_closed_form():
    """E[I](t) with noise against `analytic.mean_inertia`: BAOAB at h = 0.05 is biased by h^2 = 0.0025 of it at most."""
    n, parameters = 4000, dict(stiffness=1.5, gamma=0.4, sigma=0.7)
    system = ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=0.7)
    ts = np.linspace(0, 4, 5)
    runs = jax.jit(jax.vmap(lambda key: ji.simulate(system, ts, 1.0, dt=0.05, key=key).inertia))
    inertia = np.asarray(runs(jax.random.split(jax.random.key(5), n)))
    exact = np.asarray(ji.analytic.mean_inertia(ts, 1.0, 0.0, **parameters))
    assert np.all(np.abs(inertia.mean(0) - exact) <= 4 * inertia.std(0) / np.sqrt(n) + 0.05**2 * exact)


def test_baoab_samples_the_position_of_a_quadratic_exactly():
    """BAOAB's stationary <q^2> = T / stiffness at every stable step (Leimkuhler and Matthews 2013); <p^2> is biased."""
    n, gamma, sigma, stiffness = 8000, 1.0, 1.0, 1.5
    system = ji.System(ji.potentials.Quadratic(stiffness), damping=gamma, noise=sigma)

    def late(key):
        return ji.simulate(system, np.array([0.0, 20.0]), 0.0, dt=0.5, key=key).position[-1]

    q = np.asarray(jax.jit(jax.vmap(late))(jax.random.split(jax.random.key(8), n)))
    exact = sigma**2 / (2 * gamma) / stiffness
    assert abs((q**2).mean() - exact) <= 4 * (q**2).std() / np.sqrt(n)


class Heavy(ji.kinetic.AbstractKinetic):
    """K = |p|^2 / (2 m): a user's own kinetic energy."""

    mass: jax.Array

    def energy(self, momentum):
        return jnp.sum(momentum**2) / (2 * self.mass)


def test_a_users_kinetic_energy_is_the_oscillator_of_its_mass():
    """q'' = -(k / m) q, and K counts the mass: v = p / m."""
    mass, ts = 4.0, np.linspace(0, 3, 7)
    system = ji.System(ji.potentials.Quadratic(1.0), kinetic=Heavy(jnp.array(mass)))
    q, v = ji.analytic.quadratic(ts, 1.0, 0.5 / mass, 1.0 / mass, 0.0)
    traj = ji.simulate(system, ts, 1.0, 0.5, dt=0.05, solver=ji.solvers.kahan_li6("BAB"))
    assert np.allclose(traj.position, q, atol=1e-10)
    assert np.allclose(traj.kinetic, mass * v**2 / 2, atol=1e-10)


def test_friction_with_a_users_kinetic_energy_is_that_of_its_velocity():
    """dI/dt = -gamma |v|^2 with v = p / m, through diffrax (O knows the Euclidean kinetic energy only)."""
    mass, gamma, ts = 4.0, 0.6, np.linspace(0, 3, 7)
    system = ji.System(ji.potentials.Quadratic(1.0), damping=gamma, kinetic=Heavy(jnp.array(mass)))
    controller = diffrax.PIDController(rtol=1e-10, atol=1e-10)
    traj = ji.simulate(system, ts, 1.0, 0.5, solver=diffrax.Tsit5(), stepsize_controller=controller)
    q, v = ji.analytic.quadratic(ts, 1.0, 0.5 / mass, 1.0 / mass, gamma / mass)
    assert np.allclose(traj.position, q, atol=1e-8)
    inertia = mass * v**2 / 2 + q**2 / 2
    assert np.allclose(traj.balance.friction, inertia - inertia[0], atol=1e-8)
    assert np.all(np.abs(traj.balance.discretization) < 1e-8)


def test_every_leaf_of_a_balance_is_an_array_that_jax_maps():
    system = ji.System(DUFFING, damping=0.1)
    runs = eqx.filter_vmap(lambda q: ji.simulate(system, np.linspace(0, 1, 5), q, dt=0.1))(jnp.arange(1.0, 4.0))
    assert [leaf.shape for leaf in jax.tree.leaves(runs.balance)] == [(3, 5)] * 4
    assert runs.inertia.shape == runs.balance.total.shape == (3, 5)
