"""Residuals that go with the swing: by hand, of a linear fit of a damped swing in NumPy; and as `ji.fit` says it."""

from types import SimpleNamespace

import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.inference import modulation

from .records import damped

TS = np.linspace(0.0, 20.0, 300)
TRUTH = np.array([9.0, 0.2, 1.0, 0.3])  # stiffness, gamma, q, p
ERROR = 0.01
SWING = damped(TS, *TRUTH)


def posed(error):
    """Of readings that are off the swing so: the fit to first order, as `Posed` holds it."""
    steps = 1e-6 * np.eye(4)
    j = np.stack([(damped(TS, *(TRUTH + h)) - damped(TS, *(TRUTH - h))) / 2e-6 for h in steps], axis=1) / ERROR
    states, own = j[:, 2:], np.column_stack([j[:, :2], np.full(len(TS), 1 / ERROR)])
    own = own - states @ np.linalg.lstsq(states, own, rcond=None)[0]
    whole = np.column_stack([own, states])
    residuals = error / ERROR - whole @ np.linalg.lstsq(whole, error / ERROR, rcond=None)[0]
    evidence = SimpleNamespace(
        residuals=-residuals,
        roots=own[:, None, :],
        states=states,
        run=np.zeros(len(TS), int),
        time=np.arange(len(TS)),
        freedom=len(TS) - 5,
    )
    prediction = (SWING + error - ERROR * residuals)[None, :, None]
    windows = SimpleNamespace(weight=np.full((1, len(TS), 1), 1 / ERROR))
    likelihood = SimpleNamespace(robust=False, windows=windows)
    return SimpleNamespace(reading=SimpleNamespace(evidence=evidence, prediction=prediction), likelihood=likelihood)


@pytest.mark.parametrize("scatter", [np.ones(300), 0.1 + np.exp(-TS / 4)])
def test_a_chance_is_no_smaller_than_it_says(scatter):
    """Of 300 records of alike and of unlike scatter, 5 % below 0.05 but for four of its standard deviations, 0.0126,
    and not none: a test that never fires is none."""
    rng = np.random.default_rng(0)
    chances = np.array([modulation.chances(posed(ERROR * scatter * rng.normal(size=300))) for _ in range(300)])
    assert np.all(np.mean(chances < 0.05, axis=0) < 0.05 + 4 * 0.0126)
    assert np.all(np.mean(chances < 0.2, axis=0) > 0.05)


def late(y):
    return np.where(TS < 10, 0.0, y)


@pytest.mark.parametrize(
    ("added", "which"),
    [
        (-0.08 * SWING**3, "powers"),
        (0.02 * SWING**2, "powers"),
        (late(0.09 * SWING), "itself"),
        (late(damped(TS - 10, 9.0, 0.2, 0.0, 0.08)), "itself"),
        (damped(TS, 9.3, 1e-3, 0.04), "itself"),
    ],
    ids=["saturation", "a bent scale", "a gain that changed", "a knock", "a hum"],
)
def test_what_is_below_the_scatter_is_seen(added, which):
    """Off by at most a few errors of a reading: nine of ten records have a chance below a thousandth."""
    rng = np.random.default_rng(1)
    chances = [modulation.chances(posed(added + ERROR * rng.normal(size=300))) for _ in range(40)]
    assert np.mean([getattr(each, which) < 1e-3 for each in chances]) > 0.9


def test_it_is_not_asked_of_few_readings_or_of_other_likelihoods():
    whole = posed(-0.05 * SWING**3)
    assert modulation.chances(whole).powers < 1e-3
    whole.likelihood.robust = True
    assert modulation.chances(whole) == (1.0, 1.0)
    whole.likelihood.robust, whole.reading.prediction = False, None
    assert modulation.chances(whole) == (1.0, 1.0)


@pytest.mark.slow
def test_a_fit_says_so():
    """400 readings in which gamma is off by more than 4 of its errors, of a sensor that saturates by 5 % at the largest
    swing, or a gain that changes by 5 % on the way: a warning in seven of ten records, some of it of this kind; and
    none of this kind in thirty that are as the law says."""
    system = ji.System(ji.potentials.Quadratic(9.0), 0.1)
    rng, ts = np.random.default_rng(2), np.linspace(0.0, 20.0, 400)
    swing = damped(ts, *TRUTH)
    for made, count in (
        (np.tanh(0.4 * swing) / 0.4, 10),
        (swing * np.where(ts < 10, 1.0, 1.05), 10),
        (swing, 30),
    ):
        data = [ji.Observations(ts, made + ERROR * rng.normal(size=400), offset=None) for _ in range(count)]
        fits = ji.fit_many(system, data, lambda s: (s.damping.gamma, s.potential.stiffness))
        said = ["; ".join(fits[i].diagnostics.warnings) for i in range(count)]
        seen = np.mean(["residuals go with" in each for each in said])
        if made is swing:
            assert seen == 0
        else:
            z = (np.asarray(fits.values[0]) - 0.2) / np.asarray(fits.stderr[0])
            assert np.mean(z) < -4
            assert np.mean([bool(each) for each in said]) >= 0.7
            assert seen > 0
