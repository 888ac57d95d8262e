"""No file of a store can be lost or broken without a word: it is computed again, or named with the remedy."""

import json
import shutil
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxinertia as ji
from jaxinertia.report import cli, sweep_file

AXES = {"a": np.arange(4.0), "b": np.arange(3.0)}


def point(a, b):
    """Whole numbers, among them a chunk of nothing but zeros, and a chunk of nothing but NaN."""
    return {"whole": (a * b).astype(int), "part": (a - 3) * b / (a - 3), "rows": (a + b * np.ones(2)) * (1 + 2j)}


def run(store, **options):
    return ji.sweep(point, AXES, chunk_size=3, store=store, **options)


def sums(store):
    return ji.sweep(lambda a, b: a + b, AXES, store=store, reduce={"a": "mean"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run.zarr"
    return path, run(path).values


@pytest.fixture
def store(finished, tmp_path):
    return Path(shutil.copytree(finished[0], tmp_path / "run.zarr"))


def truncate(file):
    file.write_bytes(file.read_bytes()[:-3])


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) - 8] ^= 4  # among the numbers: what follows them is at most a checksum
    file.write_bytes(bytes(data))


def empty(file):
    file.write_bytes(b"")


HARMS = {"deleted": Path.unlink, "truncated": truncate, "flipped": flip, "empty": empty}


@pytest.mark.parametrize(
    ("harm", "chunk"),
    [
        ("deleted", "whole/c/0/0"),
        ("deleted", "whole/c/2/0"),
        ("deleted", "part/c/3/0"),
        ("deleted", "rows/c/1/0/0"),
        ("truncated", "whole/c/2/0"),
        ("flipped", "whole/c/0/0"),
        ("empty", "rows/c/1/0/0"),
    ],
)
def test_one_broken_chunk_alone_is_computed_again(finished, store, harm, chunk):
    values, file = finished[1], store / chunk
    unharmed = run(store)  # its values are not read yet
    before = file.read_bytes()
    HARMS[harm](file)
    with pytest.raises(ValueError, match=rf"is broken: .*{chunk}.*start the same sweep again"):
        _ = unharmed.values
    with pytest.warns(UserWarning, match=rf"run.zarr' was missing 1 of 4 chunks, computed again \(.*{chunk}"):
        mended = run(store)
    assert mended.computed == 3
    assert file.read_bytes() == before
    for name, value in values.items():
        np.testing.assert_array_equal(mended.values[name], value)
    assert (mended.failed, mended.failures[0]) == (3, {"a": 3.0, "b": 0.0})
    assert run(store).computed == 0


def test_a_chunk_that_another_sweep_wrote_is_seen_by_its_checksum(store):
    shutil.copy(store / "whole/c/1/0", store / "whole/c/2/0")
    with pytest.warns(UserWarning, match="computed again .*checksum"):
        assert run(store).computed == 3


def test_a_broken_mark_costs_its_chunk_alone(store):
    truncate(store / "_sweep/finished/c/1/0")
    (store / "_sweep/finished/c/2/0").unlink()
    assert run(store).computed == 6


def test_several_losses_are_counted(store):
    for chunk in ("whole/c/0/0", "part/c/1/0"):
        (store / chunk).unlink()
    with pytest.warns(UserWarning, match=r"missing 2 of 4 chunks, computed again \(.*, and 1 more\)"):
        assert run(store).computed == 6


def test_values_of_an_axis_are_written_again(finished, store):
    (store / "a/c/0").unlink()
    with pytest.warns(UserWarning, match="was missing the values of the axis 'a'"):
        assert run(store).computed == 0
    assert (store / "a/c/0").read_bytes() == (finished[0] / "a/c/0").read_bytes()


@pytest.mark.parametrize("harm", ["truncated", "flipped", "empty"])
def test_xarray_does_not_read_a_broken_chunk_either(store, harm):
    import xarray

    HARMS[harm](store / "whole/c/2/0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray on Zarr 3 speaks of consolidated metadata
        opened = xarray.open_zarr(store, consolidated=False)
    with pytest.raises(Exception, match=r"(?i)decompress|zstd|checksum|buffer|data"):
        opened["whole"].load()


def break_the_call(store):
    """Valid JSON, in which the description of the call is none."""
    description = json.loads((store / "zarr.json").read_text())
    description["consolidated_metadata"]["metadata"]["_sweep"]["attributes"]["call"] = "{"
    (store / "zarr.json").write_text(json.dumps(description))


def other_shape(store):
    text = (store / "zarr.json").read_text()
    assert '"uint64"' in text
    (store / "zarr.json").write_text(text.replace('"uint64"', '"uint32"'))


@pytest.mark.parametrize(
    "harm",
    [
        lambda store: empty(store / "zarr.json"),
        lambda store: truncate(store / "zarr.json"),
        lambda store: (store / "zarr.json").write_text("{}"),
        lambda store: (store / "zarr.json").write_text("[1]"),
        break_the_call,
        other_shape,
    ],
)
def test_a_broken_description_is_named_with_the_remedy(store, harm):
    harm(store)
    with pytest.raises(
        ValueError, match=r"store = .*run.zarr.*(zarr.json.*put a copy|zarr.json; delete).*another path"
    ):
        run(store)


def test_a_description_without_its_root_is_made_again(finished, store):
    """It is put last: a store without it is one whose making was interrupted."""
    (store / "zarr.json").unlink()
    (store / "b/zarr.json").unlink()
    assert run(store).computed == 0
    np.testing.assert_array_equal(run(store).values["whole"], finished[1]["whole"])


@pytest.fixture
def statistics(tmp_path):
    sums(tmp_path / "statistics")
    return tmp_path / "statistics"


@pytest.mark.parametrize("harm", HARMS)
def test_broken_statistics_are_computed_again(statistics, harm):
    states = sorted((statistics / "_sweep/states").rglob("c/*/*/*"))
    assert len(states) == 1
    HARMS[harm](states[0])
    with pytest.warns(UserWarning, match=r"was missing 1 of 1 chunks, computed again \(.*_sweep/states/c/0/1/0"):
        mended = sums(statistics)
    assert mended.computed == 12
    np.testing.assert_array_equal(mended.values["mean"], 1.5 + AXES["b"])
    assert sums(statistics).computed == 0


def test_statistics_stay_out_of_folders_that_hold_other_things(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'notes.txt'.*another path"):
        sums(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nosuch://bucket/run.zarr", "nosuch"),
        (Path("s3://bucket/run.zarr"), "one slash of two"),
        ("simplecache::s3://bucket/run.zarr", "chains file systems"),
    ],
)
@pytest.mark.parametrize("reduce", [None, {"a": "mean"}])
def test_a_url_that_is_no_store_makes_no_folder(url, told, reduce, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"store = .*{told}"):
        ji.sweep(lambda a, b: a + b, AXES, store=url, reduce=reduce)
    assert not list(tmp_path.iterdir())


def test_a_url_in_a_file_is_refused_on_the_command_line(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        '[potential]\nname = "Quadratic"\n[system]\ndamping = "g"\n[run]\nstop = 1.0\ndt = 0.1\n'
        '[axes]\ng = [0.1]\n[store]\npath = "nosuch://bucket/run.zarr"\n'
    )
    with pytest.raises(ValueError, match="nosuch"):
        sweep_file.read(file)
    result = CliRunner().invoke(cli.app, ["sweep", str(file)])
    assert (result.exit_code, "nosuch" in result.output) == (2, True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.toml"]


@pytest.mark.parametrize("path", ["", "."])
def test_the_current_folder_is_no_store(path):
    with pytest.raises(ValueError, match="must be a path"):
        run(path)


def test_other_counts_beyond_reason():
    noisy = ji.System(ji.potentials.Quadratic(), 0.1, 0.1)
    with pytest.raises(ValueError, match=r"n = 4,294,967,296 must be below 2\^32"):
        ji.ensemble(noisy, [0.0, 1.0], 1.0, n=2**32, key=jax.random.key(0), dt=0.1)
    with pytest.raises(ValueError, match="one of them twice"):
        ji.sweep(lambda a, b: a, AXES, reduce={("a", "a"): "mean"})
    with pytest.raises(ValueError, match=r"do not fit into memory.*store= or reduce="):
        ji.sweep(lambda a, b: jax.numpy.broadcast_to(a, 2**58), AXES)
