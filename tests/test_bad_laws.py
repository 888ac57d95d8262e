"""Bad laws, kinetic energies, noises and potentials: a ValueError that names the argument and the value."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinertia as ji

pytestmark = pytest.mark.usefixtures("without_type_checks")

D, K = ji.damping, ji.kinetic
NAN, INF = float("nan"), float("inf")
ROTOR = [[0.0, 1.0], [-1.0, 0.0]]


def run(damping=0.0, kinetic=None, position=(1.0, 2.0), word="BAOAB", noise=None, **options):
    position = np.array(position) if isinstance(position, tuple) else position
    system = ji.System(ji.potentials.Quadratic(), damping, noise, kinetic)
    return ji.simulate(system, np.array([0.0, 1.0]), position, dt=0.1, solver=ji.solvers.Splitting(word), **options)


def network(inputs=2, outputs="scalar"):
    return eqx.nn.MLP(inputs, outputs, width_size=4, depth=1, key=jax.random.key(0))


class WrongShape(D.AbstractDamping):
    def force(self, velocity):
        return jnp.ones(3)


class Nothing(D.AbstractDamping):
    pass


class NoLaw:
    def force(self, velocity):
        return velocity


class NoLawInTime:
    def force_at(self, t, position, momentum, velocity):
        return velocity


class NoNoise:
    def push(self, increment):
        return increment


class Vector(K.AbstractKinetic):
    def energy(self, momentum):
        return momentum**2 / 2


class NoEnergy(K.AbstractKinetic):
    pass


class NoPush(ji.noise.AbstractNoise):
    pass


class Sines(eqx.Module):
    def __call__(self, position):
        return np.sin(position).sum()


def in_potential(potential):
    return ji.simulate(ji.System(potential), np.array([0.0, 1.0]), 1.0, dt=0.1)


KEY = jax.random.key(0)

# What is called, the name that the message must have, and what it must show of the value.
CASES = {
    "drag negative": (lambda: D.Drag(-0.5), "linear", "-0.5"),
    "drag quadratic negative": (lambda: D.Drag(0.1, [0.1, -0.5]), "quadratic", "-0.5"),
    "drag dry NaN": (lambda: D.Drag(dry=NAN), "dry", "nan"),
    "drag a word": (lambda: D.Drag("strong"), "linear", "strong"),
    "drag a matrix": (lambda: run(D.Drag(np.eye(2))), "drag", "matrix"),
    "drag of another length": (lambda: run(D.Drag([1.0, 2.0, 3.0])), "linear", r"\(3,\)"),
    "dry with a speed limit": (lambda: run(D.Drag(dry=0.1), K.Relativistic(1.0)), "dry", "Relativistic.*diffrax"),
    "dry in a sum": (lambda: run(D.Sum(D.Linear(0.1), D.Drag(dry=0.1)), K.PowerLaw(3.0)), "dry", "PowerLaw"),
    "coefficient negative": (lambda: D.PowerLaw(-0.5, 1.0), "coefficient", "-0.5"),
    "exponent negative": (lambda: D.PowerLaw(0.5, -1.0), "exponent", "-1.0"),
    "exponent NaN": (lambda: D.PowerLaw(0.5, NAN), "exponent", "nan"),
    "coefficient a vector": (lambda: D.PowerLaw([0.5, 0.1], 1.0), "coefficient", r"\(2,\)"),
    "exponent below 1, pushed": (lambda: run(D.PowerLaw(0.5, 0.25), word="AFA"), "exponent", "0.25.*Drag"),
    "exponent below 1, limited": (lambda: run(D.PowerLaw(0.5, 0.25), K.Relativistic(1.0)), "exponent", "0.25"),
    "gamma(t) a number": (lambda: D.TimeVarying(0.25), "gamma", "0.25"),
    "gamma(t) a vector": (lambda: run(D.TimeVarying(lambda t: jnp.ones(2))), r"gamma\(t\)", r"\(2,\)"),
    "gamma(t) nothing": (lambda: run(D.TimeVarying(lambda t: None)), r"gamma\(t\)", "None"),
    "r zero": (lambda: D.nesterov(0.0), r"\br\b", "0.0"),
    "r negative": (lambda: D.Nesterov(-3.0), r"\br\b", "-3.0"),
    "r a vector": (lambda: D.nesterov([3.0, 1.0]), r"\br\b", "3"),
    "gamma(q) a number": (lambda: D.PositionDependent(0.25), "gamma", "0.25"),
    "gamma(q) too long": (lambda: run(D.PositionDependent(lambda q: jnp.ones(3))), r"gamma\(q\)", r"\(3,\)"),
    "gamma(q) a matrix": (lambda: run(D.PositionDependent(lambda q: jnp.eye(2))), r"gamma\(q\)", "matrix"),
    "gamma(q) a word": (lambda: run(D.PositionDependent(lambda q: "rough")), r"gamma\(q\)", "rough"),
    "gamma(q) negative": (lambda: run(D.PositionDependent(lambda q: -q)), r"gamma\(q\)", "negative.*start"),
    "ratio negative": (lambda: D.CurvatureAware(-0.5), "ratio", "-0.5"),
    "ratio NaN": (lambda: D.CurvatureAware(NAN), "ratio", "nan"),
    "ratio a vector": (lambda: D.CurvatureAware([0.5, 0.1]), "ratio", "0.5"),
    "momentum's gamma negative": (lambda: D.Momentum(-0.5), "gamma", "-0.5"),
    "momentum's gamma a matrix": (lambda: run(D.Momentum(np.eye(2))), "gamma", "matrix"),
    "sum of one": (lambda: D.Sum(D.Linear(0.5)), "laws", "Linear"),
    "sum with a number": (lambda: D.Sum(D.Linear(0.5), 0.25), "laws", "0.25"),
    "not skew": (lambda: D.Linear(0.1, [[0.0, 1.0], [1.0, 0.0]]), "gyroscopic", r"\[1.0, 0.0\]"),
    "gyroscopic a vector": (lambda: D.Linear(0.1, [1.0, 2.0]), "gyroscopic", r"\(2,\)"),
    "gyroscopic NaN": (lambda: D.Linear(0.1, [[0.0, NAN], [NAN, 0.0]]), "gyroscopic", "nan"),
    "gyroscopic in 3-D": (lambda: run(D.Linear(0.1, ROTOR), position=(1.0, 2.0, 3.0)), "gyroscopic", r"\(3,\)"),
    "gyroscopic without O": (lambda: run(D.Linear(0.0, ROTOR), word="BAB"), "damping", "BAB"),
    "force of another shape": (lambda: run(WrongShape()), "damping", r"WrongShape.*\(3,\)"),
    "a law without a force": (lambda: run(Nothing()), "damping", "Nothing.*force"),
    "no law": (lambda: ji.System(jnp.sum, NoLaw()), "damping", "NoLaw.*AbstractDamping"),
    "no law in time": (lambda: ji.System(jnp.sum, NoLawInTime()), "damping", "NoLawInTime.*AbstractDamping"),
    "a law's class": (lambda: ji.System(jnp.sum, D.Drag), "damping", "Drag is a class"),
    "a noise's class": (lambda: ji.System(jnp.sum, 0.1, ji.noise.White), "noise", "White is a class"),
    "a mass for a damping": (lambda: ji.System(jnp.sum, K.Mass(2.0)), "damping", "Mass"),
    "a damping for a noise": (lambda: ji.System(jnp.sum, 0.1, D.Linear(2.0)), "noise", "Linear"),
    "no noise": (lambda: ji.System(jnp.sum, 0.1, NoNoise()), "noise", "NoNoise.*AbstractNoise"),
    "a noise without a push": (lambda: run(0.1, noise=NoPush(), key=KEY), "noise", "NoPush.*push"),
    "noise in F": (lambda: run(0.1, noise=0.2, word="AFA", key=KEY), "solver", "letter F"),
    "mass zero": (lambda: K.Mass(0.0), "mass", "0.0"),
    "mass negative": (lambda: K.Mass([1.0, -2.0]), "mass", "-2"),
    "mass NaN": (lambda: K.Mass(NAN), "mass", "nan"),
    "mass indefinite": (lambda: K.Mass([[1.0, 2.0], [2.0, 1.0]]), "mass", "-1"),
    "mass not symmetric": (lambda: run(0.1, K.Mass([[1.0, 0.5], [0.0, 1.0]])), "mass", "symmetric"),
    "mass of another length": (lambda: run(0.1, K.Mass([1.0, 2.0, 3.0])), "mass", r"\(3,\)"),
    "mass a word": (lambda: K.Mass("heavy"), "mass", "heavy"),
    "speed limit zero": (lambda: K.Relativistic(0.0), "speed_limit", "0.0"),
    "speed limit infinite": (lambda: K.Relativistic(INF), "speed_limit", "inf"),
    "relativistic mass negative": (lambda: K.Relativistic(1.0, -2.0), "mass", "-2.0"),
    "speed limit a vector": (lambda: K.Relativistic([1.0, 2.0]), "speed_limit", r"\(2,\)"),
    "power of 1": (lambda: K.PowerLaw(1.0), "exponent", "1.0"),
    "power NaN": (lambda: K.PowerLaw(NAN), "exponent", "nan"),
    "power a word": (lambda: K.PowerLaw("two"), "exponent", "two"),
    "metric a number": (lambda: K.Riemannian(2.0), "metric", "2.0"),
    "metric negative": (lambda: run(0.1, K.Riemannian(lambda q: -1.0)), "metric", "positive definite"),
    "metric indefinite": (
        lambda: run(0.1, K.Riemannian(lambda q: jnp.array([[1.0, 2.0], [2.0, 1.0]]))),
        "metric",
        "positive definite",
    ),
    "metric not symmetric": (
        lambda: run(0.1, K.Riemannian(lambda q: jnp.array([[2.0, 1.0], [0.0, 1.0]]))),
        "metric",
        "symmetric",
    ),
    "metric of another length": (lambda: run(0.1, K.Riemannian(lambda q: jnp.ones(3))), "metric", r"\(3,\)"),
    "network a number": (lambda: K.Learned(3), "network", "int"),
    "network of two outputs": (lambda: K.Learned(network(2, 2)), "network", "scalar"),
    "network of three inputs": (lambda: run(0.1, K.Learned(network(3))), "network", "3 inputs"),
    "K a vector": (lambda: run(0.1, Vector()), "kinetic", r"Vector.*\(2,\)"),
    "K without an energy": (lambda: run(0.1, NoEnergy()), "kinetic", "NoEnergy"),
    "fn without a time": (lambda: ji.potentials.TimeDependent(lambda q: q**2), "fn", r"\(position, t\).*\(q\)"),
    "fn without its data": (lambda: ji.potentials.Loss(lambda q: q**2, 1.0), "fn", r"data\[0\]"),
    "a potential of two": (lambda: ji.System(lambda q, t: q**2), "potential", r"\(position\).*\(q, t\)"),
    "a force of two": (lambda: ji.System(jnp.sum, force=lambda q, t: q), "force", r"\(t\).*\(q, t\)"),
    "gamma(t) of none": (lambda: D.TimeVarying(lambda: 1.0), "gamma", r"\(t\)"),
    "gamma(q) of two": (lambda: D.PositionDependent(lambda q, t: q), "gamma", r"\(position\)"),
    "metric of none": (lambda: K.Riemannian(lambda: 1.0), "metric", r"\(position\)"),
    "NumPy in a potential": (lambda: in_potential(lambda q: np.sin(q).sum()), "potential", "jax.numpy"),
    "NumPy in a module": (lambda: in_potential(Sines()), "potential", "jax.numpy"),
    "if in a potential": (lambda: in_potential(lambda q: q if q > 0 else -q), "potential", "jnp.where"),
    "NumPy in a gamma(t)": (lambda: run(D.TimeVarying(lambda t: np.exp(float(t)))), "gamma", "jax.numpy"),
    "fn a number": (lambda: ji.potentials.TimeDependent(3.0), "fn", "3.0"),
    "no time given": (
        lambda: ji.inertia(ji.System(ji.potentials.TimeDependent(lambda q, t: q**2)), 1.0),
        r"\bt\b",
        "None",
    ),
    "thermal momentum drag": (lambda: ji.noise.thermal(0.3, D.Momentum(0.1)), "damping", "Momentum"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_a_value_error_that_names_it(case):
    call, name, value = CASES[case]
    with pytest.raises(ValueError, match=name) as caught:
        call()
    caught.match(value)


@pytest.mark.parametrize(
    "damping",
    [
        D.nesterov(),  # r / t before t = 0 would give energy
        D.TimeVarying(lambda t: t),
        D.PositionDependent(lambda q: q - 0.5),
    ],
)
def test_what_goes_bad_on_the_way_is_nan(damping):
    system = ji.System(ji.potentials.Quadratic(), damping)
    traj = ji.simulate(system, np.array([-2.0, -0.1]), np.array([1.0, 2.0]), dt=0.1, warn=False)
    assert np.all(np.isnan(traj.balance.friction[-1]))
