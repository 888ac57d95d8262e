"""A sweep from a file: potential, axes, what to keep, store."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..dynamics import solvers
from ..dynamics.simulate import simulate
from ..physics import potentials
from ..physics.system import System

EXAMPLE = """\
# jaxinertia sweep example.toml
store = "example.zarr"      # leave out to print the summary only
seed = 0                    # used if there is noise

[potential]
name = "Duffing"            # a potential of jaxinertia.potentials, and its parameters
linear = 1.0
cubic = 0.5

[axes]                      # gamma, sigma, position, momentum, repeat, or a parameter of the potential
gamma = { start = 0.0, stop = 2.0, count = 64 }
position = { start = -2.0, stop = 2.0, count = 64 }
cubic = [0.5, 1.0]

[fixed]                     # what is not an axis
momentum = 0.0

[run]
stop = 20.0
dt = 0.01
solver = "BAOAB"            # a word, or yoshida4, suzuki4, kahan_li6
save = 1                    # output times after the start; 1 keeps the end alone

keep = ["inertia", "position"]   # of the trajectory: also momentum, kinetic, potential, friction, noise
"""

STATE = ("gamma", "sigma", "position", "momentum", "repeat")
KEEP = ("inertia", "kinetic", "potential", "position", "momentum", "friction", "noise", "discretization")
COMPOSITIONS = {"yoshida4": solvers.yoshida4, "suzuki4": solvers.suzuki4, "kahan_li6": solvers.kahan_li6}


@dataclass(frozen=True)
class SweepConfig:
    """A checked file: what to give to `ji.sweep`."""

    fn: Callable[..., Any]
    axes: dict[str, np.ndarray]
    store: str | None
    key: Any


def read(path: Path) -> SweepConfig:
    """Read and check a TOML file; ValueError names the entry that is wrong."""
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"config = {str(path)!r} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"config = {str(path)!r} is not TOML: {error}") from error
    _only(table, "the file", ("store", "seed", "potential", "axes", "fixed", "run"))
    potential = _potential(table.get("potential", {}))
    parameters = tuple(potential.__dataclass_fields__)
    axes = {name: _values(name, value) for name, value in table.get("axes", {}).items()}
    if not axes:
        raise ValueError("[axes] is missing or empty; give at least one, e.g. gamma = [0.1, 0.2]")
    fixed = table.get("fixed", {})
    for section, names in (("[axes]", axes), ("[fixed]", fixed)):
        _only(names, section, STATE + parameters)
    run = table.get("run", {})
    _only(run, "[run]", ("stop", "dt", "solver", "save", "keep"))
    noisy = "sigma" in axes or "sigma" in fixed
    key = jax.random.key(int(table.get("seed", 0))) if noisy else None
    return SweepConfig(_function(potential, parameters, fixed, run), axes, table.get("store"), key)


def _function(potential, parameters, fixed, run):
    for name in ("stop", "dt"):
        if not isinstance(run.get(name), (int, float)) or run[name] <= 0:
            raise ValueError(f"[run] {name} = {run.get(name)!r} must be a positive number")
    keep = run.get("keep", ["inertia"])
    unknown = [name for name in keep if name not in KEEP]
    if unknown or not keep:
        raise ValueError(f"[run] keep = {keep!r} must name one or more of {', '.join(KEEP)}")
    save = run.get("save", 1)
    if not isinstance(save, int) or save < 1:
        raise ValueError(f"[run] save = {save!r} must be a whole number of at least 1: output times after the start")
    ts = np.linspace(0.0, run["stop"], save + 1)
    solver = _solver(run.get("solver", "BAOAB"))

    def point(key=None, **given):
        given = fixed | given
        chosen = potential
        for name in parameters:
            if name in given:
                chosen = eqx.tree_at(lambda p, name=name: getattr(p, name), chosen, jax.numpy.asarray(given[name]))
        system = System(chosen, damping=given.get("gamma", 0.0), noise=given.get("sigma"))
        start = np.zeros(2) if isinstance(chosen, (potentials.Rosenbrock, potentials.Himmelblau)) else 1.0
        position = jax.numpy.asarray(given.get("position", start), float)
        momentum = jax.numpy.broadcast_to(jax.numpy.asarray(given.get("momentum", 0.0), float), position.shape)
        traj = simulate(system, ts, position, momentum, dt=run["dt"], solver=solver, key=key)
        rows = (lambda x: x[-1]) if save == 1 else (lambda x: x)
        accounts = {name: getattr(traj.balance, name) for name in ("friction", "noise", "discretization")}
        return {name: rows(accounts[name] if name in accounts else getattr(traj, name)) for name in keep}

    return point


def _potential(table):
    name = table.get("name")
    known = [n for n in dir(potentials) if isinstance(getattr(potentials, n), type) and n[0].isupper()]
    known = [n for n in known if n in ("Quadratic", "Duffing", "DoubleWell", "Pendulum", "Rosenbrock", "Himmelblau")]
    if name not in known:
        raise ValueError(f"[potential] name = {name!r} must be one of {', '.join(known)}")
    parameters = {key: value for key, value in table.items() if key != "name"}
    _only(parameters, "[potential]", tuple(getattr(potentials, name).__dataclass_fields__))
    return getattr(potentials, name)(**parameters)


def _values(name, value):
    if isinstance(value, list):
        return np.asarray(value)
    if not isinstance(value, dict):
        raise ValueError(f"[axes] {name} = {value!r} must be a list, or {{ start, stop, count }}")
    _only(value, f"[axes] {name}", ("start", "stop", "count", "log"))
    try:
        spaced = np.geomspace if value.get("log") else np.linspace
        return spaced(float(value["start"]), float(value["stop"]), int(value["count"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"[axes] {name} = {value!r} needs numbers start, stop and count (and log = true)") from error


def _solver(name):
    if name in COMPOSITIONS:
        return COMPOSITIONS[name]()
    return solvers.Splitting(name)


def _only(table, where, allowed):
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        raise ValueError(f"{where} has the entry {unknown[0]!r}; known are {', '.join(allowed)}")
