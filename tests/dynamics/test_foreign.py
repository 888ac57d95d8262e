"""diffrax's solvers and adjoints through `simulate`, all of them: each runs rightly, or says what to take instead."""

import inspect

import diffrax
import jax
import numpy as np
import optimistix
import pytest

import jaxinertia as ji

pytestmark = pytest.mark.usefixtures("without_type_checks")

TS = np.linspace(0, 1, 3)
QUIET = ji.System(ji.potentials.Quadratic(1.5), damping=0.4)
NOISY = ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=0.7)
PID = diffrax.PIDController(rtol=1e-5, atol=1e-5)
BAOAB, HALF, ROOT = ji.solvers.Splitting("BAOAB"), diffrax.HalfSolver, diffrax.VeryChord

# Solvers by what they can do: noise-free runs at fixed and at adapted steps, and noisy runs.
BOTH = [diffrax.Bosh3, diffrax.Dopri5, diffrax.Dopri8, diffrax.Tsit5]  # noise-free alone
FIXED = [diffrax.LeapfrogMidpoint]
IMPLICIT = [diffrax.ImplicitEuler, diffrax.Kvaerno3, diffrax.Kvaerno4, diffrax.Kvaerno5]
ANY = [diffrax.Heun, diffrax.Midpoint, diffrax.Ralston, diffrax.ReversibleHeun]
EULER = [diffrax.Euler]
STOCHASTIC = [diffrax.ShARK, diffrax.SPaRK, diffrax.SRA1]
STOCHASTIC_FIXED = [
    diffrax.EulerHeun, diffrax.GeneralShARK, diffrax.ItoMilstein, diffrax.SEA, diffrax.SlowRK,
    diffrax.StratonovichMilstein,
]  # fmt: skip
LANGEVIN = [diffrax.ALIGN, diffrax.ShOULD, diffrax.QUICSORT]
APART = [diffrax.SemiImplicitEuler]
SPLIT = [diffrax.KenCarp3, diffrax.KenCarp4, diffrax.KenCarp5, diffrax.Sil3]


def make(kind):
    return kind(0.01) if kind in LANGEVIN else kind()


def run(solver, system=QUIET, ts=TS, **options):
    options = {"dt": 0.1} | options
    key = None if system.noise is None else jax.random.key(0)
    return ji.simulate(system, ts, 1.0, solver=solver, key=key, **options)


def test_every_solver_and_adjoint_of_diffrax_is_in_these_tables():
    def public(base):
        found = [x for name, x in vars(diffrax).items() if inspect.isclass(x) and not name.startswith("Abstract")]
        return {x for x in found if issubclass(x, base)}

    tables = [BOTH, FIXED, IMPLICIT, ANY, EULER, STOCHASTIC, STOCHASTIC_FIXED, LANGEVIN, APART, SPLIT, [HALF]]
    assert {kind for table in tables for kind in table} == public(diffrax.AbstractSolver)
    assert {type(adjoint) for adjoint, _ in ADJOINTS} == public(diffrax.AbstractAdjoint)


REFUSED = [  # solvers, what they are asked, what to take
    (APART, dict(), r"Splitting\('AB'\)"),
    (APART, dict(system=NOISY), r"Splitting\('AB'\)"),
    (SPLIT, dict(), "Kvaerno"),
    (SPLIT, dict(stepsize_controller=PID), "Kvaerno"),
    (STOCHASTIC + STOCHASTIC_FIXED + LANGEVIN, dict(), "is for noise.*Tsit5"),
    (STOCHASTIC + STOCHASTIC_FIXED + LANGEVIN, dict(stepsize_controller=PID), "is for noise.*Tsit5"),
    (BOTH + FIXED + IMPLICIT, dict(system=NOISY), "not made for noise.*Splitting.*ShARK"),
    (BOTH + FIXED + IMPLICIT, dict(system=NOISY, stepsize_controller=PID), "not made for noise.*Splitting.*ShARK"),
    (IMPLICIT, dict(), r"PIDController\(rtol.*VeryChord"),
    (EULER + FIXED, dict(stepsize_controller=PID), "no error estimate.*HalfSolver"),
    (EULER, dict(system=NOISY, stepsize_controller=PID), r"Euler with noise.*HalfSolver\(diffrax.EulerHeun"),
]
REFUSALS = [(kind, asked, remedy) for kinds, asked, remedy in REFUSED for kind in kinds]


@pytest.mark.parametrize(("kind", "asked", "remedy"), REFUSALS)
def test_a_solver_that_does_not_fit_says_what_to_take(kind, asked, remedy):
    with pytest.raises(ValueError, match=remedy):
        run(make(kind), **asked)


@pytest.mark.parametrize("kind", STOCHASTIC_FIXED[:1] + LANGEVIN[1:2])
def test_a_noisy_solver_without_an_error_estimate_cannot_adapt(kind):
    with pytest.raises(ValueError, match=r"no error estimate.*HalfSolver"):
        run(make(kind), NOISY, stepsize_controller=PID)


def test_a_half_solver_takes_a_splitting():
    check_quiet(HALF(BAOAB), dt=0.05)


@pytest.mark.parametrize("controller", [PID, diffrax.ClipStepSizeController(PID, step_ts=TS)])
def test_a_splitting_adapts_inside_a_half_solver_alone(controller):
    with pytest.raises(ValueError, match=r"no error estimate.*HalfSolver"):
        run(BAOAB, stepsize_controller=controller)


def check_quiet(solver, **options):
    """States to the tolerance or the order, and an account of friction that leaves as little."""
    traj = run(solver, **options)
    exact = np.array(ji.analytic.quadratic(TS, 1.0, 0.0, 1.5, 0.4))
    size = 2e-3 if isinstance(solver, (diffrax.Euler, diffrax.ImplicitEuler)) else 1e-4
    assert np.abs(np.array([traj.position, traj.momentum]) - exact).max() < 10 * size
    assert np.abs(traj.balance.discretization).max() < 10 * size
    assert np.abs(traj.balance.total - (traj.inertia - traj.inertia[0])).max() < 1e-12


@pytest.mark.slow
def test_a_half_solver_takes_a_splitting_at_fixed_and_at_adapted_steps():
    for options in (dict(dt=0.05), dict(stepsize_controller=PID, dt=None)):
        check_quiet(HALF(BAOAB), **options)
    traj = run(HALF(BAOAB), NOISY, dt=0.05)
    assert np.abs(traj.balance.discretization).max() < 1e-2
    assert np.all(traj.balance.friction[1:] < 0)


@pytest.mark.slow
def test_a_half_solver_draws_what_its_own_solver_needs():
    assert np.all(np.isfinite(run(HALF(diffrax.ShARK()), NOISY).inertia))


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOTH + IMPLICIT + ANY + [lambda: HALF(diffrax.Euler()), lambda: HALF(diffrax.Tsit5())])
def test_noise_free_runs_at_adapted_steps_are_right(kind):
    check_quiet(kind(), stepsize_controller=PID, dt=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver",
    [make(kind) for kind in BOTH + FIXED + ANY + EULER]
    + [HALF(diffrax.Tsit5())]
    + [kind(root_finder=ROOT(rtol=1e-8, atol=1e-8, norm=optimistix.max_norm)) for kind in IMPLICIT],
)
def test_noise_free_runs_at_fixed_steps_are_right(solver):
    check_quiet(solver, dt=1 / 256)


@pytest.mark.slow
@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize(
    "kind", STOCHASTIC + STOCHASTIC_FIXED + ANY + EULER + LANGEVIN + [lambda: HALF(diffrax.EulerHeun())]
)
def test_noisy_runs_follow_the_path_of_a_fine_run(kind, adapted):
    """The same tree for a Splitting at a step of 2^-12: all converge to one path, of strong order 1 or more."""
    solver = make(kind)
    if adapted and kind in STOCHASTIC_FIXED + EULER + LANGEVIN:
        pytest.skip("has no error estimate to adapt by")
    tree = diffrax.VirtualBrownianTree(0.0, 1.0, 2**-14, (), jax.random.key(3), levy_area=diffrax.SpaceTimeTimeLevyArea)
    how = dict(stepsize_controller=diffrax.PIDController(rtol=1e-3, atol=1e-3), dt=None) if adapted else dict(dt=2**-7)
    traj = ji.simulate(NOISY, TS, 1.0, solver=solver, path=tree, **how)
    fine = ji.simulate(NOISY, TS, 1.0, dt=2**-12, path=tree)
    assert np.abs(traj.position - fine.position).max() < 0.02
    balance = traj.balance  # discretization cannot be told from the noise, and Langevin solvers keep no balance
    booked = balance.friction + balance.noise + balance.work
    assert np.abs(booked - (traj.inertia - traj.inertia[0])).max() < 1e-12 or kind in LANGEVIN


ADJOINTS = [  # and what is said where it cannot go back through a trajectory
    (diffrax.RecursiveCheckpointAdjoint(), None),
    (diffrax.DirectAdjoint(), None),
    (diffrax.ForwardMode(), None),
    (diffrax.BacksolveAdjoint(), None),
    (diffrax.ImplicitAdjoint(), "steady states.*RecursiveCheckpointAdjoint"),
]


@pytest.mark.parametrize(("adjoint", "refusal"), [pytest.param(*ADJOINTS[3], marks=pytest.mark.slow), ADJOINTS[4]])
def test_adjoints_are_exact_or_refused(adjoint, refusal):
    """d q(1) / d gamma of the closed form; the adjoint equation is solved to the same tolerance of 1e-8."""
    controller = diffrax.PIDController(rtol=1e-8, atol=1e-8)

    def late(gamma):
        system = ji.System(ji.potentials.Quadratic(1.5), damping=gamma)
        return run(diffrax.Tsit5(), system, stepsize_controller=controller, adjoint=adjoint).position[-1]

    exact = jax.grad(lambda gamma: ji.analytic.quadratic(1.0, 1.0, 0.0, 1.5, gamma)[0])(0.4)
    if refusal is not None:
        with pytest.raises(ValueError, match=refusal):
            late(0.4)
    else:
        assert jax.grad(late)(0.4) == pytest.approx(float(exact), abs=1e-6)


BACKSOLVE = diffrax.BacksolveAdjoint()
NEVER = diffrax.Event(lambda t, y, args, **kwargs: y.position > 2)


@pytest.mark.parametrize(
    ("solver", "asked", "why"),
    [
        (BAOAB, dict(), "a Splitting cannot"),
        (diffrax.Heun(), dict(system=NOISY), "no noise"),
        (diffrax.Tsit5(), dict(), "PIDController"),
        (diffrax.Tsit5(), dict(stepsize_controller=PID, event=NEVER), "no event"),
    ],
)
def test_where_backsolve_cannot_it_is_refused(solver, asked, why):
    with pytest.raises(ValueError, match=f"BacksolveAdjoint.*{why}.*leave adjoint= out"):
        run(solver, adjoint=BACKSOLVE, **asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(dt=1e-6), r"dt = 1e-06 ask for 1e\+15 steps.*larger dt"),
        (dict(dt=1e-300), "ask for inf steps"),
        (dict(dt=None, substeps=10**15), r"substeps = 1000000000000000 ask for 1e\+15 steps.*smaller substeps"),
        (dict(dt=1.0, solver=diffrax.Tsit5()), "999999000 steps, more than"),
        (dict(dt=1e6, solver=diffrax.Tsit5(), max_steps=5), "max_steps = 5, but ts and dt ask for 1000 steps"),
    ],
)
def test_more_steps_than_can_be_counted_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        run(options.pop("solver", None), ts=[0, 1e9], **options)


def test_a_run_that_max_steps_ends_says_so():
    with pytest.raises(Exception, match="max_steps = 2 steps did not reach the last of ts"):
        run(diffrax.Tsit5(), stepsize_controller=PID, max_steps=2)
