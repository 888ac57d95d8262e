"""A run with a bar is the same run, and the bar counts the steps whose numbers are there."""

import diffrax
import jax
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.dynamics import grid, progress

NOISY = ji.System(ji.potentials.Quadratic(1.5), damping=0.3, noise=0.2)
UNEVEN = np.concatenate([[0.0], np.cumsum(0.05 + 0.1 * np.arange(1, 231) % 0.35)])


def both(system, ts, **settings):
    return [ji.simulate(system, ts, 1.0, **settings, progress=shown) for shown in (False, True)]


def test_the_run_is_the_same_to_rounding_and_the_bar_ends_with_all_its_steps(capfd, tmp_path):
    """230 uneven intervals in rows of common steps, with noise; in a store too."""
    settings = dict(dt=0.02, key=jax.random.key(0))
    plain, shown = both(NOISY, UNEVEN, **settings)
    told = capfd.readouterr().err
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(shown), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    assert told.count("0%|") >= 2
    assert "100%|" in told
    kept = ji.simulate(NOISY, UNEVEN, 1.0, **settings, store=tmp_path / "run.zarr", progress=True)
    np.testing.assert_allclose(kept.position[:], plain.position, rtol=0, atol=1e-12)
    assert "100%|" in capfd.readouterr().err


def test_nothing_is_shown_unasked(capfd):
    ji.simulate(NOISY, UNEVEN, 1.0, dt=0.02, key=jax.random.key(0))
    assert capfd.readouterr().err == ""


def test_the_bar_counts_what_is_done_and_not_what_is_under_way(monkeypatch):
    """After each part, in steps: rows of 3 steps in parts of 4 rows, 10 in all; the first part is the start alone."""
    seen = []

    class Bar(progress.tqdm):
        def update(self, n=1):
            seen.append(n)
            self.n += n

    monkeypatch.setattr(progress, "tqdm", Bar)

    assert list(progress.watched(iter("abcd"), grid.plan(np.arange(11.0), None, 3), 4)) == list("abcd")
    assert seen == [0, 12, 12, 6]


def test_diffrax_shows_its_own_bar(capfd):
    settings = dict(solver=diffrax.Tsit5(), stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6))
    plain, shown = both(NOISY.without_noise(), np.linspace(0, 20, 5), **settings)
    np.testing.assert_allclose(plain.position, shown.position, rtol=1e-12)
    assert "100.00%|" in capfd.readouterr().err


@pytest.mark.parametrize("rows", [1, 7, 100, 101, 200, 997, 12345])
def test_parts_are_about_a_hundred_and_equal_where_they_can_be(rows):
    size = progress._part(rows)
    assert 1 <= size <= max(1, rows)
    assert -(-rows // size) <= progress.PARTS
    assert rows < progress.PARTS or -(-rows // size) >= progress.PARTS // 3


def test_where_nothing_runs_yet_a_bar_is_refused():
    def last(gamma):
        system = ji.System(ji.potentials.Quadratic(), gamma)
        return ji.simulate(system, np.linspace(0, 1, 3), 1.0, dt=0.1, progress=True).inertia[-1]

    for mapped in (jax.jit(last), jax.grad(last)):
        with pytest.raises(ValueError, match=r"progress=True .* leave it out there"):
            mapped(0.1)
    with pytest.raises(ValueError, match="no progress"):
        ji.simulate(NOISY.without_noise(), [0.0, 1.0], 1.0, dt=0.1, adjoint="reversible", progress=True)


@pytest.mark.usefixtures("without_type_checks")
def test_progress_is_a_flag():
    with pytest.raises(ValueError, match="progress = 'yes'"):
        ji.simulate(NOISY, [0.0, 1.0], 1.0, dt=0.1, progress="yes")
