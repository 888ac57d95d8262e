"""What may be a position, a parameter and a transformation: everything is a pytree, and nothing is dropped silently."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

from ..oracles import EPS

TS = np.linspace(0, 1, 5)
DT = 1 / 16


def run(position, momentum=None, **options):
    system = ji.System(ji.potentials.Duffing(), damping=0.3)
    return ji.simulate(system, TS, position, momentum, dt=DT, **options)


ONE = {  # the same two components in every dress, and how to get them back as (times, 2)
    "list": ([1.0, -0.5], lambda x: x),
    "numpy": (np.array([1.0, -0.5]), lambda x: x),
    "jax": (jnp.array([1.0, -0.5]), lambda x: x),
    "tuple": ((1.0, -0.5), np.column_stack),
    "dict": ({"a": 1.0, "b": np.array([-0.5])}, lambda x: np.column_stack([x["a"], x["b"]])),
    "nested": ({"a": (1.0, {"b": -0.5})}, lambda x: np.column_stack([x["a"][0], x["a"][1]["b"]])),
    "list of arrays": ([jnp.array(1.0), jnp.array(-0.5)], np.column_stack),
    "matrix": (np.array([[1.0], [-0.5]]), lambda x: x[:, :, 0]),
}


@pytest.mark.parametrize("dress", ONE)
def test_the_motion_does_not_depend_on_the_dress(dress):
    position, undress = ONE[dress]
    traj, plain = run(position), run(np.array([1.0, -0.5]))
    assert np.allclose(undress(traj.position), plain.position, rtol=16 * EPS * 16)
    assert np.allclose(undress(traj.momentum), plain.momentum, rtol=16 * EPS * 16, atol=EPS)
    assert np.allclose(traj.balance.friction, plain.balance.friction, rtol=16 * EPS * 16)
    assert jax.tree.structure(traj.momentum) == jax.tree.structure(traj.position)


@pytest.mark.optimised
@pytest.mark.parametrize("position", [1, np.array(1), jnp.array(1), True])
def test_whole_numbers_become_floats(position):
    assert np.array_equal(run(position, 2).position, run(1.0, 2.0).position)


def test_a_momentum_of_another_dtype_is_cast():
    traj = run(jnp.ones(2, jnp.float32), np.array([0.5, 1.0]))
    assert traj.momentum.dtype == jnp.float32


def test_float32_positions_with_float64_parameters_stay_float32():
    """gamma from a float64 linspace must work, and cast to the position's dtype."""
    gammas = np.linspace(0, 1, 3)
    runs = [
        ji.simulate(
            ji.System(ji.potentials.Duffing(np.float64(1.2)), gamma, force=lambda t: np.float64(0.5) * jnp.cos(t)),
            TS,
            jnp.ones(2, "float32"),
            dt=DT,
        )
        for gamma in gammas[1:]
    ]
    for traj in runs:
        dtypes = {leaf.dtype for leaf in jax.tree.leaves((traj.position, traj.momentum, traj.inertia, traj.balance))}
        assert dtypes == {jnp.dtype("float32")}


MLP = eqx.nn.MLP(2, 1, 4, 1, activation=jnp.tanh, key=jax.random.key(0))
X = np.random.default_rng(0).normal(size=(16, 2))
Y = np.sin(X.sum(axis=1, keepdims=True))


def squared_error(model, x, y):
    return jnp.mean((jax.vmap(model)(x) - y) ** 2) / 2


def test_an_equinox_model_is_a_position():
    """Its arrays move as a flat vector would; activation and sizes are put back; the momentum has None there."""
    potential = ji.potentials.Loss(squared_error, X, Y)
    system = ji.System(potential, damping=0.2)
    traj = ji.simulate(system, TS, MLP, dt=DT)
    arrays, rest = eqx.partition(MLP, eqx.is_inexact_array)
    flat, unravel = jax.flatten_util.ravel_pytree(arrays)
    by_vector = ji.System(lambda w: potential(eqx.combine(unravel(w), rest)), damping=0.2)
    vector = ji.simulate(by_vector, TS, flat, dt=DT)
    moved = np.concatenate(
        [np.reshape(leaf, (5, -1)) for leaf in jax.tree.leaves(eqx.filter(traj.position, eqx.is_array))], axis=1
    )
    assert np.allclose(moved, vector.position, atol=16 * 64 * EPS)  # sums over 16 samples and 4 units, in another order
    assert np.allclose(traj.inertia, vector.inertia, atol=16 * 64 * EPS)
    assert traj.position.activation is MLP.activation
    assert traj.momentum.activation is None
    last = jax.tree.map(lambda x: x[-1] if eqx.is_array(x) else x, traj.position)
    assert squared_error(last, X, Y) == pytest.approx(float(traj.potential[-1]), rel=64 * EPS)


def test_gradients_flow_into_a_models_weights_and_its_data():
    @eqx.filter_jit
    @eqx.filter_grad
    def late(arguments):
        model, x = arguments
        system = ji.System(ji.potentials.Loss(squared_error, x, Y), damping=0.2)
        return ji.simulate(system, TS, model, dt=DT).inertia[-1]

    gradient = late((MLP, jnp.asarray(X)))
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == 5
    assert all(np.all(np.isfinite(leaf)) and np.any(leaf != 0) for leaf in leaves)


def test_a_loss_is_a_function_of_parameters_and_data():
    loss = ji.potentials.Loss(lambda w, x, y: jnp.mean((x @ w - y) ** 2), X, Y[:, 0])
    w = np.array([0.3, -0.2])
    assert loss(w) == pytest.approx(np.mean((X @ w - Y[:, 0]) ** 2), rel=8 * EPS)
    assert len(jax.tree.leaves(loss)) == 2  # the data are leaves, so new data do not compile again


def test_a_system_is_an_argument_of_jit():
    @jax.jit
    def late(system):
        return ji.simulate(system, TS, 1.0, dt=DT).inertia[-1]

    for system in (
        ji.System(lambda x: x**2 / 2, damping=0.3),
        ji.System(ji.potentials.Pendulum(1.3), damping=0.5, force=jnp.cos),
        ji.System(ji.potentials.Loss(lambda w, x: jnp.sum(w * x) ** 2, X)),
    ):
        assert late(system) == pytest.approx(float(ji.simulate(system, TS, 1.0, dt=DT).inertia[-1]), rel=64 * EPS)


def test_gammas_stiffnesses_and_starts_map():
    """vmap over a parameter is a loop over it."""
    gammas, stiffnesses = jnp.array([0.0, 0.4, 3.0]), jnp.array([1.0, 2.0, 0.5])

    def late(gamma, stiffness, position):
        return ji.simulate(ji.System(ji.potentials.Quadratic(stiffness), gamma), TS, position, dt=DT).inertia[-1]

    mapped = jax.jit(jax.vmap(jax.vmap(late, (0, 0, None)), (None, None, 0)))(
        gammas, stiffnesses, jnp.array([1.0, 2.0])
    )
    assert mapped.shape == (2, 3)
    for i, position in enumerate((1.0, 2.0)):
        for j in range(3):
            assert mapped[i, j] == pytest.approx(float(late(gammas[j], stiffnesses[j], position)), rel=64 * EPS)


def test_a_system_itself_maps():
    systems = eqx.filter_vmap(lambda gamma: ji.System(ji.potentials.Duffing(), damping=gamma))(jnp.array([0.1, 0.2]))
    runs = eqx.filter_vmap(lambda system: ji.simulate(system, TS, 1.0, dt=DT).inertia)(systems)
    assert runs.shape == (2, 5)
    assert np.all(runs[0, 1:] > runs[1, 1:])  # more friction, less inertia


SILENT = ["BAB", "yoshida4"]


def word(name):
    return ji.solvers.yoshida4() if name == "yoshida4" else ji.solvers.Splitting(name)


@pytest.mark.parametrize("name", SILENT)
def test_a_word_without_relaxation_takes_a_traced_zero_damping(name):
    run_at = jax.jit(
        lambda gamma: ji.simulate(ji.System(ji.potentials.Duffing(), gamma), TS, 1.0, dt=DT, solver=word(name))
    )
    plain = ji.simulate(ji.System(ji.potentials.Duffing()), TS, 1.0, dt=DT, solver=word(name))
    assert np.allclose(run_at(0.0).position, plain.position, rtol=16 * 16 * EPS)


@pytest.mark.parametrize("name", SILENT)
def test_a_word_without_relaxation_refuses_to_drop_damping_or_noise(name):
    for system in (ji.System(ji.potentials.Duffing(), 0.1), ji.System(ji.potentials.Duffing(), [0.0, 0.1])):
        with pytest.raises(ValueError, match=r"damping = Linear.* would be dropped: .* has no O.*BAOAB"):
            ji.simulate(system, TS, [1.0, 2.0], dt=DT, solver=word(name))
    with pytest.raises(ValueError, match=r"noise = White.* would be dropped"):
        ji.simulate(
            ji.System(ji.potentials.Duffing(), noise=0.1), TS, 1.0, dt=DT, solver=word(name), key=jax.random.key(0)
        )


def test_a_traced_damping_that_would_be_dropped_stops_the_run():
    run_at = jax.jit(
        lambda g: ji.simulate(ji.System(ji.potentials.Duffing(), g), TS, 1.0, dt=DT, solver=word("BAB")).inertia
    )
    with pytest.raises(Exception, match="damping would be dropped"):
        jax.block_until_ready(run_at(0.1))


def test_a_traced_noise_that_would_be_dropped_stops_the_run():
    def late(sigma):
        system = ji.System(ji.potentials.Duffing(), noise=sigma)
        return ji.simulate(system, TS, 1.0, dt=DT, solver=word("BAB"), key=jax.random.key(0)).inertia

    with pytest.raises(Exception, match="noise would be dropped"):
        jax.block_until_ready(jax.jit(late)(0.1))


def test_a_traced_negative_damping_stops_the_run():
    run_at = jax.jit(lambda gamma: ji.simulate(ji.System(ji.potentials.Duffing(), gamma), TS, 1.0, dt=DT).inertia)
    with pytest.raises(Exception, match="damping gamma must not be negative"):
        jax.block_until_ready(run_at(-0.1))


@pytest.mark.parametrize("position", [np.ones((2, 2)), np.ones((3, 3))])
def test_a_square_gamma_is_per_component_on_a_square_position(position):
    """A 2-D array is a matrix only where the position is one 1-D array."""
    gamma = np.arange(1.0, position.size + 1).reshape(position.shape) / 10
    traj = ji.simulate(ji.System(ji.potentials.Quadratic(0.0), gamma), TS, 0 * position, position, dt=DT)
    assert np.allclose(traj.momentum[-1], np.exp(-gamma), rtol=64 * EPS)


def test_a_matrix_with_negative_entries_is_no_damping_per_component():
    """Positive definite as a matrix; on a square position its entries would push instead of damp."""
    system = ji.System(ji.potentials.Quadratic(0.0), damping=[[1.0, -0.5], [-0.5, 1.0]])
    with pytest.raises(ValueError, match="gamma"):
        ji.simulate(system, TS, np.zeros((2, 2)), np.ones((2, 2)), dt=DT)


@pytest.mark.parametrize("gamma", [[[0.0, 1.0], [0.0, 0.0]], [[0.5, 0.2], [0.3, 0.5]]])
def test_a_friction_matrix_must_be_symmetric(gamma):
    system = ji.System(ji.potentials.Quadratic(0.0), damping=gamma)
    with pytest.raises(ValueError, match=r"gamma.*symmetric"):
        ji.simulate(system, TS, np.zeros(2), np.ones(2), dt=DT)


@pytest.mark.parametrize("gamma", [[[0.0, 1.0], [0.0, 0.0]], [[1.0, 2.0], [2.0, 1.0]]])
def test_a_traced_friction_matrix_that_could_give_energy_stops_the_run(gamma):
    run_at = jax.jit(lambda g: ji.simulate(ji.System(ji.potentials.Quadratic(), g), TS, np.ones(2), dt=DT).inertia)
    with pytest.raises(Exception, match="damping gamma"):
        jax.block_until_ready(run_at(jnp.array(gamma)))


def test_a_pytree_of_gammas_may_mix_scalars_and_arrays():
    gamma = {"a": 0.5, "b": np.array([0.0, 2.0])}
    start = {"a": jnp.zeros(3), "b": jnp.zeros(2)}
    traj = ji.simulate(
        ji.System(ji.potentials.Quadratic(0.0), gamma), TS, start, jax.tree.map(lambda x: x + 1, start), dt=DT
    )
    assert np.allclose(traj.momentum["a"][-1], np.exp(-0.5), rtol=64 * EPS)
    assert np.allclose(traj.momentum["b"][-1], np.exp([0.0, -2.0]), rtol=64 * EPS)


def test_a_diverging_point_is_nan_or_inf_and_kills_nothing_else():
    """Stiffness 100 at h = 1/2 is beyond stability: other points of the map are as alone."""
    late = jax.vmap(
        lambda k: ji.simulate(ji.System(ji.potentials.Quadratic(k)), np.linspace(0, 400, 2), 1.0, dt=0.5).inertia[-1]
    )
    values = late(jnp.array([1.0, 1e4, 2.0]))
    assert not np.isfinite(values[1])
    assert np.all(np.isfinite(values[np.array([0, 2])]))
