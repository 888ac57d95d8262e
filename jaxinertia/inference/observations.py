"""What was recorded: times, readings, and what is known of their error."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from . import release, row_checks, several
from .reading import columns
from .times import in_seconds

FEWEST = 8  # finite positions: two of state, two of parameters, and as many to judge them by


class Observations(eqx.Module):
    """A record of positions: y_k = q(t_k) + offset + error, error ~ N(0, position_error^2).

    Or of what an instrument makes of a state, with a zero that drifts:  y_k = read(q, p) + offset + trend (t_k - t_0).

    Arguments:
        ts: times, shape (n,), any spacing and unit; increasing within each segment. Dates and spans of time (NumPy's,
            Python's, pandas', with a time zone or without) become seconds from the first reading.
        position: shape (n,), or (n, d) for a position of d components. NaN where nothing was recorded. With `read` the
            readings, whatever they are of: (n,), or (n, c) of c channels.
        momentum: shaped like the position, if recorded too (p: of a unit mass the velocity); NaN where it was not.
        position_error: standard deviation of one reading: a number, or shaped like the position; None if unknown, and
            then estimated from the residuals.
        segment: shape (n,), numbers or names: rows of one segment belong to one run, and every run has an initial state
            of its own (repeats, or a record with interruptions). None: all rows are one run.
        input: sampled external force, shape (n,) or (n, d), on a straight line between samples; see `force.Sampled`.
        offset: the reading at position 0, if known; None if unknown, and then fitted.
        momentum_error: like the position_error, in the unit of momenta.
        read: what one row reads, if not the position: a function (q, p), of a state of the system, to a number or to c
            of them, that JAX can differentiate: `lambda q, p: p` for velocities of a unit mass, `lambda q, p: q[0]` for
            one component. A function (q, p, force) is given p' too, without noise: `lambda q, p, force: force / mass`
            for an accelerometer.
        components: of the position where `read` is given: d, or 0 for a number; None if as many as are read.
        trend: whether the zero drifts on a straight line, which is then fitted, one for each channel.
        input_delay: how much later than its samples say the input acts, u(t - delay), as where two clocks differ; None
            if unknown, and then fitted, from one period of what input and readings have in common early to two late.
            Half a step of it is the hold's, if samples are held. Readings that no sample is for are left out.
        record: shape (n,), numbers or names: runs of one record have one zero, and one error of a reading; where these
            are fitted, every record has its own (and its own drift). None: all rows are of one; see `join`.
        time_error: a number, in the unit of ts: standard deviation of the error of one time, as of a clock that
            jitters. It adds to that of a reading what this changes in so long, error^2 + (dy/dt time_error)^2. For
            least squares.
        reading: how the record was read from its file, and which part of it was taken, in sentences.
        labels: the names of times and positions, for figures.

    Raises:
        ValueError: for times that do not increase, a date that is missing (NaT), shapes that do not match, an inf,
            fewer than eight readings, a record that never moves, or positions that are the times.

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
    reading: tuple[str, ...] = eqx.field(static=True)
    labels: tuple[str, str] = eqx.field(static=True)
    record: np.ndarray  # 0, 1, ... of each row, in the order in which they begin
    as_is: np.ndarray  # of each row, whether it counts as it is: someone said so, or it is of a record with an input
    rows: np.ndarray | None  # of the record that this is a part of
    read: Callable | None
    components: int = eqx.field(static=True)  # d, the position's; 1 where it is a number
    scalar: bool = eqx.field(static=True)  # whether a position is a number
    trend: bool = eqx.field(static=True)
    input_delay: float | None
    time_error: float

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
        *,
        read: Any = None,
        components: Any = None,
        trend: Any = False,
        input_delay: Any = 0.0,
        time_error: Any = 0.0,
        record: Any = None,
        reading: tuple[str, ...] = (),
        labels: tuple[str, str] = ("time", "position"),
    ):
        if position is None:
            raise ValueError(
                "position is None: pass readings; of momenta alone they are position=..., with read=lambda q, p: p"
            )
        self.ts = row_checks.numbers("ts", in_seconds("ts", ts), missing=False)
        if self.ts.ndim != 1:
            raise ValueError(f"ts must be one-dimensional, got shape {self.ts.shape}")
        self.position = row_checks.numbers("position", position)
        if self.position.ndim not in (1, 2) or len(self.position) != len(self.ts):
            raise ValueError(
                f"position has shape {self.position.shape}, ts {self.ts.shape}; one row a time: (n,) or (n, d)"
            )
        self.momentum = None if momentum is None else row_checks.like("momentum", momentum, self.position)
        self.position_error = row_checks.error_of("position_error", position_error, self.position)
        self.momentum_error = row_checks.error_of("momentum_error", momentum_error, self.position)
        self.segment = row_checks.groups("segment", segment, len(self.ts))
        self.record = row_checks.in_order(row_checks.groups("record", record, len(self.ts)))
        self.input = None if input is None else row_checks.numbers("input", input, missing=False)
        if self.input is not None and len(self.input) != len(self.ts):
            raise ValueError(f"input has shape {self.input.shape}, ts {self.ts.shape}; pass one row for each time")
        self.time_error = row_checks.time_error(time_error, self.ts)
        self.input_delay = row_checks.delay(input_delay, self.input)
        self.offset = None if offset is None else row_checks.numbers("offset", offset, missing=False)
        if self.offset is not None and self.offset.shape not in ((), self.position.shape[1:]):
            raise ValueError(f"offset has shape {self.offset.shape}; pass a number, or one for each component")
        self.reading, self.labels, self.rows = tuple(reading), labels, None
        self.as_is = np.full(len(self.ts), self.input is not None)
        self.read, self.trend = read, row_checks.flag("trend", trend)
        self.components, self.scalar = row_checks.shape_of(read, components, self.position.shape[1:])
        if read is not None and momentum is not None:
            raise ValueError("momentum: with read=, let it return what was read of p too, and leave momentum= out")
        self._check()

    def _check(self) -> None:
        for rows in self.runs:
            if np.any(self.record[rows] != self.record[rows[0]]):
                raise ValueError("record: a run of data.segment is of two records; give each a segment of its own")
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
        if np.array_equal(self.position, self.ts):
            raise ValueError("position is ts itself: pass the readings of the position")

    @property
    def runs(self) -> list[np.ndarray]:
        """The rows of each segment, in the order in which segments first appear."""
        names, first = np.unique(self.segment, return_index=True)
        return [np.flatnonzero(self.segment == names[i]) for i in np.argsort(first)]

    @property
    def chosen(self) -> bool:
        """Whether all of it counts as it is."""
        return bool(np.all(self.as_is))

    @property
    def record_of_runs(self) -> tuple[int, ...]:
        """The record that each run is of; () where all are of one."""
        return tuple(int(self.record[rows[0]]) for rows in self.runs) if np.any(self.record) else ()

    @property
    def channels(self) -> int:
        """How many numbers `position` has in a row."""
        return 1 if self.position.ndim == 1 else self.position.shape[1]

    @property
    def unknown_errors(self) -> np.ndarray:
        """Of each channel, those of `position` and then the momentum's, whether its error is unknown."""
        errors = [self.position_error] if self.momentum is None else [self.position_error, self.momentum_error]
        return np.array([error is None for error in errors for _ in range(self.channels)])

    def between(self, start: Any = None, stop: Any = None) -> "Observations":
        """The readings with start <= t <= stop, in the unit of `ts`; None: from the first, to the last.

        `ji.fit` takes a part that was chosen so as it is, and does not look for the beginning of the free motion.

        Raises:
            ValueError: if start is not below stop, or the part is refused, as for having too few readings.

        Example:
            >>> ji.fit(system, data.between(16.5, 120.0), free)
        """
        low, high = (row_checks.bound(name, x) for name, x in (("start", start), ("stop", stop)))
        first, last = float(self.ts.min()), float(self.ts.max())
        low, high = first if low is None else low, last if high is None else high
        if not low < high:
            raise ValueError(f"start = {low:g} must be below stop = {high:g}; times go from {first:g} to {last:g}")
        inside = (self.ts >= low) & (self.ts <= high)
        told = f"readings from {low:g} to {high:g}: {inside.sum():,} of {len(inside):,}"
        try:
            return self.part(inside, told)
        except ValueError as error:
            raise ValueError(f"{told}; times go from {first:g} to {last:g}: {error}") from error

    def decays(self) -> "Observations":
        """The free motion in a record, every hit's as a segment: without the rest, the hold, the push or the steady
        drive before it. The record itself where all of it is free; `reading` says what was found.

        A damped swing is fitted to short windows and continued backwards: free motion begins where that no longer tells
        the readings, and what was before is not the same swing. Records of fewer than three periods are taken whole, as
        are those of motions that do not swing.

        Example:
            >>> hits = data.decays()
            >>> len(hits.runs), hits.reading[-1]
        """
        return self._free(np.zeros(len(self.ts), bool))

    def free_motion(self) -> "Observations":
        """As `decays`, but for what counts as it is: a part that someone chose, and records that an input drives."""
        return self if self.chosen else self._free(self.as_is)

    def _free(self, whole: np.ndarray) -> "Observations":
        """The free motion of all runs but those of these rows, which are taken whole."""
        found = release.find(self.ts, self.position, self.runs, whole)
        return self if found is None else self.part(found.rows, found.told, found.segment)

    @classmethod
    def join(cls, records: "Sequence[Observations]") -> "Observations":
        """Several records of one system, in one unit, as one, in which each has runs and a zero of its own.

        Lengths, times, sampling and errors may differ; a record without an input had none. Where offset, trend or the
        error of readings are fitted, each record has its own.

        Raises:
            ValueError: if they differ in what is read, or in what is to be fitted: offset, trend, input_delay.

        Example:
            >>> ji.fit(system, ji.Observations.join([first, second]), free)  # as ji.fit(system, [first, second], free)
        """
        parts = several.checked(records, cls)
        if len(parts) == 1:
            return parts[0]
        out = cls(**several.joined(parts))
        object.__setattr__(out, "as_is", np.concatenate([one.as_is for one in parts]))
        return out

    def part(self, rows: np.ndarray, told: str, segment: Any = None) -> "Observations":
        """Some rows, by a mask or their numbers, with a sentence on which they are; with other segments, if given."""

        def taken(x: Any) -> Any:
            return x[rows] if np.ndim(x) and len(x) == len(self.ts) and np.ndim(x) >= self.position.ndim else x

        out = Observations(
            self.ts[rows],
            self.position[rows],
            None if self.momentum is None else self.momentum[rows],
            taken(self.position_error),
            self.segment[rows] if segment is None else segment,
            None if self.input is None else self.input[rows],
            self.offset,
            taken(self.momentum_error),
            read=self.read,
            components=None if self.read is None else 0 if self.scalar else self.components,
            trend=self.trend,
            input_delay=self.input_delay,
            time_error=self.time_error,
            record=self.record[rows],
            reading=(*self.reading, told),
            labels=self.labels,
        )
        object.__setattr__(out, "as_is", np.ones(len(out.ts), bool))
        object.__setattr__(out, "rows", np.arange(len(self.ts))[rows])
        return out

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        time: str | int | None = None,
        position: str | int | list | None = None,
        *,
        momentum: str | int | list | None = None,
        input: str | int | list | None = None,
        segment: str | int | None = None,
        position_error: Any = None,
        offset: Any = 0.0,
        rate: float | None = None,
        angle: str = "rad",
        time_unit: str | None = None,
        missing: Any = None,
        read: Any = None,
        components: Any = None,
        trend: Any = False,
        input_delay: Any = 0.0,
        time_error: Any = 0.0,
    ) -> "Observations":
        """Read columns of a file: text of any delimiter and encoding, .lvm, .npz, Excel or Parquet; or one of
        them packed, as .gz or alone in a .zip.

        Titles, comments and a row of units above the table are passed over, as are words below it and names that come
        again; a last row that was cut off, and rows written twice, are left out. Where times start anew a new segment
        begins. How the file was read is kept, in sentences, as `reading`; print it.

        Arguments:
            path: the file; "-" for the standard input. Excel needs pandas and openpyxl, Parquet pandas and pyarrow; of
                a workbook the first sheet that holds a table is taken.
            time, position, momentum, input, segment: a column's name (in any letters, without its unit) or its number,
                from 0; several, in a list, for several components. The segment's may hold any text. Without `time` or
                `position` the only column that can be it is taken: neither rows' numbers nor a second clock are
                positions. Stamps (dates, h:m:s, both side by side) become seconds from the first.
            position_error: a number, in the file's unit of positions, or the name of a column, or None.
            offset: as for `Observations`, in the file's unit.
            rate: readings per unit of time, for a file without times.
            angle: "deg" if positions are in degrees, which become radians, momenta, errors and offset too.
            time_unit: the unit of the file's times ("ms", "us", "min"): they become seconds. None leaves them as they
                are.
            missing: a word, or several in a list, that stand for no reading, such as "OVER" or "-999". Empty cells,
                "nan", "n/a", "-" and their like do already.
            read, components, trend, input_delay, time_error: as for `Observations`, in the units that numbers are taken
                in: with `time_unit` in seconds, with angle="deg" in radians.

        Returns:
            The `Observations`.

        Raises:
            ValueError: naming the file, the line and what is wrong: no such file or column, text in place of a number,
                one column for two things, everything that `Observations` refuses; with the file's first lines where
                it is not clear which column is what.

        Example:
            >>> data = ji.Observations.from_csv("ringdown.csv", time="t_s", position="y_V", segment="segment")
            >>> print(*data.reading, sep="\\n")
        """
        found = columns.read(
            path,
            time=time,
            position=position,
            momentum=momentum,
            input=input,
            segment=segment,
            position_error=position_error,
            rate=rate,
            angle=angle,
            time_unit=time_unit,
            missing=missing,
        )
        known = offset is not None and angle == "deg"
        offset = np.asarray(offset, float) * columns.RADIANS if known else offset
        given = dict(read=read, components=components, trend=trend, input_delay=input_delay, time_error=time_error)
        try:
            return cls(**found.arrays, **given, offset=offset, reading=found.said, labels=found.labels)
        except ValueError as problem:
            raise ValueError(f"{path}: {found.table.named(str(problem))}") from problem
