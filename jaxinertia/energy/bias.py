r"""What momentum leaves behind: closed forms for heavy ball at a finite step, diagonal networks, and Nesterov's flow.

Heavy ball is v+ = momentum v - h g, theta+ = theta + h v+ with h^2 = learning_rate: optax's and PyTorch's SGD with
v = -h m.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _tree
from .._checks import is_traced
from .._types import ArrayLike, Position, Scalar
from ..physics.system import as_arrays
from .numbers import finite, numbers


class HeavyBallVariance(NamedTuple):
    """Of the position, and of the velocity v = -h m."""

    position: Float[Array, "..."]
    velocity: Float[Array, "..."]


def modified_loss(
    potential: Callable[[Position], Scalar], position: Position, learning_rate: ArrayLike, momentum: ArrayLike
) -> Scalar:
    r"""L + learning_rate (1 + beta) / (4 (1 - beta)^2) |grad L|^2, beta the momentum: what heavy ball flows down.

    At fixed beta its iterates follow theta' = -grad[modified_loss]/(1 - beta), in the time learning_rate * steps, to
    second order in the learning rate; plain gradient flow, theta' = -grad L/(1 - beta), to first. From rest they start
    late, as if from theta + learning_rate beta / (1 - beta)^2 grad L. The second term, the implicit bias, favours flat
    places.

    Arguments:
        potential: L, a function from a position to a scalar.
        position: one position, a pytree of float arrays (use `jax.vmap` for many).
        learning_rate: > 0, a number, in units of the position squared over those of the loss.
        momentum: beta in [0, 1), a number, dimensionless.

    Returns:
        A scalar, in units of the loss.

    Raises:
        ValueError: for a learning rate or momentum outside of these ranges.

    Example:
        >>> jax.grad(lambda x: ji.analytic.modified_loss(loss, x, 0.01, 0.9))(1.0)

    Source: A. Ghosh, H. Lyu, X. Zhang, R. Wang, Implicit regularization in heavy-ball momentum accelerated stochastic
    gradient descent, ICLR 2023; N. Kovachki and A. Stuart, JMLR 22 (2021).
    """
    eta, beta = _heavy_ball(learning_rate=learning_rate, momentum=momentum)
    loss, slope = jax.value_and_grad(potential)(as_arrays("position", position))
    factor = eta * (1 + beta) / (4 * (1 - beta) ** 2)
    return loss + jnp.asarray(factor, loss.dtype) * _tree.dot(slope, slope)


def heavy_ball_variance(
    stiffness: ArrayLike, learning_rate: ArrayLike, momentum: ArrayLike, noise: ArrayLike
) -> HeavyBallVariance:
    r"""The stationary variances of heavy ball on L = lambda theta^2 / 2 with gradient noise of variance S, exactly.

    With eta the learning rate and beta the momentum,

        Var theta = eta S (1 + beta) / [(1 - beta) lambda (2 (1 + beta) - eta lambda)],
        Var v = 2 eta S / [(1 - beta) (2 (1 + beta) - eta lambda)],

    so that lambda Var theta / Var v = (1 + beta) / 2 at every step size: no equipartition at beta < 1.

    Arguments:
        stiffness: lambda > 0, a number or array, one a component, in units of the loss over those of theta squared.
        learning_rate: eta > 0, a number or array, in one over the stiffness's unit.
        momentum: beta in [0, 1), a number or array, dimensionless.
        noise: S >= 0, a number or array: the variance of each gradient's error. All four broadcast.

    Returns:
        (position, velocity), a named tuple of variances; infinite at and beyond `heavy_ball_edge`, where there is no
        stationary state.

    Raises:
        ValueError: for numbers outside of these ranges.

    Example:
        >>> ji.analytic.heavy_ball_variance(1.0, 0.1, 0.9, 0.5).position

    Source: the discrete Lyapunov equation; S. Mandt, M. Hoffman, D. Blei, JMLR 18 (2017) for small steps.
    """
    stiffness, noise = numbers(stiffness=stiffness, noise=noise)
    _positive("stiffness", stiffness)
    if not is_traced(noise) and np.any(np.asarray(noise) < 0):
        raise ValueError(f"noise must not be negative, got {noise}; it is a variance")
    eta, beta = _heavy_ball(learning_rate=learning_rate, momentum=momentum)
    room = 2 * (1 + beta) - eta * stiffness
    per = jnp.where(room > 0, eta * noise / ((1 - beta) * jnp.where(room > 0, room, 1.0)), jnp.inf)
    return HeavyBallVariance((1 + beta) / stiffness * per, 2 * per)


def heavy_ball_edge(momentum: ArrayLike) -> Float[Array, "..."]:
    r"""learning_rate * stiffness = 2 (1 + momentum): the largest at which heavy ball is stable on a quadratic.

    Arguments:
        momentum: beta in [0, 1), a number or array, dimensionless.

    Returns:
        The edge, of its shape, dimensionless.

    Raises:
        ValueError: for a momentum outside of this range.

    Example:
        >>> ji.analytic.heavy_ball_edge(0.9)    # 3.8

    Source: B. Polyak, USSR Comp. Math. 4, 1 (1964).
    """
    (beta,) = _heavy_ball(momentum=momentum)
    return 2 * (1 + beta)


def nesterov_edge(momentum: ArrayLike) -> Float[Array, "..."]:
    r"""learning_rate * stiffness = 2 (1 + momentum) / (1 + 2 momentum): the edge of stability of Nesterov's method.

    At a fixed momentum, with the gradient taken ahead.

    Arguments:
        momentum: beta in [0, 1), a number or array, dimensionless.

    Returns:
        The edge, of its shape, dimensionless.

    Raises:
        ValueError: for a momentum outside of this range.

    Example:
        >>> ji.analytic.nesterov_edge(0.9)    # 1.357

    Source: the Schur-Cohn criterion on x^2 - (1 + beta)(1 - s) x + beta (1 - s), s = learning_rate * stiffness.
    """
    (beta,) = _heavy_ball(momentum=momentum)
    return 2 * (1 + beta) / (1 + 2 * beta)


class DiagonalLaws(NamedTuple):
    """Of each pair of weights u_i v_i; see `diagonal_laws`."""

    balancedness: Float[Array, "..."]
    balance: Float[Array, "..."]
    balance_rate: Float[Array, "..."]
    tilt: Float[Array, "..."]
    tilt_rate: Float[Array, "..."]


def diagonal_laws(
    u: ArrayLike, v: ArrayLike, u_velocity: ArrayLike, v_velocity: ArrayLike, gamma: ArrayLike
) -> DiagonalLaws:
    r"""What momentum does to a two-layer diagonal network, beta = u v, whatever the loss of beta.

    With w+- = u +- v, a = w+'/w+, b = w-'/w-, under w'' + gamma w' + grad L = 0:

        balancedness  Delta = |w+ w-| = |u^2 - v^2|,
        balance       (a + b) + gamma ln Delta           changes at the rate -(a^2 + b^2),
        tilt          (a - b) + gamma ln |w+ / w-|       changes at the rate -(a^2 - b^2) - dL/dbeta.

    So from rest to rest Delta falls by exp(-int (a^2 + b^2) dt / gamma): momentum balances the layers, where gradient
    flow keeps them. And the change of ln|w+/w-|/2, plus int (a^2 - b^2) dt / (2 gamma), is in the span of the gradients
    in beta: for a linear model in the row span of its data.

    Arguments:
        u, v: the two layers' weights, numbers or arrays that broadcast, as all five do.
        u_velocity, v_velocity: their rates, numbers or arrays, in the weights' unit over time.
        gamma: > 0, a number or array, in one over time.

    Returns:
        A named tuple of arrays, one entry a component: (balancedness, balance, balance_rate, tilt, tilt_rate), the
        last without -dL/dbeta. Infinite where w+ or w- is 0: the laws hold until one of them first crosses it.

    Raises:
        ValueError: if gamma is negative, or an argument is not finite.

    Example:
        >>> laws = ji.analytic.diagonal_laws(u, v, u_velocity, v_velocity, gamma=2.0)

    Source: H. Papazov, S. Pesme, N. Flammarion, Leveraging continuous time to understand momentum when training
    diagonal linear networks, AISTATS 2024.
    """
    u, v, du, dv, gamma = numbers(u=u, v=v, u_velocity=u_velocity, v_velocity=v_velocity, gamma=gamma)
    plus, minus = u + v, u - v
    a, b = (du + dv) / plus, (du - dv) / minus
    logs = jnp.log(jnp.abs(plus)), jnp.log(jnp.abs(minus))
    balance = (a + b) + gamma * (logs[0] + logs[1])
    tilt = (a - b) + gamma * (logs[0] - logs[1])
    return DiagonalLaws(jnp.abs(plus * minus), balance, -(a * a + b * b), tilt, -(a * a - b * b))


def nesterov_lyapunov(
    t: ArrayLike, position: Any, velocity: Any, loss: ArrayLike, minimum: Any = None
) -> Float[Array, ""]:
    r"""t^2 L + 2 |x + t v / 2|^2, x = position - minimum: never rises along x'' + (3/t) x' + grad L = 0 for a convex L.

    With L counted from its minimum. So L <= 2 |x(0)|^2 / t^2 from rest. The dynamics are `damping.nesterov()`.

    Arguments:
        t: one time since the start, a number.
        position, velocity: one state, pytrees of float arrays, the velocity in the position's unit over that of t (use
            `jax.vmap` for many).
        loss: L there, a number, 0 at the minimum.
        minimum: where that is, like the position; None means 0.

    Returns:
        A scalar, in units of the position squared.

    Raises:
        ValueError: if t is negative or an argument is not finite.

    Example:
        >>> jax.vmap(ji.analytic.nesterov_lyapunov)(traj.ts, traj.position, traj.momentum, traj.potential)

    Source: W. Su, S. Boyd, E. Candes, JMLR 17 (2016), theorem 3.
    """
    t, loss = finite(t=t, loss=loss)
    if not is_traced(t) and t < 0:
        raise ValueError(f"t = {t} must not be negative; Nesterov's time starts at 0")
    x, v = as_arrays("position", position), as_arrays("velocity", velocity)
    if minimum is not None:
        x = jax.tree.map(jnp.subtract, x, as_arrays("minimum", minimum))
    ahead = jax.tree.map(lambda x, v: x + (t / 2).astype(x.dtype) * v, x, v)
    return t * t * loss + 2 * _tree.dot(ahead, ahead)


def _heavy_ball(**given):
    """The learning rate and the momentum, those of them that are given, checked where known."""
    arrays = dict(zip(given, numbers(**given), strict=True))
    if "learning_rate" in arrays:
        _positive("learning_rate", arrays["learning_rate"])
    beta = arrays["momentum"]
    if not is_traced(beta) and not np.all((np.asarray(beta) >= 0) & (np.asarray(beta) < 1)):
        raise ValueError(f"momentum must be in [0, 1), got {beta}; at 1 nothing comes to rest")
    return list(arrays.values())


def _positive(name, x):
    if not is_traced(x) and np.any(np.asarray(x) <= 0):
        raise ValueError(f"{name} must be positive, got {x}")
