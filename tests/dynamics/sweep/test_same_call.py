"""Two calls that print alike are told apart: by what they keep, and by the Python functions that fn calls."""

import functools
import importlib
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import jaxinertia as ji
from jaxinertia.dynamics.sweep import program
from jaxinertia.dynamics.sweep.axes import parse
from jaxinertia.dynamics.sweep.contents import Contents

AXES = {"a": np.arange(3.0), "b": np.arange(4.0)}
X = {"x": np.arange(3.0)}
ONE = jax.ShapeDtypeStruct((), np.float64)
FACTOR = [1.0]


def plane(a, b):
    return a + 10 * b


def calling(host):
    return lambda x: jax.pure_callback(host, ONE, x, vmap_method="sequential")


def times(factor):
    return lambda x: x * factor


class Table:
    def __init__(self, factor):
        self.factor = factor

    @property
    def doubled(self):
        return 2 * self.factor

    def look_up(self, x):
        return x * self.doubled / 2


def batched(factor):
    """A function that is x by itself and x * factor under vmap: the rule is all that tells."""

    @jax.custom_batching.custom_vmap
    def fn(x):
        return x

    @fn.def_vmap
    def rule(size, batched, x):
        del size, batched
        return x * factor, True

    return fn


# How each is made for a factor.
HOSTS = {
    "closure": lambda factor: calling(times(factor)),
    "partial": lambda factor: calling(functools.partial(np.multiply, np.float64(factor))),
    "method": lambda factor: calling(Table(factor).look_up),
    "jitted": lambda factor: calling(jax.jit(times(factor))),
    "within jit": lambda factor: jax.jit(calling(times(factor))),
    "within scan": lambda factor: (
        lambda x: jax.lax.scan(lambda y, _: (calling(times(factor))(x), None), x, None, length=1)[0]
    ),
    "custom_vmap": batched,
}


@pytest.mark.parametrize("name", HOSTS)
def test_another_function_on_the_host_is_another_call(name, tmp_path):
    for factor in (1.0, 2.0):
        np.testing.assert_array_equal(ji.sweep(HOSTS[name](factor), X).values, X["x"] * factor)
    ji.sweep(HOSTS[name](1.0), X, store=tmp_path / "run.zarr")
    assert ji.sweep(HOSTS[name](1.0), X, store=tmp_path / "run.zarr").computed == 0
    with pytest.raises(ValueError, match=r"differs in .*functions that fn calls on the host"):
        ji.sweep(HOSTS[name](2.0), X, store=tmp_path / "run.zarr")


def test_a_global_that_the_function_reads_is_part_of_the_call(tmp_path, monkeypatch):
    def host(x):
        return x * FACTOR[0]

    ji.sweep(calling(host), X, store=tmp_path / "run.zarr")
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", [2.0])
    np.testing.assert_array_equal(ji.sweep(calling(host), X).values, X["x"] * 2)
    with pytest.raises(ValueError, match=r"differs in .*functions that fn calls on the host"):
        ji.sweep(calling(host), X, store=tmp_path / "run.zarr")


def test_a_function_changed_in_place_does_not_pass_for_another(tmp_path):
    """The first one's table is altered after its sweep; the second's holds what the first's held."""
    first, second = np.array(1.0), np.array(1.0)
    ji.sweep(calling(functools.partial(np.multiply, first)), X)
    first[...] = 5.0
    values = ji.sweep(calling(functools.partial(np.multiply, second)), X).values
    np.testing.assert_array_equal(values, X["x"])


# What a function on the host may refer to: how it is called in the refusal, if it is refused.
REFERRED = {
    "state": (np.random.default_rng(0), "numpy.random._generator.Generator"),
    "memory": (memoryview(b"abc"), "builtins.memoryview"),
    "a module of the user's": (types.ModuleType("mine"), "the module 'mine'"),
    "a builtin": (abs, None),
    "a library's function": (np.where, None),
    "a library's module": (np, None),
}


@pytest.mark.parametrize("name", REFERRED)
def test_a_store_refuses_what_it_cannot_tell_apart(name, tmp_path):
    thing, refused = REFERRED[name]

    def host(x):
        return x if thing else -x

    assert ji.sweep(calling(host), X).computed == 3  # without a store it is known by its identity
    if refused is None:
        assert ji.sweep(calling(host), X, store=tmp_path / "run.zarr").computed == 3
        return
    with pytest.raises(ValueError, match=rf"store cannot tell this sweep from another one: .*{refused}.*store=None"):
        ji.sweep(calling(host), X, store=tmp_path / "run.zarr")
    assert not (tmp_path / "run.zarr").exists()


def test_a_store_refuses_calls_whose_results_may_change(tmp_path):
    with pytest.raises(ValueError, match=r"io_callback.*use jax.pure_callback"):
        ji.sweep(lambda x: io_callback(np.sin, ONE, x), X, store=tmp_path / "run.zarr")
    with pytest.raises(ValueError, match=r"jax.ffi"):
        ji.sweep(lambda x: jax.ffi.ffi_call("some_kernel", ONE)(x), X, store=tmp_path / "run.zarr")  # noqa: PLW0108


def test_what_only_reports_may_change(tmp_path):
    def reporting(word):
        return lambda x: (jax.debug.callback(lambda x: word, x), x)[1]

    ji.sweep(reporting("one"), X, store=tmp_path / "run.zarr")
    assert ji.sweep(reporting("two"), X, store=tmp_path / "run.zarr").computed == 0
    heard = []
    for word in ("one", "two"):
        ji.sweep(lambda x, word=word: (jax.debug.callback(lambda x: heard.append(word), x), x)[1], X)
        jax.effects_barrier()
    assert set(heard) == {"one", "two"}


def test_noise_and_run_time_checks_are_the_same_program_at_each_trace():
    """What libraries make afresh at each trace must not cost a compilation."""

    def noisy(x, key):
        system = ji.System(ji.potentials.Duffing(), damping=x, noise=0.3)
        return ji.simulate(system, np.array([0.0, 1.0]), 1.0, dt=0.1, key=key).inertia[-1]

    def checked(x):
        import equinox

        return equinox.error_if(x, x < -1, "x is below -1")

    for fn, key in ((noisy, jax.random.key(0)), (checked, None)):
        one, two = (program.trace(fn, parse(X), key) for _ in range(2))
        assert one == two
        assert Contents(one.jaxpr, deep=True).objects == Contents(two.jaxpr, deep=True).objects


# Programs of the same operations and numbers, which differ in what reads what, in types, or in what is returned.
ALIKE = {
    "operands": (lambda a, b: a - b, lambda a, b: b - a),
    "order": (lambda a, b: jnp.sin(a * b) + a, lambda a, b: jnp.sin(a + b) * a),
    "what is read again": (lambda a, b: (a * b) - (a * a), lambda a, b: (a * b) - (b * b)),
    "inside": (jax.jit(lambda a, b: a - b), jax.jit(lambda a, b: b - a)),
    "outputs": (lambda a, b: {"u": a + 1.0, "v": b * 1.0}, lambda a, b: {"v": a + 1.0, "u": b * 1.0}),
    "literals": (lambda a, b: a * 2.0 + b * 3.0, lambda a, b: a * 3.0 + b * 2.0),
    "literal or variable": (lambda a, b: 2.0 - a + b, lambda a, b: a - 2.0 + b),
    "types": (lambda a, b: a.astype("float32") + b, lambda a, b: a.astype("float16") + b),
    "parameters": (lambda a, b: jnp.stack([a, b])[::-1], lambda a, b: jnp.stack([a, b])),
}


@pytest.mark.parametrize("name", ALIKE)
def test_programs_of_the_same_operations_are_told_apart(name):
    one, two = (program.trace(fn, parse(AXES), None) for fn in ALIKE[name])
    again = program.trace(ALIKE[name][0], parse(AXES), None)
    assert one == again
    assert hash(one) == hash(again)
    assert one != two


def test_a_program_is_not_taken_for_one_whose_operands_are_exchanged():
    for fn, expected in zip(ALIKE["operands"], (-1.0, 1.0), strict=True):
        np.testing.assert_array_equal(ji.sweep(fn, {"a": np.ones(2), "b": 2 * np.ones(2)}).values, expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": "mean"}, {"b": "mean"}),
        ({"a": "mean"}, {"a": ("mean", "variance")}),
        ({"a": "mean"}, {"a": "variance"}),
        ({"a": "mean"}, {("a", "b"): "mean"}),
        ({"a": ji.reductions.Quantiles((0.5,))}, {"a": ji.reductions.Quantiles((0.9,))}),
        ({"a": ji.reductions.Quantiles((0.5,))}, {"a": ji.reductions.Quantiles((0.5,), smallest=1e-8, largest=1e10)}),
        ({"a": ji.reductions.Histogram((0.0, 1.0, 2.0))}, {"a": ji.reductions.Histogram((0.0, 1.0, 3.0))}),
        (
            {"a": ji.reductions.Histogram(tuple(np.arange(99.0).tolist()))},
            {"a": ji.reductions.Histogram((*np.arange(98.0).tolist(), 98.5))},
        ),
        ({"a": "mean"}, None),
        (None, {"a": "mean"}),
    ],
)
def test_another_reduction_is_another_call(first, second, tmp_path):
    ji.sweep(plane, AXES, store=tmp_path / "store", reduce=first)
    with pytest.raises(ValueError, match=r"differs in reduce|holds"):
        ji.sweep(plane, AXES, store=tmp_path / "store", reduce=second)
    assert ji.sweep(plane, AXES, store=tmp_path / "store", reduce=first).computed == 0


def test_a_statistic_of_the_users_own_is_known_by_its_code(tmp_path):
    def largest(start):
        class Largest(ji.reductions.Statistic):
            name = "largest"

            def empty(self, cells):
                return {"value": np.full(cells, start)}

            def of(self, values):
                return {"value": values.max(0)}

            def merge(self, a, b):
                return {"value": np.maximum(a["value"], b["value"])}

            def finish(self, state):
                return state["value"]

        return Largest()

    keep = dict(store=tmp_path / "store")
    runs = ji.sweep(plane, AXES, reduce={"a": largest(-np.inf)}, **keep)
    np.testing.assert_array_equal(runs.values["largest"], 2 + 10 * AXES["b"])
    assert ji.sweep(plane, AXES, reduce={"a": largest(-np.inf)}, **keep).computed == 0
    with pytest.raises(ValueError, match=r"differs in reduce"):
        ji.sweep(plane, AXES, reduce={"a": largest(5.0)}, **keep)


def test_other_names_are_another_call(tmp_path):
    ji.sweep(lambda x: {"u": x, "v": 2 * x}, X, store=tmp_path / "run.zarr")
    with pytest.raises(ValueError, match=r"differs in outputs"):
        ji.sweep(lambda x: {"u": x, "w": 2 * x}, X, store=tmp_path / "run.zarr")
    zipped = ([1.0, 2.0], [3.0, 4.0])
    ji.sweep(lambda a, b_c: a + b_c, {("a", "b_c"): zipped}, store=tmp_path / "zipped.zarr")
    with pytest.raises(ValueError, match=r"differs in axes"):
        ji.sweep(lambda a_b, c: a_b + c, {("a_b", "c"): zipped}, store=tmp_path / "zipped.zarr")


@pytest.mark.parametrize(("folder", "known"), [("lib/python3/site-packages", True), ("lib/mine", False)])
def test_a_library_outside_of_this_python_is_one(folder, known, tmp_path, monkeypatch):
    """As the modules of a cluster bring them: known by name and version, whatever its functions refer to."""
    place, name = tmp_path / folder, f"outside_{known}".lower()
    place.mkdir(parents=True)
    (place / f"{name}.py").write_text(
        "import threading\nLOCK = threading.Lock()\ndef f(x):\n    with LOCK:\n        return x"
    )
    monkeypatch.syspath_prepend(place)
    f = importlib.import_module(name).f
    if known:
        assert ji.sweep(calling(f), X, store=tmp_path / "run.zarr").computed == 3
        return
    with pytest.raises(ValueError, match="store cannot tell this sweep from another one"):
        ji.sweep(calling(f), X, store=tmp_path / "run.zarr")
