"""What is read of a state in place of its position, and the zero that drifts under it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import least_squares

import jaxinertia as ji
from jaxinertia.inference import kalman, readout, starts, stochastic, whittle
from jaxinertia.inference.record import on_one_grid
from jaxinertia.inference.search import Options
from jaxinertia.inference.task import prepare

from .records import damped

P = ji.potentials
SYSTEM = ji.System(P.Quadratic())
TS = np.linspace(0.0, 30.0, 200)
TRUTH = 0.2, 1.3  # gamma, stiffness
READS = {
    "velocity": lambda q, p: p,
    "strain": lambda q, p: 3 * q + 0.5 * p + 0.1,
    "acceleration": lambda q, p, force: force,
    "component": lambda q, p: q[1],
    "nonlinear": lambda q, p: jnp.sinh(q + 0.2 * p),
}


def both(s):
    return s.damping.gamma, s.potential.stiffness


def three(s):
    return *both(s), s.noise.sigma


def swing(rng, error=0.02):
    return damped(TS, TRUTH[1], TRUTH[0]) + error * rng.normal(size=len(TS))


@pytest.fixture(scope="module")
def of_positions():
    """One record, taken as of positions."""
    y = swing(np.random.default_rng(0))
    return y, ji.fit(SYSTEM, ji.Observations(TS, y, offset=None), both)


class Pair(eqx.Module):
    """Two swings with a spring between them."""

    own: jax.Array

    def __call__(self, q):
        return (2.0 * q[0] ** 2 + self.own * q[1] ** 2) / 2 - 0.5 * q[0] * q[1]


def check_same(found, peer):
    """Values to what a search leaves open, errors to the change of these over it."""
    error = np.array(peer.stderr)
    np.testing.assert_allclose(found.values, peer.values, rtol=0, atol=1e-4 * error[0])
    np.testing.assert_allclose(found.covariance_curvature, peer.covariance_curvature, rtol=1e-4)
    assert found.deviance == pytest.approx(peer.deviance, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["velocity", "acceleration"])
def test_all_that_a_linear_motion_does_obeys_one_equation(of_positions, kind):
    """q, p and p' of q'' + gamma q' + k q = 0 obey the same one: whatever a record is said to read of them, gamma, k
    and their errors are those of positions, with another start of the motion."""
    y, peer = of_positions
    found = ji.fit(SYSTEM, ji.Observations(TS, y, offset=None, read=READS[kind]), both)
    check_same(found, peer)
    assert found.offset[0] == pytest.approx(peer.offset[0], abs=1e-4 * peer.offset[1][0])


@pytest.mark.slow
def test_a_strain_and_its_constant_are_read(of_positions):
    y, _ = of_positions
    known = ji.fit(SYSTEM, ji.Observations(TS, y - 0.1), both)
    check_same(ji.fit(SYSTEM, ji.Observations(TS, y, read=READS["strain"]), both), known)


@pytest.mark.slow
@pytest.mark.parametrize("read", [lambda q, p: q**2, lambda q, p: jnp.sin(q)], ids=["square", "sine"])
def test_readings_that_are_not_linear_in_the_state(read):
    """SciPy's optimum for the same readings, and its covariance."""
    q = damped(TS, TRUTH[1], TRUTH[0])
    y = np.asarray(read(jnp.asarray(q), 0.0)) + 0.01 * np.random.default_rng(1).normal(size=len(TS))
    found = ji.fit(SYSTEM, ji.Observations(TS, y, read=read, position_error=0.01), both)

    def residual(x):
        return (np.asarray(read(jnp.asarray(damped(TS, x[1], x[0], *x[2:])), 0.0)) - y) / 0.01

    peer = least_squares(residual, [*TRUTH, 1.0, 0.0], jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    covariance = np.linalg.inv(peer.jac.T @ peer.jac)[:2, :2]
    np.testing.assert_allclose(found.values, peer.x[:2], atol=1e-4 * np.sqrt(covariance[0, 0]))
    np.testing.assert_allclose(found.covariance_curvature, covariance, rtol=1e-4)


@pytest.mark.slow
def test_one_component_of_two_tells_of_both():
    """Coupled swings of which one is read: the other's stiffness, and the gamma of both."""
    stiffness = np.array([[2.0, -0.5], [-0.5, 1.0]])
    rate = np.block([[np.zeros((2, 2)), np.eye(2)], [-stiffness, -0.1 * np.eye(2)]])
    z = np.array([expm(rate * t) @ [1.0, 0.0, 0.0, 0.3] for t in TS])
    y = z[:, 1] + 0.005 * np.random.default_rng(2).normal(size=len(TS))
    system = ji.System(Pair(jnp.asarray(1.1)), damping=0.05)
    data = ji.Observations(TS, y, read=READS["component"], components=2)
    found = ji.fit(system, data, lambda s: (s.damping.gamma, s.potential.own))
    assert np.all(np.abs(np.subtract(found.values, (0.1, 1.0))) < 4 * np.array(found.stderr))
    assert np.max(found.stderr) < 0.01
    assert found.initial[0].shape == (1, 2)


def pose(data, system, free):
    """As a noise-driven fit takes a record."""
    task = prepare(system, data, free, None, None, None, "squares", Options(100))
    return starts.sized(on_one_grid(task.system, task.parameters, [data]))


def density(record, error, drift):
    """-log p(y) of the joint normal law of two channels, 3 p + q and q, less its constant, in the record's units; and
    what rounding may move it by."""
    units, (n, c) = jax.tree.map(lambda x: x[0], record.units), record.y[0, 0].shape
    gamma, stiffness, sigma = 0.7, 1.6, 0.9
    rate = np.array([[0.0, 1.0], [-stiffness, -gamma]])
    spread = np.diag([sigma**2 / (2 * gamma * stiffness), sigma**2 / (2 * gamma)])
    # What is free is where the momentum takes the particle in one step, of which friction leaves this part.
    part = -np.expm1(-gamma * float(units.time)) / (gamma * float(units.time))
    speed = float(units.length / units.time) / part
    vague = kalman.VAGUE * np.diag([units.length**2, speed**2])
    seen = np.array([[1.0, 3.0], [1.0, 0.0]]) / units.reading[:, None]
    moves = [expm(rate * t * float(units.time)) for t in range(n)]
    covariance = np.zeros((n, c, n, c))
    for i in range(n):
        variance = moves[i] @ (vague - spread) @ moves[i].T + spread
        for j in range(i, n):
            covariance[j, :, i] = seen @ moves[j - i] @ variance @ seen.T
            covariance[i, :, j] = covariance[j, :, i].T
    covariance = covariance.reshape(n * c, n * c) + np.diag(np.tile(error**2, n))
    y = (record.y[0, 0] - drift * np.arange(n)[:, None]).ravel()
    square = y @ np.linalg.solve(covariance, y)
    return (np.linalg.slogdet(covariance)[1] + square) / 2, 2.0**-52 * np.linalg.cond(covariance) * square


@pytest.mark.slow
def test_the_filter_of_two_channels_is_the_joint_normal_density():
    """At any parameters, with a drift under both."""
    rng = np.random.default_rng(3)
    system = ji.System(P.Quadratic(1.6), 0.7, 0.9)
    read = lambda q, p: jnp.stack([3 * p + q, q])  # noqa: E731
    data = ji.Observations(np.arange(30) * 0.3, rng.normal(size=(30, 2)), read=read, components=0, trend=True)
    record = pose(data, system, three)
    u = record.parameters.read(record.system)
    found = [whittle.resonance(whittle.runs_of(record, i)) for i in range(2)]
    with jax.enable_x64(True):
        problem, whole = stochastic.pose_filter(record, found, u, "kalman")
        problem = eqx.tree_at(lambda p: p.speed, problem, np.ones(1)).at(0)
        assert len(whole) == 3 + 2 + 2
        error, drift = np.array([0.3, 0.2]), np.array([0.01, -0.02])
        cost = problem.normal(jnp.asarray([*u, *drift, *2 * np.log(error)]), jnp.zeros((0, 1))).cost
    peer, rounding = density(record, error, drift)
    assert float(cost) == pytest.approx(peer, abs=100 * rounding)


@pytest.mark.slow
@pytest.mark.parametrize("method", [None, "unscented kalman", "whittle"])
def test_velocities_of_a_noise_driven_motion(method):
    """The truth, by the errors stated; of a function that is not linear by the points."""
    rng = np.random.default_rng(4)
    rate = np.array([[0.0, 1.0], [-1.3, -0.2]])
    spread = np.diag([1 / (2 * 0.2 * 1.3), 1 / (2 * 0.2)])
    move = expm(0.3 * rate)
    kick = np.linalg.cholesky(spread - move @ spread @ move.T)
    z = [np.linalg.cholesky(spread) @ rng.normal(size=2)]
    for _ in range(3000):
        z.append(move @ z[-1] + kick @ rng.normal(size=2))
    q, p = np.transpose(z)
    bent = method == "unscented kalman"
    y = np.sinh((q + 0.2 * p) / 2) if bent else p
    read = (lambda q, p: jnp.sinh((q + 0.2 * p) / 2)) if bent else READS["velocity"]
    data = ji.Observations(0.3 * np.arange(len(y)), y + 0.1 * rng.normal(size=len(y)), read=read)
    band = (0.02, 0.6) if method == "whittle" else None
    found = ji.fit(ji.System(P.Quadratic(), noise=1.0), data, three, method=None if bent else method, band=band)
    assert found.method == (method or "kalman")
    error = np.array(found.stderr)
    assert np.all(np.abs(np.array(found.values) - [0.2, 1.3, 1.0]) < 3.5 * error)
    assert np.all(error < [0.06, 0.06, 0.1])


def test_the_spectrum_of_readings_is_that_of_the_sampled_motion():
    """C (e^iw - F)^-1 Q (e^-iw - F^T)^-1 C^T of the exact discrete law; what is folded in from beyond two aliases falls
    as k / w^4 of a velocity."""
    k, gamma, power = 0.1, 0.05, 0.3
    rate = np.array([[0.0, 1.0], [-k, -gamma]])
    spread = np.diag([power / (2 * gamma * k), power / (2 * gamma)])
    move = expm(rate)
    noise = spread - move @ spread @ move.T
    omega = np.linspace(0.05, 3.1, 60)
    seen = np.array([0.7, 1.5])
    inner = [seen @ np.linalg.inv(np.exp(1j * w) * np.eye(2) - move) for w in omega]
    exact = np.array([np.real(x @ noise @ x.conj()) for x in inner])
    # The same motion's q and p have no power in common: their cross spectrum is odd, and a real sum leaves it out.
    found = whittle.model(omega, k, gamma, power, seen**2)
    np.testing.assert_allclose(found, exact, rtol=2e-4)


def test_a_drifting_zero_is_fitted_with_its_error():
    """SciPy's optimum and covariance, from any first time on, of velocities: these obey the equation of positions."""
    rng = np.random.default_rng(5)
    y = swing(rng) + 0.3 - 0.02 * TS
    data = ji.Observations(TS + 7.0, y, position_error=0.02, offset=None, trend=True, read=READS["velocity"])
    found = ji.fit(SYSTEM, data, both)

    def residual(x):
        return (damped(TS, x[1], x[0], *x[2:4]) + x[4] + x[5] * TS - y) / 0.02

    peer = least_squares(residual, [*TRUTH, 1.0, 0.0, 0.3, -0.02], jac="3-point", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    error = np.sqrt(np.diag(np.linalg.inv(peer.jac.T @ peer.jac)))
    np.testing.assert_allclose(found.values, peer.x[:2], rtol=0, atol=1e-4 * error[0])
    np.testing.assert_allclose(found.stderr, error[:2], rtol=1e-4)
    for (value, spread), i in ((found.offset, 4), (found.trend, 5)):
        assert value[0] == pytest.approx(peer.x[i], abs=1e-4 * error[i])
        assert spread[0] == pytest.approx(error[i], rel=1e-4)
    assert found.freedom == len(TS) - 6
    assert "trend" in found.summary()
    assert found.to_json()["trend"][0] == found.trend[0].tolist()


def test_an_affine_function_is_known_as_one():
    def of(read):
        return readout.of(ji.Observations(TS, swing(np.random.default_rng(0)), read=read))

    straight = of(lambda q, p: 3 * q - 2 * p + 0.5)
    np.testing.assert_allclose(straight.gain, [[3.0, -2.0]])
    np.testing.assert_allclose(straight.constant, [0.5])
    for bent in (lambda q, p: jnp.abs(q), lambda q, p: q + 1e-6 * p**2, lambda q, p: jnp.clip(q, -1e2, 1e2)):
        assert not of(bent).is_affine


Y = swing(np.random.default_rng(6))
REFUSED = {
    "no function": (dict(read=3.0), "read = 3.0 is not a function"),
    "another shape": (
        dict(read=lambda q, p: jnp.stack([q, p])),
        r"\[2\] of q, p of shape \(\), a row has the shape \(\)",
    ),
    "components missing": (dict(read=lambda q, p: q[0]), "pass components="),
    "components alone": (dict(components=2), "components = 2 is for read="),
    "no count": (dict(read=lambda q, p: q[0], components=1.5), "components = 1.5 must be a whole number"),
    "whole numbers": (dict(read=lambda q, p: jnp.round(q).astype(int)), "read makes int"),
    "momentum too": (dict(read=lambda q, p: p, momentum=Y), "leave momentum= out"),
    "no flag": (dict(trend=1.0), "trend = 1.0 must be True or False"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_state_is_read_by_is_refused(name):
    options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        ji.Observations(TS, Y, **options)


def test_momenta_alone_say_how_they_are_passed():
    with pytest.raises(ValueError, match="read=lambda q, p: p"):
        ji.Observations(TS, None, momentum=Y)


@pytest.mark.parametrize(
    ("read", "method", "message"),
    [
        (lambda q, p, force: force, None, "infinite in every reading"),
        (lambda q, p: p**3, "kalman", "needs a read= that is linear"),
        (lambda q, p: p**3, "whittle", "method='unscented kalman' for this read="),
    ],
)
def test_a_noise_driven_fit_refuses_what_it_cannot_read(read, method, message):
    data = ji.Observations(TS, Y, read=read)
    with pytest.raises(ValueError, match=message):
        ji.fit(ji.System(P.Quadratic(), noise=1.0), data, three, method=method)


def test_modes_refuse_what_they_would_leave_out():
    with pytest.raises(ValueError, match="say by kind="):
        ji.modes(ji.Observations(TS, Y, read=READS["velocity"]))
