"""What `ji.modes` returns: the modes of a record, each number with its error. Data only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..._shown import html
from ...physics.damping import Linear
from ...physics.noise import White
from ...physics.potentials import Quadratic
from ...physics.system import System
from ..observations import Observations
from . import saved, words
from .found import Checks, Found, Order, shape_of
from .intervals import intervals
from .motion import derived, propagate, reading, root
from .record import KINDS, Record


class Errors(eqx.Module):
    """Standard errors, named and shaped like what they are of; a complex one holds those of real and imaginary part."""

    frequency: np.ndarray
    damped_frequency: np.ndarray
    gamma: np.ndarray
    damping_ratio: np.ndarray
    quality_factor: np.ndarray
    shape: np.ndarray
    amplitude: np.ndarray
    phase: np.ndarray


class Modes(eqx.Module):
    r"""K modes over d channels and R runs, in order of frequency: q'' + gamma q' + (2 pi frequency)^2 q = force.

    Attributes:
        frequency: (K,), natural, in cycles per time.
        damped_frequency: (K,), (omega_0^2 - gamma^2/4)^{1/2} / 2 pi, in cycles per time; 0 where overdamped.
        gamma: (K,), in one over time: the amplitude falls as e^{-gamma t / 2}, the energy as e^{-gamma t}.
        damping_ratio, quality_factor: (K,), gamma / (2 omega_0) and omega_0 / gamma.
        lone: (K,), whether it is a single real pole -r (a relaxation, or an overdamped motion whose fast part has
            died), told as the critically damped gamma = 2 r, omega_0 = r.
        shape: (K, d), complex, 1 in the channel where the mode is greatest: the displacement in channel j is
            Re(shape_j z), z = amplitude e^{i phase + s t}.
        reference: (K,), that channel.
        amplitude, phase: (K, R), at the start of each run; where noise drives the root-mean-square, and NaN.
        stderr: of each of these, by the same names.
        covariance: (2K, 2K), of (gamma_1 .. gamma_K, frequency_1 .. frequency_K), allowing for correlated residuals.
        parts: (K, d, 2), alpha and beta of the displacement y_j = alpha_j q + beta_j q', q that of the reference.
        state: (K, R, 2), q and q' at the start of each run; NaN where noise drives.
        force: (K, K), intensity of the white forces that drive the modes (units of q'^2 over time), or None.
        offset, trend: (R, d), or None: of each run, at its first reading, and by time since.
        position_error: (d,), of a reading.
        orders: what else was tried: an `Order` (modes, deviance, numbers, criterion, frequency, gamma) for each number
            of modes.
        chosen, chosen_by: which of `orders` was taken, its place there, and the rule.
        profile: (K, 2, values), values of gamma, and how much the deviance rises there with all else refitted; NaN
            where errors are small and no profile is needed.
        checks: residuals (None where a band or spectra were fitted), prediction, rms, autocorrelation, whiteness,
            halves (gamma and frequency early, late and the error of the difference) and spectrum.
        driven, why: "free" or "noise", and how that was decided.
        band: (low, high) as it was given, in cycles per time, or None.
        kinds: what each channel reads.
        starts: (R,), the first time of each run.
        readings: how many numbers were read.
        warnings: what is wrong, in words.
    """

    frequency: np.ndarray
    damped_frequency: np.ndarray
    gamma: np.ndarray
    damping_ratio: np.ndarray
    quality_factor: np.ndarray
    lone: np.ndarray
    shape: np.ndarray
    reference: np.ndarray
    amplitude: np.ndarray
    phase: np.ndarray
    stderr: Errors
    covariance: np.ndarray
    parts: np.ndarray
    state: np.ndarray
    force: np.ndarray | None
    offset: np.ndarray | None
    trend: np.ndarray | None
    position_error: np.ndarray
    orders: tuple[Order, ...]
    chosen: int
    chosen_by: str
    profile: np.ndarray
    checks: Checks
    driven: str
    why: str
    band: tuple[float, float] | None
    kinds: tuple[str, ...]
    starts: np.ndarray
    readings: int
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, found: Found, record: Record, driven: str, why: str, band: tuple[float, float] | None) -> "Modes":
        """What was found in a record, in order of frequency; driven, why and band as `ji.modes` has them."""
        order = np.argsort(found.frequency, kind="stable")
        both = np.concatenate([order, order + len(order)])
        gamma, frequency = found.gamma[order], found.frequency[order]
        covariance = found.covariance[np.ix_(both, both)]
        values, errors = derived(gamma, frequency, covariance)
        parts = found.parts[order]
        stderr = Errors(
            shape=found.shape_error[order],
            amplitude=found.amplitude_error[order],
            phase=found.phase_error[order],
            **errors,
        )
        checks = found.checks._replace(halves=found.checks.halves[order])
        force = None if found.force is None else found.force[np.ix_(order, order)]
        return cls(
            **values,
            lone=found.lone[order],
            shape=shape_of(parts, gamma, frequency),
            reference=found.reference[order],
            amplitude=found.amplitude[order],
            phase=found.phase[order],
            stderr=stderr,
            covariance=covariance,
            parts=parts,
            state=found.state[order],
            force=force,
            offset=found.offset,
            trend=found.trend,
            position_error=found.position_error,
            orders=found.orders,
            chosen=found.chosen,
            chosen_by=found.chosen_by,
            profile=found.profile[order],
            checks=checks,
            driven=driven,
            why=why,
            band=band,
            kinds=record.kinds,
            starts=np.array([run.start for run in record.runs]),
            readings=record.readings,
            warnings=found.warnings,
        )

    @property
    def count(self) -> int:
        """K, how many there are."""
        return len(self.gamma)

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return words.in_one_line(self)

    def _repr_html_(self) -> str:
        return html(words.card(self))

    def interval(self, level: float = 0.95) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Confidence intervals (low, high) of frequency, damped_frequency, gamma, damping_ratio and quality_factor.

        From the standard errors; of gamma by its profile (where the deviance rises by as much as that probability
        allows, all else refitted) where one was taken, because the error is a large part of the value.

        Arguments:
            level: the probability that an interval holds the truth.

        Returns:
            (low, high), each (K,), by name.

        Raises:
            ValueError: if the level is not between 0 and 1.

        Example:
            >>> low, high = found.interval(0.95)["gamma"]
        """
        return intervals(self, level)

    def mac(self, other: "Modes | None" = None) -> np.ndarray:
        """The modal assurance criterion |phi^H psi|^2 / (|phi|^2 |psi|^2) of each shape with each, of another's or its
        own.

        It compares channels of one unit: scale others first.

        Arguments:
            other: modes over the same channels; None means these.

        Returns:
            (K, K of the other), 1 for equal shapes.

        Raises:
            ValueError: if the channels are not as many.

        Example:
            >>> np.round(found.mac(), 2)

        Source: R. J. Allemang, Sound and Vibration 37(8), 14 (2003).
        """
        psi = self.shape if other is None else other.shape
        if psi.shape[1:] != self.shape.shape[1:]:
            raise ValueError(
                f"other has {psi.shape[1]} channels, these modes {self.shape.shape[1]}; compare equal ones"
            )
        cross = np.abs(self.shape.conj() @ psi.T) ** 2
        return cross / np.outer(np.sum(np.abs(self.shape) ** 2, 1), np.sum(np.abs(psi) ** 2, 1))

    @property
    def phase_collinearity(self) -> np.ndarray:
        """(K,), ((S_xx - S_yy)^2 + 4 S_xy^2) / (S_xx + S_yy)^2 of real and imaginary parts: 1 where all move in phase.

        Source: J. N. Juang and R. S. Pappa, J. Guidance 8, 620 (1985), without centring.
        """
        x, y = self.shape.real, self.shape.imag
        xx, yy, xy = (np.sum(a * b, axis=1) for a, b in ((x, x), (y, y), (x, y)))
        return ((xx - yy) ** 2 + 4 * xy**2) / (xx + yy) ** 2

    @property
    def system(self) -> System:
        """A `ji.System` whose position is the K modal displacements q: stiffness omega_0^2 and gamma per component,
        and where noise drives White(sigma). `start` is where it starts, `reading` what the channels see of it.

        Raises:
            ValueError: without modes, or where a gamma is negative.
        """
        if not self.count:
            raise ValueError("no modes were found, so that there is no system; see warnings")
        if np.any(self.gamma < 0):
            k = int(np.argmin(self.gamma))
            raise ValueError(
                f"gamma[{k}] = {self.gamma[k]:.3g} is negative: a mode that grows; leave it out with band= or count="
            )
        stiffness = (2 * np.pi * self.frequency) ** 2
        with jax.enable_x64(True):
            noise = None if self.force is None else White(root(self.force))
            return System(Quadratic(stiffness), Linear(self.gamma), noise=noise)

    def start(self, run: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(position, momentum) of `system` at the first time of a run, each (K,).

        Example:
            >>> traj = ji.simulate(found.system, ts, *found.start(), dt=0.01)
            >>> found.reading(traj.position, traj.momentum)

        Raises:
            ValueError: if there is no such run, or noise drives the motion.
        """
        self._check_free("start")
        state = self.state[:, _run(run, self.state.shape[1])]
        return state[:, 0].copy(), state[:, 1].copy()

    def reading(self, position: Any, momentum: Any, run: int = 0, *, ts: Any = None) -> np.ndarray:
        """What the channels read, (n, d), where the modes are at (position, momentum), each (n, K): kinds, offset and
        trend kept.

        The offset is that of the run. Forces during the motion are not in it: of accelerations, the free part.

        Arguments:
            position, momentum: (n, K), of the modes.
            run: whose offset and trend, counted from 0.
            ts: (n,), in the data's time: needed beside a trend.

        Raises:
            ValueError: if the modes are beside a trend and ts is None.
        """
        values = reading(
            self.parts, self.gamma, self.frequency, np.asarray(position), np.asarray(momentum), self._order
        )
        return values + self._level(ts, run)

    def predict(self, ts: Any, run: int = 0, *, modes: Any = None) -> np.ndarray:
        """The fitted readings, (n, d), at times like the data's.

        Arguments:
            ts: (n,), in the data's time.
            run: whose start and offset.
            modes: which modes to sum, a list of their numbers from 0; None means all. Without all, no offset
                and no trend are added.

        Raises:
            ValueError: if there is no such run or mode, or noise drives the motion.
        """
        self._check_free("predict")
        position, momentum = self._motion(ts, run)
        if modes is None:
            return self.reading(position, momentum, run, ts=ts)
        pick = _pick(modes, self.count)
        return reading(
            self.parts[pick], self.gamma[pick], self.frequency[pick], position[:, pick], momentum[:, pick], self._order
        )

    def energy(self, ts: Any, run: int = 0) -> np.ndarray:
        """(n, K): (q'^2 + omega_0^2 q^2) / 2 of each mode, per unit of its mass, q in its reference channel.

        Where noise drives: its mean, the same at all times.

        Arguments:
            ts: (n,), in the data's time.
            run: whose start.
        """
        omega = 2 * np.pi * self.frequency
        if self.driven == "noise":
            mean = omega**2 * self.amplitude[:, _run(run, self.amplitude.shape[1])] ** 2
            return np.broadcast_to(mean, (len(np.ravel(ts)), self.count)).copy()
        position, momentum = self._motion(ts, run)
        return (momentum**2 + omega**2 * position**2) / 2

    def alone(self, data: Observations, mode: int | Sequence[int]) -> Observations:
        """The record of one mode, or of several together: the displacement in the (first) one's reference channel,
        with all other modes taken out of it.

        For `ji.fit` with another law of friction or potential, the other modes held.

        Arguments:
            data: what the modes were found in.
            mode: its number, from 0, or a list of them.

        Raises:
            ValueError: if there is no such mode, that channel does not read displacements, the record is another one,
                or noise drives the motion.

        Example:
            >>> ji.fit(ji.System(ji.potentials.Duffing(), ji.damping.Drag(0.1, 0.1)), found.alone(data, 1), free)
        """
        self._check_free("alone")
        kept = _pick([mode] if np.ndim(mode) == 0 else mode, self.count)
        channel = int(self.reference[kept[0]])
        if self.kinds[channel] != KINDS[0]:
            raise ValueError(
                f"channel {channel} reads {self.kinds[channel]}s; alone needs a displacement: integrate it"
            )
        runs = data.runs
        y = data.position.reshape(len(data.ts), -1)
        if y.shape[1] != len(self.kinds) or len(runs) != len(self.starts):
            raise ValueError("data are another record than the one whose modes these are")
        left = np.full(len(data.ts), np.nan)
        others = [k for k in range(self.count) if k not in kept]
        for r, rows in enumerate(runs):
            rest = self.predict(data.ts[rows], r, modes=others)[:, channel]
            left[rows] = (y[rows] - self._level(data.ts[rows], r))[:, channel] - rest
        return Observations(
            data.ts, left, position_error=float(self.position_error[channel]), segment=data.segment, offset=0.0
        )

    def summary(self) -> str:
        """A table of the modes with errors, how their number was chosen, what the residuals say, and warnings."""
        return words.summary(self)

    def to_json(self) -> dict[str, Any]:
        """Everything but residuals and predictions, as numbers, lists and text; None where a number is not finite."""
        return words.as_json(self)

    def save(self, path: str | Path) -> Path:
        """Write to a NumPy .npz file (no pickle); the suffix is added if missing. Returns the path written.

        Raises:
            ValueError: if the path cannot be written.
        """
        return saved.write(path, self)

    @classmethod
    def load(cls, path: str | Path) -> "Modes":
        """Read what `save` wrote to path.

        Raises:
            ValueError: if the file is missing, damaged, of another kind, or its fields do not match each other.

        Example:
            >>> again = ji.Modes.load(found.save("bell.npz"))
        """
        fields, errors = saved.read(path)
        return cls(stderr=Errors(**errors), **fields)

    @property
    def _order(self) -> np.ndarray:
        return np.array([KINDS.index(kind) for kind in self.kinds])

    def _motion(self, ts: Any, run: int) -> tuple[np.ndarray, np.ndarray]:
        since = np.asarray(ts, float) - self.starts[_run(run, len(self.starts))]
        with np.errstate(over="ignore", invalid="ignore"):
            motion = propagate(self.state[:, run], self.gamma, self.frequency, since)
        if not np.all(np.isfinite(motion)):
            raise ValueError(
                f"ts = {since.min() + self.starts[run]:.6g} is no time of this motion, which starts at "
                f"{self.starts[run]:.6g}: backwards from there it grows beyond all numbers"
            )
        return motion

    def _level(self, ts: Any, run: int) -> np.ndarray | float:
        """Offset and trend of each channel at these times."""
        level = 0.0 if self.offset is None else self.offset[_run(run, len(self.offset))]
        if self.trend is None:
            return level
        if ts is None:
            raise ValueError("ts = None: these modes are beside a trend; pass the times, as reading(..., ts=ts)")
        return level + (np.asarray(ts, float) - self.starts[run])[:, None] * self.trend[run]

    def _check_free(self, name: str) -> None:
        if self.driven == "noise":
            raise ValueError(f"{name} is for a free decay; here noise drives the modes, whose path is chance")


def _run(run: int, runs: int) -> int:
    if not 0 <= run < runs:
        raise ValueError(f"run = {run!r} must be in 0..{runs - 1}")
    return run


def _pick(modes: Any, count: int) -> list[int]:
    picked = [int(k) for k in modes]
    if not all(0 <= k < count for k in picked):
        raise ValueError(f"modes = {picked} must be in 0..{count - 1}")
    return picked
