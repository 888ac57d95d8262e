"""A catalogue of potentials: what the position rolls on. In training, the potential is the loss.

Any callable from a position to a scalar is a potential; these are Equinox modules, so their parameters are
leaves that jit, vmap and grad see. Potentials written for one coordinate sum over all components.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, PyTree

from .._checks import is_traced
from .._names import offered
from .._shown import shown
from .._tree import dot, sum_leaves
from .._types import ArrayLike, Position, Scalar
from .shapes import leaves_of, match

__all__ = ["DoubleWell", "Duffing", "Himmelblau", "Loss", "Pendulum", "Quadratic", "Rosenbrock", "TimeDependent"]


def __dir__() -> list[str]:
    return offered(globals())


def _parameter(name: str, value: ArrayLike) -> Array:
    value = leaves_of(name, value)
    for leaf in jax.tree.leaves(value):
        if not is_traced(leaf) and not np.all(np.isfinite(np.asarray(leaf))):
            raise ValueError(f"{name} must be finite, got {leaf}; replace the NaN or inf")
    return value


def _sum(per_component, *positions: Position) -> Scalar:
    return sum_leaves(jax.tree.map(lambda *x: jnp.sum(per_component(*x)), *positions))


def _plane(name: str, position: Position) -> tuple[Scalar, Scalar]:
    if getattr(position, "shape", None) != (2,):
        raise ValueError(
            f"position of {name} must have shape (2,), got {jax.tree.map(jnp.shape, position)}; "
            "pass one point, and use jax.vmap or ji.sweep for many"
        )
    return position[0], position[1]


class Quadratic(eqx.Module):
    """L(x) = (x - c)^T S (x - c) / 2: the paper's Eq. 12, and every minimum seen from close by.

    Arguments:
        stiffness: S, energy per length squared: a scalar, per component, or a (d, d) symmetric matrix for one 1-D
            position. It may be negative (a saddle).
        center: c, the stationary point; a scalar or shaped like the position.

    Raises:
        ValueError: if an entry is not finite, or the shapes do not fit the position when called.

    Example:
        >>> ji.potentials.Quadratic(stiffness=[1.0, 4.0])
    """

    stiffness: Position
    center: Position

    def __init__(self, stiffness: ArrayLike = 1.0, center: ArrayLike = 0.0):
        self.stiffness = _parameter("stiffness", stiffness)
        self.center = _parameter("center", center)

    def __call__(self, position: Position) -> Scalar:
        center = match("center", self.center, position)
        if center.matrix:
            raise ValueError(
                f"center has shape {self.center.shape}, a matrix; pass a number or a point like the position"
            )
        offset = jax.tree.map(jnp.subtract, position, center.value)
        stiffness = match("stiffness", self.stiffness, position)
        if stiffness.matrix:
            return dot(offset, jax.tree.map(lambda x: stiffness.value @ x, offset)) / 2
        return _sum(_spring, offset, stiffness.value)


@jax.custom_jvp
def _spring(offset, stiffness):
    return stiffness * offset * offset / 2


@partial(_spring.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    """The slope as one would write it, where differentiating the square halves and adds."""
    (offset, stiffness), (moved, stiffer) = primals, tangents
    slopes = ((lambda: stiffness * offset, moved), (lambda: offset * offset / 2, stiffer))
    moves = (slope() * dx for slope, dx in slopes if not isinstance(dx, SymbolicZero))
    return _spring(offset, stiffness), reduce(jnp.add, moves)


class Duffing(eqx.Module):
    """L(x) = sum(linear x^2 / 2 + quadratic x^3 / 3 + cubic x^4 / 4).

    The force is -(linear x + quadratic x^2 + cubic x^3).

    Arguments:
        linear, cubic, quadratic: coefficients of the restoring force, in force over length, length cubed and length
            squared; scalars, or arrays that broadcast against each leaf. Any may be negative.

    Raises:
        ValueError: if a coefficient is not a real finite number or array.

    Example:
        >>> ji.potentials.Duffing(linear=1.0, cubic=0.5)

    Source: G. Duffing, Erzwungene Schwingungen bei veraenderlicher Eigenfrequenz, 1918.
    """

    linear: Array
    cubic: Array
    quadratic: Array

    def __init__(self, linear: ArrayLike = 1.0, cubic: ArrayLike = 1.0, quadratic: ArrayLike = 0.0):
        self.linear = _parameter("linear", linear)
        self.cubic = _parameter("cubic", cubic)
        self.quadratic = _parameter("quadratic", quadratic)

    def __call__(self, position: Position) -> Scalar:
        return _sum(lambda x: _duffing(x, self.linear, self.quadratic, self.cubic), position)


@jax.custom_jvp
def _duffing(x, linear, quadratic, cubic):
    return x * x * (linear / 2 + x * (quadratic / 3 + x * (cubic / 4)))


@partial(_duffing.defjvp, symbolic_zeros=True)
def _(primals, tangents):
    """The slope as one would write it: a third of the operations that differentiating the polynomial leaves."""
    x, linear, quadratic, cubic = primals
    slopes = (lambda: x * (linear + x * (quadratic + x * cubic)), *(partial(_share, x, power) for power in (2, 3, 4)))
    value = _duffing(*primals)
    moves = (slope() * dx for slope, dx in zip(slopes, tangents, strict=True) if not isinstance(dx, SymbolicZero))
    return value, reduce(jnp.add, moves)


def _share(x, power):
    """By how much L grows with the coefficient of x^(power - 1) in the force."""
    return x**power / power


class DoubleWell(eqx.Module):
    """L(x) = sum(height (x^2 / width^2 - 1)^2): minima at +-width, a barrier of `height` between.

    Arguments:
        height: barrier, a number or array, in units of energy.
        width: distance of each minimum from the barrier, a number or array, in the position's unit; not zero.

    Raises:
        ValueError: if one is not a real finite number or array, or the width is zero.

    Example:
        >>> ji.potentials.DoubleWell(height=1.0, width=1.0)
    """

    height: Array
    width: Array

    def __init__(self, height: ArrayLike = 1.0, width: ArrayLike = 1.0):
        self.height = _parameter("height", height)
        self.width = _parameter("width", width)
        if not is_traced(self.width) and np.any(np.asarray(self.width) == 0):
            raise ValueError(f"width must not be zero, got {width}; pass the distance of a minimum from the barrier")

    def __call__(self, position: Position) -> Scalar:
        return _sum(lambda x: self.height * (x * x / self.width**2 - 1) ** 2, position)


class Pendulum(eqx.Module):
    """L(x) = sum(frequency^2 (1 - cos x)): small swings have the angular frequency `frequency`.

    Arguments:
        frequency: omega_0, a number or array, in radians per time.

    Raises:
        ValueError: if it is not a real finite number or array.

    Example:
        >>> ji.potentials.Pendulum(frequency=2.0)
    """

    frequency: Array

    def __init__(self, frequency: ArrayLike = 1.0):
        self.frequency = _parameter("frequency", frequency)

    def __call__(self, position: Position) -> Scalar:
        return _sum(lambda x: self.frequency**2 * _one_minus_cosine(x), position)


@jax.custom_jvp
def _one_minus_cosine(x):
    """2 sin(x/2)^2: to full precision also at small x."""
    return 2 * jnp.sin(x / 2) ** 2


@_one_minus_cosine.defjvp
def _(primals, tangents):
    """One sine, where differentiating the square takes a sine and a cosine."""
    (x,), (dx,) = primals, tangents
    return _one_minus_cosine(x), jnp.sin(x) * dx


class Rosenbrock(eqx.Module):
    """L(x, y) = (a - x)^2 + b (y - x^2)^2: a curved valley with its minimum at (a, a^2).

    Arguments:
        a: where the minimum is, a number, in the position's unit.
        b: how steep the valley's walls are, a number. The position that it is called with has shape (2,).

    Raises:
        ValueError: if one is not a real finite number; when called, for a position of another shape.

    Example:
        >>> ji.potentials.Rosenbrock(a=1.0, b=100.0)

    Source: H. H. Rosenbrock, The Computer Journal 3, 175 (1960).
    """

    a: Array
    b: Array

    def __init__(self, a: ArrayLike = 1.0, b: ArrayLike = 100.0):
        self.a = _parameter("a", a)
        self.b = _parameter("b", b)

    def __call__(self, position: Position) -> Scalar:
        x, y = _plane("Rosenbrock", position)
        return (self.a - x) ** 2 + self.b * (y - x * x) ** 2


class Himmelblau(eqx.Module):
    """L(x, y) = (x^2 + y - 11)^2 + (x + y^2 - 7)^2: four minima of equal depth, 0.

    The position that it is called with has shape (2,).

    Raises:
        ValueError: when called, for a position of another shape.

    Example:
        >>> ji.potentials.Himmelblau()

    Source: D. M. Himmelblau, Applied Nonlinear Programming, 1972.
    """

    def __call__(self, position: Position) -> Scalar:
        x, y = _plane("Himmelblau", position)
        return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


class Loss(eqx.Module):
    """L(params) = fn(params, *data): any network's loss over its data, as a potential on its parameters.

    Arguments:
        fn: function of (params, *data) that returns a scalar. Where params is an Equinox model, its inexact
            array leaves are the position that moves; everything else stays as it is.
        *data: arrays that stay fixed.

    Raises:
        ValueError: if fn is not callable.

    Example:
        >>> ji.potentials.Loss(lambda model, x, y: jnp.mean((jax.vmap(model)(x) - y) ** 2), x, y)
    """

    fn: Callable[..., Scalar]
    data: tuple[Any, ...]

    def __init__(self, fn: Callable[..., Scalar], *data: Any):
        if not callable(fn):
            raise ValueError(f"fn must be callable as fn(params, *data), got {shown(fn)}")
        self.fn = as_module("fn", fn, "params", *(f"data[{i}]" for i in range(len(data))))
        self.data = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, data)

    def __call__(self, position: PyTree) -> Scalar:
        return self.fn(position, *self.data)


class Function(eqx.Module):
    """A bare callable as a module without leaves, so that what holds it is always a pytree."""

    fn: Callable = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @property
    def shown_as(self) -> str:
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(self, *args: Any) -> Any:
        with refusing_numpy(self.name):
            return self.fn(*args)


def as_module(name: str, fn: Callable, *arguments: str) -> Callable:
    """A callable of these arguments, if any are named, as a module: Equinox's as they are, others as a static function.

    ValueError where it cannot be called with so many.
    """
    if arguments and not _takes(fn, len(arguments)):
        raise ValueError(
            f"{name} = {getattr(fn, '__name__', type(fn).__name__)} must be a function of ({', '.join(arguments)}), "
            f"and is one of {inspect.signature(fn)}"
        )
    return fn if isinstance(fn, eqx.Module) else Function(fn, name)


def _takes(fn: Callable, count: int) -> bool:
    try:
        inspect.signature(fn).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # written in C, and says nothing
        return True
    return True


_ASKS = (
    jax.errors.TracerArrayConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
)


@contextmanager
def refusing_numpy(name: str) -> Iterator[None]:
    """Inside, what asks a traced array for its numbers raises a ValueError with the remedy."""
    try:
        yield
    except _ASKS as error:
        raise ValueError(
            f"{name} asks for numbers that are not there yet, as NumPy, math, float(x), x[x > 0] and `if x > 0` do: "
            "write it with jax.numpy (import jax.numpy as jnp: jnp.sin, jnp.where)"
        ) from error


class TimeDependent(eqx.Module):
    r"""L = fn(q, t): moving traps, ramps, parametric drive. Its explicit change int dL/dt dt is booked as work.

    Time moves with the drift: a kick takes grad L at its own time, and a drift books L(q, t + h) - L(q, t), the mean
    over its two ends. So the work is of order 2, and of the word's own order in compositions of symmetric steps
    (`suzuki4`).

    Arguments:
        fn: a callable (position, t) to a scalar.

    Raises:
        ValueError: if fn is not callable.

    Example:
        >>> trap = ji.potentials.TimeDependent(lambda q, t: (q - jnp.sin(t)) ** 2 / 2)
        >>> ji.System(trap, damping=0.3)

    Source: C. Jarzynski, Phys. Rev. Lett. 78, 2690 (1997) (work as the explicit change of the energy).
    """

    fn: Callable

    def __init__(self, fn: Callable):
        if not callable(fn):
            raise ValueError(f"fn must be a function of (position, t), got {shown(fn)}")
        self.fn = as_module("fn", fn, "position", "t")

    @property
    def depends_on_time(self) -> bool:
        """True: the potential is called with the time too."""
        return True

    def __call__(self, position: Position, t: Scalar) -> Scalar:
        """L(q, t), a scalar."""
        return self.fn(position, t)


def depends_on_time(potential: Callable) -> bool:
    """Whether a potential is called with (position, t): it says so itself."""
    return bool(getattr(potential, "depends_on_time", False))


class Rejoined(eqx.Module):
    """A potential of the leaves that move: the static rest of an Equinox model is put back before the call."""

    potential: Callable
    rest: Any

    @property
    def depends_on_time(self) -> bool:
        return depends_on_time(self.potential)

    def __call__(self, position: Position, *t: Scalar) -> Scalar:
        return self.potential(eqx.combine(position, self.rest), *t)
