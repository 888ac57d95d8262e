"""What letters keep from step to step, each in `Phase.memory` under its own name."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import require
from .._words import LETTERS, Letter
from .phase import Phase


def begun(letters: Iterable[Letter], phase: Phase) -> Phase:
    """The phase at the start of a run, with what the letters of its word keep."""
    kinds = dict.fromkeys(letter.kind for letter in letters)
    memory = {kind: LETTERS[kind].begin(phase) for kind in kinds if LETTERS[kind].begin is not None}
    return phase.but(memory=memory) if memory else phase


def sound(memory: dict[str, Any]) -> Any:
    """Whether all steps so far went well, as the letters say."""
    return jnp.all(jnp.stack([jnp.asarray(LETTERS[kind].verdict(kept)[0]) for kind, kept in memory.items()]))


def judged(run: Any, memory: dict[str, Any] | None) -> Any:
    """`run`; a run-time error (NaN in a sweep) where a letter says that one of its steps went wrong."""
    for kind, kept in (memory or {}).items():
        holds, message = LETTERS[kind].verdict(jax.lax.stop_gradient(kept))
        run = require(run, holds, message)
    return run
