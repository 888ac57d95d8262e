"""A run is of the numbers that a user's functions read today, and not of those that an equal run compiled before."""

import functools
import math
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia._reads import reads

TS = np.linspace(0.0, 1.0, 3)
K = 2.0


def helper(q):
    return K * q**2 / 2


class Fields:
    k = 2.0


class Spring:
    def __init__(self):
        self.k = 2.0

    def energy(self, q):
        return self.k * q**2 / 2


class Law(ji.damping.AbstractDamping):
    def force(self, velocity):
        return K * velocity


class Parabola(eqx.Module):
    size: jax.Array

    def __call__(self, q):
        return helper(q)


def cases():
    """Of each: what reads, the change, and how it is undone."""
    cell, named, array = [2.0], {"a": 1.0, "k": 2.0}, np.array([2.0])
    space, spring = types.SimpleNamespace(k=2.0), Spring()

    def global_is(k):
        return lambda: globals().update(K=k)

    return {
        "a global": (lambda q: K * q, global_is(3.0)),
        "a global of a function that is called": (lambda q: helper(q) + 1, global_is(3.0)),
        "a global of a nested function": (lambda q: jax.tree.map(lambda x: K * x, q), global_is(3.0)),
        "a global, from a number to NaN": (helper, global_is(math.nan)),
        "an entry of a list": (lambda q: cell[0] * q, lambda: cell.append(1.0)),
        "an entry of a dictionary": (lambda q: named["k"] * q, lambda: named.update(k=3.0)),
        "an entry of an array": (lambda q: array[0] * q, lambda: array.fill(3.0)),
        "an attribute": (lambda q: space.k * q, lambda: setattr(space, "k", 3.0)),
        "an attribute of a method's object": (spring.energy, lambda: setattr(spring, "k", 3.0)),
        "an attribute of a class": (lambda q: Fields.k * q, lambda: setattr(Fields, "k", 3.0)),
        "an argument of a partial": (functools.partial(jnp.multiply, cell), lambda: cell.append(1.0)),
        "a global of a law's method": (Law(), global_is(3.0)),
        "a global of a module, within one of ours": (ji.potentials.Loss(Parabola(jnp.ones(2))), global_is(3.0)),
    }


@pytest.fixture(autouse=True)
def unchanged(monkeypatch):
    monkeypatch.setitem(globals(), "K", 2.0)
    monkeypatch.setattr(Fields, "k", 2.0)


@pytest.mark.parametrize("name", cases())
def test_what_is_read_tells_a_change(name):
    what, change = cases()[name]
    before = reads(what)
    assert reads(what) == before
    assert hash(reads(what)) == hash(before)
    change()
    assert reads(what) != before
    assert reads(what) == reads(what)  # NaN too


def test_leaves_and_equal_functions_are_the_same():
    """They are arguments of a program; a function made anew of equal code and numbers makes an equal one."""

    def made(k):
        return lambda q: k * q

    assert reads(Parabola(jnp.ones(2))) == reads(Parabola(jnp.zeros(2)))
    assert reads(made(2.0)) == reads(made(2.0)) != reads(made(3.0))


def test_what_refers_to_itself_has_an_end():
    loop = []
    loop.append(loop)

    def endless(q):
        return loop[0], endless, q

    assert reads(endless) == reads(endless)
    before = reads(endless)
    loop.append(1.0)
    assert reads(endless) != before


def test_a_run_is_of_the_numbers_of_today(monkeypatch):
    """The same system, run again after a global of its potential and its law was changed."""
    system = ji.System(helper, damping=Law())

    def run():
        return ji.simulate(system, TS, 1.0, dt=0.1).position

    def expected(k):
        return ji.analytic.quadratic(TS, 1.0, 0.0, k, k)[0]

    np.testing.assert_allclose(run(), expected(2.0), atol=4e-3)  # h^2 / 2 at most
    monkeypatch.setitem(globals(), "K", 3.0)
    np.testing.assert_allclose(run(), expected(3.0), atol=4e-3)
    assert np.max(np.abs(expected(3.0) - expected(2.0))) > 0.05


@pytest.mark.slow
def test_a_fit_is_of_the_numbers_of_today(monkeypatch):
    """Readings of K q: with another K the momenta and positions found are others, and gamma is the same."""
    ts = np.arange(0, 20, 0.2)
    y = np.exp(-0.1 * ts) * np.cos(ts) + 0.01 * np.random.default_rng(0).normal(size=len(ts))
    data = ji.Observations(ts, y, read=lambda q, p: K * q + 0 * q**3)

    def fitted():
        found = ji.fit(ji.System(ji.potentials.Quadratic()), data, lambda s: (s.damping.gamma, s.potential.stiffness))
        assert found.system.read == ()
        return float(np.ravel(found.initial[0])[0])

    first = fitted()
    monkeypatch.setitem(globals(), "K", 4.0)
    assert fitted() == pytest.approx(first / 2, rel=1e-6)
