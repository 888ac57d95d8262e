r"""The stationary law of BAOAB against Boltzmann's, without Monte Carlo noise.

One step of `ji.simulate` is a Markov operator. In a basis that is orthonormal under e^{-I/T} it is a matrix, whose
entries are quadratures over position, momentum and increment; its stationary density, times e^{-I/T}, follows from
linear algebra. Averages then err by the scheme's h^2 alone.
"""

import functools

import jax
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import slope
from ..scripted import Scripted, gauss_hermite

TEMPERATURE, GAMMA = 0.5, 1.0
STEPS = np.array([0.1, 0.15, 0.2])


def polynomials(q, degree=18):
    return np.polynomial.legendre.legvander(q / 2.5, degree)


def harmonics(q, degree=8):
    angles = q[:, None] * np.arange(1, degree + 1)
    return np.concatenate([np.ones((len(q), 1)), np.cos(angles), np.sin(angles)], axis=1)


CASES = {
    "double well": (ji.potentials.DoubleWell(), polynomials, np.linspace(-2.5, 2.5, 121)),
    "pendulum": (ji.potentials.Pendulum(1.0), harmonics, np.linspace(-np.pi, np.pi, 64, endpoint=False)),
}


def orthonormal(basis, nodes, weights):
    """The basis made orthonormal under the weights: a function of points."""
    _, r = np.linalg.qr(basis(nodes) * np.sqrt(weights)[:, None])
    return lambda points: np.linalg.solve(r.T, basis(points).T).T


@functools.cache
def averages(case):
    """(<p^2>, <L>, <L'^2>/<L''>) of BAOAB at each step, and Boltzmann's."""
    potential, basis, q = CASES[case]
    system = ji.System(potential, damping=GAMMA, noise=ji.noise.thermal(TEMPERATURE, GAMMA))

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))
    def step(h, q, p, z):
        path = Scripted.of(jax.numpy.sqrt(h) * z[None], h)
        traj = ji.simulate(system, h * jax.numpy.arange(2), q, p, substeps=1, path=path)
        return traj.position[-1], traj.momentum[-1]

    value, slope_, curvature = (
        np.asarray(jax.vmap(f)(q)) for f in (potential, jax.grad(potential), jax.grad(jax.grad(potential)))
    )
    weights = np.exp(-value / TEMPERATURE)
    weights /= weights.sum()
    (p, p_weights), (z, z_weights) = gauss_hermite(24), gauss_hermite(12)
    p = p * np.sqrt(TEMPERATURE)
    of_q = orthonormal(basis, q, weights)
    of_p = orthonormal(lambda x: np.polynomial.hermite_e.hermevander(x / np.sqrt(TEMPERATURE), 10), p, p_weights)

    def tensor(a, b):
        return (of_q(a)[:, :, None] * of_p(b)[:, None, :]).reshape(len(a), -1)

    start_q, start_p, increment = (x.ravel() for x in np.meshgrid(q, p, z, indexing="ij"))
    joint = np.multiply.outer(weights, p_weights).ravel()
    at_start = tensor(*(x.ravel() for x in np.meshgrid(q, p, indexing="ij"))) * joint[:, None]
    observables = np.stack(
        [np.multiply.outer(np.ones_like(q), p**2)]
        + [np.multiply.outer(x, np.ones_like(p)) for x in (value, slope_**2, curvature)]
    )
    coefficients = observables.reshape(4, -1) @ at_start

    def of_density(density):
        kinetic, energy, square, bend = coefficients @ density / (at_start.sum(0) @ density)
        return kinetic, energy, square / bend

    measured = []
    for h in STEPS:
        moved = tensor(*(np.asarray(x) for x in step(h, start_q, start_p, increment)))
        after = np.einsum("xzj,z->xj", moved.reshape(len(at_start), len(z), -1), z_weights)
        operator = at_start.T @ after
        _, _, rows = np.linalg.svd(operator.T - np.eye(len(operator)))
        measured.append(of_density(rows[-1]))
    boltzmann = TEMPERATURE, weights @ value, TEMPERATURE
    return np.array(measured), np.array(boltzmann)


@pytest.mark.parametrize("case", CASES)
def test_boltzmann_averages_by_quadrature(case):
    """<L'^2> = T <L''> by parts: the quadrature itself holds to rounding, at the edges to the weight there."""
    potential, _, q = CASES[case]
    value, slope_, bend = (
        np.asarray(jax.vmap(f)(q)) for f in (potential, jax.grad(potential), jax.grad(jax.grad(potential)))
    )
    weights = np.exp(-value / TEMPERATURE)
    assert weights @ slope_**2 / (weights @ bend) == pytest.approx(TEMPERATURE, rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_stationary_temperatures_err_at_second_order(case):
    """The kinetic temperature <p^2>, the mean potential, and the configurational temperature <L'^2>/<L''>."""
    measured, boltzmann = averages(case)
    for errors in np.abs(measured - boltzmann).T:
        assert 1.9 <= slope(STEPS, errors) <= 2.2
        assert errors[0] < 0.02 * TEMPERATURE
