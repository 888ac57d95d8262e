"""Traced parameters under `jax.shard_map`, its checks on, over four virtual devices: `python shared.py [CASE ...]`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)

import jaxinertia as ji  # noqa: E402

TS, KEY, OFF = np.linspace(0, 1, 3), jax.random.key(0), jnp.array([[0.0, 0.1], [0.0, 0.0]])
Q, System = ji.potentials.Quadratic, ji.System


def run(system, position=1.0, dt=0.1, **options):
    return ji.simulate(system, TS, position, dt=dt, **options).inertia


CASES = {
    "damping": lambda g: run(System(Q(), damping=g)),
    "many steps": lambda g: run(System(Q(), damping=g), dt=1e-3),
    "stiffness": lambda g: run(System(Q(g)), solver=ji.solvers.Splitting("BAB")),  # its gradient must not be summed
    "closed over": lambda g: run(System(lambda q: g * q**2 / 2, damping=0.1)),
    "start": lambda g: run(System(Q(), damping=0.1), g),
    "force": lambda g: run(System(Q(), damping=0.1, force=lambda t: g * jnp.cos(t))),
    "noise": lambda g: run(System(Q(), damping=0.1, noise=g), key=KEY),
    "matrices": lambda g: run(System(Q(), damping=g * jnp.eye(2), noise=g * jnp.eye(2) + OFF), np.ones(2), key=KEY),
    "mapped": lambda g: jax.vmap(lambda q: run(System(Q(), damping=g), q))(np.array([1.0, 2.0])),
    "gradient": jax.grad(lambda g: run(System(Q(), damping=g))[-1]),
    "modified": lambda g: ji.modified_inertia(System(Q(g)), 1.0, 0.0, 0.1, solver="BAB"),
    "damped invariant": lambda g: ji.training.damped_invariant(lambda q: g * q**2 / 2, 1.0, 0.3, 0.1, 0.9),
}


def shared(fn):
    split = PartitionSpec("i")
    mesh = Mesh(np.array(jax.devices()), ("i",))
    return jax.jit(jax.shard_map(lambda g: fn(g[0])[None], mesh=mesh, in_specs=split, out_specs=split))


if __name__ == "__main__":
    values = jnp.linspace(0.1, 0.9, 4)
    for case in sys.argv[1:] or CASES:
        fn = CASES[case]
        alone = np.stack([fn(g) for g in values])
        np.testing.assert_allclose(shared(fn)(values), alone, rtol=1e-13, err_msg=case)
    bad = np.isnan(shared(CASES["damping"])(values - 0.5))  # one device that stops would leave the others waiting
    assert bad[:2].all(), bad
    assert not bad[2:].any(), bad
