r"""Noise-driven records, by frequency: start values, and the likelihood of a band (Whittle's).

The readings' spectrum, per step, is S(w) = sigma^2 / ((k - w^2)^2 + gamma^2 w^2) + floor. Far apart in frequency the
periodogram's entries are independent and exponential, so that the cost is  sum_w (log S + I / S)  with the information
sum_w (d log S)(d log S)^T. Only the frequencies of a band need to be explained: other modes and a floor that is not
white stay out, but for the floor's level and slope across the band.

Source: P. Whittle, Ark. Mat. 2, 423 (1953); K. Berg-Sorensen and H. Flyvbjerg, Rev. Sci. Instrum. 75, 594 (2004).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import fft, special

from .. import _tree
from ..physics.system import System
from . import linear
from .beside import Beside
from .compiled import Compiled
from .evidence import Evidence
from .likelihood import Likelihood, Reading
from .normal import without_states
from .parameters import Parameters
from .record import jitter
from .units import Units

JITTER = 0.01  # of a step: by how much times may be off an even grid for a periodogram to be that of the readings
LONGEST, TERMS = 4.0, 24  # mean intervals that one may take, for a sum at the times; and its terms, to 1e-10 of it
ALIASES = np.arange(-2, 3) * 2 * np.pi  # what a sampled motion folds into a frequency; beyond, S falls as w^-4
_AT = np.linspace(0, np.pi, 33)
# The sum of 1 / (w + 2 pi k)^2 over all k but those of ALIASES, to 1e-9 of it: a polynomial of w^2.
BEYOND = np.polynomial.polynomial.polyfit(
    _AT**2, sum(special.polygamma(1, 3 + side * _AT / (2 * np.pi)) for side in (-1, 1)) / (2 * np.pi) ** 2, 6
)
SHORTEST = 8  # readings of a run that has a spectrum
ASIDE = 0.5  # of its frequency: so far on either side of a peak a resonance is looked at alone
ROUNDS = 5
RISES = 3.0  # times its floor: a resonance that a record shows
PASSES = 5  # of the weights of a spectrum's power and floor
CACHED = 32  # resonances whose spectra stay in a core's cache


class Resonance(NamedTuple):
    """omega_0, gamma, sigma^2 and the floor of one component, per step."""

    omega: float
    gamma: float
    power: float
    floor: float


class Run(NamedTuple):
    """One run of one component, and which of its rows were read."""

    ts: np.ndarray
    y: np.ndarray
    read: np.ndarray

    @property
    def readings(self) -> int:
        """How many."""
        return int(np.sum(self.read))

    @property
    def is_even(self) -> bool:
        """Whether times are even, as exactly as a periodogram asks."""
        return jitter(self.ts) <= JITTER

    @property
    def longest(self) -> float:
        """The longest interval between readings, over the mean one."""
        steps = np.diff(self.ts[self.read])
        return float(np.max(steps) / np.mean(steps))


@_tree.plain
class Band(Likelihood):
    """A band of the periodogram; u are the parameters, then the log of the floor at the centre, and its slope."""

    system: System
    parameters: Parameters
    units: Units
    seen: Float[Array | np.ndarray, "*many 2"] | None  # of a reading a x + b x': a^2 and b^2, in the fit's units
    omega: Float[Array | np.ndarray, "*many n"]
    power: Float[Array | np.ndarray, "*many n"]
    freedom: Any  # frequencies less what is fitted
    scalar: bool = _tree.static()  # whether a position is a number
    beside: Beside = _tree.static(default=Beside())

    def own(self):
        return self.seen, self.omega, self.power, self.freedom, self.units

    @property
    def readings_of_one(self):
        return self.omega.shape[-1]

    def normal(self, u, x):
        """Whittle's cost, its score and expected information."""
        log_s, scores, roots = self.score(u)
        cost = jnp.sum(log_s + self.power * jnp.exp(-log_s))
        return without_states(cost, jnp.ones(()), jnp.sum(scores, 0), roots.T @ roots)

    def score(self, u: Float[Array, " p"]):
        """log S (n,), scores (n, p), and roots d log S (n, p)."""
        push = partial(jax.jvp, lambda u: log_spectrum(u, self), (u,))
        log_s, roots = jax.vmap(lambda v: push((v,)), out_axes=(None, -1))(jnp.eye(len(u)))
        return log_s, (1 - self.power * jnp.exp(-log_s))[:, None] * roots, roots

    def innovations(self, u, x):
        return (self.power * jnp.exp(-log_spectrum(u, self)) - 1)[None, :, None]

    @property
    def taken(self):
        return np.ones((*self.omega.shape[:-1], 1, self.omega.shape[-1], 1), bool)

    def read(self, u, x, normal, unknown):
        """One row for each frequency, the excess of power over its mean."""
        log_s, scores, roots = jax.tree.map(np.asarray, _score(self, jnp.asarray(u)))
        excess = np.asarray(self.power) * np.exp(-log_s) - 1
        one = np.zeros(len(excess), int)
        evidence = Evidence(
            residuals=excess,
            scores=scores,
            roots=roots[:, None],
            run=one,
            channel=one,
            time=np.asarray(self.omega),
            variance=1.0,
            freedom=int(self.freedom),
            states=None,
        )
        return Reading(evidence, None, None, 2 * float(normal.cost), None)

    def never_settled(self) -> tuple["Band", bool]:
        """As a filter has it: there is nothing to settle."""
        return self, False

    def settled_like(self, others: list) -> "Band":
        """As a filter has it."""
        return self


_score = Compiled(Band.score)


def runs_of(records: Any, component: int) -> list[Run]:
    """Of the only record."""
    rows = zip(records.count[0], records.ts[0], records.y[0], records.weight[0], strict=True)
    return [Run(t[:n], y[:n, component], w[:n, component] > 0) for n, t, y, w in rows]


def periodogram(run: Run) -> tuple[np.ndarray, np.ndarray]:
    r"""Frequencies in radians per step, without 0 and the last, and |sum y e^{-iwt}|^2 / n, times the step.

    Of times that are uneven, but have no gaps, at the times themselves: what is near in frequency keeps its power,
    however clocks jitter; of what is far a part is spread over all, as a floor.
    """
    if run.readings >= SHORTEST and not run.is_even and run.longest <= LONGEST:
        return _at_the_times(run.ts[run.read], run.y[run.read])
    even = np.linspace(0, run.ts[-1], len(run.ts))
    y, step = np.interp(even, run.ts, run.y), even[1] - even[0]
    frequency, power = fft.rfftfreq(len(y), step), np.abs(fft.rfft(y - np.mean(y))) ** 2 * (step / len(y))
    return 2 * np.pi * frequency[1:-1], power[1:-1]  # of either sign


def _at_the_times(ts: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The periodogram at the times themselves, off the nearest whole steps by delta_k: the sum over j of
    (-iw)^j / j! sum_k y_k delta_k^j e^{-iwk}."""
    n, step = len(y), (ts[-1] - ts[0]) / (len(y) - 1)
    at = np.round((ts - ts[0]) / step).astype(int)
    off, part = (ts - ts[0]) / step - at, y - np.mean(y)
    omega, total = 2 * np.pi * np.arange(n // 2 + 1) / n, np.zeros(n // 2 + 1, complex)
    power = np.ones(len(omega), complex)
    for j in range(TERMS):
        total += power * fft.rfft(np.bincount(at, part, n))
        part, power = part * off, power * (-1j * omega) / (j + 1)
    inner = slice(1, (n + 1) // 2)
    return omega[inner] / step, np.abs(total[inner]) ** 2 * step / n


def spectra(runs: list[Run]) -> tuple[np.ndarray, np.ndarray]:
    """The periodograms, one after another, of the runs that are long enough for one."""
    parts = [periodogram(run) for run in runs if run.readings >= SHORTEST]
    if not parts:
        raise ValueError(
            f"data have no run of {SHORTEST} readings of a component (the longest has "
            f"{max(run.readings for run in runs)}), too few for the "
            "spectrum from which a noise-driven fit starts: record longer runs"
        )
    omega, power = (np.concatenate(x) for x in zip(*parts, strict=True))
    return omega, power


def model(omega: Any, stiffness: Any, gamma: Any, power: Any, seen: Any = None) -> Any:
    """The spectrum of readings a x + b x', a^2 and b^2 in `seen` (None: of x), with what sampling folds into it;
    `power` is sigma^2."""
    total = 0.0
    for alias in ALIASES:
        w2 = (omega + alias) ** 2
        part = power / ((stiffness - w2) ** 2 + gamma**2 * w2)
        total = total + (part if seen is None else part * (seen[0] + seen[1] * w2))
    if seen is None:
        return total
    beyond = sum(c * omega ** (2 * i) for i, c in enumerate(BEYOND))  # velocities fall as 1 / w^2 alone
    return total + power * seen[1] * beyond


def resonance(runs: list[Run], band: tuple[float, float] | None = None, seen: Any = None) -> Resonance:
    """The best (omega_0, gamma) of a grid, with the best power and floor for each, by Whittle's likelihood."""
    omega, power, count = _binned(*spectra(runs), band)
    peak = omega[np.argmax(power * np.minimum(count, 4))]
    grid = np.concatenate([np.geomspace(omega[0], omega[-1], 41), peak * np.array([0.97, 0.99, 1.0, 1.01, 1.03])])
    ratios = np.geomspace(1e-3, 30, 16)
    found = _best(omega, power, count, grid, ratios, seen)
    for zoom in (1.0, 0.25, 0.06):
        width = max(zoom * 0.5 * found.gamma / found.omega, 1e-6)
        grid = found.omega * np.exp(np.linspace(-width, width, 15))
        ratios = found.gamma / found.omega * np.exp(np.linspace(-zoom, zoom, 15) * 0.4)
        found = _best(omega, power, count, grid, ratios, seen)
    return found._replace(floor=max(found.floor, 1e-6 * float(np.median(power))))


def local(runs: list[Run], found: Resonance, seen: Any = None) -> Resonance:
    """The resonance at the spectrum's highest peak, from a band around it alone: fitted to the whole, one resonance
    would take another motion for a part of its own width."""
    omega, power, count = _binned(*spectra(runs), None)
    peak = float(omega[np.argmax(power * np.minimum(count, 4))])
    for _ in range(ROUNDS):
        band = max((1 - ASIDE) * peak, omega[0]), min((1 + ASIDE) * peak, omega[-1])
        if np.sum((omega >= band[0]) & (omega <= band[1])) < 16:
            return found
        near = resonance(runs, band, seen)
        if not band[0] < near.omega < band[1] or near.gamma > ASIDE * peak:
            return found
        settled, peak, found = abs(near.omega / peak - 1) < 1e-3, near.omega, near
        if settled:
            break
    return found


def stands_out(found: Resonance) -> bool:
    """Whether a resonance is a peak that swings, and rises out of its floor."""
    top = model(found.omega, found.omega**2, found.gamma, found.power)
    return bool(found.gamma < found.omega and top > RISES * found.floor)


def check_whole(runs: list[Run]) -> None:
    """ValueError for gaps: the periodogram is that of lines drawn across them, which has less power than the motion."""
    gap = max([run.longest for run in runs if not run.is_even and run.readings > 1], default=0.0)
    if gap > LONGEST:
        raise ValueError(
            f"method = 'whittle' needs times without gaps, and an interval is {gap:.2g} times the mean one: use "
            "method='kalman', or pass the stretches without gaps as segments"
        )
    even = [run for run in runs if run.is_even]
    rows = sum(len(run.ts) for run in even)
    missing = rows - sum(run.readings for run in even)
    if missing:
        raise ValueError(
            f"method = 'whittle' needs every reading, and {missing} of {rows} are missing: use method='kalman', "
            "or pass the stretches without gaps as segments"
        )


def is_whole(runs: list[Run]) -> bool:
    """Whether the periodogram is that of the readings."""
    return all(run.readings == len(run.ts) and run.is_even for run in runs)


def _best(omega, power, count, grid_omega, ratios, seen) -> Resonance:
    """The best of a grid, by Whittle's likelihood."""
    w0, ratio = (x.ravel() for x in np.meshgrid(grid_omega, ratios, indexing="ij"))
    blocks = np.array_split(np.arange(len(w0)), max(1, len(w0) // CACHED))
    parts = [_levels(omega, power, count, w0[rows], ratio[rows] * w0[rows], seen) for rows in blocks]
    cost, amplitude, floor = (np.concatenate(each) for each in zip(*parts, strict=True))
    best = int(np.argmin(np.where(np.isfinite(cost), cost, np.inf)))
    return Resonance(*(float(x[best]) for x in (w0, ratio * w0, amplitude, floor)))


def _levels(omega, power, count, w0, gamma, seen):
    """Whittle's cost for each (omega_0, gamma), with the power and floor that are best for it."""
    shape = model(omega, w0[:, None] ** 2, gamma[:, None], 1.0, seen)
    top = shape.max(1)
    shape = shape / top[:, None]
    # S = a shape + b by weighted least squares, the weights from the last S.
    tiny, least = 1e-9 * np.median(power), 1e-9 * float(power.max())
    s = np.maximum(power, tiny)[None]
    root, both = np.sqrt(count), np.stack([np.ones_like(power), power], axis=1)
    for _ in range(PASSES):
        weight = root / s
        weight *= weight
        weighted = weight * shape
        ss, (ll, p1), (s1, py) = np.einsum("gw,gw->g", weighted, shape), (weight @ both).T, (weighted @ both).T
        det = np.maximum(ss * ll - s1**2, 1e-300)
        with np.errstate(over="ignore"):
            a, b = (py * ll - p1 * s1) / det, (p1 * ss - py * s1) / det
        a, b = np.where(b > 0, a, py / ss), np.where(a > 0, np.maximum(b, 0.0), p1 / ll)
        a = np.maximum(a, least)
        s = a[:, None] * shape
        s += b[:, None]
        np.maximum(s, tiny, out=s)
    return (np.log(s) + power / s) @ count, a / top, b


def _binned(omega, power, band):
    """Averages over bins of equal ratio, so that a peak at any frequency keeps its shape."""
    if band is not None:
        inside = (omega >= band[0]) & (omega <= band[1])
        _check_band(inside)
        omega, power = omega[inside], power[inside]
    edges = np.geomspace(omega.min(), omega.max() * (1 + 1e-9), 800)
    which = np.digitize(omega, edges)
    count = np.bincount(which, minlength=len(edges) + 1)
    kept = count > 0
    mean = [np.bincount(which, x, minlength=len(edges) + 1)[kept] / count[kept] for x in (omega, power)]
    return mean[0], mean[1], count[kept].astype(float)


def _check_band(inside: np.ndarray) -> None:
    if inside.sum() < 16:
        raise ValueError(f"band holds {inside.sum()} frequencies of the record; it needs 16: widen it")


def is_flat(runs: list[Run], found: Resonance, seen: Any = None) -> tuple[bool, float]:
    """Whether the resonance and a white floor hold all that the spectrum has, and the greatest ratio of data to model.

    Tested in 24 bands of equal ratio: a band's mean over the model is 1 +- n^-1/2.
    """
    omega, power = spectra(runs)
    expected = model(omega, found.omega**2, found.gamma, found.power, seen) + found.floor
    which = np.digitize(omega, np.geomspace(omega.min(), omega.max() * (1 + 1e-9), 25))
    worst, flat = 1.0, True
    for k in np.unique(which):
        ratio = power[which == k] / expected[which == k]
        if len(ratio) >= 32:
            mean, sd = float(ratio.mean()), 1 / np.sqrt(len(ratio))
            flat &= mean - 1 < max(6 * sd, 0.5)
            worst = max(mean, worst)
    return bool(flat), worst


def around(found: Resonance, limit: float, seen: Any = None) -> tuple[float, float]:
    """The band in which the motion stands out of its floor, and as much again, but at least ten linewidths."""
    peak = model(found.omega, found.omega**2, found.gamma, found.power, seen)
    reach = found.gamma / 2 * max(10.0, 2 * np.sqrt(peak / found.floor))
    reach = min(reach, 0.25 * found.omega)
    return max(found.omega - reach, 0.0), min(found.omega + reach, limit)


def pose(records: Any, band: tuple[float, float], seen: Any = None) -> Band:
    """The periodogram inside the band (radians per step), of all runs of the only record."""
    omega, power = spectra(runs_of(records, 0))
    inside = (omega >= band[0]) & (omega <= band[1])
    _check_band(inside)
    omega, power = omega[inside][None], power[inside][None]
    freedom = np.array([omega.size - records.parameters.size - 2])
    seen = None if seen is None else np.asarray(seen)[None]
    return Band(
        system=records.system,
        parameters=records.parameters,
        units=records.units,
        seen=seen,
        omega=omega,
        power=power,
        freedom=freedom,
        scalar=records.scalar,
    )


def log_spectrum(u: Float[Array, " p"], problem: Band) -> Float[Array, " n"]:
    """log S at the band's frequencies."""
    system = problem.parameters.write(problem.system, u)
    rate = linear.rate(system, 1, problem.units)
    noise = linear.noise_rate(system, 1, problem.units, problem.scalar)
    omega = jnp.asarray(problem.omega)
    middle, half = (omega[0] + omega[-1]) / 2, (omega[-1] - omega[0]) / 2
    floor = jnp.exp(u[-2] + u[-1] * (omega - middle) / half)
    return jnp.log(model(omega, -rate[1, 0], -rate[1, 1], noise[1, 1], problem.seen) + floor)
