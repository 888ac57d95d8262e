"""`ji.generators`: generators of symmetries, for `ji.noether`. Each is a function xi of the position, shaped like it.

A generator is the direction in which a symmetry moves a position: q -> q + s xi(q) + ... . Any callable will do.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._checks import as_float
from .._names import offered
from .._shown import shown
from .._types import ArrayLike, Position

__all__ = ["angular_momentum", "momentum", "rescaling", "rotation"]


def __dir__() -> list[str]:
    return offered(globals())


Part = Callable[[Any], Array]


def momentum(direction: ArrayLike = 1.0) -> Callable[[Position], Position]:
    """xi = direction: translation. Its charge p.direction is the momentum along it, of all particles together.

    Arguments:
        direction: a number or an array that broadcasts to every leaf of the position, such as (3,) for (particles, 3).

    Returns:
        A generator.

    Raises:
        ValueError: if direction is no number or array; when called, if it does not fit the position.

    Example:
        >>> ji.noether(system, ji.generators.momentum([1.0, 0.0, 0.0]), positions).charge(positions, momenta)
    """
    return _Translation(as_float("direction", direction))


def angular_momentum(plane: tuple[int, int] = (0, 1)) -> Callable[[Position], Position]:
    """xi_i = -q_j, xi_j = q_i along the last axis: rotation in a plane. Its charge is sum(q_i p_j - q_j p_i).

    Arguments:
        plane: (i, j), two coordinates of the last axis of every leaf of the position.

    Returns:
        A generator.

    Raises:
        ValueError: unless plane is two different whole numbers; when called, if the position has no such coordinates.

    Example:
        >>> ji.noether(system, ji.generators.angular_momentum(), [1.0, 0.5]).law
    """
    return _Rotation(_pair("plane", plane))


def rotation(
    inner: Part, outer: Part, units: tuple[int, int] = (0, 1), bias: Part | None = None
) -> Callable[[Position], Position]:
    r"""Rotation of two hidden units between linear layers: inner -> R inner, bias -> R bias, outer -> outer R^T.

    It leaves outer (inner x + bias) as it is. With an activation in between it is no symmetry.

    Arguments:
        inner, outer, bias: functions from a position to the leaf of shape (hidden, in), (out, hidden), (hidden,): as
            `eqx.tree_at` takes them. bias None: the layer has none.
        units: (i, j), which two hidden units turn.

    Returns:
        A generator: a function from a position to what is shaped like it.

    Raises:
        ValueError: unless units are two different whole numbers; when called, if the layers have no such units.

    Example:
        >>> turn = ji.generators.rotation(lambda net: net["inner"], lambda net: net["outer"], (0, 1))

    Source: H. Tanaka and D. Kunin, NeurIPS 2021.
    """
    return _HiddenRotation(inner, outer, bias, _pair("units", units))


def rescaling(
    inner: Part, outer: Part, unit: int | None = None, bias: Part | None = None
) -> Callable[[Position], Position]:
    r"""Rescaling of a hidden unit: inner and bias by s, outer by 1/s. A symmetry if its activation is linear or ReLU.

    It is no isometry: momentum breaks its charge by |inner velocity|^2 - |outer velocity|^2.

    Arguments:
        inner, outer, bias: functions from a position to the leaf, hidden units along the first axis of inner and bias
            and the last of outer; vectors u and v of a diagonal network u * v will do. bias None: there is none.
        unit: which one; None: all at once.

    Returns:
        A generator: a function from a position to what is shaped like it.

    Raises:
        ValueError: unless unit is a whole number or None; when called, if the layers have no such unit.

    Example:
        >>> scale = ji.generators.rescaling(lambda net: net["u"], lambda net: net["v"])

    Source: S. Du, W. Hu, J. Lee, NeurIPS 2018 (balancedness); D. Kunin et al., ICLR 2021.
    """
    return _HiddenRescaling(inner, outer, bias, None if unit is None else _whole("unit", unit))


class _Translation(eqx.Module):
    direction: Array

    def __call__(self, position):
        try:
            return jax.tree.map(lambda q: jnp.broadcast_to(self.direction, q.shape).astype(q.dtype), position)
        except ValueError as error:
            raise ValueError(
                f"direction has shape {self.direction.shape}, which does not broadcast to the position's "
                f"{jax.tree.map(jnp.shape, position)}"
            ) from error


class _Rotation(eqx.Module):
    plane: tuple[int, int] = eqx.field(static=True)

    def __call__(self, position):
        return jax.tree.map(lambda q: _turned("plane", q, self.plane, -1), position)


class _AbstractHidden(eqx.Module):
    inner: Part = eqx.field(static=True)
    outer: Part = eqx.field(static=True)
    bias: Part | None = eqx.field(static=True)

    def _moved(self, position, name, into, out_of):
        """xi with `into` of the inner layer (and its bias), `out_of` of the outer one, and 0 elsewhere."""
        parts = [self.inner, self.outer] + ([] if self.bias is None else [self.bias])
        leaves = [part(position) for part in parts]
        hidden = [leaves[0].shape[:1], leaves[1].shape[-1:], *(leaf.shape[:1] for leaf in leaves[2:])]
        if () in hidden or len(set(hidden)) > 1:
            raise ValueError(
                f"inner, outer{', bias' * (len(leaves) > 2)} have the shapes {[leaf.shape for leaf in leaves]}: their "
                f"first, last{', first' * (len(leaves) > 2)} axes are the {name} and must be equally long"
            )
        moves = [into(leaves[0]), out_of(leaves[1]), *(into(leaf) for leaf in leaves[2:])]
        still = jax.tree.map(jnp.zeros_like, position)
        return eqx.tree_at(lambda q: [part(q) for part in parts], still, moves)


class _HiddenRotation(_AbstractHidden):
    units: tuple[int, int] = eqx.field(static=True)

    def __call__(self, position):
        into, out_of = (lambda x, axis=axis: _turned("units", x, self.units, axis) for axis in (0, -1))
        return self._moved(position, "hidden units", into, out_of)


class _HiddenRescaling(_AbstractHidden):
    unit: int | None = eqx.field(static=True)

    def __call__(self, position):
        return self._moved(position, "hidden units", lambda x: self._of_unit(x, 0), lambda x: -self._of_unit(x, -1))

    def _of_unit(self, x, axis):
        if self.unit is None:
            return x
        _check_index("unit", (self.unit,), x.shape[axis])
        along = jnp.moveaxis(x, axis, 0)
        return jnp.moveaxis(jnp.zeros_like(along).at[self.unit].set(along[self.unit]), 0, axis)


def _turned(name, x, plane, axis):
    """A x with A the generator of a rotation that turns axis i into axis j."""
    if x.ndim == 0:
        raise ValueError(f"{name} = {plane}: the position has a leaf that is one number, and nothing to turn")
    _check_index(name, plane, x.shape[axis])
    along, (i, j) = jnp.moveaxis(x, axis, 0), plane
    return jnp.moveaxis(jnp.zeros_like(along).at[i].set(-along[j]).at[j].set(along[i]), 0, axis)


def _check_index(name, indices, length):
    if max(indices) >= length:
        raise ValueError(f"{name} = {indices if len(indices) > 1 else indices[0]}: there are only {length}, from 0 on")


def _pair(name, pair):
    try:
        i, j = pair
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} = {shown(pair)} must be two different whole numbers, such as (0, 1)") from error
    i, j = _whole(name, i), _whole(name, j)
    if i == j:
        raise ValueError(f"{name} = {shown(pair)} must be two different whole numbers, such as (0, 1)")
    return i, j


def _whole(name, value):
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} = {shown(value)} must be a whole number from 0 on")
    return value
