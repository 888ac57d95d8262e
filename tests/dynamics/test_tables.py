"""A trajectory as xarray's and pandas' tables: every number where its labels say. And its velocity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

TS = np.array([0.0, 0.5, 2.0])
PLANE = ji.System(ji.potentials.Quadratic([1.0, 4.0]), damping=0.2)
START = jnp.array([1.0, 2.0])


@pytest.fixture(scope="module")
def one():
    return ji.simulate(PLANE, TS, START, dt=0.1)


@pytest.fixture(scope="module")
def many():
    return jax.vmap(lambda x: ji.simulate(PLANE, TS, x * START, dt=0.1))(np.array([1.0, 3.0]))


def test_xarray_has_every_number_under_its_name(one):
    table = one.to_xarray()
    assert table.position.dims == ("time", "position_1")
    np.testing.assert_array_equal(table.time, TS)
    np.testing.assert_array_equal(table.momentum.sel(time=2.0), one.momentum[2])
    accounts = sum(table[f"balance.{name}"] for name in ("friction", "noise", "work", "discretization"))
    np.testing.assert_allclose(accounts, one.inertia - one.inertia[0], atol=1e-14)
    np.testing.assert_array_equal(table.inertia, one.inertia)
    assert table.inertia.attrs == {"long_name": "inertia I = K + L", "units": "unit of energy"}


def test_xarray_has_the_names_of_a_sweep_of_trajectories(one):
    """All but the axis, and the inertia, which a trajectory has beside its fields."""
    swept = ji.sweep(lambda x: ji.simulate(PLANE, TS, x * START, dt=0.1), {"x": np.array([1.0])}).to_xarray()
    table = one.to_xarray()
    for name in set(table.variables) - {"inertia", "time"}:
        assert swept[name].dims[1:] == table[name].dims
        assert swept[name].attrs == table[name].attrs
    assert set(swept.data_vars) - {"ts"} == set(table.data_vars) - {"inertia"}


def test_pandas_has_a_column_for_each_component(one):
    table = one.to_pandas()
    np.testing.assert_array_equal(table.index, TS)
    np.testing.assert_array_equal(table["position[1]"], one.position[:, 1])
    np.testing.assert_array_equal(table["balance.friction"], one.balance.friction)
    assert len(table.columns) == 2 * 2 + 3 + 4


def test_many_runs_have_a_dimension_of_their_own(many):
    table, rows = many.to_xarray(), many.to_pandas()
    np.testing.assert_array_equal(table.position.sel(time=0.5).isel(run=1), many.position[1, 1])
    np.testing.assert_array_equal(rows.loc[(1, 0.5)][["position[0]", "position[1]"]], many.position[1, 1])
    later = jax.tree.map(lambda x: x, many)
    later = type(later)(**{**vars(later), "ts": np.stack([TS, TS + 1.0])})
    np.testing.assert_array_equal(later.to_xarray().ts, [TS, TS + 1.0])
    np.testing.assert_array_equal(later.to_pandas().loc[1].index, TS + 1.0)


def test_names_of_a_position_with_parts_are_theirs():
    traj = ji.simulate(ji.System(lambda q: q["a"] ** 2 + jnp.sum(q["b"] ** 2)), TS, {"a": 1.0, "b": START}, dt=0.5)
    assert {"position.a", "position.b[0]", "momentum.b[1]"} <= set(traj.to_pandas().columns)
    np.testing.assert_array_equal(traj.to_xarray()["momentum.b"], traj.momentum["b"])


def test_there_is_no_table_inside_jit(one):
    for make in (ji.Trajectory.to_xarray, ji.Trajectory.to_pandas):
        with pytest.raises(ValueError, match="trajectory is traced"):
            jax.jit(make)(one)


def test_velocity_is_the_momentum_or_is_refused(one, many, tmp_path):
    """With a mass of 2 the momentum is twice the velocity: to hand it out would be wrong by that."""
    np.testing.assert_array_equal(one.velocity, one.momentum)
    np.testing.assert_array_equal(many.velocity, many.momentum)
    np.testing.assert_array_equal(ji.Trajectory.load(one.save(tmp_path / "run")).velocity, one.momentum)
    heavy = ji.System(ji.potentials.Quadratic(), kinetic=ji.kinetic.Mass(2.0))
    traj = ji.simulate(heavy, TS, START, dt=0.1)
    for held in (traj, ji.Trajectory.load(traj.save(tmp_path / "heavy"))):
        with pytest.raises(ValueError, match=r"velocity is grad K.*is not the Euclidean one: ask the system"):
            _ = held.velocity
    asked = jax.vmap(heavy.kinetic.velocity_at)(traj.position, traj.momentum)  # as the message says
    np.testing.assert_allclose(asked, traj.momentum / 2)


def test_a_file_without_the_note_does_not_know_its_velocity(one):
    arrays = {"ts": TS, "position": one.position, "momentum": one.momentum}
    arrays |= {"kinetic": one.kinetic, "potential": one.potential}
    arrays |= {f"balance.{name}": getattr(one.balance, name) for name in ji.Balance.__annotations__}
    with pytest.raises(ValueError, match="is not known"):
        _ = ji.Trajectory.of_arrays(arrays).velocity
