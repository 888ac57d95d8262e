"""One of several processes of a sweep, of which the last fails: `failing.py RANK COUNT PORT STORE HOW REDUCE`."""

import os
import signal
import sys
import time

import jax

from tests.dynamics.sweep import crashing

REDUCE = {"repeat": ("mean", "variance")}
FAILS_AT = 4  # chunks of its own


def fail(how):
    if how == "raise":
        raise RuntimeError("the point makes no sense")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def slow_and_failing(how, fails):
    """Chunks that take their time; one process fails at its fourth."""
    from zarr.storage import LocalStore

    from jaxinertia.dynamics.sweep.collect import Collector

    take, put, seen = Collector.take, LocalStore.set, []

    def slow_take(self, *chunk):
        seen.append(chunk)
        time.sleep(0.2)
        if fails and len(seen) == FAILS_AT:
            print("fails", flush=True)
            fail(how)
        take(self, *chunk)

    async def full(self, *args):
        if fails and how == "full" and len(seen) >= FAILS_AT:
            raise OSError(28, "No space left on device")
        await put(self, *args)

    Collector.take, LocalStore.set = slow_take, full


if __name__ == "__main__":
    rank, count, port, store, how, reduce = (int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
    jax.config.update("jax_platforms", "cpu")
    jax.distributed.initialize(f"localhost:{port}", num_processes=count, process_id=rank)
    slow_and_failing(how, fails=rank == count - 1)
    crashing.run(store, reduce=REDUCE if reduce == "reduce" else None, progress=True)
    print("ended well", flush=True)
