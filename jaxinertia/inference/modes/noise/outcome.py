"""What was found, in the units of the record and the words of `found.Found`."""

import numpy as np
from scipy import stats

from ..found import PROFILE, Checks, Found, empty
from ..record import Record
from .ascent import climb
from .covariances import mode_rows, shapes
from .joint import Within, tried
from .likelihood import Groups, cost, spectrum, whitened
from .order import RESOLVED, Fit
from .runs import Even
from .spectral import FEWEST, groups, near, transforms

STANDS = 3.0  # times the floor, below which a mode may as well be a bump of it
FILLS, CLEARLY = 0.2, 10.0  # of a band, from which a mode may be a bend of its floor, and how far it has to stand then
SHOWN = 6  # lines that are named
CELLS, LEAST = 24, 16  # parts of a band in which its readings are held against the fit; frequencies of one
DOUBTFUL = 1e-3  # probability below which they do not agree
SHORT = 30.0  # over gamma: records below it are called short
WIDE = 0.1  # of gamma: errors above it are told by a profile
REACH = 4.5  # standard errors to both sides that a profile spans


def found(within: Within, record: Record, even: Even, asked: bool) -> Found:
    """K modes, or none; `asked` is whether their number was."""
    fit, grid = within.fit, within.grid
    orders, chosen = tried(within.ladders, within.choices, even.step), within.choices.index(within.picks)
    error = np.sqrt(_floor(fit)) * even.scale
    probability, worst = misfit(fit, grid)
    warnings = [*even.warnings, *_said(within, even, probability, worst)]
    k, runs, by = fit.layout.modes, len(record.runs), "as asked" if asked else "BIC"
    halves = _halves(fit, within, even)
    checks = Checks(None, None, error, np.zeros(0), probability, halves, _spectra(fit, grid, even))
    if not k:
        return empty(record, orders, by, checks, error, None, None, warnings)
    covariance = np.linalg.inv(fit.cost.information)
    omega, gamma, strength = np.exp(mode_rows(fit.theta, fit.layout)[:, :3].T)
    at = fit.layout.each * np.arange(k)
    scale, both = np.r_[gamma / even.step, omega / (2 * np.pi * even.step)], np.r_[at + 1, at]
    units = even.units[list(fit.layout.references)]
    rms, rms_error = _amplitudes(fit, covariance, units)
    parts, shape_error = _shapes(fit, covariance, even, omega, gamma)
    unknown = np.full((k, runs), np.nan)
    whole = Found(
        gamma=gamma / even.step,
        frequency=omega / (2 * np.pi * even.step),
        lone=np.zeros(k, bool),
        covariance=covariance[np.ix_(both, both)] * np.outer(scale, scale),
        parts=parts,
        shape_error=shape_error,
        reference=np.array(fit.layout.references),
        state=np.full((k, runs, 2), np.nan),
        amplitude=np.repeat(rms[:, None], runs, 1),
        phase=unknown,
        amplitude_error=np.repeat(rms_error[:, None], runs, 1),
        phase_error=unknown,
        force=np.outer(strength * units, strength * units) * _correlation(fit) / even.step**3,
        offset=None,
        trend=None,
        position_error=error,
        orders=orders,
        chosen=chosen,
        profile=_profiles(fit, grid, even),
        chosen_by=by,
        checks=checks,
        warnings=tuple(warnings),
    )
    stands = np.ones(k, bool) if asked else _stands(fit, within)
    if stands.all():
        return whole
    bumps = ", ".join(f"{f:.5g} (gamma {g:.3g})" for g, f in zip(*whole.only(~stands)[:2], strict=True))
    text = (
        f"the floor has bumps at {bumps}, less than three times it, or narrower than the record resolves, which are no "
        "modes unless count asks for them"
    )
    return whole.only(stands)._replace(
        warnings=(*warnings, text), chosen_by=f"{by}, {int(np.sum(~stands))} of {k} a bump of the floor"
    )


def _said(within, even, probability, worst):
    """What is to be said of lines, of a spectrum that the modes do not explain, and of a record that is short."""
    step, length = even.step, sum(len(y) for y in even.runs)
    if within.lines:
        lines = ", ".join(f"{w / (2 * np.pi * step):.5g}" for w in sorted(within.lines)[:SHOWN])
        more = f" and {len(within.lines) - SHOWN} more" if len(within.lines) > SHOWN else ""
        yield f"lines at {lines}{more}, narrower than the record resolves, were left out"
    if probability < DOUBTFUL:
        yield (
            f"the spectrum is not that of these modes, most at {worst / (2 * np.pi * step):.5g} (probability "
            f"{probability:.1g}): pass a narrower band, or look there for another motion"
        )
    for omega, gamma in within.fit.modes:
        if gamma * length < RESOLVED:
            yield (
                f"what is at {omega / (2 * np.pi * step):.5g} is narrower than the record resolves: no mode, or a "
                "line; pass a lower count"
            )
        elif gamma * length < SHORT:
            yield (
                f"the record lasts {gamma * length:.2g} / gamma of the mode at {omega / (2 * np.pi * step):.5g}: on a "
                "record so short gamma comes out too large on average (by a tenth or so at 13 / gamma); use "
                "interval(), which follows its profile, not its standard error"
            )


def _stands(fit: Fit, within: Within) -> np.ndarray:
    """Whether each mode is resolved and higher than the floor at its frequency, in some combination of channels, much
    higher if it is as wide as bends of floors are; (k,)."""
    k, layout, d = fit.layout.modes, fit.layout, fit.layout.channels
    omega, edges = fit.modes[:, 0], np.array(within.bands)
    band = np.argmin(np.maximum(edges[:, 0] - omega[:, None], omega[:, None] - edges[:, 1]), axis=1)
    place = np.clip(2 * (omega - edges[band, 0]) / (edges[band, 1] - edges[band, 0]) - 1, -1, 1)
    n = np.full(k, within.grid.n.max())
    at = Groups(omega, np.ones(k), n, np.tile(np.eye(d) + 0j, (k, 1, 1)), band, place, within.grid.quiet)
    floor = spectrum(fit.theta[layout.motion :], layout._replace(references=(), coupled=()), at)[0]
    stands = []
    for m, row in enumerate(mode_rows(fit.theta, layout)):
        alone = layout._replace(references=layout.references[m : m + 1], coupled=(), floors=())
        own = spectrum(row, alone, at)[0][m]
        wide = fit.modes[m, 1] > FILLS * (edges[band[m], 1] - edges[band[m], 0])
        height = float(np.max(np.linalg.eigvals(np.linalg.solve(floor[m], own)).real))
        resolved = fit.modes[m, 1] * within.grid.n.max() > RESOLVED
        stands.append(resolved and height > (CLEARLY if wide else STANDS))
    return np.array(stands)


def _amplitudes(fit, covariance, units):
    """The root-mean-square of each mode, and its error, (k,) each."""
    omega, gamma, strength = np.exp(mode_rows(fit.theta, fit.layout)[:, :3].T)
    k, at = fit.layout.modes, fit.layout.each * np.arange(fit.layout.modes)
    along = np.zeros((k, len(fit.theta)))
    along[np.arange(k), at], along[np.arange(k), at + 1], along[np.arange(k), at + 2] = -1.0, -0.5, 1.0
    rms = strength / np.sqrt(2 * gamma) / omega * units
    return rms, rms * np.sqrt(np.einsum("ki,ij,kj->k", along, covariance, along))


def _shapes(fit, covariance, even, omega, gamma):
    """Parts (k, d, 2) in the record's units and time, and the errors of the shapes."""
    k, d = fit.layout.modes, fit.layout.channels
    shape = shapes(fit.theta, fit.layout).T
    moving = np.array(even.orders) > 0
    beta = shape.imag / omega[:, None]
    alpha = shape.real + np.where(moving, beta * gamma[:, None], 0.0)
    relative = even.units / even.units[list(fit.layout.references)][:, None]
    error = np.zeros((k, d), complex)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    for m, reference in enumerate(fit.layout.references):
        others = [j for j in range(d) if j != reference]
        own = sd[m * fit.layout.each + 3 : (m + 1) * fit.layout.each]
        error[m, others] = own[: d - 1] + 1j * own[d - 1 :]
    parts = np.stack([alpha * relative, beta * relative * even.step], axis=-1)
    return parts, error * relative


def _correlation(fit):
    correlation = np.eye(fit.layout.modes)
    for i, (a, b) in enumerate(fit.layout.coupled):
        correlation[a, b] = correlation[b, a] = np.tanh(fit.theta[fit.layout.modes * fit.layout.each + i])
    return correlation


def _floor(fit):
    """The channels' floors, (d,): over the bands, by how well each tells it."""
    at, d = fit.layout.motion, fit.layout.channels
    levels, weights = [], []
    for order in fit.layout.floors:
        own = at + order * np.arange(d)
        levels.append(fit.theta[own])
        weights.append(np.diag(fit.cost.information)[own])
        at += order * d
    return np.exp(np.average(levels, axis=0, weights=weights))


def misfit(fit: Fit, grid: Groups) -> tuple[float, float]:
    """The probability that readings of this spectrum differ from it by so much, and where they do most.

    Sums of tr S^-1 J J^H / n - d over cells of each band; their covariance is that before the fit without what the fit
    took out of them.
    """
    white, d = whitened(fit.theta, fit.layout, grid), fit.layout.channels
    excess = (np.einsum("gjj->g", white.data).real - d) * grid.weight
    by = white.by[:, :d].sum(1) * np.sqrt(grid.weight)[:, None]
    cell = np.zeros(len(excess), int)
    for band in range(len(grid.quiet)):
        rows = np.flatnonzero(grid.band == band)
        rows = rows[np.argsort(grid.omega[rows], kind="stable")]
        total = np.cumsum(grid.weight[rows])
        cells = int(np.clip(total[-1] // LEAST, 1, CELLS))
        cell[rows] = band * CELLS + np.minimum((total - 1) / total[-1] * cells, cells - 1).astype(int)
    names, cell = np.unique(cell, return_inverse=True)
    each = np.zeros((len(names), len(fit.theta)))
    np.add.at(each, cell, by)
    sums, count = np.bincount(cell, excess), np.bincount(cell, grid.weight * d)
    covariance = np.diag(count) - each @ np.linalg.solve(fit.cost.information, each.T)
    values, vectors = np.linalg.eigh(covariance / np.sqrt(np.outer(count, count)))
    kept = values > 1e-3
    clear = (vectors[:, kept].T @ (sums / np.sqrt(count))) / np.sqrt(values[kept])
    worst = cell == np.argmax(np.abs(sums) / np.sqrt(count))
    return float(stats.chi2.sf(clear @ clear, int(kept.sum()))), float(np.mean(grid.omega[worst]))


def _spectra(fit, grid, even):
    """(3, m): frequency, the readings' power and what modes leave of it, summed over channels in their own scale."""
    order = np.argsort(grid.omega, kind="stable")
    value = spectrum(fit.theta, fit.layout, grid)[0]
    alone = fit.layout._replace(references=(), coupled=())
    floor = spectrum(fit.theta[fit.layout.motion :], alone, grid)[0]
    power, left = (np.einsum("gjj->g", x).real for x in (grid.power, floor @ np.linalg.solve(value, grid.power)))
    return np.stack([grid.omega / (2 * np.pi * even.step), power, left])[:, order]


def _halves(fit, within, even):
    """gamma and frequency of the first and the second half of each run, and the error of the difference."""
    found, k = [], fit.layout.modes
    nothing = np.full((k, 2, 3), np.nan)
    if not k:
        return nothing
    for side in (0, 1):
        runs = [np.array_split(y, 2)[side] for y in even.runs]
        parts = transforms(runs)
        enough = [sum(int(np.sum((t.omega >= a) & (t.omega <= b))) for t in parts) for a, b in within.bands]
        if min(enough) < FEWEST:
            return nothing
        grid = groups(parts, within.bands, near(*fit.modes.T), within.lines)
        theta, value, ended = climb(fit.theta, lambda x, grid=grid: cost(x, fit.layout, grid))
        variance = np.zeros(1) if value is None else np.diag(np.linalg.inv(value.information))
        if not ended or np.min(variance) <= 0:  # half a record may not tell all numbers
            return nothing
        found.append((mode_rows(theta, fit.layout)[:, :2], np.sqrt(variance)))
    at = fit.layout.each * np.arange(k)
    (early, error), (late, other) = found
    for name, column, shift, unit in ((0, 1, 1, 1 / even.step), (1, 0, 0, 1 / (2 * np.pi * even.step))):
        first, second = np.exp(early[:, column]) * unit, np.exp(late[:, column]) * unit
        sd = np.hypot(first * error[at + shift], second * other[at + shift])
        nothing[:, name] = np.stack([first, second, sd], axis=-1)
    return nothing


def _profiles(fit, grid, even):
    """Of each gamma with a large error: values, and by how much the deviance rises with all else fitted again."""
    sd = np.sqrt(np.diag(np.linalg.inv(fit.cost.information)))
    profile = np.full((fit.layout.modes, 2, PROFILE), np.nan)
    for k in range(fit.layout.modes):
        at = k * fit.layout.each + 1
        if sd[at] < WIDE:
            continue
        free = np.arange(len(fit.theta)) != at
        middle = PROFILE // 2
        offsets = np.linspace(-1, 1, PROFILE) * REACH * min(sd[at], 1.5)
        values, rise = np.exp(fit.theta[at] + offsets), np.zeros(PROFILE)
        for way in (range(middle + 1, PROFILE), range(middle - 1, -1, -1)):
            theta = fit.theta.copy()
            for i in way:
                theta[at] = fit.theta[at] + offsets[i]
                theta, value, _ = climb(theta, lambda x: cost(x, fit.layout, grid), free=free, small=1e-4)
                rise[i] = np.nan if value is None else max(0.0, 2 * (value.value - fit.cost.value))
        if np.all(np.isfinite(rise)):
            profile[k] = values / even.step, rise
    return profile
