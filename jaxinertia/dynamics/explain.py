"""explain: which loops of a function run as a kernel on a GPU, and why the others do not."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.interpreters import partial_eval as pe

from .._shown import shown
from .kernel.launch import compiler
from .kernel.wish import explaining
from .loop import is_loop, planned


def explain(fn: Callable[..., Any], *args: Any) -> str:
    """Say how the loops of fn(*args) run on an NVIDIA GPU: each as one CUDA kernel, or as a plain loop, and why.

    A run of a `Splitting` at fixed steps is one loop, however many `jax.vmap` are around it. As a kernel it runs a
    trajectory a thread, with the state in registers. Nothing is run, and no GPU is needed.

    Arguments:
        fn: a function, as it is to be called: under `jax.vmap`, `jax.jvp` or whatever it uses.
        args: its arguments; arrays may be `jax.ShapeDtypeStruct`.

    Returns:
        A text of one paragraph a loop: points, rows, what a trajectory keeps and computes, or the reason in words.

    Raises:
        ValueError: if fn is not callable; and whatever fn raises.

    Example:
        >>> final = lambda gamma: ji.simulate(ji.System(potential, damping=gamma), ts, 1.0, dt=0.01).inertia[-1]
        >>> print(ji.explain(jax.vmap(final), jnp.linspace(0.1, 1.0, 4096)))
    """
    if not callable(fn):
        raise ValueError(f"fn = {shown(fn)} must be a function: ji.explain(fn, *args) traces fn(*args)")
    if hasattr(fn, "lower"):  # of jit: what it has traced before was traced for this machine
        fn = getattr(fn, "__wrapped__", fn)
    arrays, rest = eqx.partition(args, lambda x: eqx.is_array_like(x) or isinstance(x, jax.ShapeDtypeStruct))

    def leaves(arrays: Any) -> list[Any]:
        out = fn(*eqx.combine(arrays, rest))
        return [x for x in jax.tree.leaves(out) if eqx.is_array_like(x)]

    with explaining():
        traced = jax.make_jaxpr(leaves)(arrays)
    needed, _ = pe.dce_jaxpr(traced.jaxpr, [True] * len(traced.jaxpr.outvars))
    paragraphs = [f"Loop {i}: {_told(**eqn.params)}" for i, eqn in enumerate(_loops(needed), 1)]
    if not paragraphs:
        return (
            "There is no loop that could run as a kernel; a Splitting's at fixed steps could, where something of it is "
            "read. Adaptive steps, events, other solvers and reverse-mode derivatives run as plain loops."
        )
    paragraphs.append("Reverse-mode derivatives run by the plain loop.")
    if compiler() is None:
        paragraphs.append(
            "Here no loop can be compiled for a GPU: NVIDIA's run-time compiler is missing, which comes with "
            "pip install 'jax[cuda13]' or 'jax[cuda12]'."
        )
    return "\n".join(paragraphs)


def _loops(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """The loops of a program, also inside its calls and other loops."""
    for eqn in jaxpr.eqns:
        if is_loop(eqn):
            yield eqn
            continue
        for param in jax.tree.leaves(tuple(eqn.params.values()), is_leaf=lambda x: isinstance(x, (ClosedJaxpr, Jaxpr))):
            if isinstance(param, (ClosedJaxpr, Jaxpr)):
                yield from _loops(param.jaxpr if isinstance(param, ClosedJaxpr) else param)


def _told(points: int | None, length: int, **loop: Any) -> str:
    what = f"{'one trajectory' if points is None else f'{points:,} trajectories'} of {length:,} rows"
    plan = planned(points=points, length=length, **loop)
    if isinstance(plan, str):
        return f"{what}: the plain loop, since {plan}."
    return (
        f"{what}: one kernel. A trajectory keeps {plan.state} registers' worth of numbers and takes "
        f"{plan.operations:,} operations."
    )
