"""A fit in words: its table and its file."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import _tree
from ..physics.force import Sampled
from ..physics.system import System
from . import derived, errors, saved
from .parameters import Parameters, choose


def damping_halves(parameters, evidence, flat, jacobian) -> dict[str, tuple[float, float, float]]:
    """(early, late, standard error of their difference) of each damping coefficient that is one number for itself."""
    out = {}
    for name, kind, part, shape in zip(
        parameters.names, parameters.kinds, parameters.slices, parameters.shapes, strict=True
    ):
        if not name.startswith("damping") or shape != () or kind == "gram":
            continue
        i = part.start
        early, late, error = errors.halves(evidence, i)
        if not np.isfinite(error):  # at a bound a half says nothing
            continue
        row = int(np.argmax(np.abs(jacobian[:, i])))
        scale, value = float(jacobian[row, i]), float(flat[row])
        out[name] = (value + scale * early, value + scale * late, abs(scale) * error)
    return out


def summary(fit: Any) -> str:
    """The table, the quality, the warnings."""
    low, high = (np.concatenate([np.ravel(x) for x in _leaves(side)]) for side in fit.interval(0.95))
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
        (name.replace("_", " "), f"{v:.8g} +- {e:.2g}" if e else f"{v:.8g} (held)")
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
    held = fit.refit_parameters.held(fit.system)
    if held:
        facts.append(("held", ", ".join(f"{name} = {value}" for name, value in held)))
    if fit.offset is not None:
        facts.append(("offset", ", ".join(f"{x:.6g} +- {e:.2g}" for x, e in zip(*fit.offset, strict=True))))
    if fit.position_error is not None:
        facts.append(("error of a reading", ", ".join(f"{x:.4g}" for x in np.ravel(fit.position_error))))
    if d.reduced_chi_square is not None:
        facts.append(("reduced chi-square", f"{d.reduced_chi_square:.4g}"))
    facts.append(
        ("autocorrelation", f"{d.autocorrelation[0]:+.3f} at lag 1; by chance with probability {d.whiteness:.2g}")
    )
    facts += [
        (f"{name} early, late", f"{a:.6g}, {b:.6g} (difference +- {e:.2g})") for name, (a, b, e) in d.halves.items()
    ]
    lines += _block(facts)
    return "\n".join([*lines, *(f"warning: {text}" for text in d.warnings)])


def _block(facts: list[tuple[str, str]]) -> list[str]:
    """An empty line, then names and texts in two columns."""
    width = max((len(name) for name, _ in facts), default=0)
    return ["", *(f"{name.ljust(width)}  {text}" for name, text in facts)] if facts else []


def as_json(fit: Any) -> dict[str, Any]:
    """Numbers, lists and text."""
    low, high = (np.concatenate([np.ravel(x) for x in _leaves(side)]).tolist() for side in fit.interval(0.95))
    names = ("covariance", "covariance_curvature", "covariance_corrected")
    error = np.sqrt(np.diag(fit.covariance)).tolist()
    columns = zip(fit.labels, fit.flat.tolist(), error, low, high, strict=True)
    d = fit.diagnostics
    return {
        "parameters": {label: {"value": v, "stderr": e, "low": a, "high": b} for label, v, e, a, b in columns},
        "derived": {name: {"value": v, "stderr": e} for name, (v, e) in fit.derived.items()},
        **{name: getattr(fit, name).tolist() for name in names},
        "offset": None if fit.offset is None else [x.tolist() for x in fit.offset],
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


def load(cls: Any, path: str | Path, system: Any, free: Any) -> Any:
    """Read what `Fit.save` wrote."""
    from .result import Diagnostics  # noqa: PLC0415  the two know each other

    arrays, text = saved.read(path)
    with jax.enable_x64(True):
        system = _with_input(_tree.cast(system, np.dtype(np.float64)), arrays)
        parameters = choose(system, free)
    if parameters.labels != list(text["parameters"]):
        raise ValueError(
            f"free returns {parameters.labels}, the file has {list(text['parameters'])}; pass what was fitted"
        )
    sizes = [[np.shape(side) for side in each[1:]] for each in text["bounds"]]
    if len(sizes) != len(parameters.shapes) or any(
        shape not in ((), leaf) for leaf, each in zip(parameters.shapes, sizes, strict=True) for shape in each
    ):
        raise ValueError(
            f"path = {str(path)!r}: the field 'text' has bounds of the shapes {sizes}, "
            f"free returns leaves of {list(parameters.shapes)}; pass what was fitted"
        )
    parameters, flat = _bounded(parameters, text["bounds"]), arrays["flat"]
    with jax.enable_x64(True):
        system = derived.put(system, parameters, jax.numpy.asarray(flat))
    d = text["diagnostics"]
    halves = {name: tuple(x) for name, x in d.pop("halves").items()}
    said = tuple(d.pop("warnings"))
    rows = {name: arrays.get(name) for name in ("residuals", "prediction")}
    rest: dict[str, Any] = rows | d
    diagnostics = Diagnostics(autocorrelation=arrays["autocorrelation"], halves=halves, warnings=said, **rest)
    covariance = np.array(text["covariance"])
    return cls(
        system=system,
        values=parameters.unflatten(flat),
        stderr=parameters.unflatten(np.sqrt(np.diag(covariance))),
        covariance=covariance,
        covariance_curvature=arrays["covariance_curvature"],
        covariance_corrected=arrays["covariance_corrected"],
        labels=tuple(parameters.labels),
        flat=flat,
        offset=None if text["offset"] is None else tuple(np.array(x) for x in text["offset"]),
        position_error=np.array(error) if isinstance(error := text["position_error"], list) else error,
        initial=(arrays["position"], arrays["momentum"]) if "position" in arrays else None,
        method=text["method"],
        why=text["why"],
        cost=text["cost"],
        deviance=text["deviance"],
        numbers=text["numbers"],
        readings=text["readings"],
        missing=text["missing"],
        freedom=text["freedom"],
        diagnostics=diagnostics,
        refit=parameters,
        record=text["record"],
    )


def bounds(parameters: Parameters) -> list[Any]:
    """How each free leaf is kept in its bounds: (kind, low, high), as lists."""
    sides = zip(parameters.kinds, parameters.low, parameters.high, strict=True)
    return [[kind, np.asarray(low).tolist(), np.asarray(high).tolist()] for kind, low, high in sides]


def _bounded(parameters: Parameters, bounds: list[Any]) -> Parameters:
    """The same leaves within the bounds that were saved."""
    kinds, low, high = zip(*bounds, strict=True) if bounds else ((), (), ())
    low, high = (tuple(np.asarray(x, float) for x in side) for side in (low, high))
    return replace(parameters, low=low, high=high, kinds=kinds)


def input_arrays(system: System) -> dict[str, np.ndarray]:
    """The sampled input that is part of a fitted system, as `_with_input` reads it."""
    force = system.force
    if not isinstance(force, Sampled):
        return {}
    return {f"force_{name}": np.asarray(getattr(force, name)) for name in ("ts", "u", "gain")}


def _with_input(system: System, arrays: dict[str, np.ndarray]) -> System:
    """The system with the input that it was fitted with, as `fit` makes it of the data's."""
    if "force_ts" not in arrays:
        return system
    force = Sampled(*(arrays[f"force_{name}"] for name in ("ts", "u", "gain")))
    return System(system.potential, system.damping, system.noise, system.kinetic, force)


def finite(tree: Any) -> Any:
    """Dicts and lists with None in place of every number that is not finite: JSON has no such numbers."""
    if isinstance(tree, dict):
        return {name: finite(x) for name, x in tree.items()}
    if isinstance(tree, list):
        return [finite(x) for x in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree


def _leaves(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree)
