"""Diagnostics against runs whose answer is known; histories, tables and pictures."""

import csv
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import pytest
from matplotlib.figure import Figure

import jaxinertia as ji

from ..oracles import EPS
from .runs import PARAMS, train

matplotlib.use("Agg")
T = ji.training
QUADRATIC = ji.potentials.Quadratic()


def heavy_ball(h, gamma, steps, fn=QUADRATIC, start=1.0):
    learning_rate, momentum = T.to_optax(h, gamma)
    _, (readouts, _) = train(T.monitor(optax.sgd(learning_rate, momentum), h), jnp.asarray(start), steps, fn)
    return readouts, T.history(readouts)


@pytest.mark.parametrize("quality", [10.0, 40.0])
def test_the_quality_factor_of_an_oscillator_is_omega_over_gamma(quality):
    """Over whole periods; the to and fro of K is cut at its turns by h, and friction over a window is not linear."""
    h = 0.02
    _, history = heavy_ball(h, 1 / quality, round(8 * np.pi / h))
    measured = T.quality_factor(history, window=round(2 * np.pi / h))[-1]
    # e^{-2 pi / Q} of the energy is left after a period; the four swings of K shrink with it: terms of order 1/Q.
    assert measured == pytest.approx(quality, rel=0.02 + 1 / quality)
    assert T.underdamping(history, window=round(2 * np.pi / h))[-1]


def test_an_overdamped_descent_does_not_slosh():
    _, history = heavy_ball(0.02, 4.0, 400)
    assert T.quality_factor(history, window=100)[-1] == 0
    assert not T.underdamping(history, window=100).any()


@pytest.mark.parametrize(("stretch", "unstable"), [(0.9, False), (1.02, True)])
def test_instability_starts_at_the_edge_of_stability(stretch, unstable):
    """h^2 lambda = 2 (1 + beta) is the edge on a quadratic: beyond, the step feeds more than friction takes.

    Just below, energy beats with a period of many steps, and its upswings are flagged."""
    beta, learning_rate = 0.9, 0.04
    stiffness = stretch * 2 * (1 + beta) / learning_rate
    dt, gamma = T.to_physical(learning_rate, beta)
    _, history = heavy_ball(dt, gamma, 200, ji.potentials.Quadratic(stiffness))
    assert T.instability(history)[-50:].all() == unstable
    assert T.instability(history)[-50:].any() == unstable


def test_numbers_that_are_not_finite_are_unstable():
    _, history = heavy_ball(1.0, 0.1, 400, ji.potentials.Duffing(), 30.0)
    assert not np.isfinite(history["inertia"][-1])
    assert T.instability(history)[-1]


def test_stall_is_a_high_plateau_and_not_a_good_end():
    """L = 1 + tanh-like shelf at 1, whose slope is e^{-2 x}: nothing moves there, and the loss is high."""

    def shelf(x):
        return 1 + jnp.tanh(x)

    _, plateau = heavy_ball(0.1, 2.0, 300, shelf, 9.0)
    _, bottom = heavy_ball(0.1, 2.0, 300, QUADRATIC, 1.0)
    assert T.stall(plateau, high=1.5)[-1]
    assert not T.stall(bottom)[-1]
    assert not T.stall(plateau, high=2.5)[-1]
    assert T.diagnose(bottom) == {"instability": False, "stall": False, "underdamping": False}


@pytest.fixture(scope="module")
def recorded():
    optimizer = T.monitor(optax.adam(0.01), dt=0.1)
    (_, state), (readouts, _) = train(optimizer, PARAMS, 30)
    return state, readouts


def test_a_live_history_is_that_of_the_scan(recorded):
    _, readouts = recorded
    history, live = T.history(readouts), T.History()
    for k in range(30):
        live.append(jax.tree.map(lambda x, k=k: x[k], readouts))
    assert len(live) == len(history) == 30
    assert live.names == history.names
    for name in history.names:
        np.testing.assert_array_equal(live[name], history[name])
    np.testing.assert_array_equal(history["inertia"], readouts.inertia)
    np.testing.assert_array_equal(history["outer/friction"], readouts.groups["outer"].friction)
    singles = T.history(jax.tree.map(lambda x, k=k: x[k], readouts) for k in range(3))
    np.testing.assert_array_equal(singles["time"], history["time"][:3])


def test_csv_and_dataframe_keep_every_digit(recorded, tmp_path):
    history = T.history(recorded[1])
    path = history.to_csv(tmp_path / "run.csv")
    back = T.History.from_csv(path)
    assert back.names == history.names
    for name in history.names:
        np.testing.assert_array_equal(back[name], history[name])
    with path.open() as stream:
        assert len(list(csv.reader(stream))) == 31
    frame = history.to_dataframe()
    np.testing.assert_array_equal(frame["friction"], history["friction"])
    assert frame.index.name == "step"


def test_scalars_are_a_flat_dict_of_floats_for_loggers(recorded):
    state, readouts = recorded
    logged = T.scalars(state)
    assert {type(x) for x in logged.values()} == {float}
    read = T.readout(state)
    assert logged["energy/inertia"] == float(read.inertia)
    assert logged["energy/outer/kinetic"] == float(read.groups["outer"].kinetic)
    # Inside the compiled scan the same sums are fused, and round once or twice otherwise.
    assert logged["energy/inertia"] == pytest.approx(float(readouts.inertia[-1]), rel=4 * EPS)
    assert T.scalars(T.readout(state), prefix="") == {k.removeprefix("energy/"): x for k, x in logged.items()}
    shown = T.postfix(state)
    assert shown["L"] == f"{float(readouts.potential[-1]):.3g}"
    assert set(shown) == {"L", "I", "K/I", "gamma", "err"}


def test_plots_draw_the_history(recorded):
    history, ax = T.history(recorded[1]), Figure().subplots()
    assert ji.plots.training(history, ax) is ax
    kinetic, potential, inertia, left = (np.asarray(line.get_ydata()) for line in ax.get_lines())
    np.testing.assert_array_equal(kinetic + potential, inertia)
    np.testing.assert_array_equal(left, inertia[0] + history["friction"])
    ax = Figure().subplots()
    ji.plots.accounts(history, ax)
    drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in ax.get_lines()}
    np.testing.assert_array_equal(drawn["discretization"], history["discretization"])
    assert "noise" not in drawn


def test_sharded_parameters_keep_their_sharding_and_their_accounts():
    """Two devices, parameters split between them: in a process of its own, since XLA counts devices at its start."""
    program = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, jax.numpy as jnp, numpy as np, optax, jaxinertia as ji
from jax.sharding import NamedSharding, PartitionSpec as P
T = ji.training
split = NamedSharding(jax.make_mesh((2,), ("x",)), P("x"))
optimizer = T.monitor(optax.sgd(0.02, momentum=0.9), dt=0.02**0.5)
def fn(w): return jnp.sum(jnp.cos(w)) / 64
@jax.jit
def step(w, state):
    value, g = jax.value_and_grad(fn)(w)
    updates, state = optimizer.update(g, state, w, value=value)
    return optax.apply_updates(w, updates), state
start = jnp.linspace(-1, 1, 64).reshape(8, 8) + 0.3
found = []
for w in (start, jax.device_put(start, split)):
    state = optimizer.init(w)
    for _ in range(5):
        w, state = step(w, state)
    found.append(T.scalars(state))
for x in (state.kicks, state.gradient, state.velocity, w):
    assert x.sharding.is_equivalent_to(split, 2), x.sharding
one, two = found
assert all(np.isclose(one[k], two[k], rtol=1e-5, atol=1e-7) for k in one), (one, two)
print("same")
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["same"], result.stderr
