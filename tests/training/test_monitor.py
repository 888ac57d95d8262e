"""The monitor changes nothing, and books what the splitting books."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinertia as ji

from ..oracles import EPS, relative
from .runs import OPTIMIZERS, PARAMS, SCHEDULE, X, Y, batch, flat, loss, train

T = ji.training
ACCOUNTS = ("friction", "noise", "work", "discretization")


@pytest.mark.optimised
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_wrapped_and_bare_give_the_same_bits(name):
    """Op by op, so that nothing is fused: every update and every number of the optimizer's own state."""
    bare = optax.with_extra_args_support(OPTIMIZERS[name])
    wrapped = T.monitor(OPTIMIZERS[name], dt=0.1)
    params, bare_state, state = PARAMS, bare.init(PARAMS), wrapped.init(PARAMS)
    gradient = jax.jit(jax.value_and_grad(loss))
    for k in range(2 if name == "muon" else 4):
        value, g = gradient(params, *batch(k))
        expected, bare_state = bare.update(g, bare_state, params, value=value)
        updates, state = wrapped.update(g, state, params, value=value)
        for pair in ((expected, updates), (bare_state, state.inner)):
            for a, b in zip(*map(jax.tree.leaves, pair), strict=True):
                np.testing.assert_array_equal(a, b)
        params = optax.apply_updates(params, updates)


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adamw", "muon", "schedule", "multi_steps"])
def test_under_jit_wrapped_and_bare_agree_to_rounding_after_a_thousand_steps(name):
    """XLA fuses the two differently: each step rounds a few times, and near a minimum nothing amplifies that.

    Muon at a constant learning rate is chaotic, and after a thousand steps a last bit of its start has grown to one in
    a hundred: it is compared after a hundred.
    """
    steps = 100 if name == "muon" else 1000
    bare = optax.with_extra_args_support(OPTIMIZERS[name])
    (one, _), _ = train(bare, PARAMS, steps, read=False)
    (two, _), _ = train(T.monitor(OPTIMIZERS[name], dt=0.1), PARAMS, steps, read=False)
    assert relative(flat(two), flat(one)) <= steps * 16 * EPS


def oba(fn, start, steps, learning_rate, momentum):
    dt, gamma = T.to_physical(learning_rate, momentum)
    system = ji.System(fn, damping=gamma)
    return dt, ji.simulate(system, np.arange(steps + 1) * dt, start, dt=dt, solver=ji.solvers.Splitting("OBA"))


def gaps(readouts, traj, steps):
    """The largest gap in each account, relative to the largest value of the account."""
    pairs = {name: (getattr(readouts, name), getattr(traj, name)) for name in ("kinetic", "potential")}
    pairs |= {name: (getattr(readouts, name), getattr(traj.balance, name)) for name in ("friction", "discretization")}
    return {name: relative(a[:steps], b[:steps]) for name, (a, b) in pairs.items()}


def test_the_accounts_of_heavy_ball_are_those_of_the_splitting_over_ten_thousand_steps():
    steps, start = 10_001, jnp.array([1.0, -0.5, 0.3])
    fn = ji.potentials.Rosenbrock(b=4.0)

    def valley(x):
        return fn(x[:2]) + ji.potentials.Duffing()(x[2])

    dt, traj = oba(valley, start, steps, 0.002, 0.97)
    _, (readouts, positions) = train(T.monitor(optax.sgd(0.002, momentum=0.97), dt), start, steps, valley)
    assert relative(positions, traj.position[:steps]) < 1e-10
    assert max(gaps(readouts, traj, steps).values()) < 1e-10
    assert not np.any(readouts.noise)
    assert not np.any(readouts.work)
    np.testing.assert_allclose(readouts.time, traj.ts[:steps], rtol=1e-12)
    # Effective gamma: what O takes, (1 - beta^2) K, over 2 K h.
    np.testing.assert_allclose(readouts.effective_gamma[1:1000], (1 - 0.97**2) / (2 * dt), rtol=1e-9)


def test_in_float32_too_to_its_digits():
    """Against the splitting in float64: ten thousand sums, each rounded to 6e-8, of parameters in float32."""
    steps, start = 10_001, np.array([1.0, -0.5, 0.3])
    dt, traj = oba(ji.potentials.Duffing(), start, steps, 0.002, 0.97)
    optimizer = T.monitor(optax.sgd(0.002, momentum=0.97), dt)
    _, (readouts, _) = train(optimizer, jnp.asarray(start, jnp.float32), steps, ji.potentials.Duffing())
    assert readouts.friction.dtype == jnp.float32
    assert max(gaps(readouts, traj, steps).values()) < 1e-4


def test_the_readout_describes_the_state_before_the_latest_update():
    """K from the update before, L at the parameters before; `velocity` is that of the parameters after."""
    dt, optimizer = 0.1, T.monitor(OPTIMIZERS["adam"], dt=0.1)
    params, state, moved = PARAMS, optimizer.init(PARAMS), jax.tree.map(jnp.zeros_like, PARAMS)
    for k in range(3):
        value, g = jax.value_and_grad(loss)(params)
        before = flat(moved)
        moved, state = optimizer.update(g, state, params, value=value)
        read = T.readout(state)
        assert float(read.potential) == float(value)
        assert int(read.step) == k
        assert float(read.kinetic) == pytest.approx(before @ before / 2 / dt**2, rel=8 * EPS)
        np.testing.assert_allclose(flat(T.velocity(state)), flat(moved) / dt, rtol=2 * EPS)
        params = optax.apply_updates(params, moved)
    assert float(read.inertia) == float(read.kinetic + read.potential)


@pytest.mark.parametrize("name", ["nesterov", "adam", "lion"])
def test_friction_is_the_work_of_what_is_not_the_gradient(name):
    """K(v+ + h g) - K(v), summed; and discretization the rest: recomputed here in NumPy from the updates."""
    dt, steps = 0.1, 12
    optimizer = T.monitor(OPTIMIZERS[name], dt=dt)
    params, state = PARAMS, optimizer.init(PARAMS)
    velocity, friction, gradient = np.zeros(flat(PARAMS).size), 0.0, jax.jit(jax.value_and_grad(loss))
    first = float(loss(PARAMS))
    update = jax.jit(lambda g, s, p, value: optimizer.update(g, s, p, value=value))
    for k in range(steps):
        value, g = gradient(params)
        value = float(value)
        moved, state = update(g, state, params, value)
        read = T.readout(state)
        assert float(read.friction) == pytest.approx(friction, rel=1e-10, abs=1e-14)
        kinetic = velocity @ velocity / 2
        assert float(read.balance.total) == pytest.approx(kinetic + value - first, rel=1e-10, abs=1e-13)
        before, velocity = velocity, flat(moved) / dt
        free = velocity + dt * flat(g)
        friction += free @ free / 2 - before @ before / 2
        if k:
            gamma = (before @ before - free @ free) / 2 / (before @ before * dt)
            assert float(read.effective_gamma) == pytest.approx(gamma, rel=1e-9)
        params = optax.apply_updates(params, moved)


def test_without_the_loss_the_potential_is_relative_by_the_trapezoidal_rule():
    """sum (g_k + g_{k+1}).(theta_{k+1} - theta_k) / 2, whose error is of second order in the step."""
    errors = []
    for h in (0.1, 0.05):
        learning_rate, momentum = T.to_optax(h, 1.0)
        optimizer = T.monitor(optax.sgd(learning_rate, momentum), h)
        _, (readouts, positions) = train(optimizer, PARAMS, round(4 / h), with_value=False)
        exact = jax.vmap(loss)(positions)
        errors.append(np.abs(readouts.potential - (exact - exact[0])).max())
    assert errors[0] < 0.01
    assert errors[0] / errors[1] == pytest.approx(4, abs=0.8)


def test_groups_add_up_and_have_the_names_of_the_tree():
    (_, state), _ = train(T.monitor(OPTIMIZERS["adam"], dt=0.1), PARAMS, 20)
    deep = T.monitor(OPTIMIZERS["adam"], dt=0.1, depth=2)
    read = T.readout(state)
    assert list(read.groups) == ["inner", "outer"]
    for name in ("kinetic", "friction"):
        total = sum(float(getattr(group, name)) for group in read.groups.values())
        assert float(getattr(read, name)) == pytest.approx(total, rel=1e-12)
    assert float(read.temperature) == pytest.approx(2 * float(read.kinetic) / flat(PARAMS).size)
    inner = flat(state.velocity_before["inner"])
    assert float(read.groups["inner"].temperature) == pytest.approx(inner @ inner / inner.size)
    assert list(T.readout(deep.init(PARAMS)).groups) == ["inner.b", "inner.w", "outer.w"]
    assert list(T.readout(T.monitor(optax.sgd(0.1), 0.1, depth=0).init(PARAMS)).groups) == ["all"]


def test_noise_is_told_from_discretization_by_reference_gradients():
    """With a reference at every call, noise is -h v.(g - g_full) and discretization the full loss's own: in NumPy."""
    h, beta = 0.1, 0.9
    optimizer = T.monitor(optax.sgd(h * h, momentum=beta), h)
    params, state, noise, error, kick, before = PARAMS, optimizer.init(PARAMS), 0.0, 0.0, 0.0, float(loss(PARAMS))
    velocity = np.zeros(flat(PARAMS).size)
    gradient = jax.jit(jax.value_and_grad(loss))
    update = jax.jit(lambda g, s, p, value, full: optimizer.update(g, s, p, value=value, reference=full))
    for k in range(16):
        value, full = gradient(params)
        g = gradient(params, *batch(k))[1]
        moved, state = update(g, state, params, value, full)
        read = T.readout(state)
        error += float(value) - before + kick
        assert float(read.noise) == pytest.approx(noise, rel=1e-10, abs=1e-15)
        assert float(read.discretization) == pytest.approx(error - noise, rel=1e-8, abs=1e-14)
        middle = beta * velocity - h / 2 * flat(g)
        velocity = beta * velocity - h * flat(g)
        kick = -h * middle @ flat(g)
        noise += -h * middle @ (flat(g) - flat(full))
        before = float(value)
        params = optax.apply_updates(params, moved)
    assert sum(float(group.noise) for group in read.groups.values()) == pytest.approx(float(read.noise))


def test_a_reference_now_and_then_stands_for_the_calls_since_the_last():
    """Equal mini-batches again and again: every fourth sample, times four, is what all of them give."""
    h = 0.05
    optimizer = T.monitor(optax.sgd(h * h), h)  # without momentum a call's noise depends on this call alone

    def linear(params, tilt):
        return flat_jax(params) @ tilt

    def flat_jax(tree):
        return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(tree)])

    size = flat(PARAMS).size
    tilt, extra = jnp.ones(size), jnp.arange(size) / size

    def run(every):
        def step(carry, k):
            params, state = carry
            value, full = jax.value_and_grad(linear)(params, tilt)
            g = jax.grad(linear)(params, tilt + extra)
            given = k % every == every - 1
            updates, state = optimizer.update(g, state, params, value=value, reference=full, referenced=given)
            return (optax.apply_updates(params, updates), state), None

        (_, state), _ = jax.lax.scan(step, (PARAMS, optimizer.init(PARAMS)), jnp.arange(17))
        return T.readout(state)

    all_of_them, some = run(1), run(4)
    # -h v.(g - full) with v = -h g / 2, sixteen times.
    assert float(all_of_them.noise) == pytest.approx(16 * h**2 / 2 * float((tilt + extra) @ extra), rel=1e-12)
    assert float(some.noise) == pytest.approx(float(all_of_them.noise), rel=1e-12)
    assert float(some.discretization) == pytest.approx(float(all_of_them.discretization), abs=1e-13)


def test_decoupled_weight_decay_is_work_and_leaves_the_velocity_alone():
    """theta+ = theta + h v+ - h^2 w theta: the velocity is heavy ball's own, and the work sum g.(-h^2 w theta)."""
    h, beta, decay = 0.1, 0.9, 0.3
    inner = optax.chain(optax.trace(beta), optax.add_decayed_weights(decay), optax.scale(-h * h))
    optimizer = T.monitor(inner, h, weight_decay=decay)
    _, (readouts, positions) = train(optimizer, PARAMS, 30)
    theta = np.stack([flat(jax.tree.map(lambda x, k=k: x[k], positions)) for k in range(30)])
    gradients = jax.vmap(jax.grad(loss))(positions)
    g = np.stack([flat(jax.tree.map(lambda x, k=k: x[k], gradients)) for k in range(30)])
    velocity = np.zeros_like(theta)
    for k in range(29):
        velocity[k + 1] = beta * velocity[k] - h * g[k]
    kinetic = (velocity**2).sum(1) / 2
    np.testing.assert_allclose(readouts.kinetic, kinetic, rtol=1e-11, atol=1e-15)
    work = -(h**2) * decay * np.cumsum((g * theta).sum(1))
    np.testing.assert_allclose(readouts.work[1:], work[:-1], rtol=1e-11)
    friction = -(1 - beta**2) * np.cumsum(kinetic)
    np.testing.assert_allclose(readouts.friction[1:], friction[:-1], rtol=1e-9, atol=1e-13)


def test_a_schedule_of_steps_books_the_change_of_the_step_as_friction():
    """With h_k = sqrt(eta_k), v = -h_k m_k, and w = (h_k / h_{k-1}) beta v."""
    optimizer = T.monitor(OPTIMIZERS["schedule"], dt=lambda count: jnp.sqrt(SCHEDULE(count)))
    _, (readouts, _) = train(optimizer, PARAMS, 30)
    h = np.sqrt([float(SCHEDULE(k)) for k in range(30)])
    np.testing.assert_allclose(readouts.dt, h, rtol=1e-12)
    np.testing.assert_allclose(readouts.time, np.concatenate([[0], np.cumsum(h)[:-1]]), rtol=1e-12)
    taken = 1 - (0.9 * h[2:] / h[1:-1]) ** 2
    np.testing.assert_allclose(readouts.effective_gamma[2:], taken / (2 * h[2:]), rtol=1e-9)


def test_a_schedule_that_begins_at_zero_begins_the_run_where_it_leaves_it():
    """A warm-up's call of no step moves nothing in no time: the books are those of the run without it."""

    def books(first):
        rate = lambda count: 0.005 * jnp.minimum(count + first, 4)  # noqa: E731
        optimizer = T.monitor(optax.sgd(rate), dt=lambda count: jnp.sqrt(rate(count)))
        return train(optimizer, PARAMS, 8)[1][0]

    both = jax.vmap(books)(jnp.arange(2))
    for name in ("time", "kinetic", "potential", *ACCOUNTS):
        warm, late = getattr(both, name)
        np.testing.assert_allclose(warm[1:], late[:-1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("h", [0.0, -0.1, np.inf, np.nan])
def test_energies_in_no_time_are_not_a_number(h):
    """Parameters move by 0.05 g in the time that a schedule says."""
    optimizer = T.monitor(optax.sgd(0.05), dt=lambda count: h)
    state = optimizer.init(PARAMS)
    for _ in range(2):
        _, state = optimizer.update(PARAMS, state, PARAMS, value=1.0)
    read = T.readout(state)
    assert np.isnan(read.kinetic)
    assert np.isnan(read.friction)


def test_under_vmap_every_run_has_its_own_accounts():
    starts = jax.tree.map(lambda x: jnp.stack([x, 0.5 * x]), PARAMS)
    optimizer = T.monitor(OPTIMIZERS["momentum"], dt=0.02**0.5)
    (_, states), (readouts, _) = jax.vmap(lambda p: train(optimizer, p, 15))(starts)
    last = T.readout(states)
    for i in range(2):
        _, (alone, _) = train(optimizer, jax.tree.map(lambda x, i=i: x[i], starts), 15)
        for name in ACCOUNTS:
            np.testing.assert_allclose(getattr(readouts, name)[i], getattr(alone, name), rtol=1e-10, atol=1e-14)
            assert float(getattr(last, name)[i]) == pytest.approx(float(getattr(alone, name)[-1]), abs=1e-13)


def test_inside_multi_steps_each_real_step_is_booked():
    """Three micro-batches make one step: the accounts are those of the mean gradient, which optax takes in float32."""
    direct = T.monitor(OPTIMIZERS["momentum"], dt=0.02**0.5)
    several = optax.MultiSteps(T.monitor(OPTIMIZERS["momentum"], dt=0.02**0.5), 3)
    _, (readouts, _) = train(direct, PARAMS, 5)
    (_, state), _ = train(several, PARAMS, 15)
    read = T.readout(state)
    assert int(read.step) == 4
    for name in ("kinetic", *ACCOUNTS):
        assert float(getattr(read, name)) == pytest.approx(float(getattr(readouts, name)[-1]), rel=1e-6, abs=1e-14)


def test_half_precision_parameters_have_accounts_in_single():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    optimizer = T.monitor(optax.sgd(0.02, momentum=0.9), dt=0.02**0.5)
    updates, state = optimizer.update(params, optimizer.init(params), params, value=1.0)
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    assert T.readout(state).friction.dtype == jnp.float32


def test_the_state_keeps_its_structure_and_the_updates_their_type():
    optimizer = T.monitor(OPTIMIZERS["adamw"], dt=0.1, weight_decay=0.1)
    state = optimizer.init(PARAMS)
    g = jax.grad(loss)(PARAMS)
    for options in ({"value": 1.0}, {"value": 1.0, "reference": g}):
        _, after = optimizer.update(g, state, PARAMS, **options)
        assert jax.tree.structure(after) == jax.tree.structure(state)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
        assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_a_jitted_step_may_take_the_state_as_donated(decay):
    """From `init` on, no two arrays of the state share a buffer, which JAX refuses to donate twice."""
    optimizer = T.monitor(OPTIMIZERS["adamw"], dt=0.1, weight_decay=decay)

    def step(params, state):
        value, g = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(g, state, params, value=value)
        return optax.apply_updates(params, updates), state

    (_, kept), _ = train(optimizer, PARAMS, 3, read=False)
    params, state = jax.tree.map(jnp.array, PARAMS), optimizer.init(PARAMS)
    donating = jax.jit(step, donate_argnums=(0, 1))
    for _ in range(3):
        params, state = donating(params, state)
    assert float(T.readout(state).inertia) == pytest.approx(float(T.readout(kept).inertia), rel=1e-12)


def test_it_makes_no_host_calls_and_no_sums_in_the_step():
    """What keeps it cheap: no callback, and with the loss given not one reduction more than the bare optimizer."""

    def reductions(optimizer):
        def step(params, state):
            value, g = jax.value_and_grad(loss)(params, X, Y)
            updates, state = optimizer.update(g, state, params, value=value)
            return optax.apply_updates(params, updates), state

        text = str(jax.make_jaxpr(step)(PARAMS, optimizer.init(PARAMS)))
        assert "callback" not in text
        return text.count("reduce_sum") + text.count("dot_general")

    bare = optax.with_extra_args_support(OPTIMIZERS["momentum"])
    assert reductions(T.monitor(OPTIMIZERS["momentum"], dt=0.1)) == reductions(bare)


def test_derivatives_and_maps_go_through_the_monitor():
    """d(loss after 5 steps)/d(learning rate), for several rates at once: as of the bare optimizer."""

    def late(rate, wrap):
        optimizer = wrap(optax.sgd(rate, 0.9))
        params, state = jnp.array([1.0, -0.5]), optimizer.init(jnp.array([1.0, -0.5]))
        for _ in range(5):
            value, gradient = jax.value_and_grad(ji.potentials.Duffing())(params)
            updates, state = optimizer.update(gradient, state, params, value=value)
            params = optax.apply_updates(params, updates)
        return ji.potentials.Duffing()(params)

    rates = jnp.array([0.01, 0.05, 0.1])
    found, bare = (
        jax.jit(jax.vmap(jax.grad(lambda rate, wrap=wrap: late(rate, wrap))))(rates)
        for wrap in (lambda optimizer: T.monitor(optimizer, dt=0.1), optax.with_extra_args_support)
    )
    np.testing.assert_allclose(found, bare, rtol=5 * 16 * EPS)
