"""What the monitor says: the energies of one state of the run, where the energy went, and the same for each group."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .. import _tree
from .._types import Position
from ..energy.balance import Balance
from .monitor import MonitorState, by_group, group_names

Number = Float[Array | np.ndarray, "*calls"]


class Group(eqx.Module):
    """The accounts of one group of parameters, as in `Readout`; the loss belongs to all groups together."""

    kinetic: Number
    friction: Number
    noise: Number
    work: Number
    effective_gamma: Number
    temperature: Number


class Readout(eqx.Module):
    r"""The state before the latest update, in units of the loss.

    step, time: its number k and t_k. kinetic, potential: K = |v|^2/2 and L; `inertia` is their sum, the paper's Eq. 2.
    balance: friction, noise, work and discretization from the start up to it; their sum is I - I(0).
    effective_gamma: what the latest update's friction takes, over 2 K dt; 0 at rest. Heavy ball's is
        (1 - e^{-2 gamma dt}) / (2 dt), less than gamma by its own order in dt. Negative where the optimizer drives.
    temperature: 2 K / d, for d parameters. dt: the latest step.
    groups: the same for each group of parameters, by name.
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
    state = find(opt_state)
    read = _read
    for _ in range(jnp.ndim(state.count)):
        read = jax.vmap(read)
    return read(state)


def velocity(opt_state: Any) -> Position:
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
    return find(opt_state).velocity


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
    flat = {name: getattr(read, name) for name in (*totals, *accounts, "effective_gamma", "temperature")}
    for group, accounts_of in read.groups.items():
        flat |= {f"{group}/{name}": getattr(accounts_of, name) for name in Group.__annotations__}
    return flat


def find(opt_state: Any) -> MonitorState:
    """The monitor's state inside an optimizer's."""
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, MonitorState))
    found = [leaf for leaf in leaves if isinstance(leaf, MonitorState)]
    if len(found) != 1:
        raise ValueError(
            f"opt_state holds {len(found)} monitors, not one: wrap the optimizer, "
            "ji.training.monitor(optimizer, dt=...), before optimizer.init(params)"
        )
    return found[0]


def _read(state: MonitorState) -> Readout:
    names = group_names(state.kicks, state.depth)
    before, after = (by_group(_half_square(v), state.depth) for v in (state.velocity_before, state.velocity))
    latest = by_group(state.kicks_latest, state.depth)
    kicks = by_group(state.kicks, state.depth) - latest
    work = jnp.zeros_like(kicks)
    if state.work is not None:
        work = by_group(jax.tree.map(jnp.subtract, state.work, state.work_latest), state.depth)
    noise, sizes, kinetic = state.noise - state.noise_latest, _sizes(state, names), before
    friction, total = kinetic - kicks, jnp.sum(kinetic)
    taken = kinetic + latest - after  # by the friction of the latest update
    change = state.potential - state.start + jnp.sum(kicks)  # of I, beyond friction
    error = change - jnp.sum(noise) - jnp.sum(work)
    balance = Balance(jnp.sum(friction), jnp.sum(noise), jnp.sum(work), error)
    gammas, temperatures = _rate(taken, kinetic, state.dt), 2 * kinetic / sizes
    groups = {
        name: Group(kinetic[i], friction[i], noise[i], work[i], gammas[i], temperatures[i])
        for i, name in enumerate(names)
    }
    gamma, temperature = _rate(jnp.sum(taken), total, state.dt), 2 * total / jnp.sum(sizes)
    step = jnp.maximum(state.count - 1, 0)
    return Readout(step, state.time, state.dt, total, state.potential, balance, gamma, temperature, groups)


def _half_square(tree: Position) -> Position:
    return jax.tree.map(lambda v: v * v / 2, tree)


def _sizes(state: MonitorState, names: dict[str, list[int]]) -> Float[Array, " groups"]:
    leaves = jax.tree.leaves(state.kicks)
    return jnp.asarray([sum(leaves[i].size for i in members) for members in names.values()], _tree.dtype(leaves))


def _rate(taken: Array, kinetic: Array, dt: Array) -> Array:
    """taken / (2 K dt), and 0 at rest."""
    moving = kinetic > 0
    return jnp.where(moving, taken, 0.0) / jnp.where(moving, 2 * kinetic * dt, 1.0)
