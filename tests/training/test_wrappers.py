"""optax's own wrappers, around the monitor and inside it: no crash where the bare optimizer has none; right books."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinertia as ji

from .runs import flat
from .runs import train as scanned

T = ji.training
ACCOUNTS = ("friction", "noise", "work", "discretization")
RATE, BETA, DT = 0.01, 0.9, 0.1
SMALL = {"a": jnp.array([1.0, -0.5, 0.3, 0.2]), "b": jnp.array([[0.5, 0.1], [0.2, 0.3]])}


def heavy():
    return optax.sgd(RATE, momentum=BETA)


def duffing(params):
    return sum(jnp.sum(x**2 / 2 + x**4 / 4) for x in jax.tree.leaves(params))


def labels(params):
    return {"a": "first", "b": "second"} if isinstance(params, dict) else "first"


def mask(params):
    return {"a": True, "b": False} if isinstance(params, dict) else True


def nothing(params):
    return jax.tree.map(lambda _: False, params)


def always(step):
    return step >= 0


# Each takes an optimizer and gives another.
WRAPPERS = {
    "itself": lambda inner: inner,
    "extra args": optax.with_extra_args_support,
    "chain": lambda inner: optax.chain(optax.clip_by_global_norm(0.5), inner),
    "named chain": lambda inner: optax.named_chain(("clip", optax.clip(0.5)), ("step", inner)),
    "apply_if_finite": lambda inner: optax.apply_if_finite(inner, 3),
    "zero_nans": lambda inner: optax.chain(optax.zero_nans(), inner),
    "conditionally_transform": lambda inner: optax.conditionally_transform(inner, always),
    "conditionally_mask": lambda inner: optax.conditionally_mask(inner, lambda step: step % 2 == 0),
    "masked": lambda inner: optax.masked(inner, mask),
    "masked altogether": lambda inner: optax.masked(inner, nothing),
    "partition": lambda inner: optax.partition({"first": inner, "second": heavy()}, labels),
    "partition with an empty group": lambda inner: optax.partition(
        {"first": inner, "second": heavy(), "none": inner}, labels
    ),
    "partition of both": lambda inner: optax.partition({"first": inner, "second": inner}, labels),
    "MultiSteps": lambda inner: optax.MultiSteps(inner, 2),
    "MultiSteps as a transformation": lambda inner: optax.MultiSteps(inner, 2).gradient_transformation(),
    "MultiSteps of sums": lambda inner: optax.MultiSteps(inner, 2, use_grad_mean=False),
    "MultiSteps that skips": lambda inner: optax.MultiSteps(inner, 2, should_skip_update_fn=optax.skip_not_finite),
    "MultiSteps that skips the large": lambda inner: optax.MultiSteps(
        inner, 2, should_skip_update_fn=functools.partial(optax.skip_large_updates, max_squared_norm=1e6)
    ),
    "MultiSteps by a schedule": lambda inner: optax.MultiSteps(inner, lambda step: jnp.where(step < 1, 1, 2)),
    "flatten": optax.flatten,
    "keep_params_nonnegative": lambda inner: optax.chain(inner, optax.keep_params_nonnegative()),
    "weight decay": lambda inner: optax.chain(optax.add_decayed_weights(0.01), inner),
    "noise": lambda inner: optax.chain(optax.add_noise(0.01, 0.5, 0), inner),
    "freeze": lambda inner: optax.chain(inner, optax.transforms.freeze({"a": True, "b": False})),
    "selective": lambda inner: optax.transforms.selective_transform(inner, freeze_mask={"a": True, "b": False}),
    "snapshot": lambda inner: optax.chain(optax.snapshot("seen", lambda updates: updates), inner),
    "plateau": lambda inner: optax.chain(inner, optax.contrib.reduce_on_plateau(patience=2)),
    "mechanize": optax.contrib.mechanize,
    "schedule_free": lambda inner: optax.contrib.schedule_free(inner, RATE),
    "real and imaginary": optax.contrib.split_real_and_imaginary,
    "inject_hyperparams": lambda inner: optax.chain(inner, optax.inject_hyperparams(optax.scale)(step_size=0.5)),
    "lookahead": lambda inner: optax.lookahead(inner, 2, 0.5),
    "lookahead that resets": lambda inner: optax.lookahead(inner, 2, 0.5, reset_state=True),
}
# With these inside, the monitor's books would be wrong without a word: `test_a_hidden_multi_steps_is_refused`.


def start(name):
    return optax.LookaheadParams.init_synced(SMALL) if "lookahead" in name else SMALL


def run(optimizer, params, calls=3, fn=duffing, with_value=True):
    update = optimizer.update
    if not isinstance(optimizer, optax.MultiSteps):
        update = optax.with_extra_args_support(optimizer).update
    state = optimizer.init(params)
    for _ in range(calls):
        value, gradient = jax.value_and_grad(fn)(getattr(params, "fast", params))
        options = {"value": value} if with_value else {}
        updates, state = update(gradient, state, params, **options)
        params = optax.apply_updates(params, updates)
    return params, state


# One of each kind; `make slow` runs all.
QUICK = ("apply_if_finite", "partition with an empty group", "MultiSteps as a transformation", "lookahead that resets")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in WRAPPERS]
)
def test_wrappers_around_and_inside_do_what_they_do_bare(name):
    """The same parameters, to the bit, op by op; and books that are finite."""
    wrap, params = WRAPPERS[name], start(name)
    bare, _ = run(wrap(heavy()), params)
    inside, state = run(T.monitor(wrap(heavy()), DT), params)
    around, around_state = run(wrap(T.monitor(heavy(), DT)), params)
    np.testing.assert_array_equal(flat(inside), flat(bare))
    np.testing.assert_array_equal(flat(around), flat(bare))
    numbers = [x for x in jax.tree.leaves((state, around_state)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    assert np.isfinite(flat(numbers)).all()
    assert np.isfinite(flat(T.readout(around_state))).all()


def accounts(read):
    return np.array([float(getattr(read, name)) for name in ("time", "kinetic", "potential", *ACCOUNTS)])


def train(optimizer, bad=(), calls=6, with_value=True, spoil=lambda g: jax.tree.map(lambda x: x * jnp.nan, g)):
    """The readout after these calls, and the parameters; the gradient (and loss) of call k in `bad` is spoilt."""

    @jax.jit
    def step(params, state, spoilt):
        value, gradient = jax.value_and_grad(duffing)(params)
        gradient = jax.tree.map(lambda x, y: jnp.where(spoilt, y, x), gradient, spoil(gradient))
        options = {"value": jnp.where(spoilt, jnp.nan, value)} if with_value else {}
        updates, state = optimizer.update(gradient, state, params, **options)
        return optax.apply_updates(params, updates), state

    params, state = SMALL, optimizer.init(SMALL)
    for k in range(calls):
        params, state = step(params, state, k in bad)
    return T.readout(state), params, state


REFUSING = {
    "apply_if_finite": optax.apply_if_finite(heavy(), 3),
    "MultiSteps": optax.MultiSteps(heavy(), 1, should_skip_update_fn=optax.skip_not_finite),
    "conditionally_mask": optax.conditionally_mask(
        heavy(), lambda step, value, **_: jnp.isfinite(value), forward_extra_args=True
    ),
}


@pytest.fixture(scope="module", params=[True, False], ids=["with the loss", "without"])
def whole(request):
    return request.param, accounts(train(T.monitor(heavy(), DT), with_value=request.param)[0])


@pytest.mark.parametrize("name", REFUSING)
def test_a_refused_gradient_is_no_step_and_is_counted(name, whole):
    """Two spoilt calls among six good ones: the books are those of the six, time included."""
    with_value, expected = whole
    if name == "conditionally_mask" and not with_value:
        pytest.skip("its condition reads the loss")
    read, _, _ = train(T.monitor(REFUSING[name], DT), bad=(2, 7), calls=8, with_value=with_value)
    np.testing.assert_allclose(accounts(read), expected, rtol=1e-12)
    assert int(read.skipped) == 2
    assert int(read.step) == 5


def test_numbers_that_zero_nans_drops_are_no_force():
    """One component of the gradient is NaN: there heavy ball coasts, v -> beta v, and friction takes (1 - beta^2) K."""

    def spoil(gradient):
        return gradient | {"a": gradient["a"].at[1].set(jnp.inf)}

    optimizer = T.monitor(optax.chain(optax.zero_nans(), optax.sgd(RATE, momentum=BETA)), DT, depth=1)

    def nan(gradient):
        return gradient | {"a": gradient["a"].at[1].set(jnp.nan)}

    before, _, _ = train(optimizer, calls=4)
    after, _, _ = train(optimizer, bad=(3,), calls=5, spoil=nan)
    assert np.isfinite(flat(after.groups)).all()
    assert int(after.skipped) == 1
    kinetic = float(train(optimizer, bad=(3,), calls=4, spoil=nan)[0].kinetic)
    assert float(after.friction - before.friction) == pytest.approx(-(1 - BETA**2) * kinetic, rel=1e-9)


@pytest.mark.parametrize("mean", [True, False])
def test_multi_steps_books_the_loss_of_all_its_micro_batches(mean):
    """Three micro-batches make one step: L their mean (or sum), as the gradient; the books of the whole batch."""
    scales = (0.5, 1.0, 2.1)
    factor = sum(scales) / (3 if mean else 1)
    direct, several = (
        T.monitor(heavy(), DT),
        T.monitor(optax.MultiSteps(heavy(), 3, use_grad_mean=mean, accumulator_dtype=jnp.float64), DT),
    )
    step = jax.jit(lambda optimizer, g, s, p, value: optimizer.update(g, s, p, value=value), static_argnums=0)
    one, state = SMALL, direct.init(SMALL)
    two, gathering = SMALL, several.init(SMALL)
    for _ in range(3):
        value, gradient = jax.value_and_grad(duffing)(one)
        scaled = jax.tree.map(lambda g: factor * g, gradient)
        updates, state = step(direct, scaled, state, one, factor * value)
        for scale in scales:
            value, gradient = jax.value_and_grad(duffing)(two)
            gradient = jax.tree.map(lambda g, scale=scale: scale * g, gradient)
            moved, gathering = step(several, gradient, gathering, two, scale * value)
            two = optax.apply_updates(two, moved)
        one = optax.apply_updates(one, updates)
        np.testing.assert_allclose(accounts(T.readout(gathering)), accounts(T.readout(state)), rtol=1e-11, atol=1e-15)
    assert int(T.readout(gathering).step) == 2
    assert int(T.readout(gathering).skipped) == 0


def test_a_hidden_multi_steps_is_refused():
    hidden = optax.chain(optax.clip(1.0), optax.MultiSteps(heavy(), 2).gradient_transformation())
    with pytest.raises(ValueError, match="MultiSteps"):
        T.monitor(hidden, DT).init(SMALL)


@pytest.mark.parametrize("with_value", [True, False])
def test_the_monitors_of_a_partition_are_read_together(with_value):
    """One for each group of parameters: the same books as one monitor of all, where all have one optimizer."""
    both = WRAPPERS["partition of both"](T.monitor(heavy(), DT))
    one, _, state = train(T.monitor(heavy(), DT), with_value=with_value)
    two, _, parted = train(both, with_value=with_value)
    np.testing.assert_allclose(accounts(two), accounts(one), rtol=1e-12, atol=1e-15)
    assert list(two.groups) == list(one.groups)
    for name, group in one.groups.items():
        np.testing.assert_allclose(flat(two.groups[name]), flat(group), rtol=1e-9)
    np.testing.assert_array_equal(flat(T.velocity(parted)), flat(T.velocity(state)))


def test_complex_parameters_are_two_real_ones_each():
    """K = |v|^2 / 2 and g.u = Re(conj(g) u): the books of the real and imaginary parts."""
    z = jnp.array([1 + 1j, 0.5 - 0.2j, -0.3j])
    pairs = {"x": z.real, "y": z.imag}

    def fn(q):
        return duffing({"x": q["x"] + q["y"], "y": q["x"] - 2 * q["y"]})

    optimizer = T.monitor(heavy(), DT)
    one, state, two, pair_state = {"z": z}, optimizer.init({"z": z}), pairs, optimizer.init(pairs)
    for k in range(4):
        value, g = jax.value_and_grad(fn)(two)
        options = {} if k == 3 else {"value": value}
        updates, pair_state = optimizer.update(g, pair_state, two, **options, reference=jax.tree.map(jnp.ones_like, g))
        two = optax.apply_updates(two, updates)
        g, full = {"z": g["x"] + 1j * g["y"]}, {"z": (1 + 1j) * jnp.ones(3)}
        updates, state = optimizer.update(g, state, one, **options, reference=full)
        one = optax.apply_updates(one, updates)
    read, expected = T.readout(state), T.readout(pair_state)
    assert read.kinetic.dtype == jnp.float64
    np.testing.assert_allclose(accounts(read), accounts(expected), rtol=1e-12, atol=1e-15)
    assert float(read.temperature) == pytest.approx(float(expected.temperature))


def test_map_params_sees_arrays_of_the_parameters_shapes():
    """As for shardings: every array of the state that is a copy of the parameters, and no other."""
    optimizer = T.monitor(optax.adamw(RATE), DT, weight_decay=0.1)
    seen = []
    mapped = optax.tree.map_params(
        optimizer, lambda x, p: seen.append((x.shape, p.shape)) or x, optimizer.init(SMALL), SMALL
    )
    assert jax.tree.structure(mapped) == jax.tree.structure(optimizer.init(SMALL))
    assert all(x == p for x, p in seen)
    # Adam's two, and the latest two movements, the gradient, kicks and work with what is put aside, the latest work.
    assert len(seen) == 10 * len(SMALL)


def test_no_parameters_and_plain_numbers_are_parameters_too():
    optimizer = T.monitor(heavy(), DT)
    _, state = optimizer.update({}, optimizer.init({}), {}, value=2.0)
    assert float(T.readout(state).inertia) == 2.0
    params = {"a": 1.0, "b": 2}
    state = optimizer.init(params)
    for _ in range(2):
        updates, state = optimizer.update({"a": 0.5, "b": 0.25}, state, params, value=1.0)
    assert float(T.readout(state).kinetic) == pytest.approx(DT**2 * (0.5**2 + 0.25**2) / 2)
    assert np.isfinite(flat(updates)).all()


def test_the_state_is_made_of_named_tuples_and_arrays():
    """What serialisers know: no class of this package's own but named tuples, no static fields, no booleans."""

    def visit(node):
        if hasattr(node, "_fields"):
            return all(visit(child) for child in node)
        if isinstance(node, dict):
            return all(visit(child) for child in node.values())
        if isinstance(node, tuple):
            return all(visit(child) for child in node)
        return node is None or isinstance(node, jax.Array)

    assert visit(T.monitor(heavy(), DT, weight_decay=0.1, depth=2).init(SMALL))


def test_the_readout_looks_into_objects_and_boxes():
    """A stand-in for optimizers of other libraries: an object with `opt_state`, whose arrays are each in a box."""

    @jax.tree_util.register_pytree_node_class
    class Box:
        def __init__(self, value):
            self.value = value

        def tree_flatten(self):
            return (self.value,), None

        @classmethod
        def tree_unflatten(cls, aux, children):
            return cls(*children)

    class Optimizer:
        def __init__(self, opt_state):
            self.opt_state = opt_state

    expected, _, state = train(T.monitor(heavy(), DT), calls=3)
    found = T.readout(Optimizer(jax.tree.map(Box, state)))
    np.testing.assert_array_equal(accounts(found), accounts(expected))


def test_a_wrong_step_is_told_and_others_are_let_be():
    """SGD with and without momentum shows its learning rate; others keep no ratio to dt^2, or are not of its form."""
    right, wrong = optax.sgd(RATE, momentum=BETA), {"momentum": heavy(), "plain": optax.sgd(RATE)}
    clipped = optax.chain(optax.clip_by_global_norm(0.5), heavy())
    schedule = optax.cosine_decay_schedule(RATE, 30)
    silent = {
        "right": right,
        "clipped": clipped,
        "scheduled": optax.sgd(schedule, momentum=BETA),
        "nesterov": optax.sgd(RATE, momentum=BETA, nesterov=True),
        "adam": optax.adam(RATE),
    }

    def told(optimizer, dt):
        _, (readouts, _) = scanned(T.monitor(optimizer, dt), SMALL, 12, duffing)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            T.diagnose(T.history(readouts), window=5)
        return [str(warning.message) for warning in caught]

    assert not {name: found for name, optimizer in silent.items() if (found := told(optimizer, DT))}
    for name, optimizer in wrong.items():
        (message,) = told(optimizer, 0.01)
        assert "dt = 0.1," in message, name


def test_in_float32_a_hundred_thousand_calls_lose_no_digits():
    """On a slope, heavy ball falls at its final speed: kicks, friction and time grow by the same amount each call."""
    h, beta, calls = np.float32(0.1), 0.5, 100_000
    optimizer = T.monitor(optax.sgd(float(h) ** 2, momentum=beta), h)
    params = jnp.float32(0.0)

    def step(state, _):
        _, state = optimizer.update(jnp.float32(0.7), state, params, value=jnp.float32(0.0))
        return state, None

    state, _ = jax.jit(lambda s: jax.lax.scan(step, s, None, calls))(optimizer.init(params))
    read = T.readout(state)
    speed = float(h) * 0.7 / (1 - beta)
    assert float(read.time) == pytest.approx((calls - 1) * float(h), rel=1e-6)
    # From rest the first calls take less: sum (1 - beta^k)^2 in place of a call each.
    k = np.arange(calls)
    expected = -(1 - beta**2) * speed**2 / 2 * np.sum((1 - beta**k) ** 2)
    assert float(read.friction) == pytest.approx(expected, rel=2e-5)
