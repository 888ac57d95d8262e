"""NumPy's numbers become JAX's as `jnp.asarray` has them, as copies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinertia import _host
from jaxinertia._checks import as_float

NUMBERS = (1, 2.5, True, np.float32(0.1), np.arange(3), np.ones((2, 2), np.float16), np.array(7, np.uint8))


@pytest.mark.parametrize("x64", [True, False])
@pytest.mark.parametrize("x", NUMBERS, ids=repr)
def test_numbers_have_the_dtypes_that_jax_gives_them(x, x64):
    with jax.enable_x64(x64):
        ours, theirs = as_float("x", x), jnp.asarray(x, jnp.result_type(float, jnp.asarray(x)))
        assert (ours.dtype, ours.shape, ours.weak_type) == (theirs.dtype, theirs.shape, theirs.weak_type)
        np.testing.assert_array_equal(ours, theirs)


def test_arrays_are_copies():
    x = np.ones(64)
    ours = (as_float("x", x), _host.put(x))
    x[:] = 2.0
    assert all(np.all(np.asarray(each) == 1) for each in ours)


def test_zeros_are_like_the_leaves():
    tree = {"a": jnp.ones(3, jnp.float32), "b": jnp.ones((_host.FEW + 1,))}
    zeros = _host.zeros_like(tree)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), zeros) == jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert all(not np.any(x) for x in jax.tree.leaves(zeros))
