"""What `jaxinertia fit` does: a file of readings in; a table, a JSON file and a figure out."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..inference.candidates import Law, force_of, pose
from ..inference.compare import Comparison, advised, of_record
from ..inference.fit import fit
from ..inference.loss import check_loss
from ..inference.observations import Observations
from ..inference.result import Fit
from ..inference.shooting import LEAST_SQUARES
from ..inference.task import check_method
from .entries import band_of, choice, stem_of

READ: dict[str, Callable | None] = {
    "position": None,
    "velocity": lambda _q, p: p,  # of a unit mass, as all laws here have it
    "acceleration": lambda _q, _p, force: force,
}


SOUNDS = {
    "acceleration": r"accel|beschl|/s\^?2|/s²",
    "velocity": r"veloc|speed|geschw|vitesse|/s\b",
}  # names of columns


class Choices(NamedTuple):
    """How records are fitted: the law, whether noise drives it, options of `ji.fit`; `band` and `each` are texts."""

    law: Law = Law()
    noise: bool = False
    loss: str = "squares"
    method: str | None = None
    band: str | None = None
    offset: bool = True
    compare: bool = True  # other laws too, where residuals say that this one does not do
    read: str = "position"
    each: str | None = None


class Fitted(NamedTuple):
    """The fit, other laws beside it if they were fitted, and the files written."""

    result: Fit
    beside: Comparison | None
    written: list[Path]


def run(
    paths: Sequence[Path],
    columns: dict[str, Any],
    choices: Choices,
    *,
    window: tuple[float | None, float | None],
    out: Path | None,
    figure: bool,
    progress: bool,
    tell: Callable[[str], None],
) -> Fitted:
    """Read, fit, write: one file, or several as records that share their numbers. `tell` is given, line by line, how
    they were read, and the fit.

    `columns` are options of `Observations.from_csv`, `window` the first and the last time of each that count.

    Raises:
        ValueError: for a bad file, an unknown potential, drag, method or loss, or files that cannot be written.
    """
    law, noise = choices.law, choices.noise
    options = fit_options(choices)
    read, offset = READ[choices.read], None if choices.offset else 0.0
    whole = Observations.join([Observations.from_csv(path, **columns, read=read, offset=offset) for path in paths])
    data = _part(whole, window, noise, paths)
    system, free = pose(law, noise, force_of(data))
    free, each = _shared(free, system, choices.each)
    if each is not None and len(data.runs) < 2:
        raise ValueError(f"each = {choices.each!r}: there is one run; add --together files, or --segment")
    for k, path in enumerate(paths if len(paths) > 1 else ()):
        tell(f"record {k + 1}: {path}")
    for line in (*data.reading, *_misread(data.labels[1], choices.read)):
        tell(line)
    together = None if len(paths) == 1 else paths[0].with_name(f"{paths[0].stem}.together")
    stem = stem_of(paths[0], out or together, ".fit.json")  # before the fit
    result = fit(system, data, free, each=each, **options, progress=progress)
    tell(result.summary())
    beside = None
    if choices.compare and each is None and not noise and result.diagnostics.converged and advised(result):
        tell("\nby its residuals this law does not do; others beside it (--no-compare leaves them out):")
        beside = of_record(data, choices.loss, {law: result}, progress)
        tell(str(beside))
    return Fitted(result, beside, _write(result, beside, data, whole, stem, law.plain.name if figure else None))


def check_files(paths: Sequence[Path], together: bool, out: Path | None) -> None:
    """ValueError unless each file, or all together, can have results of its own."""
    if together and len(paths) < 2:
        raise ValueError(f"--together is for several files, and there is {len(paths)}; leave it out, or name more")
    if len(paths) > 1 and out is not None and not together:
        raise ValueError(f"out = {str(out)!r} names one result, and there are {len(paths)} files; leave it out")
    stems = [path.parent / path.stem for path in paths]
    twice = next((path for i, path in enumerate(paths) if stems[i] in stems[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice}: two files would have their results in {twice.stem}.fit.json; name each file once")


def _part(
    whole: Observations, window: tuple[float | None, float | None], noise: bool, paths: Sequence[Path]
) -> Observations:
    """What counts of the records of these files: by the window, or their free motion."""
    if window == (None, None):
        return whole if noise else whole.free_motion()
    data = whole.between(*window)
    lost = np.setdiff1d(whole.record, whole.record[data.rows])
    if len(lost):
        raise ValueError(f"{paths[lost[0]]} has no readings from {data.ts.min():g} to {data.ts.max():g}")
    return data


def _misread(name: str, read: str) -> Iterator[str]:
    """What to do where a column is named after what it is not taken for."""
    sounds = next((kind for kind, pattern in SOUNDS.items() if re.search(pattern, name, re.IGNORECASE)), read)
    if sounds != read:
        yield f"{name!r} is taken for a {read}; if it is the {sounds}, add --read {sounds}"


def _shared(free: Callable, system: Any, each: str | None) -> tuple[Callable, Callable | None]:
    """What all runs share, and what each has of its own: of these names, or the ends of them."""
    if each is None:
        return free, None
    names = list(free(system))
    own = []
    for text in (part.strip() for part in each.split(",")):
        found = [name for name in names if text in (name, name.partition(".")[2])]
        if len(found) != 1 or found[0] in own:
            raise ValueError(f"each = {each!r} must be one of {names}, or some with commas, each once")
        own += found
    return (
        lambda s: {name: leaf for name, leaf in free(s).items() if name not in own},
        lambda s: {name: free(s)[name] for name in own},
    )


def fit_options(choices: Choices) -> dict[str, Any]:
    """What `ji.fit` is asked for, checked before a file is read."""
    system, _ = pose(choices.law, choices.noise)
    for name, text in (("band", choices.band), ("method", choices.method)):
        if text not in (None, LEAST_SQUARES) and not choices.noise:
            raise ValueError(f"{name} = {text!r} is for records that noise drives: add --noise")
    band = band_of(choices.band)
    choice("read", choices.read, READ)
    check_method(system, choices.method, band)
    check_loss(choices.loss, not choices.noise)
    return {"method": choices.method, "band": band, "loss": choices.loss}


def _write(
    result: Fit, beside: Comparison | None, data: Observations, whole: Observations, stem: Path, asked: str | None
) -> list[Path]:
    """The JSON file, and a figure of the best law that was found, whichever was asked for; none if there is no name of
    that."""
    written = [stem.with_name(stem.name + ".fit.json")]
    try:
        told = result.to_json() | {"reading": list(data.reading)}
        if beside is not None:
            told["compared"] = {name: fit.to_json() for name, fit in beside.fits.items()}
        written[0].write_text(json.dumps(told, indent=1, allow_nan=False) + "\n")
        if asked is not None:
            from .fit_figure import headed, overview  # noqa: PLC0415  matplotlib loads only when a figure is wanted

            heading = "\n".join(headed(asked, result, beside))
            best = result if beside is None else beside.best
            written.append(overview(best, data, stem.with_name(stem.name + ".fit.png"), whole, heading))
    except OSError as error:
        raise ValueError(f"out = {str(stem)!r} cannot be written: {error}") from error
    return written
