"""A splitting as an optimizer: one call, one gradient, one turn of the word from kick to kick."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from .. import _tree
from .._checks import check_step, is_zero
from .._types import ArrayLike, Index, Key, Position, Scalar
from ..dynamics import brownian
from ..dynamics.random_numbers import RandomNumbers
from ..dynamics.splitting import Splitting
from ..dynamics.stages import Stage, lay_out
from ..physics.damping import Linear
from ..physics.kinetic import Euclidean
from ..physics.noise import White
from .real import refuse_complex


class SplittingState(NamedTuple):
    """The velocity where the word was cut, and the number of calls."""

    velocity: Position
    calls: Index


def as_optimizer(
    splitting: Any, dt: ArrayLike, gamma: ArrayLike, sigma: ArrayLike = 0.0, key: Key | None = None
) -> optax.GradientTransformation:
    r"""Any word of exact sub-flows as an optax optimizer: v -> e^{-gamma h} v + noise, v - h g, theta + h v.

    "OBA" is `optax.sgd(dt**2, momentum=exp(-gamma * dt))`; "BAOAB" with sigma is a Langevin optimizer, whose stationary
    temperature is sigma^2 / (2 gamma). From rest, and with the same key, the positions are those of `ji.simulate`. A
    call has one gradient, so the word may kick at one position a step. A word that starts with a drift is turned in a
    circle until its kick leads: at rest that drift does nothing, and the positions are those at which the word kicks.

    Arguments:
        splitting: a `ji.solvers.Splitting` or a word such as "BAOAB".
        dt: the step h, a number, in the unit of time: the square root of a learning rate.
        gamma: damping, a number, or a pytree like the parameters, in one over time.
        sigma: amplitude of white noise, a number, or a pytree like the parameters, in units of velocity over the root
            of time.
        key: a JAX random key, required if sigma is not zero.

    Returns:
        An `optax.GradientTransformation`.

    Raises:
        ValueError: for a word that kicks at two positions, or has no O to apply gamma or sigma; noise without a key;
            an invalid dt, gamma or sigma; complex parameters, by `init`.

    Example:
        >>> optimizer = ji.training.as_optimizer("BAOAB", dt=0.1, gamma=0.5, sigma=0.01, key=jax.random.key(0))

    Source: B. Leimkuhler, C. Matthews, T. Vlaar, Foundations of Data Science 1 (2019).
    """
    h = check_step(dt)
    splitting = splitting if hasattr(splitting, "letters") else Splitting(splitting)
    damping, noise = Linear(gamma), None if is_zero(sigma) else White(sigma)
    if not splitting.has_relaxation and not (noise is None and is_zero(damping.gamma)):
        raise ValueError(f"splitting = {splitting.letters!r} has no O to apply gamma and sigma; use 'OBA' or 'BAOAB'")
    if noise is not None and not splitting.takes_noise:
        raise ValueError(f"splitting = {splitting.letters!r} has D, which has no noise; use 'BAOAB', or sigma=0")
    if any(letter.kind not in "ABOD" for letter in splitting.letters):
        raise ValueError(f"splitting = {splitting.letters!r}: an optimizer has the letters A, B, O and D only")
    if noise is not None and key is None:
        raise ValueError("key is None, but sigma is not zero: pass key=jax.random.key(0)")
    turn, skipped = _from_kick_to_kick(splitting)
    source = (
        None if noise is None or key is None else RandomNumbers(key, 1 + max(stage.draw for stage in turn), noise.law)
    )

    def init(params):
        refuse_complex("params", params)
        return SplittingState(jax.tree.map(jnp.zeros_like, params), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None):
        del params
        gradient, dtype = updates, _tree.dtype(updates)
        length = jnp.asarray(h, dtype)
        law, amplitude = _tree.cast((damping, noise), dtype)
        increment = None if source is None else _increments(source, turn, state.calls, length, gradient)

        def flow(stages, velocity, moved):
            for stage in stages:
                if stage.kind == "B":
                    velocity = _tree.add_scaled(velocity, -stage.weight * length, gradient)
                elif stage.kind == "A":
                    moved = _tree.add_scaled(moved, stage.weight * length, velocity)
                else:
                    map_ = law.prepared(Euclidean(), amplitude, stage.weight * length, velocity)
                    if stage.kind == "D":
                        moved = jax.tree.map(jnp.add, moved, map_.flight(velocity, stage.weight * length))
                    velocity = map_.move(velocity, None if increment is None else increment(stage))
            return velocity, moved

        # What belongs to the step before the first one does not act.
        velocity, _ = flow(turn[:skipped], state.velocity, gradient)
        velocity = jax.tree.map(lambda new, old: jnp.where(state.calls > 0, new, old), velocity, state.velocity)
        velocity, moved = flow(turn[skipped:], velocity, jax.tree.map(jnp.zeros_like, gradient))
        return moved, SplittingState(velocity, state.calls + 1)

    return optax.GradientTransformation(init, update)


def _increments(source: RandomNumbers, turn: tuple[Stage, ...], call: Index, h: Scalar, like: Position):
    """The Brownian increments of this call, as a function of the stage."""
    drawn = brownian.numbers(source, turn, call, 1, like)
    return brownian.from_numbers(jax.tree.map(lambda x: x[0], drawn), h)


def _from_kick_to_kick(splitting: Splitting) -> tuple[tuple[Stage, ...], int]:
    """The word turned so that it starts where its one position of kicks is reached, just after a drift.

    Also how many of its stages belong to the step before. Their `step` is -1, so that they draw its noise.
    """
    stages = lay_out(splitting.letters)
    kinds, drifts = [stage.kind for stage in stages], "AD"
    after_drift = [i for i, kind in enumerate(kinds) if kinds[i - 1] in drifts and kind not in drifts]
    starts = [i for i in after_drift if _kicks_before_drift(kinds, i)]
    if len(starts) != 1:
        raise ValueError(
            f"splitting {''.join(kinds)!r} kicks at {len(starts)} positions a step, and an optimizer's call has one "
            "gradient; use a word such as 'OBA', 'BAB', 'OBABO' or 'BAOAB'"
        )
    (cut,) = starts
    if "B" not in kinds[:cut] and any(kind in drifts for kind in kinds[:cut]):
        # Kicks lie inside the word: what precedes them acts on a velocity of zero, and closes the turn instead.
        return (*stages[cut:], *(stage._replace(step=1) for stage in stages[:cut])), 0
    before = tuple(stage._replace(step=-1) for stage in stages[cut:]) if cut else ()
    return (*before, *stages[: cut or None]), len(before)


def _kicks_before_drift(kinds: list[str], start: int) -> bool:
    for kind in kinds[start:] + kinds[:start]:
        if kind in "AD":
            return False
        if kind == "B":
            return True
    return False
