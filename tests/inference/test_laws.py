"""Fits with every friction, kinetic energy and potential: the truth within its errors, and SciPy's optimum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import least_squares

import jaxinertia as ji
from jaxinertia.inference import derived, free_leaves
from jaxinertia.inference import evidence as errors

from ..oracles import dop853
from .records import langevin

D, K, P = ji.damping, ji.kinetic, ji.potentials
TS = np.linspace(0, 12, 61)
ERROR = 1e-3


class Times(eqx.Module):
    """A number times a function of what a law asks for: a module whose number is a leaf."""

    number: jax.Array
    fn: object = eqx.field(static=True)

    def __call__(self, *args):
        return self.number * self.fn(*args)


class Cubic(D.AbstractDamping):
    gamma: jax.Array
    c: jax.Array

    def force(self, velocity):
        return (self.gamma + self.c * velocity**2) * velocity


class Quartic(K.AbstractKinetic):
    c: jax.Array

    def energy(self, momentum):
        return momentum**2 / 2 + self.c * momentum**4 / 4


class Push(ji.noise.AbstractNoise):
    strong: jax.Array
    nonnegative = ("strong",)

    def push(self, increment):
        return self.strong * increment


def square(q):
    return q**2


def slope(t):
    return t


def trap(q, t):
    return (1 + 0.3 * jnp.cos(0.7 * t)) * q**2 / 2


def number(x):
    return jnp.asarray(x, float)


def own(a, b):
    return Cubic(number(a), number(b))


# (the system, where its numbers are, the true ones, where the fit starts)
SPRING = P.Quadratic(1.3)
CASES = {
    "drag": (
        lambda a, b, c: ji.System(SPRING, D.Drag(a, b, dry=c)),
        lambda s: (s.damping.linear, s.damping.quadratic, s.damping.dry),
        (0.1, 0.05, 0.02),
        (0.05, 0.02, 0.01),
    ),
    "power law": (
        lambda a, b, c: ji.System(P.Quadratic(c), D.PowerLaw(a, b)),
        lambda s: (s.damping.coefficient, s.damping.exponent, s.potential.stiffness),
        (0.15, 1.6, 1.3),
        (0.3, 1.2, 1.0),
    ),
    "position": (
        lambda a, b: ji.System(P.Quadratic(b), D.PositionDependent(Times(number(a), square))),
        lambda s: (s.damping.gamma.number, s.potential.stiffness),
        (0.4, 1.3),
        (0.1, 1.0),
    ),
    "time": (
        lambda a, b: ji.System(P.Quadratic(b), D.TimeVarying(Times(number(a), slope))),
        lambda s: (s.damping.gamma.number, s.potential.stiffness),
        (0.03, 1.3),
        (0.01, 1.0),
    ),
    "sum": (
        lambda a, b, c: ji.System(P.Quadratic(c), D.Sum(D.Drag(dry=a), D.Linear(b))),
        lambda s: (s.damping.laws[0].dry, s.damping.laws[1].gamma, s.potential.stiffness),
        (0.02, 0.1, 1.3),
        (0.01, 0.2, 1.0),
    ),
    "curvature": (
        lambda a, b: ji.System(P.Duffing(b, 0.5), D.CurvatureAware(a)),
        lambda s: (s.damping.ratio, s.potential.linear),
        (0.1, 1.3),
        (0.2, 1.0),
    ),
    "momentum, mass": (
        lambda a, b: ji.System(P.Quadratic(b), D.Momentum(a), kinetic=K.Mass(2.0)),
        lambda s: (s.damping.gamma, s.potential.stiffness),
        (0.15, 1.3),
        (0.3, 1.0),
    ),
    "mass": (
        lambda a, b: ji.System(P.Quadratic(1300.0), a, kinetic=K.Mass(b)),
        lambda s: (s.damping.gamma, s.kinetic.mass),
        (150.0, 1000.0),
        (200.0, 600.0),
    ),
    "relativistic": (
        lambda a, b, c: ji.System(P.Quadratic(b), D.Momentum(a), kinetic=K.Relativistic(c)),
        lambda s: (s.damping.gamma, s.potential.stiffness, s.kinetic.speed_limit),
        (0.15, 1.3, 0.8),
        (0.2, 1.0, 2.0),
    ),
    "own law, relativistic": (
        lambda a, b: ji.System(SPRING, own(0.1, a), kinetic=K.Relativistic(b)),
        lambda s: (s.damping.c, s.kinetic.speed_limit),
        (0.2, 0.8),
        (0.1, 1.5),
    ),
    "own law": (
        lambda a, b, c: ji.System(P.Quadratic(c), own(a, b)),
        lambda s: (s.damping.gamma, s.damping.c, s.potential.stiffness),
        (0.05, 0.2, 1.3),
        (0.1, 0.1, 1.0),
    ),
    "own kinetic energy": (
        lambda a, b, c: ji.System(P.Quadratic(b), a, kinetic=Quartic(number(c))),
        lambda s: (s.damping.gamma, s.potential.stiffness, s.kinetic.c),
        (0.1, 1.3, 0.5),
        (0.2, 1.0, 0.2),
    ),
    "potential of time": (
        lambda a, b: ji.System(P.TimeDependent(Times(number(b), trap)), a),
        lambda s: (s.damping.gamma, s.potential.fn.number),
        (0.1, 1.3),
        (0.2, 1.0),
    ),
    "gyroscopic": (
        lambda a, b, c: ji.System(P.Quadratic(c), D.Linear(a, b * np.array([[0.0, 1.0], [-1.0, 0.0]]))),
        lambda s: (s.damping.gamma, s.damping.gyroscopic, s.potential.stiffness),
        (0.1, 0.4, 1.3),
        (0.2, 0.2, 1.0),
    ),
}
QUICK = ("mass",)


def record(system, position=1.0, **options):
    """Readings of the motion from rest, found by steps of 0.002: of order 2, they are off by 1e-6."""
    traj = ji.simulate(system, TS, position, dt=0.002)
    noise = np.random.default_rng(0).normal(size=(2, *traj.position.shape))
    momentum = np.asarray(traj.momentum) + ERROR * noise[1] if options.pop("momentum", False) else None
    options |= {} if momentum is None else {"momentum_error": ERROR}
    return ji.Observations(TS, np.asarray(traj.position) + ERROR * noise[0], momentum, ERROR, **options)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_a_fit_finds_the_numbers_of_a_law(name):
    """Of made-up readings, within four of its standard errors; readings scatter as they should."""
    make, free, truth, start = CASES[name]
    data = record(make(*truth), np.array([1.0, 0.3]) if name == "gyroscopic" else 1.0)
    result = ji.fit(make(*start), data, free)
    wanted = np.concatenate([np.ravel(x) for x in free(make(*truth))])
    error = np.sqrt(np.diag(result.covariance_curvature))
    assert np.all(np.abs(result.flat - wanted) <= 4 * error), (result.flat, error)
    assert abs(result.diagnostics.reduced_chi_square - 1) < 4 * np.sqrt(2 / result.freedom)
    assert result.diagnostics.warnings == ()


@pytest.mark.slow
def test_scipy_finds_the_same_relativistic_motion():
    """The same optimum and covariance by SciPy's least squares over DOP853's motion."""
    make, free, truth, start = CASES["relativistic"]
    data = record(make(*truth))
    result = ji.fit(make(*start), data, free)

    def residual(u):
        gamma, stiffness, c, q, p = u
        rhs = lambda t, z: [z[1] / np.sqrt(1 + (z[1] / c) ** 2), -stiffness * z[0] - gamma * z[1]]  # noqa: E731
        return (dop853(rhs, TS, [q, p])[:, 0] - data.position) / ERROR

    peer = least_squares(residual, [*truth, 1.0, 0.0], jac="3-point", xtol=1e-12, ftol=1e-14)
    covariance = np.linalg.inv(peer.jac.T @ peer.jac)[:3, :3]
    # The fit's steps are so short that half of them move it by less than a tenth of a standard error.
    np.testing.assert_allclose(result.flat, peer.x[:3], rtol=0, atol=0.1 * np.sqrt(np.diag(covariance)).min())
    np.testing.assert_allclose(result.covariance_curvature, covariance, rtol=1e-3)


def test_what_engineers_ask_is_of_the_motion_whatever_the_mass():
    """m x'' + gamma x' + k x = 0 rings at sqrt(k/m) / 2 pi, and loses 1/Q of its energy a radian, Q = sqrt(km) / gamma;
    where drag acts on the momentum, gamma is one over time."""
    m, k, gamma = 2.0, 1.3, 0.15
    linear = ji.System(P.Quadratic(k), gamma, kinetic=K.Mass(m))
    momentum = ji.System(P.Quadratic(k), D.Momentum(gamma), kinetic=K.Mass(m))
    for system, rate in ((linear, gamma / m), (momentum, gamma)):
        chosen = free_leaves.choose(system, lambda s: s.damping.gamma)
        said = derived.of(system, chosen, np.array([gamma]), np.array([[1e-6]]))
        assert said["natural_frequency"][0] == pytest.approx(np.sqrt(k / m) / (2 * np.pi))
        assert said["quality_factor"][0] == pytest.approx(np.sqrt(k / m) / rate)
        assert said["damping_ratio"][0] == pytest.approx(rate / (2 * np.sqrt(k / m)))
        assert said["decay_time"][0] == pytest.approx(2 / rate)


def test_a_skew_matrix_stays_skew():
    system = ji.System(SPRING, D.Linear(0.1, np.array([[0.0, 2.0, 3.0], [-2.0, 0.0, 4.0], [-3.0, -4.0, 0.0]])))
    chosen = free_leaves.choose(system, lambda s: s.damping.gyroscopic)
    assert chosen.size == 3
    u = chosen.read(system)
    np.testing.assert_array_equal(chosen.write(system, u).damping.gyroscopic, system.damping.gyroscopic)
    other = np.asarray(chosen.write(system, u + np.array([0.1, -0.2, 0.3])).damping.gyroscopic)
    np.testing.assert_array_equal(other, -other.T)
    constant = np.eye(3, dtype=bool).ravel()
    np.testing.assert_array_equal(chosen.constant, constant)
    jacobian = np.asarray(jax.jacfwd(chosen.natural)(u))
    error = np.sqrt(np.diag(errors.propagated(jacobian, np.eye(3), chosen.constant)))
    np.testing.assert_array_equal(error, np.where(constant, 0.0, 1.0))  # a zero that stays zero has no error
    with pytest.raises(ValueError, match="gyroscopic, a matrix, cannot be kept"):
        free_leaves.choose(system, lambda s: s.damping.gyroscopic, (0.0, 1.0))


@pytest.mark.slow
def test_a_noise_of_ones_own_is_fitted_as_white_noise_is():
    """push(dW) = strong dW is White(strong): the same likelihood, and the same search from the same start."""
    y = langevin(np.random.default_rng(4), 300, 0.3)
    data = ji.Observations(0.3 * np.arange(300), y, position_error=1e-3)
    white = ji.fit(ji.System(P.Quadratic(), 0.5, noise=0.9), data, lambda s: (s.damping.gamma, s.noise.sigma))
    system = ji.System(P.Quadratic(), 0.5, noise=Push(number(0.9)))
    mine = ji.fit(system, data, lambda s: (s.damping.gamma, s.noise.strong))
    np.testing.assert_allclose(mine.flat, white.flat, rtol=0, atol=1e-4 * np.sqrt(np.diag(white.covariance)).min())


@pytest.mark.slow
def test_noise_on_a_mass_is_noise_over_the_mass():
    """m x'' + gamma x' + k x = sigma dW/dt is x'' + (gamma/m) x' + (k/m) x = (sigma/m) dW/dt, whose filter is exact.
    The unscented one, which takes the mass, is so too on a linear system but for how wide its first state is."""
    m = 50.0
    y = langevin(np.random.default_rng(5), 300, 0.3)
    data = ji.Observations(0.3 * np.arange(300), y, position_error=1e-2)

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.noise.sigma

    light = ji.fit(ji.System(P.Quadratic(), 1.0, noise=1.0), data, free)
    heavy = ji.fit(ji.System(P.Quadratic(m), m, noise=m, kinetic=K.Mass(m)), data, free)
    np.testing.assert_allclose(heavy.flat / m, light.flat, rtol=0, atol=0.1 * np.sqrt(np.diag(light.covariance)).min())


@pytest.mark.slow
def test_readings_of_the_momentum_tell_the_mass():
    """Positions alone know ratios only, and the fit says so; `momentum=` are readings of p = M v, and tell the rest."""
    system = ji.System(SPRING, 0.15, kinetic=K.Mass(2.0))
    start = ji.System(P.Quadratic(1.0), 0.3, kinetic=K.Mass(1.0))

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.kinetic.mass

    result = ji.fit(start, record(system, momentum=True), free)
    error = np.sqrt(np.diag(result.covariance_curvature))
    assert np.all(np.abs(result.flat - [0.15, 1.3, 2.0]) < 4 * error)
    assert error[2] < 0.01
    alone = ji.fit(start, record(system), free)
    assert not np.all(np.sqrt(np.diag(alone.covariance)) < 0.1)


def test_a_law_that_follows_a_system_says_how_it_does_in_other_units():
    class Following(Cubic):
        def bound(self, system):
            return self

    data = ji.Observations(TS, np.cos(TS))
    with pytest.raises(ValueError, match=r"damping = Following has a bound\(system\), but no in_units"):
        ji.fit(ji.System(SPRING, Following(number(0.1), number(0.1))), data, lambda s: s.damping.gamma)


def test_a_noise_with_a_memory_is_refused():
    data = ji.Observations(TS, np.cos(TS))
    with pytest.raises(ValueError, match=r"Colored.* has a memory, which no fit follows"):
        ji.fit(ji.System(SPRING, 0.1, noise=ji.noise.Colored(0.5, 0.2)), data)
