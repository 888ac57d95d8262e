r"""The likelihood of a deterministic record: least squares over windows, each with an initial state of its own.

The cost is sum rho(r) of the residuals r in units of their scale, by the loss rho. With psi its slope,

    covariance = <psi^2> / <psi'> H^-1,   H = <psi'> J^T J,

which is the variance of the residuals times (J^T J)^-1 for squares, and of any loss whatever law the readings have.

Source: P. J. Huber, Ann. Stat. 1, 799 (1973).
"""

from functools import cached_property, partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .. import _tree
from ..physics.system import System
from .beside import Beside, level_of, moved_by, window_coordinates
from .compiled import Compiled
from .evidence import Evidence
from .likelihood import Likelihood, Reading
from .loss import SQUARES, Loss, Squares, Student
from .motion import Frame, Motion, rate_of, seen_of
from .normal import Normal
from .parameters import Parameters
from .readout import Readout
from .record import Records, Windows, about_mean
from .units import Units


@_tree.plain
class LeastSquares(Likelihood):
    """u are the parameters and what is fitted of the readings' zero, x_w = (x, x') of window w."""

    system: System
    parameters: Parameters
    units: Units
    windows: Windows
    offset: Float[Array | np.ndarray, "*many levels"]
    freedom: Float[Array | np.ndarray, "*many"]  # readings less numbers, of windows with readings
    loss: Loss
    motion: Motion
    readout: Readout | None
    beside: Beside = _tree.static()
    d: int = _tree.static()
    scalar: bool = _tree.static()
    clocked: bool = _tree.static(default=False)  # whether errors of times are in the weights

    def own(self):
        return self.windows, self.units, self.offset, self.freedom, self.loss.shape

    @property
    def readings_of_one(self):
        return max(1, self.windows.ts[0].size)

    def normal(self, u, x):
        r, j = self.linearise(u, x)
        at = window_coordinates(self.parameters, self.beside, len(x))
        p = len(u) if at is None else at.shape[1]
        cost, pull = jnp.sum(self.loss.cost(r)), self.loss.pull(r)
        stiffness = self.loss.mean_stiffness(r, self.windows.weight.reshape(r.shape) > 0)
        weighted = jnp.swapaxes(j, -1, -2)
        gram = stiffness * (weighted @ j)
        g = jnp.sum(weighted * pull[:, None, :], axis=-1)
        rounding = 1e-20 * jnp.sum((self.windows.y * self.windows.weight) ** 2)
        unit = jnp.sum(pull * pull) / stiffness / self.freedom + rounding
        gx, c, b = g[:, p:], gram[:, p:, p:], gram[:, :p, p:]
        if at is None:
            return Normal(cost, unit, jnp.sum(g[:, :p], 0), jnp.sum(gram[:, :p, :p], 0), gx, b, c)
        whole = jnp.zeros((len(u), len(u))).at[at[:, :, None], at[:, None]].add(gram[:, :p, :p])
        b = jnp.zeros((len(x), len(u), b.shape[-1])).at[np.arange(len(x))[:, None], at].set(b)
        return Normal(cost, unit, jnp.zeros(len(u)).at[at].add(g[:, :p]), whole, gx, b, c)

    def linearise(self, u: Float[Array, " p"], x: Float[Array, "w k"]):
        """Weighted residuals (w, readings) and their derivatives (w, readings, q + k) by (u, x_w), u of its run."""

        def one(u, state, window):
            def residual(both):
                return self.residuals(both[: len(u)], both[len(u) :], window)

            both = jnp.concatenate([u, state])
            push = partial(jax.jvp, residual, (both,))
            return jax.vmap(lambda v: push((v,)), out_axes=(None, -1))(np.eye(len(both)))

        return self._over_windows(one, u, x)

    def _over_windows(self, one: Any, u: Any, x: Any) -> Any:
        """`one` (coordinates of its run, state, window) of each window."""
        at = window_coordinates(self.parameters, self.beside, len(x))
        if at is None:
            return jax.vmap(partial(one, u))(x, self.windows)
        return jax.vmap(one)(u[at], x, self.windows)

    def innovations(self, u, x):
        each = self._over_windows(self.residuals, u, x)
        return self.loss.pull(each.reshape(self.windows.y.shape))

    def all_innovations(self, u, x):
        """Of one record by the program that `read` asks too: another takes longer to compile than to run."""
        if len(u) > 1:
            return super().all_innovations(u, x)
        return np.asarray(self.loss.pull(self._linearised(u, x)[0].reshape(self.windows.y.shape)))

    def _linearised(self, u: Any, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """`linearise` of many records; one program, whatever the loss."""
        plain = eqx.tree_at(lambda p: p.loss, self, SQUARES)
        return jax.tree.map(np.asarray, _linearise.over(self.readings_of_one)(plain, np.asarray(u), np.asarray(x)))

    def residuals(self, u, state, window: Windows) -> Float[Array, " readings"]:
        """(prediction - reading) / error, flat; 0 where nothing was read."""
        local, d, channels = self.parameters.local, self.d, self.windows.y.shape[-1]
        system = local.write(self.system, u)
        level = level_of(u, self.beside, local.size, self.offset, window)
        window = moved_by(u, self.beside, local.size, window)
        frame = Frame(self.units, level, d, self.scalar, channels if self.readout is None else 2 * d)
        seen = self.motion.path(system, state, window, frame)
        if self.readout is not None:
            seen = seen_of(self.readout, seen, system, window, frame)
        seen = seen.at[:, : level.shape[-1]].add(level)
        return jnp.ravel(window.weight * (seen[:, :channels] - window.y))

    def rates(self, u: Float[Array, " p"], x: Float[Array, "w k"]) -> Float[Array, "w m c"]:
        """The derivative of every reading by time, per row, along the motion."""

        def one(u, state, window):
            local, d, channels = self.parameters.local, self.d, self.windows.y.shape[-1]
            system, window = local.write(self.system, u), moved_by(u, self.beside, local.size, window)
            frame = Frame(self.units, level_of(u, self.beside, local.size, self.offset, window), d, self.scalar, 2 * d)
            path = self.motion.path(system, state, window, frame)
            rate = rate_of(system, window, frame)

            def seen(z, t):
                if self.readout is None:
                    return z[:channels]
                return self.readout.seen(z, self.units, rate(z, t) if self.readout.asks_for_force else None)

            return jax.vmap(lambda z, t: jax.jvp(seen, (z, t), (rate(z, t), jnp.ones(())))[1])(path, window.ts)

        return self._over_windows(one, u, x)

    def fine_enough(self, unit: np.ndarray) -> Any:
        """The sum of squares by which residuals may change; at 1e-10 of the motion rounding is near.

        A change s of the residuals, in units of their error, moves the values by (J^T J)^-1 J^T s: in units of their
        own errors by |s| at most.
        """
        motion = np.sum((self.windows.weight * self.windows.y) ** 2, (-3, -2, -1))
        return np.maximum(0.01 * unit, 1e-20 * motion)

    @property
    def taken(self):
        return np.asarray(self.windows.weight) > 0

    @property
    def robust(self):
        return not isinstance(self.loss, Squares)

    @cached_property
    def level(self):
        return about_mean(self.windows.weight, self.windows.y, self.loss)

    def variance(self, normal, unknown):
        if self.robust:
            return np.asarray(normal.unit)
        return np.where(np.all(unknown, axis=-1), 2 * np.asarray(normal.cost) / self.freedom, 1.0)

    def read(self, u, x, normal, unknown):
        alone = self.with_own(jax.tree.map(lambda part: np.asarray(part)[None], self.own()))
        r, j = (part[0] for part in alone._linearised(np.asarray(u)[None], np.asarray(x)[None]))
        at = window_coordinates(self.parameters, self.beside, len(x))
        if at is not None:
            local, j = j, np.zeros((*r.shape, len(u) + x.shape[-1]))
            j[..., len(u) :] = local[..., at.shape[1] :]
            for w, where in enumerate(at):
                j[w][:, where] = local[w, :, : at.shape[1]]
        y, weight = np.asarray(self.windows.y), np.asarray(self.windows.weight)
        evidence = self._evidence(r, j, weight.reshape(r.shape) > 0, float(self.variance(normal, unknown)))
        r = r.reshape(y.shape)
        prediction = np.where(weight > 0, y + r / np.where(weight > 0, weight, 1.0), np.nan)
        n, scales = len(evidence.residuals), 2 * float(np.sum(np.log(weight[weight > 0])))
        if self.robust:
            deviance = 2 * float(normal.cost + n * self.loss.normaliser()) - n * bool(unknown.all())
        else:
            squares = 2 * float(normal.cost)
            deviance = n * float(np.log(max(squares, 1e-300) / n)) if unknown.all() else squares
        error, errors = self._errors(evidence, unknown)
        return Reading(evidence, prediction, np.asarray(x), deviance - scales, error, errors)

    def _errors(self, evidence: Evidence, unknown: np.ndarray) -> tuple[np.ndarray | None, int]:
        """The error of a reading of each component, (d,), or of each run's, (w, d), if it was fitted; and how many
        numbers were fitted for it."""
        if not (self.robust or unknown.any()):
            return None, 0
        weights = np.max(np.asarray(self.windows.weight), 1)
        weights = np.where((weights > 0) & (not self.clocked), weights, np.max(weights, 0))  # or of a run without any
        runs = 1 if np.all(weights == weights[0]) else len(weights)
        numbers = runs * (len(unknown) if self.robust else int(np.sum(unknown))) + isinstance(self.loss, Student)
        levels = self.offset.shape[-1]
        if not (self.robust or unknown[:levels].any()):
            return None, numbers
        spread = np.sqrt(len(evidence.residuals) / evidence.freedom if self.robust else evidence.variance)
        error = spread / weights[:, :levels]
        return (error[0] if runs == 1 else error), numbers

    def _evidence(self, r: np.ndarray, j: np.ndarray, read: np.ndarray, variance: float) -> Evidence:
        """The states of each run eliminated."""
        p, channels = j.shape[-1] - 2 * self.d, self.windows.y.shape[-1]
        stiffness = np.sqrt(float(self.loss.mean_stiffness(r, read, np)))
        r, j = np.asarray(self.loss.pull(r)) / stiffness, j * stiffness
        time = np.repeat(np.asarray(self.windows.ts), channels, axis=-1)
        channel = np.tile(np.arange(channels), r.shape[1] // channels)
        rows: dict[str, list[Any]] = {}
        for w, keep in enumerate(read):
            ju, jx, rw = j[w, keep, :p], j[w, keep, p:], r[w, keep]
            ju = ju - jx @ np.linalg.lstsq(jx, ju, rcond=None)[0]
            here = {
                "residuals": rw / np.sqrt(variance) if variance > 0 else rw,
                "scores": ju * rw[:, None],
                "roots": ju[:, None],
                "run": np.full(len(rw), w),
                "channel": channel[keep],
                "time": time[w, keep],
                "states": jx,
            }
            for name, part in here.items():
                rows.setdefault(name, []).append(part)
        joined: dict[str, Any] = {name: np.concatenate(parts) for name, parts in rows.items()}
        return Evidence(**joined, variance=variance, freedom=int(self.freedom))


@Compiled
def _linearise(likelihood: LeastSquares, u: Any, x: Any) -> Any:
    return likelihood.of_all(lambda one, u, x: one.linearise(u, x))(u, x)


@eqx.filter_jit
def rates_of_all(likelihood: LeastSquares, u: Any, x: Any) -> Any:
    """The derivative of every reading by time, of many records (r, w, m, c)."""
    return likelihood.of_all(lambda one, u, x: one.rates(u, x))(u, x)


def pose(records: Records, length: int, motion: Motion, loss: Loss = SQUARES) -> LeastSquares:
    """The problem of windows of this many rows."""
    windows, beside, offset = records.windows(length), records.beside, records.offset
    live = 2 * records.d * np.sum(np.any(windows.weight > 0, axis=(2, 3)), axis=1)
    freedom = np.maximum(records.readings - records.parameters.size - beside.size - live, 1).astype(float)
    offset = np.zeros((len(records), records.levels)) if offset is None else offset
    return LeastSquares(
        system=records.system,
        parameters=records.parameters,
        units=records.units,
        windows=windows,
        offset=offset,
        freedom=freedom,
        loss=loss,
        motion=motion,
        readout=records.readout,
        beside=beside,
        d=records.d,
        scalar=records.scalar,
        clocked=bool(np.any(records.time_error)),
    )
