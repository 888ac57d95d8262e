r"""The motions that a free decay is made of, as columns over time, and their derivatives.

A section is e^{-at} (c1 C + c2 S) with C and S the entire functions of D t^2 of `motion`: swinging where D < 0,
overdamped where D > 0, smooth in between. A lone pole is c e^{-rt}. The numbers u are (a_1 .. a_m, D_1 .. D_m, r_1 ..
r_l).
"""

from typing import NamedTuple

import numpy as np

from ..motion import NEAR

BLOCK = 128  # times whose exponentials are products of two


class Sections(NamedTuple):
    """a, depth: (m,), of second order. rate: (l,), of the lone poles."""

    a: np.ndarray
    depth: np.ndarray
    rate: np.ndarray

    @property
    def size(self) -> int:
        """How many numbers u."""
        return 2 * len(self.a) + len(self.rate)

    @property
    def modes(self) -> int:
        """How many modes."""
        return len(self.a) + len(self.rate)

    @property
    def u(self) -> np.ndarray:
        """The numbers in one row."""
        return np.concatenate([self.a, self.depth, self.rate])

    def of(self, u: np.ndarray) -> "Sections":
        """The same kinds of motion with other numbers."""
        m = len(self.a)
        return Sections(u[:m], u[m : 2 * m], u[2 * m :])

    def plus(self, other: "Sections") -> "Sections":
        """Both together."""
        return Sections(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def without(self, k: int) -> "Sections":
        """All but mode k, of which second order comes first."""
        m = len(self.a)
        if k < m:
            return Sections(np.delete(self.a, k), np.delete(self.depth, k), self.rate)
        return Sections(self.a, self.depth, np.delete(self.rate, k - m))

    @property
    def gamma(self) -> np.ndarray:
        """(K,)."""
        return 2 * np.concatenate([self.a, self.rate])

    @property
    def frequency(self) -> np.ndarray:
        """(K,), natural, in cycles per time; NaN for a section with a negative stiffness."""
        stiffness = self.a**2 - self.depth
        omega = np.sqrt(np.where(stiffness >= 0, stiffness, np.nan))
        return np.concatenate([omega, np.abs(self.rate)]) / (2 * np.pi)

    @property
    def slowest(self) -> np.ndarray:
        """(K,), the least rate of decay of the amplitude of each mode."""
        return np.concatenate([self.a - np.sqrt(np.maximum(self.depth, 0.0)), self.rate])

    @property
    def overlapping(self) -> list[list[int]]:
        """The swinging modes in groups whose frequencies differ by less than their widths, gamma."""
        groups: list[list[int]] = []
        swings = np.flatnonzero(self.depth < 0)
        omega, gamma = 2 * np.pi * self.frequency, self.gamma
        for k in swings[np.argsort(omega[swings])]:
            if groups and any(omega[k] - omega[i] < max(gamma[k], gamma[i]) for i in groups[-1]):
                groups[-1].append(int(k))
            else:
                groups.append([int(k)])
        return groups

    @property
    def jacobian(self) -> np.ndarray:
        """(2K, size): of (gamma, frequency) by u."""
        m, l = len(self.a), len(self.rate)
        k = m + l
        out = np.zeros((2 * k, self.size))
        omega = 2 * np.pi * self.frequency[:m]
        i, j = np.arange(m), np.arange(l)
        out[i, i] = 2.0
        out[m + j, 2 * m + j] = 2.0
        out[k + i, i] = self.a / (2 * np.pi * omega)
        out[k + i, m + i] = -1 / (4 * np.pi * omega)
        out[k + m + j, 2 * m + j] = 1 / (2 * np.pi)
        return out


NONE = Sections(*(np.zeros(0),) * 3)


def swinging(a: float, omega: float) -> Sections:
    """One mode with the pole -a + i omega."""
    return Sections(np.array([a]), np.array([-(omega**2)]), np.zeros(0))


def relaxing(rate: float) -> Sections:
    """One lone pole."""
    return Sections(np.zeros(0), np.zeros(0), np.array([rate]))


def of_poles(poles: np.ndarray, step: float) -> Sections:
    """Of complex poles s per time: those with an imaginary part swing; real ones pair from the slow end, one may be
    left."""
    still = np.abs(poles.imag) * step < 1e-9
    swings = poles[~still & (poles.imag > 0)]
    rates = np.sort(-poles[still].real)
    slow, fast = rates[0 : 2 * (len(rates) // 2) : 2], rates[1::2]
    left = rates[2 * (len(rates) // 2) :]
    a = np.concatenate([-swings.real, (slow + fast) / 2])
    depth = np.concatenate([-(swings.imag**2), ((fast - slow) / 2) ** 2])
    return Sections(a, depth, left)


def columns(sections: Sections, t: np.ndarray, derivatives: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2m + l) of the motions, C's, S's, then lone poles; and (n, 3m + l) of t C, t S, dS/dD and t e^{-rt}."""
    m, l, n = len(sections.a), len(sections.rate), len(t)
    moves = np.empty((2 * m + l, n))
    step = _step(t)
    for k in range(m):
        a, depth = sections.a[k], sections.depth[k]
        if step and depth * t[-1] ** 2 <= -NEAR:
            turn = _powers(complex(-a, np.sqrt(-depth)), t[0], step, n)
            moves[k], moves[m + k] = turn.real, turn.imag / np.sqrt(-depth)
        else:
            moves[k], moves[m + k] = _section(a, depth, t)
    for k in range(l):
        moves[2 * m + k] = np.exp(-sections.rate[k] * t)
    if not derivatives:
        return moves.T, np.zeros((n, 0))
    extra = np.empty((3 * m + l, n))
    np.multiply(moves[: 2 * m], t, out=extra[: 2 * m])
    np.multiply(moves[2 * m :], t, out=extra[3 * m :])
    for k in range(m):
        extra[2 * m + k] = _bend(sections.a[k], sections.depth[k], t, extra[k], moves[m + k])
    return moves.T, extra.T


def _step(t: np.ndarray) -> float:
    """Of many times that are even but for their own rounding; 0 of others."""
    if len(t) < BLOCK:
        return 0.0
    step = (t[-1] - t[0]) / (len(t) - 1)
    off = np.max(np.abs(t - (t[0] + step * np.arange(len(t)))))
    return float(step) if off <= 4 * np.finfo(float).eps * t[-1] else 0.0


def _powers(s: complex, start: float, step: float, n: int) -> np.ndarray:
    """e^{st}, (n,), at even times, a product for each in place of an exponential."""
    blocks = -(-n // BLOCK)
    first = np.exp(s * (start + step * BLOCK * np.arange(blocks)))
    return np.multiply.outer(first, np.exp(s * step * np.arange(BLOCK))).ravel()[:n]


def _section(a: float, depth: float, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """e^{-at} C and e^{-at} S."""
    root = np.sqrt(abs(depth))
    if abs(depth) * t[-1] ** 2 < NEAR:
        x, plain = depth * t**2, np.exp(-a * t)
        return plain * (1 + x / 2 * (1 + x / 12 * (1 + x / 30))), plain * t * (1 + x / 6 * (1 + x / 20 * (1 + x / 42)))
    if depth < 0:
        plain, turn = np.exp(-a * t), root * t
        return plain * np.cos(turn), plain * np.sin(turn) / root
    slow, fast = np.exp(-(a - root) * t), np.exp(-(a + root) * t)
    return (slow + fast) / 2, (slow - fast) / (2 * root)


def _bend(a: float, depth: float, t: np.ndarray, tc: np.ndarray, s: np.ndarray) -> np.ndarray:
    """e^{-at} dS/dD."""
    if abs(depth) * t[-1] ** 2 < NEAR:
        x = depth * t**2
        return np.exp(-a * t) * t**3 / 6 * (1 + x / 10 * (1 + x / 28 * (1 + x / 54)))
    return (tc - s) / (2 * depth)


def chain(sections: Sections, c: np.ndarray) -> np.ndarray:
    """(d, 3m + l, size): the derivatives by u of what coefficients c, (2m + l, d), make of the motions, in the columns
    t C, t S, dS/dD and t e^{-rt}."""
    m, l = len(sections.a), len(sections.rate)
    out = np.zeros((c.shape[1], 3 * m + l, sections.size))
    i, j = np.arange(m), np.arange(l)
    first, second, lone = c[:m].T, c[m : 2 * m].T, c[2 * m : 2 * m + l].T
    out[:, i, i] = -first
    out[:, m + i, i] = -second
    out[:, m + i, m + i] = first / 2
    out[:, 2 * m + i, m + i] = second
    out[:, 3 * m + j, 2 * m + j] = -lone
    return out
