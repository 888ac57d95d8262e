"""What a fit returns: values with errors, how good the fit is, and what is wrong with it, in words."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from .. import _files
from ..physics.system import System
from . import derived, errors, saved, words
from .doubts import doubts, failures, is_lost
from .observations import Observations
from .outcome import Outcome
from .parameters import Parameters
from .shooting import Record

QUIET = 12  # lags without correlation, after which none is expected


class Diagnostics(eqx.Module):
    """How the search ended, and what the residuals say of the model.

    converged: whether the last search ended, and at a motion: least squares that explain no more than they would of
    noise have not, by the same test as in `fit_many`. iterations: of that search. residuals: reading - prediction,
    like the position (NaN where nothing was read; for "whittle" None). prediction: like the position (one step ahead
    for the filters). reduced_chi_square: None where the error is unknown. rms: of the residuals. autocorrelation: of
    the residuals, from lag 1. whiteness: the probability of so much autocorrelation by chance. halves: for each
    damping, its value and standard error by the early and by the late half of the information. warnings: what is wrong,
    in words.
    """

    converged: bool
    iterations: int
    residuals: np.ndarray | None
    prediction: np.ndarray | None
    reduced_chi_square: float | None
    rms: float | None
    autocorrelation: np.ndarray
    whiteness: float
    halves: dict[str, tuple[float, float, float]]
    warnings: tuple[str, ...]


class Fit(eqx.Module):
    """A fitted system and what is known of its numbers.

    system: the system with the fitted values. values, stderr: in the structure that `free` returned. covariance: of the
    flat values, (p, p); `labels` names them. stderr and covariance are those of the curvature where residuals are
    white, and corrected for their autocorrelation where they are not; both are kept, as covariance_curvature and
    covariance_corrected. offset: the fitted offset and its error, or None. position_error: standard deviation of a
    reading, known or estimated; of several components one for each (None for "whittle"). initial: position and momentum
    at the start of each run (least squares). method, why: how it was fitted, and the reason. readings, missing: how
    many numbers were read, and how many are NaN; freedom: readings less what was fitted; deviance: -2 log L but for a
    constant of the record; numbers: parameters, states, offset and errors that were fitted. record: a fingerprint of
    the times and readings, by which `compare` knows fits of one record.
    """

    system: System
    values: Any
    stderr: Any
    covariance: np.ndarray
    covariance_curvature: np.ndarray
    covariance_corrected: np.ndarray
    labels: tuple[str, ...]
    flat: np.ndarray
    offset: tuple[np.ndarray, np.ndarray] | None
    position_error: float | np.ndarray | None
    initial: tuple[np.ndarray, np.ndarray] | None
    method: str
    why: str
    cost: float
    deviance: float
    numbers: int
    readings: int
    missing: int
    freedom: int
    diagnostics: Diagnostics
    refit: Any
    record: str

    def interval(self, level: float = 0.95, *, method: str = "normal", key: Any = None, samples: int = 200) -> Any:
        """Confidence intervals, (low, high) in the structure of `values`.

        Arguments:
            level: the probability that an interval holds the truth.
            method: "normal", from the standard errors (Student's t); "profile", where the cost rises by as much as
                that probability allows, all else refitted; "bootstrap", from fits to resampled residuals. The last two
                are for least squares; profile does not correct for correlated residuals, bootstrap keeps them together
                in blocks.
                Where a standard error is a large part of its value, take the profile: for a strongly overdamped record
                whose gamma is known to a quarter, 95 % normal intervals held the truth 93 %, the profile's 95 % of the
                time.
            key, samples: of the bootstrap.

        Returns:
            (low, high).

        Raises:
            ValueError: if the level is not between 0 and 1, or the method is unknown or not for this fit.

        Example:
            >>> low, high = result.interval(0.95)
        """
        if not 0 < level < 1:
            raise ValueError(f"level = {level!r} must be between 0 and 1, such as 0.95")
        if method == "normal":
            reach = stats.t.ppf((1 + level) / 2, self.freedom) * np.sqrt(np.diag(self.covariance))
            low, high = self.refit_parameters.within(self.flat - reach), self.refit_parameters.within(self.flat + reach)
        elif method in ("profile", "bootstrap") and isinstance(self.refit, Parameters):
            why = (
                "after least squares"
                if self.method != "least squares"
                else "of a fit that still has its data: fit again"
            )
            raise ValueError(f"method = {method!r} refits, which it can only {why}; use 'normal'")
        elif method in ("profile", "bootstrap"):
            from . import intervals  # noqa: PLC0415  refits: only where asked for

            with jax.enable_x64(True):
                low, high = getattr(intervals, method)(
                    self, level, **({} if method == "profile" else dict(key=key, samples=samples))
                )
        else:
            raise ValueError(f"method = {method!r} must be 'normal', 'profile' or 'bootstrap'")
        unflatten = self.refit_parameters.unflatten
        return unflatten(low), unflatten(high)

    @property
    def refit_parameters(self) -> Parameters:
        """The parameters' structure."""
        return self.refit[1] if isinstance(self.refit, tuple) else self.refit

    @property
    def derived(self) -> dict[str, tuple[float, float]]:
        r"""What engineers call the numbers of x'' + gamma x' + k x = sigma dW/dt, each with its standard error.

        natural_frequency sqrt(k) / 2 pi, damping_ratio gamma / (2 sqrt k), quality_factor sqrt(k) / gamma; decay_time
        2 / gamma, of the amplitude, where the motion swings; temperature sigma^2 / (2 gamma), with white noise. Errors
        are sqrt(g^T C g), with g the gradient by the free numbers and C `covariance`; numbers that were held add none.

        Returns:
            (value, standard error) by name: what can be said, where gamma and k are scalars; k is the stiffness,
            `Duffing`'s linear coefficient (of small swings), or the square of `Pendulum`'s frequency.

        Example:
            >>> quality, error = result.derived["quality_factor"]

        Source: L. Meirovitch, Fundamentals of Vibrations, 2001, chapter 2.
        """
        return derived.of(self.system, self.refit_parameters, self.flat, self.covariance)

    def summary(self) -> str:
        """A table of the values with errors and intervals, how good the fit is, and its warnings."""
        return words.summary(self)

    def to_json(self) -> dict[str, Any]:
        """Everything but arrays of readings, as numbers, lists and text; None where a number is not finite."""
        return words.finite(words.as_json(self))

    def save(self, path: str | Path) -> Path:
        """Write to a NumPy .npz file (no pickle); the suffix is added if missing. Returns the path written.

        Raises:
            ValueError: if the path cannot be written.
        """
        arrays: dict[str, Any] = {"flat": self.flat, "covariance_curvature": self.covariance_curvature}
        arrays |= {
            "covariance_corrected": self.covariance_corrected,
            "autocorrelation": self.diagnostics.autocorrelation,
        }
        for name in ("residuals", "prediction"):
            value = getattr(self.diagnostics, name)
            arrays |= {} if value is None else {name: value}
        arrays |= {} if self.initial is None else {"position": self.initial[0], "momentum": self.initial[1]}
        arrays |= words.input_arrays(self.system)
        text = words.as_json(self) | {"bounds": words.bounds(self.refit_parameters), "record": self.record}
        return _files.write(path, "fit", saved.VERSION, {"text": json.dumps(text)} | arrays)

    @classmethod
    def load(cls, path: str | Path, system: System, free: Callable) -> "Fit":
        """Read what `save` wrote, with the system and `free` that were fitted: a file holds numbers, not functions.

        Arguments:
            path: the file.
            system: as it was given to `ji.fit`; its free numbers, and an input that it was fitted with, are the file's.
            free: as it was given to `ji.fit`.

        Returns:
            The fit: values, errors, intervals and summary are those saved. It cannot refit ("profile", "bootstrap").

        Raises:
            ValueError: if the file is missing, damaged or not a saved fit, its fields do not match each other, or
                `free` returns other leaves.

        Example:
            >>> system = ji.System(ji.potentials.Quadratic())
            >>> free = lambda s: (s.damping.gamma, s.potential.stiffness)
            >>> path = ji.fit(system, data, free).save("ringdown.npz")
            >>> again = ji.Fit.load(path, system, free)
        """
        return words.load(cls, path, system, free)


def conclude(record: Record, data: Observations, outcome: Outcome, method: str, why: str) -> Fit:
    """Values and errors in the user's units, diagnostics and warnings."""
    parameters = record.parameters
    p = parameters.size
    u = jnp.asarray(outcome.u[:p])
    evidence = outcome.evidence
    jacobian = np.asarray(jax.jacfwd(parameters.natural)(u))
    lags = correlation_length(evidence)
    plain = errors.curvature(evidence)
    corrected = errors.sandwich(evidence, lags)
    whiteness = errors.whiteness(evidence)
    white = whiteness > errors.DOUBT
    in_u = plain if white else corrected
    natural = [errors.propagated(jacobian, c[:p, :p], parameters.constant) for c in (in_u, plain, corrected)]
    flat = np.asarray(parameters.natural(u))
    system = parameters.write(record.system, u)
    in_time = outcome.windows is not None
    halves = words.damping_halves(parameters, evidence, flat, jacobian) if in_time else {}
    rows = _residuals(outcome, data)
    error = _position_error(outcome, data, record)
    chi = None
    if outcome.known:
        chi = float(np.sum(evidence.residuals**2)) / evidence.freedom
    diagnostics = Diagnostics(
        not failures(outcome.ended, is_lost(outcome), outcome.iterations),
        outcome.iterations,
        rows,
        None if rows is None else data.position - rows,
        chi,
        None if rows is None else float(np.sqrt(np.nanmean(rows**2))),
        errors.autocorrelation(evidence, min(errors.LAGS, len(evidence.residuals) // 2)),
        whiteness,
        halves,
        doubts(outcome, record, chi, whiteness, halves, flat, natural[0]),
    )
    initial = None if outcome.initial is None else _initial(outcome)
    return Fit(
        system=system,
        values=parameters.unflatten(flat),
        stderr=parameters.unflatten(np.sqrt(np.diag(natural[0]))),
        covariance=natural[0],
        covariance_curvature=natural[1],
        covariance_corrected=natural[2],
        labels=tuple(parameters.labels),
        flat=flat,
        offset=_offset(outcome, in_u, record),
        position_error=error,
        initial=initial,
        method=method,
        why=why,
        cost=outcome.cost,
        deviance=_deviance(outcome),
        numbers=len(evidence.residuals) - evidence.freedom + int(np.sum(outcome.unknown)),
        readings=len(evidence.residuals),
        missing=sum(int(np.isnan(x).sum()) for x in (data.position, data.momentum) if x is not None),
        freedom=evidence.freedom,
        diagnostics=diagnostics,
        refit=(outcome, parameters, record) if outcome.initial is not None else parameters,
        record=_fingerprint(data),
    )


def correlation_length(evidence: errors.Evidence) -> int:
    """Readings over which residuals are taken to be correlated: twice as far as the first stretch of quiet lags."""
    n = len(evidence.residuals)
    loud = np.abs(errors.autocorrelation(evidence, min(400, n // 4))) > 3 / np.sqrt(n)
    quiet = next((k for k in range(len(loud)) if not loud[k : k + QUIET].any()), len(loud))
    return int(np.clip(2 * quiet, n ** (1 / 3), n // 5))


def _fingerprint(data: Observations) -> str:
    """SHA-1 of times, positions and momenta; equal for equal readings, whatever is known of their error."""
    digest = hashlib.sha1(usedforsecurity=False)
    for x in (data.ts, data.position, data.momentum):
        digest.update(b"" if x is None else repr(x.shape).encode() + np.where(np.isnan(x), np.nan, x + 0.0).tobytes())
    return digest.hexdigest()


def _residuals(outcome, data):
    """Reading - prediction in the data's own rows and units."""
    if outcome.prediction is None:
        return None
    d = outcome.record.d
    out = np.full((len(data.ts), d), np.nan)
    for run, predicted in zip(outcome.record.runs, outcome.prediction, strict=True):
        kept = run.row >= 0
        rows = predicted[: len(run.row), :d][kept] * outcome.record.units.length
        out[run.row[kept]] = data.position.reshape(-1, d)[run.row[kept]] - rows
    return out.reshape(data.position.shape)


def _deviance(outcome) -> float:
    """-2 log L but for a constant of the record: sum r^2 - 2 sum log w, of weighted residuals r = w (reading - fit).

    With one unknown error for all, n log(sum r^2 / n) takes the place of the sum.
    """
    if outcome.fitted is None:
        return 2 * outcome.cost
    weight = np.asarray(outcome.windows.weight)
    n, scales = len(outcome.evidence.residuals), 2 * float(np.sum(np.log(weight[weight > 0])))
    squares = n * float(np.log(2 * outcome.cost / n)) if outcome.unknown.all() else 2 * outcome.cost
    return squares - scales


def _position_error(outcome, data, record):
    if "floor" in outcome.extra:
        return None
    if data.position_error is not None:
        return float(np.sqrt(np.mean(data.position_error**2)))
    at = _places(outcome, record, "position_error")
    if at.size:
        found = np.exp(outcome.u[at] / 2) * float(record.units.length)
    else:
        weight = np.max(np.asarray(outcome.windows.weight)[..., : record.d], (0, 1))  # one for each component
        found = np.sqrt(outcome.evidence.variance) / weight * float(record.units.length)
    return found if record.d > 1 else float(found[0])


def _places(outcome, record, name):
    """Where in u the method's own numbers of this name are."""
    return record.parameters.size + np.flatnonzero([x.startswith(name) for x in outcome.extra])


def _offset(outcome, covariance, record):
    index = _places(outcome, record, "offset")
    if not index.size:
        return None
    return outcome.u[index] * record.units.length, np.sqrt(np.diag(covariance)[index]) * record.units.length


def _initial(outcome):
    """Position and momentum at the start of each run, in the data's units."""
    record = outcome.record
    length, time = record.units.length, record.units.time
    q, p = outcome.initial[:, : record.d] * length, outcome.initial[:, record.d :] * (length / time)
    return (q[:, 0], p[:, 0]) if record.scalar else (q, p)
