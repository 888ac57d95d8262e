"""Shards as tasks of dask: `python with_dask.py`, or with the address of a scheduler, `with_dask.py tcp://host:8786`.

The workers need the same files and the same store: a folder that all of them see, or a URL such as "s3://bucket/run".
"""

import sys

import duffing
from dask.distributed import Client, as_completed

PARTS = 16  # more than workers, so that nobody waits long for the last


def part(i):
    return duffing.sweep(shard=(i, PARTS)).computed


if __name__ == "__main__":
    where = {"address": sys.argv[1]} if len(sys.argv) > 1 else {"n_workers": 2, "threads_per_worker": 1}
    with Client(**where) as client:
        computed = sum(task.result() for task in as_completed(client.map(part, range(PARTS), pure=False)))
    print(f"computed {computed} points")
    print(duffing.sweep().summary())  # the whole
