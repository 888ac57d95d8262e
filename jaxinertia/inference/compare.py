"""Which of several fits of one record explains it best for its size."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import evidence as errors
from .result import Fit


class Comparison(tuple):
    """Rows (name, parameters, cost, aic, bic, delta), the best first; printing gives the table.

    aic and bic compare fits of one record by one method; delta is aic less the best one's. correlated: whether the
    residuals of any of the fits are, by the test in its diagnostics.
    """

    correlated: bool = False

    def __str__(self) -> str:
        head = ("fit", "numbers", "-2 log L", "AIC", "BIC", "delta AIC")
        rows = [head, *((name, str(k), *(f"{x:.2f}" for x in rest)) for name, k, *rest in self)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(x.ljust(w) if not i else x.rjust(w) for i, (x, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        return "\n".join(lines + ["residuals are correlated: the differences are too great"] * self.correlated)


def compare(fits: Any) -> Comparison:
    r"""Information criteria side by side: AIC = -2 log L + 2 k, BIC = -2 log L + k log n; smaller is better.

    For least squares with an unknown error, -2 log L = n log(rss / n) + const; with a known one, the sum of squares. k
    counts parameters, initial states, offset and errors. Where residuals are correlated the differences are too great:
    each reading counts as new evidence.

    Arguments:
        fits: a dict of names and fits, or a sequence of fits, all of one record and one kind of method.

    Returns:
        A `Comparison`, the best first.

    Raises:
        ValueError: if there are fewer than two, or the records or methods differ.

    Example:
        >>> print(ji.compare({"linear": viscous, "quadratic": drag}))

    Source: H. Akaike, IEEE Trans. Autom. Control 19, 716 (1974); G. Schwarz, Ann. Stat. 6, 461 (1978).
    """
    named = _named(fits)
    if len({fit.record for fit in named.values()}) > 1:
        raise ValueError(f"fits {list(named)} are of different records; compare fits to the same times and readings")
    kinds = {
        (fit.readings, fit.method.split()[-1], fit.diagnostics.reduced_chi_square is None) for fit in named.values()
    }
    if len(kinds) > 1:
        raise ValueError(f"fits are of different records or methods (readings, method, error unknown): {sorted(kinds)}")
    rows = []
    for name, fit in named.items():
        k, deviance = fit.numbers, fit.deviance
        rows.append((name, k, deviance, deviance + 2 * k, deviance + k * np.log(fit.readings)))
    best = min(row[3] for row in rows)
    out = Comparison(tuple(sorted(((*row, row[3] - best) for row in rows), key=lambda row: row[3])))
    out.correlated = any(fit.diagnostics.whiteness < errors.DOUBT for fit in named.values())
    return out


def _named(fits: Any) -> dict[str, Fit]:
    """The fits by name, checked."""
    remedy = "pass two or more results of ji.fit, in a list or a dict"
    if not isinstance(fits, Iterable):
        raise ValueError(f"fits is a {type(fits).__name__}; {remedy}")
    named = fits if isinstance(fits, dict) else {f"fit {i}": fit for i, fit in enumerate(fits)}
    if len(named) < 2 or not all(isinstance(fit, Fit) for fit in named.values()):
        types = ", ".join(sorted({type(fit).__name__ for fit in named.values()})) or "nothing"
        raise ValueError(f"fits has {len(named)} entries, of type {types}; {remedy}")
    return named
