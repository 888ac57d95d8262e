"""What `jaxinertia modes` does: a file of readings in; a table, a JSON file and a figure out."""

import json
from pathlib import Path
from typing import Any

from ..inference.modes.entry import modes
from ..inference.modes.result import Modes
from ..inference.observations import Observations
from .entries import check_writable


def run(path: Path, columns: dict[str, Any], asked: dict[str, Any], *, out: Path | None, figure: bool) -> Any:
    """Read, find, write; returns the `Modes` and the files written.

    Arguments:
        path: the file.
        columns: for `Observations.from_csv`; `position` is a text with commas between the channels.
        asked: for `ji.modes`; `band` is a text such as "10,40", `kind` one with commas between the channels'.

    Raises:
        ValueError: for a bad file, or files that cannot be written.
    """
    names = [name.strip() for name in columns["position"].split(",")]
    columns = columns | {"position": names if len(names) > 1 else names[0]}
    kinds = [kind.strip() for kind in asked["kind"].split(",")]
    asked = asked | {"kind": kinds if len(kinds) > 1 else kinds[0], "band": _band(asked["band"])}
    data = Observations.from_csv(path, **columns)
    stem = path.with_suffix("") if out is None else out
    check_writable("out", stem.parent / f"{stem.name}.modes.json" if stem.name else stem)  # before the search
    found = modes(data, **asked)
    return found, _write(found, data, stem, columns["time"] if figure else None)


def _band(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(x) for x in text.split(","))
    except ValueError as error:
        raise ValueError(f"band = {text!r} must be two numbers with a comma, such as 10,40") from error
    return low, high


def _write(found: Modes, data: Observations, stem: Path, time: str | None) -> list[Path]:
    """The JSON file, and the figure if the name of its time is given."""
    written = [stem.with_name(stem.name + ".modes.json")]
    try:
        written[0].write_text(json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n")
        if time is not None:
            from .modes_figure import overview  # noqa: PLC0415  matplotlib loads only when a figure is wanted

            written.append(overview(found, data, stem.with_name(stem.name + ".modes.png"), str(time)))
    except OSError as error:
        raise ValueError(f"out = {str(stem)!r} cannot be written: {error}") from error
    return written
