"""Eq. (9)-(11) and appendix D: what discrete steps conserve (figure 5)."""

import jax
import numpy as np

from ...dynamics.simulate import simulate
from ...dynamics.solvers import Splitting
from ...energy.modified import modified_inertia
from ...physics import potentials
from ...physics.system import System
from .. import plots, style
from .claims import Check, Claim, Verdict
from .findings import MOMENTUM, POSITION, STEPS, STOP, Findings, slope, times

FORMS = (  # word, order of the modified inertia, the order of its wobble on a potential that is not quadratic
    ("BA", 0, 1, "kick, drift: the paper's (11)"),
    ("BA", 1, 2, r"kick, drift: $I - \frac{h}{2} v\cdot\nabla L$"),
    ("BA", 2, 3, "kick, drift: modified to $h^2$"),
    ("BAB", 0, 2, "Verlet: $I$ itself"),
    ("BAB", 2, 4, "Verlet: modified to $h^2$"),
)
CAPTION = (
    "What discrete steps keep. (a) The inertia of the paper's (11) wobbles in proportion to the step. (b) "
    "The wobble, peak to peak, of the inertia and of its modified forms; lines have the slopes that are "
    "written beside them."
)


def measure(quick: bool) -> Findings:
    """The wobble of the raw and of the modified inertia against the step."""
    quadratic, duffing = System(potentials.Quadratic()), System(potentials.Duffing())
    steps = np.array(STEPS)
    raw = [_wobble(quadratic, "BA", 0, h) for h in steps]
    kept = max(_wobble(quadratic, "BA", 1, h) for h in steps)
    wobbles = {(word, order): [_wobble(duffing, word, order, h) for h in steps / 4] for word, order, _, _ in FORMS}
    orders = tuple(
        Check(
            f"order in h of the wobble, {word} to h^{order}, Duffing",
            float(power),
            slope(steps, wobbles[word, order]),
            0.1,
        )
        for word, order, power, _ in FORMS
    )
    rounding = STOP / min(steps) * np.finfo(float).eps  # one rounding a step
    claims = [
        _kick_then_drift(),
        Claim(
            "Eq. (11), appendix D",
            "the discrete inertia is conserved",
            (Check("wobble of I, h = 0.2, quadratic", 0.0, raw[0], 1e-3, "visible"),),
            "It wobbles in proportion to h. I - (h/2) v.grad L is conserved exactly here, to higher order elsewhere.",
            (
                Check("order in h of the wobble of I, quadratic", 1.0, slope(steps, raw), 0.1),
                Check("wobble of I - (h/2) v.grad L, quadratic", 0.0, kept, rounding, "one rounding a step"),
                *orders,
            ),
            Verdict.IN_THE_LIMIT,
        ),
    ]
    return Findings(claims, "fig5_discrete", _draw(quadratic, steps, steps / 4, wobbles), CAPTION)


def _run(system, word, h, stop=STOP):
    return simulate(system, times(stop, h), POSITION, MOMENTUM, dt=h, solver=Splitting(word))


def _wobble(system, word, order, h):
    traj = _run(system, word, h)
    values = jax.vmap(lambda q, p: modified_inertia(system, q, p, h, solver=word, order=order))(
        traj.position, traj.momentum
    )
    return float(values.max() - values.min())


def _kick_then_drift():
    h = STEPS[1]
    traj = _run(System(potentials.Duffing()), "BA", h)
    theta, v, gap = POSITION, MOMENTUM, 0.0
    for k in range(1, len(traj.ts)):
        v = v - h * (theta + theta**3)
        theta = theta + h * v
        gap = max(gap, abs(theta - float(traj.position[k])), abs(v - float(traj.momentum[k])))
    # Roundings differ by the order of operations; on this regular orbit they grow about linearly.
    bound = len(traj.ts) ** 2 * np.finfo(float).eps
    check = Check("max distance of the word BA from Eq. (9)-(10) written out", 0.0, gap, bound, "n^2 roundings")
    return Claim("Eq. (9)-(10)", "v+ = v - h grad L(theta), theta+ = theta + h v+", (check,))


def _draw(quadratic, shown, steps, wobbles):
    fig, (left, right) = style.figure(1, width=style.COLUMN, height=5.0, rows=2)
    colors = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)
    for h, color in zip(shown, colors, strict=True):
        plots.discrete(_run(quadratic, "BA", h), left, color=color, lw=0.9, label=f"$h = {h:g}$")
    left.set(ylabel=r"$\hat I(t) - \hat I(0)$", title="kick-then-drift, quadratic loss", xticks=range(0, 21, 5))
    fig_legend = dict(loc="upper center", bbox_to_anchor=(0.5, -0.22), columnspacing=1, handlelength=1)
    left.legend(ncols=4, **fig_legend)
    marks = (("o", style.BLUE), ("s", style.ORANGE), ("^", style.GREEN), ("D", style.RED), ("v", style.PURPLE))
    for (word, order, power, label), (mark, color) in zip(FORMS, marks, strict=True):
        y = np.array(wobbles[word, order])
        right.loglog(
            steps, y, mark, ms=3.5, color=color, label=rf"{label}, $\propto h{f'^{power}' if power > 1 else ''}$"
        )
        right.loglog(steps, y[-1] * (steps / steps[-1]) ** power, color=color, lw=0.7)
    right.set(xlabel="step $h$", ylabel="wobble (peak to peak)", title="Duffing loss")
    style.mark_steps(right, steps)
    right.legend(ncols=1, **fig_legend)
    return fig
