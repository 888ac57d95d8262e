"""A sweep as on a laptop: the energy that a noisy Duffing oscillator is left with. `python duffing.py`."""

import jax
import numpy as np

import jaxinertia as ji

jax.config.update("jax_enable_x64", True)

STORE = "duffing.zarr"
AXES = {"gamma": np.linspace(0.05, 2.0, 40), "q0": np.linspace(-2.0, 2.0, 50)}


def energy(gamma, q0, key):
    system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=0.2)
    return ji.simulate(system, np.array([0.0, 20.0]), q0, dt=0.05, key=key).inertia[-1]


def sweep(**where):
    """The whole, or with shard=(i, n) one part of it: the same points, random numbers and store."""
    return ji.sweep(energy, AXES, key=jax.random.key(0), chunk_size=50, store=STORE, **where)


if __name__ == "__main__":
    print(sweep(progress=True).summary())
