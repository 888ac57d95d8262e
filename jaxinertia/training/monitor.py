r"""The energy balance of a training run, booked beside any optax optimizer without touching its updates.

An update u moves theta by u in the time h, so the velocity is v+ = u / h. Between v and v+ the loss kicks by -h g; all
else that the optimizer did to the velocity is its friction, v -> w = v+ + h g:

    friction = K(w) - K(v),   kick = K(v+) - K(w) = -g.(u + h^2 g / 2),   K = |v|^2 / 2.

For heavy ball w = beta v, the relaxation O of the splitting O-B-A, and the balance is that of the splitting, exactly.
Complex parameters are two real ones each: |v|^2, and the real part of conj(g) u for g.u.

The update that leaves is read back from where it is stored: else XLA would compute it anew, square roots and all, for
each of its uses.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from .._checks import as_number, check_step
from .._shown import shown
from .._types import ArrayLike, Index, Scalar
from . import taken
from .accounts import MonitorState as MonitorState
from .accounts import Parameters, Step, book, keep_unless, open_accounts

Schedule = Callable[[Index], ArrayLike]


def monitor(
    optimizer: optax.GradientTransformation | optax.MultiSteps,
    dt: ArrayLike | Schedule,
    *,
    weight_decay: float = 0.0,
    depth: int = 1,
) -> optax.GradientTransformationExtraArgs:
    r"""Wrap an optax optimizer so that its state holds the energy balance of the run; the updates stay as they are.

    I = |v|^2/2 + L, with v = update / dt, changes by friction + noise + work + discretization. Friction is the work of
    all that the optimizer does beyond the kick -dt g. For SGD with momentum it is exactly -(1 - momentum^2) |v|^2 / 2 a
    step. For Adam and others, whose step is not dt^2 g, it is a definition: it may then be positive, where the
    optimizer drives. Noise that an optimizer adds by itself (Langevin) is in its friction too.

    The updates have the bits of the bare optimizer's where both run op by op. Inside a jitted step XLA fuses the two
    differently, and they agree to rounding, a few last digits a step.

    `update(grads, state, params, value=loss)` books L exactly. Without `value` the potential is relative to the start,
    from the trapezoidal rule for g.dtheta. `reference=full_gradient`, now and then, tells noise from discretization:
    noise = -dt v.(g - full_gradient), which then stands for all calls since the last reference. Inside a scan, pass
    `reference` always, and `referenced=False` where it does not count. Gradients and losses are those of L itself: an
    optimizer that unscales a loss scaled by S is `optax.chain(optax.scale(1 / S), monitor(...))`.

    Calls that are no steps are left out of the accounts and of time: those at which `optax.MultiSteps` gathers (give it
    to the monitor, and the step has the mean of the losses and gradients; a monitor inside it sees no loss but the last
    micro-batch's), and those at which `apply_if_finite` or `conditionally_mask` leaves all parameters where they are.
    `readout(state).skipped` counts what was refused. A gradient that is not finite counts as no force.

    Arguments:
        optimizer: any `optax.GradientTransformation` whose updates are added to the parameters, or an
            `optax.MultiSteps`.
        dt: the physical step, a number in the unit of time: sqrt(learning_rate), see `to_physical`; or a schedule, a
            function count -> dt, that may be 0 where nothing moves. Energies are NaN where a schedule is negative, or 0
            while parameters move.
        weight_decay: a number, as in `optax.adamw`: a part -dt^2 weight_decay theta of the update moves theta without
            being velocity, and is booked as work. Needs `params`, and `value`.
        depth: how many levels of the parameters' tree name a group in `readout(state).groups`.

    Returns:
        An `optax.GradientTransformationExtraArgs`. Its state is made of named tuples and arrays.

    Raises:
        ValueError: if the optimizer is not optax's, or hides a `MultiSteps` inside another transformation (found by
            `init`), or dt, weight_decay or depth is invalid.

    Example:
        >>> optimizer = ji.training.monitor(optax.sgd(0.01, momentum=0.9), dt=0.1)
        >>> updates, state = optimizer.update(grads, state, params, value=loss)
        >>> ji.training.readout(state).inertia

    Source: the paper's Eq. 2, 4 and 9-11; its section V-C proposes the monitor.
    """
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise ValueError(
            f"optimizer = {shown(optimizer)} must be an optax transformation, such as optax.sgd(0.01, 0.9)"
        )
    step = _schedule(dt)
    decay = as_number("weight_decay", weight_decay, least=0.0)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ValueError(f"depth = {shown(depth)} must be a whole number of levels, 0 for one group")
    several = taken.multi_steps(optimizer)
    inner = optax.with_extra_args_support(optimizer if several is None else several.gradient_transformation())

    def init(params):
        opened = inner.init(params)
        taken.check(opened, several)
        return open_accounts(opened, _trained(params), decay > 0, depth)

    def update(updates, state, params=None, *, value=None, reference=None, referenced=True, **extra):
        if value is not None:
            extra = extra | {"value": value}
        moved, after = inner.update(updates, state.inner, params, **extra)
        made = taken.taken(several, updates, value, state, _trained(moved), after)
        h = _length(step(state.count), state.dt.dtype)
        decayed = _decayed(_trained(params), value, h * h * decay, state.moved) if decay > 0 else None
        displacement, moved = _stored(moved, decayed, state.moved)
        taken_step = Step(made.gradient, made.value, displacement, decayed, h)
        booked = book(state, taken_step, reference, jnp.asarray(referenced))
        kept = keep_unless(made.booked, booked, state)
        skipped = state.skipped if made.left_out is None else state.skipped + made.left_out
        return moved, kept._replace(inner=after, skipped=skipped, gathered=made.gathered)

    return optax.GradientTransformationExtraArgs(init, update)


def _schedule(dt: Any) -> Schedule:
    if callable(dt):
        return dt
    h = dt if isinstance(dt, jax.core.Tracer) else check_step(dt)
    return lambda count: h


def _length(h: Any, dtype: Any) -> Scalar:
    """One step of a schedule; NaN if it is none."""
    h = jnp.asarray(h, dtype)
    if h.shape != ():
        raise ValueError(f"dt = a schedule that returned the shape {h.shape}; let it return one number")
    return jnp.where(jnp.isfinite(h) & (h >= 0), h, jnp.nan)


def _trained(tree: Any) -> Parameters:
    """The parameters that have gradients: of `optax.lookahead`'s pair the fast ones."""
    return tree.fast if isinstance(tree, optax.LookaheadParams) else tree


def _decayed(params: Parameters, value: Any, fraction: Scalar, like: Parameters) -> Parameters:
    """The part of the update that is weight decay, -dt^2 weight_decay theta."""
    if params is None or value is None:
        name = "params" if params is None else "value"
        raise ValueError(f"{name} is None, but weight_decay is not zero: call update(grads, state, params, value=loss)")
    decayed = jax.tree.map(lambda p: -fraction.astype(jnp.result_type(p)) * p, params)
    return _cast(decayed, like)


def _cast(tree: Parameters, like: Parameters) -> Parameters:
    return jax.tree.map(lambda c, x: jnp.asarray(x, c.dtype), like, tree)


def _stored(update: Any, decayed: Parameters | None, like: Parameters) -> tuple[Parameters, Any]:
    """The displacement h v, computed once, and the update, read back from it where it can be."""
    moved = _trained(update)
    if decayed is not None:
        return jax.lax.optimization_barrier(jax.tree.map(jnp.subtract, _cast(moved, like), decayed)), update
    displacement = jax.lax.optimization_barrier(_cast(moved, like))
    back = jax.tree.map(_read_back, moved, displacement)
    return displacement, update._replace(fast=back) if isinstance(update, optax.LookaheadParams) else back


def _read_back(update: Array, stored: Array) -> Array:
    """The stored update in its own type, which holds the same bits if the store is no narrower."""
    dtype = jnp.result_type(update)
    exact = jnp.promote_types(dtype, stored.dtype) == stored.dtype
    return stored.astype(dtype) if exact else update
