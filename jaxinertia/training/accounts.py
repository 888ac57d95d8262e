r"""The monitor's books: one account of kicks for every parameter, summed only when `readout` asks.

XLA adds to an array for nearly nothing where it already writes the update, but sums an array in a loop of its own,
which is slow on CPUs. So every parameter keeps its own account here, and friction follows from

    friction = K - K(0) - kicks.

In float32 a sum of a million terms would lose digits. So single numbers carry what rounding took from them (Kahan); of
the parameters, where that would cost as much as all the rest, the sum of every thousand calls is put aside.
Everything is a named tuple, a tuple or an array: what saves an optax state saves this one too.
"""

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from .. import _tree
from .._types import Index, Scalar

# Parameters and their updates: real or complex, in any tree; of one real account each.
Parameters: TypeAlias = Any

TOGETHER = 1024


class Lost(NamedTuple):
    """What rounding added to each sum too much: the sum less this is the account."""

    time: Scalar
    potential: Scalar
    noise: Float[Array, " groups"]


class PutAside(NamedTuple):
    """The parameters' accounts up to the last multiple of `TOGETHER` calls."""

    kicks: Parameters
    work: Parameters | None


class MonitorState(NamedTuple):
    """The optimizer's own state and the accounts; `readout` says what they mean.

    Booked call k went from theta_k to theta_{k+1}. Accounts include what call k did; "latest" is that part alone.

    Attributes:
        inner: the state of the optimizer that is monitored.
        count: booked calls, k + 1.
        skipped: calls whose gradient the optimizer left out, wholly or in part.
        given: booked calls that were given their loss.
        time, dt, dt_before: t_k, h_k and h_{k-1}, in units of the physical step.
        start, potential: L_0 and L_k.
        slope: g_k.u_k, where no loss value is given.
        gathered: the loss of the micro-batches since call k.
        moved, moved_before: h_k v_{k+1} and h_{k-1} v_k, like the parameters.
        gradient: g_k, like the parameters.
        kicks: the kinetic energy given by the loss, for each parameter, since it was last put aside.
        work, work_latest: by decoupled weight decay, likewise; None without.
        noise, noise_latest: by group of parameters, shape (groups,).
        unreferenced: booked calls since the last one with a reference gradient.
        lost, put_aside: what keeps long sums exact in single precision.
        depth: as many empty tuples as levels of the tree name a group.
    """

    inner: Any
    count: Index  # type: ignore[assignment]
    skipped: Index
    given: Index
    time: Scalar
    dt: Scalar
    dt_before: Scalar
    start: Scalar
    potential: Scalar
    slope: Scalar
    gathered: Scalar
    moved: Parameters
    moved_before: Parameters
    gradient: Parameters
    kicks: Parameters
    work: Parameters | None
    work_latest: Parameters | None
    noise: Float[Array, " groups"]
    noise_latest: Float[Array, " groups"]
    unreferenced: Index
    lost: Lost
    put_aside: PutAside
    depth: tuple[tuple[()], ...]  # a length that is fixed, in no array

    @property
    def velocity(self) -> Parameters:
        """v_{k+1}, which belongs to the parameters that call k made."""
        return _over(self.moved, self.dt)

    @property
    def velocity_before(self) -> Parameters:
        """v_k, which brought the parameters that call k was given."""
        return _over(self.moved_before, self.dt_before)

    @property
    def kicks_latest(self) -> Parameters:
        """What call k added to `kicks`."""
        return jax.tree.map(lambda x, g: _kick(x, g, self.dt), self.moved, self.gradient)


class Step(NamedTuple):
    """What one step of the optimizer did, as the accounts need it."""

    gradient: Parameters  # that the step was made of
    value: Any  # its loss, or None
    displacement: Parameters  # h v
    decayed: Parameters | None  # displacement that is not velocity
    dt: Scalar


def open_accounts(inner: Any, params: Parameters, decays: bool, depth: int) -> MonitorState:
    """The state before the first call; every array has a buffer of its own, or jit could not take them as donated."""

    def moves():
        return jax.tree.map(lambda p: jnp.zeros_like(p, _wide(p)), params)

    def sums():
        return jax.tree.map(lambda p: jnp.zeros_like(p, real_type(_wide(p))), params)

    leaves = jax.tree.leaves(params)
    dtype = jnp.result_type(*(real_type(_wide(p)) for p in leaves)) if leaves else jnp.result_type(float)
    groups = len(group_names(params, depth))

    def number():
        return jnp.zeros((), dtype)

    def calls():
        return jnp.zeros((), jnp.int32)

    return MonitorState(
        inner=inner,
        count=calls(),
        skipped=calls(),
        given=calls(),
        time=number(),
        dt=number(),
        dt_before=number(),
        start=number(),
        potential=number(),
        slope=number(),
        gathered=number(),
        moved=moves(),
        moved_before=moves(),
        gradient=moves(),
        kicks=sums(),
        work=sums() if decays else None,
        work_latest=sums() if decays else None,
        noise=jnp.zeros(groups, dtype),
        noise_latest=jnp.zeros(groups, dtype),
        unreferenced=calls(),
        lost=Lost(number(), number(), jnp.zeros(groups, dtype)),
        put_aside=PutAside(sums(), sums() if decays else None),
        depth=((),) * depth,
    )


def book(state: MonitorState, step: Step, reference: Parameters | None, referenced: Bool[Array, ""]) -> MonitorState:
    """The state with this call's kicks, work, loss and noise added to the accounts."""
    gradient = jax.tree.map(lambda x, g: finite(jnp.asarray(g, x.dtype)), state.moved, step.gradient)
    moved, lost, h = step.displacement, state.lost, step.dt
    kicks = jax.tree.map(lambda c, x, g: c + _kick(x, g, h), state.kicks, moved, gradient)
    time, lost_time = _add(state.time, state.dt, lost.time)
    work, work_latest = state.work, state.work_latest
    if step.decayed is not None:
        work_latest = jax.tree.map(along, gradient, step.decayed)
        work = jax.tree.map(jnp.add, work, work_latest)
    put_aside, (kicks, work) = _put_aside(state.put_aside, PutAside(kicks, work), (state.count + 1) % TOGETHER == 0)
    booked = state._replace(
        count=state.count + 1,
        given=state.given + (step.value is not None),
        time=time,
        dt=h,
        dt_before=state.dt,
        moved=moved,
        moved_before=state.moved,
        gradient=gradient,
        kicks=kicks,
        work=work,
        work_latest=work_latest,
        noise_latest=jnp.zeros_like(state.noise_latest),
        unreferenced=state.unreferenced + 1,
        lost=lost._replace(time=lost_time),
        put_aside=put_aside,
    )
    booked = _book_potential(booked, state, step.value)
    if reference is not None:
        booked = _book_noise(booked, step.gradient, reference, referenced)
    return booked


def keep_unless(booked: Bool[Array, ""] | None, new: MonitorState, old: MonitorState) -> MonitorState:
    """The new accounts if the call is booked, else the old ones; the optimizer's own state is the new one's."""
    if booked is None:
        return new
    kept = jax.tree.map(lambda x, y: jnp.where(booked, x, y), new._replace(inner=None), old._replace(inner=None))
    return kept._replace(inner=new.inner)


def group_names(tree: Any, depth: int) -> dict[str, list[int]]:
    """The leaves (by number) of each group: leaves whose paths agree in their first `depth` steps."""
    names: dict[str, list[int]] = {}
    for number, (path, _) in enumerate(jax.tree_util.tree_leaves_with_path(tree)):
        name = jax.tree_util.keystr(path[:depth], simple=True, separator=".")
        names.setdefault(name or "all", []).append(number)
    return names


def by_group(tree: Parameters, depth: int) -> Float[Array, " groups"]:
    """The sum over each group of parameters."""
    sums = [jnp.sum(leaf) for leaf in jax.tree.leaves(tree)]
    groups = group_names(tree, depth).values()
    if not groups:
        return jnp.zeros(0)
    return jnp.stack([jnp.sum(jnp.stack([sums[i] for i in members])) for members in groups])


def real_type(dtype: Any) -> jnp.dtype:
    """The type of the real part."""
    return jnp.finfo(dtype).dtype


def finite(x: Array) -> Array:
    """x, and 0 where it is not finite: a force that is not known, and that no optimizer can have followed."""
    return jnp.where(jnp.isfinite(x), x, jnp.zeros((), x.dtype))


def _wide(x: Any) -> jnp.dtype:
    """The type in which a parameter's movement is kept: its own, and at least single precision."""
    return jnp.promote_types(jnp.result_type(x), jnp.float32)


def _over(moved: Parameters, dt: Scalar) -> Parameters:
    """The velocity; NaN of what moved in no time."""
    h = jnp.where(dt == 0, 1.0, dt)  # before the first call, and at the start of a warm-up, nothing moved

    def one(x):
        return jnp.where((dt == 0) & (x != 0), jnp.nan, x / h.astype(real_type(x.dtype)))

    return jax.tree.map(one, moved)


def along(x: Array, y: Array) -> Array:
    """x y, of complex numbers the real part of conj(x) y: what each component gives to the dot product."""
    return x.real * y.real + x.imag * y.imag if jnp.iscomplexobj(x) else x * y


def _kick(moved: Array, gradient: Array, h: Scalar) -> Array:
    """-g.(h v + h^2 g / 2): what the kick -h g gave the kinetic energy."""
    half = (h * h / 2).astype(real_type(moved.dtype))
    return -along(gradient, moved + half * gradient)


def _add(total: Array, x: Array, lost: Array) -> tuple[Array, Array]:
    """total + x, and what the sum was rounded up by, to be taken from the next one."""
    y = x - lost
    new = total + y
    return new, (new - total) - y


def _put_aside(aside: PutAside, accounts: PutAside, now: Bool[Array, ""]) -> tuple[PutAside, PutAside]:
    """What is put aside, and what is left in the accounts."""

    def move(aside, accounts):
        return jax.tree.map(jnp.add, aside, accounts), jax.tree.map(jnp.zeros_like, accounts)

    return jax.lax.cond(now, move, lambda *both: both, aside, accounts)


def _dot(x: Parameters, y: Parameters, dtype: jnp.dtype) -> Scalar:
    products = [jnp.sum(along(a, b)) for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)]
    return jnp.asarray(sum(products, start=jnp.zeros((), dtype)), dtype)


def _book_potential(booked: MonitorState, state: MonitorState, value: Any) -> MonitorState:
    dtype, lost, slope = state.potential.dtype, state.lost.potential, state.slope
    if value is None:
        came_by = _dot(booked.gradient, state.moved, dtype)
        potential, lost = _add(state.potential, (slope + came_by) / 2, lost)
        slope = _dot(booked.gradient, booked.moved, dtype)
    else:
        potential = value
    start = jnp.where(state.count == 0, potential, state.start)
    rounding = booked.lost._replace(potential=lost)
    return booked._replace(start=start, potential=potential, slope=slope, lost=rounding)


def _book_noise(booked: MonitorState, gradient: Parameters, reference: Parameters, referenced: Bool[Array, ""]):
    """-h v.(g - reference), v the mean velocity of the kick, for this call and those since the last reference."""
    if not _tree.same_structure(gradient, reference):
        raise ValueError(
            f"reference has the shapes {_tree.shapes(reference)}, the gradient {_tree.shapes(gradient)}; pass the "
            "gradient of the full loss at the same parameters"
        )

    def given(moved, g, seen, full):
        half = (booked.dt**2 / 2).astype(real_type(moved.dtype))
        return -along(moved + half * g, finite(jnp.asarray(seen - full, moved.dtype)))

    each = jax.tree.map(given, booked.moved, booked.gradient, gradient, reference)
    latest = by_group(each, len(booked.depth))
    latest = jnp.where(referenced, latest * booked.unreferenced, 0.0).astype(booked.noise.dtype)
    count = jnp.where(referenced, 0, booked.unreferenced)
    noise, lost = _add(booked.noise, latest, booked.lost.noise)
    rounding = booked.lost._replace(noise=lost)
    return booked._replace(noise=noise, noise_latest=latest, unreferenced=count, lost=rounding)
