"""What a fit says of its readings and residuals, and what it is worth beside another, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import jaxinertia as ji
from jaxinertia.inference import doubts, free_leaves
from jaxinertia.inference import evidence as errors
from jaxinertia.inference.record import on_one_grid

from .records import damped

P = ji.potentials
TS = 0.1 * np.arange(200)
Y = damped(TS, 1.3, 0.2) + 0.02 * np.random.default_rng(0).normal(size=200)


def both(s):
    return s.damping.gamma, s.potential.stiffness


def said_of(y):
    """Of the readings alone."""
    system = ji.System(P.Quadratic())
    records = on_one_grid(system, free_leaves.choose(system, both), [ji.Observations(TS, y)])
    return list(doubts._of_the_readings(records))


def test_clipped_readings_are_counted():
    """Those at both ends, a few of the first swing's too; a coarse converter leaves some where the swing turns, and
    many where it comes to rest."""
    for low, high in ((-0.3, 0.5), (-0.3, 9.0), (-9.0, 0.5), (-9.0, 0.85)):
        (said,) = said_of(np.clip(Y, low, high))
        assert said.startswith(
            f"{np.sum(np.clip(Y, low, high) != Y)} of 200 readings lie at the greatest or least value"
        )
    assert said_of(Y) == []
    (said,) = said_of(np.clip(np.round(Y * 50) / 50, -9.0, 0.5))  # of some levels
    assert "were they clipped" in said
    rest = np.exp(-1.5 * TS)
    for levels in 2, 4, 8, 32:
        for y in Y, Y + 0.05, rest, -rest:
            assert said_of(np.round(y * levels) / levels) == []


def test_a_search_has_converged_where_it_ended_at_a_motion():
    """What `fit` warns of and what `fit_many` gives for a failure are the same words."""
    assert doubts.failures(True, False, 7) == ()
    (stopped,) = doubts.failures(False, False, 7)
    (nothing,) = doubts.failures(True, True, 7)
    assert stopped == "the search did not converge in 7 iterations"
    assert nothing == "no such motion was found: noise would be fitted as well"
    assert doubts.failures(False, True, 7) == (stopped, nothing)


@pytest.mark.parametrize(("channels", "finer"), [(1, 1), (2, 1), (1, 4)])
def test_the_residuals_peak_has_their_frequency(channels, finer):
    """1.3 cycles per time, a fifth of the readings missing, to a quarter of the record's 0.05; whatever else is read,
    and on rows of a finer grid."""
    n, step, frequency = 200, 0.1, 1.3
    rng = np.random.default_rng(1)
    row = np.repeat(np.arange(n)[rng.random(n) > 0.2], channels)
    channel = np.tile(np.arange(channels), len(row) // channels)
    residuals = np.where(channel == 0, np.sin(2 * np.pi * frequency * step * row), rng.normal(size=len(row)))
    evidence = SimpleNamespace(residuals=residuals, channel=channel, time=row * float(finer))
    records = SimpleNamespace(step=np.array([step]), finer=finer, y=np.zeros((1, 1, n, channels)), even=True)
    reading = SimpleNamespace(prediction=residuals, evidence=evidence)
    peak = doubts.peak_of(SimpleNamespace(records=records, reading=reading))
    assert peak.frequency == pytest.approx(frequency, abs=1 / (4 * n * step))
    assert peak.resolution == pytest.approx(2 / (n * step), rel=0.05)


def test_information_that_says_nothing_of_a_number_is_infinite_for_one_or_many():
    """A number that moves nothing, two that move the same, numbers of any size; all records at once or one by one."""
    well = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 4.0]])
    blind, twins = well.copy(), well.copy()
    blind[1], blind[:, 1] = 0.0, 0.0
    twins[1], twins[:, 1] = twins[0], twins[:, 0]
    twins[1, 1] = twins[0, 0]
    scale = np.outer([1e-6, 1.0, 1e8], [1e-6, 1.0, 1e8])
    matrices = np.stack([well, blind, twins, well * scale, np.full((3, 3), np.nan)])
    found = errors.inverse(matrices)
    for matrix, inverse in zip(matrices, found, strict=True):
        np.testing.assert_array_equal(errors.inverse(matrix), inverse)
    np.testing.assert_allclose(found[0], np.linalg.inv(well), rtol=1e-14)
    np.testing.assert_allclose(found[3], np.linalg.inv(well) / scale, rtol=1e-14)
    assert np.isinf(np.diag(found[1])).tolist() == [False, True, False]
    kept = np.ix_([0, 2], [0, 2])
    np.testing.assert_allclose(found[1][kept], np.linalg.inv(well[kept]), rtol=1e-14)
    assert np.isinf(np.diagonal(found[[2, 4]], axis1=1, axis2=2)).all()


def test_information_criteria_are_those_of_the_normal_density():
    """-2 log L of readings of known errors, which differ from fit to fit and from reading to reading, and of unknown
    ones (at its greatest); but for what the record alone makes of it. AIC adds 2 k, BIC k log n."""
    unlike = 0.02 * (1 + np.arange(200) % 3)
    pairs = []
    for known in (True, False):
        pair = []
        for system, free, error in (
            (ji.System(P.Quadratic()), both, 0.02),
            (ji.System(P.Quadratic(1.31)), lambda s: s.damping.gamma, unlike),
        ):
            fit = ji.fit(system, ji.Observations(TS, Y, position_error=error if known else None), free)
            sd = error if known else fit.diagnostics.rms
            pair.append((fit, -2 * np.sum(stats.norm.logpdf(fit.diagnostics.residuals, scale=sd))))
        pairs.append(pair)
        (one, expected), (other, of_other) = pair
        assert (one.numbers, other.numbers) == ((4, 3) if known else (5, 4))
        assert other.deviance - one.deviance == pytest.approx(of_other - expected, rel=1e-9)
        table = ji.compare({"one": one, "other": other})
        for name, k, deviance, aic, bic, delta in table:
            fit = one if name == "one" else other
            assert (k, deviance) == (fit.numbers, fit.deviance)
            assert aic == pytest.approx(deviance + 2 * k, rel=1e-14)
            assert bic == pytest.approx(deviance + k * np.log(200), rel=1e-14)
            assert delta == aic - min(row[3] for row in table)
        assert [row[3] for row in table] == sorted(row[3] for row in table)
