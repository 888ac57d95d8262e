"""Laws side by side: which are tried, in which order, and which one a record is given to."""

from types import SimpleNamespace

import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.inference import candidates, compare, doubts, modulation, side_by_side
from jaxinertia.inference.candidates import Law
from jaxinertia.inference.screening import Seen
from jaxinertia.inference.shooting import Near

from .records import damped

TS = np.linspace(0, 30, 300)
DATA = ji.Observations(TS, damped(TS, 1.7, 0.1) + 1e-3 * np.random.default_rng(0).normal(size=300))


def test_laws_by_name():
    assert Law().name == "viscous"
    assert Law("pendulum", "dry, quadratic").name == "pendulum, quadratic drag, dry friction"
    assert list(Law().further()) == [
        Law("duffing"), Law("pendulum"), Law("quadratic", "quadratic"), Law("quadratic", "dry")
    ]  # fmt: skip
    assert list(Law("duffing", "dry").further()) == [Law("duffing", "quadratic,dry")]
    assert Law("duffing", "dry, linear").plain == Law("duffing", "dry")
    system, free = candidates.pose(Law("duffing", "dry"))
    assert list(free(system)) == ["damping.linear", "damping.dry", "potential.linear", "potential.cubic"]
    system, free = candidates.pose(Law(), noise=True)
    assert list(free(system)) == ["damping.gamma", "potential.stiffness", "noise.sigma"]
    for law, message in (
        (Law("cubic"), "potential = 'cubic' must be one of"),
        (Law(drag="dry,dry"), "drag = 'dry,dry' must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            candidates.pose(law)


NEAR = Near(np.zeros(2), np.zeros(1), np.zeros((1, 2)))


def tried(monkeypatch, aic, data=DATA, fitted=None, own=None):
    """(the laws that were fitted, in order; fits, and what was only seen, by name; failures by name) where each has
    this AIC, 1000 if none is said, at a look; and `fitted` if it is fitted, or an error. Where there is a list `own`
    the viscous fit keeps no phase, and the list gets the laws that a look asks a start of."""
    laws, fitted = [], aic | (fitted or {})

    def fit(_data, law, _loss, _progress, _near, thorough=True):
        if not thorough:
            own.append(law.name)
            raise ValueError("no start of its own")
        laws.append(law.name)
        value = fitted.get(law.name, 1000.0)
        if isinstance(value, str):
            raise ValueError(value)
        diagnostics = SimpleNamespace(converged=np.isfinite(value), warnings=("it did not converge",))
        return SimpleNamespace(deviance=value - 8, numbers=4, diagnostics=diagnostics)

    def look(_viscous, _own, _data, potential):
        held = ["quadratic", "duffing"] if potential in ("quadratic", "duffing") else [potential]
        drags = ["linear", "quadratic", "dry", "quadratic,dry"]
        found = [Law(name, drag) for name in held for drag in drags]
        return {law: Seen(aic.get(law.name, 1000.0) - 8, 4, {}, NEAR) for law in found}

    monkeypatch.setattr(side_by_side, "_fit", fit)
    monkeypatch.setattr(side_by_side, "screened", look)
    monkeypatch.setattr(side_by_side, "keeps_phase", lambda _: own is None)
    beside = side_by_side.SideBySide(data, "squares", {})
    return laws, *({law.name: x for law, x in each.items()} for each in (beside.fits, beside.seen, beside.failures))


FIRST = ["Duffing", "pendulum", "quadratic drag", "dry friction"]


def test_a_law_is_gone_on_from_only_where_it_is_better_by_ten(monkeypatch):
    laws, fits, seen, failures = tried(monkeypatch, {"dry friction": 991.0})
    assert (list(seen), failures) == (FIRST, {})
    assert laws == ["viscous", "dry friction"] == list(fits)
    _, _, seen, _ = tried(monkeypatch, {"dry friction": 989.0})
    added = ["Duffing, dry friction", "pendulum, dry friction", "quadratic drag, dry friction"]
    assert list(seen) == FIRST + added
    laws, _, seen, _ = tried(monkeypatch, {"pendulum": 900.0, "pendulum, dry friction": 800.0})
    assert list(seen) == [
        *FIRST, "pendulum, quadratic drag", "pendulum, dry friction", "pendulum, quadratic drag, dry friction"
    ]  # fmt: skip
    assert laws == ["viscous", "pendulum, dry friction"]


def test_the_best_is_fitted_and_the_next_where_it_turns_out_to_be_better(monkeypatch):
    seen = {"dry friction": 900.0, "Duffing": 950.0}
    assert tried(monkeypatch, seen)[0] == ["viscous", "dry friction"]
    laws, fits, *_ = tried(monkeypatch, seen, fitted={"dry friction": 960.0})
    assert laws == ["viscous", "dry friction", "Duffing"] == list(fits)


def test_a_look_has_a_start_of_its_own_where_the_viscous_fit_keeps_no_phase(monkeypatch):
    own = []
    tried(monkeypatch, {"dry friction": 900.0}, own=own)
    assert own == ["Duffing", "pendulum"]


def test_a_law_that_cannot_be_fitted_is_told(monkeypatch):
    looks = {"Duffing": 10.0, "dry friction": 20.0}
    _, fits, seen, failures = tried(monkeypatch, looks, fitted={"Duffing": "no such thing", "dry friction": np.inf})
    assert failures == {"Duffing": "no such thing", "dry friction": "it did not converge"}
    assert not {"Duffing", "dry friction"} & {*fits, *seen}


def test_without_the_viscous_fit_there_is_no_look_and_every_law_is_fitted(monkeypatch):
    laws, fits, seen, failures = tried(monkeypatch, {"viscous": np.inf, "Duffing": 0.0})
    assert (list(failures), seen) == (["viscous"], {})
    assert laws[:5] == ["viscous", *FIRST]
    assert next(iter(fits)) == "Duffing"


def test_a_pendulum_swings_by_less_than_half_a_turn(monkeypatch):
    far = ji.Observations(TS, 10 * DATA.position)
    _, fits, seen, _ = tried(monkeypatch, {"dry friction": 0.0}, far)
    assert not [name for name in {**fits, **seen} if "pendulum" in name]


def test_several_components_are_refused():
    two = ji.Observations(TS, np.stack([DATA.position, 2 * DATA.position], 1))
    with pytest.raises(ValueError, match="fits has a record of 2 components; fit each law with"):
        ji.compare(two)
    with pytest.raises(ValueError, match="loss = 'huber' must be one of"):
        ji.compare(DATA, loss="huber")


@pytest.mark.parametrize(
    ("frequency", "apart"), [(1.0, False), (1.1, False), (1.4, True), (3.05, False), (0.3, True), (5.0, True)]
)
def test_what_is_none_of_a_motions_own_frequencies_is_another(monkeypatch, frequency, apart):
    """Its own, within 15 %, and twice and three times that are not."""
    monkeypatch.setattr(doubts, "dominant", lambda _: np.array([2 * np.pi * 0.1]))
    records = SimpleNamespace(units=SimpleNamespace(time=np.array([0.1])))
    peak = doubts.Peak(frequency, 0.02)
    assert doubts._is_apart(peak, records) == apart


@pytest.mark.parametrize(
    ("whiteness", "chances", "halves", "found"),
    [
        (0.5, (0.5, 0.5), {}, None),
        (0.5, (1e-9, 0.5), {}, doubts.BENT),
        (0.5, (0.5, 1e-9), {}, doubts.UNSTEADY),
        (0.5, (1e-9, 1e-9), {"damping.gamma": (0.1, 0.2, 0.02)}, doubts.DRIFT),
        (1e-9, (0.5, 1e-9), {"damping.gamma": (0.1, 0.2, 0.2)}, doubts.SOME),
        (1e-9, (0.5, 0.5), {"natural_frequency": (0.1, 0.2, 0.01)}, doubts.DRIFT),
    ],
)
def test_what_residuals_say_against_a_model(monkeypatch, whiteness, chances, halves, found):
    monkeypatch.setattr(doubts, "peak_of", lambda _: None)
    monkeypatch.setattr(modulation, "chances", lambda _: modulation.Chances(*chances))
    posed = SimpleNamespace(records=SimpleNamespace(d=1))
    assert doubts.misfit(posed, whiteness, halves) == found
    fit = SimpleNamespace(posed=posed, diagnostics=SimpleNamespace(whiteness=whiteness, halves=halves))
    assert compare.advised(fit) == (found is not None)
    monkeypatch.setattr(doubts, "peak_of", lambda _: doubts.Peak(5.0, 0.1))
    monkeypatch.setattr(doubts, "_is_apart", lambda *_: True)
    other = doubts.ANOTHER if found == doubts.SOME else found
    assert doubts.misfit(posed, whiteness, halves) == other
    assert compare.advised(fit) == (other not in (None, doubts.ANOTHER))


def with_dry_friction(ts, k, b, q):
    """x'' + k x = -b sign(x'), let go at q > 0: half cycles about b / k and -b / k in turn, till it sticks."""
    half, rest, out = np.pi / np.sqrt(k), b / k, np.empty_like(ts)
    start, side = 0.0, 1.0
    for n in range(int(ts[-1] / half) + 2):
        inside = ts >= n * half
        if abs(q) <= rest:
            out[inside] = q
            break
        side = np.sign(q)
        out[inside] = side * rest + (q - side * rest) * np.cos(np.sqrt(k) * (ts[inside] - start))
        start, q = (n + 1) * half, 2 * side * rest - q
    return out


@pytest.mark.slow
def test_a_record_with_dry_friction_is_given_to_it():
    """From its closed form, which stops; the table says so, and holds the truth."""
    y = with_dry_friction(TS, 1.7, 0.08, 1.4) + 2e-3 * np.random.default_rng(1).normal(size=300)
    table = ji.compare(ji.Observations(TS, y))
    assert table[0][0] == "dry friction"
    best = table.best
    assert np.abs((best.values["damping.dry"] - 0.08) / best.stderr["damping.dry"]) < 4
    assert np.abs((best.values["potential.stiffness"] - 1.7) / best.stderr["potential.stiffness"]) < 4
    assert best.values["damping.linear"] < 4 * best.stderr["damping.linear"]
    early, late, error = best.diagnostics.halves["natural_frequency"]
    assert abs(early - late) < 4 * error
    assert abs(early - 1.7**0.5 / (2 * np.pi)) < 4 * error
    said = str(table)
    assert "none of these" not in said
    assert all(word in said for word in ("viscous", "delta BIC", "whiteness", "damping.dry 0.0"))
    assert next(row for row in table if row[0] == "viscous")[-1] > 1000
