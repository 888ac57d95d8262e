"""What fits return: values with errors, how good they are, and what is wrong with them, in words."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from scipy import special

from .._shown import preformatted
from ..physics.system import System
from . import crosscheck, derived, intervals, saved, summary
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
    """A fitted system, values +- stderr, and what is known of its numbers.

    Attributes:
        system: the system with the fitted values, the first run's of what each has for itself.
        values, stderr: in the structure that `free` returned, in the units of the record.
        each, each_stderr: own values of the runs of `data`, in the structure that `each` returned, with a leading axis
            of runs, in the order in which they begin; None without it.
        covariance: of the flat values, (p, p); `labels` names them. stderr and covariance are those of the curvature
            where residuals are white and (of least squares) scatter alike all along, and corrected for what they are
            where they are not.
        covariance_curvature, covariance_corrected: both of these.
        labels, flat: the names and the values as one vector, p of them.
        offset: the fitted offset, at the record's first time, and its error, or None; of several records one row for
            each.
        trend: the same of its change per time.
        input_delay: the same of the input's.
        position_error: standard deviation of a reading, known or estimated, of another loss the scale of its law; of
            several components, or of runs that scatter differently, one for each (None for "whittle").
        initial: position and momentum at the start of each run (least squares).
        ends: (2, p), the 95 % interval by the profile of values whose errors are not symmetric, else NaN; their stderr
            is half of it over Student's t or more, infinite where it is open.
        method, why: how it was fitted, and the reason.
        cost, deviance: the least sum, and -2 log L but for a constant of the record.
        numbers: parameters, states, offset and errors that were fitted.
        readings, missing: how many numbers were read, and how many are NaN.
        freedom: readings less what was fitted.
        diagnostics: how the search ended, and what the residuals say of the model.
        parameters: which leaves of the system were free, and their bounds.
        posed: the problem as it was solved, which profile and bootstrap solve again; None where they cannot.
        record: a fingerprint of the times and readings, by which `compare` knows fits of one record.
        data, whole: what was fitted, and the record that it is a part of; None of a fit from a file.
    """

    system: System
    values: Any
    stderr: Any
    each: Any
    each_stderr: Any
    covariance: np.ndarray
    covariance_curvature: np.ndarray
    covariance_corrected: np.ndarray
    labels: tuple[str, ...]
    flat: np.ndarray
    offset: tuple[np.ndarray, np.ndarray] | None
    trend: tuple[np.ndarray, np.ndarray] | None
    input_delay: tuple[float, float] | None
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
    ends: np.ndarray
    posed: Posed | None
    record: str
    data: Observations | None = None
    whole: Observations | None = None

    def interval(
        self,
        level: float = 0.95,
        *,
        method: str | None = None,
        key: Any = None,
        samples: int = 200,
        each: bool = False,
    ) -> Any:
        """Confidence intervals, (low, high) in the structure of `values`.

        Arguments:
            level: the probability that an interval holds the truth.
            method: "normal", from the standard errors (Student's t); "profile", where the cost rises by as much as
                that probability allows, all else refitted; "bootstrap", from fits to resampled residuals. The last two
                are for least squares; profile does not correct for correlated residuals, bootstrap keeps them together
                in blocks.
                None takes the profile for values in `ends`, whose errors are not symmetric, else "normal".
            key, samples: of the bootstrap.
            each: give those of the runs' own values, in the structure of `each`.

        Returns:
            (low, high).

        Raises:
            ValueError: if the level is not between 0 and 1, or the method is unknown or not for this fit.

        Example:
            >>> low, high = result.interval(0.95)
        """
        check_level(level)
        if each and not self.parameters.own:
            raise ValueError("each = True: this fit has no own values of runs; pass each= to ji.fit")
        low, high = self.flat_interval(level, method=method, key=key, samples=samples)
        if each:
            return self.parameters.unflatten_own(low), self.parameters.unflatten_own(high)
        return self.parameters.unflatten(low), self.parameters.unflatten(high)

    def flat_interval(
        self, level: float = 0.95, *, method: str | None = None, key: Any = None, samples: int = 200
    ) -> tuple[np.ndarray, np.ndarray]:
        """(low, high) as `interval` has them, (p,) each, of all flat values.

        Arguments:
            level, method, key, samples: as for `interval`.

        Raises:
            ValueError: as `interval`.
        """
        check_level(level)
        if method not in (None, "normal", "profile", "bootstrap"):
            raise ValueError(f"method = {method!r} must be 'normal', 'profile' or 'bootstrap', or None")
        reach = special.stdtrit(self.freedom, (1 + level) / 2) * np.sqrt(np.diag(self.covariance))
        low, high = self.parameters.within(self.flat - reach), self.parameters.within(self.flat + reach)
        bent = ~np.isnan(self.ends[0]) & ~np.all(self.parameters.limits == self.ends.T, axis=1)
        if method == "normal" or (method is None and not bent.any()):
            pass
        elif method is None and level == crosscheck.LEVEL:
            low, high = np.where(bent, self.ends[0], low), np.where(bent, self.ends[1], high)
        elif self.posed is None:
            raise ValueError(intervals.cannot_refit(self, method, level))
        elif method == "bootstrap":
            low, high = intervals.bootstrap(self, level, key=key, samples=samples)
        else:
            ends = intervals.profile(self, level, bent if method is None else np.ones(len(self.flat), bool))
            low, high = (np.where(np.isnan(end), old, end) for end, old in zip(ends, (low, high), strict=True))
        return low, high

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
    def load(cls, path: str | Path, system: System, free: Callable, each: Callable | None = None) -> "Fit":
        """Read what `save` wrote, with the system and `free` that were fitted: a file holds numbers, not functions.

        Arguments:
            path: the file.
            system: as it was given to `ji.fit`; its free numbers, and an input that it was fitted with, are the file's.
            free, each: as they were given to `ji.fit`.

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
        fields, diagnostics = saved.load(path, system, free, each)
        return cls(**fields, diagnostics=Diagnostics(**diagnostics), posed=None)


class Fits(eqx.Module):
    """Fits of many records; every array has a leading axis of records. `fits[i]` is all that `ji.fit` says of one.

    Attributes:
        values, stderr: in the structure that `free` returned, NaN where a fit failed.
        each, each_stderr: as `Fit` has them, (records, runs, ...), or None.
        covariance: (records, p, p), as `Fit` has it: corrected where residuals are not white, or scatter
            unlike early and late.
        ends: (records, 2, p), as `Fit` has them.
        flat, labels: the values as (records, p), and their names.
        converged: which did, as `ji.fit` says it.
        iterations: of the last search of each.
        reduced_chi_square: (records,), of readings of known error, else the residuals' variance; NaN with noise in the
            system, of several components of unknown error, and of a robust loss.
        freedom: (records,), readings less what was fitted.
        whiteness: (records,), the probability of so much autocorrelation by chance.
        failures: for each record that did not converge, why.
        parameters: which leaves of the system were free, and their bounds.
        system: the one that was given, with the start values.
        one: what makes the `Fit` of one record; None of a table from a file.
    """

    values: Any
    stderr: Any
    each: Any
    each_stderr: Any
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
    ends: np.ndarray
    system: System
    one: Callable[[int], Fit] | None

    def __len__(self) -> int:
        return len(self.flat)

    def __getitem__(self, i: int) -> Fit:
        """The fit of one record: its system, diagnostics, derived numbers, profile; also of one that did not converge.

        Raises:
            ValueError: of a record that could not be fitted, with the reason; and of fits read from a file.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"i = {i} is none of {len(self)} records")
        if self.one is None:
            raise ValueError("fits from a file hold the table alone; fit again, or save fits[i] by itself")
        return self.one(range(len(self))[i])

    def __iter__(self) -> Iterator[Fit]:
        return (self[i] for i in range(len(self)))

    @property
    def derived(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """(values, standard errors) by name, as `Fit.derived`, with an axis of records; NaN where it makes no sense."""
        return derived.of_all(self.system, self.parameters, self.flat, self.covariance)

    def interval(self, level: float = 0.95) -> Any:
        """(low, high) in the structure of `values`, from the standard errors (Student's t), at this level; by the
        profile where errors are not symmetric, as `Fit.interval` has it."""
        check_level(level)
        spread = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        reach = special.stdtrit(self.freedom, (1 + level) / 2)[:, None] * spread
        low, high = (self.parameters.within(self.flat + sign * reach) for sign in (-1, 1))
        open_ends = np.all(np.swapaxes(self.ends, 1, 2) == self.parameters.limits, axis=2)
        bent = ~np.isnan(self.ends[:, 0]) & ~open_ends
        if level == crosscheck.LEVEL:
            low, high = np.where(bent, self.ends[:, 0], low), np.where(bent, self.ends[:, 1], high)
        else:
            for i in np.flatnonzero(bent.any(1)).tolist():
                sides = self[i].interval(level)
                low[i], high[i] = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(side)]) for side in sides)
        return self.parameters.unflatten_all(low), self.parameters.unflatten_all(high)

    @property
    def at_bound(self) -> np.ndarray:
        """(records, p): which values went to a bound, so that their standard error says little."""
        spread = np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))
        return np.asarray(at_bound(self.flat, spread, *self.parameters.limits.T))

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
    def load(cls, path: str | Path, system: System, free: Callable, each: Callable | None = None) -> "Fits":
        """Read what `save` wrote to path, with the system, `free` and `each` that were fitted.

        Raises:
            ValueError: if the file is missing, damaged or of something else, or `free` returns other leaves.

        Example:
            >>> again = ji.Fits.load(fits.save("ringdowns.npz"), system, free)
        """
        fields = saved.load_many(path, system, free, each)
        parameters, flat = fields["parameters"], fields["flat"]
        error = np.sqrt(np.diagonal(fields["covariance"], axis1=1, axis2=2))
        values, stderr = parameters.unflatten_all(flat), parameters.unflatten_all(error)
        own, own_error = parameters.unflatten_own_all(flat), parameters.unflatten_own_all(error)
        labels = tuple(parameters.labels)
        return cls(values=values, stderr=stderr, each=own, each_stderr=own_error, labels=labels, one=None, **fields)


def check_level(level: float) -> None:
    """ValueError unless it is a probability."""
    if not 0 < level < 1:
        raise ValueError(f"level = {level!r} must be between 0 and 1, such as 0.95")
