r"""The energy balance of a training run, booked beside any optax optimizer without touching its updates.

An update u moves theta by u in the time h, so the velocity is v+ = u / h. Between v and v+ the loss kicks by -h g; all
else that the optimizer did to the velocity is its friction, v -> w = v+ + h g:

    friction = K(w) - K(v),   kick = K(v+) - K(w) = -g.(u + h^2 g / 2),   K = |v|^2 / 2.

For heavy ball w = beta v, the relaxation O of the splitting O-B-A, and the balance is that of the splitting, exactly.

XLA adds to an array for nearly nothing where it already writes the update, but sums an array in a loop of its own,
which is slow on CPUs. So every parameter keeps its own account here, and `readout` sums them when asked:

    friction = K - K(0) - kicks.

The two latest displacements take turns in one array, so that the older one is never copied. The update that leaves is
read back from there: else XLA would compute it anew, square roots and all, for each of its uses.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from .. import _tree
from .._checks import as_number, check_step
from .._types import ArrayLike, Index, Position, Scalar

Schedule = Callable[[Index], ArrayLike]


class MonitorState(eqx.Module):
    """The optimizer's own state and the accounts; `readout` says what they mean.

    Call k went from theta_k to theta_{k+1}. Accounts include what call k did; "latest" is that part alone.
    """

    inner: Any
    count: Index  # calls: k + 1
    time: Scalar  # t_k
    dt: Scalar  # h_k
    dt_before: Scalar  # h_{k-1}
    start: Scalar  # L_0
    potential: Scalar  # L_k
    slope: Scalar  # g_k.u_k, where no loss value is given
    moved: Position  # h v: h_k v_{k+1} in row k % 2, h_{k-1} v_k in the other
    gradient: Position  # g_k
    kicks: Position  # K given by the loss, for each parameter
    work: Position | None  # by decoupled weight decay
    work_latest: Position | None
    noise: Float[Array, " groups"]
    noise_latest: Float[Array, " groups"]
    unreferenced: Index  # calls since the last one with a reference gradient
    depth: int = eqx.field(static=True)

    @property
    def velocity(self) -> Position:
        """v_{k+1}, which belongs to the parameters that call k made."""
        row = (self.count + 1) % 2
        return jax.tree.map(lambda x: _row(x, row) / self._step(self.dt, x), self.moved)

    @property
    def velocity_before(self) -> Position:
        """v_k, which brought the parameters that call k was given."""
        row = self.count % 2
        return jax.tree.map(lambda x: _row(x, row) / self._step(self.dt_before, x), self.moved)

    @property
    def kicks_latest(self) -> Position:
        """What call k added to `kicks`."""
        row = (self.count + 1) % 2
        return jax.tree.map(lambda x, g: _kick(_row(x, row), g, self.dt), self.moved, self.gradient)

    def _step(self, dt: Scalar, like: Array) -> Array:
        return jnp.where(dt > 0, dt, 1.0).astype(like.dtype)  # before the first call nothing moved, in no time


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
    decay = as_number("weight_decay", weight_decay, least=0.0)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ValueError(f"depth = {depth!r} must be a whole number of levels, 0 for one group")
    inner = optax.with_extra_args_support(optimizer)
    shrink = decay if decay > 0 else None

    def init(params):
        return _open(inner.init(params), params, shrink is not None, depth)

    def update(updates, state, params=None, *, value=None, reference=None, referenced=True, **extra):
        if value is not None:
            extra = extra | {"value": value}
        moved, after = inner.update(updates, state.inner, params, **extra)
        h = jnp.asarray(step(state.count), state.dt.dtype)
        if shrink is None:
            decayed, displacement = None, moved
        else:
            decayed = _decayed(params, value, h * h * shrink)
            displacement = jax.tree.map(jnp.subtract, *(_cast(x, state.kicks) for x in (moved, decayed)))
        rows, displacement = _store(state, displacement)
        if decayed is None:
            moved = jax.tree.map(_read_back, moved, displacement)
        booked = _book(state, updates, rows, displacement, decayed, h)
        booked = _book_potential(booked, state, updates, displacement, value)
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


def _row(x: Array, row: Index) -> Array:
    return jax.lax.dynamic_index_in_dim(x, row, keepdims=False)


def _kick(moved: Array, gradient: Array, h: Scalar) -> Array:
    """-g.(h v + h^2 g / 2): what the kick -h g gave the kinetic energy."""
    g = gradient.astype(moved.dtype)
    return -g * (moved + (h * h / 2).astype(moved.dtype) * g)


def _open(inner: Any, params: Position, decays: bool, depth: int) -> MonitorState:
    """The state before the first call; every array has a buffer of its own, or jit could not take them as donated."""

    def zeros():
        return jax.tree.map(lambda p: jnp.zeros_like(p, jnp.promote_types(p.dtype, jnp.float32)), params)

    if not jax.tree.leaves(params):
        raise ValueError(f"params = {params!r} has no arrays; pass the parameters that the optimizer moves")
    dtype, groups = _tree.dtype(zeros()), len(group_names(params, depth))
    return MonitorState(
        inner=inner,
        count=jnp.zeros((), jnp.int32),
        time=jnp.zeros((), dtype),
        dt=jnp.zeros((), dtype),
        dt_before=jnp.zeros((), dtype),
        start=jnp.zeros((), dtype),
        potential=jnp.zeros((), dtype),
        slope=jnp.zeros((), dtype),
        moved=jax.tree.map(lambda x: jnp.stack([x, x]), zeros()),  # stacked, it keeps the sharding
        gradient=zeros(),
        kicks=zeros(),
        work=zeros() if decays else None,
        work_latest=zeros() if decays else None,
        noise=jnp.zeros(groups, dtype),
        noise_latest=jnp.zeros(groups, dtype),
        unreferenced=jnp.zeros((), jnp.int32),
        depth=depth,
    )


def _decayed(params: Position, value: Any, fraction: Scalar) -> Position:
    """The part of the update that is weight decay, -dt^2 weight_decay theta."""
    if params is None or value is None:
        name = "params" if params is None else "value"
        raise ValueError(f"{name} is None, but weight_decay is not zero: call update(grads, state, params, value=loss)")
    return jax.tree.map(lambda p: -fraction.astype(p.dtype) * p, params)


def _cast(tree: Position, like: Position) -> Position:
    return jax.tree.map(lambda c, x: x.astype(c.dtype), like, tree)


def _store(state: MonitorState, displacement: Position) -> tuple[Position, Position]:
    """The array of the two latest displacements with this one in the place of the older, and its row there."""
    turn = state.count % 2
    displacement = _cast(displacement, state.kicks)
    put = lambda rows, x: jax.lax.dynamic_update_index_in_dim(rows, x, turn, 0)  # noqa: E731
    rows = jax.lax.optimization_barrier(jax.tree.map(put, state.moved, displacement))
    return rows, jax.tree.map(lambda x: _row(x, turn), rows)


def _read_back(update: Array, stored: Array) -> Array:
    """The stored update in its own type, which holds the same bits if the store is no narrower."""
    exact = jnp.promote_types(update.dtype, stored.dtype) == stored.dtype
    return stored.astype(update.dtype) if exact else update


def _book(
    state: MonitorState, gradient: Position, rows: Position, moved: Position, decayed: Position | None, h: Scalar
) -> MonitorState:
    """Add this call's kicks and work."""
    gradient = _cast(gradient, state.kicks)
    work, work_latest = state.work, state.work_latest
    if decayed is not None:
        decayed = _cast(decayed, state.kicks)
        work_latest = jax.tree.map(jnp.multiply, gradient, decayed)
        work = jax.tree.map(jnp.add, work, work_latest)
    return MonitorState(
        inner=None,
        count=state.count + 1,
        time=state.time + state.dt,
        dt=h,
        dt_before=state.dt,
        start=state.start,
        potential=state.potential,
        slope=state.slope,
        moved=rows,
        gradient=gradient,
        kicks=jax.tree.map(lambda c, x, g: c + _kick(x, g, h), state.kicks, moved, gradient),
        work=work,
        work_latest=work_latest,
        noise=state.noise,
        noise_latest=jnp.zeros_like(state.noise_latest),
        unreferenced=state.unreferenced + 1,
        depth=state.depth,
    )


def _book_potential(booked: MonitorState, state: MonitorState, gradient: Position, moved: Position, value: Any):
    dtype = state.potential.dtype
    if value is None:
        before = jax.tree.map(lambda x: _row(x, (state.count + 1) % 2), state.moved)
        came_by = _tree.dot(gradient, before).astype(dtype)
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

    def given(moved, g, full):
        row = _row(moved, (booked.count + 1) % 2)
        return -(row + (booked.dt**2 / 2).astype(row.dtype) * g) * (g - full)

    latest = by_group(jax.tree.map(given, booked.moved, gradient, reference), booked.depth)
    latest = jnp.where(referenced, latest * booked.unreferenced, 0.0).astype(booked.noise.dtype)
    count = jnp.where(referenced, 0, booked.unreferenced)
    where = lambda s: (s.noise, s.noise_latest, s.unreferenced)  # noqa: E731
    return eqx.tree_at(where, booked, (booked.noise + latest, latest, count))
