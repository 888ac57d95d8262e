"""Where dry friction stops a motion: the search ends on the right one of its last turns."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.inference import stops
from jaxinertia.inference.gliding import Gliding
from jaxinertia.inference.least_squares import pose
from jaxinertia.inference.record import on_one_grid
from jaxinertia.inference.search import SAME, Options, run
from jaxinertia.inference.task import prepare

TS, ERROR = np.linspace(0, 30, 301), 0.003
LINEAR, DRY, STIFFNESS = 0.05, 0.08, 4.0


def rubbed(ts, linear, dry, stiffness):
    """x'' + linear x' + dry sign(x') + stiffness x = 0 from rest at 1: damped half-swings about dry / stiffness and
    -dry / stiffness in turn, till it sticks."""
    omega = np.sqrt(stiffness - linear**2 / 4)
    half, hold, out = np.pi / omega, dry / stiffness, np.empty_like(ts)
    q, start = 1.0, 0.0
    while abs(q) > hold and start < ts[-1]:
        middle, t = np.sign(q) * hold, ts[ts >= start] - start
        decay, phase = np.exp(-linear * t / 2), omega * t
        out[ts >= start] = middle + (q - middle) * decay * (np.cos(phase) + linear / (2 * omega) * np.sin(phase))
        q, start = middle - (q - middle) * np.exp(-linear * half / 2), start + half
    if start < ts[-1]:
        out[ts >= start] = q
    return out


def noise_of(seeds):
    return [ERROR * np.random.default_rng(seed).normal(size=len(TS)) for seed in seeds]


def free(s):
    return s.damping.linear, s.damping.dry, s.potential.stiffness


SYSTEM = ji.System(ji.potentials.Quadratic(STIFFNESS), ji.damping.Drag(LINEAR, dry=DRY))


def test_a_search_that_ends_on_another_turn_goes_on_to_the_right_one():
    """No best fit is worse than the truth. The wrong one ends beside where friction less by 2.5 % stops the motion half
    a swing later, linear friction being greater by as much as keeps the swing before; the mend finds the optimum that a
    search from the truth does, of all records at once."""
    noise = noise_of(range(4))
    with jax.enable_x64(True):
        data = [ji.Observations(TS, rubbed(TS, LINEAR, DRY, STIFFNESS) + e, position_error=ERROR) for e in noise]
        options = Options(60)
        task = prepare(SYSTEM, data[0], free, None, None, None, "squares", options)
        records = on_one_grid(task.system, task.parameters, data)
        likelihood = pose(records, records.longest, Gliding(2))
        length, time = records.units.length, records.units.time

        def searched(linear, dry, q, p):
            u = records.parameters.coordinate(np.arange(3), np.array([linear, dry, STIFFNESS]))
            x = np.stack([q / length, p / length * time], axis=-1)[:, None]
            return run(likelihood, np.tile(u, (4, 1)), x, options)

        right, wrong = searched(LINEAR, DRY, 1.0, 0.0), searched(0.0526, 0.078, 1.0019, -0.0015)
        found = stops.on_their_turns(likelihood, wrong, options)
    truth = np.array([np.sum(e**2) for e in noise]) / ERROR**2 / 2
    assert np.count_nonzero(wrong.cost > truth + 5) >= 2
    assert found.ended.all()
    assert np.all(found.cost < truth)
    assert np.all(found.cost <= right.cost + SAME)
    replaced = replace(SYSTEM, damping=ji.damping.Linear(0.1))
    assert stops.on_their_turns(replace(likelihood, system=replaced), wrong, options) is wrong


def test_which_motions_stop():
    """One at rest, one a half-swing before, and one that has several to go."""
    at_rest = rubbed(TS, LINEAR, DRY, STIFFNESS)
    before, long_before = (np.where(end > TS, at_rest, np.nan) for end in (26.0, 18.0))
    found = stops._last(np.stack([at_rest, before, long_before, np.full_like(TS, np.nan)]))
    np.testing.assert_array_equal(found.stops, [True, True, False, False])
    half = np.pi / np.sqrt(STIFFNESS - LINEAR**2 / 4)
    np.testing.assert_allclose(TS[found.row[:2]], [17 * half, 16 * half], atol=TS[1])
    np.testing.assert_allclose(TS[found.turns[:2]], [15 * half, 14 * half], atol=TS[1])


@pytest.mark.slow
def test_fits_of_motions_that_stop_hold_the_truth():
    """By the fit that a user calls, of frictions from a lot: never worse than the truth, within its errors, and with
    nothing said against the model."""
    rng = np.random.default_rng(0)
    truths = np.stack([rng.uniform(0.02, 0.1, 24), rng.uniform(0.06, 0.15, 24), np.full(24, STIFFNESS)], axis=1)
    noise = noise_of(range(24))
    data = [ji.Observations(TS, rubbed(TS, *truth) + e) for truth, e in zip(truths, noise, strict=True)]
    fits = ji.fit_many(ji.System(ji.potentials.Quadratic(3.0), ji.damping.Drag(0.1, dry=0.05)), data, free)
    assert not fits.failures
    off = (fits.flat - truths) / np.sqrt(np.diagonal(fits.covariance, axis1=1, axis2=2))
    assert np.mean(np.abs(off) < 2) > 0.9
    assert np.max(np.abs(off)) < 4
    for fit, e in zip((fits[i] for i in range(24)), noise, strict=True):
        assert np.sum(fit.diagnostics.residuals**2) < np.sum(e**2)
