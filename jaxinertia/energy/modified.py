r"""What a splitting conserves instead of the inertia: its modified inertia, by backward error analysis.

A step of size h is the exact flow of one vector field, the word's Lie series. Without friction it is that of a modified
energy H~ = I + h (...) + h^2 (...) + ...; with friction dp/dt = -gamma p it is that of H~ and friction together: the
bracket of friction D = -gamma p d/dp with the field of an energy f is the field of the energy D f + gamma f, so that
all brackets are energies, and

    dH~/dt = -gamma p.dH~/dp.

(e^{gamma t} H~ is not constant.) Cutting behind h^n leaves a wobble of order h^{n+1}; h^{n+2} for a symmetric word and
an even n.

Source: E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2006, ch. IX; for friction R. McLachlan and
M. Perlmutter, J. Geom. Phys. 39, 276 (2001), on conformal Hamiltonian systems.
"""

from collections import defaultdict
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import check_step, is_traced, require
from .._shown import shown
from .._types import ArrayLike, Position, Scalar
from .._words import LETTERS, Letter, Word, parse
from ..physics.system import System, check_system, prepare, vary_alike
from .elementary import KINETIC, POTENTIAL, Tree, bracket, momentum_degree, values, vertices
from .inertia import kinetic_and_potential
from .lie_series import nested_commutators

HIGHEST_ORDER = 4
NEGLIGIBLE = 1e-13  # of a coefficient: the rounding of thirty letters


def modified_inertia(
    system: System,
    position: Any,
    momentum: Any,
    dt: ArrayLike,
    *,
    solver: Any,
    order: int = 2,
    t: Any = None,
) -> Scalar:
    r"""The modified inertia of one state, powers of h up to h^order kept; noise and an external force are left out.

    "BA", order 1:  I - (h/2) v.grad L, conserved exactly on quadratics; order 2 adds (h^2/12)(v^T H v + |grad L|^2).
    "BAB", order 2: I + (h^2/12) v^T H v - (h^2/24) |grad L|^2.
    "OBABO", order 2, z = gamma h: (1 - z^2/24) I - (z/6) h v.grad L + h^2 (v^T H v / 12 - |grad L|^2 / 24).
    With friction dH~/dt = -gamma p.dH~/dp along the steps.

    Arguments:
        system: a `ji.System`, which gives L, K (any that does not depend on the place) and friction: none, or one
            number gamma with dp/dt = -gamma p, such as `damping.Linear(gamma)` with the Euclidean K.
        position, momentum: one state, pytrees of float arrays, in the position's unit and that over time times the
            mass (use `jax.vmap` for many).
        dt: the step h, a number, in the unit of time.
        solver: a `ji.solvers.Splitting`, or a word such as "BAB".
        order: the highest power of h kept, an integer from 0 (the inertia itself) to 4; gamma h counts as a power of h.
        t: the time, a number, where the potential depends on it.

    Returns:
        A scalar, in units of energy.

    Raises:
        ValueError: for another order, a solver that is not a splitting, a letter that is no exact flow, a kinetic
            energy that depends on the place, friction that is not one number or that the word would drop, or a
            potential that depends on time and no t.

    Example:
        >>> ji.modified_inertia(system, 1.0, 0.0, 0.1, solver=ji.solvers.Splitting("BAB"), order=4)

    Source: E. Hairer, C. Lubich, G. Wanner, Geometric Numerical Integration, 2006, ch. IX.
    """
    check_system(system)
    if isinstance(order, bool) or order not in range(HIGHEST_ORDER + 1):
        raise ValueError(f"order = {shown(order)} must be 0, 1, 2, 3 or 4, the highest power of dt to keep")
    if not is_traced(dt):
        check_step(dt)
    letters = letters_of(solver)
    system, position, momentum, _ = prepare(system.without_noise(), position, momentum)
    if not system.kinetic.is_separable:
        raise ValueError(
            f"kinetic = {type(system.kinetic).__name__} depends on the place, and its drift is no exact flow: use "
            "ji.shadow_inertia, which takes the steps alone"
        )
    damped, position = check_conformal(system, letters, position)
    system, position, momentum = vary_alike(system, position, momentum)
    t = None if t is None else jnp.asarray(t, jnp.result_type(float))
    kinetic, potential = kinetic_and_potential(system, position, momentum, t)
    dt = jnp.asarray(dt, kinetic.dtype)
    z = jnp.asarray(system.damping.shrinks(system.kinetic, position), dt.dtype) * dt if damped else None
    terms = coefficients(letters, order, damped)
    if system.kinetic.is_quadratic:
        terms = {tree: c for tree, c in terms.items() if momentum_degree(tree) >= 0}
    others = [tree for tree in terms if vertices(tree) > 1]
    energy = system.kinetic.energy
    found = values(others, energy, lambda q: system.level(q, t), position, momentum)
    result = _factor(terms[KINETIC], z) * kinetic + _factor(terms[POTENTIAL], z) * potential
    for tree, value in zip(others, found, strict=True):
        result = result + dt ** (vertices(tree) - 1) * _factor(terms[tree], z) * value
    return result


def _factor(by_power: np.ndarray, z: Scalar | None) -> Any:
    """The coefficient of a tree, a polynomial in z = gamma h."""
    if z is None:
        return float(by_power[0])
    return jnp.polyval(jnp.asarray(by_power[::-1].copy(), z.dtype), z)


def coefficients(letters: tuple[Letter, ...], order: int, damped: bool = False) -> dict[Tree, np.ndarray]:
    """Elementary energy -> its coefficients at z^0, z^1, ... (z = gamma h) in a word's modified inertia up to h^order.

    What is only rounding is left out. With friction, for a quadratic K.
    """
    fields = 3 if damped else 2
    amounts = tuple(_amounts(letter)[:fields] for letter in letters)
    total: dict[Tree, np.ndarray] = defaultdict(lambda: np.zeros(order + 1))
    for word, c in nested_commutators(amounts, order + 1).items():
        if set(word) != {_FRICTION}:
            for tree, count in _energy_of(word).items():
                total[tree][word.count(_FRICTION)] += c * count
    cleaned = {tree: np.where(np.abs(c) > NEGLIGIBLE, c, 0.0) for tree, c in total.items()}
    return {tree: c for tree, c in cleaned.items() if np.any(c)}


_DRIFT, _KICK, _FRICTION = range(3)  # the fields, in the order of `_amounts`


def _amounts(letter: Letter) -> tuple[float, float, float]:
    flow, w = LETTERS[letter.kind], letter.weight
    return w * flow.drifts, w * flow.kicks, w * flow.relaxes


def _energy_of(word: tuple[int, ...]) -> dict[Tree, float]:
    """The energy whose field is the nested commutator of a word, friction of unit gamma."""
    first, *rest = word
    if not rest:
        return {KINETIC if first == _DRIFT else POTENTIAL: 1.0}
    if set(rest) == {_FRICTION}:
        if len(rest) > 1 or first == _FRICTION:
            return {}
        return {tree: -c for tree, c in _energy_of((_FRICTION, first)).items()}
    energy: dict[Tree, float] = defaultdict(float)
    for tree, c in _energy_of(tuple(rest)).items():
        if first == _FRICTION:
            energy[tree] += c * (1 - momentum_degree(tree))  # D f + f, where f is of this degree in p
            continue
        for joined, count in bracket(tree, KINETIC if first == _DRIFT else POTENTIAL).items():
            energy[joined] += c * count
    return energy


def letters_of(solver: Any) -> tuple[Letter, ...]:
    """The letters of a Splitting or of a word, each an exact flow; ValueError else."""
    letters = getattr(solver, "letters", None)
    if letters is None and not isinstance(solver, (str, list, tuple)):
        raise ValueError(f"solver = {shown(solver)} must be a ji.solvers.Splitting or a word such as 'BAB'")
    word: Word = solver
    letters = parse(word) if letters is None else letters
    for kind in dict.fromkeys(letter.kind for letter in letters):
        if not LETTERS[kind].exact:
            raise ValueError(
                f"solver has the letter {kind!r}, which is not the exact flow of K, L or friction: its steps are those "
                "of no energy that is known; take a word of A, B, O, D and F"
            )
    return letters


def check_conformal(system: System, letters: tuple[Letter, ...], position: Position) -> tuple[bool, Position]:
    """(whether friction dp/dt = -gamma p acts, the position) for a word and a prepared system without noise.

    ValueError for other friction, or for a word that would drop it (where traced, a run-time error).
    """
    for kind in dict.fromkeys(letter.kind for letter in letters):
        reason = LETTERS[kind].refuses(system, position)
        if reason is not None:
            raise ValueError(f"solver: {reason}")
    if system.is_frictionless:
        return False, position
    gamma = system.damping.shrinks(system.kinetic, position)
    if gamma is None:
        raise ValueError(
            f"damping = {type(system.damping).__name__} with kinetic.{type(system.kinetic).__name__} is not "
            "dp/dt = -gamma p with one number gamma: its brackets with the energies are no energies, so that no energy "
            "tells the steps; watch balance.discretization, or take damping.Momentum(gamma)"
        )
    if any(LETTERS[letter.kind].relaxes for letter in letters):
        return True, position
    word = "".join(letter.kind for letter in letters)
    shown = "" if is_traced(gamma) else f" = {float(gamma):g}"
    message = f"damping gamma{shown} would be dropped: the word {word!r} has no O; take 'O{word}', or leave it out"
    return False, require(position, gamma == 0, message)
