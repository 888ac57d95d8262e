"""A trajectory that was saved comes back bit for bit; anything else is refused with its name."""

import re
from pathlib import Path

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

TS = np.linspace(0, 1, 5)


class Model(eqx.Module):
    """Weights, a buffer of whole numbers, and a static function."""

    weights: jax.Array
    layers: list
    lookup: jax.Array
    activation: object = eqx.field(static=True, default=jnp.tanh)


MODEL = Model(jnp.array([1.0, -0.5]), [jnp.ones((2, 2)), jnp.array(0.3)], jnp.arange(3))
STATES = {
    "array": np.array([1.0, -0.5]),
    "number": 1.0,
    "float32": jnp.ones(3, jnp.float32),
    "dict": {"a": np.ones(2), "b c": {"d.e": 1.0, "f": np.ones((2, 1))}},
    "brackets": {"a[0]": 1.0, "b": 0.5},
    "tuple": (1.0, (np.ones(2), -0.5)),
    "whole numbers": {1: 1.0, 2: 0.5},
    "mlp": eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0)),
    "model": MODEL,
}
NEEDS_LIKE = ("brackets", "tuple", "whole numbers", "mlp", "model")


def energy(position):
    leaves = jax.tree.leaves(eqx.filter(position, eqx.is_inexact_array))
    return sum(jnp.sum(x**2 / 2 + x**4 / 4) for x in leaves)


def run(position, **options):
    system = ji.System(energy, damping=0.3, noise=0.1)
    return ji.simulate(system, TS, position, dt=0.1, key=jax.random.key(1), **options)


def identical(a, b):
    """The same bits, dtypes and structure; NaN equals NaN."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if not eqx.is_array(x):
            assert x == y
            continue
        assert np.asarray(x).dtype == np.asarray(y).dtype
        assert np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True)
    return True


@pytest.mark.parametrize("name", STATES)
def test_saved_and_loaded_is_the_same(name, tmp_path):
    traj = run(STATES[name])
    path = traj.save(tmp_path / "run")
    assert path == tmp_path / "run.npz"
    like = STATES[name] if name in NEEDS_LIKE else None
    assert identical(ji.Trajectory.load(path, like=like), traj)


@pytest.mark.parametrize("position", [1.0, MODEL], ids=["number", "model"])
def test_an_event_and_its_state_are_saved(position, tmp_path):
    event = diffrax.Event(lambda t, y, args, **kwargs: t > 0.3)
    traj = ji.simulate(ji.System(energy), TS, position, dt=0.1, event=event)
    loaded = ji.Trajectory.load(traj.save(tmp_path / "run.npz"), like=position)
    assert identical(loaded, traj)
    assert identical(loaded.event_state, traj.event_state)


def test_a_file_with_the_time_of_an_event_alone_is_read(tmp_path):
    traj = eqx.tree_at(lambda t: t.event_time, run(1.0), jnp.array(0.5), is_leaf=lambda x: x is None)
    assert ji.Trajectory.load(traj.save(tmp_path / "run")).event_state == (0.5, None, None)


def test_mapped_trajectories_are_saved_too(tmp_path):
    runs = jax.vmap(lambda q: ji.simulate(ji.System(ji.potentials.Duffing()), TS, q, dt=0.1))(jnp.arange(1.0, 4.0))
    loaded = ji.Trajectory.load(runs.save(tmp_path / "runs"))
    assert loaded.position.shape == (3, 5)
    assert identical(loaded, runs)


def test_a_dot_in_the_name_is_no_suffix(tmp_path):
    assert run(1.0).save(tmp_path / "gamma_0.1") == tmp_path / "gamma_0.1.npz"
    assert run(1.0).save(str(tmp_path / "text.npz")) == tmp_path / "text.npz"


def write_other_archive(path):
    np.savez(path, a=np.ones(3))


def write_incomplete(path):
    np.savez(path, format="jaxinertia trajectory 1", ts=TS)


def write_array(path, array=(1.0, 2.0)):
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)


def write_truncated(path):
    run(1.0).save(path)
    path.write_bytes(path.read_bytes()[:-200])


BAD_FILES = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a trajectory"),
    "an array": write_array,
    "pickled": lambda path: write_array(path, np.array([{}], dtype=object)),
    "other archive": write_other_archive,
    "incomplete": write_incomplete,
    "truncated": write_truncated,
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_a_value_error_with_its_path(kind, tmp_path):
    path = Path(tmp_path) / "bad.npz"
    BAD_FILES[kind](path)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        ji.Trajectory.load(path)


def test_another_structure_needs_like(tmp_path):
    path = run(STATES["tuple"]).save(tmp_path / "run")
    with pytest.raises(ValueError, match="pass like="):
        ji.Trajectory.load(path)
    with pytest.raises(ValueError, match=r"like has the leaves .* the file"):
        ji.Trajectory.load(path, like={"a": np.ones(2)})


def test_a_traced_trajectory_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="trajectory is traced"):
        jax.jit(lambda q: run(q).save(tmp_path / "run") and q)(1.0)


def test_shapes_are_those_of_the_docstring():
    traj = run({"a": np.ones((2, 3)), "b": 1.0})
    assert traj.ts.shape == traj.kinetic.shape == traj.potential.shape == traj.inertia.shape == (5,)
    assert traj.position["a"].shape == traj.momentum["a"].shape == (5, 2, 3)
    assert traj.position["b"].shape == (5,)
    assert all(leaf.shape == (5,) for leaf in jax.tree.leaves(traj.balance))
    assert traj.event_time is None
    assert traj.event_state is None
