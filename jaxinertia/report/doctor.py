"""What `jaxinertia doctor` says: what a report of a bug needs to know of the machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from .._cache import cache
from .._machine import cores

NEEDED = ("jaxinertia", "jax", "jaxlib", "equinox", "diffrax", "lineax", "optimistix", "optax")
BESIDE = ("numpy", "scipy", "jaxtyping", "matplotlib", "tqdm", "typer")
OPTIONAL = ("zarr", "xarray", "pandas", "scikit-learn")


def report() -> list[str]:
    """Lines of a name and what it is: versions, devices, precision, and where compiled programs are kept."""
    facts = {"python": f"{platform.python_version()} on {platform.platform()}"}
    facts |= {name: _version(name) or "MISSING" for name in (*NEEDED, *BESIDE)}
    facts |= {name: _version(name) or "not installed (optional: pip install 'jaxinertia[io]')" for name in OPTIONAL}
    facts["devices"] = _devices()
    facts["CPU cores"] = f"{cores()} for this process"
    facts["x64"] = f"{'on' if jax.config.read('jax_enable_x64') else 'off'}; `fit`, `modes` and `paper` turn it on"
    facts["cache"] = _cache()
    facts |= {name: value for name, value in sorted(os.environ.items()) if name.startswith(("JAX_", "XLA_"))}
    width = max(map(len, facts))
    return [f"{name.ljust(width)}  {said}" for name, said in facts.items()]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> str:
    try:
        found = jax.devices()
    except RuntimeError as error:  # a driver that does not fit, say
        return f"NONE: {error}"
    return ", ".join(f"{device.platform} {device.device_kind}" for device in found)


def _cache() -> str:
    try:
        folder = cache()
    except ValueError as error:
        return f"NONE, so that every start compiles anew: {error}"
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return f"{folder}, {len(files):,} files, {sum(path.stat().st_size for path in files) / 1e6:,.1f} MB"
