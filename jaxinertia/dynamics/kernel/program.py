"""A program of numbers: what one thread does for one trajectory, in no machine's language.

A value is made once, by an operation on values and constants or by a load; a loop carries variables from round to
round, and what they hold after it is their last. Values have NumPy's dtypes; constants are NumPy scalars.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np

MOST = 20_000  # statements: more take a compiler minutes


class Unsupported(Exception):
    """Why something cannot be part of a kernel, in words."""


class Value:
    """A number that is known when the program runs."""

    __slots__ = ("dtype", "number")

    def __init__(self, number: int, dtype: Any):
        self.number, self.dtype = number, np.dtype(dtype)


Number: TypeAlias = Value | np.generic


class Operation(NamedTuple):
    """result = name(*arguments)."""

    result: Value
    name: str
    arguments: tuple[Number, ...]
    params: dict[str, Any]


class Load(NamedTuple):
    """result = component of an operand, of its row `row` where it has rows."""

    result: Value
    operand: int
    row: Number | None
    component: int
    copy: int = 0  # of the thread's trajectories


class Store(NamedTuple):
    """The component of an output, of its row `row` where it has rows, = value."""

    output: int
    row: Number | None
    component: int
    value: Number
    copy: int = 0  # of the thread's trajectories


class Loop(NamedTuple):
    """`length` rounds, counted from 0; each variable starts as `starts` and becomes `ends` after every round."""

    counter: Value
    length: int
    variables: list[Value]
    starts: list[Number]
    ends: list[Number]
    body: "list[Statement]"


Statement: TypeAlias = Operation | Load | Store | Loop


class Program:
    """Statements in order, written from the outside in."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self._open = [self.statements]
        self._values = self._count = 0

    def value(self, dtype: Any) -> Value:
        """A new value, to be made by whoever asks for it."""
        self._values += 1
        return Value(self._values, dtype)

    def do(self, name: str, dtype: Any, *arguments: Number, **params: Any) -> Value:
        """The result of an operation."""
        result = self.value(dtype)
        self._write(Operation(result, name, arguments, params))
        return result

    def load(self, operand: int, dtype: Any, row: Number | None, component: int) -> Value:
        """A component of an operand."""
        result = self.value(dtype)
        self._write(Load(result, operand, row, component))
        return result

    def store(self, output: int, row: Number | None, component: int, value: Number) -> None:
        """Set a component of an output."""
        self._write(Store(output, row, component, value))

    @contextmanager
    def loop(self, length: int, starts: Sequence[Number]) -> Iterator[Loop]:
        """A loop whose body is what is written inside; `ends` are to be set there, one for each variable."""
        variables = [self.value(start.dtype) for start in starts]
        loop = Loop(self.value(np.int32), length, variables, list(starts), [], [])
        self._write(loop)
        self._open.append(loop.body)
        yield loop
        self._open.pop()

    def finish(self) -> None:
        """Leave out what nobody reads."""
        self.statements[:] = needed(self.statements, set())

    def _write(self, statement: Statement) -> None:
        self._count += 1
        if self._count > MOST:
            raise Unsupported(f"a step takes more than {MOST:,} operations, written out")
        self._open[-1].append(statement)


def needed(statements: Sequence[Statement], reads: set[Value]) -> list[Statement]:
    """The statements without those whose results nobody reads; `reads` has what is read later, and is added to."""
    kept: list[Statement] = []
    for statement in reversed(statements):
        if isinstance(statement, Loop):
            loop = _needed_loop(statement, reads)
            if loop.variables or any(_stores(x) for x in loop.body):
                kept.append(loop)
        elif isinstance(statement, Store) or statement.result in reads:
            kept.append(statement)
            reads |= _read_by(statement)
    return kept[::-1]


def _needed_loop(loop: Loop, reads: set[Value]) -> Loop:
    """A loop with the variables that are read after it, and those that these need from round to round."""
    wanted = reads & set(loop.variables)
    while True:
        pairs = zip(loop.variables, loop.ends, strict=True)
        inside = {end for variable, end in pairs if variable in wanted and isinstance(end, Value)}
        body = needed(loop.body, inside)
        more = wanted | (inside & set(loop.variables))
        if more == wanted:
            break
        wanted = more
    places = [i for i, variable in enumerate(loop.variables) if variable in wanted]
    variables = [loop.variables[i] for i in places]
    starts, ends = [loop.starts[i] for i in places], [loop.ends[i] for i in places]
    reads |= inside | {start for start in starts if isinstance(start, Value)}
    return Loop(loop.counter, loop.length, variables, starts, ends, body)


def _read_by(statement: Operation | Load | Store) -> set[Value]:
    if isinstance(statement, Operation):
        return {x for x in statement.arguments if isinstance(x, Value)}
    numbers = (statement.row, statement.value) if isinstance(statement, Store) else (statement.row,)
    return {x for x in numbers if isinstance(x, Value)}


def _stores(statement: Statement) -> bool:
    return isinstance(statement, Store) or (isinstance(statement, Loop) and any(map(_stores, statement.body)))


def size(statements: Sequence[Statement]) -> int:
    """How many statements there are, in loops too."""
    return sum(size(statement.body) if isinstance(statement, Loop) else 1 for statement in statements)


def operations(statements: Sequence[Statement]) -> int:
    """How many operations run in all."""
    count = 0
    for statement in statements:
        if isinstance(statement, Loop):
            count += statement.length * operations(statement.body)
        elif isinstance(statement, Operation):
            count += 1
    return count
