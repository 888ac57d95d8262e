"""A fit in words and as numbers with names."""

import math
from typing import Any

import numpy as np

UNITS = {
    "natural_frequency": "cycles per time",
    "decay_time": "until the amplitude has fallen to 1/e",
    "temperature": "sigma^2 / (2 gamma)",
}


def summary(fit: Any) -> str:
    """The table, the quality, the warnings."""
    low, high = fit.flat_interval(0.95)
    spread = [np.sqrt(np.diag(c)) for c in (fit.covariance_curvature, fit.covariance_corrected)]
    rows = [("parameter", "value", "stderr", "95 % from", "to", "curvature", "corrected")]
    columns = zip(fit.labels, fit.flat, np.sqrt(np.diag(fit.covariance)), low, high, *spread, strict=True)
    rows += [
        (label, f"{v:.8g}", f"{e:.3g}", f"{a:.6g}", f"{b:.6g}", f"{c:.3g}", f"{r:.3g}")
        for label, v, e, a, b, c, r in columns
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(x.ljust(w) if not i else x.rjust(w) for i, (x, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    named = [
        (name.replace("_", " "), f"{v:.8g} {f'+- {e:.2g}' if e else '(held)'}  {UNITS.get(name, '')}".rstrip())
        for name, (v, e) in fit.derived.items()
    ]
    lines += _block(named)
    d = fit.diagnostics
    missing = f" ({fit.missing} more are missing)" if fit.missing else ""
    facts = [
        ("method", f"{fit.method}: {fit.why}"),
        ("readings", f"{fit.readings}{missing}, {fit.freedom} degrees of freedom"),
    ]
    facts.append(("search", f"{'converged' if d.converged else 'NOT converged'}, {d.iterations} iterations"))
    held = fit.parameters.held(fit.system)
    if held:
        facts.append(("held", ", ".join(f"{name} = {value}" for name, value in held)))
    for name, pair in _beside(fit).items():
        if pair is not None:
            pairs = zip(*map(np.ravel, pair), strict=True)
            facts.append((name.replace("_", " "), ", ".join(f"{x:.6g} +- {e:.2g}" for x, e in pairs)))
    if fit.position_error is not None:
        facts.append(("error of a reading", ", ".join(f"{x:.4g}" for x in np.ravel(fit.position_error))))
    if d.reduced_chi_square is not None:
        facts.append(("reduced chi-square", f"{d.reduced_chi_square:.4g}"))
    facts.append(
        ("autocorrelation", f"{d.autocorrelation[0]:+.3f} at lag 1; by chance with probability {d.whiteness:.2g}")
    )
    facts += [
        (f"{name.replace('_', ' ')} early, late", f"{a:.6g}, {b:.6g} (difference +- {e:.2g})")
        for name, (a, b, e) in d.halves.items()
    ]
    lines += _block(facts)
    return "\n".join([*lines, *(f"warning: {text}" for text in d.warnings)])


def _block(facts: list[tuple[str, str]]) -> list[str]:
    """An empty line, then names and texts in two columns."""
    width = max((len(name) for name, _ in facts), default=0)
    return ["", *(f"{name.ljust(width)}  {text}" for name, text in facts)] if facts else []


def as_json(fit: Any) -> dict[str, Any]:
    """Numbers, lists and text."""
    low, high = (side.tolist() for side in fit.flat_interval(0.95))
    names = ("covariance", "covariance_curvature", "covariance_corrected")
    error = np.sqrt(np.diag(fit.covariance)).tolist()
    columns = zip(fit.labels, fit.flat.tolist(), error, low, high, strict=True)
    d = fit.diagnostics
    return {
        "parameters": {label: {"value": v, "stderr": e, "low": a, "high": b} for label, v, e, a, b in columns},
        "derived": {name: {"value": v, "stderr": e} for name, (v, e) in fit.derived.items()},
        **{name: getattr(fit, name).tolist() for name in names},
        **{name: None if x is None else [np.asarray(e).tolist() for e in x] for name, x in _beside(fit).items()},
        "position_error": None if fit.position_error is None else np.asarray(fit.position_error).tolist(),
        "method": fit.method,
        "why": fit.why,
        "cost": fit.cost,
        "deviance": fit.deviance,
        "numbers": fit.numbers,
        "readings": fit.readings,
        "missing": fit.missing,
        "freedom": fit.freedom,
        "diagnostics": {
            "converged": d.converged,
            "iterations": d.iterations,
            "reduced_chi_square": d.reduced_chi_square,
            "rms": d.rms,
            "whiteness": d.whiteness,
            "halves": {name: list(x) for name, x in d.halves.items()},
            "warnings": list(d.warnings),
        },
    }


def _beside(fit: Any) -> dict[str, Any]:
    """What was fitted beside the parameters: (values, errors), or None, by name."""
    return {"offset": fit.offset, "trend": fit.trend, "input_delay": fit.input_delay}


def finite(tree: Any) -> Any:
    """Dicts and lists with None in place of every number that is not finite: JSON has no such numbers."""
    if isinstance(tree, dict):
        return {name: finite(x) for name, x in tree.items()}
    if isinstance(tree, list):
        return [finite(x) for x in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
