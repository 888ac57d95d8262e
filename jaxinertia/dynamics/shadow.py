r"""The energy that a word conserves, from its steps alone: Skeel and Hardy's homogeneous extension.

A symplectic step is, up to an exponentially small rest, the flow of a modified energy H~(q, p). With one more pair of
coordinates (alpha, beta), the energy alpha^2 H(q/alpha, p/alpha) is homogeneous of degree 2, and so is the modified one
of the same word; alpha stays 1, and Euler's theorem gives

    2 H~ = p.q' - q.(p' + gamma p) - (beta' + gamma beta),

the rates those of the modified flow, which passes through the numerical points: central differences of 2k + 1 of them,
of error h^{2k}. Each letter moves beta by its own flow, beta' = -(2 K - q.K_q - p.K_p) while it drifts,
-(2 L - q.grad L) while it kicks, -gamma beta while it relaxes. Only differences of beta within the stencil count.

Source: R. D. Skeel and D. J. Hardy, SIAM J. Sci. Comput. 23, 1172 (2001).
"""

from fractions import Fraction
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _tree
from .._checks import check_step, is_traced
from .._shown import shown
from .._types import ArrayLike, Position, Scalar
from .._words import LETTERS, Letter
from ..energy.modified import check_conformal, letters_of
from ..physics.series import phi
from ..physics.system import System, check_system, prepare, vary_alike
from .advance import advance, relaxations, relaxing_flows
from .letters import Maps, Scene
from .phase import Phase, start
from .stages import Stage, lay_out


def shadow_inertia(
    system: System,
    position: Any,
    momentum: Any,
    dt: ArrayLike,
    *,
    solver: Any,
    steps: int,
    points: int = 7,
) -> tuple[Float[Array, " times"], Float[Array, " times"]]:
    r"""The energy H~ that the steps conserve, along a run of them, from the steps alone: no Hessian is taken.

    2 H~ = p.q' - q.(p' + gamma p) - (beta' + gamma beta),   rates by central differences of 2 points + 1 steps,

    with a number beta carried beside the state. For any word, any kinetic energy, a network's loss. Without friction
    H~ is constant but for the differences' error of order dt^{2 points} and rounding, about eps (|p| |q| + L) / dt
    with q counted from the start; 2 points should be well above the word's order. With friction
    dH~/dt = -gamma p.dH~/dp.

    Arguments:
        system: no noise, no external force, a potential that does not depend on time; friction none, or one number
            gamma with dp/dt = -gamma p, such as `damping.Momentum(gamma)`.
        position, momentum: the state to start from, pytrees of float arrays, in the position's unit and that over time
            times the mass; momentum None starts at rest.
        dt: the step, a number, in the unit of time.
        solver: a `ji.solvers.Splitting`, or a word such as "BAB".
        steps: how many, at least 2 points.
        points: how many steps the differences reach to either side.

    Returns:
        (times, values), each of shape (steps + 1 - 2 points,): the ends are trimmed; times from the start of the run.

    Raises:
        ValueError: for a system or a word as above, too few steps, or a dt that is not positive.

    Example:
        >>> duffing = ji.System(ji.potentials.Duffing())
        >>> times, values = ji.shadow_inertia(duffing, 1.0, 0.3, 0.025, solver="BAB", steps=800)

    Source: R. D. Skeel and D. J. Hardy, SIAM J. Sci. Comput. 23, 1172 (2001).
    """
    check_system(system)
    _check_numbers(steps, points)
    if not is_traced(dt):
        check_step(dt)
    letters = letters_of(solver)
    _check_autonomous(system)
    system, position, momentum, _ = prepare(system.without_noise(), position, momentum)
    damped, position = check_conformal(system, letters, position)
    system, position, momentum = vary_alike(system, position, momentum)
    h = jnp.asarray(dt, _tree.dtype(position))
    values = _along(system, position, momentum, h, letters, int(steps), int(points), damped)
    return h * jnp.arange(points, steps + 1 - points), values


def _check_numbers(steps, points):
    for name, value in (("steps", steps), ("points", points)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name} = {shown(value)} must be a whole number of at least 1")
    if steps < 2 * points:
        raise ValueError(f"steps = {steps} must be at least 2 * points = {2 * points}, the width of the differences")


def _check_autonomous(system):
    remedies = {
        "noise": (not system.is_quiet, "its steps are those of no energy; leave it out"),
        "force": (system.force is not None, "it makes the energy depend on time; put it into the potential, or out"),
        "potential": (system.moves_with_time, "it depends on time, and so would the energy; freeze it at one time"),
    }
    for name, (refused, remedy) in remedies.items():
        if refused:
            raise ValueError(f"{name} = {type(getattr(system, name)).__name__}: {remedy}")


class _Point(NamedTuple):
    """A numerical point; `fed` is what one step to it added to beta, beyond beta's own decay."""

    position: Position  # from where the run began
    momentum: Position
    fed: Scalar


@eqx.filter_jit
def _along(system, position, momentum, h, letters: tuple[Letter, ...], steps, points, damped):
    gamma = system.damping.shrinks(system.kinetic, position) if damped else jnp.zeros_like(h)
    gamma = jnp.asarray(gamma, h.dtype)
    stages = lay_out(letters)
    maps = relaxations(system, relaxing_flows(stages), h, momentum)
    origin = position
    rates, feeds = _stencil(points, gamma, h)

    def step(phase, _):
        phase, fed = _stepped(system, stages, maps, h, gamma, phase, origin)
        return phase, _point(phase, fed, origin)

    def shifted(carry, _):
        phase, window = carry
        phase, new = step(phase, None)
        window = jax.tree.map(lambda w, x: jnp.concatenate([w[1:], x[None]]), window, new)
        return (phase, window), _value(window, rates, feeds, points, gamma)

    phase = start(system, position, momentum)
    first = _point(phase, jnp.zeros_like(h), origin)
    phase, others = jax.lax.scan(step, phase, None, length=2 * points)
    window = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, others)
    value = _value(window, rates, feeds, points, gamma)
    _, rest = jax.lax.scan(shifted, (phase, window), None, length=steps - 2 * points)
    return jnp.concatenate([value[None], rest])


def _point(phase: Phase, fed: Scalar, origin: Position) -> _Point:
    return _Point(jax.tree.map(jnp.subtract, phase.position, origin), phase.momentum, fed)


def _value(window: _Point, rates: Array, feeds: Array, middle: int, gamma: Scalar) -> Scalar:
    """H~ at the middle of the window."""
    along = lambda tree: jax.tree.map(lambda x: jnp.tensordot(rates, x, 1), tree)  # noqa: E731
    q, p = (jax.tree.map(lambda x: x[middle], tree) for tree in window[:2])
    push = _tree.add_scaled(along(window.momentum), gamma, p)
    return (_tree.dot(p, along(window.position)) - _tree.dot(q, push) - jnp.sum(feeds * window.fed)) / 2


def _stepped(
    system: System,
    stages: tuple[Stage, ...],
    maps: Maps,
    h: Scalar,
    gamma: Scalar,
    phase: Phase,
    origin: Position,
) -> tuple[Phase, Scalar]:
    """One step, and beta after it if it was 0 before: with q counted from `origin`."""
    scene = Scene(system, jnp.zeros_like(h), h, maps, system.gradient, None)
    gradient, beta = None, jnp.zeros_like(h)
    for stage in stages:
        flow, w = LETTERS[stage.kind], stage.weight * h
        before, z = phase, gamma * w * flow.relaxes
        phase, gradient = advance(scene, [stage], phase, gradient)
        growth = jnp.zeros_like(h)
        if flow.kicks:
            place = jax.tree.map(jnp.subtract, before.position, origin)
            growth += 2 * system.level(before.position) - _tree.dot(place, gradient)
        if flow.drifts and not system.kinetic.is_quadratic:
            growth += _excess(system.kinetic, before, phase, origin)
        beta = jnp.exp(-z) * beta - w * phi(z) * growth
    return phase, beta


def _excess(kinetic: Any, before: Phase, after: Phase, origin: Position) -> Scalar:
    """2 K - q.K_q - p.K_p half way: exact where K does not depend on the place, else the midpoint rule of the drift."""
    q, p = (
        jax.tree.map(lambda a, b: (a + b) / 2, *pair)
        for pair in ((before.position, after.position), (before.momentum, after.momentum))
    )
    energy, (push, velocity) = jax.value_and_grad(lambda qp: kinetic.energy_at(*qp))((q, p))
    place = jax.tree.map(jnp.subtract, q, origin)
    return 2 * energy - _tree.dot(place, push) - _tree.dot(p, velocity)


def _stencil(points: int, gamma: Scalar, h: Scalar) -> tuple[Array, Array]:
    """(weights of a rate at the middle, weights of `fed` in beta' + gamma beta at the middle).

    beta_j = sum_{i <= j} e^{-gamma h (j - i)} fed_i within the window; its start drops out of beta' + gamma beta.
    """
    half = [_weight(j, points) for j in range(1, points + 1)]
    rates = jnp.asarray([-x for x in reversed(half)] + [0.0, *half], h.dtype) / h
    middle = rates.at[points].add(gamma)
    place = jnp.arange(2 * points + 1)
    behind = place[:, None] - place[None, :]
    beta = jnp.where(behind >= 0, jnp.exp(-gamma * h * jnp.maximum(behind, 0)), 0.0)
    return rates, (middle @ beta).at[0].set(0.0)


def _weight(j: int, points: int) -> float:
    """Of f(j h) in the central difference of 2 points + 1 values, exact for polynomials of degree 2 points."""
    product = Fraction(1, 2 * j)
    for m in range(1, points + 1):
        if m != j:
            product *= Fraction(m * m, m * m - j * j)
    return float(product)
