"""Where residuals say that something is missed, the search begins anew: at models that this contains, and elsewhere.

A model is never worse than its special cases, but a search may end above them: in the wrong well, or where a friction
that is not in the record has taken the place of the one that is.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import evidence as errors
from . import linear, shooting, starts, stops
from .between import LINE
from .coordinates import ABOVE, MATRICES, REAL
from .parameters import Parameters
from .record import Records
from .search import Options, Search, padded, run
from .standing import Standing

NONE = ("force.gain", "potential.cubic", "potential.quadratic")  # what a simpler model has none of
FAINT = 1e-3  # of what friction is likely, where a search for a second one begins


def restarted(stand: Standing, options: Options, loss: str) -> Standing:
    """The same, with what other searches found that costs less."""
    records, ended = stand.ended.records, stand.ended
    if records.parameters.own or records.free_delay:  # coordinates that a simpler model does not have in the same place
        return stand
    names = contained(records)
    if not names and linear.is_linear(records.system):
        return stand
    computed = errors.at_rounding(ended.likelihood.level, ended.search.cost)
    rows = np.flatnonzero(stand.misfits & ~(computed & ended.search.ended))
    if not rows.size:
        return stand
    rows = padded(rows)
    some, likelihood = records.at(rows), ended.likelihood.at(rows)
    found = ended.search.at(rows)
    begin = [start for name in names for start in _simpler(some, name, options, loss)]
    if not linear.is_linear(records.system):
        begin += [(_placed(u, found), found.x) for u in starts.other_starts(some, starts.dominant(some))]
    best = found
    for u, x in begin:
        best = best.better(run(likelihood, u, x, options, "from another start"))
    if np.array_equal(best.cost, found.cost):
        return stand
    best = stops.on_their_turns(likelihood, best, options)
    return Standing(ended._replace(search=ended.search.put(rows, best)))


def contained(records: Records) -> tuple[str, ...]:
    """Names of single numbers of which a simpler model has none: a second friction, an input's gain, a bend."""
    parameters = records.parameters
    if any(kind in MATRICES for kind in parameters.kinds):
        return ()
    frictions = [name for name in parameters.names if name.startswith("damping.")]
    second = frictions if len(frictions) > 1 else []
    each = zip(parameters.names, parameters.kinds, parameters.low, strict=True)
    return tuple(
        name
        for name, kind, low in each
        if (name in second and kind == ABOVE and np.all(low == 0)) or (name in NONE and kind == REAL)
    )


def _simpler(records: Records, name: str, options: Options, loss: str) -> list[tuple[Any, Any]]:
    """Where searches begin that fits without this number tell: with none of it, and with a little."""
    parameters = records.parameters
    i = parameters.names.index(name)
    part, size = parameters.slices[i], parameters.slices[i].stop - parameters.slices[i].start
    without = _without(parameters, i)
    leaves, structure = jax.tree.flatten(records.system)
    at = parameters.where[i]
    leaves[at] = jnp.zeros_like(leaves[at])
    system = jax.tree.unflatten(structure, leaves)
    fewer = replace(records, system=system, parameters=without)
    found = shooting.fit(np.arange(len(records)), {LINE: fewer}, options, loss).search
    likely = starts.sensible(records, starts.dominant(records), 1.0)[:, part]
    little = [np.zeros((len(records), size))]
    if parameters.kinds[i] == ABOVE:
        little = [np.full((len(records), size), starts.NOTHING), likely + np.log(FAINT)]
    u = np.asarray(found.u)
    return [(np.concatenate([u[:, : part.start], one, u[:, part.start :]], axis=1), found.x) for one in little]


def _without(parameters: Parameters, i: int) -> Parameters:
    """All but one leaf."""
    fields = ("low", "high", "where", "kinds", "shapes", "names")
    others = [k for k in range(len(parameters.names)) if k != i]
    kept: dict[str, Any] = {field: tuple(getattr(parameters, field)[k] for k in others) for field in fields}
    return replace(parameters, structure=jax.tree.structure(tuple(kept["names"])), **kept)


def _placed(u: np.ndarray, found: Search) -> np.ndarray:
    """Parameters from elsewhere, and the offset from where it was found."""
    return np.concatenate([u, np.asarray(found.u)[:, u.shape[1] :]], axis=1)
