"""From where searches ended to fits: values and errors in the user's units, diagnostics and warnings."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from . import derived
from . import evidence as errors
from .doubts import doubts, failures
from .likelihood import Likelihood, Posed, Reading, innovations_of_all
from .observations import Observations
from .parameters import Parameters
from .record import Records, with_input
from .result import Diagnostics, Fit, Fits
from .shooting import LEAST_SQUARES, Ended


def one_fit(ended: Ended, i: int, data: Observations) -> Fit:
    """The fit of one of the records whose searches ended."""
    search, likelihood, records = ended.search.at(i), ended.likelihood.at(i), ended.records.at(np.array([i]))
    parameters, p = records.parameters, records.parameters.size
    cost, unknown = float(search.cost), _unknown(records, likelihood)
    reading = likelihood.read(search.u, search.x, search.normal, unknown)
    found = reading.evidence
    flat, jacobian = (np.asarray(x)[0] for x in _natural(search.u[None, :p], parameters))
    plain = errors.curvature(found)
    independent = errors.whiteness(found) > errors.DOUBT
    alike = reading.states is None or errors.steadiness(found) > errors.DOUBT
    corrected = _sandwich(found, independent and not alike)
    in_u = plain if independent and alike else corrected
    natural = [errors.propagated(jacobian, c[:p, :p], parameters.constant) for c in (in_u, plain, corrected)]
    system = with_input(parameters.write(records.system, jnp.asarray(search.u[:p])), data)
    posed = Posed(records, likelihood, reading, search.u, search.x, cost, bool(ended.fine[i]))
    diagnostics = _diagnostics(posed, search, data, flat, jacobian, natural[0])
    length = float(records.units.length[0])
    offset = likelihood.offset_at
    where, errors_of_u = np.asarray(search.u) * length, np.sqrt(np.diag(in_u)) * length
    return Fit(
        system=system,
        values=parameters.unflatten(flat),
        stderr=parameters.unflatten(np.sqrt(np.diag(natural[0]))),
        covariance=natural[0],
        covariance_curvature=natural[1],
        covariance_corrected=natural[2],
        labels=tuple(parameters.labels),
        flat=flat,
        offset=None if offset.stop == offset.start else (where[offset], errors_of_u[offset]),
        position_error=_position_error(reading, data, length),
        initial=None if reading.states is None else _initial(reading.states, records),
        method=ended.method,
        why=ended.why[i],
        cost=cost,
        deviance=reading.deviance,
        numbers=len(found.residuals) - found.freedom + reading.errors,
        readings=len(found.residuals),
        missing=sum(int(np.isnan(x).sum()) for x in (data.position, data.momentum) if x is not None),
        freedom=found.freedom,
        diagnostics=diagnostics,
        parameters=parameters,
        posed=posed if reading.states is not None else None,
        record=_fingerprint(data),
    )


def _unknown(records: Records, likelihood: Likelihood) -> np.ndarray:
    """Of which of the likelihood's channels the error of a reading is, of one record."""
    return np.asarray(records.unknown[0])[: likelihood.taken.shape[-1]]


def _diagnostics(
    posed: Posed, search: Any, data: Observations, flat: np.ndarray, jacobian: np.ndarray, covariance: np.ndarray
) -> Diagnostics:
    """What the residuals say of the model, and how the search ended."""
    records, reading, found = posed.records, posed.reading, posed.reading.evidence
    in_time, iterations, whiteness = reading.prediction is not None, int(search.iterations), errors.whiteness(found)
    halves = _halves(records, found, flat, jacobian) if in_time else {}
    unknown = _unknown(records, posed.likelihood)
    told = in_time and not (unknown.any() or posed.likelihood.robust)  # whether readings have an error to be judged by
    chi = float(np.sum(found.residuals**2)) / found.freedom if told else None
    lost = is_lost(posed.likelihood.level, posed.cost, found.variance, len(found.residuals), len(posed.u))
    why = failures(bool(search.ended), bool(lost), iterations)
    rows = _residuals(reading, records, data)
    return Diagnostics(
        converged=not why,
        iterations=iterations,
        residuals=rows,
        prediction=None if rows is None else data.position - rows,
        reduced_chi_square=chi,
        rms=None if rows is None else float(np.sqrt(np.nanmean(rows**2))),
        autocorrelation=errors.autocorrelation(found, min(errors.LAGS, len(found.residuals) // 2)),
        whiteness=whiteness,
        halves=halves,
        warnings=doubts(posed, why, chi, whiteness, halves, flat, covariance),
    )


def _halves(
    records: Records, found: errors.Evidence, flat: np.ndarray, jacobian: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    """Early, late and their difference's standard error, of each damping and of the frequency of small swings."""
    parameters, out = records.parameters, {}
    for name, (row, early, late, error) in errors.early_and_late(parameters, found, flat, jacobian).items():
        if name.startswith("damping"):
            out[name] = (early, late, error)
            continue
        values = np.tile(flat, (3, 1))
        values[:2, row] = early, late
        slope = np.zeros((3, len(flat), len(flat)))
        slope[:, row, row] = error**2
        said = derived.of_all(records.system, parameters, values, slope)
        frequency, spread = said.get("natural_frequency", (np.full(3, np.nan), np.zeros(3)))
        swings = "damping_ratio" not in said or said["damping_ratio"][0][2] < 1
        if np.all(np.isfinite(frequency)) and spread[2] > 0 and swings:
            out["natural_frequency"] = (float(frequency[0]), float(frequency[1]), float(spread[2]))
    return out


def is_lost(level: Any, cost: Any, variance: Any, n: Any, p: int) -> Any:
    """Whether noise would be fitted as well; not asked where there is no level."""
    return np.isfinite(level) & ~errors.found(level, cost, variance, n, p)


def many_fits(
    data: list[Observations],
    parameters: Parameters,
    groups: list[Ended],
    refused: dict[int, str],
    finish: Callable[[Fit, int], Fit],
) -> Fits:
    """What all records say; each can be asked for by itself, `finish` (fit, number) its last touch."""
    n, count = len(data), len(parameters.labels)
    flat, covariance = np.full((n, count), np.nan), np.full((n, count, count), np.nan)
    converged, iterations = np.zeros(n, bool), np.zeros(n, int)
    chi, freedom, whiteness = np.full(n, np.nan), np.ones(n, int), np.full(n, np.nan)
    why, where = dict(refused), dict[int, tuple[Ended, int]]()
    for ended in groups:
        rows, search, likelihood = ended.rows, ended.search, ended.likelihood
        where |= {int(row): (ended, i) for i, row in enumerate(rows)}
        freedom[rows], iterations[rows] = likelihood.freedom, search.iterations
        variance = likelihood.variance(search.normal, ended.records.unknown)
        chi[rows] = _spread(ended)
        whiteness[rows] = _whiteness(ended)
        alike = _alike(ended)
        taken = np.sum(likelihood.taken, (1, 2, 3))
        lost = np.broadcast_to(is_lost(likelihood.level, search.cost, variance, taken, search.u.shape[1]), len(rows))
        p = parameters.size
        flat[rows], jacobian = (np.asarray(x) for x in _natural(search.u[:, :p], parameters))
        unit = errors.inverse(np.asarray(_information(search.normal)))[:, :p, :p]
        # All of them known, and every value moved by one: nothing is infinite.
        known = np.isfinite(np.diagonal(unit, axis1=1, axis2=2)).all(1) & (jacobian != 0).any(2).all(1)
        finite = np.where(known[:, None, None], variance[:, None, None] * unit, 0.0)
        together, constant = jacobian @ finite @ np.swapaxes(jacobian, 1, 2), parameters.constant
        for i, row in enumerate(rows.tolist()):
            why.pop(row, None)  # of an earlier search, on more of the record
            said = failures(bool(search.ended[i]), bool(lost[i]), int(iterations[row]))
            converged[row] = not said
            if said:
                flat[row], chi[row] = np.nan, np.nan
                why[row] = "; ".join(said)
            elif whiteness[row] > errors.DOUBT and alike[i]:
                in_u = variance[i] * unit[i]
                covariance[row] = together[i] if known[i] else errors.propagated(jacobian[i], in_u, constant)
            else:
                corrected = _corrected(ended, i, bool(whiteness[row] > errors.DOUBT))
                covariance[row] = errors.propagated(jacobian[i], corrected[:p, :p], constant)
    error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    return Fits(
        values=parameters.unflatten_all(flat),
        stderr=parameters.unflatten_all(error),
        covariance=covariance,
        flat=flat,
        labels=tuple(parameters.labels),
        converged=converged,
        iterations=iterations,
        reduced_chi_square=chi,
        freedom=freedom,
        whiteness=whiteness,
        failures=dict(sorted(why.items())),
        parameters=parameters,
        system=groups[0].records.system,
        each=partial(_one_of_many, data, where, refused, finish),
    )


def _whiteness(ended: Ended) -> np.ndarray:
    likelihood, search = ended.likelihood, ended.search
    return errors.whiteness_of_all(innovations_of_all(likelihood, search.u, search.x), likelihood.taken)


def _alike(ended: Ended) -> np.ndarray:
    """Whether the residuals of least squares scatter alike all along the runs, as their curvature takes them to."""
    if ended.method != LEAST_SQUARES:
        return np.ones(len(ended.rows), bool)
    likelihood, search = ended.likelihood, ended.search
    residuals = innovations_of_all(likelihood, search.u, search.x)
    return errors.steadiness_of_all(residuals, np.asarray(likelihood.taken)) > errors.DOUBT


def misfits(ended: Ended) -> np.ndarray:
    """Of which of the records the residuals are correlated, or the search did not end."""
    return ~np.asarray(ended.search.ended) | ~(_whiteness(ended) >= errors.DOUBT)


def _corrected(ended: Ended, i: int, independent: bool) -> np.ndarray:
    """The covariance of the coordinates of one of the records, corrected for its residuals' correlation, or where they
    are independent for their unlike scatter alone."""
    search = ended.search.at(i)
    reading = ended.likelihood.at(i).read(search.u, search.x, search.normal, ended.records.unknown[i])
    return _sandwich(reading.evidence, independent)


def _sandwich(found: errors.Evidence, independent: bool) -> np.ndarray:
    """The covariance of independent residuals, or of those that are correlated as far as they are."""
    return errors.of_unlike(found) if independent else errors.sandwich(found, errors.correlation_length(found))


def _one_of_many(data: list[Observations], where: dict, refused: dict[int, str], finish: Callable, i: int) -> Fit:
    if i not in where:
        raise ValueError(f"record {i} cannot be fitted: {refused[i]}")
    ended, row = where[i]
    with jax.enable_x64(True):
        return finish(one_fit(ended, row, data[i]), i)


def _spread(ended: Ended) -> np.ndarray:
    """Reduced chi-square of readings of known error, else the residuals' variance in the data's units; NaN where each
    of several components is weighed by its own residuals, of a robust loss, and for filters."""
    if ended.likelihood.robust or not np.all(np.isfinite(ended.likelihood.level)):
        return np.full(len(ended.rows), np.nan)
    unknown = ended.records.unknown
    spread = 2 * ended.search.cost / ended.likelihood.freedom
    length = np.asarray(ended.records.units.length)
    left = spread * length**2 if unknown.shape[1] == 1 else np.full(len(spread), np.nan)
    return np.where(unknown.any(1), left, spread)


@eqx.filter_jit
def _information(normal: Any) -> jax.Array:
    return jax.vmap(lambda one: one.information())(normal)


@eqx.filter_jit
def _natural(u: jax.Array, parameters: Parameters) -> tuple[jax.Array, jax.Array]:
    """Values, and their derivatives by the coordinates."""
    return jax.vmap(parameters.natural)(u), jax.vmap(jax.jacfwd(parameters.natural))(u)


def _fingerprint(data: Observations) -> str:
    """SHA-1 of times, positions and momenta; equal for equal readings, whatever is known of their error."""
    digest = hashlib.sha1(usedforsecurity=False)
    for x in (data.ts, data.position, data.momentum):
        digest.update(b"" if x is None else repr(x.shape).encode() + np.where(np.isnan(x), np.nan, x + 0.0).tobytes())
    return digest.hexdigest()


def _residuals(reading: Reading, records: Records, data: Observations) -> np.ndarray | None:
    """Reading - prediction in the data's own rows and units."""
    if reading.prediction is None:
        return None
    d, row = records.d, records.row[0]
    out = np.full((len(data.ts), d), np.nan)
    predicted = reading.prediction[..., :d][row >= 0] * float(records.units.length[0])
    out[row[row >= 0]] = data.position.reshape(-1, d)[row[row >= 0]] - predicted
    return out.reshape(data.position.shape)


def _position_error(reading: Reading, data: Observations, length: float) -> Any:
    if reading.prediction is None:
        return None
    if reading.error is None:
        return float(np.sqrt(np.mean(data.position_error**2)))  # type: ignore[operator]
    found = np.squeeze(reading.error * length)
    return found if found.ndim else float(found)


def _initial(states: np.ndarray, records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Position and momentum at the start of each run, in the data's units."""
    d, length, time = records.d, float(records.units.length[0]), float(records.units.time[0])
    q, p = states[:, :d] * length, states[:, d:] * (length / time)
    return (q[:, 0], p[:, 0]) if records.scalar else (q, p)
