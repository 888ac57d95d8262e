"""What `load` takes for a file of its own: fields that match each other, looked at before memory is taken."""

import json
import re
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

TS = np.linspace(0, 1, 4)
TIMES = np.zeros(4)
SYSTEM = ji.System(ji.potentials.Quadratic())


def both(s):
    return s.damping.gamma, s.potential.stiffness


LOADS = {
    "trajectory": ji.Trajectory.load,
    "sweep": ji.Sweep.load,
    "fit": lambda path: ji.Fit.load(path, SYSTEM, both),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One file of each kind: path by name."""
    folder = tmp_path_factory.mktemp("saved")
    ts = np.linspace(0, 20, 100)
    noise = 0.02 * np.random.default_rng(0).normal(size=100)
    data = ji.Observations(ts, np.exp(-0.1 * ts) * np.cos(ts) + noise)
    runs = ji.sweep(
        lambda gamma: ji.simulate(ji.System(ji.potentials.Duffing(), gamma), TS, 1.0, dt=0.5), {"gamma": [0.0, 1.0]}
    )
    return {
        "trajectory": ji.simulate(SYSTEM, TS, np.array([1.0, 2.0]), dt=0.5).save(folder / "trajectory"),
        "sweep": runs.save(folder / "sweep"),
        "fit": ji.fit(SYSTEM, data, both).save(folder / "fit"),
    }


def changed(saved, kind, tmp_path, change):
    """The file of this kind with other arrays: (path, its arrays as they were); an array that is None is left out."""
    with np.load(saved[kind]) as file:
        arrays = dict(file)
    arrays |= {name: x(arrays[name]) if callable(x) else x for name, x in change.items()}
    path = tmp_path / "changed.npz"
    np.savez(path, **{name: x for name, x in arrays.items() if x is not None})
    return path


def in_table(**change):
    return lambda text: json.dumps(json.loads(str(text)) | change)


BAD = {
    "momentum of another shape": ("trajectory", {"momentum": np.zeros((3, 2))}, "momentum", r"shape \(3, 2\)"),
    "position without times": ("trajectory", {"position": np.zeros(2)}, "position", "shape"),
    "kinetic too long": ("trajectory", {"kinetic": np.zeros(5)}, "kinetic", r"must be \(4,\)"),
    "balance too short": ("trajectory", {"balance.work": np.zeros(())}, "balance.work", "shape"),
    "event time": ("trajectory", {"event_time": np.zeros(3)}, "event_time", "shape"),
    "complex times": ("trajectory", {"ts": TIMES + 0j}, "ts", "complex numbers"),
    "text for times": ("trajectory", {"ts": np.array(["0", "1", "2", "3"])}, "ts", "text"),
    "objects": ("trajectory", {"kinetic": np.array([{}, 1, 2, 3], object)}, "kinetic", "Python objects"),
    "dates": ("trajectory", {"ts": np.arange(4).astype("M8[s]")}, "ts", "datetime64"),
    "complex position": ("trajectory", {"position": np.zeros((4, 2), complex)}, "position", "complex"),
    "one time alone": ("trajectory", {"ts": np.array(1.0)}, "ts", "shape"),
    "NaN in times": ("trajectory", {"ts": np.array([0, np.nan, 1, 2])}, "ts", "does not increase"),
    "times that decrease": ("trajectory", {"ts": TS[::-1]}, "ts", "does not increase"),
    "no kinetic": ("trajectory", {"kinetic": None}, "kinetic", "is missing"),
    "no momentum": ("trajectory", {"momentum": None}, "momentum", "is missing"),
    "no position": ("trajectory", {"position": None, "momentum": None}, "position", "is missing"),
    "momentum alone": ("trajectory", {"momentum['a']": np.zeros(4)}, "momentum", "no position"),
    "value of another shape": ("sweep", {"value.kinetic": np.zeros((3, 4))}, "value.kinetic", r"must be \(2,\)"),
    "times of the sweep": ("sweep", {"value.ts": np.zeros((2, 5))}, "value.kinetic", "shape"),
    "text for values": ("sweep", {"value.kinetic": np.array([["a"] * 4] * 2)}, "value.kinetic", "text"),
    "objects for values": ("sweep", {"value.kinetic": np.array([[{}] * 4] * 2)}, "value.kinetic", "objects"),
    "no axis": ("sweep", {"axis.gamma": None}, "axis.gamma", "is missing"),
    "axis of objects": ("sweep", {"axis.gamma": np.array([{}, {}])}, "axis.gamma", "objects"),
    "axis of another length": ("sweep", {"axis.gamma": np.zeros(3)}, "value.", "shape"),
    "empty axis": ("sweep", {"axis.gamma": np.zeros(0)}, "axis.gamma", "no entries"),
    "no head": ("sweep", {"head": None}, "head", "is missing"),
    "head of numbers": ("sweep", {"head": np.zeros(3)}, "head", "not a text"),
    "head of a list": ("sweep", {"head": "[]"}, "head", "not a table"),
    "head cut short": ("sweep", {"head": "{"}, "head", "not the JSON"),
    "deep head": ("sweep", {"head": "[" * 50_000}, "head", "not the JSON"),
    "failed as text": ("sweep", {"head": in_table(failed="no")}, "head", "failed = 'no'"),
    "layout of numbers": ("sweep", {"head": in_table(layout=[3])}, "head", "layout"),
    "unknown dimension": ("sweep", {"head": in_table(dimensions=["x"])}, "head", "dimensions"),
    "flat of another length": ("fit", {"flat": np.zeros(3)}, "flat", r"must be \(2,\)"),
    "complex flat": ("fit", {"flat": np.zeros(2, complex)}, "flat", "complex"),
    "covariance in the table": ("fit", {"text": in_table(covariance=[[1.0]])}, "text", r"\(1, 1\), not \(2, 2\)"),
    "covariance as text": ("fit", {"text": in_table(covariance=[["a", "b"]] * 2)}, "text", "other things than numbers"),
    "ragged covariance": ("fit", {"text": in_table(covariance=[[1.0], [1.0, 2.0]])}, "text", "different lengths"),
    "covariance of the curvature": ("fit", {"covariance_curvature": np.zeros((2, 3))}, "covariance_curvature", "shape"),
    "no covariance": ("fit", {"covariance_corrected": None}, "covariance_corrected", "is missing"),
    "residuals": ("fit", {"residuals": np.zeros(3)}, "prediction", "shape"),
    "initial momentum": ("fit", {"momentum": np.zeros((4, 4))}, "momentum", "shape"),
    "objects for residuals": ("fit", {"residuals": np.array([{}] * 100)}, "residuals", "objects"),
    "cost as text": ("fit", {"text": in_table(cost="low")}, "text", "cost = 'low'"),
    "no diagnostics": ("fit", {"text": in_table(diagnostics={})}, "text", "lacks 'converged'"),
    "unknown bounds": ("fit", {"text": in_table(bounds=[["round", 0, 1]] * 2)}, "text", "bounds"),
    "bounds of too many": ("fit", {"text": in_table(bounds=[["above", 0, 1]] * 3)}, "text", "bounds"),
    "input of another length": (
        "fit",
        {"force_ts": np.zeros(3), "force_u": np.zeros(4), "force_gain": np.ones(())},
        "force_u",
        "shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_fields_that_do_not_match_are_named_with_the_file(name, saved, tmp_path):
    kind, change, field, message = BAD[name]
    path = changed(saved, kind, tmp_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        LOADS[kind](path)
    said = str(caught.value)
    assert str(path) in said
    assert re.search(rf"""field ['"]{field}""", said)
    assert "allow_pickle" not in said
    assert re.search(r"; (copy|pass|save) ", said)  # what to do


@pytest.mark.parametrize("kind", LOADS)
def test_what_save_wrote_is_loaded(kind, saved):
    LOADS[kind](saved[kind])


@pytest.mark.parametrize("kind", LOADS)
@pytest.mark.parametrize("other", LOADS)
def test_a_file_of_another_kind_is_told_by_its_kind(kind, other, saved):
    if kind == other:
        return
    with pytest.raises(ValueError, match=rf"it holds a {other}; read it with {other.capitalize()}\.load"):
        LOADS[kind](saved[other])


def with_byte_flipped(path, data):
    """In the numbers of an array, so that only its checksum tells."""
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda entry: entry.file_size)
    at = entry.header_offset + 30 + len(entry.filename) + entry.file_size - 8
    data = bytearray(data)
    data[at] ^= 255
    return bytes(data)


DAMAGE = {
    "empty": lambda path, data: b"",
    "cut short": lambda path, data: data[:-200],
    "text": lambda path, data: b"not a file of arrays",
    "one byte": with_byte_flipped,
}


@pytest.mark.parametrize("kind", LOADS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named(kind, damage, saved, tmp_path):
    path = tmp_path / "damaged.npz"
    path.write_bytes(DAMAGE[damage](saved[kind], saved[kind].read_bytes()))
    with pytest.raises(ValueError, match=r"path = .*damaged.npz") as caught:
        LOADS[kind](path)
    assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize("bad", [None, 3.5, "missing.npz"])
@pytest.mark.parametrize("kind", LOADS)
@pytest.mark.usefixtures("without_type_checks")
def test_what_is_no_file_is_named(kind, bad):
    with pytest.raises(ValueError, match=f"path = .*cannot be read as a saved {kind}"):
        LOADS[kind](bad)


@pytest.mark.parametrize("kind", LOADS)
@pytest.mark.parametrize("how", ["compressed", "overlapping", "header"])
def test_a_small_file_that_unpacks_to_a_large_one_takes_no_memory(kind, how, saved, tmp_path):
    """64 MB of zeros in a file of less than 0.2 MB, and entries that claim 80 MB that are not there."""
    path = tmp_path / "bomb.npz"
    largest = {"trajectory": "position", "sweep": "value.position", "fit": "residuals"}[kind]
    with np.load(saved[kind]) as file:
        arrays = dict(file)
    if how == "compressed":
        np.savez_compressed(path, **arrays | {largest: np.zeros(8_000_000)})
    elif how == "overlapping":  # the directory says more than there is
        np.savez(path, **arrays)
        data = path.read_bytes()
        at = data.index(f"{largest}.npy".encode(), data.index(b"PK\x01\x02")) - 46
        path.write_bytes(data[: at + 20] + (80_000_000).to_bytes(4, "little") * 2 + data[at + 28 :])
    else:  # the array says more than its entry has
        np.savez(path, **arrays)
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        entry = entries[f"{largest}.npy"]
        wide = entry.index(b"'shape': (") + len(b"'shape': (")
        stop = entry.index(b")", wide)
        claim = b"1" + b"0" * 7 + b","
        head = entry[:wide] + claim + entry[stop:]
        grown = len(head) - len(entry)
        spare = head.index(b"}") + 1  # padding gives way, so that the header keeps its length
        entries[f"{largest}.npy"] = (
            head[:spare] + head[spare + grown :] if grown > 0 else head[:spare] + b" " * -grown + head[spare:]
        )
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"path = .*bomb.npz.*(compress|says)"):
            LOADS[kind](path)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_later_version_asks_for_a_later_release(saved, tmp_path):
    path = changed(saved, "trajectory", tmp_path, {"format": "jaxinertia trajectory 99"})
    with pytest.raises(ValueError, match="version 99, this release reads 1"):
        ji.Trajectory.load(path)


def test_a_sweep_that_says_in_its_head_what_it_is_is_still_read(saved, tmp_path):
    path = changed(saved, "sweep", tmp_path, {"format": None, "head": in_table(format="jaxinertia sweep 1")})
    found, expected = ji.Sweep.load(path), ji.Sweep.load(saved["sweep"])
    assert found.to_xarray().identical(expected.to_xarray())


def test_a_file_that_cannot_be_replaced_whole_stays(saved, tmp_path, monkeypatch):
    path = tmp_path / "kept.npz"
    path.write_bytes(saved["trajectory"].read_bytes())

    def full(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ValueError, match=r"cannot be written.*No space left"):
        ji.Trajectory.load(path).save(path)
    assert path.read_bytes() == saved["trajectory"].read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["kept.npz"]


def test_a_folder_that_is_a_file_is_named(saved, tmp_path):
    (tmp_path / "file").write_text("")
    for kind, load in LOADS.items():
        with pytest.raises(ValueError, match=r"path = .*cannot be written"):
            load(saved[kind]).save(tmp_path / "file" / "run")


def test_what_a_file_cannot_hold_is_refused_when_it_is_saved(tmp_path):
    runs = ji.sweep(lambda x: {"half": jnp.asarray(x, jnp.bfloat16)}, {"x": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"value.half holds bfloat16.*astype"):
        runs.save(tmp_path / "half")


def test_a_dict_of_one_value_comes_back_as_a_dict(tmp_path):
    runs = ji.sweep(lambda x: {"value": x}, {"x": [1.0, 2.0]})
    assert list(ji.Sweep.load(runs.save(tmp_path / "runs")).values) == ["value"]
    bare = ji.sweep(lambda x: x, {"x": [1.0, 2.0]})
    assert ji.Sweep.load(bare.save(tmp_path / "bare")).values.tolist() == [1.0, 2.0]


def test_points_that_failed_have_no_times_and_load(tmp_path):
    def run(x):
        return ji.simulate(SYSTEM, (1.5 - x) * jnp.arange(3.0), 1.0, substeps=2)

    runs = ji.sweep(run, {"x": [0.0, 2.0]})
    assert runs.failed == 1
    loaded = ji.Sweep.load(runs.save(tmp_path / "runs"))
    assert all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(*map(jax.tree.leaves, (loaded.values, runs.values)), strict=True)
    )
