"""Real models: what does the energy balance of a run say that its loss does not?

Four questions, one table each. All runs are float32, tanh, cross-entropy; errors are standard errors over seeds.
"""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import spearmanr

import jaxinertia as ji
from jaxinertia.report import style

from . import tasks
from .timing import keep_json, write_table

T = ji.training
NAME = "training_study"
DOCS = Path(__file__).parents[1] / "docs"


def main(*names: str) -> None:
    """All four parts, with the figure of the README, or those named: `python -m benchmarks.training_study compare`."""
    parts = {part.__name__: part for part in (shares, alarms, path_and_gap, compare)}
    for name in names or parts:
        started = time.perf_counter()
        parts[name]()
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


# --- One training run, made to be mapped over seeds and learning rates -----------------------------------------------


def train(task, optimizer, seed, steps, batch, every=0, start=None):
    """Train from the seed's own initialisation and mini-batches; returns (parameters, state, readouts).

    Full-batch loss and reference gradient every `every` steps (0: the loss of the batch at hand, no reference).
    """
    key = jax.random.key(seed)
    params = task.init(jax.random.fold_in(key, 1)) if start is None else start
    draw = tasks.sampler(task.data, batch, jax.random.fold_in(key, 2))
    state = optimizer.init(params)

    def step(carry, k):
        params, state = carry
        value, gradient = jax.value_and_grad(task.loss)(params, *draw(k))
        options = {}
        if every:
            due = k % every == 0
            whole = jax.value_and_grad(task.loss)
            seen = jax.lax.cond(due, lambda: whole(params, *task.data), lambda: (value, gradient))
            options = {"reference": seen[1], "referenced": due}
            value = seen[0]
        updates, state = optimizer.update(gradient, state, params, value=value, **options)
        return (optax.apply_updates(params, updates), state), T.readout(state)

    (params, state), readouts = jax.lax.scan(step, (params, state), jnp.arange(steps))
    return params, state, readouts


def mean_and_error(x: Any) -> str:
    """mean +- standard error."""
    x = np.asarray(x, float)
    if not np.all(np.isfinite(x)):
        return "diverged"
    return f"{x.mean():.3g} ± {x.std(ddof=1) / np.sqrt(len(x)):.1g}"


# --- 1. Where the energy goes -----------------------------------------------------------------------------------------

SEEDS = 4
RATES = {  # a good learning rate of each, from the grid of `compare` and a few trials
    "MLP, full batch": (0.1, 0.1, 0.005),
    "MLP, batch 64": (0.1, 0.1, 0.005),
    "CNN, batch 64": (0.05, 0.05, 0.005),
    "transformer, batch 16": (0.05, 0.05, 0.002),
}
MOMENTUM = 0.9


def shares() -> None:
    """Shares of friction, noise and discretization in the energy lost; and the decay that Eq. 4 and 16 predict."""
    models = {
        "MLP, full batch": (tasks.mlp(), None, 300),
        "MLP, batch 64": (tasks.mlp(), 64, 300),
        "CNN, batch 64": (tasks.cnn(), 64, 300),
        "transformer, batch 16": (tasks.transformer(), 16, 150),
    }
    rows = []
    for name, (task, batch, steps) in models.items():
        families = {
            "SGD, momentum 0.9": lambda eta: optax.sgd(eta, MOMENTUM),
            "Nesterov 0.9": lambda eta: optax.sgd(eta, MOMENTUM, nesterov=True),
            "Adam": optax.adam,
        }
        for (label, make), rate in zip(families.items(), RATES[name], strict=True):
            dt = rate**0.5
            optimizer = T.monitor(make(rate), dt)
            every = 0 if batch is None else (10 if steps > 200 else 15)

            def one(seed, task=task, optimizer=optimizer, steps=steps, batch=batch, every=every):
                return train(task, optimizer, seed, steps, batch, every)[2]

            # A map, not vmap, under which references would be computed at every step.
            runs = jax.jit(lambda seeds, one=one: jax.lax.map(one, seeds))(jnp.arange(SEEDS))
            rows.append([name, label, f"{rate:g}", *_shares(runs, dt, steps, every or 1)])
    write_table(
        NAME,
        "Training: what the energy balance says",
        f"Made by `python -m benchmarks {NAME}`. float32; means and standard errors over seeds.\n\n"
        "## Where the energy goes\n\n"
        f"{SEEDS} seeds. Shares are of I(0) - I(end): they add up to 1. Noise is from full-batch reference gradients "
        "every 10 (transformer: 15) steps; without mini-batches there is none. *Wobble*: the largest |I - I(0) - "
        "friction - noise| on the way, over I(0) - I(end): how far the discrete inertia is from the one of continuous "
        "time. *Rate / gamma*: the fall of log I over the run's second half, over gamma; Eq. 16 says 1.",
        [
            "model",
            "optimizer",
            "learning rate",
            "final loss",
            "friction",
            "noise",
            "discretization",
            "wobble",
            "K / I at the end",
            "rate / gamma",
        ],
        rows,
    )


def _shares(runs, dt, steps, every):
    inertia, friction, noise, error = (
        np.asarray(getattr(runs, name))[:, ::every] for name in ("inertia", "friction", "noise", "discretization")
    )
    lost = inertia[:, 0] - inertia[:, -1]
    wobble = np.abs(error).max(1)
    half = inertia.shape[1] // 2
    ts = dt * every * np.arange(inertia.shape[1])
    slope = [-np.polyfit(ts[half:], np.log(row[half:]), 1)[0] for row in inertia]
    _, gamma = T.to_physical(dt**2, MOMENTUM)
    kinetic = np.asarray(runs.kinetic)[:, ::every]
    return [
        mean_and_error(np.asarray(runs.potential)[:, ::every][:, -1]),
        *(mean_and_error(-x[:, -1] / lost) for x in (friction, noise, error)),
        mean_and_error(wobble / lost),
        mean_and_error(kinetic[:, -1] / inertia[:, -1]),
        mean_and_error(np.array(slope) / gamma),
    ]


# --- 2. The alarm -----------------------------------------------------------------------------------------------------

WINDOW = 3
BURN_IN = 1
WARM_UP, STEPS = 100, 200


def alarms() -> None:
    """Learning rates around the edge: which runs fail, which alarms ring, and when."""
    rows, kept, total = [], {}, 0
    cases = {
        "MLP": (_part(tasks.mlp()), np.geomspace(1.0, 40.0, 16)),
        "CNN": (_part(tasks.cnn(channels=4)), np.geomspace(2.0, 100.0, 16)),
    }
    for name, (task, rates) in cases.items():
        grid = [(seed, rate) for rate in rates for seed in range(3)]
        total += len(grid)

        def one(seed, rate, task=task):
            warm = optax.linear_schedule(rate / 10, rate, WARM_UP)
            optimizer = T.monitor(optax.sgd(warm, MOMENTUM), lambda count: jnp.sqrt(warm(count)))
            return train(task, optimizer, seed, STEPS, None)[2]

        seeds, chosen = (jnp.asarray(x) for x in zip(*grid, strict=True))
        runs = jax.jit(lambda s, r, one=one: jax.lax.map(lambda a: one(*a), (s, r)))(seeds, chosen.astype(jnp.float32))
        histories = [T.history(jax.tree.map(lambda x, i=i: x[i], runs)) for i in range(len(grid))]
        failed = np.array([_failed(h["potential"]) for h in histories])
        loss_alarm = np.array([_first(_loss_alarm(h["potential"])) for h in histories], float)
        kept[name] = {"rate": [r for _, r in grid], "failed": failed.tolist(), "loss": loss_alarm.tolist()}
        detectors = {"loss > 2 x its running minimum": loss_alarm}
        for threshold in (1.0, 2.0):
            label = f"discretization > {threshold:g} x friction, {WINDOW} steps"
            found = [_first(T.instability(h, WINDOW, threshold)) for h in histories]
            detectors[label] = np.array(found, float)
            kept[name][label] = found
        for label, found in detectors.items():
            rang = np.isfinite(found)
            both = failed & rang & np.isfinite(loss_alarm)
            lead = loss_alarm[both] - found[both]
            rows.append(
                [
                    name,
                    label,
                    f"{failed.sum()} of {len(grid)}",
                    f"{(rang & failed).sum()} of {failed.sum()}",
                    f"{(rang & ~failed).sum()} of {(~failed).sum()}",
                    f"{np.median(found[rang & failed]):.0f}" if (rang & failed).any() else "-",
                    f"{np.median(lead):+.0f} ({np.percentile(lead, 25):+.0f}, {np.percentile(lead, 75):+.0f})"
                    if both.any()
                    else "-",
                ]
            )
        if name.startswith("MLP"):
            draw(histories, failed, detectors, np.array([r for _, r in grid]))
    keep_json(f"{NAME}_alarms", kept)
    write_table(
        NAME,
        "How early does it announce failure?",
        f"{total} full-batch runs of {STEPS} steps on 512 digits, SGD with momentum {MOMENTUM}, warmed up from a "
        f"tenth over {WARM_UP} steps to one of 16 learning rates around the edge, 3 seeds. A run fails if the mean "
        f"loss of its last 50 steps is above the first loss, or not finite. Alarms from step {BURN_IN} on. Lead: steps "
        "before the loss alarm in failed runs where both ring, median and quartiles; negative is later.",
        ["runs", "alarm", "failed", "true alarms", "false alarms", "median step", "lead"],
        rows,
        append=True,
    )


def _part(task):
    """The task on 512 digits."""
    data = tuple(x[:512] for x in task.data)
    return task._replace(data=data, batch=lambda k: data)


def _failed(loss):
    late = loss[-50:]
    return not np.all(np.isfinite(late)) or late.mean() > loss[0]


def _loss_alarm(loss):
    return ~(loss <= 2 * np.minimum.accumulate(np.where(np.isfinite(loss), loss, np.inf)))


def _first(flags):
    """The first flagged step, or inf."""
    later = np.flatnonzero(flags[BURN_IN:])
    return float(later[0] + BURN_IN) if len(later) else np.inf


def draw(histories, failed, detectors, rates) -> None:
    """The README's figure: one healthy run, and the lowest learning rate that fails."""
    healthy = histories[0]
    edge = int(np.flatnonzero(failed)[0]) if failed.any() else len(histories) - 1
    with style.applied():
        fig, (left, right) = style.figure(2)
        ji.plots.training(healthy, left)
        left.set(title=f"512 digits, warm-up to learning rate {rates[0]:.2g}")
        run = histories[edge]
        right.plot(run["step"], run["potential"], color=style.ORANGE, lw=0.8, label="loss $L$")
        right.plot(run["step"], -run["friction"], color=style.BLACK, lw=0.8, label="taken by friction")
        given = np.where(run["discretization"] > 0, run["discretization"], np.nan)
        right.plot(run["step"], given, color=style.BLUE, lw=0.8, label="given by the step itself")
        for (label, found), colour in zip(list(detectors.items())[:2], (style.ORANGE, style.RED), strict=True):
            if np.isfinite(found[edge]):
                short = "loss alarm" if label.startswith("loss") else "energy alarm"
                right.axvline(found[edge], color=colour, lw=1.0, ls="--", label=f"{short}, step {found[edge]:.0f}")
        rang = [found[edge] for found in detectors.values() if np.isfinite(found[edge])]
        right.set(xlabel="step", yscale="log", xlim=(0, min(2 * max(rang, default=50), STEPS)), ylim=(1e-2, None))
        right.set_title(f"warm-up to {rates[edge]:.2g}: fails")
        right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        fig.savefig(DOCS / "training.png", dpi=200)


# --- 3. The path and the gap ------------------------------------------------------------------------------------------


def path_and_gap() -> None:
    """At one training loss: does the held-out loss go with how the energy was spent?"""
    task, target, steps = tasks.mlp(), 0.1, 1200
    found: dict[str, list[float]] = {name: [] for name in ("gap", "temperature", "friction", "gamma", "time", "noise")}
    total = 0
    for batch in (16, 128):
        grid = [(s, eta, b) for eta in (0.02, 0.05, 0.1, 0.2) for b in (0.0, 0.8, 0.95) for s in range(3)]

        def one(seed, eta, beta, batch=batch):
            optimizer = T.monitor(optax.sgd(eta, beta), jnp.sqrt(eta))
            return _until(task, optimizer, seed, steps, batch, target)

        arguments = [
            jnp.asarray(x, jnp.int32 if i == 0 else jnp.float32) for i, x in enumerate(zip(*grid, strict=True))
        ]
        out = jax.jit(jax.vmap(one))(*arguments)
        reached = np.asarray(out["reached"])
        total += len(grid)
        for name in found:
            found[name] += np.asarray(out[name], float)[reached].tolist()
    keep_json(f"{NAME}_gap", found)
    rng, rows = np.random.default_rng(0), []
    gap = np.array(found["gap"])
    for name in ("temperature", "friction", "noise", "gamma", "time"):
        x = np.array(found[name])
        picks = rng.integers(0, len(gap), (2000, len(gap)))
        boot = [spearmanr(x[i], gap[i]).statistic for i in picks]
        low, high = np.percentile(boot, [2.5, 97.5])
        rows.append([name, float(spearmanr(x, gap).statistic), f"({low:+.2f}, {high:+.2f})"])
    write_table(
        NAME,
        "Does the test gap depend on the energy path?",
        f"MLP on the digits, SGD: learning rates 0.02 to 0.2, momentum 0, 0.8, 0.95, batches of 16 and 128, 3 seeds: "
        f"{total} runs, stopped where the full training loss first falls below {target:g} (checked every 10 steps; "
        f"{len(gap)} reached it in {steps} steps). Gap: held-out minus training loss there, {gap.mean():.3f} on "
        f"average, standard deviation {gap.std():.3f}. Spearman's rank correlation with it, "
        "and a 95 % bootstrap interval. Temperature: the mean of 2K/d over 10 steps there; friction: spent so far; "
        "noise: given so far by mini-batches, from references every 10 steps; gamma: effective, (1 - momentum^2) / "
        "(2 dt); time: dt times the steps.",
        ["energy path", "rank correlation with the gap", "95 %"],
        rows,
        append=True,
    )


def _until(task, optimizer, seed, steps, batch, target):
    key = jax.random.key(seed)
    params = task.init(jax.random.fold_in(key, 1))
    draw_ = tasks.sampler(task.data, batch, jax.random.fold_in(key, 2))
    names = ("gap", "temperature", "friction", "time", "noise", "gamma")
    blank = dict.fromkeys(names, jnp.float32(0)) | {"reached": jnp.array(False)}

    def block(carry, k):
        params, state, found = carry
        whole = jax.value_and_grad(task.loss)
        loss, reference = whole(params, *task.data)

        def step(carry, j):
            params, state = carry
            value, gradient = whole(params, *draw_(10 * k + j))
            updates, state = optimizer.update(
                gradient, state, params, value=value, reference=reference, referenced=j == 0
            )
            return (optax.apply_updates(params, updates), state), T.readout(state).temperature

        held = task.loss(params, *task.held_out)
        read = T.readout(state)
        now = {
            "gap": held - loss,
            "temperature": found["temperature"],
            "friction": -read.friction,
            "time": read.time,
            "noise": read.noise,
            "gamma": read.effective_gamma,
            "reached": loss < target,
        }
        (params, state), temperature = jax.lax.scan(step, (params, state), jnp.arange(10))
        kept = {name: jnp.where(found["reached"], found[name], now[name]) for name in found}
        kept["temperature"] = jnp.where(kept["reached"], kept["temperature"], jnp.mean(temperature))
        return (params, state, kept), None

    (_, _, found), _ = jax.lax.scan(block, (params, optimizer.init(params), blank), jnp.arange(steps // 10))
    return found


# --- 4. Optimizers designed with the energy ---------------------------------------------------------------------------

CONTENDERS = {
    "SGD, momentum 0.9": (lambda eta: optax.sgd(eta, 0.9), np.geomspace(0.01, 1.0, 5)),
    "Nesterov 0.9": (lambda eta: optax.sgd(eta, 0.9, nesterov=True), np.geomspace(0.01, 1.0, 5)),
    "Adam": (optax.adam, np.geomspace(5e-4, 0.05, 5)),
    "SGD, momentum 0.9, inertia_penalty 0.1": (
        lambda eta: optax.chain(T.inertia_penalty(0.1, eta**0.5), optax.sgd(eta, 0.9)),
        np.geomspace(0.01, 1.0, 5),
    ),
    "energy_restart": (lambda eta: T.energy_restart(eta**0.5), np.geomspace(0.01, 1.0, 5)),
    "relativistic, gamma 0.5": (
        lambda eta: T.relativistic_heavy_ball(eta**0.5, 0.5, 1.0),
        np.geomspace(0.01, 1.0, 5),
    ),
    "inertia_controlled, rate 0.5": (lambda eta: T.inertia_controlled(eta**0.5, 0.5), np.geomspace(0.01, 1.0, 5)),
    "energy_conserving": (
        lambda eta: T.energy_conserving_descent(eta**0.5, extra_energy=0.1),
        np.geomspace(0.01, 1.0, 5),
    ),
}


COMPARED = {"MLP, batch 64": tasks.mlp, "CNN, batch 64": tasks.cnn}
COMPARE_STEPS = 300
TUNING, UNSEEN = np.arange(3), np.arange(10, 16)  # seeds


def compare() -> None:
    """Tuned learning rates, one budget, seeds that tuning has not seen."""
    rows = []
    for name, make_task in COMPARED.items():
        task = make_task()
        for label, (make, rates) in CONTENDERS.items():
            runs = [_runs(task, make(float(rate))) for rate in rates]
            worst = [np.max(run(TUNING)[0]) for run in runs]  # of the seeds: a mean may hide one near its edge
            best = int(np.argmin(np.nan_to_num(worst, nan=np.inf)))
            train_loss, test_loss, accuracy = runs[best](UNSEEN)
            at_edge = " (edge)" if best in (0, len(rates) - 1) else ""
            rows.append(
                [name, label, f"{rates[best]:.3g}{at_edge}", *map(mean_and_error, (train_loss, test_loss, accuracy))]
            )
            print(*rows[-1], sep=" | ", flush=True)
    write_table(
        NAME,
        "Optimizers designed with the energy",
        f"{COMPARE_STEPS} steps; the learning rate (dt^2) is the best of five over two decades by the final "
        f"training loss of the worst of {len(TUNING)} seeds, *edge* where that is the grid's first or last; then "
        f"{len(UNSEEN)} other seeds are run with it. Other constants are as named, and were not tuned; nor were those "
        "of the first three.",
        ["model", "optimizer", "best learning rate", "training loss", "held-out loss", "held-out accuracy, %"],
        rows,
        append=True,
    )


def _runs(task, optimizer):
    """Seeds -> final training loss, held-out loss and accuracy in percent, each of all seeds."""
    one = lambda seed: _final(task, optimizer, seed, COMPARE_STEPS, 64)  # noqa: E731
    # A map, not vmap, under which convolutions with weights of their own are slow on CPUs.
    mapped = jax.jit(lambda seeds: jax.lax.map(one, seeds))
    return lambda seeds: np.stack(mapped(jnp.asarray(seeds)))


def _final(task, optimizer, seed, steps, batch):
    optimizer = optax.with_extra_args_support(optimizer)
    key = jax.random.key(seed)
    params = task.init(jax.random.fold_in(key, 1))
    draw_ = tasks.sampler(task.data, batch, jax.random.fold_in(key, 2))

    def step(carry, k):
        params, state = carry
        value, gradient = jax.value_and_grad(task.loss)(params, *draw_(k))
        updates, state = optimizer.update(gradient, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))
    x, y = task.held_out
    right = task.loss(params, x, y)
    return task.loss(params, *task.data), right, 100 * tasks.accuracy(task, params)


if __name__ == "__main__":
    main(*sys.argv[1:])
