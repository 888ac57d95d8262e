"""The derivative of a loop, as a loop: its step carries what it carried, and its tangent beside it.

Linear in the tangents that it starts from: so it runs wherever the loop itself does, and its transpose is what reverse
mode needs.
"""

from collections.abc import Sequence
from itertools import compress, pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jax.interpreters import ad


def tangent_loop(
    primals: Sequence[Any], tangents: Sequence[Any], body: ClosedJaxpr, counts: tuple[int, int], mapped: Sequence[bool]
) -> tuple[list[Any], dict[str, Any], list[int | None]]:
    """The operands and the parameters of the derivative's loop, and which of its outputs are the tangents (None: zero).

    Arguments:
        primals, tangents: of the loop's operands; a tangent may be `ad.Zero`.
        body, counts, mapped: the loop's own.
    """
    ends = (0, counts[0], sum(counts), len(primals))
    parts = [range(*pair) for pair in pairwise(ends)]
    live = [not isinstance(tangent, ad.Zero) for tangent in tangents]
    for i in parts[1]:  # a carried number gets a tangent as it goes, unless it is none that has one
        live[i] = jnp.issubdtype(primals[i].dtype, jnp.inexact)
    places = [i for part in parts for i in (*part, *(~i for i in part if live[i]))]  # ~i: the tangent of i

    def step(*mixed):
        given = dict(zip(places, mixed, strict=True))
        moving = [i for i in range(len(primals)) if live[i]]

        def of_moving(*some):
            at = given | dict(zip(moving, some, strict=True))
            return jaxpr_as_fun(body)(*(at[i] for i in range(len(primals))))

        return jax.jvp(of_moving, [given[i] for i in moving], [given[~i] for i in moving])

    def ordered(*mixed):
        out, dots = step(*mixed)
        carry, rows = slice(0, counts[1]), slice(counts[1], None)
        kept = [list(compress(dots[part], has_tangent[part])) for part in (carry, rows)]
        return [*out[carry], *kept[0], *out[rows], *kept[1]]

    has_tangent = [jnp.issubdtype(aval.dtype, jnp.inexact) for aval in body.out_avals]
    avals = [jax.ShapeDtypeStruct(body.in_avals[max(i, ~i)].shape, body.in_avals[max(i, ~i)].dtype) for i in places]
    closed = jax.make_jaxpr(ordered)(*avals)
    operands = [primals[i] if i >= 0 else ad.instantiate_zeros(tangents[~i]) for i in places]
    constants = list(closed.consts)
    flags = [False] * len(constants) + [mapped[max(i, ~i)] for i in places]
    fixed = len(constants) + len(parts[0]) + sum(live[i] for i in parts[0])
    carried = len(parts[1]) + sum(live[i] for i in parts[1])
    derivative = ClosedJaxpr(without_constants(closed.jaxpr), ())
    params = {"body": derivative, "counts": (fixed, carried), "mapped": tuple(flags)}
    return [*constants, *operands], params, _tangent_places(has_tangent, counts[1])


def _tangent_places(has_tangent: list[bool], carried: int) -> list[int | None]:
    """Where among (carry, its tangents, rows, their tangents) the tangent of each output is."""
    places: list[int | None] = []
    for start, part in ((0, has_tangent[:carried]), (carried + sum(has_tangent[:carried]), has_tangent[carried:])):
        at = start + len(part)
        for has in part:
            places.append(at if has else None)
            at += has
    return places


def without_constants(jaxpr: Jaxpr) -> Jaxpr:
    """The same program, its constants before its other arguments."""
    told = jaxpr.debug_info
    told = told._replace(arg_names=("",) * len(jaxpr.constvars) + tuple(told.arg_names or ()))
    return jaxpr.replace(constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars], debug_info=told)
