"""Processes that belong together, by jax.distributed."""

import jax


def wait_for_all(what: str) -> None:
    """Until all processes are here; none waits for those that it does not know of."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils  # noqa: PLC0415  needs a running jax.distributed

        multihost_utils.sync_global_devices(f"jaxinertia sweep: {what}")
