"""What momentum leaves behind, against linear algebra, SciPy, and real runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import make_interp_spline
from scipy.linalg import solve_discrete_lyapunov

import jaxinertia as ji

from ..oracles import EPS, dop853, slope

A = ji.analytic


def iteration(stiffness, eta, beta):
    """Heavy ball on (theta, v), v = -h m, with a gradient error xi of unit variance: matrix, and what xi does."""
    h = np.sqrt(eta)
    return np.array([[1 - eta * stiffness, h * beta], [-h * stiffness, beta]]), np.array([-eta, -h])


@pytest.mark.parametrize(
    ("stiffness", "eta", "beta"), [(1.0, 0.1, 0.9), (3.0, 0.5, 0.3), (2.0, 0.9, 0.0), (0.5, 7.0, 0.95)]
)
def test_the_stationary_variances_solve_the_discrete_lyapunov_equation(stiffness, eta, beta):
    step, push = iteration(stiffness, eta, beta)
    exact = solve_discrete_lyapunov(step, 0.7 * np.outer(push, push))
    found = A.heavy_ball_variance(stiffness, eta, beta, 0.7)
    assert [float(x) for x in found] == pytest.approx(list(np.diag(exact)), rel=1e-12)
    assert stiffness * found.position / found.velocity == pytest.approx((1 + beta) / 2, rel=8 * EPS)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.9])
def test_the_edges_are_where_the_spectral_radius_is_one(beta):
    """Heavy ball: x^2 - (1 + beta - s) x + beta; Nesterov: x^2 - (1 + beta)(1 - s) x + beta (1 - s)."""

    def radius(s, nesterov):
        linear, constant = ((1 + beta) * (1 - s), beta * (1 - s)) if nesterov else (1 + beta - s, beta)
        return np.abs(np.roots([1, -linear, constant])).max()

    for edge, nesterov in ((float(A.heavy_ball_edge(beta)), False), (float(A.nesterov_edge(beta)), True)):
        assert radius(edge, nesterov) == pytest.approx(1, abs=8 * EPS)
        assert radius(0.99 * edge, nesterov) < 1 < radius(1.01 * edge, nesterov)
    assert np.all(np.isinf(A.heavy_ball_variance(1.0, A.heavy_ball_edge(beta), beta, 1.0)))


def test_heavy_ball_follows_the_modified_loss_to_second_order():
    """From rest it starts late by eta beta / (1 - beta)^2 grad L. Plain gradient flow is off at first order."""
    beta, stop, start = 0.6, 1.0, 1.3
    force = lambda x: x + x**3  # noqa: E731
    etas = np.array([0.02, 0.01, 0.005])
    gaps = []
    for eta in etas:
        theta, m = start, 0.0
        for _ in range(round(stop / eta)):
            m = force(theta) + beta * m
            theta = theta - eta * m
        modified = jax.jit(jax.grad(functools.partial(A.modified_loss, ji.potentials.Duffing())))
        late = start + eta * beta / (1 - beta) ** 2 * force(start)
        flows = (
            lambda t, y: -np.asarray(modified(y[0], eta, beta))[None] / (1 - beta),
            lambda t, y: -force(y) / (1 - beta),
        )
        gaps.append([abs(dop853(flow, np.array([0, stop]), [late])[-1, 0] - theta) for flow in flows])
    assert slope(etas, np.array(gaps)[:, 0]) == pytest.approx(2, abs=0.2)
    assert slope(etas, np.array(gaps)[:, 1]) == pytest.approx(1, abs=0.2)


def diagonal_run(gamma, stop, rows):
    """A two-layer diagonal network on five data of eight features, from rest."""
    rng = np.random.default_rng(3)
    data = rng.normal(size=(5, 8)) / np.sqrt(8)
    target = data @ np.array([1.0, -0.5, 0, 0, 0, 0, 0, 0.3])
    u, v = 0.6 + 0.2 * rng.random(8), 0.3 * rng.random(8)
    loss = ji.potentials.Loss(lambda w, x, y: jnp.sum((x @ (w["u"] * w["v"]) - y) ** 2) / 2, data, target)
    ts = np.linspace(0, stop, rows)
    traj = ji.simulate(ji.System(loss, gamma), ts, {"u": u, "v": v}, dt=ts[1], solver=ji.solvers.blanes_moan6())
    q, p = traj.position, traj.momentum
    return data, np.asarray(ts), A.diagonal_laws(q["u"], q["v"], p["u"], p["v"], gamma), traj


@pytest.mark.slow
def test_momentum_balances_a_diagonal_network_by_its_law():
    """(a + b) + gamma ln Delta changes by -int (a^2 + b^2); of the tilt what its rate leaves is in the row span."""
    gamma = 3.0
    data, ts, laws, traj = diagonal_run(gamma, 40.0, 3201)
    assert np.all(np.asarray(laws.balancedness) > 0.05)  # no w crosses 0
    balance, tilt = (
        np.asarray(values) - np.asarray(values)[0] - make_interp_spline(ts, np.asarray(rate), k=7).antiderivative()(ts)
        for values, rate in ((laws.balance, laws.balance_rate), (laws.tilt, laws.tilt_rate))
    )
    assert np.abs(balance).max() < 1e-11
    _, _, rows = np.linalg.svd(data)
    assert np.abs(tilt).max() > 0.1
    assert np.abs(tilt @ rows[5:].T).max() < 1e-11
    assert np.abs(traj.momentum["u"][-1]).max() < 1e-3  # all but at rest
    moved = make_interp_spline(ts, np.asarray(laws.balance_rate), k=7).antiderivative()(ts)[-1] / gamma
    assert laws.balancedness[-1] == pytest.approx(np.asarray(laws.balancedness[0]) * np.exp(moved), rel=1e-6)
    assert np.all(laws.balancedness[-1] < laws.balancedness[0])


def test_nesterovs_lyapunov_function_never_rises_on_a_convex_loss():
    """And L <= 2 |x0|^2 / t^2. On x^4, which no stiffness bounds from below."""
    system = ji.System(lambda x: jnp.sum(x**4) / 4, ji.damping.nesterov())
    ts, start = np.linspace(0, 20, 801), np.array([1.0, -0.4])
    traj = ji.simulate(system, ts, start, dt=0.005)
    values = np.asarray(jax.jit(jax.vmap(A.nesterov_lyapunov))(ts, traj.position, traj.momentum, traj.potential))
    assert values[0] == pytest.approx(2 * start @ start, rel=4 * EPS)
    assert np.all(np.diff(values) <= 1e-6)  # BAOAB's own error, h^2
    assert np.all(traj.potential[1:] <= 2 * start @ start / ts[1:] ** 2)
    centred = A.nesterov_lyapunov(2.0, {"a": 3.0}, {"a": 1.0}, 0.5, {"a": 2.0})
    assert float(centred) == pytest.approx(4 * 0.5 + 2 * (1 + 1) ** 2)


@pytest.mark.usefixtures("without_type_checks")
def test_bad_numbers_are_refused_by_name():
    for call, message in (
        (lambda: A.heavy_ball_variance(0.0, 0.1, 0.9, 1.0), "stiffness must be positive"),
        (lambda: A.heavy_ball_variance(1.0, 0.1, 0.9, -1.0), "noise must not be negative"),
        (lambda: A.heavy_ball_variance(1.0, -0.1, 0.9, 1.0), "learning_rate must be positive"),
        (lambda: A.heavy_ball_edge(1.0), "momentum must be in"),
        (lambda: A.nesterov_edge(-0.1), "momentum must be in"),
        (lambda: A.modified_loss(ji.potentials.Quadratic(), 1.0, 0.1, 1.2), "momentum must be in"),
        (lambda: A.diagonal_laws(1.0, 0.5, 0.0, 0.0, -1.0), "gamma must not be negative"),
        (lambda: A.nesterov_lyapunov(-1.0, 1.0, 0.0, 0.0), "t = -1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
