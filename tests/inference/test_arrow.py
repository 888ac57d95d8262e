"""The arrow of shared parameters and windows' states, beside its dense matrix."""

import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest

from jaxinertia.inference.arrow import Arrow, Elimination, reduced_information


@pytest.mark.parametrize(("p", "w", "k"), [(2, 3, 2), (3, 0, 1), (1, 1, 4)])
def test_elimination_is_the_dense_solve(p, w, k):
    """Also under an added diagonal and a scaling; to rounding times the condition number, here below 100."""
    rng = np.random.default_rng(8)
    n = p + w * k
    with jax.enable_x64(True):
        dense = np.zeros((n, n))
        dense[:p, :p] = np.eye(p) * (1 + n)
        b, c = rng.normal(size=(w, p, k)) / n, rng.normal(size=(w, k, k)) / n
        c = c @ np.swapaxes(c, 1, 2) + np.eye(k)
        for i in range(w):
            own = slice(p + i * k, p + (i + 1) * k)
            dense[own, own], dense[:p, own], dense[own, :p] = c[i], b[i], b[i].T
        arrow = Arrow(jnp.asarray(dense[:p, :p]), jnp.asarray(b), jnp.asarray(c))
        s = rng.uniform(0.5, 2.0, n)
        arrow = arrow.scaled(
            jnp.asarray(s[:p]), jnp.asarray(s[p:].reshape(w, k))
        ) + 0.3 * lineax.IdentityLinearOperator(arrow.in_structure())
        dense = dense * np.outer(s, s) + 0.3 * np.eye(n)
        np.testing.assert_allclose(arrow.as_matrix(), dense, rtol=1e-14, atol=1e-15)
        of_u = np.linalg.inv(np.linalg.inv(dense)[:p, :p])  # what is known of u where the states are not
        np.testing.assert_allclose(reduced_information(arrow), of_u, rtol=0, atol=1e-12)
        g = rng.normal(size=n)
        right = jnp.asarray(g[:p]), jnp.asarray(g[p:].reshape(w, k))
        u, x = lineax.linear_solve(arrow, right, Elimination()).value
        assert np.linalg.cond(dense) < 100
        np.testing.assert_allclose(np.concatenate([u, np.ravel(x)]), np.linalg.solve(dense, g), rtol=0, atol=1e-13)
