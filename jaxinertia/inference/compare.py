"""Which of several laws explains one record best for its size."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .._shown import aligned
from . import evidence as errors
from .candidates import Law, pose
from .doubts import ANOTHER, misfit
from .free_motion import free_part
from .loss import SQUARES, check_loss
from .observations import Observations
from .result import Fit
from .screening import Seen
from .shooting import LEAST_SQUARES
from .side_by_side import SideBySide, aic
from .task import as_one


class Comparison(tuple):
    """Rows (name, parameters, cost, aic, bic, delta), the best first; printing gives the table.

    aic and bic compare fits of one record by one method; delta is aic less the best one's. fits: by name, the best
    first. seen: of laws that were looked at and not fitted, by name, their numbers by name: their rows are of the least
    cost that a first look met. failures: of laws that were tried and could not be fitted, why. correlated: whether the
    residuals of any of the fits are, by the test in its diagnostics.
    """

    correlated: bool = False
    fits: dict[str, Fit]
    failures: dict[str, str]
    seen: dict[str, dict[str, float]]

    @property
    def best(self) -> Fit:
        """The first."""
        return next(iter(self.fits.values()))

    @property
    def describes(self) -> bool:
        """Whether the best leaves residuals that are no more correlated than chance has them."""
        return not self.best.diagnostics.whiteness < errors.DOUBT

    def __str__(self) -> str:
        head = ("fit", "numbers", "-2 log L", "AIC", "BIC", "delta AIC", "delta BIC", *_QUALITY)
        least = min(row[4] for row in self)
        rows = [head]
        for name, k, *rest in self:
            shown = [f"{x:.2f}" for x in (*rest, rest[2] - least)]
            rows.append((name, str(k), *shown, *_quality(self.fits.get(name))))
        width = max(len(row[0]) for row in rows)
        lines = [*aligned(rows), "", *(f"{name.ljust(width)}  {_values(fit)}" for name, fit in self.fits.items())]
        lines += [f"{name.ljust(width)}  {_seen(values)} by a first look" for name, values in self.seen.items()]
        lines += [f"{name.ljust(width)}  not fitted: {why}" for name, why in self.failures.items()]
        return "\n".join([*lines, *self._verdict()])

    def _verdict(self) -> Iterable[str]:
        if not self.describes:
            yield (
                "none of these describes the record: the residuals of the best are still correlated, for which its "
                "errors are corrected, and not looked up any further"
            )
        if self.correlated:
            yield "residuals are correlated: the differences are too great"


_QUALITY = ("chi-square", "rms", "whiteness")


def _quality(fit: Fit | None) -> tuple[str, ...]:
    """Reduced chi-square, root mean square of the residuals, and the chance that they are as correlated."""
    if fit is None:
        return ("-",) * len(_QUALITY)
    d = fit.diagnostics
    return tuple("-" if x is None else f"{x:.3g}" for x in (d.reduced_chi_square, d.rms, d.whiteness))


def _values(fit: Fit) -> str:
    spread = np.sqrt(np.diag(fit.covariance))
    return ", ".join(f"{label} {v:.5g} +- {e:.2g}" for label, v, e in zip(fit.labels, fit.flat, spread, strict=True))


def _seen(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def compare(fits: Any, *, loss: str = SQUARES.name, progress: bool = False) -> Comparison:
    r"""Information criteria side by side: AIC = -2 log L + 2 k, BIC = -2 log L + k log n; smaller is better.

    For least squares with an unknown error, -2 log L = n log(rss / n) + const; with a known one, the sum of squares. k
    counts parameters, initial states, offset and errors. Where residuals are correlated the differences are too great:
    each reading counts as new evidence.

    Of a record alone the usual laws are fitted: x'' + friction + grad L = 0 (or gain times its input) with viscous
    friction, quadratic drag or dry friction beside it, a Duffing spring, or (of readings that swing by less than pi,
    taken as radians) a pendulum; then the best of these with one part more, while that lowers AIC by more than 10. All
    are looked at from the viscous fit, and the best of them is fitted; no other fit of them is as careful.

    Arguments:
        fits: a dict of names and fits, or a sequence of fits, all of one record and one kind of method; or a record of
            one component, `Observations`, or a list of them, of which the free motion is fitted, as by `ji.fit`.
        loss: of the fits to a record, as for `ji.fit`.
        progress: whether to show the searches of the fits to a record.

    Returns:
        A `Comparison`, the best first, with the fits.

    Raises:
        ValueError: if there are fewer than two, or the records or methods differ; for a record of several components,
            or one that no law can be fitted to.

    Example:
        >>> print(ji.compare({"linear": viscous, "quadratic": drag}))
        >>> best = ji.compare(data).best

    Source: H. Akaike, IEEE Trans. Autom. Control 19, 716 (1974); G. Schwarz, Ann. Stat. 6, 461 (1978); K. P. Burnham
    and D. R. Anderson, Model Selection and Multimodel Inference, 2002 (support beyond 10 of AIC).
    """
    if isinstance(fits, Observations) or (
        isinstance(fits, list | tuple) and isinstance(next(iter(fits), 0), Observations)
    ):
        check_loss(loss, least_squares=True)
        return of_record(free_part(pose(Law())[0], as_one(fits), LEAST_SQUARES), loss, {}, progress)
    return _table(_named(fits), {})


def of_record(data: Observations, loss: str, known: dict[Law, Fit], progress: bool = False) -> Comparison:
    """The usual laws, fitted to a part of a record; `known`: those that were fitted already."""
    if data.components > 1:
        raise ValueError(
            f"fits has a record of {data.components} components; fit each law with ji.fit, and pass a dict of the fits"
        )
    beside = SideBySide(data, loss, known, progress)
    fits = {law.name: found for law, found in beside.fits.items()}
    failures = {law.name: why for law, why in beside.failures.items()}
    seen = {law.name: found for law, found in beside.seen.items() if law not in beside.fits}
    if not fits:
        raise ValueError(f"fits has a record that no law can be fitted to: {failures}")
    return _table(fits, failures, seen)


def advised(fit: Any) -> bool:
    """Whether a fit's residuals say that another law of one motion may do."""
    if fit.posed is None or fit.posed.records.d > 1:
        return False
    found = misfit(fit.posed, fit.diagnostics.whiteness, fit.diagnostics.halves)
    return found is not None and found != ANOTHER


def _table(named: dict[str, Fit], failures: dict[str, str], seen: dict[str, Seen] | None = None) -> Comparison:
    if len({fit.record for fit in named.values()}) > 1:
        raise ValueError(f"fits {list(named)} are of different records; compare fits to the same times and readings")
    kinds = {
        (fit.readings, fit.method.split()[-1], fit.diagnostics.reduced_chi_square is None) for fit in named.values()
    }
    if len(kinds) > 1:
        raise ValueError(f"fits are of different records or methods (readings, method, error unknown): {sorted(kinds)}")
    rows = []
    readings = next(iter(named.values())).readings
    either: dict[str, Fit | Seen] = {**(seen or {}), **named}
    for name, fit in either.items():
        rows.append((name, fit.numbers, fit.deviance, aic(fit), fit.deviance + fit.numbers * np.log(readings)))
    best = min(row[3] for row in rows)
    out = Comparison(tuple(sorted(((*row, row[3] - best) for row in rows), key=lambda row: row[3])))
    out.fits, out.failures = {row[0]: named[row[0]] for row in out if row[0] in named}, failures
    out.seen = {row[0]: seen[row[0]].values for row in out if seen and row[0] in seen}
    out.correlated = any(fit.diagnostics.whiteness < errors.DOUBT for fit in named.values())
    return out


def _named(fits: Any) -> dict[str, Fit]:
    """The fits by name, checked."""
    remedy = "pass two or more results of ji.fit, in a list or a dict, or a record"
    if not isinstance(fits, Iterable):
        raise ValueError(f"fits is a {type(fits).__name__}; {remedy}")
    named = fits if isinstance(fits, dict) else {f"fit {i}": fit for i, fit in enumerate(fits)}
    if len(named) < 2 or not all(isinstance(fit, Fit) for fit in named.values()):
        types = ", ".join(sorted({type(fit).__name__ for fit in named.values()})) or "nothing"
        raise ValueError(f"fits has {len(named)} entries, of type {types}; {remedy}")
    return named
