r"""Which of the calls are steps: an optimizer may gather micro-batches first, or leave a gradient out.

`optax.MultiSteps` moves at every k-th call only, by the mean (or the sum) of the gradients since. `apply_if_finite` and
`conditionally_mask` do nothing at some calls. Such a call is no step in time, and no account may see it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool

from .._types import Scalar
from .accounts import MonitorState, Parameters

# The states of those that can leave every parameter where it is, whatever the gradient.
_IDLERS = (optax.ApplyIfFiniteState, optax.ConditionallyMaskState, optax.ConditionallyTransformState)


class Taken(NamedTuple):
    """What of the gradients, and of the losses given, the latest call turned into a step."""

    gradient: Parameters
    value: Scalar | None
    booked: Bool[Array, ""] | None  # None: always
    left_out: Bool[Array, ""] | None  # None: never
    gathered: Scalar  # the losses that wait for the step to come


def multi_steps(optimizer: Any) -> optax.MultiSteps | None:
    """The `optax.MultiSteps` that this optimizer is, itself or as a gradient transformation."""
    owner = optimizer if isinstance(optimizer, optax.MultiSteps) else getattr(optimizer.update, "__self__", None)
    return owner if isinstance(owner, optax.MultiSteps) else None


def check(inner: Any, several: optax.MultiSteps | None) -> None:
    """ValueError for a `MultiSteps` that is hidden in another transformation."""
    within = inner.inner_opt_state if several is not None else inner
    if _all_of(within, optax.MultiStepsState):
        raise ValueError(
            "optimizer hides an optax.MultiSteps inside another transformation, where its micro-batches cannot be told "
            "from steps: turn them round, monitor(optax.MultiSteps(optax.chain(...), k), dt)"
        )


def taken(
    several: optax.MultiSteps | None, gradient: Parameters, value: Any, state: MonitorState, moved: Parameters, new: Any
) -> Taken:
    """What the optimizer, whose own state is now `new`, made of this gradient and loss."""
    gathered = state.gathered
    if value is not None:
        value = jnp.asarray(value, gathered.dtype)
        if value.shape != ():
            raise ValueError(f"value has shape {value.shape}; pass the loss, one number")
    if several is not None:
        return _gathered(several, gradient, value, gathered, state.inner, new)
    booked, left_out = None, _zeroed(new)
    if _all_of(new, _IDLERS):
        idle = ~_any_nonzero(moved) & _any_nonzero(gradient)
        booked, left_out = ~idle, idle if left_out is None else idle | left_out
    return Taken(gradient, value, booked, left_out, gathered)


def _gathered(several, gradient, value, gathered, old, new) -> Taken:
    """The mean or the sum since the last step, as `MultiSteps` takes it."""
    averages = several._use_grad_mean
    before = old.mini_step

    def join(total, x):
        return total + (x - total) / (before + 1) if averages else total + x

    booked = new.gradient_step != old.gradient_step
    accepted = booked | (new.mini_step != before)
    if value is not None:
        value = join(gathered, value)
        gathered = jnp.where(accepted, jnp.where(booked, 0.0, value), gathered)
    # As the optimizer is given it: rounded to the gradient's own type.
    mean = jax.tree.map(lambda acc, g: join(acc, g).astype(jnp.result_type(g)), old.acc_grads, gradient)
    return Taken(mean, value, booked, ~accepted, gathered)


def _zeroed(state: Any) -> Bool[Array, ""] | None:
    """Whether `optax.zero_nans` found any."""
    flags = [jax.tree.leaves(found.found_nan) for found in _all_of(state, optax.ZeroNansState)]
    any_ = [jnp.any(flag) for group in flags for flag in group]
    return jnp.any(jnp.stack(any_)) if any_ else None


def _any_nonzero(tree: Parameters) -> Bool[Array, ""]:
    """Whether any number of the tree is not zero; NaN is not."""
    each = [jnp.any(jnp.asarray(x) != 0) for x in jax.tree.leaves(tree)]
    return jnp.any(jnp.stack(each)) if each else jnp.array(True)


def _all_of(state: Any, kinds: Any) -> list[Any]:
    """Every node of these kinds in an optimizer's state, those inside one another too."""
    found: list[Any] = []

    def visit(node):
        if isinstance(node, kinds):
            found.append(node)
            for child in node:
                jax.tree.leaves(child, is_leaf=visit)
            return True
        return False

    jax.tree.leaves(state, is_leaf=visit)
    return found
