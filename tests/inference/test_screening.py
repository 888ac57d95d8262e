"""A first look at many laws in one program, beside each law fitted alone by SciPy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

import jaxinertia as ji
from jaxinertia.inference import screening, side_by_side
from jaxinertia.inference.candidates import Law

TS = np.linspace(0, 20, 100)
INNER = 4  # steps of an interval: off by (0.05 omega)^4 / 120 of the phase, which is 1e-3 of the noise
NUMBERS = ["damping.linear", "damping.quadratic", "potential.linear", "potential.cubic"]
TRUE = np.array([0.05, 0.15, 1.7, 0.4, 1.0, 0.0])


def path(values):
    """(times, columns): positions by the classical Runge-Kutta method, of columns of NUMBERS and a state."""
    linear, quadratic, stiffness, cubic, q, p = values

    def rate(q, p):
        return p, -(linear + quadratic * np.abs(p)) * p - (stiffness + cubic * q**2) * q

    out, h = [q], TS[1] / INNER
    for k in range(1, INNER * (len(TS) - 1) + 1):
        a = rate(q, p)
        b = rate(q + h / 2 * a[0], p + h / 2 * a[1])
        c = rate(q + h / 2 * b[0], p + h / 2 * b[1])
        d = rate(q + h * c[0], p + h * c[1])
        q, p = (x + h / 6 * (a[i] + 2 * b[i] + 2 * c[i] + d[i]) for i, x in enumerate((q, p)))
        if k % INNER == 0:
            out.append(q)
    return np.array(out)


def alone(y, names):
    """(Squares, values, errors) of the law that has these numbers."""
    free = [*(NUMBERS.index(name) for name in names), 4, 5]

    def at(x):
        values = np.zeros((6, *x.shape[1:]))
        values[free] = x
        return path(values)

    def slopes(x):
        sides = x[:, None] + 1e-6 * np.concatenate([np.eye(len(x)), -np.eye(len(x))], axis=1)
        return (at(sides)[:, : len(x)] - at(sides)[:, len(x) :]) / 2e-6

    found = least_squares(lambda x: at(x) - y, TRUE[free], jac=slopes, method="lm")
    squares = 2 * found.cost
    spread = np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac)) * squares / (len(y) - len(free)))
    return squares, found.x[: len(names)], spread[: len(names)]


@pytest.fixture(scope="module")
def record():
    y = path(TRUE) + 5e-3 * np.random.default_rng(0).normal(size=len(TS))
    data = ji.Observations(TS, y)
    return data, side_by_side._fit(data, Law(), "squares", False, None, thorough=False)


def test_laws_seen_in_one_program_are_those_fitted_alone(record):
    """A look ends where what is left to gain is a hundredth of sigma^2: n log of the squares is then 0.02 n / freedom
    too great at the most, and no value further off than sqrt(0.02) of its error. Its steps, of a phase of 0.1, are off
    by 0.1^4 / 120 of the phase of 28: 5e-3 of the noise, and so sqrt(n) times that of an error. A law is never worse
    than one it holds, by more than that."""
    data, viscous = record
    seen, left = screening.screened(viscous, None, data, "duffing"), 0.02 * len(TS) / (len(TS) - 8)
    squares = np.sum(viscous.diagnostics.residuals**2)
    assert 0 <= seen[Law()].deviance - viscous.deviance < left + 5e-3
    for law in (Law(drag="quadratic"), Law("duffing"), Law("duffing", "quadratic")):
        here = seen[law]
        names = [name for name in NUMBERS if name in here.values]
        assert len(here.values) == len(names) == 2 + len(law.added) + (law.potential == "duffing")
        assert here.numbers == len(names) + 3  # with a state and the error of a reading
        least, values, errors = alone(data.position, names)
        more = here.deviance - viscous.deviance - len(TS) * np.log(least / squares)
        assert -5e-3 < more < left + 5e-3, law
        off = (np.array([here.values[name] for name in names]) - values) / errors
        assert np.max(np.abs(off)) < np.sqrt(0.02) + 0.05, (law, off)
    for law, here in seen.items():
        for other, found in seen.items():
            if set(here.values) <= set(found.values):
                assert found.deviance < here.deviance + left, (law, other)
    assert seen[Law("duffing", "quadratic,dry")].values["damping.dry"] < 5e-3 * 1.7  # the stiffness times the noise


def test_a_law_begins_at_the_fit_that_tells_more_of_the_record(record):
    """A spring's law at the spring's fit; another at its own fit, where there is one that is better."""
    data, viscous = record
    for own, second in ((None, viscous), (-1.0, "own"), (1.0, viscous)):
        fit = None if own is None else replace(viscous, deviance=viscous.deviance + own)
        bases = screening._Group(viscous, fit, data, "duffing").bases
        assert all(base is viscous for base in bases[:4])
        assert all(base is (fit if second == "own" else viscous) for base in bases[4:])


def test_a_fit_keeps_the_phase_of_what_it_explains(record):
    """All but a fifth of the squares."""
    _, viscous = record
    assert screening.keeps_phase(viscous)
    for part, kept in ((0.19, True), (0.21, False)):
        posed = viscous.posed._replace(cost=part * float(viscous.posed.likelihood.level))
        assert screening.keeps_phase(replace(viscous, posed=posed)) == kept
