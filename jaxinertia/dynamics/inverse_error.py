"""The inverse of the error function, erf(erf_inv x) = x, in arithmetic that vectorises on CPUs, in float64 and float32.

XLA's own calls a scalar logarithm for each number, and forms 1 - x^2 from x^2, which costs six digits near +-1.

For |x| <= 0.8 it is |x| + |x| P(u)/Q(u) with u = 0.64 - x^2. Beyond it is r + P(v)/Q(v) with r^2 = -log((1 - |x|) / 2)
and v = r - 1.5, up to the last number before 1. Both P/Q are small beside what they are added to, and so is their
rounding. By least squares at Chebyshev's nodes, they are right to 3e-18 and 2e-17 in float64, 1.1e-8 and 3e-9 in
float32.

Source of the two regions and their variables: M. J. Wichura, Algorithm AS 241, Applied Statistics 37, 477 (1988); of
the logarithm, log m = 2 artanh((m - 1) / (m + 1)) with sqrt(1/2) <= m < sqrt(2): K.-C. Ng, FreeBSD's msun/e_log.c.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_EDGE, _CENTRE = 0.8, 1.5  # between the regions; of r beyond


def _numbers(*lines: str) -> tuple[float, ...]:
    return tuple(map(float, " ".join(lines).split()))


_INNER = {  # dtype -> P, Q from the lowest power up
    "float64": (
        _numbers(
            "0.132742253046029022 0.438434124049318062 -1.15631413899784085 -6.69602916838959803",
            "-10.0955541427286141 -6.10172915519961805 -1.37127491176140764 -0.0757337929614683979",
        ),
        _numbers(
            "1 8.49285560078449176 27.9201834916442982 44.8473429925155913",
            "36.5884700133645279 14.3060990997924141 2.25215176687215611 0.0903688704577564453",
        ),
    ),
    "float32": (
        _numbers("0.1327422404 -0.2087071621 -1.064404502 -0.4310743237"),
        _numbers("1 3.617660518 3.311442777 0.613707644"),
    ),
}
_OUTER = {
    "float64": (
        _numbers(
            "-0.615145716070499848 -1.08138241473445448 -0.729571738430876786 -0.241409983071626648",
            "-0.0412056946957140789 -0.00332309096911493427 -0.000093262730806990438",
            "-1.87791985959937997e-7 9.47860444997101567e-10",
        ),
        _numbers(
            "1 2.12569522067739532 1.80504886492859454 0.788516435014704621",
            "0.189777681749030756 0.0246871858878482238 0.00152589372674446001 0.0000313330075103455577",
        ),
    ),
    "float32": (
        _numbers("-0.6151457092 -0.4187809635 -0.05509788691 -0.0003328078795"),
        _numbers("1 1.048549221 0.3124700643 0.02295158408"),
    ),
}
DTYPES = tuple(_INNER)


def erf_inv(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """erf_inv x within three units in the last place (four in float32): infinite at +-1, NaN beyond."""
    size, log = jnp.abs(x), _log if x.dtype == jnp.float64 else jnp.log
    inner, r = size <= _EDGE, jnp.sqrt(-log(0.5 - 0.5 * size))
    (p, q), (tail_p, tail_q) = _INNER[x.dtype.name], _OUTER[x.dtype.name]
    u, v = _EDGE**2 - x * x, r - _CENTRE
    above = jnp.where(inner, size * _polynomial(p, u), _polynomial(tail_p, v))
    below = jnp.where(inner, _polynomial(q, u), _polynomial(tail_q, v))
    found = jnp.where(inner, size, r) + above / below
    return jnp.copysign(jnp.where(size < 1, found, jnp.where(size == 1, jnp.inf, jnp.nan)), x)


def _polynomial(coefficients: Sequence[float], x: Array) -> Array:
    """By Horner's rule, from the lowest power up."""
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


_SERIES = _numbers(  # 2 (artanh(s) / s - 1) / s^2 in s^2, to 5e-16 of itself: a hundredth of the logarithm
    "0.666666666666666968 0.399999999998996724 0.285714286259088 0.222222111444761832",
    "0.181828884902045029 0.15331740796215299 0.146162321422602327",
)
_LOG2 = tuple(float.fromhex(x) for x in ("0x1.62e42feep-1", "0x1.a39ef35793c76p-33"))  # 32 bits, and the rest
_ROOT = np.float64(0.5).view(np.int64) + np.int64(0x6A09E667F3BCD)  # the bits of sqrt(1/2)
_BIAS, _UNITS = np.int64(1024), np.float64(2.0**52)  # a number whose last bit counts ones


def _log(y: Float[Array, "..."]) -> Float[Array, "..."]:
    """log y within one unit in the last place, for a normal positive float64."""
    bits = jax.lax.bitcast_convert_type(y, jnp.int64)
    beyond = bits - _ROOT  # its exponent, rounded down, is that of y / sqrt(1/2)
    # As an unsigned number put below the bits of 2^52: not every CPU turns vectors of int64 into float64.
    shifted = jax.lax.shift_right_logical(beyond + (_BIAS << 52), np.int64(52)) | _UNITS.view(np.int64)
    power = jax.lax.bitcast_convert_type(shifted, jnp.float64) - (_UNITS + np.float64(_BIAS))
    less = jax.lax.bitcast_convert_type(bits - (beyond & np.int64(-(2**52))), jnp.float64) - 1.0
    s = less * (1.0 / (less + 2.0))  # a quotient that is read twice would be a loop of its own
    square = s * s
    # log(1 + less) = less - s (less - square (...)) keeps the leading term exact.
    return power * _LOG2[0] + ((power * _LOG2[1] - s * (less - square * _polynomial(_SERIES, square))) + less)
