"""The file of modes: what it holds, and that it holds together."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ... import _files
from .found import Checks, Order
from .record import KINDS

VERSION = 1
_TEXT: dict[str, Any] = {
    "driven": str,
    "why": str,
    "chosen_by": str,
    "band": (list, type(None)),
    "kinds": list,
    "readings": int,
    "chosen": int,
    "warnings": list,
    "orders": list,
    "whiteness": (int, float),
}
_VALUES = ("frequency", "damped_frequency", "gamma", "damping_ratio", "quality_factor")
_OPTIONAL = ("force", "offset", "trend")
_CHECKS = ("residuals", "prediction", "spectrum")


def write(path: str | Path, modes: Any) -> Path:
    """Every number in the arrays, the rest in one table of text."""
    arrays: dict[str, Any] = {name: getattr(modes, name) for name in _shapes(0, 0, 0)}
    arrays |= {f"stderr_{name}": getattr(modes.stderr, name) for name in _error_shapes(0, 0, 0)}
    arrays |= {"rms": modes.checks.rms, "autocorrelation": modes.checks.autocorrelation, "halves": modes.checks.halves}
    arrays |= {name: x for name in _OPTIONAL if (x := getattr(modes, name)) is not None}
    arrays |= {name: x for name in _CHECKS if (x := getattr(modes.checks, name)) is not None}
    arrays |= {"starts": modes.starts, "position_error": modes.position_error, "profile": modes.profile}
    for i, order in enumerate(modes.orders):
        arrays |= {f"order_{i}_frequency": order.frequency, f"order_{i}_gamma": order.gamma}
    text = {name: getattr(modes, name) for name in _TEXT if name not in ("orders", "whiteness")}
    text["orders"] = [[o.modes, o.deviance, o.numbers, o.criterion] for o in modes.orders]
    text["whiteness"] = float(modes.checks.whiteness)
    return _files.write(path, "modes", VERSION, {"text": json.dumps(text)} | arrays)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The fields of `Modes` and of its `stderr`; ValueError unless they match each other."""
    with _files.opened(path, "modes", (VERSION,)) as file:
        text = file.table("text", _TEXT)
        _check_text(file, text)
        k = file.expect("gamma", _files.FLOAT).shape[:1][0] if file.expect("gamma", _files.FLOAT).shape else 0
        d, runs = len(text["kinds"]), file.expect("starts", _files.FLOAT).shape[0]
        fields: dict[str, Any] = {name: _get(file, name, *each) for name, each in _shapes(k, d, runs).items()}
        errors = {name: _get(file, f"stderr_{name}", *each) for name, each in _error_shapes(k, d, runs).items()}
        fields["starts"] = file.array("starts")
        fields["position_error"] = _get(file, "position_error", _files.FLOAT, (d,))
        fields["profile"] = _get(file, "profile", _files.FLOAT, (k, 2), True)
        for name, shape in (("force", (k, k)), ("offset", (runs, d)), ("trend", (runs, d))):
            fields[name] = _get(file, name, _files.FLOAT, shape) if name in file.fields else None
        checks: dict[str, Any] = {
            name: _get(file, name, _files.FLOAT) if name in file.fields else None for name in _CHECKS
        }
        checks |= {"rms": _get(file, "rms", _files.FLOAT, (d,))}
        checks |= {"autocorrelation": _get(file, "autocorrelation", _files.FLOAT)}
        checks |= {"halves": _get(file, "halves", _files.FLOAT, (k, 2, 3))}
        orders = []
        for i, numbers in enumerate(text.pop("orders")):
            pair = [_get(file, f"order_{i}_{name}", _files.FLOAT) for name in ("frequency", "gamma")]
            orders.append(Order(int(numbers[0]), float(numbers[1]), int(numbers[2]), float(numbers[3]), *pair))
    fields["checks"] = Checks(whiteness=text.pop("whiteness"), **checks)
    band = text.pop("band")
    text |= {"kinds": tuple(text["kinds"]), "warnings": tuple(text["warnings"])}
    return fields | text | {"orders": tuple(orders), "band": None if band is None else tuple(band)}, errors


def _shapes(k: int, d: int, runs: int) -> dict[str, Any]:
    """Of each array of `Modes`: (which numbers, the shape)."""
    f = _files.FLOAT
    return (
        dict.fromkeys(_VALUES, (f, (k,)))
        | {"lone": ("b", (k,)), "shape": ("c", (k, d)), "reference": ("i", (k,))}
        | dict.fromkeys(("amplitude", "phase"), (f, (k, runs)))
        | {"covariance": (f, (2 * k, 2 * k)), "parts": (f, (k, d, 2)), "state": (f, (k, runs, 2))}
    )


def _error_shapes(k: int, d: int, runs: int) -> dict[str, Any]:
    f = _files.FLOAT
    errors = dict.fromkeys(_VALUES, (f, (k,))) | {"shape": ("c", (k, d))}
    return errors | dict.fromkeys(("amplitude", "phase"), (f, (k, runs)))


def _get(file: _files.Archive, name: str, kinds: str, shape: tuple[int, ...] | None = None, more: bool = False) -> Any:
    if kinds == "c":  # complex numbers are longer than a real one may be
        if name not in file.fields or file.fields[name].dtype != np.complex128:
            raise file.refuse(name, "is missing, or holds no complex numbers")
        kinds = _files.NUMBER
    file.expect(name, kinds, shape, more)
    return file.array(name)


def _check_text(file: _files.Archive, text: dict[str, Any]) -> None:
    if not text["kinds"] or not set(map(str, text["kinds"])) <= set(KINDS):
        raise file.refuse("text", f"has kinds that are not of {KINDS}")
    if text["driven"] not in ("free", "noise"):
        raise file.refuse("text", "has driven that is neither 'free' nor 'noise'")
    for each in text["orders"]:
        numbers = isinstance(each, list) and all(isinstance(x, int | float) for x in each)
        if not numbers or len(each) != 4:
            raise file.refuse("text", "has orders that are no four numbers")
    if not 0 <= text["chosen"] < max(len(text["orders"]), 1):
        raise file.refuse("text", "has chosen an order that is not there")
    if not all(isinstance(warning, str) for warning in text["warnings"]):
        raise file.refuse("text", "has warnings that are no text")
    band = text["band"]
    if band is not None and (len(band) != 2 or not all(isinstance(x, int | float) for x in band)):
        raise file.refuse("text", "has a band that is no two numbers")
