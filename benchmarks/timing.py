"""Interleaved medians, the machine in words, and Markdown tables."""

import os

# OpenMP threads that spin after their work would slow whoever is measured next.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import json
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

SECTION = "\n\n## "
RESULTS = Path(__file__).parent / "results"


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int = 9, budget: float = 10.0) -> dict[str, float]:
    """Median seconds of each call.

    All are warmed up, then take turns of one untimed call, to bring the caches back, and three timed ones. Slow calls
    stop after `budget` seconds each.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            if sum(seconds[name]) > budget:
                continue
            jax.block_until_ready(call())
            for _ in range(3):
                start = time.perf_counter()
                jax.block_until_ready(call())
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(x)) for name, x in seconds.items()}


def paired(calls: dict[str, Callable[[], Any]], pairs: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Ratios of neighbouring runs to the first call's, and the median seconds.

    The first call also runs against itself, as "again": what is left of the machine's noise.
    """
    (base, first), *_ = calls.items()
    everyone = calls | {"again": first}
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in everyone}
    for turn in range(pairs):
        order = list(everyone) if turn % 2 else list(reversed(everyone))
        for name in order:
            start = time.perf_counter()
            jax.block_until_ready(everyone[name]())
            seconds[name].append(time.perf_counter() - start)
    ratios = {
        name: [x / y for x, y in zip(seconds[name], seconds[base], strict=True)] for name in everyone if name != base
    }
    return ratios, {name: float(np.median(x)) for name, x in seconds.items()}


def machine() -> str:
    """Processor, cores, and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    compiler = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    packages = (
        "jax",
        "jaxlib",
        "equinox",
        "diffrax",
        "optimistix",
        "numpy",
        "numba",
        "scipy",
        "zarr",
        "torchsde",
        "StochasticForceInference",
    )
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, gcc {compiler}, {versions}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def write_table(
    name: str,
    title: str,
    text: str,
    columns: list[str],
    rows: list[list[Any]],
    append: bool = False,
    show: bool = True,
) -> None:
    """Show a Markdown table, and keep it under results/ as the head of a file, or with `append` as a section of it.

    Sections of other titles stay as they are, so that a part can be measured anew by itself.
    """
    lines = [f"{'##' if append else '#'} {title}", "", text, "", "| " + " | ".join(columns) + " |"]
    lines += ["|" + "---|" * len(columns), *("| " + " | ".join(_cell(x) for x in row) + " |" for row in rows)]
    new = "\n".join(lines if append else [*lines, "", f"Machine: {machine()}."])
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    head, *sections = path.read_text().rstrip().split(SECTION) if path.exists() else [""]
    titles = [section.split("\n")[0] for section in sections]
    if not append:
        head, *own = new.split(SECTION)
        given = {section.split("\n")[0] for section in own}
        sections = own + [section for section, known in zip(sections, titles, strict=True) if known not in given]
    elif title in titles:
        sections[titles.index(title)] = new.removeprefix("## ")
    else:
        sections.append(new.removeprefix("## "))
    path.write_text(SECTION.join([head, *sections]) + "\n")
    if show:
        print("\n".join(lines), flush=True)


def _cell(x: Any) -> str:
    return f"{x:.3g}" if isinstance(x, float) else str(x)


def keep_json(name: str, data: Any) -> None:
    """Keep raw numbers under results/."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
