"""JAX's compilation cache: what one process has compiled, the next one reads."""

import hashlib
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

_LEAST = 0.01  # seconds of compiling that are worth a file: a short run takes a tenth of one


def cache(folder: str | Path | None = None) -> Path:
    """Keep what JAX compiles in a folder, for the next process: the first `simulate` or `fit` then starts at once.

    Programs are kept apart by processor, since they hold its own instructions, and by jaxlib's version: many machines
    may share the folder. It is the one thing that changes JAX's configuration, and for the whole process. Programs
    that can raise an error at run time (those with traced numbers that are checked) are not kept, as JAX keeps no
    program with callbacks.

    Arguments:
        folder: None is `jaxinertia` in the user's cache folder ($XDG_CACHE_HOME, ~/.cache; on macOS ~/Library/Caches,
            on Windows %LOCALAPPDATA%).

    Returns:
        The folder of this machine, inside `folder`.

    Raises:
        ValueError: if the folder cannot be written.

    Example:
        >>> ji.cache()

    Source: JAX's documentation, "Persistent compilation cache".
    """
    parent = _of_user() / "jaxinertia" if folder is None else Path(folder).expanduser()
    own = parent / f"{platform.machine()}-{_processor()}-jaxlib-{version('jaxlib')}"
    try:
        own.mkdir(parents=True, exist_ok=True)
        writable = os.access(own, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ValueError(f"folder = {str(parent)!r} cannot be written; pass one that can, e.g. ji.cache('cache')")
    jax.config.update("jax_compilation_cache_dir", str(own))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST)
    compilation_cache.reset_cache()  # it may have been looked for, and found missing
    return own


def _of_user() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _processor() -> str:
    """A mark of what instructions this processor has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told = "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    except OSError:
        told = platform.processor()
    return hashlib.sha256(told.encode()).hexdigest()[:8]
