"""merge_shards: the whole of a sweep whose parts were computed independently."""

from typing import Any

from .collect import Collector
from .described import read
from .objects import locate
from .result import Sweep
from .store import Store


def merge_shards(store: Any) -> Sweep:
    """The whole of what `ji.sweep(..., store=store, shard=(i, n))` has computed for all i, without computing anything.

    Statistics are merged in the order of the points, so that they are those of one process, bit for bit. A trajectory
    comes back as such, other pytrees as a dict by name. The same call without `shard=` gives the same, and computes
    what is missing.

    Arguments:
        store: where the shards kept their results: a path, a URL, or a store object of Zarr's.

    Returns:
        A `Sweep`, whose values are read on first use.

    Raises:
        ValueError: if there is no sweep, chunks are missing or broken, or a statistic is of the user's own.

    Example:
        >>> ji.sweep(final_energy, axes, store="run.zarr", shard=(3, 16))    # in each job, with its number
        >>> runs = ji.merge_shards("run.zarr")                               # when all have ended
    """
    found = Store(locate(store), flush=False)
    found.open_as_it_is()
    return Collector(*read(found), found).merged()
