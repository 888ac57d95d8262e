"""What `jaxinertia modes` does: a file of readings in; a table, a JSON file and a figure out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..inference.modes.entry import modes
from ..inference.modes.result import Modes
from ..inference.observations import Observations
from .entries import band_of, stem_of


def run(
    path: Path,
    columns: dict[str, Any],
    asked: dict[str, Any],
    *,
    window: tuple[float | None, float | None],
    out: Path | None,
    figure: bool,
    tell: Callable[[str], None],
) -> tuple[Modes, list[Path]]:
    """Read, find, write; returns the `Modes` and the files written. `tell` is given, line by line, how the file was
    read.

    Arguments:
        path: the file.
        columns: options of `Observations.from_csv`; `position` is a text with commas between the channels, or None.
        asked: for `ji.modes`; `band` is a text such as "10,40", `kind` one with commas between the channels'.
        window: the first and the last time that count.

    Raises:
        ValueError: for a bad file, or files that cannot be written.
    """
    asked = asked | {"kind": _listed(asked["kind"]), "band": band_of(asked["band"])}
    data = Observations.from_csv(path, **columns | {"position": _listed(columns["position"])}, offset=None)
    if window != (None, None):
        data = data.between(*window)
    for line in data.reading:
        tell(line)
    stem = stem_of(path, out, ".modes.json")  # before the search
    found = modes(data, **asked)
    return found, _write(found, data, stem, figure)


def _listed(text: str | None) -> Any:
    """A name, or a list of those between commas."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    return names if len(names) > 1 else names[0]


def _write(found: Modes, data: Observations, stem: Path, figure: bool) -> list[Path]:
    """The JSON file, and the figure if it is wanted."""
    written = [stem.with_name(stem.name + ".modes.json")]
    try:
        told = found.to_json() | {"reading": list(data.reading)}
        written[0].write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
        if figure:
            from .modes_figure import overview  # noqa: PLC0415  matplotlib loads only when a figure is wanted

            written.append(overview(found, data, stem.with_name(stem.name + ".modes.png")))
    except OSError as error:
        raise ValueError(f"out = {str(stem)!r} cannot be written: {error}") from error
    return written
