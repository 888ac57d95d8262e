"""A run that diverges says so, once and where; a word is a solver wherever a solver is taken."""

import warnings

import jax
import numpy as np
import pytest

import jaxinertia as ji

TS = np.linspace(0.0, 4.0, 9)
STIFF = ji.System(ji.potentials.Quadratic(1e4))  # omega h = 10 at dt = 0.1: beyond Verlet's 2
KEY = jax.random.key(0)


def first_bad(traj):
    return float(TS[np.argmax(~np.isfinite(np.asarray(traj.inertia)))])


@pytest.fixture(scope="module")
def endless():
    """A potential without a lower bound."""
    return ji.System(lambda q: -(q**4))


def test_a_run_that_diverges_warns_with_the_first_bad_time(endless):
    with pytest.warns(RuntimeWarning, match=r"not finite from t = .*smaller dt") as caught:
        traj = ji.simulate(endless, TS, 1.0, dt=0.05)
    (said,) = [warning for warning in caught if warning.category is RuntimeWarning]
    assert f"t = {first_bad(traj):g} on" in str(said.message)
    assert f"NOT FINITE from t = {first_bad(traj):g} on" in repr(traj)


def test_it_can_be_told_not_to(endless):
    assert not np.isfinite(ji.simulate(endless, TS, 1.0, dt=0.05, warn=False).inertia[-1])


def test_a_bad_start_is_told_from_a_bad_run():
    with pytest.warns(RuntimeWarning, match=r"not finite at the start, t = 0"):
        ji.simulate(ji.System(lambda q: 1 / q), TS, 0.0, dt=0.5)


def test_jit_vmap_and_sweeps_do_not_warn(endless):
    run = lambda q: ji.simulate(endless, TS, q, dt=0.05).inertia[-1]  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.isfinite(jax.jit(run)(1.0))
        assert not np.isfinite(jax.vmap(run)(np.array([1.0, 2.0]))).any()
        assert ji.sweep(run, {"q": np.array([0.0, 1.0])}).failed == 1


def test_rows_after_an_event_are_no_divergence():
    import diffrax

    event = diffrax.Event(lambda t, y, args, **_: y.position < 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traj = ji.simulate(ji.System(ji.potentials.Quadratic()), TS, 1.0, dt=0.1, event=event)
    assert np.isnan(traj.inertia[-1])


def same(found, wanted):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_word_is_a_solver_everywhere():
    system, hot = ji.System(ji.potentials.Duffing()), ji.System(ji.potentials.Quadratic(), 0.3, 0.2)
    pairs = [("B", 0.5), ("A", 1.0), ("B", 0.5)]
    known = ji.solvers.Splitting("BAB")
    run = lambda solver: ji.simulate(system, TS, 1.0, 0.3, dt=0.1, solver=solver)  # noqa: E731
    same(run("BAB"), run(known))
    same(run(pairs), run(known))
    calls = (
        lambda solver: ji.modified_inertia(system, 1.0, 0.3, 0.1, solver=solver),
        lambda solver: ji.shadow_inertia(system, 1.0, 0.3, 0.1, solver=solver, steps=16),
    )
    for call in calls:
        same(call("BAB"), call(known))
    with pytest.raises(ValueError, match="step_error = True needs at least two steps"):  # of a splitting: it knows it
        ji.ensemble(hot, TS, 1.0, n=4, key=KEY, substeps=1, step_error=True, solver="OBABO")


@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_solver_is_refused():
    for bad in (3.0, object()):
        with pytest.raises(ValueError, match=r"solver = .* must be a word such as 'BAOAB'"):
            ji.simulate(STIFF, TS, 1.0, dt=0.1, solver=bad)
    with pytest.raises(ValueError, match=r"solver = 'xyz': .*letter 'x'"):
        ji.simulate(STIFF, TS, 1.0, dt=0.1, solver="xyz")
