"""Functions that vectorise, in whatever function a user wrote: XLA's are up to eight times slower on CPUs.

The inverse of the error function has a file of its own; here are sine and cosine, in float64 (float32). There x = k pi
+ r with |r| <= pi / 2, then the Taylor series of sin r up to r^21 (r^13); its remainder, (pi/2)^23 / 23!, is 1.2e-18
(7e-10). pi is taken in parts, of which all but the last have 33 (8) bits, so that their products with k are exact for
|x| < 3e6 (1e5). Beyond, float64's absolute error grows as 1e-16 |x| / 3e6, a millionth of what the rounding of x itself
makes of the sine; float32's is up to as much as that, and 1.2e-7 still where XLA fuses products and sums. Past 1e15
(1e6), where a turn has less than a hundred places, it is NaN. Other dtypes and machines keep JAX's own.

Source of the reduction: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Primitive, primitives
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from . import inverse_error

_PI = {
    "float64": ("0x1.921fb544p+1", "0x1.0b4611a6p-33", "0x1.3198a2e037073p-68"),
    "float32": ("0x1.92p+1", "0x1.fap-11", "0x1.54p-19", "0x1.10b462p-29"),
}
_TERMS = {"float64": 11, "float32": 7}
_FURTHEST = {"float64": 1e15, "float32": 1e6}


def sin(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """sin x, within two units in the last place (three in float32)."""
    turns = jnp.round(x * (1 / math.pi))
    return _alternating(x, turns) * _sin_near_zero(_less(x, turns))


def cos(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """cos x, within two units in the last place (three in float32)."""
    turns = jnp.floor(x * (1 / math.pi))  # cos(k pi + pi/2 + r) = -(-1)^k sin r
    return -_alternating(x, turns) * _sin_near_zero(_less(x, turns + 0.5))


def _less(x, turns):
    """x - turns pi, without cancellation."""
    for part in _PI[x.dtype.name]:
        x = x - turns * float.fromhex(part)
    return x


def _alternating(x, turns):
    """(-1)^turns for a whole number; NaN where x is too large to know it."""
    half = turns * 0.5
    return jnp.where(jnp.abs(x) < _FURTHEST[x.dtype.name], 1.0 - 4.0 * (half - jnp.floor(half)), jnp.nan)


def _sin_near_zero(r):
    """The series, by Horner's rule; r + r^3 (...) keeps the leading term exact."""
    series = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(_TERMS[r.dtype.name])]
    square = r * r
    tail = series[-1]
    for coefficient in series[-2:0:-1]:
        tail = tail * square + coefficient
    return r + r * square * tail


def _elementwise(
    name: str, ours: Callable[[Array], Array], others: Callable[[Array], Array], dtypes: tuple[str, ...], machine: Any
) -> Primitive:
    """A primitive that this machine (None: every one) computes as `ours` in these dtypes; all else is `others`."""
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind))
    primitive.def_abstract_eval(lambda x: x)
    batching.defvectorized(primitive)

    def here(x):
        return ours(x) if x.dtype.name in dtypes else others(x)

    mlir.register_lowering(primitive, mlir.lower_fun(others, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(here, multiple_results=False), platform=machine)
    return primitive


_sine = _elementwise("sine", sin, jax.lax.sin, tuple(_TERMS), "cpu")
_cosine = _elementwise("cosine", cos, jax.lax.cos, tuple(_TERMS), "cpu")
# On every machine: near +-1 JAX's own loses six digits on GPUs too.
_inverse = _elementwise("inverse_error", inverse_error.erf_inv, jax.lax.erf_inv, inverse_error.DTYPES, None)
ad.defjvp(_sine, lambda dx, x: dx * _cosine.bind(x))
ad.defjvp(_cosine, lambda dx, x: -dx * _sine.bind(x))
ad.defjvp2(_inverse, lambda dx, y, x: dx * (math.sqrt(math.pi) / 2) * jnp.exp(y * y))  # = dx / erf'(y)
_OURS = {primitives.sin_p: _sine, primitives.cos_p: _cosine, primitives.erf_inv_p: _inverse}


def erf_inv(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The inverse of the error function, alike in and outside of loops."""
    return _inverse.bind(x)


def vectorised(jaxpr: Jaxpr) -> Jaxpr:
    """The same program with functions that vectorise, also in the loops and calls inside it."""
    return jaxpr.replace(eqns=[_replaced(eqn) for eqn in jaxpr.eqns])


def _replaced(eqn: JaxprEqn) -> JaxprEqn:
    if eqn.primitive in _OURS and eqn.params.get("accuracy") is None:
        return eqn.replace(primitive=_OURS[eqn.primitive], params={})
    return eqn.replace(params={name: _inside(param) for name, param in eqn.params.items()})


def _inside(param: Any) -> Any:
    if isinstance(param, ClosedJaxpr):
        return param.replace(jaxpr=vectorised(param.jaxpr))
    if isinstance(param, Jaxpr):
        return vectorised(param)
    if type(param) in (tuple, list):
        return type(param)(_inside(part) for part in param)
    return param
