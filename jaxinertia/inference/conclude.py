"""From where searches ended to fits: values and errors in the user's units, diagnostics and warnings."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import evidence as errors
from . import standing
from .crosscheck import Checked
from .doubts import doubts, failures
from .evidence import scaled
from .likelihood import Likelihood, Posed, Reading
from .observations import Observations
from .parameters import Parameters
from .record import Records, with_input
from .result import Diagnostics, Fit, Fits
from .shooting import Ended


def one_fit(checked: Checked, i: int, data: Observations) -> Fit:
    """The fit of one of the records whose searches ended."""
    ended, ends = checked.stand.ended, checked.ends[i]
    search, likelihood, records = ended.search.at(i), ended.likelihood.at(i), ended.records.at(np.array([i]))
    parameters, p = records.parameters, records.parameters.size
    cost, unknown = float(search.cost), _unknown(records, likelihood)
    reading = likelihood.read(search.u, search.x, search.normal, unknown)
    found = reading.evidence
    flat, jacobian = (x[i] for x in checked.stand.natural)
    plain, corrected = errors.curvature(found), errors.sandwich(found, errors.correlation_length(found))
    white = errors.whiteness(found) > errors.DOUBT
    in_u = plain if white else errors.no_less(corrected, plain)
    natural = [errors.propagated(jacobian, c[:p, :p], parameters.constant) for c in (plain, corrected)]
    covariance = scaled(natural[0] if white else errors.no_less(natural[1], natural[0]), checked.spread[i])
    system = with_input(parameters.write(records.system, jnp.asarray(search.u[:p])), data)
    posed = Posed(records, likelihood, reading, search.u, search.x, cost, bool(ended.fine[i]))
    diagnostics = _diagnostics(posed, search, data, flat, jacobian, [covariance, natural[0]], ends)
    length = float(records.units.length[0])
    offset = likelihood.offset_at
    where, errors_of_u = np.asarray(search.u) * length, np.sqrt(np.diag(in_u)) * length
    return Fit(
        system=system,
        values=parameters.unflatten(flat),
        stderr=parameters.unflatten(np.sqrt(np.diag(covariance))),
        covariance=covariance,
        covariance_curvature=natural[0],
        covariance_corrected=natural[1],
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
        ends=ends,
        posed=posed if reading.states is not None else None,
        record=_fingerprint(data),
    )


def _unknown(records: Records, likelihood: Likelihood) -> np.ndarray:
    """Of which of the likelihood's channels the error of a reading is, of one record."""
    return np.asarray(records.unknown[0])[: likelihood.taken.shape[-1]]


def _diagnostics(
    posed: Posed,
    search: Any,
    data: Observations,
    flat: np.ndarray,
    jacobian: np.ndarray,
    covariances: list[np.ndarray],
    ends: np.ndarray,
) -> Diagnostics:
    """What the residuals say of the model, and how the search ended."""
    records, reading, found = posed.records, posed.reading, posed.reading.evidence
    in_time, iterations, whiteness = reading.prediction is not None, int(search.iterations), errors.whiteness(found)
    halves = errors.damping_halves(records.parameters, found, flat, jacobian) if in_time else {}
    unknown = _unknown(records, posed.likelihood)
    told = in_time and not (unknown.any() or posed.likelihood.robust)  # whether readings have an error to be judged by
    chi = float(np.sum(found.residuals**2)) / found.freedom if told else None
    lost = standing.is_lost(posed.likelihood.level, posed.cost, found.variance, len(found.residuals), len(posed.u))
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
        warnings=doubts(posed, why, chi, whiteness, halves, flat, covariances, ends),
    )


def many_fits(
    data: list[Observations],
    parameters: Parameters,
    groups: list[Checked],
    refused: dict[int, str],
    finish: Callable[[Fit, int], Fit],
) -> Fits:
    """What all records say; each can be asked for by itself, `finish` (fit, number) its last touch."""
    n, count = len(data), len(parameters.labels)
    flat, covariance = np.full((n, count), np.nan), np.full((n, count, count), np.nan)
    converged, iterations = np.zeros(n, bool), np.zeros(n, int)
    ends = np.full((n, 2, count), np.nan)
    chi, freedom, whiteness = np.full(n, np.nan), np.ones(n, int), np.full(n, np.nan)
    why, where = dict(refused), dict[int, tuple[Checked, int]]()
    for checked in groups:
        stand, ended = checked.stand, checked.stand.ended
        rows, search = ended.rows, ended.search
        where |= {int(row): (checked, i) for i, row in enumerate(rows)}
        freedom[rows], iterations[rows] = ended.likelihood.freedom, search.iterations
        chi[rows], whiteness[rows] = _spread(ended), stand.whiteness
        flat[rows], covariance[rows], ends[rows] = stand.values, stand.covariance, checked.ends
        for i in np.flatnonzero(~(stand.whiteness > errors.DOUBT)).tolist():
            covariance[rows[i]] = errors.no_less(stand.corrected(i), stand.covariance[i])
        for i in np.flatnonzero(~np.isnan(checked.spread).all(1)).tolist():
            covariance[rows[i]] = scaled(covariance[rows[i]], checked.spread[i])
        for row in rows.tolist():
            why.pop(row, None)  # of an earlier search, on more of the record
        converged[rows] = search.ended & ~stand.lost
        for i in np.flatnonzero(~converged[rows]).tolist():
            row = int(rows[i])
            flat[row], chi[row], covariance[row], ends[row] = np.nan, np.nan, np.nan, np.nan
            why[row] = "; ".join(failures(bool(search.ended[i]), bool(stand.lost[i]), int(iterations[row])))
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
        ends=ends,
        system=groups[0].stand.ended.records.system,
        each=partial(_one_of_many, data, where, refused, finish),
    )


def _one_of_many(data: list[Observations], where: dict, refused: dict[int, str], finish: Callable, i: int) -> Fit:
    if i not in where:
        raise ValueError(f"record {i} cannot be fitted: {refused[i]}")
    checked, row = where[i]
    with jax.enable_x64(True):
        return finish(one_fit(checked, row, data[i]), i)


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
