"""What searches are not begun for, and where they end."""

import numpy as np
import pytest

import jaxinertia as ji

from .records import damped

P = ji.potentials
TS = np.linspace(0, 20, 200)


def test_a_constant_input_and_a_free_offset_are_called_collinear():
    """Both shift the place of rest; with the gain held, or the offset, a record tells the other. In `fit_many` such a
    record is refused, and the others are not."""
    rng = np.random.default_rng(0)
    y = 0.4 + damped(TS, 2.0, 0.3) + 0.01 * rng.normal(size=200)

    def free(s):
        return s.damping.gamma, s.potential.stiffness, s.force.gain

    constant = ji.Observations(TS, y, offset=None, input=np.ones(200))
    with pytest.raises(ValueError, match=r"collinear\); give the offset, or hold the gain"):
        ji.fit(ji.System(P.Quadratic(2.0), 0.3), constant, free)
    varied = ji.Observations(TS, y, offset=None, input=0.3 * np.sin(0.5 * TS))
    fits = ji.fit_many(ji.System(P.Quadratic(2.0), 0.3), [varied, constant], free)
    assert set(fits.failures) == {1}
    assert "collinear" in fits.failures[1]
