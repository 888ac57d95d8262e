"""Events: the time at which a condition crosses zero, and the state there, from which a run can go on.

diffrax finds the step in which a condition changes its sign. Where in the step is found here, on the solver's own flow:
for a splitting by a shorter step of its word from the step's start, so that the event's time and state are of the
word's order; for diffrax's solvers on their dense output.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx

from .._types import Scalar
from ..physics.system import System
from .phase import Phase
from .splitting import Splitting


class EventState(NamedTuple):
    """Where an event stopped a run: the time, and the position and the momentum there, without an axis of times."""

    time: Any
    position: Any
    momentum: Any


def check(event: Any, system: System) -> None:
    """ValueError for an event that cannot be located."""
    if event is None or event.root_finder is None or system.is_quiet:
        return
    raise ValueError(
        f"event has root_finder = {event.root_finder!r}, but the system has noise: between steps its path is not "
        "known, may cross many times, and has no slope for a root finder; pass diffrax.Event(cond_fn) without one: the "
        "run then stops at the end of the step that crossed, at most dt late"
    )


class Step(NamedTuple):
    """The step that a run took last: its ends, the state at its start, and what is known between."""

    t0: Scalar
    t1: Scalar
    y0: Phase
    between: Any


class Remembering(diffrax.AbstractWrappedSolver):
    """A solver whose state, (its own, `Step`), also holds the last step that was kept."""

    solver: diffrax.AbstractSolver

    @property
    def term_structure(self):
        return self.solver.term_structure

    @property
    def interpolation_cls(self):
        return self.solver.interpolation_cls

    @property
    def term_compatible_contr_kwargs(self):
        return self.solver.term_compatible_contr_kwargs

    # diffrax reads and replaces these on the solvers that have them.

    @property
    def scan_kind(self):
        return self.solver.scan_kind

    @property
    def root_finder(self):
        return self.solver.root_finder

    @property
    def root_find_max_steps(self):
        return self.solver.root_find_max_steps

    def order(self, terms):
        return self.solver.order(terms)

    def strong_order(self, terms):
        return self.solver.strong_order(terms)

    def error_order(self, terms):
        return self.solver.error_order(terms)

    def func(self, terms, t0, y0, args):
        return self.solver.func(terms, t0, y0, args)

    def init(self, terms, t0, t1, y0, args):
        state = self.solver.init(terms, t0, t1, y0, args)
        between = eqx.filter_eval_shape(self.solver.step, terms, t0, t1, y0, args, state, False)[2]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), between)
        return state, Step(t0, t0, y0, None if self.is_word else zeros)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        own, _ = solver_state
        y1, error, between, own, result = self.solver.step(terms, t0, t1, y0, args, own, made_jump)
        return y1, error, between, (own, Step(t0, t1, y0, None if self.is_word else between)), result

    @property
    def is_word(self) -> bool:
        """Whether it is a splitting itself, and none inside another solver."""
        return issubclass(type(self.solver), Splitting)

    def within(self, last: Step, terms: Any, args: System) -> Callable[[Scalar], Phase]:
        """The state at a time in the last step."""
        if not self.is_word:
            interpolation = self.solver.interpolation_cls(t0=last.t0, t1=last.t1, **last.between)
            started = last.t1 > last.t0

            def on_dense_output(t):
                return jax.tree.map(lambda y0, y: jnp.where(started, y, y0), last.y0, interpolation.evaluate(t))

            return on_dense_output

        state = self.solver.init(terms, last.t0, last.t1, last.y0, args)

        def by_shorter_step(t):
            return self.solver.step(terms, last.t0, t, last.y0, args, state, False)[0]

        return by_shorter_step


def by_steps(event: diffrax.Event | None) -> diffrax.Event | None:
    """The event as diffrax looks for it: in which step it happens."""
    return None if event is None else diffrax.Event(event.cond_fn, None, event.direction)


def stop(event: diffrax.Event, run: dict, solution: Any, throw: bool) -> EventState:
    """Where the event stopped a run: inf and NaN where it did not happen, NaN where the run failed before it.

    Arguments:
        run: the keyword arguments of `diffrax.diffeqsolve`, its solver a `Remembering` one where a root is to be found.
        solution: what that saved: rows, and (t1, y1) at the end of its last step.
        throw: whether a root that is not found is an error, or else NaN.
    """
    happened = solution.result == diffrax.RESULTS.event_occurred
    time, state = solution.ts[1][0], jax.tree.map(lambda y: y[0], solution.ys[1])
    if event.root_finder is not None:
        given = {name: value for name, value in run.items() if name != "args"}
        last = solution.solver_state[1]
        within = run["solver"].within(last, run["terms"], run["args"])

        def conditioned(cond_fn):
            return lambda t, y: cond_fn(t, y, run["args"], **given)

        conditions = [conditioned(cond_fn) for cond_fn in jax.tree.leaves(event.cond_fn, is_leaf=callable)]
        found = _first(event, conditions, last, (time, state), within, happened, throw)
        state = within(jnp.where(happened, found, time))
        time = found
    # A run that came to infinity met no condition, but did not last either.
    sound = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves((state.position, state.momentum))]
    lasted = (solution.result == diffrax.RESULTS.successful) & jnp.all(jnp.stack(sound))
    never = jnp.where(lasted, jnp.inf, jnp.nan)
    state = unless(~happened | jnp.isnan(time), state)
    return EventState(jnp.where(happened, time, never), state.position, state.momentum)


def unless(lost, tree: Any) -> Any:
    """The tree, or NaN."""
    return jax.tree.map(lambda x: jnp.where(lost, jnp.nan, x), tree)


def _first(event, conditions, last: Step, end, state, happened, throw) -> Scalar:
    """The earliest of all conditions' times in the last step.

    A condition that is true or false has the step's end. NaN where the run came to a NaN.
    """
    directions = jax.tree.leaves(event.direction, is_leaf=lambda x: x is None)
    times, spoilt = [], jnp.asarray(False)
    for condition, direction in zip(conditions, directions, strict=True):
        before, after = condition(last.t0, last.y0), condition(*end)
        if jnp.issubdtype(jnp.result_type(after), jnp.bool_):
            times.append(jnp.where(after, last.t1, jnp.inf))
            continue
        unknown = jnp.isnan(before) | jnp.isnan(after)
        spoilt = spoilt | unknown
        crossed = happened & _crossed(before, after, direction) & ~unknown
        times.append(_root(event.root_finder, condition, state, last, (before, after), crossed, throw))
    time = jnp.min(jnp.stack(times))
    # A sign that only a rounding changed, and that this second reading does not see, is at the step's end.
    return jnp.where(time < jnp.inf, time, jnp.where(spoilt, jnp.nan, last.t1))


def _crossed(before, after, direction):
    """Whether diffrax takes this for a crossing."""
    if direction is None:
        return jnp.sign(before) != jnp.sign(after)
    return (before <= 0) & (after > 0) if direction else (before > 0) & (after <= 0)


def _root(finder, condition, state, last: Step, values, crossed, throw) -> Scalar:
    """When the condition is zero, or inf where it has not crossed."""
    before, after = values
    at_start = crossed & (before == 0)
    inside = crossed & ~at_start
    t0, t1 = last.t0, jnp.where(last.t1 > last.t0, last.t1, last.t0 + 1)
    slope = jax.lax.stop_gradient(jnp.where(inside, after - before, 1) / (t1 - t0))

    def zero(t, _):
        # Beyond its ends the step goes on straight, with the slope of its chord: all roots lie inside.
        kept = jnp.where(t < t0, t0, jnp.where(t > t1, t1, t))
        value = condition(kept, state(kept)) + slope * (t - kept)
        return jnp.where(inside, value, t - t1)

    found: Any = optx.root_find(zero, finder, t1, options={"lower": t0, "upper": t1}, throw=False)
    # Tolerances that rounding cannot meet are met by a zero within rounding.
    eps = jnp.finfo(jnp.result_type(slope)).eps
    rounding = 16 * eps * (jnp.abs(slope * found.value) + 4 * (jnp.abs(before) + jnp.abs(after)))
    missed = ~(jnp.abs(zero(found.value, None)) <= rounding)
    failed = inside & (found.result != optx.RESULTS.successful) & missed
    # A rounding may carry a root over an end; its derivative is that of the root.
    time = found.value + jax.lax.stop_gradient(jnp.clip(found.value, t0, t1) - found.value)
    if throw:
        message = (
            f"event: the root_finder {type(finder).__name__} found no root in the step that crosses; "
            "take optimistix.Bisection(rtol, atol), tolerances that the precision can hold, or a smaller dt"
        )
        time = eqx.error_if(time, failed, message)
    time = jnp.where(failed, jnp.nan, time)
    return jnp.where(crossed, jnp.where(at_start, t0, time), jnp.inf)
