"""What the file of `jaxinertia sweep` means: a potential, a system, a run, axes, and what to keep."""

import inspect
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..dynamics import solvers
from ..dynamics.simulate import simulate
from ..dynamics.sweep.result import Sweep
from ..dynamics.sweep.run import sweep
from ..dynamics.sweep.store import local_path
from ..dynamics.trajectory import Trajectory
from ..physics import potentials
from ..physics.system import System

CATALOGUE = ("Quadratic", "Duffing", "DoubleWell", "Pendulum", "Rosenbrock", "Himmelblau")
POTENTIALS = {name: getattr(potentials, name) for name in CATALOGUE}
NAMED = ("yoshida4", "suzuki4", "kahan_li6", "blanes_moan4", "blanes_moan6")
TABLES = {
    "potential": None,  # its own parameters
    "system": ("damping", "noise"),
    "run": ("stop", "dt", "saves", "position", "momentum", "solver", "seed", "float64"),
    "axes": None,  # names of the user's choice
    "keep": ("outputs", "when", "over", "statistics"),
    "store": ("path", "chunk_size"),
}
OUTPUTS: dict[str, Callable[[Trajectory], Any]] = {
    "position": lambda traj: traj.position,
    "momentum": lambda traj: traj.momentum,
    "kinetic": lambda traj: traj.kinetic,
    "potential": lambda traj: traj.potential,
    "inertia": lambda traj: traj.inertia,
    "friction": lambda traj: traj.balance.friction,
    "noise": lambda traj: traj.balance.noise,
    "discretization": lambda traj: traj.balance.discretization,
}


@dataclass(frozen=True)
class Plan:
    """A sweep read from a file: `plan.run()` makes it."""

    fn: Callable[..., dict[str, Any]]
    axes: dict[str, np.ndarray]
    seed: int
    float64: bool
    reduce: dict[Any, Any] | None
    store: Path | None
    chunk_size: int | None

    def run(self, progress: bool = False) -> Sweep:
        """The sweep, in the precision that the file asks for."""
        with jax.enable_x64(self.float64):
            return sweep(
                self.fn,
                self.axes,
                key=jax.random.key(self.seed),
                chunk_size=self.chunk_size,
                store=self.store,
                reduce=self.reduce,
                progress=progress,
            )


def read(path: Path) -> Plan:
    """Read a TOML file. Where a number is expected, a text names the axis that gives it.

        [potential]
        name = "Duffing"                 # and its parameters
        linear = -1.0

        [system]
        damping = "gamma"                # an axis
        noise = 0.0

        [run]
        stop = 20.0
        dt = 0.01
        position = "q0"                  # or a list, such as ["x", "y"]
        solver = "BAOAB"                 # a word, or yoshida4, suzuki4, kahan_li6, blanes_moan4, blanes_moan6
        saves = 2                        # times at which outputs are kept, if when = "always"

        [axes]
        gamma = { start = 0.01, stop = 2.0, count = 64, scale = "log" }
        q0 = [-1.0, 0.5, 1.0]

        [keep]
        outputs = ["inertia", "position"]
        when = "end"                     # or "always"
        over = ["q0"]                    # keep statistics over these axes instead of every point
        statistics = ["mean", "variance"]

        [store]
        path = "duffing.zarr"            # beside the file, if relative

    Raises:
        ValueError: if the file cannot be read, or an entry is unknown, missing or makes no sense.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"file {str(path)!r} cannot be read as TOML: {error}") from error
    for table, known in TABLES.items():
        _refuse_unknown(table, tables.setdefault(table, {}), known)
    _refuse_unknown("file", tables, tuple(TABLES))
    axes = {name: _axis(name, value) for name, value in tables["axes"].items()}
    if not axes:
        raise ValueError("[axes] is empty; give at least one, such as gamma = { start = 0, stop = 2, count = 64 }")
    store, keep, run = tables["store"], tables["keep"], tables["run"]
    over = keep.get("over", [])
    return Plan(
        fn=_function(tables, axes),
        axes=axes,
        seed=_number("run", run, "seed", int, 0),
        float64=_number("run", run, "float64", bool, True),
        reduce={tuple(over): tuple(keep.get("statistics", ["mean", "variance"]))} if over else None,
        store=path.parent / local_path(store["path"]) if "path" in store else None,
        chunk_size=_number("store", store, "chunk_size", int, None),
    )


def _function(tables: dict[str, Any], axes: dict[str, np.ndarray]) -> Callable[..., dict[str, Any]]:
    """The function of one point that the tables describe."""
    parameters = dict(tables["potential"])
    make = _choice("potential", "name", parameters.pop("name", None), POTENTIALS)
    _refuse_unknown("potential", parameters, tuple(inspect.signature(make).parameters))
    system, run, keep = tables["system"], tables["run"], tables["keep"]
    stop, dt = _number("run", run, "stop", float), _number("run", run, "dt", float)
    ts = np.linspace(0.0, stop, _number("run", run, "saves", int, 2))
    word = run.get("solver", "BAOAB")
    solver = getattr(solvers, word)() if word in NAMED else solvers.Splitting(word)
    outputs = {name: _choice("keep", "outputs", name, OUTPUTS) for name in keep.get("outputs", ["inertia"])}
    always = _choice("keep", "when", keep.get("when", "end"), {"end": False, "always": True})
    noise = system.get("noise", 0.0)
    numbers = {"damping": system.get("damping", 0.0), "noise": noise, "momentum": run.get("momentum")}
    numbers |= {"position": run.get("position", 1.0)} | {f"potential.{name}": x for name, x in parameters.items()}
    for name, value in numbers.items():
        _check_names(name, value, axes)

    def fn(key: Any, **point: Any) -> dict[str, Any]:
        def number(value: Any) -> Any:
            if isinstance(value, list):
                return jnp.stack([jnp.asarray(number(x), float) for x in value])
            return point[value] if isinstance(value, str) else value

        potential = make(**{name: number(x) for name, x in parameters.items()})
        sigma = None if noise == 0 else number(noise)
        world = System(potential, damping=number(numbers["damping"]), noise=sigma)
        momentum = None if numbers["momentum"] is None else number(numbers["momentum"])
        start = number(numbers["position"])
        traj = simulate(world, ts, start, momentum, dt=dt, solver=solver, key=None if sigma is None else key)
        return {name: of(traj) if always else of(traj)[-1] for name, of in outputs.items()}

    return fn


def _axis(name: str, value: Any) -> np.ndarray:
    """A list of numbers, or { start, stop, count, scale }."""
    if isinstance(value, list):
        return np.asarray([_finite(f"axes.{name}", x) for x in value])
    if not isinstance(value, dict):
        raise ValueError(f"axes.{name} = {value!r} must be a list of numbers or {{ start, stop, count }}")
    _refuse_unknown(f"axes.{name}", value, ("start", "stop", "count", "scale"))
    table = f"axes.{name}"
    start, stop = _number(table, value, "start", float), _number(table, value, "stop", float)
    count = _number(table, value, "count", int)
    space = _choice(table, "scale", value.get("scale", "linear"), {"linear": np.linspace, "log": np.geomspace})
    if count < 1 or (space is np.geomspace and start * stop <= 0):
        raise ValueError(f"axes.{name} = {value!r} needs count >= 1 and, on a log scale, start and stop of one sign")
    return space(start, stop, count)


def _number(table: str, entries: dict[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """An entry of this kind; ValueError if it is another, or missing without a default."""
    value = entries.get(name, default)
    if value is ...:
        raise ValueError(f"[{table}] lacks {name}")
    if value is default:
        return value
    if kind is float:
        return _finite(f"{table}.{name}", value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{table}.{name} = {value!r} must be {'true or false' if kind is bool else 'a whole number'}")
    return value


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} = {value!r} must be a finite number")
    return float(value)


def _check_names(name: str, value: Any, axes: dict[str, np.ndarray]) -> None:
    """Every text stands for an axis."""
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str) and entry not in axes:
            raise ValueError(f"{name} = {value!r} names no axis; the axes are {sorted(axes)}")
        if isinstance(entry, list):
            _check_names(name, entry, axes)
        elif entry is not None and not isinstance(entry, str):
            _finite(name, entry)


def _choice(table: str, name: str, value: Any, known: dict[str, Any]) -> Any:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{table}.{name} = {value!r} must be one of {sorted(known)}")
    return known[value]


def _refuse_unknown(table: str, entries: Any, known: tuple[str, ...] | None) -> None:
    if not isinstance(entries, dict):
        raise ValueError(f"{table} = {entries!r} must be a table: write [{table}]")
    unknown = sorted(set(entries) - set(known)) if known is not None else []
    if unknown:
        raise ValueError(f"[{table}] has unknown entries {unknown}; it may have {sorted(known or ())}")
