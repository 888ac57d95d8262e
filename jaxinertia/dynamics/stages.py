"""A word laid out in time: which sub-flow acts when, for one step and for a run of many.

A run of n steps of the word  u A w  (A its first drift) is  uA (w uA)^(n-1) w: the same letters, cut behind the drift
instead of before u. Each turn of the inner loop then starts at a fresh position, so all kicks there share one gradient
that nobody has to carry, and kicks that meet across the step's border become one.
"""

from typing import NamedTuple

from .._words import Letter, merge


class Stage(NamedTuple):
    """One sub-flow of a step that starts at time 0 and takes time 1."""

    kind: str
    weight: float
    drifted: float  # how much of the drift is done: the time at which a force acts
    relaxed: float  # how much of the relaxation is done: where its Brownian increment starts
    step: int  # 0 in this step, 1 in the next
    draw: int  # which of the step's relaxations this is


def lay_out(letters: tuple[Letter, ...], step: int = 0) -> tuple[Stage, ...]:
    """The stages of one step."""
    drifted, relaxed, draw = float(step), float(step), 0
    stages = []
    for kind, weight in letters:
        stages.append(Stage(kind, weight, drifted, relaxed, step, draw))
        drifted += weight * (kind == "A")
        relaxed += weight * (kind == "O")
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
        kinds = [stage.kind for stage in self.opening + self.closing if stage.kind != "O"]
        return kinds[0] == "B" and kinds[-1] == "B"


def cut_behind_drift(letters: tuple[Letter, ...], join_relaxations: bool) -> Run:
    """The run of a word. Relaxations join across the border only without noise: each draws on its own."""
    cut = next(i for i, letter in enumerate(letters) if letter.kind == "A") + 1
    this, following = lay_out(letters), lay_out(letters, step=1)
    turn = this[cut:] + following[:cut]
    return Run(this[:cut], _join(turn, "ABO" if join_relaxations else "AB"), this[cut:])


def without_relaxation(letters: tuple[Letter, ...]) -> tuple[Letter, ...]:
    """The word where O is the identity."""
    return merge(letter for letter in letters if letter.kind != "O")


def _join(stages: tuple[Stage, ...], kinds: str) -> tuple[Stage, ...]:
    joined: list[Stage] = []
    for stage in stages:
        if joined and joined[-1].kind == stage.kind and stage.kind in kinds:
            first = joined.pop()
            stage = first._replace(weight=first.weight + stage.weight)
        joined.append(stage)
    return tuple(joined)
