"""What splittings conserve without friction: exactly on quadratics, else to the order of the form, and for ever."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

import jaxinertia as ji
from jaxinertia._words import LETTERS, parse
from jaxinertia.energy.elementary import KINETIC as K
from jaxinertia.energy.elementary import POTENTIAL as L
from jaxinertia.energy.elementary import momentum_degree, standard
from jaxinertia.energy.modified import coefficients

from ..oracles import EPS, slope

STIFFNESS = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
SKEWED = (("B", 0.3), ("A", 0.6), ("B", 0.7), ("A", 0.4))  # no symmetry: every bracket is present
WORDS = {"BA": "BA", "AB": "AB", "BAB": "BAB", "ABA": "ABA", "skewed": SKEWED}
# The order of the wobble when powers of h up to h^0, h^1, ... h^4 are kept.
PLAIN, SYMMETRIC = (1, 2, 3, 4, 5), (2, 2, 4, 4, 6)
WOBBLES = {"BA": PLAIN, "AB": PLAIN, "BAB": SYMMETRIC, "ABA": SYMMETRIC, "skewed": PLAIN}
POTENTIALS = {"duffing": ji.potentials.Duffing(), "pendulum": ji.potentials.Pendulum(1.5)}


def path(potential, word, dt, steps, position, momentum):
    """Every step of a frictionless run: one compilation for all step sizes."""
    ts, solver = np.arange(steps + 1) * dt, ji.solvers.Splitting(word)
    return ji.simulate(ji.System(potential), ts, position, momentum, substeps=1, solver=solver)


@functools.cache
def forms(word):
    """The modified inertia of order 0 to 4, along a trajectory."""

    def modified(potential, h, q, p):
        of = functools.partial(ji.modified_inertia, ji.System(potential), q, p, h, solver=ji.solvers.Splitting(word))
        return jnp.stack([of(order=order) for order in range(5)])

    return jax.jit(jax.vmap(modified, (None, None, 0, 0)))


def wobble(values):
    return np.max(values, axis=0) - np.min(values, axis=0)


QUADRATIC_INVARIANTS = {  # of I, v.g, |g|^2, v^T H v
    "BA": lambda h, inertia, vg, gg, vhv: inertia - h / 2 * vg,
    "AB": lambda h, inertia, vg, gg, vhv: inertia + h / 2 * vg,
    "BAB": lambda h, inertia, vg, gg, vhv: inertia - h**2 / 8 * gg,
    "ABA": lambda h, inertia, vg, gg, vhv: inertia - h**2 / 8 * vhv,
}


@pytest.mark.parametrize("dt", [0.01, 0.5, 1.1])  # stable below 2 / sqrt(2.1) = 1.4
@pytest.mark.parametrize("word", QUADRATIC_INVARIANTS)
def test_on_quadratics_the_invariant_is_exact(word, dt):
    steps = 1000
    start = np.array([1.0, -0.4, 0.3]), np.array([0.2, 0.5, -0.7])
    traj = path(ji.potentials.Quadratic(STIFFNESS), word, dt, steps, *start)
    q, v = np.asarray(traj.position), np.asarray(traj.momentum)
    g = q @ STIFFNESS
    invariant = QUADRATIC_INVARIANTS[word](dt, traj.inertia, (v * g).sum(1), (g * g).sum(1), (v @ STIFFNESS * v).sum(1))
    # A step rounds each component about ten times, and rounding only adds up: no term here amplifies it.
    assert wobble(np.asarray(invariant)) <= 10 * EPS * steps * np.max(traj.inertia)


@pytest.mark.parametrize("word", ["BA", "AB"])
def test_on_quadratics_the_first_order_form_is_the_exact_one(word):
    """And the second-order form is not."""
    steps, dt, potential = 1000, 0.3, ji.potentials.Quadratic(STIFFNESS)
    traj = path(potential, word, dt, steps, np.array([1.0, -0.4, 0.3]), np.array([0.2, 0.5, -0.7]))
    _, first, second, *_ = wobble(forms(word)(potential, dt, traj.position, traj.momentum))
    assert first <= 10 * EPS * steps * np.max(traj.inertia)
    assert second > 1e-4


def wobbles(potential, word, dt):
    """Peak to peak of the five forms over t in [0, 20]."""
    traj = path(potential, word, dt, 1600, 1.0, 0.3)
    inside = traj.ts <= 20 + dt / 2
    return wobble(np.asarray(forms(word)(potential, dt, traj.position, traj.momentum))[inside])


STEPS = (0.05, 0.025, 0.0125)


LONGER = [("pendulum", word) for word in ("BA", "AB", "ABA", "skewed")] + [("duffing", "AB"), ("duffing", "ABA")]
CASES = [
    pytest.param(name, word, marks=pytest.mark.slow if (name, word) in LONGER else ())
    for name in POTENTIALS
    for word in WORDS
]


@pytest.mark.parametrize(("name", "word"), CASES)
def test_wobbles_fall_at_the_order_of_the_form(name, word):
    measured = np.array([wobbles(POTENTIALS[name], WORDS[word], dt) for dt in STEPS])
    expected = pytest.approx(WOBBLES[word], abs=0.1)
    assert [slope(STEPS, column) for column in measured.T] == expected
    if (name, word) == ("duffing", "BA"):
        assert slope(STEPS, measured[:, 4]) == pytest.approx(5, abs=0.05)
        assert measured[:, 4] == pytest.approx(np.array([1.8e-7, 5.7e-9, 1.8e-10]), rel=0.05)
        assert measured[-1, :3] == pytest.approx(np.array([1.4e-2, 3.6e-5, 1.2e-6]), rel=0.05)
    if (name, word) == ("duffing", "BAB"):
        assert slope(STEPS, measured[:, 4]) == pytest.approx(6, abs=0.05)
        assert measured[:, 4] == pytest.approx(np.array([3.1e-9, 4.9e-11, 7.7e-13]), rel=0.05)
        assert measured[-1, [0, 2]] == pytest.approx(np.array([5.6e-5, 4.8e-9]), rel=0.05)


def hang(vertex, *children):
    return standard((vertex, children))


# s = p.g, u = p'Hp, w = |g|^2; at h^3 L3(p,p,p) and g'Hp; at h^4 L4(p,p,p,p), L3(g,p,p), |Hp|^2 and g'Hg.
FORCE, BENT = ("K", (L,)), ("K", (("L", (K,)),))
SECOND = hang("L", K), hang("L", K, K), hang("K", L, L)
FOURTH = hang("L", K, K, K), hang("L", K, FORCE), hang("L", K, K, K, K), hang("L", K, K, FORCE)
FOURTH += hang("L", K, BENT), hang("L", FORCE, FORCE)
FIFTH = (-1 / 720, 1 / 120, 1 / 60)
TABLE = {  # the coefficients of SECOND and FOURTH
    "BA": (-1 / 2, 1 / 12, 1 / 12, 0, -1 / 12, *FIFTH, 1 / 60),
    "BAB": (0, 1 / 12, -1 / 24, 0, 0, *FIFTH, -1 / 240),
    "BAOAB": (0, 1 / 12, -1 / 24, 0, 0, *FIFTH, -1 / 240),
    "ABA": (0, -1 / 24, 1 / 12, 0, 0, 7 / 5760, -1 / 80, -1 / 240, 1 / 60),
}


def composed(weight, repeats):
    """The h^4 of k, 1, k symmetric steps of BAB, the outer ones a = `weight` long, by the symmetric BCH formula.

    S(h) = exp(h X + h^3 E + h^5 F) gives log S(ah)^k S(bh) S(ah)^k = h X + h^5 [(2 k a^5 + b^5) F + c [X, [X, E]]] with
    b = 1 - 2 k a, c = -(a b^3 - a^3 b) (k a + b) k / 6. The double bracket is the second time derivative of E:
    E = u/12 - w/24, u'' = L4 - 5 L3(g,p,p) - 2 |Hp|^2 + 2 g'Hg, w'' = 2 |Hp|^2 + 2 L3(g,p,p) - 2 g'Hg.
    """
    a, b = weight, 1 - 2 * repeats * weight
    assert 2 * repeats * a**3 + b**3 == pytest.approx(0, abs=4 * EPS)
    c = -(a * b**3 - a**3 * b) * (repeats * a + b) * repeats / 6
    twice = np.array([1, -5, -2, 2]) / 12 - np.array([0, 2, 2, -2]) / 24
    return np.concatenate([np.zeros(5), (2 * repeats * a**5 + b**5) * np.array(TABLE["BAB"][5:]) + c * twice])


TABLE["yoshida4"] = composed(1 / (2 - 2 ** (1 / 3)), 1)
TABLE["suzuki4"] = composed(1 / (4 - 4 ** (1 / 3)), 2)
ROUNDED = {  # known to these digits
    "yoshida4": (-0.0046844006, 0.0281064035, -0.0520898867, -0.0140532017),
    "suzuki4": (4.415868e-4, -2.6495209e-3, -2.2544604e-3, 1.3247604e-3),
}


def letters_of(word):
    return getattr(ji.solvers, word)("BAB").letters if word.endswith("4") else parse(word)


@pytest.mark.parametrize("word", TABLE)
def test_the_coefficients_to_h4_are_those_of_the_table(word):
    found = coefficients(letters_of(word), 4)
    known = dict(zip(SECOND + FOURTH, TABLE[word], strict=True))
    assert [float(found.get(tree, [0.0])[0]) for tree in known] == pytest.approx(list(known.values()), abs=1e-13)
    others = [tree for tree in found if momentum_degree(tree) >= 0 and tree not in (K, L, *known)]
    assert others == []
    assert known[FOURTH[2]] == pytest.approx(ROUNDED.get(word, [known[FOURTH[2]]])[0], abs=5e-11)


@pytest.mark.parametrize("word", ROUNDED)
def test_the_closed_forms_of_compositions_have_the_digits_known(word):
    assert TABLE[word][5:] == pytest.approx(np.array(ROUNDED[word]), rel=2e-7)


# Of K, L, s, u, w: polynomials in z = gamma h, by word.
DAMPED = {
    "OBABO": ([1, 0, -1 / 24], [1, 0, -1 / 24], [0, -1 / 6], [1 / 12], [-1 / 24]),
    "BAOAB": ([1, 0, 1 / 12], [1, 0, 1 / 12], [0, 1 / 12], [1 / 12], [-1 / 24]),
    "ABOBA": ([1, 0, 1 / 12], [1, 0, 1 / 12], [0, 1 / 12], [-1 / 24], [1 / 12]),
    "OBA": ([1, -1 / 2, 1 / 12], [1, 1 / 2, 1 / 12], [-1 / 2, -1 / 6], [1 / 12], [1 / 12]),
}


@pytest.mark.parametrize("word", DAMPED)
def test_the_coefficients_with_friction_are_those_of_the_table(word):
    found = coefficients(parse(word), 2, damped=True)
    for tree, expected in zip((K, L, *SECOND), DAMPED[word], strict=True):
        padded = [*expected, 0, 0][:3]
        assert found[tree] == pytest.approx(np.array(padded), abs=1e-14), tree
    assert len(found) == 5


DAMPED_ORDERS = {"OBABO": (4, 6), "OBA": (3, 5), "BAOAB": (4, 6), "ABOBA": (4, 6), "BOAOB": (4, 6), "DB": (3, 5)}


@pytest.mark.parametrize(
    "word", [pytest.param(word, marks=() if word in ("OBABO", "OBA") else pytest.mark.slow) for word in DAMPED_ORDERS]
)
def test_friction_changes_the_modified_inertia_by_its_law(word):
    """dH~/dt = -gamma p.dH~/dp along the steps, at the order of the form; e^{gamma t} H~ is far from constant."""
    gamma, ends = 0.4, 8.0
    system, solver, steps = ji.System(ji.potentials.Duffing(), damping=gamma), ji.solvers.Splitting(word), (0.1, 0.05)

    @jax.jit
    @jax.vmap
    def forms_and_powers(h, q, p):
        def both(p):
            form = functools.partial(ji.modified_inertia, system, q, p, h, solver=solver)
            return jnp.stack([form(order=2), form(order=4)])

        return jnp.concatenate(jax.jvp(both, (p,), (-gamma * p,)))

    gaps = []
    for h in steps:
        traj = ji.simulate(system, np.arange(161) * h, 1.0, 0.3, substeps=1, solver=solver)
        rows = np.asarray(forms_and_powers(np.full(161, h), traj.position, traj.momentum))
        law = make_interp_spline(traj.ts, rows[:, 2:], k=7).antiderivative()(traj.ts)
        gaps.append(np.abs(rows[:, :2] - rows[0, :2] - law)[traj.ts <= ends + h / 2].max(0))
        grown = rows[:, 1] * np.exp(gamma * np.asarray(traj.ts))
        assert np.ptp(grown) > 0.2 * grown[0]
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(DAMPED_ORDERS[word], abs=0.2)


@pytest.mark.parametrize("kinetic", ["relativistic", pytest.param("quartic", marks=pytest.mark.slow)])
def test_other_kinetic_energies_have_one_too(kinetic):
    """Every K that does not depend on the place: BAB, to h^4, wobbles as h^6."""
    energy = ji.kinetic.Relativistic(1.5) if kinetic == "relativistic" else ji.kinetic.PowerLaw(4.0)
    system, solver, steps = (
        ji.System(ji.potentials.Duffing(), kinetic=energy),
        ji.solvers.Splitting("BAB"),
        (0.05, 0.025),
    )
    form = jax.jit(jax.vmap(lambda h, q, p: ji.modified_inertia(system, q, p, h, solver=solver, order=4)))
    found = []
    for h in steps:
        traj = ji.simulate(system, np.arange(401) * h, 1.0, 0.3, substeps=1, solver=solver)
        found.append(wobble(np.asarray(form(np.full(401, h), traj.position, traj.momentum))[traj.ts <= 10 + h / 2]))
    assert np.log2(found[0] / found[1]) == pytest.approx(6, abs=0.2)


@pytest.mark.slow
def test_a_mass_matrix_is_a_change_of_coordinates():
    """q = M^{-1/2} x, p = M^{1/2} y: the same number as that of the loss in x with unit mass."""
    root = np.array([[1.5, 0.2], [0.2, 0.8]])
    inverse = np.linalg.inv(root)
    heavy = ji.System(lambda q: jnp.sum(q**4) / 4, ji.damping.Momentum(0.3), kinetic=ji.kinetic.Mass(root @ root))
    unit = ji.System(lambda x: jnp.sum((inverse @ x) ** 4) / 4, 0.3)
    q, p = np.array([0.7, -0.4]), np.array([0.5, 0.9])
    form = functools.partial(ji.modified_inertia, solver="BAOAB", order=4)
    one = jax.jit(lambda q, p: form(heavy, q, p, 0.1))(q, p)
    other = jax.jit(lambda q, p: form(unit, root @ q, inverse @ p, 0.1))(q, p)
    assert one == pytest.approx(float(other), rel=32 * EPS)


def test_the_forms_of_science_md_are_those_of_the_brackets():
    """BA: I - (h/2) v.g + (h^2/12)(v^T H v + |g|^2). BAB: I + (h^2/12) v^T H v - (h^2/24) |g|^2."""
    q, v, h = np.array([0.7, -0.3, 1.1]), np.array([0.4, 0.9, -0.2]), 0.3
    g, hv = STIFFNESS @ q, STIFFNESS @ v
    system = ji.System(ji.potentials.Quadratic(STIFFNESS))
    inertia = float(ji.inertia(system, q, v))
    kick_drift = inertia - h / 2 * v @ g + h**2 / 12 * (v @ hv + g @ g)
    verlet = inertia + h**2 / 12 * v @ hv - h**2 / 24 * g @ g
    assert ji.modified_inertia(system, q, v, h, solver="BA") == pytest.approx(kick_drift, rel=16 * EPS)
    assert ji.modified_inertia(system, q, v, h, solver="BAB", order=2) == pytest.approx(verlet, rel=16 * EPS)
    assert ji.modified_inertia(system, q, v, h, solver="BAB", order=1) == inertia
    assert ji.modified_inertia(system, q, v, h, solver="BA", order=0) == inertia


@pytest.mark.parametrize(
    ("solver", "order"),
    [(ji.solvers.yoshida4("BAB"), 4), (ji.solvers.suzuki4("BAB"), 4), (ji.solvers.kahan_li6("ABA"), 6)],
)
def test_compositions_have_nothing_below_their_order(solver, order):
    found = coefficients(solver.letters, min(order - 1, 4))
    assert set(found) == {K, L}
    assert [found[K][0], found[L][0]] == pytest.approx([1, 1], rel=16 * EPS)


def test_noise_does_not_count_and_friction_does():
    state = (0.8, -0.5, 0.1)
    free, damped = (ji.System(ji.potentials.Duffing(), damping=gamma) for gamma in (0.0, 0.3))
    noisy = ji.System(ji.potentials.Duffing(), damping=0.3, noise=0.1)
    verlet = float(ji.modified_inertia(free, *state, solver="BAB"))
    assert ji.modified_inertia(free, *state, solver="OBABO") == verlet
    assert ji.modified_inertia(free, *state, solver=ji.solvers.Splitting("BAOAB")) == pytest.approx(verlet, rel=4 * EPS)
    assert ji.modified_inertia(noisy, *state, solver="OBABO") == ji.modified_inertia(damped, *state, solver="OBABO")
    z, inertia, s = 0.3 * 0.1, float(ji.inertia(free, 0.8, -0.5)), -0.5 * (0.8 + 0.8**3)
    expected = verlet - z**2 / 24 * inertia - z / 6 * 0.1 * s
    assert ji.modified_inertia(damped, *state, solver="OBABO") == pytest.approx(expected, rel=8 * EPS)


def test_the_modified_inertia_is_differentiable_in_the_step():
    system = ji.System(ji.potentials.Duffing())
    slope_in_h = jax.jit(jax.grad(lambda h: ji.modified_inertia(system, 0.8, -0.5, h, solver="BA", order=1)))(0.1)
    assert slope_in_h == pytest.approx(0.5 * 0.5 * (0.8 + 0.8**3), rel=8 * EPS)


def test_yoshida_keeps_the_inertia_of_the_pendulum_for_a_million_steps():
    """max |I - I(0)| of the last tenth is at most 1.1 times that of the first: no drift."""
    steps, saved, dt = 10**6, 20_000, 0.1
    system = ji.System(ji.potentials.Pendulum(1.0))
    ts = np.linspace(0, steps * dt, saved + 1)
    traj = ji.simulate(system, ts, 1.2, 0.3, dt=dt, solver=ji.solvers.yoshida4())
    error = np.abs(traj.inertia - traj.inertia[0])
    tenth = saved // 10
    assert error[-tenth:].max() <= 1.1 * error[1 : tenth + 1].max()
    assert error.max() < 1e-3  # a bound, not a drift: order 4 at h = 0.1


def test_what_it_does_not_know_it_refuses_by_name():
    spring = ji.potentials.Quadratic()
    moving = ji.System(ji.potentials.TimeDependent(lambda q, t: t * q @ q))
    turned = ji.System(spring, ji.damping.Linear(0.0, [[0.0, 1.0], [-1.0, 0.0]]))
    curved = ji.System(spring, kinetic=ji.kinetic.Riemannian(lambda q: 1 + q @ q))
    for system, word, message in (
        (curved, "BAB", "kinetic = Riemannian depends on the place"),
        (moving, "BAB", "t is None, but the potential depends on time"),
        (turned, "BAOAB", "damping = Linear .* is not dp/dt = -gamma p"),
        (ji.System(spring, [0.1, 0.2]), "BAOAB", "damping = Linear .* is not dp/dt = -gamma p"),
        (ji.System(spring, 0.1, kinetic=ji.kinetic.Relativistic(1.0)), "BAOAB", "kinetic.Relativistic is not dp/dt"),
        (ji.System(spring, ji.damping.Sum(ji.damping.Drag(0.1), turned.damping)), "BAOAB", "damping = Sum"),
        (ji.System(spring, 0.1), "BAB", "damping gamma = 0.1 would be dropped"),
        (ji.System(spring, noise=0.1), "BDB", None),
    ):
        if message is None:
            ji.modified_inertia(system, np.ones(2), np.ones(2), 0.1, solver=word)
            continue
        with pytest.raises(ValueError, match=message):
            ji.modified_inertia(system, np.ones(2), np.ones(2), 0.1, solver=word)


def test_a_letter_that_is_no_exact_flow_is_refused():
    ji.solvers.add_letter("Y", ji.solvers.SubFlow(LETTERS["B"].act, kicks=True, at_rest=True))
    try:
        with pytest.raises(ValueError, match="the letter 'Y'"):
            ji.modified_inertia(ji.System(ji.potentials.Quadratic()), 1.0, 0.0, 0.1, solver="YAY")
    finally:
        del LETTERS["Y"]


def test_of_a_potential_of_time_it_is_that_of_the_moment():
    moving = ji.System(ji.potentials.TimeDependent(lambda q, t: t * q**2 / 2))
    still = ji.System(ji.potentials.Quadratic(3.0))
    found = ji.modified_inertia(moving, 1.0, 0.5, 0.1, solver="BAB", t=3.0)
    np.testing.assert_allclose(found, ji.modified_inertia(still, 1.0, 0.5, 0.1, solver="BAB"), rtol=1e-14)
