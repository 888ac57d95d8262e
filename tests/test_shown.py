"""Objects print what they hold, as text and as HTML, and never fail to; messages bear any value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia._shown import MOST, shown

TS = np.linspace(0.0, 5.0, 11)
SYSTEM = ji.System(ji.potentials.Duffing(linear=1.5, cubic=0.25), damping=0.2, noise=0.3)


@pytest.fixture(scope="module")
def one():
    return ji.simulate(ji.System(ji.potentials.Quadratic(), 0.2), TS, 1.0, dt=0.1)


@pytest.fixture(scope="module")
def swept():
    run = lambda gamma: ji.simulate(ji.System(ji.potentials.Quadratic(), gamma), TS, 1.0, dt=0.1)  # noqa: E731
    return ji.sweep(run, {"gamma": np.array([0.1, 0.2, 0.4])})


def cells(text, name):
    """What the row of this name has."""
    return next(line.split()[1:] for line in text.splitlines() if line.split()[:1] == [name])


def test_a_system_shows_its_numbers():
    assert cells(repr(SYSTEM), "potential") == ["Duffing(linear=1.5,", "cubic=0.25,", "quadratic=0)"]
    assert cells(repr(SYSTEM), "damping") == ["Linear(gamma=0.2)"]
    assert cells(repr(SYSTEM.without_noise()), "noise") == ["none"]
    assert "linear=1.5" in SYSTEM._repr_html_()


def test_a_function_goes_by_its_name_and_a_network_by_its_size():
    import equinox as eqx

    def bowl(q):
        return jnp.sum(q**2)

    network = eqx.nn.MLP(2, 1, 8, 2, key=jax.random.key(0))  # 3 * 8 + 9 * 8 + 9 numbers
    said = repr(ji.System(bowl, kinetic=ji.kinetic.Learned(network)))
    assert cells(said, "potential") == ["bowl"]
    assert "MLP(105 numbers)" in said
    assert max(map(len, said.splitlines())) <= MOST + 20


def test_a_trajectory_shows_its_ends_and_what_was_booked(one):
    said = repr(one)
    start, end = map(float, cells(said, "inertia"))
    np.testing.assert_allclose([start, end], one.inertia[np.array([0, -1])], rtol=1e-5)
    booked = sum(float(cells(said, name)[0]) for name in ("friction", "noise", "work", "discretization"))
    np.testing.assert_allclose(booked, end - start, rtol=1e-5)
    assert "NOT FINITE" not in said
    assert "<td>1</td>" in one._repr_html_()
    assert float(cells(repr(one.balance), "total")[0]) == pytest.approx(booked, rel=1e-5)


def test_a_monitor_shows_the_latest_state_and_its_books():
    import optax

    optimizer = ji.training.monitor(optax.sgd(0.01, 0.9), dt=0.1)
    params = {"a": jnp.ones(3)}
    state = optimizer.init(params)
    for _ in range(2):
        _, state = optimizer.update(params, state, params, value=1.5)
    now = ji.training.readout(state)
    kept = ji.training.History()
    assert "of 0 calls" in repr(kept)
    kept.append(now)
    assert cells(repr(kept), "inertia") == 2 * cells(repr(now), "inertia")
    for name in ("kinetic", "inertia", "friction", "temperature"):
        assert float(cells(repr(now), name)[0]) == pytest.approx(float(getattr(now, name)), rel=1e-5)
    assert float(cells(repr(now.balance), "total")[0]) == pytest.approx(float(now.inertia - 1.5), rel=1e-4)
    seen = []
    jax.jit(lambda s: seen.append(repr(ji.training.readout(s))))(state)
    assert "f64[]" in seen[0]


def test_many_runs_show_their_range(swept):
    """The inertias at the end, least and greatest; and a sweep of them its axis."""
    many = jax.tree.map(lambda x: np.repeat(x, 3, axis=0), swept.values)  # more than are written out
    low, high = np.sort(np.asarray(many.inertia)[:, -1])[[0, -1]]
    said = cells(repr(many), "inertia")
    np.testing.assert_allclose([float(said[-3]), float(said[-1])], [low, high], rtol=1e-3)
    assert cells(repr(swept), "gamma") == ["3", "points", "[0.1,", "0.2,", "0.4]"]
    assert "balance.friction" in repr(swept)


def test_a_store_is_not_read_to_be_shown(tmp_path):
    found = ji.sweep(lambda gamma: 2 * gamma, {"gamma": np.arange(4.0)}, store=tmp_path / "run.zarr")
    assert "not read yet" in repr(found)
    assert found._cached is None
    assert found.values[-1] == 6
    assert "not read yet" not in repr(found)


def test_an_ensemble_shows_means_with_their_errors():
    found = ji.ensemble(SYSTEM, TS, 1.0, n=16, key=jax.random.key(0), dt=0.25, quantiles=())
    mean, _, error = cells(repr(found), "inertia")[-3:]
    np.testing.assert_allclose(float(mean), found.mean.inertia[-1], rtol=1e-5)
    np.testing.assert_allclose(float(error), found.standard_error.inertia[-1], rtol=0.05)
    assert "16 runs, none failed" in repr(found)


def test_what_is_not_there_prints_as_its_leaves(one):
    for strange in (jax.eval_shape(lambda: one), jax.tree.map(lambda _: None, one), jax.tree.map(lambda _: "x", one)):
        assert repr(strange).startswith("Trajectory(")
        assert strange._repr_html_().startswith("<pre>")
        assert repr(strange.balance).startswith("Balance(")
    seen = []
    jax.jit(lambda t, s: seen.append((repr(t), repr(s))))(one, SYSTEM)
    assert seen[0][0].startswith("Trajectory(")
    assert "gamma=f64[]" in seen[0][1]


@pytest.mark.usefixtures("without_type_checks")
def test_a_message_has_the_beginning_and_the_end_of_a_value_and_then_the_remedy():
    for value in (np.arange(900.0), list(range(10**5)), {"a": np.ones(500)}, "x" * 10**4, [[1.0] * 99] * 99):
        assert len(shown(value)) <= MOST
    assert shown(np.array([1.0, -0.5])) == "array([ 1. , -0.5])"
    with pytest.raises(ValueError, match=r"solver = array.* must be a word such as 'BAOAB'") as caught:
        ji.simulate(SYSTEM, TS, 1.0, dt=0.1, solver=np.arange(900.0))
    assert len(str(caught.value)) < 2 * MOST
