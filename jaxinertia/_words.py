"""The grammar of splittings: a word is a row of letters, each a sub-flow that does one or more of a step's three jobs.

The table of letters is filled where the sub-flows are (`dynamics.letters`); the grammar asks for the jobs only.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias


class SubFlow(NamedTuple):
    """What a letter stands for: the map of a phase over a part of the step, and which jobs that map does.

    Arguments:
        act: a function (scene, stage, phase, gradient) -> phase after it, its accounts booked.
        drifts: whether it moves the position, and with it time.
        kicks: whether the potential and the force act on the momentum.
        relaxes: whether friction acts.
        draws: whether it takes a noise, one random number a component.
        at_rest: whether it takes grad L at the place where it acts, and stays there.
        exact: whether it is the flow of all its jobs at once, of K, L and friction, where K does not ask for the place
            (else a symplectic step): then the energy is known that a word conserves.
        joins: whether acting over a and then over b is acting over a + b, for every K.
        refuses: a function (system, position) -> why it cannot run that system, and the remedy; None if it can.
        frictionless: the letter that does the same where there is no friction; "" for none at all; None for itself.
        reverses: whether acting over -h undoes what it did over h, where it draws no noise.
        begin: a function (phase) -> what it keeps from step to step, at a run's start; it finds it in
            phase.memory[letter]. None: nothing.
        verdict: a function (what it kept) -> whether all its steps went well, and what to say if not.

    Raises:
        ValueError: by `add_letter`, which takes it, for a letter that is none or taken.

    Example:
        >>> ji.solvers.add_letter("W", ji.solvers.SubFlow(act=wait, drifts=True))
    """

    act: Callable[..., Any]
    drifts: bool = False
    kicks: bool = False
    relaxes: bool = False
    draws: bool = False
    at_rest: bool = False
    exact: bool = False
    joins: bool = False
    refuses: Callable[[Any, Any], str | None] = lambda system, position: None
    frictionless: str | None = None
    reverses: bool = False
    begin: Callable[[Any], Any] | None = None
    verdict: Callable[[Any], tuple[Any, str]] = lambda kept: (True, "")


LETTERS: dict[str, SubFlow] = {}


class Letter(NamedTuple):
    """One sub-flow, over `weight` times the step."""

    kind: str
    weight: float


Word: TypeAlias = str | Iterable[tuple[str, float]]

_REMEDY = "write a word such as 'BAOAB', or (letter, weight) pairs such as [('B', 0.5), ('A', 1.0), ('B', 0.5)]"
_JOBS = {
    "drifts": "nothing would move the position",
    "kicks": "nothing would feel the force",
    "relaxes": "friction would act for another time than the step",
}


def kinds(job: str) -> str:
    """The letters that do a job: "drifts", "kicks", "relaxes" or "draws"."""
    return "".join(kind for kind, flow in LETTERS.items() if getattr(flow, job))


def parse(word: Word) -> tuple[Letter, ...]:
    """Letters with their weights; each letter of a plain word takes dt divided by its count.

    Raises ValueError for an unknown letter, or if the weights of all that drifts, or of all that kicks, do not sum to
    1; those of what relaxes may be none at all.
    """
    if isinstance(word, str):
        letters = tuple(Letter(kind, 1 / word.count(kind)) for kind in word)
    else:
        if not isinstance(word, Iterable):
            raise ValueError(f"word = {word!r} is not a word: {_REMEDY}")
        letters = tuple(_letter(pair) for pair in word)
    for letter in letters:
        if letter.kind not in LETTERS:
            known = ", ".join(LETTERS)
            raise ValueError(f"word has the letter {letter.kind!r}; only {known} are known: {_REMEDY}")
    shown = word if isinstance(word, str) else "".join(letter.kind for letter in letters)
    for job, consequence in _JOBS.items():
        who = kinds(job)
        weights = [letter.weight for letter in letters if letter.kind in who]
        if not weights and job == "relaxes":
            continue
        if not weights:
            raise ValueError(f"word {shown!r} has no {_either(who)}: {consequence}; {_REMEDY}")
        if not math.isclose(math.fsum(weights), 1.0, abs_tol=1e-12):
            doing = " and ".join(dict.fromkeys(letter.kind for letter in letters if letter.kind in who))
            raise ValueError(
                f"word {shown!r}: the weights of {doing} sum to {math.fsum(weights)!r}, not 1: {_meaning(job)}; "
                "scale them so that one step covers dt, and let no letter do again what another does"
            )
    return letters


def _either(kinds: str) -> str:
    return " or ".join(kinds)


def _meaning(job: str) -> str:
    return {"drifts": "they drift", "kicks": "they kick", "relaxes": "they apply friction"}[job]


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


def merge(letters: Iterable[Letter]) -> tuple[Letter, ...]:
    """Join neighbours of one kind where their flows over a and b make the flow over a + b."""
    joined: list[Letter] = []
    for letter in letters:
        if joined and joined[-1].kind == letter.kind and LETTERS[letter.kind].joins:
            letter = Letter(letter.kind, joined.pop().weight + letter.weight)
        joined.append(letter)
    return tuple(joined)


def is_palindrome(letters: tuple[Letter, ...]) -> bool:
    """Whether the step is symmetric, and so of even order."""
    kinds = [letter.kind for letter in letters]
    weights = [letter.weight for letter in letters]
    close = all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(weights, reversed(weights), strict=True))
    return kinds == kinds[::-1] and close
