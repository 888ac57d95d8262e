"""Modes in words: a line, a table, and JSON."""

import math
from typing import Any

import numpy as np

from ..._shown import Card

NAMES = ("frequency", "damped_frequency", "gamma", "damping_ratio", "quality_factor")
SHOWN = 6  # channels whose shapes are printed


def in_one_line(modes: Any) -> str:
    """For a prompt."""
    if not modes.count:
        return "Modes(none found)"
    each = zip(modes.frequency, modes.gamma, strict=True)
    return f"Modes({modes.driven}: " + ", ".join(f"frequency {f:.6g} gamma {g:.4g}" for f, g in each) + ")"


def card(modes: Any) -> Card:
    """For a notebook: a row for each mode, and the warnings."""
    runs = len(modes.starts)
    what = "a free decay" if modes.driven == "free" else "a motion that noise drives"
    title = f"{modes.count} modes of {what}: {modes.readings:,} readings, {len(modes.kinds)} channels, {runs} runs"
    head = ("", "frequency (cycles per time)", "+-", "gamma (1 / time)", "+-", "damping ratio", "+-")
    columns = [x for name in ("frequency", "gamma", "damping_ratio") for x in _with_error(modes, name)]
    rows = [(str(k), *cells) for k, cells in enumerate(zip(*columns, strict=True))]
    return Card(title, rows, head, tuple(f"warning: {text}" for text in modes.warnings))


def _with_error(modes: Any, name: str) -> tuple[list[str], list[str]]:
    return [f"{x:.6g}" for x in getattr(modes, name)], [f"{x:.2g}" for x in getattr(modes.stderr, name)]


def summary(modes: Any) -> str:
    """The table, the orders, the residuals, the warnings."""
    lines = _table(modes) if modes.count else ["no modes were found"]
    facts = [("driven by", f"{'nothing: a free decay' if modes.driven == 'free' else 'noise'} ({modes.why})")]
    if modes.band is not None:
        facts.append(("band", f"{modes.band[0]:.6g} to {modes.band[1]:.6g}"))
    facts.append(("readings", f"{modes.readings} on {len(modes.kinds)} channels, {len(modes.starts)} runs"))
    facts.append(("modes", f"{modes.count}, {modes.chosen_by}"))
    if modes.offset is not None:
        facts.append(("offset", ", ".join(f"{x:.5g}" for x in modes.offset[0])))
    if modes.trend is not None:
        facts.append(("trend", ", ".join(f"{x:.5g}" for x in modes.trend[0])))
    facts.append(("error of a reading", ", ".join(f"{x:.4g}" for x in modes.position_error)))
    checks = modes.checks
    if len(checks.autocorrelation):
        facts.append(
            (
                "autocorrelation",
                f"{checks.autocorrelation[0]:+.3f} at lag 1; by chance with probability {checks.whiteness:.2g}",
            )
        )
    width = max(len(name) for name, _ in facts)
    lines += ["", *(f"{name.ljust(width)}  {text}" for name, text in facts)]
    lines += _shapes(modes) + _orders(modes)
    return "\n".join([*lines, *(f"warning: {text}" for text in modes.warnings)])


def _table(modes: Any) -> list[str]:
    low, high = modes.interval(0.95)["gamma"]
    rows: list[tuple[str, ...]] = [
        ("mode", "frequency", "+-", "gamma", "+-", "95 % from", "to", "damping ratio", "+-", "amplitude", "+-")
    ]
    for k in range(modes.count):
        e = modes.stderr
        pairs = [(modes.frequency[k], e.frequency[k]), (modes.gamma[k], e.gamma[k])]
        rest = [(modes.damping_ratio[k], e.damping_ratio[k]), (modes.amplitude[k, 0], e.amplitude[k, 0])]
        (f, fe), (g, ge), (z, ze), (a, ae) = pairs + rest
        first = (f"{f:.8g}", f"{fe:.2g}", f"{g:.6g}", f"{ge:.2g}", f"{low[k]:.5g}", f"{high[k]:.5g}")
        rows.append((str(k), *first, f"{z:.4g}", f"{ze:.2g}", f"{a:.4g}", f"{ae:.2g}"))
    return [*_columns(rows), "frequency in cycles per time; gamma in one over time: energies fall as e^{-gamma t}"]


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(x.rjust(w) for x, w in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return lines


def _shapes(modes: Any) -> list[str]:
    """Shapes over the first channels, as size and phase in degrees."""
    if not modes.count or modes.shape.shape[1] < 2:
        return []
    lines = ["", "shapes (phase in degrees) and phase collinearity"]
    collinearity = modes.phase_collinearity
    for k in range(modes.count):
        each = [f"{abs(x):.4g} ({round(math.degrees(np.angle(x)))})" for x in modes.shape[k, :SHOWN]]
        more = ", ..." if modes.shape.shape[1] > SHOWN else ""
        lines.append(f"{k}  " + ", ".join(each) + more + f"   {collinearity[k]:.3f}")
    return lines


def _orders(modes: Any) -> list[str]:
    """How the number of modes was chosen."""
    if len(modes.orders) < 2:
        return []
    best = modes.orders[modes.chosen].criterion
    rows: list[tuple[str, ...]] = [("modes", "criterion above the chosen", "parameters")]
    rows += [(str(o.modes), f"{o.criterion - best:.1f}", str(o.numbers)) for o in modes.orders]
    return ["", *_columns(rows)]


def as_json(modes: Any) -> dict[str, Any]:
    """Numbers, lists and text."""
    interval = modes.interval(0.95)
    each = []
    for k in range(modes.count):
        one: dict[str, Any] = {
            name: {
                "value": getattr(modes, name)[k],
                "stderr": getattr(modes.stderr, name)[k],
                "low": interval[name][0][k],
                "high": interval[name][1][k],
            }
            for name in NAMES
        }
        one |= {"lone": bool(modes.lone[k]), "reference": int(modes.reference[k])}
        for name in ("amplitude", "phase"):
            one[name] = {"value": getattr(modes, name)[k].tolist(), "stderr": getattr(modes.stderr, name)[k].tolist()}
        shape, error = modes.shape[k], modes.stderr.shape[k]
        one["shape"] = {
            "real": shape.real.tolist(),
            "imaginary": shape.imag.tolist(),
            "stderr_real": error.real.tolist(),
            "stderr_imaginary": error.imag.tolist(),
        }
        each.append(one)
    orders = [
        {"modes": o.modes, "deviance": o.deviance, "numbers": o.numbers, "criterion": o.criterion} for o in modes.orders
    ]
    whole = {
        "modes": each,
        "covariance": modes.covariance.tolist(),
        "driven": modes.driven,
        "why": modes.why,
        "band": None if modes.band is None else list(modes.band),
        "kinds": list(modes.kinds),
        "readings": modes.readings,
        "position_error": modes.position_error.tolist(),
        "offset": None if modes.offset is None else modes.offset.tolist(),
        "trend": None if modes.trend is None else modes.trend.tolist(),
        "orders": orders,
        "chosen_by": modes.chosen_by,
        "whiteness": modes.checks.whiteness,
        "warnings": list(modes.warnings),
    }
    return _finite(whole)


def _finite(tree: Any) -> Any:
    """None in place of every number that is not finite: JSON has no such numbers."""
    if isinstance(tree, dict):
        return {name: _finite(x) for name, x in tree.items()}
    if isinstance(tree, list):
        return [_finite(x) for x in tree]
    if isinstance(tree, float):  # NumPy's numbers too
        return float(tree) if math.isfinite(tree) else None
    return tree
