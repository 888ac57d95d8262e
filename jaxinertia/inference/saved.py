"""The file of a fit: what it holds, and that it holds together."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import _files, _tree
from ..physics.force import Sampled
from ..physics.system import System
from . import summary
from .coordinates import ABOVE, BELOW, BETWEEN, MATRICES, REAL
from .free_leaves import choose
from .parameters import Parameters

VERSION, MANY = 3, 1
_BESIDE = ("offset", "trend", "input_delay")
_KINDS = [REAL, ABOVE, BELOW, BETWEEN, *MATRICES]
_NUMBER, _MAYBE = (int, float), (int, float, type(None))
_ENTRIES: dict[str, Any] = {
    "parameters": dict,
    "covariance": list,
    "offset": (list, type(None)),
    "trend": (list, type(None)),
    "input_delay": (list, type(None)),
    "position_error": (int, float, list, type(None)),
    "method": str,
    "why": str,
    "cost": _NUMBER,
    "deviance": _NUMBER,
    "numbers": int,
    "readings": int,
    "missing": int,
    "freedom": int,
    "diagnostics": dict,
    "bounds": list,
    "record": str,
}
_DIAGNOSTICS: dict[str, Any] = {
    "converged": bool,
    "iterations": int,
    "reduced_chi_square": _MAYBE,
    "rms": _MAYBE,
    "whiteness": _NUMBER,
    "halves": dict,
    "warnings": list,
}


def read(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the table of a saved fit; ValueError unless they are numbers that match each other."""
    with _files.opened(path, "fit", (VERSION,)) as file:
        text = file.table("text", _ENTRIES)
        file.check_entries("text", text["diagnostics"], _DIAGNOSTICS)
        if set(text["diagnostics"]) != set(_DIAGNOSTICS):
            raise file.refuse("text", "has diagnostics of another release")
        p = len(text["parameters"])
        _check_numbers(file, "covariance", text["covariance"], (p, p))
        for name in ("position_error", *_BESIDE):
            if isinstance(text[name], list):
                _check_numbers(file, name, text[name])
        for name in _BESIDE:
            if text[name] is not None and len(text[name]) != 2:
                raise file.refuse("text", f"has {name} that is no value and its error")
        for name, three in text["diagnostics"]["halves"].items():
            _check_numbers(file, f"halves of {name}", three, (3,))
        if not all(isinstance(warning, str) for warning in text["diagnostics"]["warnings"]):
            raise file.refuse("text", "has warnings that are no text")
        _check_bounds(file, text["bounds"])
        arrays = {name: file.array(name) for name in _expected(file, p)}
    return arrays, text


def _expected(file: _files.Archive, p: int) -> list[str]:
    """The fields to read, of p parameters."""
    for name, shape in {"flat": (p,), "covariance_curvature": (p, p), "covariance_corrected": (p, p)}.items():
        file.expect(name, _files.FLOAT, shape)
    if len(file.expect("autocorrelation", _files.FLOAT).shape) != 1:
        raise file.refuse("autocorrelation", "is no list of numbers")
    present = ["flat", "covariance_curvature", "covariance_corrected", "autocorrelation"]
    for one, other in (("residuals", "prediction"), ("position", "momentum"), ("force_ts", "force_u")):
        if one in file.fields or other in file.fields:
            first = file.expect(one, _files.FLOAT).shape
            file.expect(other, _files.FLOAT, first, more=one == "force_ts")
            present += [one, other]
    if "ends" in file.fields:
        file.expect("ends", _files.FLOAT, (2, p))
        present.append("ends")
    if "force_ts" in present:
        file.expect("force_gain", _files.FLOAT)
        present.append("force_gain")
    return present


def _check_bounds(file: _files.Archive, bounds: list[Any]) -> None:
    """ValueError unless these are kinds with numbers."""
    for each in bounds:
        if not isinstance(each, list) or len(each) != 3 or each[0] not in _KINDS:
            raise file.refuse("text", "has bounds that are no kind, low and high")
        for side in each[1:]:
            _check_numbers(file, "bounds", side)


def _check_numbers(file: _files.Archive, name: str, x: Any, shape: tuple[int, ...] | None = None) -> None:
    """ValueError unless these are (lists of) numbers, of this shape."""
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise file.refuse("text", f"has {name} with rows of different lengths") from error
    if array.size and array.dtype.kind not in "iuf":
        raise file.refuse("text", f"has {name} that holds other things than numbers")
    if shape is not None and array.shape != shape and (array.size or 0 not in shape):
        raise file.refuse("text", f"has {name} of the shape {array.shape}, not {shape} as its parameters need")


def write(fit: Any, path: str | Path) -> Path:
    """A fit, without what it would need to fit again."""
    d = fit.diagnostics
    arrays = {name: getattr(fit, name) for name in ("flat", "covariance_curvature", "covariance_corrected")}
    arrays |= {"autocorrelation": d.autocorrelation, "ends": fit.ends}
    arrays |= {name: x for name in ("residuals", "prediction") if (x := getattr(d, name)) is not None}
    arrays |= {} if fit.initial is None else {"position": fit.initial[0], "momentum": fit.initial[1]}
    if isinstance(fit.system.force, Sampled):
        arrays |= {f"force_{name}": np.asarray(getattr(fit.system.force, name)) for name in ("ts", "u", "gain")}
    text = summary.as_json(fit) | {"bounds": _bounds(fit.parameters), "record": fit.record}
    return _files.write(path, "fit", VERSION, {"text": json.dumps(text)} | arrays)


def load(
    path: str | Path, system: System, free: Callable, each: Callable | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a saved fit, and of its diagnostics."""
    arrays, text = read(path)
    system, parameters = _chosen(path, system, free, each, arrays, list(text["parameters"]), text["bounds"])
    flat, covariance, d = arrays["flat"], np.array(text["covariance"]), text["diagnostics"]
    with jax.enable_x64(True):
        system = parameters.local.put(system, jax.numpy.asarray(flat[parameters.flat_index[0]]))
    d["halves"] = {name: tuple(x) for name, x in d["halves"].items()}
    d["warnings"] = tuple(d["warnings"])
    d |= {name: arrays.get(name) for name in ("residuals", "prediction", "autocorrelation")}
    same = ("method", "why", "cost", "deviance", "numbers", "readings", "missing", "freedom", "record")
    error = text["position_error"]
    fields = {
        "system": system,
        "values": parameters.unflatten(flat),
        "stderr": parameters.unflatten(np.sqrt(np.diag(covariance))),
        "each": parameters.unflatten_own(flat),
        "each_stderr": parameters.unflatten_own(np.sqrt(np.diag(covariance))),
        "covariance": covariance,
        "covariance_curvature": arrays["covariance_curvature"],
        "covariance_corrected": arrays["covariance_corrected"],
        "labels": tuple(parameters.labels),
        "flat": flat,
        **{name: None if text[name] is None else tuple(map(np.array, text[name])) for name in _BESIDE[:2]},
        "input_delay": None if text["input_delay"] is None else tuple(text["input_delay"]),
        "position_error": np.array(error) if isinstance(error, list) else error,
        "initial": (arrays["position"], arrays["momentum"]) if "position" in arrays else None,
        "parameters": parameters,
        "ends": arrays.get("ends", np.full((2, len(flat)), np.nan)),
    }
    return fields | {name: text[name] for name in same}, d


def _chosen(
    path: Any,
    system: System,
    free: Callable,
    each: Callable | None,
    arrays: dict[str, np.ndarray],
    labels: list[str],
    bounds: list[Any],
) -> tuple[System, Parameters]:
    """The system with the input that it was fitted with, and its free leaves within the bounds that were saved."""
    with jax.enable_x64(True):
        system = _tree.cast(system, np.dtype(np.float64))
        if "force_ts" in arrays:
            force = Sampled(*(arrays[f"force_{name}"] for name in ("ts", "u", "gain")))
            system = System(system.potential, system.damping, system.noise, system.kinetic, force)
        parameters = choose(system, free, each=each)
    runs = (len(bounds) - parameters.shared) // max(parameters.own, 1)
    parameters = parameters.for_runs(max(runs, 1))
    if parameters.labels != labels:
        raise ValueError(f"free returns {parameters.labels}, the file has {labels}; pass what was fitted")
    sizes = [[np.shape(side) for side in each[1:]] for each in bounds]
    if len(sizes) != len(parameters.shapes) or any(
        shape not in ((), leaf) for leaf, each in zip(parameters.shapes, sizes, strict=True) for shape in each
    ):
        raise ValueError(
            f"path = {str(path)!r}: the field 'text' has bounds of the shapes {sizes}, "
            f"free returns leaves of {list(parameters.shapes)}; pass what was fitted"
        )
    kinds, low, high = zip(*bounds, strict=True) if bounds else ((), (), ())
    low, high = (tuple(np.asarray(x, float) for x in side) for side in (low, high))
    return system, replace(parameters, low=low, high=high, kinds=kinds)


def _bounds(parameters: Parameters) -> list[Any]:
    """How each free leaf is kept in its bounds: (kind, low, high), as lists."""
    sides = zip(parameters.kinds, parameters.low, parameters.high, strict=True)
    return [[kind, np.asarray(low).tolist(), np.asarray(high).tolist()] for kind, low, high in sides]


_TABLE = ("flat", "covariance", "converged", "iterations", "reduced_chi_square", "freedom", "whiteness")


def write_many(fits: Any, path: str | Path) -> Path:
    """The table of many fits."""
    failures = {str(i): why for i, why in fits.failures.items()}
    text = {"labels": list(fits.labels), "failures": failures, "bounds": _bounds(fits.parameters)}
    return _files.write(
        path,
        "fits",
        MANY,
        {"text": json.dumps(text), "ends": fits.ends} | {name: getattr(fits, name) for name in _TABLE},
    )


def load_many(path: str | Path, system: System, free: Callable, each: Callable | None) -> dict[str, Any]:
    """The fields of saved fits."""
    with _files.opened(path, "fits", (MANY,)) as file:
        text = file.table("text", {"labels": list, "failures": dict, "bounds": list})
        _check_bounds(file, text["bounds"])
        n, p = file.expect("iterations", "i").shape[0], len(text["labels"])
        shapes = {"flat": (n, p), "covariance": (n, p, p)}
        for name, kind in zip(_TABLE, "ffbifif", strict=True):
            file.expect(name, _files.FLOAT if kind == "f" else kind, shapes.get(name, (n,)))
        arrays = {name: file.array(name) for name in _TABLE}
        arrays["ends"] = np.full((n, 2, p), np.nan)
        if "ends" in file.fields:
            file.expect("ends", _files.FLOAT, (n, 2, p))
            arrays["ends"] = file.array("ends")
    system, parameters = _chosen(path, system, free, each, {}, text["labels"], text["bounds"])
    failures = {int(i): why for i, why in text["failures"].items()}
    return arrays | {"failures": failures, "parameters": parameters, "system": system}
