"""All benchmarks: `python -m benchmarks`, or some: `python -m benchmarks oscillators reverse_memory`, or a part of
one, by its function's name: `python -m benchmarks fits.coverage`.

Each runs in a process of its own, so that none inherits the threads of another's peers.
"""

import importlib
import os
import subprocess
import sys

import jax

ALL = (
    "oscillators",
    "work_precision",
    "reverse_memory",
    "sweeps",
    "noise",
    "langevin",
    "fits",
    "coverage",
    "modes",
    "monitor_overhead",
    "training_study",
)
ONE_DEVICE_PER_CORE = ("sweeps", "noise")
SINGLE_PRECISION = ("monitor_overhead", "training_study")  # as networks are trained

if __name__ == "__main__":
    names = sys.argv[1:] or ALL
    if len(names) > 1:
        for name in names:
            subprocess.run([sys.executable, "-m", "benchmarks", name], check=True)
    else:
        module, _, part = names[0].partition(".")
        jax.config.update("jax_enable_x64", module not in SINGLE_PRECISION)
        if module in ONE_DEVICE_PER_CORE:
            jax.config.update("jax_num_cpu_devices", os.cpu_count() or 1)
        getattr(importlib.import_module(f"benchmarks.{module}"), part or "main")()
