"""From where searches ended to fits: values and errors in the user's units, diagnostics and warnings."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from . import derived, standing
from . import evidence as errors
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
    independent = errors.whiteness(found) > errors.DOUBT
    alike = reading.states is None or errors.steadiness(found) > errors.DOUBT
    plain, corrected = errors.curvature(found), errors.corrected(found, independent and not alike)
    in_u = errors.chosen(plain, corrected, independent, alike)
    natural = [errors.propagated(jacobian, c[:p, :p], parameters.constant) for c in (plain, corrected)]
    covariance = scaled(errors.chosen(natural[0], natural[1], independent, alike), checked.spread[i])
    offset, trend, delay, _ = likelihood.beside_at
    unit, step = records.reading_unit[0], float(records.units.time[0])
    late = float(records.delay[0] + np.sum(search.u[delay])) * step
    first = flat[parameters.flat_index[0]]
    system = with_input(parameters.local.put(records.system, first), data, late).without_read()
    posed = Posed(records, likelihood, reading, search.u, search.x, cost, bool(ended.fine[i]))
    diagnostics = _diagnostics(posed, search, data, flat, jacobian, [covariance, natural[0]], ends)
    errors_of_u, spread = np.sqrt(np.diag(in_u)), np.sqrt(np.diag(covariance))
    return Fit(
        system=system,
        values=parameters.unflatten(flat),
        stderr=parameters.unflatten(spread),
        each=parameters.unflatten_own(flat),
        each_stderr=parameters.unflatten_own(spread),
        covariance=covariance,
        covariance_curvature=natural[0],
        covariance_corrected=natural[1],
        labels=tuple(parameters.labels),
        flat=flat,
        offset=_in_unit(search.u, errors_of_u, offset, unit, records),
        trend=_in_unit(search.u, errors_of_u, trend, unit / step),
        input_delay=(late, float(errors_of_u[delay][0] * step)) if records.free_delay else None,
        position_error=_position_error(reading, data, unit),
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


def _in_unit(
    u: Any, errors: np.ndarray, at: slice, unit: np.ndarray, shifted: Records | None = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Some of the coordinates and their errors, in the data's units: of each channel, of several records one row of
    these for each; of readings that were `shifted` with that put back. None of none."""
    if at.stop == at.start:
        return None
    values, spread = (np.reshape(x[at], (-1, len(unit))) * unit for x in (np.asarray(u), errors))
    if shifted is not None and shifted.shift is not None:
        values = values + shifted.shift[0, [run[0] for run in shifted.runs]]
    return (values, spread) if len(values) > 1 else (values[0], spread[0])


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
    halves = _halves(records, found, flat, jacobian) if in_time else {}
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
        for i in np.flatnonzero(~(stand.independent & stand.alike)).tolist():
            each = stand.covariance[i], stand.corrected(i), bool(stand.independent[i]), bool(stand.alike[i])
            covariance[rows[i]] = errors.chosen(*each)
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
        each=parameters.unflatten_own_all(flat),
        each_stderr=parameters.unflatten_own_all(error),
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
        system=groups[0].stand.ended.records.system.without_read(),
        one=partial(_one_of_many, data, where, refused, finish),
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
    unit = ended.records.reading_unit[:, 0]
    left = spread * unit**2 if unknown.shape[1] == 1 else np.full(len(spread), np.nan)
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
    levels, row = records.levels, records.row[0]
    out = np.full((len(data.ts), levels), np.nan)
    predicted = reading.prediction[..., :levels] * records.reading_unit[0]
    if records.shift is not None:
        predicted = predicted + records.shift[0, :, None]
    predicted = predicted[row >= 0]
    out[row[row >= 0]] = data.position.reshape(-1, levels)[row[row >= 0]] - predicted
    return out.reshape(data.position.shape)


def _position_error(reading: Reading, data: Observations, unit: np.ndarray) -> Any:
    if reading.prediction is None:
        return None
    if reading.error is None:
        return float(np.sqrt(np.mean(data.position_error**2)))  # type: ignore[operator]
    found = np.squeeze(reading.error * unit)
    return found if found.ndim else float(found)


def _initial(states: np.ndarray, records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Position and momentum at the start of each run, in the data's units."""
    d, length, time = records.d, float(records.units.length[0]), float(records.units.time[0])
    q, p = states[:, :d] * length, states[:, d:] * (length / time)
    return (q[:, 0], p[:, 0]) if records.scalar else (q, p)
