"""The laws of `test_laws` in both loops, under vmap, in float32, with their derivatives, and at the edges."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS
from .test_laws import CASES, END, START, end_point, reference, system_of, varied, word_of

D, K = ji.damping, ji.kinetic


def some(*fast):
    """All cases; those that are not named are slow."""
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", some("drag, pushed", "place", "relativistic"))
def test_scan_and_diffeqsolve_agree_to_rounding(name):
    """Twelve steps that round values of size 1 some ten times each, and amplify little."""
    case, ts = CASES[name], np.linspace(0, 1.2, 3)
    traj = ji.simulate(system_of(case), ts, *START, substeps=6, solver=word_of(case))
    args, y0 = ji.solvers.initial(system_of(case), *START)
    solution = diffrax.diffeqsolve(
        ji.solvers.terms(args), word_of(case), 0.0, 1.2, 0.1, y0, args=args, saveat=diffrax.SaveAt(ts=jnp.asarray(ts))
    ).ys
    for ours, theirs in (
        (traj.position, solution.position),
        (traj.momentum, solution.momentum),
        (traj.balance.friction, solution.friction),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=500 * EPS)


@pytest.mark.parametrize("name", some("power law", "gyroscopic, masses"))
def test_reverse_mode_under_vmap_is_forward_mode_in_a_loop(name):
    """Values and derivatives in all numbers of the law, K and the state, for three laws and states at once."""
    case = CASES[name]
    arrays, rest = eqx.partition(system_of(case), eqx.is_inexact_array)
    weights = jnp.array([1.0, -0.7, 0.4, 0.9, 0.3])
    word = word_of(case)

    def number(point):
        arrays, q, p = point
        return weights @ end_point(eqx.combine(arrays, rest), q, p, word)

    point = arrays, *map(jnp.asarray, START)
    points = [jax.tree.map(lambda x, by=by: by * x, point) for by in (0.9, 1.0, 1.2)]
    step = varied(jax.random.key(1), point)
    values, slopes = jax.vmap(jax.value_and_grad(number))(jax.tree.map(lambda *x: jnp.stack(x), *points))
    forward = jax.jit(lambda point: jax.jvp(number, (point,), (step,)))
    for i, one in enumerate(points):
        value, tangent = forward(one)
        assert values[i] == pytest.approx(float(value), rel=1e-13, abs=1e-13)
        reverse = sum(jnp.sum(s[i] * d) for s, d in zip(jax.tree.leaves(slopes), jax.tree.leaves(step), strict=True))
        assert reverse == pytest.approx(float(tangent), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("name", some("time, pushed", "relativistic, drag"))
def test_a_float32_run_is_near_the_float64_run(name):
    """Sixteen steps of size 0.1 that round to 6e-8."""
    case = CASES[name]
    runs = []
    for dtype in (jnp.float64, jnp.float32):
        start = [jnp.asarray(x, dtype) for x in START]
        traj = ji.simulate(system_of(case), np.array([0.0, 0.8, 1.6]), *start, substeps=8, solver=word_of(case))
        assert traj.position.dtype == traj.balance.friction.dtype == dtype
        runs.append(traj)
    double, single = runs
    for field in ("position", "momentum"):
        np.testing.assert_allclose(getattr(single, field), getattr(double, field), rtol=0, atol=5e-6)
    np.testing.assert_allclose(single.balance.friction, double.balance.friction, rtol=2e-5, atol=1e-7)


EXACT = {
    "relativistic": (ji.solvers.suzuki4(), None),
    "drag": (ji.solvers.blanes_moan4(), None),
    "gyroscopic, masses": (diffrax.Dopri8(), diffrax.PIDController(rtol=1e-12, atol=1e-13)),
}


@pytest.mark.parametrize("name", EXACT)
def test_to_nine_digits(name):
    """Two splittings of order 4 and a solver of diffrax's, against SciPy's DOP853: state and friction."""
    case, (solver, controller) = CASES[name], EXACT[name]
    options = dict(substeps=600) if controller is None else dict(stepsize_controller=controller)
    traj = ji.simulate(system_of(case), np.array([0.0, END]), *START, solver=solver, **options)
    found = np.concatenate([traj.position[-1], traj.momentum[-1], traj.balance.friction[-1:]])
    np.testing.assert_allclose(found, reference(case), rtol=0, atol=1e-9)


# From rest, with numbers at the edge of what they may be: a function of the numbers and the momentum, the numbers, and
# the side on which they may be varied (0 for both).
EDGES = {
    "drag of nothing": (lambda x: D.Drag(x[0], x[1], x[2]), K.Euclidean(), [0.0, 0.0, 0.0], 1, "BAOAB"),
    "drag of nothing, pushed": (lambda x: D.Drag(x[0], x[1], x[2]), K.Euclidean(), [0.0, 0.0, 0.0], 1, "AFA"),
    "a power of 1": (lambda x: D.PowerLaw(x[0], x[1], x[2]), K.Euclidean(), [0.2, 1.0, 0.0], 1, "BAOAB"),
    "no friction, relativistic": (lambda x: D.Linear(x[0]), K.Relativistic(0.8), [0.0], 1, "BAOAB"),
    "no friction, a power": (lambda x: D.Linear(x[0]), K.PowerLaw(3.0), [0.0], 1, "BAOAB"),
    "no curvature": (lambda x: D.CurvatureAware(x[0]), K.Euclidean(), [0.0], 1, "OBABO"),
    "no time": (lambda x: D.TimeVarying(lambda t: x[0] * t), K.Euclidean(), [0.0], 1, "AFA"),
    "no sum": (lambda x: D.Sum(D.Drag(x[0], x[1]), D.Momentum(x[2])), K.Mass(2.0), [0.0, 0.0, 0.0], 1, "OBABO"),
}
FAST = ("drag of nothing", "a power of 1", "no friction, relativistic")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in EDGES])
def test_derivatives_at_the_edge(name):
    """gamma = 0, n = 1 and p = 0: reverse mode against differences of order 2 with steps of 1e-4, so to 1e-7."""
    law, kinetic, numbers, side, word = EDGES[name]

    @jax.jit
    @jax.value_and_grad
    def end(x):
        system = ji.System(ji.potentials.Duffing(), damping=law(x), kinetic=kinetic)
        traj = ji.simulate(system, np.array([0.0, 1.0]), 1.0, x[-1], substeps=10, solver=ji.solvers.Splitting(word))
        return traj.position[-1] + 0.5 * traj.momentum[-1] + 0.3 * traj.balance.friction[-1]

    x, h = np.array([*numbers, 0.0]), 1e-4
    value, slopes = end(x)
    for i, slope in enumerate(slopes):
        step = h * np.eye(len(x))[i]
        if side and i < len(numbers) and x[i] == 0:
            difference = (4 * end(x + step)[0] - end(x + 2 * step)[0] - 3 * value) / (2 * h)
        else:
            difference = (end(x + step)[0] - end(x - step)[0]) / (2 * h)
        assert slope == pytest.approx(float(difference), rel=1e-6, abs=1e-7), i
