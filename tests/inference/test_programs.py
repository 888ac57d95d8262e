"""How many programs a first fit compiles: two searches, residuals with their slopes, and two of derived numbers."""

import jax
import numpy as np
from jax import monitoring

import jaxinertia as ji
from jaxinertia.inference import free_leaves, standing
from jaxinertia.inference.normal import solve


def test_a_first_fit_compiles_no_more_programs_than_it_has_phases():
    """Of a length that no other test has. What is done on the host is NumPy's; each stray operation would be one."""
    ts, found = np.arange(211) * 0.1, []

    def note(event, duration, **more):
        if event.endswith("backend_compile_duration"):
            found.append(more.get("fun_name", ""))

    rng = np.random.default_rng(0)
    data = ji.Observations(ts, np.exp(-0.1 * ts) * np.cos(2 * ts) + 0.01 * rng.normal(size=len(ts)))
    system = ji.System(ji.potentials.Quadratic(), damping=0.1)
    monitoring.register_event_duration_secs_listener(note)
    try:
        ji.fit(system, data, lambda s: (s.damping.gamma, s.potential.stiffness)).summary()
    finally:
        monitoring.unregister_event_duration_listener(note)
    phases = ("_run", "_run", "_linearise", "_small_motions", "_slopes")
    assert set(found) <= {f"jit({name})" for name in phases}
    assert len(found) <= len(phases)


def test_values_and_slopes_in_numpy_are_those_of_jax():
    system = ji.System(ji.potentials.Duffing(1.2, 0.8), damping=0.1)
    chosen = free_leaves.choose(
        system,
        lambda s: (s.damping.gamma, s.potential.linear, s.potential.cubic, s.potential.quadratic),
        bounds=(None, (0.0, 3.0), (None, 2.0), None),
    )
    u = np.random.default_rng(0).normal(size=(5, 4))
    assert set(chosen.kinds) == {"above", "between", "below", "real"}
    for ours, theirs in zip(standing.natural(u, chosen), standing._natural(u, chosen), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-14)


def test_equations_are_solved_alike_by_numpy_and_jax():
    rng = np.random.default_rng(1)
    root, right = rng.normal(size=(6, 3, 3)), rng.normal(size=(6, 3, 2))
    matrix = root @ np.swapaxes(root, -1, -2) + np.eye(3)
    np.testing.assert_allclose(solve(matrix, right, np), np.linalg.solve(matrix, right), rtol=1e-12)
    np.testing.assert_allclose(jax.jit(solve)(matrix, right), solve(matrix, right, np), rtol=1e-12)
