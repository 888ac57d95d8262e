r"""Dry, linear and quadratic friction, component by component.

Where p has one sign, r = |p| obeys Riccati's equation r' = F - a r - c r^2, with F = -b, or the push against it:

    r(s) = [r0 (C - a S/2) + F S] / [C + a S/2 + c r0 S],   C = cosh(k s), S = sinh(k s)/k, k^2 = a^2/4 + F c,

until it vanishes. Then dry friction holds it, if the push is no larger than b, or it goes on the other way.
"""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import everywhere, is_traced, known, require
from ..._tree import dot
from ..._types import ArrayLike, Position
from ..relaxation import AbstractMemoryless
from ..series import cosh_sinh, log1p_ratio, phi
from ..shapes import leaves_of, match
from .abstract import AbstractDamping

_NAMES = ("linear", "quadratic", "dry")


class Drag(AbstractDamping):
    r"""Dry, linear and quadratic friction: dp/dt = -(linear + quadratic |v|) v - dry sign(v), component by component.

    dI/dt = -sum_i (dry_i + linear_i |v_i| + quadratic_i v_i^2) |v_i| <= 0. With the Euclidean kinetic energy, and with
    one mass a component, the O sub-step is exact: with dry friction a component stops after a finite time, and stays.
    In a word whose kicks are letters of their own a stopped component creeps; the letter F, kick and friction together,
    holds it bit by bit. Dry friction with any other kinetic energy is refused in words; backwards in time (a negative
    weight) the speed may become infinite within a step, which gives NaN.

    Arguments:
        linear: >= 0, a scalar, or shaped like the position, in one over time.
        quadratic: >= 0, a scalar, or shaped like the position, in one over length.
        dry: >= 0, a scalar, or shaped like the position, in force over mass; or None for none at all (a dry friction
            of 0 is a number that may change).

    Raises:
        ValueError: if one is negative or not finite.

    Example:
        >>> ji.System(ji.potentials.Pendulum(2.0), damping=ji.damping.Drag(linear=0.1, quadratic=0.05))

    Source: Bernoulli's and Riccati's equations; the quadratic law is Newton's (Principia, book II), dry friction
    Coulomb's (1785).
    """

    linear: Position
    quadratic: Position
    dry: Position | None

    def __init__(self, linear: ArrayLike = 0.0, quadratic: ArrayLike = 0.0, dry: ArrayLike | None = None):
        self.linear, self.quadratic = _coefficient("linear", linear), _coefficient("quadratic", quadratic)
        self.dry = None if dry is None else _coefficient("dry", dry)

    @property
    def linear_part(self) -> Position:
        return self.linear

    nonnegative: ClassVar[tuple[str, ...]] = ("linear", "quadratic", "dry")

    def composes(self, kinetic):
        return kinetic.is_euclidean and self.dry is None

    def likely(self, gamma, speed=None, mass=1.0):
        gamma = gamma * mass
        if speed is None:
            return {"linear": gamma}
        return {"linear": gamma, "quadratic": gamma / speed, "dry": gamma * speed}

    def in_units(self, origin, time, length):
        scales = {"linear": time, "quadratic": length, "dry": time**2 / length}
        scaled = [jax.tree.map(lambda x, by=by: x * by, getattr(self, name)) for name, by in scales.items()]
        return eqx.tree_at(lambda d: [getattr(d, name) for name in scales], self, scaled, is_leaf=lambda x: x is None)

    def force(self, velocity: Position) -> Position:
        """(linear + quadratic |v|) v + dry sign(v): the friction force is its negative. Shaped like the velocity."""
        a, c, b = self._laid_out(velocity)
        return jax.tree.map(lambda a, c, b, v: (a + c * jnp.abs(v)) * v + b * jnp.sign(v), a, c, b, velocity)

    def relaxation(self, kinetic, h, t, position, momentum, push=None):
        if not _by_component(kinetic, momentum):
            return super().relaxation(kinetic, h, t, position, momentum, push)
        push = jax.tree.map(jnp.zeros_like, momentum) if push is None else push
        a, c, b = self._laid_out(momentum)
        inverse = kinetic.inverse_mass(momentum)
        if inverse is not None:
            a = jax.tree.map(lambda a, w: a * w, a, inverse.value)
            c = jax.tree.map(lambda c, w: c * w**2, c, inverse.value)
        return jax.tree.map(partial(_rubbed, h), a, c, b, momentum, push)

    def refuses(self, kinetic, momentum, pushed):
        if self.dry is None or _by_component(kinetic, momentum):
            return None
        return (
            "dry friction stops what it rubs, which is known for the Euclidean kinetic energy and one mass a component "
            f"only, not for kinetic.{type(kinetic).__name__}; leave dry= out, or take a diffrax solver"
        )

    @property
    def sticks(self) -> bool:
        return self.dry is not None

    def prepared(self, kinetic, noise, h, momentum):
        if noise is None and kinetic.is_euclidean and self.dry is None:
            a, c, _ = self._laid_out(momentum)
            decay, excess = (jax.tree.map(lambda a, by=by: by(-a * h), a) for by in (jnp.exp, jnp.expm1))
            average = jax.tree.map(lambda a: phi(a * h), a)
            return Dragged(decay, excess, average, jax.tree.map(lambda c, m: c * h * m, c, average))
        return super().prepared(kinetic, noise, h, momentum)

    @property
    def strength(self) -> Any:
        return self.linear, self.quadratic, self.dry

    def check(self, position):
        for value in self._laid_out(position):
            holds = everywhere(lambda x: x >= 0, value)
            position = require(position, holds, "drag must not be negative in any component")
        return position

    def check_backwards(self, position):
        if self.dry is None:
            return position
        none = everywhere(lambda x: x == 0, self.dry)
        message = "drag dry stops a motion, which cannot run backwards in time: take a word without negative weights"
        return require(position, none, message + ", such as 'AFA' or 'BAOAB'")

    def _laid_out(self, like):
        """(linear, quadratic, dry), each like the position."""
        values = self.linear, self.quadratic, jnp.zeros(()) if self.dry is None else self.dry
        laid_out = [match(f"drag {name}", value, like) for name, value in zip(_NAMES, values, strict=True)]
        if any(coefficient.matrix for coefficient in laid_out):
            raise ValueError("drag acts component by component: pass numbers or arrays like the position, no matrix")
        return [coefficient.value for coefficient in laid_out]


def _by_component(kinetic, momentum):
    """Whether every component of the velocity is its momentum times a number."""
    inverse = kinetic.inverse_mass(momentum)
    return kinetic.is_euclidean or (inverse is not None and not inverse.matrix)


def _coefficient(name, value):
    return jax.tree.map(partial(_not_negative, name), leaves_of(f"drag {name}", value))


def _not_negative(name, x):
    if not is_traced(x) and not np.all(np.isfinite(np.asarray(x))):
        raise ValueError(f"drag {name} must be finite, got {x}; replace the NaN or inf")
    shown = "" if is_traced(x) else f", got {x}"
    return require(x, known(x) >= 0, f"drag {name} must not be negative{shown}; pass {name} >= 0")


def _rubbed(h, a, c, b, p, push):
    """p after the time h of p' = push - a p - c |p| p - b sign(p)."""
    side = jnp.where(p == 0, jnp.where(push < 0, -1.0, 1.0), jnp.sign(p)).astype(p.dtype)
    forward, stop = _one_sided(h, side * p, side * push - b, a, c)
    stops = stop < h
    # At rest: held by dry friction, or on in the direction of the push.
    held = jnp.abs(push) <= b
    rest = jnp.where(held, 0.0, jnp.abs(push) - b)
    backward, _ = _one_sided(jnp.where(stops, h - stop, 0.0), jnp.zeros_like(forward), rest, a, c)
    turned = jnp.where(held, 0.0, jnp.sign(push) * backward)
    return jnp.where((p == 0) & held & (b > 0), 0.0, jnp.where(stops, turned, side * forward))


def _one_sided(h, r, force, a, c):
    """(r after h of r' = F - a r - c r^2 for r >= 0, the time when it vanishes or infinity)."""
    square = a * a / 4 + force * c
    cosine, sine = cosh_sinh(square * h * h)
    sine = sine * h
    denominator = cosine + a * sine / 2 + c * r * sine
    value = (r * _decaying(square, h, a, force * c, cosine, sine) + force * sine) / jnp.where(
        denominator > 0, denominator, 1.0
    )
    stop = _stopping_time(square, r, force, a)
    # Not positive: after the stop, where the value means nothing; or backwards in time, once the speed is infinite.
    value = jnp.where((denominator > 0) | (stop < h), value, jnp.nan)
    return jnp.where(value < 0, 0.0, value), stop


def _decaying(square, h, a, bend, cosine, sine):
    """C - a S / 2, without the cancellation of a long decay: k - a / 2 = bend / (k + a / 2), bend = k^2 - a^2 / 4."""
    long = square * h * h > 1
    k = jnp.sqrt(jnp.where(long, square, 1.0))
    half = a / 2
    far = (bend / (k + half) + jnp.exp(-2 * k * jnp.abs(h)) * (k + half)) / (2 * k)
    return jnp.where(long & (h > 0), far, cosine - half * sine)


def _stopping_time(square, r, force, a):
    """When r' = F - a r - c r^2 first comes to 0: tanh(k s)/k = r / (a r / 2 - F), which is the arc of k^2 < 0 too."""
    stops = force < 0
    way = jnp.where(stops, a * r / 2 - force, 1.0)
    ratio = r / way
    x = square * ratio * ratio  # (k r / way)^2, below 1
    near = jnp.abs(x) < 1e-3
    k = jnp.sqrt(jnp.where(near, 1.0, jnp.abs(x)))
    real = (x > 0) & ~near
    arc = (
        jnp.where(real, jnp.arctanh(jnp.where(real, jnp.minimum(k, 1 - jnp.finfo(k.dtype).eps), 0.5)), jnp.arctan(k))
        / k
    )
    series = 1 + x / 3 * (1 + 3 * x / 5 * (1 + 5 * x / 7 * (1 + 7 * x / 9)))
    return jnp.where(stops, ratio * jnp.where(near, series, arc), jnp.inf)


class Dragged(AbstractMemoryless):
    """Linear and quadratic drag, Bernoulli's equation: p -> E p / (1 + c |p|) with E = e^{-a h}, c = b h phi(a h).

    Meanwhile it goes h phi(a h) p log(1 + c |p|) / (c |p|).
    """

    decay: Position
    excess: Position  # E - 1
    average: Position  # phi(a h)
    curve: Position
    from_sum: bool = eqx.field(static=True, default=False)

    def move(self, momentum, increment):
        return jax.tree.map(lambda e, c, p: e * p / _finite(1 + c * jnp.abs(p)), self.decay, self.curve, momentum)

    def change(self, momentum, increment):
        def leaf(x, c, p):
            bend = c * jnp.abs(p)
            return p * ((x - bend) / _finite(1 + bend))

        return jax.tree.map(leaf, self.excess, self.curve, momentum)

    def travel(self, momentum, h):
        return jax.tree.map(lambda p: h * p, self.move(momentum, None))

    def flight(self, momentum, h):
        return jax.tree.map(
            lambda a, c, p: (h * a) * p * log1p_ratio(c * jnp.abs(p)), self.average, self.curve, momentum
        )

    def between_kicks(self):
        return Dragged(self.decay, self.excess, self.average, self.curve, from_sum=True)

    def loss(self, momentum):
        before = jax.tree.map(_between, self.decay, self.curve, momentum) if self.from_sum else momentum
        change = self.change(before, None)
        return -(dot(before, change) + dot(change, change) / 2)

    def friction(self, losses, count):
        return -losses


def _finite(denominator):
    """NaN where a run back in time has passed an infinite speed: beyond, the formula has another sign."""
    return jnp.where(denominator > 0, denominator, jnp.nan)


def _between(decay, curve, total):
    """The p that solves p + E p / (1 + c |p|) = total, without cancellation."""
    size = jnp.abs(total)
    linear = 1 + decay - curve * size
    return 2 * total / (linear + jnp.sqrt(linear * linear + 4 * curve * size))
