"""A sweep is the plain loop over its points, whatever the chunks; its statistics are those of all values."""

from typing import ClassVar

import diffrax
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxinertia as ji
from jaxinertia.dynamics.sweep.axes import parse
from jaxinertia.dynamics.sweep.chunks import plan
from jaxinertia.dynamics.sweep.collect import Collector
from jaxinertia.dynamics.sweep.program import compile_chunk, mesh_of, room, trace, words

pytestmark = pytest.mark.optimised

GAMMAS = np.linspace(0.0, 2.0, 7)
STARTS = np.linspace(-1.0, 1.0, 5)


def energy(gamma, q0):
    system = ji.System(ji.potentials.Duffing(), damping=gamma)
    return ji.simulate(system, np.array([0.0, 2.0]), q0, dt=0.1).inertia[-1]


def noisy(gamma, repeat, key):
    system = ji.System(ji.potentials.Quadratic(), damping=gamma, noise=0.5)
    traj = ji.simulate(system, np.linspace(0, 2, 5), 1.0, dt=0.1, key=key)
    return {"inertia": traj.inertia, "work": {"friction": traj.balance.friction[-1]}}


def test_values_are_those_of_the_loop_in_c_order():
    runs = ji.sweep(energy, {"gamma": GAMMAS, "q0": STARTS})
    loop = np.array([[energy(g, q) for q in STARTS] for g in GAMMAS])
    assert runs.values.shape == (7, 5)
    # Vectorised and scalar code round apart by a few units in the last place over 20 steps.
    np.testing.assert_allclose(runs.values, loop, rtol=1e-13)


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 6, 13, 35, 1000])
def test_any_chunk_size_gives_the_same_values(chunk_size):
    whole = ji.sweep(energy, {"gamma": GAMMAS, "q0": STARTS})
    cut = ji.sweep(energy, {"gamma": GAMMAS, "q0": STARTS}, chunk_size=chunk_size)
    np.testing.assert_allclose(cut.values, whole.values, rtol=1e-13)


def test_one_compilation_a_sweep(caplog):
    compile_chunk.cache_clear()
    with jax.log_compiles(), caplog.at_level("WARNING"):
        ji.sweep(energy, {"gamma": GAMMAS, "q0": STARTS}, chunk_size=4)
    compiled = [r for r in caplog.records if "Compiling jit(on_one_device)" in r.getMessage()]
    assert len(compiled) == 1, [r.getMessage()[:100] for r in caplog.records]


def test_an_equal_sweep_compiles_nothing_and_a_changed_closure_is_seen(caplog):
    def closing_over(factor):
        return ji.sweep(jax.jit(lambda q0: q0 * factor), {"q0": STARTS})

    closing_over(np.arange(3.0))
    with jax.log_compiles(), caplog.at_level("WARNING"):
        again = closing_over(np.arange(3.0))
        assert not [r for r in caplog.records if "Compiling jit(on_one_device)" in r.getMessage()]
        other = closing_over(np.arange(3.0) + 1)
    np.testing.assert_array_equal(again.values, STARTS[:, None] * np.arange(3.0))
    np.testing.assert_array_equal(other.values, STARTS[:, None] * (np.arange(3.0) + 1))


def test_random_bits_depend_on_the_global_index_alone():
    axes = {"gamma": GAMMAS, "repeat": np.arange(6)}
    whole = ji.sweep(noisy, axes, key=jax.random.key(3))
    cut = ji.sweep(noisy, axes, key=jax.random.key(3), chunk_size=5)
    np.testing.assert_allclose(cut.values["inertia"], whole.values["inertia"], rtol=1e-12)
    index = 2 * 6 + 4
    point = noisy(GAMMAS[2], 4, jax.random.fold_in(jax.random.key(3), index))
    np.testing.assert_allclose(whole.values["inertia"][2, 4], point["inertia"], rtol=1e-12)


def test_equal_chunks_are_equal_bit_for_bit():
    axes = {"gamma": GAMMAS, "repeat": np.arange(6)}
    once, again = (ji.sweep(noisy, axes, key=jax.random.key(3), chunk_size=6).values for _ in range(2))
    np.testing.assert_array_equal(once["inertia"], again["inertia"])


def test_zipped_axes_and_rows():
    def total(q0, p0, start):
        return q0 + 10 * p0 + 100 * jnp.sum(start)

    zipped = ("q0", "p0")
    runs = ji.sweep(total, {zipped: ([1.0, 2.0], [3.0, 4.0]), "start": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    np.testing.assert_array_equal(runs.values, [[331.0, 731.0, 1131.0], [342.0, 742.0, 1142.0]])
    labelled = runs.to_xarray()
    assert labelled["value"].dims == ("q0_p0", "start")
    np.testing.assert_array_equal(labelled["q0"], [1.0, 2.0])


def test_parameters_that_fit_are_looked_up_once_a_chunk_and_not_in_its_blocks(monkeypatch):
    axes = {"row": np.arange(12.0).reshape(6, 2), "q0": np.linspace(0.0, 1.0, 300)}
    parsed, mesh = parse(axes), mesh_of(jax.devices()[:1])
    program = trace(lambda row, q0: row.sum() + q0, parsed, None)

    def run():
        """Values, and how many look-ups the loop over blocks has in it."""
        compile_chunk.cache_clear()
        chunk = compile_chunk(program, parsed.shape, (("row",), ("q0",)), mesh, 2048, 512)
        given = (words(0, 1800), axes, None, room(program.outputs, mesh, 2048))
        within = jax.make_jaxpr(chunk)(*given).eqns[0].params["jaxpr"].eqns[0].params["jaxpr"]
        (loop,) = [equation for equation in within.eqns if equation.primitive.name == "scan"]
        return chunk(*given)[0][:1800], str(loop.params["jaxpr"]).count("gather[")

    values, in_blocks = run()
    assert in_blocks == 0
    np.testing.assert_array_equal(values, np.add.outer(axes["row"].sum(1), axes["q0"]).reshape(-1))
    monkeypatch.setattr("jaxinertia.dynamics.sweep.program.TAKEN", 2048 * 8)
    values_by_rows_in_blocks, in_blocks = run()
    assert in_blocks == 1  # the rows alone are larger
    np.testing.assert_array_equal(values_by_rows_in_blocks, values)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16, np.float32, np.float64, np.complex128])
def test_failures_of_every_type_are_counted_in_their_place(dtype):
    bad = [0, 700, 1333, 1999]  # in the first, the last and other pieces that are copied at a time

    def rows(number):
        row = jnp.full(300, number).astype(dtype)
        poison = jnp.where(jnp.isin(number, jnp.array(bad)), jnp.inf, 0.0).astype(dtype)
        return {"row": row.at[17].add(-poison), "none": row[:0], "whole": number}

    runs = ji.sweep(rows, {"number": np.arange(2000)}, chunk_size=1100)
    assert runs.failed == len(bad)
    assert [point["number"] for point in runs.failures] == bad
    assert np.isnan(runs.values["row"][bad, 17]).all()
    assert np.isnan(runs.values["row"]).sum() == len(bad)


@pytest.mark.parametrize("chunk_size", [32, 4096])  # a block of each device, and several
def test_chunks_are_written_into_the_memory_of_those_done_with(chunk_size, monkeypatch):
    taken, take = [], Collector.take

    def noting(self, share, chunk, leaves):
        take(self, share, chunk, leaves)
        taken.extend(leaves)

    monkeypatch.setattr(Collector, "take", noting)
    x = np.arange(10.0 * chunk_size)
    runs = ji.sweep(lambda x: x + np.arange(3.0), {"x": x}, chunk_size=chunk_size)
    np.testing.assert_array_equal(runs.values, np.add.outer(x, np.arange(3.0)))
    assert [leaf.is_deleted() for leaf in taken] == [True] * 7 + [False] * 3


def test_what_a_statistic_keeps_of_a_chunk_is_not_written_over():
    class Kept(ji.reductions.Statistic):
        name = "kept"
        seen: ClassVar[list[np.ndarray]] = []

        def empty(self, cells):
            return {"value": np.zeros(cells)}

        def of(self, values):
            self.seen.append(values)
            return {"value": values[0]}

        def merge(self, a, b):
            return b

        def finish(self, state):
            return state["value"]

    axes = {"x": np.arange(160.0), "y": np.arange(2.0)}
    ji.sweep(lambda x, y: x - y, axes, chunk_size=32, reduce={"x": Kept()}, devices=jax.devices()[:1])
    np.testing.assert_array_equal(np.concatenate(Kept.seen), np.subtract.outer(axes["x"], axes["y"]))


def test_gradients_of_every_point():
    runs = ji.sweep(jax.grad(energy, argnums=(0, 1)), {"gamma": GAMMAS, "q0": STARTS})
    expected = jax.jacfwd(energy, argnums=0)(GAMMAS[3], STARTS[1])
    np.testing.assert_allclose(runs.values[0][3, 1], expected, rtol=1e-11)


def test_failures_are_nan_counted_and_named_and_the_rest_untouched():
    gammas = np.array([0.1, -1.0, 0.3])
    runs = ji.sweep(energy, {"gamma": gammas, "q0": STARTS})
    assert np.all(np.isnan(runs.values[1]))
    assert runs.failed == len(STARTS)
    assert runs.failures[0] == {"gamma": -1.0, "q0": -1.0}
    good = ji.sweep(energy, {"gamma": gammas[[0, 2]], "q0": STARTS})
    np.testing.assert_allclose(runs.values[[0, 2]], good.values, rtol=1e-13)
    assert "failed (not finite): 5" in runs.summary()


def test_a_trajectory_can_be_kept_whole():
    runs = ji.sweep(
        lambda gamma: ji.simulate(
            ji.System(ji.potentials.Pendulum(), damping=gamma), np.linspace(0, 2, 5), 1.0, dt=0.1
        ),
        {"gamma": GAMMAS},
    )
    assert isinstance(runs.values, ji.Trajectory)
    assert runs.values.inertia.shape == (7, 5)
    assert "balance.friction" in runs.to_xarray()


@pytest.mark.parametrize("chunk_size", [7, 11, 60])
def test_mean_and_variance_as_it_goes_are_those_of_all_values(chunk_size):
    axes = {"repeat": np.arange(50), "gamma": GAMMAS}
    full = ji.sweep(noisy, axes, key=jax.random.key(1)).values["inertia"]
    statistics = ("mean", "variance", "count")
    runs = ji.sweep(noisy, axes, key=jax.random.key(1), chunk_size=chunk_size, reduce={"repeat": statistics})
    # Merging 50 values in float64: a few dozen roundings of numbers of order one.
    np.testing.assert_allclose(runs.values["mean"]["inertia"], full.mean(0), rtol=1e-13)
    np.testing.assert_allclose(runs.values["variance"]["inertia"], full.var(0, ddof=1), rtol=1e-12, atol=1e-15)
    assert np.all(runs.values["count"]["inertia"] == 50)
    assert runs.shape == (7,)


def test_quantiles_keep_their_relative_error_and_histograms_count():
    edges = np.linspace(0.0, 4.0, 9)
    reduce = {("repeat", "gamma"): (ji.reductions.Quantiles((0.1, 0.5, 0.9)), ji.reductions.Histogram(tuple(edges)))}
    axes = {"repeat": np.arange(300), "gamma": GAMMAS}
    full = ji.sweep(noisy, axes, key=jax.random.key(1)).values["inertia"].reshape(-1, 5)
    runs = ji.sweep(noisy, axes, key=jax.random.key(1), chunk_size=100, reduce=reduce)
    exact = np.quantile(full, (0.1, 0.5, 0.9), axis=0, method="lower").T
    np.testing.assert_allclose(runs.values["quantiles"]["inertia"], exact, rtol=0.0101)
    for time in range(5):
        np.testing.assert_array_equal(runs.values["histogram"]["inertia"][time], np.histogram(full[:, time], edges)[0])


def test_diverged_points_are_left_out_of_statistics():
    reduce = {"gamma": ("mean", "count")}
    runs = ji.sweep(energy, {"gamma": np.array([0.1, -1.0, 0.3]), "q0": STARTS}, reduce=reduce)
    assert np.all(runs.values["count"] == 2)
    assert np.all(np.isfinite(runs.values["mean"]))
    assert runs.failed == 5


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    chunk_size=st.integers(1, 200),
    devices=st.integers(1, 4),
)
def test_chunks_cover_every_point_once_in_order(shape, chunk_size, devices):
    layout = plan(shape, chunk_size, 8, devices, cpu=True)
    seen = np.zeros(shape, int)
    at = 0
    for chunk in map(layout.chunk, range(layout.points.size)):
        seen[chunk.place] += 1
        assert chunk.start == at  # contiguous in C order
        at += chunk.count
        assert chunk.count <= min(chunk_size, layout.width)
    assert np.all(seen == 1)
    assert layout.width % devices == 0


def test_devices_of_another_process_are_refused(monkeypatch):
    """Their part of a chunk would never come here."""
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(ValueError, match=r"devices = .* of other processes.*jax.local_devices"):
        ji.sweep(energy, {"gamma": GAMMAS, "q0": STARTS}, devices=jax.devices())


def test_save_and_load(tmp_path):
    runs = ji.sweep(noisy, {"gamma": GAMMAS, "repeat": np.arange(3)}, key=jax.random.key(0))
    loaded = ji.Sweep.load(runs.save(tmp_path / "runs"))
    np.testing.assert_array_equal(loaded.values["work.friction"], runs.values["work"]["friction"])
    np.testing.assert_array_equal(loaded.axes["gamma"], GAMMAS)
    assert loaded.to_xarray().equals(runs.to_xarray())
    with pytest.raises(ValueError, match="cannot be read"):
        ji.Sweep.load(tmp_path / "missing.npz")


def test_trajectories_come_back_as_such(tmp_path):
    def run(gamma):
        return ji.simulate(ji.System(ji.potentials.Duffing(), gamma), np.linspace(0, 1, 4), 1.0, dt=0.1)

    runs = ji.sweep(run, {"gamma": GAMMAS})
    loaded = ji.Sweep.load(runs.save(tmp_path / "runs"))
    assert isinstance(loaded.values, ji.Trajectory)
    np.testing.assert_array_equal(loaded.values.inertia, runs.values.inertia)
    np.testing.assert_array_equal(loaded.values.balance.friction, runs.values.balance.friction)


@pytest.mark.parametrize("fails", ["max_steps", "negative gamma", "backwards"])
def test_one_bad_point_is_nan_also_in_diffrax_and_with_traced_times(fails):
    """An escape to infinity that exhausts the steps; a damping and a time that make no sense."""
    adaptive = dict(solver=diffrax.Tsit5(), stepsize_controller=diffrax.PIDController(1e-6, 1e-6))

    def final(x):
        if fails == "max_steps":
            system = ji.System(lambda q: -(q**4))
            return ji.simulate(system, np.linspace(0, 5, 3), x, max_steps=100, **adaptive).inertia[-1]
        if fails == "negative gamma":
            system = ji.System(ji.potentials.Quadratic(), damping=1 - x)
            return ji.simulate(system, np.linspace(0, 5, 3), 1.0, **adaptive).inertia[-1]
        times = (1.5 - x) * jnp.arange(3.0)
        return ji.simulate(ji.System(ji.potentials.Quadratic()), times, 1.0, substeps=10).inertia[-1]

    runs = ji.sweep(final, {"x": np.array([0.01, 2.0])})
    assert np.isfinite(runs.values).tolist() == [True, False]
    assert runs.failures == [{"x": 2.0}]


def test_a_sketch_says_infinite_beyond_its_range():
    values = np.array([1.0, 2.0, 3e9, -4e12])
    runs = ji.sweep(lambda x: x, {"x": values}, reduce={"x": ji.reductions.Quantiles((0.0, 0.4, 1.0))})
    assert runs.values["quantiles"][[0, 2]].tolist() == [-np.inf, np.inf]
    assert runs.values["quantiles"][1] == pytest.approx(1.0, rel=0.01)


BAD = {
    "no axes": (lambda: ji.sweep(energy, {}), "axes = {}"),
    "empty axis": (lambda: ji.sweep(energy, {"gamma": []}), r"axes\['gamma'\]"),
    "scalar axis": (lambda: ji.sweep(energy, {"gamma": 1.0}), r"axes\['gamma'\] = 1.0"),
    "named twice": (lambda: ji.sweep(energy, {"gamma": [1.0], ("gamma", "q0"): ([1.0], [1.0])}), "twice"),
    "zip lengths": (lambda: ji.sweep(energy, {("gamma", "q0"): ([1.0], [1.0, 2.0])}), "different lengths"),
    "zip count": (lambda: ji.sweep(energy, {("gamma", "q0"): ([1.0],)}), "zips 2 parameters"),
    "wrong names": (lambda: ji.sweep(energy, {"gama": [1.0], "q0": [1.0]}), "does not take the arguments"),
    "chunk size": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, chunk_size=0), "chunk_size = 0"),
    "no function": (lambda: ji.sweep(3, {"gamma": [1.0]}), "fn = 3"),
    "nothing kept": (lambda: ji.sweep(lambda gamma: None, {"gamma": [1.0]}), "returns no array"),
    "unknown axis": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, reduce={"x": "mean"}), r"\['x'\]"),
    "unknown statistic": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, reduce={"q0": "mode"}), "'mode'"),
    "edges": (lambda: ji.reductions.Histogram((1.0, 0.0)), "edges = "),
    "probabilities": (lambda: ji.reductions.Quantiles((1.5,)), "probabilities = "),
    "same name twice": (
        lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, reduce={"q0": (ji.reductions.Quantiles(0.5),) * 2}),
        "a name= of its own",
    ),
    "no statistic": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, reduce={"q0": ()}), "at least one"),
    "complex": (lambda: ji.sweep(lambda a: a * 1j, {"a": [1.0]}, reduce={"a": "mean"}), "complex"),
    "range of a sketch": (lambda: ji.reductions.Quantiles(0.5, smallest=0.0), "smallest = 0.0"),
    "ragged": (lambda: ji.sweep(energy, {"gamma": [[1.0], [1.0, 2.0]]}), "different lengths"),
    "text axis": (lambda: ji.sweep(energy, {"gamma": ["a"]}), "must be numbers"),
    "key as an axis": (lambda: ji.sweep(lambda key: key, {"key": [1.0]}, key=jax.random.key(0)), "rename the axis"),
    "key": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, key=0), "key = 0"),
    "store": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, store=3), "store = 3"),
    "no devices": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, devices=[]), r"devices = \[\]"),
    "device": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, devices="cpu"), "devices = 'cpu'"),
    "text chunk size": (lambda: ji.sweep(energy, {"gamma": [1.0], "q0": [1.0]}, chunk_size="a"), "chunk_size = 'a'"),
    "name of an axis": (lambda: ji.sweep(lambda a: {"a": a}, {"a": [1.0]}).to_xarray(), "rename them"),
    "name of an axis, stored": (lambda: ji.sweep(lambda a: {"a": a}, {"a": [1.0]}, store="x.zarr"), "rename them"),
    "nowhere to save": (lambda: ji.sweep(lambda a: a, {"a": [1.0]}).save("/nowhere/runs"), "cannot be written"),
    "relative error": (lambda: ji.reductions.Quantiles((0.5,), relative_error=2.0), "relative_error = 2.0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_a_value_error_that_names_it(name, monkeypatch):
    call, message = BAD[name]
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users do not run the type checker
    with pytest.raises(ValueError, match=message):
        call()
