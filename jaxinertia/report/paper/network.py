"""A real network: what the paper did not measure (figure 7).

A two-layer tanh network on scikit-learn's digits is the potential; its parameters move from a real initialisation. A
ReLU twin shows what leaving Theorem 1's hypothesis, a continuously differentiable L, does.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import cumulative_simpson

from ...dynamics.simulate import simulate
from ...dynamics.solvers import Splitting, kahan_li6
from ...physics import potentials
from ...physics.system import System
from .. import plots, style
from .claims import Check, Claim, Verdict
from .findings import Findings, largest, slope, times

GAMMA = 0.5
STOP = 4.0
HIDDEN = 32
CAPTION = (
    "A two-layer network on digits: (a) without friction the inertia stays to the order of the solver "
    "where the loss is smooth (tanh), not at kinks (ReLU); (b) with friction it falls by the friction, as "
    "recomputed from the path."
)


def available() -> bool:
    """Whether scikit-learn, which carries the digits, is installed."""
    try:
        import sklearn.datasets  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def digits(count: int | None = None) -> tuple[jax.Array, jax.Array]:
    """The 8x8 images, scaled to [0, 1], shape (n, 64), and their labels, shape (n,)."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  an optional dependency

    data = load_digits()
    return jnp.asarray(data.data[:count] / 16.0), jnp.asarray(data.target[:count])


def network_loss(activation: Any, count: int | None = None) -> tuple[eqx.Module, potentials.Loss]:
    """A 64-32-10 network with this activation, and its mean cross-entropy on the digits as a potential."""
    x, labels = digits(count)
    model = eqx.nn.MLP(64, 10, HIDDEN, 1, activation, key=jax.random.key(0), dtype=x.dtype)

    def cross_entropy(model, x, labels):
        scores = jax.nn.log_softmax(jax.vmap(model)(x))
        return -jnp.mean(jnp.take_along_axis(scores, labels[:, None], axis=1))

    return model, potentials.Loss(cross_entropy, x, labels)


def measure(quick: bool) -> Findings:
    """Conservation, friction and smoothness on the digits."""
    count = 256 if quick else None
    steps = {"BAB": (0.2, 0.1, 0.05, 0.025), "kahan_li6": (0.4, 0.2, 0.1)}
    drift = {
        (name, solver): [_drift(network_loss(activation, count), solver, h) for h in hs]
        for name, activation in (("tanh", jnp.tanh), ("relu", jax.nn.relu))
        for solver, hs in steps.items()
    }
    damped, recomputed = _damped(network_loss(jnp.tanh, count))
    claims = [_conserved(steps, drift), _friction(damped, recomputed)]
    return Findings(claims, "fig7_network", _draw(steps, drift, damped, recomputed), CAPTION)


def _solver(name):
    return kahan_li6("BAB") if name == "kahan_li6" else Splitting(name)


def _drift(task, solver, h):
    model, loss = task
    traj = simulate(System(loss), times(STOP, 0.4), model, dt=h, solver=_solver(solver))
    return largest(traj.inertia - traj.inertia[0])


def _damped(task):
    model, loss = task
    ts = times(4 * STOP, 0.05)
    traj = simulate(System(loss, damping=GAMMA), ts, model, dt=0.05)
    speed = sum(jnp.sum(p**2, axis=range(1, p.ndim)) for p in jax.tree.leaves(traj.momentum))
    recomputed = -cumulative_simpson(GAMMA * np.asarray(speed), x=ts, initial=0.0)
    return traj, recomputed


def _conserved(steps, drift):
    smooth = slope(steps["BAB"], drift["tanh", "BAB"])
    sixth = drift["tanh", "kahan_li6"]
    rough = drift["relu", "kahan_li6"]
    return Claim(
        "Theorem 1 on a real network",
        "I is constant for any loss",
        (Check("max |I - I(0)|, ReLU, Kahan-Li at h = 0.1", 0.0, rough[-1], 10 * sixth[-1], "10 times tanh's"),),
        "L must be continuously differentiable: tanh qualifies; at ReLU's kinks no solver reaches its order.",
        (
            Check("order in h of max |I - I(0)|, tanh, Verlet", 2.0, smooth, 0.2),
            Check("order in h of max |I - I(0)|, tanh, Kahan-Li", 6.0, slope(steps["kahan_li6"], sixth), 1.0),
        ),
        Verdict.NEEDS_CORRECTION,
    )


def _friction(damped, recomputed):
    change = np.asarray(damped.inertia - damped.inertia[0])
    scale = float(-recomputed[-1])
    booked = largest(np.asarray(damped.balance.friction) - recomputed) / scale
    # BAOAB at h = 0.05 on frequencies up to about 3: (omega h)^2 / 12 = 0.2 %, Simpson's rule far below.
    checks = (
        Check("max |booked friction - recomputed| / lost, tanh", 0.0, booked, 2e-3, "(omega h)^2 / 12"),
        Check("max |I - I(0) - recomputed| / lost, tanh", 0.0, largest(change - recomputed) / scale, 2e-3, "the same"),
    )
    return Claim("Eq. (4) on a real network", "the loss of I is the friction -int gamma |v|^2 dt", checks)


def _draw(steps, drift, damped, recomputed):
    fig, (left, right) = style.figure(2)
    looks = {
        ("relu", "BAB"): ("o--", style.PURPLE, "ReLU, Verlet"),
        ("relu", "kahan_li6"): ("^-", style.PURPLE, "ReLU, Kahan-Li 6"),
        ("tanh", "BAB"): ("o--", style.GREEN, "tanh, Verlet"),
        ("tanh", "kahan_li6"): ("^-", style.GREEN, "tanh, Kahan-Li 6"),
    }
    for key, (look, color, label) in looks.items():
        left.loglog(steps[key[1]], drift[key], look, ms=3.5, lw=0.8, color=color, label=label)
    left.set(xlabel="step $h$", ylabel=r"$\max\,|I(t) - I(0)|$", title=r"digits, no friction")
    style.mark_steps(left, (0.025, 0.05, 0.1, 0.2, 0.4))
    left.legend(loc="lower left")
    plots.energy(damped, right)
    ts = np.asarray(damped.ts)
    start = float(damped.inertia[0])
    right.plot(
        ts[::20], start + recomputed[::20], "x", ms=4, color=style.RED, label=r"$I(0) - \int\gamma|v|^2$, from path"
    )
    right.set_title(rf"digits, tanh, $\gamma = {GAMMA:g}$")
    right.legend(loc="lower left", bbox_to_anchor=(0.0, 0.1))
    return fig
