"""The whole paper: measure every part, draw every figure, write the table of claims."""

from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from .. import style
from . import beyond, conservation, discrete, network, noise, orbits, practice, rates
from .claims import Claim, write
from .findings import SETTINGS, Findings

PARTS: dict[str, Callable[[bool], Findings]] = {
    "conservation and decay": conservation.measure,
    "phase portraits": orbits.portrait,
    "decay rates": rates.measure,
    "landscape": orbits.landscape,
    "discrete steps": discrete.measure,
    "noise": noise.measure,
    "weight decay, monitoring": practice.measure,
    "a real network": network.measure,
    "beyond the paper": beyond.measure,
}


def run(folder: Path, quick: bool = False, progress: bool = True) -> tuple[list[Claim], list[Path], list[str]]:
    """Write figures (PNG, PDF) and claims (Markdown, JSON) into the folder.

    What is finished stays on disk if a later part fails. Needs float64: call it where x64 is enabled.

    Returns:
        (claims, files written, parts left out and why).

    Raises:
        ValueError: if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out = {str(folder)!r} cannot be made: {error}; pass a folder you can write to") from error
    parts = dict(PARTS)
    left_out = []
    if not network.available():
        del parts["a real network"]
        left_out.append("a real network: scikit-learn is missing; pip install 'jaxinertia[io]'")
    claims: list[Claim] = []
    captions: dict[str, str] = {}
    written: list[Path] = []
    with tqdm(parts.items(), disable=not progress, unit="part") as bar, style.applied():
        for name, measure in bar:
            bar.set_description(name)
            findings = measure(quick)
            claims += findings.claims
            if findings.figure is not None and findings.name is not None:
                written += style.save(findings.figure, folder, findings.name)
                captions[findings.name] = findings.caption
            tables = write(claims, SETTINGS, folder, captions)
    return claims, written + tables, left_out
