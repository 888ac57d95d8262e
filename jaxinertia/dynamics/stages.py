"""A word laid out in time: which sub-flow acts when, for one step and for a run of many.

A run of n steps of the word  u A w  is  u (A w u)^(n-1) A w: the same letters, cut before a drift that follows a kick.
Each turn of the inner loop then ends at one position, so all kicks there share one gradient that nobody has to carry,
and kicks that meet across the step's border become one.

Four more stages keep the accounts cheap. XLA's loop on the CPU writes every carried array in a pass of its own, copies
an old one that is still read when its successor is written, and recomputes what two passes need:
    L books the loss of an O as soon as its momentum is known, before any drift and so at the end of the turn before;
    U takes back the last L of a run whose next O is not part of it;
    G is A O A without noise in one: q += (a + b e^{-Gamma h}) p;
    K is B O B without noise and with equal kicks, which books from the momenta p0, p1 around it:
      the O's loss is  tanh(Gamma h / 2) |p0 + p1|^2 / 2.
"""

from typing import NamedTuple

from .._words import DRIFTS, RELAXATIONS, Letter, merge


class Stage(NamedTuple):
    """One sub-flow of a step that starts at time 0 and takes time 1."""

    kind: str
    weight: float
    drifted: float  # how much of the drift is done: the time at which a force acts
    relaxed: float  # how much of the relaxation is done: where its Brownian increment starts
    step: int  # 0 in this step, 1 in the next
    draw: int  # which of the step's relaxations this is
    around: tuple[float, float] = (0.0, 0.0)  # of G and K: the drifts, or kicks, before and after the relaxation

    @property
    def flow(self) -> tuple[str, float]:
        """Which O map it applies or books: K's books differently."""
        return ("K" if self.kind == "K" else "O", self.weight)


def lay_out(letters: tuple[Letter, ...], step: int = 0) -> tuple[Stage, ...]:
    """The stages of one step."""
    drifted, relaxed, draw = float(step), float(step), 0
    stages = []
    for kind, weight in letters:
        stages.append(Stage(kind, weight, drifted, relaxed, step, draw))
        drifted += weight * (kind in DRIFTS)
        relaxed += weight * (kind in RELAXATIONS)
        draw += kind == "O"
    return tuple(stages)


class Run(NamedTuple):
    """A run of steps: opening, then (n - 1) turns, then closing."""

    opening: tuple[Stage, ...]
    turn: tuple[Stage, ...]
    closing: tuple[Stage, ...]

    @property
    def hands_gradient_on(self) -> bool:
        """Whether the next run opens with a kick at the place where this one last kicked."""
        kinds = [stage.kind for stage in self.opening + self.closing if stage.kind not in "OLU"]
        return kinds[0] == "B" and kinds[-1] == "B"


def cut_before_drift(letters: tuple[Letter, ...], noisy: bool) -> Run:
    """The run of a word. Only without noise do relaxations join with each other or their neighbours: each draws."""
    drifts = [i for i, x in enumerate(letters) if x.kind in DRIFTS and letters[i - 1].kind not in DRIFTS]
    cut = next((i for i in drifts if letters[i - 1].kind == "B"), drifts[0])
    this, following = lay_out(letters), lay_out(letters, step=1)
    parts = (this[:cut], this[cut:] + following[:cut], this[cut:])
    opening, turn, closing = (with_losses(_join(part, "AB" if noisy else "ABDO")) for part in parts)
    if turn[0].kind == "L":  # of an O at the turn's start: book it one turn earlier
        opening, turn, closing = (*opening, turn[0]), (*turn[1:], turn[0]), _without(turn[0], closing)
    if noisy or sum(stage.kind == "O" for stage in turn) > 1:
        return Run(opening, turn, closing)
    return Run(_absorb(opening), _absorb(turn), _absorb(closing))


def with_losses(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages with an L for every O and D."""
    booked: list[Stage] = []
    for stage in stages:
        if stage.kind in RELAXATIONS:
            at = len(booked)
            while at and booked[at - 1].kind == "A":
                at -= 1
            booked.insert(at, stage._replace(kind="L"))
        booked.append(stage)
    return tuple(booked)


def _without(loss: Stage, closing: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The closing of a run that has already booked this loss: its own O's, or that of a next step."""
    if closing[0].kind == "L" and closing[0].weight == loss.weight:
        return closing[1:]
    return (loss._replace(kind="U"), *closing)


def _absorb(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """A O A becomes G, and B L O B with equal kicks K."""
    merged: list[Stage] = []
    for stage in stages:
        kinds = "".join(s.kind for s in merged[-3:]) + stage.kind
        if kinds.endswith("AOA"):
            relaxed, before = merged.pop(), merged.pop()
            stage = relaxed._replace(kind="G", around=(before.weight, stage.weight))
        elif kinds == "BLOB" and merged[-3].weight == stage.weight:
            relaxed, _, before = merged.pop(), merged.pop(), merged.pop()
            stage = relaxed._replace(kind="K", drifted=before.drifted, around=(before.weight, stage.weight))
        merged.append(stage)
    return tuple(merged)


def without_relaxation(letters: tuple[Letter, ...]) -> tuple[Letter, ...]:
    """The word where O is the identity, and D a drift."""
    return merge(Letter("A", w) if kind == "D" else Letter(kind, w) for kind, w in letters if kind != "O")


def _join(stages: tuple[Stage, ...], kinds: str) -> tuple[Stage, ...]:
    joined: list[Stage] = []
    for stage in stages:
        if joined and joined[-1].kind == stage.kind and stage.kind in kinds:
            first = joined.pop()
            stage = first._replace(weight=first.weight + stage.weight)
        joined.append(stage)
    return tuple(joined)
