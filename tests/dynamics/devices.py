"""Noisy runs under every transformation, on four virtual devices: `python devices.py FILE` saves the momenta."""

import sys

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)

import jaxinertia as ji  # noqa: E402

RUNS, STEPS = 8, 40
FREE, BOUND = ji.potentials.Quadratic(0.0), ji.potentials.Duffing()
CASES = {  # potential, gamma, sigma, law, step
    # OBABO draws twice a step. At h = 2 both relaxations of a free particle add the bare number to the momentum, so
    # that nothing is rounded but the sum.
    "free, three-point": (FREE, 0.0, 1.0, "three-point", 2.0),
    "free, gaussian": (FREE, 0.0, 1.0, "gaussian", 2.0),
    "bound, gaussian": (BOUND, 0.3, 0.5, "gaussian", 1 / 16),
}


def momenta(potential, gamma, sigma, law, dt):
    """The function of a key that is transformed."""
    system = ji.System(potential, gamma, ji.noise.White(sigma, law=law))
    ts, solver = dt * np.arange(STEPS + 1), ji.solvers.Splitting("OBABO")
    return lambda key: ji.simulate(system, ts, np.zeros(2), dt=dt, solver=solver, key=key).momentum


def ways(run, keys):
    """The same runs, one row a key, mapped and shared in every order."""
    split = PartitionSpec("runs")
    mesh = Mesh(np.array(jax.devices()), ("runs",))

    def shared(body):
        return jax.jit(jax.shard_map(body, mesh=mesh, in_specs=split, out_specs=split, check_vma=False))

    return {
        "one by one": np.stack([run(key) for key in keys]),
        "vmap": jax.vmap(run)(keys),
        "jit of vmap": jax.jit(jax.vmap(run))(keys),
        "map": jax.lax.map(run, keys),
        "map in batches of three": jax.lax.map(run, keys, batch_size=3),
        "shard_map of vmap": shared(jax.vmap(run))(keys),
        "shard_map of map": shared(lambda keys: jax.lax.map(run, keys))(keys),
        "jit over sharded keys": jax.jit(jax.vmap(run))(jax.device_put(keys, NamedSharding(mesh, split))),
    }


if __name__ == "__main__":
    keys = jax.random.split(jax.random.key(21), RUNS)
    found = {case: ways(momenta(*options), keys) for case, options in CASES.items()}
    np.savez(sys.argv[1], devices=len(jax.devices()), **{f"{c}: {w}": x for c in found for w, x in found[c].items()})
