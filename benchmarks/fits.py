"""Fits beside their peers: one ring-down, a thousand at once, and noise-driven records, where the statistics count.

`python -m benchmarks fits` makes all tables, `python -m benchmarks fits.filters` one of them anew; `fits.coverage` is
the benchmark of that name.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import numba
import numpy as np
import optax
import optimistix
from scipy import stats
from scipy.optimize import least_squares

import jaxinertia as ji
from jaxinertia import _tree
from jaxinertia.inference import normal, search

from .coverage import langevin
from .coverage import main as coverage  # noqa: F401  by its name, fits.coverage
from .timing import interleaved, write_table

GAMMA, STIFFNESS, ERROR = 0.2, 1.3, 0.02
TS = np.linspace(0, 20, 200)
START = np.array([0.3, 1.0, 0.8, 0.0])  # the peers' start: they have to be given one
RECORDS = 1000
LANGEVIN = np.array([1.0, 1.0, 2**0.5])


def both(s: ji.System) -> tuple:
    return s.damping.gamma, s.potential.stiffness


def three(s: ji.System) -> tuple:
    return s.damping.gamma, s.potential.stiffness, s.noise.sigma


# The model of the peers that use the closed form: underdamped, parameters (gamma, stiffness, q0, p0).


def closed(p, ts, xp):
    a = p[0] / 2
    w = xp.sqrt(p[1] - a * a)
    return xp.exp(-a * ts) * (p[2] * xp.cos(w * ts) + (p[3] + a * p[2]) / w * xp.sin(w * ts))


def closed_jacobian(p, ts):
    """By hand, as a careful SciPy user writes it."""
    gamma, stiffness, q, v = p
    a = gamma / 2
    w = np.sqrt(stiffness - a * a)
    e, c, s = np.exp(-a * ts), np.cos(w * ts), np.sin(w * ts)
    b = (v + a * q) / w
    by_w = e * (-q * ts * s + b * ts * c - b / w * s)
    by_gamma = -ts / 2 * e * (q * c + b * s) + e * q / (2 * w) * s - by_w * a / (2 * w)
    return np.stack([by_gamma, by_w / (2 * w), e * (c + a / w * s), e * s / w], axis=1)


def scipy_closed(y: np.ndarray) -> np.ndarray:
    def residual(p):
        return closed(p, TS, np) - y

    return least_squares(residual, START, jac=lambda p: closed_jacobian(p, TS), method="lm").x


@numba.njit
def leapfrog(gamma, stiffness, q, v, h, steps, rows):
    """OBABO, the friction exact."""
    out = np.empty(rows)
    half = np.exp(-gamma * h / 2)
    for i in range(rows):
        out[i] = q
        for _ in range(steps):
            v = v * half - h / 2 * stiffness * q
            q += h * v
            v = (v - h / 2 * stiffness * q) * half
    return out


def scipy_numba(y: np.ndarray) -> np.ndarray:
    steps = 10
    h = (TS[1] - TS[0]) / steps
    return least_squares(lambda p: leapfrog(*p, h, steps, len(TS)) - y, START, method="lm").x


def lmfit_closed(y: np.ndarray) -> np.ndarray:
    import lmfit  # noqa: PLC0415  only where it is installed

    names = ("gamma", "stiffness", "q", "p")
    parameters = lmfit.create_params(**dict(zip(names, START, strict=True)))
    result = lmfit.minimize(lambda p: closed([p[n].value for n in names], TS, np) - y, parameters)
    return np.array([result.params[n].value for n in names])


def solved(p):
    """The same by diffrax, in tolerances that a user takes."""
    terms = diffrax.ODETerm(lambda t, z, p: jnp.stack([z[1], -p[1] * z[0] - p[0] * z[1]]))
    controller = diffrax.PIDController(rtol=1e-7, atol=1e-9)
    return diffrax.diffeqsolve(
        terms, diffrax.Tsit5(), 0.0, TS[-1], 0.05, p[2:], p, saveat=diffrax.SaveAt(ts=jnp.asarray(TS)),
        stepsize_controller=controller, adjoint=diffrax.ForwardMode(),
    ).ys[:, 0]  # fmt: skip


@jax.jit
def diffrax_optimistix(y):
    solver = optimistix.LevenbergMarquardt(rtol=1e-9, atol=1e-9)
    options = {"jac": "fwd"}
    return optimistix.least_squares(lambda p, y: solved(p) - y, solver, jnp.asarray(START), y, options=options).value


@jax.jit
def diffrax_adam(y):
    optimizer = optax.adam(1e-2)

    def loss(p):
        return jnp.mean((solved(p) - y) ** 2)

    def turn(state, _):
        p, inner = state
        updates, inner = optimizer.update(jax.jacfwd(loss)(p), inner)
        return (optax.apply_updates(p, updates), inner), None

    p = jnp.asarray(START)
    return jax.lax.scan(turn, ((p, optimizer.init(p))), None, 1000)[0][0]


def ours(y: np.ndarray) -> np.ndarray:
    return ji.fit(ji.System(ji.potentials.Quadratic()), ji.Observations(TS, y), both).flat


def one_record() -> None:
    """The first table."""
    rng = np.random.default_rng(0)
    y = closed([GAMMA, STIFFNESS, 1.0, 0.0], TS, np) + ERROR * rng.normal(size=len(TS))
    calls: dict[str, Callable[[], Any]] = {
        "jaxinertia, ji.fit with diagnostics, no start given": lambda: ours(y),
        "SciPy lm, closed form, Jacobian by hand": lambda: scipy_closed(y),
        "SciPy lm, numba leapfrog": lambda: scipy_numba(y),
        "diffrax + optimistix LevenbergMarquardt": lambda: diffrax_optimistix(y),
        "diffrax + optax Adam, 1000 steps of 1e-2": lambda: diffrax_adam(y),
    }
    if importlib.util.find_spec("lmfit"):
        calls["lmfit, closed form"] = lambda: lmfit_closed(y)
    seconds = interleaved(calls, repeats=3, budget=5.0)
    rows = []
    for name, run in calls.items():
        gamma, stiffness = np.asarray(run())[:2]
        rows.append([name, 1e3 * seconds[name], f"{gamma:.6f}", f"{stiffness:.6f}"])
    text = (
        f"200 readings of 3.6 cycles with 2 % noise, gamma = {GAMMA}, stiffness = {STIFFNESS}. Medians of interleaved, "
        f"compiled runs. The peers start from {START.tolist()}; jaxinertia from the data."
    )
    write_table("fits", "One ring-down", text, ["fit", "ms", "gamma", "stiffness"], rows)


def batched_optimistix(solver: Any) -> Callable:
    """Mapped over records: (y) -> (parameters, steps)."""

    def one(y):
        residual = lambda p, y: closed(p, jnp.asarray(TS), jnp) - y  # noqa: E731
        start = jnp.asarray(START)
        found = optimistix.least_squares(residual, solver, start, y, options={"jac": "fwd"}, throw=False)
        return found.value, found.stats["num_steps"]

    return jax.jit(jax.vmap(one))


@_tree.plain
class ClosedForm(normal.Problem):
    """The closed form of every record, for the package's own search."""

    y: jax.Array

    def own(self):
        return (self.y,)

    @property
    def readings_of_one(self):
        return self.y.shape[-1]

    def normal(self, u, x):
        residual = lambda p: closed(p, jnp.asarray(TS), jnp) - self.y  # noqa: E731
        r, j = jax.vmap(lambda v: jax.jvp(residual, (u,), (v,)), out_axes=(None, -1))(jnp.eye(4))
        cost = jnp.sum(r * r) / 2
        return normal.without_states(cost, 2 * cost / len(r), jnp.sum(j * r[:, None], 0), j.T @ j)


def batched_ours(ys):
    """The package's own search, on the closed form and from the peers' start."""

    def turn(found):
        return jax.vmap(lambda s, y: search.iterate(ClosedForm(y), s))(found, ys)

    first = search.start(np.tile(START, (len(ys), 1)), np.zeros((len(ys), 0, 1)))
    first = jax.tree.map(jnp.asarray, first)
    found = jax.lax.while_loop(lambda s: ~jnp.all(s.done), turn, first)
    return found.u, found.iterations


def many_records() -> None:
    """The second table."""
    rng = np.random.default_rng(1)
    ys = closed([GAMMA, STIFFNESS, 1.0, 0.0], TS, np) + ERROR * rng.normal(size=(RECORDS, len(TS)))
    data = [ji.Observations(TS, y) for y in ys]
    system = ji.System(ji.potentials.Quadratic())
    lm, cholesky = optimistix.LevenbergMarquardt, lineax.Normal(lineax.Cholesky())
    batched = {
        "optimistix, QR, tolerances 1e-8": batched_optimistix(lm(1e-8, 1e-8)),
        "optimistix, QR, tolerances 1e-5": batched_optimistix(lm(1e-5, 1e-5)),
        "optimistix, Cholesky, tolerances 1e-5": batched_optimistix(lm(1e-5, 1e-5, linear_solver=cholesky)),
        "jaxinertia's search, on normal equations": jax.jit(batched_ours),
    }
    stacked = jnp.asarray(ys)
    calls: dict[str, Callable[[], Any]] = {
        "SciPy lm, one after another, Jacobian by hand": lambda: np.stack([scipy_closed(y) for y in ys]),
        "jaxinertia, ji.fit_many, no start given": lambda: ji.fit_many(system, data, both).flat,
    }
    calls |= {name: partial(lambda run: run(stacked)[0], run) for name, run in batched.items()}
    seconds = interleaved(calls, repeats=2, budget=3.0)
    steps = {name: str(int(run(stacked)[1].max())) for name, run in batched.items()}
    scipy = calls[next(iter(calls))]()
    reference = np.sum((np.stack([closed(p, TS, np) for p in scipy]) - ys) ** 2)
    rows = []
    for name, run in calls.items():
        found = np.asarray(run())
        if found.shape[1] == 2:  # the initial states are fitted too: the best ones for these parameters
            found = np.stack([_with_states(p, y) for p, y in zip(found, ys, strict=True)])
        chi = np.sum((np.stack([closed(p, TS, np) for p in found]) - ys) ** 2)
        speed = seconds[next(iter(calls))] / seconds[name]
        rows.append([name, 1e3 * seconds[name], speed, steps.get(name, ""), f"{chi / reference - 1:+.1e}"])
    text = (
        f"{RECORDS} ring-downs of {len(TS)} readings, each with its own parameters and state. All but ji.fit_many "
        "are on the closed form, from a start given; those below SciPy and it are one vmapped program. Steps: of the "
        "slowest record, for which all wait. chi-square: the sum over all records, relative to SciPy's."
    )
    columns = ["fit", "ms", "speed, SciPy = 1", "steps", "chi-square"]
    write_table("fits", "A thousand ring-downs at once", text, columns, rows, append=True)


def _with_states(p, y):
    columns = np.stack([closed([*p, 1.0, 0.0], TS, np), closed([*p, 0.0, 1.0], TS, np)], axis=1)
    return np.concatenate([p, np.linalg.lstsq(columns, y, rcond=None)[0]])


NOISY = [(dt, error) for dt in (0.05, 0.2) for error in (0.0, 0.05)]


def force_inference(y: np.ndarray, dt: float) -> np.ndarray:
    """Stochastic Force Inference's parametric estimator with the force -stiffness x - gamma v.

    Returns (gamma, stiffness, sigma) and their errors; it has none for sigma.
    """
    import SFI  # noqa: PLC0415  only where it is installed
    from SFI.statefunc import make_basis  # noqa: PLC0415

    # Nothing of ours but the model: for two linear features its own direct solve is the fastest that it has.
    model = make_basis(lambda x, *, v: jnp.stack([-v, -x], -1), dim=1, rank=1, n_features=2, needs_v=True)
    inference = SFI.UnderdampedLangevinInference(SFI.TrajectoryCollection.from_arrays(X=y[:, None, None], dt=dt))
    inference.infer_force(model)
    errors = np.sqrt(np.diag(inference.force_G_pinv))
    sigma = np.sqrt(2 * inference.diffusion_average[0, 0])
    return np.array([[*inference.force_coefficients, sigma], [*errors, np.nan]])


def noise_driven() -> None:
    """The third table: a long record."""
    rows = []
    system = ji.System(ji.potentials.Quadratic(), 0.3, 1.0)
    for dt, error in NOISY:
        rng = np.random.default_rng(2)
        y = langevin(rng, 100_000, dt, 1)[0] + error * rng.normal(size=100_000)
        data = ji.Observations(np.arange(100_000) * dt, y)

        def ours(data=data):
            result = ji.fit(system, data, three)
            return np.array([result.values, result.stderr])

        calls: dict[str, Callable[[], Any]] = {"ji.fit, all diagnostics included": ours}
        if importlib.util.find_spec("SFI"):
            calls["StochasticForceInference, parametric"] = partial(force_inference, y, dt)
        seconds = interleaved(calls, repeats=1, budget=5.0)
        for name, run in calls.items():
            shown = [f"{v:.3f} +- {e:.3f}" if np.isfinite(e) else f"{v:.3f}" for v, e in np.asarray(run()).T]
            rows.append([dt, error, name, seconds[name], seconds[name] / seconds[next(iter(calls))], *shown])
    text = (
        "100,000 positions, gamma = stiffness = 1, sigma = 1.414. Compiled, interleaved runs; neither is given a start."
    )
    columns = ["dt", "reading's error", "fit", "s", "time, ji.fit = 1", "gamma", "stiffness", "sigma"]
    write_table("fits", "Noise-driven records", text, columns, rows, append=True)


def repeats() -> None:
    """The fourth table: what the errors of noise-driven fits are worth, over 200 records of 4,000 readings."""
    rows = []
    system = ji.System(ji.potentials.Quadratic(), 0.3, 1.0)
    for dt, error in NOISY:
        rng = np.random.default_rng(2)
        ys = langevin(rng, 4000, dt, 200) + error * rng.normal(size=(200, 4000))
        for known in (False, True):
            size = max(error, 1e-4) if known else None
            data = [ji.Observations(np.arange(4000) * dt, y, position_error=size) for y in ys]
            fits = ji.fit_many(system, data, three)
            errors = np.stack(fits.stderr, axis=1)
            z = np.nanmean((fits.flat - LANGEVIN) / errors, axis=0)
            ratio = np.nanmean(errors, axis=0) / np.nanstd(fits.flat, axis=0, ddof=1)
            shown = [f"{z[0]:+.2f}", f"{ratio[0]:.2f}", f"{abs(z[1:]).max():.2f}"]
            rows.append([dt, error, "known" if known else "fitted", int(fits.converged.sum()), *shown])
    text = (
        "gamma's mean z = (estimate - truth) / stderr, 0 +- 0.07 by chance, and its mean stderr over the estimates' "
        "scatter, 1 +- 0.05; the greatest mean |z| of stiffness and sigma. Where readings have no error and its "
        "variance is fitted, it lies at its bound, 0, and can only be found too large: sigma pays for it."
    )
    columns = ["dt", "reading's error", "its size", "converged", "mean z", "stderr / scatter", "others' mean z"]
    write_table("fits", "Errors of 200 noise-driven records", text, columns, rows, append=True)


def four(s: ji.System) -> tuple:
    return s.damping.gamma, s.potential.linear, s.potential.cubic, s.noise.sigma


def particles(system: ji.System, dt: float, n: int, records: int) -> np.ndarray:
    """Positions of a particle in a bath, (records, n), in steps so short that their law is the continuous one."""
    ts = np.arange(n) * dt
    one = lambda key: ji.simulate(system, ts, 1.0, substeps=max(10, round(dt / 0.01)), key=key).position  # noqa: E731
    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(4), records)))


def filters() -> None:
    """The fifth table: what the filters for anharmonic potentials are worth."""
    rows = []
    wells = {
        "Duffing": (ji.potentials.Duffing(1.0, 0.3), ji.potentials.Duffing(0.7, 0.1)),
        "double well": (ji.potentials.Duffing(-1.0, 0.5), ji.potentials.Duffing(-0.7, 0.3)),
    }
    for name, (truth, start) in wells.items():
        system = ji.System(truth, 0.8, 1.6**0.5)
        exact = np.array([0.8, truth.linear, truth.cubic, 1.6**0.5])
        for dt, error in [(0.3, 0.05), (0.3, 0.3), (1.0, 0.05), (1.0, 0.3)]:
            ys = particles(system, dt, 2000, 50)
            ys = ys + error * np.random.default_rng(4).normal(size=ys.shape)
            data = [ji.Observations(np.arange(2000) * dt, y, position_error=error) for y in ys]
            for method in ("unscented kalman", "extended kalman"):
                fits = ji.fit_many(ji.System(start, 0.3, 1.0), data, four, method=method)
                z = (fits.flat - exact) / np.stack(fits.stderr, axis=1)
                held = np.nanmean(np.abs(z) < stats.norm.ppf(0.975), axis=0)
                shown = [f"{np.nanmean(z[:, i]):+.2f}, {100 * held[i]:.0f} %" for i in range(4)]
                rows.append([name, dt, error, method, int(fits.converged.sum()), *shown])
    text = (
        "50 records of 2,000 positions of a particle in a bath of temperature 1, gamma 0.8, in V = q^2/2 + 0.3 q^4/4 "
        "and V = -q^2/2 + 0.5 q^4/4 (wells at +-1.4); the error of a reading is known. For each parameter the mean z, "
        "0 +- 0.14 by chance, and how often 1.96 standard errors hold the truth, 95 +- 3 %."
    )
    columns = ["potential", "dt", "reading's error", "filter", "converged", "gamma", "linear", "cubic", "sigma"]
    write_table("fits", "Anharmonic particles", text, columns, rows, append=True)


def main() -> None:
    """All tables."""
    one_record()
    many_records()
    noise_driven()
    repeats()
    filters()


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
