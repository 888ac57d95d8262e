"""Inertia as a regulariser."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from .._checks import as_number, check_step
from .._types import ArrayLike, Position


class PenaltyState(NamedTuple):
    """The parameters at the call before."""

    previous: Position


def inertia_penalty(weight: ArrayLike, dt: ArrayLike = 1.0) -> optax.GradientTransformation:
    r"""Adds the penalty weight * K to the loss, K = |theta - theta_before|^2 / (2 dt^2): put it before the optimizer.

    The gradient becomes g + weight (theta - theta_before) / dt^2. Of the inertia I = K + L only K is penalised: a
    multiple of L is a learning rate.

    Law: before SGD with learning rate eta and momentum beta it is momentum beta - weight eta / dt^2, exactly: the
    regulariser is friction. With dt = sqrt(eta) that is beta - weight.

    Arguments:
        weight: a number, not negative.
        dt: the physical step, a positive number in the unit of time, which makes the weight a pure number.

    Returns:
        An `optax.GradientTransformation`; `update` needs `params`.

    Raises:
        ValueError: if the weight is negative or dt is not positive, or for an update without `params`.

    Example:
        >>> optimizer = optax.chain(ji.training.inertia_penalty(0.1, dt=0.1), optax.sgd(0.01, momentum=0.9))
    """
    scale = as_number("weight", weight, least=0.0) / check_step(dt) ** 2

    def init(params):
        return PenaltyState(jax.tree.map(jnp.asarray, params))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("params is None: the penalty compares them with those before; pass update(..., params)")
        penalised = jax.tree.map(lambda g, now, then: g + scale * (now - then), updates, params, state.previous)
        return penalised, PenaltyState(params)

    return optax.GradientTransformation(init, update)
