"""What `jaxinertia fit` does: a file of readings in; a table, a JSON file and a figure out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..inference.fit import fit
from ..inference.loss import check_loss
from ..inference.observations import Observations
from ..inference.result import Fit
from ..physics import potentials
from ..physics.damping import AbstractDamping, Drag, Linear
from ..physics.force import Sampled
from ..physics.system import System
from .entries import stem_of

POTENTIALS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "quadratic": (potentials.Quadratic, ("stiffness",)),
    "duffing": (potentials.Duffing, ("linear", "cubic")),
    "asymmetric": (potentials.Duffing, ("linear", "quadratic", "cubic")),
    "pendulum": (potentials.Pendulum, ("frequency",)),
}
DRAGS = ("linear", "quadratic", "dry")


def run(
    path: Path,
    columns: dict[str, Any],
    *,
    window: tuple[float | None, float | None],
    potential: str,
    drag: str,
    noise: bool,
    loss: str,
    offset: bool,
    out: Path | None,
    figure: bool,
    progress: bool,
    tell: Callable[[str], None],
) -> tuple[Fit, list[Path]]:
    """Read, fit, write; returns the fit and the files written. `tell` is given, line by line, how the file was read.

    `columns` are options of `Observations.from_csv`, `window` the first and the last time that count.

    Raises:
        ValueError: for a bad file, an unknown potential, drag or loss, or files that cannot be written.
    """
    make, numbers = _choice("potential", potential, POTENTIALS)
    damping, rates = _drag(drag)
    check_loss(loss, not noise)
    data = Observations.from_csv(path, **columns, offset=None if offset else 0.0)
    whole = data
    if window != (None, None):
        data = data.between(*window)
    elif not noise and data.input is None:
        data = data.decays()
    for line in data.reading:
        tell(line)
    force = None
    if data.input is not None:
        first = data.runs[0]
        force = Sampled(data.ts[first], data.input[first], 1.0)
    system = System(make(), damping, noise=1.0 if noise else None, force=force)

    def free(s: Any) -> dict[str, Any]:
        leaves = {f"damping.{name}": getattr(s.damping, name) for name in rates}
        leaves |= {f"potential.{name}": getattr(s.potential, name) for name in numbers}
        leaves |= {"noise.sigma": s.noise.sigma} if noise else {}
        return leaves | ({} if force is None else {"force.gain": s.force.gain})

    stem = stem_of(path, out, ".fit.json")  # before the fit
    result = fit(system, data, free, loss=loss, progress=progress)
    return result, _write(result, data, whole, stem, figure)


def _write(result: Fit, data: Observations, whole: Observations, stem: Path, figure: bool) -> list[Path]:
    """The JSON file, and the figure if it is wanted."""
    written = [stem.with_name(stem.name + ".fit.json")]
    try:
        told = result.to_json() | {"reading": list(data.reading)}
        written[0].write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
        if figure:
            from .fit_figure import overview  # noqa: PLC0415  matplotlib loads only when a figure is wanted

            written.append(overview(result, data, stem.with_name(stem.name + ".fit.png"), whole))
    except OSError as error:
        raise ValueError(f"out = {str(stem)!r} cannot be written: {error}") from error
    return written


def _drag(drag: str) -> tuple[AbstractDamping, tuple[str, ...]]:
    """The friction that a text such as "dry,quadratic" names, and its free fields; linear drag is always among them."""
    named = [name.strip() for name in drag.split(",")]
    if len(set(named)) < len(named) or not set(named) <= set(DRAGS):
        raise ValueError(
            f"drag = {drag!r} must be one of {sorted(DRAGS)}, or some with commas, such as 'dry,quadratic'"
        )
    if named == ["linear"]:
        return Linear(0.1), ("gamma",)
    fields = tuple(name for name in DRAGS if name in {*named, "linear"})
    return Drag(**dict.fromkeys(fields, 0.1)), fields


def _choice(name: str, value: str, known: dict[str, Any]) -> Any:
    if value not in known:
        raise ValueError(f"{name} = {value!r} must be one of {sorted(known)}")
    return known[value]
