r"""Noether's charges: what a symmetry of the loss conserves, and how friction and the kinetic energy change it.

Source: E. Noether, Nachr. Ges. Wiss. Goettingen (1918) 235; for training, H. Tanaka and D. Kunin, NeurIPS 2021.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _tree
from .._checks import is_traced
from .._shown import shown
from .._types import Position, Scalar
from ..physics.system import System, as_arrays, prepare

PLACES = 8  # at which a symmetry is tried
AROUND = 0.1  # how far from it, in units of its size


class Charge(eqx.Module):
    """What `ji.noether` gives: Q = p.xi(q), its rate of change, and its law in a sentence.

    Attributes:
        system: the `ji.System` whose law it is.
        generator: xi, a function from a position to what is shaped like it.
        law: a sentence: whether Q is conserved, or how it falls, or by how much it breaks.
    """

    system: System
    generator: Callable
    law: str = eqx.field(static=True)

    def charge(self, position: Any, momentum: Any) -> Scalar:
        """Q = p.xi(q) of one state (position, momentum), pytrees (use `jax.vmap` for many)."""
        q, p = _state(position, momentum)
        return _tree.dot(p, self.generator(q))

    def rate(self, position: Any, momentum: Any, t: Any = None) -> Scalar:
        """dQ/dt = p.Dxi v - (grad L + dK/dq + friction - F).xi of one state (position, momentum) at the time t.

        t may be None where nothing depends on it. grad L.xi vanishes where the symmetry holds. Noise adds xi.sigma dW.
        """
        _check_time(self.system, t)
        q, p = _state(position, momentum)
        parts = _parts(self.system, self.generator, q, p, _time(t))
        return parts.kinetic - parts.loss - parts.friction + parts.drive


def noether(system: System, generator: Callable[[Any], Any], position: Any, *, t: Any = None) -> Charge:
    r"""The charge Q = p.xi(q) of a symmetry q -> q + s xi(q) of the loss, and its law in this system.

    grad L.xi = 0, checked at places around the position; then

        dQ/dt = p.Dxi v - dK/dq.xi - friction.xi + F.xi.

    The first two terms vanish where the kinetic energy has the symmetry too (rotations and translations of a Euclidean
    one). Then Q is conserved without friction; under dp/dt = -gamma p it falls as e^{-gamma t}; under any friction
    along p every relaxation changes it by |p+| / |p|. If xi is affine, each kick and drift of a word keeps Q exactly,
    at every step size (the letter E does not). What breaks it otherwise is measured and said.

    Arguments:
        system: a `ji.System`.
        generator: xi, from a position to what is shaped like it: one of `ji.generators`, or any callable.
        position: where to look; a pytree of float arrays, or an Equinox module.
        t: the time to look at, a number, where the potential, the friction or the force depends on it.

    Returns:
        A `Charge`: `.charge(q, p)`, `.rate(q, p)`, and `.law`, a sentence.

    Raises:
        ValueError: if the loss is not invariant, naming by how much; if the generator does not give what is shaped like
            the position; if values are traced; or if something depends on time and t is None.

    Example:
        >>> central = ji.System(lambda q: jnp.sum(q**2) ** 2, damping=0.4)
        >>> ji.noether(central, ji.generators.angular_momentum(), [1.0, 0.5]).law

    Source: E. Noether, 1918; for training, H. Tanaka and D. Kunin, NeurIPS 2021.
    """
    system, position, _, _ = prepare(system, position)
    if is_traced((system, position)):
        raise ValueError(
            "system or position is traced: noether looks at numbers; call it outside of jit, grad and vmap"
        )
    _check_time(system, t)
    _check_shape(generator, position)
    tried = _try(system, generator, *_places(position), _time(t))
    tolerance = float(jnp.finfo(_tree.dtype(position)).eps) ** (2 / 3)
    _check_invariance(tried, tolerance)
    return Charge(system, generator, _law(system, tried, tolerance))


class _Parts(NamedTuple):
    """What makes up dQ/dt at one state, and what it is to be compared with."""

    charge: Scalar
    kinetic: Scalar  # p.Dxi v - dK/dq.xi
    loss: Scalar  # grad L.xi
    friction: Scalar  # friction.xi
    drive: Scalar  # F.xi
    along: Scalar  # of friction, if it were its part along p alone
    bend: Scalar  # |D^2 xi (v, v)|
    of_kinetic: Scalar
    of_loss: Scalar
    of_friction: Scalar
    of_bend: Scalar


def _parts(system, generator, q, p, t) -> _Parts:
    v = system.kinetic.velocity_at(q, p)
    xi, turned = jax.jvp(generator, (q,), (v,))
    bend = jax.jvp(lambda q: jax.jvp(generator, (q,), (v,))[1], (q,), (v,))[1]
    slope, friction = system.gradient(q, t), system.damping.force_at(t, q, p, v)
    pull = jax.tree.map(jnp.zeros_like, q) if system.kinetic.is_separable else jax.grad(system.kinetic.energy_at)(q, p)
    drive = jnp.zeros_like(_tree.dot(p, p))
    if system.force is not None:
        drive = _tree.dot(system.drive(t, q), xi)
    charge, size = _tree.dot(p, xi), _tree.dot(p, p)
    along = charge * _tree.dot(friction, p) / jnp.where(size > 0, size, 1.0)
    return _Parts(
        charge,
        _tree.dot(p, turned) - _tree.dot(pull, xi),
        _tree.dot(slope, xi),
        _tree.dot(friction, xi),
        drive,
        along,
        _norm(bend),
        _norm(p) * _norm(turned) + _norm(pull) * _norm(xi),
        _norm(slope) * _norm(xi),
        _norm(friction) * _norm(xi),
        _norm(turned) + _norm(v),
    )


def _norm(tree):
    square = _tree.dot(tree, tree)
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def _places(position: Position) -> tuple[Position, Position]:
    """Places around the position, and momenta of all directions there, along a leading axis."""
    random = np.random.default_rng(0)
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, position))
    size = np.sqrt(sum(np.sum(x * x) for x in leaves) / sum(x.size for x in leaves)) or 1.0
    draws = [random.standard_normal((2, PLACES, *x.shape)).astype(x.dtype) for x in leaves]
    places = [jnp.asarray(x + AROUND * size * draw[0], x.dtype) for x, draw in zip(leaves, draws, strict=True)]
    return jax.tree.unflatten(structure, places), jax.tree.unflatten(structure, [jnp.asarray(d[1]) for d in draws])


@eqx.filter_jit
def _try(system, generator, positions, momenta, t) -> _Parts:
    """The parts at all places, one after the other."""
    return jax.lax.map(lambda state: _parts(system, generator, state[0], state[1], t), (positions, momenta))


def _check_invariance(tried: _Parts, tolerance: float) -> None:
    loss, of_loss = _largest(tried.loss), _largest(tried.of_loss)
    if not all(np.all(np.isfinite(part)) for part in tried):
        raise ValueError("potential, generator or friction is not finite around the position; take another place")
    if loss > tolerance * of_loss:
        raise ValueError(
            f"generator is no symmetry of the potential: grad L.xi is {loss:.3g} at a place near the position, "
            f"{loss / of_loss:.2g} of |grad L| |xi|, where it must vanish; pass a direction in which L stays the same"
        )


def _law(system: System, tried: _Parts, tolerance: float) -> str:
    """What became of Q at the places tried, in words."""
    kept = _largest(tried.kinetic) <= tolerance * _largest(tried.of_kinetic)
    words = [*_kinetic_words(tried, kept, tolerance), *_friction_words(system, tried, kept, tolerance)]
    if system.force is not None:
        words.append("The external force adds F.xi.")
    if not system.is_quiet:
        words.append("Noise adds xi.sigma dW.")
    return " ".join(words)


def _kinetic_words(tried, kept, tolerance):
    if not kept:
        share = _largest(tried.kinetic) / _largest(tried.of_kinetic)
        yield (
            "Q = p.xi(q) is not conserved: the kinetic energy has not the symmetry of the loss, and adds "
            f"p.Dxi v - dK/dq.xi to dQ/dt, up to {share:.2g} of its terms' size."
        )
    elif _largest(tried.bend) > tolerance * _largest(tried.of_bend):
        yield "xi is not affine: a word keeps the law of Q = p.xi(q) to its order only."


def _friction_words(system, tried, kept, tolerance):
    friction, charge, size = (np.asarray(x) for x in (tried.friction, tried.charge, tried.of_friction))
    rate = float(friction @ charge / (charge @ charge)) if np.any(charge) else 0.0
    slack = tolerance * size.max()
    steady = np.abs(friction - rate * charge).max() <= slack
    if not size.max() or (steady and abs(rate) * np.abs(charge).max() <= slack):
        yield "Q = p.xi(q) is conserved." if kept else "Friction does not act on it."
    elif steady and not system.damping.asks_for_time:
        yield f"Q = p.xi(q) falls as e^{{-{rate:.6g} t}}." if kept else f"Friction adds -{rate:.6g} Q."
    elif np.abs(friction - np.asarray(tried.along)).max() <= slack:
        yield (
            "Friction is along p: every relaxation changes Q = p.xi(q) by |p+|/|p|"
            + (", and nothing else does." if kept else ".")
        )
    else:
        share = np.abs(friction - np.asarray(tried.along)).max() / size.max()
        yield f"Friction is not along p: it adds -friction.xi to dQ/dt, {share:.2g} of it beside what is along p."


def _largest(values: Float[Array, " places"]) -> float:
    return float(np.max(np.abs(np.asarray(values))))


def _state(position, momentum):
    position, momentum = as_arrays("position", position), as_arrays("momentum", momentum)
    return eqx.filter(position, eqx.is_inexact_array), eqx.filter(momentum, eqx.is_inexact_array)


def _time(t):
    return jnp.asarray(0.0 if t is None else t, jnp.result_type(float))


def _check_time(system, t):
    if t is None and system.asks_for_time:
        raise ValueError(f"t is None, but the {system.asks_for_time} may depend on time; pass the time t=")


def _check_shape(generator, position):
    if not callable(generator):
        raise ValueError(
            f"generator = {shown(generator)} must be a function of the position, such as ji.generators.momentum()"
        )
    given = eqx.filter_eval_shape(lambda q: jax.tree.map(jnp.asarray, generator(q)), position)
    if not _tree.same_structure(given, position) or _tree.shapes(given) != _tree.shapes(position):
        raise ValueError(
            f"generator gives the shapes {_tree.shapes(given)} for a position of {_tree.shapes(position)}; it must be "
            "like the position"
        )
