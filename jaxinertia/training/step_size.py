r"""The learning rate that an update shows: whether the monitor's dt is the optimizer's.

SGD with momentum moves by u = a u_before - eta g, whatever its momentum: two numbers for all parameters, so that the
latest two updates and the gradient tell whether it is that, and eta. The monitor's dt is right where eta = dt^2.
"""

import jax
import jax.numpy as jnp

from .._types import Scalar
from .accounts import MonitorState, along, real_type


def learning_rate(state: MonitorState) -> Scalar:
    """eta of the latest update; 0 where it is not of that form, or where too few numbers tell."""
    u, before, g = (jax.tree.leaves(tree) for tree in (state.moved, state.moved_before, state.gradient))
    dtype = state.dt.dtype
    if sum(x.size for x in u) < 4:
        return jnp.zeros((), dtype)

    def dot(xs, ys):
        return sum(jnp.sum(along(x, y)) for x, y in zip(xs, ys, strict=True)).astype(dtype)

    uu, gg, bb = dot(u, u), dot(g, g), dot(before, before)
    ug, ub, bg = dot(u, g), dot(u, before), dot(before, g)
    eps = float(jnp.finfo(dtype).eps)

    def told(kept, eta):
        """Whether u = kept u_before - eta g to rounding, with an eta that can be read off."""
        left = [x - _times(kept, y) + _times(eta, z) for x, y, z in zip(u, before, g, strict=True)]
        ours = eta**2 * gg
        rounding = (64 * eps) ** 2 * (uu + kept**2 * bb + ours)
        return (eta > 0) & (ours > (4096 * eps) ** 2 * uu) & (dot(left, left) <= rounding)

    # Without momentum one number is enough, and the latest two directions are often one.
    plain = -ug / jnp.where(gg > 0, gg, 1.0)
    area = bb * gg - bg**2
    spread = area > 4096 * eps * bb * gg
    area = jnp.where(spread, area, 1.0)
    kept, heavy = (ub * gg - ug * bg) / area, (ub * bg - ug * bb) / area
    eta = jnp.where(spread & told(kept, heavy), heavy, 0.0)
    return jnp.where(told(jnp.zeros_like(plain), plain), plain, eta)


def _times(factor, x):
    return factor.astype(real_type(x.dtype)) * x
