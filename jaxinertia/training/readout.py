"""What the monitor says: the energies of one state of the run, where the energy went, and the same for each group."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from .._shown import Card, Shown, is_there, numbers
from ..energy.balance import Balance
from .accounts import MonitorState, Parameters, along, by_group, group_names
from .found import monitors
from .step_size import learning_rate

Number = Float[Array | np.ndarray, "*calls"]


class Group(eqx.Module):
    """The accounts of one group of parameters, as in `Readout`; the loss belongs to all groups together."""

    kinetic: Number
    friction: Number
    noise: Number
    work: Number
    effective_gamma: Number
    temperature: Number


class Readout(Shown, eqx.Module):
    r"""The state before the latest update, in units of the loss.

    Attributes:
        step, time: its number k and t_k.
        dt: the latest step, in the unit of time.
        kinetic, potential: K = |v|^2/2 and L; `inertia` is their sum, the paper's Eq. 2.
        balance: friction, noise, work and discretization from the start up to it; their sum is I - I(0).
        effective_gamma: what the latest update's friction takes, over 2 K dt; 0 at rest. Heavy ball's is
            (1 - e^{-2 gamma dt}) / (2 dt), less than gamma by its own order in dt. Negative where the optimizer drives.
        temperature: 2 K / d, for d parameters.
        groups: the same for each group of parameters, by name.
        skipped: calls whose gradient the optimizer left out, as not finite or otherwise refused; they are no steps,
            unless `optax.zero_nans` left out a part.
        learning_rate: eta, if the latest update is that of SGD with or without momentum, else 0; the accounts are the
            splitting's where it is dt^2. A clipped or scheduled update has less or another; `diagnose` tells them
            apart.
    """

    step: Int[Array | np.ndarray, "*calls"]
    time: Number
    dt: Number
    kinetic: Number
    potential: Number
    balance: Balance
    effective_gamma: Number
    temperature: Number
    groups: dict[str, Group]
    skipped: Int[Array | np.ndarray, "*calls"]
    learning_rate: Number

    def _card(self) -> Card | None:
        if not is_there(self):
            return None
        shape = np.shape(self.step)
        title = f"Readout of {shape[0]:,} calls" if shape else "Readout of the state before the latest update"
        energies = ("step", "time", "kinetic", "potential", "inertia", "friction", "noise", "work", "discretization")
        names = (*energies, "effective_gamma", "temperature")
        groups = f"groups: {', '.join(self.groups)}" if self.groups else "no groups"
        return Card(title, [(name, numbers(getattr(self, name))) for name in names], notes=(groups,))

    @property
    def inertia(self) -> Number:
        """I = K + L."""
        return self.kinetic + self.potential

    @property
    def friction(self) -> Number:
        """`balance.friction`."""
        return self.balance.friction

    @property
    def noise(self) -> Number:
        """`balance.noise`."""
        return self.balance.noise

    @property
    def work(self) -> Number:
        """`balance.work`."""
        return self.balance.work

    @property
    def discretization(self) -> Number:
        """`balance.discretization`."""
        return self.balance.discretization


def readout(opt_state: Any) -> Readout:
    r"""Energies and accounts of the state before the latest update: at that call, its loss was given.

    Friction, noise and work are cumulative; discretization is what they leave open of I - I(0): the step's own error.
    Without any reference gradient, `noise` is zero and discretization holds the mini-batches' noise too.

    Arguments:
        opt_state: an optimizer state with a `monitor` somewhere in it; one that came out of vmap gives arrays.

    Returns:
        A `Readout`. It sums over all parameters: cheap, but not free; inside jit it costs only where used.

    Raises:
        ValueError: if there is no monitor in the state, or more than one.

    Example:
        >>> energy = ji.training.readout(opt_state)
        >>> energy.inertia, energy.balance.friction, energy.groups["layers"].temperature
    """
    states = monitors(opt_state)
    read = _read
    for _ in range(jnp.ndim(states[0].count)):
        read = jax.vmap(read)
    return read(states)


def velocity(opt_state: Any) -> Parameters:
    """v = update / dt after the latest update: it belongs to the parameters that this update made.

    With them it is a point in phase space, for `ji.modified_inertia`, `damped_invariant` and `rotation_charges`.

    Arguments:
        opt_state: an optimizer state with a `monitor` somewhere in it.

    Returns:
        A pytree like the parameters.

    Raises:
        ValueError: if there is no monitor in the state, or more than one.

    Example:
        >>> v = ji.training.velocity(opt_state)
        >>> ji.modified_inertia(ji.System(loss), params, v, dt, solver="OBA", order=1)
    """
    first, *others = (state.velocity for state in monitors(opt_state))
    masked = lambda x: isinstance(x, optax.MaskedNode)  # noqa: E731
    for other in others:
        first = jax.tree.map(lambda x, y: y if masked(x) else x, first, other, is_leaf=masked)
    return first


def scalars(opt_state: Any, prefix: str = "energy/") -> dict[str, float]:
    """The readout as a flat dict of Python floats, for TensorBoard, W&B and the like.

    Arguments:
        opt_state: an optimizer state with a monitor in it, or a `Readout` of one call.
        prefix: put before every name.

    Returns:
        {"energy/kinetic": ..., "energy/friction": ..., "energy/layers/kinetic": ...}.

    Raises:
        ValueError: if there is no monitor in the state, or it holds many runs.

    Example:
        >>> wandb.log({"loss": loss} | ji.training.scalars(opt_state), step=step)
    """
    read = opt_state if isinstance(opt_state, Readout) else readout(opt_state)
    if np.ndim(read.kinetic):
        raise ValueError(f"opt_state holds {np.shape(read.kinetic)} readouts; loggers take one: index it, or vmap it")
    return {prefix + name: float(x) for name, x in columns(read).items()}


def postfix(opt_state: Any) -> dict[str, str]:
    """The readout in a few words, for `tqdm`'s `set_postfix`.

    Arguments:
        opt_state: as for `scalars`.

    Returns:
        Loss, inertia, the share of kinetic energy, the effective gamma, and discretization over friction.

    Raises:
        ValueError: as `scalars`.

    Example:
        >>> bar.set_postfix(ji.training.postfix(opt_state))
    """
    now = scalars(opt_state, "")
    share = now["kinetic"] / now["inertia"] if now["inertia"] else 0.0
    error = -now["discretization"] / now["friction"] if now["friction"] else 0.0
    shown = {"L": now["potential"], "I": now["inertia"], "K/I": share, "gamma": now["effective_gamma"], "err": error}
    return {name: f"{x:.3g}" for name, x in shown.items()}


def columns(read: Readout) -> dict[str, Any]:
    """Every number of a readout by its name; those of groups as group/name."""
    totals = ("step", "time", "dt", "kinetic", "potential", "inertia")
    accounts = ("friction", "noise", "work", "discretization")
    further = ("effective_gamma", "temperature", "skipped", "learning_rate")
    flat = {name: getattr(read, name) for name in (*totals, *accounts, *further)}
    for group, accounts_of in read.groups.items():
        flat |= {f"{group}/{name}": getattr(accounts_of, name) for name in Group.__annotations__}
    return flat


def _read(states: list[MonitorState]) -> Readout:
    groups = _merged(states)
    every = {name: _group(row) for name, row in groups.items()}
    total = _group(jnp.sum(jnp.stack(list(groups.values())), 0) if groups else jnp.zeros(_SUMS))
    freshest, potential, change = _potential(states)
    error = total.kinetic - total.friction + change - total.noise - total.work  # K - friction: the kicks
    balance = Balance(total.friction, total.noise, total.work, error)
    return Readout(
        step=jnp.maximum(freshest.count - 1, 0),
        time=_common([state.time - state.lost.time for state in states]),
        dt=_common([state.dt for state in states]),
        kinetic=total.kinetic,
        potential=potential,
        balance=balance,
        effective_gamma=total.effective_gamma,
        temperature=total.temperature,
        groups=every,
        skipped=jnp.max(jnp.stack([state.skipped for state in states])),
        learning_rate=learning_rate(states[0]) if len(states) == 1 else jnp.zeros_like(states[0].dt),
    )


_SUMS = 7


def _merged(states: list[MonitorState]) -> dict[str, Float[Array, " sums"]]:
    """For each group the numbers that add up, over its parameters and over the monitors that share it."""
    groups: dict[str, Any] = {}
    for state in states:
        for name, row in _sums(state).items():
            groups[name] = groups[name] + row if name in groups else row
    return groups


def _sums(state: MonitorState) -> dict[str, Float[Array, " sums"]]:
    depth, aside = len(state.depth), state.put_aside
    names = group_names(state.kicks, depth)
    before, after = (by_group(_half_square(v), depth) for v in (state.velocity_before, state.velocity))
    latest = by_group(state.kicks_latest, depth)
    kicks = by_group(state.kicks, depth) - latest + by_group(aside.kicks, depth)
    work = jnp.zeros_like(kicks)
    if state.work is not None:
        work = by_group(state.work, depth) - by_group(state.work_latest, depth) + by_group(aside.work, depth)
    noise = state.noise - state.lost.noise - state.noise_latest
    taken = before + latest - after  # by the friction of the latest update
    sizes = jnp.asarray([_freedoms(state.moved, members) for members in names.values()], before.dtype)
    rows = jnp.stack([before, before - kicks, noise, work, taken, 2 * before * state.dt, sizes], axis=-1)
    return {name: rows[i] for i, name in enumerate(names)}


def _group(row: Float[Array, " sums"]) -> Group:
    kinetic, friction, noise, work, taken, turning, size = row
    moving = turning > 0
    gamma = jnp.where(moving, taken, 0.0) / jnp.where(moving, turning, 1.0)
    return Group(kinetic, friction, noise, work, gamma, 2 * kinetic / jnp.maximum(size, 1))


def _potential(states: list[MonitorState]) -> tuple[MonitorState, Array, Array]:
    """The monitor that was booked last, L, and its change since the start.

    Monitors that are given the loss are given the same one; without it each knows what its own parameters changed.
    """
    freshest = states[0]
    for other in states[1:]:
        later = other.count > freshest.count
        count, given, potential = (
            jnp.where(later, x, y)
            for x, y in (
                (other.count, freshest.count),
                (other.given, freshest.given),
                (other.potential, freshest.potential),
            )
        )
        freshest = freshest._replace(count=count, given=given, potential=potential)
    known = [state.potential - state.lost.potential for state in states]
    changes = jnp.sum(jnp.stack([value - state.start for value, state in zip(known, states, strict=True)]), 0)
    if len(states) == 1:
        return freshest, known[0], changes
    given = freshest.given > 0
    change = jnp.where(given, freshest.potential - states[0].start, changes)
    return freshest, jnp.where(given, freshest.potential, jnp.sum(jnp.stack(known), 0)), change


def _common(numbers: list[Array]) -> Array:
    """The number on which all agree, else NaN."""
    first, *others = numbers
    for other in others:
        first = jnp.where(first == other, first, jnp.nan)
    return first


def _half_square(tree: Parameters) -> Parameters:
    return jax.tree.map(lambda v: along(v, v) / 2, tree)


def _freedoms(tree: Parameters, members: list[int]) -> int:
    """How many real numbers these leaves have."""
    leaves = jax.tree.leaves(tree)
    return sum(leaves[i].size * (2 if jnp.iscomplexobj(leaves[i]) else 1) for i in members)
