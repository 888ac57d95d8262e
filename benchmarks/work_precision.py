"""Final-energy error against time, 4096 trajectories: which word to take when, beside C, diffrax and SciPy."""

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import jaxinertia as ji
from jaxinertia.report import style

from . import peers
from .timing import RESULTS, interleaved, keep_json, write_table

mpl.use("Agg")
COUNT, STOP, BLOCK = 4096, 20.0, 512
START = np.linspace(0.2, 1.5, COUNT)
STILL = np.zeros(COUNT)
TARGETS = (2e-5, 2e-10)
WORDS = {
    "leapfrog": (lambda: ji.solvers.Splitting("BAB"), (500, 1000, 2000, 4000, 8000)),
    "yoshida4": (ji.solvers.yoshida4, (200, 400, 800, 1600, 3200)),
    "suzuki4": (lambda: ji.solvers.suzuki4("BAB"), (60, 120, 240, 480, 960, 1920)),
    "kahan_li6": (lambda: ji.solvers.kahan_li6("BAB"), (30, 60, 90, 120, 240, 360, 540, 720)),
    "blanes_moan4": (ji.solvers.blanes_moan4, (15, 30, 60, 120, 240, 480, 960)),
    "blanes_moan6": (ji.solvers.blanes_moan6, (15, 20, 30, 45, 60, 80, 120, 160, 240)),
}
TOLERANCES = {"diffrax": 10.0 ** np.arange(-3.0, -11.1, -1.0), "scipy": 10.0 ** np.arange(-3.0, -12.1, -1.0)}
PROBLEMS = {
    "Duffing": (ji.potentials.Duffing, lambda q: q + q * q * q, lambda xp, q: q**2 / 2 + q**4 / 4, dict(cubic=1.0)),
    "pendulum": (ji.potentials.Pendulum, None, lambda xp, q: 1 - xp.cos(q), dict(pendulum=True)),
}


def curves(name: str) -> dict[str, list[tuple[float, float]]]:
    """(seconds, max energy error) of every method at every setting."""
    make, force, potential, c_options = PROBLEMS[name]
    start = jnp.asarray(START)
    exact = potential(np, START)  # undamped and at rest: the energy is conserved
    jax_force = force or jnp.sin
    np_force = force or np.sin

    def energy(q, p):
        q, p = np.asarray(q), np.asarray(p)
        return p**2 / 2 + potential(np, q)

    calls, results = {}, {}
    for word, (solver, counts) in WORDS.items():
        for steps in counts:
            run = splitting(make(), solver(), steps)
            calls[word, steps] = lambda run=run: run(start)
            results[word, steps] = np.asarray(run(start))
    for steps in WORDS["leapfrog"][1]:
        call = lambda steps=steps: energy(*peers.c_verlet(START, steps, STOP / steps, **c_options))  # noqa: E731
        calls["C leapfrog", steps], results["C leapfrog", steps] = call, call()
    for tol in TOLERANCES["diffrax"]:
        run = peers.tuned_diffrax(jax_force, STOP, float(tol), STILL, START)
        call = lambda run=run: energy(*run(STILL, START)[:2])  # noqa: E731
        calls["diffrax Tsit5 + PID", tol], results["diffrax Tsit5 + PID", tol] = call, call()
    for tol in TOLERANCES["scipy"]:
        call = lambda tol=tol: energy(*peers.scipy_stacked(np_force, STOP, float(tol), STILL, START))  # noqa: E731
        calls["SciPy DOP853, stacked", tol], results["SciPy DOP853, stacked", tol] = call, call()
    seconds = interleaved(calls, repeats=3, budget=1.0)
    found: dict[str, list[tuple[float, float]]] = {}
    for key, s in seconds.items():
        found.setdefault(key[0], []).append((s, float(np.max(np.abs(results[key] - exact)))))
    return found


def splitting(potential, solver, steps):
    """Final energies of all starts, in blocks."""

    def one(q0):
        traj = ji.simulate(ji.System(potential), np.array([0.0, STOP]), q0, dt=STOP / steps, solver=solver)
        return traj.inertia[-1]

    return jax.jit(lambda q: jax.lax.map(one, q, batch_size=BLOCK))


def time_at(points: list[tuple[float, float]], error: float) -> float:
    """Seconds at this error, interpolated on logarithmic axes; NaN outside what was measured."""
    points = sorted(points, key=lambda x: x[1])
    seconds, errors = np.array(points).T
    if not errors[0] <= error <= errors[-1]:
        return float("nan")
    return float(np.exp(np.interp(np.log(error), np.log(errors), np.log(seconds))))


def draw(found) -> None:
    """One panel for each problem."""
    looks = {
        "leapfrog": ("o-", style.SKY),
        "yoshida4": ("s-", style.GREEN),
        "suzuki4": ("^-", style.YELLOW),
        "kahan_li6": ("D-", style.BLUE),
        "blanes_moan4": ("P-", style.ORANGE),
        "blanes_moan6": ("*-", style.RED),
        "C leapfrog": ("o--", style.GREY),
        "diffrax Tsit5 + PID": ("v--", style.PURPLE),
        "SciPy DOP853, stacked": ("x--", style.BLACK),
    }
    with style.applied():
        fig, axes = style.figure(2, height=3.2)
        for ax, (name, curves_) in zip(axes, found.items(), strict=True):
            for method, points in curves_.items():
                seconds, errors = np.array(sorted(points, key=lambda x: x[1])).T
                mark, color = looks[method]
                ax.loglog(1e3 * seconds, errors, mark, ms=3, lw=1, color=color, label=method)
            for target in TARGETS:
                ax.axhline(target, color=style.GREY, lw=0.4, ls=":")
                ax.text(
                    1.0,
                    target,
                    f"{target:.0e}",
                    transform=ax.get_yaxis_transform(),
                    fontsize=6,
                    va="bottom",
                    ha="right",
                )
            ax.set(xlabel="time for 4096 trajectories, ms", ylabel="max final-energy error", title=name)
        handles, labels = axes[0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower center", ncols=5)
        style.save(fig, RESULTS, "work_precision")


def main() -> None:
    """The figure, and times at two errors."""
    RESULTS.mkdir(exist_ok=True)
    found = {name: curves(name) for name in PROBLEMS}
    keep_json("work_precision", found)
    draw(found)
    rows = []
    for name, methods in found.items():
        for target in TARGETS:
            sixth = [time_at(methods[word], target) for word in ("kahan_li6", "blanes_moan6")]
            for method, points in methods.items():
                s = time_at(points, target)
                rows.append([name, f"{target:.0e}", method, 1e3 * s, *(s / x for x in sixth)])
    write_table(
        "work_precision",
        "Work and precision",
        f"4096 undamped trajectories to t = 20, float64; max final-energy error. jaxinertia runs in blocks of {BLOCK}; "
        "diffrax with max_steps sized to the tolerance; times interpolated on logarithmic axes, nan where not "
        "measured. Figure: work_precision.png.",
        ["problem", "error", "method", "ms", "time / kahan_li6", "time / blanes_moan6"],
        rows,
    )


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
