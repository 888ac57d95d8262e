"""What either half of the search hands over: the interface between the numerics and the result."""

from typing import NamedTuple

import numpy as np

from .record import Record

PROFILE = 25  # values of gamma in a profile


class Order(NamedTuple):
    """One number of modes that was tried, `modes`. deviance: -2 log L but for a constant of the record. numbers: fitted
    parameters.
    criterion: deviance + penalty, the least of which is chosen. frequency, gamma: of its modes (for the stabilization
    diagram)."""

    modes: int
    deviance: float
    numbers: int
    criterion: float
    frequency: np.ndarray
    gamma: np.ndarray


class Checks(NamedTuple):
    """What the residuals say. residuals, prediction: (n, d) like the data's rows, NaN where nothing was read; None
    where a band or a spectrum was fitted. rms: (d,). autocorrelation: (lags,). whiteness: the probability of so much
    of it by chance. halves: (K, 2, 3): of gamma and frequency of each mode, the value early and late, and the standard
    error of their difference; NaN where unknown. spectrum: (3, m): frequency, power of the data and power of the
    residuals, or None."""

    residuals: np.ndarray | None
    prediction: np.ndarray | None
    rms: np.ndarray
    autocorrelation: np.ndarray
    whiteness: float
    halves: np.ndarray
    spectrum: np.ndarray | None


class Found(NamedTuple):
    """K modes over d channels and R runs, in any order.

    gamma: (K,), in one over the data's time. frequency: (K,), natural, omega_0 / 2 pi. lone: (K,), whether it is a
    single real pole -r, told as gamma = 2 r and omega_0 = r. covariance: (2K, 2K), of (gamma_1 .. gamma_K, frequency_1
    .. frequency_K), allowing for whatever the residuals' correlation is; singular for a lone pole.
    parts: (K, d, 2), alpha and beta of the displacement y_j = alpha_j q + beta_j q' in each channel, q the
    displacement in the channel `reference`, where alpha = 1 and beta = 0; see `parts_of`. shape_error: (K, d),
    complex: of the real and the imaginary part. reference: (K,), the channel with the greatest motion in it.
    state: (K, R, 2), q and q' at the start of each run; NaN where noise drives. amplitude, phase: (K, R), of q =
    Re(amplitude e^{i phase + s t}); the root-mean-square and NaN where noise drives. amplitude_error, phase_error:
    likewise.
    force: (K, K), intensity of the white forces on q: their sigma sigma^T; None where the motion is free.
    offset, trend: (R, d), or None: of each run, at its first reading, and by time since.
    position_error: (d,), of one reading in its own unit.
    orders: what was tried, by count. chosen: index in `orders`.
    profile: (K, 2, PROFILE): values of gamma, and how much the deviance rises there with all else refitted; NaN where
    errors are small and no profile is needed. chosen_by: words, such as "BIC".
    warnings: what is wrong, in words.
    """

    gamma: np.ndarray
    frequency: np.ndarray
    lone: np.ndarray
    covariance: np.ndarray
    parts: np.ndarray
    shape_error: np.ndarray
    reference: np.ndarray
    state: np.ndarray
    amplitude: np.ndarray
    phase: np.ndarray
    amplitude_error: np.ndarray
    phase_error: np.ndarray
    force: np.ndarray | None
    offset: np.ndarray | None
    trend: np.ndarray | None
    position_error: np.ndarray
    orders: tuple[Order, ...]
    chosen: int
    profile: np.ndarray
    chosen_by: str
    checks: Checks
    warnings: tuple[str, ...]

    def only(self, kept: np.ndarray) -> "Found":
        """These modes alone, of a mask (K,)."""
        names = (
            "gamma", "frequency", "lone", "parts", "shape_error", "reference", "state", "amplitude", "phase",
            "amplitude_error", "phase_error", "profile",
        )  # fmt: skip
        both = np.concatenate([kept, kept])
        return self._replace(
            **{name: getattr(self, name)[kept] for name in names},
            covariance=self.covariance[np.ix_(both, both)],
            force=None if self.force is None else self.force[np.ix_(kept, kept)],
            checks=self.checks._replace(halves=self.checks.halves[kept]),
        )


def poles(gamma: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """s = -gamma/2 + (gamma^2/4 - omega_0^2)^{1/2}: with positive imaginary part, or the slow one of two real poles."""
    a, omega = np.asarray(gamma) / 2, 2 * np.pi * np.asarray(frequency)
    depth = a**2 - omega**2
    swinging = 1j * np.sqrt(np.maximum(-depth, 0.0))
    root = np.sqrt(np.maximum(depth, 0.0))
    slow = np.where(depth > 0, omega**2 / np.where(a + root == 0, 1.0, a + root), a)  # a - root, to the last digit
    return -slow + swinging


def shape_of(parts: np.ndarray, gamma: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """(K, d) complex: alpha + beta s."""
    return parts[..., 0] + parts[..., 1] * poles(gamma, frequency)[:, None]


def parts_of(shape: np.ndarray, gamma: np.ndarray, frequency: np.ndarray) -> np.ndarray:
    """(K, d, 2) from a complex shape of swinging modes: its inverse, beta = Im shape / Im s."""
    s = poles(gamma, frequency)[:, None]
    beta = np.where(s.imag > 0, shape.imag / np.where(s.imag > 0, s.imag, 1.0), 0.0)
    return np.stack([shape.real - beta * s.real, beta], axis=-1)


def empty(
    record: Record,
    orders: tuple[Order, ...],
    chosen_by: str,
    checks: Checks,
    error: np.ndarray,
    offset,
    trend,
    warnings,
) -> Found:
    """No modes."""
    d, runs = record.channels, len(record.runs)
    none, kr = np.zeros(0), np.zeros((0, runs))
    return Found(
        gamma=none,
        frequency=none,
        lone=np.zeros(0, bool),
        covariance=np.zeros((0, 0)),
        parts=np.zeros((0, d, 2)),
        shape_error=np.zeros((0, d), complex),
        reference=np.zeros(0, int),
        state=np.zeros((0, runs, 2)),
        amplitude=kr,
        phase=kr,
        amplitude_error=kr,
        phase_error=kr,
        force=None,
        offset=offset,
        trend=trend,
        position_error=np.asarray(error, float),
        orders=orders,
        chosen=next((i for i, order in enumerate(orders) if order.modes == 0), 0),
        profile=np.zeros((0, 2, PROFILE)),
        chosen_by=chosen_by,
        checks=checks,
        warnings=tuple(warnings),
    )
