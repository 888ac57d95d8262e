"""`ji.modes`: from a record to its modes."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from ..._shown import shown
from ..observations import Observations
from . import free, noise
from .found import Found
from .free.errors import DOUBT
from .record import Record, record_of
from .result import Modes

MOST = 40  # modes that may be asked for
FALLS = "its power falls"


def modes(
    data: Observations,
    count: int | None = None,
    *,
    band: tuple[float, float] | None = None,
    driven: Literal["free", "noise"] | None = None,
    kind: str | Sequence[str] = "displacement",
) -> Modes:
    r"""All the modes of a record: y_j(t) = sum_k Re(c_jk e^{s_k t}) + offset_j + trend_j t,  s = -gamma/2 + i omega.

    Each mode is q'' + gamma q' + (2 pi frequency)^2 q = force: its amplitude falls as e^{-gamma t/2}, its energy as
    e^{-gamma t}. A free decay is fitted by maximum likelihood (variable projection), a motion that noise drives by the
    likelihood of its spectra; errors allow for the correlation of the residuals.

    Where noise drives, the error of gamma is about (2 / (gamma T))^{1/2} of it, T the length of the record. Of a record
    shorter than 30 / gamma gamma comes out too large on average (by 3 to 20 % at 13 / gamma): `interval` follows the
    likelihood's profile there. The time of such a search grows with the fourth power of the number of channels.

    Arguments:
        data: the record: one column or several (channels, of any units), even or uneven times, gaps, and segments,
            which share frequencies and dampings and have amplitudes of their own. An offset of each channel in each
            run is fitted, whatever `data.offset` says, and a trend where `data.trend` says that the zero drifts.
        count: how many modes; None lets the evidence choose, and `Modes.orders` shows what else was tried.
        band: (low, high), in cycles per time: only modes with frequencies inside; None means all.
        driven: "free" for a decay after a release, "noise" for ambient vibration or thermal motion; None decides by the
            record.
        kind: what the readings are: the word "displacement", "velocity" or "acceleration", or one for each channel.
            Shapes and amplitudes are those of the displacement.

    Returns:
        `Modes`, in order of frequency; an empty one where the record holds none, and then it says so.

    Raises:
        ValueError: for data with an input, a count below 0 or beyond the record, a band without modes' room, or a kind
            that is none.

    Example:
        >>> found = ji.modes(ji.Observations(ts, volts))
        >>> found.frequency, found.gamma, found.stderr.gamma

    Source: G. H. Golub and V. Pereyra, Inverse Problems 19, R1 (2003); Y. Hua and T. K. Sarkar, IEEE Trans. ASSP 38,
    814 (1990); A. M. Sykulski and others, Biometrika 106, 251 (2019).
    """
    record = record_of(data, kind)
    _check_count(count, record)
    band = _check_band(band, record)
    if driven not in (None, "free", "noise"):
        raise ValueError(f"driven = {driven!r} must be 'free', 'noise' or None")
    if driven is None:
        found, driven, why = _by_the_record(record, count, band)
    else:
        found = free.search(record, count, band) if driven == "free" else noise.search(record, count, band)
        why = "as asked"
    if driven == "free":
        found = found._replace(warnings=(*found.warnings, *_of_the_beginning(found, data)))
    return Modes.of(found, record, driven, why, band)


def _by_the_record(
    record: Record, count: int | None, band: tuple[float, float] | None
) -> tuple[Found, Literal["free", "noise"], str]:
    """What drives is not said: see `decides_free`; and all of the record has the last word."""
    is_free, why = decides_free(record, band)
    if is_free:
        found = free.search(record, count, band)
        if why == FALLS or free.is_enough(record, found, band):
            return found, "free", why
    return noise.search(record, count, band), "noise", "no free modes explain it"


def _of_the_beginning(found: Found, data: Observations) -> Iterator[str]:
    """Where something is left and nobody chose a part: free motion may begin later. It is said, not cut, for beats of
    several modes look like that too."""
    if found.checks.whiteness > DOUBT or data.chosen:
        return
    part = data.decays()
    if part is not data:
        yield (
            f"the record may not be free from its first reading on ({part.reading[-1]}): try data.decays(), or "
            "data.between(start, stop)"
        )


def decides_free(record: Record, band: tuple[float, float] | None) -> tuple[bool, str]:
    """A free decay loses its power, or a few free modes explain the beginning of it."""
    if free.loses_power(record):
        return True, FALLS
    return free.is_explained(record, band), "free modes explain it"


def _check_count(count: Any, record: Record) -> None:
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise ValueError(f"count = {count!r} must be a whole number, or None to let the evidence choose")
    most = min(MOST, min(len(run.ts) for run in record.runs) // 4)
    if not 0 <= count <= most:
        raise ValueError(f"count = {count} must be in 0..{most}: the shortest run allows no more")


def _check_band(band: Any, record: Record) -> tuple[float, float] | None:
    if band is None:
        return None
    try:
        low, high = (float(x) for x in band)
    except (TypeError, ValueError) as error:
        raise ValueError(f"band = {shown(band)} must be (low, high), in cycles per time") from error
    limit = 0.5 / record.typical
    if not 0 <= low < high or low >= limit:
        raise ValueError(
            f"band = ({low:g}, {high:g}) must rise from 0 or more, and begin below {limit:.4g}, half the sampling rate"
        )
    least = 4 / record.duration
    if high - low < least:
        raise ValueError(
            f"band = ({low:g}, {high:g}) is narrower than {least:.3g}, four over the longest run: widen it"
        )
    return low, min(high, limit)
