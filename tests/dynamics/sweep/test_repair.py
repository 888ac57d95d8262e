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
from jaxinertia.dynamics.sweep import axes as axes_module
from jaxinertia.dynamics.sweep.program import index_dtype
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
        lambda store: (store / "zarr.json").unlink(),
    ],
)
def test_a_broken_description_is_named_with_the_remedy(store, harm):
    harm(store)
    with pytest.raises(
        ValueError, match=r"store = .*run.zarr.*(zarr.json.*put a copy|zarr.json; delete|is not a store).*another path"
    ):
        run(store)


@pytest.fixture
def statistics(tmp_path):
    sums(tmp_path / "statistics")
    return tmp_path / "statistics"


def rewrite(**changes):
    def harm(file):
        with np.load(file) as stored:
            arrays = dict(stored) | changes
        np.savez(file, **{name: x for name, x in arrays.items() if x is not None})

    return harm


@pytest.mark.parametrize(
    "harm",
    [
        empty,
        truncate,
        lambda file: file.write_bytes(file.read_bytes()[:200]),
        lambda file: file.write_text("not a zip"),
        rewrite(head="{"),
        rewrite(head="[]"),
        rewrite(head=json.dumps({"call": {}, "done": "all", "failed": 0, "failures": []})),
        rewrite(head=None),
    ],
)
def test_broken_statistics_are_named_with_the_remedy(statistics, harm):
    harm(statistics / "statistics-0-of-1.npz")
    with pytest.raises(ValueError, match=r"statistics that cannot be read, '.*statistics-0-of-1.npz'.*delete it to"):
        sums(statistics)
    (statistics / "statistics-0-of-1.npz").unlink()
    np.testing.assert_array_equal(sums(statistics).values["mean"], 1.5 + AXES["b"])


@pytest.mark.parametrize("state", [None, np.zeros(2), np.zeros(3, int), np.zeros(10**6), np.array(["a"] * 3)])
def test_a_state_of_another_shape_or_kind_is_refused(statistics, state):
    rewrite(**{"0.0.mean": state})(statistics / "statistics-0-of-1.npz")
    with pytest.raises(ValueError, match=r"statistics that cannot be read, .*statistics-0-of-1.npz.*delete it to"):
        sums(statistics)


def test_statistics_stay_out_of_folders_that_hold_other_things(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'notes.txt'.*another path"):
        sums(tmp_path)


URLS = ("s3://bucket/run.zarr", "memory://run", "file:///data/x", "simplecache::s3://b", Path("gs://b/run"), "zip::a")


@pytest.mark.parametrize("reduce", [None, {"a": "mean"}])
def test_a_url_is_refused_and_makes_no_folder(reduce, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for url in URLS:
        with pytest.raises(ValueError, match=r"store = .* is a URL.*local folders"):
            ji.sweep(lambda a, b: a + b, AXES, store=url, reduce=reduce)
    assert not list(tmp_path.iterdir())


def test_a_url_in_a_file_is_refused_on_the_command_line(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        '[potential]\nname = "Quadratic"\n[system]\ndamping = "g"\n[run]\nstop = 1.0\ndt = 0.1\n'
        '[axes]\ng = [0.1]\n[store]\npath = "s3://bucket/run.zarr"\n'
    )
    with pytest.raises(ValueError, match="is a URL"):
        sweep_file.read(file)
    result = CliRunner().invoke(cli.app, ["sweep", str(file)])
    assert (result.exit_code, "is a URL" in result.output) == (2, True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.toml"]


@pytest.mark.parametrize("path", ["", "."])
def test_the_current_folder_is_no_store(path):
    with pytest.raises(ValueError, match="must be a path"):
        run(path)


@pytest.mark.parametrize("count", [2, 4])
def test_more_points_than_can_be_counted_are_refused_by_their_number(count):
    axes = dict.fromkeys("abcd"[:count], np.zeros(65536))
    with pytest.raises(ValueError, match=f"= {65536**count:,} points.*split it"):
        ji.sweep(lambda **point: point["a"], axes)
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"= 2,147,483,648 points; enable x64"):
        index_dtype(axes_module.parse({"a": np.zeros(65536), "b": np.zeros(32768)}))


def test_other_counts_beyond_reason():
    noisy = ji.System(ji.potentials.Quadratic(), 0.1, 0.1)
    with pytest.raises(ValueError, match=r"n = 4,294,967,296 must be below 2\^32"):
        ji.ensemble(noisy, [0.0, 1.0], 1.0, n=2**32, key=jax.random.key(0), dt=0.1)
    with pytest.raises(ValueError, match="into 268,435,456 chunks"):
        ji.sweep(lambda a, b: a, {"a": np.zeros(65536), "b": np.zeros(4096)}, chunk_size=1)
    with pytest.raises(ValueError, match="one of them twice"):
        ji.sweep(lambda a, b: a, AXES, reduce={("a", "a"): "mean"})
    with pytest.raises(ValueError, match=r"do not fit into memory.*store= or reduce="):
        ji.sweep(lambda a, b: jax.numpy.broadcast_to(a, 2**58), AXES)
