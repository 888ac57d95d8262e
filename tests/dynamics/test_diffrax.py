"""One solver, two runs: the nested scan and `diffrax.diffeqsolve` agree to rounding. And diffrax's own solvers."""

from itertools import pairwise

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS, slope
from ..worlds import END, GAMMA, START, drive, potential, reference, world

EVEN = np.linspace(0, END, 9)
UNEVEN = np.array([0.0, 0.13, 0.2, 0.71, 1.5, 1.93, END])
DT = 0.05


def substeps_between(ts, n):
    """All step times, n in each interval, with ts among them."""
    pieces = [np.linspace(a, b, n + 1)[:-1] for a, b in pairwise(ts)]
    return np.append(np.concatenate(pieces), ts[-1])


def by_diffeqsolve(system, ts, step_times, solver, path=None):
    args, y0 = ji.solvers.initial(system, *START)
    return diffrax.diffeqsolve(
        ji.solvers.terms(args, path),
        solver,
        ts[0],
        ts[-1],
        None,
        y0,
        args=args,
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts)),
        stepsize_controller=diffrax.StepTo(jnp.asarray(step_times)),
        max_steps=len(step_times),
    ).ys


def check_same(traj, phases, bound):
    for ours, theirs in ((traj.position, phases.position), (traj.momentum, phases.momentum)):
        assert np.abs(ours - theirs).max() <= bound
    assert np.abs(traj.balance.friction - phases.friction).max() <= bound
    if phases.work is not None:
        assert np.abs(traj.balance.work - phases.work).max() <= bound
    if phases.noise is not None:
        assert np.abs(traj.balance.noise - phases.noise).max() <= bound


# Each of some 50 steps rounds values of size 10 (Rosenbrock's gradient) a few times, and the world amplifies an early
# error by at most e^{rate END}, with the rate below 2 on this path.
ROUNDING = 50 * 10 * 4 * EPS * np.exp(2 * END)


@pytest.mark.parametrize("solver", ["OBA", "OBABO", "BDB", "suzuki4"])
def test_scan_and_diffeqsolve_agree_to_rounding(solver):
    """States, friction and work of a damped driven world, on even times."""
    solver = ji.solvers.suzuki4() if solver == "suzuki4" else ji.solvers.Splitting(solver)
    system = world(damped=True, driven=True)
    traj = ji.simulate(system, EVEN, *START, dt=DT, solver=solver)
    check_same(traj, by_diffeqsolve(system, EVEN, substeps_between(EVEN, 5), solver), ROUNDING)


def test_scan_and_diffeqsolve_agree_on_uneven_times():
    """With substeps, which fixes the number of steps of every interval."""
    system = world(damped=True, driven=True)
    traj = ji.simulate(system, UNEVEN, *START, substeps=8)
    phases = by_diffeqsolve(system, UNEVEN, substeps_between(UNEVEN, 8), ji.solvers.Splitting("BAOAB"))
    check_same(traj, phases, ROUNDING)


def test_frictionless_words_agree_too():
    system = world()
    for solver in (ji.solvers.Splitting("BA"), ji.solvers.yoshida4()):
        traj = ji.simulate(system, EVEN, *START, dt=DT, solver=solver)
        check_same(traj, by_diffeqsolve(system, EVEN, substeps_between(EVEN, 5), solver), ROUNDING)


class Table(diffrax.AbstractPath):
    """A Brownian path on a table of binary fractions: cheap to compile, and exact where both ends are in it."""

    w: jax.Array
    t0 = 0.0
    t1 = END

    @classmethod
    def drawn(cls, key, components=()):
        steps = jax.random.normal(key, (512, *components)) * np.sqrt(END / 512)
        return cls(jnp.concatenate([jnp.zeros((1, *components)), jnp.cumsum(steps, axis=0)]))

    def evaluate(self, t0, t1=None, left=True):
        def at(t):
            return self.w[jnp.round(t * 512 / END).astype(int)]

        return at(t1) - at(t0)


@pytest.mark.parametrize("word", ["BAOAB", "OBABO", "OBA"])
def test_scan_and_diffeqsolve_share_a_brownian_path_to_rounding(word):
    """On steps of 1/16 every time is a binary fraction, so both ask the path for the very same times."""
    system = ji.System(potential, damping=GAMMA, noise=0.5, force=drive)
    solver, path = ji.solvers.Splitting(word), Table.drawn(jax.random.key(4), (4,))
    traj = ji.simulate(system, EVEN, *START, dt=2**-4, solver=solver, path=path)
    phases = by_diffeqsolve(system, EVEN, np.arange(33) / 16, solver, path)
    check_same(traj, phases, ROUNDING * 10)  # a noisy path is steeper: rate 3 for 2


def test_scan_and_diffeqsolve_share_a_brownian_tree_on_any_times():
    """Where times differ by a rounding, W differs by sqrt(eps t): 2 ends of some 50 increments, 6 deviations each."""
    sigma, solver = 0.5, ji.solvers.Splitting("BAOAB")
    path = diffrax.VirtualBrownianTree(0.0, END, 2**-7, jax.ShapeDtypeStruct((4,), float), jax.random.key(5))
    system = ji.System(potential, damping=GAMMA, noise=sigma)
    traj = ji.simulate(system, UNEVEN, *START, substeps=8, path=path)
    phases = by_diffeqsolve(system, UNEVEN, substeps_between(UNEVEN, 8), solver, path)
    roughness = sigma * np.sqrt(EPS * END)
    check_same(traj, phases, 6 * np.sqrt(2 * 50) * roughness * np.exp(2 * END))


def test_a_finer_run_follows_the_same_brownian_path():
    """Strong order 1 along one path: halving the step halves the gap to a fine run, in the mean square over paths."""
    system = ji.System(ji.potentials.Quadratic(1.5), damping=0.6, noise=0.8)
    paths = jax.vmap(Table.drawn)(jax.random.split(jax.random.key(0), 64))

    def last(substeps):
        def run(path):
            return ji.simulate(system, np.array([0.0, END]), 1.0, substeps=substeps, path=path).position[-1]

        return np.asarray(jax.jit(jax.vmap(run))(paths))

    fine = last(256)
    rms = [np.sqrt(np.mean((last(n) - fine) ** 2)) for n in (8, 16, 32)]
    # The fine run's own error, 1/8 of the last, lifts the slope by 0.1; a mean of 64 squares scatters by 0.2.
    assert slope([1 / 8, 1 / 16, 1 / 32], rms) > 0.8


def test_simulate_takes_a_splitting_through_diffrax_when_asked():
    """An event, a controller or max_steps send the run through diffeqsolve: the same states and accounts."""
    system = world(damped=True)
    scan = ji.simulate(system, EVEN, *START, dt=DT)
    solve = ji.simulate(system, EVEN, *START, dt=DT, max_steps=4096)
    assert np.abs(scan.position - solve.position).max() <= ROUNDING
    assert np.abs(scan.balance.discretization - solve.balance.discretization).max() <= ROUNDING


TIGHT = diffrax.PIDController(rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Dopri8()])
def test_adaptive_runge_kutta_closes_the_balance(solver):
    """Friction and work integrated beside the state leave less than 1e-8 unexplained at tolerance 1e-10."""
    exact = reference(damped=True, driven=True)
    ts = np.linspace(0, END, 5)
    traj = ji.simulate(world(True, True), ts, *START, solver=solver, stepsize_controller=TIGHT)
    assert np.abs(traj.balance.discretization).max() < 1e-8
    assert np.abs(traj.position[1:] - exact[:, :4]).max() < 1e-8
    assert np.abs(traj.balance.friction[1:] - exact[:, 8]).max() < 1e-8
    assert np.abs(traj.balance.work[1:] - exact[:, 9]).max() < 1e-8
    assert np.all(np.diff(traj.balance.friction) <= 0)


def test_the_friction_account_does_not_change_the_steps_taken():
    """The same equation without any account, under the same controller, takes the same steps: equal to rounding."""
    system = world(damped=True)
    ts = np.linspace(0, END, 5)
    controller = diffrax.PIDController(rtol=1e-4, atol=1e-4)  # loose: another choice of steps would show at 1e-5
    traj = ji.simulate(system, ts, *START, solver=diffrax.Tsit5(), stepsize_controller=controller)

    def bare(t, y, args):
        q, v = y
        return v, -jax.grad(potential)(q) - GAMMA * v

    q, v = diffrax.diffeqsolve(
        diffrax.ODETerm(bare),
        diffrax.Tsit5(),
        0.0,
        END,
        None,
        tuple(map(jnp.asarray, START)),
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts)),
        stepsize_controller=diffrax.ClipStepSizeController(controller, step_ts=jnp.asarray(ts)),
    ).ys
    assert np.abs(traj.position - q).max() < 1e-12
    assert np.abs(traj.momentum - v).max() < 1e-12


def test_runge_kutta_at_fixed_steps_has_its_order():
    """Tsit5 on the steps of dt: order 5, in the state and in the discretization account."""
    exact, gaps = reference(damped=True)[-1, :4], []
    for dt in (1 / 40, 1 / 80):
        traj = ji.simulate(world(damped=True), np.linspace(0, END, 5), *START, dt=dt, solver=diffrax.Tsit5())
        gaps.append([np.abs(traj.position[-1] - exact).max(), np.abs(traj.balance.discretization[-1])])
    assert np.all(np.log2(np.divide(*gaps)) > 4.5)


@pytest.mark.parametrize(
    "solver", [diffrax.EulerHeun(), diffrax.Heun(), diffrax.ShARK(), diffrax.SEA(), diffrax.SRA1()]
)
def test_stochastic_runge_kutta_books_noise_as_the_remainder(solver):
    """Their noise cannot be told from their error: discretization is NaN, and the three accounts close."""
    system = ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=0.7)
    ts = np.linspace(0, 2, 5)

    @jax.jit
    @jax.vmap
    def run(key):
        return ji.simulate(system, ts, 1.0, dt=0.05, solver=solver, key=key)

    traj = run(jax.random.split(jax.random.key(2), 1000))
    balance = traj.balance
    assert np.all(np.isnan(balance.discretization))
    assert np.all(balance.friction[:, -1] < 0)
    change = traj.inertia - traj.inertia[:, :1]
    assert np.allclose(balance.friction + balance.noise + balance.work, change, atol=1e-12)
    noise = np.asarray(balance.noise)[:, -1]  # mean sigma^2 t / 2, with an error of order dt
    assert abs(noise.mean() - 0.49) <= 4 * noise.std() / np.sqrt(1000) + 0.05 * 0.49


@pytest.mark.parametrize(
    ("solver", "area"),
    [
        (diffrax.EulerHeun(), diffrax.BrownianIncrement),
        (diffrax.SEA(), diffrax.SpaceTimeLevyArea),
        (diffrax.ALIGN(0.01), diffrax.SpaceTimeLevyArea),
        (diffrax.ShOULD(0.01), diffrax.SpaceTimeTimeLevyArea),
        (diffrax.QUICSORT(0.01), diffrax.SpaceTimeTimeLevyArea),
        (ji.solvers.Splitting("OBABO"), diffrax.BrownianIncrement),
    ],
)
def test_an_unsafe_path_drives_any_solver_at_fixed_steps(solver, area):
    """diffrax's cheap path, drawn anew for each step: it wants the direct adjoint. E[I] is the exact curve's."""
    system, ts = ji.System(ji.potentials.Quadratic(1.5), damping=0.4, noise=0.7), np.linspace(0, 2, 3)

    @jax.jit
    @jax.vmap
    def run(key):
        path = diffrax.UnsafeBrownianPath((), key, levy_area=area)
        options = dict(dt=0.05, solver=solver, path=path, adjoint=diffrax.DirectAdjoint())
        return ji.simulate(system, ts, 1.0, **options).inertia

    inertia = np.asarray(run(jax.random.split(jax.random.key(3), 1000)))
    exact = np.asarray(ji.analytic.mean_inertia(ts, 1.0, 0.0, 1.5, 0.4, 0.7))
    chance = 4 * inertia.std(axis=0) / np.sqrt(1000)
    assert np.all(np.abs(inertia.mean(axis=0) - exact) <= chance + 0.05 * 0.49)  # and an error of order dt


def crossing(t, y, args, **kwargs):
    return y.position


@pytest.mark.parametrize("solver", [None, diffrax.Tsit5()])
def test_an_event_stops_the_run(solver):
    """q = cos t crosses zero at pi/2: rows after are NaN, those before are as without the event."""
    import optimistix as optx

    ts = np.linspace(0, 3, 13)
    event = diffrax.Event(crossing, optx.Newton(1e-10, 1e-10))
    system = ji.System(ji.potentials.Quadratic())
    traj = ji.simulate(system, ts, 1.0, dt=0.01, solver=solver, event=event)
    plain = ji.simulate(system, ts, 1.0, dt=0.01, solver=solver)
    before = ts < np.pi / 2
    # BAOAB lags by h^2 / 24 a radian; the root lies on a straight line through a step, off by at most h^2 / 8.
    assert traj.event_time == pytest.approx(np.pi / 2, abs=0.01**2)
    assert plain.event_time is None
    assert np.abs(traj.position - plain.position)[before].max() < 1e-12
    for rows in (traj.position, traj.momentum, traj.kinetic, traj.inertia, traj.balance.friction, traj.balance.total):
        assert np.all(np.isnan(rows[~before]))
        assert np.all(np.isfinite(rows[before]))


def test_an_event_that_does_not_happen_leaves_all_rows():
    system = ji.System(ji.potentials.Quadratic())
    event = diffrax.Event(lambda t, y, args, **kwargs: y.position > 2)
    traj = ji.simulate(system, np.linspace(0, 3, 7), 1.0, dt=0.01, event=event)
    assert np.all(np.isfinite(traj.inertia))
    assert traj.event_time == 3.0


@pytest.mark.parametrize(("mode", "adjoint"), [(jax.jacrev, None), (jax.jacfwd, diffrax.ForwardMode())])
def test_adaptive_runs_differentiate(mode, adjoint):
    """d q(t) / d gamma through Tsit5 at tolerance 1e-10 is the closed form's."""

    def late(gamma):
        system = ji.System(ji.potentials.Quadratic(1.5), damping=gamma)
        options = dict(solver=diffrax.Tsit5(), stepsize_controller=TIGHT, adjoint=adjoint)
        return ji.simulate(system, np.array([0, 2.0]), 1.0, **options).position[-1]

    exact = jax.grad(lambda gamma: ji.analytic.quadratic(2.0, 1.0, 0.0, 1.5, gamma)[0])(0.4)
    assert mode(late)(0.4) == pytest.approx(float(exact), abs=1e-8)


def test_terms_ask_for_a_path_where_there_is_noise():
    with pytest.raises(ValueError, match=r"path is None.*VirtualBrownianTree"):
        ji.solvers.terms(ji.System(potential, noise=0.1))


def test_negative_relaxations_are_refused_with_noise_inside_diffeqsolve():
    system = ji.System(potential, damping=GAMMA, noise=0.5)
    with pytest.raises(ValueError, match="negative O weight"):
        by_diffeqsolve(system, EVEN, EVEN, ji.solvers.kahan_li6(), Table.drawn(jax.random.key(4), (4,)))


@pytest.mark.optimised
def test_white_noise_of_a_plain_control_term_drives_a_splitting():
    """diffrax's own ControlTerm beside the drift: as terms(system, path)."""
    path = Table.drawn(jax.random.key(4), (4,))
    args, y0 = ji.solvers.initial(ji.System(potential, damping=GAMMA, noise=0.5), *START)
    ours = ji.solvers.terms(args, path)
    plain = diffrax.MultiTerm(ours.terms[0], diffrax.ControlTerm(lambda t, y, args: 0.5, path))
    runs = [
        diffrax.diffeqsolve(terms, ji.solvers.Splitting("BAOAB"), 0.0, END, 2**-4, y0, args=args).ys.position
        for terms in (ours, plain)
    ]
    np.testing.assert_array_equal(*runs)
