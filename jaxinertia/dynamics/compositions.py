"""Compositions: a symmetric step of order 2, repeated with scaled (some negative) steps, gains order 4 or 6.

The O of a step runs backwards in the negative parts, so a system with noise cannot use them; without friction it is
the identity and left out.
"""

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


def yoshida4(step: Word = "BAB") -> Splitting:
    """Yoshida's triple jump, order 4, three stages. By default without O, for conservative systems.

    Arguments:
        step: a symmetric word of order 2; "BAOAB" makes it damped.

    Source: H. Yoshida, Phys. Lett. A 150, 262 (1990).
    """
    return Splitting(compose(step, _YOSHIDA_4), order=4)


def suzuki4(step: Word = "BAOAB") -> Splitting:
    """Suzuki's fractal, order 4, five stages with small error constants.

    Arguments:
        step: a symmetric word of order 2.

    Source: M. Suzuki, Phys. Lett. A 146, 319 (1990).
    """
    return Splitting(compose(step, _SUZUKI_4), order=4)


def kahan_li6(step: Word = "BAOAB") -> Splitting:
    """Kahan and Li's optimised composition, order 6, nine stages: the one to take where accuracy matters.

    Arguments:
        step: a symmetric word of order 2.

    Source: W. Kahan and R.-C. Li, Math. Comp. 66, 1089 (1997), s9odr6a.
    """
    return Splitting(compose(step, _KAHAN_LI_6), order=6)
