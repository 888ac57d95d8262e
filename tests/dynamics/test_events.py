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


def below(t, y, args, **kwargs):
    return y.position < LEVEL


FALLS = diffrax.Event(at(LEVEL), NEWTON)  # one for all, so that runs share a program


def run(position=1.0, momentum=0.0, system=SPRING, event=FALLS, solver=VERLET, end=2.0, **options):
    """Twenty steps, of 0.1 unless another end is given."""
    ts = jnp.asarray(end) * jnp.array([0.0, 1.0])
    return ji.simulate(system, ts, position, momentum, substeps=20, solver=solver, event=event, **options)


@pytest.mark.parametrize(("solver", "order", "bound"), [("BAB", 1.9, 5e-4), ("kahan_li6", 5.5, 1e-8)])
def test_the_event_has_the_order_of_the_word(solver, order, bound):
    """q = cos t is at 0.3 at arccos 0.3: time and momentum, the latter between steps, at h = 0.1, 0.05 and 0.025."""
    solver = VERLET if solver == "BAB" else ji.solvers.kahan_li6("BAB")

    @jax.vmap
    def event_state(end):
        ts = end * jnp.array([0.0, 1.0])
        return ji.simulate(SPRING, ts, 1.0, substeps=56, solver=solver, event=FALLS).event_state

    h = np.array([0.1, 0.05, 0.025])
    time, position, momentum = event_state(jnp.asarray(56 * h))
    assert np.abs(position - LEVEL).max() <= 8 * EPS
    assert abs(time[0] - EXACT) <= bound
    assert slope(h, np.abs(time - EXACT)) >= order
    assert slope(h, np.abs(momentum + np.sin(EXACT))) >= order


def test_between_steps_a_word_is_of_order_4():
    """kahan_li6 in the middle of its steps: q, p and what the accounts leave open, damped and driven."""
    system = ji.System(ji.potentials.Quadratic(1.5), damping=0.3, force=jnp.cos)
    args, y0 = ji.solvers.initial(system, 1.0)
    tight = diffrax.PIDController(1e-12, 1e-12)
    exact = ji.simulate(system, np.array([0.0, 1.0]), 1.0, solver=diffrax.Dopri8(), stepsize_controller=tight)

    @jax.vmap
    def middle(h):
        terms, save = ji.solvers.terms(args), diffrax.SaveAt(ts=jnp.ones(1))
        y = diffrax.diffeqsolve(terms, ji.solvers.kahan_li6(), 0.0, 1 + h / 2, h, y0, args=args, saveat=save).ys
        y = jax.tree.map(lambda x: x[0], y)
        return y, ji.inertia(system, y.position, y.momentum) - ji.inertia(system, 1.0) - y.friction - y.work

    h = 1 / np.array([5.5, 10.5, 20.5])  # the time 1 is in the middle of the last step
    y, left_open = middle(jnp.asarray(h))
    assert slope(h, np.abs(y.position - exact.position[-1])) >= 3.9
    assert slope(h, np.abs(y.momentum - exact.momentum[-1])) >= 3.9
    assert slope(h, np.abs(left_open)) >= 3.9


def test_between_steps_white_noise_leaves_the_momentum_on_a_line():
    """The mean of a bridge; the position keeps its cubic, the noise is not known but at the step's ends."""
    system = ji.System(ji.potentials.Quadratic(), damping=0.3, noise=0.5)
    path = diffrax.VirtualBrownianTree(0.0, 1.0, 0.01, (), jax.random.key(0))
    args, y0 = ji.solvers.initial(system, 1.0, 0.5)
    solver, terms = ji.solvers.Splitting("BAOAB"), ji.solvers.terms(args, path)
    t0, t1 = jnp.array(0.0), jnp.array(0.2)
    y1, _, known, _, _ = solver.step(terms, t0, t1, y0, args, solver.init(terms, t0, t1, y0, args), False)
    between = solver.interpolation_cls(t0=t0, t1=t1, **known)
    middle = between.evaluate(0.1)
    assert abs(middle.momentum - (y0.momentum + y1.momentum) / 2) <= 4 * EPS
    hermite = (y0.position + y1.position) / 2 + 0.2 * (y0.momentum - y1.momentum) / 8
    assert abs(middle.position - hermite) <= 4 * EPS
    assert np.isnan(middle.noise)
    for t, y in ((t0, y0), (t1, y1), (jnp.nextafter(t1, t0), y1)):
        np.testing.assert_array_equal(jax.tree.leaves(between.evaluate(t)), jax.tree.leaves(y))


def test_an_event_in_diffeqsolve_is_found_on_the_cubic():
    """Without `simulate` there is no shorter step: off by the cubic's h^4 / 384, over a speed of 0.95."""
    args, y0 = ji.solvers.initial(SPRING, 1.0)
    solver = ji.solvers.kahan_li6("BAB")
    solution = diffrax.diffeqsolve(ji.solvers.terms(args), solver, 0.0, 2.0, 0.1, y0, args=args, event=FALLS)
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
    assert np.abs(jax.grad(event_time)(POINT, ji.solvers.blanes_moan4()) - exact).max() < 1e-6


@pytest.mark.slow
def test_the_gradient_is_that_of_the_numerical_flow():
    """Verlet's own phase error is differentiated too, in both modes: a difference quotient, off by e^2, has it."""
    e = 1e-4
    points = POINT + e * jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    times = jax.vmap(lambda z: event_time(z, VERLET))(points)
    quotient = (times[0::2] - times[1::2]) / (2 * e)
    reverse = jax.grad(event_time)(POINT, VERLET)
    assert np.abs(reverse - quotient).max() < 10 * e**2
    assert np.abs(jax.jacfwd(event_time)(POINT, VERLET, diffrax.ForwardMode()) - reverse).max() < 1e-12


def test_a_ball_bounces():
    """Restitution e on a floor: the k-th bounce at T (1 + 2 sum_{j<k} e^j), T = sqrt(2 H / g), with speed e^k g T.

    Verlet is exact where the force is constant, so that only rounding is left; the gradients are the closed form's.
    """
    g, count = 9.81, 4
    ball = ji.System(lambda q: g * q)
    floor = diffrax.Event(at(0.0), NEWTON, direction=False)

    def bounces(height, e):
        def fall(state, _):
            time, position, momentum = state
            ts = time + jnp.array([0.0, 2.0])
            state = ji.simulate(ball, ts, position, -e * momentum, substeps=16, solver=VERLET, event=floor).event_state
            return tuple(state), (state.time, state.momentum)

        start = tuple(jnp.asarray(x, float) for x in (0.0, height, 0.0))
        return jax.lax.scan(fall, start, None, count)[1]

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


@pytest.mark.parametrize("conditions", [[at(0.33), at(LEVEL)], {"a": below, "b": at(LEVEL), "c": at(0.33)}])
def test_the_first_of_several_events_stops_the_run(conditions):
    """Levels that are crossed in one step, in either order, and a condition that is true at its end."""
    assert run(event=diffrax.Event(conditions, NEWTON)).event_time == pytest.approx(np.arccos(0.33), abs=5e-4)


def test_a_condition_without_a_root_stops_at_the_end_of_the_step():
    """True or false, or without a root finder: the state is that of the step."""
    steps = ji.simulate(SPRING, np.linspace(0, 2, 21), 1.0, dt=0.1, solver=VERLET)
    for event in (diffrax.Event(below, NEWTON), diffrax.Event(at(LEVEL))):
        time, position, momentum = run(event=event).event_state
        assert abs(time - 1.3) < 4 * EPS
        assert abs(position - steps.position[13]) < 20 * EPS
        assert abs(momentum - steps.momentum[13]) < 20 * EPS
    traj = run(0.2, event=diffrax.Event(below, NEWTON))
    assert traj.event_state == (0.0, 0.2, 0.0)  # true from the start: no step is taken
    np.testing.assert_allclose(traj.position, [0.2, np.nan])


@pytest.mark.parametrize("direction", [None, True, False])
def test_a_start_on_the_zero_has_crossed_unless_the_direction_says_otherwise(direction):
    """q = 0.3 cos t - sin t leaves downwards, and comes back upwards at 2 pi - 2 arctan(1 / 0.3)."""
    time = run(LEVEL, -1.0, end=4.0, event=diffrax.Event(FALLS.cond_fn, NEWTON, direction=direction)).event_time
    exact = {None: 0.0, True: 2 * np.pi - 2 * np.arctan(1 / LEVEL), False: np.inf}[direction]
    assert time == pytest.approx(exact, abs=0.2**2 * (4 / 24 + 1 / 8))  # Verlet's phase, and its ellipse


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


def test_a_run_that_comes_to_infinity_has_no_event():
    """It did not happen, and nobody knows whether it would have: NaN."""
    with pytest.warns(RuntimeWarning, match="not finite from t = 2 on"):
        traj = run(system=ji.System(lambda q: -100 * q**4))
    assert np.all(np.isnan(jnp.stack(traj.event_state)))
    np.testing.assert_array_equal(traj.position, [1, np.nan])


def test_a_sweep_over_events():
    runs = ji.sweep(lambda q: run(q).event_state._asdict(), {"q": np.array([1.0, 0.2, 0.5])})
    exact = [EXACT, np.nan, np.arccos(LEVEL / 0.5)]
    np.testing.assert_allclose(runs.values["time"], exact, atol=1e-3)
    np.testing.assert_allclose(runs.values["position"], [LEVEL, np.nan, LEVEL], atol=8 * EPS)


@pytest.mark.parametrize("finder", [NEWTON, optx.Bisection(1e-12, 1e-12)])
def test_the_scale_of_a_condition_does_not_matter(finder):
    """A million times the condition: its rounding is beyond the finder's tolerance, and its zero is where it was."""
    event = diffrax.Event(lambda t, y, args, **kwargs: 1e6 * (y.position - LEVEL), finder)
    assert abs(run(event=event).event_state.position - LEVEL) < 1e-13


def test_a_root_that_is_not_found_is_an_error():
    """Newton runs away from a cube root."""
    event = diffrax.Event(lambda t, y, args, **kwargs: jnp.cbrt(y.position - LEVEL), NEWTON)
    with pytest.raises(Exception, match="event: the root_finder Newton found no root"):
        run(event=event)


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
    assert abs(time - rows.ts[crossed]) < 1e-12
    assert abs(position - rows.position[crossed]) < 1e-12


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
