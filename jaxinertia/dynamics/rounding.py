"""What float32 would lose: decays below a momentum's last place.

A float32 momentum has steps of 1e-7 of itself. A decay by gamma h < 3e-8 changes nothing; one of 1e-6 is a few such
steps, and rounds to a whole number of them, the same for as long as the momentum hardly changes. Where that is known,
the relaxations carry what they rounded away into the next (`Sum`), which costs several times the plain loop; where
gamma h is known at run time only, the plain loop runs, and too small a decay is refused.

Source: W. Kahan, Comm. ACM 8, 40 (1965).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _tree
from .._checks import is_traced, require
from .._types import Scalar
from .._words import LETTERS, Letter
from ..physics.relaxation import AbstractConstantRelaxation, Pushed
from ..physics.system import System

PLAIN = 1e-4  # decays that rounding changes by less than 1e-3, whatever the momentum
LEAST = 1e-6  # ... by less than 1e-2, and on average over the momenta of an oscillation by less than 1e-3


class Sum(NamedTuple):
    """A pytree of running sums, and what the last addition rounded away."""

    total: Any
    lost: Any

    def plus(self, amount: Any) -> "Sum":
        """The sums with these amounts added."""
        amount = jax.tree.map(jnp.add, amount, self.lost)
        total = jax.tree.map(jnp.add, self.total, amount)
        return Sum(total, jax.tree.map(lambda a, old, new: a - (new - old), amount, self.total, total))


def plan(system: System, letters: tuple[Letter, ...], h: Any, position: Any, momentum: Any) -> tuple[Any, bool]:
    """The position, and whether the relaxations are to carry what they round away.

    A run-time error (NaN in a sweep) where a decay that is not known yet is too weak for the plain loop in float32. To
    be called outside of what jit keeps: a sweep asks for NaN instead of errors.
    """
    weights = {letter.weight for letter in letters if LETTERS[letter.kind].relaxes}
    if _tree.dtype(momentum) == jnp.float64 or not weights:
        return position, False
    if is_traced((system.damping, system.noise, system.kinetic, h)):
        return _check(position, _weakest(system, weights, h, momentum)), False
    with jax.ensure_compile_time_eval():
        like = jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), momentum)
        return position, bool(_weakest(system, weights, h, like) < PLAIN)


def _weakest(system: System, weights: Iterable[float], h: Any, momentum: Any) -> Scalar:
    """By how much the weakest O changes a momentum of 1; 1 where none does, or where that depends on the momentum."""
    flows = [system.relaxation(w * jnp.asarray(h), momentum) for w in weights]
    ones, zeros = (jax.tree.map(of, momentum) for of in (jnp.ones_like, jnp.zeros_like))
    still = Pushed(zeros, zeros) if system.noise is not None and system.noise.remembers else zeros
    probe = Pushed(ones, zeros) if isinstance(still, Pushed) else ones
    sizes = [jnp.ones(1)]
    for flow in flows:
        if isinstance(flow, AbstractConstantRelaxation):
            change = flow.change(probe, still)
            change = change.momentum if isinstance(change, Pushed) else change
            sizes += [jnp.abs(x).reshape(-1) for x in jax.tree.leaves(change)]
    each = jnp.concatenate(sizes)
    return jnp.min(jnp.where(each > 0, each, 1.0))


def _check(run: Any, decay: Scalar) -> Any:
    """`run`; a run-time error (NaN in a sweep) where the weakest decay is too weak for the plain loop in float32."""
    message = (
        f"damping gamma times a step is below {LEAST:g} somewhere, and float32 loses so small a decay: enable x64, "
        'jax.config.update("jax_enable_x64", True), and start in float64; take a larger dt; or pass a gamma that is '
        "known, not traced, for which a slower loop keeps it"
    )
    return require(run, decay >= LEAST, message)
