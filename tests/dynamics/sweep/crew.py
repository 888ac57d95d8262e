"""Crews of processes at one sweep, killed and begun again: `python crew.py WAY STORE FILE SEED`.

WAY "killed": crews of one to four processes that belong together (jax.distributed), each crew but the last killed at a
random moment, every point kept (in STORE/values.zarr) and statistics (in STORE/means.zarr). "shards": four processes
that know nothing of each other, at once, in a new store each time. FILE gets what was found, and what one process finds
without a store. The processes are forked before JAX starts in any of them, which saves their imports.
"""

import os
import random
import select
import signal
import socket
import sys
import time

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

import jaxinertia as ji  # noqa: E402
from jaxinertia.dynamics.sweep import store as store_module  # noqa: E402

AXES = {"gamma": np.linspace(0.0, 1.0, 6), "repeat": np.arange(40)}
REDUCE = {"repeat": ("mean", "variance", ji.reductions.Quantiles((0.5,)))}
ROUNDS = 10


def point(gamma, repeat, key):
    system = ji.System(ji.potentials.Duffing(), damping=gamma, noise=0.3)
    return {"inertia": ji.simulate(system, np.linspace(0.0, 2.0, 3), 1.0, dt=0.1, key=key).inertia}


def run(store, reduce, **options):
    return ji.sweep(point, AXES, key=jax.random.key(5), chunk_size=8, store=store, reduce=reduce, **options)


def both(store, **options):
    values = run(store and f"{store}/values.zarr", None, **options)
    return values, run(store and f"{store}/means.zarr", REDUCE, **options)


def as_arrays(values, means):
    named = {"inertia": values.values["inertia"]}
    return named | {name: x["inertia"] for name, x in means.values.items()}


def fork(work):
    """A process that does this, and ends."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    return child


def ended(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def saved(file, make):
    """What a process of its own has found."""

    def work():
        np.savez(file, **make())

    assert ended([fork(work)]) == [0]
    with np.load(file) as found:
        return dict(found)


def crew(store, count, tell, file=None):
    """Processes that belong together; each tells of its marks, and may save what it finds."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]

    def member(rank):
        if count > 1:
            jax.distributed.initialize(f"localhost:{port}", num_processes=count, process_id=rank)
        mark = store_module.Store.mark

        def told(self, *rest):
            """Time to be killed between data and mark, and between marks."""
            os.write(tell, b".")
            time.sleep(0.02)
            mark(self, *rest)

        store_module.Store.mark = told
        found = both(store)
        if file is not None:
            np.savez(f"{file}.{rank}.npz", computed=[runs.computed for runs in found], **as_arrays(*found))

    return [fork(lambda rank=rank: member(rank)) for rank in range(count)]


def killed(store, file, seed):
    chance, results = random.Random(seed), {}
    counts = [chance.randint(1, 4) for _ in range(ROUNDS)] + [3]
    for number, count in enumerate(counts):
        hear, tell = os.pipe()
        last = number == ROUNDS
        children = crew(store, count, tell, file if last else None)
        if not last:
            for _ in range(chance.randint(1, 9)):  # wait for some marks, then a random while more
                if not select.select([hear], [], [], 60)[0]:
                    break
                os.read(hear, 1)
            time.sleep(chance.uniform(0, 0.05))
            for child in children:
                os.kill(child, signal.SIGKILL)
        codes = ended(children)
        assert codes == [0] * count or not last, codes
        os.close(hear)
        os.close(tell)
    for rank in range(counts[-1]):
        with np.load(f"{file}.{rank}.npz") as found:
            results |= {f"{rank} {name}": x for name, x in found.items()}
    return results


def shards(store, file, seed):
    results = {}
    for number in range(ROUNDS):
        place = f"{store}/{number}"
        children = [fork(lambda i=i: both(place, shard=(i, 4))) for i in range(4)]
        codes = ended(children)
        assert codes == [0] * 4, codes
        kinds = ("values", "means")
        found = saved(
            f"{file}.part.npz", lambda: as_arrays(*(ji.merge_shards(f"{place}/{kind}.zarr") for kind in kinds))
        )
        results |= {f"{number} {name}": x for name, x in found.items()}
    return results


if __name__ == "__main__":
    way, store, file, seed = sys.argv[1:]
    found = {"killed": killed, "shards": shards}[way](store, file, int(seed))
    alone = saved(f"{file}.alone.npz", lambda: as_arrays(*both(None)))
    np.savez(file, counts=ROUNDS, **found, **{f"alone {name}": x for name, x in alone.items()})
