"""One of two processes of a sweep, each with four virtual devices: `python process.py RANK PORT STORE`."""

import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)

if __name__ == "__main__":
    rank, port, store = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=rank)

    import jaxinertia as ji

    def energy(gamma, q0, key):
        system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=0.2)
        return ji.simulate(system, np.array([0.0, 2.0]), q0, dt=0.1, key=key).inertia[-1]

    axes = {"gamma": np.linspace(0, 1, 20), "q0": np.linspace(-1, 1, 30)}
    runs = ji.sweep(energy, axes, key=jax.random.key(0), chunk_size=30, store=store)
    kept = {"gamma": "mean"}
    means = ji.sweep(energy, axes, key=jax.random.key(0), chunk_size=30, store=f"{store}.means", reduce=kept)
    print(rank, runs.computed, runs.values.sum(), means.values["mean"].sum(), flush=True)
    jax.distributed.shutdown()
