"""The equations of shared parameters and windows' states, beside their dense matrix."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxinertia import _tree
from jaxinertia.inference import search
from jaxinertia.inference.normal import Held, Normal, Problem, Step, without_states


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


@_tree.plain
class Bowl(Problem):
    """(u - c)^T H (u - c) / 2."""

    centre: Any

    def own(self):
        return (self.centre,)

    @property
    def readings_of_one(self):
        return 1

    def normal(self, u, x):
        away, h = u - self.centre, jnp.asarray(BOWL)
        return without_states(away @ h @ away / 2, jnp.ones(()), h @ away, h)


BOWL = np.array([[2.0, 1.0], [1.0, 3.0]])


def test_what_is_held_stays_and_all_else_goes_to_its_least():
    """u_0 = c_0 - H_01 (u_1 - c_1) / H_00 beside a u_1 that is held, and the other way round; c where nothing is."""
    centre, begin = np.array([0.3, -0.7]), np.array([4.0, 5.0])
    free = np.array([[True, False], [False, True], [True, True]])
    problem = Held(Bowl(np.tile(centre, (3, 1))), free)
    found = search.run(problem, np.tile(begin, (3, 1)), np.zeros((3, 0, 1)), search.Options(50))
    first = [centre[0] - BOWL[0, 1] * (begin[1] - centre[1]) / BOWL[0, 0], begin[1]]
    second = [begin[0], centre[1] - BOWL[0, 1] * (begin[0] - centre[0]) / BOWL[1, 1]]
    np.testing.assert_allclose(found.u, [first, second, centre], atol=1e-4)
    assert found.ended.all()


def test_a_single_record_is_searched_as_it_is_among_others_without_their_axis():
    centres, begin = np.array([[0.3, -0.7], [2.0, 5.0]]), np.array([[4.0, 5.0], [1.0, -3.0]])

    def batched(centre, u):
        """Over how many axes the products of a search's matrices go."""
        gradient = Bowl(centre).of_all(lambda one, u: one.normal(u, jnp.zeros((0, 1))).g)
        products = [x for x in jax.make_jaxpr(gradient)(u).eqns if x.primitive.name == "dot_general"]
        return {len(x.params["dimension_numbers"][1][0]) + x.outvars[0].aval.ndim for x in products}

    def ended(centre, u):
        return search.run(Bowl(centre), u, np.zeros((len(u), 0, 1)), search.Options(50)).u

    both = ended(centres, begin)
    for k in range(2):
        alone = centres[k : k + 1], begin[k : k + 1]
        assert max(batched(*alone)) < max(batched(centres, begin))
        np.testing.assert_allclose(ended(*alone), both[k : k + 1], rtol=1e-12)
