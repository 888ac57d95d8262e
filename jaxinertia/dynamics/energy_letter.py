r"""The letter E: drift and kick at once, by a step that keeps K + L to rounding.

    q+ = q + h v,   p+ = p + h (F - g),   with means v and g for which  v.dp + g.dq = H(q+, p+) - H(q, p)  exactly

(Gonzalez): the gradient at the middle, and the least change of it, along dq (or dp), for which that holds. g is that of
L; where K asks for the place, of L plus the mean of K at both momenta. The step is symmetric and of order 2, and what a
force does in it is F.dq. It keeps neither the symplectic form nor the angular momentum.

Rounding, which would add up, is kept: the next step sets out to take back what the steps before it have added.

Source: O. Gonzalez, J. Nonlinear Sci. 6, 449 (1996); R. I. McLachlan, G. R. W. Quispel, N. Robidoux, Phil. Trans. R.
Soc. A 357, 1021 (1999).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .. import _tree
from .._types import Position, Scalar
from .._words import SubFlow
from .contraction import MOST, fixed_point, settle
from .letters import Scene, add_letter, time
from .phase import Phase
from .stages import Stage

_WORTH = 2**10  # a step with less kinetic energy than so many roundings of L is not corrected: by noise it would be
_ROUNDINGS = 2**12  # of the largest K + L: what a step that is not corrected may add to it
_SHARE = 2**-6  # of its kinetic energy, the most that a step takes back


class Kept(NamedTuple):
    """What E keeps from step to step."""

    error: Scalar  # what its steps have added to K + L, and the next is to take back
    largest: Scalar  # |K| + |L| so far: its last places are what rounding is
    sound: Any  # whether all of them were found, and what is not corrected is rounding


def preserve(scene: Scene, stage: Stage, phase: Phase, gradient: Any) -> Phase:
    """E: drift and kick at once, at one K + L. What F gave, and what L changed by itself, is work."""
    del gradient
    step = _Step(scene, stage, phase)
    memory: Any = phase.memory
    (position, momentum), corrected, found = step.end(jax.lax.stop_gradient(step.correction(memory["E"].error)))
    after = phase.but(position=position, momentum=momentum)
    kept = jax.lax.stop_gradient(step.kept(memory["E"], after, corrected, found))
    return step.work(scene, stage, after).but(memory={**memory, "E": kept})


class _Correction(NamedTuple):
    """What a step's energy is to be corrected by."""

    worth: Any  # whether there is enough kinetic energy for it
    error: Scalar  # of the steps before, to take back
    noise: Scalar  # the part of the momentum that rounding then decides


class _Step:
    """The equations of one step."""

    def __init__(self, scene: Scene, stage: Stage, phase: Phase):
        self.kinetic, self.h = scene.system.kinetic, stage.weight * scene.h
        self.start, self.q, self.p = phase, phase.position, phase.momentum
        middle = time(scene, stage, 0.5)
        self.level = lambda q: jnp.asarray(scene.system.level(q, middle), phase.friction.dtype)
        self.force = None if scene.system.force is None else scene.system.drive(middle, self.q)

    def potential(self, q: Position, p_end: Position) -> Scalar:
        """What g is the mean gradient of."""
        if self.kinetic.is_separable:
            return self.level(q)
        return self.level(q) + (self.kinetic.energy_at(q, self.p) + self.kinetic.energy_at(q, p_end)) / 2

    def drifted(self, q_end: Position, p_end: Position) -> Position:
        """q+, from guesses of both ends; of the momentum's alone where K does not ask for the place."""
        velocity = self.kinetic.mean_velocity(self.q, self.p, p_end)
        if not self.kinetic.is_separable:
            there = self.kinetic.mean_velocity(q_end, self.p, p_end)
            velocity = jax.tree.map(lambda a, b: (a + b) / 2, velocity, there)
        return _tree.add_scaled(self.q, self.h, velocity)

    def kicked(self, q_end: Position, p_end: Position, correction: _Correction | None) -> Position:
        """p+, from guesses of both ends."""
        way = jax.tree.map(jnp.subtract, q_end, self.q)
        slope = jax.grad(self.potential)(_tree.add_scaled(self.q, 0.5, way), p_end)
        if correction is not None:
            change = self.potential(q_end, p_end) - self.potential(self.q, p_end)
            missing = change - _tree.dot(slope, way) + correction.error
            size = _tree.dot(way, way)
            some = correction.worth & (size > jnp.finfo(size.dtype).tiny)
            slope = _tree.add_scaled(slope, jnp.where(some, missing / jnp.where(some, size, 1), 0), way)
        if self.force is not None:
            slope = jax.tree.map(jnp.subtract, slope, self.force)
        return _tree.add_scaled(self.p, -self.h, slope)

    def guess(self) -> tuple[Position, Position]:
        """An explicit step of order 2, for the iteration to start from."""
        q_end = _tree.add_scaled(self.q, self.h, self.kinetic.velocity_at(self.q, self.p))
        p_end = self.kicked(q_end, self.p, None)
        return self.drifted(q_end, p_end), p_end

    def correction(self, error: Scalar) -> _Correction:
        q_end, p_end = self.guess()
        way = jax.tree.map(jnp.subtract, q_end, self.q)
        moving = jnp.abs(_tree.dot(way, jax.tree.map(lambda a, b: (a + b) / 2, self.p, p_end)) / self.h)
        rounding = jnp.finfo(moving.dtype).eps * (jnp.abs(self.level(self.q)) + jnp.abs(self.level(q_end)))
        worth = (moving > 0) & (moving >= _WORTH * rounding)  # false for NaN
        most = jnp.where(worth, moving * _SHARE, 0)
        return _Correction(worth, jnp.clip(error, -most, most), jnp.where(worth, rounding / moving, 0))

    def end(self, correction: _Correction) -> tuple[tuple[Position, Position], Any, Any]:
        """(q+, p+), whether its energy is corrected, and whether it is found at all (else NaN).

        Where L is rounded by more than its last place, as a small difference of large numbers is, the corrected step
        may be noise alone, and no iteration settles; then the middle's gradient is taken as it is.
        """
        q_guess, p_guess = self.guess()
        separable = self.kinetic.is_separable

        def update(correction, end):
            q_end, p_end = (self.drifted(self.q, end), end) if separable else end
            p_end = self.kicked(q_end, p_end, correction)
            return p_end if separable else (self.drifted(q_end, p_end), p_end)

        guess, start = (p_guess, self.p) if separable else ((q_guess, p_guess), (self.q, self.p))
        sizes = jax.tree.map(lambda x: jnp.max(jnp.abs(x)), start)
        guess, sizes = jax.lax.stop_gradient((guess, sizes))
        _, settled = settle(lambda y: jax.lax.stop_gradient(update(correction, y)), guess, sizes, correction.noise)
        corrected = correction.worth & settled
        noise = jnp.where(settled, correction.noise, 0)
        # From the guess again, not from what was found: inside a scan JAX takes second derivatives of the iteration
        # itself, which has to have come to rest with them.
        end, found = fixed_point(partial(update, correction._replace(worth=corrected)), guess, sizes, noise)
        end = (self.drifted(self.q, end), end) if separable else end
        return jax.tree.map(lambda x: jnp.where(found, x, jnp.nan), end), corrected, found

    def kept(self, before: Kept, after: Phase, corrected: Any, found: Any) -> Kept:
        """What to keep after the step. Its error is H(q+, p+) - H(q, p) - F.dq."""
        ends = [(self.level(y.position), self.kinetic.energy_at(y.position, y.momentum)) for y in (self.start, after)]
        (potential, kinetic), (potential_end, kinetic_end) = ends
        # Whole sums, not K and L apart: over many steps the same rounded number is taken away that was added.
        change = (potential_end + kinetic_end) - (potential + kinetic)
        if self.force is not None:
            change -= self._given(after)
        largest = jnp.maximum(before.largest, jnp.abs(potential) + jnp.abs(kinetic))
        little = jnp.abs(change) <= _ROUNDINGS * jnp.finfo(change.dtype).eps * largest
        return Kept(before.error + change, largest, before.sound & found & (corrected | little))

    def work(self, scene: Scene, stage: Stage, after: Phase) -> Phase:
        """The phase after the step with its work booked: F.dq, and what L changed by before and after the middle."""
        work: Any = 0.0 if self.force is None else self._given(after)
        if scene.system.moves_with_time:
            begin, end = (time(scene, stage, part) for part in (0.0, 1.0))
            level, q = scene.system.level, after.position
            work += self.level(self.q) - level(self.q, begin) + level(q, end) - self.level(q)
        return after.book(work=work)

    def _given(self, after: Phase) -> Scalar:
        return _tree.dot(self.force, jax.tree.map(jnp.subtract, after.position, self.q))


def _begin(phase: Phase) -> Kept:
    zero = jnp.zeros_like(phase.friction)
    return Kept(zero, zero, jnp.asarray(True))


def _verdict(kept: Kept) -> tuple[Any, str]:
    return kept.sound, (
        f"dt is too large for the letter E, or the potential is not smooth or not finite there: its iteration did not "
        f"settle within {MOST} rounds, as it does where h^2 times the largest curvature of L (over the mass) is below "
        "about 3; take a smaller dt"
    )


add_letter("E", SubFlow(preserve, drifts=True, kicks=True, begin=_begin, verdict=_verdict, reverses=True))
