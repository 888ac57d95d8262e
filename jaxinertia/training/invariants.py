r"""What discrete training steps conserve, or let decay exactly: for tests, and to see when it breaks.

Both laws are those of full-batch heavy ball, the splitting O-B-A with h = dt and beta = e^{-gamma h}.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _tree
from .._checks import as_float
from .._types import ArrayLike, Scalar
from .real import refuse_complex


def damped_invariant(
    potential: Callable[[Any], Scalar],
    position: Any,
    velocity: Any,
    dt: ArrayLike,
    momentum: ArrayLike,
    minimum: Any = None,
    floor: ArrayLike = 0.0,
) -> Scalar:
    r"""J = |v|^2/2 + (L - floor)/beta + [(1 - beta) x.v - h^2 grad L.v] / (2 h beta), with x = position - minimum.

    On a quadratic loss with this minimum, of any Hessian, it falls by exactly beta a step. At beta = 1 it is the
    modified inertia I - (h/2) v.grad L. Elsewhere, how well it follows beta^k says how quadratic the run was.

    Arguments:
        potential: L, a function from a position to a scalar.
        position, velocity: the parameters after a step, a pytree of float arrays, and the velocity that brought them
            there (`ji.training.velocity`), in their unit over time.
        dt, momentum: h, in the unit of time, and beta, dimensionless: two numbers, as for `to_physical`.
        minimum: where L is least, like the position; None means zero.
        floor: L there, a number.

    Returns:
        A scalar, in units of the loss.

    Raises:
        ValueError: if position, velocity and minimum do not match, or are complex.

    Example:
        >>> ji.training.damped_invariant(loss, params, ji.training.velocity(state), dt, 0.9, best, loss(best))

    Source: the discrete analogue of the damped invariant of the paper's Eq. 16; derived from the eigenvectors of the
        step.
    """
    for name, tree in (("velocity", velocity), ("minimum", minimum)):
        if tree is not None:
            _match(name, tree, position)
    refuse_complex("position", position)
    h, beta = as_float("dt", dt), as_float("momentum", momentum)
    everything = (position, velocity, minimum, dt, momentum)
    position = _tree.vary_alike(position, lambda: (everything, potential(position)))
    loss, gradient = jax.value_and_grad(potential)(position)
    x = position if minimum is None else jax.tree.map(jnp.subtract, position, minimum)
    cross = (1 - beta) * _tree.dot(x, velocity) - h**2 * _tree.dot(gradient, velocity)
    return _tree.dot(velocity, velocity) / 2 + (loss - floor) / beta + cross / (2 * h * beta)


def rotation_charges(
    inner: ArrayLike,
    outer: ArrayLike,
    inner_velocity: ArrayLike,
    outer_velocity: ArrayLike,
    bias: ArrayLike | None = None,
    bias_velocity: ArrayLike | None = None,
) -> Float[Array, "hidden hidden"]:
    r"""The Noether charges of rotating the hidden units of two stacked linear layers, y = outer (inner x + bias) + c.

    Rotations inner -> R inner, bias -> R bias, outer -> outer R^T leave y, and so the loss, as it is. To each plane of
    two hidden units belongs an angular momentum, an entry of the antisymmetric matrix

        Q = M - M^T,   M = V_inner inner^T + v_bias bias^T - outer^T V_outer,

    which falls by exactly beta a step under heavy ball, on mini-batches too; from rest it stays zero. Adam, whose step
    does not turn with the hidden units, does not keep it; nor does a network with an activation between the layers.

    Arguments:
        inner, outer: shapes (hidden, in) and (out, hidden), as `eqx.nn.Linear.weight`.
        inner_velocity, outer_velocity: like them, their rates over time.
        bias, bias_velocity: shape (hidden,), of the inner layer; None: it has none.

    Returns:
        Q, antisymmetric, shape (hidden, hidden).

    Raises:
        ValueError: if the shapes do not fit together, or one of bias and its velocity is missing.

    Example:
        >>> v = ji.training.velocity(state)
        >>> charges = ji.training.rotation_charges(params.inner, params.outer, v.inner, v.outer)

    Source: E. Noether, 1918; for training, H. Tanaka and D. Kunin, NeurIPS 2021.
    """
    inner, outer = as_float("inner", inner), as_float("outer", outer)
    inner_velocity, outer_velocity = (
        as_float("inner_velocity", inner_velocity),
        as_float("outer_velocity", outer_velocity),
    )
    _match("inner_velocity", inner_velocity, inner)
    _match("outer_velocity", outer_velocity, outer)
    if inner.ndim != 2 or outer.ndim != 2 or inner.shape[0] != outer.shape[1]:
        raise ValueError(
            f"inner has shape {inner.shape}, outer {outer.shape}; pass (hidden, in) and (out, hidden): y = outer @ "
            "(inner @ x)"
        )
    if (bias is None) != (bias_velocity is None):
        raise ValueError("bias and bias_velocity go together: pass both, or neither")
    moment = inner_velocity @ inner.T - outer.T @ outer_velocity
    if bias is not None and bias_velocity is not None:
        _match("bias_velocity", bias_velocity, bias)
        moment = moment + jnp.outer(bias_velocity, bias)
    return moment - moment.T


def _match(name: str, tree: Any, like: Any) -> None:
    if not _tree.same_structure(tree, like) or _tree.shapes(tree) != _tree.shapes(like):
        raise ValueError(f"{name} has the shapes {_tree.shapes(tree)}, its partner {_tree.shapes(like)}; match them")
