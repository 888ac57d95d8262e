"""A row's body in pieces that XLA compiles apart: on a CPU it runs at most eight kernels in line, one after another.

A longer sequence goes through a queue, for kernels that could run side by side: a microsecond or more each time, which
is what ten kernels over a block of points take themselves. So what lies before, between and after the loops in a body
becomes a function each, which XLA calls and does not inline. Derivatives have been taken before.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun, primitives

_LOOPS = (primitives.scan_p, primitives.while_p)


def in_pieces(body: ClosedJaxpr) -> Callable[..., list[Any]]:
    """The same function, the equations around its loops called; as it is if it has none."""
    jaxpr = body.jaxpr
    runs = [(is_loop, list(eqns)) for is_loop, eqns in groupby(jaxpr.eqns, lambda eqn: eqn.primitive in _LOOPS)]
    if len(runs) < 2:
        return jaxpr_as_fun(body)
    parts: list[tuple[bool, Jaxpr]] = []
    read = _variables(jaxpr.outvars)
    for is_loop, eqns in reversed(runs):
        parts.append((is_loop, _piece(jaxpr, eqns, read)))
        read |= _variables(v for eqn in eqns for v in eqn.invars)

    def run(*operands: Any) -> list[Any]:
        known: dict[Any, Any] = dict(zip(jaxpr.constvars, body.consts, strict=True))
        known |= dict(zip(jaxpr.invars, operands, strict=True))
        for is_loop, piece in reversed(parts):
            fn, here = jaxpr_as_fun(ClosedJaxpr(piece, ())), [known[v] for v in piece.invars]
            out = fn(*here) if is_loop else set_xla_metadata(jax.jit(fn, inline=False)(*here), inlineable="false")
            known |= dict(zip(piece.outvars, out, strict=True))
        return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]

    return run


def _piece(jaxpr: Jaxpr, eqns: Sequence[JaxprEqn], read: dict[Var, None]) -> Jaxpr:
    """These equations, which take what they lack and return what is read after them."""
    made = _variables(v for eqn in eqns for v in eqn.outvars)
    taken = [v for v in _variables(v for eqn in eqns for v in eqn.invars) if v not in made]
    info = jaxpr.debug_info._replace(arg_names=None, result_paths=None)
    return Jaxpr((), taken, [v for v in made if v in read], eqns, debug_info=info)


def _variables(atoms: Iterable[Any]) -> dict[Var, None]:
    """Those that are no literals, each once, in their order."""
    return {v: None for v in atoms if not isinstance(v, Literal)}
