"""How objects show themselves, in text and in a notebook; and how much of a value a message can bear."""

import re
import reprlib
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

MOST = 300  # characters of a value
FEW = 6  # numbers that are written out
MANY = 24  # numbers, above which a user's module is shown by their count

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 4, 120, 160
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxarray = 12


def shown(x: Any) -> str:
    """A value as a message tells it: in one line, of a few hundred characters at most, beginning and end kept."""
    return _cut(" ".join(_SHORT.repr(x).split()))


def _cut(said: str) -> str:
    return said if len(said) <= MOST else f"{said[: MOST - 80]} ... {said[-70:]}"


class Card(NamedTuple):
    """What an object says of itself: a title, rows of cells of which the first names the row, notes below."""

    title: str
    rows: Sequence[tuple[str, ...]]
    head: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Shown:
    """An object that prints as its `_card` says; as its leaves, where they are not (or not yet) numbers."""

    def _card(self) -> Card | None:
        raise NotImplementedError

    def __repr__(self) -> str:
        card = self._card()
        return eqx.tree_pformat(self) if card is None else text(card)

    def _repr_html_(self) -> str:
        card = self._card()
        return preformatted(eqx.tree_pformat(self)) if card is None else html(card)


def text(card: Card) -> str:
    """The card in lines of aligned cells."""
    rows = [card.head, *card.rows] if card.head else card.rows
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([card.title, *(f"  {line}" for line in lines), *card.notes])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line of each row: names to the left, numbers to the right of their column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    each = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join([row[0].ljust(widths[0]), *cells[1:]]) for row, cells in zip(rows, each, strict=True)]


def html(card: Card) -> str:
    """The card as a table."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in card.head)
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in card.rows
    )
    notes = "".join(f"<div>{escape(note)}</div>" for note in card.notes)
    return f"<div><strong>{escape(card.title)}</strong></div><table><tr>{head}</tr>{body}</table>{notes}"


def preformatted(lines: str) -> str:
    """Lines of text in a notebook."""
    return f"<pre>{escape(lines)}</pre>"


def is_there(tree: Any) -> bool:
    """Whether it has leaves, and all are arrays of numbers that this process has."""
    leaves = jax.tree.leaves(tree)
    return bool(leaves) and all(map(_is_known, leaves))


def _is_known(x: Any) -> bool:
    if isinstance(x, jax.core.Tracer) or not hasattr(x, "dtype") or not hasattr(x, "shape"):
        return False
    if isinstance(x, jax.Array):
        return not x.is_deleted() and x.is_fully_addressable and jax.numpy.issubdtype(x.dtype, np.number)
    return isinstance(x, np.ndarray | np.generic) and np.issubdtype(x.dtype, np.number)


def numbers(x: Any) -> str:
    """A few numbers written out; of more, their range."""
    if not _is_known(x):
        return eqx.tree_pformat(x)
    values = np.asarray(x)
    if values.size <= FEW:
        return _written(np.asarray(values, np.result_type(values, np.float32)))
    finite = values[np.isfinite(values)]
    lost = f", {values.size - finite.size:,} of {values.size:,} not finite" if finite.size < values.size else ""
    if not finite.size:
        return "not finite"
    low, high = f"{finite.min():.4g}", f"{finite.max():.4g}"
    return f"{low}{lost}" if low == high else f"{low} to {high}{lost}"


def _written(values: Any) -> str:
    return f"{values:.6g}" if values.ndim == 0 else f"[{', '.join(map(_written, values))}]"


def module(x: Any) -> str:
    """A module with its numbers in one line; a network by their count. It may say `shown_as` itself."""
    said = " ".join(
        eqx.tree_pformat(jax.tree.map(_leaf, x, is_leaf=lambda node: _in_short(node) is not None), width=200).split()
    )
    return _cut(re.sub(r"(, )?\b\w+=None(?=[,)])", "", said).replace("( ", "(").replace(" )", ")"))


def _in_short(node: Any) -> str | None:
    """What stands for a module as a whole; None where its fields are shown."""
    if not isinstance(node, eqx.Module):
        return None
    if hasattr(node, "shown_as"):
        return node.shown_as
    count = sum(leaf.size for leaf in jax.tree.leaves(node) if hasattr(leaf, "size"))
    own = type(node).__module__.partition(".")[0] == __package__
    return None if own or count <= MANY else f"{type(node).__name__}({count:,} numbers)"


def _leaf(node: Any) -> Any:
    said = _in_short(node)
    if said is None and hasattr(node, "dtype"):
        said = numbers(node) if np.size(node) <= FEW or not _is_known(node) else f"{_shape(node)} {numbers(node)}"
    return node if said is None else _Verbatim(said)


def _shape(x: Any) -> str:
    return eqx.tree_pformat(x).removesuffix("(numpy)")


class _Verbatim:
    """Prints as this text."""

    def __init__(self, said: str):
        self.said = said

    def __repr__(self) -> str:
        return self.said
