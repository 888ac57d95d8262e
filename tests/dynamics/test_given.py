"""What `diffrax.diffeqsolve` is given for a Splitting: it runs backwards too, and what it cannot honour it refuses."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

pytestmark = pytest.mark.usefixtures("without_type_checks")

S, Q, terms = ji.solvers.Splitting, ji.potentials.Quadratic, ji.solvers.terms
START = 1.0, 0.3
FREE = ji.System(Q(1.5))
DAMPED = ji.System(Q(1.5), damping=0.4)
DRIVEN = ji.System(ji.potentials.Duffing(), damping=0.3, force=lambda t: jnp.cos(2 * t) + t)
NOISY = ji.System(Q(1.5), damping=0.4, noise=0.5)
COLORED = ji.System(Q(1.5), damping=0.4, noise=ji.noise.Colored(0.5, 1.0, initial=0.0))
PATH = diffrax.VirtualBrownianTree(0.0, 1.0, 2**-5, (), jax.random.key(0))


def solve(system, solver, t0=2.0, t1=1.0, h=0.05, path=None, **given):
    args, y0 = ji.solvers.initial(system, *START)
    given = {"terms": terms(args, path), "y0": y0, "args": args} | given
    return diffrax.diffeqsolve(solver=solver, t0=t0, t1=t1, dt0=np.sign(t1 - t0) * h, **given).ys


@pytest.mark.parametrize(("word", "order"), [("BAOAB", 2), ("BDB", 2), ("kahan_li6", 6)])
def test_backwards_in_time_has_the_words_order_in_state_and_accounts(word, order):
    """From t = 2 to 1, damped and driven, against Dopri8: friction gives energy back, and the balance closes."""
    solver = ji.solvers.kahan_li6() if word == "kahan_li6" else S(word)
    exact = solve(DRIVEN, diffrax.Dopri8(), h=0.01)
    assert exact.friction[-1] > 0

    def gaps(h):
        y = solve(DRIVEN, solver, h=h)
        change = ji.inertia(DRIVEN, y.position[-1], y.momentum[-1]) - ji.inertia(DRIVEN, *START)
        errors = [getattr(y, name) - getattr(exact, name) for name in ("position", "momentum", "friction", "work")]
        return np.abs([*np.concatenate(errors), change - y.friction[-1] - y.work[-1]])

    found = np.log2(gaps(0.1) / gaps(0.05))  # the next order changes it by about the step
    assert np.all(found > order - 0.2), found


def test_backwards_is_the_inverse_of_a_symmetric_word():
    """There and back again to rounding: 20 steps of numbers of size 1."""
    there = solve(FREE, S("BAB"), 0.0, 1.0)
    y = jax.tree.map(lambda x: x[-1], there)
    back = solve(FREE, S("BAB"), 1.0, 0.0, y0=y)
    assert abs(back.position[-1] - START[0]) < 40 * 4 * np.finfo(float).eps
    assert abs(back.momentum[-1] - START[1]) < 40 * 4 * np.finfo(float).eps


@pytest.mark.parametrize(
    ("system", "path", "message"),
    [
        (NOISY, PATH, "noise cannot run backwards"),
        (ji.System(Q(), damping=ji.damping.Drag(0.1, 0.3)), None, "backwards Drag blows up"),
    ],
)
def test_what_cannot_run_backwards_is_refused(system, path, message):
    with pytest.raises(Exception, match=message):
        jax.block_until_ready(solve(system, S("BAOAB"), 1.0, 0.0, path=path))


def other(t, y, args):
    return y


def of(system, position=1.0, dtype=None):
    return ji.solvers.initial(system, position if dtype is None else np.asarray(position, dtype))[1]


WRONG = {  # what is given, what the message has to name
    "no args": (dict(args=None), "args = None.*solvers.initial"),
    "args a number": (dict(args=0.3), "args = 0.3.*solvers.initial"),
    "y0 an array": (dict(y0=jnp.ones(2)), "y0 must be a ji.solvers.Phase.*solvers.initial"),
    "y0 of a system without noise": (dict(system=NOISY, path=PATH, y0=of(DAMPED)), "no account of noise"),
    "y0 of a system without force": (dict(system=DRIVEN, y0=of(DAMPED)), "no account of work"),
    "y0 of white noise": (dict(system=COLORED, path=PATH, y0=of(NOISY)), "no account of push"),
    "y0 of a noisy system": (dict(y0=of(NOISY)), "an account of noise"),
    "y0 in less precision": (
        dict(y0=of(DAMPED, 1.0, np.float32), t0=np.float32(0), t1=np.float32(1)),
        "float64.*float32",
    ),
    "noise without a path": (dict(args=NOISY, y0=of(NOISY)), "no Brownian path.*terms"),
    "a path without noise": (dict(system=NOISY, path=PATH, args=DAMPED, y0=of(DAMPED)), "no noise"),
    "a path of another shape": (dict(system=NOISY, path=PATH, y0=of(NOISY, np.ones(3))), r"\(\).*\(3,\)"),
}
DROPPED = {
    "a plain ODETerm": diffrax.ODETerm(other),
    "a further term": diffrax.MultiTerm(terms(DAMPED), diffrax.ODETerm(other)),
    "a further term beside noise": diffrax.MultiTerm(*terms(NOISY, PATH).terms, diffrax.ODETerm(other)),
    "nested terms": diffrax.MultiTerm(terms(NOISY, PATH), diffrax.ODETerm(other)),
    "noise of another amplitude": diffrax.MultiTerm(terms(NOISY, PATH).terms[0], diffrax.ControlTerm(other, PATH)),
    "noise alone": terms(NOISY, PATH).terms[1],
}


@pytest.mark.parametrize("solver", [S("BAOAB"), diffrax.Heun()])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_args_and_states_are_refused_by_every_solver(case, solver):
    given, message = WRONG[case]
    given = {"t0": 0.0, "t1": 1.0} | given
    with pytest.raises(ValueError, match=message):
        solve(given.pop("system", DAMPED), solver, **given)


@pytest.mark.parametrize("case", DROPPED)
def test_terms_that_a_splitting_would_drop_are_refused(case):
    system = DAMPED if "noise" not in case and "nested" not in case else NOISY
    path = PATH if system is NOISY else None
    with pytest.raises(ValueError, match=r"terms \(.*ji.solvers.terms"):
        solve(system, S("BAOAB"), 0.0, 1.0, path=path, terms=DROPPED[case])


def test_an_unprepared_system_is_checked_too():
    """A matrix with a negative eigenvalue is one only beside a position of that size."""
    bad = ji.System(Q(1.5), damping=(jnp.array([[1.0, 2.0], [2.0, 1.0]]),))
    with pytest.raises(ValueError, match="damping gamma"):
        solve(DAMPED, S("BAOAB"), 0.0, 1.0, args=bad, y0=of(DAMPED, np.ones(2)))
