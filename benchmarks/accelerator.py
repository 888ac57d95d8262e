"""Points a second against batch size, float32, on an accelerator: `python -m benchmarks accelerator`."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxinertia as ji

from .timing import interleaved, write_table

STEPS, STOP = 2000, 20.0
BATCHES = (10**3, 10**4, 10**5, 10**6, 10**7)
POTENTIALS = {
    "quadratic": (ji.potentials.Quadratic, 1.0),
    "Duffing": (ji.potentials.Duffing, 1.0),
    "pendulum": (ji.potentials.Pendulum, 1.0),
    "Rosenbrock": (ji.potentials.Rosenbrock, np.array([0.5, 0.5])),
}


def main() -> None:
    """One row for each potential and batch."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        raise ValueError("JAX finds no accelerator; install jax[cuda12], or run `python -m benchmarks sweeps`")
    jax.config.update("jax_enable_x64", False)
    rows = []
    for name, (make, start) in POTENTIALS.items():

        def energy(gamma, make=make, start=start):
            system = ji.System(make(), damping=gamma)
            solver = ji.solvers.Splitting("OBABO")
            return ji.simulate(system, np.array([0.0, STOP]), start, dt=STOP / STEPS, solver=solver).inertia[-1]

        mapped = jax.jit(jax.vmap(energy))
        for batch in BATCHES:
            gamma = jnp.linspace(0.5, 2.0, batch)
            axes = {"gamma": np.asarray(gamma)}
            calls = {
                "vmap": lambda gamma=gamma: mapped(gamma),
                "sweep": lambda axes=axes: ji.sweep(energy, axes).values,
            }
            s = interleaved(calls, repeats=2, budget=3.0)
            rows.append([name, f"{batch:,}", 1e3 * s["vmap"], batch / s["vmap"], batch / s["sweep"]])
    write_table(
        "accelerator",
        f"Points a second on {device.device_kind}",
        f"{STEPS} steps of OBABO, float32, final energy kept: one jitted vmap, and `ji.sweep` as called.",
        ["potential", "points", "ms, vmap", "points/s, vmap", "points/s, sweep"],
        rows,
    )
