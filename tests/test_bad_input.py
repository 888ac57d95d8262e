"""Bad input of every public function and constructor is a ValueError that names the argument and the value."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

pytestmark = pytest.mark.usefixtures("without_type_checks")

P = ji.potentials
TS = np.linspace(0, 1, 3)
KEY = jax.random.key(0)
QUADRATIC = ji.System(P.Quadratic())
NOISY = ji.System(P.Quadratic(), damping=0.1, noise=0.3)
THREE = ji.System(P.Quadratic(), damping=0.1, noise=ji.noise.White(0.3, law="three-point"))
COLORED = ji.System(P.Quadratic(), damping=0.1, noise=ji.noise.Colored(0.3, 1.0))
PATH = ji.BrownianPath(0.0, 1.0, 1, 1.0, KEY)
NAN, INF = float("nan"), float("inf")


def simulate(system=QUADRATIC, ts=TS, position=1.0, momentum=None, **options):
    options = {"dt": 0.1} | options
    return ji.simulate(system, ts, position, momentum, **options)


def modified(system=QUADRATIC, position=1.0, momentum=0.0, dt=0.1, solver="BAB", **options):
    return ji.modified_inertia(system, position, momentum, dt, solver=solver, **options)


def ensemble(**options):
    options = dict(n=4, key=KEY, dt=0.1) | options
    return ji.ensemble(NOISY, TS, 1.0, **options)


def quadratic(t=1.0, position=1.0, momentum=0.0, stiffness=1.0, gamma=0.1):
    return ji.analytic.quadratic(t, position, momentum, stiffness, gamma)


def mean_inertia(t=1.0, position=1.0, momentum=0.0, stiffness=1.0, gamma=0.1, sigma=0.3):
    return ji.analytic.mean_inertia(t, position, momentum, stiffness, gamma, sigma)


class Heavy(ji.kinetic.AbstractKinetic):
    def energy(self, momentum):
        return momentum**2 / 4


HEAVY = ji.System(P.Quadratic(), damping=0.1, kinetic=Heavy())

# What is called, the name that the message must have, and what it must show of the value.
CASES = {
    # System
    "potential not callable": (lambda: ji.System(3.0), "potential", "3.0"),
    "potential a string": (lambda: ji.System("duffing"), "potential", "duffing"),
    "potential a vector": (lambda: simulate(ji.System(lambda x: x), position=[1.0, 2.0]), "potential", r"\(2,\)|\[2\]"),
    "potential a tuple": (lambda: simulate(ji.System(lambda x: (x, x))), "potential", "float"),
    "potential that picks entries by their values": (
        lambda: simulate(ji.System(lambda x: jnp.sum(x[x > 0])), position=[1.0, 2.0]),
        "potential",
        "jax.numpy",
    ),
    "masked position": (lambda: simulate(position=np.ma.array([1.0, 2.0], mask=[0, 1])), "position", "masked"),
    "masked times": (lambda: simulate(ts=np.ma.array(TS, mask=[0, 1, 0])), "ts", "masked"),
    "masked axis": (lambda: ji.sweep(lambda a: a, {"a": np.ma.array(TS, mask=[0, 1, 0])}), "axes", "masked"),
    "potential None": (lambda: simulate(ji.System(lambda x: None)), "potential", "None"),
    "potential an int": (lambda: simulate(ji.System(lambda x: 3)), "potential", "int|3"),
    "force not callable": (lambda: ji.System(P.Quadratic(), force=2.0), "force", "2.0"),
    "force too long": (
        lambda: simulate(ji.System(P.Quadratic(), force=lambda t: jnp.ones(3)), position=[1.0, 2.0]),
        "force",
        "3",
    ),
    "force of another structure": (lambda: simulate(ji.System(P.Quadratic(), force=lambda t: {"a": t})), "force", "a"),
    "kinetic not a kinetic": (lambda: ji.System(P.Quadratic(), kinetic=1.0), "kinetic", "1.0"),
    # damping
    "gamma negative": (lambda: ji.System(P.Quadratic(), damping=-0.25), "gamma", "-0.25"),
    "gamma has a negative": (lambda: ji.damping.Linear([0.1, -0.5]), "gamma", "-0.5"),
    "gamma NaN": (lambda: ji.damping.Linear(NAN), "gamma", "nan"),
    "gamma inf": (lambda: ji.damping.Linear([0.1, INF]), "gamma", "inf"),
    "gamma a word": (lambda: ji.damping.Linear("strong"), "gamma", "strong"),
    "gamma complex": (lambda: ji.damping.Linear(0.1j), "gamma", "0.1j|0.1"),
    "gamma None": (lambda: simulate(ji.System(P.Quadratic(), damping=None)), "damping", "None"),
    "gamma not PSD": (lambda: ji.damping.Linear([[1.0, 2.0], [2.0, 1.0]]), "gamma", "-1"),
    "gamma not symmetric": (
        lambda: simulate(ji.System(P.Quadratic(), damping=[[1.0, 0.5], [0.0, 1.0]]), position=[1.0, 2.0]),
        "gamma",
        "0.5",
    ),
    "gamma of another length": (
        lambda: simulate(ji.System(P.Quadratic(), damping=[0.1, 0.2, 0.3]), position=[1.0, 2.0]),
        "gamma",
        r"\(3,\)",
    ),
    "gamma of another structure": (
        lambda: simulate(ji.System(P.Quadratic(), damping={"a": 0.1}), position={"b": 1.0}),
        "gamma",
        "a",
    ),
    "gamma an array for a pytree": (
        lambda: simulate(ji.System(P.Quadratic(), damping=[0.1, 0.2]), position={"a": 1.0, "b": 2.0}),
        "gamma",
        r"\(2,\)",
    ),
    "gamma a matrix for one number": (
        lambda: simulate(ji.System(P.Quadratic(), damping=np.eye(2))),
        "gamma",
        r"\(2, 2\)",
    ),
    # noise
    "sigma negative": (lambda: ji.noise.White(-0.25), "sigma", "-0.25"),
    "sigma NaN": (lambda: ji.noise.White([0.1, NAN]), "sigma", "nan"),
    "sigma a word": (lambda: ji.noise.White("loud"), "sigma", "loud"),
    "sigma complex": (lambda: ji.noise.White(0.1j), "sigma", "0.1j|0.1"),
    "sigma of another length": (
        lambda: simulate(ji.System(P.Quadratic(), noise=[0.1, 0.2, 0.3]), position=[1.0, 2.0], key=KEY),
        "sigma",
        r"\(3,\)",
    ),
    "law unknown": (lambda: ji.noise.White(0.3, law="cauchy"), "law", "cauchy"),
    "law without a path": (lambda: simulate(THREE, path=PATH), "law", "three-point"),
    "law in diffrax": (lambda: simulate(THREE, solver=diffrax.Heun(), key=KEY), "law", "three-point"),
    "tau zero": (lambda: ji.noise.Colored(0.3, 0.0), "tau", "0.0"),
    "tau NaN": (lambda: ji.noise.Colored(0.3, NAN), "tau", "nan"),
    "tau a vector": (lambda: ji.noise.Colored(0.3, [1.0, 2.0]), "tau", r"\(2,\)"),
    "colored sigma negative": (lambda: ji.noise.Colored(-0.3, 1.0), "sigma", "-0.3"),
    "colored without a start": (lambda: simulate(COLORED, path=PATH), "initial", "None"),
    "colored start of another length": (
        lambda: simulate(ji.System(P.Quadratic(), noise=ji.noise.Colored(0.3, 1.0, [1.0, 2.0])), key=KEY),
        "initial",
        r"\(2,\)",
    ),
    "temperature negative": (lambda: ji.noise.thermal(-0.3, 0.1), "temperature", "-0.3"),
    "temperature a vector": (lambda: ji.noise.thermal([0.3, 0.1], 0.1), "temperature", r"\(2,\)"),
    "thermal drag": (lambda: ji.noise.thermal(0.3, ji.damping.Drag(0.1, 0.2)), "damping", "Drag"),
    "thermal gamma negative": (lambda: ji.noise.thermal(0.3, -0.1), "gamma", "-0.1"),
    "Langevin without damping": (
        lambda: simulate(ji.System(P.Quadratic(), 0.0, 0.3), solver=diffrax.ALIGN(), key=KEY),
        "gamma",
        "0.0",
    ),
    "Langevin with a matrix": (
        lambda: simulate(
            ji.System(P.Quadratic(), np.eye(2), 0.3), position=[1.0, 2.0], solver=diffrax.ShOULD(), key=KEY
        ),
        "solver",
        "matrix",
    ),
    "Langevin with memory": (lambda: simulate(COLORED, solver=diffrax.QUICSORT(), key=KEY), "solver", "Colored"),
    "Langevin without noise": (lambda: simulate(solver=diffrax.QUICSORT()), "solver", "None"),
    "Langevin with a force": (
        lambda: simulate(ji.System(P.Quadratic(), 0.1, 0.3, force=jnp.sin), solver=diffrax.ALIGN(), key=KEY),
        "solver",
        "force",
    ),
    "Langevin with drag": (
        lambda: simulate(ji.System(P.Quadratic(), ji.damping.Drag(0.1, 0.2), 0.3), solver=diffrax.QUICSORT(), key=KEY),
        "damping",
        "Drag",
    ),
    "Langevin without its area": (
        lambda: simulate(NOISY, solver=diffrax.ShOULD(), path=diffrax.VirtualBrownianTree(0.0, 1.0, 0.1, (), KEY)),
        "path",
        "levy_area=diffrax.SpaceTimeTimeLevyArea",
    ),
    # Brownian paths
    "levels negative": (lambda: ji.BrownianPath(0.0, 1.0, -1, 1.0, KEY), "levels", "-1"),
    "levels a float": (lambda: ji.BrownianPath(0.0, 1.0, 2.5, 1.0, KEY), "levels", "2.5"),
    "t1 before t0": (lambda: ji.BrownianPath(1.0, 0.5, 3, 1.0, KEY), "t1", "0.5"),
    "path between nodes": (lambda: PATH.evaluate(0.0, 0.3), "path", "node"),
    "path without key": (lambda: ji.BrownianPath(0.0, 1.0, 1, 1.0, None), "key", "None"),
    "path without end": (lambda: ji.BrownianPath(0.0, INF, 1, 1.0, KEY), "t1", "inf"),
    "path like nothing": (lambda: ji.BrownianPath(0.0, 1.0, 1, None, KEY), "like", "None"),
    "path of another shape": (
        lambda: simulate(NOISY, path=ji.BrownianPath(0.0, 1.0, 1, jnp.zeros(2), KEY)),
        "path",
        r"\(2,\)",
    ),
    # ensemble
    "n one": (lambda: ensemble(n=1), "n =", "1"),
    "n a float": (lambda: ensemble(n=2.5), "n =", "2.5"),
    "ensemble without key": (lambda: ensemble(key=None), "key", "None"),
    "ensemble dt zero": (lambda: ensemble(dt=0.0), "dt", "0.0"),
    "ensemble quantile above one": (lambda: ensemble(quantiles=(0.5, 1.5)), "quantiles", "1.5"),
    "ensemble in jit": (lambda: jax.jit(lambda key: ensemble(key=key).mean.inertia)(KEY), "system", "jit"),
    # fluctuations
    "window too long": (lambda: ji.fluctuations.rolling_variance(np.ones(5), 9), "window", "9"),
    "window one": (lambda: ji.fluctuations.rolling_variance(np.ones(5), 1), "window", "1"),
    "inertia NaN": (lambda: ji.fluctuations.rolling_variance([1.0, NAN], 2), "inertia", r"\(2,\)"),
    "degrees zero": (lambda: ji.fluctuations.temperature(np.arange(5.0), 2, 0), "degrees", "0"),
    "inertia too short": (lambda: ji.fluctuations.detect(np.arange(10.0), 2, 5), "inertia", r"\(10,\)"),
    "inertia constant": (lambda: ji.fluctuations.detect(np.ones(50), 2, 5), "inertia", "not change"),
    "threshold zero": (lambda: ji.fluctuations.detect(np.arange(50.0), 2, 5, 0.0), "threshold", "0.0"),
    # laws
    "drift not square": (lambda: ji.analytic.linear_sde(1.0, [1.0], np.ones((1, 2)), [[1.0]]), "drift", r"\(1, 2\)"),
    "stationary without damping": (lambda: ji.analytic.stationary(1.0, 0.0, 0.3), "gamma", "0.0"),
    "analytic tau zero": (lambda: ji.analytic.colored_power(1.0, 0.1, 0.3, 0.0), "tau", "0.0"),
    # potentials
    "stiffness NaN": (lambda: P.Quadratic(NAN), "stiffness", "nan"),
    "stiffness a word": (lambda: P.Quadratic("soft"), "stiffness", "soft"),
    "stiffness of another length": (
        lambda: simulate(ji.System(P.Quadratic([1.0, 2.0, 3.0])), position=[1.0, 2.0]),
        "stiffness",
        r"\(3,\)",
    ),
    "center inf": (lambda: P.Quadratic(1.0, INF), "center", "inf"),
    "center of another length": (lambda: P.Quadratic(1.0, [1.0, 2.0, 3.0])(jnp.ones(2)), "center", r"\(3,\)"),
    "linear NaN": (lambda: P.Duffing(NAN), "linear", "nan"),
    "cubic NaN": (lambda: P.Duffing(1.0, NAN), "cubic", "nan"),
    "quadratic NaN": (lambda: P.Duffing(1.0, 1.0, NAN), "quadratic", "nan"),
    "height NaN": (lambda: P.DoubleWell(NAN), "height", "nan"),
    "width zero": (lambda: P.DoubleWell(1.0, 0.0), "width", "0.0"),
    "frequency inf": (lambda: P.Pendulum(INF), "frequency", "inf"),
    "Rosenbrock a NaN": (lambda: P.Rosenbrock(NAN), r"\ba\b", "nan"),
    "Rosenbrock b NaN": (lambda: P.Rosenbrock(1.0, NAN), r"\bb\b", "nan"),
    "Rosenbrock in 3-D": (lambda: simulate(ji.System(P.Rosenbrock()), position=[1.0, 2.0, 3.0]), "position", r"\(3,\)"),
    "Himmelblau of a dict": (lambda: P.Himmelblau()({"x": jnp.ones(2)}), "position", "x"),
    "fn not callable": (lambda: P.Loss(1.5), "fn", "1.5"),
    # inertia and states
    "position complex": (lambda: ji.inertia(QUADRATIC, 1j), "position", "1j"),
    "position a word": (lambda: ji.inertia(QUADRATIC, "here"), "position", "here"),
    "position None": (lambda: ji.inertia(QUADRATIC, None), "position", "None"),
    "position empty": (lambda: simulate(position={}), "position", r"\{\}"),
    "position of no components": (lambda: simulate(position=np.zeros(0)), "position", r"\(0,\)|\[\]"),
    "position ragged": (lambda: simulate(position=[[1.0], [1.0, 2.0]]), "position", "1.0"),
    "position NaN": (lambda: simulate(position=[1.0, NAN]), "position", "nan"),
    "momentum too long": (lambda: ji.inertia(QUADRATIC, 1.0, [1.0, 2.0]), "momentum", r"\(2,\)"),
    "momentum of another structure": (lambda: simulate(position={"a": 1.0}, momentum={"b": 1.0}), "momentum", "b"),
    "momentum complex": (lambda: simulate(momentum=1j), "momentum", "1j"),
    "momentum a word": (lambda: simulate(momentum="fast"), "momentum", "fast"),
    "momentum inf": (lambda: simulate(momentum=INF), "momentum", "inf"),
    "system a potential": (lambda: simulate(system=P.Quadratic()), "system", "Quadratic"),
    "system of inertia a potential": (lambda: ji.inertia(P.Quadratic(), 1.0), "system", "Quadratic"),
    # simulate: times and steps
    "ts falls": (lambda: simulate(ts=[0.0, 2.0, 1.0]), "ts", "2.0"),
    "ts repeats": (lambda: simulate(ts=[0.0, 1.0, 1.0]), "ts", "1.0"),
    "ts of one time": (lambda: simulate(ts=[0.5]), "ts", r"\(1,\)"),
    "ts a number": (lambda: simulate(ts=1.0), "ts", r"\(\)"),
    "ts a matrix": (lambda: simulate(ts=np.ones((2, 2))), "ts", r"\(2, 2\)"),
    "ts NaN": (lambda: simulate(ts=[0.0, NAN, 1.0]), "ts", "NaN"),
    "ts a word": (lambda: simulate(ts="later"), "ts", "later"),
    "ts complex": (lambda: simulate(ts=[0, 1j]), "ts", "1j"),
    "dt zero": (lambda: simulate(dt=0.0), "dt", "0.0"),
    "dt negative": (lambda: simulate(dt=-0.1), "dt", "-0.1"),
    "dt NaN": (lambda: simulate(dt=NAN), "dt", "nan"),
    "dt inf": (lambda: simulate(dt=INF), "dt", "inf"),
    "dt a word": (lambda: simulate(dt="small"), "dt", "small"),
    "dt an array": (lambda: simulate(dt=np.array([0.1, 0.2])), "dt", "0.2"),
    "dt missing": (lambda: ji.simulate(QUADRATIC, TS, 1.0), "dt", "None"),
    "dt and substeps": (lambda: simulate(dt=0.1, substeps=3), "substeps", "3"),
    "substeps zero": (lambda: simulate(dt=None, substeps=0), "substeps", "0"),
    "substeps a fraction": (lambda: simulate(dt=None, substeps=2.5), "substeps", "2.5"),
    "substeps True": (lambda: simulate(dt=None, substeps=True), "substeps", "True"),
    "substeps with a controller": (
        lambda: simulate(
            dt=None, substeps=3, solver=diffrax.Tsit5(), stepsize_controller=diffrax.PIDController(1e-6, 1e-6)
        ),
        "substeps",
        "3",
    ),
    "dt negative with a controller": (
        lambda: simulate(dt=-0.1, solver=diffrax.Tsit5(), stepsize_controller=diffrax.PIDController(1e-3, 1e-3)),
        "dt",
        "-0.1",
    ),
    # simulate: solvers and noise
    "solver no word": (lambda: simulate(solver="BAX"), "solver", "BAX.*'X'"),
    "solver a class": (lambda: simulate(solver=diffrax.Tsit5), "solver", "Tsit5"),
    "gamma dropped": (
        lambda: simulate(ji.System(P.Quadratic(), 0.25), solver=ji.solvers.Splitting("BAB")),
        "damping",
        "0.25",
    ),
    "sigma dropped": (
        lambda: simulate(ji.System(P.Quadratic(), noise=0.25), solver=ji.solvers.Splitting("BA"), key=KEY),
        "noise",
        "0.25",
    ),
    "noise backwards": (lambda: simulate(NOISY, solver=ji.solvers.kahan_li6(), key=KEY), "solver", "negative O"),
    "noise in flight": (lambda: simulate(NOISY, solver=ji.solvers.Splitting("BDB"), key=KEY), "solver", "letter D"),
    "another kinetic energy in flight": (
        lambda: simulate(HEAVY, solver=ji.solvers.blanes_moan4()),
        "solver",
        "letter D.*kinetic.Heavy",
    ),
    "controller with a splitting": (
        lambda: simulate(stepsize_controller=diffrax.PIDController(1e-3, 1e-3)),
        "stepsize_controller|solver",
        "BAOAB|Splitting",
    ),
    "key missing": (lambda: simulate(NOISY), "key", "None"),
    "key and path": (
        lambda: simulate(NOISY, key=KEY, path=diffrax.VirtualBrownianTree(0.0, 1.0, 0.1, (), KEY)),
        "path",
        "both",
    ),
    "key a number": (lambda: simulate(NOISY, key=0), "key", "0"),
    "key of another shape": (lambda: simulate(NOISY, key=jax.random.split(KEY, 3)), "key", r"\(3,\)"),
    "path not a path": (lambda: simulate(NOISY, path=1.5), "path", "1.5"),
    "max_steps negative": (lambda: simulate(max_steps=-1), "max_steps", "-1"),
    "controller not one": (
        lambda: simulate(solver=diffrax.Tsit5(), stepsize_controller=1e-3),
        "stepsize_controller",
        "0.001",
    ),
    "event not one": (lambda: simulate(event=1.5), "event", "1.5"),
    # splittings
    "word with C": (lambda: ji.solvers.Splitting("BAC"), "word", "C"),
    "word without A": (lambda: ji.solvers.Splitting("BOB"), "word", "A"),
    "word with D and O": (lambda: ji.solvers.Splitting("ODBO"), "word", "O and D sum to 2.0, not 1"),
    "word without B": (lambda: ji.solvers.Splitting("OA"), "word", "B"),
    "word empty": (lambda: ji.solvers.Splitting(""), "word", "''"),
    "word None": (lambda: ji.solvers.Splitting(None), "word", "None"),
    "word a number": (lambda: ji.solvers.Splitting(3), "word", "3"),
    "word of wrong weights": (lambda: ji.solvers.Splitting([("A", 1.0), ("B", 0.4)]), "word", "0.4"),
    "word of no pairs": (lambda: ji.solvers.Splitting([1.0, 2.0]), "word", "1.0"),
    "word of a NaN weight": (lambda: ji.solvers.Splitting([("A", NAN), ("B", 1.0)]), "word", "nan"),
    "word of a zero weight": (lambda: ji.solvers.Splitting([("A", 1.0), ("B", 1.0), ("B", 0.0)]), "word", "0.0"),
    "order zero": (lambda: ji.solvers.Splitting("BAB", order=0), "order", "0"),
    "order a fraction": (lambda: ji.solvers.Splitting("BAB", order=1.5), "order", "1.5"),
    "composed step not symmetric": (lambda: ji.solvers.yoshida4("BA"), "step", "BA"),
    "composed step unknown": (lambda: ji.solvers.kahan_li6("BAX"), "word|step", "X"),
    "terms without path": (lambda: ji.solvers.terms(NOISY), "path", "None"),
    "initial momentum": (lambda: ji.solvers.initial(QUADRATIC, 1.0, [1.0, 2.0]), "momentum", r"\(2,\)"),
    # modified inertia
    "order too high": (lambda: modified(order=5), "order", "5"),
    "order negative": (lambda: modified(order=-1), "order", "-1"),
    "order a word": (lambda: modified(order="two"), "order", "two"),
    "modified at dt zero": (lambda: modified(dt=0.0), "dt", "0.0"),
    "modified at dt NaN": (lambda: modified(dt=NAN), "dt", "nan"),
    "modified at dt inf": (lambda: modified(dt=INF), "dt", "inf"),
    "modified at a word dt": (lambda: modified(dt="small"), "dt", "small"),
    "modified of Tsit5": (lambda: modified(solver=diffrax.Tsit5()), "solver", "Tsit5"),
    "modified of another kinetic": (lambda: modified(HEAVY), "kinetic", "Heavy"),
    "modified of a wrong momentum": (lambda: modified(momentum=[1.0, 2.0]), "momentum", r"\(2,\)"),
    "modified of a potential": (lambda: modified(P.Quadratic()), "system", "Quadratic"),
    # found by others
    "center a matrix": (
        lambda: simulate(ji.System(P.Quadratic(1.0, np.eye(2))), position=np.ones(2)),
        "center",
        "matrix",
    ),
    "force complex": (lambda: simulate(ji.System(P.Quadratic(), force=lambda t: 1j)), "force", "complex"),
    "damping None": (lambda: ji.System(P.Quadratic(), damping=None), "gamma", "None"),
    "noise empty": (lambda: ji.System(P.Quadratic(), noise=[]), "sigma", r"\[\]"),
    "adjoint": (lambda: simulate(adjoint=3), "adjoint", "3"),
    "max_steps a truth value": (lambda: simulate(max_steps=True), "max_steps", "True"),
    "saved to nowhere": (lambda: simulate().save("/nowhere/run"), "path", "nowhere"),
    "plots of a number": (lambda: ji.plots.energy(3), "trajectory", "3"),
    # closed forms
    "quadratic: gamma negative": (lambda: quadratic(gamma=-0.25), "gamma", "-0.25"),
    "quadratic: t NaN": (lambda: quadratic(t=[0.0, NAN]), r"\bt\b", "nan"),
    "quadratic: t a word": (lambda: quadratic(t="late"), r"\bt\b", "late"),
    "quadratic: position inf": (lambda: quadratic(position=INF), "position", "inf"),
    "quadratic: position complex": (lambda: quadratic(position=1j), "position", "1j"),
    "quadratic: shapes": (
        lambda: quadratic(position=np.ones(2), stiffness=np.ones(3)),
        "position|stiffness",
        r"\(2,\)|\(3,\)",
    ),
    "damped_invariant: gamma": (lambda: ji.analytic.damped_invariant(1.0, 0.0, 1.0, -0.25), "gamma", "-0.25"),
    "damped_invariant: center": (lambda: ji.analytic.damped_invariant(1.0, 0.0, 1.0, 0.1, NAN), "center", "nan"),
    "mean_inertia: gamma": (lambda: mean_inertia(gamma=-0.25), "gamma", "-0.25"),
    "mean_inertia: before the start": (lambda: mean_inertia(t=-0.5), "t =", "-0.5"),
    "mean_inertia: tau a vector": (
        lambda: ji.analytic.mean_inertia(1.0, 1.0, 0.0, 1.0, 0.1, 0.3, [1.0, 2.0]),
        "tau",
        r"\(2,\)",
    ),
    "inertia_moments: stiffness": (
        lambda: ji.analytic.inertia_moments(ji.analytic.stationary(1.5, 0.4, 0.7), [1.0, 2.0]),
        "stiffness",
        r"\(2,\)",
    ),
    "mean_inertia: sigma": (lambda: mean_inertia(sigma=NAN), "sigma", "nan"),
    "decay_rate: gamma": (lambda: ji.analytic.decay_rate(1.0, -0.25), "gamma", "-0.25"),
    "decay_rate: stiffness negative": (lambda: ji.analytic.decay_rate(-1.5, 0.25), "stiffness", "-1.5"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_a_value_error_that_names_it(case):
    call, name, value = CASES[case]
    with pytest.raises(ValueError, match=name) as caught:
        call()
    caught.match(value)


def test_messages_do_not_show_tracers():
    """A message made while tracing cannot show a value, and must not show JAX's insides instead."""
    with pytest.raises(Exception, match="negative") as caught:
        jax.block_until_ready(jax.jit(lambda s: simulate(ji.System(P.Quadratic(), noise=s), key=KEY).inertia)(-0.5))
    assert "Tracer" not in str(caught.value)


def test_a_missing_word_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        ji.nothing  # noqa: B018
