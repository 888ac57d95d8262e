"""The grammar of splittings, and the arithmetic of compositions."""

import math
from itertools import groupby, pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxinertia as ji
from jaxinertia._words import Letter, compose, is_palindrome, merge, parse
from jaxinertia.dynamics.stages import cut_before_drift, without_relaxation

from ..oracles import EPS, slope

pytestmark = pytest.mark.optimised

COMPOSITIONS = {"yoshida4": (ji.solvers.yoshida4, 3, 4), "suzuki4": (ji.solvers.suzuki4, 5, 4)} | {
    "kahan_li6": (ji.solvers.kahan_li6, 9, 6)
}


@pytest.mark.parametrize("word", ["BA", "AB", "BAB", "ABA", "OBA", "OBABO", "BAOAB", "ABOBA", "BDB", "DB", "BAOABAOAB"])
def test_each_letter_of_a_word_shares_the_step(word):
    letters = parse(word)
    assert "".join(letter.kind for letter in letters) == word
    assert all(letter.weight == 1 / word.count(letter.kind) for letter in letters)
    assert is_palindrome(letters) == (word == word[::-1])
    assert ji.solvers.Splitting(word).order() == (2 if word == word[::-1] else 1)


@pytest.mark.parametrize("step", ["BAB", "ABA", "BAOAB", "OBABO"])
@pytest.mark.parametrize("name", COMPOSITIONS)
def test_compositions_are_symmetric_and_cover_the_step(name, step):
    make, stages, order = COMPOSITIONS[name]
    solver = make(step)
    assert solver.order() == order
    assert is_palindrome(solver.letters)
    for kind in set(step):
        assert math.fsum(w for k, w in solver.letters if k == kind) == pytest.approx(1, abs=4 * EPS)
    drifts = [w for kind, w in make("ABA").letters if kind == "B"]
    assert len(drifts) == stages


@pytest.mark.parametrize(("name", "powers"), [("yoshida4", (3,)), ("suzuki4", (3,)), ("kahan_li6", (3, 5))])
def test_composition_weights_satisfy_the_order_conditions(name, powers):
    """sum w^3 = 0 kills the h^3 error of a symmetric step, sum w^5 = 0 the h^5 one (Hairer, Lubich, Wanner, V.3.2)."""
    weights = np.array([w for kind, w in COMPOSITIONS[name][0]("ABA").letters if kind == "B"])
    for power in powers:
        assert abs(np.sum(weights**power)) <= 20 * EPS * np.sum(np.abs(weights) ** power) * 10


@pytest.mark.parametrize(
    ("make", "gradients", "order"), [(ji.solvers.blanes_moan4, 6, 4), (ji.solvers.blanes_moan6, 11, 6)]
)
def test_nystrom_splittings_are_symmetric_cover_the_step_and_share_the_end_kicks(make, gradients, order):
    solver = make()
    assert solver.order() == order
    assert is_palindrome(solver.letters)
    assert "".join(letter.kind for letter in solver.letters) == "BD" * gradients + "B"
    for kind in "BD":
        assert math.fsum(w for k, w in solver.letters if k == kind) == pytest.approx(1, abs=4 * EPS)
    assert make() == make()


@pytest.mark.parametrize(("make", "order"), [(ji.solvers.blanes_moan4, 4), (ji.solvers.blanes_moan6, 6)])
def test_nystrom_splittings_have_their_order_with_friction(make, order):
    """One step of a damped pendulum, in 30 digits: its error is of order h^{order + 1}."""
    gamma, start, steps = mpmath.mpf(0.7), (mpmath.mpf(1), mpmath.mpf(0.5)), [0.25, 0.125, 0.0625]

    def step(h):
        q, p = start
        for kind, weight in make().letters:
            decay = mpmath.exp(-gamma * weight * h)
            if kind == "B":
                p -= weight * h * mpmath.sin(q)
            else:
                q, p = q + (1 - decay) / gamma * p, decay * p
        return q, p

    with mpmath.workdps(30):
        exact = mpmath.odefun(lambda t, y: [y[1], -mpmath.sin(y[0]) - gamma * y[1]], 0, start)
        gaps = [float(max(abs(a - b) for a, b in zip(step(h), exact(h), strict=True))) for h in steps]
    assert slope(steps, gaps) == pytest.approx(order + 1, abs=0.15)  # the next power is a few times h smaller


def test_a_flight_is_a_drift_where_nothing_rubs():
    letters = without_relaxation(ji.solvers.Splitting([("B", 0.5), ("D", 0.4), ("D", 0.6), ("B", 0.5)]).letters)
    assert joined(letters) == [("B", 0.5), ("A", 1.0), ("B", 0.5)]


@pytest.mark.parametrize("word", ["BDA", "OBD", "BAODB"])
def test_a_flight_stands_beside_no_drift_and_no_friction(word):
    with pytest.raises(ValueError, match="not 1"):
        ji.solvers.Splitting(word)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.builds(Letter, st.sampled_from("ABDO"), st.floats(0.1, 2.0)), min_size=1, max_size=12))
def test_merging_leaves_no_equal_neighbours_and_keeps_the_totals(letters):
    merged = merge(letters)
    assert all(a.kind != b.kind or a.kind == "A" for a, b in pairwise(merged))
    for kind in "ABDO":
        total = math.fsum(letter.weight for letter in letters if letter.kind == kind)
        assert math.fsum(letter.weight for letter in merged if letter.kind == kind) == pytest.approx(total)


def test_composing_joins_the_kicks_that_meet():
    kinds = "".join(letter.kind for letter in compose("BAB", (0.5, 0.5)))
    assert kinds == "BABAB"


def joined(letters):
    """Neighbours of one kind as one, drifts too."""
    runs = groupby(letters, key=lambda letter: letter.kind)
    return [(kind, math.fsum(letter.weight for letter in run)) for kind, run in runs]


@pytest.mark.parametrize("word", ["BA", "AB", "BAB", "OBABO", "BAOAB", "ABOBA"])
def test_a_run_cut_before_the_drift_is_the_same_letters(word):
    """opening + turn + closing is two steps, letter by letter, but for kicks and drifts that meet at the border."""
    run = cut_before_drift(parse(word), joins="AB")
    seen = [(stage.kind, stage.weight) for stage in run.opening + run.turn + run.closing if stage.kind in "ABO"]
    assert joined(Letter(*pair) for pair in seen) == joined(parse(word) * 2)
    draws = [(stage.step, stage.draw) for stage in run.opening + run.turn if stage.kind == "O"]
    assert len(set(draws)) == len(draws)  # no two relaxations draw the same bits


@pytest.mark.parametrize("name", ["yoshida4", "suzuki4", "kahan_li6"])
def test_solvers_are_equal_where_their_letters_are(name):
    """Static and hashable: two of a kind share one compilation."""
    make = COMPOSITIONS[name][0]
    assert make() == make()
    assert hash(make()) == hash(make())
    assert make("BAB") != make("BAOAB")
