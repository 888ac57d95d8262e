"""What the energy monitor costs: steps with and without it, in turns, inside one jitted scan."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxinertia as ji

from . import tasks
from .timing import paired, write_table

PAIRS = 25


def loop(optimizer, task, steps):
    """A jitted scan of `steps` updates in float32."""

    def step(carry, k):
        params, state = carry
        value, gradient = jax.value_and_grad(task.loss)(params, *task.batch(k))
        updates, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def run(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))[0]

    return lambda: run(task.params)


def main() -> None:
    """The table: medians of the paired ratios, with their quartiles."""
    cases = {
        "MLP 64-64-10, full batch (1,797)": (tasks.mlp(), 60),
        "MLP 64-64-10, batch 64": (tasks.mlp(batch=64), 1500),
        "MLP 64-256-256-10, batch 64": (tasks.mlp(batch=64, widths=(256, 256)), 300),
        "transformer, 2 layers of width 64, batch 16 x 32": (tasks.transformer(), 12),
    }
    rows = []
    for name, (task, steps) in cases.items():
        for label, optimizer in (("SGD, momentum", optax.sgd(0.01, momentum=0.9)), ("Adam", optax.adam(1e-3))):
            bare = optax.with_extra_args_support(optimizer)
            wrapped = ji.training.monitor(optimizer, dt=0.1)
            calls = {"bare": loop(bare, task, steps), "wrapped": loop(wrapped, task, steps)}
            ratios, seconds = paired(calls, PAIRS)
            low, median, high = np.percentile(ratios["wrapped"], [25, 50, 75])
            spread = np.percentile(ratios["again"], [25, 50, 75])
            rows.append(
                [
                    name,
                    label,
                    1e6 * seconds["bare"] / steps,
                    *(f"{100 * (x - 1):+.1f} %" for x in (median, low, high)),
                    f"{100 * (spread[1] - 1):+.1f} % ({100 * (spread[0] - 1):+.1f}, {100 * (spread[2] - 1):+.1f})",
                ]
            )
    write_table(
        "monitor_overhead",
        "The monitor: cost of a step",
        f"float32, loss given as `value`, no readout. Medians and quartiles of {PAIRS} ratios of neighbouring runs, "
        "wrapped over bare; the last column is bare over bare, the noise of the machine.",
        ["loop", "optimizer", "bare step, microseconds", "overhead", "lower quartile", "upper quartile", "bare / bare"],
        rows,
    )


if __name__ == "__main__":
    main()
