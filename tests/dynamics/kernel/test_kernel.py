"""A kernel gives what the loop gives: for every potential, word, law, noise and dtype, and its derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.dynamics.kernel import together
from jaxinertia.dynamics.kernel.layout import lay_out

from ..test_laws import CASES as LAWS
from ..test_laws import START, system_of, word_of
from .threads import needs_compiler, threads  # noqa: F401

pytestmark = needs_compiler

TS = np.array([0.0, 0.3, 0.8])
SCALES = jnp.array([0.9, 1.0, 1.2])
EPS = {np.dtype("float64"): 2.3e-16, np.dtype("float32"): 1.2e-7}
P, D, K, N = ji.potentials, ji.damping, ji.kinetic, ji.noise
PLANE, TWO = np.array([0.5, -0.3]), np.array([0.6, 0.2])


def some(table, *fast):
    """All cases of a table; those that are not named are slow."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in table]


def simulated(system, start, solver, scale, key=None, ts=TS):
    """The whole trajectory from a start times `scale`."""
    start = jax.tree.map(lambda x: jnp.asarray(x) * scale.astype(jnp.asarray(x).dtype), start)
    traj = ji.simulate(system, ts, *start, dt=0.05, solver=solver, key=key)
    kept = traj.position, traj.momentum, traj.kinetic, traj.potential, traj.balance.friction
    accounts = [x for x in (traj.balance.noise, traj.balance.work) if x is not None]
    return kept, accounts


def check(threads, system, start, word="BAOAB", key=None, most=300, ts=TS, scales=SCALES):  # noqa: F811
    """Some 16 steps of numbers of size 1, rounded some ten times each: the kernel and the loop differ by rounding."""
    runs = {}
    for kernel in (False, True):
        solver = ji.solvers.Splitting(ji.solvers.Splitting(word).letters, kernel=kernel)
        runs[kernel] = jax.vmap(lambda scale, solver=solver: simulated(system, start, solver, scale, key, ts))(scales)
    assert len(threads) == 1
    for ours, theirs in zip(jax.tree.leaves(runs[True]), jax.tree.leaves(runs[False]), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=most * EPS[ours.dtype] * max(1, np.max(np.abs(theirs))))


POTENTIALS = {
    "quadratic": (P.Quadratic(2.0), 1.0),
    "matrix": (P.Quadratic(np.array([[2.0, 0.5], [0.5, 1.0]])), PLANE),
    "Duffing": (P.Duffing(1.0, 0.5, 0.2), np.array([1.0, -0.5, 0.2])),
    "double well": (P.DoubleWell(), 1.0),
    "pendulum": (P.Pendulum(1.3), 1.0),
    "Rosenbrock": (P.Rosenbrock(1.0, 5.0), PLANE),
    "Himmelblau": (P.Himmelblau(), PLANE),
    "loss": (P.Loss(lambda q, x: jnp.mean((jnp.tanh(x @ q) - 0.3) ** 2), np.eye(3, 2)), PLANE),
    "tree": (lambda q: jnp.cos(q["a"]) + jnp.sum(q["b"] ** 4), {"a": np.array(0.5), "b": np.array([0.3, -0.4])}),
    "of time": (P.TimeDependent(lambda q, t: q**2 * (1 + 0.3 * jnp.sin(t))), 1.0),
    "indices": (lambda q: jnp.cumsum(q)[1:] @ jnp.roll(q, 1)[::2] + jnp.max(q) ** 2, np.array([0.5, 1.0, 2.0])),
    "branches": (lambda q: jax.lax.cond(q > 0.7, lambda x: x**2, lambda x: 0.5 * x**4, q), 1.0),
    "its own loop": (lambda q: jax.lax.fori_loop(0, 30, lambda i, x: x + 0.01 * i * q**2, 0.0 * q), 1.0),
}


@pytest.mark.parametrize("name", some(POTENTIALS, "Rosenbrock"))
def test_every_potential(name, threads):  # noqa: F811
    potential, start = POTENTIALS[name]
    check(threads, ji.System(potential, damping=0.3), (start,))


WORDS = {word: word for word in ("BA", "OBA", "BAB", "OBABO", "BAOAB", "ABOBA", "BDB", "AFA", "OABAO")} | {
    "yoshida4": ji.solvers.yoshida4("BAOAB").letters,
    "kahan_li6": ji.solvers.kahan_li6("OBABO").letters,
    "blanes_moan4": ji.solvers.blanes_moan4().letters,
    "blanes_moan6": ji.solvers.blanes_moan6().letters,
}


@pytest.mark.parametrize("name", some(WORDS, "ABOBA"))
def test_every_word(name, threads):  # noqa: F811
    damped = name not in ("BA", "BAB")
    check(threads, ji.System(P.Pendulum(), damping=0.3 if damped else 0.0), (1.0,), WORDS[name])


ITERATES = ("Riemannian",)


@pytest.mark.parametrize("name", some([name for name in LAWS if name not in ITERATES]))
def test_every_law(name, threads):  # noqa: F811
    check(threads, system_of(LAWS[name]), START, word_of(LAWS[name]).letters)


@pytest.mark.parametrize("name", some(ITERATES))
def test_what_iterates_says_so(name, threads):  # noqa: F811
    with pytest.raises(ValueError, match="cannot be one: it has a loop without a fixed number of rounds"):
        check(threads, system_of(LAWS[name]), START, word_of(LAWS[name]).letters)


NOISES = {
    "white": (N.White(0.4), 0.3),
    "three-point": (N.White(0.4, law="three-point"), 0.3),
    "by component": (N.White(np.array([0.4, 0.1])), np.array([0.3, 0.2])),
    "matrix": (N.White(np.array([[0.4, 0.1], [0.1, 0.3]])), np.array([[0.4, 0.1], [0.1, 0.3]])),
    "without friction": (N.White(0.4), 0.0),
    "colored": (N.Colored(0.4, 0.5), 0.3),
}


@pytest.mark.parametrize("name", some(NOISES, "white"))
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_every_noise_draws_the_same_numbers(name, dtype, threads):  # noqa: F811
    noise, gamma = NOISES[name]
    system, start = ji.System(P.Duffing(), damping=gamma, noise=noise), (PLANE.astype(dtype), TWO.astype(dtype))
    key = jax.random.key(3)
    if name == "matrix":
        with pytest.raises(ValueError, match="cannot be one: it has a factorisation"):
            check(threads, system, start, "OBABO", key)
    check(threads, system, start, "OBABO", key, ts=np.linspace(0.0, 0.8, 3) if name == "matrix" else TS)


@pytest.mark.parametrize("name", some(["Duffing", "pendulum", "Rosenbrock"], "Duffing"))
@pytest.mark.parametrize("gamma", [pytest.param(0.3, marks=pytest.mark.slow), 1e-5])
def test_float32_also_where_a_decay_is_below_the_last_place(name, gamma, threads):  # noqa: F811
    potential, start = POTENTIALS[name]
    check(threads, ji.System(potential, damping=gamma), (np.asarray(start, np.float32),))


def final(gamma, start=1.0, kernel=None):
    """The last inertia of a damped run, of ten steps in each of three rows."""
    system = ji.System(P.Pendulum(), damping=gamma)
    solver = ji.solvers.Splitting("OBABO", kernel=kernel)
    return ji.simulate(system, np.linspace(0.0, 3.0, 4), start, dt=0.1, solver=solver).inertia[-1]


GAMMAS, STARTS = jnp.array([0.1, 0.4]), jnp.array([0.5, 1.0, 1.5])


def test_forward_mode_is_a_kernel_and_reverse_mode_agrees(threads):  # noqa: F811
    """To rounding: of the inertia in gamma and in the start, along (1, 0.5)."""

    def one(gamma, start):
        return final(gamma, start, kernel=True)

    _, tangent = jax.vmap(lambda gamma: jax.jvp(one, (gamma, 1.0), (1.0, 0.5)))(GAMMAS)
    assert len(threads) == 2
    by_gamma, by_start = jax.vmap(lambda gamma: jax.grad(one, argnums=(0, 1))(gamma, 1.0))(GAMMAS)
    np.testing.assert_allclose(by_gamma + 0.5 * by_start, tangent, rtol=1e-12)


@pytest.mark.slow
def test_nested_maps_and_derivatives_of_any_kind(threads):  # noqa: F811
    """Forward mode is a kernel, reverse mode the plain loop; both, and what they make of each other, are right."""

    def results(kernel):
        def one(gamma, start):
            return final(gamma, start, kernel)

        def everywhere(of):
            return jax.vmap(lambda gamma: jax.vmap(lambda start: of(gamma, start))(STARTS))(GAMMAS)

        slope = jax.grad(one, argnums=(0, 1))
        tangent = everywhere(lambda gamma, start: jax.jvp(one, (gamma, start), (1.0, 0.5)))
        reverse = everywhere(slope)
        pulled = jax.grad(lambda gamma: jnp.sum(jax.vmap(lambda start: one(gamma, start))(STARTS)))(0.3)
        kept = jax.grad(jax.checkpoint(one))(0.3, 1.0)
        twice = (
            jax.jacfwd(jax.grad(one))(0.3, 1.0),
            jax.grad(lambda gamma: jax.jvp(one, (gamma, 1.0), (1.0, 0.0))[1])(0.3),
        )
        return everywhere(one), tangent, reverse, pulled, kept, twice

    plain = results(False)
    assert not threads
    found = results(True)
    assert threads
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found[2][0] + 0.5 * found[2][1], found[1][1], rtol=1e-12)


def test_what_nobody_reads_is_not_computed(threads):  # noqa: F811
    """Without the balance a row stores K and L alone, and the square of the momentum is never summed up."""

    def account(gamma):
        system = ji.System(P.Pendulum(), damping=gamma)
        solver = ji.solvers.Splitting("OBABO", kernel=True)
        return ji.simulate(system, np.linspace(0.0, 3.0, 4), 1.0, dt=0.1, solver=solver).balance.friction[-1]

    jax.jit(lambda gamma: final(gamma, kernel=True))(0.3)
    jax.jit(account)(0.3)
    bare, booked = (text.count(" * ") for text in threads)
    assert bare < booked


@pytest.mark.parametrize("each", [pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("name", some(["Rosenbrock", "its own loop", "loss"], "Rosenbrock"))
def test_several_trajectories_in_a_thread(name, each, threads, monkeypatch):  # noqa: F811
    """Three points or five, in two threads: the last thread's places past the end are the last point's once more."""
    for bound, value in {"FILLING": 1, "MOST": each, "REGISTERS": 10**6, "STATEMENTS": 10**6}.items():
        monkeypatch.setattr(together, bound, value)
    potential, start = POTENTIALS[name]
    system = ji.System(potential, damping=0.3, noise=0.2)
    scales = SCALES if each == 2 else jnp.linspace(0.8, 1.2, 5)
    check(threads, system, (start,), "OBABO", jax.random.key(1), scales=scales)
    assert "if (point0 >= 2LL) return;" in threads[0]
    assert f"point{each - 1}]" in threads[0]


def test_few_trajectories_or_large_ones_have_a_thread_each(threads):  # noqa: F811
    """More threads fill a GPU first; and the states of all must fit into a thread's registers."""

    def plan(size):
        body = jax.make_jaxpr(lambda x: [2 * x])(jnp.ones(size))
        return lay_out(body, (0, 1), 5, (True,))

    def each(size):
        return [together.together(plan(size), points)[1] for points in (2**16, 2**23)]

    assert [each(size) for size in (1, 12, 40)] == [[1, 4], [1, 2], [1, 1]]


def test_a_run_of_its_own_is_one_thread(threads):  # noqa: F811
    alone = jax.jit(partial(final, kernel=True))
    assert alone(0.3) == pytest.approx(float(final(0.3, kernel=False)), rel=1e-14)
    assert "if (point0 >= 1LL) return;" in threads[0]
