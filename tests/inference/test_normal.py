"""The equations of shared parameters and windows' states, beside their dense matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinertia.inference.normal import Normal, Step


@pytest.mark.parametrize(("p", "w", "k"), [(2, 3, 2), (3, 0, 1), (1, 1, 4)])
def test_elimination_is_the_dense_solve(p, w, k):
    """Under an added diagonal; to rounding times the condition number, here below 100."""
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
        g, damping = rng.normal(size=n), rng.uniform(0.3, 2.0, n)

        def split(x):
            return Step(jnp.asarray(x[:p]), jnp.asarray(x[p:].reshape(w, k)))

        one, along = jnp.ones(()), split(g)
        normal = Normal(one, one, along.u, jnp.asarray(dense[:p, :p]), along.x, jnp.asarray(b), jnp.asarray(c))
        of_u = np.linalg.inv(np.linalg.inv(dense)[:p, :p])  # what is known of u where the states are not
        np.testing.assert_allclose(normal.information(), of_u, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(np.concatenate([np.ravel(x) for x in normal.diagonal()]), np.diag(dense))
        u, x = normal.damped(split(damping))
        step, damped = np.concatenate([u, np.ravel(x)]), dense + np.diag(damping)
        assert np.linalg.cond(damped) < 100
        np.testing.assert_allclose(step, -np.linalg.solve(damped, g), rtol=0, atol=1e-13)
        parabola = -(g @ step + step @ dense @ step / 2)
        assert float(normal.reduction(Step(u, x))) == pytest.approx(parabola, rel=1e-12)
