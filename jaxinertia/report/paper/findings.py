"""What one part of the paper yields: claims with their numbers, and a figure."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from .claims import Claim

# Ours: the text at hand had lost the paper's numbers.
POSITION, MOMENTUM, STOP = 1.0, 0.0, 20.0
GAMMAS = (0.0, 0.2)
STEPS = (0.2, 0.1, 0.05, 0.025)
SETTINGS = {
    "section V": "L = theta^2 / 2, theta(0) = 1, v(0) = 0, t in [0, 20], gamma in {0, 0.2}",
    "Eq. 5-7": "L = 0.75 theta^2, gamma = 0.4, theta(0) = 1, v(0) = 0, t in [0, 10]; white sigma = 0.7 and 0.014, "
    "coloured sigma = 0.8, tau = 0.5",
    "appendix B": "L = theta^2 / 2, gamma from 0.1 to 8, rates from t in [20, 40]",
    "appendix C": "L = (x^2 + 4 y^2) / 2, four starts at rest on the unit circle",
    "appendix D": "h in {0.2, 0.1, 0.05, 0.025}, t in [0, 20]",
    "beyond the paper": "Duffing from (1, 0.3), h in {0.05, 0.025, 0.0125}; a round quartic bowl; a two-layer diagonal "
    "network (5 data, 8 features), gamma = 3, from rest; heavy ball at eta = beta = 0.5 on a unit stiffness",
    "real network": "digits (1,797 images), 64-32-10 network, cross-entropy, from its random initialisation at rest",
}


@dataclass(frozen=True)
class Findings:
    """Claims, and a figure with its file name (or None) and what it shows."""

    claims: list[Claim]
    name: str | None = None
    figure: Figure | None = None
    caption: str = ""


def times(stop: float, every: float) -> np.ndarray:
    """0, every, ..., stop."""
    return np.linspace(0.0, stop, round(stop / every) + 1)


def largest(x: Any) -> float:
    """max |x| as a Python float; a NaN stays one."""
    return float(jnp.max(jnp.abs(jnp.asarray(x))))


def slope(x: Any, y: Any) -> float:
    """Least-squares slope of log y against log x: the order of y in x."""
    return float(np.polyfit(np.log(np.asarray(x)), np.log(np.asarray(y)), 1)[0])
