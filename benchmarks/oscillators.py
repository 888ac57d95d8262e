"""4096 damped oscillators x 2000 steps, the final energy kept, beside peers; what a balance costs; and under noise."""

from collections.abc import Callable
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import jaxinertia as ji

from . import peers
from .timing import interleaved, write_table

COUNT, STEPS, STOP, BLOCK = 4096, 2000, 20.0, 512
H = STOP / STEPS
GAMMA, START = np.linspace(0.0, 2.0, COUNT), np.ones(COUNT)
ROUNDING = 1e-12  # runs of the same word agree with C to this
POTENTIALS = {
    "quadratic": ji.potentials.Quadratic,
    "Duffing": ji.potentials.Duffing,
    "pendulum": ji.potentials.Pendulum,
}


def mapped(fn: Callable, block: int | None) -> Callable:
    """fn of one gamma, compiled for all: in blocks of trajectories that fit the first cache, or in one vmap."""
    if block is None:
        return jax.jit(jax.vmap(fn))
    return jax.jit(lambda gamma: jax.lax.map(fn, gamma, batch_size=block))


def simulated(word: str, potential=None, balance: bool = False) -> Callable:
    """gamma -> final energy by `ji.simulate`, with the final friction and discretization if `balance`."""
    potential = ji.potentials.Quadratic() if potential is None else potential

    def one(gamma):
        solver = ji.solvers.Splitting(word)
        traj = ji.simulate(ji.System(potential, damping=gamma), np.array([0.0, STOP]), 1.0, dt=H, solver=solver)
        if balance:
            return traj.inertia[-1], traj.balance.friction[-1], traj.balance.discretization[-1]
        return traj.inertia[-1]

    return one


def bare(gamma):
    """The same OBABO run as a scan without any account, written here: what a balance not returned is held against."""
    half, whole, q = jnp.exp(-gamma * H / 2), jnp.exp(-gamma * H), jnp.ones(())

    def turn(state, _):
        q, p = state
        q = q + H * p
        p = whole * (p - H / 2 * q) - H / 2 * q
        return (q, p), None

    (q, p), _ = jax.lax.scan(turn, (q, -H / 2 * q), None, STEPS - 1, unroll=2)
    q = q + H * p
    p = half * (p - H / 2 * q)
    return (p * p + q * q) / 2


def in_diffeqsolve(gamma):
    """The same Splitting inside `diffrax.diffeqsolve`."""
    args, first = ji.solvers.initial(ji.System(ji.potentials.Quadratic(), damping=gamma), 1.0)
    solver, terms = ji.solvers.Splitting("OBABO"), ji.solvers.terms(args)
    y = diffrax.diffeqsolve(terms, solver, 0.0, STOP, H, first, args=args, max_steps=STEPS + 1).ys
    return (y.momentum[-1] ** 2 + y.position[-1] ** 2) / 2


def energy(q, p, *_) -> np.ndarray:
    """p^2/2 + q^2/2."""
    return (np.asarray(p) ** 2 + np.asarray(q) ** 2) / 2


def exact() -> np.ndarray:
    """Final energies by the closed form."""
    return energy(*ji.analytic.quadratic(STOP, 1.0, 0.0, 1.0, GAMMA))


def error(values) -> float:
    """The largest error over the oscillators."""
    return float(np.max(np.abs(np.asarray(values) - exact())))


def equally_accurate(make: Callable[[float], Callable], target: float) -> tuple[float, Callable]:
    """The loosest tolerance, in half decades, whose run is at least as accurate as the target."""
    for tolerance in 10.0 ** -np.arange(3.0, 13.0, 0.5):
        run = make(float(tolerance))
        if error(run()) <= target:
            return float(tolerance), run
    raise ValueError(f"target = {target} is out of reach; loosen it")


def compare() -> None:
    """The first table."""
    gamma = jnp.asarray(GAMMA)

    def linear(q):
        return q

    def on_gamma(program):
        return lambda: program(gamma)

    fixed = peers.diffrax_fixed(linear, STOP, STEPS)
    same_word = {
        "C, one thread": lambda: energy(*peers.c_obabo(GAMMA, START, STEPS, H)),
        "C, one thread, O joined across steps": lambda: energy(*peers.c_obabo(GAMMA, START, STEPS, H, joined=True)),
        "C, two threads": lambda: energy(*peers.c_obabo(GAMMA, START, STEPS, H, threads=True)),
        "numba, parallel, blocked": lambda: energy(*peers.numba_obabo_blocked(GAMMA, START, STEPS, H)),
        "numba, parallel, plain": lambda: energy(*peers.numba_obabo(GAMMA, START, STEPS, H)),
        f"jaxinertia, blocks of {BLOCK} (lax.map)": on_gamma(mapped(simulated("OBABO"), BLOCK)),
        "jaxinertia, one vmap": on_gamma(mapped(simulated("OBABO"), None)),
        f"a bare scan without accounts, blocks of {BLOCK}": on_gamma(mapped(bare, BLOCK)),
        "a bare scan without accounts, one vmap": on_gamma(mapped(bare, None)),
        "the same word in vmapped diffeqsolve": on_gamma(mapped(in_diffeqsolve, None)),
    }
    reference = same_word["C, one thread"]()
    for name, run in same_word.items():
        if not np.max(np.abs(np.asarray(run()) - reference)) <= ROUNDING:
            raise AssertionError(f"{name} differs from C by more than rounding")
    target = error(reference)

    def tsit5(tolerance):
        run = peers.tuned_diffrax(linear, STOP, tolerance, GAMMA, START)
        return lambda: energy(*run(GAMMA, START))

    def dop853(tolerance):
        return lambda: energy(*peers.scipy_stacked(linear, STOP, tolerance, GAMMA, START))

    adaptive, tsit5_run = equally_accurate(tsit5, target)
    stacked, dop853_run = equally_accurate(dop853, target)
    calls = {
        **same_word,
        "Tsit5, same step, vmapped diffeqsolve": lambda: energy(*fixed(GAMMA, START)),
        f"Tsit5 + PIDController, tolerance {adaptive:.1e}": tsit5_run,
        f"SciPy DOP853, stacked, tolerance {stacked:.1e}": dop853_run,
    }
    seconds = interleaved(calls)
    rows = [[name, 1e3 * s, seconds["C, one thread"] / s, error(calls[name]())] for name, s in seconds.items()]
    write_table(
        "oscillators",
        "4096 damped oscillators x 2000 steps",
        "Word OBABO, float64, gamma in [0, 2], final energy only. Medians of interleaved runs; the adaptive peers run "
        "at the loosest tolerance (in half decades) that reaches the same final accuracy. Runs of the same word agree "
        f"with C to {ROUNDING:.0e}.",
        ["run", "ms", "speed, C one thread = 1", "max energy error"],
        rows,
    )


def cost_of_balance() -> None:
    """The second table."""
    gamma = jnp.asarray(GAMMA)
    rows = []
    for name, potential in POTENTIALS.items():
        calls = {}
        for word in ("BAOAB", "OBABO"):
            for mapping, block in (("blocks", BLOCK), ("vmap", None)):
                for balance in (False, True):
                    program = mapped(simulated(word, potential(), balance), block)
                    calls[word, mapping, balance] = lambda program=program: program(gamma)
        seconds = interleaved(calls, budget=2.0)
        for word, mapping, balance in calls:
            if not balance:
                without, with_ = seconds[word, mapping, False], seconds[word, mapping, True]
                rows.append([name, word, mapping, 1e3 * without, 1e3 * with_, with_ / without])
    write_table(
        "oscillators",
        "What the balance costs",
        "The same workload without and with the final friction and discretization; blocks of "
        f"{BLOCK}, or one vmap. Not returned it costs nothing: see the bare scans above.",
        ["potential", "word", "mapping", "ms without", "ms with", "ratio"],
        rows,
        append=True,
    )


def under_noise() -> None:
    """The third table."""
    gamma, sigma = 0.5, 0.7
    keys = jax.random.split(jax.random.key(0), COUNT)

    def one(law, key):
        system = ji.System(ji.potentials.Quadratic(), gamma, ji.noise.White(sigma, law=law))
        return ji.simulate(system, np.array([0.0, STOP]), 1.0, dt=H, solver="BAOAB", key=key).inertia[-1]

    calls = {"C, one thread": lambda: energy(*peers.c_langevin(START, STEPS, H, gamma, sigma))}
    for law in ("gaussian", "three-point"):
        for name, block in ((f"blocks of {BLOCK} (lax.map)", BLOCK), ("one vmap", None)):
            program = mapped(partial(one, law), block)
            calls[f"jaxinertia, {law}, {name}"] = lambda program=program: program(keys)
    exact = float(ji.analytic.mean_inertia(STOP, 1.0, 0.0, 1.0, gamma, sigma))
    for name, run in calls.items():
        values = np.asarray(run())
        if not abs(values.mean() - exact) <= 5 * values.std() / np.sqrt(COUNT):
            raise AssertionError(f"{name} has the mean {values.mean()}, not {exact}")
    seconds = interleaved(calls)
    work = COUNT * STEPS
    rows = [[name, 1e3 * s, 1e9 * s / work, seconds["C, one thread"] / s] for name, s in seconds.items()]
    write_table(
        "oscillators",
        "Under noise",
        f"{COUNT} Langevin oscillators x {STEPS} steps of BAOAB, float64, quadratic. C draws from a sequential "
        "generator, xoshiro256+, two normals at once by Box and Muller's method; in jaxinertia a number is a function "
        "of the key, the step and the component alone. All agree with the exact mean.",
        ["run", "ms", "ns a step", "speed, C one thread = 1"],
        rows,
        append=True,
    )


def main() -> None:
    """All tables."""
    compare()
    cost_of_balance()
    under_noise()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
