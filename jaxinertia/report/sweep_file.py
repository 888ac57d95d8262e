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
from ..dynamics.sweep.objects import locate
from ..dynamics.sweep.result import Sweep
from ..dynamics.sweep.run import sweep
from ..dynamics.trajectory import Trajectory
from ..physics import potentials
from ..physics.system import System
from . import entries, laws

CATALOGUE = ("Quadratic", "Duffing", "DoubleWell", "Pendulum", "Rosenbrock", "Himmelblau")
POTENTIALS = {name: getattr(potentials, name) for name in CATALOGUE}
NAMED = ("yoshida4", "suzuki4", "kahan_li6", "blanes_moan4", "blanes_moan6")
TABLES: dict[str, tuple[tuple[str, ...] | None, tuple[str, ...]]] = {  # what each may have (None: names of the
    "potential": (None, ("name",)),  # user's choice, or of its own), and what it needs
    "system": (("damping", "noise", "kinetic"), ()),
    "run": (("stop", "dt", "saves", "position", "momentum", "solver", "seed", "float64"), ("stop", "dt")),
    "axes": (None, ()),
    "keep": (("outputs", "when", "over", "statistics"), ()),
    "store": (("path", "chunk_size"), ()),
}
STATISTICS = {name: name for name in ("mean", "variance", "count")}
MOST_POINTS = 2**64  # that can have random keys of their own
MOST_ON_AN_AXIS, MOST_SAVES, MOST_STEPS = 10**8, 10**7, 10**12  # more is a slip of the pen
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
    store: Path | str | None
    chunk_size: int | None

    def run(self, progress: bool = False, shard: tuple[int, int] | None = None) -> Sweep:
        """The sweep, or one part of it, in the precision that the file asks for."""
        with jax.enable_x64(self.float64):
            return sweep(
                self.fn,
                self.axes,
                key=jax.random.key(self.seed),
                chunk_size=self.chunk_size,
                store=self.store,
                shard=shard,
                reduce=self.reduce,
                progress=progress,
            )


def read(path: Path) -> Plan:
    """Read a TOML file. Where a number is expected, a text names the axis that gives it.

    Friction, kinetic energy and noise may be any of `laws.LAWS`: their numbers are the arguments in Python, and an axis
    may be called after one of them, as in `"damping.linear" = [0.1, 0.2]`.

        [potential]
        name = "Duffing"                 # and its parameters
        linear = -1.0

        [system]
        damping = "gamma"                # an axis; or a law with its numbers, as the next line has it
        kinetic = { law = "relativistic", speed_limit = 2.0 }
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
    tables = _tables(path)
    axes = {name: _axis(f"axes.{name}", value) for name, value in tables["axes"].items()}
    if not axes:
        raise ValueError("[axes] is empty; give at least one, such as gamma = { start = 0, stop = 2, count = 64 }")
    points = math.prod(len(x) for x in axes.values())
    if points > MOST_POINTS:
        raise ValueError(f"[axes] makes {points:,} points, and one sweep has at most {MOST_POINTS:,}: lower a count")
    store, run = tables["store"], tables["run"]
    float64 = entries.yes_or_no("run.float64", run.get("float64", True))
    seeds = 2**63 - 1 if float64 else 2**31 - 1
    chunk_size = store.get("chunk_size")
    return Plan(
        fn=_function(tables, axes),
        axes=axes,
        seed=entries.whole("run.seed", run.get("seed", 0), -seeds, seeds),
        float64=float64,
        reduce=_reduce(tables["keep"], axes),
        store=_place(entries.text("store.path", store["path"]), path) if "path" in store else None,
        chunk_size=None if chunk_size is None else entries.whole("store.chunk_size", chunk_size, 1, MOST_POINTS),
    )


def _place(store: str, file: Path) -> Any:
    """A store's path, beside the file if it is relative, or its URL."""
    found = locate(store, file.parent)
    return store if found.folder is None else found.folder


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of the file, with empty ones for those it lacks."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # bad TOML, bad UTF-8, a number of thousands of digits
        raise ValueError(f"file {str(path)!r} cannot be read as TOML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"file {str(path)!r} nests too deep: it needs no more than lists of numbers") from error
    entries.table("file", tables, tuple(TABLES))
    return {name: entries.table(name, tables.get(name, {}), *wanted) for name, wanted in TABLES.items()}


def _reduce(keep: dict[str, Any], axes: dict[str, np.ndarray]) -> dict[Any, Any] | None:
    """Statistics over axes, as `sweep` takes them."""
    if not keep.get("over", []):
        if "statistics" in keep:
            raise ValueError('keep.statistics are over no axis: add over = ["run"], an axis, or leave them out')
        return None
    over = entries.choices("keep.over", keep["over"], axes)
    statistics = entries.choices("keep.statistics", keep.get("statistics", ["mean", "variance"]), STATISTICS)
    return {tuple(over): tuple(statistics)}


def _function(tables: dict[str, Any], axes: dict[str, np.ndarray]) -> Callable[..., dict[str, Any]]:
    """The function of one point that the tables describe."""
    parameters = dict(tables["potential"])
    name = parameters.pop("name")
    make = entries.choice("potential.name", name, POTENTIALS)
    signature = inspect.signature(make).parameters
    needed = tuple(name for name, x in signature.items() if x.default is x.empty)
    entries.table("potential", parameters, tuple(signature), needed)
    system, run, keep = tables["system"], tables["run"], tables["keep"]
    ts, dt, solver = _times(run)
    outputs = entries.choices("keep.outputs", keep.get("outputs", ["inertia"]), OUTPUTS)
    always = entries.choice("keep.when", keep.get("when", "end"), {"end": False, "always": True})
    start, momentum = run.get("position", 1.0), run.get("momentum")
    numbers = {"run.position": start} | ({} if momentum is None else {"run.momentum": momentum})
    numbers |= {f"potential.{name}": x for name, x in parameters.items()}
    for key, value in numbers.items():
        entries.numbers(key, value, axes)
    friction, motion = (laws.read(part, system.get(part), axes) for part in ("damping", "kinetic"))
    sigma = system.get("noise")
    quiet = isinstance(sigma, int | float) and not isinstance(sigma, bool) and sigma == 0
    random = laws.read("noise", None if quiet else sigma, axes)

    def potential(number: Callable[[Any], Any]) -> Any:
        return make(**{name: number(x) for name, x in parameters.items()})

    _check_position(potential(lambda _: 1.0), name, start, entries.numbers("run.position", start, axes))

    def fn(key: Any, **point: Any) -> dict[str, Any]:
        def number(value: Any) -> Any:
            if isinstance(value, list):
                return jnp.stack([jnp.asarray(number(x), float) for x in value])
            return point[value] if isinstance(value, str) else float(value)

        damping, kinetic, noise = (None if law is None else law.build(number) for law in (friction, motion, random))
        world = System(potential(number), 0.0 if damping is None else damping, noise, kinetic)
        p = None if momentum is None else number(momentum)
        traj = simulate(world, ts, number(start), p, dt=dt, solver=solver, key=None if noise is None else key)
        return {name: of(traj) if always else of(traj)[-1] for name, of in outputs.items()}

    return fn


def _times(run: dict[str, Any]) -> tuple[np.ndarray, float, Any]:
    """Output times, the step, and the solver."""
    stop, dt = entries.positive("run.stop", run["stop"]), entries.positive("run.dt", run["dt"])
    saves = entries.whole("run.saves", run.get("saves", 2), 2, MOST_SAVES)
    if stop / MOST_STEPS > dt:
        raise ValueError(f"run.dt = {dt} makes more than {MOST_STEPS:,} steps up to run.stop = {stop}; raise it")
    word = run.get("solver", "BAOAB")
    if isinstance(word, str) and word in NAMED:
        return np.linspace(0.0, stop, saves), dt, getattr(solvers, word)()
    if not isinstance(word, str | list):
        raise ValueError(f"run.solver = {entries.short(word)} must be a word such as 'BAOAB', or one of {NAMED}")
    try:
        return np.linspace(0.0, stop, saves), dt, solvers.Splitting(word)
    except ValueError as error:
        raise ValueError(f"run.solver = {entries.short(word)}: {error}; or one of {NAMED}") from error


def _check_position(potential: Callable[[Any], Any], name: str, start: Any, shape: tuple[int, ...]) -> None:
    """ValueError unless the potential takes a position of this shape."""
    try:
        jax.eval_shape(potential, jax.ShapeDtypeStruct(shape, np.float32))
    except (TypeError, ValueError, IndexError) as error:
        said = str(error).splitlines()[0]
        raise ValueError(
            f"run.position = {entries.short(start)} has the shape {shape}, which {name} does not take: {said}; "
            "write as many numbers as it has coordinates"
        ) from error


def _axis(key: str, value: Any) -> np.ndarray:
    """A list of numbers, or { start, stop, count, scale }."""
    if isinstance(value, list):
        if not value:
            raise ValueError(f"{key} = [] is empty; give at least one number")
        return np.asarray([entries.number(key, x) for x in value])
    if not isinstance(value, dict):
        raise ValueError(f"{key} = {entries.short(value)} must be a list of numbers or {{ start, stop, count }}")
    entries.table(key, value, ("start", "stop", "count", "scale"), ("start", "stop", "count"))
    start, stop = (entries.number(f"{key}.{end}", value[end]) for end in ("start", "stop"))
    count = entries.whole(f"{key}.count", value["count"], 1, MOST_ON_AN_AXIS)
    scale = value.get("scale", "linear")
    space = entries.choice(f"{key}.scale", scale, {"linear": np.linspace, "log": np.geomspace})
    if scale == "log" and (start == 0 or stop == 0 or (start > 0) != (stop > 0)):
        raise ValueError(f"{key} = {entries.short(value)} needs, on a log scale, start and stop of one sign, not 0")
    if not math.isfinite(stop - start):
        raise ValueError(f"{key} = {entries.short(value)} spans more than a float64 can; bring start and stop nearer")
    return space(start, stop, count)
