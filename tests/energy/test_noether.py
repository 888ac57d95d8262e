"""Noether's charges: conserved, worn away by friction along p, or broken by what is measured; never silently."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

import jaxinertia as ji

from ..oracles import EPS

G, D, KINETIC = ji.generators, ji.damping, ji.kinetic
Q, P = np.array([1.0, 0.5]), np.array([0.2, -0.7])
X = np.random.default_rng(0).normal(size=(5, 3))


def central(q):
    r2 = jnp.sum(q * q)
    return r2 / 2 + r2**2 / 4


def linear_layers(net):
    return jnp.mean(jnp.sin((X @ net["inner"].T + net["bias"]) @ net["outer"].T))


def relu_layers(net):
    return jnp.mean(jnp.sin(jax.nn.relu(X @ net["inner"].T + net["bias"]) @ net["outer"].T))


def tanh_layers(net):
    return jnp.mean(jnp.sin(jnp.tanh(X @ net["inner"].T + net["bias"]) @ net["outer"].T))


def random_net(seed):
    rng = np.random.default_rng(seed)
    return {"inner": rng.normal(size=(4, 3)), "outer": rng.normal(size=(2, 4)), "bias": rng.normal(size=4)}


PARTS = dict(inner=lambda net: net["inner"], outer=lambda net: net["outer"], bias=lambda net: net["bias"])
TURN = G.rotation(units=(0, 2), **PARTS)
SCALE = G.rescaling(unit=1, **PARTS)


FRICTIONS = {  # all act along p, with |p| over the whole position
    "none": (0.0, None),
    "linear": (0.4, None),
    "power law": (D.PowerLaw(0.3, 2.0, linear=0.1), None),
    "nesterov": (D.nesterov(), None),
    "linear, relativistic": (0.4, KINETIC.Relativistic(0.8)),
    "momentum, riemannian": (D.Momentum(0.4), KINETIC.Riemannian(lambda q: 1 + q @ q)),
}
FAST = ("linear", "power law")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in FRICTIONS]
)
def test_every_relaxation_changes_angular_momentum_by_the_ratio_of_the_momenta(name):
    """O-B-A: Q+ = Q |p'| / |p|, p' after O; kicks and drifts keep Q. With linear friction that is e^{-gamma h}."""
    damping, kinetic = FRICTIONS[name]
    system, h, start = ji.System(central, damping, kinetic=kinetic), 0.3, 1.0
    ts = start + np.arange(31) * h
    traj = ji.simulate(system, ts, Q, P, substeps=1, solver=ji.solvers.Splitting("OBA"))
    law = ji.noether(system, G.angular_momentum(), Q, t=start if system.asks_for_time else None)
    charges = np.asarray(jax.jit(jax.vmap(law.charge))(traj.position, traj.momentum))
    q, p = (np.asarray(x) for x in (traj.position, traj.momentum))
    assert charges == pytest.approx(q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0], abs=4 * EPS)
    relax = functools.partial(law.system.damping.relaxation, law.system.kinetic, h)
    after = np.asarray(jax.jit(jax.vmap(relax))(jnp.asarray(ts[:-1]), traj.position[:-1], traj.momentum[:-1]))
    ratios = np.linalg.norm(after, axis=1) / np.linalg.norm(p[:-1], axis=1)
    size = np.linalg.norm(q[:-1], axis=1) * np.linalg.norm(p[:-1], axis=1) + h
    # The midpoint rule of a Riemannian drift is solved to a few roundings.
    assert np.all(np.abs(charges[1:] - charges[:-1] * ratios) <= 1e-14 * (10 if "riem" in name else 1) * size)
    if name == "linear":
        assert ratios == pytest.approx(np.exp(-0.4 * h), rel=4 * EPS)


@pytest.mark.slow
def test_hidden_units_that_turn_have_a_charge_that_falls_by_beta():
    """In two linear layers, with a bias: the same as the plane's entry of `training.rotation_charges`."""
    net, velocity, h, gamma = random_net(1), random_net(2), 0.1, 0.5
    system = ji.System(linear_layers, gamma)
    law = ji.noether(system, TURN, net)
    assert law.law == "Q = p.xi(q) falls as e^{-0.5 t}."
    traj = ji.simulate(system, np.arange(41) * h, net, velocity, substeps=1, solver=ji.solvers.Splitting("OBA"))
    charges = np.asarray(jax.jit(jax.vmap(law.charge))(traj.position, traj.momentum))
    assert charges == pytest.approx(charges[0] * np.exp(-gamma * h * np.arange(41)), abs=1e-14 * 100)
    v = velocity
    named = ji.training.rotation_charges(*(x[k] for x in (net, v) for k in ("inner", "outer")), net["bias"], v["bias"])
    assert float(law.charge(net, velocity)) == pytest.approx(float(named[2, 0]), rel=32 * EPS)


def test_rescaling_is_broken_by_the_kinetic_energy_as_predicted():
    """d/dt (Q e^{gamma t}) = e^{gamma t} (|v_1|^2 - |v_2|^2), Q = v_1.w_1 - v_2.w_2: here of a diagonal network."""
    gamma, h = 0.3, 0.01
    start, velocity = (
        {"u": np.array(x[:2]), "v": np.array(x[2:])} for x in ((0.9, -0.4, 0.3, 0.7), (1.2, 0.5, -0.8, 0.1))
    )
    system = ji.System(lambda w: jnp.sum((w["u"] * w["v"] - 1) ** 2) / 2, gamma)
    law = ji.noether(system, G.rescaling(lambda w: w["u"], lambda w: w["v"]), start)
    assert "not conserved: the kinetic energy has not the symmetry" in law.law
    assert law.law.endswith("Friction adds -0.3 Q.")
    ts = np.arange(201) * h
    traj = ji.simulate(system, ts, start, velocity, substeps=1, solver=ji.solvers.blanes_moan6())
    kinetic = (np.asarray(traj.momentum["u"]) ** 2 - np.asarray(traj.momentum["v"]) ** 2).sum(1)
    charges = np.asarray(jax.jit(jax.vmap(law.charge))(traj.position, traj.momentum))
    growth = make_interp_spline(ts, np.exp(gamma * ts) * kinetic, k=7).antiderivative()(ts)
    scale = np.abs(growth).max()
    assert scale > 1
    assert np.exp(gamma * ts) * charges - charges[0] == pytest.approx(growth, abs=1e-12 * scale)
    rates = np.asarray(jax.jit(jax.vmap(law.rate))(traj.position, traj.momentum))
    assert rates == pytest.approx(kinetic - gamma * charges, abs=1e-14 * np.abs(kinetic).max() * 10)


TURNED = D.Linear(0.1, [[0.0, 0.5], [-0.5, 0.0]])
SYSTEMS = {
    "conserved": (ji.System(central), None, "Q = p.xi(q) is conserved."),
    "falls": (ji.System(central, 0.4), None, "Q = p.xi(q) falls as e^{-0.4 t}."),
    "noise": (ji.System(central, 0.4, 0.1), None, "Q = p.xi(q) falls as e^{-0.4 t}. Noise adds xi.sigma dW."),
    "drag": (ji.System(central, D.Drag(0.1, 0.2)), None, "Friction is not along p: it adds -friction.xi to dQ/dt"),
    "components": (ji.System(central, [0.1, 0.5]), None, "Friction is not along p"),
    "gyroscope": (ji.System(central, TURNED), None, "Friction is not along p"),
    "power law": (
        ji.System(central, D.PowerLaw(0.3, 2.0)),
        None,
        "every relaxation changes Q = p.xi(q) by |p+|/|p|, and",
    ),
    "nesterov": (ji.System(central, D.nesterov()), 2.0, "every relaxation changes Q = p.xi(q) by |p+|/|p|, and"),
    "masses": (ji.System(central, kinetic=KINETIC.Mass([1.0, 2.0])), None, "the kinetic energy has not the symmetry"),
    "metric": (ji.System(central, kinetic=KINETIC.Riemannian(lambda q: 1 + q @ q)), None, "Q = p.xi(q) is conserved."),
    "driven": (
        ji.System(central, force=lambda t: jnp.stack([t, t])),
        2.0,
        "is conserved. The external force adds F.xi.",
    ),
}


LAWS = [pytest.param(name, marks=() if name in ("falls", "drag") else pytest.mark.slow) for name in SYSTEMS]


@pytest.mark.parametrize("name", LAWS)
def test_the_law_says_what_it_is_and_the_rate_is_that_of_the_motion(name):
    """dQ/dt by differentiating Q along the vector field of the system."""
    system, t, words = SYSTEMS[name]
    law = ji.noether(system, G.angular_momentum(), Q, t=t)
    assert words in law.law

    def along(q, p):
        at, v = jnp.asarray(0.0 if t is None else t), law.system.kinetic.velocity_at(q, p)
        force = law.system.gradient(q) + jax.grad(law.system.kinetic.energy_at)(q, p)
        force = force + law.system.damping.force_at(at, q, p, v)
        force = force if system.force is None else force - law.system.drive(at, q)
        return jax.jvp(law.charge, (q, p), (v, -force))[1]

    q, p = jnp.asarray(Q), jnp.asarray(P)
    rate, other = jax.jit(lambda q, p: (law.rate(q, p, t), along(q, p)))(q, p)
    assert float(rate) == pytest.approx(float(other), abs=16 * EPS)


@pytest.mark.slow
def test_a_generator_that_is_not_affine_is_kept_to_the_order_only():
    """A shear x -> x + s y^2 of L = (y - 1)^2 / 2 (independent of x)."""
    system = ji.System(lambda q: (q[1] - 1) ** 2 / 2)
    law = ji.noether(system, lambda q: jnp.stack([q[1] ** 2, 0 * q[1]]), Q)
    assert "the kinetic energy has not the symmetry" in law.law


@pytest.mark.slow
def test_total_momentum_of_particles_that_attract_each_other():
    def springs(q):
        return jnp.sum(jnp.sum((q[:, None] - q[None]) ** 2, axis=-1) ** 2) / 8

    q, p = np.random.default_rng(1).normal(size=(2, 4, 3))
    system = ji.System(springs, 0.2)
    across, around = (
        ji.noether(system, G.momentum([1.0, 0.0, -2.0]), q),
        ji.noether(system, G.angular_momentum((2, 0)), q),
    )
    assert across.law == around.law == "Q = p.xi(q) falls as e^{-0.2 t}."
    assert float(across.charge(q, p)) == pytest.approx(float((p @ [1.0, 0.0, -2.0]).sum()), rel=16 * EPS)
    assert float(around.charge(q, p)) == pytest.approx(
        float((q[:, 2] * p[:, 0] - q[:, 0] * p[:, 2]).sum()), rel=32 * EPS
    )


def test_what_is_no_symmetry_is_refused_with_the_size_of_the_violation():
    spring = ji.System(ji.potentials.Quadratic([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"generator is no symmetry of the potential: grad L.xi is \d"):
        ji.noether(spring, G.angular_momentum(), Q)


@pytest.mark.slow
def test_activations_decide_what_is_a_symmetry():
    net = random_net(5)
    assert "not conserved: the kinetic" in ji.noether(ji.System(relu_layers), SCALE, net).law
    for potential, generator in ((relu_layers, TURN), (tanh_layers, TURN), (tanh_layers, SCALE)):
        with pytest.raises(ValueError, match="no symmetry of the potential"):
            ji.noether(ji.System(potential), generator, net)


@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_is_refused_by_name():
    system = ji.System(central)
    for call, message in (
        (lambda: ji.noether(system, 3.0, Q), "generator = 3.0"),
        (lambda: ji.noether(system, lambda q: q[:1], Q), "generator gives the shapes"),
        (lambda: ji.noether(ji.System(central, D.nesterov()), G.angular_momentum(), Q), "t is None, but the damping"),
        (lambda: ji.noether(system, G.angular_momentum((0, 2)), Q), "plane = \\(0, 2\\)"),
        (lambda: ji.noether(system, G.momentum(np.ones(3)), Q), "direction has shape \\(3,\\)"),
        (
            lambda: ji.noether(
                ji.System(relu_layers), G.rescaling(**(PARTS | {"outer": PARTS["inner"]})), random_net(0)
            ),
            "inner, outer, bias",
        ),
        (lambda: jax.jit(lambda q: ji.noether(system, G.angular_momentum(), q).charge(q, q))(Q), "traced"),
        (lambda: ji.noether(ji.System(lambda q: jnp.sqrt(q[0] - 2)), G.momentum(), Q), "is not finite around"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("plane", [(0, 0), (0,), (0, -1), (0, 1.0), 3])
def test_planes_are_two_different_whole_numbers(plane):
    with pytest.raises(ValueError, match="plane"):
        G.angular_momentum(plane)
    with pytest.raises(ValueError, match="unit"):
        G.rescaling(**PARTS, unit=1.5)


@pytest.mark.slow
def test_models_are_positions_too():
    model = eqx.nn.MLP(3, 2, 4, 1, activation=jax.nn.relu, key=jax.random.key(0), dtype=float)
    loss = ji.potentials.Loss(lambda net: jnp.mean(jnp.sin(jax.vmap(net)(X))))
    scale = G.rescaling(lambda m: m.layers[0].weight, lambda m: m.layers[1].weight, 2, lambda m: m.layers[0].bias)
    law = ji.noether(ji.System(loss, 0.2), scale, model)
    still = jax.tree.map(jnp.ones_like, eqx.filter(model, eqx.is_inexact_array))
    inner, outer = model.layers[0], model.layers[1].weight
    expected = inner.weight[2].sum() + inner.bias[2] - outer[:, 2].sum()
    assert float(law.charge(model, still)) == pytest.approx(float(expected), rel=16 * EPS)
    assert float(law.rate(model, still)) == pytest.approx(3 + 1 - 2 - 0.2 * float(expected), rel=1e-12)
