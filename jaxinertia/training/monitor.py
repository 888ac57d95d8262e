r"""The energy balance of a training run, booked beside any optax optimizer without touching its updates.

An update u moves theta by u in the time h, so the velocity is v+ = u / h. Between v and v+ the loss kicks by -h g; all
else that the optimizer did to the velocity is its friction, v -> w = v+ + h g:

    friction = K(w) - K(v),   kick = K(v+) - K(w) = -g.(u + h^2 g / 2),   K = |v|^2 / 2.

For heavy ball w = beta v, the relaxation O of the splitting O-B-A, and the balance is that of the splitting, exactly.

XLA adds to an array for nearly nothing where it already writes the update, but sums an array in a loop of its own. So
every parameter keeps its own account here, and `readout` sums them when asked. Friction is then not even needed:
    friction = K - K(0) - kicks.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from .. import _tree
from .._checks import as_float, check_step
from .._types import ArrayLike, Index, Position, Scalar

Schedule = Callable[[Index], ArrayLike]


class MonitorState(eqx.Module):
    """The optimizer's own state and the accounts; `readout` says what they mean.

    At call k the parameters are theta_k. "now" is the state k; "latest" is what call k did on the way to k + 1.
    """

    inner: Any
    count: Index
    time: Scalar  # t_k
    dt: Scalar  # h_k
    start: Scalar  # L_0
    potential: Scalar  # L_k
    slope: Scalar  # g_k.u_k, where no loss value is given
    velocity_now: Position  # v_k
    velocity: Position  # v_{k+1}
    kicks_now: Position  # K given by the loss up to k, for each parameter
    kicks_latest: Position
    work_now: Position | None  # by decoupled weight decay
    work_latest: Position | None
    noise_now: Float[Array, " groups"]
    noise_latest: Float[Array, " groups"]
    unreferenced: Index  # calls since the last one with a reference gradient
    depth: int = eqx.field(static=True)


def monitor(
    optimizer: optax.GradientTransformation,
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

    `update(grads, state, params, value=loss)` books L exactly. Without `value` the potential is relative to the start,
    from the trapezoidal rule for g.dtheta. `reference=full_gradient`, now and then, tells noise from discretization:
    noise = -dt v.(g - full_gradient), which then stands for all calls since the last reference. Inside a scan, pass
    `reference` always, and `referenced=False` where it does not count.

    Arguments:
        optimizer: any optax transformation whose updates are added to the parameters.
        dt: the physical step: sqrt(learning_rate), see `to_physical`; or a schedule, count -> dt.
        weight_decay: as in `optax.adamw`: a part -dt^2 weight_decay theta of the update moves theta without being
            velocity, and is booked as work. Needs `params`, and `value`.
        depth: how many levels of the parameters' tree name a group in `readout(state).groups`.

    Returns:
        An `optax.GradientTransformationExtraArgs`. Put it inside `optax.MultiSteps`, not around: each call is a step.

    Raises:
        ValueError: if the optimizer is not optax's, or dt, weight_decay or depth is invalid.

    Example:
        >>> optimizer = ji.training.monitor(optax.sgd(0.01, momentum=0.9), dt=0.1)
        >>> updates, state = optimizer.update(grads, state, params, value=loss)
        >>> ji.training.readout(state).inertia

    Source: the paper's Eq. 2, 4 and 9-11; its section V-C proposes the monitor.
    """
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        raise ValueError(f"optimizer = {optimizer!r} must be an optax transformation, such as optax.sgd(0.01, 0.9)")
    step = _schedule(dt)
    decay = as_float("weight_decay", weight_decay)
    if decay.shape != () or not float(decay) >= 0:
        raise ValueError(f"weight_decay = {weight_decay!r} must be one number, not negative")
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ValueError(f"depth = {depth!r} must be a whole number of levels, 0 for one group")
    inner = optax.with_extra_args_support(optimizer)
    shrink = float(weight_decay) if float(decay) > 0 else None

    def init(params):
        return _open(inner.init(params), params, shrink is not None, depth)

    def update(updates, state, params=None, *, value=None, reference=None, referenced=True, **extra):
        if value is not None:
            extra = extra | {"value": value}
        moved, after = inner.update(updates, state.inner, params, **extra)
        h = jnp.asarray(step(state.count), state.dt.dtype)
        decayed = None if shrink is None else _decayed(params, value, h * h * shrink)
        booked = _book(state, updates, moved, decayed, h)
        booked = _book_potential(booked, state, updates, moved, value)
        if reference is not None:
            booked = _book_noise(booked, updates, reference, jnp.asarray(referenced))
        return moved, eqx.tree_at(lambda s: s.inner, booked, after, is_leaf=lambda x: x is None)

    return optax.GradientTransformationExtraArgs(init, update)


def group_names(tree: Any, depth: int) -> dict[str, list[int]]:
    """The leaves (by number) of each group: leaves whose paths agree in their first `depth` steps."""
    names: dict[str, list[int]] = {}
    for number, (path, _) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        name = jax.tree_util.keystr(path[:depth], simple=True, separator=".")
        names.setdefault(name or "all", []).append(number)
    return names


def by_group(tree: Position, depth: int) -> Float[Array, " groups"]:
    """The sum over each group of parameters."""
    sums = [jnp.sum(leaf) for leaf in jax.tree.leaves(tree)]
    groups = group_names(tree, depth).values()
    return jnp.stack([jnp.sum(jnp.stack([sums[i] for i in members])) for members in groups])


def _schedule(dt: Any) -> Schedule:
    if callable(dt):
        return dt
    h = dt if isinstance(dt, jax.core.Tracer) else check_step(dt)
    return lambda count: h


def _open(inner: Any, params: Position, decays: bool, depth: int) -> MonitorState:
    zeros = jax.tree.map(lambda p: jnp.zeros_like(p, jnp.promote_types(p.dtype, jnp.float32)), params)
    if not jax.tree.leaves(zeros):
        raise ValueError(f"params = {params!r} has no arrays; pass the parameters that the optimizer moves")
    zero = jnp.zeros((), _tree.dtype(zeros))
    none = jnp.zeros((), jnp.int32)
    work = zeros if decays else None
    groups = jnp.zeros(len(group_names(params, depth)), zero.dtype)
    scalars = (none, zero, zero, zero, zero, zero)
    return MonitorState(inner, *scalars, zeros, zeros, zeros, zeros, work, work, groups, groups, none, depth)


def _decayed(params: Position, value: Any, fraction: Scalar) -> Position:
    """The part of the update that is weight decay, -dt^2 weight_decay theta."""
    if params is None or value is None:
        name = "params" if params is None else "value"
        raise ValueError(f"{name} is None, but weight_decay is not zero: call update(grads, state, params, value=loss)")
    return jax.tree.map(lambda p: -fraction.astype(p.dtype) * p, params)


def _book(state: MonitorState, gradient: Position, moved: Position, decayed: Position | None, h: Scalar):
    """Close the previous call's accounts, and open this one's."""

    def velocity_of(like, u, s):
        return (u.astype(like.dtype) - (0 if s is None else s.astype(like.dtype))) / h.astype(like.dtype)

    def kick_of(v, g):
        g, hh = g.astype(v.dtype), h.astype(v.dtype)
        return -hh * g * (v + hh / 2 * g)

    if decayed is None:
        velocity = jax.tree.map(lambda v, u: velocity_of(v, u, None), state.velocity, moved)
        work = work_latest = None
    else:
        velocity = jax.tree.map(velocity_of, state.velocity, moved, decayed)
        work = jax.tree.map(jnp.add, state.work_now, state.work_latest)
        work_latest = jax.tree.map(lambda v, g, s: (g * s).astype(v.dtype), velocity, gradient, decayed)
    return MonitorState(
        inner=None,
        count=state.count + 1,
        time=state.time + state.dt,
        dt=h,
        start=state.start,
        potential=state.potential,
        slope=state.slope,
        velocity_now=state.velocity,
        velocity=velocity,
        kicks_now=jax.tree.map(jnp.add, state.kicks_now, state.kicks_latest),
        kicks_latest=jax.tree.map(kick_of, velocity, gradient),
        work_now=work,
        work_latest=work_latest,
        noise_now=state.noise_now + state.noise_latest,
        noise_latest=jnp.zeros_like(state.noise_latest),
        unreferenced=state.unreferenced + 1,
        depth=state.depth,
    )


def _book_potential(booked: MonitorState, state: MonitorState, gradient: Position, moved: Position, value: Any):
    dtype = state.potential.dtype
    if value is None:
        came_by = _tree.dot(gradient, state.velocity).astype(dtype) * state.dt
        potential = state.potential + (state.slope + came_by) / 2
        slope = _tree.dot(gradient, moved).astype(dtype)
    else:
        potential, slope = jnp.asarray(value, dtype), state.slope
        if potential.shape != ():
            raise ValueError(f"value has shape {potential.shape}; pass the loss, one number")
    start = jnp.where(state.count == 0, potential, state.start)
    where = lambda s: (s.start, s.potential, s.slope)  # noqa: E731
    return eqx.tree_at(where, booked, (start, potential, slope))


def _book_noise(booked: MonitorState, gradient: Position, reference: Position, referenced: Bool[Array, ""]):
    """-h v.(g - reference), v the mean velocity of the kick, for this call and those since the last reference."""
    if not _tree.same_structure(gradient, reference):
        raise ValueError(
            f"reference has the shapes {_tree.shapes(reference)}, the gradient {_tree.shapes(gradient)}; pass the "
            "gradient of the full loss at the same parameters"
        )

    def given(v, g, full):
        return -booked.dt.astype(v.dtype) * (v + booked.dt.astype(v.dtype) / 2 * g) * (g - full)

    noise = by_group(jax.tree.map(given, booked.velocity, gradient, reference), booked.depth)
    noise = jnp.where(referenced, noise * booked.unreferenced, 0.0).astype(booked.noise_latest.dtype)
    count = jnp.where(referenced, 0, booked.unreferenced)
    return eqx.tree_at(lambda s: (s.noise_latest, s.unreferenced), booked, (noise, count))
