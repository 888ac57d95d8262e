"""Noise with a memory: the exact map of momentum and force, its accounts, and the power it gives."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import jaxinertia as ji
from jaxinertia.physics.relaxation import Pushed

from ..oracles import EPS, slope

TAU = 0.5
GAMMAS = {
    "zero": 0.0,
    "equal to 1/tau": 2.0,
    "components": np.array([0.3, 4.0]),
    "matrix": np.array([[0.5, 0.2], [0.2, 0.9]]),
}
SIGMAS = {"scalar": 0.8, "components": np.array([0.8, 0.0]), "matrix": np.array([[0.8, 0.0], [0.5, 0.3]])}


def as_matrix(x):
    return np.diag(np.broadcast_to(x, 2)) if np.ndim(x) < 2 else x


def prepared(damping, noise, h, momentum):
    return damping.prepared(ji.kinetic.Euclidean(), noise, h, momentum)


def linear(flow):
    """The map's matrices on (p, xi) and on its numbers (dZ, dW)."""
    zero, columns, pushes = jnp.zeros(2), [], []
    for unit in np.eye(4):
        pair = Pushed(jnp.asarray(unit[:2]), jnp.asarray(unit[2:]))
        columns.append(np.concatenate(flow.move(pair, Pushed(zero, zero))))
        pushes.append(np.concatenate(flow.move(Pushed(zero, zero), pair)))
    return np.array(columns).T, np.array(pushes).T


@pytest.mark.parametrize("h", [1e-4, 0.1, 3.0])
@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_map_is_exact_in_mean_covariance_and_friction(gamma, sigma, h):
    gamma, sigma = GAMMAS[gamma], SIGMAS[sigma]
    noise = ji.noise.Colored(sigma, TAU)
    flow = jax.jit(prepared)(ji.damping.Linear(gamma), noise, jnp.asarray(h), jnp.zeros(2))
    mean, push = linear(flow)
    friction, amplitude = as_matrix(gamma), as_matrix(sigma)
    zero, one = np.zeros((2, 2)), np.eye(2)
    a = np.block([[-friction, one], [zero, -one / TAU]])
    b = np.concatenate([zero, amplitude * np.sqrt(2 / TAU)])
    form = np.block([[friction, zero], [zero, zero]])

    # Gauss and Legendre with 40 points: exact to rounding for entire functions of |a| h <= 12.
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times, weights = h * (nodes + 1) / 2, weights * h / 2
    flows = [expm(a * s) for s in times]
    spreads = [flow @ b @ b.T @ flow.T for flow in flows]

    rounding = 100 * EPS * (1 + 4 * h)
    assert np.allclose(mean, expm(a * h), rtol=0, atol=rounding)
    exact = sum(w * c for w, c in zip(weights, spreads, strict=True))
    # Momentum and force differ in scale by h: each block to rounding of its own size.
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact))) + 1e-300
    assert np.all(np.abs(push @ push.T * h - exact) <= 1e-9 * scale + 1e-15 * h * np.abs(b).max() ** 2)
    start = np.array([0.7, -0.4, 0.3, 1.1])
    taken = sum(w * flow.T @ form @ flow for w, flow in zip(weights, flows, strict=True))
    heat = sum(w * (h - s) * np.sum(form * c) for w, s, c in zip(weights, times, spreads, strict=True))
    z = Pushed(jnp.asarray(start[:2]), jnp.asarray(start[2:]))
    booked = flow.friction(flow.loss(z), 1)
    assert booked == pytest.approx(-(start @ taken @ start + heat), rel=1e-10, abs=1e-15)


def test_the_stationary_power_is_the_papers_missing_term():
    """E[int v.xi dt] / t = sigma^2 tau / (1 + gamma tau + stiffness tau^2), and friction takes as much."""
    system = ji.System(ji.potentials.Quadratic(1.5), 0.4, ji.noise.Colored(0.8, TAU))
    ts = np.array([0.0, 30.0, 60.0])
    runs = ji.sweep(
        lambda run, key: jnp.diff(ji.simulate(system, ts, 0.5, dt=0.1, key=key).balance.noise)[-1] / 30,
        {"run": np.arange(20_000)},
        key=jax.random.key(0),
    ).values
    exact = float(ji.analytic.colored_power(1.5, 0.4, 0.8, TAU))
    bias = 0.1**2 / 8 * (1.5 + 0.4**2 + 1 / TAU**2) * exact  # BAOAB's order in h, on the fastest rates
    assert abs(runs.mean() - exact) <= 4 * runs.std() / np.sqrt(20_000) + bias


@pytest.mark.slow
def test_mean_inertia_from_a_stationary_force_is_the_exact_curve():
    system = ji.System(ji.potentials.Quadratic(1.5), 0.4, ji.noise.Colored(0.8, TAU))
    ts = np.linspace(0, 6, 7)
    runs = ji.ensemble(system, ts, 1.0, n=50_000, key=jax.random.key(4), dt=0.05, quantiles=())
    exact = np.asarray(ji.analytic.mean_inertia(ts, 1.0, 0.0, 1.5, 0.4, 0.8, TAU))
    bias = 0.05**2 / 8 * (1.5 + 0.4**2 + 1 / TAU**2) * exact.max()
    assert np.all(np.abs(runs.mean.inertia - exact)[1:] <= 4 * runs.standard_error.inertia[1:] + bias)
    assert abs(runs.mean.balance.discretization).max() <= bias


def test_a_force_without_noise_decays_and_its_work_is_booked_as_noise():
    """sigma = 0 from xi(0) = 1 on a free particle: p = tau (1 - e^{-t/tau}), all exact but the drift."""
    system = ji.System(ji.potentials.Quadratic(0.0), 0.0, ji.noise.Colored(0.0, TAU, initial=1.0))
    ts = np.linspace(0, 2, 5)
    traj = ji.simulate(system, ts, 0.0, dt=0.1, key=jax.random.key(0))
    exact = TAU * (1 - np.exp(-ts / TAU))
    assert np.allclose(traj.momentum, exact, rtol=0, atol=1e-14)
    assert np.allclose(traj.balance.noise, exact**2 / 2, rtol=0, atol=1e-14)
    assert np.abs(traj.balance.discretization).max() <= 1e-14


@pytest.mark.slow
def test_diffrax_solvers_see_the_same_force_and_know_their_discretization():
    """On one path Heun's run approaches BAOAB's, and the balance is booked in full."""
    system = ji.System(ji.potentials.Duffing(), 0.4, ji.noise.Colored(0.8, TAU, initial=0.3))
    path = ji.BrownianPath(0.0, 2.0, 10, 1.0, jax.random.key(1))
    ts, steps, gaps, left = np.linspace(0, 2, 3), (32, 128), [], []
    for n in steps:
        splitting = ji.simulate(system, ts, 1.0, substeps=n // 2, path=path)
        heun = ji.simulate(system, ts, 1.0, dt=2 / n, solver=diffrax.Heun(), path=path)
        gaps.append(np.abs(heun.position[-1] - splitting.position[-1]))
        left.append(np.abs(heun.balance.discretization[-1]))
        assert np.allclose(heun.balance.total, heun.inertia - heun.inertia[0], atol=1e-13)
    assert gaps[1] < gaps[0]
    assert slope(2 / np.array(steps), left) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("h", "by"), [(0.5, "simulate"), (2.0, "diffeqsolve")])
def test_along_a_path_that_knows_its_area_the_law_is_exact(h, by):
    """The variance of a free particle's momentum after one long step, of 20,000 paths: exact with the area, and
    without it short by the part that the docstring says is left out."""
    gamma, sigma, n = 0.3, 0.8, 20_000
    system = ji.System(ji.potentials.Quadratic(0.0), gamma, ji.noise.Colored(sigma, TAU, initial=0.0))

    def variance(area):
        def momentum(key):
            path = diffrax.VirtualBrownianTree(0.0, h, h / 4, (), key, levy_area=area)
            more = {} if by == "simulate" else {"max_steps": 4}  # which sends the run through diffrax
            return ji.simulate(system, np.array([0.0, h]), 0.0, dt=h, path=path, **more).momentum[-1]

        return float(jax.jit(jax.vmap(momentum))(jax.random.split(jax.random.key(0), n)).var())

    drift, push = np.array([[-gamma, 1.0], [0.0, -1 / TAU]]), np.array([[0.0], [sigma * np.sqrt(2 / TAU)]])
    exact = float(ji.analytic.linear_sde(h, np.zeros(2), drift, push).covariance[0, 0])
    flow = prepared(system.damping, system.noise, jnp.asarray(h), jnp.zeros(()))
    shared = float(flow.move(Pushed(0.0, 0.0), Pushed(0.0, 1.0)).momentum) ** 2 * h
    assert shared < 0.6 * exact
    chance = 4 * np.sqrt(2 / n)
    assert variance(diffrax.SpaceTimeLevyArea) == pytest.approx(exact, rel=chance)
    assert variance(diffrax.BrownianIncrement) == pytest.approx(shared, rel=chance)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.0, 2.0, 3.0])
def test_gradients_with_memory(gamma):
    """d E[I] / d (gamma, sigma, tau) on fixed numbers: reverse and forward mode, differences; gamma tau = 1 too."""
    ts = np.array([0.0, 1.0])

    @jax.jit
    def late(parameters):
        gamma, sigma, tau = parameters
        system = ji.System(ji.potentials.Duffing(), gamma, ji.noise.Colored(sigma, tau))
        return ji.simulate(system, ts, 1.0, dt=0.1, key=jax.random.key(3)).inertia[-1]

    at = jnp.array([gamma, 0.8, TAU])
    reverse, forward = jax.grad(late)(at), jax.jacfwd(late)(at)
    assert np.allclose(reverse, forward, rtol=1e-11, atol=1e-13)
    for i in (1, 2) if gamma == 0 else (0, 1, 2):
        d = 1e-3 * np.eye(3)[i]
        central = (8 * (late(at + d) - late(at - d)) - (late(at + 2 * d) - late(at - 2 * d))) / (12 * 1e-3)
        assert reverse[i] == pytest.approx(float(central), rel=1e-7, abs=1e-9)
    assert np.all(np.isfinite(jax.grad(late)(at.at[1].set(0.0))))
