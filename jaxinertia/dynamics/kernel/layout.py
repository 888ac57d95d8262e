"""The loop over rows as a program for one thread: what it loads at the start, in every row, and what it stores."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import ClosedJaxpr

from .arithmetic import check_dtype
from .components import Machine
from .moves import Cells, filled
from .program import Number, Program, Unsupported, operations

STATE = 200  # registers of four bytes for what a trajectory keeps: with more, ptxas -v tells of spills (sm_90)
ARRAYS = 512  # that a kernel reads and writes: 4096 bytes of addresses, which every GPU takes
SHARED = 64  # numbers of all trajectories that are loaded once; of more each is loaded where it is read


class Buffer(NamedTuple):
    """An operand or an output: `components` numbers in each row (None: there is one), and for each point if mapped."""

    dtype: np.dtype
    shape: tuple[int, ...]
    rows: int | None
    mapped: bool

    @property
    def components(self) -> int:
        """How many numbers a point has in a row."""
        return math.prod(self.shape)

    @property
    def words(self) -> int:
        """The registers that these take."""
        return self.components * max(self.dtype.itemsize // 4, 1)


class Kernel(NamedTuple):
    """A program for one thread, and what it reads and writes."""

    program: Program
    inputs: list[Buffer]
    outputs: list[Buffer]
    state: int  # registers that are taken along the whole way

    @property
    def operations(self) -> int:
        """How many a trajectory takes, from its first row to its last."""
        return operations(self.program.statements)


def lay_out(
    body: ClosedJaxpr, counts: tuple[int, int], length: int, mapped: Sequence[bool], forced: bool = False
) -> Kernel:
    """The kernel of a loop.

    Raises `Unsupported`, in words, for what has no form by components or too many arrays, or unless forced for more
    numbers than a thread's registers hold.
    """
    fixed, carried = counts
    rows = [None if k < fixed + carried else length for k in range(len(body.in_avals))]
    inputs = [_buffer(*each) for each in zip(body.in_avals, rows, mapped, strict=True)]
    ends = [_buffer(aval, None, True) for aval in body.out_avals[:carried]]
    stored = [_buffer(aval, length, True) for aval in body.out_avals[carried:]]
    arrays = len(inputs) + len(ends) + len(stored)
    if arrays > ARRAYS:
        raise Unsupported(f"it reads and writes {arrays:,} arrays, and a kernel takes {ARRAYS}")
    state = sum(buffer.words for buffer in ends) + sum(b.words for b in inputs[:fixed] if b.mapped)
    if state > STATE and not forced:
        raise Unsupported(
            f"a trajectory keeps {state:,} registers' worth of numbers, of which a thread of a GPU has room for {STATE}"
        )
    program = Program()
    _write(program, body, counts, length, inputs)
    program.finish()
    return Kernel(program, inputs, [*ends, *stored], state)


def _buffer(aval: Any, rows: int | None, mapped: bool) -> Buffer:
    check_dtype(aval.dtype)
    return Buffer(aval.dtype, aval.shape, rows, mapped)


def _write(program: Program, body: ClosedJaxpr, counts: tuple[int, int], length: int, inputs: list[Buffer]) -> None:
    fixed, carried = counts
    machine = _Machine(program, inputs)
    constants = [machine.constant(k) for k in range(fixed)]
    starts = [machine.loaded(k, None) for k in range(fixed, fixed + carried)]
    shapes = [x.shape for x in starts]
    with program.loop(length, [entry for x in starts for entry in x.flat]) as loop:
        variables = iter(loop.variables)
        carry = [filled(shape, [next(variables) for _ in range(math.prod(shape))]) for shape in shapes]
        xs = [machine.loaded(k, loop.counter) for k in range(fixed + carried, len(inputs))]
        out = machine.run(body.jaxpr, [], [*constants, *carry, *xs])
        for k, x in enumerate(out[carried:], carried):
            for component, entry in enumerate(x.flat):
                program.store(k, loop.counter, component, machine.number(entry))
        loop.ends.extend(machine.number(entry) for x in out[:carried] for entry in x.flat)
    ends = iter(loop.variables)
    for k, shape in enumerate(shapes):
        for component in range(math.prod(shape)):
            program.store(k, None, component, next(ends))


class _Later(NamedTuple):
    """A number that all trajectories share, loaded where it is read."""

    operand: int
    dtype: np.dtype
    component: int


class _Machine(Machine):
    """The machine, with operands to load from."""

    def __init__(self, program: Program, inputs: list[Buffer]):
        super().__init__(program)
        self.inputs = inputs
        self.shared = sum(buffer.components for buffer in inputs if buffer.rows is None and not buffer.mapped)

    def loaded(self, operand: int, row: Number | None) -> Cells:
        """An operand, or a row of it, loaded here."""
        buffer = self.inputs[operand]
        each = (self.program.load(operand, buffer.dtype, row, k) for k in range(buffer.components))
        return filled(buffer.shape, each)

    def constant(self, operand: int) -> Cells:
        """What a trajectory has from the start on: loaded here, or where it is read if that is more than fits."""
        buffer = self.inputs[operand]
        if buffer.mapped or self.shared <= SHARED:
            return self.loaded(operand, None)
        return filled(buffer.shape, (_Later(operand, buffer.dtype, k) for k in range(buffer.components)))

    def number(self, entry: Any) -> Number:
        if isinstance(entry, _Later):
            return self.program.load(entry.operand, entry.dtype, None, entry.component)
        return super().number(entry)
