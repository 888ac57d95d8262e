"""The grammar of splittings: words in A (drift), B (kick), O (friction, noise) and D (drift and friction at once)."""

import math
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias


class Letter(NamedTuple):
    """One exact sub-flow, over `weight` times the step."""

    kind: str
    weight: float


Word: TypeAlias = "str | Iterable[tuple[str, float]]"

DRIFTS, RELAXATIONS = "AD", "OD"
_REMEDY = "write a word such as 'BAOAB', or (letter, weight) pairs such as [('B', 0.5), ('A', 1.0), ('B', 0.5)]"


def parse(word: Word) -> tuple[Letter, ...]:
    """Letters with their weights; each letter of a plain word takes dt divided by its count.

    Raises ValueError for an unknown letter, a missing drift or kick, D beside A or O, or weights of a letter that do
    not sum to 1.
    """
    if isinstance(word, str):
        letters = tuple(Letter(kind, 1 / word.count(kind)) for kind in word)
    else:
        if not isinstance(word, Iterable):
            raise ValueError(f"word = {word!r} is not a word: {_REMEDY}")
        letters = tuple(_letter(pair) for pair in word)
    for letter in letters:
        if letter.kind not in "ABDO" or len(letter.kind) != 1:
            raise ValueError(f"word has the letter {letter.kind!r}; only A, B, D and O are known: {_REMEDY}")
    kinds = {letter.kind for letter in letters}
    if "D" in kinds and kinds & {"A", "O"}:
        raise ValueError(f"word {word!r} has D beside A or O, and D is both at once; write 'BDB', or {_REMEDY}")
    if not kinds & set(DRIFTS):
        raise ValueError(f"word {word!r} has no A: nothing would move the position; {_REMEDY}")
    if "B" not in kinds:
        raise ValueError(f"word {word!r} has no B: nothing would feel the force; {_REMEDY}")
    for kind in sorted(kinds):
        weights = [letter.weight for letter in letters if letter.kind == kind]
        if not math.isclose(math.fsum(weights), 1.0, abs_tol=1e-12):
            raise ValueError(
                f"word: the weights of {kind} sum to {math.fsum(weights)!r}, not 1; "
                "scale them so that one step covers dt"
            )
    return letters


def _letter(pair) -> Letter:
    try:
        kind, weight = pair
        letter = Letter(str(kind), float(weight))
    except (TypeError, ValueError) as error:
        raise ValueError(f"word: {pair!r} is not a (letter, weight) pair; {_REMEDY}") from error
    if not math.isfinite(letter.weight) or letter.weight == 0:
        raise ValueError(f"word: weight {letter.weight!r} of {letter.kind!r} must be finite and not zero; {_REMEDY}")
    return letter


def compose(step: Word, weights: Iterable[float]) -> tuple[Letter, ...]:
    """The composition of steps h w_1, h w_2, ...: what raises the order of a symmetric step."""
    if not is_palindrome(parse(step)):
        raise ValueError(f"step = {step!r} must be symmetric, such as 'BAB' or 'BAOAB': only then does the order rise")
    scaled = (Letter(kind, w * weight) for w in weights for kind, weight in parse(step))
    return merge(scaled)


def merge(letters: Iterable[Letter], kinds: str = "ABDO") -> tuple[Letter, ...]:
    """Join neighbours of one kind: exact flows over a and b make the flow over a + b."""
    joined: list[Letter] = []
    for letter in letters:
        if joined and joined[-1].kind == letter.kind and letter.kind in kinds:
            letter = Letter(letter.kind, joined.pop().weight + letter.weight)
        joined.append(letter)
    return tuple(joined)


def is_palindrome(letters: tuple[Letter, ...]) -> bool:
    """Whether the step is symmetric, and so of even order."""
    kinds = [letter.kind for letter in letters]
    weights = [letter.weight for letter in letters]
    close = all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(weights, reversed(weights), strict=True))
    return kinds == kinds[::-1] and close
