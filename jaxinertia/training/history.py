"""The readouts of a run, kept: as columns, a DataFrame, or a CSV file."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._shown import Card, Shown, numbers
from .readout import Readout, columns, readout

REQUIRED = ("step", "time", "kinetic", "potential", "inertia", "friction", "noise", "work", "discretization")


class History(Shown):
    """Columns of equal length, one row for each recorded call: `history["inertia"]`; `history.names` lists them.

    Groups of parameters have columns such as "layers/kinetic". `append` records a live run, one call at a time;
    `ji.training.history` takes the stacked readouts of a scan.

    Arguments:
        columns: a dict of arrays, each of shape (calls,), by name; None starts an empty one.

    Raises:
        ValueError: if a column that every history has is missing, or their lengths differ.

    Example:
        >>> history = ji.training.History()
        >>> history.append(state).inertia
    """

    def __init__(self, columns: Mapping[str, Any] | None = None):
        self._chunks: list[dict[str, np.ndarray]] = []
        self._joined: dict[str, np.ndarray] | None = None
        if columns is not None:
            self._add({name: np.atleast_1d(np.asarray(x)) for name, x in columns.items()})

    def append(self, opt_state: Any) -> Readout:
        """Record the state's readout (or a `Readout`), and return it. It waits for the numbers: call it now and then.

        Raises:
            ValueError: if there is no monitor in the state, or its groups are not those recorded before.
        """
        read = opt_state if isinstance(opt_state, Readout) else readout(opt_state)
        self._add({name: np.atleast_1d(np.asarray(x)) for name, x in columns(read).items()})
        return read

    def _add(self, chunk: dict[str, np.ndarray]) -> None:
        missing = [name for name in REQUIRED if name not in chunk]
        lengths = {len(x) for x in chunk.values() if x.ndim == 1}
        if missing or len(lengths) != 1 or any(x.ndim != 1 for x in chunk.values()):
            shapes = {name: x.shape for name, x in chunk.items()}
            raise ValueError(
                f"readouts have the columns {shapes}, missing {missing}; pass the readouts of one run: of many runs "
                "take one, as in jax.tree.map(lambda x: x[0], readouts)"
            )
        if self._chunks and set(chunk) != set(self._chunks[0]):
            raise ValueError(f"readouts have the columns {sorted(chunk)}, those before {self.names}; one history a run")
        self._chunks.append(chunk)
        self._joined = None

    def _card(self) -> Card:
        rows = [(name, *(numbers(self[name][row]) for row in (0, -1))) for name in REQUIRED if len(self)]
        others = [name for name in self.names if name not in REQUIRED]
        notes = (f"other columns: {', '.join(others)}",) if others else ()
        return Card(f"History of {len(self):,} calls", rows, ("", "first", "last") if rows else (), notes)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._chunks[0]) if self._chunks else []

    def __len__(self) -> int:
        return sum(len(chunk["step"]) for chunk in self._chunks)

    def __getitem__(self, name: str) -> np.ndarray:
        if self._joined is None:
            self._joined = {name: np.concatenate([chunk[name] for chunk in self._chunks]) for name in self.names}
        if name not in self._joined:
            raise ValueError(f"name = {name!r} is not a column; the history has {self.names}")
        return self._joined[name]

    def to_dataframe(self) -> Any:
        """A pandas DataFrame, indexed by step (pandas comes with the extra `jaxinertia[io]`)."""
        import pandas as pd  # noqa: PLC0415  an optional dependency

        return pd.DataFrame({name: self[name] for name in self.names}).set_index("step")

    def to_csv(self, path: str | Path) -> Path:
        """Write all columns, one row a call, with as many digits as the numbers have; returns the path.

        Raises:
            ValueError: if nothing was recorded.
        """
        if not len(self):
            raise ValueError("history is empty: append a readout before writing it")
        path = Path(path)
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(self.names)
            writer.writerows(zip(*(self[name].tolist() for name in self.names), strict=True))
        return path

    @classmethod
    def from_csv(cls, path: str | Path) -> "History":
        """Read what `to_csv` wrote.

        Raises:
            ValueError: if the file cannot be read, or is no history.
        """
        try:
            with Path(path).open(newline="") as stream:
                names, *rows = list(csv.reader(stream))
            values = np.array(rows, float).reshape(len(rows), len(names)).T
        except (OSError, ValueError) as error:
            raise ValueError(f"path = {str(path)!r} cannot be read as a history: {error}") from error
        return cls(dict(zip(names, values, strict=True)))


def history(readouts: Readout | Iterable[Readout]) -> History:
    """The history of a run, from the readouts that a scan stacked, or from a list of them.

    Arguments:
        readouts: a `Readout` whose numbers have one leading axis of calls, or an iterable of single ones.

    Returns:
        A `History`.

    Raises:
        ValueError: if the numbers do not have one axis of calls.

    Example:
        >>> (params, state), readouts = jax.lax.scan(step, (params, state), batches)
        >>> ji.training.history(readouts).to_csv("run.csv")
    """
    if isinstance(readouts, Readout):
        return History(columns(readouts))
    kept = History()
    for read in readouts:
        kept.append(read)
    return kept
