"""Modes beside their peers: coverage and error of every gamma, the number of modes, and the time.

`python -m benchmarks modes` makes all tables, `python -m benchmarks modes.noise` one of them anew. A peer that is not
installed is skipped with a line. Peers are given the number of modes and where they are; we are given nothing.
"""

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from scipy.linalg import hankel

import jaxinertia as ji
from jaxinertia.inference.modes.entry import modes
from jaxinertia.inference.modes.noise.covariances import Layout
from jaxinertia.inference.modes.noise.likelihood import Groups, cost
from tests.inference.modes.driven import Driven, three
from tests.inference.modes.made import Made, close, five
from tests.inference.modes.made import made as ringing
from tests.inference.modes.made import three as three_channels

from .timing import write_table

RECORDS, PEER_RECORDS = 300, 20
READINGS = 100_000


class Case(NamedTuple):
    """A kind of record: `draw(seed)` is (n, d) at steps of `step`; gamma and its bound, (K,); frequency, (K,)."""

    name: str
    driven: str
    draw: Callable[[int], np.ndarray]
    step: float
    frequency: np.ndarray
    gamma: np.ndarray
    bound: np.ndarray


Answer = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # frequency, gamma, and gamma's interval, low and high


def free_case(name: str, made: Made, error: float) -> Case:
    """A free decay with white errors."""
    step = float(made.ts[1] - made.ts[0])
    return Case(name, "free", lambda seed: made.noisy(error, seed), step, made.frequency, made.gamma, made.bound(error))


def noise_case(name: str, made: Driven) -> Case:
    """Driven by noise."""
    frequency = made.omega / (2 * np.pi)
    return Case(name, "noise", lambda seed: made.readings(READINGS, seed), 1.0, frequency, made.gamma, bound(made))


def bound(made: Driven) -> np.ndarray:
    """Cramer and Rao's bound of gamma over all frequencies; shapes, forces and a flat floor unknown."""
    d = len(made.shape)
    references = tuple(int(x) for x in np.argmax(np.abs(made.shape), axis=0))
    theta: list[float] = []
    for k, r in enumerate(references):
        others = np.delete(made.shape[:, k] / made.shape[r, k], r)
        strength = np.log(np.abs(made.shape[r, k]) * np.sqrt(made.force[k, k]))
        theta += [np.log(made.omega[k]), np.log(made.gamma[k]), strength, *others, *(0 * others)]
    layout = Layout(references, (0,) * d)
    omega = 2 * np.pi * np.arange(3, READINGS // 2, 5) / READINGS
    g, one = len(omega), np.ones(len(omega))
    power = np.tile(np.eye(d) + 0j, (g, 1, 1))
    groups = Groups(omega, 5 * one, READINGS * one, power, np.zeros(g, int), 0 * one, np.ones((1, d)))
    levels = np.log(np.broadcast_to(made.floor, d) ** 2)
    found = cost(np.r_[theta, levels], layout, groups)
    if found is None:
        raise AssertionError("the case has no likelihood")
    return made.gamma * np.sqrt(np.diag(np.linalg.inv(found.information)))[1 : layout.motion : layout.each]


def ours(case: Case, y: np.ndarray) -> Answer:
    """`ji.modes` as it comes: neither count nor band."""
    found = modes(ji.Observations(case.step * np.arange(len(y)), y), driven=case.driven)  # type: ignore[arg-type]
    return found.frequency, found.gamma, *found.interval(0.95)["gamma"]


def thinned(case: Case, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Some 2,000 readings, without their mean, but five a period of the fastest mode; and their step."""
    every = max(1, min(len(y) // 2000, int(0.2 / (case.step * case.frequency.max()))))
    return y[::every] - y.mean(0), case.step * every


def pencil(share: float) -> Callable[[Case, np.ndarray], Answer]:
    """The matrix pencil by hand, of so long a share of the record."""

    def run(case: Case, y: np.ndarray) -> Answer:
        y, step = thinned(case, y)
        rows = int(len(y) * share)
        matrix = np.concatenate([hankel(x[: len(x) - rows], x[len(x) - rows - 1 :]) for x in y.T])
        right = np.linalg.svd(matrix, full_matrices=False)[2][: 2 * len(case.gamma)].T
        turns = np.linalg.eigvals(np.linalg.lstsq(right[:-1], right[1:], rcond=None)[0])
        s = np.log(turns[turns.imag > 0]) / step
        unknown = np.full(len(s), np.nan)
        return np.abs(s) / (2 * np.pi), -2 * s.real, unknown, unknown

    return run


def pyoma(rows: int, order: int) -> Callable[[Case, np.ndarray], Answer]:
    """pyOMA2's covariance-driven subspace identification with its uncertainties; modes picked nearest to the truth."""
    from pyoma2.algorithms import SSI  # noqa: PLC0415  an optional peer
    from pyoma2.setup.single import SingleSetup  # noqa: PLC0415

    def run(case: Case, y: np.ndarray) -> Answer:
        setup = SingleSetup(y, 1 / case.step)
        # Its criteria for shapes reject every pole of one channel: off, and the poles picked by the truth instead.
        criteria = {"xi_max": 0.2, "mpc_lim": None, "mpd_lim": None, "CoV_max": None}
        setup.add_algorithms(SSI(name="ssi", br=rows, ordmax=order, method="cov", calc_unc=True, nb=50, hc=criteria))
        setup.run_by_name("ssi")
        result = setup["ssi"].result
        f, xi = np.asarray(result.Fn_poles)[:, -1], np.asarray(result.Xi_poles)[:, -1]
        sd = np.asarray(result.Xi_poles_std)[:, -1]
        picked = [int(np.nanargmin(np.abs(f - truth))) for truth in case.frequency]
        gamma, error = (2 * x[picked] * 2 * np.pi * f[picked] for x in (xi, sd))
        return f[picked], gamma, gamma - 1.96 * error, gamma + 1.96 * error

    return run


def era(tolerance: float) -> Callable[[Case, np.ndarray], Answer]:
    """pyyeti's eigensystem realisation, singular values below the tolerance dropped."""
    from pyyeti.era import ERA  # noqa: PLC0415  an optional peer

    def run(case: Case, y: np.ndarray) -> Answer:
        y, step = thinned(case, y)
        found = ERA(y.T, 1 / step, svd_tol=tolerance, auto=True, show_plot=False, verbose=False)
        f, xi = np.asarray(found.freqs_hz).ravel(), np.asarray(found.zeta).ravel()
        unknown = np.full(len(f), np.nan)
        return f, 4 * np.pi * f * xi, unknown, unknown

    return run


def lscf(order: int) -> Callable[[Case, np.ndarray], Answer]:
    """sdypy-EMA's least-squares complex frequency method.

    A decay's transform stands for a transfer function; of the poles of the highest order those that are lightly damped
    and nearest to the truth are picked.
    """
    from sdypy import EMA  # noqa: PLC0415  an optional peer

    def run(case: Case, y: np.ndarray) -> Answer:
        transfer, frequency = np.fft.rfft(y - y[-len(y) // 5 :].mean(0), axis=0).T, np.fft.rfftfreq(len(y), case.step)
        low, high = 0.5 * case.frequency.min(), min(1.5 * case.frequency.max(), frequency[-1])
        model = EMA.Model(transfer, frequency, lower=low, upper=high, pol_order_high=order, frf_form="receptance")
        model.get_poles(method="lscf", show_progress=False)
        f, xi = np.asarray(model.pole_freq[-1]), np.asarray(model.pole_xi[-1])
        light = (xi > 0) & (xi < 0.2)
        picked = [int(np.argmin(np.where(light, np.abs(f - truth), np.inf))) for truth in case.frequency]
        unknown = np.full(len(picked), np.nan)
        return f[picked], 4 * np.pi * f[picked] * xi[picked], unknown, unknown

    return run


def peers(driven: str) -> dict[str, Callable[[Case, np.ndarray], Answer]]:
    """Who is installed, each with two settings."""
    if driven == "noise":
        if find_spec("pyoma2") is None:
            print("pyOMA2 is not installed: skipped")
            return {}
        return {f"pyOMA2 SSI-cov, {r} block rows, order {o}": pyoma(r, o) for r, o in ((40, 12), (80, 24))}
    known: dict[str, Callable[[Case, np.ndarray], Answer]] = {
        f"matrix pencil by hand, {share:g} of the record": pencil(share) for share in (0.33, 0.5)
    }
    if find_spec("pyyeti") is None:
        print("pyyeti is not installed: skipped")
    else:
        known |= {f"pyyeti ERA, svd_tol {tolerance:g}": era(tolerance) for tolerance in (0.05, 0.01)}
    if find_spec("sdypy") is None:
        print("sdypy-EMA is not installed: skipped")
    else:
        known |= {f"sdypy-EMA LSCF, order {order}": lscf(order) for order in (10, 60)}
    return known


class Tried(NamedTuple):
    """What a method said of a record, None where it failed; and the seconds it took."""

    answer: Answer | None
    seconds: float


def tried(case: Case, run: Callable[[Case, np.ndarray], Answer], seed: int) -> Tried:
    """One record."""
    y = case.draw(seed)
    began, answer = time.perf_counter(), None
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers'
        with contextlib.suppress(ValueError, IndexError, np.linalg.LinAlgError):
            answer = run(case, y)
    return Tried(answer, time.perf_counter() - began)


def judged(case: Case, name: str, records: list[Tried]) -> list:
    """How often the number is right; coverage and error of gamma where it is."""
    hits, errors = [], []
    for frequency, gamma, low, high in (one.answer for one in records if one.answer is not None):
        if len(frequency) != len(case.frequency):
            continue
        order = np.argsort(frequency)
        errors.append((gamma[order] - case.gamma) / case.bound)
        low, high = low[order], high[order]
        hits.append(np.where(np.isfinite(low), (low <= case.gamma) & (case.gamma <= high), np.nan))
    known = bool(errors) and np.isfinite(hits).all()
    pooled = float(np.sqrt(np.mean(np.square(errors)))) if errors else np.nan
    each = ", ".join(f"{x:.3f}" for x in np.mean(hits, axis=0)) if known else "none"
    whole = f"{np.mean(hits):.3f}" if known else "none"
    share = f"{len(errors)} of {len(records)}"
    return [case.name, name, share, whole, each, pooled, float(np.median([one.seconds for one in records]))]


def row(case: Case, name: str, run: Callable[[Case, np.ndarray], Answer], records: int) -> list:
    """Over so many records."""
    return judged(case, name, [tried(case, run, seed) for seed in range(records)])


COLUMNS = ["case", "method", "number right", "coverage", "of each mode", "error over bound", "s a record"]
TEXT = (
    "Coverage of gamma's 95 % interval, and its root-mean-square error over Cramer and Rao's bound, pooled over a "
    "case's modes, where the number of modes is right. `ji.modes` is told nothing, the peers the number, and where "
    "they give more, the frequencies to pick; each peer is shown with two settings. Chance is 1.3 % of coverage for "
    "300 records and one mode; of few records coverage and error are rough. Seconds are those of the machine as busy "
    "as it was."
)


def table(title: str, cases: list[Case], append: bool, records: int, peer_records: int) -> None:
    """One table."""
    rows = []
    for case in cases:
        rows.append(row(case, "jaxinertia", ours, records))
        rows += [row(case, name, run, peer_records) for name, run in peers(case.driven).items()]
    write_table("modes", title, TEXT, COLUMNS, rows, append=append)


def noise(records: int = RECORDS, peer_records: int = PEER_RECORDS) -> None:
    """Noise-driven."""
    shape = np.random.default_rng(5).standard_normal((4, 3))
    cases = [noise_case("three modes, one channel", three()), noise_case("three modes, four channels", three(shape))]
    table("Modes that noise drives", cases, False, records, peer_records)


def free(records: int = RECORDS, peer_records: int = PEER_RECORDS) -> None:
    """Free decays."""
    cases = [
        free_case("two modes 1 % apart, 40 dB", close(), 0.01),
        free_case("five over two decades, one 40 dB down", five(), 0.01),
        free_case("three close, three channels", three_channels(), 0.05),
    ]
    table("Free decays", cases, True, records, peer_records)


def white(records: int = 100) -> None:
    """No mode in white noise."""
    rows = []
    for d in (1, 4):
        y = (np.random.default_rng(seed).standard_normal((READINGS, d)) for seed in range(records))
        none = sum(modes(ji.Observations(np.arange(READINGS), x), driven="noise").count == 0 for x in y)
        rows.append([d, f"{none} of {records}"])
    write_table("modes", "White noise", "Records in which no mode was found.", ["channels", "none"], rows, append=True)


def speed() -> None:
    """The time of one record of 100,000 readings on four channels, once for the imports and once more."""
    omega = np.array([0.1, 0.25, 0.255, 0.6, 1.1, 1.13])
    shape = np.random.default_rng(3).standard_normal((4, 6))
    driven = Driven(omega, 0.02 * omega, np.diag(0.04 * omega**3), shape, np.array([0.1]))
    rings = ringing(np.arange(READINGS), omega / (2 * np.pi), 0.005 * omega, shape)
    cases = [noise_case("six modes, four channels", driven), free_case("six modes, four channels, free", rings, 0.02)]
    rows = []
    for case in cases:
        tried(case, ours, 0)
        rows.append(row(case, "jaxinertia", ours, 1))
    rows += [row(cases[0], name, run, 1) for name, run in peers("noise").items()]
    write_table("modes", "Six modes on four channels", TEXT, COLUMNS, rows, append=True)


def main() -> None:
    """All tables."""
    noise()
    free()
    white()
    speed()
