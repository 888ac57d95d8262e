"""diffrax's own solvers and adjoints: which of them can run a system, and what to take instead of the others."""

from typing import Any, get_origin

import diffrax
import jax
import numpy as np

from .._shown import shown
from ..physics.system import System

NOISY = "a ji.solvers.Splitting, or diffrax.ShARK(), SEA() or SRA1()"
QUIET = "a ji.solvers.Splitting, or diffrax.Heun(), Tsit5() or Dopri8()"
STIFF = "diffrax.Kvaerno3(), Kvaerno4() or Kvaerno5(), which take all of it implicitly"


def innermost(solver: Any) -> Any:
    """The solver itself, out of wrappers such as `diffrax.HalfSolver`."""
    while isinstance(getattr(solver, "solver", None), diffrax.AbstractSolver):
        solver = solver.solver
    return solver


def adapts(controller: Any) -> bool:
    """Whether a controller chooses the steps by an estimate of their error."""
    if isinstance(controller, diffrax.ClipStepSizeController):
        return adapts(controller.controller)
    return isinstance(controller, diffrax.AbstractAdaptiveStepSizeController)


def check_solver(solver: Any, system: System, controller: Any) -> None:
    """ValueError that says what to take, where diffrax would refuse a solver less clearly, or warn."""
    inner = innermost(solver)
    name = type(inner).__name__
    structure = inner.term_structure
    if isinstance(inner, diffrax.SemiImplicitEuler):
        raise ValueError(f"solver: {name} wants two equations apart; take ji.solvers.Splitting('AB'), the same method")
    whole = get_origin(structure) or structure
    if isinstance(inner, diffrax.AbstractImplicitSolver) and whole is diffrax.MultiTerm:
        raise ValueError(f"solver: {name} wants an explicit and an implicit part, which a system has not; take {STIFF}")
    if not (isinstance(whole, type) and issubclass(whole, diffrax.AbstractTerm)):
        raise ValueError(f"solver: {name} wants terms of the structure {structure}; take {QUIET}")
    if system.is_quiet and whole is diffrax.MultiTerm:
        raise ValueError(f"solver: {name} is for noise, and the system has noise = {shown(system.noise)}; take {QUIET}")
    if not system.is_quiet and not isinstance(inner, (diffrax.AbstractItoSolver, diffrax.AbstractStratonovichSolver)):
        raise ValueError(f"solver: {name} is not made for noise, and the system has noise; take {NOISY}")
    if adapts(controller):
        if isinstance(inner, diffrax.Euler) and not system.is_quiet:
            raise ValueError(
                f"solver: {name} with noise may go wrong at steps that stepsize_controller adapts; take "
                "diffrax.HalfSolver(diffrax.EulerHeun()) or diffrax.ShARK(), or fixed steps, dt="
            )
    elif isinstance(inner, diffrax.AbstractImplicitSolver) and not _has_tolerances(inner.root_finder):
        raise ValueError(
            f"solver: {name} solves for its steps, to tolerances that fixed steps do not give: pass "
            "stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6), or "
            f"{name}(root_finder=diffrax.VeryChord(rtol=1e-8, atol=1e-8, norm=optimistix.max_norm))"
        )


def _has_tolerances(root_finder: Any) -> bool:
    numbers = (int, float, np.ndarray, np.generic, jax.Array)
    return all(isinstance(getattr(root_finder, name, 0.0), numbers) for name in ("rtol", "atol"))


def no_estimate(solver: Any) -> ValueError:
    """The error to raise where diffrax finds no estimate of a step's error to adapt it by."""
    name = type(innermost(solver)).__name__
    return ValueError(
        f"stepsize_controller adapts steps, but {name} has no error estimate: wrap it, diffrax.HalfSolver(solver), or "
        "pass dt= and no controller"
    )


def check_adjoint(adjoint: Any, solver: Any, system: System, controller: Any, event: Any) -> None:
    """ValueError for an adjoint that cannot go back through a trajectory."""
    default = "leave adjoint= out: the default, diffrax.RecursiveCheckpointAdjoint(), takes all"
    if isinstance(adjoint, diffrax.ImplicitAdjoint):
        raise ValueError(f"adjoint: ImplicitAdjoint is for steady states, and knows no trajectory; {default}")
    if not isinstance(adjoint, diffrax.BacksolveAdjoint):
        return
    why = None
    if getattr(innermost(solver), "letters", None) is not None:
        why = "solves an equation of its own, which a Splitting cannot"
    elif not system.is_quiet:
        why = "takes no noise here"
    elif event is not None:
        why = "takes no event"
    elif not adapts(controller):
        why = "chooses its own steps: pass stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-8)"
    if why is not None:
        raise ValueError(f"adjoint: BacksolveAdjoint {why}; or {default}")
