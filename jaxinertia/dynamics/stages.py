"""A word laid out in time: which sub-flow acts when, for one step and for a run of many.

A run of n steps of the word  u A w  is  u (A w u)^(n-1) A w: the same letters, cut before a drift that follows a kick.
Each turn of the inner loop then ends at one position, so all kicks there share one gradient that nobody has to carry,
and kicks that meet across the step's border become one.
"""

from typing import Any, NamedTuple

from .._words import LETTERS, Letter, kinds, merge


class Stage(NamedTuple):
    """One sub-flow of a step that starts at time 0 and takes time 1."""

    kind: str
    weight: float
    drifted: float  # how much of the drift is done: the time at which a force acts
    relaxed: float  # how much of the relaxation is done: its time, and where its Brownian increment starts
    step: int  # 0 in this step, 1 in the next
    draw: int  # which of the step's relaxations this is
    around: tuple[float, float] = (0.0, 0.0)  # where it joins several: the weights before and after the relaxation
    place: int | None = None  # in a pattern that repeats with weights of its own each time: which of its stages

    @property
    def takes_map(self) -> bool:
        """Whether it applies or books an O map."""
        return self.kind not in LETTERS or LETTERS[self.kind].relaxes

    @property
    def flow(self) -> tuple[str, Any]:
        """Which O map it applies or books: K's books differently."""
        return ("K" if self.kind == "K" else "O", self.weight if self.place is None else self.place)


def lay_out(letters: tuple[Letter, ...], step: int = 0) -> tuple[Stage, ...]:
    """The stages of one step."""
    drifted, relaxed, draw = float(step), float(step), 0
    stages = []
    for kind, weight in letters:
        flow = LETTERS[kind]
        stages.append(Stage(kind, weight, drifted, relaxed, step, draw))
        drifted += weight * flow.drifts
        relaxed += weight * flow.relaxes
        draw += flow.draws
    return tuple(stages)


class Run(NamedTuple):
    """A run of steps: opening, then (n - 1) turns, then closing."""

    opening: tuple[Stage, ...]
    turn: tuple[Stage, ...]
    closing: tuple[Stage, ...]

    @property
    def all(self) -> tuple[Stage, ...]:
        """The stages of all three."""
        return self.opening + self.turn + self.closing

    @property
    def hands_gradient_on(self) -> bool:
        """Whether the next run opens with a kick at the place where this one last kicked."""
        acting = [stage.kind for stage in self.opening + self.closing if stage.kind not in "OLU"]
        return all(kind in LETTERS and LETTERS[kind].at_rest for kind in (acting[0], acting[-1]))


def cut_before_drift(letters: tuple[Letter, ...], joins: str) -> Run:
    """The run of a word. Neighbours of the kinds in `joins` become one: where their flows over a and b are one."""
    moving, resting = kinds("drifts"), kinds("at_rest")
    drifts = [i for i, x in enumerate(letters) if x.kind in moving and letters[i - 1].kind not in moving]
    cut = next((i for i in drifts if letters[i - 1].kind in resting), drifts[0] if drifts else 0)
    this, following = lay_out(letters), lay_out(letters, step=1)
    parts = (this[:cut], this[cut:] + following[:cut], this[cut:])
    return Run(*(_join(part, joins) for part in parts))


def without_relaxation(letters: tuple[Letter, ...]) -> tuple[Letter, ...]:
    """The word where nothing relaxes: each letter by the one that does the rest of its jobs."""
    others = ((kind if LETTERS[kind].frictionless is None else LETTERS[kind].frictionless, w) for kind, w in letters)
    return merge(Letter(kind, w) for kind, w in others if kind)


def _join(stages: tuple[Stage, ...], joins: str) -> tuple[Stage, ...]:
    joined: list[Stage] = []
    for stage in stages:
        if joined and joined[-1].kind == stage.kind and stage.kind in joins:
            first = joined.pop()
            stage = first._replace(weight=first.weight + stage.weight)
        joined.append(stage)
    return tuple(joined)
