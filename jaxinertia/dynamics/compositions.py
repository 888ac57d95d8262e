"""Words of order 4 and 6: symmetric steps repeated with scaled steps, and Runge-Kutta-Nystrom splittings.

Some of the steps run backwards, friction too, so a system with noise cannot use them.

Where the kinetic energy is Euclidean, the bracket [B, [B, [B, D]]] vanishes: the drift is linear in the momentum, and
with linear friction D, drift and friction at once, still is. Splittings that count on it (Nystrom's) need fewer
gradients for the same error than compositions, which do not: about half.
"""

from typing import TypeAlias

from .._words import Word, compose
from .splitting import Splitting

_CUBE_ROOT_2 = 2 ** (1 / 3)
_YOSHIDA_4 = (1 / (2 - _CUBE_ROOT_2), -_CUBE_ROOT_2 / (2 - _CUBE_ROOT_2), 1 / (2 - _CUBE_ROOT_2))
_SUZUKI_OUTER = 1 / (4 - 4 ** (1 / 3))
_SUZUKI_4 = (_SUZUKI_OUTER, _SUZUKI_OUTER, 1 - 4 * _SUZUKI_OUTER, _SUZUKI_OUTER, _SUZUKI_OUTER)
_KAHAN_LI_HALF = (
    0.39216144400731413928,
    0.33259913678935943860,
    -0.70624617255763935981,
    0.08221359629355080023,
)
_KAHAN_LI_6 = (*_KAHAN_LI_HALF, 1 - 2 * sum(_KAHAN_LI_HALF), *reversed(_KAHAN_LI_HALF))
# Kicks and flights up to the middle, without the last of each, which makes the sum 1: the order needs all digits.
_Half: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
_NYSTROM_4: _Half = (0.0829844064174052, 0.396309801498368, -0.0390563049223486), (0.245298957184271, 0.604872665711080)
_NYSTROM_6: _Half = (
    (0.0414649985182624, 0.198128671918067, -0.0400061921041533, 0.0752539843015807, -0.0115113874206879),
    (0.123229775946271, 0.290553797799558, -0.127049212625417, -0.246331761062075, 0.357208872795928),
)


def yoshida4(step: Word = "BAB") -> Splitting:
    """Yoshida's triple jump, order 4, three stages. By default without O, for conservative systems.

    Arguments:
        step: a symmetric word of order 2; "BAOAB" makes it damped.

    Returns:
        A `Splitting`.

    Raises:
        ValueError: if step is no word, or is not symmetric.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.1, solver=ji.solvers.yoshida4("BAOAB"))

    Source: H. Yoshida, Phys. Lett. A 150, 262 (1990).
    """
    return Splitting(compose(step, _YOSHIDA_4), order=4)


def suzuki4(step: Word = "BAOAB") -> Splitting:
    """Suzuki's fractal, order 4, five stages with small error constants.

    Arguments:
        step: a symmetric word of order 2.

    Returns:
        A `Splitting`.

    Raises:
        ValueError: if step is no word, or is not symmetric.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.2, solver=ji.solvers.suzuki4())

    Source: M. Suzuki, Phys. Lett. A 146, 319 (1990).
    """
    return Splitting(compose(step, _SUZUKI_4), order=4)


def kahan_li6(step: Word = "BAOAB") -> Splitting:
    """Kahan and Li's optimised composition, order 6, nine stages, for any kinetic energy and friction.

    Arguments:
        step: a symmetric word of order 2.

    Returns:
        A `Splitting`.

    Raises:
        ValueError: if step is no word, or is not symmetric.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.2, solver=ji.solvers.kahan_li6())

    Source: W. Kahan and R.-C. Li, Math. Comp. 66, 1089 (1997), s9odr6a.
    """
    return Splitting(compose(step, _KAHAN_LI_6), order=6)


def blanes_moan4() -> Splitting:
    """Blanes and Moan's Nystrom splitting B D B D ... B, order 4, six gradients a step.

    For the Euclidean kinetic energy, with linear friction or without. (Quadratic drag is not linear in the momentum:
    the order falls, and `suzuki4` keeps it.) When run, raises ValueError for noise or another kinetic energy.

    Returns:
        A `Splitting`.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.2, solver=ji.solvers.blanes_moan4())

    Source: S. Blanes and P. C. Moan, J. Comp. Appl. Math. 142, 313 (2002), SRKN_6^b.
    """
    kicks, flights = _NYSTROM_4
    return Splitting(_alternate(_around_middle(kicks), _halves(flights)), order=4)


def blanes_moan6() -> Splitting:
    """Blanes and Moan's Nystrom splitting B D B D ... B, order 6, eleven gradients a step: where accuracy matters.

    For the Euclidean kinetic energy, with linear friction or without. (Quadratic drag is not linear in the momentum:
    the order falls, and `kahan_li6` keeps it.) When run, raises ValueError for noise or another kinetic energy.

    Returns:
        A `Splitting`.

    Example:
        >>> ji.simulate(system, ts, 1.0, dt=0.2, solver=ji.solvers.blanes_moan6())

    Source: S. Blanes and P. C. Moan, J. Comp. Appl. Math. 142, 313 (2002), SRKN_11^b.
    """
    kicks, flights = _NYSTROM_6
    return Splitting(_alternate(_halves(kicks), _around_middle(flights)), order=6)


def _around_middle(weights: tuple[float, ...]) -> tuple[float, ...]:
    return (*weights, 1 - 2 * sum(weights), *reversed(weights))


def _halves(weights: tuple[float, ...]) -> tuple[float, ...]:
    half = (*weights, 0.5 - sum(weights))
    return half + half[::-1]


def _alternate(kicks: tuple[float, ...], flights: tuple[float, ...]) -> list[tuple[str, float]]:
    pairs = ((("B", kick), ("D", flight)) for kick, flight in zip(kicks[:-1], flights, strict=True))
    return [*(letter for pair in pairs for letter in pair), ("B", kicks[-1])]
