"""The letter E: K + L kept to rounding over long runs, of order 2, for every kinetic energy, force and precision."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

import jaxinertia as ji

from ..oracles import EPS, dop853, slope
from ..worlds import PENDULUM_FREQUENCY

OEO = ji.solvers.Splitting("OEO")
Q0, P0 = np.array([1.0, 0.7]), np.array([0.5, -0.4])
slow = pytest.mark.slow


def drift_of(traj):
    """The largest discretization over the inertia at the start."""
    return float(np.abs(traj.balance.discretization).max() / traj.inertia[0])


POTENTIALS = {"duffing": ji.potentials.Duffing(), "pendulum": ji.potentials.Pendulum(PENDULUM_FREQUENCY)}


@pytest.mark.parametrize(
    ("name", "gamma"),
    [("duffing", 0.0), *(pytest.param(*pair, marks=slow) for pair in (("pendulum", 0.0), ("duffing", 0.01)))],
)
@pytest.mark.optimised
def test_a_hundred_thousand_steps_add_no_energy(name, gamma):
    """Each step leaves a few roundings; unless they were taken back they would walk to 300 times as many."""
    system = ji.System(POTENTIALS[name], damping=gamma)
    traj = ji.simulate(system, np.linspace(0, 5000, 101), 1.0, 0.3, dt=0.05, solver=OEO)
    assert drift_of(traj) < (1e-12 if gamma else 4 * EPS)
    assert gamma == 0 or traj.inertia[-1] < 1e-12 * traj.inertia[0]


KINETIC = {
    "euclidean": None,
    "relativistic": ji.kinetic.Relativistic(1.0),
    "mass": ji.kinetic.Mass(np.array([[2.0, 0.3], [0.3, 1.0]])),
    "power law": ji.kinetic.PowerLaw(3.0),
    "diagonal metric": ji.kinetic.Riemannian(lambda q: 1.0 + q**2),
    "metric": ji.kinetic.Riemannian(lambda q: jnp.eye(2) + jnp.outer(q, q)),
}
FAST = ("diagonal metric",)


def rhs_of(kinetic, gamma):
    """dq/dt, dp/dt and -dI/dt of friction on the velocity, by differentiating K."""
    energy = (kinetic or ji.kinetic.Euclidean()).energy_at
    slopes = jax.jit(jax.grad(energy, argnums=(0, 1)))

    def rhs(t, y):
        force, v = slopes(y[:2], y[2:4])
        drag = gamma * v
        return np.concatenate([v, -y[:2] - y[:2] ** 3 - force - drag, [-drag @ v]])

    return rhs


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=slow) for name in KINETIC])
def test_every_kinetic_energy_at_order_two(name):
    """Discretization is rounding at every step size, so the friction that is booked is the whole loss."""
    kinetic = KINETIC[name]
    exact = dop853(rhs_of(kinetic, 0.2), np.array([0.0, 1.0]), np.concatenate([Q0, P0, [0.0]]))[-1]
    system = ji.System(ji.potentials.Duffing(), damping=0.2, kinetic=kinetic)
    errors, rows = [], (2, 4)
    for row in rows:  # one compilation: steps of 1 / 20 and 1 / 40, one a row
        traj = ji.simulate(system, np.arange(41) / row / 10, Q0, P0, substeps=1, solver=OEO)
        assert drift_of(traj) < 64 * EPS
        at = 10 * row
        end = np.concatenate([traj.position[at], traj.momentum[at], traj.balance.friction[at : at + 1]])
        errors.append(np.abs(end - exact).max())
    assert errors[-1] < 2e-3
    assert slope(1 / np.array(rows), errors) == pytest.approx(2, abs=0.1)


def test_what_a_force_and_a_moving_potential_do_is_work():
    """Against DOP853: work at order 2, discretization at rounding."""

    def rhs(t, y):
        q, p = y[:2], y[2:4]
        stiffness, push = 1 + 0.3 * np.sin(t), np.array([np.cos(2 * t), 0.5])
        work = push @ p + 0.15 * np.cos(t) * (q @ q)
        return np.concatenate([p, push - stiffness * q - q**3, [work]])

    potential = ji.potentials.TimeDependent(lambda q, t: (1 + 0.3 * jnp.sin(t)) * jnp.sum(q**2) / 2 + jnp.sum(q**4) / 4)
    system = ji.System(potential, force=lambda t: jnp.stack([jnp.cos(2 * t), jnp.asarray(0.5)]))
    exact = dop853(rhs, np.array([0.0, 2.0]), np.concatenate([Q0, P0, [0.0]]))[-1]
    errors, rows = [], (2, 4)
    for row in rows:
        traj = ji.simulate(system, np.arange(65) / (8 * row), Q0, P0, substeps=1, solver=ji.solvers.Splitting("E"))
        assert drift_of(traj) < 32 * EPS
        at = 16 * row
        end = np.concatenate([traj.position[at], traj.momentum[at], traj.balance.work[at : at + 1]])
        errors.append(np.abs(end - exact).max())
    assert errors[-1] < 2e-3
    assert slope(1 / np.array(rows), errors) == pytest.approx(2, abs=0.1)


@slow
def test_compositions_raise_the_order_and_keep_the_energy():
    """Three E in turn are not one: E is no exact flow."""
    exact = dop853(rhs_of(None, 0.0), np.array([0.0, 1.0]), np.concatenate([Q0, P0, [0.0]]))[-1]
    for step in ("E", "OEO"):
        errors, rows = [], (2, 4)
        for row in rows:
            traj = ji.simulate(
                ji.System(ji.potentials.Duffing()),
                np.arange(5) / row,
                Q0,
                P0,
                substeps=4,
                solver=ji.solvers.yoshida4(step),
            )
            assert drift_of(traj) < 16 * EPS
            errors.append(np.abs(np.concatenate([traj.position[row], traj.momentum[row]]) - exact[:4]).max())
        assert slope(1 / np.array(rows), errors) == pytest.approx(4, abs=0.3)


def test_a_run_that_decays_to_nothing_stays_finite():
    """Down to numbers whose squares are none, at rest, and on top of a level that drowns K in its rounding."""

    def run(level, scale):
        potential = ji.potentials.Loss(lambda q, level: level + jnp.sum(q**2) / 2, level)
        system = ji.System(potential, damping=1.0)
        return ji.simulate(system, np.arange(15001) / 10, scale * Q0, scale * P0, substeps=1, solver=OEO)

    levels = np.array([0.0, 0.0, 1000.0])
    runs = jax.jit(jax.vmap(run))(levels, np.array([1.0, 0.0, 1.0]))
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(runs))
    bare, still, lifted = (jax.tree.map(lambda x, i=i: np.asarray(x[i]), runs) for i in range(3))
    assert np.abs(bare.position[-1]).max() < 1e-300
    assert drift_of(bare) < 16 * EPS
    assert not np.any(still.position)
    assert np.abs(lifted.balance.discretization).max() < 16 * EPS * 1000
    # K is lost in the rounding of L from t = 30 on, and still decays as it should.
    assert np.abs(lifted.position - bare.position).max() < 2e-6
    assert 0 < np.abs(lifted.position[600]).max() < 1e-12


def test_float32_to_its_last_places():
    """Ten thousand steps; velocity Verlet wobbles by a thousand times more."""
    start = jnp.asarray(Q0, jnp.float32), jnp.asarray(P0, jnp.float32)
    traj = ji.simulate(ji.System(ji.potentials.Duffing()), np.linspace(0, 500, 10001), *start, dt=0.05, solver=OEO)
    assert traj.position.dtype == jnp.float32
    assert drift_of(traj) < 4 * np.finfo(np.float32).eps


def end_of(x, kinetic=None):
    """A number that depends on a potential, friction, the start, and perhaps a metric."""
    if kinetic is not None:
        kinetic = ji.kinetic.Riemannian(lambda q: 1.0 + x[3] * q**2)
    system = ji.System(ji.potentials.Duffing(cubic=x[0]), damping=x[1], kinetic=kinetic)
    traj = ji.simulate(system, np.linspace(0, 1, 9), Q0 * x[2], P0, substeps=1, solver=OEO)
    return jnp.sum(traj.position[-1] ** 2) + traj.balance.friction[-1]


X = np.array([1.0, 0.2, 1.0, 1.0])
NEAR = X + 1e-4 * np.concatenate([np.eye(4), -np.eye(4)])


@pytest.mark.parametrize("kinetic", [None, pytest.param("metric", marks=slow)])
def test_derivatives_are_those_of_the_implicit_function(kinetic):
    """In reverse mode, by central differences of a batch; in forward mode where there is time."""
    end = lambda x: end_of(x, kinetic)  # noqa: E731
    slopes = jax.jit(jax.grad(end))(X)
    ends = jax.jit(jax.vmap(end))(NEAR)
    np.testing.assert_allclose(slopes, (ends[:4] - ends[4:]) / 2e-4, rtol=0, atol=1e-7)
    if kinetic is not None:
        np.testing.assert_allclose(jax.jit(jax.jacfwd(end))(X), slopes, rtol=0, atol=1e-13)


@slow
def test_second_derivatives():
    found = jax.jit(jax.hessian(end_of))(X)
    ends = jax.jit(jax.vmap(jax.grad(end_of)))(NEAR)
    np.testing.assert_allclose(found, (ends[:4] - ends[4:]) / 2e-4, rtol=0, atol=1e-6)


def test_steps_that_it_cannot_solve_for_are_refused():
    """h^2 times the stiffness above 4: an error with the remedy, and NaN for that point of a sweep alone."""
    spring = lambda w: ji.System(ji.potentials.Quadratic(stiffness=w))  # noqa: E731
    run = lambda w: ji.simulate(spring(w), np.arange(6.0), 1.0, 0.3, dt=1.0, solver=OEO)  # noqa: E731
    with pytest.raises(ValueError, match=r"dt is too large for the letter E.*take a smaller dt"):
        run(5.0)
    swept = ji.sweep(lambda w: run(w).inertia, {"w": np.array([2.0, 5.0, 1.0])}).values
    np.testing.assert_array_equal(np.isnan(swept), [[False] * 6, [True] * 6, [False] * 6])
    np.testing.assert_allclose(swept[::2], [[1.045] * 6, [0.545] * 6], rtol=64 * EPS)


@slow
def test_in_diffrax_to_an_event_and_back():
    """An event is met by a shorter step, at the same energy; a run back in time comes to where it started."""
    system = ji.System(ji.potentials.Duffing(), damping=0.1)
    event = diffrax.Event(lambda t, y, args, **_: y.position[0], optimistix.Newton(1e-12, 1e-12))
    traj = ji.simulate(system, np.linspace(0, 4, 3), Q0, P0, dt=0.05, solver=OEO, event=event)
    time, position, momentum = traj.event_state
    exact = dop853(rhs_of(None, 0.1), np.array([0.0, float(time)]), np.concatenate([Q0, P0, [0.0]]))[-1]
    assert abs(position[0]) < 1e-12
    np.testing.assert_allclose(np.concatenate([position, momentum]), exact[:4], rtol=0, atol=2e-3)
    args, y0 = ji.solvers.initial(system, Q0, P0)
    terms = ji.solvers.terms(args)
    there = diffrax.diffeqsolve(terms, OEO, 0.0, 2.0, 0.05, y0, args=args).ys
    here = diffrax.diffeqsolve(terms, OEO, 2.0, 0.0, -0.05, jax.tree.map(lambda x: x[-1], there), args=args).ys
    np.testing.assert_allclose(here.position[-1], Q0, rtol=0, atol=1e-13)
    np.testing.assert_allclose(here.momentum[-1], P0, rtol=0, atol=1e-13)
    assert abs(float(here.friction[-1])) < 1e-13


@slow
def test_diffrax_is_told_of_a_step_that_failed():
    system = ji.System(ji.potentials.Quadratic(stiffness=5.0))
    with pytest.raises(RuntimeError, match="diverged"):
        ji.simulate(system, np.arange(3) * 8.0, 1.0, 0.3, dt=1.0, solver=OEO, max_steps=100)


@slow
def test_noise_is_booked_and_nothing_is_left():
    system = ji.System(ji.potentials.Duffing(), damping=0.2, noise=0.3)
    traj = ji.simulate(system, np.linspace(0, 5, 6), Q0, P0, dt=0.05, solver=OEO, key=jax.random.key(0))
    assert drift_of(traj) < 32 * EPS
    assert np.all(np.abs(traj.balance.noise[1:]) > 1e-3)


def cross_entropy(params, x, y):
    w1, b1, w2, b2 = params
    z = jnp.tanh(x @ w1 + b1) @ w2 + b2
    return jnp.mean(jax.nn.logsumexp(z, -1) - jnp.take_along_axis(z, y[:, None], 1)[:, 0])


def network(rows):
    """A 64-32-10 tanh network on the first digits, and where it starts."""
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    k1, k2 = jax.random.split(jax.random.key(0))
    start = jax.random.normal(k1, (64, 32)) / 8, jnp.zeros(32), jax.random.normal(k2, (32, 10)) / 6, jnp.zeros(10)
    return ji.potentials.Loss(cross_entropy, digits.data[:rows] / 16, digits.target[:rows]), start


@pytest.mark.parametrize("steps", [100, *(pytest.param(n, marks=slow) for n in (1000, 100_000))])
@pytest.mark.optimised
def test_a_network_on_digits(steps):
    """2410 parameters: without friction they never settle, and K + L is that of the start."""
    potential, start = network(20)
    ts = np.linspace(0, steps / 10, 11)
    traj = ji.simulate(ji.System(potential), ts, start, dt=0.1, solver=OEO)
    assert drift_of(traj) < 1e-14
    assert traj.potential.min() < traj.inertia[0] / 20


@slow
def test_drifts_of_a_metric_stay_apart_in_compositions():
    """Two steps of the midpoint rule are not one of both: joined, Yoshida's steps would be of order 2."""
    kinetic = KINETIC["diagonal metric"]
    exact = dop853(rhs_of(kinetic, 0.0), np.array([0.0, 1.0]), np.concatenate([Q0, P0, [0.0]]))[-1]
    errors, rows = [], (2, 4)
    for row in rows:
        system = ji.System(ji.potentials.Duffing(), kinetic=kinetic)
        solver = ji.solvers.yoshida4("ABA")
        traj = ji.simulate(system, np.arange(33) / row / 8, Q0, P0, substeps=1, solver=solver)
        at = 8 * row
        errors.append(np.abs(np.concatenate([traj.position[at], traj.momentum[at]]) - exact[:4]).max())
    assert slope(1 / np.array(rows), errors) == pytest.approx(4, abs=0.2)
