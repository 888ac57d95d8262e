"""An event's time and state are of the word's order, and a run goes on from them."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import jaxinertia as ji

from ..oracles import EPS, slope

SPRING = ji.System(ji.potentials.Quadratic())
VERLET = ji.solvers.Splitting("BAB")
NEWTON = optx.Newton(1e-12, 1e-12)
LEVEL = 0.3
EXACT = np.arccos(LEVEL)  # when cos t is there


def at(level):
    """Zero where the position is at the level."""
    return lambda t, y, args, **kwargs: y.position - level


def falls_to(level, **options):
    return diffrax.Event(at(level), NEWTON, **options)


def run(position=1.0, momentum=0.0, system=SPRING, event=None, solver=VERLET, end=2.0, **options):
    """Twenty steps, of 0.1 unless another end is given."""
    event = falls_to(LEVEL) if event is None else event
    ts = jnp.asarray(end) * jnp.array([0.0, 1.0])
    return ji.simulate(system, ts, position, momentum, substeps=20, solver=solver, event=event, **options)


@pytest.mark.parametrize(("solver", "order", "bound"), [("BAB", 1.9, 5e-4), ("kahan_li6", 5.5, 1e-8)])
def test_the_event_has_the_order_of_the_word(solver, order, bound):
    """q = cos t is at 0.3 at arccos 0.3: time and momentum, the latter between steps, at h = 0.1, 0.05 and 0.025."""
    solver = VERLET if solver == "BAB" else ji.solvers.kahan_li6("BAB")

    @jax.vmap
    def event_state(end):
        ts = end * jnp.array([0.0, 1.0])
        return ji.simulate(SPRING, ts, 1.0, substeps=56, solver=solver, event=falls_to(LEVEL)).event_state

    h = np.array([0.1, 0.05, 0.025])
    time, position, momentum = event_state(jnp.asarray(56 * h))
    assert np.abs(position - LEVEL).max() <= 8 * EPS
    assert abs(time[0] - EXACT) <= bound
    assert slope(h, np.abs(time - EXACT)) >= order
    assert slope(h, np.abs(momentum + np.sin(EXACT))) >= order


def test_between_steps_a_word_is_of_order_4():
    """kahan_li6 in the middle of its steps: q, p and what the accounts leave open, of a damped oscillator with a drive."""
    system = ji.System(ji.potentials.Quadratic(1.5), damping=0.3, force=jnp.cos)
    args, y0 = ji.solvers.initial(system, 1.0)
    tight = ji.simulate(
        system,
        np.array([0.0, 2.05, 2.1, 2.2]),
        1.0,
        solver=diffrax.Dopri8(),
        stepsize_controller=diffrax.PIDController(1e-12, 1e-12),
    )

    @jax.vmap
    def middle(h):
        save = diffrax.SaveAt(ts=2 + h[None] / 2)
        terms, solver = ji.solvers.terms(args), ji.solvers.kahan_li6()
        y = diffrax.diffeqsolve(terms, solver, 0.0, 2.5, h, y0, args=args, saveat=save).ys
        y = jax.tree.map(lambda x: x[0], y)
        return y, ji.inertia(system, y.position, y.momentum) - ji.inertia(system, 1.0) - y.friction - y.work

    h = np.array([0.1, 0.2, 0.4])
    y, left_open = middle(jnp.asarray(h))
    assert slope(h, np.abs(y.position - tight.position[1:])) >= 3.9
    assert slope(h, np.abs(y.momentum - tight.momentum[1:])) >= 3.9
    assert slope(h, np.abs(left_open)) >= 3.9


def test_between_steps_white_noise_leaves_the_momentum_on_a_line():
    """The mean of a bridge; the position keeps its cubic, the noise is not known but at the step's ends."""
    system = ji.System(ji.potentials.Quadratic(), damping=0.3, noise=0.5)
    path = diffrax.VirtualBrownianTree(0.0, 1.0, 0.01, (), jax.random.key(0))
    args, y0 = ji.solvers.initial(system, 1.0, 0.5)
    solver, terms = ji.solvers.Splitting("BAOAB"), ji.solvers.terms(args, path)
    y1, _, known, _, _ = solver.step(terms, 0.0, 0.2, y0, args, solver.init(terms, 0.0, 0.2, y0, args), False)
    between = solver.interpolation_cls(t0=0.0, t1=0.2, **known)
    middle = between.evaluate(0.1)
    assert middle.momentum == pytest.approx((y0.momentum + y1.momentum) / 2, abs=4 * EPS)
    hermite = (y0.position + y1.position) / 2 + 0.2 * (y0.momentum - y1.momentum) / 8
    assert middle.position == pytest.approx(hermite, abs=4 * EPS)
    assert np.isnan(middle.noise)
    for t, y in ((0.0, y0), (0.2, y1), (np.nextafter(0.2, 0), y1)):
        np.testing.assert_array_equal(jax.tree.leaves(between.evaluate(t)), jax.tree.leaves(y))


def test_an_event_in_diffeqsolve_is_found_on_the_cubic():
    """Without `simulate` there is no shorter step: off by the cubic's h^4 / 384, over a speed of 0.95."""
    args, y0 = ji.solvers.initial(SPRING, 1.0)
    solver = ji.solvers.kahan_li6("BAB")
    solution = diffrax.diffeqsolve(ji.solvers.terms(args), solver, 0.0, 2.0, 0.1, y0, args=args, event=falls_to(LEVEL))
    assert solution.ts[0] == pytest.approx(EXACT, abs=1.1 * 0.1**4 / 384)


def event_time(z, solver, adjoint=None):
    q0, stiffness = z
    return run(
        q0, system=ji.System(ji.potentials.Quadratic(stiffness)), solver=solver, end=1.5, adjoint=adjoint
    ).event_time


POINT = jnp.array([1.0, 1.1])


def test_the_gradient_of_an_event_time_is_the_exact_one():
    """d/d(q0, k) of arccos(0.3 / q0) / sqrt(k): within 1e-6 at h = 0.075 for a word of order 4."""
    exact = jax.grad(lambda z: jnp.arccos(LEVEL / z[0]) / jnp.sqrt(z[1]))(POINT)
    reverse = jax.grad(event_time)(POINT, ji.solvers.suzuki4())
    assert np.abs(reverse - exact).max() < 1e-6
    forward = jax.jacfwd(event_time)(POINT, ji.solvers.suzuki4(), diffrax.ForwardMode())
    assert np.abs(forward - reverse).max() < 1e-12


def test_the_gradient_is_that_of_the_numerical_flow():
    """Verlet's own phase error is differentiated too: equal to a difference quotient, off by its truncation e^2."""
    e = 1e-4
    points = POINT + e * jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    times = jax.vmap(lambda z: event_time(z, VERLET))(points)
    quotient = (times[0::2] - times[1::2]) / (2 * e)
    assert np.abs(jax.grad(event_time)(POINT, VERLET) - quotient).max() < 10 * e**2


def test_a_ball_bounces():
    """Restitution e on a floor: the k-th bounce at T (1 + 2 sum_{j<k} e^j), T = sqrt(2 H / g), with speed e^k g T.

    Verlet is exact where the force is constant, so that only rounding is left; the gradients are the closed form's.
    """
    g, count = 9.81, 4
    ball = ji.System(lambda q: g * q)
    floor = falls_to(0.0, direction=False)

    def bounces(height, e):
        def fall(state, _):
            time, position, momentum = state
            ts = time + jnp.array([0.0, 2.0])
            state = ji.simulate(ball, ts, position, -e * momentum, substeps=16, solver=VERLET, event=floor).event_state
            return state, (state.time, state.momentum)

        start = (jnp.zeros(()), height, jnp.zeros(()))
        return jax.lax.scan(lambda state, x: fall(state, x), start, None, count)[1]

    def exact(height, e):
        first, k = jnp.sqrt(2 * height / g), jnp.arange(count)
        return first * (2 * jnp.cumsum(e**k) - 1), -(e**k) * g * first

    heights, e = jnp.array([1.0, 0.5, 1.5]), jnp.array([0.8, 0.9, 0.5])
    times, momenta = jax.vmap(bounces)(heights, e)
    exact_times, exact_momenta = jax.vmap(exact)(heights, e)
    assert np.abs(times - exact_times).max() < 1e-12
    assert np.abs(momenta - exact_momenta).max() < 1e-11
    gradient = jax.grad(lambda *z: bounces(*z)[0][2], (0, 1))(1.0, 0.8)
    np.testing.assert_allclose(gradient, jax.grad(lambda *z: exact(*z)[0][2], (0, 1))(1.0, 0.8), rtol=1e-10)


def test_the_first_of_several_events_stops_the_run():
    """Two levels crossed in one step, in either order, and a condition that is true only at the step's end."""
    below = lambda t, y, args, **kwargs: y.position < 0.35
    alone = run(event=falls_to(0.33)).event_time
    for conditions in ([at(LEVEL), at(0.33)], {"b": at(0.33), "c": at(LEVEL), "a": below}):
        assert run(event=diffrax.Event(conditions, NEWTON)).event_time == pytest.approx(alone, abs=1e-12)


def test_a_condition_without_a_root_stops_at_the_end_of_the_step():
    """True or false, or without a root finder: the state is that of the step."""
    below = lambda t, y, args, **kwargs: y.position < LEVEL
    steps = ji.simulate(SPRING, np.linspace(0, 2, 21), 1.0, dt=0.1, solver=VERLET)
    for event in (diffrax.Event(below, NEWTON), diffrax.Event(at(LEVEL))):
        time, position, momentum = run(event=event).event_state
        assert time == pytest.approx(1.3, abs=4 * EPS)
        assert abs(position - steps.position[13]) < 20 * EPS
        assert abs(momentum - steps.momentum[13]) < 20 * EPS
    traj = run(event=diffrax.Event(lambda t, y, args, **kwargs: y.position > LEVEL, NEWTON))
    assert traj.event_state == (0.0, 1.0, 0.0)  # true from the start: no step is taken
    np.testing.assert_array_equal(traj.inertia, [0.5, np.nan])


@pytest.mark.parametrize("direction", [None, True, False])
def test_a_start_on_the_zero_has_crossed_unless_the_direction_says_otherwise(direction):
    """q = 0.3 cos t - sin t leaves downwards, and comes back upwards at 2 pi - 2 arctan(1 / 0.3)."""
    event = falls_to(LEVEL, direction=direction)
    traj = run(LEVEL, -1.0, solver=ji.solvers.kahan_li6("BAB"), end=4.0, event=event)
    exact = {None: 0.0, True: 2 * np.pi - 2 * np.arctan(1 / LEVEL), False: np.inf}[direction]
    assert traj.event_time == pytest.approx(exact, abs=1e-6)


def test_an_event_just_after_the_start_is_found():
    """It falls by 1e-5 at a speed of 1."""
    assert run(LEVEL + 1e-5, -1.0).event_time == pytest.approx(1e-5, abs=1e-9)


def test_an_event_that_does_not_happen_is_inf_and_a_run_that_fails_is_nan():
    """In one batch: it happens, it does not, the start is NaN. What is not reached has no derivative."""
    starts = jnp.array([1.0, 0.2, jnp.nan])
    state, slopes = jax.vmap(jax.value_and_grad(lambda q: run(q).event_time))(starts)
    assert state[0] == pytest.approx(EXACT, abs=5e-4)
    assert slopes[0] == pytest.approx(LEVEL / np.sqrt(1 - LEVEL**2), abs=1e-3)
    np.testing.assert_array_equal(state[1:], [np.inf, np.nan])
    assert slopes[1] == 0
    steep = ji.System(lambda q: -100 * q**4)
    traj = run(system=steep, event=falls_to(-1.0))
    assert np.all(np.isnan(jnp.stack(traj.event_state)))
    assert np.all(np.isnan(jnp.stack(run(0.2).event_state[1:])))


def test_a_sweep_over_events():
    runs = ji.sweep(lambda q: run(q).event_state._asdict(), {"q": np.array([1.0, 0.2, 0.5])})
    exact = [EXACT, np.nan, np.arccos(LEVEL / 0.5)]
    np.testing.assert_allclose(runs.values["time"], exact, atol=1e-3)
    np.testing.assert_allclose(runs.values["position"], [LEVEL, np.nan, LEVEL], atol=8 * EPS)


def test_any_bracketing_root_finder_serves_and_a_scale_does_not_matter():
    """A million times the condition: its rounding is beyond the finder's tolerance, and its zero is where it was."""
    million = lambda t, y, args, **kwargs: 1e6 * (y.position - LEVEL)
    expected = run().event_time
    for finder in (NEWTON, optx.Bisection(1e-12, 1e-12)):
        assert run(event=diffrax.Event(million, finder)).event_time == pytest.approx(expected, abs=1e-11)


def test_a_root_that_is_not_found_is_an_error():
    """Newton runs away from a cube root."""
    steep = lambda t, y, args, **kwargs: jnp.cbrt(y.position - LEVEL)
    with pytest.raises(Exception, match=r"event: the root_finder Newton found no root"):
        run(event=diffrax.Event(steep, NEWTON))


def test_accounts_are_events_too():
    """The run stops where friction has taken 0.1, and its shorter step has booked it."""
    spent = diffrax.Event(lambda t, y, args, **kwargs: y.friction + 0.1, NEWTON)
    system, solver = ji.System(ji.potentials.Quadratic(), damping=0.3), ji.solvers.blanes_moan4()
    time = run(system=system, solver=solver, event=spent).event_time
    tight = diffrax.PIDController(1e-10, 1e-10)
    traj = ji.simulate(system, np.array([0, float(time)]), 1.0, solver=diffrax.Dopri8(), stepsize_controller=tight)
    assert traj.balance.friction[-1] == pytest.approx(-0.1, abs=1e-7)


def test_an_event_with_noise_stops_at_a_step_and_has_no_root():
    """A noisy path between steps is not known: a root finder is refused, and without it the state is a step's."""
    system = ji.System(ji.potentials.Quadratic(), damping=0.1, noise=0.2)
    options = dict(solver=ji.solvers.Splitting("BAOAB"), key=jax.random.key(1))
    for solver in (options["solver"], diffrax.ShARK()):
        with pytest.raises(ValueError, match=r"event has root_finder = Newton.*system has noise.*without one"):
            run(system=system, **{**options, "solver": solver})
    time, position, _ = run(system=system, event=diffrax.Event(at(LEVEL)), **options).event_state
    rows = ji.simulate(system, np.linspace(0, 2, 21), 1.0, substeps=1, max_steps=20, **options)
    crossed = int(np.argmax(np.asarray(rows.position) < LEVEL))
    assert time == pytest.approx(rows.ts[crossed], abs=1e-12)
    assert position == pytest.approx(rows.position[crossed], abs=1e-12)


def test_diffrax_solvers_stop_on_their_dense_output():
    """Tsit5, under jit, with a pytree for a position: cos t beside sin t, which moves on."""
    event = diffrax.Event(lambda t, y, args, **kwargs: y.position["a"][0] - LEVEL, NEWTON)
    system = ji.System(lambda q: (jnp.sum(q["a"] ** 2) + q["b"] ** 2) / 2)
    q, p = {"a": jnp.array([1.0, 0.0]), "b": jnp.array(0.0)}, {"a": jnp.array([0.0, 1.0]), "b": jnp.array(0.0)}
    traj = jax.jit(lambda q, p: run(q, p, system=system, solver=diffrax.Tsit5(), event=event))(q, p)
    time, position, momentum = traj.event_state
    assert time == pytest.approx(EXACT, abs=1e-8)
    np.testing.assert_allclose(position["a"], [LEVEL, np.sin(EXACT)], atol=1e-8)
    np.testing.assert_allclose(momentum["a"], [-np.sin(EXACT), LEVEL], atol=1e-8)
    assert position["b"] == momentum["b"] == 0


def test_substeps_fix_the_steps_and_a_controller_chooses_them():
    with pytest.raises(ValueError, match="substeps = 20 fixes the steps"):
        run(solver=diffrax.Tsit5(), stepsize_controller=diffrax.PIDController(1e-6, 1e-6))
