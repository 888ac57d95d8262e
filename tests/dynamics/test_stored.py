"""A run that goes to a store as it runs is the run in memory, to rounding, without its memory."""

import os
import subprocess
import sys
import warnings

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.dynamics import stored

pytest.importorskip("zarr")

UNEVEN = np.array([0.0, 0.3, 0.5, 1.7, 2.0, 3.1, 3.2])
CASES = {
    "even, noise": (ji.System(ji.potentials.Duffing(), 0.3, 0.5), np.linspace(0, 5, 24), dict(key=jax.random.key(1))),
    "even, coloured noise": (
        ji.System(ji.potentials.Duffing(), 0.3, ji.noise.Colored(0.5, 2.0)),
        np.linspace(0, 5, 24),
        dict(key=jax.random.key(1)),
    ),
    "uneven, a force in time": (
        ji.System(ji.potentials.Quadratic(2.0), 0.1, force=lambda t: jnp.sin(t) * jnp.ones(3)),
        UNEVEN,
        {},
    ),
}


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("even, noise", 5),
        ("uneven, a force in time", 1),
        pytest.param("even, coloured noise", 1, marks=pytest.mark.slow),
        pytest.param("even, coloured noise", 100, marks=pytest.mark.slow),
        pytest.param("uneven, a force in time", 5, marks=pytest.mark.slow),
    ],
)
def test_a_stored_run_is_the_run_in_memory(name, rows, tmp_path, monkeypatch):
    system, ts, more = CASES[name]
    options = dict(position=np.array([1.0, -0.5, 0.2]), dt=0.1, **more)
    monkeypatch.setattr(stored, "PART", rows * 2 * 3 * 8)
    kept, whole = (ji.simulate(system, ts, store=store, **options) for store in (tmp_path / "run.zarr", None))
    # The same steps and numbers; XLA fuses loops of other lengths differently, which rounds some 50 steps apart.
    close = dict(rtol=0, atol=100 * np.finfo(float).eps)
    for of in (lambda x: x.position, lambda x: x.momentum):
        np.testing.assert_allclose(of(kept)[...], of(whole), **close)
    for a, b in zip(*(jax.tree.leaves((x.ts, x.kinetic, x.potential, x.balance)) for x in (kept, whole)), strict=True):
        np.testing.assert_allclose(a, b, **close)


def test_it_opens_in_xarray(tmp_path):
    xarray = pytest.importorskip("xarray")
    model = eqx.nn.Linear(2, 1, key=jax.random.key(0))
    system = ji.System(ji.potentials.Loss(lambda m, x: jnp.sum(m(x) ** 2), jnp.ones(2)), 0.1)
    traj = ji.simulate(system, np.linspace(0, 1, 4), model, dt=0.1, store=tmp_path / "run.zarr")
    assert traj.position.weight[-1].shape == (1, 2)
    assert traj.position.in_features == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # xarray on Zarr 3 speaks of consolidated metadata
        data = xarray.open_zarr(tmp_path / "run.zarr")
    assert data["position.weight"].dims == ("time", "position.weight_0", "position.weight_1")
    assert np.array_equal(data["position.bias"], traj.position.bias[...])
    assert np.array_equal(data["inertia"], traj.inertia)
    assert np.array_equal(data["time"], traj.ts)
    assert data["friction"].attrs["units"] == "unit of energy"


def run(store, **more):
    options = dict(ts=np.linspace(0, 1, 3), position=1.0, dt=0.1) | more
    return ji.simulate(ji.System(ji.potentials.Quadratic()), store=store, **options)


REFUSED = {
    "used": (lambda path: (run(path / "x"), run(path / "x")), "holds .* must be empty"),
    "traced": (lambda path: jax.jit(lambda q: run(path, position=q).inertia)(1.0), "store needs numbers"),
    "diffrax": (lambda path: run(path / "x", solver=diffrax.Tsit5()), "fixed steps"),
    "an event": (lambda path: run(path / "x", event=diffrax.Event(lambda t, y, args, **_: y.position)), "fixed steps"),
    "save": (lambda path: run(path / "x").save(path / "y"), "in a store already"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_store_takes_is_refused(name, tmp_path):
    call, told = REFUSED[name]
    with pytest.raises(ValueError, match=told):
        call(tmp_path)


def test_a_full_disk_is_said_with_what_is_there(tmp_path, monkeypatch):
    zarr, calls = pytest.importorskip("zarr"), []
    write = zarr.Array.__setitem__

    def fill(self, *args):
        calls.append(self.name)
        if calls.count("/position") == 3:
            raise OSError(28, "No space left on device")
        write(self, *args)

    monkeypatch.setattr(zarr.Array, "__setitem__", fill)
    monkeypatch.setattr(stored, "PART", 4 * 16)
    with pytest.raises(ValueError, match=r"No space left.*it has 8 of 41 output times"):
        run(tmp_path / "run.zarr", ts=np.linspace(0, 1, 41))


GROWS = """
import resource, sys, jax, numpy as np
jax.config.update("jax_enable_x64", True)
import jaxinertia as ji
def run(rows, store):
    system = ji.System(ji.potentials.Quadratic(), 0.01)
    traj = ji.simulate(system, np.arange(rows) * 0.1, np.ones(1000), dt=0.1, store=store)
    assert np.isfinite(traj.position[-1]).all()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
small = run(12_000, sys.argv[1] + "/small")
print(run(60_000, sys.argv[1] + "/large") - small)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    """48,000 more rows of 16 kB are 770 MB, of which nothing stays; a quarter of that is left to the allocator, which
    has one heap here: with one for each thread, freed memory waits in all of them."""
    command, one_heap = [sys.executable, "-c", GROWS, str(tmp_path)], os.environ | {"MALLOC_ARENA_MAX": "1"}
    grown = subprocess.run(command, check=True, capture_output=True, text=True, env=one_heap)
    assert int(grown.stdout) < 770 / 4
