"""What the tests compare with. Nothing here calls the package."""

import mpmath
import numpy as np
from scipy.integrate import solve_ivp

EPS = float(np.finfo(np.float64).eps)


def slope(steps, errors):
    """The order that errors show: the least-squares slope of log(error) over log(step)."""
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


def relative(value, exact):
    """|value - exact| / |exact| in the largest component."""
    value, exact = np.asarray(value, float), np.asarray(exact, float)
    return np.max(np.abs(value - exact)) / np.max(np.abs(exact))


def dop853(rhs, ts, y0):
    """SciPy's DOP853 at the tightest tolerance it takes; one row for each time."""
    solution = solve_ivp(rhs, (ts[0], ts[-1]), y0, method="DOP853", rtol=1e-12, atol=1e-13, t_eval=ts)
    assert solution.success
    return solution.y.T


def oscillator(t, q, p, stiffness, gamma):
    """The damped oscillator in mpmath, at its working precision. All three regimes: the roots may be complex."""
    t, q, p, stiffness, gamma = map(mpmath.mpf, (t, q, p, stiffness, gamma))
    a = gamma / 2
    z = (a * a - stiffness) * t * t
    if z == 0:
        c, s = mpmath.mpf(1), t
    else:
        root = mpmath.sqrt(z)
        c, s = mpmath.re(mpmath.cosh(root)), t * mpmath.re(mpmath.sinh(root) / root)
    decay = mpmath.exp(-a * t)
    return decay * (q * c + (p + a * q) * s), decay * (p * c - (stiffness * q + a * p) * s)
