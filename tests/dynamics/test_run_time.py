"""Checks of traced values: no program is bound to a platform or a device by them, and bad values are noticed."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import jaxinertia as ji
from jaxinertia import _tree

TS = np.linspace(0, 1, 3)


def inertia(gamma):
    return ji.simulate(ji.System(ji.potentials.Quadratic(), damping=gamma), TS, 1.0, dt=0.1).inertia


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="a GPU is here")
@pytest.mark.parametrize("platforms", [("cuda",), ("cpu", "cuda", "tpu")])
def test_a_traced_gamma_lowers_for_platforms_that_are_not_here(platforms):
    text = jax.jit(inertia).trace(0.1).lower(lowering_platforms=platforms).as_text()
    assert "callback" not in text


MESSAGE = "damping gamma must not be negative"


def test_a_bad_traced_value_is_an_error():
    """Known to be bad under vmap and grad, found when it runs under jit: for one of a batch too, and in gradients."""
    two = np.array([0.1, -0.1])
    for fn, value in ((jax.vmap(inertia), two), (jax.grad(lambda g: inertia(g)[-1]), -0.1)):
        with pytest.raises(ValueError, match=MESSAGE):
            fn(value)
    for fn, value in ((inertia, -0.1), (jax.vmap(inertia), two), (jax.grad(lambda g: inertia(g)[-1]), -0.1)):
        with pytest.raises(Exception, match=MESSAGE):
            jax.block_until_ready(jax.jit(fn)(value))


def test_a_bad_value_that_the_compiler_knows_is_an_error_too():
    """A constant of the program, which it folds."""
    with pytest.raises(Exception, match=MESSAGE):
        jax.block_until_ready(jax.jit(lambda: inertia(-jnp.cos(jnp.zeros(()))))())


@pytest.mark.parametrize("checks", [False, True])
def test_numbers_that_all_points_share_stay_known_on_a_mesh_that_does_not_check(checks):
    """Else each step would read them from memory, as if every point had its own. With checks they must vary."""
    mesh, split, known = Mesh(np.array(jax.devices()[:1]), ("i",)), PartitionSpec("i"), []

    def look(x):
        shared = {"stiffness": 1.0}
        known.append(_tree.vary_alike(shared, lambda: x) is shared)
        return x

    jax.make_jaxpr(jax.shard_map(look, mesh=mesh, in_specs=split, out_specs=split, check_vma=checks))(jnp.ones(1))
    assert known == [not checks]


@pytest.mark.parametrize("cases", [["stiffness"], pytest.param([], marks=pytest.mark.slow)])
def test_runs_share_a_mesh_with_its_checks_on(cases):
    """Values as alone, NaN where gamma is negative: see shared.py."""
    subprocess.run([sys.executable, str(Path(__file__).with_name("shared.py")), *cases], check=True)
