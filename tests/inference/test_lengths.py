"""Records of any length, whole windows or not: the start and every residual are the truth's."""

import numpy as np
import pytest
from scipy.linalg import expm

import jaxinertia as ji

from .records import damped

P = ji.potentials
STIFFNESS, GAMMA, Q, V = 1.3, 0.2, 0.4, 0.7


def both(s):
    return s.damping.gamma, s.potential.stiffness


def driven(ts, u, q, v):
    """Positions under a force that runs on a straight line between its samples, by the exponential of the motion, the
    force and its slope together."""
    z, out = np.array([q, v]), [q]
    for h, a, b in zip(np.diff(ts), u[:-1], u[1:], strict=True):
        whole = np.zeros((4, 4))
        whole[:2, :2], whole[1, 2], whole[2, 3] = [[0, 1], [-STIFFNESS, -GAMMA]], 1, 1
        z = (expm(h * whole) @ [*z, a, (b - a) / h])[:2]
        out.append(z[0])
    return np.array(out)


@pytest.mark.parametrize("n", [121, pytest.param(400, marks=pytest.mark.slow), 60])
def test_a_ring_down_of_any_length_has_its_own_start(n):
    """Readings of error e, over two cycles or more, tell position and momentum to a few e: the oscillator's time is of
    order one. Whether windows fill the record or reach beyond it."""
    ts = 2.0 + 0.2 * np.arange(n)
    y, noise = damped(ts - 2.0, STIFFNESS, GAMMA, Q, V), 1e-6 * np.random.default_rng(0).normal(size=n)
    result = ji.fit(ji.System(P.Quadratic()), ji.Observations(ts, y + noise), both)
    np.testing.assert_allclose(np.ravel(result.initial), [Q, V], rtol=0, atol=5e-6)
    assert result.diagnostics.rms == pytest.approx(np.std(noise), rel=0.1)
    np.testing.assert_allclose(result.diagnostics.prediction, y, rtol=0, atol=5e-6)


@pytest.mark.parametrize("n", [pytest.param(40, marks=pytest.mark.slow), 90, pytest.param(137, marks=pytest.mark.slow)])
def test_a_driven_record_of_any_length_has_its_own_start_and_residuals(n):
    """A rough input, whose ways between samples differ: rows are finer than readings. Without noise all is exact, to
    the 1e-5 standard errors to which searches go, of residuals that rounding leaves."""
    rng = np.random.default_rng(n)
    ts, u = 0.5 * np.arange(n), rng.normal(size=n)
    y = driven(ts, u, Q, V)
    gap = np.arange(n) % 11 == 5
    data = ji.Observations(ts, np.where(gap, np.nan, y), input=u)
    result = ji.fit(ji.System(P.Quadratic()), data, both)
    assert "straight line" in result.why
    np.testing.assert_allclose(np.ravel(result.initial), [Q, V], rtol=0, atol=1e-8)
    np.testing.assert_array_equal(np.isnan(result.diagnostics.residuals), gap)
    assert np.nanmax(np.abs(result.diagnostics.residuals)) < 1e-8
    np.testing.assert_allclose(result.diagnostics.prediction[~gap], y[~gap], rtol=0, atol=1e-8)


@pytest.mark.slow
def test_driven_runs_of_unequal_lengths_keep_their_rows():
    """Each run starts from a state of its own, and a reading that is off by 1e-3 shows in its own row."""
    rng = np.random.default_rng(1)
    lengths, starts = (70, 43), ((Q, V), (-0.6, 0.2))
    ts = np.concatenate([0.5 * np.arange(n) for n in lengths])
    us = [rng.normal(size=n) for n in lengths]
    y = np.concatenate([driven(0.5 * np.arange(len(u)), u, *start) for u, start in zip(us, starts, strict=True)])
    bad = np.array([31, 100])
    y[bad] += 1e-3
    data = ji.Observations(ts, y, segment=np.repeat([0, 1], lengths), input=np.concatenate(us))
    result = ji.fit(ji.System(P.Quadratic()), data, both)
    np.testing.assert_allclose(np.transpose(result.initial), starts, rtol=0, atol=1e-3)
    rest = np.delete(np.abs(result.diagnostics.residuals), bad)
    # What 4 parameters and states of 70 readings can take of such a reading is well below a half of it.
    assert np.all(result.diagnostics.residuals[bad] > 5e-4)
    assert rest.max() < 5e-4


@pytest.mark.slow
def test_a_smooth_input_leaves_the_start_alone():
    """A sine that begins at full slope. The curve through its samples is drawn as lines between rows four times as
    fine, which lose (omega h / 4)^2 / 12 of the swing: so much may the start be off. A mirror image at the record's
    ends would kick the momentum ten times as hard."""
    ts, h = 0.5 * np.arange(100), 0.5
    y = damped(ts, STIFFNESS, GAMMA, Q, V)
    # The answer to sin(w t), from rest: the steady swing less the ring-down that begins it.
    omega = 0.9
    swing = 1 / (STIFFNESS - omega**2 + 1j * omega * GAMMA)
    y = (
        y
        + np.imag(swing * np.exp(1j * omega * ts))
        - damped(ts, STIFFNESS, GAMMA, swing.imag, np.imag(1j * omega * swing))
    )
    result = ji.fit(ji.System(P.Quadratic()), ji.Observations(ts, y, input=np.sin(omega * ts)), both)
    assert "band-limited" in result.why
    np.testing.assert_allclose(np.ravel(result.initial), [Q, V], rtol=0, atol=abs(swing) * (omega * h / 4) ** 2 / 12)


def test_many_records_of_any_kind_are_each_fitted_as_alone(tmp_path):
    """Runs, momenta, an offset and missing readings, side by side and one by one: the same numbers, to the 1e-5
    standard errors to which searches go. A file keeps the table."""
    rng, ts = np.random.default_rng(3), 0.2 * np.arange(60)
    y = damped(ts, STIFFNESS, GAMMA, Q, V) + 1e-3 * rng.normal(size=60)
    p = np.gradient(damped(ts, STIFFNESS, GAMMA, Q, V), ts) + 0.1 * rng.normal(size=60)
    data = [
        ji.Observations(ts, y, p),
        ji.Observations(np.append(ts, ts[:45]), np.append(y, -y[:45]), segment=np.repeat([0, 1], [60, 45])),
        ji.Observations(ts, np.where(rng.random(60) < 0.1, np.nan, y), offset=None),
    ]
    system = ji.System(P.Quadratic())
    fits = ji.fit_many(system, data, both)
    assert fits.failures == {}
    for i, one in enumerate(data):
        alone = ji.fit(system, one, both)
        np.testing.assert_allclose(fits.flat[i], alone.flat, rtol=0, atol=2e-5 * np.min(alone.stderr))
        np.testing.assert_allclose(fits.covariance[i], alone.covariance, rtol=1e-3)
        np.testing.assert_allclose(fits[i].diagnostics.residuals, alone.diagnostics.residuals, atol=1e-7)
        assert fits[i].labels == alone.labels
        for name, (value, error) in fits.derived.items():
            assert (value[i], error[i]) == pytest.approx(alone.derived[name], rel=1e-3)
    again = ji.Fits.load(fits.save(tmp_path / "many"), system, both)
    for name in ("flat", "covariance", "converged", "whiteness", "freedom"):
        np.testing.assert_array_equal(getattr(again, name), getattr(fits, name))
    assert again.summary() == fits.summary()
    np.testing.assert_array_equal(again.interval(0.9), fits.interval(0.9))
    with pytest.raises(ValueError, match="table alone"):
        again[0]
    with pytest.raises(ValueError, match="free returns"):
        ji.Fits.load(tmp_path / "many.npz", system, lambda s: s.damping.gamma)
