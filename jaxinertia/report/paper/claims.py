"""Claims and verdicts: what the paper says, what was predicted, what was measured, and what follows.

A verdict comes from numbers alone. A claim holds if every check of its literal statement passes; if one fails, but the
corrected statement's checks pass, it gets its qualification; if the corrected statement fails too, it fails.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """The outcomes a claim can have."""

    HOLDS = "holds"
    ON_AVERAGE = "holds on average"
    IN_THE_LIMIT = "holds as h -> 0"
    NEEDS_CORRECTION = "needs the correction given"
    FAILS = "fails"


@dataclass(frozen=True)
class Check:
    """|measured - predicted| <= tolerance, where the tolerance has a reason."""

    quantity: str
    predicted: float
    measured: float
    tolerance: float
    because: str = ""

    @property
    def passes(self) -> bool:
        return bool(math.isfinite(self.measured) and abs(self.measured - self.predicted) <= self.tolerance)


@dataclass(frozen=True)
class Claim:
    """One claim: the paper's words, its literal checks, and the corrected statement with its own."""

    where: str
    paper: str
    literal: tuple[Check, ...]
    correction: str = ""
    corrected: tuple[Check, ...] = field(default=())
    qualification: Verdict | None = None

    @property
    def verdict(self) -> Verdict:
        if not all(check.passes for check in self.corrected):
            return Verdict.FAILS
        if all(check.passes for check in self.literal):
            return Verdict.HOLDS
        return self.qualification or Verdict.FAILS


HEADER = """\
# The paper's claims, measured

arXiv 2505.19171, claim by claim. "Predicted" under *paper* is what the paper's words imply, under *corrected* what the
checked science says; "measured" comes from the runs behind the figures in this folder. A check passes if the two differ
by no more than the tolerance, and the verdict follows from the checks. Rows "beyond the paper" hold it up to its own
future work: what stands there as said is a statement of ours.
"""


def markdown(claims: list[Claim], settings: dict[str, str], captions: dict[str, str]) -> str:
    """The table as Markdown, with the figures' captions."""
    lines = [HEADER, "Settings (ours: the text at hand had lost the paper's numbers):\n"]
    lines += [f"- {name}: {value}" for name, value in settings.items()]
    lines += ["", "| where | the paper says | verdict | correction |", "|---|---|---|---|"]
    lines += [_line(c.where, c.paper, f"**{c.verdict}**", c.correction or "-") for c in claims]
    lines += ["", "## The numbers", ""]
    lines += ["| where | statement | quantity | predicted | measured | tolerance | passes |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for claim in claims:
        for statement, checks in (("paper", claim.literal), ("corrected", claim.corrected)):
            lines += [_row(claim.where, statement, check) for check in checks]
    lines += ["", "## The figures", "", *(f"- `{name}`: {caption}" for name, caption in captions.items())]
    return "\n".join(lines) + "\n"


def _row(where: str, statement: str, check: Check) -> str:
    tolerance = f"{check.tolerance:.2g}" + (f" ({check.because})" if check.because else "")
    numbers = (f"{check.predicted:.6g}", f"{check.measured:.6g}", tolerance)
    return _line(where, statement, check.quantity, *numbers, "yes" if check.passes else "no")


def _line(*cells: str) -> str:
    """A table row; a bar inside a cell would end it."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def to_json(claims: list[Claim], settings: dict[str, str], captions: dict[str, str]) -> str:
    """The table as JSON."""
    rows = [asdict(claim) | {"verdict": str(claim.verdict)} for claim in claims]
    return json.dumps({"settings": settings, "claims": rows, "figures": captions}, indent=2) + "\n"


def write(claims: list[Claim], settings: dict[str, str], folder: Path, captions: dict[str, str]) -> list[Path]:
    """Write claims.md and claims.json."""
    paths = [folder / "claims.md", folder / "claims.json"]
    paths[0].write_text(markdown(claims, settings, captions))
    paths[1].write_text(to_json(claims, settings, captions))
    return paths
