"""What fits return: values with errors, how good they are, and what is wrong with them, in words."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
from scipy import stats

from .._shown import preformatted
from ..physics.system import System
from . import derived, intervals, saved, summary
from .doubts import at_bound
from .likelihood import Posed
from .observations import Observations
from .parameters import Parameters


class Diagnostics(eqx.Module):
    """How the search ended, and what the residuals say of the model.

    converged: whether the last search ended, and at a motion: least squares that explain no more than they would of
    noise have not, by the same test as in `fit_many`. iterations: of that search. residuals: reading - prediction,
    like the position (NaN where nothing was read; for "whittle" None). prediction: like the position (one step ahead
    for the filters). reduced_chi_square: None where the error is unknown, or weighs readings alone. rms: of the
    residuals. autocorrelation: of the residuals, from lag 1. whiteness: the probability of so much autocorrelation by
    chance. halves: of each damping, and of the frequency of small swings where it was fitted, the values by the early
    and by the late half of the information, and the standard error of their difference.
    warnings: what is wrong, in words.
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
    white and (of least squares) scatter alike all along, and corrected for what they are where they are not; both
    are kept, as covariance_curvature and covariance_corrected. offset: the fitted offset and its error, or None.
    position_error: standard deviation of a reading, known or estimated, of another loss the scale of its law; of
    several components, or of runs that scatter differently, one for each (None for "whittle"). initial: position
    and momentum at the start of each run (least squares). method, why: how it was fitted, and the reason. readings,
    missing: how many numbers were read, and how many are NaN; freedom: readings less what was fitted; deviance: -2
    log L but for a constant of the record; numbers: parameters, states, offset and errors that were fitted. record:
    a fingerprint of the times and readings, by which `compare` knows fits of one record. data: what was fitted, of
    the `whole` record; None of a fit from a file.
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
    parameters: Parameters
    posed: Posed | None
    record: str
    data: Observations | None = None
    whole: Observations | None = None

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
        check_level(level)
        if method not in ("normal", "profile", "bootstrap"):
            raise ValueError(f"method = {method!r} must be 'normal', 'profile' or 'bootstrap'")
        if method == "normal":
            reach = stats.t.ppf((1 + level) / 2, self.freedom) * np.sqrt(np.diag(self.covariance))
            low, high = self.parameters.within(self.flat - reach), self.parameters.within(self.flat + reach)
        elif self.posed is None:
            least_squares = self.method == "least squares"
            why = "of a fit that still has its data: fit again" if least_squares else "after least squares"
            raise ValueError(f"method = {method!r} refits, which it can only {why}; use 'normal'")
        elif method == "profile":
            low, high = intervals.profile(self, level)
        else:
            low, high = intervals.bootstrap(self, level, key=key, samples=samples)
        return self.parameters.unflatten(low), self.parameters.unflatten(high)

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
        return derived.of(self.system, self.parameters, self.flat, self.covariance)

    def summary(self) -> str:
        """A table of the values with errors and intervals, how good the fit is, and its warnings."""
        return summary.summary(self)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return preformatted(self.summary())

    def to_json(self) -> dict[str, Any]:
        """Everything but arrays of readings, as numbers, lists and text; None where a number is not finite."""
        return summary.finite(summary.as_json(self))

    def save(self, path: str | Path) -> Path:
        """Write to a NumPy .npz file (no pickle); the suffix is added if missing. Returns the path written.

        Raises:
            ValueError: if the path cannot be written.
        """
        return saved.write(self, path)

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
        fields, diagnostics = saved.load(path, system, free)
        return cls(**fields, diagnostics=Diagnostics(**diagnostics), posed=None)


class Fits(eqx.Module):
    """Fits of many records; every array has a leading axis of records. `fits[i]` is all that `ji.fit` says of one.

    values, stderr: in the structure that `free` returned, NaN where a fit failed. covariance: (records, p, p), as
    `Fit` has it: corrected where residuals are not white, or scatter unlike early and late. converged: which did,
    as `ji.fit` says it. failures: for each other record, why. reduced_chi_square: (records,), of readings of known
    error, else the residuals' variance; NaN with noise in the system, of several components of unknown error, and
    of a robust loss. whiteness: the probability of so much autocorrelation by chance.
    """

    values: Any
    stderr: Any
    covariance: np.ndarray
    flat: np.ndarray
    labels: tuple[str, ...]
    converged: np.ndarray
    iterations: np.ndarray
    reduced_chi_square: np.ndarray
    freedom: np.ndarray
    whiteness: np.ndarray
    failures: dict[int, str]
    parameters: Parameters
    system: System
    each: Callable[[int], Fit] | None

    def __len__(self) -> int:
        return len(self.flat)

    def __getitem__(self, i: int) -> Fit:
        """The fit of one record: its system, diagnostics, derived numbers, profile; also of one that did not converge.

        Raises:
            ValueError: of a record that could not be fitted, with the reason; and of fits read from a file.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"i = {i} is none of {len(self)} records")
        if self.each is None:
            raise ValueError("fits from a file hold the table alone; fit again, or save fits[i] by itself")
        return self.each(range(len(self))[i])

    def __iter__(self) -> Iterator[Fit]:
        return (self[i] for i in range(len(self)))

    @property
    def derived(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(values, standard errors) by name, as `Fit.derived`, with an axis of records; NaN where it makes no sense."""
        return derived.of_all(self.system, self.parameters, self.flat, self.covariance)

    def interval(self, level: float = 0.95) -> Any:
        """(low, high) in the structure of `values`, from the standard errors (Student's t)."""
        check_level(level)
        spread = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        reach = stats.t.ppf((1 + level) / 2, self.freedom)[:, None] * spread
        ends = (self.parameters.within(self.flat + sign * reach) for sign in (-1, 1))
        return tuple(self.parameters.unflatten_all(end) for end in ends)

    @property
    def at_bound(self) -> np.ndarray:
        """(records, p): which values went to a bound, so that their standard error says little."""
        spread = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        each = zip(self.flat.T, spread.T, self.parameters.limits, strict=True)
        return np.stack([at_bound(value, error, *limits) for value, error, limits in each], axis=1)

    def summary(self) -> str:
        """How many converged, the values' middle and spread, and what failed."""
        good = self.converged
        lines = [
            f"{good.sum()} of {len(good)} records converged, in {np.median(self.iterations):.0f} iterations (median)"
        ]
        for i, label in enumerate(self.labels):
            if good.any():
                low, middle, high = np.quantile(self.flat[good, i], [0.16, 0.5, 0.84])
                error = np.median(np.sqrt(self.covariance[good, i, i]))
                lines.append(
                    f"{label}: median {middle:.6g}, 16 to 84 % {low:.6g} to {high:.6g}, median stderr {error:.2g}"
                )
                if self.at_bound[:, i].any():
                    lines.append(
                        f"{label} went to a bound in {self.at_bound[:, i].sum()} records: its error means little"
                    )
        lines += [f"record {i}: {why}" for i, why in list(self.failures.items())[:10]]
        if len(self.failures) > 10:
            lines.append(f"... and {len(self.failures) - 10} more")
        return "\n".join(lines)

    def save(self, path: str | Path) -> Path:
        """Write the table, all fields but the single fits, to a NumPy .npz file (no pickle). Returns the path written.

        Raises:
            ValueError: if the path cannot be written.
        """
        return saved.write_many(self, path)

    @classmethod
    def load(cls, path: str | Path, system: System, free: Callable) -> "Fits":
        """Read what `save` wrote, with the system and `free` that were fitted.

        Raises:
            ValueError: if the file is missing, damaged or of something else, or `free` returns other leaves.

        Example:
            >>> again = ji.Fits.load(fits.save("ringdowns.npz"), system, free)
        """
        fields = saved.load_many(path, system, free)
        parameters, flat = fields["parameters"], fields["flat"]
        error = np.sqrt(np.diagonal(fields["covariance"], axis1=1, axis2=2))
        values, stderr = parameters.unflatten_all(flat), parameters.unflatten_all(error)
        return cls(values=values, stderr=stderr, labels=tuple(parameters.labels), each=None, **fields)


def check_level(level: float) -> None:
    """ValueError unless it is a probability."""
    if not 0 < level < 1:
        raise ValueError(f"level = {level!r} must be between 0 and 1, such as 0.95")
