"""The sweep that the crash test kills: run as `python crashing.py STORE [DELAY]`."""

import sys
import time

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jaxinertia as ji  # noqa: E402
from jaxinertia.dynamics.sweep import store as store_module  # noqa: E402

AXES = {"gamma": np.linspace(0.0, 1.0, 12), "repeat": np.arange(20)}


def point(gamma, repeat, key):
    system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=0.3)
    traj = ji.simulate(system, np.linspace(0.0, 2.0, 5), 1.0, dt=0.1, key=key)
    return {"inertia": traj.inertia, "position": traj.position[-1]}


def run(store, **options):
    return ji.sweep(point, AXES, key=jax.random.key(5), chunk_size=10, store=store, **options)


if __name__ == "__main__":
    delay = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    mark = store_module.Store.mark

    def slow_mark(self, share, *rest):
        """Tell the parent that a share's data are there, and leave it time to kill before their mark."""
        print(share, flush=True)
        time.sleep(delay)
        mark(self, share, *rest)

    store_module.Store.mark = slow_mark
    print("computed", run(sys.argv[1]).computed, flush=True)
