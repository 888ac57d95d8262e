"""Every operation, as the kernel's C does it, against JAX's: also of NaN, infinities, signed zeros, whole numbers."""

import ctypes

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxinertia.dynamics.kernel.components import Machine
from jaxinertia.dynamics.kernel.cuda import source
from jaxinertia.dynamics.kernel.layout import Buffer, Kernel, lay_out
from jaxinertia.dynamics.kernel.moves import filled
from jaxinertia.dynamics.kernel.program import Program, Unsupported

from .threads import compiled, needs_compiler

pytestmark = needs_compiler

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.5, 1e30, -1e-30, np.inf, -np.inf, np.nan]
INSIDE = [0.0, 0.3, -0.3, 0.9, -0.9, 1e-3, -0.5, 0.5, 0.1, -0.1, 0.7, -0.7]
WHOLE = [0, 1, -1, 2, 3, -7, 100, -100, 127, -128, 64, -3]
PAST = [*SPECIAL, 255.7, -129.2, 300.0, 2.5e9, -2.5e9, 1e19, -1e19]
TYPES = ["int8", "int32", "int64", "uint8", "uint32", "uint64"]


def in_c(fn, *arrays):
    """fn of each entry of equal 1-D arrays, by its jaxpr in C."""
    arrays = [np.asarray(x) for x in arrays]
    jaxpr = jax.make_jaxpr(fn)(*(jax.ShapeDtypeStruct((), x.dtype) for x in arrays))
    program = Program()
    inputs = [Buffer(x.dtype, (), None, True) for x in arrays]
    given = [filled((), [program.load(k, x.dtype, None, 0)]) for k, x in enumerate(arrays)]
    machine = Machine(program)
    found = machine.run(jaxpr.jaxpr, [filled(np.shape(c), np.ravel(c)) for c in jaxpr.consts], given)
    outputs = []
    for k, (x, aval) in enumerate(zip(found, jaxpr.out_avals, strict=True)):
        outputs.append(Buffer(aval.dtype, aval.shape, None, True))
        for component, entry in enumerate(x.flat):
            program.store(k, None, component, machine.number(entry))
    program.finish()
    results = [np.zeros((b.components, len(arrays[0])), b.dtype) for b in outputs]
    library = compiled(source(Kernel(program, inputs, outputs, 0), len(arrays[0])))
    where = [np.ascontiguousarray(x).ctypes.data for x in (*arrays, *results)]
    library.all((ctypes.c_void_p * len(where))(*where), ctypes.c_longlong(len(arrays[0])))
    shaped = [x.T.reshape(-1, *b.shape) for x, b in zip(results, outputs, strict=True)]
    return shaped[0] if len(shaped) == 1 else shaped


def of_special(x, y):
    """What must be as IEEE has it, bit for bit but for the sign of a NaN."""
    yield from (x + y, x - y, x * y, x / y, -x, jnp.abs(x), lax.max(x, y), lax.min(x, y), lax.sign(x), lax.floor(x))
    yield from (lax.ceil(x), lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), lax.clamp(x, y, x), lax.square(x))
    yield from (lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), x == y, x < y, x >= y, x != y, lax.is_finite(x))
    yield from (jnp.where(x > y, x, y), lax.rem(x, y), lax.integer_pow(x, 3), lax.integer_pow(x, -2), lax.sqrt(x))
    yield from (x * 1.0, x - 0.0, x / 1.0, lax.integer_pow(x, 0), lax.nextafter(x, y))


def of_inside(x, y):
    """Functions of C's library: to a few roundings."""
    yield from (lax.sin(x), lax.cos(x), lax.tan(x), lax.asin(x), lax.acos(x), lax.atan(x), lax.atan2(x, y))
    yield from (lax.sinh(x), lax.cosh(x), lax.tanh(x), lax.asinh(x), lax.acosh(1 + x * x), lax.atanh(x), lax.exp(x))
    yield from (lax.exp2(x), lax.log(1 + x), lax.log1p(x), lax.expm1(x), lax.logistic(x), lax.rsqrt(1 + x), lax.cbrt(x))
    yield from (lax.pow(1 + x, y), lax.erf(x), lax.erfc(x), lax.erf_inv(x), lax.lgamma(1 + x), jnp.log2(2 + x))


def of_whole(x, y):
    yield from (x + y, x - y, x * y, lax.div(x, y), lax.rem(x, y), -x, jnp.abs(x), lax.sign(x), lax.max(x, y))
    yield from (x & y, x | y, x ^ y, ~x, x << 3, lax.shift_right_logical(x, lax.full_like(x, 2)), x >> 2, x < y, x == y)
    yield from (lax.clamp(y, x, y), x.astype(jnp.float64), (x != 0).astype(x.dtype), x.astype(jnp.int8), x.astype(bool))
    yield from (lax.select_n(jnp.clip(x.astype(jnp.int32), 0, 2), x, y, x + y), lax.integer_pow(x, 3))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_floating_point(dtype):
    x, y = (np.array(part, dtype).ravel() for part in np.meshgrid(SPECIAL, SPECIAL))
    for ours, theirs in zip(
        in_c(lambda x, y: [*of_special(x, y)], x, y), of_special(jnp.array(x), jnp.array(y)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
        known = ~np.isnan(ours) & ((x != 0) | (y != 0))  # IEEE leaves the sign of max(0, -0) open
        if theirs.dtype == dtype:
            np.testing.assert_array_equal(np.signbit(ours[known]), np.signbit(theirs[known]))
    x, y = (np.array(part, dtype).ravel() for part in np.meshgrid(INSIDE, INSIDE))
    for ours, theirs in zip(
        in_c(lambda x, y: [*of_inside(x, y)], x, y), of_inside(jnp.array(x), jnp.array(y)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=30 * np.finfo(dtype).eps, atol=10 * np.finfo(dtype).eps)


def test_nothing_is_added_as_in_a_compiled_program():
    """Where XLA sees 0.0 + x it takes x, also -0.0."""
    x = np.array(SPECIAL)

    def sums(x):
        return [x + 0.0, 0.0 + x]

    for ours, theirs in zip(in_c(sums, x), jax.jit(sums)(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(np.signbit(ours), np.signbit(theirs))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TYPES)
def test_whole_numbers(dtype):
    """Also where they wrap around, and what divides by 0 or the least one by -1."""
    ends = np.iinfo(dtype)
    numbers = np.array([*np.array(WHOLE).astype(dtype), ends.min, ends.max], dtype)
    x, y = (part.ravel() for part in np.meshgrid(numbers, numbers))
    for ours, theirs in zip(
        in_c(lambda x, y: [*of_whole(x, y)], x, y), of_whole(jnp.array(x), jnp.array(y)), strict=True
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_whole_parts(dtype):
    """Past the ends of their type these, and of NaN 0, also of what is known before it runs."""
    x = np.array(PAST, dtype)

    def parts(x):
        return [x.astype(t) for t in TYPES]

    now = in_c(lambda _: parts(jnp.array(x)), x)
    for ours, known, theirs in zip(in_c(parts, x), now, parts(jnp.array(x)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(known[0], theirs)


GETS = [("fill", None), ("fill", 7.0), ("clip", None)]


def of_arrays(x, y):
    """Arrays and loops that a step may have inside."""
    a = jnp.stack([x, y, x * y]).reshape(3, 1) @ jnp.array([[1.0, 2.0]])
    yield from (a.T, lax.pad(a, 7.0, ((1, -1, 1), (0, 2, 0))), jnp.cumsum(a, 0)[::-1], jnp.max(a, 1))
    yield from (jnp.prod(a), a.at[1].add(y), a.at[jnp.array([0, 2]), 1].set(x), lax.rev(a, (0,)), jnp.roll(a, 1, 0))
    yield from (
        lax.cumsum(a, axis=0, reverse=True),
        jnp.tile(a, (2, 1)),
        *a,
        *jnp.unstack(a, axis=1),
        (a > 0).astype(int)[jnp.array([1, -1])],
    )
    yield from (a.at[jnp.array([0, 9])].get(mode=mode, fill_value=with_) for mode, with_ in GETS)
    yield jax.lax.dynamic_slice(a, (jnp.where(x > 0, 5, 1), 0), (1, 2))
    yield jax.lax.dynamic_update_slice(a, a[:1] + 1, (2, 0))
    yield jax.lax.switch(jnp.where(x > y, 2, 0), [lambda z: z, lambda z: 2 * z, lambda z: z @ z.T @ z], a)
    yield jax.lax.fori_loop(0, 40, lambda i, c: (c[1], 0.5 * (c[0] + c[1]) + i), (x, y))[0]
    yield jax.lax.scan(lambda c, z: (c + z, c), x, a[:, 0])[1]
    yield jax.lax.scan(lambda c, i: (0.9 * c + i, None), x, jnp.arange(60).reshape(20, 3).sum(1), reverse=True)[0]
    blocks = jnp.arange(20 * 20).reshape(20, 20)
    yield jax.lax.scan(lambda c, b: (jax.lax.scan(lambda d, i: (0.5 * d + i, None), c, b)[0], None), x, blocks)[0]


def test_arrays_and_loops_inside_a_step():
    x, y = np.array([0.3, -0.7, 1.2]), np.array([0.5, 0.1, -0.4])
    ours = in_c(lambda x, y: [*of_arrays(x, y)], x, y)
    theirs = jax.jit(jax.vmap(lambda x, y: [*of_arrays(x, y)]))(x, y)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (lambda x: jax.lax.while_loop(lambda c: c < 1, lambda c: c + x, x), "a loop without a fixed number of rounds"),
        (lambda x: jnp.sum(jnp.arange(8.0)[jnp.where(x > 0, jnp.array([1, 3]), 2)]), "known when it runs only"),
        (lambda x: jnp.sum(x * jnp.ones(5000)), "an array of 5,000 numbers"),
        (lambda x: jnp.sort(jnp.stack([x, 2 * x]))[0], "the operation 'sort'"),
        (lambda x: x.astype(jnp.float16) + 1, "numbers of the type float16"),
        (lambda x: jax.lax.scan(lambda c, z: (c + z, None), x, jnp.sin(jnp.arange(99.0)))[0], "over or into an array"),
    ],
)
def test_what_has_no_form_by_components_says_so(fn, why):
    with pytest.raises(Unsupported, match=why):
        in_c(lambda x: [fn(x)], np.array([1.0]))


def test_more_shared_numbers_than_registers_are_loaded_where_they_are_read():
    """A network of 200 weights: a thread reads them anew in each step."""
    weights = jnp.arange(200.0) / 200

    def row(weights, x):
        return [x + 0.01 * jnp.tanh(weights @ jnp.arange(200.0))]

    body = jax.make_jaxpr(row)(weights, 1.0)
    text = source(lay_out(body, (1, 1), 5, (False, True)), 3)
    assert text.index("for (int") < text.index("= in0[0];")


def test_more_arrays_than_a_kernel_takes():
    """Their addresses have 4096 bytes: a GPU's compiler refuses more, and then it is too late for the plain loop."""

    def row(parts, x):
        return [x + sum(parts)]

    def laid_out(count):
        return lay_out(jax.make_jaxpr(row)([0.1] * count, 1.0), (count, 1), 5, (False,) * (count + 1))

    assert len(laid_out(510).inputs) == 511
    with pytest.raises(Unsupported, match="it reads and writes 513 arrays, and a kernel takes 512"):
        laid_out(511)


def test_long_rounds_are_a_loop_and_short_ones_written_out():
    """Nine turns of a large step take a compiler minutes if written out."""

    def row(size):
        def turn(x, _):
            return x + jnp.sum(jnp.sin(x * jnp.arange(size))), None

        return lambda x: [jax.lax.scan(turn, x, None, 9)[0]]

    loops = [source(lay_out(jax.make_jaxpr(row(n))(1.0), (0, 1), 5, (True,)), 3).count("for (int") for n in (2, 100)]
    assert loops == [1, 2]
