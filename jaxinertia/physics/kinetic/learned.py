"""A kinetic energy that is a network, convex by construction."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ... import _tree
from ..._types import Position, Scalar
from .abstract import AbstractKinetic

_LEAST_CURVATURE = 1e-3


class Learned(AbstractKinetic):
    r"""K(p) = [C(p) + C(-p)] / 2 - C(0) + 0.0005 |p|^2, with C an input-convex network: convex, even, K(0) = 0.

    So v.p >= K(p) > 0 wherever p is not 0, and friction always takes energy, whatever the weights. C has the weights of
    a multilayer perceptron: those of its first layer as they are, those of all later layers through a softplus, which
    makes them positive, and softplus for its activations. Its weights are leaves: a gradient trains K.

    Arguments:
        network: an `equinox.nn.MLP` with as many inputs as the position has components and out_size "scalar" (or 1).

    Raises:
        ValueError: if it is no such network, or its inputs do not fit the position.

    Example:
        >>> network = eqx.nn.MLP(2, "scalar", width_size=16, depth=2, key=jax.random.key(0))
        >>> ji.System(ji.potentials.Rosenbrock(), damping=0.1, kinetic=ji.kinetic.Learned(network))

    Source: B. Amos, L. Xu, J. Z. Kolter, Input convex neural networks, ICML 2017.
    """

    network: eqx.nn.MLP

    def __init__(self, network: eqx.nn.MLP):
        if not isinstance(network, eqx.nn.MLP) or network.out_size not in (1, "scalar"):
            raise ValueError(
                f"network = {type(network).__name__} must be an equinox.nn.MLP with out_size 'scalar', whose weights K "
                "takes: eqx.nn.MLP(d, 'scalar', width_size=16, depth=2, key=key)"
            )
        self.network = network

    def energy(self, momentum: Position) -> Scalar:
        """[C(p) + C(-p)] / 2 - C(0) + 0.0005 |p|^2."""
        p, _ = ravel_pytree(momentum)
        even = (self._convex(p) + self._convex(-p)) / 2 - self._convex(jnp.zeros_like(p))
        return even + _LEAST_CURVATURE / 2 * _tree.dot(p, p)

    def check(self, position):
        size, inputs = _tree.size(position), self.network.in_size
        if inputs != size and not (inputs == "scalar" and size == 1):
            raise ValueError(
                f"kinetic: network takes {inputs} inputs, but the position has {size} components; match it"
            )
        return position

    def _convex(self, p):
        first, *rest = self.network.layers
        x = first(p if first.in_features != "scalar" else p[0])
        for layer in rest:
            x = jax.nn.softplus(layer.weight) @ jax.nn.softplus(jnp.atleast_1d(x))
            x = x if layer.bias is None else x + layer.bias
        return jnp.sum(x)
