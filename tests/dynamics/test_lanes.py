"""A program with its points last, as one function: what jax.vmap gives, for every operation that it knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji
from jaxinertia.dynamics import lanes, loop, vectorised
from jaxinertia.dynamics.kernel.arithmetic import ELEMENTWISE
from jaxinertia.dynamics.kernel.program import Unsupported

COUNT = 37
X = jnp.asarray(np.random.default_rng(1).uniform(0.1, 0.9, (COUNT, 2, 3)))
UNARY = (
    *("neg", "abs", "sign", "floor", "ceil", "round", "sqrt", "rsqrt", "cbrt", "square", "exp", "exp2", "log"),
    *("log1p", "expm1", "logistic", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh"),
    *("atanh", "erf", "erfc", "erf_inv", "lgamma", "is_finite"),
)
BINARY = (
    "add",
    "sub",
    "mul",
    "div",
    "rem",
    "max",
    "min",
    "pow",
    "atan2",
    "nextafter",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
)
BITS = ("bitwise_and", "bitwise_or", "bitwise_xor", "shift_left", "shift_right_logical", "shift_right_arithmetic")


def same_as_vmap(fn, *operands, mapped=None, rounding=4e-15):
    """`in_lanes` is jax.vmap, with the same shapes and dtypes."""
    mapped = (True,) * len(operands) if mapped is None else mapped
    found = jax.jit(lanes.in_lanes(fn, mapped))(*operands)
    expected = jax.jit(jax.vmap(fn, [0 if is_mapped else None for is_mapped in mapped]))(*operands)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", [jnp.float64, pytest.param(jnp.float32, marks=pytest.mark.slow)])
def test_every_elementwise_operation_compiles_in_one_function(dtype):
    def many(x, y):
        n = (x * 40).astype(jnp.int32)
        found = [getattr(jax.lax, name)(x) for name in UNARY]
        found += [getattr(jax.lax, name)(x, y) for name in BINARY]
        found += [getattr(jax.lax, name)(n, n % 5) for name in BITS]
        found += [jax.lax.acosh(1 + x), jax.lax.bitwise_not(n), jax.lax.integer_pow(x, 5), jax.lax.clamp(y, x, y + 0.2)]
        found += [jax.lax.select_n(x > y, x, y), jnp.where(x[0, 0] > 0.5, x, y), vectorised._inverse.bind(x)]
        return [*found, vectorised._sine.bind(x), vectorised._cosine.bind(x)]

    x = X.astype(dtype)
    names = {eqn.primitive.name for eqn in jax.make_jaxpr(many)(x[0], x[0]).eqns}
    unknown = {"add_any", "copy", "copy_p", "log2", "polynomial", "one_minus_square"}  # or of other versions of JAX
    assert ELEMENTWISE - names <= unknown
    same_as_vmap(many, x, x[::-1], rounding=4 * float(jnp.finfo(dtype).eps) * 8)


def moved(x, shared):
    """All that moves, joins or multiplies, with operands that are mapped and operands that are not."""
    yield from (
        x[0],
        x[:, ::2],
        x.reshape(6),
        x.T,
        jnp.flip(x, 1),
        jnp.stack([x[0], shared[0]]),
        x[..., None] + shared[0],
    )
    yield from (jnp.concatenate([x, shared]), jnp.concatenate([shared, x], 1), jnp.broadcast_to(x[0], (4, 3)))
    yield from (jnp.pad(x, 1), jnp.roll(x, 1, 1), jax.lax.pad(shared, x[0, 0], [(1, 0, 1), (0, 2, 0)]))
    yield from (
        jnp.sum(x),
        jnp.sum(x, 0),
        jnp.prod(x, 1),
        jnp.max(x),
        jnp.min(x, 1),
        jnp.all(x > 0.2),
        jnp.any(x > 0.8, 0),
    )
    yield from (jnp.sum(jnp.tile(x, (3, 4)), 0), jnp.sum(jnp.tile(x, (3, 4)), 1))
    yield from (x @ shared.T, shared @ x.T, x @ x.T, jnp.vdot(x, x), jnp.einsum("ij,ij->i", x, shared))
    yield from (jnp.einsum("bij,bj->bi", jnp.stack([x, 2 * x]), x), jnp.tile(x, (1, 4)) @ jnp.tile(x, (1, 4)).T)
    yield jax.lax.dynamic_slice(x, (jnp.int32(1), jnp.int32(0)), (1, 2))
    yield jax.lax.dynamic_update_slice(shared, x[:1], (jnp.array(1), jnp.array(0)))
    yield jax.lax.scan(lambda c, row: (c + jnp.sum(row), (c, jnp.arange(3))), shared[0, 0], x, reverse=True, unroll=2)
    yield jax.lax.scan(lambda c, _: ((c[1], c[0] + x[0, 0], c[2] + 1), None), (0.0, 1.0, 2), None, 5)
    emptied = jax.lax.scan(lambda c, _: (jnp.zeros(()), None), x[0, 0], None, 2)[0]
    yield jax.lax.scan(lambda c, _: (c, jax.lax.scan(lambda d, _: (0 * c, None), x[0, 0], None, 2)[0]), 1.0, None, 3)
    yield emptied
    yield from (jax.lax.reshape(x, (6,), dimensions=(1, 0)), jnp.sum(x[:0], 1), x[:0] @ x.T)
    yield jax.checkpoint(lambda y: jnp.sin(y) * shared)(x)
    yield 2.0 * shared


@pytest.mark.optimised
def test_what_moves_and_joins_compiles_in_one_function():
    same_as_vmap(lambda x, y: jax.tree.leaves(list(moved(x, y))), X, X[0] + 1, mapped=(True, False))


@pytest.mark.optimised
def test_operands_that_turn_out_not_to_be_read_compile():
    """XLA ends the process where such an operand is left, so this one cannot fail by a wrong number alone."""

    def unread(x, y, z):
        return [2 * x + jax.lax.select_n(True, y, jnp.ones_like(y)) + jnp.where(False, z, 0.0)]

    same_as_vmap(unread, X, X + 1, jnp.ones((2, 3)), mapped=(True, True, False))
    same_as_vmap(lambda x: [jax.lax.select_n(True, x, jnp.ones_like(x))], X)

    def run(coupling):
        system = ji.System(lambda q: jnp.sum(q**2) + jnp.where(jnp.asarray(False), coupling * q[0] * q[1], 0.0))
        return ji.simulate(system, np.linspace(0.0, 1.0, 3), jnp.asarray([0.3, 0.2]), dt=0.1).position

    found = jax.jit(jax.vmap(run))(jnp.linspace(0.0, 1.0, COUNT))
    np.testing.assert_allclose(found, jnp.broadcast_to(run(0.5), found.shape), rtol=1e-14)


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_long_sums_of_short_numbers_do_not_stand_still(dtype):
    """Added one after another in bfloat16, ones make 256, and in float16 2048."""
    count = 600 if dtype == jnp.bfloat16 else 3000

    def sums(x):
        ones = jnp.broadcast_to(x, (count,))
        return [jax.lax.reduce_sum(ones, (0,)), jnp.dot(ones, ones)]

    for found in jax.jit(lanes.in_lanes(sums, (True,)))(jnp.ones(COUNT, dtype)):
        np.testing.assert_array_equal(found.astype(jnp.float32), np.float32(count))


@jax.custom_batching.custom_vmap
def ordered(x):
    return jnp.sin(x)


@ordered.def_vmap
def _(size, batched, x):
    return jnp.sort(x, -1), True


def test_what_has_no_such_form_says_so():
    for fn in (
        lambda x: [x[0][jnp.array([1, 0])]],
        lambda x: [jax.lax.cond(x[0, 0] > 0.5, jnp.sin, jnp.cos, x)],
        lambda x: [jax.lax.while_loop(lambda y: y[0, 0] < 1, lambda y: 2 * y, x)],
        lambda x: [jnp.linalg.cholesky(x @ x.T)],
        lambda x: [jax.lax.dynamic_slice(x, (jnp.int32(x[0, 0] > 0.5), jnp.int32(0)), (1, 2))],
        lambda x: [x * jnp.sum(jnp.arange(3.0))],
        lambda x: [ordered(x)],
        lambda x: [jnp.ones((32, 32)) @ jnp.tile(x[0], 11)[:32]],
    ):
        with pytest.raises(Unsupported):
            lanes.in_lanes(fn, (True,))(X)


def coupled(q):
    return jnp.sum((q[1:] - q[:-1] ** 2) ** 2) + jnp.sum((1 - q) ** 2)


def picking(q):
    return coupled(q[jnp.array([2, 0, 1])])


@pytest.mark.optimised
@pytest.mark.parametrize(("potential", "calls"), [(coupled, 1), (picking, 0)])
@pytest.mark.parametrize("noise", [None, 0.3])
def test_a_mapped_run_is_one_function_where_it_can_be_and_the_single_runs_anyway(monkeypatch, potential, calls, noise):
    monkeypatch.setattr(loop, "WIDEST", 32)
    key, gammas = jax.random.key(3), jnp.linspace(0.1, 1.0, 75)

    def run(gamma):
        system = ji.System(potential, damping=gamma, noise=noise)
        given = {} if noise is None else {"key": key}
        traj = ji.simulate(system, np.linspace(0.0, 1.0, 4), np.array([0.3, 0.2, 0.1]), dt=0.05, **given)
        return traj.position, traj.balance.friction

    program = jax.jit(jax.vmap(run)).lower(gammas).compile()
    lines = [
        line for line in program.as_text().splitlines() if "to_apply=%many" in line and "xla_cpu_small_call" in line
    ]
    assert len(lines) == 2 * calls  # the blocks' and the rest's
    single = [run(gamma) for gamma in gammas[::25]]
    for found, expected in zip(program(gammas), zip(*single, strict=True), strict=True):
        np.testing.assert_allclose(found[::25], np.stack(expected), rtol=1e-13, atol=1e-13)
