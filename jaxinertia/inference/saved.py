"""The file of a fit: what it holds, and that it holds together."""

from pathlib import Path
from typing import Any

import numpy as np

from .. import _files
from . import parameters

VERSION = 2
_KINDS = [parameters.REAL, parameters.ABOVE, parameters.BELOW, parameters.BETWEEN, *parameters.MATRICES]
_NUMBER, _MAYBE = (int, float), (int, float, type(None))
_ENTRIES: dict[str, Any] = {
    "parameters": dict,
    "covariance": list,
    "offset": (list, type(None)),
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
        for name in ("position_error", "offset"):
            if isinstance(text[name], list):
                _check_numbers(file, name, text[name])
        if text["offset"] is not None and len(text["offset"]) != 2:
            raise file.refuse("text", "has an offset that is no value and its error")
        for name, three in text["diagnostics"]["halves"].items():
            _check_numbers(file, f"halves of {name}", three, (3,))
        if not all(isinstance(warning, str) for warning in text["diagnostics"]["warnings"]):
            raise file.refuse("text", "has warnings that are no text")
        for each in text["bounds"]:
            if not isinstance(each, list) or len(each) != 3 or each[0] not in _KINDS:
                raise file.refuse("text", "has bounds that are no kind, low and high")
            for side in each[1:]:
                _check_numbers(file, "bounds", side)
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
    if "force_ts" in present:
        file.expect("force_gain", _files.FLOAT)
        present.append("force_gain")
    return present


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
