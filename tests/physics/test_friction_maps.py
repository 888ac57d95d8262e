"""The laws' own maps against mpmath: dry, viscous and quadratic drag under a push; power laws; a speed limit."""

from itertools import product

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.physics.damping.drag import _rubbed
from jaxinertia.physics.power_flow import power_flow

from ..oracles import EPS

D, K = ji.damping, ji.kinetic


def rubbed(h, a, c, b, p, push):
    """p after h of p' = push - a p - c |p| p - b sign(p): at most two arcs of Riccati's equation, in mpmath."""
    h, a, c, b, p, push = map(mpmath.mpf, (h, a, c, b, p, push))

    def arc(r, force, s):
        k = mpmath.sqrt(a * a / 4 + force * c)
        cosine, sine = mpmath.cosh(k * s), mpmath.sinh(k * s) / k if k else s
        return mpmath.re((r * (cosine - a * sine / 2) + force * sine) / (cosine + a * sine / 2 + c * r * sine))

    def stop(r, force):
        k = mpmath.sqrt(a * a / 4 + force * c)
        x = r / (a * r / 2 - force)
        return mpmath.re(mpmath.atanh(k * x) / k) if k else x

    def from_rest(s):
        return mpmath.sign(push) * arc(mpmath.mpf(0), abs(push) - b, s) if abs(push) > b and s > 0 else mpmath.mpf(0)

    if p == 0:
        return from_rest(h)
    force = mpmath.sign(p) * push - b
    if force < 0 and stop(abs(p), force) < h:
        return from_rest(h - stop(abs(p), force))
    return mpmath.sign(p) * arc(abs(p), force, h)


STIFF = list(
    product([1e-6, 0.3, 1.0], [0.0, 0.1, 5.0, 50.0], [0.0, 0.9, 30.0], [0.0, 0.2, 1e-6], [1.7, -40.0, 1e-3, 0.0])
)


@pytest.mark.parametrize("push", [0.0, 0.5, -1.3, 1e-7])
def test_dry_viscous_and_quadratic_drag_at_once(push):
    """To rounding in what the momentum was or is, a h up to 50, and with its derivatives finite."""
    points = np.array([(*x, push) for x in STIFF])
    values, slopes = jax.vmap(jax.value_and_grad(_rubbed, argnums=(1, 2, 3, 4, 5)))(*points.T)
    with mpmath.workdps(40):
        exact = np.array([float(rubbed(*x)) for x in points])
    scale = np.maximum(np.abs(points[:, 4]), np.abs(exact))
    assert np.all(np.abs(values - exact) <= 32 * EPS * scale)
    assert np.array_equal(np.asarray(values) == 0, exact == 0)  # what has stopped has, and nothing else
    assert all(np.all(np.isfinite(x)) for x in slopes)


def test_a_long_decay_keeps_its_digits():
    """Without dry friction nothing stops: e^{-50} of it is left."""
    law = D.Drag(50.0, 0.9, dry=0.0)
    left = law.relaxation(K.Euclidean(), jnp.asarray(1.0), 0.0, jnp.zeros(()), jnp.asarray(1.7))
    exact = 1 / ((1 / 1.7 + 0.9 / 50) * np.exp(50.0) - 0.9 / 50)
    assert left == pytest.approx(exact, rel=64 * EPS)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("h", [0.9, 1.2, 3.0, 3.4, 10.0, 100.0])
def test_the_formula_revives_past_its_pole_and_the_motion_does_not(h, side):
    law = D.Drag(0.1, 0.9, dry=0.9)
    p = law.relaxation(K.Euclidean(), jnp.asarray(h), 0.0, jnp.zeros(()), jnp.asarray(side * 1.7))
    with mpmath.workdps(30):
        exact = rubbed(h, 0.1, 0.9, 0.9, side * 1.7, 0)
    assert (exact == 0) == (h >= 1.2)
    assert p == pytest.approx(float(exact), rel=32 * EPS, abs=0)


@pytest.mark.parametrize("dry", [None, 0.0])
def test_drag_backwards_in_time_ends_where_the_speed_is_infinite(dry):
    """1 / p = 1 / 2 - |h|: at |h| = .5."""
    law, p = D.Drag(0.0, 1.0, dry), jnp.asarray(2.0)
    for h, exact in ((-0.1, 2.5), (-0.4, 10.0), (-0.6, np.nan), (-0.9, np.nan)):
        flow = law.prepared(K.Euclidean(), None, jnp.asarray(h), p)
        moved, _ = flow(p, None, jnp.zeros(()), jnp.zeros(()))
        np.testing.assert_allclose(moved, exact, rtol=1e-14)
    power = D.PowerLaw(1.0, 2.0)
    ends = [power.relaxation(K.Euclidean(), jnp.asarray(h), 0.0, p, p) for h in (-0.4, -0.6)]
    np.testing.assert_allclose(ends, [10.0, np.nan], rtol=1e-14)


def test_power_laws_for_any_exponent():
    """Bernoulli's equation, n from 0 to 3, a h up to 800: to rounding, with finite derivatives."""
    exponents = [0.0, 0.5, 1.0 - 1e-9, 1.0, 1.0 + 1e-7, 1.5, 2.0, 3.0]
    points = np.array(
        list(product([1e-8, 0.1, 40.0], [0.0, 1e-9, 0.3, 50.0, 800.0], [0.0, 1e-9, 0.5, 30.0], exponents))
    )
    values, slopes = jax.vmap(jax.value_and_grad(power_flow, argnums=(0, 1, 2, 3)))(*points.T)
    exact = []
    with mpmath.workdps(40):
        for r, a, c, n in (map(mpmath.mpf, x) for x in points):
            m = 1 - n
            x = c * r ** (n - 1) * (mpmath.expm1(m * a) / (m * a) if m * a else 1)
            left = 1 - m * x
            power = mpmath.exp(-x) if m == 0 else left ** (1 / m) if left > 0 else 0
            exact.append(float(r * mpmath.exp(-a) * power))
    np.testing.assert_allclose(values, exact, rtol=2e-13, atol=1e-300)
    assert np.array_equal(np.asarray(values) == 0, np.array(exact) == 0)
    assert all(np.all(np.isfinite(x)) for x in slopes)


@pytest.mark.parametrize("mass", [1.0, 3.0])
def test_a_power_law_slows_one_mass_too(mass):
    """n = 2 on v = p / m: 1 / p grows by c h / m^2."""
    law, kinetic = D.PowerLaw(0.7, 2.0), K.Mass(mass).bound(jnp.zeros(2))
    p = jnp.array([0.6, -0.8])
    after = law.relaxation(kinetic, jnp.asarray(0.9), 0.0, p, p)
    np.testing.assert_allclose(after, p / (1 + 0.7 * 0.9 / mass**2), rtol=8 * EPS)


RADII, FRICTIONS = [1e-8, 1e-3, 0.3, 1.0, 30.0, 1e6], [1e-9, 1e-4, 0.1, 1.0, 10.0, 1e3, -1e-9, -1e-3, -1.0, -20.0]


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_a_speed_limit_under_friction(dtype):
    """sqrt(1 + r^2) - asinh(1 / r) falls by the friction: r, and its change, to rounding, friction giving or taking."""
    kinetic = K.Relativistic(jnp.asarray(1.0, dtype))
    points = np.array(list(product(RADII, FRICTIONS))).astype(dtype)
    after, slope = jax.vmap(jax.value_and_grad(lambda r, f: kinetic.slowed(f, r)))(*jnp.asarray(points).T)
    eps = float(jnp.finfo(dtype).eps)
    for (r, friction), found, rise in zip(points, after, slope, strict=True):
        with mpmath.workdps(60):
            exact = slowed(mpmath.mpf(float(r)), mpmath.mpf(float(friction)))
            change = exact - mpmath.mpf(float(r))
            # One rounding of the sum p + change, and some of the change.
            bound = eps * float(abs(exact)) + (32 + abs(friction)) * eps * float(min(abs(change), exact))
            assert abs(float(found) - float(exact)) <= bound + float(jnp.finfo(dtype).tiny), (r, friction)
            # dr+ / dr = r+ sqrt(1 + r^2) / (r sqrt(1 + r+^2))
            ahead = float(exact * mpmath.sqrt(1 + mpmath.mpf(float(r)) ** 2))
            ahead /= float(r) * float(mpmath.sqrt(1 + exact**2))
        assert float(rise) == pytest.approx(ahead, rel=300 * eps * (1 + abs(float(friction))), abs=1e-30)


def slowed(r, friction):
    """The root by Newton's steps in log r, at mpmath's precision."""
    f = lambda y: mpmath.sqrt(1 + mpmath.exp(2 * y)) - mpmath.asinh(mpmath.exp(-y))  # noqa: E731
    target = f(mpmath.log(r)) - friction
    y = mpmath.log(1 + target) if target > 0 else target
    for _ in range(80):
        y -= (f(y) - target) / mpmath.sqrt(1 + mpmath.exp(2 * y))
    return mpmath.exp(y)
