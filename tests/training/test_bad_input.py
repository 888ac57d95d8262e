"""Bad input of the training tools is a ValueError that names the argument, the value and the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxinertia as ji

from .runs import PARAMS

pytestmark = pytest.mark.usefixtures("without_type_checks")

T = ji.training
NAN = float("nan")
COMPLEX = np.array([1 + 1j])
SGD = optax.sgd(0.1)
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


def update(optimizer, params=PARAMS, **options):
    return optimizer.update(GRADS, optimizer.init(PARAMS), params, **options)


def history(calls=5):
    zeros = dict.fromkeys(
        ("step", "time", "kinetic", "potential", "inertia", "friction", "noise", "work", "discretization"),
        np.zeros(calls),
    )
    return T.History(zeros)


def charges(inner=(4, 5), outer=(3, 4), velocity=None, **bias):
    inner, outer = np.ones(inner), np.ones(outer)
    return T.rotation_charges(inner, outer, inner if velocity is None else velocity, outer, **bias)


CASES = {
    "a schedule of steps for each parameter": (
        lambda: update(T.monitor(SGD, lambda count: jnp.ones(3)), value=1.0),
        "dt",
        r"\(3,\)",
    ),
    "learning rate zero": (lambda: T.to_physical(0.0, 0.9), "learning_rate", "0.0"),
    "learning rate a word": (lambda: T.to_physical("fast", 0.9), "learning_rate", "fast"),
    "learning rate NaN": (lambda: T.to_physical(NAN, 0.9), "learning_rate", "nan"),
    "momentum zero": (lambda: T.to_physical(0.1, 0.0), "momentum", "drag"),
    "momentum above one": (lambda: T.to_physical(0.1, 1.25), "momentum", "1.25"),
    "dt negative": (lambda: T.to_optax(-0.25, 0.9), "dt", "-0.25"),
    "gamma negative": (lambda: T.to_optax(0.1, -0.25), "gamma", "-0.25"),
    "gamma too large for drag": (lambda: T.to_optax(0.5, 2.5, "drag"), "gamma", "2.5"),
    "reading unknown": (lambda: T.to_physical(0.1, 0.9, "loose"), "reading", "loose"),
    "two kicks": (lambda: T.as_optimizer("BABAB", 0.1, 0.0), "splitting", "BABAB"),
    "no O": (lambda: T.as_optimizer("BAB", 0.1, 0.5), "splitting", "no O"),
    "flight with noise": (lambda: T.as_optimizer("BDB", 0.1, 0.5, 0.1, jax.random.key(0)), "splitting", "D"),
    "no key": (lambda: T.as_optimizer("BAOAB", 0.1, 0.5, 0.1), "key", "None"),
    "word unknown": (lambda: T.as_optimizer("BAX", 0.1, 0.5), "word", "X"),
    "optimizer dt zero": (lambda: T.as_optimizer("OBA", 0.0, 0.5), "dt", "0.0"),
    "optimizer gamma negative": (lambda: T.as_optimizer("OBA", 0.1, -0.25), "gamma", "-0.25"),
    "monitor of a number": (lambda: T.monitor(0.1, 0.1), "optimizer", "0.1"),
    "monitor dt zero": (lambda: T.monitor(SGD, 0.0), "dt", "0.0"),
    "monitor dt a word": (lambda: T.monitor(SGD, "small"), "dt", "small"),
    "monitor decay negative": (lambda: T.monitor(SGD, 0.1, weight_decay=-0.25), "weight_decay", "-0.25"),
    "monitor depth negative": (lambda: T.monitor(SGD, 0.1, depth=-1), "depth", "-1"),
    "complex optimizer": (lambda: T.as_optimizer("OBA", 0.1, 0.5).init(COMPLEX), "params", "complex128"),
    "complex conserving": (lambda: T.energy_conserving_descent(0.1).init(COMPLEX), "params", "complex128"),
    "complex restart": (lambda: T.energy_restart(0.1).init(COMPLEX), "params", "split_real_and_imaginary"),
    "complex invariant": (lambda: T.damped_invariant(abs, COMPLEX, COMPLEX, 0.1, 0.9), "position", "complex128"),
    "decay without params": (lambda: update(T.monitor(SGD, 0.1, weight_decay=0.1), None, value=1.0), "params", "None"),
    "decay without value": (lambda: update(T.monitor(SGD, 0.1, weight_decay=0.1)), "value", "None"),
    "value an array": (lambda: update(T.monitor(SGD, 0.1), value=np.ones(3)), "value", r"\(3,\)"),
    "reference of another tree": (lambda: update(T.monitor(SGD, 0.1), reference=1.0), "reference", "inner"),
    "readout without monitor": (lambda: T.readout(SGD.init(PARAMS)), "opt_state", "0 monitors"),
    "readout of two": (lambda: T.readout([T.monitor(SGD, 0.1).init(PARAMS)] * 2), "opt_state", "2 monitors"),
    "scalars of many": (
        lambda: T.scalars(jax.vmap(T.monitor(SGD, 0.1).init)(jax.tree.map(lambda x: x[None], PARAMS))),
        "opt_state",
        r"\(1,\)",
    ),
    "history of many runs": (
        lambda: T.history(jax.tree.map(lambda x: x[None, None], T.readout(T.monitor(SGD, 0.1).init(PARAMS)))),
        "readouts",
        r"\(1, 1\)",
    ),
    "history without columns": (lambda: T.History({"step": [1.0]}), "readouts", "kinetic"),
    "history of other groups": (lambda: history().append(T.monitor(SGD, 0.1).init(PARAMS)), "readouts", "inner"),
    "history column": (lambda: history()["speed"], "name", "speed"),
    "history empty": (lambda: T.History().to_csv("never.csv"), "history", "empty"),
    "history file": (lambda: T.History.from_csv("no-such-file.csv"), "path", "no-such-file"),
    "window zero": (lambda: T.instability(history(), 0), "window", "0"),
    "threshold negative": (lambda: T.instability(history(), threshold=-0.25), "threshold", "-0.25"),
    "tolerance negative": (lambda: T.stall(history(), tolerance=-0.25), "tolerance", "-0.25"),
    "history a list": (lambda: T.quality_factor([1.0]), "history", "1.0"),
    "diagnose nothing": (lambda: T.diagnose(T.History()), "history", "records"),
    "plot of a list": (lambda: ji.plots.training([1.0]), "history", "1.0"),
    "penalty negative": (lambda: T.inertia_penalty(-0.25), "weight", "-0.25"),
    "penalty without params": (lambda: update(T.inertia_penalty(0.1), None), "params", "None"),
    "conserving without value": (lambda: update(T.energy_conserving_descent(0.1)), "value", "None"),
    "conserving extra energy": (lambda: T.energy_conserving_descent(0.1, extra_energy=-0.25), "extra_energy", "-0.25"),
    "conserving floor": (lambda: T.energy_conserving_descent(0.1, floor=NAN), "floor", "nan"),
    "restart uphill": (lambda: T.energy_restart(0.1, uphill=-0.25), "uphill", "-0.25"),
    "controlled rate": (lambda: T.inertia_controlled(0.1, -0.25), "rate", "-0.25"),
    "controlled gamma_max": (lambda: T.inertia_controlled(0.1, 0.5, gamma_max=-0.25), "gamma_max", "-0.25"),
    "controlled without value": (lambda: update(T.inertia_controlled(0.1, 0.5)), "value", "None"),
    "relativistic speed": (lambda: T.relativistic_heavy_ball(0.1, 0.5, 0.0), "speed", "0.0"),
    "relativistic gamma": (lambda: T.relativistic_heavy_ball(0.1, NAN, 1.0), "gamma", "nan"),
    "charges of layers that do not stack": (lambda: charges(outer=(4, 3)), "inner|outer", r"\(4, 3\)"),
    "charges of a wrong velocity": (lambda: charges(velocity=np.ones((5, 4))), "inner_velocity", r"\(5, 4\)"),
    "charges of half a bias": (lambda: charges(bias=np.ones(4)), "bias_velocity", "both"),
    "invariant of a wrong velocity": (
        lambda: T.damped_invariant(jnp.sum, jnp.ones(2), jnp.ones(3), 0.1, 0.9),
        "velocity",
        r"\(3,\)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_a_value_error_that_names_it(case):
    call, name, value = CASES[case]
    with pytest.raises(ValueError, match=name) as caught:
        call()
    caught.match(value)


def test_what_is_traced_fails_at_run_time_without_showing_tracers():
    with pytest.raises(Exception, match="momentum") as caught:
        jax.block_until_ready(jax.jit(lambda beta: T.to_physical(jnp.float64(0.1), beta))(1.5))
    assert "Tracer" not in str(caught.value)
