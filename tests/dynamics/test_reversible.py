"""Reverse mode by running backwards: the gradients of the default adjoint, in memory that does not grow with steps."""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

slow = pytest.mark.slow
Q0, P0 = np.array([1.0, -0.7, 0.3]), np.array([0.3, 0.0, 0.5])
TS = np.array([0.0, 0.3, 1.0, 1.2, 2.0])  # uneven: rows share a block, and some have a tail


def gap(found, known):
    """The largest error of a leaf, relative to the leaf."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(known), strict=True)
    return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)


def system_of(theta, **more):
    return ji.System(ji.potentials.Duffing(cubic=theta["cubic"]), damping=theta["gamma"], **more)


def number(theta, adjoint, word="BAOAB", ts=TS, dt=0.05, damping=None, **more):
    """Something of every account, at several times."""
    system = system_of(theta | ({} if damping is None else {"gamma": damping}), **more)
    solver = ji.solvers.Splitting(word)
    traj = ji.simulate(system, ts, theta["q"], theta["p"], dt=dt, solver=solver, adjoint=adjoint)
    end = jnp.sum(traj.position[-1] ** 2) + jnp.sum(traj.position[1] * traj.momentum[-1])
    return end + traj.balance.friction[-1] + traj.balance.work[-2] + traj.balance.discretization[2] + traj.kinetic[1]


THETA = dict(cubic=jnp.asarray(1.0), gamma=jnp.asarray(0.3), q=jnp.asarray(Q0), p=jnp.asarray(P0))
WORDS = ("BAOAB", "OBABO", "OBA", "BDB", "AFA", "OEO")


@pytest.mark.parametrize("word", [word if word == "BAOAB" else pytest.param(word, marks=slow) for word in WORDS])
def test_the_same_gradients_as_by_default(word):
    found, known = (jax.jit(jax.value_and_grad(number), static_argnums=(1, 2)) for _ in range(2))
    found, known = found(THETA, "reversible", word), known(THETA, None, word)
    assert gap(found, known) < 1e-11


MORE = {
    "a force and a moving potential": dict(force=lambda t: jnp.cos(2 * t) * jnp.ones(3)),
    "a mass": dict(kinetic=ji.kinetic.Mass(np.diag([1.0, 2.0, 3.0]) + 0.1)),
    "a metric": dict(kinetic=ji.kinetic.Riemannian(lambda q: 1.0 + q**2), damping=ji.damping.Momentum(0.3)),
    "drag": dict(damping=ji.damping.Drag(linear=0.1, quadratic=0.4)),
    "a magnetic field": dict(damping=ji.damping.Linear(0.2, np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]]))),
    "no friction": dict(damping=0.0),
}


@slow
@pytest.mark.parametrize("name", MORE)
def test_every_system_that_runs_backwards(name):
    found, known = (jax.jit(jax.grad(lambda x, a=a: number(x, a, **MORE[name])))(THETA) for a in ("reversible", None))
    found, known = ({k: x[k] for k in ("cubic", "q", "p")} for x in (found, known))
    assert gap(found, known) < 1e-10


def last(theta, adjoint, end, dt, gamma=None):
    """After friction has taken e^{-gamma end} of the energy."""
    gamma = theta["gamma"] if gamma is None else gamma
    system = ji.System(ji.potentials.Duffing(cubic=theta["cubic"]), damping=gamma)
    solver = ji.solvers.Splitting("OBABO")
    traj = ji.simulate(system, np.array([0.0, end]), theta["q"], theta["p"], dt=dt, solver=solver, adjoint=adjoint)
    return jnp.sum(traj.position[-1] ** 2) + jnp.sum(traj.position[-1] * traj.momentum[-1])


@pytest.mark.parametrize(("gamma", "end"), [(0.0, 100.0), (0.5, 1280.0)])
@slow
@pytest.mark.optimised
def test_strong_and_long_friction(gamma, end):
    """gamma T = 640: straight back, the last state's rounding would have grown by e^640."""
    theta = THETA | {"gamma": jnp.asarray(gamma)}
    found, known = (
        jax.jit(jax.grad(lambda x, adjoint=adjoint: last(x, adjoint, end, 0.02)))(theta)
        for adjoint in ("reversible", None)
    )
    assert gap(found, known) < 1e-10


def memory(steps, gamma):
    """Bytes; gamma None is not known before the run."""
    run = jax.jit(jax.grad(partial(last, adjoint="reversible", end=20.0, dt=20.0 / steps, gamma=gamma)))
    return run.lower(THETA).compile().memory_analysis().temp_size_in_bytes


# Friction that is known, outside of what is traced: e^2 over the run, one way back.
KNOWN = ji.damping.Linear(0.1)


@pytest.mark.parametrize(
    ("gamma", "few", "many"),
    [
        (KNOWN, 1000, 10**4),
        *(pytest.param(*case, marks=slow) for case in ((KNOWN, 1000, 10**6), (None, 10**4, 10**6))),
    ],
)
@pytest.mark.optimised
def test_memory_does_not_grow_with_the_steps(gamma, few, many):
    """Nothing but the stored states, of which there are as many; the states of 1000 steps would be 48,000 bytes."""
    assert memory(many, gamma) <= memory(few, gamma) < 16_000


def test_a_way_back_that_gets_lost_is_said():
    """Friction that is not known before the run, and too strong for the stored states: an error, or NaN in a sweep."""
    theta = THETA | {"gamma": jnp.asarray(60.0)}
    run = jax.jit(jax.grad(lambda x: last(x, "reversible", 64.0, 0.02)))
    with pytest.raises(Exception, match="give ts more times"):
        jax.block_until_ready(run(theta))
    swept = ji.sweep(
        lambda gamma: jax.grad(lambda x: last(x | {"gamma": gamma}, "reversible", 64.0, 0.02))(THETA)["q"],
        {"gamma": np.array([60.0, 0.5])},
    )
    np.testing.assert_array_equal(np.isnan(swept.values), [[True] * 3, [False] * 3])


class Kicked(ji.damping.AbstractDamping):
    """A user's law, without a map of its own."""

    def force(self, velocity):
        return velocity**3


EULER = diffrax.Event(lambda t, y, args, **_: y.position[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dict(adjoint="backwards"), "adjoint = 'backwards' must be 'reversible'"),
        (dict(solver=diffrax.Tsit5()), "for a ji.solvers.Splitting, not Tsit5"),
        (dict(event=EULER), "no event"),
        (dict(max_steps=100), "no max_steps"),
        (dict(noise=0.1, key=jax.random.key(0)), "noise cannot run backwards"),
        (dict(damping=ji.damping.Drag(dry=0.1)), "dry stops a motion"),
        (dict(damping=ji.damping.PowerLaw(0.1, 0.5)), "below 1 stops a motion"),
        (dict(damping=Kicked()), "damping.Kicked with kinetic.Euclidean has no exact map"),
        (dict(damping=ji.damping.TimeVarying(lambda t: 0.1)), "no exact map that runs backwards"),
    ],
)
def test_what_cannot_run_backwards_is_refused(change, said):
    system = ji.System(ji.potentials.Duffing(), damping=change.pop("damping", 0.1), noise=change.pop("noise", None))
    options = dict(dt=0.1, adjoint="reversible") | change
    with pytest.raises(ValueError, match=said):
        ji.simulate(system, TS, Q0, P0, **options)
