"""Several trajectories in one thread, operation by operation: a register that all of them read is read once.

A GPU's operation on three registers waits for them more often than not, unless the one before read the same.
"""

from collections.abc import Sequence
from typing import Any

from .layout import Kernel
from .program import Load, Loop, Operation, Program, Statement, Store, Value, size

FILLING = 2**18  # threads that fill a large GPU: fewer trajectories in each, before there are fewer threads
MOST = 4
REGISTERS = 64  # of the states of a thread's trajectories, that leave room for as much beside them
STATEMENTS = 500  # all together: more are work enough for a thread


def together(kernel: Kernel, points: int) -> tuple[Kernel, int]:
    """A kernel whose threads run several trajectories each, and how many, for so many in all."""
    each = 1
    while (
        2 * each <= MOST
        and points >= 2 * each * FILLING
        and 2 * each * kernel.state <= REGISTERS
        and 2 * each * size(kernel.program.statements) <= STATEMENTS
    ):
        each *= 2
    return (kernel, 1) if each == 1 else (kernel._replace(program=_Copies(each).program(kernel.program)), each)


class _Copies:
    """Writes statements anew, each once for every trajectory of a thread."""

    def __init__(self, each: int):
        self.each, self.written = each, Program()
        self.known: dict[Value, list[Value]] = {}

    def program(self, program: Program) -> Program:
        self.written.statements[:] = self._block(program.statements)
        return self.written

    def _block(self, statements: Sequence[Statement]) -> list[Statement]:
        return [copy for statement in statements for copy in self._copies(statement)]

    def _copies(self, statement: Statement) -> list[Statement]:
        if isinstance(statement, Loop):
            return [self._loop(statement)]
        ways = range(self.each)
        if isinstance(statement, Store):
            row, value = statement.row, statement.value
            return [statement._replace(row=self._of(row, k), value=self._of(value, k), copy=k) for k in ways]
        results = self._new(statement.result)
        if isinstance(statement, Load):
            return [statement._replace(result=results[k], row=self._of(statement.row, k), copy=k) for k in ways]
        arguments = [tuple(self._of(x, k) for x in statement.arguments) for k in ways]
        return [Operation(results[k], statement.name, arguments[k], statement.params) for k in ways]

    def _loop(self, loop: Loop) -> Loop:
        ways = range(self.each)
        starts = [self._of(x, k) for x in loop.starts for k in ways]
        variables = [copy for x in loop.variables for copy in self._new(x)]
        counter = self.written.value(loop.counter.dtype)
        self.known[loop.counter] = [counter] * self.each
        body = self._block(loop.body)
        return Loop(counter, loop.length, variables, starts, [self._of(x, k) for x in loop.ends for k in ways], body)

    def _new(self, value: Value) -> list[Value]:
        self.known[value] = [self.written.value(value.dtype) for _ in range(self.each)]
        return self.known[value]

    def _of(self, x: Any, k: int) -> Any:
        """A number as the k-th trajectory has it; a constant is everyone's, and None nobody's."""
        return self.known[x][k] if isinstance(x, Value) else x
