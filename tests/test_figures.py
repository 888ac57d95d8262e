"""Measured figures that the pages quote are those of the tables in benchmarks/results, to the digits that they have."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
FIGURE = r"(\d+\.?\d*|\.\d+)"


class Cell(NamedTuple):
    """A number of a table: of the rows that begin so, the only one, or what `of` makes of all of them."""

    table: str
    section: str  # how its title begins
    row: str  # how the row begins
    column: str
    of: Callable[[list[float]], float] | None = None


def duffing(row, column="ms as called"):
    return Cell("sweeps", "Duffing", row, column)


def oscillators(row):
    return Cell("oscillators", "4096", row, "ms")


def on_gpu(dtype, column):
    return Cell("gpu", "Trajectories on", f"Duffing | {dtype} | 8,388,608", column)


# page: sentences in its words, with # for each figure, and where the figures are.
QUOTED = {
    "docs/how_to/speed.md": [
        (
            "256 saved energies a point cost a sweep # to # times as much as the last one alone",
            [Cell("sweeps", "256 saved energies", "", "ratio", of) for of in (min, max)],
        ),
        (
            "`ji.sweep` moves 65,536 damped Duffing oscillators by 2000 steps in # ms, # of them in the loop; "
            "hand-written C with OpenMP takes # ms, # with vectors as wide, parallel numba # in blocks and # without.",
            [
                duffing("ji.sweep, all devices"),
                duffing("ji.sweep, all devices", "ms of mapping"),
                duffing("C, OpenMP |"),
                duffing("C, OpenMP, vectors"),
                duffing("numba, parallel, blocked"),
                duffing("numba, parallel, plain"),
            ],
        ),
        (
            "At C's accuracy `blanes_moan4` takes # ms (# in the loop), SciPy's DOP853 on the stacked vector #, and "
            "diffrax's Tsit5 with adaptive steps, vmapped, #.",
            [
                duffing("ji.sweep, blanes_moan4"),
                duffing("ji.sweep, blanes_moan4", "ms of mapping"),
                duffing("SciPy DOP853"),
                duffing("diffrax Tsit5"),
            ],
        ),
        (
            "In Rosenbrock's stiff valley the sweep has # of C's speed",
            [Cell("sweeps", "Rosenbrock", "ji.sweep, all devices", "speed of mapping")],
        ),
    ],
    "docs/how_to/gpu.md": [
        (
            "8,388,608 Duffing oscillators by 1000 steps take # ms in float32 and # ms in float64, # and # times what "
            "the same kernel by hand in CUDA C++ takes; the plain loop takes # and # times as long",
            [
                on_gpu(dtype, column)
                for column in ("kernel", "kernel / CUDA C++", "plain / kernel")
                for dtype in ("float32", "float64")
            ],
        ),
    ],
    "docs/coming_from/diffrax.md": [
        (
            "4096 oscillators by 2000 steps took # ms in blocks, the same word in vmapped `diffeqsolve` #, Tsit5 "
            "at the same step #",
            [
                oscillators("jaxinertia, blocks"),
                oscillators("the same word in vmapped diffeqsolve"),
                oscillators("Tsit5, same step"),
            ],
        ),
    ],
    "docs/coming_from/lmfit.md": [
        (
            "(# ms against #, compiled:",
            [Cell("fits", "One ring-down", "lmfit", "ms"), Cell("fits", "One ring-down", "jaxinertia", "ms")],
        ),
    ],
}


def number(cell: Cell, results: Path = ROOT / "benchmarks" / "results") -> float:
    """What the table says."""
    sections = re.split(r"^#+ ", (results / f"{cell.table}.md").read_text(), flags=re.MULTILINE)
    (section,) = (section for section in sections if section.startswith(cell.section))
    head, _, *rows = (line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|"))
    (column,) = [i for i, name in enumerate(head) if name == cell.column] or [
        i for i, name in enumerate(head) if name.startswith(cell.column)
    ]
    found = [float(row[column]) for row in rows if " | ".join(row).startswith(cell.row)]
    if cell.of is not None:
        return cell.of(found)
    (one,) = found
    return one


def agrees(quoted: str, measured: float) -> bool:
    """Whether this is the number, rounded to the digits that are written; zeros at the end of 360 may be none."""
    written = Decimal(quoted)
    last = written.as_tuple().exponent if "." in quoted else len(quoted) - len(quoted.rstrip("0"))
    return abs(written - Decimal(measured)) <= Decimal(10) ** last / 2 * Decimal("1.001")


SENTENCES = [(page, words, cells) for page, quoted in QUOTED.items() for words, cells in quoted]


@pytest.mark.parametrize(("page", "words", "cells"), SENTENCES, ids=[f"{page}: {x[:30]}" for page, x, _ in SENTENCES])
def test_quoted_figures_are_those_of_the_tables(page, words, cells):
    pattern = r"\s+".join(re.escape(word).replace(r"\#", FIGURE) for word in words.split())
    match = re.search(pattern, (ROOT / page).read_text())
    assert match, f"{page} no longer says {words!r}: change QUOTED with it"
    wrong = {
        (quoted, cell.table, cell.section, cell.row, cell.column): measured
        for quoted, cell in zip(match.groups(), cells, strict=True)
        if not agrees(quoted, measured := number(cell))
    }
    assert not wrong, f"{page} quotes what is measured otherwise: {wrong}"


@pytest.mark.parametrize(
    ("quoted", "measured", "expected"),
    [
        ("39", 38.6, True),
        ("39", 38.4, False),
        ("360", 356.0, True),
        ("360", 366.0, False),
        ("2.4", 2.41, True),
        ("2.4", 2.46, False),
        (".52", 0.523, True),
        ("0.5", 0.56, False),
        ("1.0", 1.06, False),
        ("655", 655.4, True),
        ("655", 656.0, False),
    ],
)
def test_a_figure_is_held_to_its_digits(quoted, measured, expected):
    assert agrees(quoted, measured) == expected
