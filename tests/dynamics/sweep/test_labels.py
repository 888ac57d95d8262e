"""Outputs of a sweep by their names: one time for all of a trajectory, the same in memory, in a store and in a file."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import jaxinertia as ji

TS = np.linspace(0.0, 1.0, 4)
GAMMA = {"gamma": np.array([0.0, 0.5])}
DUFFING = ji.potentials.Duffing()


def run(gamma, ts=TS, position=1.0):
    return ji.simulate(ji.System(DUFFING, gamma), ts, position, dt=0.5)


def parts(gamma):
    traj = run(gamma, position=np.array([1.0, 0.5]))
    return {"inertia": traj.inertia, "bal": traj.balance, "q": traj.position, "end": traj.position[-1]}


def whole(gamma):
    return run(gamma)


def two_times(gamma):
    return {"short": run(gamma), "long": run(gamma, np.linspace(0, 2, 6)), "again": run(gamma).kinetic}


def mapped(gamma):
    return jax.vmap(lambda q: run(gamma, position=q))(jnp.array([1.0, 2.0, 3.0]))


def jitted(gamma):
    return jax.jit(run)(gamma)


def moving_times(gamma):
    return ji.simulate(ji.System(DUFFING), jnp.asarray(TS) * (1 + gamma), 1.0, substeps=2)


def of_all_types(gamma):
    whole_number = jnp.asarray(gamma > 0.1, int)
    kinds = {"i": whole_number - 1, "b": gamma > 0.1, "c": gamma * 1j, "u": whole_number.astype(jnp.uint8)}
    return kinds | {"f": gamma.astype(jnp.float32), "_finished": gamma, "gamma_0": gamma, "vector": jnp.ones(3) * gamma}


FUNCTIONS = [parts, whole, two_times, mapped, jitted, moving_times, of_all_types]


def opened(store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xarray.open_dataset(store) as dataset, xarray.open_zarr(store, consolidated=False) as same:
            assert dataset.load().identical(same.load())
            return dataset


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_store_file_and_memory_are_identical_datasets(fn, tmp_path):
    stored = ji.sweep(fn, GAMMA, store=tmp_path / "run.zarr")
    expected = ji.sweep(fn, GAMMA).to_xarray()
    assert stored.to_xarray().identical(expected)
    assert opened(tmp_path / "run.zarr").identical(expected)
    assert ji.Sweep.load(stored.save(tmp_path / "run")).to_xarray().identical(expected)
    assert all(variable.attrs["long_name"] for variable in expected.variables.values())
    assert expected.attrs == {"description": "jaxinertia.sweep over 2 gamma", "failed": 0}


def test_all_of_a_trajectory_shares_one_time():
    found = ji.sweep(parts, GAMMA).to_xarray()
    assert dict(found.sizes) == {"gamma": 2, "time": 4, "q_1": 2, "end_0": 2}
    assert found["q"].dims == ("gamma", "time", "q_1")
    assert all(found[f"bal.{name}"].dims == ("gamma", "time") for name in ("friction", "noise", "work"))
    np.testing.assert_array_equal(found["time"], TS)
    assert found["inertia"].attrs == {"long_name": "inertia I = K + L", "units": "unit of energy"}
    assert found["q"].attrs["units"] == "unit of position"
    assert found["bal.noise"].attrs["long_name"].startswith("energy from noise")  # no noise and no work: both zeros
    assert found["bal.work"].attrs["long_name"].startswith("work")
    assert found["end"].attrs == {"long_name": "end"}


def test_other_times_are_another_dimension():
    found = ji.sweep(two_times, GAMMA).to_xarray()
    assert found["short.kinetic"].dims == found["again"].dims == ("gamma", "time")
    assert found["long.kinetic"].dims == ("gamma", "time_2")
    np.testing.assert_array_equal(found["time_2"], np.linspace(0, 2, 6))


@pytest.mark.parametrize(("fn", "dims"), [(mapped, ("gamma", "kinetic_0", "time")), (jitted, ("gamma", "time"))])
def test_a_whole_trajectory_is_known_also_out_of_vmap_and_jit(fn, dims):
    found = ji.sweep(fn, GAMMA).to_xarray()
    assert found["kinetic"].dims == dims
    assert found["inertia" if "inertia" in found else "balance.work"].dims[-1] == "time"


def test_times_that_differ_from_point_to_point_are_no_coordinate():
    found = ji.sweep(moving_times, GAMMA).to_xarray()
    assert found["ts"].dims == found["kinetic"].dims == ("gamma", "time")
    assert "time" not in found.coords
    np.testing.assert_allclose(found["ts"], TS * (1 + GAMMA["gamma"][:, None]), rtol=1e-15)


def test_names_that_are_taken_give_way():
    """An axis and an output that are called as a dimension would be."""
    axes = {"time": GAMMA["gamma"], "kinetic_0": np.arange(2.0)}
    found = ji.sweep(lambda time, kinetic_0: {"kinetic": jnp.ones(3) * time, "k": run(kinetic_0).kinetic}, axes)
    labelled = found.to_xarray()
    assert labelled["kinetic"].dims == ("time", "kinetic_0", "kinetic_0_")
    assert labelled["k"].dims == ("time", "kinetic_0", "time_")


def test_rows_of_an_axis_are_a_coordinate_of_two_dimensions(tmp_path):
    axes = {"q0": np.arange(6.0).reshape(3, 2), ("a", "b"): (np.arange(2), np.ones(2))}
    stored = ji.sweep(lambda q0, a, b: q0.sum() + a + b, axes, store=tmp_path / "run.zarr").to_xarray()
    assert stored["value"].dims == ("q0", "a_b")
    assert stored["q0"].dims == ("q0", "q0_0")
    assert opened(tmp_path / "run.zarr").identical(stored)


def test_statistics_keep_time_and_units(tmp_path):
    statistics = ("mean", "variance", "count", ji.reductions.Quantiles((0.1, 0.9)))
    runs = ji.sweep(lambda gamma, n: parts(gamma), GAMMA | {"n": np.arange(2)}, reduce={"n": statistics})
    found = runs.to_xarray()
    assert found["inertia.mean"].dims == ("gamma", "time")
    assert found["inertia.quantiles"].dims == ("gamma", "time", "inertia.quantiles_1")
    assert found["inertia.variance"].attrs == {
        "long_name": "variance of inertia I = K + L",
        "units": "(unit of energy)^2",
    }
    assert found["inertia.count"].attrs["units"] == "1"
    assert ji.Sweep.load(runs.save(tmp_path / "runs")).to_xarray().identical(found)


def test_what_is_not_computed_yet_shows_and_a_true_zero_is_not_masked(tmp_path):
    import zarr

    ji.sweep(of_all_types, GAMMA, store=tmp_path / "run.zarr", chunk_size=1)
    group = zarr.open_group(str(tmp_path / "run.zarr"), mode="r")
    assert group["i"].fill_value == np.iinfo(np.int64).min
    assert group["u"].fill_value == 255
    assert all(np.isnan(group[name].fill_value) for name in "fc")
    found = opened(tmp_path / "run.zarr")
    assert found["i"].values.tolist() == [-1, 0]
    assert found["i"].dtype == np.int64
    assert found["u"].values.tolist() == [0, 1]


def test_failed_points_are_counted_in_the_store(tmp_path):
    runs = ji.sweep(lambda gamma: jnp.log(1.0 * gamma), GAMMA, store=tmp_path / "run.zarr")
    assert opened(tmp_path / "run.zarr").attrs["failed"] == runs.failed == 1
    assert opened(tmp_path / "run.zarr").identical(runs.to_xarray())


REFUSED = {
    "a key": (lambda gamma, key: {"k": key}, r"random key \(k\).*key_data"),
    "clashing": (lambda gamma, key: {"a": {"b": gamma}, "a.b": gamma}, r"called \['a.b'\].*rename"),
    "clashing with a number": (lambda gamma, key: {"a": [gamma], "a.0": gamma}, r"called \['a.0'\].*rename"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_outputs_that_make_no_sense_are_refused_by_name(name):
    fn, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        ji.sweep(fn, GAMMA, key=jax.random.key(0))


def test_names_that_look_alike_do_not_clash(tmp_path):
    runs = ji.sweep(lambda gamma: {"a": {"b": gamma}, "a_b": 2 * gamma}, GAMMA, store=tmp_path / "run.zarr")
    np.testing.assert_array_equal(runs.outputs["a.b"] * 2, runs.outputs["a_b"])
    assert opened(tmp_path / "run.zarr").identical(runs.to_xarray())


@pytest.mark.parametrize("name", ["a/b", "a\\b", "..", "zarr.json", "__a", "a\nb", "_sweep", "x" * 300])
def test_a_name_that_no_store_can_hold_is_refused_before_anything_is_written(name, tmp_path):
    with pytest.raises(ValueError, match="no store can hold; rename it"):
        ji.sweep(lambda gamma: {name: gamma, "other": gamma}, GAMMA, store=tmp_path / "run.zarr")
    assert not list(tmp_path.iterdir())


def test_a_type_that_no_store_can_hold_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"bfloat16 \(half\).*astype"):
        ji.sweep(lambda gamma: {"half": gamma.astype(jnp.bfloat16)}, GAMMA, store=tmp_path / "run.zarr")


@pytest.mark.parametrize("second", ["a_b", ("a_b", "c"), ("a", "b_c")])
def test_axes_of_one_name_are_refused(second):
    values = [0.0, 1.0]
    first = ("a", "b") if second != ("a", "b_c") else ("a_b", "c")
    with pytest.raises(ValueError, match=r"axes make 'a_b(_c)?' twice.*rename one"):
        ji.sweep(lambda **x: 1.0, {first: (values, values), second: values if second == "a_b" else (values, values)})


def test_an_axis_of_keys_is_refused():
    with pytest.raises(ValueError, match=r"axes\['k'\] must be numbers"):
        ji.sweep(lambda k: 1.0, {"k": jax.random.split(jax.random.key(0), 3)})


def test_a_statistic_that_is_called_as_another_is_refused():
    two = (ji.reductions.Quantiles((0.5,), name="b.mean"), "mean")
    with pytest.raises(ValueError, match=r"make \['a.b.mean'\] twice"):
        ji.sweep(lambda gamma: {"a": gamma, "a.b": gamma}, GAMMA, reduce={"gamma": two})


def test_a_store_of_an_earlier_release_is_told_as_such(tmp_path):
    import zarr

    zarr.open_group(str(tmp_path / "old.zarr"), mode="w").attrs.update({"call": "{}"})
    with pytest.raises(ValueError, match=r"earlier release.*xarray.open_zarr"):
        ji.sweep(lambda gamma: 2 * gamma, GAMMA, store=tmp_path / "old.zarr")
