"""A jaxpr as a program of numbers: every array by its components, which are registers, constants, or move for nothing.

So a kernel is made of the very step that runs everywhere else. What has no form by components is `Unsupported`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.extend.core import Jaxpr, Literal, primitives

from .arithmetic import ELEMENTWISE, check_dtype, compute, select
from .moves import MOVES, Cells, by_number, cells, filled
from .program import Number, Program, Unsupported

Equation: TypeAlias = Any  # of a jaxpr: its variables have shapes and dtypes

UNROLLED = 16  # rounds of a loop inside a step that are written out
SHORT = 1000  # ... if together they compute no more numbers
LONGEST = 64  # ... of one that reads or stores an array: a thread has none
LARGEST = 4096  # components of an array inside a step

_INSIDE = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
_CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_vmap_call"} | {
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
}
_SAME = ("stop_gradient", "reshard", "sharding_constraint", "optimization_barrier", "points_last", "pvary", "pcast")
_FACTORISATIONS = ("qr", "lu", "cholesky", "eigh", "eig", "svd", "schur", "triangular_solve")
_WORDS = {
    "while": "a loop without a fixed number of rounds (a letter, law or potential that iterates)",
    **dict.fromkeys(
        _FACTORISATIONS, "a factorisation (that of matrix friction and noise, where the rows of ts are uneven)"
    ),
}


class _Along(NamedTuple):
    """A whole number in a loop: base + offset, of which the offset is known."""

    base: Number
    offset: np.generic

    @property
    def dtype(self) -> np.dtype:
        return self.base.dtype


class Machine:
    """Runs jaxprs on cells, and writes what they do into a program."""

    def __init__(self, program: Program):
        self.program = program

    def run(self, jaxpr: Jaxpr, constants: Sequence[Cells], arguments: Sequence[Cells]) -> list[Cells]:
        """The outputs of a jaxpr."""
        known: dict[Any, Cells] = dict(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Cells:
            if not isinstance(atom, Literal):
                return known[atom]
            aval: Any = atom.aval
            return cells(np.asarray(atom.val, aval.dtype))

        equations: list[Equation] = list(jaxpr.eqns)
        for eqn in equations:
            for var in eqn.outvars:
                if var.aval.size > LARGEST:
                    raise Unsupported(f"a step has an array of {var.aval.size:,} numbers")
                check_dtype(var.aval.dtype)
            found = self._equation(eqn, [read(atom) for atom in eqn.invars])
            known.update(zip(eqn.outvars, found, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _call(self, inside: Any, arguments: Sequence[Cells]) -> list[Cells]:
        """Run a jaxpr, closed or not."""
        constants = [cells(x) for x in getattr(inside, "consts", ())]
        return self.run(getattr(inside, "jaxpr", inside), constants, arguments)

    def _equation(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        name, params = eqn.primitive.name, eqn.params
        if name in ELEMENTWISE:
            return [self._each(name, params, eqn.outvars[0].aval, arguments)]
        if name in MOVES:
            moved = MOVES[name](*arguments, **{k: v for k, v in params.items() if k not in _PLACEMENT})
            return moved if isinstance(moved, list) else [moved]
        if name in _SPECIAL:
            return _SPECIAL[name](self, eqn, arguments)
        if name in _CALLS:
            return self._call(next(params[k] for k in _INSIDE if k in params), arguments)
        raise Unsupported(f"it has {_WORDS.get(name, f'the operation {name!r}')}")

    def _each(self, name: str, params: dict[str, Any], aval: Any, arguments: list[Cells]) -> Cells:
        spread = np.broadcast_arrays(*arguments) if len(arguments) > 1 else arguments
        rows = zip(*(x.flat for x in spread), strict=True)
        return filled(aval.shape, (self._compute(name, params, aval.dtype, row) for row in rows))

    def _compute(self, name: str, params: dict[str, Any], dtype: Any, numbers: Sequence[Any]) -> Number:
        return compute(self.program, name, params, dtype, [self.number(x) for x in numbers])

    def number(self, entry: Any) -> Number:
        """An entry, as a number of the program."""
        if isinstance(entry, _Along):
            return compute(self.program, "add", {}, entry.dtype, [entry.base, entry.offset])
        return entry

    def fold(self, name: str, entries: Sequence[Any], dtype: Any) -> Number:
        """The entries joined by an operation, from the first on."""
        total = self.number(entries[0])
        for entry in entries[1:]:
            total = self._compute(name, {}, dtype, [total, entry])
        return total

    # Loops

    def scan(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        """A scan: written out where it is short, else a loop."""
        params = eqn.params
        (fixed, carried), length = scan_counts(params), params["length"]
        constants, carry, xs = arguments[:fixed], arguments[fixed : fixed + carried], arguments[fixed + carried :]
        body, order = params["jaxpr"], range(length)[:: -1 if params["reverse"] else 1]
        stored = [var.aval for var in eqn.outvars[carried:]]
        short = length <= UNROLLED and (length < 2 or length * _size(body.jaxpr) <= SHORT)
        if short or stored or not all(_is_range(x) for x in xs):
            if length > LONGEST:
                raise Unsupported("it has a long loop inside a step, over or into an array")
            rows: dict[int, list[Cells]] = {}
            for i in order:
                out = self._call(body, [*constants, *carry, *(_cell(x, i) for x in xs)])
                carry, rows[i] = out[:carried], out[carried:]
            empty = [np.empty((0, *aval.shape[1:]), object) for aval in stored]
            columns = [np.stack([rows[i][k] for i in range(length)]) for k in range(len(stored))] if length else empty
            return [*carry, *columns]
        starts = [self.number(entry) for x in carry for entry in x.flat]
        shapes = [x.shape for x in carry]
        with self.program.loop(length, starts) as loop:
            index: Number = loop.counter
            if params["reverse"]:
                index = self._compute("sub", {}, index.dtype, [np.int32(length - 1), index])
            rows_now = [self._row_along(x, index) for x in xs]
            out = self._call(body, [*constants, *_shaped(loop.variables, shapes), *rows_now])
            loop.ends.extend(self.number(entry) for x in out for entry in x.flat)
        return _shaped(loop.variables, shapes)

    def _row_along(self, x: Cells, index: Number) -> Cells:
        """Row `index` of an array whose rows are an arithmetic sequence, as those of a range are."""
        bases: dict[tuple[Any, int], Number] = {}
        columns = x.reshape(x.shape[0], -1).T
        return filled(x.shape[1:], (self._along(list(column), index, bases) for column in columns))

    def _along(self, column: list[Any], index: Number, bases: dict[tuple[Any, int], Number]) -> "_Along":
        base, offsets = _parted(column)
        dtype, step = offsets[0].dtype, int(offsets[1]) - int(offsets[0])
        if (base, step) not in bases:
            i = self._compute("convert_element_type", {}, dtype, [index])
            by = self._compute("mul", {}, dtype, [i, dtype.type(step)])
            bases[base, step] = by if base is None else self._compute("add", {}, dtype, [base, by])
        return _Along(bases[base, step], offsets[0])

    def cond(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        """A choice: of what is known now the branch, else all branches, and the numbers of the right one."""
        which: Any = arguments[0][()]
        arguments, branches = arguments[1:], eqn.params["branches"]
        if isinstance(which, np.generic):
            return self._call(branches[min(max(int(which), 0), len(branches) - 1)], arguments)
        found = [self._call(branch, arguments) for branch in branches]
        which = self.number(which)
        results = []
        for var, cases in zip(eqn.outvars, zip(*found, strict=True), strict=True):
            rows = zip(*(case.flat for case in cases), strict=True)
            each = (select(self.program, {}, var.aval.dtype, [which, *(self.number(x) for x in row)]) for row in rows)
            results.append(filled(var.aval.shape, each))
        return results

    # Sums, products and indices

    def reduce(self, name: str) -> Callable[..., list[Cells]]:
        def rule(eqn: Equation, arguments: list[Cells]) -> list[Cells]:
            (a,), axes, aval = arguments, eqn.params["axes"], eqn.outvars[0].aval
            rest = [i for i in range(a.ndim) if i not in axes]
            rows = np.transpose(a, [*rest, *axes]).reshape(aval.size, -1)
            return [filled(aval.shape, (self.fold(name, list(row), aval.dtype) for row in rows))]

        return rule

    def dot(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        """Sums of products, in order."""
        a, b = arguments
        aval = eqn.outvars[0].aval
        if any(var.aval.dtype != aval.dtype for var in eqn.invars):
            raise Unsupported("it has a product of arrays of another type than its result")
        (over_a, over_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
        free_a = [i for i in range(a.ndim) if i not in (*over_a, *batch_a)]
        free_b = [i for i in range(b.ndim) if i not in (*over_b, *batch_b)]
        many = int(np.prod([a.shape[i] for i in batch_a], dtype=int))
        inner = int(np.prod([a.shape[i] for i in over_a], dtype=int))
        left = np.transpose(a, [*batch_a, *free_a, *over_a]).reshape(many, -1, inner)
        right = np.transpose(b, [*batch_b, *free_b, *over_b]).reshape(many, -1, inner)

        def product(x: Cells, y: Cells) -> Number:
            each = [self._compute("mul", {}, aval.dtype, pair) for pair in zip(x, y, strict=True)]
            return self.fold("add", each, aval.dtype)

        if not inner:
            return [filled(aval.shape, [aval.dtype.type(0)] * aval.size)]
        return [filled(aval.shape, (product(x, y) for k in range(many) for x in left[k] for y in right[k]))]

    def cumulative_sum(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        a, axis, aval = arguments[0], eqn.params["axis"], eqn.outvars[0].aval
        moved = np.moveaxis(a, axis, 0)
        rows = moved.reshape(moved.shape[0], -1)[:: -1 if eqn.params["reverse"] else 1].copy()
        for row in range(1, len(rows)):
            for k in range(rows.shape[1]):
                rows[row, k] = self.fold("add", [rows[row - 1, k], rows[row, k]], aval.dtype)
        rows = rows[:: -1 if eqn.params["reverse"] else 1]
        return [np.moveaxis(rows.reshape(moved.shape), 0, axis)]

    def iota(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        shape, dimension = eqn.params["shape"], eqn.params["dimension"]
        line = np.arange(shape[dimension]).astype(eqn.params["dtype"])
        return [cells(np.broadcast_to(line.reshape([-1 if i == dimension else 1 for i in range(len(shape))]), shape))]

    def empty(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        """Memory that nobody reads before it is written."""
        aval = eqn.outvars[0].aval
        return [filled(aval.shape, [aval.dtype.type(0)] * aval.size)]

    def gather(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        a, *indices = arguments
        params, aval = eqn.params, eqn.outvars[0].aval
        nothing = params.get("fill_value")
        if nothing is None and np.issubdtype(aval.dtype, np.inexact):
            nothing = np.nan
        if eqn.primitive.name == "gather":
            params = params | {"fill_value": -1}
        found = by_number(eqn.primitive, params, a, _known(indices, eqn.invars[1:]))
        if nothing is None and np.any(found < 0):
            raise Unsupported("it has an index outside of an array")
        flat = list(a.flat)
        return [filled(found.shape, (aval.dtype.type(nothing) if i < 0 else flat[i] for i in found.flat))]

    def dynamic_slice(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        """A slice from a place that may be known when the program runs only: then one of all that there can be."""
        a, *starts = arguments
        sizes, program = eqn.params["slice_sizes"], self.program
        for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
            last = a.shape[axis] - size
            at: Any = start[()]
            cases = [np.take(a, range(k, k + size), axis) for k in range(last + 1)]
            if isinstance(at, np.generic):
                a = cases[min(max(int(at), 0), last)]
                continue
            at = self._compute("clamp", {}, at.dtype, [at.dtype.type(0), at, at.dtype.type(last)])
            rows = zip(*(case.flat for case in cases), strict=True)
            dtype = eqn.outvars[0].aval.dtype
            each = (select(program, {}, dtype, [at, *(self.number(x) for x in row)]) for row in rows)
            a = filled(cases[0].shape, each)
        return [a]

    def update_slice(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        a, new, *starts = arguments
        at = [int(x) for x in _known(starts, eqn.invars[2:])]
        at = [min(max(x, 0), n - m) for x, n, m in zip(at, a.shape, new.shape, strict=True)]
        a = a.copy()
        a[tuple(slice(x, x + m) for x, m in zip(at, new.shape, strict=True))] = new
        return [a]

    def scatter(self, eqn: Equation, arguments: list[Cells]) -> list[Cells]:
        """Set or add at places that are known: each update is tried alone, to see where it goes."""
        a, indices, new = arguments
        where = _known([indices], eqn.invars[1:2])[0]
        a, aval = a.copy(), eqn.outvars[0].aval
        params = eqn.params | {"update_jaxpr": None, "update_consts": ()}
        adds = eqn.primitive.name != "scatter"
        for k, entry in enumerate(new.flat):
            alone = np.zeros(new.size, np.float32)
            alone[k] = 1.0
            updates = alone.reshape(new.shape)
            with jax.ensure_compile_time_eval():
                hit = primitives.scatter_add_p.bind(jax.numpy.zeros(a.shape, np.float32), where, updates, **params)
            for place in zip(*np.nonzero(np.asarray(hit)), strict=True):
                a[place] = self._compute("add", {}, aval.dtype, [a[place], entry]) if adds else entry
        return [a]


_PLACEMENT = ("sharding", "out_sharding")


def _size(jaxpr: Jaxpr) -> int:
    """How many numbers a jaxpr computes, those of its calls and loops once."""
    equations: list[Equation] = list(jaxpr.eqns)
    inside = [eqn.params[k] for eqn in equations for k in _INSIDE if k in eqn.params]
    own = sum(var.aval.size for eqn in equations for var in eqn.outvars)
    return own + sum(_size(getattr(x, "jaxpr", x)) for x in inside)


def scan_counts(params: dict[str, Any]) -> tuple[int, int]:
    """How many operands of a scan are constant, and how many carried; by JAX's version."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    constant, carried, _ = params["ft_in"].unpack()
    return len(list(constant)), len(list(carried))


def _parted(column: Any) -> tuple[Any, list[Any]]:
    """The base that all entries share (None: none), and their offsets."""
    bases = {entry.base if isinstance(entry, _Along) else None for entry in column}
    offsets = [entry.offset if isinstance(entry, _Along) else entry for entry in column]
    return (bases.pop() if len(bases) == 1 else False), offsets


def _is_range(x: Cells) -> bool:
    """Whether the rows of an array are an arithmetic sequence of whole numbers."""
    for column in x.reshape(x.shape[0], -1).T:
        base, offsets = _parted(column)
        if base is False or not all(isinstance(n, np.integer) for n in offsets):
            return False
        if len({int(b) - int(a) for a, b in pairwise(offsets)}) > 1:
            return False
    return True


def _cell(x: Cells, i: int) -> Cells:
    """Row i, an array also where it is one entry."""
    return filled(x.shape[1:], x[i].flat) if x.ndim > 1 else filled((), [x[i]])


def _shaped(entries: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[Cells]:
    left = iter(entries)
    return [filled(shape, [next(left) for _ in range(int(np.prod(shape, dtype=int)))]) for shape in shapes]


def _known(arrays: Sequence[Cells], atoms: Sequence[Any]) -> list[np.ndarray]:
    """Arrays of numbers that are known."""
    if not all(isinstance(entry, np.generic) for x in arrays for entry in x.flat):
        raise Unsupported("it has an index that is known when it runs only")
    return [np.array(list(x.flat), atom.aval.dtype).reshape(x.shape) for x, atom in zip(arrays, atoms, strict=True)]


_SPECIAL: dict[str, Callable[[Machine, Equation, list[Cells]], list[Cells]]] = (
    {
        "scan": Machine.scan,
        "cond": Machine.cond,
        "dot_general": Machine.dot,
        "cumsum": Machine.cumulative_sum,
        "iota": Machine.iota,
        "empty": Machine.empty,
        "empty2": Machine.empty,
        "gather": Machine.gather,
        "dynamic_slice": Machine.dynamic_slice,
        "dynamic_update_slice": Machine.update_slice,
        "scatter": Machine.scatter,
        "scatter-add": Machine.scatter,
    }
    | {name: lambda machine, eqn, arguments: arguments for name in _SAME}
    | {
        f"reduce_{name}": lambda machine, eqn, arguments, name=inner: machine.reduce(name)(eqn, arguments)
        for name, inner in {"sum": "add", "max": "max", "min": "min", "prod": "mul", "and": "and", "or": "or"}.items()
    }
)
