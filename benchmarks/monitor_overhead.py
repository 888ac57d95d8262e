"""What the energy monitor costs: steps with and without it, in turns, inside one jitted scan."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxinertia as ji

from . import tasks
from .timing import paired, write_table

PAIRS = 31


def loop(optimizer, task, steps, keep_loss=True):
    """A compiled scan of `steps` updates in float32; it returns every step's loss, as a loop that logs it does.

    Where nobody reads the loss, XLA leaves out what only the loss needs, the monitor's included.
    """

    def step(carry, k):
        params, state = carry
        value, gradient = jax.value_and_grad(task.loss)(params, *task.batch(k))
        updates, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), value if keep_loss else None

    def run(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))

    compiled = jax.jit(run).lower(task.params).compile()
    return lambda: compiled(task.params)


def main() -> None:
    """The table: medians of the paired ratios, with their quartiles."""
    cases = {
        f"MLP 64-64-10, full batch ({tasks.TRAIN:,})": (tasks.mlp(), 60),
        "MLP 64-64-10, batch 64": (tasks.mlp(batch=64), 1500),
        "MLP 64-256-256-10, batch 64": (tasks.mlp(batch=64, widths=(256, 256)), 300),
        "transformer, 2 layers of width 64, batch 16 x 32": (tasks.transformer(), 12),
    }
    rows = []
    for name, (task, steps) in cases.items():
        for label, optimizer in (("SGD, momentum", optax.sgd(0.01, momentum=0.9)), ("Adam", optax.adam(1e-3))):
            bare = optax.with_extra_args_support(optimizer)
            wrapped = ji.training.monitor(optimizer, dt=0.1)
            calls = {
                "bare": loop(bare, task, steps),
                "wrapped": loop(wrapped, task, steps),
                "no loss": loop(bare, task, steps, keep_loss=False),
            }
            ratios, seconds = paired(calls, PAIRS)
            against = np.divide(ratios["wrapped"], ratios["no loss"])
            rows.append(
                [
                    name,
                    label,
                    1e6 * seconds["bare"] / steps,
                    *(_percent(x) for x in (ratios["wrapped"], ratios["again"], against)),
                ]
            )
    write_table(
        "monitor_overhead",
        "The monitor: cost of a step",
        f"float32, loss given as `value`, no readout. Medians and quartiles of {PAIRS} ratios of neighbouring runs. "
        "Both loops keep the loss of every step. *Bare / bare* is the noise of the machine. In the last column the "
        "bare loop throws its loss away, so that XLA does not compute what only the loss needs, which the monitor "
        "reads: that difference is not the monitor's own.",
        [
            "loop",
            "optimizer",
            "bare step, microseconds",
            "overhead",
            "bare / bare",
            "over a loop without its loss",
        ],
        rows,
    )


def _percent(ratios) -> str:
    low, median, high = 100 * (np.percentile(ratios, [25, 50, 75]) - 1)
    return f"{median:+.1f} % ({low:+.1f}, {high:+.1f})"


if __name__ == "__main__":
    main()
