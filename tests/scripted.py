"""Brownian paths whose increments a test prescribes: expectations without Monte Carlo noise."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Scripted(eqx.Module):
    """A path on equal steps h from time zero, given by its increments; evaluated between nodes only."""

    w: jax.Array
    h: jax.Array

    @classmethod
    def of(cls, increments, h):
        w = jnp.concatenate([jnp.zeros_like(increments[:1]), jnp.cumsum(increments, axis=0)])
        return cls(w, jnp.asarray(h))

    def evaluate(self, t0, t1):
        return self.w[self._node(t1)] - self.w[self._node(t0)]

    def _node(self, t):
        return jnp.round(t / self.h).astype(int)


THREE_POINT = np.array([-np.sqrt(3), 0.0, np.sqrt(3)]), np.array([1, 4, 1]) / 6


def gauss_hermite(count):
    """Nodes and weights of the standard normal law."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


def every_path(law, steps):
    """All products of a discrete law over so many steps: numbers (paths, steps) and probabilities (paths,)."""
    nodes, weights = law
    digits = np.indices((len(nodes),) * steps).reshape(steps, -1).T
    return nodes[digits], weights[digits].prod(axis=1)
