"""All benchmarks: `python -m benchmarks`, or some: `python -m benchmarks oscillators reverse_memory`."""

import importlib
import sys

import jax

ALL = ("oscillators", "work_precision", "reverse_memory")

if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:] or ALL:
        importlib.import_module(f"benchmarks.{name}").main()
