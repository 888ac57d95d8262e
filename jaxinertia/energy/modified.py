r"""What a splitting conserves instead of the inertia: its modified inertia, by backward error analysis.

A frictionless step of size h is the exact flow of a modified energy. Composing the sub-flows of the word by the
Baker-Campbell-Hausdorff formula gives it to second order,

    I + h a v.grad L + h^2 (b v^T H v + c |grad L|^2),     H the Hessian of L,

with three numbers a, b, c of the word: (-1/2, 1/12, 1/12) for "BA", (0, 1/12, -1/24) for "BAB". Cutting behind h^n
leaves a wobble of order h^{n+1}; for a symmetric word odd orders vanish.

Source: E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2006, ch. IX.
"""

from typing import Any

import jax
import jax.numpy as jnp

from .. import _tree
from .._checks import check_step, is_traced
from .._types import ArrayLike, Scalar
from .._words import LETTERS, Letter, Word, parse
from ..physics.system import System, check_system, prepare, vary_alike
from .inertia import kinetic_and_potential

HIGHEST_ORDER = 2


def modified_inertia(
    system: System,
    position: Any,
    momentum: Any,
    dt: ArrayLike,
    *,
    solver: Any,
    order: int = HIGHEST_ORDER,
    t: Any = None,
) -> Scalar:
    r"""The modified inertia of one state, with powers of h up to h^order kept; friction and noise are left out.

    "BA", order 1:  I - (h/2) v.grad L, conserved exactly on quadratics; order 2 adds (h^2/12)(v^T H v + |grad L|^2).
    "BAB", order 2: I + (h^2/12) v^T H v - (h^2/24) |grad L|^2.

    Arguments:
        system: gives L; the kinetic energy must be Euclidean.
        position, momentum: one state (use `jax.vmap` for many).
        dt: the step h.
        solver: a `ji.solvers.Splitting`, or a word such as "BAB".
        order: the highest power of h kept: 0 (the inertia itself), 1 or 2.
        t: the time, where the potential depends on it.

    Returns:
        A scalar, in units of energy.

    Raises:
        ValueError: for another order, a solver that is not a splitting, another kinetic energy, a gyroscopic force, or
            a potential that depends on time and no t.

    Example:
        >>> ji.modified_inertia(system, 1.0, 0.0, 0.1, solver=ji.solvers.Splitting("BAB"), order=2)
    """
    check_system(system)
    if order not in range(HIGHEST_ORDER + 1):
        raise ValueError(f"order = {order!r} must be 0, 1 or 2, the highest power of dt to keep")
    if not is_traced(dt):
        check_step(dt)
    if not system.kinetic.is_euclidean:
        raise ValueError(f"kinetic = {system.kinetic!r}: the modified inertia is known for kinetic.Euclidean() only")
    if system.damping.turns:
        raise ValueError(
            "damping has a gyroscopic force, whose part in the modified inertia is not known: leave it out, or watch "
            "balance.discretization"
        )
    cross, curvature, slope = brackets(_letters(solver))
    system, position, momentum, _ = prepare(system, position, momentum)
    system, position, momentum = vary_alike(system, position, momentum)
    t = None if t is None else jnp.asarray(t, jnp.result_type(float))
    kinetic, potential = kinetic_and_potential(system, position, momentum, t)
    result = kinetic + potential
    dt = jnp.asarray(dt, result.dtype)
    if order == 0 or (order == 1 and cross == 0):
        return result
    gradient, turned = jax.jvp(lambda q: system.gradient(q, t), (position,), (momentum,))
    result = result + dt * cross * _tree.dot(momentum, gradient)
    if order == HIGHEST_ORDER:
        second = curvature * _tree.dot(momentum, turned) + slope * _tree.dot(gradient, gradient)
        result = result + dt**2 * second
    return result


def brackets(letters: tuple[Letter, ...]) -> tuple[float, float, float]:
    """(a, b, c): the factors of h v.grad L, h^2 v^T H v and h^2 |grad L|^2 in the modified inertia of a word.

    Builds log(exp(X_1) exp(X_2) ...) letter by letter; `commutator`, `drifts` and `kicks` are the coefficients of
    [A, B], [A, [A, B]] and [B, [B, A]].
    """
    drift = kick = commutator = drifts = kicks = 0.0
    for kind, w in letters:
        if LETTERS[kind].drifts:
            drifts += -w * commutator / 2 + (w * w * kick - w * drift * kick) / 12
            kicks += w * kick * kick / 12
            commutator += -w * kick / 2
            drift += w
        elif LETTERS[kind].kicks:
            kicks += w * commutator / 2 + (w * w * drift - w * kick * drift) / 12
            drifts += w * drift * drift / 12
            commutator += w * drift / 2
            kick += w
    return commutator, drifts, kicks


def _letters(solver: Any) -> tuple[Letter, ...]:
    letters = getattr(solver, "letters", None)
    if letters is None and not isinstance(solver, (str, list, tuple)):
        raise ValueError(f"solver = {solver!r} must be a ji.solvers.Splitting or a word such as 'BAB'")
    word: Word = solver
    return parse(word) if letters is None else letters
