"""What was recorded: times, positions, and what is known of their error."""

import reprlib
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from . import table
from .times import in_seconds

_shortened = reprlib.Repr()
_shortened.maxother = 60
FEWEST = 8  # finite positions: two of state, two of parameters, and as many to judge them by


class Observations(eqx.Module):
    """A record of positions: y_k = q(t_k) + offset + error, error ~ N(0, position_error^2).

    Arguments:
        ts: times, shape (n,), any spacing and unit; increasing within each segment. Dates and spans of time (NumPy's,
            Python's, pandas', with a time zone or without) become seconds from the first reading.
        position: shape (n,), or (n, d) for a position of d components. NaN where nothing was recorded.
        momentum: shaped like the position, if recorded too (p: of a unit mass the velocity); NaN where it was not.
        position_error: standard deviation of one reading: a number, or shaped like the position; None if unknown, and
            then estimated from the residuals.
        segment: shape (n,), numbers or names: rows of one segment belong to one run, and every run has an initial state
            of its own (repeats, or a record with interruptions). None: all rows are one run.
        input: sampled external force, shape (n,) or (n, d), on a straight line between samples; see `force.Sampled`.
        offset: the reading at position 0, if known; None if unknown, and then fitted.
        momentum_error: like position_error.

    Raises:
        ValueError: for times that do not increase, a date that is missing (NaT), shapes that do not match, an inf,
            fewer than eight readings, or a record that never moves.

    Example:
        >>> data = ji.Observations(ts, volts, position_error=0.3e-3)
        >>> ji.fit(system, data, free=lambda s: (s.damping.gamma, s.potential.stiffness))
    """

    ts: np.ndarray
    position: np.ndarray
    momentum: np.ndarray | None
    position_error: np.ndarray | None
    segment: np.ndarray
    input: np.ndarray | None
    offset: np.ndarray | None
    momentum_error: np.ndarray | None

    def __init__(
        self,
        ts: Any,
        position: Any,
        momentum: Any = None,
        position_error: Any = None,
        segment: Any = None,
        input: Any = None,
        offset: Any = 0.0,
        momentum_error: Any = None,
    ):
        self.ts = _numbers("ts", in_seconds("ts", ts), missing=False)
        if self.ts.ndim != 1:
            raise ValueError(f"ts must be one-dimensional, got shape {self.ts.shape}")
        self.position = _numbers("position", position)
        if self.position.ndim not in (1, 2) or len(self.position) != len(self.ts):
            raise ValueError(
                f"position has shape {self.position.shape}, ts {self.ts.shape}; one row a time: (n,) or (n, d)"
            )
        self.momentum = None if momentum is None else _like("momentum", momentum, self.position)
        self.position_error = _error("position_error", position_error, self.position)
        self.momentum_error = _error("momentum_error", momentum_error, self.position)
        self.segment = _segments(segment, len(self.ts))
        self.input = None if input is None else _numbers("input", input, missing=False)
        if self.input is not None and len(self.input) != len(self.ts):
            raise ValueError(f"input has shape {self.input.shape}, ts {self.ts.shape}; pass one row for each time")
        self.offset = None if offset is None else _numbers("offset", offset, missing=False)
        if self.offset is not None and self.offset.shape not in ((), self.position.shape[1:]):
            raise ValueError(f"offset has shape {self.offset.shape}; pass a number, or one for each component")
        self._check()

    def _check(self) -> None:
        for rows in self.runs:
            falls = np.flatnonzero(np.diff(self.ts[rows]) <= 0)
            if falls.size:
                i, j = rows[falls[0]], rows[falls[0] + 1]
                what = "repeats" if self.ts[i] == self.ts[j] else "does not increase"
                raise ValueError(
                    f"ts {what}: ts[{i}] = {self.ts[i]}, ts[{j}] = {self.ts[j]}; sort the rows, average or drop "
                    "repeats, or give runs of their own a segment"
                )
        finite = np.isfinite(self.position)
        counts = np.sum(finite.reshape(len(finite), -1), axis=0)
        if counts.min() < FEWEST:
            raise ValueError(f"position has {counts.min()} readings; a fit needs {FEWEST} or more")
        columns = self.position.reshape(len(self.position), -1)
        if np.any(np.nanmax(columns, axis=0) == np.nanmin(columns, axis=0)):
            raise ValueError(
                f"position never moves: all readings are {np.nanmax(self.position)}; is it another column?"
            )

    @property
    def runs(self) -> list[np.ndarray]:
        """The rows of each segment, in the order in which segments first appear."""
        names, first = np.unique(self.segment, return_index=True)
        return [np.flatnonzero(self.segment == names[i]) for i in np.argsort(first)]

    @property
    def components(self) -> int:
        """d, the number of components of the position; 1 where it is a number."""
        return 1 if self.position.ndim == 1 else self.position.shape[1]

    @property
    def unknown_errors(self) -> np.ndarray:
        """Of each channel, the position's components and then the momentum's, whether its error is unknown."""
        errors = [self.position_error] if self.momentum is None else [self.position_error, self.momentum_error]
        return np.repeat([error is None for error in errors], self.components)

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        time: str,
        position: str | list[str],
        momentum: str | list[str] | None = None,
        input: str | None = None,
        segment: str | None = None,
        position_error: Any = None,
        offset: Any = 0.0,
    ) -> "Observations":
        """Read columns of a CSV file by the names in its first line; empty cells and "nan" are missing values.

        Arguments:
            path: the file; comma, semicolon or tab between columns; lines that start with # are skipped. Where no comma
                is between columns, numbers may have one for their decimal point.
            time, position, momentum, input, segment: names of columns; several, in a list, for several components.
                The segment's may hold any text.
            position_error: a number, or the name of a column, or None.
            offset: as for `Observations`.

        Returns:
            The `Observations`.

        Raises:
            ValueError: naming the file, the line and what is wrong: no such file or column, text in place of a number,
                and everything that `Observations` refuses.

        Example:
            >>> data = ji.Observations.from_csv("ringdown.csv", time="t_s", position="y_V", segment="segment")
        """
        columns = table.read(path)

        def numbers(name, missing):
            if isinstance(name, list):
                return np.stack([columns.numbers(one, missing) for one in name], axis=-1)
            return None if name is None else columns.numbers(name, missing)

        error = numbers(position_error, False) if isinstance(position_error, str) else position_error
        ts, force = numbers(time, False), numbers(input, False)
        positions, momenta = numbers(position, True), numbers(momentum, True)
        segments = None if segment is None else columns.labels(segment)
        try:
            return cls(ts, positions, momenta, error, segments, force, offset)
        except ValueError as problem:
            raise ValueError(f"{path}: {columns.named(str(problem))}") from problem


def _numbers(name: str, x: Any, missing: bool = True) -> np.ndarray:
    try:
        raw = np.asarray(x)
        if np.iscomplexobj(raw) or raw.dtype.kind in "mM":
            raise TypeError(raw.dtype.name)
        array = np.asarray(raw, np.float64)
    except (TypeError, ValueError) as error:
        shown = " ".join(_shortened.repr(x).split())
        raise ValueError(f"{name} = {shown} is not an array of real numbers") from error
    if np.any(np.isinf(array)) or (not missing and np.any(np.isnan(array))):
        i = int(np.argmax(~np.isfinite(array.ravel())))
        allowed = "write a missing reading as NaN" if missing else "interpolate it, or drop the row"
        raise ValueError(f"{name} has {array.ravel()[i]} at entry {i}; {allowed}")
    return array


def _like(name: str, x: Any, position: np.ndarray) -> np.ndarray:
    array = _numbers(name, x)
    if array.shape != position.shape:
        raise ValueError(f"{name} has shape {array.shape}, position {position.shape}; pass equal shapes")
    return array


def _error(name: str, x: Any, position: np.ndarray) -> np.ndarray | None:
    if x is None:
        return None
    array = _numbers(name, x, missing=False)
    if array.shape not in ((), position.shape[1:], position.shape):
        raise ValueError(f"{name} has shape {array.shape}; pass a number, or the shape of position {position.shape}")
    if np.any(array <= 0):
        raise ValueError(f"{name} must be positive, got {array.min()}; pass None if it is unknown")
    return array


def _segments(segment: Any, n: int) -> np.ndarray:
    if segment is None:
        return np.zeros(n, int)
    array = np.asarray(segment)
    if array.shape != (n,):
        raise ValueError(f"segment has shape {array.shape}; pass one entry for each of the {n} times")
    if array.dtype.kind in "fmM" and not np.all(np.isfinite(array)):
        raise ValueError("segment has a NaN or NaT; give every row a segment")
    try:
        return np.unique(array, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            f"segment mixes {sorted({type(x).__name__ for x in array})}; give every row one kind"
        ) from error
