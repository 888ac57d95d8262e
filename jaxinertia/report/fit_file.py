"""What `jaxinertia fit` does: a file of readings in; a table, a JSON file and a figure out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..inference.candidates import Law, force_of, pose
from ..inference.compare import Comparison, advised, of_record
from ..inference.fit import check_method, fit
from ..inference.loss import check_loss
from ..inference.observations import Observations
from ..inference.result import Fit
from ..inference.shooting import LEAST_SQUARES
from .entries import band_of, stem_of


class Choices(NamedTuple):
    """How a record is fitted: the law, whether noise drives it, and options of `ji.fit`; `band` is a text."""

    law: Law = Law()
    noise: bool = False
    loss: str = "squares"
    method: str | None = None
    band: str | None = None
    offset: bool = True
    compare: bool = True  # other laws too, where residuals say that this one does not do


class Fitted(NamedTuple):
    """The fit, other laws beside it if they were fitted, and the files written."""

    result: Fit
    beside: Comparison | None
    written: list[Path]


def run(
    path: Path,
    columns: dict[str, Any],
    choices: Choices,
    *,
    window: tuple[float | None, float | None],
    out: Path | None,
    figure: bool,
    progress: bool,
    tell: Callable[[str], None],
) -> Fitted:
    """Read, fit, write. `tell` is given, line by line, how the file was read, and the fit.

    `columns` are options of `Observations.from_csv`, `window` the first and the last time that count.

    Raises:
        ValueError: for a bad file, an unknown potential, drag, method or loss, or files that cannot be written.
    """
    law, noise = choices.law, choices.noise
    options = fit_options(choices)
    data = Observations.from_csv(path, **columns, offset=None if choices.offset else 0.0)
    whole = data
    if window != (None, None):
        data = data.between(*window)
    elif not noise and data.input is None:
        data = data.decays()
    for line in data.reading:
        tell(line)
    system, free = pose(law, noise, force_of(data))
    stem = stem_of(path, out, ".fit.json")  # before the fit
    result = fit(system, data, free, **options, progress=progress)
    tell(result.summary())
    beside = None
    if choices.compare and not noise and result.diagnostics.converged and advised(result):
        tell("\nby its residuals this law does not do; others beside it (--no-compare leaves them out):")
        beside = of_record(data, choices.loss, {law: result}, progress)
        tell(str(beside))
    return Fitted(result, beside, _write(result, beside, data, whole, stem, figure))


def fit_options(choices: Choices) -> dict[str, Any]:
    """What `ji.fit` is asked for, checked before a file is read."""
    system, _ = pose(choices.law, choices.noise)
    for name, text in (("band", choices.band), ("method", choices.method)):
        if text not in (None, LEAST_SQUARES) and not choices.noise:
            raise ValueError(f"{name} = {text!r} is for records that noise drives: add --noise")
    band = band_of(choices.band)
    check_method(system, choices.method, band)
    check_loss(choices.loss, not choices.noise)
    return {"method": choices.method, "band": band, "loss": choices.loss}


def _write(
    result: Fit, beside: Comparison | None, data: Observations, whole: Observations, stem: Path, figure: bool
) -> list[Path]:
    """The JSON file, and the figure if it is wanted."""
    written = [stem.with_name(stem.name + ".fit.json")]
    try:
        told = result.to_json() | {"reading": list(data.reading)}
        if beside is not None:
            told["compared"] = {name: fit.to_json() for name, fit in beside.fits.items()}
        written[0].write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
        if figure:
            from .fit_figure import overview  # noqa: PLC0415  matplotlib loads only when a figure is wanted

            written.append(overview(result, data, stem.with_name(stem.name + ".fit.png"), whole))
    except OSError as error:
        raise ValueError(f"out = {str(stem)!r} cannot be written: {error}") from error
    return written
