"""Lines of an instrument in a noise-driven record."""

import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.inference import free_leaves, lines, stochastic, whittle
from jaxinertia.inference.record import on_one_grid

from .records import langevin

STEP, N = 0.2, 6000
TS = np.arange(float(N))


def runs(y):
    return [whittle.Run(TS, y, np.ones(N, bool))]


def motion(seed):
    """omega 1, gamma 0.3, and white errors of a twentieth of its swing."""
    rng = np.random.default_rng(seed)
    return langevin(rng, N, STEP, 1.0, 0.3, 1.0) + 0.05 * rng.normal(size=N)


TONES = 5.0 * np.sin(2.2 * TS + 1) + 0.5 * np.sin(1.4 * TS)


def test_tones_are_found_to_a_part_of_a_bin_and_taken_away():
    y = motion(0)
    cleaned, found = lines.taken_away(runs(y + TONES))
    np.testing.assert_allclose([line.omega for line in found], [2.2, 1.4], atol=0.05 * 2 * np.pi / N)
    np.testing.assert_allclose([line.amplitude for line in found], [5.0, 0.5], atol=0.01)
    assert np.std(cleaned[0].y - y) < 0.02  # the motion and the errors have their share of both bins
    same, none = lines.taken_away(runs(y))
    assert none == []
    assert same[0].y is y


@pytest.mark.parametrize("seed", range(3))
def test_a_motion_is_found_beside_a_line_that_is_louder(seed):
    """The line alone would be taken for it: a hundred times its power in one bin."""
    y = motion(seed)
    data = ji.Observations(STEP * TS, y + TONES)
    system = ji.System(ji.potentials.Quadratic(), 0.1, 1.0)
    chosen = free_leaves.choose(system, lambda s: (s.damping.gamma, s.potential.stiffness, s.noise.sigma))
    records = on_one_grid(system, chosen, [data])
    (found,), told, _ = stochastic._resonances(records, None, None)
    quiet = on_one_grid(system, chosen, [ji.Observations(STEP * TS, y)])
    (alone,), nothing, _ = stochastic._resonances(quiet, None, None)
    assert nothing == ""
    assert found.omega == pytest.approx(alone.omega, rel=0.01)
    assert found.gamma == pytest.approx(alone.gamma, rel=0.05)
    assert told == "; lines at frequency 1.751, 1.114 are tones, and not taken for the motion"
    (chosen_line,), _, _ = stochastic._resonances(records, (2.1, 2.3), None)
    assert chosen_line.omega == pytest.approx(2.2, abs=0.01)


def test_a_tone_and_nothing_else_is_told():
    system = ji.System(ji.potentials.Quadratic(), 0.1, 1.0)
    chosen = free_leaves.choose(system, lambda s: (s.damping.gamma, s.noise.sigma))
    y = np.sin(2.2 * TS) + 0.1 * np.random.default_rng(1).normal(size=N)
    (found,), told, _ = stochastic._resonances(on_one_grid(system, chosen, [ji.Observations(TS, y)]), None, None)
    assert found.omega == pytest.approx(2.2, abs=0.01)
    assert told == "; tones are at frequency 0.3501, and nothing else stands out: leave them out by band="


@pytest.mark.parametrize("seed", range(3))
def test_another_motion_does_not_broaden_the_one_that_is_fitted(seed):
    """gamma of the lower of two, within four of its standard errors sqrt(2 / gamma T); of the whole it is far off."""
    rng, n = np.random.default_rng(seed), 12_000
    lower, upper = langevin(rng, n, STEP, 1.0, 0.1, 0.5), langevin(rng, n, STEP, 9.0, 0.1, 0.6)
    y = lower + upper + 0.05 * rng.normal(size=n)
    both = [whittle.Run(np.arange(float(n)), y, np.ones(n, bool))]
    whole = whittle.resonance(both)
    found = whittle.local(both, whole)
    error = np.sqrt(2 / (0.1 * n * STEP))
    assert abs(found.gamma / STEP / 0.1 - 1) < 4 * error < abs(whole.gamma / STEP / 0.1 - 1)
    assert found.omega / STEP == pytest.approx(1.0, abs=4 * np.sqrt(0.1 / (2 * n * STEP)))
