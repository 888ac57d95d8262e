"""Beyond the paper: what discrete steps, symmetries and momentum keep, each by its law (figure 8)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import make_interp_spline

from ...dynamics.shadow import shadow_inertia
from ...dynamics.simulate import simulate
from ...dynamics.solvers import Splitting, blanes_moan6
from ...energy import analytic
from ...energy.generators import angular_momentum, rescaling
from ...energy.modified import modified_inertia
from ...energy.symmetry import noether
from ...physics import damping, potentials
from ...physics.system import System
from .. import style
from .claims import Check, Claim, Verdict
from .findings import Findings, largest, slope

START, STOP, GAMMA = (1.0, 0.3), 20.0, 0.4
STEPS = np.array([0.05, 0.025, 0.0125])
ROUNDING = np.finfo(float).eps
HEAVY_BALL = {"stiffness": 1.0, "learning_rate": 0.5, "momentum": 0.5, "noise": 0.04}
CAPTION = (
    "Beyond the paper: (a) the inertia, modified inertias and the shadow energy from the steps; (b) "
    "angular momentum, which falls by e^{-gamma h} a step where the loss is round; (c) the balancedness "
    "of a diagonal network beside its law."
)


def measure(quick: bool) -> Findings:
    """Shadow energies, Noether's charges, and what momentum leaves behind."""
    wobbles = {word: _wobbles(word) for word in ("BA", "BAB")}
    turning, balance = _turning(), _balance()
    claims = [
        _to_fourth_order(wobbles),
        _from_the_steps(wobbles),
        _with_friction(),
        *_symmetries(turning, balance),
        _balanced(balance),
        _stationary(200_000 if quick else 1_000_000),
        _preserved(10_000 if quick else 100_000),
        _backwards(),
    ]
    return Findings(claims, "fig8_beyond", _draw(wobbles, turning, balance), CAPTION)


def _claim(where, statement, *checks):
    return Claim(f"beyond the paper: {where}", statement, checks)


def _path(system, word, h, steps, *start):
    return simulate(system, np.arange(steps + 1) * h, *start, substeps=1, solver=Splitting(word))


class _Wobbles(NamedTuple):
    """Peak to peak over the run: of the modified inertia to h^0 ... h^4, and of the shadow energy from the steps."""

    forms: np.ndarray
    shadow: float


def _wobbles(word):
    """For every step size, with one compilation for all: as many steps, of which those up to STOP count."""
    system, steps = System(potentials.Duffing()), round(STOP / STEPS.min())

    @jax.jit
    def forms(h, q, p):
        one = [modified_inertia(system, q, p, h, solver=word, order=order) for order in range(5)]
        return jnp.stack(one)

    found = []
    for h in STEPS:
        traj = _path(system, word, h, steps, *START)
        values = np.asarray(jax.vmap(forms, (None, 0, 0))(h, traj.position, traj.momentum))
        ts, shadow = shadow_inertia(system, *START, h, solver=word, steps=steps)
        ends = STOP + h / 2
        found.append(_Wobbles(np.ptp(values[traj.ts <= ends], axis=0), float(np.ptp(shadow[ts <= ends]))))
    return found


def _to_fourth_order(wobbles):
    orders = [slope(STEPS, [row.forms[4] for row in wobbles[word]]) for word in ("BA", "BAB")]
    return _claim(
        "modified inertia",
        "the step conserves an energy known to h^4: its wobble is of order 5, and 6 for a symmetric step (Duffing)",
        Check("order in h of the wobble, BA to h^4", 5.0, orders[0], 0.05),
        Check("order in h of the wobble, BAB to h^4", 6.0, orders[1], 0.05),
    )


def _from_the_steps(wobbles):
    raw, shadow = wobbles["BAB"][1].forms[0], wobbles["BAB"][1].shadow
    return _claim(
        "shadow energy",
        "the same energy from the steps alone, without a Hessian, stands still (Verlet on Duffing, h = 0.025)",
        Check("its wobble, where that of I is 2e-4", 0.0, shadow, 1e-12, "rounding over h"),
        Check("wobble of I", 2.2e-4, float(raw), 3e-5, "h^2"),
    )


def _with_friction():
    """H~ of OBABO to h^4 against -int gamma p.dH~/dp, and against the tempting e^{-gamma t}."""
    system, gaps, grown = System(potentials.Duffing(), damping=GAMMA), [], 0.0

    @jax.jit
    def both(h, q, p):
        form = partial(modified_inertia, system, q, dt=h, solver="OBABO", order=4)
        return jnp.stack(jax.jvp(form, (p,), (-GAMMA * p,)))

    for h in STEPS[:2] * 2:
        traj = _path(system, "OBABO", h, 200, *START)
        energy, power = np.asarray(jax.vmap(both, (None, 0, 0))(h, traj.position, traj.momentum)).T
        change = energy - energy[0]
        law = make_interp_spline(traj.ts, power, k=7).antiderivative()(traj.ts)
        gaps.append(largest((change - law)[traj.ts <= STOP / 2 + h / 2]))
        grown = largest(energy * np.exp(GAMMA * np.asarray(traj.ts)) / energy[0] - 1)
    return Claim(
        "beyond the paper: friction",
        "with friction the modified inertia H~ falls as e^{-gamma t}",
        (Check("max |H~ e^{gamma t} / H~(0) - 1|, OBABO on Duffing", 0.0, grown, 1e-2, "1 %"),),
        "It falls by dH~/dt = -gamma p.dH~/dp; to h^4 what is left is of order 6.",
        (Check("order in h of what the law leaves, OBABO to h^4", 6.0, float(np.log2(gaps[0] / gaps[1])), 0.2),),
        Verdict.NEEDS_CORRECTION,
    )


class _Turning(NamedTuple):
    """Angular momentum in a round bowl under O-B-A: linear friction, and drag that grows with the speed."""

    ts: np.ndarray
    charges: dict[str, np.ndarray]
    errors: dict[str, float]  # the largest of one relaxation, against |p+| / |p|
    against_exponential: float


def _turning():
    h, q, p = 0.3, np.array([1.0, 0.5]), np.array([0.2, -0.7])
    ts = np.arange(61) * h
    charges, errors = {}, {}
    for name, law in (("linear friction", damping.Linear(0.2)), ("drag along p", damping.PowerLaw(0.6, 2.0))):
        system = System(_round, law)
        charge = noether(system, angular_momentum(), q)
        traj = _path(system, "OBA", h, 60, q, p)
        charges[name] = np.asarray(jax.vmap(charge.charge)(traj.position, traj.momentum))
        relaxed = jax.vmap(lambda p, s=system, law=law: law.relaxation(s.kinetic, h, jnp.zeros(()), p, p))(
            traj.momentum
        )
        ratio = np.linalg.norm(relaxed, axis=1) / np.linalg.norm(traj.momentum, axis=1)
        errors[name] = largest(charges[name][1:] - (charges[name] * ratio)[:-1])
    linear = charges["linear friction"]
    return _Turning(ts, charges, errors, largest(linear / (linear[0] * np.exp(-0.2 * ts)) - 1))


def _round(q):
    r2 = jnp.sum(q * q)
    return r2 / 2 + r2**2 / 4


class _Balance(NamedTuple):
    """A diagonal network u v from rest: its laws, and the charge of rescaling its layers."""

    ts: np.ndarray
    laws: Any
    left: np.ndarray  # of the balance, after its rate's integral
    outside: float  # the largest part of the tilt, after its rate's integral, outside of the data's row span
    rescaling: tuple[np.ndarray, np.ndarray]  # (Q e^{gamma t}, its law's integral)


def _balance(gamma=3.0, stop=40.0, rows=3201):
    random = np.random.default_rng(3)
    data = random.normal(size=(5, 8)) / np.sqrt(8)
    target = data @ np.array([1.0, -0.5, 0, 0, 0, 0, 0, 0.3])
    start = {"u": 0.6 + 0.2 * random.random(8), "v": 0.3 * random.random(8)}
    loss = potentials.Loss(lambda w, x, y: jnp.sum((x @ (w["u"] * w["v"]) - y) ** 2) / 2, data, target)
    ts = np.linspace(0, stop, rows)
    system = System(loss, gamma)
    traj = simulate(system, ts, start, dt=float(ts[1]), solver=blanes_moan6())
    q, p = traj.position, traj.momentum
    laws = analytic.diagonal_laws(q["u"], q["v"], p["u"], p["v"], gamma)
    left, tilt = (
        np.asarray(values - values[0]) - _integral(ts, rate)
        for values, rate in ((laws.balance, laws.balance_rate), (laws.tilt, laws.tilt_rate))
    )
    null = np.linalg.svd(data)[2][5:]
    charge = noether(system, rescaling(lambda w: w["u"], lambda w: w["v"]), start)
    grown = np.exp(gamma * ts) * np.asarray(jax.vmap(charge.charge)(q, p))
    kinetic = np.sum(np.asarray(p["u"]) ** 2 - np.asarray(p["v"]) ** 2, axis=1)
    law = _integral(ts, np.exp(gamma * ts) * kinetic)
    return _Balance(ts, laws, left, largest(tilt @ null.T), (grown, law))


def _integral(ts, values):
    return make_interp_spline(ts, np.asarray(values), k=7).antiderivative()(ts)


def _symmetries(turning, balance):
    early = balance.ts <= 2.0
    grown, law = (x[early] for x in balance.rescaling)
    yield _claim(
        "rotations",
        "each relaxation changes angular momentum by |p+|/|p|, kicks and drifts do not, at any step (O-B-A, h = 0.3)",
        *(Check(f"largest error of a step, {name}", 0.0, e, 1e-14, "rounding") for name, e in turning.errors.items()),
        Check(
            "max |Q / (Q(0) e^{-gamma t}) - 1|, linear friction", 0.0, turning.against_exponential, 1e-13, "60 steps"
        ),
    )
    yield _claim(
        "rescaling",
        "the charge of rescaling two layers is broken: d/dt (Q e^{gamma t}) = e^{gamma t} (|v_1|^2 - |v_2|^2)",
        Check("max error of that / its largest value, t <= 2", 0.0, largest(grown - law) / largest(law), 1e-12, "h^6"),
    )


def _balanced(balance):
    delta = np.asarray(balance.laws.balancedness)
    moved = np.exp(_integral(balance.ts, balance.laws.balance_rate)[-1] / 3.0)
    return _claim(
        "diagonal network",
        "momentum balances its layers: |u^2 - v^2| falls by exp(-int (a^2 + b^2) / gamma), and what its limit learnt "
        "lies in the span of the data",
        Check("max |balance - its law|", 0.0, largest(balance.left), 1e-11, "sixth order"),
        Check("max |part of the tilt outside of the data's span|", 0.0, balance.outside, 1e-11, "sixth order"),
        Check(
            "max |Delta_end / Delta_0 / law - 1|",
            0.0,
            largest(delta[-1] / delta[0] / moved - 1),
            1e-6,
            "rest of motion",
        ),
    )


def _stationary(steps):
    """Heavy ball at a large step, under gradient noise: means over a long run, from its stationary law."""
    eta, beta, noise = (HEAVY_BALL[name] for name in ("learning_rate", "momentum", "noise"))
    variances = analytic.heavy_ball_variance(**HEAVY_BALL)

    def step(state, xi):
        theta, m = state
        m = theta + jnp.sqrt(noise) * xi + beta * m
        theta = theta - eta * m
        return (theta, m), (theta**2, eta * m**2)

    draws = jax.random.normal(jax.random.key(0), (steps,))
    _, squares = jax.lax.scan(step, (jnp.zeros(()), jnp.zeros(())), draws)
    # The squares are correlated over less than ten steps: a standard error of sqrt(2 * 10 / steps) at most.
    bound = 4 * np.sqrt(20 / steps)
    theta, velocity = (float(jnp.mean(x) / v) for x, v in zip(squares, variances, strict=True))
    return _claim(
        "stationary state",
        "heavy ball at a finite step has its own stationary variances: lambda Var theta / Var v = (1 + beta) / 2",
        Check("Var theta / predicted, beta = 0.5, eta lambda = 0.5", 1.0, theta, bound, "4 standard errors"),
        Check("Var v / predicted", 1.0, velocity, bound, "4 standard errors"),
    )


def _preserved(steps):
    """The letter E on Duffing at h = 0.05: without friction, and with it."""
    rows = np.arange(101) * steps * 0.05 / 100

    def left(gamma, ts):
        traj = simulate(System(potentials.Duffing(), damping=gamma), ts, *START, dt=0.05, solver=Splitting("OEO"))
        return largest(traj.balance.discretization) / float(traj.inertia[0])

    return _claim(
        "energy-preserving step",
        "the step E keeps the inertia itself; with friction (O-E-O) what is not booked is rounding",
        Check(f"max |I - I(0)| / I(0) over {steps} steps", 0.0, left(0.0, rows), 1e-14, "rounding, taken back"),
        Check("max |discretization| / I(0), gamma = 0.4", 0.0, left(GAMMA, rows[:11]), 1e-12, "rounding"),
    )


def _backwards(friction=64.0):
    """The gradient of a run that friction has long stopped, by running it backwards between sparse states."""

    def end(start, adjoint):
        system = System(potentials.Duffing(), damping=GAMMA)
        ts = np.array([0.0, friction / GAMMA])
        traj = simulate(system, ts, start, dt=0.05, solver=Splitting("BAOAB"), adjoint=adjoint)
        return traj.position[-1] * traj.momentum[-1]

    found, known = (float(jax.jit(jax.grad(lambda x, a=a: end(x, a)))(1.0)) for a in ("reversible", None))
    return _claim(
        "backwards",
        "a run with friction can be run backwards for its gradient, though rounding grows by e^{gamma t}",
        Check("gradient / that of the stored run, gamma T = 64", 1.0, found / known, 1e-10, "e^5 roundings"),
    )


def _draw(wobbles, turning, balance):
    fig, (left, middle, right) = style.figure(3, height=2.7)
    looks = {("BA", 0): ("o", style.BLUE, 1), ("BA", 4): ("^", style.BLUE, 5)}
    looks |= {("BAB", 0): ("o", style.ORANGE, 2), ("BAB", 4): ("^", style.ORANGE, 6)}
    for (word, order), (mark, color, power) in looks.items():
        y = np.array([row.forms[order] for row in wobbles[word]])
        what = r"$I$" if order == 0 else r"$\tilde H$ to $h^4$"
        left.loglog(STEPS, y, mark, ms=3.5, color=color, label=f"{word}, {what}: $h^{power}$")
        left.loglog(STEPS, y[-1] * (STEPS / STEPS[-1]) ** power, color=color, lw=0.7)
    shadow = [row.shadow for row in wobbles["BAB"]]
    left.loglog(STEPS, shadow, "v:", ms=3.5, lw=0.7, color=style.ORANGE, label="BAB, from the steps")
    left.set(xlabel="step $h$", ylabel="wobble (peak to peak)", title="Duffing, no friction", ylim=(1e-15, 1e10))
    style.mark_steps(left, STEPS)
    left.legend(loc="upper left", labelspacing=0.25)
    for (name, charge), color in zip(turning.charges.items(), (style.GREEN, style.PURPLE), strict=True):
        middle.semilogy(turning.ts, np.abs(charge), "o", ms=2, color=color, label=name)
    middle.semilogy(turning.ts, np.abs(charge[0]) * np.exp(-0.2 * turning.ts), lw=0.7, color=style.GREEN)
    middle.set(xlabel="time $t$", ylabel="angular momentum $|Q|$", title="O-B-A, $h = 0.3$", ylim=(8e-3, 1.5))
    middle.legend(loc="lower left")
    delta = np.asarray(balance.laws.balancedness)
    fallen = np.exp(_integral(balance.ts, balance.laws.balance_rate) / 3.0)
    right.plot(balance.ts, delta / delta[0], color=style.BLACK, lw=0.9)
    right.plot(balance.ts[::160], fallen[::160], "x", ms=3, color=style.RED)
    right.plot([], [], color=style.BLACK, lw=0.9, label=r"$\Delta / \Delta_0$, each of 8 weights")
    right.plot([], [], "x", ms=3, color=style.RED, label="its law (at rest)")
    right.set(xlabel="time $t$", ylabel=r"balancedness", title=r"diagonal network, $\gamma = 3$", xlim=(0, 20))
    right.legend(loc="lower right", bbox_to_anchor=(1.0, 0.25))
    return fig
