"""A Brownian path has the variance of its steps at every level."""

import jax
import numpy as np
import pytest

import jaxinertia as ji


def test_every_level_has_the_variance_of_its_steps():
    """Over 2^l steps the squares sum to the span, in 64 paths to 4 standard errors, sqrt(2 / (64 2^l)) of it."""
    paths = jax.jit(jax.vmap(lambda key: ji.BrownianPath(1.0, 4.0, levels=5, like=1.0, key=key).table))
    w = np.asarray(paths(jax.random.split(jax.random.key(0), 64)))
    for level in range(6):
        squares = np.diff(w[:, :: 2 ** (5 - level)], axis=1) ** 2
        assert squares.sum() / 64 == pytest.approx(3.0, rel=4 * np.sqrt(2 / (64 * 2**level)))
