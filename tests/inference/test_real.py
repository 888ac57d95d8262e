"""Real measurements, where they are present: what is known of them is in the README beside them."""

import numpy as np
import pytest

import jaxinertia as ji

from .records import REAL

P = ji.potentials
pytestmark = pytest.mark.skipif(not REAL.exists(), reason="the real data are not here")


def test_silverbox_ringing_down():
    """gamma = 40.9 within 3 %, f0 = 68.24 Hz; the residuals are correlated, and the fit says so."""
    data = ji.Observations.from_csv(
        REAL / "silverbox_free_decay_segments.csv", time="t_s", position="y_V", segment="segment", offset=None
    )
    result = ji.fit(
        ji.System(P.Duffing(), 0.1), data, lambda s: (s.damping.gamma, s.potential.linear, s.potential.cubic)
    )
    gamma, linear, _ = result.values
    assert gamma == pytest.approx(40.9, rel=0.03)
    assert np.sqrt(linear) / (2 * np.pi) == pytest.approx(68.24, abs=0.1)
    assert 0.1 < result.stderr[0] < 0.4
    assert any("correlated" in w for w in result.diagnostics.warnings)


@pytest.mark.slow
def test_silverbox_driven():
    """gamma within 1 % of 41.9, f0 within 0.1 Hz of 68.32, rms at most 0.31 mV, on the first 2,500 samples."""
    whole = ji.Observations.from_csv(REAL / "silverbox_forced_real1.csv", time="t_s", position="y_V", input="u_V")
    first = slice(0, 2500)
    data = ji.Observations(whole.ts[first], whole.position[first], input=whole.input[first], offset=None)
    result = ji.fit(
        ji.System(P.Duffing(), 0.1),
        data,
        lambda s: (s.damping.gamma, s.potential.linear, s.potential.cubic, s.potential.quadratic, s.force.gain),
    )
    assert result.values[0] == pytest.approx(41.9, rel=0.01)
    assert np.sqrt(result.values[1]) / (2 * np.pi) == pytest.approx(68.32, abs=0.1)
    assert result.diagnostics.rms < 0.31e-3
    assert "band-limited" in result.why


def test_levitated_particle():
    """The z mode, found unasked: gamma in 5.2e3 to 7.6e3, omega within 0.2 % of 388,400 rad/s, an interval that
    overlaps the published 7076 +- 7.4 % with a half-width of at most 1300."""
    with np.load(REAL / "levitated_raw_2p5MHz.npz") as file:
        y, ts = file["counts"] * float(file["volt_per_count"]), np.arange(len(file["counts"])) * float(file["dt"])
    result = ji.fit(
        ji.System(P.Quadratic(), noise=1.0),
        ji.Observations(ts, y, offset=None),
        lambda s: (s.damping.gamma, s.potential.stiffness, s.noise.sigma),
    )
    gamma, stiffness, _ = result.values
    assert result.method == "whittle"
    assert "only the band" in result.why
    assert 5.2e3 < gamma < 7.6e3
    assert np.sqrt(stiffness) == pytest.approx(388_400, rel=0.002)
    low, high = result.interval(0.95)
    assert high[0] > 7076 * (1 - 0.074)
    assert low[0] < 7076 * (1 + 0.074)
    assert (high[0] - low[0]) / 2 <= 1300
